"""Tests of `sipd.media.filewriter` with its real thread."""

from __future__ import annotations

import threading
from pathlib import Path

from twisted.internet import reactor  # noqa: TID251 (a real thread needs a real reactor)
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sipd.media.filewriter import FileSystem, WriterThread
from sipd.media.recorded import RecordedLeg
from sipd.media.recording import Recorder, RecordingSettings
from sipd.rtp.packet import RtpPacket
from sipd.rtp.wave import parse_wave

#: The longest that a test waits for the other thread.
_PATIENCE = 10.0


class WriterThreadTests(TestCase):
    """One thread, from the first job to the end."""

    timeout = _PATIENCE

    def setUp(self) -> None:
        self.before = set(threading.enumerate())
        self.writer = WriterThread(reactor)  # type: ignore[arg-type]

    def threads(self) -> list[str]:
        """Give the names of the threads that were not there before."""
        return [thread.name for thread in set(threading.enumerate()) - self.before]

    async def test_a_thread_only_when_there_is_work(self) -> None:
        """Without a job there is none, with many there is one, and after the end there is none."""
        self.assertEqual(self.threads(), [])
        done: list[int] = []
        for number in range(100):
            self.writer.submit(lambda number=number: done.append(number), 10)  # type: ignore[misc]
        self.assertEqual(self.threads(), ["sipd-recordings"])
        await self.writer.stop()
        self.assertEqual(done, list(range(100)))
        self.assertEqual(self.threads(), [])
        self.assertEqual(self.writer.backlog_octets, 0)

    def test_end_without_work(self) -> None:
        """To stop what never began is done at once."""
        self.successResultOf(self.writer.stop())

    async def test_backlog(self) -> None:
        """What waits is counted until it is done."""
        gate = threading.Event()
        self.writer.submit(lambda: self.assertTrue(gate.wait(_PATIENCE)), 5)
        self.writer.submit(lambda: None, 7)
        self.assertEqual(self.writer.backlog_octets, 12)
        gate.set()
        await self.writer.stop()
        self.assertEqual(self.writer.backlog_octets, 0)

    async def test_calls_come_back(self) -> None:
        """What a job has called in the reactor runs in the reactor's thread."""
        called: Deferred[str] = Deferred()
        self.writer.submit(lambda: self.writer.in_reactor(lambda: called.callback(threading.current_thread().name)))
        self.assertEqual(await called, threading.current_thread().name)
        await self.writer.stop()

    async def test_a_job_that_raises(self) -> None:
        """A bug in a job is logged, and the next job is done."""
        done: list[int] = []
        self.writer.submit(lambda: [][0])
        self.writer.submit(lambda: done.append(1))
        await self.writer.stop()
        self.assertEqual(done, [1])
        self.assertEqual(len(self.flushLoggedErrors(IndexError)), 1)

    async def test_recordings(self) -> None:
        """Twenty recordings at once are all written, and nothing is left of the recorder."""
        directory = Path(self.mktemp())
        now = 0.0
        recorder = Recorder(
            RecordingSettings(directory=directory),
            writer=self.writer,
            seconds=lambda: now,
            wall=lambda: 1e9,
            files=FileSystem(),
        )
        legs = {"a": RecordedLeg(channel=0), "b": RecordedLeg(channel=1)}
        recordings = [recorder.start(f"call{number}", legs, lambda kind, text: None) for number in range(20)]
        for index in range(200):
            now = 0.02 * index
            packet = RtpPacket(payload_type=0, sequence=index, timestamp=160 * index, ssrc=1, payload=bytes(160))
            for recording in recordings:
                for leg in legs:
                    recording.packet(leg, packet.to_bytes(), now)
        now = 4.0
        await recorder.close()
        self.assertEqual(self.threads(), [])
        files = sorted(directory.rglob("*"))
        self.assertEqual(len([path for path in files if path.suffix == ".wav"]), 20)
        for path in files:
            if path.is_file():
                self.assertEqual(set(parse_wave(path.read_bytes()).samples()), {-32124})
