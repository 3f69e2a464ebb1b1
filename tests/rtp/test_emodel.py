"""Tests of `sipd.rtp.emodel`: values of ITU-T G.107, G.109 and G.113, and what holds for all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.emodel import G711_CONCEALING, G711_PLAIN, Equipment, equipment_of, estimate_mos, mos_of, rating

CODECS = ("PCMU", "G722", "opus", "G729", "G723", "GSM", "iLBC")


class RatingTests(SynchronousTestCase):
    """R, term by term."""

    def test_perfect(self) -> None:
        """G.711 without loss and delay has 93.2, and the score 4.41."""
        self.assertAlmostEqual(rating(G711_PLAIN, loss=0.0, delay=0.0), 93.2)
        self.assertAlmostEqual(mos_of(93.2), 4.41, places=2)

    def test_scores(self) -> None:
        """The limits of the categories of G.109 have the scores that it gives them, rounded down or up."""
        for value, score in ((90, 4.34), (80, 4.02), (70, 3.60), (60, 3.10), (50, 2.58)):
            self.assertAlmostEqual(mos_of(value), score, places=2)

    def test_ends_of_the_scale(self) -> None:
        """The scale ends at 1.0 and 4.5."""
        for value, score in ((-20, 1.0), (0, 1.0), (3, 1.0), (100, 4.5), (120, 4.5)):
            self.assertEqual(mos_of(value), score)

    def test_delay(self) -> None:
        """Rows of delay and R, by the curve of the model: flat at first, then steep."""
        for delay, value in (
            (0.02, 92.8),
            (0.05, 92.2),
            (0.1, 91.2),
            (0.15, 90.2),
            (0.2, 86.6),
            (0.3, 73.6),
            (0.4, 63.3),
        ):
            self.assertAlmostEqual(rating(G711_PLAIN, loss=0.0, delay=delay), value, places=1)

    def test_loss(self) -> None:
        """Rows of loss and R, without delay: concealment is worth more than a codec."""
        for loss, plain, concealing, g729 in (
            (0.0, 93.2, 93.2, 82.2),
            (0.01, 75.3, 89.6, 78.0),
            (0.02, 63.0, 86.2, 74.2),
            (0.05, 42.1, 77.4, 64.7),
            (0.1, 26.8, 66.1, 53.2),
        ):
            for equipment, value in ((G711_PLAIN, plain), (G711_CONCEALING, concealing), (equipment_of("G729"), g729)):
                self.assertAlmostEqual(rating(equipment, loss=loss, delay=0.0), value, places=1)

    def test_bursts(self) -> None:
        """Loss in bursts is worse than the same loss at random: by hand, with a ratio of 2."""
        impairment = 95 * 2 / (2 / 2 + 4.3)
        self.assertAlmostEqual(rating(G711_PLAIN, loss=0.02, burst_ratio=2.0, delay=0.0), 93.2 - impairment)
        self.assertEqual(
            rating(G711_PLAIN, loss=0.02, burst_ratio=0.0, delay=0.0), rating(G711_PLAIN, loss=0.02, delay=0.0)
        )


class EstimateTests(SynchronousTestCase):
    """The score from what a relay measures."""

    def test_good_call(self) -> None:
        """A short way without loss is as good as it gets."""
        self.assertAlmostEqual(estimate_mos(G711_CONCEALING, loss=0.0, round_trip=0.01), 4.39, places=2)

    def test_bad_calls(self) -> None:
        """A satellite, much jitter, or loss without concealment are each heard."""
        good = estimate_mos(G711_PLAIN, loss=0.0)
        for bad in (
            estimate_mos(G711_PLAIN, loss=0.0, round_trip=0.6),
            estimate_mos(G711_PLAIN, loss=0.0, jitter=0.15),
            estimate_mos(G711_PLAIN, loss=0.03),
        ):
            self.assertLess(bad, good - 0.5)

    def test_little_jitter_costs_nothing(self) -> None:
        """The smallest buffer takes 10 ms of jitter."""
        self.assertEqual(estimate_mos(G711_PLAIN, loss=0.0, jitter=0.01), estimate_mos(G711_PLAIN, loss=0.0))

    def test_codecs(self) -> None:
        """A codec is known by its name in any case; one that is not known is taken as PCMU."""
        self.assertIs(equipment_of("pcma"), equipment_of("PCMU"))
        self.assertIs(equipment_of("L16"), equipment_of("PCMU"))
        scores = [estimate_mos(equipment_of(name), loss=0.0) for name in ("PCMU", "GSM-EFR", "G729", "G723", "GSM")]
        self.assertEqual(scores, sorted(scores, reverse=True))

    def test_delay_is_the_sum(self) -> None:
        """Half of the round trip, twice the jitter and the codec make the delay."""
        score = estimate_mos(G711_PLAIN, loss=0.01, round_trip=0.3, jitter=0.04)
        self.assertAlmostEqual(score, mos_of(rating(G711_PLAIN, loss=0.01, delay=0.15 + 0.08 + 0.02)))

    @settings(deadline=None, max_examples=200)
    @given(
        st.sampled_from(CODECS),
        st.floats(-1, 2),
        st.floats(0, 1000),
        st.floats(-1, 1e9),
        st.floats(-1, 1e9),
    )
    def test_is_on_the_scale(
        self, codec: str, loss: float, burst_ratio: float, round_trip: float, jitter: float
    ) -> None:
        """Whatever was measured, the score is between 1.0 and 4.5."""
        score = estimate_mos(
            equipment_of(codec), loss=loss, burst_ratio=burst_ratio, round_trip=round_trip, jitter=jitter
        )
        self.assertGreaterEqual(score, 1.0)
        self.assertLessEqual(score, 4.5)

    @settings(deadline=None, max_examples=200)
    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 2), st.floats(0, 2))
    def test_more_is_worse(self, loss: float, more_loss: float, delay: float, more_delay: float) -> None:
        """More loss or more delay is never better."""
        equipment = Equipment(impairment=5.0, robustness=10.0, delay=0.02)
        less = rating(equipment, loss=min(loss, more_loss), delay=min(delay, more_delay))
        more = rating(equipment, loss=max(loss, more_loss), delay=max(delay, more_delay))
        self.assertGreaterEqual(less + 1e-9, more)
