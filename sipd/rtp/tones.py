"""The tones that a telephone network plays: frequencies and cadences (ITU-T E.180 and its supplement 2), and digits.

A tone is computed from a table of one second of a sine, by the number of the sample: there is no error that adds up,
and no jump between two frames.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from functools import cache, cached_property

from sipd.rtp.g711 import SAMPLE_RATE

#: The level of a sine that reaches the highest sample, in dBm0 (ITU-T G.711).
_FULL_SCALE_LEVEL = 3.14
_HIGHEST = 32767
#: Seconds that a pattern may take until it repeats.
_LONGEST = 60.0

#: The frequencies of the digits (ITU-T Q.23): of the rows and of the columns of a keypad.
DTMF_LOW = (697, 770, 852, 941)
DTMF_HIGH = (1209, 1336, 1477, 1633)
#: The digits, row by row.
DTMF_KEYPAD = "123A456B789C*0#D"

#: Parts of a pattern as text.
_STEPS_LIMIT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ToneStep:
    """One part of a cadence.

    Args:
        frequencies: in whole hertz, below 4000, sounding together; none for silence.
        duration: seconds.

    Raises:
        ValueError: a frequency or the duration is out of range.
    """

    frequencies: tuple[int, ...] = ()
    duration: float

    def __post_init__(self) -> None:
        if not all(0 < frequency < SAMPLE_RATE // 2 for frequency in self.frequencies):
            raise ValueError(f"frequencies {self.frequencies}, not between 0 and 4000 Hz")
        if not 0 < self.duration <= _LONGEST:
            raise ValueError(f"{self.duration} seconds of tone, not up to {_LONGEST:.0f}")

    @property
    def size(self) -> int:
        """How many samples it has."""
        return round(self.duration * SAMPLE_RATE)


@dataclass(frozen=True, kw_only=True)
class TonePattern:
    """Tones and pauses, which repeat for ever.

    Each tone begins at phase zero. A pattern of one step is a tone without an end.

    Args:
        steps: at least one; together at most a minute.
        level: of each tone, all its frequencies together, in dBm0.

    Raises:
        ValueError: there are none, or too many.
    """

    steps: tuple[ToneStep, ...]
    level: float = -13.0

    def __post_init__(self) -> None:
        if not self.steps or sum(step.duration for step in self.steps) > _LONGEST:
            raise ValueError(f"a tone pattern has one step at least, and takes at most {_LONGEST:.0f} seconds")
        if self.level > 0:
            raise ValueError(f"{self.level} dBm0 is too loud")

    @cached_property
    def size(self) -> int:
        """Samples until it repeats."""
        if len(self.steps) == 1:
            return SAMPLE_RATE  # frequencies are whole hertz
        return sum(step.size for step in self.steps)

    @cached_property
    def period(self) -> array[int]:
        """The samples of one repetition."""
        samples = array("h")
        for step in self.steps:
            count = self.size if len(self.steps) == 1 else step.size
            samples.extend(_sound(step.frequencies, count, self.level))
        return samples

    def samples(self, start: int, count: int) -> array[int]:
        """Give any part of it.

        Args:
            start: the number of the first sample, from the beginning of the tone.
            count: how many.
        """
        period = self.period
        place = start % self.size
        result = period[place : place + count]
        while len(result) < count:
            result.extend(period[: count - len(result)])
        return result


def _sound(frequencies: tuple[int, ...], count: int, level: float) -> array[int]:
    """Give the samples of frequencies that begin together."""
    if not frequencies:
        return array("h", bytes(2 * count))
    power = level - _FULL_SCALE_LEVEL - 10 * math.log10(len(frequencies))
    sine = _sine(_HIGHEST * 10 ** (power / 20))
    sounds = [[sine[place * frequency % SAMPLE_RATE] for place in range(count)] for frequency in frequencies]
    return array("h", [round(sum(values)) for values in zip(*sounds, strict=True)])


def _sine(amplitude: float) -> list[float]:
    """Give one second of one hertz."""
    return [amplitude * math.sin(2 * math.pi * place / SAMPLE_RATE) for place in range(SAMPLE_RATE)]


def _cadence(frequencies: tuple[int, ...], *durations: float) -> TonePattern:
    """Give tone and silence in turn."""
    return TonePattern(
        steps=tuple(
            ToneStep(frequencies=() if index % 2 else frequencies, duration=duration)
            for index, duration in enumerate(durations)
        )
    )


@cache
def country_tones() -> dict[str, dict[str, TonePattern]]:
    """Give ``ringback``, ``busy``, ``congestion`` and ``dial`` by country; ``eu`` is what ETSI recommends."""
    return {
        "eu": {
            "ringback": _cadence((425,), 1.0, 4.0),
            "busy": _cadence((425,), 0.5, 0.5),
            "congestion": _cadence((425,), 0.25, 0.25),
            "dial": _cadence((425,), 1.0),
        },
        "de": {
            "ringback": _cadence((425,), 1.0, 4.0),
            "busy": _cadence((425,), 0.48, 0.48),
            "congestion": _cadence((425,), 0.24, 0.24),
            "dial": _cadence((425,), 1.0),
        },
        "fr": {
            "ringback": _cadence((440,), 1.5, 3.5),
            "busy": _cadence((440,), 0.5, 0.5),
            "congestion": _cadence((440,), 0.25, 0.25),
            "dial": _cadence((440,), 1.0),
        },
        "uk": {
            "ringback": _cadence((400, 450), 0.4, 0.2, 0.4, 2.0),
            "busy": _cadence((400,), 0.375, 0.375),
            "congestion": _cadence((400,), 0.4, 0.35, 0.225, 0.525),
            "dial": _cadence((350, 440), 1.0),
        },
        "us": {
            "ringback": _cadence((440, 480), 2.0, 4.0),
            "busy": _cadence((480, 620), 0.5, 0.5),
            "congestion": _cadence((480, 620), 0.25, 0.25),
            "dial": _cadence((350, 440), 1.0),
        },
    }


def find_tone(country: str, name: str) -> TonePattern:
    """Give a tone.

    Raises:
        ValueError: the country or the tone is not known.
    """
    tones = country_tones().get(country.lower())
    if tones is None:
        raise ValueError(f"no tones of {country!r}; known are {', '.join(country_tones())}")
    if name not in tones:
        raise ValueError(f"no tone {name!r}; known are {', '.join(tones)}")
    return tones[name]


def dtmf_pattern(digit: str, *, duration: float = 0.1, pause: float = 0.1, level: float = -7.0) -> TonePattern:
    """Give the tone of a digit and the pause after it (ITU-T Q.23, Q.24).

    Args:
        digit: one of `DTMF_KEYPAD`; letters may be small.
        duration: seconds; receivers take 0.04 and more for a digit.
        pause: seconds; the same.
        level: of both frequencies together, in dBm0; they are equally loud.

    Raises:
        ValueError: it is no digit, or a number is out of range.
    """
    place = DTMF_KEYPAD.find(digit.upper()) if len(digit) == 1 else -1
    if place < 0:
        raise ValueError(f"{digit!r} is no digit; those are {DTMF_KEYPAD}")
    row, column = divmod(place, len(DTMF_HIGH))
    tone = ToneStep(frequencies=(DTMF_LOW[row], DTMF_HIGH[column]), duration=duration)
    return TonePattern(steps=(tone, ToneStep(duration=pause)), level=level)


def parse_tone_pattern(text: str, *, level: float = -13.0) -> TonePattern:
    """Give the pattern that a text describes.

    Args:
        text: parts with a comma in between. Each part has frequencies in whole hertz, with ``+`` in between, and after
            a space the milliseconds of tone and of silence in turn: ``440+480 2000/4000``,
            ``400+450 400/200/400/2000``, ``950 330, 1400 330, 1800 330/1000``. A single part without milliseconds is a
            tone without an end. At most 64 tones and silences.
        level: of each tone, all its frequencies together, in dBm0.

    Raises:
        ValueError: it cannot be understood, or a number is out of range.
    """
    parts = text.split(",")
    steps: list[ToneStep] = []
    for part in parts:
        frequencies, _, cadence = part.strip().partition(" ")
        numbers = frequencies.split("+")
        durations = cadence.strip().split("/") if cadence or len(parts) > 1 else ["1000"]
        if not all(number.isascii() and number.isdecimal() and len(number) <= 5 for number in numbers + durations):
            raise ValueError(f"{part.strip()[:40]!r} is no tone, as 440+480 2000/4000 is one")
        tone = tuple(map(int, numbers))
        for index, milliseconds in enumerate(durations):
            steps.append(ToneStep(frequencies=() if index % 2 else tone, duration=int(milliseconds) / 1000))
        if len(steps) > _STEPS_LIMIT:
            raise ValueError(f"a pattern of more than {_STEPS_LIMIT} tones and silences")
    return TonePattern(steps=tuple(steps), level=level)
