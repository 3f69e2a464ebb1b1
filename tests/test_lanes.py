"""Tests of `sipd.lanes`."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.lanes import LaneCall, LaneClock, with_lanes


class LaneClockTests(SynchronousTestCase):
    """Calls of few durations, asked for and cancelled in any order."""

    def setUp(self) -> None:
        """Make a clock, and record what is called, and when."""
        self.clock = Clock()
        self.made: list[tuple[float, str]] = []
        self.lanes = LaneClock(self.clock)

    def note(self, name: str) -> None:
        """Record that a call was made."""
        self.made.append((self.clock.seconds(), name))

    def ask(self, delay: float, name: str) -> LaneCall:
        """Ask for a call that is recorded."""
        return self.lanes.callLater(delay, self.note, name)

    def assert_nothing_left(self) -> None:
        """Check that no call is to come, here or below."""
        self.assertEqual((self.clock.getDelayedCalls(), self.lanes.getDelayedCalls(), len(self.lanes)), ([], [], 0))

    def test_interfaces(self) -> None:
        """It is what Twisted calls a clock, with its time and its delayed calls."""
        verifyObject(IReactorTime, self.lanes)
        call = self.ask(0.5, "x")
        verifyObject(IDelayedCall, call)
        self.clock.advance(0.25)
        self.assertEqual((self.lanes.seconds(), call.getTime(), call.active()), (0.25, 0.5, True))
        self.assertEqual(self.lanes.getDelayedCalls(), [call])

    def test_stands_on_another_once(self) -> None:
        """A clock that has lanes gets no others on top."""
        self.assertIs(with_lanes(self.lanes), self.lanes)
        self.assertEqual(with_lanes(self.clock).seconds(), 0.0)

    def test_in_time(self) -> None:
        """Each call is made once, when its delay is over, with what belongs to it."""
        self.ask(0.5, "x")
        self.lanes.callLater(32.0, self.note, name="y")
        self.clock.advance(0.25)
        self.ask(0.5, "z")
        self.clock.pump([0.25] * 200)
        self.assertEqual(self.made, [(0.5, "x"), (0.75, "z"), (32.0, "y")])
        self.assert_nothing_left()

    def test_at_once(self) -> None:
        """A call without delay is made as soon as the reactor goes on, not before."""
        self.ask(0, "x")
        self.assertEqual(self.made, [])
        self.clock.advance(0)
        self.assertEqual(self.made, [(0.0, "x")])

    def test_no_time_before_now(self) -> None:
        """A delay less than nothing is a mistake, and so is one that is no number."""
        for delay in (-0.5, float("nan")):
            self.assertRaises(ValueError, self.ask, delay, "x")
        self.assert_nothing_left()

    def test_one_delayed_call_for_each_duration(self) -> None:
        """A thousand calls of two durations are two delayed calls."""
        calls = [self.ask(duration, "x") for duration in (0.5, 32.0) for _ in range(500)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        for call in calls:
            call.cancel()
        self.assert_nothing_left()

    def test_cancelled(self) -> None:
        """Of three calls the first, the middle or the last is cancelled, and the others are made."""
        for cancelled in range(3):
            self.made.clear()
            calls = [self.ask(0.5, str(number)) for number in range(3)]
            calls[cancelled].cancel()
            self.clock.advance(0.5)
            self.assertEqual([name for _, name in self.made], [str(n) for n in range(3) if n != cancelled])
            self.assert_nothing_left()

    def test_what_is_over_cannot_be_changed(self) -> None:
        """As with a reactor's calls: one that was made or cancelled says so, and disturbs no other."""
        cancelled = self.ask(0.5, "x")
        cancelled.cancel()
        made = self.ask(0.5, "x")
        self.clock.advance(1)
        other = self.ask(0.5, "y")
        for call, error in ((cancelled, AlreadyCancelled), (made, AlreadyCalled)):
            self.assertFalse(call.active())
            self.assertRaises(error, call.cancel)
            self.assertRaises(error, call.reset, 1.0)
            self.assertRaises(error, call.delay, 1.0)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        other.cancel()
        self.assert_nothing_left()

    def test_reset(self) -> None:
        """A call that is set anew is made then, sooner or later than it was to be, and others when they were."""
        sooner, kept, later = (self.ask(0.5, name) for name in ("sooner", "kept", "later"))
        self.clock.advance(0.25)
        sooner.reset(0.125)
        later.reset(0.5)
        self.assertEqual((sooner.getTime(), later.getTime()), (0.375, 0.75))
        self.clock.pump([0.125] * 8)
        self.assertEqual(self.made, [(0.375, "sooner"), (0.5, "kept"), (0.75, "later")])
        self.assert_nothing_left()
        self.assertFalse(kept.active())

    def test_reset_alone(self) -> None:
        """The only call of a duration can be set anew to the same one."""
        call = self.ask(0.5, "x")
        self.clock.advance(0.25)
        call.reset(0.5)
        self.clock.pump([0.25] * 4)
        self.assertEqual(self.made, [(0.75, "x")])
        self.assert_nothing_left()

    def test_delay(self) -> None:
        """A call is put off from when it was to be made."""
        call = self.ask(0.5, "x")
        self.clock.advance(0.25)
        call.delay(0.25)
        self.clock.pump([0.25] * 4)
        self.assertEqual(self.made, [(0.75, "x")])

    def test_delay_of_one_that_is_late(self) -> None:
        """A call that waits for others to be made with, though it is due, can be put off by less than it is late."""
        self.ask(32.0, "x")
        self.clock.advance(0.125)
        call = self.ask(32.0, "x")
        self.clock.advance(31.875)
        self.clock.advance(0.25)
        self.assertTrue(call.active())
        call.delay(0.0625)
        self.clock.advance(0)
        self.assertEqual([name for _, name in self.made], ["x", "x"])
        self.assert_nothing_left()

    def test_holds_nothing_of_what_is_over(self) -> None:
        """Neither a call that was made nor one that was cancelled refers to what it called."""

        class Owner:
            def called(self, other: object) -> None:
                pass

        owner = Owner()
        made = self.lanes.callLater(0.5, owner.called, owner)
        cancelled = self.lanes.callLater(0.5, owner.called, other=owner)
        self.ask(0.5, "behind")
        cancelled.cancel()
        self.clock.advance(0.5)
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        self.assertEqual((gone(), made.active(), cancelled.active()), (None, False, False))

    def test_keeps_nothing_of_durations_that_are_over(self) -> None:
        """However many durations there were, nothing is left of them when their calls were made or cancelled."""
        for number in range(1, 100):
            call = self.ask(number / 8, "x")
            if number % 2:
                call.cancel()
        self.clock.advance(100)
        self.assertEqual(len(self.made), 49)
        self.assert_nothing_left()

    def test_many_that_are_cancelled_behind_one_that_is_not(self) -> None:
        """Calls of half an hour that are cancelled after seconds do not stay because an older one is still to come."""
        first = self.ask(1800.0, "first")
        for _ in range(1000):
            call = self.ask(1800.0, "x")
            last = self.ask(1800.0, "last")
            call.cancel()
            self.clock.advance(0.25)
            last.cancel()
        behind = self.ask(1800.0, "behind")
        self.assertLess(len(first.lane.calls), 200)
        self.assertEqual(self.lanes.getDelayedCalls(), [first, behind])
        self.clock.advance(1800.0)
        self.assertEqual([name for _, name in self.made], ["first", "behind"])
        self.assert_nothing_left()

    def test_cancelling_the_last_and_asking_for_another_meanwhile(self) -> None:
        """Two are due; the first to be made cancels the other and asks for one: that is made in its time, alone."""
        calls: list[LaneCall] = []

        def make() -> None:
            self.note("a")
            calls[1].cancel()
            self.ask(0.5, "c")

        calls.append(self.lanes.callLater(0.5, make))
        calls.append(self.ask(0.5, "b"))
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.made, [(0.5, "a"), (1.0, "c")])
        self.assert_nothing_left()

    def test_asking_meanwhile(self) -> None:
        """A call asked for by one that is made has its full delay, before and after others of its duration."""
        again = ["x", "x", "x"]

        def make(name: str) -> None:
            self.note(name)
            if again:
                self.lanes.callLater(0.5, make, again.pop())

        self.lanes.callLater(0.5, make, "a")
        self.clock.advance(0.25)
        self.lanes.callLater(0.5, make, "b")
        self.clock.pump([0.25] * 12)
        self.assertEqual([time for time, _ in self.made], [0.5, 0.75, 1.0, 1.25, 1.5])
        self.assert_nothing_left()

    def test_cancelling_meanwhile(self) -> None:
        """A call that is made can cancel those that are due at the same time, however many."""
        calls: list[LaneCall] = []

        def make(name: str) -> None:
            self.note(name)
            for other in calls:
                if other.active():
                    other.cancel()

        calls.extend(self.lanes.callLater(0.5, make, str(number)) for number in range(200))
        self.clock.advance(0.5)
        self.assertEqual([name for _, name in self.made], ["0"])
        self.assert_nothing_left()

    def test_a_late_clock(self) -> None:
        """After a stall all that is due is made at once, in order."""
        self.ask(0.5, "a")
        self.clock.advance(0.1)
        self.ask(0.5, "b")
        self.clock.advance(10)
        self.assertEqual([name for _, name in self.made], ["a", "b"])

    def test_rounding(self) -> None:
        """Times that are no binary fractions come once, and never leave a call behind."""
        for number in range(100):
            self.ask(0.7, str(number))
            self.clock.advance(0.1)
        self.clock.pump([0.1] * 10)
        self.assertEqual([name for _, name in self.made], [str(number) for number in range(100)])
        self.assert_nothing_left()

    def test_those_that_follow_closely_are_made_together(self) -> None:
        """Calls that fall due one after another do not each wake the process; none is late by more than 1/64."""
        for number in range(100):
            self.ask(32.0, str(number))
            self.clock.advance(0.0625)
        self.clock.pump([0.0625] * 600)
        self.assertEqual([name for _, name in self.made], [str(number) for number in range(100)])
        lateness = [seconds - number * 0.0625 - 32.0 for number, (seconds, _) in enumerate(self.made)]
        self.assertEqual((min(lateness), max(lateness)), (0.0, 0.4375))
        self.assertEqual(len({seconds for seconds, _ in self.made}), 14)
        self.assert_nothing_left()

    def test_long_ones_are_late_by_half_a_second_at_most(self) -> None:
        """The end of a call that was paid for does not wait for a part of an hour."""
        for number in range(100):
            self.ask(3600.0, str(number))
            self.clock.advance(0.0625)
        self.clock.advance(3590.0)
        self.clock.pump([0.0625] * 400)
        lateness = [seconds - number * 0.0625 - 3600.0 for number, (seconds, _) in enumerate(self.made)]
        self.assertEqual((len(lateness), min(lateness), max(lateness)), (100, 0.0, 0.4375))

    def test_one_that_raises_does_not_stop_the_others(self) -> None:
        """What is behind a call that fails is still made."""
        self.lanes.callLater(0.5, lambda: 1 / 0)
        self.ask(0.5, "b")
        self.assertRaises(ZeroDivisionError, self.clock.advance, 0.5)
        self.clock.advance(0)
        self.assertEqual([name for _, name in self.made], ["b"])
        self.assert_nothing_left()

    @settings(deadline=None, max_examples=300)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((0.125, 0.25, 0.375, 0.75)),  # a delay
                st.sampled_from((0.0, 0.0625, 0.125, 0.25, 0.375)),  # time that passes then
                st.one_of(st.none(), st.integers(0, 30)),  # which to change then
                st.sampled_from((None, 0.125, 0.25, 0.75)),  # whether to cancel it, or else what to set it to
            ),
            max_size=30,
        )
    )
    def test_makes_what_a_reactor_would_make(self, steps: list[tuple[float, float, int | None, float | None]]) -> None:
        """Whatever is asked for, cancelled and set anew, the same calls are made at the same times as by the clock."""
        clock = Clock()
        lanes = LaneClock(clock)
        made: list[tuple[float, int]] = []
        expected: list[tuple[float, int]] = []
        ours: list[LaneCall] = []
        theirs = []
        for number, (delay, passes, changed, anew) in enumerate(steps):
            ours.append(lanes.callLater(delay, lambda name: made.append((clock.seconds(), name)), number))
            theirs.append(clock.callLater(delay, lambda name: expected.append((clock.seconds(), name)), number))
            clock.advance(passes)
            if changed is not None and changed < len(ours) and theirs[changed].active():
                for call in (ours[changed], theirs[changed]):
                    if anew is None:
                        call.cancel()
                    else:
                        call.reset(anew)
        clock.pump([0.0625] * 40)
        self.assertEqual(sorted(made), sorted(expected))
        self.assertEqual((clock.getDelayedCalls(), len(lanes)), ([], 0))
