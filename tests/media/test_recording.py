"""Tests of `sipd.media.recording`: what is in the files, what they are called, and what may happen to them."""

from __future__ import annotations

import os
import struct
from array import array
from pathlib import Path

from sipd.errors import ConfigurationError, InvalidStateError, MissingCodecError, ResourcesExhaustedError
from sipd.media.filenames import FileNames
from sipd.media.filewriter import SyncPolicy
from sipd.media.recorded import RecordedLeg
from sipd.media.recording import RecordingFormat
from sipd.rtp import pcap
from sipd.rtp.packet import RtpPacket
from sipd.rtp.samples import Decoder
from tests.media.recordings import RIGHT, WALL, Leg, RecordingTestCase


class SoundTests(RecordingTestCase):
    """What is heard in a file."""

    def test_each_leg_in_its_channel(self) -> None:
        """Two legs with two laws and two tones are where they belong, from the beginning to the end."""
        recording = self.start()
        self.talk(recording, 3.0, self.left, self.right)
        result = self.stop(recording)
        self.assertEqual(result.path, self.directory / "2027-01-15" / "080000-call.wav")
        left, right = self.channels(result.path)
        self.assertEqual((len(left), len(right)), (24000, 24000))
        self.assert_tone(left, 0.0, 3.0, 440)
        self.assert_tone(right, 0.0, 3.0, 1000)
        self.assertEqual((result.error, result.packets, result.dropped_octets), ("", 300, 0))
        self.assertAlmostEqual(result.duration, 3.0)
        self.assertEqual(result.size_octets, (result.path or Path()).stat().st_size)
        self.assertEqual(self.kinds(), ["recording-ended"])

    def test_a_leg_that_begins_late(self) -> None:
        """A leg is heard from when its packets come, and only what it sends."""
        recording = self.start()
        self.talk(recording, 1.0, self.left)
        self.talk(recording, 1.0, self.left, self.right)
        self.clock.advance(0.5)
        left, right = self.channels(self.stop(recording).path)
        self.assert_tone(left, 0.0, 2.0, 440)
        self.assert_silence(right, 0.0, 1.0)
        self.assert_tone(right, 1.0, 2.0, 1000)
        self.assert_silence(left, 2.0, 2.5)
        self.assert_silence(right, 2.0, 2.5)

    def test_loss(self) -> None:
        """What is lost is silent in both channels, and what follows is in its place."""
        recording = self.start()
        self.talk(recording, 3.0, self.left, self.right, lost=lambda index: 50 <= index < 75)
        for samples, frequency in zip(self.channels(self.stop(recording).path), (440, 1000), strict=True):
            self.assert_tone(samples, 0.0, 1.0, frequency)
            self.assert_silence(samples, 1.0, 1.5)
            self.assert_tone(samples, 1.5, 3.0, frequency)

    def test_reordering(self) -> None:
        """Packets that come in another order are heard in the right one."""
        recording = self.start()
        for _ in range(25):
            packets = [self.left.packet() for _ in range(4)]
            for place in (0, 3, 1, 2):
                recording.packet("a", packets[place], self.clock.seconds())
                self.clock.advance(0.02)
        left, _ = self.channels(self.stop(recording).path)
        self.assert_tone(left, 0.0, 2.0, 440)

    def test_pause(self) -> None:
        """What comes while it is paused is not in the file, and the rest is in its place."""
        recording = self.start()
        self.talk(recording, 1.0, self.left, self.right)
        recording.pause()
        self.talk(recording, 1.0, self.left, self.right)
        recording.resume()
        self.talk(recording, 1.0, self.left, self.right)
        for samples, frequency in zip(self.channels(self.stop(recording).path), (440, 1000), strict=True):
            self.assert_tone(samples, 0.0, 1.0, frequency)
            self.assert_silence(samples, 1.0, 2.0)
            self.assert_tone(samples, 2.0, 3.0, frequency)

    def test_a_long_silence(self) -> None:
        """Half an hour on hold is as long in the file, and costs nothing until it is written."""
        recording = self.start()
        self.talk(recording, 1.0, self.left, self.right)
        self.clock.advance(1800.0)
        self.talk(recording, 1.0, self.left, self.right)
        result = self.stop(recording)
        left, _ = self.channels(result.path)
        self.assert_tone(left, 0.0, 1.0, 440)
        self.assert_silence(left, 1.0, 1801.0)
        self.assert_tone(left, 1801.0, 1802.0, 440)

    def test_other_packets(self) -> None:
        """RTCP, STUN, telephone events, noise, and legs that nobody knows are not heard."""
        recording = self.start()
        event = RtpPacket(payload_type=101, sequence=1, timestamp=1, ssrc=1, payload=bytes(4)).to_bytes()
        for data in (b"\x80\xc8\0\1\0\0\0\1", b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), b"", b"\x80", event):
            recording.packet("a", data, self.clock.seconds())
        recording.packet("nobody", self.left.packet(), self.clock.seconds())
        self.clock.advance(1.0)
        left, right = self.channels(self.stop(recording).path)
        self.assert_silence(left, 0.0, 1.0)
        self.assert_silence(right, 0.0, 1.0)

    def test_another_leg_takes_the_channel(self) -> None:
        """After a transfer the new leg is heard in the old one's channel, and the old one no more."""
        recording = self.start()
        self.talk(recording, 1.0, self.right)
        recording.describe("c", RIGHT)
        other = Leg("c", 8, 600, 3)
        self.talk(recording, 1.0, self.right, other)
        _, right = self.channels(self.stop(recording).path)
        self.assert_tone(right, 0.0, 1.0, 1000)
        self.assert_tone(right, 1.0, 2.0, 600)

    def test_channels_are_two(self) -> None:
        """There is no third channel."""
        self.assertRaises(ValueError, RecordedLeg, channel=2)


