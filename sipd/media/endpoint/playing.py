"""What an endpoint plays: a sound of the library, or whatever a source gives, for one Deferred."""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipd.errors import SoundError
from sipd.media.endpoint.interfaces import ISource
from sipd.media.endpoint.sources import sound_of
from sipd.media.sounds import FRAME_SAMPLES, Frames, Sound, SoundLibrary
from sipd.rtp.samples import amplify

#: The payload of 20 ms, or its samples.
Piece: TypeAlias = "bytes | array[int]"


class Playing(ABC):
    """Something that is played; `done` is when that is over, for whatever reason.

    Args:
        ended: called when it is over.
    """

    __slots__ = ("_ended", "done", "is_over")

    def __init__(self, ended: Callable[[Playing], object]) -> None:
        self._ended: Callable[[Playing], object] | None = ended
        self.is_over = False
        self.done: Deferred[None] = Deferred(lambda _: self._close())

    @abstractmethod
    def piece(self, name: str) -> Piece | None:
        """Give the next 20 ms; ``None`` if there is nothing at the moment.

        Args:
            name: of the codec that payloads have to be of.
        """

    def stop(self) -> None:
        """Play no more. Idempotent."""
        self._close()
        if not self.done.called:
            self.done.callback(None)

    def fail(self, failure: Failure) -> None:
        """Play no more, since that cannot be."""
        self._close()
        if not self.done.called:
            self.done.errback(failure)

    def _close(self) -> None:
        self.is_over = True
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(self)


class SoundPlaying(Playing):
    """A sound of the library, which is encoded once for all who play it.

    It is loaded when the codec is known, and again when that changes; it goes on at the same place then.

    Args:
        library: has it.
        sound: which one.
        times: how often; ``None`` for ever.
        gain: in decibel.
        ended: see `Playing`.
    """

    __slots__ = ("_frames", "_gain", "_library", "_name", "_place", "_sound", "_times")

    def __init__(
        self,
        library: SoundLibrary,
        sound: Sound,
        *,
        times: int | None,
        gain: float,
        ended: Callable[[Playing], object],
    ) -> None:
        super().__init__(ended)
        self._library = library
        self._sound = sound
        self._times = times
        self._gain = gain
        self._name = ""
        self._frames: Frames = ()
        self._place = 0

    def piece(self, name: str) -> Piece | None:
        """See `Playing`."""
        if name != self._name:
            self._name, self._frames = name, ()
            loading = self._library.frames(self._sound, name, self._gain)
            loading.addCallbacks(self._loaded, self.fail, callbackArgs=(name,))
        if not self._frames or self.is_over:
            return None
        if self._place >= len(self._frames):
            if self._times is not None:
                self._times -= 1
                if not self._times:
                    self.stop()
                    return None
            self._place = 0
        self._place += 1
        return self._frames[self._place - 1]

    def _loaded(self, frames: Frames, name: str) -> None:
        if name == self._name and not self.is_over:
            self._frames = frames


class SourcePlaying(Playing):
    """What a source gives.

    Args:
        source: gives it.
        gain: in decibel.
        ended: see `Playing`.
    """

    __slots__ = ("_gain", "_source")

    def __init__(self, source: ISource, *, gain: float, ended: Callable[[Playing], object]) -> None:
        super().__init__(ended)
        self._source = source
        self._gain = gain

    def piece(self, name: str) -> Piece | None:
        """See `Playing`."""
        try:
            samples = self._source.read(FRAME_SAMPLES)
        except Exception:
            self.fail(Failure())  # a bug of the source; the call goes on
            return None
        if samples is None:
            self.stop()
            return None
        return amplify(fit(samples), self._gain)


class _Failed(Playing):
    """What cannot be played."""

    __slots__ = ()

    def piece(self, name: str) -> Piece | None:
        """See `Playing`."""
        return None


def make_playing(
    library: SoundLibrary,
    what: str | Path | ISource,
    *,
    times: int | None,
    gain: float,
    ended: Callable[[Playing], object],
) -> Playing:
    """Make what `AudioEndpoint.play` plays; arguments as there, and for `Playing`. What cannot be played is over."""
    if not isinstance(what, str | Path):
        return SourcePlaying(what, gain=gain, ended=ended)
    try:
        sound, repeated = sound_of(what)
    except SoundError as error:
        failed = _Failed(ended)
        failed.fail(Failure(error))
        return failed
    return SoundPlaying(library, sound, times=None if times is None else times * repeated, gain=gain, ended=ended)


def fit(samples: array[int]) -> array[int]:
    """Give exactly 20 ms: silence follows what is too short, what is too long is cut."""
    if len(samples) == FRAME_SAMPLES:
        return samples
    return samples[:FRAME_SAMPLES] + array("h", bytes(2 * max(0, FRAME_SAMPLES - len(samples))))
