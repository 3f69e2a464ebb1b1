"""Tests of `sipd.transaction.queue`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.timers import Timer
from sipd.transaction.queue import RunningTimer, TimerQueue


class TimerQueueTests(SynchronousTestCase):
    """Timers of few durations, started and stopped in any order."""

    def setUp(self) -> None:
        """Make a queue that records what fires, and when."""
        self.clock = Clock()
        self.fired: list[tuple[float, str, Timer]] = []
        self.queue: TimerQueue[str] = TimerQueue(self.clock, self.fire)

    def fire(self, owner: str, timer: Timer) -> None:
        """Record that a timer fired."""
        self.fired.append((self.clock.seconds(), owner, timer))

    def test_fires_in_time(self) -> None:
        """Each timer fires once, when its duration is over, with its owner and its name."""
        self.queue.start("x", Timer.A, 0.5)
        self.queue.start("y", Timer.B, 32.0)
        self.clock.advance(0.25)
        self.queue.start("z", Timer.A, 0.5)
        self.clock.pump([0.25] * 200)
        self.assertEqual(self.fired, [(0.5, "x", Timer.A), (0.75, "z", Timer.A), (32.0, "y", Timer.B)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_delayed_call_for_each_duration(self) -> None:
        """A thousand timers of two durations are two delayed calls."""
        timers = [self.queue.start("x", Timer.A, duration) for duration in (0.5, 32.0) for _ in range(500)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 2)
        for timer in timers:
            timer.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_timers_do_not_fire(self) -> None:
        """Of three timers the first, the middle or the last is stopped, and the others fire."""
        for stopped in range(3):
            self.fired.clear()
            timers = [self.queue.start(str(number), Timer.A, 0.5) for number in range(3)]
            timers[stopped].stop()
            self.clock.advance(0.5)
            self.assertEqual([owner for _, owner, _ in self.fired], [str(n) for n in range(3) if n != stopped])
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_twice_or_late_does_nothing(self) -> None:
        """A timer that is over can be stopped again."""
        timer = self.queue.start("x", Timer.A, 0.5)
        timer.stop()
        timer.stop()
        late = self.queue.start("x", Timer.A, 0.5)
        self.clock.advance(1)
        other = self.queue.start("y", Timer.A, 0.5)
        late.stop()
        self.assertEqual(len(self.fired), 1)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        other.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_does_not_hold_its_owner(self) -> None:
        """Neither a timer that fired nor one that was stopped refers to its owner."""
        fired = self.queue.start("x", Timer.A, 0.5)
        stopped = self.queue.start("y", Timer.A, 0.5)
        self.queue.start("z", Timer.A, 0.5)
        stopped.stop()
        self.clock.advance(0.5)
        self.assertEqual((fired.owner, stopped.owner), (None, None))

    def test_keeps_nothing_of_what_is_over(self) -> None:
        """However many durations there were, nothing is left of them when their timers fired or were stopped."""
        for number in range(1, 100):
            timer = self.queue.start("x", Timer.A, number / 8)
            if number % 2:
                timer.stop()
        self.clock.advance(100)
        self.assertEqual((len(self.fired), len(self.queue)), (49, 0))

    def test_stopping_the_last_and_starting_another_while_firing(self) -> None:
        """Two timers are due; the first to fire stops the other and starts one: it fires in its time, alone."""
        timers: list[RunningTimer[str]] = []

        def fire(owner: str, timer: Timer) -> None:
            self.fire(owner, timer)
            if owner == "a":
                timers[1].stop()
                self.queue.start("c", timer, 0.5)

        self.queue = TimerQueue(self.clock, fire)
        timers.extend(self.queue.start(name, Timer.A, 0.5) for name in "ab")
        self.clock.pump([0.5] * 4)
        self.assertEqual(self.fired, [(0.5, "a", Timer.A), (1.0, "c", Timer.A)])
        self.assertEqual((len(self.queue), self.clock.getDelayedCalls()), (0, []))

    def test_starting_while_firing(self) -> None:
        """A timer started by one that fires runs its full time, before and after others of its duration."""
        again = ["x", "x", "x"]

        def fire(owner: str, timer: Timer) -> None:
            self.fire(owner, timer)
            if again:
                self.queue.start(again.pop(), timer, 0.5)

        self.queue = TimerQueue(self.clock, fire)
        self.queue.start("a", Timer.A, 0.5)
        self.clock.advance(0.25)
        self.queue.start("b", Timer.A, 0.5)
        self.clock.pump([0.25] * 12)
        self.assertEqual([time for time, _, _ in self.fired], [0.5, 0.75, 1.0, 1.25, 1.5])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_while_firing(self) -> None:
        """A timer that fires can stop those that are due at the same time."""
        timers: list[RunningTimer[str]] = []

        def fire(owner: str, timer: Timer) -> None:
            self.fire(owner, timer)
            for other in timers:
                other.stop()

        self.queue = TimerQueue(self.clock, fire)
        timers.extend(self.queue.start(name, Timer.A, 0.5) for name in "abc")
        self.clock.advance(0.5)
        self.assertEqual([owner for _, owner, _ in self.fired], ["a"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_late_clock(self) -> None:
        """After a stall all that is due fires at once, in order."""
        self.queue.start("a", Timer.A, 0.5)
        self.clock.advance(0.1)
        self.queue.start("b", Timer.A, 0.5)
        self.clock.advance(10)
        self.assertEqual([owner for _, owner, _ in self.fired], ["a", "b"])

    def test_rounding(self) -> None:
        """Times that are no binary fractions fire once, and never leave a timer behind."""
        for number in range(100):
            self.queue.start(str(number), Timer.A, 0.7)
            self.clock.advance(0.1)
        self.clock.pump([0.1] * 10)
        self.assertEqual([owner for _, owner, _ in self.fired], [str(number) for number in range(100)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_those_that_follow_closely_fire_together(self) -> None:
        """Timers that fall due one after another do not each wake the process; none is late by more than 1/64."""
        for number in range(100):
            self.queue.start(str(number), Timer.H, 32.0)
            self.clock.advance(0.0625)
        self.clock.pump([0.0625] * 600)
        self.assertEqual([owner for _, owner, _ in self.fired], [str(number) for number in range(100)])
        lateness = [seconds - number * 0.0625 - 32.0 for number, (seconds, _, _) in enumerate(self.fired)]
        self.assertEqual((min(lateness), max(lateness)), (0.0, 0.4375))
        self.assertEqual(len({seconds for seconds, _, _ in self.fired}), 14)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_raises_does_not_stop_the_others(self) -> None:
        """What is behind a timer whose owner fails still fires."""

        def fire(owner: str, timer: Timer) -> None:
            self.fire(owner, timer)
            if owner == "a":
                raise ValueError("a bug")

        self.queue = TimerQueue(self.clock, fire)
        self.queue.start("a", Timer.A, 0.5)
        self.queue.start("b", Timer.A, 0.5)
        self.assertRaises(ValueError, self.clock.advance, 0.5)
        self.clock.advance(0)
        self.assertEqual([owner for _, owner, _ in self.fired], ["a", "b"])

    @settings(deadline=None, max_examples=200)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from((0.125, 0.25, 0.375, 0.75)),  # a duration
                st.sampled_from((0.0, 0.0625, 0.125, 0.25, 0.375)),  # time that passes then
                st.one_of(st.none(), st.integers(0, 30)),  # which to stop then
            ),
            max_size=30,
        )
    )
    def test_fires_what_a_call_for_each_would_fire(self, steps: list[tuple[float, float, int | None]]) -> None:
        """Whatever is started and stopped, the same timers fire at the same times as with a delayed call for each."""
        clock = Clock()
        fired: list[tuple[float, int]] = []
        queue: TimerQueue[int] = TimerQueue(clock, lambda owner, _: fired.append((clock.seconds(), owner)))
        expected: list[tuple[float, int]] = []
        timers = []
        calls = []
        for number, (duration, passes, stopped) in enumerate(steps):
            timers.append(queue.start(number, Timer.A, duration))
            calls.append(clock.callLater(duration, lambda owner=number: expected.append((clock.seconds(), owner))))
            clock.advance(passes)
            if stopped is not None and stopped < len(timers) and calls[stopped].active():
                timers[stopped].stop()
                calls[stopped].cancel()
        clock.pump([0.0625] * 40)
        self.assertEqual(sorted(fired), sorted(expected))
        self.assertEqual(clock.getDelayedCalls(), [])
