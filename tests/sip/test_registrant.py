"""Tests of `sipd.sip.registrant`: each row of its machine, rounds, waits, and what is absorbed."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.registrant import (
    MAX_EXPIRES,
    MAX_REST,
    Bound,
    Effects,
    Event,
    Failed,
    Failure,
    Lost,
    Over,
    Register,
    Registrant,
    RegistrationTiming,
    State,
    Unregister,
)

SILENCE = Failure(status=0, text="no answer")
FORBIDDEN = Failure(status=403, text="403 Forbidden")

#: How to get to each state.
PATHS: dict[State, tuple[tuple[Event, object], ...]] = {
    State.IDLE: (),
    State.TRYING: ((Event.START, None),),
    State.REGISTERED: ((Event.START, None), (Event.GRANTED, 600.0)),
    State.REFRESHING: ((Event.START, None), (Event.GRANTED, 600.0), (Event.DUE, None)),
    State.LEAVING: ((Event.START, None), (Event.GRANTED, 600.0), (Event.STOP, None)),
    State.STOPPED: ((Event.STOP, None),),
}


def no_chance(size_octets: int) -> bytes:
    """Give the middle: no jitter where it goes both ways, half of it where it goes one way."""
    return b"\x80" + bytes(size_octets - 1)


def registrant_in(state: State, registrars: int = 1, timing: RegistrationTiming | None = None) -> Registrant:
    """Give a registrant in a state."""
    registrant = Registrant(registrars, timing or RegistrationTiming(), no_chance)
    for event, argument in PATHS[state]:
        registrant.feed(event, argument)
    assert registrant.state is state, registrant.state
    return registrant


def wait_of(effects: Effects) -> float:
    """Give how long the effects have it wait until it asks again."""
    (wait,) = [one.duration for one in effects if isinstance(one, StartTimer) and one.event is Event.DUE]
    return wait


def asked(effects: Effects) -> list[int]:
    """Give which registrars the effects ask."""
    return [one.registrar for one in effects if isinstance(one, Register)]


class BindingTests(SynchronousTestCase):
    """How a binding is made and kept."""

    def test_begins(self) -> None:
        """It asks the first registrar for the expiry that is wished for."""
        registrant = registrant_in(State.IDLE)
        self.assertEqual(registrant.feed(Event.START), (Register(0, 3600, True),))
        self.assertEqual((registrant.asking, registrant.bound), (0, None))

    def test_second(self) -> None:
        """What is granted for a second is lost when nobody could refresh it before."""
        registrant = registrant_in(State.TRYING)
        registrant.feed(Event.GRANTED, 1.0)
        self.assertEqual(registrant.feed(Event.EXPIRY), (Lost(),))
        self.assertIsNone(registrant.bound)
        self.assertEqual(asked(registrant.feed(Event.DUE)), [0])
        self.assertIs(registrant.state, State.TRYING)

    def test_bound(self) -> None:
        """What is granted is refreshed at half of its time."""
        registrant = registrant_in(State.TRYING)
        self.assertEqual(
            registrant.feed(Event.GRANTED, 600.0),
            (StopTimers(), StartTimer(Event.EXPIRY, 600.0), StartTimer(Event.DUE, 300.0), Bound(0, 600.0, True)),
        )
        self.assertEqual((registrant.asking, registrant.bound), (None, 0))

    def test_refreshed(self) -> None:
        """A refresh is no new binding, and its time counts from then on."""
        registrant = registrant_in(State.REGISTERED)
        self.assertEqual(registrant.feed(Event.DUE), (Register(0, 3600, True),))
        self.assertIs(registrant.state, State.REFRESHING)
        self.assertEqual(registrant.feed(Event.GRANTED, 100.0)[1:], (
            StartTimer(Event.EXPIRY, 100.0), StartTimer(Event.DUE, 50.0), Bound(0, 100.0, False),
        ))  # fmt: skip

    @settings(deadline=None, max_examples=50)
    @given(st.integers(), st.integers(1, MAX_EXPIRES))
    def test_jitter(self, seed: int, granted: int) -> None:
        """A refresh comes between 45 and 55 percent of the time, never at once, and not always at the same part."""
        random = Random(seed)
        registrant = Registrant(1, RegistrationTiming(), random.randbytes)
        registrant.feed(Event.START)
        waits = []
        for _ in range(5):
            waits.append(wait_of(registrant.feed(Event.GRANTED, float(granted))))
            registrant.feed(Event.DUE)
        for wait in waits:
            self.assertTrue(wait == 1.0 or 0.45 * granted <= wait <= 0.55 * granted, waits)
        self.assertTrue(granted < 3 or len(set(waits)) > 1)

    def test_expired(self) -> None:
        """What is not refreshed in time is lost; what is under way goes on."""
        registrant = registrant_in(State.REFRESHING)
        self.assertEqual(registrant.feed(Event.EXPIRY), (Lost(),))
        self.assertEqual((registrant.state, registrant.asking, registrant.bound), (State.TRYING, 0, None))
        self.assertEqual(registrant.feed(Event.GRANTED, 600.0)[-1], Bound(0, 600.0, True))

    def test_hurry(self) -> None:
        """It asks at once, whether bound or waiting, but never twice at a time."""
        for state in (State.REGISTERED, State.TRYING, State.REFRESHING):
            registrant = registrant_in(state)
            if registrant.asking is not None:
                self.assertEqual(registrant.feed(Event.HURRY), ())
                registrant.feed(Event.FAILED, SILENCE)
            self.assertEqual(asked(registrant.feed(Event.HURRY)), [0])
            # The wait that was under way ends while it asks.
            self.assertEqual(registrant.feed(Event.DUE), ())


class FailureTests(SynchronousTestCase):
    """What becomes of failures."""

    def test_longer_expiry(self) -> None:
        """After 423 it asks for what is granted, and goes on asking for that (section 10.2.8)."""
        registrant = registrant_in(State.TRYING)
        brief = Failure(status=423, text="423 Interval Too Brief", min_expires=7200)
        self.assertEqual(registrant.feed(Event.FAILED, brief), (Register(0, 7200, True),))
        registrant.feed(Event.GRANTED, 7200.0)
        self.assertEqual(registrant.feed(Event.DUE), (Register(0, 7200, True),))

    def test_longer_expiry_only_once(self) -> None:
        """A registrar that wants ever more, less, too much, or does not say how much, has refused."""
        for shortest in (3600, 10, None, MAX_EXPIRES + 1):
            registrant = registrant_in(State.TRYING)
            brief = Failure(status=423, text="", min_expires=shortest)
            self.assertEqual(asked(registrant.feed(Event.FAILED, brief)), [], shortest)
        registrant = registrant_in(State.TRYING)
        self.assertEqual(asked(registrant.feed(Event.FAILED, Failure(status=423, text="", min_expires=7200))), [0])
        self.assertEqual(asked(registrant.feed(Event.FAILED, Failure(status=423, text="", min_expires=7201))), [])

    def test_back_off(self) -> None:
        """Each round in vain doubles the wait, to the limit; a binding begins anew."""
        registrant = registrant_in(State.TRYING, timing=RegistrationTiming(retry_base=10.0, retry_limit=60.0))
        waits = []
        for _ in range(5):
            waits.append(wait_of(registrant.feed(Event.FAILED, SILENCE)))
            registrant.feed(Event.DUE)
        self.assertEqual(waits, [7.5, 15.0, 30.0, 45.0, 45.0])
        registrant.feed(Event.GRANTED, 600.0)
        registrant.feed(Event.DUE)
        self.assertEqual(wait_of(registrant.feed(Event.FAILED, SILENCE)), 7.5)

    def test_told(self) -> None:
        """Each failure is told, with when it asks again."""
        registrant = registrant_in(State.TRYING)
        self.assertEqual(
            registrant.feed(Event.FAILED, SILENCE),
            (Failed(0, SILENCE, 22.5, False), StartTimer(Event.DUE, 22.5)),
        )

    def test_refusal(self) -> None:
        """One that does not pass by itself, such as 403, is asked again after the longest wait."""
        registrant = registrant_in(State.TRYING)
        self.assertEqual(registrant.feed(Event.FAILED, FORBIDDEN)[0], Failed(0, FORBIDDEN, 450.0, True))
        for status in (0, 408, 480, 500, 503, 504, 599):
            self.assertFalse(Failure(status=status, text="").is_lasting, status)
        for status in (302, 400, 401, 403, 404, 407, 423, 603):
            self.assertTrue(Failure(status=status, text="").is_lasting, status)

    def test_retry_after(self) -> None:
        """A registrar that wants to be left alone is, if not for ever."""
        for wish, least in ((200.0, 200.0), (10.0, 15.0), (1e9, MAX_REST)):
            registrant = registrant_in(State.TRYING)
            wait = wait_of(registrant.feed(Event.FAILED, Failure(status=503, text="", retry_after=wish)))
            self.assertGreaterEqual(wait, least)
            self.assertLessEqual(wait, least * 1.5)

    @settings(deadline=None, max_examples=100)
    @given(st.integers(), st.lists(st.sampled_from((0, 401, 403, 423, 500, 503)), min_size=1, max_size=30))
    def test_waits_are_bounded(self, seed: int, statuses: list[int]) -> None:
        """Whatever comes, it asks one registrar at a time, and waits neither for no time nor for ever."""
        registrant = Registrant(3, RegistrationTiming(), Random(seed).randbytes)
        registrant.feed(Event.START)
        for status in statuses:
            effects = registrant.feed(Event.FAILED, Failure(status=status, text="", retry_after=seed % 5000))
            if registrant.asking is None:
                self.assertTrue(15.0 <= wait_of(effects) <= 1.1 * MAX_REST)
                effects = registrant.feed(Event.DUE)
            self.assertEqual(len(asked(effects)), 1)


class FailoverTests(SynchronousTestCase):
    """Several registrars."""

    def test_next_one_at_once(self) -> None:
        """The next one is asked at once; only of the last one every answer is waited for."""
        registrant = registrant_in(State.IDLE, 3)
        self.assertEqual(registrant.feed(Event.START), (Register(0, 3600, False),))
        first = registrant.feed(Event.FAILED, SILENCE)
        self.assertEqual(first, (Failed(0, SILENCE, 0.0, False), Register(1, 3600, False)))
        self.assertEqual(registrant.feed(Event.FAILED, FORBIDDEN)[1], Register(2, 3600, True))
        last = registrant.feed(Event.FAILED, FORBIDDEN)
        # One of them may be there again soon.
        self.assertEqual(last[0], Failed(2, FORBIDDEN, 22.5, False))
        self.assertEqual(asked(registrant.feed(Event.DUE)), [0])

    def test_returns(self) -> None:
        """While a later one has the binding, the first is asked again before half of the time is over."""
        registrant = registrant_in(State.TRYING, 2, RegistrationTiming(return_after=300.0))
        registrant.feed(Event.FAILED, SILENCE)
        bound = registrant.feed(Event.GRANTED, 3600.0)
        self.assertEqual(bound[-1], Bound(1, 3600.0, True))
        self.assertTrue(285.0 <= wait_of(bound) <= 300.0)
        self.assertEqual(asked(registrant.feed(Event.DUE)), [0])
        # Not back yet: the one that has the binding refreshes it.
        self.assertEqual(asked(registrant.feed(Event.FAILED, SILENCE)), [1])
        self.assertEqual(registrant.feed(Event.GRANTED, 3600.0)[-1], Bound(1, 3600.0, False))
        registrant.feed(Event.DUE)
        self.assertEqual(registrant.feed(Event.GRANTED, 3600.0)[-1], Bound(0, 3600.0, False))

    def test_refresh_fails_over(self) -> None:
        """A refresh that fails goes to the next one, while the binding lasts."""
        registrant = registrant_in(State.REFRESHING, 2)
        self.assertEqual(asked(registrant.feed(Event.FAILED, SILENCE)), [1])
        self.assertEqual(registrant.bound, 0)

    def test_one_that_rests_is_left_out(self) -> None:
        """A registrar that wants to be left alone is passed over until its time has come."""
        registrant = registrant_in(State.TRYING, 2, RegistrationTiming(return_after=100.0))
        registrant.feed(Event.FAILED, Failure(status=503, text="", retry_after=150.0))
        registrant.feed(Event.GRANTED, 3600.0)
        self.assertEqual(asked(registrant.feed(Event.DUE)), [1])
        registrant.feed(Event.GRANTED, 3600.0)
        self.assertEqual(asked(registrant.feed(Event.DUE)), [0])

    def test_all_rest(self) -> None:
        """If all want to be left alone, the first whose time comes is asked then."""
        registrant = registrant_in(State.TRYING, 2)
        registrant.feed(Event.FAILED, Failure(status=503, text="", retry_after=500.0))
        wait = wait_of(registrant.feed(Event.FAILED, Failure(status=503, text="", retry_after=200.0)))
        self.assertTrue(200.0 <= wait <= 220.0, wait)
        self.assertEqual(asked(registrant.feed(Event.DUE)), [1])


class EndTests(SynchronousTestCase):
    """How it ends."""

    def test_leaves(self) -> None:
        """It unregisters, and is over when that is done, or takes too long."""
        for state in (State.REGISTERED, State.REFRESHING):
            for end in (Event.GONE, Event.LIMIT):
                registrant = registrant_in(state)
                if state is State.REFRESHING:
                    registrant.feed(Event.FAILED, SILENCE)
                leaving = registrant.feed(Event.STOP)
                self.assertEqual(leaving, (StopTimers(), StartTimer(Event.LIMIT, 3.0), Unregister()))
                self.assertEqual(registrant.feed(end), (StopTimers(), Over()))
                self.assertEqual((registrant.state, registrant.bound), (State.STOPPED, None))

    def test_waits_for_what_is_under_way(self) -> None:
        """A request that is under way has its answer before the next one goes out (section 10.2)."""
        for event, argument in ((Event.GRANTED, 60.0), (Event.FAILED, SILENCE)):
            for state in (State.TRYING, State.REFRESHING):
                registrant = registrant_in(state)
                self.assertEqual(registrant.feed(Event.STOP), (StopTimers(), StartTimer(Event.LIMIT, 3.0)))
                self.assertEqual(registrant.feed(event, argument), (Unregister(),))
                self.assertIsNone(registrant.asking)

    def test_never_begun(self) -> None:
        """What has not begun is over at once."""
        self.assertEqual(registrant_in(State.IDLE).feed(Event.STOP), (StopTimers(), Over()))

    def test_closed(self) -> None:
        """From everywhere it can be closed, without a word."""
        for state in State:
            if state is not State.STOPPED:
                registrant = registrant_in(state)
                self.assertEqual(registrant.feed(Event.CLOSE), (StopTimers(),))
                self.assertEqual((registrant.state, registrant.bound), (State.STOPPED, None))

    def test_absorbs_all_else(self) -> None:
        """These events, and no others, do something in these states."""
        asks = {"GRANTED", "FAILED", "DUE", "HURRY", "STOP", "CLOSE"}
        expected = {
            State.IDLE: {"START", "STOP", "CLOSE"},
            State.TRYING: asks,
            State.REGISTERED: {"DUE", "HURRY", "EXPIRY", "STOP", "CLOSE"},
            State.REFRESHING: {*asks, "EXPIRY"},
            State.LEAVING: {"GRANTED", "FAILED", "GONE", "LIMIT", "CLOSE"},
            State.STOPPED: set(),
        }
        for state in State:
            registrant = registrant_in(state)
            found = {event.name for event in Event if not registrant.absorbs(event)}
            self.assertEqual(found, expected[state], state)
