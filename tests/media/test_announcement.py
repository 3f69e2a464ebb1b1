"""Tests of `sipd.media.announcement`, `sipd.media.sounds` and `sipd.media.pacer`: what is sent, and when."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import InvalidStateError, MissingCodecError, SoundError
from sipd.media.announcement import Announcement, Announcer, Played
from sipd.media.pacer import Pacer
from sipd.media.sounds import FileSound, Frames, SilentSound, Sound, SoundLibrary, ToneSound
from sipd.rtp.g711 import decode_alaw, decode_ulaw, encode_alaw, encode_ulaw, tone, tone_level
from sipd.rtp.packet import RtpPacket, parse_packet
from sipd.rtp.samples import Encoder, interleave
from sipd.rtp.tones import TonePattern, ToneStep, find_tone
from sipd.rtp.wave import WaveEncoding, WaveFormat, little_endian

BUSY = ToneSound(pattern=find_tone("eu", "busy"))
FRAME = 0.02

#: When the tests begin.
BEGIN = 1000.0

#: How time passes in them; so the sums have no error.
STEP = 1 / 256


class OtherThread:
    """Runs what is to run in another thread: at once, or when it is told to."""

    def __init__(self) -> None:
        self.is_stuck = False
        self.count = 0
        self._jobs: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, function: Callable[[], Any]) -> Deferred[Any]:
        """See `InThread`."""
        result: Deferred[Any] = Deferred()
        self._jobs.append((function, result))
        if not self.is_stuck:
            self.work()
        return result

    def work(self) -> None:
        """Run all."""
        while self._jobs:
            function, result = self._jobs.pop(0)
            self.count += 1
            maybeDeferred(function).chainDeferred(result)


def wide_encoder() -> Encoder:
    """Make an encoder of the tests: samples as they are."""
    return lambda samples: samples.tobytes()


def ulaw_encoder() -> Encoder:
    """Give that of PCMU."""
    return encode_ulaw


def alaw_encoder() -> Encoder:
    """Give that of PCMA."""
    return encode_alaw


ENCODERS = {"pcmu": ulaw_encoder, "pcma": alaw_encoder, "wide": wide_encoder}


class Ear:
    """Takes packets, and knows when they came."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.packets: list[RtpPacket] = []
        self.times: list[float] = []

    def __call__(self, data: bytes) -> None:
        """Take a packet."""
        self.packets.append(parse_packet(data))
        self.times.append(self._clock.seconds())

    def samples(self, decode: Callable[[bytes], array[int]] = decode_ulaw) -> array[int]:
        """Give what is heard."""
        return decode(b"".join(packet.payload for packet in self.packets))


