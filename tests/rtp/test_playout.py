"""Tests of `sipd.rtp.playout`: where the tones of a stream end up, whatever the network does to its packets."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.rtp.g711 import decode_ulaw, encode_ulaw, tone, tone_level
from sipd.rtp.packet import RtpPacket
from sipd.rtp.playout import Playout, StreamFormat

START = 1000.0
FRAME = 160

ULAW = StreamFormat(decode=decode_ulaw, is_octet_wise=True)
SOUNDLESS = StreamFormat()


def samples_of(payload: bytes) -> array[int]:
    """Decode a codec of the tests: each octet is a sample, as it is."""
    return array("h", payload)


def refuse(payload: bytes) -> array[int]:
    """Decode nothing."""
    raise ParseError("not of this codec")


FORMATS: dict[int, StreamFormat] = {
    0: ULAW,
    96: StreamFormat(clock_rate=48000, decode=samples_of),
    97: StreamFormat(decode=refuse),
}


def formats(payload_type: int) -> StreamFormat:
    """Give a format; what is not known has no sound."""
    return FORMATS.get(payload_type, SOUNDLESS)


class Sender:
    """Speaks a tone, and gives its packets."""

    def __init__(self, frequency: int = 440, *, sequence: int = 65530, timestamp: int = 0xFFFFFF00) -> None:
        self.frequency = frequency
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = 7
        self.spoken = 0

    def packet(self) -> RtpPacket:
        """Give the next packet."""
        packet = RtpPacket(
            payload_type=0,
            sequence=self.sequence,
            timestamp=self.timestamp,
            ssrc=self.ssrc,
            payload=encode_ulaw(tone(self.frequency, 0.02, start=self.spoken)),
        )
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.pause(FRAME)
        return packet

    def pause(self, count: int) -> None:
        """Say nothing for so many samples."""
        self.timestamp = (self.timestamp + count) & 0xFFFFFFFF
        self.spoken += count


class PlayoutTestCase(SynchronousTestCase):
    """Has a time line, and feeds it."""

    def setUp(self) -> None:
        self.playout = Playout(start=START, formats=formats)
        self.sender = Sender()

    def feed(self, at: float, packet: RtpPacket | None = None) -> None:
        """Let a packet arrive, the sender's next one if none is given, so many seconds after the beginning."""
        self.playout.feed_datagram((packet or self.sender.packet()).to_bytes(), START + at)

    def speak(self, begin: float, count: int, delay: Callable[[int], float | None] = lambda index: 0.0) -> None:
        """Let packets arrive in the order of their arrival, each with its delay; `None` is lost."""
        packets = [self.sender.packet() for _ in range(count)]
        arrivals = [(index, delay(index)) for index in range(count)]
        arrived = [(begin + 0.02 * index + late, index) for index, late in arrivals if late is not None]
        for at, index in sorted(arrived):
            self.feed(at, packets[index])

    def take(self, until: float, begin: float = 0.0) -> array[int]:
        """Give the samples up to a time, silence included."""
        count = round((until - begin) * 8000)
        samples = self.playout.take(round(until * 8000))
        self.assertLessEqual(len(samples), count)
        return samples + array("h", bytes(2 * (count - len(samples))))

    def assert_tone(self, samples: array[int], begin: float, end: float, frequency: int = 440) -> None:
        """Check that a tone, and nothing else, is there."""
        self.assertGreater(tone_level(samples[round(begin * 8000) : round(end * 8000)], frequency), 0.97)

    def assert_silence(self, samples: array[int], begin: float, end: float) -> None:
        """Check that nothing is there."""
        self.assertFalse(any(samples[round(begin * 8000) : round(end * 8000)]))


