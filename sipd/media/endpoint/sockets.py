"""The two sockets of an endpoint: an even port for RTP, the next one for RTCP (RFC 3550 section 11)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorSocket, IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from sipd.errors import ResourcesExhaustedError
from sipd.interfaces import Entropy
from sipd.media.latch import Address

#: How many pairs are tried.
_ATTEMPTS = 100
#: The largest datagram that is taken; more is cut off by the system.
_MAX_OCTETS = 8192

#: Takes a datagram and where it came from.
Receive: TypeAlias = Callable[[bytes, Address], object]


class MediaSocket(DatagramProtocol):
    """One socket. What cannot be sent is counted.

    Attributes:
        unsent: datagrams that the system refused.
    """

    noisy = False

    def __init__(self) -> None:
        self._receive: Receive | None = None
        self.unsent = 0

    def begin(self, receive: Receive) -> None:
        """Give what comes from now on to somebody."""
        self._receive = receive

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """See ``DatagramProtocol``."""
        if self._receive is not None:
            self._receive(datagram, (addr[0], addr[1]))

    def send(self, data: bytes, to: Address) -> bool:
        """Send; say whether the system took it."""
        transport = self.transport
        if transport is None:
            return False
        try:
            transport.write(data, to)
        except (OSError, MessageLengthError, ValueError):
            # ValueError: the address is not of this socket's version of IP, or has a scope that is none.
            self.unsent += 1
            return False
        return True

    def end(self) -> None:
        """Give nothing to anybody any more."""
        self._receive = None


class SocketPair:
    """Both sockets, bound.

    Args:
        reactor: has them.
        host: the numeric address to bind.
        ports: see `EndpointSettings.ports`.
        entropy: chooses where in the range to begin, so that a port is rarely used again soon.

    Attributes:
        port: that of RTP; that of RTCP is the next one.

    Raises:
        ResourcesExhaustedError: of the first 100 pairs none could be bound.
    """

    def __init__(self, reactor: IReactorUDP, host: str, ports: tuple[int, int], entropy: Entropy) -> None:
        self.rtp = MediaSocket()
        self.rtcp = MediaSocket()
        self._listening: list[IListeningPort] = []
        reason: object = "there are none"
        candidates: Iterator[int] = _any_port() if ports == (0, 0) else _evens(ports, entropy)
        for port in candidates:
            try:
                self.port = self._bind(reactor, host, port)
            except CannotListenError as error:
                reason = error.socketError
                continue
            return
        raise ResourcesExhaustedError(f"no media ports on {host}: {reason}")

    def close(self) -> Deferred[None]:
        """Close both; gives when that is done."""
        self.rtp.end()
        self.rtcp.end()
        closing = DeferredList([maybeDeferred(port.stopListening) for port in self._listening], consumeErrors=True)
        self._listening = []
        return closing.addCallback(lambda _: None)

    def _bind(self, reactor: IReactorUDP, host: str, port: int) -> int:
        """Bind both, or none and raise ``CannotListenError``; give the port of RTP."""
        first = _listen(reactor, host, port, self.rtp)
        number = _port_of(first)
        try:
            if number % 2:
                # The system gave an odd one: the pair is that which it belongs to, with the parts the other way round.
                self.rtp, self.rtcp = self.rtcp, self.rtp
                second = _listen(reactor, host, number - 1, self.rtp)
            else:
                second = _listen(reactor, host, number + 1, self.rtcp)
        except CannotListenError:
            first.stopListening()
            self.rtp, self.rtcp = MediaSocket(), MediaSocket()
            raise
        self._listening = [first, second]
        return number - number % 2


def _listen(reactor: IReactorUDP, host: str, port: int, protocol: DatagramProtocol) -> IListeningPort:
    """Bind a socket, or raise ``CannotListenError`` and leave none: Twisted forgets to close what cannot be bound."""
    if not IReactorSocket.providedBy(reactor):
        return reactor.listenUDP(port, protocol, interface=host, maxPacketSize=_MAX_OCTETS)
    sockets: IReactorSocket = reactor
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.setblocking(False)
        try:
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.bind((host, port))
        except OSError as error:
            raise CannotListenError(host, port, error) from error
        # What is adopted is a duplicate.
        return sockets.adoptDatagramPort(bound.fileno(), family, protocol, _MAX_OCTETS)


def _port_of(listening: IListeningPort) -> int:
    """Give the port that a socket is bound to."""
    address: Any = listening.getHost()
    return int(address.port)


def _any_port() -> Iterator[int]:
    """Let the system choose, again and again."""
    return iter((0,) * _ATTEMPTS)


def _evens(ports: tuple[int, int], entropy: Entropy) -> Iterator[int]:
    """Give the even ports of a range, beginning anywhere."""
    low, high = ports
    evens = range(low + low % 2, high, 2)
    start = int.from_bytes(entropy(4), "big") % len(evens)
    return iter([evens[(start + step) % len(evens)] for step in range(min(len(evens), _ATTEMPTS))])