class CodecTests(RecordingTestCase):
    """Codecs that are not built in."""

    def setUp(self) -> None:
        def missing() -> Decoder:
            raise MissingCodecError("the package G722 cannot be imported")

        def loud() -> Decoder:
            return lambda payload: array("h", [1000] * 160)

        self.decoders = {"g722": missing, "opus": loud}
        super().setUp()

    def test_a_codec_that_is_missing(self) -> None:
        """A leg whose codec cannot be decoded is silent, and one event for each reason says why."""
        recording = self.start()
        recording.describe("a", RecordedLeg(channel=0, encodings={96: "opus/48000/2", 18: "g729/8000"}))
        for payload_type in (9, 18, 77, 9, 18, 77):
            packet = RtpPacket(payload_type=payload_type, sequence=1, timestamp=1, ssrc=1, payload=bytes(20))
            recording.packet("a", packet.to_bytes(), self.clock.seconds())
        self.clock.advance(1.0)
        left, _ = self.channels(self.stop(recording).path)
        self.assert_silence(left, 0.0, 1.0)
        self.assertEqual(
            [text.partition(": ")[2] for kind, text in self.events if kind == "recording-silent"],
            [
                "g722/8000: the package G722 cannot be imported",
                "no decoder for g729/8000",
                "no decoder for payload type 77",
            ],
        )

    def test_another_clock_rate(self) -> None:
        """Opus counts 48000 a second, and is in its place."""
        recording = self.start()
        recording.describe("a", RecordedLeg(channel=0, encodings={96: "opus/48000/2"}))
        for index in (0, 2):
            packet = RtpPacket(payload_type=96, sequence=index, timestamp=960 * index, ssrc=1, payload=b"x")
            recording.packet("a", packet.to_bytes(), self.clock.seconds())
        self.clock.advance(0.08)
        left, _ = self.channels(self.stop(recording).path)
        self.assertEqual(left.tolist(), ([1000] * 160 + [0] * 160) * 2)


class PacketTests(RecordingTestCase):
    """All packets in a pcap file."""

    def test_every_datagram(self) -> None:
        """Whatever came from a leg is in the file, in the order of arrival, with its time and its addresses."""
        recording = self.start("call", RecordingFormat.PCAP)
        rtp, rtcp = ("192.0.2.1", 4000), ("192.0.2.1", 4001)
        local, local_rtcp = ("192.0.2.9", 30000), ("192.0.2.9", 30001)
        recording.describe(
            "a", RecordedLeg(channel=0, remote=rtp, local=local, remote_rtcp=rtcp, local_rtcp=local_rtcp)
        )
        recording.describe("b", RecordedLeg(channel=0, remote=("2001:db8::1", 5), local=("2001:db8::2", 6)))
        voice, report, noise = self.left.packet(), b"\x80\xc8\0\1\0\0\0\1", b"odd"
        expected = [pcap.FILE_HEADER]
        for leg, data, source, destination in (
            ("a", voice, rtp, local),
            ("a", report, rtcp, local_rtcp),
            ("b", report, ("2001:db8::1", 5), ("2001:db8::2", 6)),
            ("b", noise, ("2001:db8::1", 5), ("2001:db8::2", 6)),
        ):
            self.clock.advance(0.25)
            recording.packet(leg, data, self.clock.seconds())
            expected.append(pcap.datagram_record(WALL + 0.25 * len(expected), source, destination, data))
        recording.pause()
        recording.packet("a", voice, self.clock.seconds())
        result = self.stop(recording)
        assert result.path is not None
        self.assertEqual(result.path.name, "080000-call.pcap")
        self.assertEqual(result.path.read_bytes(), b"".join(expected))
        self.assertEqual((result.packets, result.size_octets), (4, len(b"".join(expected))))

    def test_slow_disk(self) -> None:
        """What a slow disk does not take is dropped and counted; what is there is whole."""
        self.recorder = self.make_recorder(backlog_limit_octets=40_000)
        recording = self.start("call", RecordingFormat.PCAP)
        self.writer.is_stuck = True
        self.talk(recording, 10.0, self.left, self.right)
        self.writer.is_stuck = False
        self.writer.work()
        result = self.stop(recording)
        assert result.path is not None
        data = result.path.read_bytes()
        place = count = 24
        while place < len(data):
            place += 16 + struct.unpack_from("<I", data, place + 8)[0]
            count += 16 + 28 + 172
        self.assertEqual((place, count), (len(data), len(data)))
        self.assertEqual(len(data) + result.dropped_octets, 24 + 1000 * (16 + 28 + 172))


