"""What is done to samples on their way between files, codecs and wires: mixed, made louder, made fewer.

Samples are signed 16-bit integers in the order of the machine, as everywhere in `sipd.rtp`.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from functools import cache

from sipd.rtp.g711 import SAMPLE_RATE

#: Gives the samples of a payload; may raise `ParseError`, then the payload counts as lost.
Decoder = Callable[[bytes], "array[int]"]

#: Gives the payload of samples.
Encoder = Callable[["array[int]"], bytes]

_LOWEST, _HIGHEST = -32768, 32767
#: Coefficients of the low-pass filter on each side, for each sample that is left out: enough for speech.
_REACH = 8


def interleave(left: array[int], right: array[int]) -> array[int]:
    """Give two channels as frames; the shorter one is followed by silence."""
    frames = array("h", bytes(4 * max(len(left), len(right))))
    frames[: 2 * len(left) : 2] = left
    frames[1 : 2 * len(right) + 1 : 2] = right
    return frames


def mix_down(frames: array[int], channels: int) -> array[int]:
    """Give the mean of one or two channels.

    Args:
        frames: interleaved; whole frames.
        channels: 1 or 2.
    """
    if channels == 1:
        return frames
    return array("h", [(left + right) >> 1 for left, right in zip(frames[::2], frames[1::2], strict=True)])


def amplify(samples: array[int], gain: float) -> array[int]:
    """Make samples louder, or less loud; what is too loud then is clipped.

    Args:
        samples: not changed.
        gain: in decibel.
    """
    if not gain:
        return samples
    factor = 10 ** (gain / 20)
    return array("h", [max(_LOWEST, min(_HIGHEST, round(sample * factor))) for sample in samples])


def to_telephone_rate(samples: array[int], sample_rate: int) -> array[int]:
    """Bring one channel down to 8000 samples a second, without what would fold back into speech.

    Args:
        samples: not changed.
        sample_rate: a multiple of 8000, up to 48000.

    Raises:
        ValueError: it is something else.
    """
    factor, rest = divmod(sample_rate, SAMPLE_RATE)
    if rest or not 1 <= factor <= 6:
        raise ValueError(f"{sample_rate} samples a second are no multiple of 8000 up to 48000")
    if factor == 1:
        return samples
    taps = _low_pass(factor)
    reach = len(taps) - 1
    padded = array("h", bytes(2 * reach)) + samples + array("h", bytes(2 * reach + 2 * factor))
    count = -(-len(samples) // factor)
    total = [0.0] * count
    for distance, weight in enumerate(taps):
        if abs(weight) < 1e-9:
            continue  # every other one of a filter that keeps half
        before = padded[reach - distance :: factor]
        after = padded[reach + distance :: factor]
        if distance == 0:
            weight /= 2
        total = [value + weight * (one + other) for value, one, other in zip(total, before, after, strict=False)]
    return array("h", [max(_LOWEST, min(_HIGHEST, round(value))) for value in total])


@cache
def _low_pass(factor: int) -> tuple[float, ...]:
    """Give one half of a symmetric filter that keeps what is below 4000 Hz: a sinc under a Blackman window."""
    reach = _REACH * factor
    taps = [1 / factor]
    for distance in range(1, reach):
        angle = math.pi * distance / reach
        window = 0.42 + 0.5 * math.cos(angle) + 0.08 * math.cos(2 * angle)
        taps.append(window * math.sin(math.pi * distance / factor) / (math.pi * distance))
    gain = taps[0] + 2 * sum(taps[1:])
    return tuple(tap / gain for tap in taps)
