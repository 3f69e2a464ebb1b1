"""Tests of `sipd.rtp.mixing`."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.g711 import tone, tone_level
from sipd.rtp.mixing import mix, mix_minus

SAMPLES = st.lists(st.integers(-32768, 32767), max_size=12).map(lambda samples: array("h", samples))


def naive(frames: list[array[int]]) -> list[int]:
    """Add sample by sample."""
    size = max(map(len, frames), default=0)
    sums = [sum(frame[place] for frame in frames if place < len(frame)) for place in range(size)]
    return [max(-32768, min(32767, value)) for value in sums]


class MixTests(SynchronousTestCase):
    """Sums of all."""

    def test_rows(self) -> None:
        """Each row: frames, and their sum."""
        for frames, expected in (
            ([], []),
            ([[]], []),
            ([[], []], []),
            ([[1, 2]], [1, 2]),
            ([[1, 2], [3, 4]], [4, 6]),
            ([[1, 2, 3], [3], []], [4, 2, 3]),
            ([[30000, -30000], [30000, -30000]], [32767, -32768]),
            ([[30000], [30000], [-30000]], [30000]),
        ):
            self.assertEqual(mix([array("h", frame) for frame in frames]).tolist(), expected)

    def test_what_it_is_given_stays(self) -> None:
        """The sum of one is another array than that."""
        frame = array("h", [1, 2, 3])
        mixed = mix([frame])
        mixed[0] = 7
        self.assertEqual(frame[0], 1)

    @given(st.lists(SAMPLES, max_size=6))
    def test_sum(self, frames: list[array[int]]) -> None:
        """It is the clipped sum, whatever the samples and lengths, and changes nothing that it is given."""
        before = [frame[:] for frame in frames]
        self.assertEqual(mix(frames).tolist(), naive(frames))
        self.assertEqual(frames, before)


class MixMinusTests(SynchronousTestCase):
    """Sums of all but one."""

    def test_nobody_and_one(self) -> None:
        """Who is alone hears silence."""
        self.assertEqual(mix_minus({}), {})
        self.assertEqual(mix_minus({"a": array("h", [1, 2])}), {"a": array("h", [0, 0])})

    def test_two(self) -> None:
        """Two hear each other, also where both together would be too loud."""
        one, other = array("h", [32767, -32768, 5]), array("h", [32767, -32768, 7])
        self.assertEqual(mix_minus({1: one, 2: other}), {1: other, 2: one})

    def test_listeners(self) -> None:
        """Those who say nothing hear all, each in a frame of its own."""
        heard = mix_minus({"a": array("h", [1, 2]), "b": array("h", [10, 20]), "c": array("h"), "d": array("h")})
        self.assertEqual(heard["a"].tolist(), [10, 20])
        self.assertEqual(heard["c"].tolist(), [11, 22])
        self.assertEqual(heard["c"], heard["d"])
        self.assertIsNot(heard["c"], heard["d"])

    def test_tones(self) -> None:
        """Of three tones each one hears the two others in equal parts."""
        tones = {frequency: tone(frequency, 0.1, amplitude=4000) for frequency in (440, 1000, 1700)}
        for participant, frame in mix_minus(tones).items():
            for frequency in tones:
                expected = 0.0 if frequency == participant else 0.5
                self.assertApproximates(tone_level(frame, frequency), expected, 0.01)

    @given(st.dictionaries(st.integers(), SAMPLES, max_size=6))
    def test_all_others(self, frames: dict[int, array[int]]) -> None:
        """Each one hears the clipped sum of all others, as long as the longest frame."""
        before = {participant: frame[:] for participant, frame in frames.items()}
        heard = mix_minus(frames)
        self.assertEqual(frames, before)
        self.assertEqual(set(heard), set(frames))
        for participant, frame in heard.items():
            others = [
                other if name != participant else array("h", bytes(2 * len(other))) for name, other in frames.items()
            ]
            self.assertEqual(frame.tolist(), naive(others))
