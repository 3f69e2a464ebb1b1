"""What the tests of recordings share: real files, a clock that stands still, a writer that works when it is told to."""

from __future__ import annotations

import errno
from array import array
from collections import deque
from collections.abc import Callable
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.audio import DecoderFactory
from sipd.media.filewriter import FileSystem, GrowingFile, Job, SyncPolicy
from sipd.media.recorded import RecordedLeg
from sipd.media.recording import Recorder, Recording, RecordingFormat, RecordingResult, RecordingSettings
from sipd.rtp.g711 import encode_alaw, encode_ulaw, tone, tone_level
from sipd.rtp.packet import RtpPacket
from sipd.rtp.wave import parse_wave

#: What the tests' clock and the wall's begin with.
NOW = 5000.0
WALL = 1_800_000_000.0

LEFT = RecordedLeg(channel=0, encodings={0: "pcmu/8000", 101: "telephone-event/8000"})
RIGHT = RecordedLeg(channel=1, encodings={8: "pcma/8000"})


class StepWriter:
    """A writer whose disk works at once, or not before it is told to."""

    def __init__(self) -> None:
        self.is_stuck = False
        self.is_stopped = False
        self._jobs: deque[tuple[Job, int]] = deque()

    @property
    def backlog_octets(self) -> int:
        """See `Writer`."""
        return sum(size_octets for _, size_octets in self._jobs)

    def submit(self, job: Job, size_octets: int = 0) -> None:
        """See `Writer`."""
        assert not self.is_stopped
        self._jobs.append((job, size_octets))
        if not self.is_stuck:
            self.work()

    def work(self) -> None:
        """Do all jobs."""
        while self._jobs:
            self._jobs.popleft()[0]()

    def in_reactor(self, function: Callable[..., object], *args: object) -> None:
        """See `Writer`."""
        function(*args)

    def stop(self) -> Deferred[None]:
        """See `Writer`."""
        self.is_stopped = True
        stopped: Deferred[None] = Deferred()
        stopped.callback(None)
        return stopped


class FullFile:
    """A file on a disk that gets full."""

    def __init__(self, file: GrowingFile, room: list[int]) -> None:
        self._file = file
        self._room = room
        self._place = 0

    def write(self, data: bytes, /) -> int:
        """Write what there is room for; what is there already may be written over."""
        if self._place:
            data = data[: self._room[0]]
            if not data:
                raise OSError(errno.ENOSPC, "No space left on device")
            self._room[0] -= len(data)
        count = self._file.write(data)
        self._place += count
        return count

    def seek(self, place: int, /) -> int:
        """Go to a place."""
        self._place = place
        return self._file.seek(place)

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._file.fileno()

    def close(self) -> None:
        """Close it."""
        self._file.close()


class Disk(FileSystem):
    """The real file system, which may have a bound, and remembers what was done."""

    def __init__(self) -> None:
        self.room: int | None = None
        self.failing: set[str] = set()
        self.done: list[str] = []
        self.open: list[GrowingFile] = []

    def make_directory(self, path: Path) -> None:
        """See `FileSystem`."""
        self._do("mkdir")
        super().make_directory(path)

    def create(self, path: Path) -> GrowingFile:
        """See `FileSystem`."""
        self._do("create")
        file = super().create(path)
        self.open.append(file)
        return file if self.room is None else FullFile(file, [self.room])

    def sync(self, file: GrowingFile) -> None:
        """See `FileSystem`."""
        self._do("sync")
        super().sync(file)

    def rename(self, path: Path, target: Path) -> None:
        """See `FileSystem`."""
        self._do("rename")
        super().rename(path, target)

    def sync_directory(self, path: Path) -> None:
        """See `FileSystem`."""
        self._do("sync directory")
        super().sync_directory(path)

    def _do(self, what: str) -> None:
        self.done.append(what)
        if what in self.failing:
            raise OSError(errno.EIO, "Input/output error")