class PlaceTests(PlayoutTestCase):
    """Where packets end up."""

    def test_plain_stream(self) -> None:
        """A stream that begins late is where it arrived, and goes on across the ends of both counters."""
        self.speak(0.3, 50)
        samples = self.take(2.0)
        self.assert_silence(samples, 0, 0.3)
        self.assert_tone(samples, 0.3, 1.3)
        self.assert_silence(samples, 1.3, 2.0)
        self.assertEqual((self.playout.packets, self.playout.restarts, self.playout.late), (50, 1, 0))

    def test_taken_in_pieces(self) -> None:
        """Pieces of any length are the whole."""
        self.speak(0.0, 50)
        pieces = array("h")
        for end in (0.1, 0.1001, 0.55, 1.0):
            pieces.extend(self.take(end, len(pieces) / 8000))
        self.assertEqual(len(pieces), 8000)
        self.assert_tone(pieces, 0.0, 1.0)
        self.assertEqual(self.playout.take(8000), array("h"))

    def test_reordered_and_jittered(self) -> None:
        """Packets that overtake each other are put in order."""
        delays = random.Random(7)
        self.speak(0.0, 100, lambda index: 0.0 if index == 0 else delays.uniform(0.0, 0.2))
        self.assert_tone(self.take(2.0), 0.0, 2.0)

    def test_lost_packets(self) -> None:
        """What is lost is silence of its length, and the rest stays where it was."""
        self.speak(0.0, 50, lambda index: None if 10 <= index < 20 else 0.0)
        samples = self.take(1.0)
        self.assert_tone(samples, 0.0, 0.2)
        self.assert_silence(samples, 0.2, 0.4)
        self.assert_tone(samples, 0.4, 1.0)

    def test_pause_of_the_speaker(self) -> None:
        """Without packets, or with comfort noise and telephone events, there is silence."""
        self.speak(0.0, 10)
        self.feed(0.2, RtpPacket(payload_type=13, sequence=4, timestamp=self.sender.timestamp, ssrc=7, payload=b"\x30"))
        self.sender.pause(8000)
        self.speak(1.2, 10)
        samples = self.take(1.4)
        self.assert_tone(samples, 0.0, 0.2)
        self.assert_silence(samples, 0.2, 1.2)
        self.assert_tone(samples, 1.2, 1.4)
        self.assertEqual(self.playout.restarts, 1)

    def test_duplicates(self) -> None:
        """A packet that comes twice is there once."""
        packets = [self.sender.packet() for _ in range(10)]
        for index, packet in enumerate(packets):
            self.feed(0.02 * index, packet)
            self.feed(0.02 * index + 0.001, packet)
        self.assert_tone(self.take(0.2), 0.0, 0.2)
        self.assertEqual(self.playout.packets, 10)

    def test_too_late(self) -> None:
        """What comes when its place was taken is dropped; what reaches beyond it is cut."""
        packets = [self.sender.packet() for _ in range(3)]
        self.feed(0.0, packets[0])
        self.take(0.03)
        self.feed(0.031, packets[1])
        self.feed(0.032, packets[0])
        self.feed(0.04, packets[2])
        samples = self.take(0.06, 0.03)
        self.assert_tone(samples, 0.0, 0.03)
        self.assertEqual(self.playout.late, 1)

    def test_another_clock_rate(self) -> None:
        """A codec whose timestamps count 48000 a second is put by seconds."""
        for index in (0, 1, 3):
            payload = array("h", [index + 1] * FRAME).tobytes()
            packet = RtpPacket(payload_type=96, sequence=index, timestamp=960 * index, ssrc=1, payload=payload)
            self.feed(0.02 * index, packet)
        samples = self.take(0.08)
        self.assertEqual(samples.tolist(), [1] * FRAME + [2] * FRAME + [0] * FRAME + [4] * FRAME)


class RestartTests(PlayoutTestCase):
    """Timestamps that cannot be believed."""

    def test_another_source(self) -> None:
        """Another SSRC begins where it arrives, whatever its timestamps."""
        self.speak(0.0, 10)
        self.sender.ssrc, self.sender.timestamp, self.sender.sequence = 8, 12345, 1
        self.speak(0.5, 10)
        samples = self.take(0.7)
        self.assert_tone(samples, 0.0, 0.2)
        self.assert_silence(samples, 0.2, 0.5)
        self.assert_tone(samples, 0.5, 0.7)
        self.assertEqual(self.playout.restarts, 2)

    def test_timestamps_jump(self) -> None:
        """The same SSRC with other timestamps, forwards or backwards, goes on where it arrives."""
        for jump in (0x40000000, 0xC0000000, 0x80000000):
            self.setUp()
            self.speak(0.0, 10)
            self.sender.timestamp = (self.sender.timestamp + jump) & 0xFFFFFFFF
            self.speak(0.2, 10)
            self.assert_tone(self.take(0.4), 0.0, 0.4)
            self.assertEqual(self.playout.restarts, 2)

    def test_everything_jumps(self) -> None:
        """With other timestamps and older sequence numbers it takes a second packet to be believed."""
        self.speak(0.0, 10)
        self.sender.timestamp = 1_000_000_000
        self.sender.sequence = (self.sender.sequence - 1000) & 0xFFFF
        self.speak(0.2, 10)
        samples = self.take(0.4)
        self.assert_silence(samples, 0.2, 0.22)
        self.assert_tone(samples, 0.22, 0.4)
        self.assertEqual((self.playout.restarts, self.playout.late), (2, 1))

    def test_one_stray_packet(self) -> None:
        """One packet from long ago moves nothing."""
        old = self.sender.packet()
        self.sender.pause(80000)
        self.speak(0.0, 10)
        self.feed(0.2, old)
        self.speak(0.2, 10)
        self.assert_tone(self.take(0.4), 0.0, 0.4)
        self.assertEqual((self.playout.restarts, self.playout.late), (1, 1))

    def test_timestamps_stand_still(self) -> None:
        """A sender that does not count while it is silent goes on where it arrives."""
        self.speak(0.0, 10)
        self.speak(5.0, 10)
        samples = self.take(5.2)
        self.assert_silence(samples, 0.2, 5.0)
        self.assert_tone(samples, 5.0, 5.2)

    def test_day_long_call(self) -> None:
        """Timestamps that wrap several times while packets come seldom stay believed."""
        for hours in range(0, 600, 100):
            self.sender.timestamp = (hours * 3600 * 8000) & 0xFFFFFFFF
            self.feed(hours * 3600.0)
            self.playout.take(round(hours * 3600.0 * 8000))
        self.assertLessEqual(self.playout.restarts, 6)
        self.assertEqual(self.playout.late, 0)


