"""Neighbours of the B2BUA that do as a test says: a router, trunks, and what decides whether calls are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.errors import RequestRefusedError
from sipd.interfaces import Attempt, IGate, IRouter, ITrunks, Route, RoutingRequest
from sipd.sip.locate import Target
from sipd.sip.message import Request
from sipd.sip.uri import Uri, parse_uri


def attempt_at(host: str, user: str = "bob", **more: Any) -> Attempt:
    """Give an attempt to call a user at a host."""
    return Attempt(uri=parse_uri(f"sip:{user}@{host}"), label=f"at {host}", **more)


@implementer(IRouter)
class PlannedRouter:
    """Gives the same route to every call; nobody has to prove who they are.

    Attributes:
        asked: what it was asked.
    """

    def __init__(self, *rounds: tuple[Attempt, ...], **more: Any) -> None:
        self.asked: list[RoutingRequest] = []
        self._route = Route(name="planned", rounds=rounds, **more)

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        return False

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        self.asked.append(routing_request)
        return succeed(self._route)


@implementer(ITrunks)
class NotedTrunks:
    """Knows trunks by the address that their requests come from, and notes what is said of them.

    Args:
        hosts: address to name.

    Attributes:
        ended: (name, status) of each attempt.
    """

    def __init__(self, **hosts: str) -> None:
        self._names = {host: name for name, host in hosts.items()}
        self.ended: list[tuple[str, int]] = []

    def identify(
        self, source: Target, peer_names: Sequence[str], uri: Uri | None = None, user: str | None = None
    ) -> str | None:
        """See `ITrunks`."""
        return self._names.get(source.host)

    def attempt(self, name: str, number: str, request: RoutingRequest) -> Attempt | str:
        """See `ITrunks`."""
        return "nothing goes out by it"

    def attempt_ended(
        self, name: str, status: int, server: Uri | None = None, retry_after: float | None = None
    ) -> None:
        """See `ITrunks`."""
        self.ended.append((name, status))


@implementer(IGate)
class NotedGate:
    """Lets everything pass that the test does not refuse, and notes it.

    Attributes:
        refuses: what is refused: `offered`, `routed`, or the label of an attempt.
        duration: the bound that each call gets.
        notes: what it was asked and told, in order; `{call}` stands for the first call's identifier.
    """

    def __init__(self) -> None:
        self.refuses: set[str] = set()
        self.duration: float | None = None
        self.notes: list[str] = []
        self._first = ""

    def is_urgent(self, request: Request) -> bool:
        """See `IGate`."""
        return False

    def call_offered(self, asked: RoutingRequest) -> None:
        """See `IGate`."""
        self.notes.append("offered")
        self._refuse("offered")

    def call_routed(self, call: str, asked: RoutingRequest, route: Route) -> Route:
        """See `IGate`."""
        self._first = self._first or call
        self.notes.append(f"routed {self._shown(call)} {route.name} {asked.user}")
        self._refuse("routed")
        return replace(route, duration=self.duration)

    def attempt(self, call: str, attempt: Attempt) -> str:
        """See `IGate`."""
        self.notes.append(f"attempt {attempt.label}")
        return "no room" if attempt.label in self.refuses else ""

    def attempt_ended(self, call: str, attempt: Attempt) -> None:
        """See `IGate`."""
        self.notes.append(f"ended {attempt.label}")

    def call_ended(self, call: str) -> None:
        """See `IGate`."""
        self.notes.append(f"over {self._shown(call)}")

    def _shown(self, call: str) -> str:
        return call.replace(self._first, "{call}")

    def _refuse(self, step: str) -> None:
        if step in self.refuses:
            raise RequestRefusedError(f"Refused When {step}", status=503, headers=(("Retry-After", "7"),))
