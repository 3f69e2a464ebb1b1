"""Messages of a scripted peer as octets: on one UDP port, or on one connection to its proxy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from sipd.errors import ParseError
from sipd.sip.framing import PONG, KeepAlive, StreamFramer
from sipd.sip.message import Request, Response
from sipd.sip.parser import is_keep_alive, parse_datagram
from sipd.testing.links import Address

#: Takes a message and where it came from.
Received = Callable[[Request | Response, Address], None]


class DatagramWire(DatagramProtocol):
    """One UDP port.

    Args:
        reactor: a `Host`, or a real reactor.
        local: numeric address and port to bind.
        received: called with each message that parses; others are dropped.
    """

    noisy = False
    is_reliable = False

    def __init__(self, reactor: Any, local: Address, received: Received) -> None:
        self._received = received
        self._port = reactor.listenUDP(local[1], self, interface=local[0], maxPacketSize=65536)

    def send(self, message: Request | Response, destination: Address) -> None:
        """Send a message."""
        self._port.write(message.to_bytes(), destination)

    def close(self) -> None:
        """Close the port."""
        self._port.stopListening()

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """See ``DatagramProtocol``."""
        if is_keep_alive(datagram):
            return
        try:
            message = parse_datagram(datagram)
        except ParseError:
            return
        self._received(message, addr)


class StreamWire:
    """One connection to a proxy, made when the first message is sent, and again when it was lost.

    Args:
        reactor: a `Host`, or a real reactor.
        proxy: where it goes: the destinations of messages do not count.
        received: called with each message that parses.
    """

    is_reliable = True

    def __init__(self, reactor: Any, proxy: Address, received: Received) -> None:
        self.proxy = proxy
        self.received = received
        self._reactor = reactor
        self._protocol: _StreamProtocol | None = None
        self._unsent: list[bytes] = []
        self._is_connecting = False

    def send(self, message: Request | Response, destination: Address) -> None:
        """Send a message; it waits for the connection."""
        if self._protocol is not None:
            self._protocol.write(message.to_bytes())
            return
        self._unsent.append(message.to_bytes())
        if not self._is_connecting:
            self._is_connecting = True
            self._reactor.connectTCP(*self.proxy, _StreamFactory(self))

    def close(self) -> None:
        """Close the connection."""
        if self._protocol is not None:
            self._protocol.close()

    def made(self, protocol: _StreamProtocol) -> None:
        """Take note of the connection, and send what waits."""
        self._is_connecting = False
        self._protocol = protocol
        unsent, self._unsent = self._unsent, []
        for data in unsent:
            protocol.write(data)

    def lost(self) -> None:
        """Take note that there is no connection; what waits is lost."""
        self._is_connecting = False
        self._protocol = None
        self._unsent.clear()


class _StreamFactory(ClientFactory["_StreamProtocol"]):
    noisy = False

    def __init__(self, wire: StreamWire) -> None:
        self._wire = wire

    def buildProtocol(self, addr: IAddress | None) -> _StreamProtocol:
        return _StreamProtocol(self._wire)

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        self._wire.lost()


class _StreamProtocol(Protocol):
    def __init__(self, wire: StreamWire) -> None:
        self._wire = wire
        self._framer = StreamFramer()

    def write(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()

    def connectionMade(self) -> None:
        self._wire.made(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            for item in self._framer.feed(data):
                if isinstance(item, KeepAlive):
                    self.write(PONG)
                else:
                    self._wire.received(parse_datagram(item), self._wire.proxy)
        except ParseError:
            self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._wire.lost()
