"""Trunks for tests, which are up or down as a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from zope.interface import implementer

from sipd.interfaces import Attempt, ITrunks, RoutingRequest
from sipd.sip.locate import Target
from sipd.sip.uri import SipUri, Uri


@implementer(ITrunks)
@dataclass(slots=True)
class FakeTrunks:
    """Trunks that are hosts: a number is called at the host of its trunk.

    Args:
        hosts: names of trunks to their hosts; what comes from one of these comes from that trunk.
        down: names of those that cannot be used to why.
        attempts: what the attempts by a trunk have of their own.

    Attributes:
        ended: what became of attempts, as trunk and status, in order.
    """

    hosts: Mapping[str, str]
    down: dict[str, str] = field(default_factory=dict)
    attempts: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    ended: list[tuple[str, int]] = field(default_factory=list)

    def identify(
        self, source: Target, peer_names: Sequence[str], uri: Uri | None = None, user: str | None = None
    ) -> str | None:
        """See `ITrunks`."""
        places = (source.host, *peer_names)
        return next((name for name, host in self.hosts.items() if host in places), None)

    def attempt(self, name: str, number: str, request: RoutingRequest) -> Attempt | str:
        """See `ITrunks`."""
        host = self.hosts[name]
        if name in self.down:
            return self.down[name]
        own = self.attempts.get(name, {})
        return Attempt(uri=SipUri(host, number), label=f"trunk {name}", trunk=name, **own)  # type: ignore[arg-type]

    def attempt_ended(
        self, name: str, status: int, server: Uri | None = None, retry_after: float | None = None
    ) -> None:
        """See `ITrunks`."""
        self.ended.append((name, status))
