"""Listening sockets: Twisted's, with what a public SIP port needs besides.

A socket on an IPv6 address leaves IPv4 to another one, so that both can listen on the same port, and no IPv4 peer is
written as ``::ffff:192.0.2.1`` into a Via. A UDP socket takes a bounded number of datagrams before it lets others have
their turn; Twisted's own counts octets, and a flood of empty datagrams would keep it for ever. On Linux it is told
where its datagrams did not arrive (ICMP, RFC 3261 section 18.4), so that nobody waits for an answer from there.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

from twisted.internet import tcp, udp
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IHalfCloseableDescriptor,
    IListeningPort,
    IReactorFDSet,
    IReactorSocket,
    IReactorTCP,
    IReactorUDP,
)
from twisted.internet.protocol import DatagramProtocol, ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

#: Larger than any datagram.
_MAX_DATAGRAM_OCTETS = 65535
#: Of one socket before others have their turn: a call takes a millisecond of them, and media should not wait for more.
MAX_DATAGRAMS_PER_TURN = 32
#: Asked of the kernel, which may give less: what comes while a garbage collection pauses us should wait, not be lost.
_RECEIVE_BUFFER_OCTETS = 4 * 1024 * 1024
#: Connections that wait to be accepted.
_BACKLOG = 512
#: Seconds of silence before the kernel asks whether the peer is still there, and between its questions.
_PROBE_AFTER = 120
_PROBE_INTERVAL = 10
#: Linux: switches on that a socket keeps what ICMP says of its datagrams, by the family of the socket (ip(7), ipv6(7)).
_KEEP_ERRORS = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}
#: Linux: an error as it is kept: its number, and who told it (``struct sock_extended_err``); and those told by ICMP.
_KEPT_ERROR = struct.Struct("=IB")
_FROM_ICMP = (2, 3)
_REFUSALS = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH)


class DatagramReceiver(DatagramProtocol):
    """What stands on a UDP socket."""

    def datagram_refused(self, host: str, port: int, problem: str) -> None:
        """Take note that a datagram to that address did not arrive, as the network says."""


def listen_udp(reactor: IReactorUDP, host: str, port: int, protocol: DatagramReceiver) -> IListeningPort:
    """Bind a UDP socket. A reactor that has no real sockets gives its own kind.

    Raises:
        CannotListenError: the address cannot be bound.
    """
    if IReactorFDSet.providedBy(reactor):
        return _start(_UdpSocket(port, protocol, host, _MAX_DATAGRAM_OCTETS, reactor))
    return reactor.listenUDP(port, protocol, interface=host, maxPacketSize=_MAX_DATAGRAM_OCTETS)


def adopt_udp(reactor: IReactorSocket, made: socket.socket, protocol: DatagramReceiver) -> IListeningPort:
    """Listen on a bound UDP socket; a duplicate of it is used, which does not block.

    Raises:
        OSError: it is closed, or the system has no room for another one.
    """
    made.setblocking(False)
    return reactor.adoptDatagramPort(made.fileno(), made.family, protocol, _MAX_DATAGRAM_OCTETS)


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


@implementer(IHalfCloseableDescriptor)
class _UdpSocket(udp.Port):
    """A UDP socket that is read in bounded batches, and that knows what did not arrive."""

    def createInternetSocket(self) -> socket.socket:
        """See ``udp.Port``."""
        self.made = _ipv6_only(super().createInternetSocket())
        self.made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_OCTETS)
        if sys.platform == "linux":
            self.made.setsockopt(*_KEEP_ERRORS[self.made.family], 1)
        return self.made

    def doRead(self) -> None:
        """See ``udp.Port``."""
        receive = self.socket.recvfrom
        take = self.protocol.datagramReceived
        for _ in range(MAX_DATAGRAMS_PER_TURN):
            try:
                data, address = receive(_MAX_DATAGRAM_OCTETS)
            except BlockingIOError:  # nothing more is there
                return
            except OSError:  # something is wrong with one that was sent
                self._take_errors()
                return
            take(data, address[:2])

    def readConnectionLost(self, reason: Failure) -> None:
        """See ``IHalfCloseableDescriptor``: a reactor says so when there is an error, and nothing to read."""
        self._take_errors()
        self.startReading()

    def writeConnectionLost(self, reason: Failure) -> None:  # noqa: N802 (the interface's name)
        """See ``IHalfCloseableDescriptor``. Datagrams are not written by the reactor."""

    def _take_errors(self) -> None:
        """Tell the protocol what is kept; it would keep the reactor busy."""
        if sys.platform != "linux":
            return
        for _ in range(MAX_DATAGRAMS_PER_TURN):
            try:
                _, ancillary, _, address = self.socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:  # no more
                return
            for _, _, data in ancillary:
                number, origin = _KEPT_ERROR.unpack_from(data)
                if origin in _FROM_ICMP and number in _REFUSALS:
                    self.protocol.datagram_refused(*address[:2], os.strerror(number))


class _TcpSocket(tcp.Port):
    """A TCP socket that accepts connections."""

    def createInternetSocket(self) -> socket.socket:
        """See ``tcp.Port``."""
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
