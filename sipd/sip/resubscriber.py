"""A subscription of our own that is kept up, without clocks and messages: RFC 6665 sections 4.1.2 and 4.1.3.

When to ask is what it is for a registration with one registrar: at half of the time, after a refusal later and later.
Beside that the notifier may shorten the time, and may end the subscription, for good or until it is had anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sipd.sip import registrant
from sipd.sip.machine import StartTimer, StopTimers, table
from sipd.sip.refer import SubscriptionState
from sipd.sip.registrant import MAX_REST, Effects, Over, Registrant, RegistrationTiming, State

#: Reasons of a Subscription-State after which nobody should subscribe again (section 4.1.3).
_FOR_GOOD = frozenset(("rejected", "noresource", "invariant"))
#: How often the wait before a subscription is had anew is doubled at most.
_MAX_DOUBLINGS = 16


class Event(Enum):
    """What happens to it beside what happens to a registration; the end stands for the answer to what is under way."""

    SHORTENED = "it lasts for so many seconds only"
    ENDED = "it is over, and to be had anew: not before so many seconds"
    FINISHED = "it is over for good"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Ended:
    """It is over; it is asked for anew in so many seconds."""

    wait: float


def wait_after(state: SubscriptionState) -> float | None:
    """Give the seconds to wait at least before subscribing again; ``None`` where it is over for good (section 4.1.3).

    Who gives up waiting for an authorization, and does not say when to come again, would only give up again.

    Args:
        state: that of the NOTIFY that has ended it.
    """
    if state.reason in _FOR_GOOD or (state.reason == "giveup" and state.retry_after is None):
        return None
    if state.reason in ("deactivated", "timeout"):
        # They ask for another one at once; a retry-after means nothing with them.
        return 0.0
    return min(float(state.retry_after or 0), MAX_REST)


class Resubscriber(Registrant):
    """One subscription of our own that is kept up.

    The first time that it ends it is asked for anew at once, if the notifier does not want otherwise; each further
    time before it has lasted long enough to be refreshed the wait is longer, as after a refusal.

    Args:
        timing: when it is asked for.
        entropy: for jitter.
    """

    __slots__ = ("_endings",)

    def __init__(self, timing: RegistrationTiming, entropy: Callable[[int], bytes]) -> None:
        super().__init__(1, timing, entropy)
        self._endings = 0

    def _confirm(self, granted: float) -> Effects:
        self._endings = 0
        return self._bind(granted)

    def _shorten(self, seconds: float) -> Effects:
        """Refresh at half of what is left, however the time was shortened."""
        self.asking = 0
        # The time is that of a 2xx; only that nothing is told of it.
        return tuple([effect for effect in self._bind(seconds) if isinstance(effect, StartTimer | StopTimers)])

    def _resume(self, wait: float) -> tuple[object, ...]:
        self.asking = self.bound = None
        self._rests = [0.0]
        wait = max(wait, self._wait_after_ending())
        self._endings += 1
        if not wait:
            return (StopTimers(), Ended(0.0), *self._begin(None))
        self._waited = wait
        return (StopTimers(), Ended(wait), StartTimer(registrant.Event.DUE, wait))

    def _wait_after_ending(self) -> float:
        if not self._endings:
            return 0.0
        doublings = min(self._endings - 1, _MAX_DOUBLINGS)
        longest: float = min(self._timing.retry_limit, self._timing.retry_base * 2**doublings)
        return longest * (1 + self._chance()) / 2

    def _finish_at_once(self, _: object) -> Effects:
        self.asking = self.bound = None
        return (StopTimers(), Over())


Resubscriber.TABLE = {
    **Registrant.TABLE,
    (State.REFRESHING, registrant.Event.GRANTED): (State.REGISTERED, Resubscriber._confirm),
    **table(
        # state             event            next state        action
        (State.REGISTERED, Event.SHORTENED, State.REGISTERED, Resubscriber._shorten),
        (State.TRYING, Event.ENDED, State.TRYING, Resubscriber._resume),
        (State.REGISTERED, Event.ENDED, State.TRYING, Resubscriber._resume),
        (State.REFRESHING, Event.ENDED, State.TRYING, Resubscriber._resume),
        *[
            (state, Event.FINISHED, State.STOPPED, Resubscriber._finish_at_once)
            for state in (State.TRYING, State.REGISTERED, State.REFRESHING, State.LEAVING)
        ],
    ),
}  # fmt: skip
