"""Digits between two endpoints: sent as events and as tones, heard, collected."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from sipd.errors import InvalidStateError, LocalError
from sipd.media.endpoint.digits import QUEUE_LIMIT
from sipd.media.endpoint.settings import EndpointSettings
from sipd.rtp.dtmf import TelephoneEvent
from sipd.rtp.packet import RtpPacket, parse_packet
from sipd.testing.links import Fate, Link
from tests.media.endpoint.support import ALICE, BOB, EndpointTestCase


class EventTests(EndpointTestCase):
    """Telephone events (RFC 4733)."""

    def test_both_ways(self) -> None:
        """Every digit arrives once, in order, on both sides."""
        alice, bob = self.pair()
        at_alice: list[str] = []
        at_bob: list[str] = []
        alice.on_digit.append(at_alice.append)
        bob.on_digit.append(at_bob.append)
        sending = self.outcome(alice.send_digits("0123456789"))
        bob.send_digits("*#abcd")
        self.run_for(5.0)
        self.assertEqual("".join(at_bob), "0123456789")
        self.assertEqual("".join(at_alice), "*#ABCD")
        self.assertIsNone(sending.value)
        self.assertEqual(bob.statistics.digits, 10)

    def test_packets_of_an_event(self) -> None:
        """One timestamp, growing durations, the first one marked, and the end three times (section 2.5.1)."""
        alice, _ = self.pair()
        self.run_for(0.2)
        alice.send_digits("5")
        self.run_for(0.5)
        packets = self.events()
        events = [TelephoneEvent.parse(packet.payload) for packet in packets]
        self.assertEqual({packet.timestamp for packet in packets}, {packets[0].timestamp})
        self.assertEqual([packet.marker for packet in packets], [True] + 6 * [False])
        self.assertEqual([event.duration for event in events], [160, 320, 480, 640, 800, 800, 800])
        self.assertEqual([event.is_end for event in events], [False] * 4 + [True] * 3)
        self.assertEqual({event.digit for event in events}, {"5"})

    def test_at_the_clock_of_the_codec(self) -> None:
        """With Opus the durations are of 48000 units a second (section 2.1)."""
        alice, bob = self.pair(EndpointSettings(codecs=("opus", "pcmu")))
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        alice.send_digits("5")
        self.run_for(0.5)
        self.assertEqual(TelephoneEvent.parse(self.events(102)[-1].payload).duration, 4800)
        self.assertEqual(digits, ["5"])

    def test_lost_packets(self) -> None:
        """With a third of all packets lost no digit is missed, nor heard twice."""
        alice, bob = self.pair()
        self.network.set_link(ALICE, BOB, Link(loss=0.33, duplication=0.1))
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        alice.send_digits("1234567890")
        self.run_for(5.0)
        self.assertEqual("".join(digits), "1234567890")

    def test_pauses(self) -> None:
        """A comma waits for two seconds."""
        alice, bob = self.pair()
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        sending = self.outcome(alice.send_digits("1,2"))
        self.run_for(2.0)
        self.assertEqual(digits, ["1"])
        self.run_for(0.5)
        self.assertEqual(digits, ["1", "2"])
        self.assertTrue(sending.is_there)

    def test_sound_goes_on_behind_them(self) -> None:
        """After the digits what is played is heard again, at its place in time."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        alice.play("tone:440", times=None)
        self.run_for(0.5)
        alice.send_digits("12")
        self.run_for(1.0)
        self.assertTone(ear, 440)
        packets = [packet for packet in self.sent() if packet.payload_type == 0]
        self.assertEqual((packets[-1].timestamp - packets[0].timestamp) % 160, 0)
        elapsed = round((packets[-1].timestamp - packets[0].timestamp) % (1 << 32) / 8000, 2)
        self.assertApproximates(elapsed, 1.48, 0.021)

    def test_what_is_no_digit(self) -> None:
        """Nothing is sent if a character is none, a duration is out of range, or too many would wait."""
        alice, bob = self.pair()
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        self.failureResultOf(alice.send_digits("12x"), LocalError)
        self.failureResultOf(alice.send_digits("1", duration=0.0), LocalError)
        self.failureResultOf(alice.send_digits("1", pause=60.0), LocalError)
        self.failureResultOf(alice.send_digits("1" * (QUEUE_LIMIT + 1)), LocalError)
        self.successResultOf(alice.send_digits(""))
        self.run_for(1.0)
        self.assertEqual(digits, [])

    def test_events_that_are_none(self) -> None:
        """A packet that is too short, and an event that is no digit, are passed over."""
        alice, bob = self.pair()
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        for number, payload in enumerate((b"", b"\x05", b"\x10\x8a\x03\x20", b"\xff\x0a\x00\xa0", b"\x05\x0a\x00\xa0")):
            packet = RtpPacket(payload_type=101, sequence=number, timestamp=160 * number, ssrc=1, payload=payload)
            alice.write_rtp(packet)
            self.run_for(0.02)
        self.run_for(0.1)
        self.assertEqual(digits, ["5"])

    def test_cancelled(self) -> None:
        """Those that were not begun are taken back, and only they."""
        alice, bob = self.pair()
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        sending = alice.send_digits("123")
        alice.send_digits("45")
        self.run_for(0.1)
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.run_for(2.0)
        self.assertEqual("".join(digits), "145")

    def events(self, payload_type: int = 101) -> list[RtpPacket]:
        """Give the packets of events that alice sent."""
        return [packet for packet in self.sent() if packet.payload_type == payload_type]

    def sent(self) -> list[RtpPacket]:
        """Give the RTP packets that alice sent."""
        return [
            parse_packet(event.data)
            for event in self.network.log
            if event.fate is Fate.SENT and event.source == (ALICE, 49152)
        ]


