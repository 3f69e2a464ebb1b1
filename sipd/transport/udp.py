"""UDP listening points and their flows (RFC 3261 section 18)."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import lru_cache, partial
from typing import cast

from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import ISystemHandle
from zope.interface import implementer

from sipd.errors import ConnectionRefused, TransportError
from sipd.interfaces import IFlow, ListeningPoint
from sipd.sip.locate import Transport
from sipd.transport.flows import FlowOwner
from sipd.transport.sockets import DatagramReceiver


@implementer(IFlow)
class UdpFlow:
    """What comes from and goes to one address by way of one listening point. Two with the same ends are equal."""

    __slots__ = ("_address", "_udp", "host", "point", "port")

    transport: Transport = Transport.UDP
    is_open: bool = True
    peer_names: tuple[str, ...] = ()

    def __init__(self, udp: UdpPort, host: str, port: int) -> None:
        self.point: ListeningPoint = udp.point
        self.host: str = host
        self.port: int = port
        self._udp = udp
        self._address = (host, port)

    def send(self, data: bytes) -> None:
        """See `IFlow`."""
        self._udp.send(data, self._address, self)

    def close(self) -> None:
        """See `IFlow`."""

    def to(self, host: str, port: int) -> UdpFlow:
        """Give the flow from the same listening point to another address."""
        return self._udp.flow(host, port)

    def __str__(self) -> str:
        return f"UDP [{self.host}]:{self.port}" if ":" in self.host else f"UDP {self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, UdpFlow):
            return NotImplemented
        return self._address == other._address and self._udp is other._udp

    def __hash__(self) -> int:
        return hash(self._address)


class UdpPort(DatagramReceiver):
    """One UDP listening point. Decides nothing.

    Args:
        owner: of all flows.
        point: where it listens; its port is settled when the socket is bound.
    """

    noisy = False

    def __init__(self, owner: FlowOwner, point: ListeningPoint) -> None:
        self.point = point
        #: Gives the flow to (host, port): the same one as before, unless ``max_udp_flows`` others came in between.
        self.flow: Callable[[str, int], UdpFlow] = lru_cache(owner.limits.max_udp_flows)(partial(UdpFlow, self))
        self._owner = owner
        self._send_to: Callable[[bytes, tuple[str, int]], object] = _discard

    def startProtocol(self) -> None:
        """See ``DatagramProtocol``: the socket is bound."""
        transport = self.transport
        assert transport is not None
        if ISystemHandle.providedBy(transport):
            # Port.write looks at the address three times before it calls this.
            self._send_to = cast(socket.socket, transport.getHandle()).sendto
        else:
            self._send_to = transport.write

    def stopProtocol(self) -> None:
        """See ``DatagramProtocol``: the socket is closed; what is still sent goes nowhere."""
        self._send_to = _discard

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """See ``DatagramProtocol``. Who is not listened to is not remembered either."""
        owner = self._owner
        if owner.guard is None or not owner.guard.drops(addr[0]):
            owner.datagram_came(datagram, self.flow(*addr))

    def datagram_refused(self, host: str, port: int, problem: str) -> None:
        """See `DatagramReceiver`. A request that is under way to there has failed (RFC 3261 section 18.4)."""
        flow = self.flow(host, port)
        self._owner.incidents.note("refused-datagram", flow, problem)
        self._owner.flow_failed(flow, ConnectionRefused(f"{flow}: {problem}"))

    def send(self, data: bytes, address: tuple[str, int], flow: UdpFlow) -> None:
        """Send one datagram. What the socket does not take for lack of room is lost, as on the way."""
        owner = self._owner
        if owner.observers:
            owner.show(data, flow, sent=True)
        owner.counters.count_sent(data, Transport.UDP)
        try:
            self._send_to(data, address)
        except (OSError, MessageLengthError):
            self._send_again(data, address, flow)

    def _send_again(self, data: bytes, address: tuple[str, int], flow: UdpFlow) -> None:
        """Send what could not be sent: Linux may have told of an earlier datagram, to somewhere else."""
        owner = self._owner
        try:
            self._send_to(data, address)
        except BlockingIOError:
            owner.incidents.note("send-failed", flow, "the socket has no room")
        except (OSError, MessageLengthError) as error:
            owner.incidents.note("send-failed", flow, str(error))
            owner.clock.callLater(0, owner.flow_failed, flow, TransportError(f"{flow}: {error}"))
            owner.clock.callLater(0, owner.not_sent, data, flow)


def _discard(data: bytes, address: tuple[str, int]) -> None:
    pass
