"""What most packets need: from one socket to another, counted, without a question being asked.

A stream that is settled on both sides and needs no treatment has a path. The poller takes what comes on it by itself,
with everything at hand in local variables: to ask objects costs more than all that is done with the packet. Whatever is
unusual about a packet, it goes to the socket's own methods.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from sipd.interfaces import StreamStatistics
    from sipd.media.rtp_socket import RtpSocket
    from sipd.media.watch import StreamWatch

#: The fixed part of the header of an RTP packet (RFC 3550 section 5.1).
read_header = struct.Struct("!BBHII").unpack_from
HEADER_SIZE = 12

#: Larger packets are no audio, and a view of them is made when it is wanted.
_LARGEST = 2048

#: How to read from the socket, how to send from the other one, what watches, who counts, who counts for the other, how
#: many packets may be counted before the socket has to be asked, and the socket.
Path: TypeAlias = tuple[
    Callable[[bytearray], int],
    Callable[[memoryview], Any],
    "StreamWatch",
    "StreamStatistics",
    "StreamStatistics",
    int,
    "RtpSocket",
]


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
