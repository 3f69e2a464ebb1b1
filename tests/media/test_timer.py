"""Tests of `sipd.media.timer`: the timer of the system, which is waited for like a socket."""

from __future__ import annotations

import select

from twisted.trial.unittest import SynchronousTestCase

from sipd.media.timer import FineTimer, make_timer
from tests.media.support import PumpedReactor

_PATIENCE = 2.0


class TimerTests(SynchronousTestCase):
    """One thing at a time, a fraction of a millisecond later."""

    def setUp(self) -> None:
        self.reactor = PumpedReactor()
        timer = make_timer(self.reactor)
        if timer is None:
            self.skipTest("no timer descriptors on this system")
        self.timer: FineTimer = timer
        self.addCleanup(timer.close)
        self.called: list[str] = []

    def wait(self) -> None:
        """Wait until it is due, and let the reactor see that."""
        self.assertTrue(select.select([self.timer], [], [], _PATIENCE)[0])
        self.reactor.read_all()

    def test_calls(self) -> None:
        """What was asked for is called once; then something else may be asked for."""
        self.timer(0.0003, lambda: self.called.append("one"))
        self.wait()
        self.timer(0.0003, lambda: self.called.append("two"))
        self.wait()
        self.assertEqual(self.called, ["one", "two"])
        self.reactor.read_all()
        self.assertEqual(self.called, ["one", "two"])

    def test_cancelled(self) -> None:
        """What is called off is not called, and nobody waits for it any more."""
        self.timer(0.0003, lambda: self.called.append("one")).cancel()
        self.assertEqual(self.reactor.readers, set())
        self.timer(0.0003, lambda: self.called.append("two"))
        self.wait()
        self.assertEqual(self.called, ["two"])

    def test_reported_too_late(self) -> None:
        """A reactor that saw it due before it was set anew tells it so afterwards: what was set anew is not due."""
        self.timer(0.0003, lambda: self.called.append("one"))
        self.assertTrue(select.select([self.timer], [], [], _PATIENCE)[0])
        self.timer(60.0, lambda: self.called.append("two"))
        self.timer.doRead()
        self.assertEqual(self.called, [])

    def test_asked_for_again_from_within(self) -> None:
        """Whoever is called may ask for the next time."""

        def again() -> None:
            self.called.append("one")
            if len(self.called) < 3:
                self.timer(0.0003, again)

        again()
        self.wait()
        self.wait()
        self.assertEqual(self.called, ["one"] * 3)

    def test_closed(self) -> None:
        """A closed timer has left the reactor; to close it again is no harm."""
        self.timer(0.0003, lambda: self.called.append("one"))
        self.timer.close()
        self.assertEqual(self.reactor.readers, set())
        self.timer.close()