class Leg:
    """A party that speaks a tone."""

    def __init__(self, name: str, payload_type: int, frequency: int, ssrc: int) -> None:
        self.name = name
        self.payload_type = payload_type
        self.frequency = frequency
        self.ssrc = ssrc
        self.count = 0

    def packet(self) -> bytes:
        """Give the next 20 ms."""
        samples = tone(self.frequency, 0.02, start=160 * self.count)
        self.count += 1
        return RtpPacket(
            payload_type=self.payload_type,
            sequence=self.count & 0xFFFF,
            timestamp=160 * self.count,
            ssrc=self.ssrc,
            payload=encode_ulaw(samples) if self.payload_type == 0 else encode_alaw(samples),
        ).to_bytes()


class RecordingTestCase(SynchronousTestCase):
    """Has a recorder whose files are in a directory of the test, and checks that none is left open."""

    decoders: dict[str, DecoderFactory] | None = None

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.clock = Clock()
        self.clock.advance(NOW)
        self.writer = StepWriter()
        self.disk = Disk()
        self.events: list[tuple[str, str]] = []
        self.left = Leg("a", 0, 440, 1)
        self.right = Leg("b", 8, 1000, 2)
        self.recorder = self.make_recorder()
        self.addCleanup(self._check_nothing_is_left)

    def make_recorder(
        self,
        *,
        template: str = "{date}/{time}-{call_id}",
        duration_limit: float = 3600.0,
        size_limit_octets: int = 1 << 30,
        backlog_limit_octets: int = 1 << 20,
        count_limit: int = 10,
        sync: SyncPolicy = SyncPolicy.END,
    ) -> Recorder:
        """Make a recorder."""
        settings = RecordingSettings(
            directory=self.directory,
            template=template,
            duration_limit=duration_limit,
            size_limit_octets=size_limit_octets,
            backlog_limit_octets=backlog_limit_octets,
            count_limit=count_limit,
            sync=sync,
        )
        return Recorder(
            settings,
            writer=self.writer,
            seconds=self.clock.seconds,
            wall=lambda: WALL + self.clock.seconds() - NOW,
            decoders=self.decoders,
            files=self.disk,
        )

    def start(self, call_id: str = "call", format_: RecordingFormat = RecordingFormat.WAVE, **fields: str) -> Recording:
        """Begin a recording of both legs."""
        legs = {"a": LEFT, "b": RIGHT}
        return self.recorder.start(call_id, legs, self._event, format_=format_, fields=fields)

    def talk(self, recording: Recording, seconds: float, *legs: Leg, lost: Callable[[int], bool] | None = None) -> None:
        """Let legs speak, and time pass."""
        for index in range(round(seconds / 0.02)):
            for leg in legs:
                packet = leg.packet()
                if lost is None or not lost(index):
                    recording.packet(leg.name, memoryview(packet), self.clock.seconds())
            self.clock.advance(0.02)

    def stop(self, recording: Recording) -> RecordingResult:
        """End it."""
        return self.successResultOf(recording.stop())

    def channels(self, path: Path | None) -> tuple[array[int], array[int]]:
        """Read a file."""
        assert path is not None
        wave = parse_wave(path.read_bytes())
        self.assertEqual((wave.format.channels, wave.format.sample_rate), (2, 8000))
        samples = wave.samples()
        return samples[::2], samples[1::2]

    def assert_tone(self, samples: array[int], begin: float, end: float, frequency: int) -> None:
        """Check that a tone, and nothing else, is there."""
        self.assertGreater(tone_level(samples[round(begin * 8000) : round(end * 8000)], frequency), 0.97)

    def assert_silence(self, samples: array[int], begin: float, end: float) -> None:
        """Check that nothing is there."""
        part = samples[round(begin * 8000) : round(end * 8000)]
        self.assertEqual(len(part), round(end * 8000) - round(begin * 8000))
        self.assertFalse(any(part))

    def kinds(self) -> list[str]:
        """Give the kinds of the events."""
        return [kind for kind, _ in self.events]

    def _event(self, kind: str, text: str) -> None:
        self.events.append((kind, text))

    def _check_nothing_is_left(self) -> None:
        self.writer.is_stuck = False
        self.writer.work()
        self.successResultOf(self.recorder.close())
        self.assertEqual(len(self.recorder), 0)
        self.assertTrue(all(getattr(file, "closed", False) for file in self.disk.open))
        self.assertEqual(self.clock.getDelayedCalls(), [])