class FileTests(RecordingTestCase):
    """Names, and what happens to files."""

    def test_it_has_another_name_until_it_is_finished(self) -> None:
        """The file is called `.part` while it grows; what can be read of it then can be heard."""
        recording = self.start()
        self.talk(recording, 3.0, self.left)
        (part,) = self.directory.rglob("*.part")
        self.assertEqual(part.name, "080000-call.wav.part")
        left, _ = self.channels(part)
        self.assert_tone(left, 0.0, 1.5, 440)
        result = self.stop(recording)
        self.assertFalse(part.exists())
        self.assertEqual(result.path, part.with_suffix(""))
        self.assertEqual((result.path or Path()).stat().st_mode & 0o777, 0o640)
        self.assertEqual(self.disk.done, ["mkdir", "create", "sync", "rename", "sync directory"])

    def test_without_sync(self) -> None:
        """Where nobody wants it, nothing is forced to the disk."""
        self.recorder = self.make_recorder(sync=SyncPolicy.NEVER)
        self.stop(self.start())
        self.assertEqual(self.disk.done, ["mkdir", "create", "rename"])

    def test_names_do_not_escape(self) -> None:
        """Whatever a caller calls itself, the file is below the directory, and not hidden."""
        self.recorder = self.make_recorder(template="{caller}/x{callee}-{call_id}")
        names = (
            "../../etc/passwd",
            "..",
            ".",
            "",
            "/",
            "a\0b",
            "\n",
            "~",
            "x" * 500,
            "ü\udc80",
            "C:\\con",
            "{call_id}",
        )
        for name in names:
            path = self.stop(self.start(name, caller=name, callee=name)).path
            assert path is not None
            self.assertEqual(path.resolve().parent.parent, self.directory.resolve(), name)
            self.assertNotIn(True, [part.startswith(".") for part in path.relative_to(self.directory).parts], name)
            self.assertLess(len(os.fsencode(path.name)), 255)

    def test_same_names(self) -> None:
        """Recordings that would be called the same are numbered, whether the first is finished or not."""
        first, second = self.start(), self.start()
        self.assertEqual([self.stop(one).path for one in (second, first)], [
            self.directory / "2027-01-15" / "080000-call-2.wav",
            self.directory / "2027-01-15" / "080000-call.wav",
        ])  # fmt: skip
        third = self.stop(self.start()).path
        self.assertEqual(third and third.name, "080000-call-3.wav")

    def test_templates_that_are_refused(self) -> None:
        """A template that leads out of the directory, or asks for what there is not, cannot be used."""
        for template in (
            "",
            "/{call_id}",
            "../{call_id}",
            "a/../{call_id}",
            ".{call_id}",
            "{call_id}/",
            "{nothing}",
            "{call_id.__class__}",
            "{call_id!r}",
            "{call_id:>2000}",
            "{",
            "{}",
            "a\0",
        ):
            self.assertRaises(ConfigurationError, FileNames, template, ("call_id",))

    def test_disk_full(self) -> None:
        """A full disk ends the recording, not the call: there is one event, and what was written can be heard."""
        self.disk.room = 50_001
        recording = self.start()
        self.talk(recording, 5.0, self.left, self.right)
        self.assertFalse(recording.is_running)
        self.assertEqual(self.kinds(), ["recording-failed", "recording-ended"])
        result = self.stop(recording)
        self.assertEqual(result.error, "No space left on device")
        assert result.path is not None
        self.assertEqual(result.path.suffix, ".part")
        self.assertEqual(result.path.read_bytes()[40:44], (50_000).to_bytes(4, "little"))
        left, right = self.channels(result.path)
        self.assert_tone(left, 0.0, 1.5, 440)
        self.assert_tone(right, 0.0, 1.5, 1000)
        self.assertEqual(self.stop(recording), result)

    def test_every_step_may_fail(self) -> None:
        """Whatever the file system refuses, the result says it, and no file stays open."""
        for step in ("mkdir", "create", "sync", "rename", "sync directory"):
            self.disk.failing = {step}
            result = self.stop(self.start(step.replace(" ", "")))
            self.assertEqual(result.error, "Input/output error", step)
            self.assertEqual(result.path is None, step in ("mkdir", "create"), step)
        self.assertEqual(self.kinds(), ["recording-failed", "recording-ended"] * 5)

    def test_slow_disk(self) -> None:
        """What a slow disk does not take is dropped and counted, and what follows is in its place."""
        self.recorder = self.make_recorder(backlog_limit_octets=40_000)
        recording = self.start()
        self.talk(recording, 2.0, self.left, self.right)
        self.writer.is_stuck = True
        self.talk(recording, 4.0, self.left, self.right)
        self.assertLessEqual(self.writer.backlog_octets, 40_000)
        self.writer.is_stuck = False
        self.writer.work()
        self.talk(recording, 3.0, self.left, self.right)
        result = self.stop(recording)
        self.assertGreater(result.dropped_octets, 64_000)
        self.assertEqual(self.kinds(), ["recording-slow", "recording-ended"])
        for samples, frequency in zip(self.channels(result.path), (440, 1000), strict=True):
            self.assertEqual(len(samples), 72000)
            self.assert_tone(samples, 0.0, 1.5, frequency)
            self.assert_silence(samples, 2.0, 4.0)
            self.assert_tone(samples, 5.0, 9.0, frequency)

    def test_stop_while_it_is_written(self) -> None:
        """It is ended at once, and told when the disk is done; packets after the end are not recorded."""
        recording = self.start()
        self.writer.is_stuck = True
        self.talk(recording, 2.0, self.left)
        stopped = [recording.stop(), recording.stop()]
        self.talk(recording, 2.0, self.left)
        for deferred in stopped:
            self.assertNoResult(deferred)
        self.assertEqual(len(self.recorder), 1)
        self.writer.work()
        first, second = map(self.successResultOf, stopped)
        self.assertEqual(first, second)
        self.assertEqual(first.packets, 100)
        self.assertEqual(len(self.channels(first.path)[0]), 16000)


