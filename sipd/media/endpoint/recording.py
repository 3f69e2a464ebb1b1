"""Recordings of an endpoint: WAVE, 16 bits, 8000 Hz; what is heard, or that on the left and what is said on the right.

A place in the file is a moment since the recording began: silence is in it as silence. Files are written by a thread
(`sipd.media.filewriter`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from functools import partial
from pathlib import Path

from twisted.internet.defer import Deferred, DeferredList, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads

from sipd.errors import InvalidStateError, LocalError
from sipd.media.filewriter import FileSystem, GrowingRecord, SyncPolicy, Writer, WriterThread
from sipd.media.sounds import FRAME_SAMPLES
from sipd.rtp.g711 import SAMPLE_RATE
from sipd.rtp.samples import interleave
from sipd.rtp.wave import WaveFormat, little_endian

#: Frames of 20 ms that are written at once.
_BLOCK = 25
#: Octets that may wait for the disk before what comes is replaced by silence.
_BACKLOG_LIMIT_OCTETS = 8 << 20
#: Seconds after which a recording ends by itself.
LIMIT = 4 * 3600.0

_SILENCE = array("h", bytes(2 * FRAME_SAMPLES))


class Recording:
    """One recording; made by `AudioEndpoint.record`. After four hours it ends by itself.

    Args:
        path: what the file is to be called; if that is taken, ``-2`` and so on is put behind the stem. Until it is
            complete its name ends with ``.part``.
        writer: writes.
        channels: 1 or 2.
        ended: called when it ends.
        files: the file system.

    Attributes:
        dropped: seconds that are silent since the disk was too slow.
    """

    def __init__(
        self,
        path: Path,
        *,
        writer: Writer,
        channels: int,
        ended: Callable[[Recording], object],
        files: FileSystem | None = None,
    ) -> None:
        self._writer = writer
        self._format = WaveFormat(channels=channels, sample_rate=SAMPLE_RATE)
        self._wanted = path
        self._ended: Callable[[Recording], object] | None = ended
        frame = self._format.frame_octets
        self._file = GrowingRecord(
            files or FileSystem(),
            path,
            header=lambda size: self._format.header(None if size is None else size - size % frame),
            sync=SyncPolicy.NEVER,
            failed=self._failed_elsewhere,
        )
        self._heard: list[array[int]] = []
        self._said: list[array[int]] = []
        self._frames = 0
        #: Octets of silence that stand before the next block.
        self._silence = 0
        self._error: str | None = None
        self._is_complete = False
        self._waiting: list[Deferred[float]] = []
        self.dropped = 0.0
        writer.submit(self._file.open)

    @property
    def is_stereo(self) -> bool:
        """Whether what is said is recorded, too."""
        return self._format.channels == 2

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._ended is not None

    @property
    def duration(self) -> float:
        """Seconds by now."""
        return self._frames * FRAME_SAMPLES / SAMPLE_RATE

    @property
    def path(self) -> Path:
        """Where the file is by now."""
        return self._file.path or self._wanted

    def frame(self, heard: array[int] | None, said: array[int] | None) -> None:
        """Take 20 ms; ``None`` is silence."""
        if self._ended is None:
            return
        self._heard.append(_SILENCE if heard is None else heard)
        if self.is_stereo:
            self._said.append(_SILENCE if said is None else said)
        self._frames += 1
        if len(self._heard) >= _BLOCK:
            self._write()
        if self.duration >= LIMIT:
            self._end()

    def skip(self, count: int) -> None:
        """Take note that so many times 20 ms passed unheard."""
        self._write()
        self._frames += count
        self._silence += count * FRAME_SAMPLES * self._format.frame_octets

    def stop(self) -> Deferred[float]:
        """End it.

        Returns:
            The seconds that it is long, when the file is complete. May be called again. Fails with `LocalError` if the
            file could not be written.
        """
        self._end()
        if self._is_complete:
            return self._result()
        waiting: Deferred[float] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def _end(self) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._write()
        self._writer.submit(partial(self._file.append, self._silence, b""))
        self._writer.submit(self._file.finish)
        self._writer.submit(partial(self._writer.in_reactor, self._complete))
        ended(self)

    def _write(self) -> None:
        """Hand over what there is."""
        if not self._heard:
            return
        heard, said = _join(self._heard), _join(self._said)
        self._heard.clear()
        self._said.clear()
        data = little_endian(interleave(heard, said) if self.is_stereo else heard).tobytes()
        if self._writer.backlog_octets > _BACKLOG_LIMIT_OCTETS:
            self._silence += len(data)
            self.dropped += len(heard) / SAMPLE_RATE
            return
        silence, self._silence = self._silence, 0
        self._writer.submit(partial(self._file.append, silence, data), len(data))

    def _failed_elsewhere(self, error: OSError) -> None:
        """Take note, in the thread that writes, that the file could not be written."""
        self._writer.in_reactor(self._failed, error)

    def _failed(self, error: OSError) -> None:
        self._error = f"{self.path}: {error.strerror or error}"
        self._end()

    def _complete(self) -> None:
        self._is_complete = True
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            self._result().chainDeferred(deferred)

    def _result(self) -> Deferred[float]:
        return succeed(self.duration) if self._error is None else fail(LocalError(self._error))


class Recordings:
    """The recordings of one endpoint.

    Args:
        reactor: starts a thread where there is no writer, if it can.
        writer: writes; ``None`` for a thread of the endpoint's own, once there is something to write.
    """

    __slots__ = ("_own_writer", "_reactor", "_running", "_writer")

    def __init__(self, reactor: object, writer: Writer | None) -> None:
        self._reactor = reactor
        self._writer = writer
        self._own_writer: WriterThread | None = None
        self._running: list[Recording] = []

    def __bool__(self) -> bool:
        """Whether anything is recorded."""
        return bool(self._running)

    @property
    def want_both(self) -> bool:
        """Whether what is said is recorded, too."""
        return any(recording.is_stereo for recording in self._running)

    def begin(self, path: Path, *, channels: int) -> Recording:
        """Begin one more.

        Raises:
            InvalidStateError: there is no writer, and no thread can be started.
        """
        recording = Recording(path, writer=self._take_writer(), channels=channels, ended=self._ended)
        if recording.is_running:  # where the disk is asked at once, it may have failed already
            self._running.append(recording)
        return recording

    def frame(self, heard: array[int] | None, said: array[int] | None) -> None:
        """See `Recording`."""
        for recording in tuple(self._running):
            recording.frame(heard, said)

    def skip(self, count: int) -> None:
        """See `Recording`."""
        for recording in tuple(self._running):
            recording.skip(count)

    def close(self) -> Deferred[None]:
        """End all of them; gives when their files are complete. Never fails."""
        endings = [recording.stop().addBoth(lambda _: None) for recording in tuple(self._running)]
        return DeferredList(endings).addCallback(self._stop_writer)

    def _ended(self, recording: Recording) -> None:
        if recording in self._running:
            self._running.remove(recording)

    def _take_writer(self) -> Writer:
        if self._writer is not None:
            return self._writer
        if self._own_writer is None:
            if not IReactorFromThreads.providedBy(self._reactor):
                raise InvalidStateError("There is no writer for recordings, and no thread can be started")
            self._own_writer = WriterThread(self._reactor)
        return self._own_writer

    def _stop_writer(self, _: object) -> Deferred[None]:
        return succeed(None) if self._own_writer is None else self._own_writer.stop()


def _join(frames: list[array[int]]) -> array[int]:
    samples = array("h")
    for frame in frames:
        samples.extend(frame)
    return samples
