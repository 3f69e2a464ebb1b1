"""Tests of `sipd.guards.buckets`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.buckets import BucketTable, Rate, TokenBucket

TWO = Rate(per_second=2.0, burst=3.0)


class RateTests(SynchronousTestCase):
    """What a number in a configuration means."""

    def test_of(self) -> None:
        """The burst is what a second brings, at least one; 0 is no bound."""
        self.assertEqual(Rate.of(10), Rate(per_second=10, burst=10))
        self.assertEqual(Rate.of(0.1), Rate(per_second=0.1, burst=1.0))
        self.assertIsNone(Rate.of(0))


class BucketTests(SynchronousTestCase):
    """One bucket."""

    def test_burst_and_rate(self) -> None:
        """The burst passes at once, then one for each half second."""
        bucket = TokenBucket(TWO, 0.0)
        self.assertEqual([bucket.take(0.0) for _ in range(4)], [True, True, True, False])
        self.assertEqual(bucket.wait(0.0), 0.5)
        self.assertEqual([bucket.take(at) for at in (0.25, 0.5, 0.75, 1.0)], [False, True, False, True])

    def test_a_clock_that_goes_back(self) -> None:
        """It takes nothing away, gives nothing, and the bucket fills from the new time on."""
        bucket = TokenBucket(TWO, 1000.0)
        for _ in range(3):
            bucket.take(1000.0)
        self.assertFalse(bucket.take(10.0))
        self.assertTrue(bucket.take(10.5))

    def test_another_rate(self) -> None:
        """The tokens that there are stay, up to the new burst."""
        bucket = TokenBucket(TWO, 0.0)
        bucket.change(Rate(per_second=1.0, burst=1.0), 0.0)
        self.assertEqual([bucket.take(0.0), bucket.take(0.0)], [True, False])

    @given(
        per_second=st.floats(0.1, 100.0),
        burst=st.floats(1.0, 50.0),
        pauses=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=60),
    )
    @settings(deadline=None, max_examples=100)
    def test_never_more_than_it_says(self, per_second: float, burst: float, pauses: list[float]) -> None:
        """In no stretch of time is more taken than the burst and what the time brings; and `wait` tells the truth."""
        bucket = TokenBucket(Rate(per_second=per_second, burst=burst), 0.0)
        now, taken = 0.0, []
        for pause in pauses:
            now += pause
            is_there = bucket.wait(now) == 0.0
            self.assertEqual(bucket.take(now), is_there)
            if is_there:
                taken.append(now)
        for first, begin in enumerate(taken):
            for last in range(first, len(taken)):
                most = burst + (taken[last] - begin) * per_second
                self.assertLessEqual(last - first + 1, most + 1e-6)


class TableTests(SynchronousTestCase):
    """A bucket for each key."""

    def test_keys_are_apart(self) -> None:
        """What one takes is not missing for another; asking takes nothing, and makes no bucket."""
        table = BucketTable()
        self.assertEqual(table.wait("a", TWO, 0.0), 0.0)
        self.assertEqual(len(table), 0)
        self.assertEqual([table.take("a", TWO, 0.0) for _ in range(4)], [True, True, True, False])
        self.assertEqual(table.wait("a", TWO, 0.0), 0.5)
        self.assertTrue(table.take("b", TWO, 0.0))

    def test_a_rate_that_changes(self) -> None:
        """A bucket goes by the rate that it is asked with."""
        table = BucketTable()
        table.take("a", TWO, 0.0)
        self.assertTrue(table.take("a", Rate(per_second=1.0, burst=1.0), 0.0))
        self.assertEqual(table.wait("a", Rate(per_second=1.0, burst=1.0), 0.0), 1.0)

    def test_bound(self) -> None:
        """At the bound the one that was not used for the longest time is forgotten, and begins full again."""
        table = BucketTable(max_buckets=2)
        for _ in range(3):
            table.take("old", TWO, 0.0)
        table.take("new", TWO, 1.0)
        table.take("old", TWO, 2.0)
        table.take("third", TWO, 3.0)
        self.assertEqual(len(table), 2)
        self.assertEqual([table.take("new", TWO, 1.0) for _ in range(3)], [True, True, True])
