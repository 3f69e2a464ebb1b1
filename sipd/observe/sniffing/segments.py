"""What is in an IP packet: UDP datagrams (RFC 768) and TCP segments (RFC 9293). Checksums are not looked at.

A card that computes checksums does so after the capture has seen the packet.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sipd.observe.sniffing.errors import PacketError

_UDP_HEADER = struct.Struct(">HHHH")
_TCP_HEADER = struct.Struct(">HHIIBB")
_TCP_HEADER_OCTETS = 20
_SYN = 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """One UDP datagram.

    Args:
        source_port: where from.
        destination_port: where to.
        payload: its octets, as far as they were captured.
    """

    source_port: int
    destination_port: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One TCP segment.

    Args:
        source_port: where from.
        destination_port: where to.
        sequence: the number of the first octet; of a SYN, that before it.
        opens: whether it is a SYN.
        payload: its octets.
    """

    source_port: int
    destination_port: int
    sequence: int
    opens: bool
    payload: bytes


def parse_datagram(data: bytes) -> Datagram:
    """Parse what an IP packet says is UDP.

    Raises:
        PacketError: it is shorter than a header.
    """
    if len(data) < _UDP_HEADER.size:
        raise PacketError("A UDP header that is cut off")
    source, destination, length, _ = _UDP_HEADER.unpack_from(data)
    # No length: as large as the packet (RFC 2675, and offloading).
    end = length or len(data)
    if end < _UDP_HEADER.size:
        raise PacketError("A UDP datagram of impossible length")
    return Datagram(
        source_port=source,
        destination_port=destination,
        payload=data[_UDP_HEADER.size : end],
    )


def parse_segment(data: bytes) -> Segment:
    """Parse what an IP packet says is TCP.

    Raises:
        PacketError: it is shorter than its header.
    """
    if len(data) < _TCP_HEADER_OCTETS:
        raise PacketError("A TCP header that is cut off")
    source, destination, sequence, _, size, flags = _TCP_HEADER.unpack_from(data)
    place = (size >> 4) * 4
    if not _TCP_HEADER_OCTETS <= place <= len(data):
        raise PacketError("A TCP header of impossible length")
    return Segment(
        source_port=source,
        destination_port=destination,
        sequence=sequence,
        opens=bool(flags & _SYN),
        payload=data[place:],
    )
