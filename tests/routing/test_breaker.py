"""Tests of `sipd.routing.breaker`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.routing.breaker import Breaker


class BreakerTests(SynchronousTestCase):
    """Failures in a row."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.breaker = Breaker(self.clock.seconds, failures=3, rest=10.0)

    def ask_in_vain(self, count: int) -> list[bool]:
        """Ask so often, each time in vain; give what is said of each failure."""
        outcomes = []
        for _ in range(count):
            self.assertTrue(self.breaker.allow())
            outcomes.append(self.breaker.failed())
        return outcomes

    def test_rests_after_failures_in_a_row(self) -> None:
        """The third failure in a row begins the rest; an answer in between begins the count anew."""
        self.assertEqual(self.ask_in_vain(2), [False, False])
        self.assertTrue(self.breaker.allow())
        self.assertFalse(self.breaker.succeeded())
        self.assertEqual(self.ask_in_vain(3), [False, False, True])
        self.assertFalse(self.breaker.allow())
        self.assertTrue(self.breaker.is_resting)

    def test_one_question_after_the_rest(self) -> None:
        """After the rest one question is let through; until it is answered no other is."""
        self.ask_in_vain(3)
        self.clock.advance(9.9)
        self.assertFalse(self.breaker.allow())
        self.clock.advance(0.1)
        self.assertTrue(self.breaker.allow())
        self.assertFalse(self.breaker.allow())
        self.assertTrue(self.breaker.succeeded())
        self.assertFalse(self.breaker.is_resting)
        self.assertTrue(self.breaker.allow())
        self.assertTrue(self.breaker.allow())

    def test_rests_again(self) -> None:
        """If the question after the rest fails, too, there is another rest, which is no news."""
        self.ask_in_vain(3)
        self.clock.advance(10)
        self.assertTrue(self.breaker.allow())
        self.assertFalse(self.breaker.failed())
        self.assertFalse(self.breaker.allow())
        self.clock.advance(10)
        self.assertTrue(self.breaker.allow())
