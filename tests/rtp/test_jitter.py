"""Tests of `sipd.rtp.jitter`: what is heard of a stream, whatever the network does to its packets."""

from __future__ import annotations

import random
from array import array
from bisect import insort
from collections.abc import Callable, Sequence
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.rtp.jitter import JitterBuffer
from sipd.rtp.playout import StreamFormat

FRAME = 160
START = 1000.0
SPEAKING, OPUS, BROKEN, COMFORT_NOISE, OTHER = 0, 96, 97, 13, 8


def samples_of(payload: bytes) -> array[int]:
    """Decode a codec of the tests: each two octets are a sample, as it is."""
    return array("h", payload)


def refuse(payload: bytes) -> array[int]:
    """Decode nothing."""
    raise ParseError("not of this codec")


FORMATS = {
    SPEAKING: StreamFormat(decode=samples_of),
    OTHER: StreamFormat(decode=samples_of),
    OPUS: StreamFormat(clock_rate=48000, decode=samples_of),
    BROKEN: StreamFormat(decode=refuse),
}


def formats(payload_type: int) -> StreamFormat:
    """Give a format; what is not known has no sound."""
    return FORMATS.get(payload_type, StreamFormat())


class Call:
    """A sender, a network and a player: each sample that is sent tells its number, so that it is known when heard.

    Args:
        ptime: seconds of one packet.
        speed: of the sender's clock.
        payload_type: of the packets with sound.
        phase: seconds from the first packet to the first frame that is taken.
    """

    def __init__(
        self,
        *,
        ptime: float = 0.02,
        speed: float = 1.0,
        payload_type: int = SPEAKING,
        phase: float = 0.0073,
        sequence: int = 65500,
        timestamp: int = 0xFFFF0000,
        buffer: JitterBuffer | None = None,
    ) -> None:
        self.buffer = buffer or JitterBuffer(formats=formats)
        self.clock_rate = FORMATS[payload_type].clock_rate
        self.ptime, self.speed, self.payload_type = ptime, speed, payload_type
        self.sequence, self.timestamp, self.ssrc = sequence, timestamp, 7
        #: When the next packet is sent, the next frame is taken, and the number of the next sample.
        self.sending = START
        self.taking = START + phase
        self.spoken = 0
        #: Packets on their way, by arrival.
        self.wire: list[tuple[float, int, int, int, int, int, bytes]] = []
        self.sent = 0
        #: What was heard, and when.
        self.heard: list[array[int] | None] = []
        self.delays: list[float] = []

    def send(self, delay: float | None = 0.0, payload_type: int | None = None) -> None:
        """Send a packet; `None` loses it."""
        count = round(self.ptime * 8000)
        # Samples stay below 30000, and above what counts as silence.
        payload = array("h", [1000 + (self.spoken + place) // 16 % 20000 for place in range(count)]).tobytes()
        if delay is not None:
            kind = self.payload_type if payload_type is None else payload_type
            packet = (self.sending + delay, self.sent, kind, self.sequence, self.timestamp, self.ssrc, payload)
            insort(self.wire, packet)
        self.sent += 1
        self.sequence = (self.sequence + 1) & 0xFFFF
        self.pause(self.ptime)

    def pause(self, duration: float) -> None:
        """Let time pass at the sender."""
        self.spoken += round(duration * 8000)
        self.timestamp = (self.timestamp + round(duration * self.clock_rate)) & 0xFFFFFFFF
        self.sending += duration / self.speed

    def run(self, until: float | None = None) -> list[array[int] | None]:
        """Let packets arrive and take frames, up to now, or a time; give what was heard meanwhile."""
        before = len(self.heard)
        until = self.sending if until is None else START + until
        while self.taking <= until:
            while self.wire and self.wire[0][0] <= self.taking:
                arrival, _, *packet, payload = self.wire.pop(0)
                payload_type, sequence, timestamp, ssrc = packet
                self.buffer.feed(payload_type, sequence, timestamp, ssrc, payload, arrival)
            frame = self.buffer.take(self.taking)
            if frame is not None:
                self.delays.append(self.buffer.delay)
            self.heard.append(frame)
            self.taking += 0.02
        return self.heard[before:]

    def speak(self, count: int, delay: Callable[[int], float | None] = lambda index: 0.0) -> list[array[int] | None]:
        """Send packets, each with its delay, and take frames meanwhile."""
        before = len(self.heard)
        for index in range(count):
            self.send(delay(index))
            if index % 50 == 49:
                self.run(self.sending - START - 1.0)
        self.run()
        return self.heard[before:]

    def end(self) -> list[array[int] | None]:
        """Take what is left."""
        return self.run(self.sending - START + 1.0)


class JitterTestCase(SynchronousTestCase):
    """Checks what was heard."""

    def assert_even(self, frames: Sequence[array[int] | None], first: int | None = 0) -> None:
        """Check that the samples are those that were sent, in order and without a gap, in frames of one length.

        The number of the first sample is what the sample itself says, if it is not given.
        """
        whole = array("h")
        for frame in frames:
            assert frame is not None
            self.assertEqual(len(frame), FRAME)
            whole.extend(frame)
        if first is None:
            first = 16 * (whole[0] - 1000)
        self.assertEqual(whole.tolist(), [1000 + place // 16 % 20000 for place in range(first, first + len(whole))])

    def assert_counts(self, buffer: JitterBuffer, **expected: int) -> None:
        """Check counters; those that are not told are zero."""
        names = ("late", "duplicates", "lost", "concealed", "inserted", "skipped", "dropped", "restarts")
        self.assertEqual({name: getattr(buffer, name) for name in names}, dict.fromkeys(names, 0) | expected)


def sound(frames: list[array[int] | None]) -> list[array[int] | None]:
    """Leave out what is nothing at the beginning and at the end."""
    places = [place for place, frame in enumerate(frames) if frame is not None]
    return frames[places[0] : places[-1] + 1] if places else []


class EvenTests(JitterTestCase):
    """Streams that come as they were sent."""

    def test_nothing(self) -> None:
        """Before the first packet there is nothing to play."""
        buffer = JitterBuffer(formats=formats)
        self.assertEqual([buffer.take(START + 0.02 * index) for index in range(10)], [None] * 10)
        self.assertEqual((buffer.delay, buffer.packets), (0.0, 0))

    def test_plain_stream(self) -> None:
        """Each sample is heard once, at most 20 ms after the least delay, across the wraps of both counters."""
        call = Call()
        call.speak(1000)
        frames = sound(call.heard + call.end())
        self.assert_even(frames[:1000])
        self.assert_counts(call.buffer, concealed=3)
        self.assertEqual(call.buffer.packets, 1000)
        self.assertTrue(all(0.02 <= delay < 0.041 for delay in call.delays), set(call.delays))

    def test_any_packet_duration(self) -> None:
        """Packets of 10 to 120 ms give frames of 20 ms."""
        for ptime in (0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.12):
            call = Call(ptime=ptime)
            call.speak(round(6 / ptime))
            frames = sound(call.heard + call.end())
            self.assert_even(frames[:300])
            self.assertLess(call.delays[-1], 0.041)
            self.assertEqual((call.buffer.lost, call.buffer.late, call.buffer.skipped), (0, 0, 0))

    def test_any_frame(self) -> None:
        """Frames need not be as long as packets."""
        for size in (80, 240, 480, 37):
            buffer = JitterBuffer(formats=formats, frame_samples=size)
            whole = array("h")
            for index in range(100):
                payload = array("h", range(FRAME * index, FRAME * index + FRAME)).tobytes()
                buffer.feed(SPEAKING, index, FRAME * index, 1, payload, START + 0.02 * index)
            now = START
            while now < START + 1.9:
                now += size / 8000
                whole.extend(buffer.take(now) or ())
            self.assertGreater(len(whole), 14000)
            self.assertEqual(whole.tolist(), list(range(len(whole))))

    def test_another_clock_rate(self) -> None:
        """A codec whose timestamps count 48000 a second is played by seconds."""
        call = Call(payload_type=OPUS)
        call.speak(500)
        self.assert_even(sound(call.heard)[:490])
        self.assert_counts(call.buffer)

    def test_what_is_refused(self) -> None:
        """A frame of nothing, and delays that are out of range or the wrong way round."""
        for size in (0, 8001):
            self.assertRaises(ValueError, JitterBuffer, formats=formats, frame_samples=size)
        for least, most in ((-0.1, 0.2), (0.3, 0.2), (0.1, 0.6)):
            self.assertRaises(ValueError, JitterBuffer, formats=formats, least=least, most=most)


class NetworkTests(JitterTestCase):
    """What a network does."""

    def test_constant_jitter(self) -> None:
        """Jitter of up to 60 ms is learned: after the first seconds nothing is late, and all is even."""
        delays = random.Random(3)
        call = Call()
        call.speak(300, lambda index: delays.uniform(0.0, 0.06))
        late, concealed, lost = call.buffer.late, call.buffer.concealed, call.buffer.lost
        inserted = call.buffer.inserted
        frames = call.speak(2000, lambda index: delays.uniform(0.0, 0.06))
        self.assertLess(late, 10)
        self.assertEqual(lost, 0)
        buffer = call.buffer
        self.assertEqual((buffer.late, buffer.concealed, buffer.inserted), (late, concealed, inserted))
        self.assertNotIn(None, frames)
        self.assertTrue(all(0.05 < delay < 0.12 for delay in call.delays[300:]), max(call.delays))

    def test_reordered(self) -> None:
        """Packets that overtake each other are put in order."""
        call = Call()
        call.speak(100, lambda index: 0.045 if index % 7 == 3 else 0.0)
        frames = call.speak(400, lambda index: 0.045 if index % 7 == 3 else 0.0)
        self.assert_even(frames, None)
        self.assertEqual(call.buffer.lost, 0)

    def test_duplicates(self) -> None:
        """What comes twice, or three times, is heard once."""
        call = Call()
        for _ in range(100):
            call.send()
        for packet in list(call.wire):
            for copies in (1, 2):
                insort(call.wire, (packet[0] + 0.05 * copies, *packet[1:]))
        self.assert_even(sound(call.end())[:100])
        self.assert_counts(call.buffer, duplicates=200, concealed=3)

    def test_lost_packets(self) -> None:
        """One lost packet is made up from the frame before it, a bit less loud, and takes its time."""
        call = Call()
        frames = sound(call.speak(50, lambda index: None if index == 20 else 0.0))
        self.assert_even(frames[:20])
        self.assert_even(frames[21:], 21 * FRAME)
        before, made_up = frames[19], frames[20]
        assert before is not None and made_up is not None
        self.assertEqual(made_up[0], before[0])
        self.assertTrue(all(0.6 * old < new <= old for old, new in zip(before, made_up, strict=True)))
        self.assert_counts(call.buffer, lost=1, concealed=1)

    def test_burst_loss(self) -> None:
        """Of ten lost packets the first three are made up, fading out; then there is nothing. The rest is on time."""
        call = Call()
        frames = sound(call.speak(50, lambda index: None if 20 <= index < 30 else 0.0))
        peaks = [max(frame) if frame is not None else 0 for frame in frames[19:30]]
        self.assertEqual(peaks, sorted(peaks, reverse=True))
        self.assertEqual(peaks[4:], [0] * 7)
        self.assertLess(frames[22][-1] if frames[22] else 0, 10)
        self.assertEqual(frames[23:30], [None] * 7)
        self.assert_even(frames[30:], 30 * FRAME)
        self.assert_counts(call.buffer, lost=10, concealed=3)

    def test_random_loss(self) -> None:
        """Each packet that is lost is counted, and nothing else; the delay stays short."""
        chance = random.Random(5)
        lost = 0

        def delay(index: int) -> float | None:
            nonlocal lost
            if 0 < index < 2999 and chance.random() < 0.2:
                lost += 1
                return None
            return chance.uniform(0.0, 0.005)

        call = Call()
        call.speak(3000, delay)
        call.end()
        self.assertEqual((call.buffer.lost, call.buffer.packets, call.buffer.late), (lost, 3000 - lost, 0))
        self.assertLess(max(call.delays), 0.06)

    def test_one_late_packet(self) -> None:
        """What comes after its turn is counted as late and not as lost, and the delay is longer at once."""
        call = Call()
        call.speak(50, lambda index: 0.1 if index == 20 else 0.0)
        self.assertEqual((call.buffer.late, call.buffer.lost), (1, 0))
        self.assertGreater(call.delays[-1], 0.1)
        call.speak(50, lambda index: 0.1 if index == 20 else 0.0)
        self.assertEqual((call.buffer.late, call.buffer.lost), (1, 0))

    def test_a_network_that_stood_still(self) -> None:
        """Packets that are held up for half a second and come all together shift nothing for long."""
        call = Call()
        call.speak(100)
        call.speak(25, lambda index: 0.5 - 0.019 * index)
        call.speak(1000)
        self.assertLess(max(call.delays), 0.5)
        self.assertLess(call.delays[-1], 0.07)
        self.assertEqual(call.buffer.restarts, 1)
        self.assert_even(call.speak(100)[10:], None)

    def test_shrinks_slowly_in_sound(self) -> None:
        """When the jitter is over, the delay goes down by a frame each second at most."""
        delays = random.Random(4)
        call = Call()
        call.speak(300, lambda index: delays.uniform(0.0, 0.1))
        self.assertGreater(call.delays[-1], 0.09)
        begin = len(call.delays)
        call.speak(1000)
        self.assertLess(call.delays[-1], 0.05)
        for earlier, later in zip(call.delays[begin:], call.delays[begin + 45 :], strict=False):
            self.assertLess(earlier - later, 0.021)
        self.assertTrue(3 <= call.buffer.skipped <= 5)
        self.assertEqual(call.buffer.restarts, 0)


class PauseTests(JitterTestCase):
    """Speakers that say nothing."""

    def test_discontinuous_transmission(self) -> None:
        """In pauses nothing is made up, whether comfort noise comes or not, and what follows is on time."""
        call = Call()
        call.speak(20)
        for pause, noise in ((0.4, 1), (3.0, 8), (0.16, 1), (60.0, 1)):
            for _ in range(noise):
                call.send(payload_type=COMFORT_NOISE)
                call.pause(pause / noise - 0.02)
            frames = call.run()
            self.assertEqual([frame for frame in frames[3:] if frame is not None], [])
            self.assertGreater(len(frames), pause * 50 - 3)
            self.assert_even(call.speak(20)[3:], None)
        buffer = call.buffer
        self.assertEqual((buffer.lost, buffer.late, buffer.concealed, buffer.restarts), (0, 0, 0, 0))
        self.assertLess(max(call.delays), 0.061)

    def test_no_comfort_noise(self) -> None:
        """A sender that just stops is made up for 60 ms; that it goes on later with the next number is no loss."""
        call = Call()
        call.speak(20)
        call.pause(1.0)
        frames = call.run()
        self.assertEqual([frame is None for frame in frames[-45:]], [True] * 45)
        self.assert_even(sound(call.speak(20)), None)
        self.assert_counts(call.buffer, concealed=3)

    def test_timestamps_stand_still_in_pauses(self) -> None:
        """A sender whose timestamps do not count pauses is heard without a loss after them, short or long."""
        for pause in (0.1, 0.3, 0.9, 5.0):
            call = Call()
            call.speak(20)
            call.sending += pause
            call.speak(20)
            frames = [frame for frame in call.heard + call.end() if frame is not None]
            self.assert_even(frames[:20])
            self.assert_even(frames[23:43], None)
            self.assertEqual((call.buffer.packets, call.buffer.lost, call.buffer.late), (40, 0, 0), pause)

    def test_telephone_events(self) -> None:
        """Events, which have one timestamp and numbers of their own, are neither sound nor lost."""
        call = Call()
        call.speak(20)
        begin = call.timestamp
        for _ in range(10):
            timestamp = call.timestamp
            call.timestamp = begin
            call.send(payload_type=101)
            call.timestamp = timestamp + FRAME & 0xFFFFFFFF
        call.run()
        self.assert_even(sound(call.speak(20))[1:], None)
        self.assert_counts(call.buffer)
        self.assertEqual(call.buffer.packets, 40)

    def test_shrinks_in_a_pause(self) -> None:
        """The first sound after a pause comes with the delay that is needed by then, without a step."""
        delays = random.Random(4)
        call = Call()
        call.speak(200, lambda index: delays.uniform(0.0, 0.1))
        self.assertGreater(call.delays[-1], 0.09)
        for _ in range(25):
            call.send(payload_type=COMFORT_NOISE)
            call.pause(0.38)
            call.send()
        call.run()
        self.assertLess(call.delays[-1], 0.041)
        self.assertEqual(call.buffer.skipped, 0)


class ClockTests(JitterTestCase):
    """Clocks that run at different speeds, and players that do not keep time."""

    def test_fast_and_slow(self) -> None:
        """At 200 ppm, ten minutes lose or add six frames; the delay stays where it was."""
        for speed in (1.0002, 0.9998):
            call = Call(speed=speed)
            call.speak(30000)
            buffer = call.buffer
            self.assertEqual((buffer.packets, buffer.late, buffer.lost, buffer.restarts), (30000, 0, 0, 0))
            self.assertTrue(4 <= buffer.inserted + buffer.concealed + buffer.skipped <= 8)
            self.assertEqual(buffer.skipped if speed < 1 else buffer.inserted + buffer.concealed, 0)
            self.assertLess(max(call.delays), 0.061)
            self.assertGreater(min(call.delays), 0.014)

    def test_frames_are_left_out_softly(self) -> None:
        """Where a frame is left out, the one before it turns into the one after it."""
        call = Call(speed=1.0002)
        call.speak(12000)
        self.assertGreater(call.buffer.skipped, 0)
        steps = [
            abs(later[0] - earlier[-1])
            for earlier, later in pairwise(sound(call.heard))
            if earlier is not None and later is not None
        ]
        self.assertLess(sorted(step for step in steps if step < 1000)[-1], 12)

    def test_silence_is_left_out_first(self) -> None:
        """A delay that is too long shrinks within some seconds if there is silence."""
        buffer = JitterBuffer(formats=formats)
        delays = random.Random(4)
        for index in range(700):
            at = START + 0.02 * index
            late = delays.uniform(0.0, 0.12) if index < 100 else 0.0
            buffer.feed(SPEAKING, index, FRAME * index, 1, bytes(2 * FRAME), at + late)
            buffer.take(at + 0.01)
            if index == 100:
                self.assertGreater(buffer.delay, 0.1)
        self.assertLess(buffer.delay, 0.06)

    def test_a_player_that_stops(self) -> None:
        """After a pause of the player what is too old is skipped, and it goes on as before."""
        call = Call()
        call.speak(100)
        call.taking += 10.0
        for _ in range(500):
            call.send()
        call.run()
        frames = call.speak(45)
        self.assertNotIn(None, frames)
        self.assertLess(call.delays[-1], 0.25)
        call.speak(1000)
        self.assertLess(call.delays[-1], 0.06)
        self.assertEqual((call.buffer.restarts, call.buffer.late), (0, 0))

    def test_a_player_that_catches_up(self) -> None:
        """Frames that are taken late by up to 100 ms, and then at once, lose nothing."""
        call = Call()
        call.speak(100)
        for _ in range(20):
            for _ in range(5):
                call.send()
            now = call.sending
            while call.wire:
                arrival, _, payload_type, sequence, timestamp, ssrc, payload = call.wire.pop(0)
                call.buffer.feed(payload_type, sequence, timestamp, ssrc, payload, arrival)
            for _ in range(5):
                call.heard.append(call.buffer.take(now))
        self.assertEqual((call.buffer.skipped, call.buffer.late, call.buffer.lost), (0, 0, 0))


class RestartTests(JitterTestCase):
    """Timestamps that cannot be believed, and other sources."""

    def test_another_source(self) -> None:
        """Another SSRC goes on where it arrives, and nothing of it is lost."""
        call = Call()
        call.speak(50)
        call.ssrc, call.timestamp, call.sequence = 8, 12345, 1
        call.speak(50)
        call.end()
        self.assert_even(sound(call.heard)[:99])
        self.assert_counts(call.buffer, restarts=1, concealed=3)
        self.assertEqual(call.buffer.packets, 100)

    def test_timestamps_jump(self) -> None:
        """The same SSRC with other timestamps, forwards or backwards, goes on where it arrives."""
        for jump in (0x40000000, 0xC0000000, 0x80000000, 16000, -16000):
            call = Call()
            call.speak(50)
            call.timestamp = (call.timestamp + jump) & 0xFFFFFFFF
            call.speak(50)
            call.end()
            self.assert_even(sound(call.heard)[:99])
            self.assert_counts(call.buffer, restarts=1, concealed=3)

    def test_everything_jumps(self) -> None:
        """So does one whose sequence numbers are others, too."""
        for jump in (20000, -20000, 500, -500):
            call = Call()
            call.speak(50)
            call.sequence, call.timestamp = (call.sequence + jump) & 0xFFFF, 1_000_000_000
            call.speak(50)
            call.end()
            self.assert_even(sound(call.heard)[:99])
            self.assert_counts(call.buffer, restarts=1, concealed=3)

    def test_stray_packets(self) -> None:
        """Single packets of another source, or of long ago, move nothing."""
        call = Call()
        payload = array("h", [30000] * FRAME).tobytes()
        for index in range(20):
            call.speak(10)
            ssrc = index % 2 * 99 + 7
            call.buffer.feed(SPEAKING, 1234 * index & 0xFFFF, 99999 * index, ssrc, payload, call.sending)
        call.speak(10)
        self.assert_even(sound(call.heard))
        self.assert_counts(call.buffer, late=20)

    def test_another_codec(self) -> None:
        """Another payload type with the same clock goes on; one with another clock begins anew; nothing is lost."""
        call = Call()
        call.speak(50)
        call.payload_type = OTHER
        call.speak(50)
        self.assertEqual(call.buffer.restarts, 0)
        call.payload_type, call.clock_rate = OPUS, 48000
        call.speak(50)
        call.end()
        self.assert_even(sound(call.heard)[:149])
        self.assert_counts(call.buffer, restarts=1, concealed=3)

    def test_day_long_call(self) -> None:
        """Timestamps that wrap several times while packets come seldom stay believed."""
        buffer = JitterBuffer(formats=formats)
        for hours in range(0, 600, 100):
            timestamp = hours * 3600 * 8000 & 0xFFFFFFFF
            buffer.feed(SPEAKING, hours // 100, timestamp, 1, bytes(2 * FRAME), START + hours * 3600)
            self.assertIsNone(buffer.take(START + hours * 3600))
            self.assertIsNotNone(buffer.take(START + hours * 3600 + 0.02))
            for frame in range(2, 10):
                buffer.take(START + hours * 3600 + 0.02 * frame)
        self.assertEqual((buffer.packets, buffer.late), (6, 0))
