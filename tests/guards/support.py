"""What the tests of guards share: all guards on a clock, questions as a B2BUA asks them, and the lines of the log."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import RequestRefusedError
from sipd.guards.guards import Guards, GuardSettings
from sipd.guards.scanners import KNOWN_SCANNERS
from sipd.guards.security import NAMESPACE
from sipd.interfaces import Attempt, Route, RoutingRequest
from sipd.sip.locate import Target, Transport
from sipd.sip.uri import parse_uri
from sipd.testing import builders

HOST = "203.0.113.9"


class GuardCase(SynchronousTestCase):
    """All guards on a clock.

    Attributes:
        clock: moves them.
        used: seconds of processor time that were used up to now.
        lines: what was logged as a matter of security.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1_000_000.0
        self.used = 0.0
        self.lines = security_lines(self)
        self.guard()

    def guard(self, **settings: Any) -> None:
        """Make the guards anew."""
        settings.setdefault("scanner_names", KNOWN_SCANNERS)
        self.guards = Guards(
            clock=self.clock,
            processor_time=lambda: self.used,
            entropy=lambda size: bytes(range(size)),
            settings=GuardSettings(**settings),
        )
        self.gate, self.door = self.guards.gate, self.guards.door


def security_lines(case: SynchronousTestCase) -> list[str]:
    """Give a list of the lines on security that are logged from now on, as long as the test runs."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_namespace") == NAMESPACE:
            lines.append(formatEvent(event))

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)
    return lines


def asked(
    to: str = "sip:bob@example.com",
    *,
    user: str | None = None,
    host: str = HOST,
    trunk: str | None = None,
    call_id: str = "one",
) -> RoutingRequest:
    """Give what the gate is asked about a call."""
    return RoutingRequest(
        request=builders.invite(to, call_id=call_id),
        user=user,
        source=Target(transport=Transport.UDP, host=host, port=5060),
        point="udp",
        trunk=trunk,
    )


def attempt(to: str = "sip:+49301234@carrier.example", *, trunk: str | None = None, user: str | None = None) -> Attempt:
    """Give one leg."""
    return Attempt(uri=parse_uri(to), label=to, trunk=trunk, user=user)


def route(*attempts: Attempt, aor: str | None = None, **more: Any) -> Route:
    """Give a route with one round."""
    return Route(name="route", rounds=(attempts,) if attempts else (), aor=aor, **more)


def refusal(case: SynchronousTestCase, function: Any, *arguments: Any) -> tuple[int, str, str | None]:
    """Give status, text and Retry-After of a refusal that must come."""
    error = case.assertRaises(RequestRefusedError, function, *arguments)
    return error.status, str(error), dict(error.headers).get("Retry-After")
