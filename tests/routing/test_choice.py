"""In which order trunks are tried."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.routing.choice import Candidate, Strategy, put_in_order

A, B, C = Candidate("a", 3, 0.2), Candidate("b", 1, 0.1), Candidate("c", 0, 0.1)
CANDIDATES = st.lists(
    st.builds(Candidate, st.sampled_from("abcdef"), st.integers(0, 10**6), st.floats(0, 10)), max_size=8
)


def _none(count: int) -> bytes:
    raise AssertionError("nothing is to be left to chance here")


class ChoiceTests(SynchronousTestCase):
    """One strategy each."""

    def test_fixed_orders(self) -> None:
        """In sequence and by cost nothing is left to chance; of equal cost, the first written comes first."""
        for strategy, expected in ((Strategy.SEQUENCE, [A, B, C]), (Strategy.COST, [B, C, A])):
            self.assertEqual(put_in_order([A, B, C], strategy, _none), expected)

    def test_one_is_no_choice(self) -> None:
        """A single trunk, or none, takes no chance."""
        for candidates in ([], [A], [C], [A, C]):
            self.assertEqual(put_in_order(candidates, Strategy.WEIGHT, _none), candidates)

    def test_shares(self) -> None:
        """Over 1,000 calls the first ones are shared in proportion to the weights; one of weight 0 is always last."""
        random = Random(5)
        orders = [put_in_order([A, B, C], Strategy.WEIGHT, random.randbytes) for _ in range(1000)]
        counts = Counter(order[0].trunk for order in orders)
        self.assertEqual(set(counts), {"a", "b"})
        self.assertLess(abs(counts["a"] - 750), 50)
        self.assertEqual({order[-1].trunk for order in orders}, {"c"})

    def test_a_seed_decides(self) -> None:
        """The same randomness gives the same orders."""
        first, second = (
            [put_in_order([A, B, Candidate("d", 2)], Strategy.WEIGHT, random.randbytes) for _ in range(20)]
            for random in (Random(1), Random(1))
        )
        self.assertEqual(first, second)

    def test_ends_of_the_range(self) -> None:
        """The lowest and the highest random number choose the first and the last."""
        self.assertEqual(put_in_order([A, B], Strategy.WEIGHT, bytes)[0], A)
        self.assertEqual(put_in_order([A, B], Strategy.WEIGHT, lambda count: b"\xff" * count)[0], B)

    @given(CANDIDATES, st.sampled_from(Strategy), st.integers(0, 100))
    @settings(deadline=None, max_examples=200)
    def test_nobody_is_lost(self, candidates: list[Candidate], strategy: Strategy, seed: int) -> None:
        """Every order has exactly the trunks that were given."""
        found = put_in_order(candidates, strategy, Random(seed).randbytes)
        self.assertEqual(Counter(found), Counter(candidates))
