"""Tests of `sipd.sip.subscriber`: each row of its machine, and what is absorbed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.subscriber import Event, Over, State, Subscriber, Unsubscribe
from sipd.sip.timers import TimerValues

SILENCE = StartTimer(Event.SILENCE, 32.0)
#: How to get to each state.
PATHS: dict[State, tuple[Event, ...]] = {
    State.WAITING: (),
    State.ACTIVE: (Event.NOTIFY,),
    State.LEAVING: (Event.NOTIFY, Event.LEAVE),
    State.TERMINATED: (Event.LAST_NOTIFY,),
}


def subscriber_in(state: State) -> Subscriber:
    """Give a subscriber in a state."""
    subscriber = Subscriber(TimerValues())
    for event in PATHS[state]:
        subscriber.feed(event)
    assert subscriber.state is state, subscriber.state
    return subscriber


class SubscriberTests(SynchronousTestCase):
    """What a subscriber does."""

    def test_begins(self) -> None:
        """It waits for the first NOTIFY, from the SUBSCRIBE, and from its 2xx."""
        subscriber = Subscriber(TimerValues())
        self.assertEqual(subscriber.begin(), (SILENCE,))
        self.assertEqual(subscriber.feed(Event.ACCEPTED, 600), (SILENCE,))
        self.assertEqual(subscriber.feed(Event.NOTIFY, 600), (StopTimers(), StartTimer(Event.EXPIRY, 632.0)))

    def test_goes_on(self) -> None:
        """Each 2xx and each NOTIFY that says how long it lives counts; a NOTIFY that does not changes nothing."""
        subscriber = subscriber_in(State.ACTIVE)
        self.assertEqual(subscriber.feed(Event.ACCEPTED, 60), (StartTimer(Event.EXPIRY, 92.0),))
        self.assertEqual(subscriber.feed(Event.NOTIFY, 50), (StartTimer(Event.EXPIRY, 82.0),))
        self.assertEqual(subscriber.feed(Event.NOTIFY, None), ())

    def test_ends(self) -> None:
        """A last NOTIFY ends it, and the user knows; all else is told: silence, time, a refused SUBSCRIBE."""
        for state in (State.WAITING, State.ACTIVE, State.LEAVING):
            self.assertEqual(subscriber_in(state).feed(Event.LAST_NOTIFY), (StopTimers(),))
        lost = (StopTimers(), Over("no NOTIFY came", "noresource"))
        self.assertEqual(subscriber_in(State.WAITING).feed(Event.SILENCE), lost)
        over = (StopTimers(), Over("it was not refreshed", "timeout"))
        self.assertEqual(subscriber_in(State.ACTIVE).feed(Event.EXPIRY), over)
        for state in (State.WAITING, State.ACTIVE):
            subscriber = subscriber_in(state)
            self.assertEqual(subscriber.feed(Event.REFUSED, "481"), (StopTimers(), Over("481", "noresource")))
            self.assertIs(subscriber.state, State.TERMINATED)

    def test_leaves(self) -> None:
        """Who leaves says so if there is a dialog, and wants to know no more."""
        self.assertEqual(subscriber_in(State.WAITING).feed(Event.LEAVE), (StopTimers(),))
        self.assertEqual(subscriber_in(State.ACTIVE).feed(Event.LEAVE), (StopTimers(), SILENCE, Unsubscribe()))
        for event in (Event.SILENCE, Event.REFUSED, Event.LAST_NOTIFY, Event.CLOSE):
            subscriber = subscriber_in(State.LEAVING)
            self.assertEqual(subscriber.feed(event, "text"), (StopTimers(),))
            self.assertIs(subscriber.state, State.TERMINATED)

    def test_absorbs_all_else(self) -> None:
        """These events, and no others, do something in these states."""
        always = {"LAST_NOTIFY", "REFUSED", "CLOSE"}
        expected = {
            State.WAITING: {*always, "ACCEPTED", "NOTIFY", "LEAVE", "SILENCE"},
            State.ACTIVE: {*always, "ACCEPTED", "NOTIFY", "LEAVE", "EXPIRY"},
            State.LEAVING: {*always, "SILENCE"},
            State.TERMINATED: set(),
        }
        for state in State:
            subscriber = subscriber_in(state)
            self.assertEqual({event.name for event in Event if not subscriber.absorbs(event)}, expected[state], state)
