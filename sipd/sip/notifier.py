"""The notifier of a subscription, without clocks and messages: RFC 6665 section 4.2.

One NOTIFY at a time: what becomes known while one waits for its answer is told by the next one. So nothing is told out
of order, and a subscriber that is slow gets fewer notifications, not more of them at once (section 4.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.sip.machine import Machine, StartTimer, StopTimers, table


class State(Enum):
    """Where the notifier of a subscription stands."""

    NEW = "not accepted yet"
    IDLE = "everything is told"
    SENDING = "a NOTIFY waits for its answer"
    BEHIND = "a NOTIFY waits for its answer, and there is news since"
    RESTING = "everything is told, and the next NOTIFY may not come yet"
    SAVING = "there is news, and the next NOTIFY may not come yet"
    ENDING = "a NOTIFY waits for its answer, and the last one is due then"
    TERMINATED = "terminated"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to it; `EXPIRY` and `RESTED` are timers."""

    ACCEPT = "it is accepted for so many seconds"
    NEWS = "there is something to tell"
    TAKEN = "the NOTIFY was answered; the next may not follow at once"
    FREED = "the NOTIFY was answered; the next may follow at once"
    REFUSED = "the subscriber knows nothing of it, or does not answer"
    REFRESH = "SUBSCRIBE for so many seconds: the state is told again"
    EXTEND = "SUBSCRIBE for so many seconds: somebody else tells the state again"
    END = "it ends here, for that reason"
    CLOSE = "nothing is to be told any more"
    EXPIRY = "its time is over"
    RESTED = "the next NOTIFY may come"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Notify:
    """Send NOTIFY with the state of now. The last one says so, and why: `reason`; empty for all others."""

    reason: str = ""


@dataclass(slots=True)
class Gone:
    """The subscription is over without a last NOTIFY."""


Effect = Notify | Gone | StartTimer | StopTimers
Effects = tuple[Effect, ...]


class Notifier(Machine[State]):
    """One subscription of somebody else.

    Args:
        interval: seconds between the answer to a NOTIFY and the next one; 0 for none.
    """

    __slots__ = ("_interval", "_reason")

    def __init__(self, interval: float = 0.0) -> None:
        super().__init__(State.NEW)
        self._interval = interval
        self._reason = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is told, once what is under way is answered."""
        return self.state in (State.ENDING, State.TERMINATED)

    def answered(self) -> Effects:
        """Take the answer to the NOTIFY that was sent last, unless it means that the subscription is gone."""
        return self.feed(Event.TAKEN if self._interval else Event.FREED)

    def _start(self, seconds: float) -> Effects:
        return (StartTimer(Event.EXPIRY, seconds),)

    def _tell(self, _: object) -> Effects:
        return (Notify(),)

    def _tell_again(self, seconds: float) -> Effects:
        return (StartTimer(Event.EXPIRY, seconds), Notify())

    def _wait(self, _: object) -> Effects:
        return ()

    def _rest(self, _: object) -> Effects:
        return (StartTimer(Event.RESTED, self._interval),)

    def _end(self, reason: str) -> Effects:
        return (StopTimers(), Notify(reason))

    def _expire(self, _: object) -> Effects:
        return self._end("timeout")

    def _end_later(self, reason: str) -> Effects:
        self._reason = reason
        return (StopTimers(),)

    def _expire_later(self, _: object) -> Effects:
        return self._end_later("timeout")

    def _tell_last(self, _: object) -> Effects:
        return (Notify(self._reason),)

    def _lose(self, _: object) -> Effects:
        return (StopTimers(), Gone())

    def _stop(self, _: object) -> Effects:
        return (StopTimers(),)


Notifier.TABLE = table(
    # state          event           next state         action
    (State.NEW, Event.ACCEPT, State.IDLE, Notifier._start),
    (State.NEW, Event.END, State.TERMINATED, Notifier._end),
    (State.NEW, Event.CLOSE, State.TERMINATED, Notifier._stop),
    (State.IDLE, Event.NEWS, State.SENDING, Notifier._tell),
    (State.SENDING, Event.NEWS, State.BEHIND, Notifier._wait),
    (State.SENDING, Event.TAKEN, State.RESTING, Notifier._rest),
    (State.SENDING, Event.FREED, State.IDLE, Notifier._wait),
    (State.BEHIND, Event.TAKEN, State.SAVING, Notifier._rest),
    (State.BEHIND, Event.FREED, State.SENDING, Notifier._tell),
    (State.RESTING, Event.NEWS, State.SAVING, Notifier._wait),
    (State.RESTING, Event.RESTED, State.IDLE, Notifier._wait),
    (State.SAVING, Event.RESTED, State.SENDING, Notifier._tell),
    (State.ENDING, Event.TAKEN, State.TERMINATED, Notifier._tell_last),
    (State.ENDING, Event.FREED, State.TERMINATED, Notifier._tell_last),
    (State.ENDING, Event.REFUSED, State.TERMINATED, Notifier._lose),
    (State.ENDING, Event.CLOSE, State.TERMINATED, Notifier._stop),
    *[
        row
        for state in (State.IDLE, State.RESTING, State.SAVING)
        for row in (
            # nothing waits for an answer
            (state, Event.REFRESH, State.SENDING, Notifier._tell_again),
            (state, Event.EXTEND, state, Notifier._start),
            (state, Event.END, State.TERMINATED, Notifier._end),
            (state, Event.EXPIRY, State.TERMINATED, Notifier._expire),
            (state, Event.CLOSE, State.TERMINATED, Notifier._stop),
        )
    ],
    *[
        row
        for state in (State.SENDING, State.BEHIND)
        for row in (
            # a NOTIFY waits for its answer
            (state, Event.REFRESH, State.BEHIND, Notifier._start),
            (state, Event.EXTEND, state, Notifier._start),
            (state, Event.END, State.ENDING, Notifier._end_later),
            (state, Event.EXPIRY, State.ENDING, Notifier._expire_later),
            (state, Event.REFUSED, State.TERMINATED, Notifier._lose),
            (state, Event.CLOSE, State.TERMINATED, Notifier._stop),
        )
    ],
)  # fmt: skip
