"""The measure by which the interop tests believe that audio arrived."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.interop.tones import RATE_HZ, frames_of_tone, read_wave, samples_of_tone, share_of_tone, write_wave


class ToneTests(SynchronousTestCase):
    """A tone is found where it is, and nowhere else."""

    def test_own_frequency(self) -> None:
        """Nearly all energy of a tone lies at its frequency."""
        self.assertGreater(share_of_tone(samples_of_tone(440, 1.0), 440), 0.99)

    def test_other_frequency(self) -> None:
        """Almost nothing of a tone lies at another frequency."""
        self.assertLess(share_of_tone(samples_of_tone(440, 1.0), 1000), 0.01)

    def test_silence(self) -> None:
        """Silence, and no samples at all, hold no tone."""
        self.assertEqual(share_of_tone([0] * RATE_HZ, 440), 0.0)
        self.assertEqual(share_of_tone([], 440), 0.0)

    def test_noise(self) -> None:
        """A square wave of another period is not taken for a tone."""
        self.assertLess(share_of_tone([8000, 8000, 8000, -8000, -8000, -8000] * 1000, 440), 0.01)

    def test_mixture(self) -> None:
        """Two equal tones have about half of the energy each."""
        mixed = [low + high for low, high in zip(samples_of_tone(440, 1), samples_of_tone(1000, 1), strict=True)]
        for frequency_hz in (440, 1000):
            self.assertAlmostEqual(share_of_tone(mixed, frequency_hz), 0.5, places=2)

    def test_frames(self) -> None:
        """Frames of a tone and of silence are told apart, and from those of another tone, of two, and of noise."""
        low, high = samples_of_tone(440, 0.5), samples_of_tone(1000, 0.5)
        both = [one + other for one, other in zip(low, high, strict=True)]
        self.assertEqual(frames_of_tone([*low, *[0] * 1600, *low[50:]], 440), (49, 10))
        for other in (high, both, [8000, 8000, 8000, -8000, -8000, -8000] * 600):
            self.assertEqual(frames_of_tone(other, 440), (0, 0))

    @given(st.integers(300, 3400), st.integers(300, 3400))
    @settings(deadline=None, max_examples=20)
    def test_tells_tones_apart(self, played: int, sought: int) -> None:
        """Any two telephone tones at least 20 Hz apart are told apart within half a second of audio."""
        share = share_of_tone(samples_of_tone(played, 0.5), sought)
        if played == sought:
            self.assertGreater(share, 0.95)
        elif abs(played - sought) >= 20:
            self.assertLess(share, 0.05)

    def test_file(self) -> None:
        """What is written to a file is read from it."""
        path = Path(self.mktemp())
        samples = samples_of_tone(700, 0.1)
        write_wave(path, samples)
        self.assertEqual(read_wave(path), samples)
