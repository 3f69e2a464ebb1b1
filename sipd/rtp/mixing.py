"""Adds the voices of a conference: everybody hears all others, and not himself.

What is too loud together is clipped. Frames that are shorter than the longest one are followed by silence; an empty one
is somebody who says nothing, which costs least.

A frame is added as one large integer, of which each 32 bits are a sample: that takes a fifth of the time of a sum for
each sample. Samples of 16 bits are made positive first, and each second one of them is cut out, so that there is room
for the sum of `PARTICIPANTS_LIMIT` of them.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar

#: So many can be added.
PARTICIPANTS_LIMIT = 10000

_ORDER = sys.byteorder
#: What is added to a sample to make it positive, and to a sum, so that it shows whether it fits into 16 bits.
_BIAS = 1 << 15
_GUARD = 1 << 30

_K = TypeVar("_K")

#: Every other sample, and the ones between them: each is an integer.
_Halves = tuple[int, int]


def mix(frames: Sequence[array[int]]) -> array[int]:
    """Add frames.

    Args:
        frames: not changed.

    Returns:
        A frame as long as the longest one; an empty one if there are none.

    Raises:
        ValueError: there are more than `PARTICIPANTS_LIMIT`.
    """
    size = _size(frames)
    return _clip(*_total([_halves(frame, size) for frame in frames if frame]), size)


def mix_minus(frames: Mapping[_K, array[int]]) -> dict[_K, array[int]]:
    """Give each participant the sum of all others.

    All are added once and then each one is taken away, so twice as many participants take twice the time.

    Args:
        frames: what each one says; not changed.

    Returns:
        What each one hears: a frame of its own, as long as the longest one that was said.

    Raises:
        ValueError: there are more than `PARTICIPANTS_LIMIT`.
    """
    size = _size(frames.values())
    voices = {participant: _halves(frame, size) for participant, frame in frames.items() if frame}
    total, count = _total(voices.values())
    everything = _clip(total, count, size) if len(voices) < len(frames) else array("h")
    result: dict[_K, array[int]] = {}
    for participant in frames:
        voice = voices.get(participant)
        if voice is None:
            result[participant] = everything[:]
        else:
            result[participant] = _clip((total[0] - voice[0], total[1] - voice[1]), count - 1, size)
    return result


def _size(frames: Collection[array[int]]) -> int:
    """Give the samples of the longest frame."""
    if len(frames) > PARTICIPANTS_LIMIT:
        raise ValueError(f"{len(frames)} frames to be added, more than {PARTICIPANTS_LIMIT}")
    return max(map(len, frames), default=0)


@lru_cache(maxsize=16)
def _ones(size: int) -> int:
    """Give 1 in each 32 bits, for so many samples: two have one."""
    return int.from_bytes(array("I", [1]).tobytes() * ((size + 1) // 2), _ORDER)


def _halves(frame: array[int], size: int) -> _Halves:
    """Give the samples, each with the bias; silence follows a frame that is too short."""
    octets = frame.tobytes()
    missing = size + size % 2 - len(frame)
    if missing:
        octets += bytes(2 * missing)
    ones = _ones(size)
    samples = int.from_bytes(octets, _ORDER) ^ (_BIAS << 16 | _BIAS) * ones
    mask = 0xFFFF * ones
    return samples & mask, samples >> 16 & mask


def _total(voices: Collection[_Halves]) -> tuple[_Halves, int]:
    """Add voices; give how many, too, for each has the bias."""
    return (sum(one for one, _ in voices), sum(other for _, other in voices)), len(voices)


def _clip(total: _Halves, count: int, size: int) -> array[int]:
    """Give the samples of a sum of so many voices."""
    ones = _ones(size)
    offset = (_GUARD + _BIAS - count * _BIAS) * ones
    one, other = (_saturated(half + offset, ones) for half in total)
    samples = (other << 16 | one) ^ (_BIAS << 16 | _BIAS) * ones
    result = array("h")
    result.frombytes(samples.to_bytes(2 * (size + size % 2), _ORDER))
    del result[size:]
    return result


def _saturated(sums: int, ones: int) -> int:
    """Give sums with the guard as 16 bits, those that do not fit as the lowest or the highest that does."""
    fits = 0xFFFF * ones
    above = (_GUARD - 0x10000) * ones
    if sums & ~fits == _GUARD * ones:
        return sums & fits
    # Below the guard it was too low. Above it, any bit beyond the first 16 carries into the place of the guard.
    low = ~sums >> 30 & ones
    high = ((sums & above) + above & sums) >> 30 & ones
    return sums & fits & ~((low | high) * 0xFFFF) | high * 0xFFFF
