"""Tests of `sipd.rtp.rtcp`."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.rtp.rtcp import (
    Goodbye,
    OtherRtcp,
    ReceiverReport,
    ReportBlock,
    SenderReport,
    SourceDescription,
    is_rtcp,
    parse_compound,
)

BLOCK = struct.pack("!IB3sIIII", 7, 64, (-2 & 0xFFFFFF).to_bytes(3, "big"), 70000, 160, 0x11112222, 98304)
REPORT = ReportBlock(
    ssrc=7,
    fraction_lost=0.25,
    packets_lost=-2,
    highest_sequence=70000,
    jitter=160,
    last_report=0x11112222,
    delay=1.5,
)


def packet(packet_type: int, count: int, body: bytes, *, is_padded: bool = False) -> bytes:
    """Print one packet."""
    return struct.pack("!BBH", 0x80 | is_padded << 5 | count, packet_type, len(body) // 4) + body


SR = packet(200, 1, struct.pack("!IIIIII", 1, 2, 3, 4, 5, 6) + BLOCK)
RR = packet(201, 2, struct.pack("!I", 1) + BLOCK + BLOCK)
SDES = packet(202, 2, struct.pack("!I", 1) + b"\1\3a@b\2\1x\0\0\0\0" + struct.pack("!I", 2) + b"\1\5c@d.e\0")
BYE = packet(203, 2, struct.pack("!II", 1, 2) + b"\4away\0\0\0")


class RecognitionTests(SynchronousTestCase):
    """RFC 5761 section 4."""

    def test_is_known_by_its_second_octet(self) -> None:
        """Types 192 to 223 of version 2 are RTCP; everything else is not, be it as short as it may."""
        known = [second for second in range(256) if is_rtcp(bytes((0x80, second, 0, 0)))]
        self.assertEqual(known, list(range(192, 224)))
        for data in (b"", b"\x80", b"\x80\xc8\0", b"\x00\xc8\0\0", b"\x40\xc8\0\0"):
            self.assertFalse(is_rtcp(data))


class ParseTests(SynchronousTestCase):
    """RFC 3550 section 6."""

    def test_sender_report(self) -> None:
        """A sender report has the sender's clock and counts, and blocks."""
        expected = SenderReport(
            ssrc=1, ntp_timestamp=2 << 32 | 3, rtp_timestamp=4, packet_count=5, octet_count=6, reports=(REPORT,)
        )
        self.assertEqual(parse_compound(SR), (expected,))

    def test_receiver_report(self) -> None:
        """A receiver report has blocks only; a profile's extension after them is ignored."""
        self.assertEqual(parse_compound(RR), (ReceiverReport(ssrc=1, reports=(REPORT, REPORT)),))
        extended = packet(201, 0, struct.pack("!II", 1, 99))
        self.assertEqual(parse_compound(extended), (ReceiverReport(ssrc=1, reports=()),))

    def test_source_description(self) -> None:
        """Each chunk has a source and items, and ends on a boundary of 32 bits."""
        (sdes,) = parse_compound(SDES)
        assert isinstance(sdes, SourceDescription)
        self.assertEqual(sdes.chunks, ((1, ((1, b"a@b"), (2, b"x"))), (2, ((1, b"c@d.e"),))))
        self.assertEqual(sdes.canonical_names, {1: "a@b", 2: "c@d.e"})

    def test_goodbye(self) -> None:
        """A goodbye has sources, and may have a reason."""
        self.assertEqual(parse_compound(BYE), (Goodbye(sources=(1, 2), reason="away"),))
        self.assertEqual(parse_compound(packet(203, 0, b"")), (Goodbye(sources=()),))

    def test_other_types_are_kept(self) -> None:
        """A packet of another type is given with its octets, without padding."""
        nack = packet(205, 1, b"12345678")
        padded = packet(204, 3, b"name\0\0\0\4", is_padded=True)
        self.assertEqual(
            parse_compound(nack + padded),
            (
                OtherRtcp(packet_type=205, count=1, body=b"12345678"),
                OtherRtcp(packet_type=204, count=3, body=b"name"),
            ),
        )

    def test_compound(self) -> None:
        """The packets of one datagram are given in order."""
        kinds = [type(each) for each in parse_compound(SR + SDES + BYE)]
        self.assertEqual(kinds, [SenderReport, SourceDescription, Goodbye])

    def test_refuses_what_is_cut_off(self) -> None:
        """Every proper beginning of a packet is refused, and so is what is not RTCP."""
        for whole in (SR, RR, SDES, BYE):
            for size in range(len(whole)):
                self.assertRaises(ParseError, parse_compound, whole[:size])
        for data in (
            b"\x80\x00\0\0",
            SR + b"\x80\x00\0\0",
            packet(200, 0, b"1234"),
            packet(203, 3, b"1234"),
            packet(202, 1, b"1234\1\xffab"),
            packet(204, 0, b"1234", is_padded=True),
            packet(204, 0, b"", is_padded=True),
        ):
            self.assertRaises(ParseError, parse_compound, data)

    @settings(deadline=None, max_examples=300)
    @given(st.lists(st.tuples(st.integers(192, 223), st.integers(0, 31), st.binary(max_size=24)), max_size=4))
    def test_raises_nothing_but_parse_error(self, parts: list[tuple[int, int, bytes]]) -> None:
        """Any bodies under right headers are parsed or raise `ParseError`."""
        data = b"".join(packet(kind, count, body[: len(body) // 4 * 4]) for kind, count, body in parts)
        try:
            parsed = parse_compound(data)
        except ParseError:
            return
        self.assertEqual(len(parsed), len(parts))
