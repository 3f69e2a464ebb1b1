"""Sources that are ready made: files, tones, silence, and what a coroutine gives. See `ISource`."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sipd.errors import InvalidStateError, SoundError
from sipd.media.endpoint.interfaces import ISource
from sipd.media.sounds import FileSound, SilentSound, Sound, SoundLibrary, ToneSound
from sipd.rtp.g711 import SAMPLE_RATE, decode_ulaw
from sipd.rtp.samples import amplify
from sipd.rtp.tones import TonePattern, find_tone, parse_tone_pattern

#: Seconds of silence that one sound may have.
_LONGEST_SILENCE = 3600.0


def sound_of(what: str | Path) -> tuple[Sound, int]:
    """Give what a text names, and how often it is in it.

    ``tone:de:ringback`` is a tone of a country, ``tone:440+480 2000/4000`` one as `parse_tone_pattern` reads it; both
    are played for one period, a tone without an end for a second. ``silence:2.0`` is so many seconds of nothing.
    Everything else is the path of a WAVE file.

    Raises:
        SoundError: there is no such tone.
    """
    if isinstance(what, Path):
        return FileSound(path=what), 1
    kind, _, rest = what.partition(":")
    try:
        if kind == "silence":
            seconds = float(rest)
            if not 0 < seconds <= _LONGEST_SILENCE:
                raise ValueError(f"{seconds} seconds")
            return SilentSound(), max(1, round(50 * seconds))
        if kind == "tone":
            country, colon, name = rest.partition(":")
            return ToneSound(pattern=find_tone(country, name) if colon else parse_tone_pattern(rest)), 1
    except ValueError as error:
        raise SoundError(f"{what}: {error}") from error
    return FileSound(path=Path(what)), 1


def load_source(
    library: SoundLibrary, what: str | Path, *, times: int | None = 1, gain: float = 0.0
) -> Deferred[FileSource]:
    """Load a sound to be read sample by sample, as a mixer does it; arguments as for `AudioEndpoint.play`.

    Fails with `SoundError`.
    """
    try:
        sound, repeated = sound_of(what)
    except SoundError as error:
        return fail(error)
    return library.frames(sound, "pcmu", gain).addCallback(
        lambda frames: FileSource(decode_ulaw(b"".join(frames)), times=None if times is None else times * repeated)
    )


@implementer(ISource)
class FileSource:
    """Samples that are in memory; made by `load_source`, or of any.

    Args:
        samples: one channel, 8000 a second.
        times: how often; ``None`` for ever.
        gain: in decibel.

    Raises:
        ValueError: there are none, or ``times`` is below 1.
    """

    __slots__ = ("_place", "_samples", "_times")

    def __init__(self, samples: array[int], *, times: int | None = 1, gain: float = 0.0) -> None:
        if not samples or (times is not None and times < 1):
            raise ValueError("no samples, or a sound that is played less than once")
        self._samples = amplify(samples, gain)
        self._times = times
        self._place = 0

    def read(self, count: int) -> array[int] | None:
        """See `ISource`."""
        if self._times == 0:
            return None
        piece = self._samples[self._place : self._place + count]
        self._place += len(piece)
        while len(piece) < count:
            if self._times is not None:
                self._times -= 1
                if not self._times:
                    return piece or None
            self._place = min(count - len(piece), len(self._samples))
            piece = piece + self._samples[: self._place]
        return piece


@implementer(ISource)
class ToneSource:
    """A tone with its cadence.

    Args:
        pattern: see there.
        duration: seconds; ``None`` for ever.
    """

    __slots__ = ("_end", "_pattern", "_place")

    def __init__(self, pattern: TonePattern, *, duration: float | None = None) -> None:
        self._pattern = pattern
        self._place = 0
        self._end = None if duration is None else round(duration * SAMPLE_RATE)

    def read(self, count: int) -> array[int] | None:
        """See `ISource`."""
        if self._end is not None:
            count = min(count, self._end - self._place)
            if count <= 0:
                return None
        samples = self._pattern.samples(self._place, count)
        self._place += count
        return samples


@implementer(ISource)
class SilenceSource:
    """Silence.

    Args:
        duration: seconds; ``None`` for ever.
    """

    __slots__ = ("_left",)

    def __init__(self, duration: float | None = None) -> None:
        self._left = None if duration is None else round(duration * SAMPLE_RATE)

    def read(self, count: int) -> array[int] | None:
        """See `ISource`."""
        if self._left is not None:
            count = min(count, self._left)
            if count <= 0:
                return None
            self._left -= count
        return array("h", bytes(2 * count))


@implementer(ISource)
class QueueSource:
    """What a coroutine gives: ``await source.put(samples)`` goes on when there is room again.

    Args:
        limit: seconds that may wait; `put` waits while there are more.

    Attributes:
        starved: how often there was nothing to read although it has not ended.
    """

    def __init__(self, limit: float = 1.0) -> None:
        self._limit = round(limit * SAMPLE_RATE)
        self._pieces: deque[array[int]] = deque()
        self._size = 0
        self._is_ended = False
        self._waiting: deque[Deferred[None]] = deque()
        self.starved = 0

    @property
    def backlog(self) -> float:
        """Seconds that wait."""
        return self._size / SAMPLE_RATE

    def put(self, samples: Sequence[int]) -> Deferred[None]:
        """Give samples, however many; they are taken at once.

        Returns:
            When the next ones should come: at once as long as less than ``limit`` waits. To cancel it changes nothing
            but that. Fails with `InvalidStateError` if the source has ended.
        """
        if self._is_ended:
            return fail(InvalidStateError("The source has ended"))
        if len(samples):
            self._pieces.append(array("h", samples))
            self._size += len(samples)
        if self._size < self._limit:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def end(self) -> None:
        """Say that no more comes: it is over when what waits has been read. Idempotent."""
        self._is_ended = True
        self._go_on()

    def clear(self) -> None:
        """Forget what waits, as when a speaker is interrupted."""
        self._pieces.clear()
        self._size = 0
        self._go_on()

    def read(self, count: int) -> array[int] | None:
        """See `ISource`."""
        found = array("h")
        while self._pieces and len(found) < count:
            piece = self._pieces.popleft()
            missing = count - len(found)
            if len(piece) > missing:
                self._pieces.appendleft(piece[missing:])
                piece = piece[:missing]
            found.extend(piece)
        self._size -= len(found)
        if not found and self._is_ended:
            return None
        self.starved += len(found) < count and not self._is_ended
        if self._size < self._limit:
            self._go_on()
        return found

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for deferred in waiting:
            deferred.callback(None)

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
