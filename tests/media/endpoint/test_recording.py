"""Recordings of endpoints: `sipd.media.endpoint.recording`, and what was recorded is played back."""

from __future__ import annotations

from array import array
from pathlib import Path

from sipd.errors import InvalidStateError, LocalError
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.recording import Recording
from sipd.rtp.g711 import tone_level
from sipd.rtp.wave import Wave, parse_wave
from tests.media.endpoint.support import ALICE, BOB, EndpointTestCase
from tests.media.recordings import Disk


class RecordingTests(EndpointTestCase):
    """Bob records."""

    def setUp(self) -> None:
        super().setUp()
        self.path = Path(self.mktemp()) / "deep" / "call.wav"

    def wave(self, recording: Recording) -> Wave:
        """Read a file."""
        return parse_wave(recording.path.read_bytes())

    def test_what_is_heard(self) -> None:
        """One channel has what is heard, as long as it took."""
        alice, bob = self.pair()
        alice.play("tone:440", times=None)
        self.run_for(0.5)
        recording = bob.record(self.path)
        self.run_for(2.0)
        duration = self.successResultOf(recording.stop())
        self.assertEqual(self.successResultOf(recording.stop()), duration)
        self.assertApproximates(duration, 2.0, 0.03)
        wave = self.wave(recording)
        self.assertEqual(recording.path, self.path)
        self.assertEqual((wave.format.channels, wave.format.sample_rate), (1, 8000))
        self.assertEqual(wave.duration, duration)
        self.assertGreater(tone_level(wave.samples(), 440), 0.95)

    def test_both(self) -> None:
        """Two channels: heard on the left, said on the right, whether from a file or from a source."""
        alice, bob = self.pair()
        alice.play("tone:440", times=None)
        bob.play("tone:1000", times=None)
        self.run_for(0.5)
        recording = bob.record(self.path, both=True)
        self.run_for(1.0)
        bob.stop_playing()
        bob.echo()
        self.run_for(1.0)
        self.successResultOf(recording.stop())
        samples = self.wave(recording).samples()
        left, right = samples[::2], samples[1::2]
        self.assertGreater(tone_level(left, 440), 0.95)
        self.assertGreater(tone_level(right[:7800], 1000), 0.95)
        self.assertGreater(tone_level(right[-7800:], 440), 0.95)

    def test_silence_has_its_length(self) -> None:
        """On hold, and when the process was held up, there is silence for as long."""
        alice, bob = self.pair()
        recording = bob.record(self.path)
        alice.play("tone:440", times=None)
        self.run_for(1.0)
        alice.close()
        self.run_for(1.0)
        recording.skip(50)
        self.run_for(1.0)
        duration = self.successResultOf(recording.stop())
        self.assertApproximates(duration, 4.0, 0.05)
        wave = self.wave(recording)
        self.assertEqual(wave.duration, duration)
        self.assertEqual(max(map(abs, wave.samples()[-16000:])), 0)

    def test_taken_name(self) -> None:
        """A file that is there is not written over."""
        _, bob = self.pair()
        first, second = bob.record(self.path), bob.record(self.path)
        self.run_for(0.2)
        self.successResultOf(first.stop())
        self.successResultOf(second.stop())
        self.assertEqual((first.path.name, second.path.name), ("call.wav", "call-2.wav"))

    def test_disk_that_fails(self) -> None:
        """What cannot be written is a `LocalError`, and the call goes on."""
        disk = Disk()
        disk.failing.add("create")
        ended: list[Recording] = []
        recording = Recording(self.path, writer=self.writer, channels=1, ended=ended.append, files=disk)
        recording.frame(array("h", bytes(320)), None)
        self.failureResultOf(recording.stop(), LocalError)
        self.assertEqual(ended, [recording])

    def test_directory_that_cannot_be_made(self) -> None:
        """The same for an endpoint, whose call goes on."""
        alice, bob = self.pair()
        blocked = Path(self.mktemp())
        blocked.write_bytes(b"")
        recording = bob.record(blocked / "call.wav")
        self.run_for(0.5)
        self.failureResultOf(recording.stop(), LocalError)
        self.assertGreater(alice.statistics.packets_received, 10)

    def test_slow_disk(self) -> None:
        """What the disk is too slow for becomes silence of the same length."""
        ended: list[Recording] = []
        recording = Recording(self.path, writer=self.writer, channels=2, ended=ended.append)
        loud = array("h", [10000] * 160)
        self.writer.is_stuck = True
        self.writer.submit(lambda: None, 9 << 20)
        for _ in range(50):
            recording.frame(loud, loud)
        self.writer.is_stuck = False
        self.writer.work()
        for _ in range(50):
            recording.frame(loud, loud)
        self.assertEqual(self.successResultOf(recording.stop()), 2.0)
        self.assertEqual(recording.dropped, 1.0)
        samples = self.wave(recording).samples()
        self.assertEqual(len(samples), 2 * 16000)
        self.assertEqual((set(samples[:16000]), set(samples[16000:])), ({0}, {10000}))

    def test_played_back(self) -> None:
        """What one recorded another one plays, quieter if that is wanted."""
        alice, bob = self.pair()
        alice.play("tone:440", times=None)
        self.run_for(0.5)
        recording = bob.record(self.path)
        self.run_for(1.0)
        self.successResultOf(recording.stop())
        alice.stop_playing()
        ear = self.ear(alice)
        playing = self.outcome(bob.play(self.path, gain=-6.0))
        self.run_for(0.9)
        self.assertTone(ear, 440)
        quiet = max(ear.last(0.2))
        self.run_for(0.5)
        self.assertTrue(playing.is_there)
        bob.play(str(self.path))
        self.run_for(0.9)
        self.assertApproximates(max(ear.last(0.2)) / quiet, 2.0, 0.1)

    def test_nobody_writes(self) -> None:
        """Without a writer, and without threads, there are no recordings."""
        alice = AudioEndpoint(
            self.host(ALICE),  # type: ignore[arg-type]
            host=ALICE,
            pacer=self.pacer,
            sounds=self.sounds,
            entropy=self.network.entropy,
        )
        self.assertRaises(InvalidStateError, alice.record, self.path)
        self.assertIsNone(self.endpoint(BOB).codec)
