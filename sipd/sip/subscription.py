"""The subscription that REFER makes, without clocks and messages: RFC 3515 section 2.4, RFC 6665 sections 4.1 and 4.2.

`ReferNotifier` is who was asked: it tells how the referred request fares. `ReferSubscriber` is who asked, and does not
wait for ever for what it is not told.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.sip.machine import Machine, StartTimer, StopTimers, table
from sipd.sip.refer import Fragment, SubscriptionState
from sipd.sip.timers import TimerValues


class State(Enum):
    """Where a subscription stands."""

    PENDING = "pending"
    ACTIVE = "active"
    DECIDED = "the outcome is known"
    TERMINATED = "terminated"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to it; `EXPIRY` and `SILENCE` are timers."""

    ACCEPT = "the referred request is sent"
    PROGRESS = "a provisional response"
    FINAL = "a final response, or what stands for it"
    REFRESH = "SUBSCRIBE with seconds"
    UNSUBSCRIBE = "SUBSCRIBE with 0 seconds"
    NOTIFY = "NOTIFY that the request goes on"
    OUTCOME = "NOTIFY of a final response"
    LAST_NOTIFY = "NOTIFY that ends it without an outcome"
    LAST_OUTCOME = "NOTIFY of a final response that ends it"
    REFUSED = "NOTIFY was refused or not answered"
    CLOSE = "the dialog is over"
    EXPIRY = "its time is over"
    SILENCE = "no NOTIFY at all"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Notify:
    """Send NOTIFY. What is left of the `EXPIRY` timer becomes the ``expires`` of a state that is not terminated."""

    state: SubscriptionState
    fragment: Fragment


@dataclass(slots=True)
class Progress:
    """Tell the user how the referred request fares."""

    fragment: Fragment


@dataclass(slots=True)
class Outcome:
    """Tell the user how the referred request ended; ``None`` if nobody will ever say."""

    fragment: Fragment | None


Effect = Notify | StartTimer | StopTimers | Progress | Outcome
Effects = tuple[Effect, ...]

_TRYING = Fragment.of_status(100)


class ReferNotifier(Machine[State]):
    """Who accepted a REFER with 202. Begin with `begin`; the argument of `PROGRESS` and `FINAL` is a `Fragment`.

    Args:
        duration: seconds until the subscription expires; the referred request goes on without it.
        state: `PENDING` where somebody has yet to allow the request, else `ACTIVE`.

    Attributes:
        fragment: what was told last.
    """

    __slots__ = ("duration", "fragment")

    def __init__(self, duration: float, state: State = State.ACTIVE) -> None:
        super().__init__(state)
        self.duration = duration
        self.fragment = _TRYING

    def begin(self) -> Effects:
        """Send the first NOTIFY, which follows the 202 at once (RFC 3515 section 2.4.4)."""
        return (StartTimer(Event.EXPIRY, self.duration), self._notify(self.state.value))

    def _notify(self, state: str, reason: str = "") -> Notify:
        return Notify(SubscriptionState(state=state, reason=reason), self.fragment)

    def _accept(self, _: object) -> Effects:
        return (self._notify("active"),)

    def _progress(self, fragment: Fragment) -> Effects:
        self.fragment = fragment
        return (self._notify("active"),)

    def _finish(self, fragment: Fragment) -> Effects:
        self.fragment = fragment
        return (StopTimers(), self._notify("terminated", "noresource"))

    def _refresh(self, seconds: float) -> Effects:
        return (StartTimer(Event.EXPIRY, seconds), self._notify(self.state.value))

    def _expire(self, _: object) -> Effects:
        return (StopTimers(), self._notify("terminated", "timeout"))

    def _stop(self, _: object) -> Effects:
        return (StopTimers(),)