class AnnouncementTestCase(SynchronousTestCase):
    """Has an announcer, and checks that no timer is left."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(BEGIN)
        self.thread = OtherThread()
        self.library = SoundLibrary(in_thread=self.thread, encoders=ENCODERS)
        self.pacer = Pacer(self.clock)
        self.announcer = Announcer(self.library, self.pacer, lambda size: b"\xff" * size)
        self.ear = Ear(self.clock)
        self.addCleanup(self._check_nothing_is_left)

    def announce(
        self,
        sound: Sound,
        send: Callable[[bytes], object] | None = None,
        *,
        encoding: str = "pcmu/8000",
        times: int | None = 1,
        duration: float | None = None,
        gain: float = 0.0,
    ) -> Announcement:
        """Make an announcement to the ear."""
        return self.announcer.announce(
            sound,
            send or self.ear,
            payload_type=0,
            encoding=encoding,
            times=times,
            duration=duration,
            gain=gain,
        )

    def begin(self, played: Played, other: Announcement) -> Played:
        """Begin another announcement when one has ended."""
        other.start()
        return played

    def run_for(self, seconds: float) -> None:
        """Let time pass in small steps, after what is due already."""
        self.clock.advance(0)
        for _ in range(round(seconds / STEP)):
            self.clock.advance(STEP)

    def file(self, samples: array[int], format_: WaveFormat | None = None, name: str = "x.wav") -> Path:
        """Write a file."""
        format_ = format_ or WaveFormat()
        encoders = {
            WaveEncoding.PCM: lambda samples: little_endian(array("h", samples)).tobytes(),
            WaveEncoding.ULAW: encode_ulaw,
            WaveEncoding.ALAW: encode_alaw,
        }
        data = encoders[format_.encoding](samples)
        directory = Path(self.mktemp())
        directory.mkdir()
        path = directory / name
        path.write_bytes(format_.header(len(data)) + data)
        return path

    def _check_nothing_is_left(self) -> None:
        self.assertEqual(len(self.pacer), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class PacketTests(AnnouncementTestCase):
    """The packets of one announcement."""

    def test_file_once(self) -> None:
        """A file is heard once, as packets of 20 ms in a row, and then it is told how much was played."""
        path = self.file(tone(440, 0.5) + tone(440, 0.01))
        done = self.announce(FileSound(path=path)).start()
        self.run_for(0.51)
        self.assertNoResult(done)
        self.run_for(0.1)
        self.assertEqual(self.successResultOf(done), Played(packets=26, duration=0.52, unsent=0, is_complete=True))
        packets = self.ear.packets
        self.assertEqual([packet.marker for packet in packets], [True] + [False] * 25)
        self.assertEqual([packet.sequence for packet in packets], [0x7FFF + index for index in range(26)])
        self.assertEqual(
            [packet.timestamp for packet in packets], [(0xFFFFFFFF + 160 * index) & 0xFFFFFFFF for index in range(26)]
        )
        self.assertEqual({(packet.ssrc, packet.payload_type) for packet in packets}, {(0xFFFFFFFF, 0)})
        self.assertGreater(tone_level(self.ear.samples()[:4080], 440), 0.98)
        self.assertFalse(any(self.ear.samples()[4080:]))

    def test_pace(self) -> None:
        """The first packet goes at once, and each other 20 ms after the one before, for ten minutes too."""
        announcement = self.announce(SilentSound(), times=None)
        done = announcement.start()
        self.clock.advance(0)
        self.run_for(600.01)
        self.assertEqual(len(self.ear.times), 600 * 50 + 1)
        self.assertEqual(self.ear.times[0], BEGIN)
        for index, at in enumerate(self.ear.times):
            self.assertApproximates(at, BEGIN + FRAME * index, 2 * STEP)
        announcement.stop()
        self.assertFalse(self.successResultOf(done).is_complete)

    def test_tone_until_stopped(self) -> None:
        """A busy tone goes on until it is stopped, in exact phase, and nothing is sent afterwards."""
        announcement = self.announce(BUSY, times=None, encoding="wide/8000")
        done = announcement.start()
        self.run_for(3.2)
        announcement.stop()
        self.assertFalse(self.successResultOf(done).is_complete)
        count = len(self.ear.packets)
        heard = self.ear.samples(lambda data: array("h", data))
        self.assertEqual(heard, BUSY.pattern.samples(0, len(heard)))
        self.run_for(1.0)
        self.assertEqual(len(self.ear.packets), count)
        announcement.stop()

    def test_so_many_times(self) -> None:
        """A sound is repeated without a gap."""
        path = self.file(tone(400, 0.1))
        done = self.announce(FileSound(path=path), times=3).start()
        self.run_for(1.0)
        self.assertEqual(self.successResultOf(done).packets, 15)
        self.assertGreater(tone_level(self.ear.samples(), 400), 0.98)

    def test_so_long(self) -> None:
        """With a duration silence ends, and so does what would be longer."""
        for sound in (SilentSound(), BUSY):
            done = self.announce(sound, times=None, duration=0.3).start()
            self.run_for(0.4)
            self.assertEqual(self.successResultOf(done), Played(packets=15, duration=0.3, unsent=0, is_complete=True))

    def test_other_clock_rates(self) -> None:
        """The timestamps count in the clock rate of the encoding."""
        announcement = self.announce(SilentSound(), times=2, encoding="wide/48000/2")
        announcement.start()
        self.run_for(0.1)
        first, second = self.ear.packets
        self.assertEqual((second.timestamp - first.timestamp) & 0xFFFFFFFF, 960)

    def test_send_that_fails(self) -> None:
        """A packet that cannot be sent is counted, and the next one is sent."""

        def send(data: bytes) -> None:
            if parse_packet(data).sequence % 2:
                raise OSError("nobody there")

        done = self.announce(SilentSound(), send, times=10).start()
        self.run_for(0.5)
        self.assertEqual(self.successResultOf(done), Played(packets=10, duration=0.2, unsent=5, is_complete=True))

    def test_send_that_is_broken(self) -> None:
        """A bug of who sends ends that announcement, and no other."""

        def send(data: bytes) -> None:
            raise KeyError("bug")

        broken = self.announce(SilentSound(), send, times=10).start()
        done = self.announce(SilentSound(), times=10).start()
        self.run_for(0.5)
        self.failureResultOf(broken, KeyError)
        self.assertEqual(self.successResultOf(done).packets, 10)

    def test_cancel_is_stop(self) -> None:
        """To cancel what `start` gave is to stop."""
        done = self.announce(SilentSound(), times=None).start()
        self.run_for(0.1)
        done.cancel()
        self.assertFalse(self.successResultOf(done).is_complete)

    def test_stop_while_it_is_loaded(self) -> None:
        """What was stopped before its file is read is never heard."""
        self.thread.is_stuck = True
        announcement = self.announce(FileSound(path=self.file(tone(440, 0.1))))
        done = announcement.start()
        announcement.stop()
        self.assertEqual(self.successResultOf(done), Played(packets=0, duration=0.0, unsent=0, is_complete=False))
        self.thread.work()
        self.run_for(0.1)
        self.assertEqual(self.ear.packets, [])

    def test_wrong_use(self) -> None:
        """An announcement is started once, plays at least once, and has a payload type that fits."""
        announcement = self.announce(SilentSound())
        announcement.stop()
        announcement.start()
        self.assertRaises(InvalidStateError, announcement.start)
        announcement.stop()
        self.assertRaises(ValueError, self.announce, SilentSound(), times=0)
        self.assertRaises(ValueError, self.announcer.announce, BUSY, self.ear, payload_type=128, encoding="pcmu/8000")


class PacerTests(AnnouncementTestCase):
    """Many at once, and a process that is held up."""

    def test_one_timer(self) -> None:
        """A thousand announcements have one timer, are spread over 20 ms, and each has its own pace."""
        ears = [Ear(self.clock) for _ in range(1000)]
        announcements = [self.announce(BUSY, ear, times=None) for ear in ears]
        for announcement in announcements:
            announcement.start()
        self.assertEqual(self.thread.count, 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.run_for(0.2)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for ear in ears:
            self.assertIn(len(ear.times), (10, 11))
        first = sorted({round(ear.times[0] - BEGIN, 4) for ear in ears})
        self.assertEqual(first, [0.0, 0.0078, 0.0117, 0.0156])
        for announcement in announcements:
            announcement.stop()

    def test_a_little_late(self) -> None:
        """What is late by a few packets is caught up with at once, and then the pace is the old one."""
        announcement = self.announce(SilentSound(), times=None)
        announcement.start()
        self.run_for(0.05)
        self.clock.advance(0.1)
        self.run_for(0.05)
        self.assertEqual(len(self.ear.packets), 11)
        self.assertEqual([packet.marker for packet in self.ear.packets], [True] + [False] * 10)
        self.assertApproximates(self.ear.times[-1], BEGIN + 0.2, 2 * STEP)
        announcement.stop()

    def test_held_up(self) -> None:
        """After a second without a chance five packets are caught up with, and the timestamps show the rest."""
        announcement = self.announce(BUSY, times=None, encoding="wide/8000")
        announcement.start()
        self.run_for(0.1)
        before = len(self.ear.packets)
        self.clock.advance(1.0)
        burst = len(self.ear.packets) - before
        self.assertIn(burst, (5, 6))
        self.run_for(0.1)
        packets = self.ear.packets
        heard = self.ear.samples(lambda data: array("h", data))
        self.assertEqual(heard, BUSY.pattern.samples(0, len(heard)))
        elapsed = (packets[-1].timestamp - packets[0].timestamp) & 0xFFFFFFFF
        self.assertApproximates(elapsed / 8000, self.ear.times[-1] - self.ear.times[0], 2 * STEP)
        self.assertEqual(sum(packet.marker for packet in packets), 2)
        self.assertEqual([packet.sequence - 0x7FFF for packet in packets], list(range(len(packets))))
        announcement.stop()

    def test_one_ends_as_another_begins(self) -> None:
        """What is begun by the end of another is heard, and nobody else misses anything."""
        for long in (0, 20):
            others = [self.announce(SilentSound(), times=5) for _ in range(3)]
            alone = Ear(self.clock)
            if long:
                self.announce(SilentSound(), alone, times=long).start()
            ending = self.announce(SilentSound(), lambda data: None, times=5).start()
            for other in others:
                ending.addCallback(self.begin, other)
            self.run_for(0.06)
            self.clock.advance(0.1)
            self.run_for(0.4)
            self.assertEqual(len(self.ear.packets), 15)
            self.assertEqual(len(alone.packets), long)
            self.ear.packets.clear()


class SoundTests(AnnouncementTestCase):
    """What can be played, and what is kept of it."""

    def frames(self, sound: Sound, name: str = "pcmu", gain: float = 0.0) -> Frames:
        """Give the frames of a sound."""
        return self.successResultOf(self.library.frames(sound, name, gain))

    def heard(self, path: Path, gain: float = 0.0) -> array[int]:
        """Give what is heard of a file."""
        return decode_ulaw(b"".join(self.frames(FileSound(path=path), gain=gain)))

    def test_kinds_of_files(self) -> None:
        """PCM and both laws, mono and stereo, are heard as they are."""
        for encoding in WaveEncoding:
            mono = self.file(tone(440, 0.2), WaveFormat(encoding=encoding))
            self.assertGreater(tone_level(self.heard(mono), 440), 0.97)
            both = interleave(tone(440, 0.2), tone(1000, 0.2))
            heard = self.heard(self.file(both, WaveFormat(encoding=encoding, channels=2)))
            self.assertEqual(len(heard), 1600)
            self.assertApproximates(tone_level(heard, 440), 0.5, 0.03)
            self.assertApproximates(tone_level(heard, 1000), 0.5, 0.03)

    def test_wide_files(self) -> None:
        """A file of 16 kHz is heard at its pitch and length."""
        heard = self.heard(self.file(tone(440, 0.4), WaveFormat(sample_rate=16000)))
        self.assertEqual(len(heard), 1600)
        self.assertGreater(tone_level(heard, 880), 0.97)

    def test_gain(self) -> None:
        """Twenty decibel less is a tenth."""
        path = self.file(tone(440, 0.1))
        self.assertApproximates(max(self.heard(path)), 8000, 300)
        self.assertApproximates(max(self.heard(path, -20.0)), 800, 40)

    def test_other_law(self) -> None:
        """The payloads are of the codec that was asked for."""
        frames = self.frames(FileSound(path=self.file(tone(440, 0.1))), "pcma")
        self.assertGreater(tone_level(decode_alaw(b"".join(frames)), 440), 0.97)
        self.failureResultOf(self.library.frames(BUSY, "g729"), MissingCodecError)

    def test_odd_cadences(self) -> None:
        """A tone whose period is no multiple of 20 ms is repeated until it is; one that never is ends with silence."""
        steps = (ToneStep(frequencies=(400,), duration=0.033), ToneStep(duration=0.017))
        self.assertEqual(len(self.frames(ToneSound(pattern=TonePattern(steps=steps)))), 5)
        steps = (ToneStep(frequencies=(400,), duration=30.0), ToneStep(duration=0.000125))
        self.assertEqual(len(self.frames(ToneSound(pattern=TonePattern(steps=steps)))), 1501)

    def test_files_that_cannot_be_played(self) -> None:
        """What is missing, no regular file, too large, empty, or of no known kind fails with the path and a reason."""
        directory = Path(self.mktemp())
        directory.mkdir()
        pipe, text, large, empty = (directory / name for name in ("pipe", "text", "large", "empty"))
        os.mkfifo(pipe)
        text.write_text("hello")
        large.write_bytes(bytes((16 << 20) + 1))
        empty.write_bytes(WaveFormat().header(0))
        odd = self.file(tone(440, 0.1), WaveFormat(sample_rate=44100))
        for path, reason in (
            (directory / "nothing", "No such file"),
            (directory, "no regular file"),
            (pipe, "no regular file"),
            (text, "not a RIFF"),
            (large, "more than"),
            (empty, "no audio"),
            (odd, "44100"),
            (Path("a\0b"), "null"),
        ):
            failure = self.failureResultOf(self.announce(FileSound(path=path)).start(), SoundError)
            self.assertIn(reason, str(failure.value))
            self.assertIn(str(path), str(failure.value))

    def test_kept_until_it_changes(self) -> None:
        """A file is read once, shared by all, and read again when it has changed; gone, it cannot be played."""
        path = self.file(tone(440, 0.1))
        first = self.frames(FileSound(path=path))
        self.assertIs(self.frames(FileSound(path=path)), first)
        path.write_bytes(WaveFormat().header(1600) + bytes(1600))
        os.utime(path, (1, 1))
        self.assertEqual(self.frames(FileSound(path=path)), (b"\xff" * 160,) * 5)
        path.unlink()
        self.failureResultOf(self.library.frames(FileSound(path=path), "pcmu"), SoundError)
        self.assertEqual(self.library.size_octets, 0)

    def test_loaded_once(self) -> None:
        """Those who ask for a sound while it is loaded wait for the same one."""
        self.thread.is_stuck = True
        asked = [self.library.frames(BUSY, "pcmu") for _ in range(5)]
        self.thread.work()
        self.assertEqual(self.thread.count, 1)
        self.assertEqual(len({id(self.successResultOf(one)) for one in asked}), 1)

    def test_memory_has_a_bound(self) -> None:
        """What was not used for longest is given up, and read again when it is wanted."""
        self.library = SoundLibrary(in_thread=self.thread, encoders=ENCODERS, memory_limit_octets=2500)
        paths = [self.file(tone(440, 0.1)) for _ in range(3)]
        sounds = [FileSound(path=path) for path in paths]
        first, second = self.frames(sounds[0]), self.frames(sounds[1])
        self.frames(sounds[0])
        self.frames(sounds[2])
        self.assertLessEqual(self.library.size_octets, 2500)
        self.assertIs(self.frames(sounds[0]), first)
        self.assertIsNot(self.frames(sounds[1]), second)
        self.frames(BUSY)
        self.assertLessEqual(self.library.size_octets, 2500)

    def test_given_up_while_it_is_looked_at(self) -> None:
        """A file that is known, but given up while its age is looked at, is read again."""
        self.library = SoundLibrary(in_thread=self.thread, encoders=ENCODERS, memory_limit_octets=1500)
        first, second = (FileSound(path=self.file(tone(440, 0.1))) for _ in range(2))
        self.frames(first)
        self.thread.is_stuck = True
        asked = [self.library.frames(second, "pcmu"), self.library.frames(first, "pcmu")]
        self.thread.work()
        self.assertEqual([len(self.successResultOf(one)) for one in asked], [5, 5])
