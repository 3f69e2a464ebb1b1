"""Listening sockets: Twisted's, with what a public SIP port needs besides.

A socket on an IPv6 address leaves IPv4 to another one, so that both can listen on the same port, and no IPv4 peer is
written as `::ffff:192.0.2.1` into a Via. A UDP socket takes a bounded number of datagrams before it lets others have
their turn; Twisted's own counts octets, and a flood of empty datagrams would keep it for ever.
"""

from __future__ import annotations

import socket

from twisted.internet import tcp, udp
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorFDSet, IReactorTCP, IReactorUDP
from twisted.internet.protocol import DatagramProtocol, ServerFactory

#: Larger than any datagram.
_MAX_DATAGRAM_OCTETS = 65535
_MAX_DATAGRAMS_PER_TURN = 100
#: Asked of the kernel, which may give less: what comes while a garbage collection pauses us should wait, not be lost.
_RECEIVE_BUFFER_OCTETS = 4 * 1024 * 1024
#: Connections that wait to be accepted.
_BACKLOG = 512
#: Seconds of silence before the kernel asks whether the peer is still there, and between its questions.
_PROBE_AFTER = 120
_PROBE_INTERVAL = 10


def listen_udp(reactor: IReactorUDP, host: str, port: int, protocol: DatagramProtocol) -> IListeningPort:
    """Bind a UDP socket. A reactor that has no real sockets gives its own kind.

    Raises:
        CannotListenError: the address cannot be bound.
    """
    if IReactorFDSet.providedBy(reactor):
        return _start(_UdpSocket(port, protocol, host, _MAX_DATAGRAM_OCTETS, reactor))
    return reactor.listenUDP(port, protocol, interface=host, maxPacketSize=_MAX_DATAGRAM_OCTETS)


def listen_tcp(reactor: IReactorTCP, host: str, port: int, factory: ServerFactory) -> IListeningPort:
    """Bind a TCP socket. A reactor that has no real sockets gives its own kind.

    Raises:
        CannotListenError: the address cannot be bound.
    """
    if IReactorFDSet.providedBy(reactor):
        return _start(_TcpSocket(port, factory, _BACKLOG, host, reactor))
    return reactor.listenTCP(port, factory, backlog=_BACKLOG, interface=host)


def watch_peer(connected: socket.socket, timeout: float) -> None:
    """Let the kernel end a connection whose peer has vanished, so that it is not used again and again (RFC 1122).

    Without this a request on it would just time out, and so would the next one.

    Args:
        connected: a TCP socket.
        timeout: seconds that what is written, or a question of the kernel, may stay without an answer.
    """
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _PROBE_AFTER),
        ("TCP_KEEPINTVL", _PROBE_INTERVAL),
        ("TCP_USER_TIMEOUT", int(timeout * 1000)),
    ):
        if hasattr(socket, name):  # not every system has all of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class _UdpSocket(udp.Port):
    """A UDP socket that is read in bounded batches."""

    def createInternetSocket(self) -> socket.socket:
        """See `udp.Port`."""
        self.made = _ipv6_only(super().createInternetSocket())
        self.made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_OCTETS)
        return self.made

    def doRead(self) -> None:
        """See `udp.Port`."""
        receive = self.socket.recvfrom
        take = self.protocol.datagramReceived
        for _ in range(_MAX_DATAGRAMS_PER_TURN):
            try:
                data, address = receive(_MAX_DATAGRAM_OCTETS)
            except OSError:  # nothing more is there, or something is wrong with one that was sent
                return
            take(data, address[:2])


class _TcpSocket(tcp.Port):
    """A TCP socket that accepts connections."""

    def createInternetSocket(self) -> socket.socket:
        """See `tcp.Port`."""
        self.made = _ipv6_only(super().createInternetSocket())
        return self.made


def _start(listening: _UdpSocket | _TcpSocket) -> IListeningPort:
    try:
        listening.startListening()
    except CannotListenError:
        listening.made.close()  # Twisted leaves that to the garbage collector
        raise
    return listening


def _ipv6_only(made: socket.socket) -> socket.socket:
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made
