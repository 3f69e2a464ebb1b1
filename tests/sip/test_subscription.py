"""Tests of `sipd.sip.subscription`: each row of its machines, and what is absorbed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.refer import Fragment, SubscriptionState
from sipd.sip.subscription import (
    Event,
    Notify,
    Outcome,
    Progress,
    ReferNotifier,
    ReferSubscriber,
    State,
)
from sipd.sip.timers import TimerValues

TRYING, RINGING, OK, BUSY = map(Fragment.of_status, (100, 180, 200, 486))
ACTIVE, PENDING = SubscriptionState(state="active"), SubscriptionState(state="pending")
FINISHED = SubscriptionState(state="terminated", reason="noresource")
TIMED_OUT = SubscriptionState(state="terminated", reason="timeout")
SILENCE, EXPIRY = StartTimer(Event.SILENCE, 32.0), StartTimer(Event.EXPIRY, 60.0)


class NotifierTests(SynchronousTestCase):
    """Who was asked."""

    def test_tells_how_it_fares(self) -> None:
        """A NOTIFY at once, one for each response, and the last one with the outcome."""
        notifier = ReferNotifier(60.0)
        self.assertEqual(notifier.begin(), (EXPIRY, Notify(ACTIVE, TRYING)))
        self.assertEqual(notifier.feed(Event.PROGRESS, RINGING), (Notify(ACTIVE, RINGING),))
        self.assertEqual(notifier.feed(Event.FINAL, BUSY), (StopTimers(), Notify(FINISHED, BUSY)))
        self.assertEqual(notifier.feed(Event.PROGRESS, OK), ())

    def test_pending(self) -> None:
        """While nobody has allowed it the subscription is pending; it may also be refused then."""
        notifier = ReferNotifier(60.0, State.PENDING)
        self.assertEqual(notifier.begin(), (EXPIRY, Notify(PENDING, TRYING)))
        self.assertEqual(notifier.feed(Event.REFRESH, 90.0), (StartTimer(Event.EXPIRY, 90.0), Notify(PENDING, TRYING)))
        self.assertEqual(notifier.feed(Event.ACCEPT), (Notify(ACTIVE, TRYING),))
        self.assertEqual(notifier.feed(Event.ACCEPT), ())
        for event, fragment, state in ((Event.PROGRESS, RINGING, ACTIVE), (Event.FINAL, BUSY, FINISHED)):
            notifier = ReferNotifier(60.0, State.PENDING)
            self.assertEqual(notifier.feed(event, fragment)[-1], Notify(state, fragment))

    def test_ends_in_other_ways(self) -> None:
        """Time and SUBSCRIBE with 0 end it with a NOTIFY; a refused NOTIFY and the end of the dialog without one."""
        for state in (State.PENDING, State.ACTIVE):
            for event, expected in (
                (Event.EXPIRY, (StopTimers(), Notify(TIMED_OUT, TRYING))),
                (Event.UNSUBSCRIBE, (StopTimers(), Notify(TIMED_OUT, TRYING))),
                (Event.REFUSED, (StopTimers(),)),
                (Event.CLOSE, (StopTimers(),)),
            ):
                notifier = ReferNotifier(60.0, state)
                self.assertEqual(notifier.feed(event), expected)
                self.assertIs(notifier.state, State.TERMINATED)

    def test_refresh(self) -> None:
        """SUBSCRIBE gives it more time, and hears what was told last."""
        notifier = ReferNotifier(60.0)
        notifier.feed(Event.PROGRESS, RINGING)
        expected = (StartTimer(Event.EXPIRY, 90.0), Notify(ACTIVE, RINGING))
        self.assertEqual(notifier.feed(Event.REFRESH, 90.0), expected)

    def test_absorbs_all_else(self) -> None:
        """These events, and no others, do something in these states."""
        both = {"CLOSE", "EXPIRY", "FINAL", "PROGRESS", "REFRESH", "REFUSED", "UNSUBSCRIBE"}
        for state, events in (
            (State.PENDING, both | {"ACCEPT"}), (State.ACTIVE, both), (State.TERMINATED, set()), (State.DECIDED, set())
        ):  # fmt: skip
            notifier = ReferNotifier(60.0, state)
            self.assertEqual({event.name for event in Event if not notifier.absorbs(event)}, events)


class SubscriberTests(SynchronousTestCase):
    """Who asked."""

    def setUp(self) -> None:
        """Make one that has sent its REFER."""
        self.subscriber = ReferSubscriber(TimerValues(), 60.0)
        self.assertEqual(self.subscriber.begin(), (SILENCE, EXPIRY))

    def notify(self, state: SubscriptionState, fragment: Fragment | None) -> tuple[object, ...]:
        """Take a NOTIFY."""
        return self.subscriber.feed(self.subscriber.event_of(state, fragment), fragment)

    def test_hears_how_it_fares(self) -> None:
        """Progress, then the outcome, once; a NOTIFY that only ends the subscription says nothing new."""
        self.assertEqual(self.notify(ACTIVE, TRYING), (StopTimers(), EXPIRY, Progress(TRYING)))
        self.assertEqual(self.notify(ACTIVE, RINGING), (Progress(RINGING),))
        self.assertEqual(self.notify(ACTIVE, None), ())
        self.assertEqual(self.notify(ACTIVE, OK), (StopTimers(), Outcome(OK)))
        self.assertEqual(self.notify(FINISHED, OK), ())
        self.assertIs(self.subscriber.state, State.TERMINATED)

    def test_one_notify_is_enough(self) -> None:
        """The outcome may come at once, with the end of the subscription."""
        self.assertEqual(self.notify(FINISHED, BUSY), (StopTimers(), Outcome(BUSY)))
        self.assertEqual(self.notify(FINISHED, BUSY), ())
        self.setUp()
        self.assertEqual(self.notify(PENDING, None), (StopTimers(), EXPIRY))

    def test_nobody_ever_says(self) -> None:
        """Silence, time, the end of the subscription or of the dialog: the outcome is unknown (lesson 37)."""
        for event in (Event.SILENCE, Event.EXPIRY, Event.CLOSE, Event.LAST_NOTIFY):
            self.setUp()
            self.assertEqual(self.subscriber.feed(event), (StopTimers(), Outcome(None)))
        for event in (Event.EXPIRY, Event.CLOSE, Event.LAST_NOTIFY):
            self.setUp()
            self.notify(ACTIVE, TRYING)
            self.assertEqual(self.subscriber.feed(event), (StopTimers(), Outcome(None)))

    def test_absorbs_all_else(self) -> None:
        """These events, and no others, do something in these states."""
        both = {"CLOSE", "EXPIRY", "LAST_NOTIFY", "LAST_OUTCOME", "NOTIFY", "OUTCOME"}
        for state, events in (
            (State.PENDING, both | {"SILENCE"}),
            (State.ACTIVE, both),
            (State.DECIDED, {"CLOSE", "LAST_NOTIFY", "LAST_OUTCOME"}),
            (State.TERMINATED, set()),
        ):
            self.subscriber.state = state
            self.assertEqual({event.name for event in Event if not self.subscriber.absorbs(event)}, events)
