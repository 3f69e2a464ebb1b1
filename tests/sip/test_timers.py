"""Tests of `sipd.sip.timers`."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.timers import Timer, TimerValues


class TimerValuesTests(SynchronousTestCase):
    """What is derived from T1, T2 and T4."""

    def test_defaults(self) -> None:
        """The defaults are those of RFC 3261 table 4; a 100 to a non-INVITE waits 3.5 s (RFC 4320)."""
        values = TimerValues()
        self.assertEqual((values.t1, values.t2, values.t4), (0.5, 4.0, 5.0))
        self.assertEqual((values.timeout, values.d), (32.0, 32.0))
        self.assertEqual((values.invite_trying, values.non_invite_trying), (0.2, 3.5))

    def test_derived_from_longer_t1(self) -> None:
        """A satellite link with T1 of 2 s times out after 128 s, and so long does timer D wait."""
        values = TimerValues(t1=2.0, t2=16.0)
        self.assertEqual((values.timeout, values.d, values.non_invite_trying), (128.0, 128.0, 14.0))

    def test_d_is_never_shorter_than_32_seconds(self) -> None:
        """With a short T1 timer D keeps its least value (section 17.1.1.2)."""
        values = TimerValues(t1=0.1)
        self.assertEqual((values.timeout, values.d), (6.4, 32.0))

    def test_no_timer_is_without_length(self) -> None:
        """Where T1 equals T2, a 100 to a non-INVITE waits for T1."""
        self.assertEqual(TimerValues(t1=4.0).non_invite_trying, 4.0)

    def test_refuses_nonsense(self) -> None:
        """Intervals that are not positive, and T2 below T1, are refused."""
        for t1, t2, t4 in (
            (0.0, 4.0, 5.0),
            (-1.0, 4.0, 5.0),
            (0.5, 0.4, 5.0),
            (0.5, 4.0, 0.0),
            (float("nan"), 4.0, 5.0),
        ):
            self.assertRaises(ValueError, TimerValues, t1=t1, t2=t2, t4=t4)

    def test_is_immutable(self) -> None:
        """Nobody changes the values that all transactions share."""
        values = TimerValues()
        with self.assertRaises(FrozenInstanceError):
            values.t1 = 1.0  # type: ignore[misc]


class TimerTests(SynchronousTestCase):
    """The timers as events."""

    def test_no_two_are_one(self) -> None:
        """Each name of the RFC is a member of its own, not an alias."""
        names = ["A", "B", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "TRYING", "EXPIRY", "CANCELLED"]
        self.assertEqual([timer.name for timer in Timer], names)
