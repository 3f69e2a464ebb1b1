"""What can be played, as the payloads of packets of 20 ms: files, tones, silence.

A sound is read, decoded and encoded once, in another thread, and kept: a thousand callers on hold share its payloads.
"""

from __future__ import annotations

import math
import os
import stat
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipd.errors import MissingCodecError, ParseError, SoundError
from sipd.media.audio import EncoderFactory, all_encoders
from sipd.rtp.g711 import SAMPLE_RATE
from sipd.rtp.samples import amplify, mix_down, to_telephone_rate
from sipd.rtp.tones import TonePattern
from sipd.rtp.wave import parse_wave

#: Samples of one packet.
FRAME_SAMPLES = SAMPLE_RATE // 50

#: A tone that does not end with a packet is repeated until it does, but not for longer than so many samples.
_LOOP_LIMIT = 120 * SAMPLE_RATE
#: What a payload takes in memory beside its octets.
_OVERHEAD_OCTETS = 48

Frames: TypeAlias = tuple[bytes, ...]

#: Runs a function in another thread, such as ``twisted.internet.threads.deferToThread``.
InThread = Callable[[Callable[[], Any]], "Deferred[Any]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSound:
    """A WAVE file: 16-bit PCM or G.711, one or two channels, 8 kHz or a multiple up to 48 kHz."""

    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ToneSound:
    """A tone and its cadence."""

    pattern: TonePattern


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentSound:
    """Silence, 20 ms of it, to be repeated."""


Sound: TypeAlias = FileSound | ToneSound | SilentSound

#: A sound, the name of an encoding, and a gain in decibel.
_Key: TypeAlias = tuple[Sound, str, float]
#: By what a file that has changed is known; ``None`` for what is no file.
_Stamp: TypeAlias = tuple[int, int] | None


@dataclass(slots=True)
class _Loaded:
    """What the other thread found: no frames if the stamp is the one that was known."""

    stamp: _Stamp
    frames: Frames | None


@dataclass(slots=True)
class _Kept:
    """A sound in memory."""

    stamp: _Stamp
    frames: Frames
    size_octets: int = field(init=False)

    def __post_init__(self) -> None:
        self.size_octets = sum(map(len, self.frames)) + _OVERHEAD_OCTETS * len(self.frames)


class SoundLibrary:
    """Gives sounds as payloads, and keeps those used last.

    Args:
        in_thread: see `InThread`.
        encoders: by the name of the encoding in lower case.
        file_limit_octets: of one file; a larger one is refused.
        memory_limit_octets: of all sounds that are kept together; those unused for longest go first.
    """

    def __init__(
        self,
        *,
        in_thread: InThread,
        encoders: Mapping[str, EncoderFactory] | None = None,
        file_limit_octets: int = 16 << 20,
        memory_limit_octets: int = 64 << 20,
    ) -> None:
        self._in_thread = in_thread
        self._encoders = all_encoders() if encoders is None else encoders
        self._file_limit_octets = file_limit_octets
        self._memory_limit_octets = memory_limit_octets
        #: The one used last at the end.
        self._kept: dict[_Key, _Kept] = {}
        self._loading: dict[_Key, list[Deferred[Frames]]] = {}

    @property
    def size_octets(self) -> int:
        """What is kept in memory."""
        return sum(kept.size_octets for kept in self._kept.values())

    def frames(self, sound: Sound, name: str, gain: float = 0.0) -> Deferred[Frames]:
        """Give a sound as payloads of 20 ms, at least one.

        A file is looked at each time, and read again if it has changed.

        Args:
            sound: what to play.
            name: of the encoding, in lower case.
            gain: in decibel.

        Fails with `SoundError`, or with `MissingCodecError`.
        """
        key = (sound, name, gain)
        result: Deferred[Frames] = Deferred()
        waiting = self._loading.get(key)
        if waiting is not None:
            waiting.append(result)
            return result
        kept = self._kept.get(key)
        if kept is not None and kept.stamp is None:
            self._keep(key, kept)
            result.callback(kept.frames)
            return result
        self._loading[key] = [result]
        known = None if kept is None else kept.stamp
        loading = self._in_thread(lambda: self._load(sound, name, gain, known))
        loading.addCallbacks(self._loaded, self._failed, callbackArgs=(key,), errbackArgs=(key,))
        return result

    def _loaded(self, loaded: _Loaded, key: _Key) -> None:
        """Keep what the other thread gives, and pass it on."""
        kept = self._kept.get(key)
        if loaded.frames is not None:
            kept = _Kept(loaded.stamp, loaded.frames)
        if kept is None:
            # What the stamp is that of has been given up meanwhile.
            self._retry(key)
            return
        self._keep(key, kept)
        for deferred in self._loading.pop(key):
            deferred.callback(kept.frames)

    def _retry(self, key: _Key) -> None:
        loading = self._in_thread(lambda: self._load(*key, None))
        loading.addCallbacks(self._loaded, self._failed, callbackArgs=(key,), errbackArgs=(key,))

    def _failed(self, failure: Failure, key: _Key) -> None:
        self._kept.pop(key, None)
        for deferred in self._loading.pop(key):
            deferred.errback(failure)

    def _keep(self, key: _Key, kept: _Kept) -> None:
        """Put it to the end of what is kept, and give up what is too much."""
        self._kept.pop(key, None)
        self._kept[key] = kept
        size_octets = self.size_octets
        while size_octets > self._memory_limit_octets:
            oldest = next(iter(self._kept))
            size_octets -= self._kept.pop(oldest).size_octets

    def _load(self, sound: Sound, name: str, gain: float, known: _Stamp) -> _Loaded:
        """Read, decode and encode; in the other thread."""
        factory = self._encoders.get(name)
        if factory is None:
            raise MissingCodecError(f"no encoder for {name}")
        stamp: _Stamp = None
        if isinstance(sound, FileSound):
            stamp, data = read_file(sound.path, self._file_limit_octets, known)
            if data is None:
                return _Loaded(stamp, None)
            samples = _decode(sound.path, data)
        elif isinstance(sound, ToneSound):
            samples = _loop(sound.pattern)
        else:
            samples = array("h", bytes(2 * FRAME_SAMPLES))
        samples = amplify(samples, gain)
        rest = -len(samples) % FRAME_SAMPLES
        samples = samples + array("h", bytes(2 * rest))
        encode = factory()
        places = range(0, len(samples), FRAME_SAMPLES)
        return _Loaded(stamp, tuple(encode(samples[place : place + FRAME_SAMPLES]) for place in places))


def read_file(path: Path, limit_octets: int, known: _Stamp) -> tuple[_Stamp, bytes | None]:
    """Read a file, unless it is the one that is known already. Blocks.

    Returns:
        By what it is known, and what is in it; ``None`` if it is known.

    Raises:
        SoundError: it is not there, is no regular file, or is too large.
    """
    try:
        # Not blocking: a named pipe would wait for somebody who writes.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            stamp = (status.st_mtime_ns, status.st_size)
            if not stat.S_ISREG(status.st_mode):
                raise SoundError(f"{path} is no regular file")
            if status.st_size > limit_octets:
                raise SoundError(f"{path} has {status.st_size} octets, more than {limit_octets}")
            return stamp, None if stamp == known else _read(descriptor, limit_octets)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SoundError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:
        raise SoundError(f"{path}: {error}") from error  # a null character


def _read(descriptor: int, limit_octets: int) -> bytes:
    """Read up to the limit; a regular file gives what there is."""
    pieces = []
    while limit_octets > 0 and (piece := os.read(descriptor, limit_octets)):
        pieces.append(piece)
        limit_octets -= len(piece)
    return b"".join(pieces)


def _decode(path: Path, data: bytes) -> array[int]:
    """Give the samples of a file, one channel of 8000 a second, or raise `SoundError`."""
    try:
        wave = parse_wave(data)
        samples = to_telephone_rate(mix_down(wave.samples(), wave.format.channels), wave.format.sample_rate)
    except (ParseError, ValueError) as error:
        raise SoundError(f"{path}: {error}") from error
    if not samples:
        raise SoundError(f"{path}: no audio in it")
    return samples


def _loop(pattern: TonePattern) -> array[int]:
    """Give so many periods of a tone that it ends with a packet; if they were too many, one and some silence."""
    count = FRAME_SAMPLES // math.gcd(pattern.size, FRAME_SAMPLES)
    return pattern.samples(0, pattern.size * (count if pattern.size * count <= _LOOP_LIMIT else 1))
