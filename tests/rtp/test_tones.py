"""Tests of `sipd.rtp.tones`."""

from __future__ import annotations

import math

from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.g711 import SAMPLE_RATE, tone_level
from sipd.rtp.tones import (
    DTMF_KEYPAD,
    TonePattern,
    ToneStep,
    country_tones,
    dtmf_pattern,
    find_tone,
    parse_tone_pattern,
)


class PatternTests(SynchronousTestCase):
    """Cadences and frequencies."""

    def test_european_ringback(self) -> None:
        """One second of 425 Hz, four of silence, and again."""
        pattern = find_tone("eu", "ringback")
        self.assertEqual(pattern.size, 5 * SAMPLE_RATE)
        for start in (0, 5 * SAMPLE_RATE):
            self.assertGreater(tone_level(pattern.samples(start, SAMPLE_RATE), 425), 0.99)
            self.assertFalse(any(pattern.samples(start + SAMPLE_RATE, 4 * SAMPLE_RATE)))

    def test_american_ringback(self) -> None:
        """Two seconds of 440 and 480 Hz in equal parts, four of silence."""
        pattern = find_tone("US", "ringback")
        sound = pattern.samples(0, 2 * SAMPLE_RATE)
        self.assertApproximates(tone_level(sound, 440), 0.5, 0.01)
        self.assertApproximates(tone_level(sound, 480), 0.5, 0.01)
        self.assertFalse(any(pattern.samples(2 * SAMPLE_RATE, 4 * SAMPLE_RATE)))

    def test_british_ringback(self) -> None:
        """Two rings of 0.4 s, 0.2 s apart, each three seconds."""
        pattern = find_tone("uk", "ringback")
        loud = [any(pattern.samples(place, 800)) for place in range(0, pattern.size, 800)]
        self.assertEqual(loud, [True] * 4 + [False] * 2 + [True] * 4 + [False] * 20)

    def test_frames_are_the_tone(self) -> None:
        """Frame by frame it is the same as in one piece, over the border of a period too."""
        for country, name in (("us", "dial"), ("uk", "congestion"), ("de", "busy")):
            pattern = find_tone(country, name)
            whole = pattern.samples(0, 3 * pattern.size)
            pieces = pattern.samples(0, 0)
            for place in range(0, len(whole), 160):
                pieces.extend(pattern.samples(place, min(160, len(whole) - place)))
            self.assertEqual(pieces, whole)

    def test_phase_is_exact(self) -> None:
        """An hour into a tone without end, each sample is what the sine says."""
        pattern = TonePattern(steps=(ToneStep(frequencies=(425,), duration=1.0),), level=3.14 - 10)
        start = 3600 * SAMPLE_RATE + 123
        amplitude = 32767 * 10 ** (-10 / 20)
        for place, sample in enumerate(pattern.samples(start, 160), start):
            self.assertApproximates(sample, amplitude * math.sin(2 * math.pi * 425 * (place % 320) / SAMPLE_RATE), 1)

    def test_level(self) -> None:
        """Two frequencies together are as powerful as one."""
        for frequencies in ((440,), (440, 480)):
            pattern = TonePattern(steps=(ToneStep(frequencies=frequencies, duration=1.0),), level=-10.0)
            samples = pattern.samples(0, SAMPLE_RATE)
            power = sum(sample * sample for sample in samples) / len(samples)
            self.assertApproximates(10 * math.log10(power / (32767**2 / 2)) + 3.14, -10.0, 0.02)

    def test_every_country_has_the_same_tones(self) -> None:
        """Each table has all tones, and each begins with sound that is not too loud."""
        for country, tones in country_tones().items():
            self.assertEqual(set(tones), {"ringback", "busy", "congestion", "dial"}, country)
            for pattern in tones.values():
                self.assertTrue(1000 < max(pattern.samples(0, 800)) < 12000)

    def test_what_is_refused(self) -> None:
        """Unknown countries and tones, frequencies that telephony does not carry, patterns without an end in sight."""
        self.assertRaises(ValueError, find_tone, "xx", "busy")
        self.assertRaises(ValueError, find_tone, "eu", "silly")
        self.assertRaises(ValueError, ToneStep, frequencies=(4000,), duration=1.0)
        self.assertRaises(ValueError, ToneStep, frequencies=(0,), duration=1.0)
        self.assertRaises(ValueError, ToneStep, duration=0.0)
        self.assertRaises(ValueError, TonePattern, steps=())
        self.assertRaises(ValueError, TonePattern, steps=(ToneStep(duration=40.0),) * 2)
        self.assertRaises(ValueError, TonePattern, steps=(ToneStep(duration=1.0),), level=1.0)


class DigitTests(SynchronousTestCase):
    """The tones of digits."""

    def test_keypad(self) -> None:
        """The row and the column of a digit tell its frequencies, which are equally loud."""
        for digit, low, high in (
            ("1", 697, 1209),
            ("5", 770, 1336),
            ("#", 941, 1477),
            ("0", 941, 1336),
            ("d", 941, 1633),
        ):
            sound = dtmf_pattern(digit).samples(0, 800)
            self.assertApproximates(tone_level(sound, low), 0.5, 0.02)
            self.assertApproximates(tone_level(sound, high), 0.5, 0.02)
        self.assertEqual(len({dtmf_pattern(digit).steps for digit in DTMF_KEYPAD}), 16)

    def test_length(self) -> None:
        """A pause follows the tone."""
        pattern = dtmf_pattern("7", duration=0.05, pause=0.07)
        self.assertEqual((len(pattern.period), any(pattern.period[400:])), (960, False))

    def test_what_is_no_digit(self) -> None:
        """Other characters, none and several are refused."""
        for text in ("E", "", "12", "\u0661"):
            self.assertRaises(ValueError, dtmf_pattern, text)
        self.assertRaises(ValueError, dtmf_pattern, "1", duration=0.0)


class TextTests(SynchronousTestCase):
    """Patterns as text."""

    def test_rows(self) -> None:
        """Each row: a text, and the frequencies and durations of its steps."""
        for text, expected in (
            ("440+480 2000/4000", [((440, 480), 2.0), ((), 4.0)]),
            ("425 500/500", [((425,), 0.5), ((), 0.5)]),
            ("400+450 400/200/400/2000", [((400, 450), 0.4), ((), 0.2), ((400, 450), 0.4), ((), 2.0)]),
            (" 950 330,1400  330 , 1800 330/1000", [((950,), 0.33), ((1400,), 0.33), ((1800,), 0.33), ((), 1.0)]),
            ("425", [((425,), 1.0)]),
        ):
            pattern = parse_tone_pattern(text, level=-20.0)
            self.assertEqual([(step.frequencies, step.duration) for step in pattern.steps], expected)
            self.assertEqual(pattern.level, -20.0)

    def test_what_is_refused(self) -> None:
        """What cannot be understood, and numbers that are out of range."""
        for text in (
            *("", ",", "425,", "425 500/", "425 /500", "425+ 500", "x 500", "425 -1", "425 1.5", "425 500 500"),
            *("4000 500", "0 500", "425 0", "425 60001", "425 999999", "425 40000/40000", "\u0664 500", "425 1/" * 9),
            ",".join(["425 1"] * 65),
        ):
            self.assertRaises(ValueError, parse_tone_pattern, text)
