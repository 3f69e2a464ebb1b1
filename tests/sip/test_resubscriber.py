"""Tests of `sipd.sip.resubscriber`: what it adds to a registrant."""

from __future__ import annotations

from enum import Enum
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.sip import resubscriber
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.refer import SubscriptionState
from sipd.sip.registrant import Event, Failure, Over, Register, RegistrationTiming, State
from sipd.sip.resubscriber import Ended, Resubscriber, wait_after
from tests.sip.test_registrant import PATHS, no_chance


def machine_in(state: State) -> Resubscriber:
    """Give one in a state."""
    machine = Resubscriber(RegistrationTiming(expires=600), no_chance)
    for event, argument in PATHS[state]:
        machine.feed(event, argument)
    assert machine.state is state
    return machine


class ReasonTests(SynchronousTestCase):
    """Section 4.1.3 of RFC 6665."""

    def test_reasons(self) -> None:
        """Each reason, without and with a time to come again."""
        for reason, without, with_time in (
            ("deactivated", 0.0, 0.0),
            ("probation", 0.0, 70.0),
            ("rejected", None, None),
            ("timeout", 0.0, 0.0),
            ("giveup", None, 70.0),
            ("noresource", None, None),
            ("invariant", None, None),
            ("", 0.0, 70.0),
            ("tea", 0.0, 70.0),
        ):
            state = SubscriptionState(state="terminated", reason=reason)
            self.assertEqual(wait_after(state), without, reason)
            state = SubscriptionState(state="terminated", reason=reason, retry_after=70)
            self.assertEqual(wait_after(state), with_time, reason)

    def test_long_wait(self) -> None:
        """Nobody is left alone for longer than an hour."""
        state = SubscriptionState(state="terminated", reason="probation", retry_after=2**31)
        self.assertEqual(wait_after(state), 3600.0)


class MachineTests(SynchronousTestCase):
    """The rows that are its own."""

    def test_shortened(self) -> None:
        """The refresh is at half of what is left, and nothing is told of it."""
        machine = machine_in(State.REGISTERED)
        effects = machine.feed(resubscriber.Event.SHORTENED, 100.0)
        self.assertEqual(effects, (StopTimers(), StartTimer(Event.EXPIRY, 100.0), StartTimer(Event.DUE, 50.0)))
        self.assertEqual((machine.state, machine.asking), (State.REGISTERED, None))

    def test_ended(self) -> None:
        """The first time it is asked for at once, then later and later; a refresh that works begins anew."""
        for state in (State.TRYING, State.REGISTERED, State.REFRESHING):
            machine = machine_in(state)
            self.assertEqual(
                machine.feed(resubscriber.Event.ENDED, 0.0), (StopTimers(), Ended(0.0), Register(0, 600, True))
            )
            machine.feed(Event.GRANTED, 600.0)
            for wait in (22.5, 45.0, 90.0):
                self.assertEqual(
                    machine.feed(resubscriber.Event.ENDED, 0.0),
                    (StopTimers(), Ended(wait), StartTimer(Event.DUE, wait)),
                )
                self.assertEqual(machine.feed(Event.DUE), (Register(0, 600, True),))
                machine.feed(Event.GRANTED, 600.0)
            machine.feed(Event.DUE)
            machine.feed(Event.GRANTED, 600.0)
            self.assertEqual(machine.feed(resubscriber.Event.ENDED, 0.0)[1], Ended(0.0))

    def test_ended_for_a_while(self) -> None:
        """What the notifier wants is kept to where it is longer."""
        machine = machine_in(State.REGISTERED)
        effects = machine.feed(resubscriber.Event.ENDED, 70.0)
        self.assertEqual(effects, (StopTimers(), Ended(70.0), StartTimer(Event.DUE, 70.0)))

    def test_finished(self) -> None:
        """That is the end of it, wherever it stands; what has not begun, or is over, does not hear of it."""
        for state in (State.TRYING, State.REGISTERED, State.REFRESHING, State.LEAVING):
            machine = machine_in(state)
            self.assertEqual(machine.feed(resubscriber.Event.FINISHED), (StopTimers(), Over()))
            self.assertEqual((machine.state, machine.bound), (State.STOPPED, None))
        for state in (State.IDLE, State.STOPPED):
            machine = machine_in(state)
            for event in resubscriber.Event:
                self.assertTrue(machine.absorbs(event))

    @given(st.lists(st.integers(0, 10_000), max_size=60))
    @settings(max_examples=200)
    def test_histories(self, numbers: list[int]) -> None:
        """Whatever happens, at most one SUBSCRIBE is under way, and while it is not stopped something is due."""
        chance = Random(1)
        machine = Resubscriber(RegistrationTiming(), chance.randbytes)
        under_way, running = False, False
        events: list[tuple[Enum, object]] = [
            (Event.START, None), (Event.GRANTED, 60.0), (Event.FAILED, Failure(status=500, text="")),
            (Event.HURRY, None), (Event.DUE, None), (Event.EXPIRY, None), (resubscriber.Event.SHORTENED, 5.0),
            (resubscriber.Event.ENDED, 0.0), (resubscriber.Event.ENDED, 9.0),
        ]  # fmt: skip
        for number in numbers:
            event, argument = events[number % len(events)]
            if event in (Event.GRANTED, Event.FAILED) and not under_way:
                continue
            if event in (Event.DUE, Event.EXPIRY) and not running:
                continue
            is_answer = event in (Event.GRANTED, Event.FAILED, *resubscriber.Event)
            under_way = under_way and (not is_answer or machine.absorbs(event))
            for effect in machine.feed(event, argument):
                match effect:
                    case Register():
                        self.assertFalse(under_way)
                        under_way = True
                    case StartTimer():
                        running = True
                    case StopTimers():
                        running = False
            if machine.state is not State.IDLE:
                self.assertTrue(under_way or running)
