"""RTCP as an endpoint sends and reads it: reports, names, goodbyes (RFC 3550 sections 6.2 to 6.6)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from sipd.interfaces import Entropy
from sipd.media.endpoint.receiving import RtpReceiver
from sipd.media.endpoint.sending import RtpSender
from sipd.rtp.roundtrip import PartyReport, RoundTrip
from sipd.rtp.rtcp import (
    Goodbye,
    OtherRtcp,
    ReceiverReport,
    ReportBlock,
    RtcpPacket,
    SenderReport,
    SourceDescription,
)

_OURS, _THEIRS = "ours", "theirs"
#: Seconds from 1900, where NTP begins, to 1970.
_NTP_EPOCH = 2_208_988_800
#: RFC 3550 section 6.3.1: what the mean of the randomized interval is divided by.
_COMPENSATION = 1.21828
_CNAME = 1
_LOWEST_LOST, _HIGHEST_LOST = -(1 << 23), (1 << 23) - 1


def compose(packets: Sequence[RtcpPacket]) -> bytes:
    """Print RTCP packets as one datagram.

    Raises:
        ValueError: a field does not fit, or there is nothing.
    """
    if not packets:
        raise ValueError("RTCP without a packet")
    try:
        return b"".join([_print(packet) for packet in packets])
    except (struct.error, OverflowError) as error:
        raise ValueError(f"RTCP packet with a field that does not fit: {error}") from error


class Reporter:
    """Reports what was sent and received, each few seconds; knows what the peer reports.

    Args:
        interval: seconds between two reports on average; 0 for none.
        canonical_name: of this side.
        entropy: spreads the reports.
        seconds: tells the time; since 1970 as far as it does.
    """

    __slots__ = ("_canonical_name", "_due", "_entropy", "_interval", "_last_sent", "_round_trip", "_seconds", "_seen")

    def __init__(self, *, interval: float, canonical_name: str, entropy: Entropy, seconds: Callable[[], float]) -> None:
        self._interval = interval
        self._canonical_name = canonical_name
        self._entropy = entropy
        self._seconds = seconds
        self._round_trip = RoundTrip(_OURS, _THEIRS)
        self._due: float | None = None
        #: Packets that had been sent at the last report.
        self._last_sent = 0
        #: The last sender report of the peer: SSRC, the middle of its NTP timestamp, and when it came.
        self._seen: tuple[int, int, float] | None = None

    @property
    def peer(self) -> PartyReport:
        """What the peer reports, and how far away it is."""
        return self._round_trip.report(_THEIRS)

    def due(self, now: float) -> bool:
        """Say whether a report is due; the first one is after half of the time (section 6.2)."""
        if not self._interval:
            return False
        if self._due is None:
            self._due = now + self._wait() / 2
        if now < self._due:
            return False
        self._due = now + self._wait()
        return True

    def report(self, sender: RtpSender, receiver: RtpReceiver) -> tuple[RtcpPacket, ...]:
        """Give the report that is to be sent now: of a sender if anything was sent since the last one."""
        now = self._seconds()
        blocks = self._blocks(receiver, now)
        first: SenderReport | ReceiverReport
        if sender.packets != self._last_sent:
            first = SenderReport(
                ssrc=sender.ssrc,
                ntp_timestamp=int((now + _NTP_EPOCH) * (1 << 32)) & 0xFFFFFFFFFFFFFFFF,
                rtp_timestamp=sender.timestamp,
                packet_count=sender.packets & 0xFFFFFFFF,
                octet_count=sender.octets & 0xFFFFFFFF,
                reports=blocks,
            )
            self._last_sent = sender.packets
            self._round_trip.take(_OURS, (first,), now)
        else:
            first = ReceiverReport(ssrc=sender.ssrc, reports=blocks)
        name = self._canonical_name.encode("utf-8")[:255]
        return first, SourceDescription(chunks=((sender.ssrc, ((_CNAME, name),)),))

    def goodbye(self, sender: RtpSender, receiver: RtpReceiver) -> tuple[RtcpPacket, ...]:
        """Give the last report (section 6.3.7)."""
        return (*self.report(sender, receiver), Goodbye(sources=(sender.ssrc,)))

    def take(self, packets: Sequence[RtcpPacket]) -> None:
        """Take what the peer reports."""
        now = self._seconds()
        self._round_trip.take(_THEIRS, packets, now)
        for packet in packets:
            if isinstance(packet, SenderReport):
                self._seen = (packet.ssrc, packet.ntp_timestamp >> 16 & 0xFFFFFFFF, now)

    def _wait(self) -> float:
        """Give the time to the next report: between half and one and a half of the interval (section 6.3.1)."""
        share = int.from_bytes(self._entropy(2), "big") / 65536
        return self._interval * (0.5 + share) / _COMPENSATION

    def _blocks(self, receiver: RtpReceiver, now: float) -> tuple[ReportBlock, ...]:
        received = receiver.interval()
        if received is None:
            return ()
        last_report, delay = 0, 0.0
        if self._seen is not None and self._seen[0] == received.ssrc:
            last_report, delay = self._seen[1], max(0.0, now - self._seen[2])
        return (
            ReportBlock(
                ssrc=received.ssrc,
                fraction_lost=received.fraction_lost,
                packets_lost=received.lost,
                highest_sequence=received.highest_sequence,
                jitter=received.jitter_units,
                last_report=last_report,
                delay=delay,
            ),
        )


def _print(packet: RtcpPacket) -> bytes:
    """Print one packet."""
    if isinstance(packet, SenderReport):
        info = struct.pack(
            "!IQIII",
            packet.ssrc,
            packet.ntp_timestamp,
            packet.rtp_timestamp,
            packet.packet_count,
            packet.octet_count,
        )
        return _with_header(200, len(packet.reports), info + b"".join(map(_print_block, packet.reports)))
    if isinstance(packet, ReceiverReport):
        body = struct.pack("!I", packet.ssrc) + b"".join(map(_print_block, packet.reports))
        return _with_header(201, len(packet.reports), body)
    if isinstance(packet, SourceDescription):
        return _with_header(202, len(packet.chunks), b"".join([_print_chunk(*chunk) for chunk in packet.chunks]))
    if isinstance(packet, Goodbye):
        reason = packet.reason.encode("utf-8")[:255]
        text = bytes((len(reason),)) + reason if reason else b""
        body = struct.pack(f"!{len(packet.sources)}I", *packet.sources) + text
        return _with_header(203, len(packet.sources), body)
    return _print_other(packet)


def _print_other(packet: OtherRtcp) -> bytes:
    if not 192 <= packet.packet_type <= 223:
        raise ValueError(f"RTCP packet of type {packet.packet_type}")
    return _with_header(packet.packet_type, packet.count, packet.body)


def _with_header(packet_type: int, count: int, body: bytes) -> bytes:
    """Put the header before a packet, and make its length a multiple of four octets."""
    if not 0 <= count <= 31:
        raise ValueError(f"RTCP packet with {count} entries, more than 31")
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x80 | count, packet_type, len(body) // 4) + body


def _print_block(block: ReportBlock) -> bytes:
    lost = max(_LOWEST_LOST, min(_HIGHEST_LOST, block.packets_lost)) & 0xFFFFFF
    return struct.pack(
        "!IB3sIIII",
        block.ssrc,
        max(0, min(255, int(block.fraction_lost * 256))),
        lost.to_bytes(3, "big"),
        block.highest_sequence,
        block.jitter & 0xFFFFFFFF,
        block.last_report,
        min(0xFFFFFFFF, int(block.delay * 65536)),
    )


def _print_chunk(ssrc: int, items: Sequence[tuple[int, bytes]]) -> bytes:
    """Print a chunk: its items, and null octets up to a boundary of 32 bits, one at least."""
    body = struct.pack("!I", ssrc) + b"".join([struct.pack("!BB", kind, len(value)) + value for kind, value in items])
    return body + bytes(4 - len(body) % 4)