class BoundTests(RecordingTestCase):
    """Bounds of recordings."""

    def test_duration(self) -> None:
        """At its bound a recording ends by itself, and its file is whole."""
        self.recorder = self.make_recorder(duration_limit=2.0)
        recording = self.start()
        self.talk(recording, 4.0, self.left)
        self.assertFalse(recording.is_running)
        result = self.stop(recording)
        self.assertEqual((result.duration, result.error), (2.0, "after 2 seconds, the longest that is allowed"))
        self.assertEqual(len(self.channels(result.path)[0]), 16000)

    def test_size(self) -> None:
        """A WAVE file that would be too large ends earlier, and so does a pcap file."""
        self.recorder = self.make_recorder(size_limit_octets=64_000)
        for format_ in RecordingFormat:
            recording = self.start(format_.name, format_)
            self.talk(recording, 10.0, self.left, self.right)
            result = self.stop(recording)
            self.assertIn("that is allowed", result.error)
            self.assertLess(result.size_octets, 64_000 + 32_000)

    def test_a_long_silence_at_the_end(self) -> None:
        """The silence of a call that nobody ends is not longer than the bound."""
        self.recorder = self.make_recorder(duration_limit=2.0)
        recording = self.start()
        self.clock.advance(1e6)
        self.assertEqual(len(self.channels(self.stop(recording).path)[0]), 16000)

    def test_count(self) -> None:
        """More recordings than allowed are refused until one has ended."""
        self.recorder = self.make_recorder(count_limit=1)
        recording = self.start()
        self.assertRaises(ResourcesExhaustedError, self.start)
        self.stop(recording)
        self.stop(self.start())

    def test_close(self) -> None:
        """To close the recorder finishes all files; then nothing can be begun."""
        recordings = [self.start(), self.start()]
        self.talk(recordings[0], 1.0, self.left)
        self.successResultOf(self.recorder.close())
        self.assertTrue(self.writer.is_stopped)
        self.assertEqual(len(list(self.directory.rglob("*.wav"))), 2)
        self.assertRaises(InvalidStateError, self.start)
        self.assertEqual([self.stop(one).error for one in recordings], ["", ""])
