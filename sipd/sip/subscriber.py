"""The subscriber of a subscription, without clocks and messages: RFC 6665 section 4.1.

A subscription begins when its SUBSCRIBE leaves, and it is the first NOTIFY, not the 2xx, that makes its dialog (section
4.4.1). When to refresh it is its user's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.sip.machine import Machine, StartTimer, StopTimers, table
from sipd.sip.timers import TimerValues

#: Final responses to a SUBSCRIBE or NOTIFY inside of a dialog that end the subscription (RFC 5057 section 5.1, RFC 6665
#: sections 4.1.2.2 and 4.2.2); all others leave it as it is.
ENDING = frozenset((404, 405, 408, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604))


class State(Enum):
    """Where the subscriber of a subscription stands."""

    WAITING = "no NOTIFY has come yet"
    ACTIVE = "a NOTIFY has come"
    LEAVING = "the end was asked for, and the last NOTIFY has not come yet"
    TERMINATED = "terminated"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to it; `EXPIRY` and `SILENCE` are timers."""

    ACCEPTED = "SUBSCRIBE was accepted for so many seconds"
    NOTIFY = "NOTIFY, with the seconds that are left if it says so"
    LAST_NOTIFY = "NOTIFY that ends it"
    REFUSED = "SUBSCRIBE was refused, or not answered, in a way that ends it"
    LEAVE = "it is not wanted any more"
    CLOSE = "nothing is to be done for it any more"
    EXPIRY = "its time is over"
    SILENCE = "the NOTIFY that is due does not come"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Unsubscribe:
    """Send SUBSCRIBE for 0 seconds."""


@dataclass(slots=True)
class Over:
    """The subscription is over, and the user is told: why, for a person, and as a `reason` of Subscription-State."""

    text: str
    reason: str


Effect = Unsubscribe | Over | StartTimer | StopTimers
Effects = tuple[Effect, ...]


class Subscriber(Machine[State]):
    """One subscription of our own. Begin with `begin` when the SUBSCRIBE leaves.

    Args:
        values: 64*T1 is how long the first NOTIFY, and the last one, may take (timer N, section 4.1.2.4).
    """

    __slots__ = ("_values",)

    def __init__(self, values: TimerValues) -> None:
        super().__init__(State.WAITING)
        self._values = values

    def begin(self) -> Effects:
        """Start to wait for the first NOTIFY."""
        return (StartTimer(Event.SILENCE, self._values.timeout),)

    def _wait_again(self, _: object) -> Effects:
        # The 2xx may come late: the time of the NOTIFY counts from there.
        return self.begin()

    def _begin(self, seconds: float | None) -> Effects:
        return (StopTimers(), *self._go_on(seconds))

    def _go_on(self, seconds: float | None) -> Effects:
        if seconds is None:
            return ()
        # The NOTIFY that says that it is over may take its time.
        return (StartTimer(Event.EXPIRY, seconds + self._values.timeout),)

    def _leave(self, _: object) -> Effects:
        return (StopTimers(), *self.begin(), Unsubscribe())

    def _end(self, _: object) -> Effects:
        return (StopTimers(),)

    def _lose(self, text: str) -> Effects:
        return (StopTimers(), Over(text, "noresource"))

    def _expire(self, _: object) -> Effects:
        return (StopTimers(), Over("it was not refreshed", "timeout"))

    def _miss(self, _: object) -> Effects:
        return (StopTimers(), Over("no NOTIFY came", "noresource"))


Subscriber.TABLE = table(
    # state          event               next state        action
    (State.WAITING, Event.ACCEPTED, State.WAITING, Subscriber._wait_again),
    (State.WAITING, Event.NOTIFY, State.ACTIVE, Subscriber._begin),
    (State.WAITING, Event.LEAVE, State.TERMINATED, Subscriber._end),
    (State.WAITING, Event.SILENCE, State.TERMINATED, Subscriber._miss),
    (State.WAITING, Event.REFUSED, State.TERMINATED, Subscriber._lose),
    (State.ACTIVE, Event.REFUSED, State.TERMINATED, Subscriber._lose),
    (State.ACTIVE, Event.ACCEPTED, State.ACTIVE, Subscriber._go_on),
    (State.ACTIVE, Event.NOTIFY, State.ACTIVE, Subscriber._go_on),
    (State.ACTIVE, Event.EXPIRY, State.TERMINATED, Subscriber._expire),
    (State.ACTIVE, Event.LEAVE, State.LEAVING, Subscriber._leave),
    # Nobody wants to know any more how it ends.
    (State.LEAVING, Event.SILENCE, State.TERMINATED, Subscriber._end),
    (State.LEAVING, Event.REFUSED, State.TERMINATED, Subscriber._end),
    *[
        row
        for state in (State.WAITING, State.ACTIVE, State.LEAVING)
        for row in (
            # any state that is not the last
            (state, Event.LAST_NOTIFY, State.TERMINATED, Subscriber._end),
            (state, Event.CLOSE, State.TERMINATED, Subscriber._end),
        )
    ],
)  # fmt: skip