class ClockTests(PlayoutTestCase):
    """Clocks that run at different speeds."""

    def drift(self, speed: float) -> tuple[float, int]:
        """Send for 20 minutes by a clock of another speed; give how far off the worst packet was, and corrections."""
        worst = 0.0
        payload = bytes(FRAME)
        for index in range(60000):
            at = 0.02 * index / speed
            self.playout.feed(0, index & 0xFFFF, FRAME * index & 0xFFFFFFFF, 7, payload, START + at)
            worst = max(worst, abs(self.playout._waiting[-1][0] / 8000 - at))
            if index % 50 == 0:
                self.playout.take(round((at - 1) * 8000))
        return worst, self.playout.corrections

    def test_fast_and_slow(self) -> None:
        """At 200 ppm the sound is never further off than the tolerance and what two seconds add; it is seldom moved."""
        for speed in (1.0002, 0.9998):
            self.setUp()
            worst, corrections = self.drift(speed)
            self.assertLess(worst, 0.062)
            self.assertTrue(1 <= corrections <= 4, corrections)
            self.assertEqual((self.playout.restarts, self.playout.late), (1, 0))

    def test_a_first_packet_that_was_late(self) -> None:
        """A stream whose first packets were held up by 0.3 s is moved to where it belongs when that is known."""
        self.speak(0.0, 200, lambda index: max(0.3 - 0.02 * index, 0.0))
        samples = self.take(4.0)
        self.assertEqual((self.playout.corrections, self.playout.restarts), (1, 1))
        self.assert_tone(samples, 0.3, 2.0)
        self.assert_tone(samples, 2.4, 4.0)

    def test_a_network_that_stood_still(self) -> None:
        """Packets that come late for half a second, all together, move nothing."""
        self.speak(0.0, 300, lambda index: 0.02 * (125 - index) if 100 <= index < 125 else 0.0)
        self.assert_tone(self.take(6.0), 0.0, 6.0)
        self.assertEqual((self.playout.corrections, self.playout.restarts), (0, 1))


class BoundTests(PlayoutTestCase):
    """What is dropped."""

    def test_packets_that_wait(self) -> None:
        """Of packets that nobody takes, 1000 are kept."""
        for index in range(1500):
            self.playout.feed(0, index, FRAME * index, 7, bytes(FRAME), START + 0.02 * index)
        self.assertEqual((self.playout.packets, self.playout.dropped), (1000, 500))

    def test_payloads(self) -> None:
        """A payload that is too large, or cannot be decoded, is silence."""
        self.playout.feed(0, 1, 0, 7, bytes(20000), START)
        self.playout.feed(97, 2, 0, 7, bytes(20), START)
        self.assertFalse(any(self.take(1.0)))
        self.assertEqual(self.playout.dropped, 2)

    def test_formats_are_asked_for_once(self) -> None:
        """Each payload type is asked for at its first packet, and again when all were forgotten."""
        asked: list[int] = []

        def ask(payload_type: int) -> StreamFormat:
            asked.append(payload_type)
            return formats(payload_type)

        self.playout = Playout(start=START, formats=ask)
        self.speak(0.0, 3)
        self.playout.forget_formats()
        self.speak(0.06, 3)
        self.assertEqual(asked, [0, 0])

    def test_malformed(self) -> None:
        """What is no RTP is refused."""
        self.assertRaises(ParseError, self.playout.feed_datagram, b"\x80\x00", START)
        self.assertRaises(ParseError, self.playout.feed_datagram, b"\x00" * 40, START)

    @settings(max_examples=50, deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((0, 13, 96, 97, 120)),
                st.integers(0, 0xFFFF),
                st.integers(0, 0xFFFFFFFF),
                st.integers(0, 3),
                st.integers(0, 200).map(lambda words: bytes(2 * words)),
                st.floats(-10.0, 10.0),
            ),
            max_size=60,
        )
    )
    def test_anything_may_come(self, packets: list[tuple[int, int, int, int, bytes, float]]) -> None:
        """Whatever comes, whenever, what is taken is never longer than asked for."""
        self.setUp()
        for number, (payload_type, sequence, timestamp, ssrc, payload, at) in enumerate(packets):
            self.playout.feed(payload_type, sequence, timestamp, ssrc, payload, START + at)
            self.assertLessEqual(len(self.playout.take(100 * number)), 100)
