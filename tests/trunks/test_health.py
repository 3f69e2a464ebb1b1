"""When a server of a trunk is up and when it is down."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import LocalError
from sipd.trunks.health import ServerHealth
from sipd.trunks.settings import HealthSettings, TrunkServer, TrunkSettings
from tests.trunks.support import FIRST, SECOND, TrunksCase, asked, static

SETTINGS = HealthSettings(failures=3, successes=2)
#: A server that is asked every 30 s.
OPTIONS = HealthSettings(interval=30.0, failures=2, successes=2)


class HysteresisTests(SynchronousTestCase):
    """What answers and silences make of it."""

    def test_down_and_up(self) -> None:
        """So many failures in a row, so many successes in a row, and one line each."""
        health = ServerHealth(SETTINGS)
        self.assertEqual([health.failed("silence") for _ in range(5)], [False, False, True, False, False])
        self.assertEqual((health.is_up, health.reason, health.failures), (False, "silence, 3 times", 5))
        self.assertEqual([health.succeeded() for _ in range(4)], [False, True, False, False])
        self.assertEqual((health.is_up, health.reason), (True, "it answers, 2 times"))

    def test_in_a_row(self) -> None:
        """One success among failures, and one failure among successes, begins the count anew."""
        health = ServerHealth(SETTINGS)
        for _ in range(10):
            health.failed("silence")
            health.failed("silence")
            health.succeeded()
        self.assertTrue(health.is_up)
        for _ in range(3):
            health.failed("silence")
        for _ in range(10):
            health.succeeded()
            health.failed("silence")
        self.assertFalse(health.is_up)

    def test_recovers(self) -> None:
        """One that calls try again is down again after one more failure."""
        health = ServerHealth(SETTINGS)
        for _ in range(3):
            health.failed("silence")
        health.recover()
        self.assertTrue(health.is_up)
        self.assertTrue(health.failed("silence"))

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.booleans(), max_size=60), st.integers(1, 5), st.integers(1, 5))
    def test_changes_only_after_enough_of_one_kind(self, answers: list[bool], failures: int, successes: int) -> None:
        """Each change is told once, and comes with the last of so many equal outcomes."""
        health = ServerHealth(HealthSettings(failures=failures, successes=successes))
        for index, answers_well in enumerate(answers, 1):
            before = health.is_up
            changed = health.succeeded() if answers_well else health.failed("silence")
            self.assertEqual(changed, health.is_up is not before)
            if changed:
                needed = successes if answers_well else failures
                self.assertEqual(answers[index - needed : index], [answers_well] * needed)

    def test_nowhere_to_go(self) -> None:
        """A trunk without servers and registrars is a mistake."""
        self.assertRaises(LocalError, TrunkSettings, name="carrier")


class OptionsTests(TrunksCase):
    """Servers are asked whether they are there."""

    def test_asked_again_and_again(self) -> None:
        """Each is asked soon, and then at intervals of which up to a fifth is left out."""
        self.trunks(static(health=OPTIONS))
        times = []
        for _ in range(5):
            self.answer_options(200)
            times.append(self.clock.seconds())
        waits = [later - earlier for earlier, later in pairwise(times)]
        self.assertLess(times[0], 2.3)
        self.assertTrue(all(23.9 <= wait <= 30.2 for wait in waits), waits)
        self.assertEqual(self.watcher.take(), [])
        request = self.them.request("OPTIONS")
        self.assertEqual((request.uri, request.to.uri), (FIRST, FIRST))

    def test_silence_and_return(self) -> None:
        """A server that says nothing is down, has no calls, and is up again when it has answered often enough."""
        trunks = self.trunks(static(health=OPTIONS))
        self.clock.advance(100.0)
        self.assertEqual(
            self.watcher.take(), [f"carrier {FIRST} down: no answer to OPTIONS (No final response), 2 times"]
        )
        found = trunks.attempt("carrier", "123", asked())
        self.assertEqual(found, f"{FIRST} is down (no answer to OPTIONS (No final response), 2 times)")
        self.answer_options(200)
        self.assertEqual(self.watcher.take(), [])
        self.answer_options(404)
        self.assertEqual(self.watcher.take(), [f"carrier {FIRST} up: it answers, 2 times"])
        self.assertNotIsInstance(trunks.attempt("carrier", "123", asked()), str)

    def test_statuses(self) -> None:
        """Which answers show that it is there is a matter of settings; at first all below 500."""
        self.trunks(static(health=OPTIONS))
        for status in (200, 302, 401, 404, 405, 486):
            self.answer_options(status, times=2)
        self.assertEqual(self.watcher.take(), [])
        self.answer_options(500, times=2)
        self.assertEqual(self.watcher.take(), [f"carrier {FIRST} down: 500 to OPTIONS, 2 times"])

    def test_other_statuses(self) -> None:
        """Settings may take another view."""
        self.trunks(static(health=HealthSettings(interval=30.0, failures=1, up_statuses=frozenset((200, 501)))))
        self.answer_options(501)
        self.assertEqual(self.watcher.take(), [])
        self.answer_options(404)
        self.assertEqual(self.watcher.take(), [f"carrier {FIRST} down: 404 to OPTIONS"])

    def test_one_at_a_time(self) -> None:
        """The next question waits for the end of the one before."""
        self.trunks(static(health=HealthSettings(interval=5.0)))
        self.clock.advance(33.0)
        self.assertEqual(len({one.call_id for one in self.them.take()}), 1)

    def test_overload(self) -> None:
        """503 with Retry-After is a wish, too."""
        trunks = self.trunks(static(health=OPTIONS))
        self.answer_options(503, headers=[("Retry-After", "120")])
        self.assertEqual(self.watcher.take(), [f"carrier {FIRST} rests 120"])
        self.assertEqual(trunks.attempt("carrier", "123", asked()), f"{FIRST} rests for 120 s")

    def test_stops(self) -> None:
        """Stopped, it leaves nothing behind, whether it is asking or waiting."""
        for pause in (0.0, 2.5, 40.0):
            trunks = self.trunks(static(health=OPTIONS))
            self.clock.advance(pause)
            self.successResultOf(trunks.stop())
            asked_before = {one.call_id for one in self.them.take()}
            self.settle()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertLessEqual({one.call_id for one in self.them.take()}, asked_before)


class CallTests(TrunksCase):
    """Calls show whether a server is there."""

    def test_failures_of_calls(self) -> None:
        """No response and 503 count; every other response shows that it is there."""
        trunks = self.trunks(static())
        for status in (503, 0, 486, 0, 503, 200, 0, 0):
            trunks.attempt_ended("carrier", status)
        self.assertEqual(self.watcher.take(), [])
        trunks.attempt_ended("carrier", 503)
        self.assertEqual(self.watcher.take(), [f"carrier {FIRST} down: 503 to a call, 3 times"])
        self.assertIsInstance(trunks.attempt("carrier", "1", asked()), str)

    def test_recovery_without_options(self) -> None:
        """Where nobody asks, calls try it again after a while."""
        trunks = self.trunks(static(health=HealthSettings(interval=0.0, failures=2, recovery=60.0)))
        for _ in range(2):
            trunks.attempt_ended("carrier", 0)
        self.clock.advance(59.0)
        self.assertIsInstance(trunks.attempt("carrier", "1", asked()), str)
        self.clock.advance(2.0)
        self.assertNotIsInstance(trunks.attempt("carrier", "1", asked()), str)
        trunks.attempt_ended("carrier", 0)
        self.assertEqual(
            self.watcher.take(),
            [
                f"carrier {FIRST} down: no response to a call, 2 times",
                f"carrier {FIRST} up: calls try it again",
                f"carrier {FIRST} down: no response to a call, 2 times",
            ],
        )

    def test_rest(self) -> None:
        """503 with Retry-After has it rest for that time, not for ever, and is no failure."""
        trunks = self.trunks(static())
        for _ in range(5):
            trunks.attempt_ended("carrier", 503, FIRST, 40.0)
        self.assertEqual(trunks.attempt("carrier", "1", asked()), f"{FIRST} rests for 40 s")
        self.clock.advance(40.0)
        self.assertNotIsInstance(trunks.attempt("carrier", "1", asked()), str)
        trunks.attempt_ended("carrier", 503, FIRST, 1e9)
        self.assertEqual(self.watcher.take()[-1], f"carrier {FIRST} rests 600")

    def test_which_server_it_was(self) -> None:
        """Of several servers the one counts that is named; if none is, all are asked at once."""
        trunks = self.trunks(static("carrier", TrunkServer(FIRST), TrunkServer(SECOND), health=OPTIONS))
        for wire in (self.them, self.other):
            self.answer_options(200, wire=wire)
        trunks.attempt_ended("carrier", 0, SECOND)
        trunks.attempt_ended("carrier", 0, SECOND)
        self.assertEqual(self.watcher.take(), [f"carrier {SECOND} down: no response to a call, 2 times"])
        self.them.take()
        self.other.take()
        trunks.attempt_ended("carrier", 486)
        self.clock.advance(0.2)
        self.assertEqual((self.them.kinds(), self.other.kinds()), ([], []))
        trunks.attempt_ended("carrier", 0)
        self.clock.advance(0.2)
        self.assertEqual((self.them.kinds(), self.other.kinds()), (["OPTIONS"], ["OPTIONS"]))

    def test_trunk_that_is_gone(self) -> None:
        """A call may outlive its trunk."""
        trunks = self.trunks()
        trunks.attempt_ended("carrier", 503, FIRST, 10.0)
        self.assertRaises(KeyError, trunks.attempt, "carrier", "1", asked())
