"""RTP packets: RFC 3550 sections 5.1 and 5.3.1."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sipd.errors import ParseError

_HEADER = struct.Struct("!BBHII")
_EXTENSION = struct.Struct("!HH")


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One RTP packet.

    Args:
        payload_type: 0 to 127.
        sequence: 0 to 65535.
        timestamp: in units of the media clock, 32 bits.
        ssrc: the source, 32 bits.
        payload: without padding.
        marker: what it means depends on the profile: for speech, the first packet after silence.
        contributors: the sources that a mixer mixed, 15 at most.
        extension: what its profile calls it, and its octets, a multiple of four; or ``None``.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    marker: bool = False
    contributors: tuple[int, ...] = ()
    extension: tuple[int, bytes] | None = None

    def to_bytes(self) -> bytes:
        """Print it, without padding.

        Raises:
            ValueError: a field does not fit.
        """
        if not 0 <= self.payload_type <= 127 or len(self.contributors) > 15:
            raise ValueError("RTP packet with a payload type above 127, or more than 15 contributors")
        extension = b""
        if self.extension is not None:
            profile, octets = self.extension
            if len(octets) % 4:
                raise ValueError("RTP header extension that is not a multiple of four octets")
            extension = _EXTENSION.pack(profile, len(octets) // 4) + octets
        try:
            header = _HEADER.pack(
                0x80 | bool(extension) << 4 | len(self.contributors),
                self.marker << 7 | self.payload_type,
                self.sequence,
                self.timestamp,
                self.ssrc,
            )
            contributors = struct.pack(f"!{len(self.contributors)}I", *self.contributors)
        except struct.error as error:
            raise ValueError(f"RTP packet with a field that does not fit: {error}") from error
        return header + contributors + extension + self.payload


def parse_packet(data: bytes) -> RtpPacket:
    """Parse a datagram as one RTP packet.

    Raises:
        ParseError: it is not of version 2, or is cut off.
    """
    if len(data) < _HEADER.size:
        raise ParseError("RTP packet shorter than its header")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise ParseError(f"RTP packet of version {first >> 6}")
    count = first & 0x0F
    place = _HEADER.size + 4 * count
    end = len(data)
    extension = None
    try:
        contributors = struct.unpack_from(f"!{count}I", data, _HEADER.size)
        if first & 0x10:
            profile, words = _EXTENSION.unpack_from(data, place)
            place += _EXTENSION.size
            extension = (profile, bytes(data[place : place + 4 * words]))
            place += 4 * words
    except struct.error as error:
        raise ParseError("RTP packet that is cut off in its header") from error
    if first & 0x20:
        if not data[-1]:
            raise ParseError("RTP padding of no octets")
        end -= data[-1]
    if place > end:
        raise ParseError("RTP packet whose header or padding is longer than itself")
    return RtpPacket(
        payload_type=second & 0x7F,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=ssrc,
        payload=bytes(data[place:end]),
        marker=second > 0x7F,
        contributors=contributors,
        extension=extension,
    )
