"""RTCP: RFC 3550 section 6, and how to tell it from RTP on one port (RFC 5761 section 4)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

from sipd.errors import ParseError

#: The second octet of every RTCP packet, and of no RTP packet where both share a port (RFC 5761 section 4).
FIRST_RTCP_OCTET = 192
LAST_RTCP_OCTET = 223

_SENDER_REPORT = 200
_RECEIVER_REPORT = 201
_SOURCE_DESCRIPTION = 202
_GOODBYE = 203

_SENDER_INFO = struct.Struct("!IIIII")
_REPORT_BLOCK = struct.Struct("!IB3sIIII")
_CNAME = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """What one participant received from a source (RFC 3550 section 6.4.1).

    Args:
        ssrc: the source reported on.
        fraction_lost: since the report before, 0.0 to 1.0.
        packets_lost: since the beginning; below zero if there were duplicates.
        highest_sequence: extended highest sequence number received.
        jitter: interarrival jitter in units of the RTP timestamp.
        last_report: the middle 32 bits of the NTP timestamp of the last sender report, or 0.
        delay: seconds since that report came.
    """

    ssrc: int
    fraction_lost: float
    packets_lost: int
    highest_sequence: int
    jitter: int
    last_report: int
    delay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """SR (RFC 3550 section 6.4.1).

    Args:
        ssrc: who reports.
        ntp_timestamp: 64 bits, seconds since 1900 in the upper half.
        rtp_timestamp: the same moment in units of the media clock.
        packet_count: packets sent.
        octet_count: octets of payload sent.
        reports: what it received.
    """

    ssrc: int
    ntp_timestamp: int
    rtp_timestamp: int
    packet_count: int
    octet_count: int
    reports: tuple[ReportBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """RR (RFC 3550 section 6.4.2)."""

    ssrc: int
    reports: tuple[ReportBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """SDES (RFC 3550 section 6.5).

    Args:
        chunks: for each source its SSRC and its items, as (type, octets).
    """

    chunks: tuple[tuple[int, tuple[tuple[int, bytes], ...]], ...]

    @property
    def canonical_names(self) -> dict[int, str]:
        """SSRC to CNAME."""
        return {
            ssrc: value.decode("utf-8", "replace")
            for ssrc, items in self.chunks
            for kind, value in items
            if kind == _CNAME
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Goodbye:
    """BYE (RFC 3550 section 6.6)."""

    sources: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRtcp:
    """A packet of any other type: APP, feedback (RFC 4585), extended reports (RFC 3611).

    Args:
        packet_type: the second octet.
        count: the five bits of the first octet that mean something else in each type.
        body: what follows the four octets of the header, without padding.
    """

    packet_type: int
    count: int
    body: bytes


RtcpPacket: TypeAlias = SenderReport | ReceiverReport | SourceDescription | Goodbye | OtherRtcp


def is_rtcp(data: bytes) -> bool:
    """Say whether a datagram on a shared port is RTCP rather than RTP (RFC 5761 section 4)."""
    return len(data) >= 4 and data[0] >> 6 == 2 and FIRST_RTCP_OCTET <= data[1] <= LAST_RTCP_OCTET


def parse_compound(data: bytes) -> tuple[RtcpPacket, ...]:
    """Parse a datagram of one or more RTCP packets (RFC 3550 section 6.1; alone: RFC 5506).

    Raises:
        ParseError: a packet is cut off, or is not RTCP.
    """
    packets = []
    place = 0
    while place < len(data):
        if not is_rtcp(data[place : place + 4]):
            raise ParseError("not RTCP")
        first, packet_type, words = struct.unpack_from("!BBH", data, place)
        end = place + 4 + 4 * words
        if end > len(data):
            raise ParseError("RTCP packet that is cut off")
        body = data[place + 4 : end]
        if first & 0x20:
            padding = body[-1] if body else 0
            if not 0 < padding <= len(body):
                raise ParseError("RTCP padding of an impossible length")
            body = body[:-padding]
        packets.append(_parse_packet(packet_type, first & 0x1F, body))
        place = end
    if not packets:
        raise ParseError("RTCP without a packet")
    return tuple(packets)


def _parse_packet(packet_type: int, count: int, body: bytes) -> RtcpPacket:
    """Parse what follows one header."""
    try:
        if packet_type == _SENDER_REPORT:
            ssrc, *info = struct.unpack_from("!I", body) + _SENDER_INFO.unpack_from(body, 4)
            return SenderReport(
                ssrc=ssrc,
                ntp_timestamp=info[0] << 32 | info[1],
                rtp_timestamp=info[2],
                packet_count=info[3],
                octet_count=info[4],
                reports=_parse_reports(body, 24, count),
            )
        if packet_type == _RECEIVER_REPORT:
            (ssrc,) = struct.unpack_from("!I", body)
            return ReceiverReport(ssrc=ssrc, reports=_parse_reports(body, 4, count))
        if packet_type == _SOURCE_DESCRIPTION:
            return _parse_source_description(body, count)
        if packet_type == _GOODBYE:
            sources = struct.unpack_from(f"!{count}I", body)
            text = body[4 * count :]
            return Goodbye(sources=sources, reason=text[1 : 1 + text[0]].decode("utf-8", "replace") if text else "")
    except (struct.error, IndexError) as error:
        raise ParseError(f"RTCP packet of type {packet_type} that lacks octets") from error
    return OtherRtcp(packet_type=packet_type, count=count, body=body)


def _parse_reports(body: bytes, place: int, count: int) -> tuple[ReportBlock, ...]:
    """Parse report blocks; what follows them is a profile's extension."""
    reports = []
    for offset in range(place, place + count * _REPORT_BLOCK.size, _REPORT_BLOCK.size):
        ssrc, fraction, lost, highest, jitter, last, delay = _REPORT_BLOCK.unpack_from(body, offset)
        reports.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=fraction / 256,
                packets_lost=int.from_bytes(lost, "big", signed=True),
                highest_sequence=highest,
                jitter=jitter,
                last_report=last,
                delay=delay / 65536,
            )
        )
    return tuple(reports)


def _parse_source_description(body: bytes, count: int) -> SourceDescription:
    """Parse the chunks: items end with a null octet, and each chunk on a boundary of 32 bits."""
    chunks = []
    place = 0
    for _ in range(count):
        (ssrc,) = struct.unpack_from("!I", body, place)
        place += 4
        items = []
        while body[place]:
            kind, size = body[place], body[place + 1]
            value = body[place + 2 : place + 2 + size]
            if len(value) < size:
                raise IndexError("item that is cut off")
            items.append((kind, value))
            place += 2 + size
        place += 4 - place % 4
        chunks.append((ssrc, tuple(items)))
    return SourceDescription(chunks=tuple(chunks))
