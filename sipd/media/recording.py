"""Recordings of calls: each a stereo WAVE file with one leg in each channel, or a pcap file with all packets.

The reactor's thread puts packets on a time line (`sipd.rtp.playout`), which costs some microseconds each; the file is
written by another (`sipd.media.filewriter`). Nothing here waits, and nothing that happens to a file harms the call: it
becomes an event of the call, and part of the recording's result.

In a WAVE file a place is a moment of the call: whatever is missing is silence of the same length, be it a party that
says nothing, a recording that pauses, or a disk that was too slow. What a recording holds back is at most two seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred, succeed

from sipd.errors import InvalidStateError, ResourcesExhaustedError
from sipd.media.audio import DecoderFactory, all_decoders
from sipd.media.filenames import FileNames
from sipd.media.filewriter import FileSystem, GrowingRecord, SyncPolicy, Writer
from sipd.media.recorded import Content, Event, PacketLog, RecordedLeg, Sound
from sipd.rtp.playout import BELIEVED

#: What a template of names may contain; ``date`` and ``time`` (UTC) are when the recording began.
NAME_FIELDS = ("call_id", "id", "caller", "callee", "user", "date", "time")

#: Seconds of sound that are written at once.
_BLOCK = 0.5


class RecordingFormat(Enum):
    """What a file contains; the value is its suffix."""

    WAVE = ".wav"
    PCAP = ".pcap"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingResult:
    """What became of a recording.

    Args:
        path: of the file; of what there is of it if there was an error; ``None`` if there is nothing.
        duration: seconds from its beginning to its end.
        size_octets: of the file.
        packets: that it was given while it was not paused.
        dropped_octets: what is missing in it since the disk was too slow; in a WAVE file there is silence instead.
        error: what ended it before its time; empty if nothing did.
    """

    path: Path | None
    duration: float
    size_octets: int
    packets: int
    dropped_octets: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingSettings:
    """What all recordings share.

    Args:
        directory: where they are.
        template: of their names, without suffix; see `FileNames` and `NAME_FIELDS`.
        duration_limit: seconds after which a recording ends by itself.
        size_limit_octets: of one file, after which it ends, too; at most 4 GiB.
        backlog_limit_octets: of all recordings together that may wait, beside one block; the rest is dropped.
        count_limit: recordings at the same time.
        sync: see `SyncPolicy`.
    """

    directory: Path
    template: str = "{date}/{time}-{call_id}"
    duration_limit: float = 4 * 3600.0
    size_limit_octets: int = 1 << 30
    backlog_limit_octets: int = 32 << 20
    count_limit: int = 2000
    sync: SyncPolicy = SyncPolicy.END


class Recorder:
    """Makes recordings.

    Args:
        settings: see there.
        writer: writes; the recorder owns and stops it.
        seconds: the clock by which packets arrive.
        wall: tells the seconds since 1970, for names and pcap files.
        decoders: by the name of the encoding in lower case.
        files: the file system.

    Raises:
        ConfigurationError: the template of the names cannot be used.
    """

    def __init__(
        self,
        settings: RecordingSettings,
        *,
        writer: Writer,
        seconds: Callable[[], float],
        wall: Callable[[], float],
        decoders: Mapping[str, DecoderFactory] | None = None,
        files: FileSystem | None = None,
    ) -> None:
        self.settings = settings
        self.writer = writer
        self.seconds = seconds
        self.wall = wall
        self.decoders = all_decoders() if decoders is None else decoders
        self.files = files or FileSystem()
        self._names = FileNames(settings.template, NAME_FIELDS)
        self._recordings: set[Recording] = set()
        self._is_open = True

    def __len__(self) -> int:
        """Count the recordings whose files are not finished."""
        return len(self._recordings)

    def start(
        self,
        call_id: str,
        legs: Mapping[str, RecordedLeg],
        event: Event,
        *,
        format_: RecordingFormat = RecordingFormat.WAVE,
        fields: Mapping[str, str] | None = None,
    ) -> Recording:
        """Begin a recording. Its file is made in the other thread; if that fails, there is an event.

        Args:
            call_id: for its name.
            legs: by name; see `Recording.describe`.
            event: called with (kind, text), in the reactor's thread: ``recording-silent``, ``recording-slow``,
                ``recording-failed``, and ``recording-ended`` once.
            format_: of the file.
            fields: what else its name may be made of; see `NAME_FIELDS`.

        Raises:
            InvalidStateError: the recorder was closed.
            ResourcesExhaustedError: there are too many recordings.
        """
        if not self._is_open:
            raise InvalidStateError("no recordings any more: the recorder was closed")
        if len(self._recordings) >= self.settings.count_limit:
            raise ResourcesExhaustedError(f"all of {self.settings.count_limit} recordings are running")
        began = datetime.fromtimestamp(self.wall(), UTC)
        values = {"date": f"{began:%Y-%m-%d}", "time": f"{began:%H%M%S}", "call_id": call_id, **(fields or {})}
        name = self._names.make(values)
        path = self.settings.directory / name.with_name(name.name + format_.value)
        recording = Recording(self, path, format_, legs, event, self._recordings.discard)
        self._recordings.add(recording)
        recording.begin()
        return recording

    def close(self) -> Deferred[None]:
        """Finish all recordings and end the writer; gives when all of that is done. Idempotent."""
        if not self._is_open:
            return succeed(None)
        self._is_open = False
        for recording in tuple(self._recordings):
            recording.stop()
        return self.writer.stop()


class Recording:
    """One recording; made by `Recorder.start`."""

    __slots__ = (
        "_began", "_content", "_dropped_octets", "_due", "_ended", "_ends_at", "_error", "_event", "_file", "_finished",
        "_is_paused", "_legs", "_packets", "_recorder", "_result", "_waiting",
    )  # fmt: skip

    def __init__(
        self,
        recorder: Recorder,
        path: Path,
        format_: RecordingFormat,
        legs: Mapping[str, RecordedLeg],
        event: Event,
        finished: Callable[[Recording], None],
    ) -> None:
        settings = recorder.settings
        self._recorder = recorder
        self._event = event
        self._finished = finished
        self._began = self._due = recorder.seconds()
        self._content: Content
        if format_ is RecordingFormat.WAVE:
            self._content = Sound(self._began, recorder.decoders, event)
        else:
            self._content = PacketLog(recorder.wall() - self._began)
        self._ends_at = self._began + min(settings.duration_limit, self._content.longest(settings.size_limit_octets))
        self._file = GrowingRecord(
            recorder.files,
            path,
            header=self._content.header,
            sync=settings.sync,
            failed=lambda error: recorder.writer.in_reactor(self._failed, error),
        )
        self._legs: set[str] = set()
        self._is_paused = False
        self._packets = 0
        self._dropped_octets = 0
        self._error = ""
        #: When it was ended, who waits for its file, and what that became.
        self._ended: float | None = None
        self._waiting: list[Deferred[RecordingResult]] = []
        self._result: RecordingResult | None = None
        for leg, description in legs.items():
            self.describe(leg, description)

    def begin(self) -> None:
        """Make the file; called once, by the recorder."""
        self._recorder.writer.submit(self._file.open)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; it may be paused."""
        return self._ended is None

    def describe(self, leg: str, description: RecordedLeg) -> None:
        """Say what a leg is, before its first packet, and again when that changes.

        In a WAVE file a leg takes over its channel: of the leg that had it nothing is heard any more.
        """
        self._legs.add(leg)
        self._content.describe(leg, description)

    def packet(self, leg: str, data: bytes | memoryview, arrival: float) -> None:
        """Take a datagram that a leg sent: RTP, RTCP, or whatever else came. Of an unknown leg nothing is recorded.

        Args:
            leg: as in `describe`.
            data: is copied.
            arrival: by the recorder's clock.
        """
        if self._ended is not None or self._is_paused or leg not in self._legs:
            return
        self._packets += 1
        content = self._content
        content.take(leg, bytes(data), arrival)
        if arrival >= self._due or content.is_full:
            self._write(arrival)

    def pause(self) -> None:
        """Record nothing until `resume`; in a WAVE file there is silence meanwhile. Idempotent."""
        self._is_paused = True

    def resume(self) -> None:
        """Record again. Idempotent."""
        self._is_paused = False

    def stop(self) -> Deferred[RecordingResult]:
        """End it: what was taken is written, and the file gets its name.

        Returns:
            What became of it; never a failure. May be called again, also when the recording has ended by itself.
        """
        deferred: Deferred[RecordingResult] = Deferred()
        if self._result is not None:
            deferred.callback(self._result)
        else:
            self._waiting.append(deferred)
            self._end("")
        return deferred

    def _write(self, now: float) -> None:
        """Hand to the writer what is complete, or end it."""
        self._due = now + _BLOCK
        size_limit_octets = self._recorder.settings.size_limit_octets
        if now > self._ends_at:
            self._end(f"after {self._ends_at - self._began:.0f} seconds, the longest that is allowed")
        elif self._content.size_octets > size_limit_octets:
            self._end(f"after {size_limit_octets} octets, the most that is allowed")
        else:
            self._hand_over(now - BELIEVED)

    def _hand_over(self, until: float) -> None:
        """Hand over what came before that time, or drop it if the disk is too slow."""
        writer = self._recorder.writer
        limit = self._recorder.settings.backlog_limit_octets
        for zeros, data in self._content.blocks(until):
            backlog = writer.backlog_octets
            if not backlog or backlog + len(data) <= limit:
                writer.submit(partial(self._file.append, zeros, data), len(data))
                continue
            self._content.dropped(zeros, data)
            if not self._dropped_octets:
                self._event(
                    "recording-slow", f"the disk is too slow, {limit} octets wait for it: what comes is dropped"
                )
            self._dropped_octets += len(data)

    def _end(self, error: str) -> None:
        """Finish the file, unless that was begun. The sound reaches to now."""
        if self._ended is not None:
            return
        self._error = error
        self._ended = min(max(self._recorder.seconds(), self._began), self._ends_at)
        self._hand_over(self._ended)
        writer = self._recorder.writer
        writer.submit(partial(self._file.append, self._content.rest(), b""))
        writer.submit(self._file.finish)
        writer.submit(partial(writer.in_reactor, self._settle))

    def _failed(self, error: OSError) -> None:
        """Take note that the file could not be written."""
        self._error = error.strerror or str(error)
        self._event("recording-failed", f"{self._error}: {self._file.path or 'no file'}")
        if self._ended is None:
            self._ended = self._recorder.seconds()
            self._settle()

    def _settle(self) -> None:
        """Tell what became of it."""
        ended = self._began if self._ended is None else self._ended
        self._result = result = RecordingResult(
            path=self._file.path,
            duration=max(ended - self._began, 0.0),
            size_octets=self._file.size_octets,
            packets=self._packets,
            dropped_octets=self._dropped_octets,
            error=self._error,
        )
        self._finished(self)
        why = f", ended: {result.error}" if result.error else ""
        lost = f", {result.dropped_octets} octets dropped" if result.dropped_octets else ""
        self._event(
            "recording-ended", f"{result.path}: {result.duration:.1f} s, {result.size_octets} octets{lost}{why}"
        )
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(result)
