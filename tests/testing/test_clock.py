"""The simulated clock."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.errors import ResourcesExhaustedError
from sipd.testing.clock import SimulatedClock


class SimulatedClockTests(SynchronousTestCase):
    """Time moves when it is told to, and every call is made once and in order."""

    def setUp(self) -> None:
        """Make a clock that stands at 100 seconds."""
        self.clock = SimulatedClock(100.0)
        self.made: list[tuple[float, str]] = []

    def note(self, name: str) -> None:
        """Write down that a call was made, and when."""
        self.made.append((self.clock.seconds(), name))

    def test_standing_still(self) -> None:
        """No call is made while the time stands still; what fell due is made late, in order, and sees the late time."""
        clock = SimulatedClock()
        seen: list[tuple[str, float]] = []
        for name, delay in (("second", 2.0), ("first", 1.0), ("third", 9.0)):
            clock.callLater(delay, lambda name: seen.append((name, clock.seconds())), name)
        clock.stand_still(5.0)
        self.assertEqual((seen, clock.seconds()), ([], 5.0))
        clock.advance(0.0)
        self.assertEqual(seen, [("first", 5.0), ("second", 5.0)])
        clock.advance(4.0)
        self.assertEqual(seen[2:], [("third", 9.0)])
        self.assertRaises(ValueError, clock.stand_still, -1.0)

    def test_interfaces(self) -> None:
        """Clock and call provide Twisted's interfaces."""
        verifyObject(IReactorTime, self.clock)
        verifyObject(IDelayedCall, self.clock.callLater(1, self.note, "x"))

    def test_each_call_sees_its_own_time(self) -> None:
        """A call made on the way sees the time at which it was due, not the end of the way."""
        self.clock.callLater(2.0, self.note, "later")
        self.clock.callLater(1.0, self.note, "sooner")
        self.clock.advance(5.0)
        self.assertEqual(self.made, [(101.0, "sooner"), (102.0, "later")])
        self.assertEqual(self.clock.seconds(), 105.0)

    def test_equal_times_keep_their_order(self) -> None:
        """Calls due at the same time are made in the order in which they were scheduled."""
        for name in "abcdef":
            self.clock.callLater(1.0, self.note, name)
        self.clock.advance(1.0)
        self.assertEqual("".join(name for _, name in self.made), "abcdef")

    def test_call_made_by_a_call(self) -> None:
        """A call with no delay made inside a call is made at the same time, after those already due."""
        self.clock.callLater(1.0, lambda: self.clock.callLater(0, self.note, "inner"))
        self.clock.callLater(1.0, self.note, "outer")
        self.clock.advance(1.0)
        self.assertEqual(self.made, [(101.0, "outer"), (101.0, "inner")])

    def test_cancelled_call_is_not_made(self) -> None:
        """A cancelled call is gone, and cannot be cancelled or moved again."""
        call = self.clock.callLater(1.0, self.note, "never")
        call.cancel()
        self.assertFalse(call.active())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(2.0)
        self.assertEqual(self.made, [])
        for again in (call.cancel, lambda: call.reset(1), lambda: call.delay(1)):
            self.assertRaises(AlreadyCancelled, again)

    def test_made_call_cannot_be_changed(self) -> None:
        """A call that was made cannot be cancelled or moved."""
        call = self.clock.callLater(1.0, self.note, "once")
        self.clock.advance(1.0)
        for again in (call.cancel, lambda: call.reset(1), lambda: call.delay(1)):
            self.assertRaises(AlreadyCalled, again)

    def test_reset_and_delay(self) -> None:
        """`reset` counts from now, in both directions; `delay` counts from when the call was due."""
        sooner, later, delayed = (self.clock.callLater(10.0, self.note, name) for name in ("s", "l", "d"))
        self.clock.advance(5.0)
        sooner.reset(1.0)
        later.reset(20.0)
        delayed.delay(2.0)
        self.assertEqual([call.getTime() for call in self.clock.getDelayedCalls()], [106.0, 112.0, 125.0])
        self.clock.run()
        self.assertEqual(self.made, [(106.0, "s"), (112.0, "d"), (125.0, "l")])

    def test_error_does_not_stop_the_others(self) -> None:
        """Every due call is made and the time arrives; then the error is raised, once."""

        def fail() -> None:
            raise KeyError("broken")

        self.clock.callLater(1.0, fail)
        self.clock.callLater(2.0, self.note, "after")
        self.assertRaises(KeyError, self.clock.advance, 3.0)
        self.assertEqual(self.made, [(102.0, "after")])
        self.assertEqual(self.clock.seconds(), 103.0)
        self.clock.advance(1.0)

    def test_several_errors_come_as_a_group(self) -> None:
        """No error hides another."""

        def fail(error: Exception) -> None:
            raise error

        self.clock.callLater(1.0, fail, KeyError("one"))
        self.clock.callLater(1.0, fail, ValueError("two"))
        group = self.assertRaises(ExceptionGroup, self.clock.run)
        self.assertEqual([type(error) for error in group.exceptions], [KeyError, ValueError])

    def test_run_jumps_until_nothing_is_left(self) -> None:
        """`run` makes every call, however far away, and stands at the last one."""
        self.clock.callLater(86400.0, self.note, "tomorrow")
        self.assertEqual(self.clock.run(), 1)
        self.assertEqual(self.clock.seconds(), 86500.0)
        self.assertEqual(self.clock.run(), 0)

    def test_run_until_a_time(self) -> None:
        """`run(until=...)` makes what is due then and stands there, also with nothing to do."""
        self.clock.callLater(1.0, self.note, "in")
        self.clock.callLater(3.0, self.note, "out")
        self.assertEqual(self.clock.run(until=102.0), 1)
        self.assertEqual(self.clock.seconds(), 102.0)
        self.clock.run(until=50.0)
        self.assertEqual(self.clock.seconds(), 102.0)

    def test_run_is_bounded(self) -> None:
        """What never rests ends with an error instead of a hang."""

        def again() -> None:
            self.clock.callLater(1.0, again)

        again()
        self.assertRaises(ResourcesExhaustedError, self.clock.run, max_events=50)
        self.assertEqual(self.clock.seconds(), 150.0)

    def test_run_until_a_condition(self) -> None:
        """`run_until` stops at the first moment that meets the condition, or at its limit."""
        for _ in range(3):
            self.clock.callLater(1.0 + len(self.clock.getDelayedCalls()), self.note, "x")
        self.assertTrue(self.clock.run_until(lambda: len(self.made) == 2, limit=10.0))
        self.assertEqual(self.clock.seconds(), 102.0)
        self.assertFalse(self.clock.run_until(lambda: len(self.made) == 9, limit=10.0))
        self.assertEqual(self.clock.seconds(), 112.0)

    def test_refuses_the_past(self) -> None:
        """Neither a delay nor a step can be negative."""
        self.assertRaises(ValueError, self.clock.callLater, -0.1, self.note, "x")
        self.assertRaises(ValueError, self.clock.advance, -1)

    def test_twisted_runs_on_it(self) -> None:
        """Twisted's own timing helpers take it as their clock."""
        loop = LoopingCall(self.note, "tick")
        loop.clock = self.clock
        loop.start(1.0, now=False)
        waiting: Deferred[str] = deferLater(self.clock, 2.5, lambda: "done")
        self.clock.advance(3.0)
        loop.stop()
        self.assertEqual(self.made, [(101.0, "tick"), (102.0, "tick"), (103.0, "tick")])
        self.assertEqual(self.successResultOf(waiting), "done")

    def test_cancelled_calls_do_not_pile_up(self) -> None:
        """Ten thousand calls made and cancelled leave next to nothing behind."""
        for _ in range(10000):
            self.clock.callLater(60.0, self.note, "x").cancel()
        self.assertLess(len(self.clock._heap), 2000)
        self.assertEqual(self.clock.getDelayedCalls(), [])


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 9)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("reset"), st.tuples(st.integers(0, 30), st.integers(0, 9))),
        st.tuples(st.just("advance"), st.integers(0, 5)),
    ),
    max_size=60,
)


class ComparisonTests(SynchronousTestCase):
    """`twisted.internet.task.Clock` is the oracle."""

    @settings(deadline=None, max_examples=200)
    @given(_STEPS)
    def test_makes_the_same_calls_at_the_same_times(self, steps: list[tuple[str, object]]) -> None:
        """Any history of calls, cancellations and resets makes the same calls as on Twisted's clock."""
        self.assertEqual(self.history(SimulatedClock(), steps), self.history(Clock(), steps))

    def history(self, clock: SimulatedClock | Clock, steps: list[tuple[str, object]]) -> list[set[int]]:
        """Perform the steps; give which calls were made at each of them."""
        calls: list[IDelayedCall] = []
        made: list[set[int]] = []

        def note(number: int) -> None:
            made[-1].add(number)

        for kind, argument in steps:
            made.append(set())
            if kind == "call" and isinstance(argument, int):
                calls.append(clock.callLater(argument, note, len(calls)))
            elif kind == "advance" and isinstance(argument, int):
                clock.advance(argument)
            else:
                index, delay = argument if isinstance(argument, tuple) else (argument, None)
                if index < len(calls) and calls[index].active():
                    if delay is None:
                        calls[index].cancel()
                    else:
                        calls[index].reset(delay)
        return made
