"""What most packets need: from one socket to another, counted, without a question being asked.

A stream that is settled on both sides and needs no treatment has a path. The poller takes what comes on it by itself,
with everything at hand: to ask objects costs more than all that is done with the packet. Whatever is unusual about a
packet, it goes to the socket's own methods. This is compiled, if anything is: see `sipd.compiling`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sipd.media.watch import StreamWatch
from sipd.records import StreamStatistics

if TYPE_CHECKING:
    from sipd.media.rtp_socket import RtpSocket

#: The fixed part of the header of an RTP packet (RFC 3550 section 5.1).
read_header = struct.Struct("!BBHII").unpack_from
HEADER_SIZE = 12

#: Larger packets are no audio, and a view of them is made when it is wanted.
_LARGEST = 2048


class DatagramBuffer:
    """Where datagrams are while they are relayed: one at a time, so all sockets share it.

    Attributes:
        octets: what was read.
        view: of all of it.
        views: of its beginning, by its size, for sizes that are usual.
    """

    __slots__ = ("octets", "view", "views")

    def __init__(self) -> None:
        self.octets = bytearray(65536)
        self.view = memoryview(self.octets)
        self.views = [self.view[:size] for size in range(_LARGEST + 1)]

    def beginning(self, size: int) -> memoryview:
        """Give a view of so many octets."""
        return self.views[size] if size <= _LARGEST else self.view[:size]


class Path:
    """The way from a socket to its peer.

    Args:
        read: how to read from the socket.
        send: how to send from the other one.
        watch: learns of what comes.
        statistics: count it.
        others: count for the peer.
        limit: of packets that may be counted before the socket has to be asked.
        socket: what is unusual goes to it.
    """

    __slots__ = ("limit", "others", "read", "send", "socket", "statistics", "watch")

    def __init__(
        self,
        read: Callable[[bytearray], int],
        send: Callable[[memoryview], Any],
        watch: StreamWatch,
        statistics: StreamStatistics,
        others: StreamStatistics,
        limit: int,
        socket: RtpSocket,
    ) -> None:
        self.read = read
        self.send = send
        self.watch = watch
        self.statistics = statistics
        self.others = others
        self.limit = limit
        self.socket = socket


def pass_on(
    events: list[tuple[int, int]],
    paths: dict[int, Path],
    buffer: DatagramBuffer,
    now: float,
    receive: Callable[[int], object],
    forward: Callable[[RtpSocket, int], object],
) -> None:
    """Take one datagram of each socket that has one.

    Args:
        events: of epoll.
        paths: of sockets, by their descriptors; may change meanwhile.
        buffer: for the datagram.
        now: the time.
        receive: lets a socket that has no path take one by itself.
        forward: takes one in the buffer, of that size, that cannot go on on its path.
    """
    octets, views = buffer.octets, buffer.views
    for descriptor, _ in events:
        path = paths.get(descriptor)
        if path is None:
            receive(descriptor)
            continue
        statistics = path.statistics
        try:
            size = path.read(octets)
        except BlockingIOError:
            continue
        except OSError:
            # News of an earlier datagram: nobody was there.
            statistics.unreachable += 1
            continue
        if HEADER_SIZE <= size < _LARGEST:
            first, second, sequence, timestamp, ssrc = read_header(octets)
            packets = statistics.packets
            watch = path.watch
            if first & 0xC0 == 0x80 and second & 0x7F == watch.payload_type and packets < path.limit:
                watch.packet(second, sequence, timestamp, ssrc, now)
                statistics.packets = packets + 1
                statistics.size_octets += size
                try:
                    path.send(views[size])
                except BlockingIOError:
                    continue
                except OSError:
                    path.others.unreachable += 1
                continue
        forward(path.socket, size)
