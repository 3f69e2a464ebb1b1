"""UDP sockets of a simulated host, with the interfaces of Twisted's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from sipd.testing.links import Address
from sipd.transport.sockets import DatagramReceiver

if TYPE_CHECKING:
    from sipd.testing.network import Host

#: The largest UDP payload over IPv4.
_MAX_DATAGRAM_OCTETS = 65507


def twisted_address(kind: str, address: Address) -> IPv4Address | IPv6Address:
    """Give Twisted's form of an address; ``kind`` is `UDP` or `TCP`."""
    return (IPv6Address if ":" in address[0] else IPv4Address)(kind, *address)  # type: ignore[arg-type]


class BoundSocket:
    """What a listening socket of either kind has: addresses of its host, and a port."""

    def __init__(self, host: Host, port: int, interface: str) -> None:
        self.host = host
        self._port = port or host.take_port()
        self._interface = interface
        self._addresses: list[Address] = []

    def _bind(self, sockets: dict[Address, Any]) -> None:
        self._addresses = [(address, self._port) for address in self.host.addresses_for(self._interface)]
        if not self._addresses:
            raise CannotListenError(self._interface, self._port, OSError("the host has no such address"))
        if any(address in sockets for address in self._addresses):
            raise CannotListenError(self._interface, self._port, OSError("the address is in use"))
        sockets.update(dict.fromkeys(self._addresses, self))

    def _unbind(self, sockets: dict[Address, Any]) -> None:
        for address in self._addresses:
            sockets.pop(address, None)
        self._addresses = []

    def _local_address(self) -> Address:
        return (self._interface or "0.0.0.0", self._port)


@implementer(IListeningPort, IUDPTransport)
class SimulatedPort(BoundSocket):
    """A UDP socket. Made by `Host.listenUDP`."""

    def __init__(self, host: Host, port: int, protocol: DatagramProtocol, interface: str, max_size_octets: int) -> None:
        super().__init__(host, port, interface)
        self.protocol = protocol
        self._max_size_octets = max_size_octets
        self._connected_to: Address | None = None
        self._broadcast = False

    def startListening(self) -> None:
        """See ``IListeningPort``."""
        self._bind(self.host.ports)
        self.protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None]:
        """See ``IListeningPort``. Takes effect at once."""
        if self._addresses:
            self._unbind(self.host.ports)
            self.protocol.doStop()
        return succeed(None)

    def write(self, packet: bytes, addr: Address | None = None) -> None:
        """See ``IUDPTransport``. What a closed socket sends goes nowhere."""
        destination = self._connected_to if addr is None else addr
        if destination is None:
            raise ValueError("a socket that is not connected needs an address to send to")
        if len(packet) > _MAX_DATAGRAM_OCTETS:
            raise MessageLengthError("message too long")
        address = self._source_address(destination[0])
        if address is not None:
            self.host.network.send_datagram(self.host, (address, self._port), destination, packet)

    def deliver(self, data: bytes, source: Address) -> None:
        """Take a datagram off the network."""
        if self._connected_to is None or source == self._connected_to:
            self.protocol.datagramReceived(data[: self._max_size_octets], source)

    def refused(self, destination: Address) -> None:
        """Tell the protocol, if it wants to know (`DatagramReceiver`), that nobody took its datagram."""
        if isinstance(self.protocol, DatagramReceiver):
            self.protocol.datagram_refused(*destination, "Connection refused")

    def connect(self, host: str, port: int) -> None:
        """See ``IUDPTransport``."""
        self._connected_to = (host, port)

    def getHost(self) -> IPv4Address | IPv6Address:
        """See ``IUDPTransport``."""
        return twisted_address("UDP", self._local_address())

    def setBroadcastAllowed(self, enabled: bool) -> None:  # noqa: N802 (the interface's name)
        """See ``IUDPTransport``. Nothing here is a broadcast."""
        self._broadcast = enabled

    def getBroadcastAllowed(self) -> bool:  # noqa: N802 (the interface's name)
        """See ``IUDPTransport``."""
        return self._broadcast

    def _source_address(self, destination: str) -> str | None:
        family = [address for address, _ in self._addresses if (":" in address) is (":" in destination)]
        return family[0] if family else None
