"""Packets of this machine's interfaces as they pass: an ``AF_PACKET`` socket of Linux (packet(7)), on the reactor."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.observe.sniffing.bpf import NOTHING, port_filter
from sipd.observe.sniffing.errors import SniffingError
from sipd.observe.sniffing.packets import Link
from sipd.observe.sniffing.ports import Ports

#: All interfaces.
ANY = "any"

_ALL_PROTOCOLS = 0x0003
_ATTACH_FILTER, _TIMESTAMP_NS, _RECEIVE_BUFFER_FORCE = 26, 35, 33
_PACKET_LEVEL, _PACKET_STATISTICS = 263, 6
_TIMESPEC = struct.Struct("@ll")
_MAX_PACKET_OCTETS = 262144
#: Room for a burst while something else is being written.
_BUFFER_OCTETS = 8 * 1024 * 1024
#: So many packets are read before others have their turn.
_PACKETS_AT_ONCE = 64

#: Takes when a packet passed, what it begins with, and its octets.
Receive = Callable[[float, Link, bytes], None]


@implementer(IReadDescriptor)
class Wire:
    """Reads the packets of one interface, or of all of them, that have one of some ports.

    Args:
        interface: its name, or ``any``; may be read.
        ports: which packets; the kernel passes over the others.
        seconds: tells the wall clock's time, where the kernel does not say when a packet came.
        receive: is given each packet.
        ended: is told why, once, when nothing can be read any more.

    Raises:
        SniffingError: there is no right to, no such interface, or no such thing on this system.
    """

    def __init__(
        self,
        interface: str,
        ports: Ports,
        *,
        seconds: Callable[[], float],
        receive: Receive,
        ended: Callable[[SniffingError], None],
    ) -> None:
        self._seconds = seconds
        self._receive = receive
        self._ended = ended
        self.interface = interface
        self._reactor: IReactorFDSet | None = None
        self._socket = _open(interface, ports)

    def start(self, reactor: IReactorFDSet) -> None:
        """Read from now on."""
        self._reactor = reactor
        reactor.addReader(self)

    def close(self) -> None:
        """Read no more. Idempotent."""
        if self._reactor is not None:
            self._reactor.removeReader(self)
            self._reactor = None
        self._socket.close()

    def lost(self) -> int:
        """Say how many packets had no room, since this was last asked for."""
        try:
            counts = self._socket.getsockopt(_PACKET_LEVEL, _PACKET_STATISTICS, 8)
        except OSError:
            return 0
        _, dropped = struct.unpack("=II", counts)
        return int(dropped)

    def fileno(self) -> int:
        """See ``IReadDescriptor``."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """See ``IReadDescriptor``."""
        return "wire"

    def connectionLost(self, reason: Failure) -> None:
        """See ``IReadDescriptor``. The reactor ends, or what takes the packets failed."""
        self._reactor = None
        if not reason.check(ConnectionLost):
            self.close()
            self._ended(SniffingError(f"{self.interface}: {reason.getErrorMessage()}"))

    def doRead(self) -> None:
        """See ``IReadDescriptor``."""
        for _ in range(_PACKETS_AT_ONCE):
            if self._reactor is None:
                return
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_MAX_PACKET_OCTETS, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.close()
                self._ended(SniffingError(f"{self.interface}: {error.strerror}"))
                return
            at = _time(ancillary)
            self._receive(self._seconds() if at is None else at, Link.RAW, data)


def _open(interface: str, ports: Ports) -> socket.socket:
    if not hasattr(socket, "AF_PACKET"):
        raise SniffingError("only Linux lets sipd watch interfaces; --read FILE reads a capture of anything else")
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        # One that has no protocol gets nothing until it is bound. Python binds to no interface but a single one.
        found = socket.socket(socket.AF_PACKET, kind, socket.htons(_ALL_PROTOCOLS) if interface == ANY else 0)
    except PermissionError:
        raise SniffingError(
            "watching an interface needs root, or the capability CAP_NET_RAW; --read FILE needs neither"
        ) from None
    except OSError as error:
        raise SniffingError(f"interfaces cannot be watched: {error.strerror}") from None
    try:
        _attach(found, NOTHING)
        _drain(found)
        _attach(found, port_filter(ports))
        found.setsockopt(socket.SOL_SOCKET, _TIMESTAMP_NS, 1)
        _enlarge(found)
        if interface != ANY:
            found.bind((interface, _ALL_PROTOCOLS))
    except OSError as error:
        found.close()
        if error.errno == errno.ENODEV:
            raise SniffingError(f"there is no interface {interface}") from None
        raise SniffingError(f"{interface} cannot be watched: {error.strerror or error}") from None
    return found


def _drain(found: socket.socket) -> None:
    """Throw away what came before there was a filter; now nothing comes."""
    with suppress(BlockingIOError):
        while True:
            found.recv(1)


def _attach(found: socket.socket, instructions: bytes) -> None:
    room = ctypes.create_string_buffer(instructions)
    program = struct.pack("@HP", len(instructions) // 8, ctypes.addressof(room))
    found.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


def _enlarge(found: socket.socket) -> None:
    try:
        found.setsockopt(socket.SOL_SOCKET, _RECEIVE_BUFFER_FORCE, _BUFFER_OCTETS)
    except PermissionError:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_OCTETS)


def _time(ancillary: list[tuple[int, int, bytes]]) -> float | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMP_NS and len(data) >= _TIMESPEC.size:
            seconds, nanoseconds = _TIMESPEC.unpack_from(data)
            return float(seconds + nanoseconds / 1_000_000_000)
    return None
