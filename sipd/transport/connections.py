"""All connections of a transport layer, and which of them a request may take (RFC 5923)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sipd.interfaces import ListeningPoint
from sipd.sip.locate import Target, Transport
from sipd.transport.flows import StreamFlow


class ConnectionTable:
    """All connections of a transport layer, by the address of the peer."""

    def __init__(self) -> None:
        self._flows: dict[tuple[Transport, str, int], list[StreamFlow]] = {}
        self._inbound: dict[str, set[StreamFlow]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[StreamFlow]:
        return (flow for flows in list(self._flows.values()) for flow in list(flows))

    def inbound_from(self, host: str) -> int:
        """Say how many accepted connections that address has."""
        return len(self._inbound.get(host, ()))

    def add(self, flow: StreamFlow) -> None:
        """Take in a connection, open or not."""
        self._flows.setdefault((flow.transport, flow.host, flow.port), []).append(flow)
        if flow.is_inbound:
            self._inbound.setdefault(flow.host, set()).add(flow)
        self._count += 1

    def remove(self, flow: StreamFlow) -> None:
        """Forget a connection that has ended."""
        key = (flow.transport, flow.host, flow.port)
        flows = self._flows.get(key, [])
        if flow not in flows:
            return
        flows.remove(flow)
        self._count -= 1
        if not flows:
            del self._flows[key]
        if flow.is_inbound:
            inbound = self._inbound[flow.host]
            inbound.discard(flow)
            if not inbound:
                del self._inbound[flow.host]

    def find(self, target: Target) -> StreamFlow | None:
        """Give an open connection to exactly that address, whatever it is called."""
        for flow in self._flows.get((target.transport, target.host, target.port), ()):
            if flow.is_open:
                return flow
        return None

    def find_reusable(
        self, target: Target, point: ListeningPoint, is_good: Callable[[StreamFlow], bool]
    ) -> StreamFlow | None:
        """Give an open connection that a request to that target may take (RFC 5923).

        Over TLS it must be one whose certificate was verified for the same name by the same listening point, since
        its client certificate and its policy are the point's: two names at one address are two peers (lesson 17).

        Args:
            target: where the request goes.
            point: the listening point chosen for it.
            is_good: says whether the verified certificate of a connection that came in is good for the target.
        """
        for flow in self._flows.get((target.transport, target.host, target.port), ()):
            if not flow.is_open:
                continue
            if not target.transport.is_secure:
                return flow
            if flow.point == point and (is_good(flow) if flow.is_inbound else flow.server_name == server_name(target)):
                return flow
        return None


def server_name(target: Target) -> str:
    """Give what a certificate must be good for: the host of the URI, else the address itself."""
    return (target.server_name or target.host).lower()
