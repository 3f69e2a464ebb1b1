"""Tests of `sipd.rtp.detection`: digits at their limits, voices that are none, tones and silence."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterable, Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.detection import SILENCE, DtmfDetector, SilenceDetector, ToneDetector, level
from sipd.rtp.g711 import decode_ulaw, encode_ulaw
from sipd.rtp.tones import DTMF_HIGH, DTMF_KEYPAD, DTMF_LOW, dtmf_pattern, find_tone

#: The first three formants of vowels, in hertz; those of /a/ are where digits are.
VOWELS = (
    (730, 1090, 2440),
    (850, 1220, 2810),
    (270, 2290, 3010),
    (570, 840, 2410),
    (660, 1720, 2410),
    (490, 1350, 1690),
)


def amplitude(level_: float) -> float:
    """Give the peak of a sine."""
    return float(32767 * 10 ** ((level_ - 3.14) / 20))


def sines(duration: float, *parts: tuple[float, float, float]) -> list[float]:
    """Add sines: frequency, level, phase."""
    waves = [(2 * math.pi * frequency / 8000, amplitude(level_), phase) for frequency, level_, phase in parts]
    return [
        sum(peak * math.sin(angle * place + phase) for angle, peak, phase in waves)
        for place in range(round(duration * 8000))
    ]


def clipped(samples: Iterable[float]) -> array[int]:
    """Give whole samples of 16 bits."""
    return array("h", [max(-32768, min(32767, round(sample))) for sample in samples])


def digit(
    name: str,
    duration: float = 0.04,
    *,
    low: float = -10.0,
    high: float = -10.0,
    low_factor: float = 1.0,
    high_factor: float = 1.0,
    phase: float = 0.0,
) -> list[float]:
    """Give the tone of a digit, with frequencies that may be off."""
    row, column = divmod(DTMF_KEYPAD.index(name), 4)
    return sines(
        duration, (DTMF_LOW[row] * low_factor, low, phase), (DTMF_HIGH[column] * high_factor, high, 2.4 * phase)
    )


def silence(duration: float) -> list[float]:
    """Give zeros."""
    return [0.0] * round(duration * 8000)


def voice(seed: int, duration: float, *, pitch: tuple[float, float] = (80.0, 300.0)) -> array[int]:
    """Give a kind of babble: pulses whose pitch sweeps, through three formants that move, and hisses."""
    chance = random.Random(seed)
    formants, now_pitch, loudness = list(map(float, VOWELS[0])), chance.uniform(*pitch), 0.0
    states = [[0.0, 0.0] for _ in formants]
    phase = glottis = 0.0
    samples: list[float] = []
    while len(samples) < duration * 8000:
        vowel = [frequency * chance.uniform(0.9, 1.2) for frequency in chance.choice(VOWELS)]
        next_pitch, next_loudness = chance.uniform(*pitch), chance.choice((0.0, 0.4, 0.7, 1.0, 1.0))
        hiss, speed = chance.choice((0.02, 0.02, 0.02, 0.02, 1.0)), chance.choice((0.01, 0.03, 0.1))
        for _ in range(chance.randrange(10, 60)):
            formants = [now + (then - now) * speed for now, then in zip(formants, vowel, strict=True)]
            now_pitch += (next_pitch - now_pitch) * speed
            loudness += (next_loudness - loudness) * 0.1
            filters = []
            for state, frequency, width in zip(states, formants, (60, 80, 120), strict=True):
                radius = math.exp(-math.pi * width / 8000)
                turn = 2 * radius * math.cos(2 * math.pi * frequency / 8000)
                filters.append((state, turn, radius * radius))
            for _ in range(40):
                phase += now_pitch / 8000
                glottis *= 0.9
                if phase >= 1:
                    phase -= 1
                    glottis += 1
                value = loudness * (glottis * (1 - hiss) + hiss * chance.gauss(0, 0.05))
                for state, turn, decay in filters:
                    value = (1 - turn + decay) * value + turn * state[0] - decay * state[1]
                    state[1], state[0] = state[0], value
                samples.append(value)
    peak = max(map(abs, samples))
    return clipped(14000 * sample / peak for sample in samples)


def digits_in(samples: Iterable[float], *, piece: int = 160) -> str:
    """Give what a detector finds in samples that come in pieces."""
    found: list[str] = []
    detector = DtmfDetector(found.append)
    whole = clipped(samples)
    for place in range(0, len(whole), piece):
        detector.feed(whole[place : place + piece])
    return "".join(found)


class DigitTests(SynchronousTestCase):
    """Digits that have to be found."""

    def check(self, **how: float) -> None:
        """Check that each digit is found once, wherever it begins."""
        chance = random.Random(1)
        for name in DTMF_KEYPAD:
            for _ in range(3):
                before = silence(chance.uniform(0.05, 0.07))
                samples = [*before, *digit(name, phase=chance.uniform(0, 6), **how), *silence(0.06)]
                self.assertEqual(digits_in(samples), name, how)

    def test_shortest(self) -> None:
        """All sixteen are found in 40 ms."""
        self.check()

    def test_levels(self) -> None:
        """From -25 to 0 dBm0, though the loudest are clipped."""
        for level_ in (-25.0, -20.0, -3.0, 0.0):
            self.check(low=level_, high=level_)

    def test_twist(self) -> None:
        """The lower frequency may be louder by 8 dB, the higher one by 4 dB."""
        for low, high in ((-17.0, -25.0), (-2.0, -10.0), (-25.0, -21.0), (-4.0, 0.0)):
            self.check(low=low, high=high, duration=0.05)

    def test_frequencies_that_are_off(self) -> None:
        """Each frequency may be off by 1.5 % and 2 Hz, with all of the twist, too."""
        for low_factor, high_factor in ((1.017, 1.016), (0.983, 0.984), (1.017, 0.984)):
            self.check(low_factor=low_factor, high_factor=high_factor)
            self.check(low_factor=low_factor, high_factor=high_factor, low=-25.0, high=-21.0, duration=0.05)

    def test_noise(self) -> None:
        """Noise that is 15 dB weaker does no harm."""
        chance = random.Random(2)
        noise = amplitude(-25.0 + 3.0) / math.sqrt(2)
        for name in DTMF_KEYPAD:
            samples = [*silence(0.05), *digit(name, 0.05), *silence(0.06)]
            self.assertEqual(digits_in(sample + chance.gauss(0, noise) for sample in samples), name)

    def test_fast_dialling(self) -> None:
        """Forty milliseconds of tone and of pause in turn are all found, repeated digits, too."""
        number = "00123456789#*ABCD55555"
        samples: list[float] = []
        for name in number:
            samples += digit(name) + silence(0.04)
        self.assertEqual(digits_in(samples), number)

    def test_long_tones(self) -> None:
        """A tone of seconds is one digit, in pieces of any size, and in a pattern of `dtmf_pattern`."""
        for piece in (1, 80, 160, 333, 100000):
            self.assertEqual(digits_in(digit("7", 1.0), piece=piece), "7")
        self.assertEqual(digits_in(dtmf_pattern("9", duration=1.0).samples(0, 8800)), "9")
        self.assertEqual(digits_in(dtmf_pattern("9").samples(0, 8000)), "99999")

    def test_gaps(self) -> None:
        """A gap of up to 10 ms makes no second digit of it."""
        for begin in range(400, 800, 37):
            samples = digit("4", 0.15)
            samples[begin : begin + 80] = silence(0.01)
            self.assertEqual(digits_in(samples + silence(0.05)), "4")

    def test_through_a_codec(self) -> None:
        """PCMU does them no harm."""
        for name in DTMF_KEYPAD:
            for level_ in (-25.0, -1.0):
                samples = clipped([*silence(0.05), *digit(name, low=level_, high=level_), *silence(0.05)])
                self.assertEqual(digits_in(decode_ulaw(encode_ulaw(samples))), name)

    def test_without_a_pause(self) -> None:
        """Another digit is found though no pause is in front of it."""
        self.assertEqual(digits_in([*digit("1", 0.1), *digit("2", 0.1), *digit("D", 0.1)]), "12D")


class NoDigitTests(SynchronousTestCase):
    """What must not be taken for digits."""

    def test_rows(self) -> None:
        """Too short, too weak, too far off, too much of one frequency, one alone, and a third one."""
        for duration, parts in (
            (0.018, ((770, -10.0), (1336, -10.0))),
            (0.2, ((770, -31.0), (1336, -31.0))),
            (0.2, ((770 * 1.035, -10.0), (1336 * 1.035, -10.0))),
            (0.2, ((770 * 0.965, -10.0), (1336 * 0.965, -10.0))),
            (0.2, ((770 * 1.035, -10.0), (1336, -10.0))),
            (0.2, ((770, -10.0), (1336, -23.0))),
            (0.2, ((770, -19.0), (1336, -10.0))),
            (0.2, ((770, -10.0),)),
            (0.2, ((1336, -10.0),)),
            (0.2, ((770, -10.0), (852, -10.0))),
            (0.2, ((770, -10.0), (1336, -10.0), (1633, -10.0))),
            (0.2, ((770, -10.0), (1336, -10.0), (2672, -16.0))),
        ):
            tone = sines(duration, *((frequency, level_, 1.0) for frequency, level_ in parts))
            self.assertEqual(digits_in([*silence(0.05), *tone, *silence(0.05)]), "", parts)

    def test_tones_of_the_network(self) -> None:
        """Ringback, busy and dial tones have none."""
        for country, name in (("us", "dial"), ("us", "busy"), ("uk", "ringback"), ("de", "busy"), ("fr", "dial")):
            self.assertEqual(digits_in(find_tone(country, name).samples(0, 8000)), "")

    def test_noise(self) -> None:
        """Loud noise has none."""
        chance = random.Random(3)
        self.assertEqual(digits_in(chance.gauss(0, 8000) for _ in range(16000)), "")

    def test_voices(self) -> None:
        """A quarter of a minute each of a deep and of a high babbling voice has none."""
        for seed, pitch in ((11, (80.0, 180.0)), (12, (150.0, 300.0))):
            self.assertEqual(digits_in(voice(seed, 15.0, pitch=pitch)), "")

    def test_digits_over_a_voice(self) -> None:
        """A digit is found though somebody speaks at the same time, 20 dB less loud, and nothing else is."""
        babble = voice(13, 3.2)
        factor = amplitude(-30.0) / amplitude(level(babble))
        weak = [sample * factor for sample in babble]
        number = "0123456789*#ABCD"
        samples: list[float] = []
        for name in number:
            samples += [*digit(name, 0.1), *silence(0.1)]
        self.assertEqual(digits_in(map(sum, zip(samples, weak, strict=False))), number)

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.lists(st.integers(-32768, 32767), max_size=300), max_size=10))
    def test_anything(self, pieces: list[list[int]]) -> None:
        """Any samples in any pieces do no harm to any detector."""
        heard: list[object] = []
        for detector in (
            DtmfDetector(heard.append),
            ToneDetector((440, 480), heard.append),
            SilenceDetector(heard.append),
        ):
            for piece in pieces:
                detector.feed(array("h", piece))


class ToneTests(SynchronousTestCase):
    """Single tones, and two together."""

    def changes(self, frequencies: Sequence[int], samples: Iterable[float], **how: float) -> list[tuple[float, bool]]:
        """Give what is told, and after how many seconds."""
        heard: list[tuple[float, bool]] = []
        at = 0.0
        detector = ToneDetector(frequencies, lambda is_on: heard.append((round(at, 2), is_on)), **how)
        whole = clipped(samples)
        for place in range(0, len(whole), 160):
            at += 0.02
            detector.feed(whole[place : place + 160])
        return heard

    def test_begin_and_end(self) -> None:
        """A tone is told when it has lasted, and when it is over."""
        for frequencies, least in (((425,), 0.1), ((1100,), 0.3), ((2100,), 0.5), ((350, 440), 0.1), ((440, 480), 0.2)):
            for level_ in (-40.0, -3.0):
                parts = [(frequency, level_, 1.0) for frequency in frequencies]
                samples = [*silence(0.33), *sines(1.0, *parts), *silence(0.4)]
                (begin, is_on), (end, is_still_on) = self.changes(frequencies, samples, least=least)
                self.assertEqual((is_on, is_still_on), (True, False))
                self.assertTrue(0.33 + least - 0.02 <= begin <= 0.33 + least + 0.1, (frequencies, begin))
                self.assertTrue(1.4 <= end <= 1.47, end)

    def test_cadence(self) -> None:
        """Each beat of a busy tone is told, of the fastest ones too."""
        for country, name, frequencies in (("de", "congestion", (425,)), ("us", "congestion", (480, 620))):
            samples = find_tone(country, name).samples(0, 8000 * 3)
            changes = [is_on for _, is_on in self.changes(frequencies, samples)]
            self.assertEqual(changes[:10], [True, False] * 5)

    def test_tolerance(self) -> None:
        """What is off by less than the tolerance is told, what is off by twice as much is not."""
        for offset, tolerance, count in ((15, 15.0, 1), (-15, 15.0, 1), (38, 38.0, 1), (-38, 38.0, 1), (45, 15.0, 0)):
            tone = sines(0.5, (1100 + offset, -10.0, 0.0))
            self.assertEqual(len(self.changes((1100,), tone, tolerance=tolerance)), count, offset)

    def test_what_is_not_the_tone(self) -> None:
        """Other tones, one of two, noise, a digit, speech and silence."""
        chance = random.Random(5)
        babble = voice(17, 4.0)
        for samples in (
            sines(1.0, (500, -10.0, 0.0)),
            sines(1.0, (440, -10.0, 0.0)),
            sines(1.0, (425, -10.0, 0.0), (900, -10.0, 0.0)),
            digit("5", 1.0),
            silence(1.0),
            [chance.gauss(0, 5000) for _ in range(16000)],
            babble,
        ):
            self.assertEqual(self.changes((350, 440), samples), [])
            self.assertEqual(self.changes((2100,), samples), [])
        for frequency in (440, 450, 460, 470, 480):
            self.assertEqual(self.changes((440, 480), sines(1.0, (frequency, -10.0, 0.0))), [], frequency)
        self.assertEqual(self.changes((425,), sines(0.09, (425, -10.0, 0.0)) + silence(0.2)), [])

    def test_what_is_refused(self) -> None:
        """No frequency, three of them, and numbers that are out of range."""
        for frequencies in ((), (400, 500, 600), (50,), (3950,), (440, 470)):
            self.assertRaises(ValueError, ToneDetector, frequencies, bool)
        for how in ({"least": 0.0}, {"least": 61.0}, {"tolerance": -1.0}, {"tolerance": 51.0}):
            self.assertRaises(ValueError, ToneDetector, (425,), bool, **how)


class SilenceTests(SynchronousTestCase):
    """Levels and pauses."""

    def test_level(self) -> None:
        """Each row: a level of a sine; and what has none."""
        for level_ in (3.0, 0.0, -10.0, -45.0):
            self.assertApproximates(level(clipped(sines(0.5, (1000, level_, 0.0)))), level_, 0.1)
        self.assertApproximates(level(array("h", [32767, -32767] * 100)), 3.14 + 3.01, 0.01)
        self.assertEqual((level(array("h")), level(array("h", [0] * 160))), (SILENCE, SILENCE))
        self.assertGreater(level(array("h", [1])), -90.0)

    def test_pauses(self) -> None:
        """A pause is told when it has lasted, and the sound after it at once."""
        heard: list[tuple[int, bool]] = []
        frame = 0
        detector = SilenceDetector(lambda is_silent: heard.append((frame, is_silent)))
        sound, faint = clipped(sines(0.02, (400, -40.0, 0.0))), clipped(sines(0.02, (400, -50.0, 0.0)))
        for frame in range(200):
            is_pause = 50 <= frame < 90 or 100 <= frame < 120 or frame >= 150
            detector.feed(faint if is_pause else sound)
        self.assertEqual(heard, [(74, True), (90, False), (174, True)])

    def test_silence_from_the_beginning(self) -> None:
        """Who never says anything is told to be silent, once."""
        heard: list[bool] = []
        detector = SilenceDetector(heard.append, level=-60.0, after=2.0)
        for count, expected in ((99, []), (1, [True]), (500, [True])):
            detector.feed(array("h", bytes(320 * count)))
            self.assertEqual(heard, expected)

    def test_what_is_refused(self) -> None:
        """Levels above all sound or below silence, and times that are out of range."""
        for how in ({"level": 4.0}, {"level": -128.0}, {"after": 0.0}, {"after": 3601.0}):
            self.assertRaises(ValueError, SilenceDetector, bool, **how)
