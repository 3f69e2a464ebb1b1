"""Several parties who hear each other: everybody hears all others, mixed once for all at each beat."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TypeAlias

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import InvalidStateError, ResourcesExhaustedError
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.interfaces import IEndingSink, ISink, ISource
from sipd.media.endpoint.playing import Playing, make_playing
from sipd.media.endpoint.recording import Recording, Recordings
from sipd.media.endpoint.speaking import SILENCE
from sipd.media.filewriter import Writer
from sipd.media.pacer import Pacer
from sipd.media.sounds import FRAME_SAMPLES, SoundLibrary
from sipd.rtp.g711 import decode_ulaw
from sipd.rtp.mixing import mix, mix_minus

#: An endpoint, or anything else that speaks and listens; either may be ``None``.
Participant: TypeAlias = "AudioEndpoint | tuple[ISource | None, ISink | None]"

#: Frames of 20 ms between an endpoint and the conference, each way; the oldest are dropped.
_LINE_LIMIT = 3
_NOTHING = array("h")


class Conference:
    """A room.

    It gets beats while there is somebody in it, an announcement or a recording.

    Args:
        pacer: gives the beats; the one that the endpoints have.
        sounds: for announcements.
        writer: for recordings; ``None`` if there are none.
        limit: how many may take part.
    """

    _log = Logger()

    def __init__(self, pacer: Pacer, *, sounds: SoundLibrary, writer: Writer | None = None, limit: int = 64) -> None:
        self._pacer = pacer
        self._sounds = sounds
        self._limit = limit
        self._parts: dict[Participant, _Part] = {}
        self._playing: Playing | None = None
        self._recordings = Recordings(None, writer)
        self._is_paced = False
        self._is_closed = False

    def __len__(self) -> int:
        """Count those who take part."""
        return len(self._parts)

    @property
    def participants(self) -> tuple[Participant, ...]:
        """Who takes part, in the order in which they came."""
        return tuple(self._parts)

    def add(self, participant: Participant) -> None:
        """Let somebody take part. Who does so already goes on.

        An endpoint leaves by itself when it is closed or connected to something else; a source that is over is not
        asked again.

        Raises:
            InvalidStateError: the conference, or the endpoint, was closed.
            ResourcesExhaustedError: there are too many.
        """
        self._check_open()
        if participant in self._parts:
            return
        if len(self._parts) >= self._limit:
            raise ResourcesExhaustedError(f"all of {self._limit} places of the conference are taken")
        if isinstance(participant, tuple):
            part = _Part(*participant)
        else:
            line = _Line(lambda: self._left(participant))
            participant.connect(line.outward, line)
            part = _Part(line.inward, line.outward, line)
        self._parts[participant] = part
        self._keep_time()

    def remove(self, participant: Participant) -> None:
        """Let somebody take part no more. Idempotent."""
        part = self._parts.pop(participant, None)
        if part is None:
            return
        if part.line is not None and not isinstance(participant, tuple):
            part.line.forget()
            participant.connect(None, None)
        self._keep_time()

    def play(self, what: str | Path | ISource, *, times: int | None = 1, gain: float = 0.0) -> Deferred[None]:
        """Play an announcement to all, instead of the one before; see `AudioEndpoint.play`."""
        if times is not None and times < 1:
            raise ValueError("a sound that is played less than once")
        if self._is_closed:
            return fail(InvalidStateError("The conference was closed"))
        playing = make_playing(self._sounds, what, times=times, gain=gain, ended=self._played)
        before, self._playing = self._playing, None if playing.is_over else playing
        if before is not None:
            before.stop()
        self._keep_time()
        return playing.done

    def stop_playing(self) -> None:
        """End the announcement."""
        playing, self._playing = self._playing, None
        if playing is not None:
            playing.stop()

    def record(self, path: str | Path) -> Recording:
        """Record what somebody hears who says nothing; see `AudioEndpoint.record`.

        Raises:
            InvalidStateError: the conference was closed, or has no writer.
        """
        self._check_open()
        recording = self._recordings.begin(Path(path), channels=1)
        self._keep_time()
        return recording

    def close(self) -> Deferred[None]:
        """Let all leave, and complete the recordings; gives when that is done. The endpoints stay open. Idempotent."""
        self._is_closed = True
        for participant in tuple(self._parts):
            self.remove(participant)
        self.stop_playing()
        closing = self._recordings.close()
        self._keep_time()
        return closing

    def beat(self) -> None:
        """See `sipd.media.pacer.Paced`."""
        with self._log.failureHandler("a conference failed for 20 ms"):
            self._beat()

    def skip(self, count: int) -> None:
        """See `sipd.media.pacer.Paced`."""
        self._recordings.skip(count)

    def _beat(self) -> None:
        parts = tuple(self._parts.items())
        frames: dict[Hashable, array[int]] = {}
        for who, part in parts:
            with self._log.failureHandler("a source failed, and is not asked again"):
                frames[who] = part.read()
        if self._playing is not None:
            piece = self._playing.piece("pcmu")
            if piece is not None:
                frames[None] = decode_ulaw(piece) if isinstance(piece, bytes) else piece
        heard = mix_minus(frames)
        for who, part in parts:
            with self._log.failureHandler("a sink failed, and hears nothing more"):
                part.write(heard.get(who) or SILENCE)
        if self._recordings:
            self._recordings.frame(mix(tuple(frames.values())) or None, None)
        self._keep_time()  # a recording may have ended

    def _check_open(self) -> None:
        if self._is_closed:
            raise InvalidStateError("The conference was closed")

    def _keep_time(self) -> None:
        """Get beats exactly as long as they are of use."""
        is_needed = bool(self._parts or self._recordings or self._playing is not None)
        if is_needed and not self._is_paced:
            self._pacer.add(self)
        elif self._is_paced and not is_needed:
            self._pacer.remove(self)
        self._is_paced = is_needed

    def _left(self, participant: Participant) -> None:
        self._parts.pop(participant, None)
        self._keep_time()

    def _played(self, playing: Playing) -> None:
        if self._playing is playing:
            self._playing = None
        self._keep_time()


class _Part:
    """What somebody says and hears."""

    __slots__ = ("_sink", "_source", "line")

    def __init__(self, source: ISource | None, sink: ISink | None, line: _Line | None = None) -> None:
        self._source = source
        self._sink = sink
        self.line = line

    def read(self) -> array[int]:
        """Give what is said."""
        if self._source is None:
            return _NOTHING
        source, self._source = self._source, None  # one that fails is not asked again
        samples = source.read(FRAME_SAMPLES)
        if samples is None:
            return _NOTHING
        self._source = source
        return samples

    def write(self, samples: array[int]) -> None:
        """Let it be heard."""
        sink, self._sink = self._sink, None  # the same
        if sink is not None:
            sink.write(samples)
            self._sink = sink


@implementer(ISource, ISink)
class _Frames:
    """Frames on their way from one beat to another."""

    __slots__ = ("_frames",)

    def __init__(self) -> None:
        self._frames: deque[array[int]] = deque(maxlen=_LINE_LIMIT)

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self._frames.append(_NOTHING if samples is SILENCE else samples)

    def read(self, count: int) -> array[int]:
        """See `ISource`. Never over."""
        return self._frames.popleft() if self._frames else _NOTHING


@implementer(IEndingSink)
class _Line:
    """What connects an endpoint.

    Attributes:
        inward: what the endpoint hears, for the conference to read.
        outward: what the conference gives the endpoint to say.
    """

    __slots__ = ("_left", "inward", "outward")

    def __init__(self, left: Callable[[], object]) -> None:
        self._left: Callable[[], object] | None = left
        self.inward = _Frames()
        self.outward = _Frames()

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self.inward.write(samples)

    def end(self) -> None:
        """See `IEndingSink`: the endpoint has left."""
        left, self._left = self._left, None
        if left is not None:
            left()

    def forget(self) -> None:
        """Tell nobody."""
        self._left = None