ReferNotifier.TABLE = table(
    # state          event              next state        action
    (State.PENDING, Event.ACCEPT, State.ACTIVE, ReferNotifier._accept),
    (State.PENDING, Event.PROGRESS, State.ACTIVE, ReferNotifier._progress),
    (State.PENDING, Event.FINAL, State.TERMINATED, ReferNotifier._finish),
    (State.PENDING, Event.REFRESH, State.PENDING, ReferNotifier._refresh),
    (State.PENDING, Event.UNSUBSCRIBE, State.TERMINATED, ReferNotifier._expire),
    (State.PENDING, Event.EXPIRY, State.TERMINATED, ReferNotifier._expire),
    (State.PENDING, Event.REFUSED, State.TERMINATED, ReferNotifier._stop),
    (State.PENDING, Event.CLOSE, State.TERMINATED, ReferNotifier._stop),
    (State.ACTIVE, Event.PROGRESS, State.ACTIVE, ReferNotifier._progress),
    (State.ACTIVE, Event.FINAL, State.TERMINATED, ReferNotifier._finish),
    (State.ACTIVE, Event.REFRESH, State.ACTIVE, ReferNotifier._refresh),
    (State.ACTIVE, Event.UNSUBSCRIBE, State.TERMINATED, ReferNotifier._expire),
    (State.ACTIVE, Event.EXPIRY, State.TERMINATED, ReferNotifier._expire),
    (State.ACTIVE, Event.REFUSED, State.TERMINATED, ReferNotifier._stop),
    (State.ACTIVE, Event.CLOSE, State.TERMINATED, ReferNotifier._stop),
)  # fmt: skip


class ReferSubscriber(Machine[State]):
    """Who sent a REFER. Begin with `begin` when it leaves: a NOTIFY may come before the 202.

    `event_of` says as what to feed a NOTIFY; its argument is the `Fragment`. The outcome is told exactly once. A REFER
    that is refused is `CLOSE`.

    Args:
        values: 64*T1 is how long the first NOTIFY may take (timer N, RFC 6665 section 4.1.2.4).
        limit: seconds until an outcome that nobody told is given up.
    """

    __slots__ = ("_limit", "_values")

    def __init__(self, values: TimerValues, limit: float) -> None:
        super().__init__(State.PENDING)
        self._values = values
        self._limit = limit

    def begin(self) -> Effects:
        """Start the timers."""
        return (StartTimer(Event.SILENCE, self._values.timeout), StartTimer(Event.EXPIRY, self._limit))

    def event_of(self, state: SubscriptionState, fragment: Fragment | None) -> Event:
        """Say as what to feed a NOTIFY.

        Args:
            state: its Subscription-State.
            fragment: its body; ``None`` where it has none that can be read.
        """
        if fragment is not None and fragment.is_final:
            return Event.LAST_OUTCOME if state.is_terminated else Event.OUTCOME
        return Event.LAST_NOTIFY if state.is_terminated else Event.NOTIFY

    def _hear_first(self, fragment: Fragment | None) -> Effects:
        # From now on it counts when the outcome comes.
        return (StopTimers(), StartTimer(Event.EXPIRY, self._limit), *self._hear(fragment))

    def _hear(self, fragment: Fragment | None) -> Effects:
        return () if fragment is None else (Progress(fragment),)

    def _decide(self, fragment: Fragment) -> Effects:
        return (StopTimers(), Outcome(fragment))

    def _give_up(self, _: object) -> Effects:
        return (StopTimers(), Outcome(None))

    def _wait(self, _: object) -> Effects:
        return ()


ReferSubscriber.TABLE = table(
    *[
        row
        for state in (State.PENDING, State.ACTIVE)
        for row in (
            # while there is no outcome
            (state, Event.OUTCOME, State.DECIDED, ReferSubscriber._decide),
            (state, Event.LAST_OUTCOME, State.TERMINATED, ReferSubscriber._decide),
            (state, Event.LAST_NOTIFY, State.TERMINATED, ReferSubscriber._give_up),
            (state, Event.CLOSE, State.TERMINATED, ReferSubscriber._give_up),
            (state, Event.EXPIRY, State.TERMINATED, ReferSubscriber._give_up),
        )
    ],
    # state          event              next state        action
    (State.PENDING, Event.NOTIFY, State.ACTIVE, ReferSubscriber._hear_first),
    (State.PENDING, Event.SILENCE, State.TERMINATED, ReferSubscriber._give_up),
    (State.ACTIVE, Event.NOTIFY, State.ACTIVE, ReferSubscriber._hear),
    (State.DECIDED, Event.LAST_OUTCOME, State.TERMINATED, ReferSubscriber._wait),
    (State.DECIDED, Event.LAST_NOTIFY, State.TERMINATED, ReferSubscriber._wait),
    (State.DECIDED, Event.CLOSE, State.TERMINATED, ReferSubscriber._wait),
)  # fmt: skip
