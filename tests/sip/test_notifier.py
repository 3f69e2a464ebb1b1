"""Tests of `sipd.sip.notifier`: each row of its machine, and what is absorbed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.notifier import Effects, Event, Gone, Notifier, Notify, State

EXPIRY = StartTimer(Event.EXPIRY, 60.0)
RESTED = StartTimer(Event.RESTED, 1.0)
#: How to get to each state.
PATHS: dict[State, tuple[Event, ...]] = {
    State.NEW: (),
    State.IDLE: (Event.ACCEPT,),
    State.SENDING: (Event.ACCEPT, Event.NEWS),
    State.BEHIND: (Event.ACCEPT, Event.NEWS, Event.NEWS),
    State.RESTING: (Event.ACCEPT, Event.NEWS, Event.TAKEN),
    State.SAVING: (Event.ACCEPT, Event.NEWS, Event.TAKEN, Event.NEWS),
    State.ENDING: (Event.ACCEPT, Event.NEWS, Event.EXPIRY),
    State.TERMINATED: (Event.ACCEPT, Event.EXPIRY),
}


def notifier_in(state: State, interval: float = 1.0) -> Notifier:
    """Give a notifier in a state."""
    notifier = Notifier(interval)
    for event in PATHS[state]:
        notifier.feed(event, 60.0 if event is Event.ACCEPT else None)
    assert notifier.state is state, notifier.state
    return notifier


class NotifierTests(SynchronousTestCase):
    """What a notifier does."""

    def check(self, state: State, event: Event, argument: object, next_state: State, effects: Effects) -> None:
        """See that an event in a state leads to another one, with these effects."""
        notifier = notifier_in(state)
        self.assertEqual(notifier.feed(event, argument), effects, (state, event))
        self.assertIs(notifier.state, next_state, (state, event))

    def test_one_at_a_time(self) -> None:
        """What happens while a NOTIFY waits for its answer is told by the next one, once."""
        notifier = Notifier()
        self.assertEqual(notifier.feed(Event.ACCEPT, 60.0), (EXPIRY,))
        self.assertEqual(notifier.feed(Event.NEWS), (Notify(),))
        self.assertEqual([notifier.feed(Event.NEWS) for _ in range(3)], [(), (), ()])
        self.assertEqual(notifier.answered(), (Notify(),))
        self.assertEqual(notifier.answered(), ())
        self.assertIs(notifier.state, State.IDLE)

    def test_rest(self) -> None:
        """With an interval the next one waits for it, from the answer on."""
        notifier = notifier_in(State.SENDING)
        self.assertEqual(notifier.answered(), (RESTED,))
        self.assertEqual(notifier.feed(Event.NEWS), ())
        self.assertEqual(notifier.feed(Event.RESTED), (Notify(),))
        self.assertEqual(notifier.answered(), (RESTED,))
        self.assertEqual(notifier.feed(Event.RESTED), ())
        self.assertEqual(notifier.feed(Event.NEWS), (Notify(),))

    def test_behind(self) -> None:
        """News that came while a NOTIFY waited for its answer waits for the interval, too."""
        notifier = notifier_in(State.BEHIND)
        self.assertEqual(notifier.answered(), (RESTED,))
        self.assertIs(notifier.state, State.SAVING)

    def test_refresh(self) -> None:
        """SUBSCRIBE gives more time, and is told the state at once, or after the NOTIFY that is under way."""
        for state in (State.IDLE, State.RESTING, State.SAVING):
            self.check(state, Event.REFRESH, 60.0, State.SENDING, (EXPIRY, Notify()))
        for state in (State.SENDING, State.BEHIND):
            self.check(state, Event.REFRESH, 60.0, State.BEHIND, (EXPIRY,))

    def test_extend(self) -> None:
        """Where somebody else tells the state it only gives more time."""
        for state in (State.IDLE, State.RESTING, State.SAVING, State.SENDING, State.BEHIND):
            self.check(state, Event.EXTEND, 60.0, state, (EXPIRY,))

    def test_end(self) -> None:
        """The last NOTIFY says why: at once, or when the one that is under way is answered; or the time is over."""
        for state in (State.NEW, State.IDLE, State.RESTING, State.SAVING):
            self.check(state, Event.END, "probation", State.TERMINATED, (StopTimers(), Notify("probation")))
        for state in (State.IDLE, State.RESTING, State.SAVING):
            self.check(state, Event.EXPIRY, None, State.TERMINATED, (StopTimers(), Notify("timeout")))
        for interval in (0.0, 1.0):
            for state in (State.SENDING, State.BEHIND):
                for event, argument in ((Event.END, "timeout"), (Event.EXPIRY, None)):
                    notifier = notifier_in(state, interval)
                    self.assertEqual(notifier.feed(event, argument), (StopTimers(),))
                    self.assertTrue(notifier.is_over)
                    self.assertEqual(notifier.answered(), (Notify("timeout"),))
                    self.assertIs(notifier.state, State.TERMINATED)

    def test_refused(self) -> None:
        """A subscriber that knows nothing of it ends it without a last NOTIFY."""
        for state in (State.SENDING, State.BEHIND, State.ENDING):
            self.check(state, Event.REFUSED, None, State.TERMINATED, (StopTimers(), Gone()))

    def test_close(self) -> None:
        """In any state it can be forgotten."""
        for state in State:
            if state is not State.TERMINATED:
                self.check(state, Event.CLOSE, None, State.TERMINATED, (StopTimers(),))

    def test_absorbs_all_else(self) -> None:
        """These events, and no others, do something in these states."""
        calm = {"CLOSE", "END", "EXPIRY", "EXTEND", "REFRESH"}
        busy = {*calm, "REFUSED", "TAKEN", "FREED"}
        expected = {
            State.NEW: {"ACCEPT", "END", "CLOSE"},
            State.IDLE: {*calm, "NEWS"},
            State.SENDING: {*busy, "NEWS"},
            State.BEHIND: busy,
            State.RESTING: {*calm, "NEWS", "RESTED"},
            State.SAVING: {*calm, "RESTED"},
            State.ENDING: {"TAKEN", "FREED", "REFUSED", "CLOSE"},
            State.TERMINATED: set(),
        }
        for state in State:
            notifier = notifier_in(state)
            self.assertEqual({event.name for event in Event if not notifier.absorbs(event)}, expected[state], state)
