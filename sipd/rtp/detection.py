"""Finds in sound what is not speech: the digits of a keypad (ITU-T Q.23, Q.24), tones, silence.

Frequencies are found in short blocks of samples, by what Goertzel's algorithm computes: how much of a block is a sine
of a frequency, and its phase. Both halves of a block are taken together, from the middle, which saves every other
multiplication.
"""

from __future__ import annotations

import cmath
import math
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import add, mul, sub

from sipd.rtp.g711 import SAMPLE_RATE
from sipd.rtp.tones import DTMF_HIGH, DTMF_KEYPAD, DTMF_LOW

if sys.version_info >= (3, 12):
    from math import sumprod
else:

    def sumprod(p: Iterable[float], q: Iterable[float], /) -> float:
        """Give the sum of products."""
        result: float = sum(map(mul, p, q))
        return result


#: The level of digital silence, in dBm0; RFC 6464 section 3 calls it so, too.
SILENCE = -127.0

#: The level of a sine that reaches the highest sample, in dBm0 (ITU-T G.711), and its power.
_FULL_SCALE_LEVEL = 3.14
_FULL_SCALE_POWER = 32767**2 / 2


def level(samples: Sequence[int]) -> float:
    """Give how loud samples are, in dBm0: 3.14 for a sine as loud as can be, `SILENCE` for none, or only zeros."""
    power = sumprod(samples, samples)
    if not power:
        return SILENCE
    return _FULL_SCALE_LEVEL + 10 * math.log10(power / len(samples) / _FULL_SCALE_POWER)


def _power(level: float) -> float:
    """Give the mean square of a level in dBm0."""
    return float(_FULL_SCALE_POWER * 10 ** ((level - _FULL_SCALE_LEVEL) / 10))


