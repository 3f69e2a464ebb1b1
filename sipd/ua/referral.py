"""A REFER of this side, and what its receiver tells of it (RFC 3515 section 2.4, RFC 6665 section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipd.errors import LocalError, RemoteError
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Response
from sipd.sip.refer import Fragment, SubscriptionState
from sipd.sip.subscription import Effects, Event, Outcome, Progress, ReferSubscriber, State
from sipd.timers import Timers

if TYPE_CHECKING:
    from sipd.ua.referring import Referrals


class Referral:
    """One REFER of this side. Performs a `ReferSubscriber`.

    Attributes:
        accepted: fires with the final response to the REFER, or with ``None`` where there is none.
        outcome: fires once with how the referred request ended, or with ``None`` if nobody will ever say: the REFER was
            refused, or wanted no NOTIFY, or they stopped, or `AgentSettings.refer_duration` is over.
        on_progress: called with each provisional response that the peer tells of.
        is_first: whether no other was sent in its dialog.
        number: its CSeq number: that of the request which has the answer.
    """

    __slots__ = ("_machine", "_referrals", "_timers", "accepted", "is_answered", "is_first", "number", "on_progress",
                 "outcome")  # fmt: skip

    def __init__(self, referrals: Referrals, sending: Deferred[Response], number: int, *, is_first: bool) -> None:
        settings = referrals.agent.settings
        self.accepted: Deferred[Response | None] = Deferred()
        self.outcome: Deferred[Fragment | None] = Deferred()
        self.on_progress: Callable[[Fragment], object] = lambda fragment: None
        self.is_first = is_first
        self.is_answered = False
        self.number = number
        self._referrals = referrals
        self._machine = ReferSubscriber(settings.timers, settings.refer_duration)
        self._timers = Timers(referrals.agent.clock, self.feed)
        self._perform(self._machine.begin())
        sending.addCallbacks(self._answered, self._failed)

    @property
    def is_open(self) -> bool:
        """Whether another NOTIFY may come."""
        return self._machine.state is not State.TERMINATED

    @property
    def is_waiting(self) -> bool:
        """Whether the outcome is not known yet."""
        return self._machine.state in (State.PENDING, State.ACTIVE)

    def notified(self, state: SubscriptionState, fragment: Fragment | None) -> None:
        """Take a NOTIFY, already answered."""
        self.feed(self._machine.event_of(state, fragment), fragment)

    def feed(self, event: Enum, argument: object = None) -> None:
        """Let something happen to the subscription."""
        self._perform(self._machine.feed(event, argument))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case StartTimer(event, duration):
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case Progress(fragment):
                    self.on_progress(fragment)
                case Outcome(fragment):
                    self._referrals.over()
                    self.outcome.callback(fragment)

    def _answered(self, response: Response) -> None:
        self.is_answered = True
        self.number = response.cseq.number
        # Refer-Sub says that there is no subscription (RFC 4488 section 4).
        if not response.is_success or (response.headers.get("Refer-Sub") or "").strip().lower().startswith("false"):
            self.feed(Event.CLOSE)
        self.accepted.callback(response)

    def _failed(self, failure: Failure) -> None:
        failure.trap(RemoteError, LocalError)
        self.is_answered = True
        self.feed(Event.CLOSE)
        self.accepted.callback(None)