class ToneTests(EndpointTestCase):
    """Digits as tones in the sound."""

    def test_where_there_are_no_events(self) -> None:
        """A peer that takes no events gets tones, and finds the digits in them."""
        plain = EndpointSettings(telephone_events=False, detect_inband=True)
        alice, bob = self.pair(EndpointSettings(), plain)
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        alice.send_digits("159*D")
        self.run_for(3.0)
        self.assertEqual("".join(digits), "159*D")

    def test_never_twice(self) -> None:
        """A digit that comes as an event, and as a tone in the sound, is one."""
        alice, bob = self.pair(EndpointSettings(detect_inband=True))
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        alice.play("tone:697+1209", times=None)
        alice.send_digits("1")
        self.run_for(1.0)
        alice.send_digits("1")
        self.run_for(1.0)
        self.assertEqual(digits, ["1", "1"])


class CollectingTests(EndpointTestCase):
    """Collecting digits."""

    def test_so_many(self) -> None:
        """It ends with the last digit that is wanted."""
        alice, bob = self.pair()
        collecting = self.outcome(bob.collect(3, timeout=5.0))
        alice.send_digits("1234")
        self.run_for(0.4)
        self.assertFalse(collecting.is_there)
        self.run_for(1.0)
        self.assertEqual(collecting.value, "123")

    def test_until_a_digit(self) -> None:
        """The digit that ends it is not part of it."""
        alice, bob = self.pair()
        collecting = self.outcome(bob.collect(10, timeout=5.0))
        alice.send_digits("12#3")
        self.run_for(2.0)
        self.assertEqual(collecting.value, "12")

    def test_timeouts(self) -> None:
        """Nobody who presses nothing, or stops, is waited for longer than was said."""
        alice, bob = self.pair()
        collecting = self.outcome(bob.collect(3, timeout=5.0))
        self.run_for(4.9)
        self.assertFalse(collecting.is_there)
        self.run_for(0.2)
        self.assertEqual(collecting.value, "")
        collecting = self.outcome(bob.collect(3, timeout=5.0, between=1.0))
        alice.send_digits("1")
        self.run_for(0.9)
        self.assertFalse(collecting.is_there)
        self.run_for(0.5)
        self.assertEqual(collecting.value, "1")

    def test_what_came_before(self) -> None:
        """Digits that came before count if that is wanted, and only then."""
        alice, bob = self.pair()
        alice.send_digits("12")
        self.run_for(1.0)
        self.assertEqual(self.successResultOf(bob.collect(1, timeout=5.0, keep=True)), "1")
        self.assertEqual(self.successResultOf(bob.collect(1, timeout=5.0, keep=True)), "2")
        alice.send_digits("34")
        self.run_for(1.0)
        collecting = bob.collect(1, timeout=1.0)
        self.assertNoResult(collecting)
        self.run_for(1.1)
        self.assertEqual(self.successResultOf(collecting), "")

    def test_one_at_a_time(self) -> None:
        """A second collection is refused, and a cancelled one makes room."""
        _, bob = self.pair()
        first = bob.collect(3, timeout=5.0)
        self.failureResultOf(bob.collect(3, timeout=5.0), InvalidStateError)
        for count, timeout in ((0, 5.0), (1, -1.0)):
            self.failureResultOf(self.endpoint().collect(count, timeout=timeout), InvalidStateError)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        second = bob.collect(3, timeout=5.0)
        bob.close()
        self.assertEqual(self.successResultOf(second), "")
        self.failureResultOf(bob.collect(3, timeout=5.0), InvalidStateError)

    def test_digits_that_came_in_another_way(self) -> None:
        """A digit of a SIP INFO is one like the others; what is none is passed over."""
        _, bob = self.pair()
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        collecting = bob.collect(2, timeout=5.0)
        for digit in ("a", "", "12", "x", "#", "5"):
            bob.digit_received(digit)
        self.assertEqual(digits, ["A", "#", "5"])
        self.assertEqual(self.successResultOf(collecting), "A")

    def test_callbacks_that_fail(self) -> None:
        """One that raises does not keep the digit from others; its traceback is in the log."""
        alice, bob = self.pair()
        digits: list[str] = []
        bob.on_digit.append(lambda digit: 1 / 0)
        bob.on_digit.append(digits.append)
        alice.send_digits("9")
        self.run_for(1.0)
        self.assertEqual(digits, ["9"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