class _Blocks:
    """Cuts sound into blocks of one size, whatever the size of the pieces in which it comes."""

    __slots__ = ("_rest", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._rest = array("h")

    def feed(self, samples: array[int]) -> Iterator[array[int]]:
        """Give the blocks that are complete by now; the generator has to be used up."""
        rest = self._rest + samples
        size = self._size
        whole = len(rest) - len(rest) % size
        self._rest = rest[whole:]
        for place in range(0, whole, size):
            yield rest[place : place + size]


class _Probe:
    """Measures one frequency in a block, of an even number of samples."""

    __slots__ = ("_cosine", "_scale", "_sine")

    def __init__(self, frequency: float, size: int) -> None:
        angle = 2 * math.pi * frequency / SAMPLE_RATE
        self._cosine = [math.cos(angle * (place + 0.5)) for place in range(size // 2)]
        self._sine = [math.sin(angle * (place + 0.5)) for place in range(size // 2)]
        self._scale = math.sqrt(2) / size

    def amplitude(self, sums: Sequence[int], differences: Sequence[int]) -> complex:
        """Give the effective value and, against the middle of the block, the phase."""
        scale = self._scale
        return complex(sumprod(sums, self._cosine) * scale, -sumprod(differences, self._sine) * scale)

    def power(self, sums: Sequence[int], differences: Sequence[int]) -> float:
        """Give the mean square of the sine."""
        one, other = sumprod(sums, self._cosine), sumprod(differences, self._sine)
        return (one * one + other * other) * self._scale * self._scale


def _fold(block: array[int]) -> tuple[list[int], list[int]]:
    """Give the sums and the differences of the samples that are equally far from the middle, from there."""
    middle = len(block) // 2
    after, before = block[middle:], block[middle - 1 :: -1]
    return list(map(add, after, before)), list(map(sub, after, before))


#: Samples of a block: two whole ones are in 40 ms, wherever they begin.
_DIGIT_BLOCK = 102
#: Of either frequency. Those of a digit have -25 at least, and lose 2 dB in a block where they are off by 1.5 %.
_DIGIT_LEAST = _power(-28.5)
#: How much louder the lower frequency may be than the higher one, and the other way round: 8 dB and 4 dB, and a margin.
_TWIST_LOW = 10 ** (10.5 / 10)
_TWIST_HIGH = 10 ** (6.2 / 10)
#: The part of all power that the two frequencies have together, at least; and while a digit goes on.
_DIGIT_SHARE = 0.65
_DIGIT_SHARE_ON = 0.5
#: How much louder a frequency is than the others of its row or column: 8 dB.
_DIGIT_PEAK = 10 ** (3 / 10)
#: How much of a frequency may be at twice the frequency, where voices have a harmonic: -10 dB.
_HARMONIC = 0.1
#: Where the other frequency is nearer than this, in hertz, that cannot be told.
_HARMONIC_DISTANCE = 130
#: How far a frequency may be off: 1.5 % and 2 Hz are to be taken, 3.5 % are not.
_DIGIT_TOLERANCE = 0.024
#: The part of the power of two blocks that may be something else: noise 15 dB below, or what clipping adds.
_RESIDUE = 0.05
#: How much the power of a frequency may change from one block to the next: 4.5 dB; the other one disturbs it.
_STEADY = 2.8


@dataclass(slots=True)
class _Digit:
    """What a block has of a digit."""

    row: int
    column: int
    low: complex
    high: complex
    low_power: float
    high_power: float
    is_clear: bool
    block: array[int]
    folded: tuple[list[int], list[int]]


class DtmfDetector:
    """Finds digits, as a keypad dials them (ITU-T Q.24).

    Found are tones of 40 ms and more with pauses of 40 ms and more, of -25 to 0 dBm0 for each frequency, of which the
    lower may be louder by 8 dB or the higher by 4 dB, that are off by at most 1.5 % and 2 Hz. Shorter ones than 20 ms,
    weaker ones than -30 dBm0, and those that are off by 3.5 % are not; what lies between may be. A gap of up to 10 ms
    in a tone does not make it two. Speech is told apart by what else it has in other frequencies, and by changing.

    A digit is told once, some 40 ms after it began.

    Args:
        on_digit: called with each digit, one of `sipd.rtp.tones.DTMF_KEYPAD`.
    """

    def __init__(self, on_digit: Callable[[str], object]) -> None:
        self._on_digit = on_digit
        self._blocks = _Blocks(_DIGIT_BLOCK)
        self._low, self._high, self._low_double, self._high_double = _digit_probes()
        self._last: _Digit | None = None
        #: The digit that was told and goes on, by row and column; and blocks without it.
        self._told: tuple[int, int] | None = None
        self._missed = 0

    def feed(self, samples: array[int]) -> None:
        """Take what follows what came before; any number of samples."""
        for block in self._blocks.feed(samples):
            self._take(block)

    def _take(self, block: array[int]) -> None:
        """Take a block."""
        found = self._find(block)
        last, self._last = self._last, found
        if found is not None and (found.row, found.column) == self._told:
            self._missed = 0
            return
        if self._told is not None:
            self._missed += 1
            if self._missed >= 2:
                self._told = None
        if found is None or last is None or not (found.is_clear and last.is_clear):
            return
        if (found.row, found.column) != (last.row, last.column):
            return
        low = _frequency(last.low, found.low, DTMF_LOW[found.row])
        high = _frequency(last.high, found.high, DTMF_HIGH[found.column])
        if low is None or high is None or self._has_harmonics(found) or self._has_harmonics(last):
            return
        if _residue(last.block + found.block, low, high) > _RESIDUE:
            return
        self._told, self._missed = (found.row, found.column), 0
        self._on_digit(DTMF_KEYPAD[found.row * len(DTMF_HIGH) + found.column])

    def _find(self, block: array[int]) -> _Digit | None:
        """Find a digit in a block, or most of one."""
        power = sumprod(block, block) / _DIGIT_BLOCK
        if power < 2 * _DIGIT_LEAST:
            return None
        folded = _fold(block)
        # What each frequency has at least, when both together have enough.
        enough = power * _DIGIT_SHARE_ON
        lows = _strongest(self._low, folded, max(_DIGIT_LEAST, enough / (1 + _TWIST_HIGH)))
        if lows is None:
            return None
        highs = _strongest(self._high, folded, max(_DIGIT_LEAST, enough / (1 + _TWIST_LOW)))
        if highs is None:
            return None
        row, low, low_power, low_peak = lows
        column, high, high_power, high_peak = highs
        if low_power > high_power * _TWIST_LOW or high_power > low_power * _TWIST_HIGH:
            return None
        share = (low_power + high_power) / power
        if share < _DIGIT_SHARE_ON:
            return None

        is_clear = share >= _DIGIT_SHARE and min(low_peak, high_peak) >= _DIGIT_PEAK
        return _Digit(row, column, low, high, low_power, high_power, is_clear, block, folded)

    def _has_harmonics(self, found: _Digit) -> bool:
        """Tell whether either frequency has a second harmonic."""
        if self._high_double[found.column].power(*found.folded) > _HARMONIC * found.high_power:
            return True
        if abs(2 * DTMF_LOW[found.row] - DTMF_HIGH[found.column]) < _HARMONIC_DISTANCE:
            return False
        return self._low_double[found.row].power(*found.folded) > _HARMONIC * found.low_power


@cache
def _digit_probes() -> tuple[tuple[_Probe, ...], ...]:
    """Give the probes of the rows and columns, and of twice their frequencies."""
    return tuple(
        tuple(_Probe(factor * frequency, _DIGIT_BLOCK) for frequency in frequencies)
        for factor in (1, 2)
        for frequencies in (DTMF_LOW, DTMF_HIGH)
    )


def _strongest(
    probes: Sequence[_Probe], folded: tuple[list[int], list[int]], least: float
) -> tuple[int, complex, float, float] | None:
    """Give the number of the strongest of some frequencies, its amplitude, its power and its distance to the others.

    Args:
        probes: of the frequencies.
        folded: the block.
        least: power; what is less is not given.
    """
    amplitudes = [probe.amplitude(*folded) for probe in probes]
    powers = [amplitude.real * amplitude.real + amplitude.imag * amplitude.imag for amplitude in amplitudes]
    best = max(powers)
    if best < least:
        return None
    index = powers.index(best)
    powers[index] = 0.0
    return index, amplitudes[index], best, best / max(*powers, 1e-9)


def _frequency(before: complex, after: complex, frequency: int) -> float | None:
    """Give the frequency of a tone in two blocks that follow each other, by its phases.

    Args:
        before: its amplitude in the first block.
        after: in the second one.
        frequency: which it should have.

    Returns:
        Hertz; ``None`` if it is too far off, or the blocks are not equally loud.
    """
    one, other = abs(before), abs(after)
    if not 1 / _STEADY <= one * one / (other * other) <= _STEADY:
        return None
    turn = 2 * math.pi * frequency * _DIGIT_BLOCK / SAMPLE_RATE
    error = cmath.phase(after * before.conjugate() * cmath.rect(1, -turn))
    error *= SAMPLE_RATE / (2 * math.pi * _DIGIT_BLOCK)
    return frequency + error if abs(error) <= _DIGIT_TOLERANCE * frequency else None


def _residue(samples: array[int], low: float, high: float) -> float:
    """Give the part of the power that is not explained by two frequencies: the residue of a least squares fit."""
    explained = 0.0
    places = [place + 0.5 for place in range(len(samples) // 2)]
    one, other = 2 * math.pi * low / SAMPLE_RATE, 2 * math.pi * high / SAMPLE_RATE
    # Cosines make up the sums, and sines the differences; neither disturbs the other.
    for part, wave in zip(_fold(samples), (math.cos, math.sin), strict=True):
        first = [wave(one * place) for place in places]
        second = [wave(other * place) for place in places]
        one_one, both, other_other = sumprod(first, first), sumprod(first, second), sumprod(second, second)
        is_first, is_second = sumprod(part, first), sumprod(part, second)
        squares = is_first**2 * other_other - 2 * is_first * is_second * both + is_second**2 * one_one
        explained += squares / (one_one * other_other - both**2)
    return 1 - explained / 2 / sumprod(samples, samples)


#: Samples of a block for tones: 40 ms, which tells frequencies apart that differ by 40 Hz.
_TONE_BLOCK = 320
_TONE_DISTANCE = 40
#: Hertz between two probes.
_TONE_STEP = SAMPLE_RATE / _TONE_BLOCK / 2
_TONE_LEAST = _power(-43.0)
#: The part of all power that a frequency has, or two have together, where they disturb each other; and each of them.
_TONE_SHARE = (0.75, 0.55)
_TONE_SHARE_OF_EACH = 0.15
#: Blocks without the tone that end it.
_TONE_MISSED = 2


class ToneDetector:
    """Finds one tone, as networks and machines make it: busy (425 Hz), a fax that calls (1100 Hz) or answers (2100 Hz).

    A tone has -40 dBm0 and more, and is nearly alone. It is told at the latest 80 ms after it has lasted long enough,
    and its end after 80 to 120 ms. What begins and ends faster is not told.

    Args:
        frequencies: one, or two that sound together, at least 40 Hz apart; in hertz.
        on_change: called with ``True`` when the tone has lasted, and with ``False`` when it is over.
        least: seconds that it has to last, at most 60.
        tolerance: hertz by which each frequency may be off, at most 50; more is dearer. ITU-T T.30 has 38 for the tone
            of a fax that calls. Of two frequencies, at most an eighth of their distance.

    Raises:
        ValueError: there are more frequencies, or a number is out of range.
    """

    def __init__(
        self,
        frequencies: Sequence[int],
        on_change: Callable[[bool], object],
        *,
        least: float = 0.1,
        tolerance: float = 15.0,
    ) -> None:
        if not 1 <= len(frequencies) <= 2 or not all(100 <= frequency <= 3900 for frequency in frequencies):
            raise ValueError(f"{frequencies} are not one or two frequencies of 100 to 3900 Hz")
        if len(frequencies) == 2 and abs(frequencies[0] - frequencies[1]) < _TONE_DISTANCE:
            raise ValueError(f"{frequencies} Hz are too near to each other")
        if not 0 < least <= 60 or not 0 <= tolerance <= 50:
            raise ValueError(f"a tone of {least} seconds, or a tolerance of {tolerance} Hz, is out of range")
        self._on_change = on_change
        self._blocks = _Blocks(_TONE_BLOCK)
        if len(frequencies) == 2:
            # One tone between two must not be taken for both.
            tolerance = min(tolerance, abs(frequencies[0] - frequencies[1]) / 8)
        reach = math.ceil(max(0.0, tolerance / _TONE_STEP - 0.5))
        self._probes = [
            [_Probe(frequency + _TONE_STEP * step, _TONE_BLOCK) for step in range(-reach, reach + 1)]
            for frequency in frequencies
        ]
        self._share = _TONE_SHARE[len(frequencies) - 1]
        self._least = math.ceil(round(least * SAMPLE_RATE) / _TONE_BLOCK)
        self._lasted = 0
        self._missed = 0
        self._is_told = False

    def feed(self, samples: array[int]) -> None:
        """Take what follows what came before; any number of samples."""
        for block in self._blocks.feed(samples):
            if self._has_tone(block):
                self._lasted += 1
                self._missed = 0
                if self._lasted >= self._least and not self._is_told:
                    self._is_told = True
                    self._on_change(True)
                continue
            self._lasted = 0
            self._missed += 1
            if self._missed >= _TONE_MISSED and self._is_told:
                self._is_told = False
                self._on_change(False)

    def _has_tone(self, block: array[int]) -> bool:
        """Tell whether a block is the tone."""
        power = sumprod(block, block) / _TONE_BLOCK
        if power < _TONE_LEAST:
            return False
        folded = _fold(block)
        total = 0.0
        for probes in self._probes:
            share = max(probe.power(*folded) for probe in probes) / power
            if share < _TONE_SHARE_OF_EACH:
                return False
            total += share
        return total >= self._share


#: Samples of which the level is taken: 20 ms.
_SILENCE_BLOCK = 160


class SilenceDetector:
    """Finds pauses: it is silent when nothing was louder than some level for some time.

    It is not silent at the beginning. Where nothing comes, as in a pause of the sender, zeros have to be fed.

    Args:
        on_change: called with ``True`` when it has become silent, and with ``False`` at the first 20 ms that are not.
        level: in dBm0, over 20 ms; -127 to 3.14.
        after: seconds, up to 3600.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(self, on_change: Callable[[bool], object], *, level: float = -45.0, after: float = 0.5) -> None:
        if not SILENCE <= level <= _FULL_SCALE_LEVEL or not 0 < after <= 3600:
            raise ValueError(f"silence below {level} dBm0 for {after} seconds is out of range")
        self._on_change = on_change
        self._blocks = _Blocks(_SILENCE_BLOCK)
        self._limit = _power(level) * _SILENCE_BLOCK
        self._after = math.ceil(round(after * SAMPLE_RATE) / _SILENCE_BLOCK)
        self._lasted = 0
        self._is_silent = False

    def feed(self, samples: array[int]) -> None:
        """Take what follows what came before; any number of samples."""
        for block in self._blocks.feed(samples):
            if sumprod(block, block) > self._limit:
                self._lasted = 0
                if self._is_silent:
                    self._is_silent = False
                    self._on_change(False)
                continue
            self._lasted += 1
            if self._lasted >= self._after and not self._is_silent:
                self._is_silent = True
                self._on_change(True)
