"""Tests of `sipd.guards.overload`."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.guards.overload import LoadMeter, OverloadControl, OverloadSettings, Weight

SETTINGS = OverloadSettings(lag=0.2, cpu=0.8, last_lag=2.0, interval=0.25)


class ControlTests(SynchronousTestCase):
    """What is taken, by what is measured."""

    def setUp(self) -> None:
        self.control = OverloadControl(SETTINGS)

    def feed(self, number: int, *, lag: float = 0.0, cpu: float = 0.0) -> None:
        """Measure the same so often."""
        for _ in range(number):
            self.control.measured(lag, cpu)

    def test_nothing_to_do(self) -> None:
        """Without load everything is taken."""
        self.feed(10, lag=0.01, cpu=0.3)
        self.assertFalse(self.control.is_overloaded)
        self.assertTrue(all(self.control.admits(weight, 0.999) for weight in Weight))

    def test_one_pause_is_no_overload(self) -> None:
        """A single late measurement, as of a garbage collection, refuses nothing."""
        self.feed(1, lag=0.4)
        self.assertFalse(self.control.is_overloaded)

    def test_new_calls_are_refused_first(self) -> None:
        """Calls give way first, other requests when half of the calls do, refreshes and emergency calls never."""
        self.feed(4, cpu=1.0)
        share = self.control.share
        self.assertTrue(0.5 < share < 1.0, share)
        self.assertFalse(self.control.admits(Weight.CALL, share))
        self.assertTrue(self.control.admits(Weight.CALL, share - 0.01))
        self.assertTrue(self.control.admits(Weight.REQUEST, 0.999))
        self.feed(50, cpu=1.0)
        self.assertFalse(self.control.admits(Weight.CALL, 0.2))
        self.assertFalse(self.control.admits(Weight.REQUEST, 0.2))
        self.assertTrue(self.control.admits(Weight.REFRESH, 0.999))
        self.assertTrue(self.control.admits(Weight.EMERGENCY, 0.999))

    def test_hysteresis(self) -> None:
        """Just below the limit nothing changes; well below it the share rises a little at a time, up to all."""
        self.feed(20, cpu=1.0)
        self.feed(20, cpu=0.75)
        low = self.control.share
        self.feed(20, cpu=0.75)
        self.assertEqual(self.control.share, low)
        shares = []
        for _ in range(40):
            self.feed(1, cpu=0.3)
            shares.append(self.control.share)
        self.assertEqual(shares, sorted(shares))
        self.assertLess(max(after - before for before, after in pairwise(shares)), 0.051)
        self.assertFalse(self.control.is_overloaded)

    def test_settles_at_the_limit(self) -> None:
        """Offered twice what it can do, it takes about half: load follows what is taken."""
        shares, loads = [], []
        for _ in range(400):
            load = min(1.0, 1.6 * self.control.share)
            self.feed(1, cpu=load)
            shares.append(self.control.share)
            loads.append(load)
        self.assertTrue(0.4 < sum(shares[200:]) / 200 < 0.6, sum(shares[200:]) / 200)
        self.assertLess(sum(loads[200:]) / 200, 0.85)

    def test_last_step(self) -> None:
        """Far behind, nothing new is taken at all, until it is well below that again."""
        self.feed(30, lag=3.0)
        self.assertTrue(self.control.is_last)
        self.assertFalse(any(self.control.admits(weight, 0.0) for weight in Weight))
        self.assertIn("0% of new calls", self.control.explain())
        self.feed(1, lag=1.5)
        self.assertTrue(self.control.is_last)
        self.feed(5)
        self.assertFalse(self.control.is_last)
        self.assertTrue(self.control.admits(Weight.EMERGENCY, 0.999))
        self.assertFalse(self.control.admits(Weight.CALL, 0.999))

    def test_a_clock_set_forward(self) -> None:
        """One hour of lag in one measurement does not keep anybody from an emergency call for long."""
        self.feed(1, lag=3600.0)
        self.feed(4)
        self.assertTrue(self.control.admits(Weight.EMERGENCY, 0.999))
        self.feed(60)
        self.assertFalse(self.control.is_overloaded)

    def test_no_limits(self) -> None:
        """0 is no limit."""
        self.control = OverloadControl(OverloadSettings(lag=0.0, cpu=0.0, last_lag=0.0))
        self.feed(50, lag=9.0, cpu=1.0)
        self.assertFalse(self.control.is_overloaded)

    def test_explains(self) -> None:
        """It says what is measured, and what may be."""
        self.feed(50, lag=0.4, cpu=0.9)
        self.assertEqual(self.control.explain(), "lag 0.40 s of 0.2, CPU 90% of 80%; 1% of new calls taken")

    @given(st.lists(st.tuples(st.floats(-5, 100), st.floats(-1, 2)), max_size=80))
    @settings(deadline=None, max_examples=100)
    def test_any_history(self, history: list[tuple[float, float]]) -> None:
        """Whatever is measured, the share is one, and who is worth more is never refused before who is worth less."""
        control = OverloadControl(SETTINGS)
        for lag, cpu in history:
            control.measured(lag, cpu)
            self.assertTrue(0.0 < control.share <= 1.0)
            for draw in (0.0, 0.3, 0.7, 0.999):
                taken = [control.admits(weight, draw) for weight in (Weight.CALL, Weight.REQUEST, Weight.EMERGENCY)]
                self.assertEqual(taken, sorted(taken))
        for _ in range(100):
            control.measured(0.0, 0.0)
        self.assertFalse(control.is_overloaded)


class MeterTests(SynchronousTestCase):
    """What is measured."""

    def test_lag_and_processor(self) -> None:
        """It finds by how much it was called too late, and the part of the time that was used."""
        clock, control = Clock(), OverloadControl(SETTINGS)
        meter = LoadMeter(clock, lambda: clock.seconds() * 0.5, control)
        meter.start()
        meter.start()
        clock.pump([0.35] * 40)
        self.assertAlmostEqual(control.lag, 0.1, places=3)
        self.assertAlmostEqual(control.cpu, 0.5, places=3)
        meter.stop()
        meter.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
