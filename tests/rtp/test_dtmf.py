"""Tests of `sipd.rtp.dtmf`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.rtp.dtmf import DIGITS, DigitReceiver, TelephoneEvent
from sipd.rtp.packet import RtpPacket


def packet(digit: str, timestamp: int, duration: int, *, is_end: bool = False, ssrc: int = 1) -> RtpPacket:
    """Make a packet of a digit."""
    payload = TelephoneEvent.of_digit(digit, duration=duration, is_end=is_end).to_bytes()
    return RtpPacket(payload_type=101, sequence=0, timestamp=timestamp, ssrc=ssrc, payload=payload)


class TelephoneEventTests(SynchronousTestCase):
    """RFC 4733 section 2.3."""

    def test_prints_the_figure(self) -> None:
        """Event, end bit, volume and duration are where the figure has them."""
        event = TelephoneEvent(event=11, duration=0x0140, is_end=True, volume=10)
        self.assertEqual(event.to_bytes(), bytes.fromhex("0b8a0140"))
        self.assertEqual(TelephoneEvent.parse(bytes.fromhex("0b8a0140")), event)

    def test_digits(self) -> None:
        """Each digit is the event of its place, in either case; other events are no digit."""
        for number, digit in enumerate(DIGITS):
            event = TelephoneEvent.of_digit(digit.lower(), duration=0)
            self.assertEqual((event.event, event.digit), (number, digit))
        self.assertIsNone(TelephoneEvent(event=16, duration=0).digit)
        self.assertRaises(ValueError, TelephoneEvent.of_digit, "E", duration=0)

    def test_refuses_what_is_too_short(self) -> None:
        """Less than four octets are no event."""
        self.assertRaises(ParseError, TelephoneEvent.parse, b"\0\0\0")


class DigitReceiverTests(SynchronousTestCase):
    """RFC 4733 section 2.5."""

    def receive(self, *packets: RtpPacket) -> str:
        """Give the digits that these packets are."""
        receiver = DigitReceiver(101)
        return "".join(receiver.feed(each) or "" for each in packets)

    def test_gives_a_digit_once(self) -> None:
        """Updates and the three final packets belong to the one digit."""
        ends = [packet("5", 1000, 480, is_end=True)] * 3
        self.assertEqual(self.receive(packet("5", 1000, 160), packet("5", 1000, 320), *ends), "5")

    def test_the_same_digit_twice(self) -> None:
        """The same key pressed again is another digit."""
        ends = [packet("5", 1000, 480, is_end=True), packet("5", 3000, 480, is_end=True)]
        self.assertEqual(self.receive(packet("5", 1000, 160), ends[0], packet("5", 3000, 160), ends[1]), "55")

    def test_lost_beginning(self) -> None:
        """A digit of which nothing but one final packet came is given all the same."""
        self.assertEqual(self.receive(packet("#", 1000, 480, is_end=True)), "#")

    def test_late_packet_of_the_digit_before(self) -> None:
        """A packet that was overtaken by the next digit is not a new one, across the wrap of the timestamp too."""
        for first in (1000, 0xFFFFFF00):
            second = (first + 2000) & 0xFFFFFFFF
            late = packet("1", first, 480, is_end=True)
            self.assertEqual(self.receive(packet("1", first, 160), packet("2", second, 160), late), "12")

    def test_long_digit(self) -> None:
        """A digit held longer than the duration field can say goes on under the next timestamp."""
        going_on = packet("1", 1000 + 0xFFFF, 160)
        self.assertEqual(self.receive(packet("1", 1000, 0xFFFF), going_on), "1")
        ended = packet("1", 1000, 0xFFFF, is_end=True)
        self.assertEqual(self.receive(ended, going_on), "11")

    def test_another_source(self) -> None:
        """A new source begins anew, whatever its timestamps."""
        self.assertEqual(self.receive(packet("1", 1000, 160), packet("2", 10, 160, ssrc=2)), "12")

    def test_other_packets(self) -> None:
        """Packets of other payload types are not looked at; events that are no digits are none."""
        receiver = DigitReceiver(101)
        self.assertIsNone(receiver.feed(RtpPacket(payload_type=0, sequence=0, timestamp=0, ssrc=1, payload=b"")))
        flash = TelephoneEvent(event=16, duration=0).to_bytes()
        self.assertIsNone(receiver.feed(RtpPacket(payload_type=101, sequence=0, timestamp=0, ssrc=1, payload=flash)))
