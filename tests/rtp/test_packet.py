"""Tests of `sipd.rtp.packet`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.rtp.packet import RtpPacket, parse_packet

packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    payload=st.binary(max_size=40),
    marker=st.booleans(),
    contributors=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extension=st.none()
    | st.tuples(st.integers(0, 0xFFFF), st.integers(0, 5).map(lambda words: bytes(range(4 * words)))),
)

PLAIN = RtpPacket(payload_type=8, sequence=1, timestamp=2, ssrc=3, payload=b"abc")


class RtpPacketTests(SynchronousTestCase):
    """RFC 3550 section 5.1."""

    def test_prints_the_header_of_the_rfc(self) -> None:
        """Every field is where the figure has it."""
        packet = RtpPacket(
            payload_type=0x62,
            sequence=0x0102,
            timestamp=0x03040506,
            ssrc=0x0708090A,
            payload=b"xyz",
            marker=True,
            contributors=(0x0B0C0D0E,),
            extension=(0xBEDE, b"1234"),
        )
        expected = bytes.fromhex("91e2 0102 03040506 0708090a 0b0c0d0e bede0001 31323334 78797a")
        self.assertEqual(packet.to_bytes(), expected)
        self.assertEqual(parse_packet(expected), packet)

    @settings(deadline=None)
    @given(packets)
    def test_round_trip(self, packet: RtpPacket) -> None:
        """What is printed parses as the same."""
        self.assertEqual(parse_packet(packet.to_bytes()), packet)

    def test_takes_padding_off(self) -> None:
        """The last octet of padding says how much there is; it may be all there is."""
        data = bytearray(PLAIN.to_bytes())
        data[0] |= 0x20
        self.assertEqual(parse_packet(bytes(data) + b"\0\0\3"), PLAIN)
        self.assertEqual(parse_packet(bytes(data[:12]) + b"\0\0\0\4").payload, b"")

    @settings(deadline=None, max_examples=300)
    @given(st.binary(max_size=60) | packets.map(lambda packet: packet.to_bytes()[:-1]))
    def test_raises_nothing_but_parse_error(self, data: bytes) -> None:
        """Any octets are a packet or raise `ParseError`."""
        try:
            packet = parse_packet(data)
        except ParseError:
            return
        self.assertLessEqual(len(packet.payload), len(data) - 12)

    def test_refuses_what_is_cut_off(self) -> None:
        """Headers, lists, extensions and padding that are longer than the packet are refused, and other versions."""
        good = PLAIN.to_bytes()
        for data in (
            b"",
            good[:11],
            b"\x40" + good[1:],
            b"\x81" + good[1:],
            b"\x90" + good[1:12] + b"\0\0\0\2abcd",
            b"\x90" + good[1:12] + b"\0\0\0",
            b"\xa0" + good[1:12] + b"\0",
            b"\xa0" + good[1:12] + b"\2",
        ):
            self.assertRaises(ParseError, parse_packet, data)

    def test_refuses_to_print_what_does_not_fit(self) -> None:
        """Values out of range raise `ValueError` rather than leave as something else."""
        for change in (
            {"payload_type": 128},
            {"sequence": 65536},
            {"timestamp": -1},
            {"contributors": (0,) * 16},
            {"contributors": (1 << 32,)},
            {"extension": (0, b"123")},
        ):
            values = {"payload_type": 0, "sequence": 0, "timestamp": 0, "ssrc": 0, "payload": b"", **change}
            self.assertRaises(ValueError, RtpPacket(**values).to_bytes)  # type: ignore[arg-type]
