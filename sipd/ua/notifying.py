"""The NOTIFYs of one subscription that a REFER has made (RFC 3515 section 2.4.4, RFC 6665 section 4.2)."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipd.errors import LocalError, RemoteError
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Response
from sipd.sip.refer import SIPFRAG, EventValue
from sipd.sip.subscription import Effects, Event, Notify, ReferNotifier, State
from sipd.timers import Timers

if TYPE_CHECKING:
    from sipd.ua.referring import Referrals


class Notifications:
    """Sends them one after the other: each waits for the answer to the one before. Performs a `ReferNotifier`.

    What is outdated by then is left out, but never the last one. A NOTIFY that is refused, or has no answer, ends the
    subscription, and nothing else (RFC 6665 section 4.2.2, RFC 5057 section 5.1).
    """

    __slots__ = ("_event", "_expires_at", "_is_sending", "_machine", "_next", "_referrals", "_timers", "_waiting")

    def __init__(self, referrals: Referrals, event: EventValue) -> None:
        agent = referrals.agent
        self._referrals = referrals
        self._event = event
        self._machine = ReferNotifier(agent.settings.refer_duration)
        self._timers = Timers(agent.clock, self.feed)
        self._expires_at = 0.0
        self._next: Notify | None = None
        self._is_sending = False
        self._waiting: list[Deferred[None]] = []

    @property
    def is_over(self) -> bool:
        """Whether the last one is answered, or none will follow."""
        return self._machine.state is State.TERMINATED and not self._is_sending and self._next is None

    def begin(self) -> None:
        """Send the first."""
        self._referrals.begin()
        self._perform(self._machine.begin())

    def feed(self, event: Enum, argument: object = None) -> None:
        """Let something happen."""
        if event is Event.PROGRESS and argument == self._machine.fragment:
            return  # It is known.
        if event is Event.CLOSE:
            self._next = None
        self._perform(self._machine.feed(event, argument))
        self._tell_over()

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case StartTimer(event, duration):
                    self._expires_at = self._referrals.agent.clock.seconds() + duration
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case Notify():
                    self._next = effect
        self._send()

    def _send(self) -> None:
        if self._is_sending or self._next is None:
            return
        notify, self._next = self._next, None
        state = notify.state
        if not state.is_terminated:
            seconds = round(self._expires_at - self._referrals.agent.clock.seconds())
            state = replace(state, expires=max(seconds, 0))
        headers = (
            ("Event", str(self._event)),
            ("Subscription-State", str(state)),
            ("Content-Type", f"{SIPFRAG};version=2.0"),
        )
        self._is_sending = True
        referrals = self._referrals
        request = referrals.dialog.request("NOTIFY", headers, notify.fragment.to_bytes())
        sending = referrals.agent.request_in_dialog(referrals.user, referrals.dialog, request)
        sending.addCallbacks(self._answered, self._failed)

    def _answered(self, response: Response) -> None:
        self._sent(is_taken=response.is_success)

    def _failed(self, failure: Failure) -> None:
        failure.trap(RemoteError, LocalError)
        self._sent(is_taken=False)

    def _sent(self, *, is_taken: bool) -> None:
        self._is_sending = False
        if is_taken:
            self._send()
        else:
            self._next = None
            self._perform(self._machine.feed(Event.REFUSED))
        if self.is_over:
            self._referrals.over()
        self._tell_over()

    def when_over(self) -> Deferred[None]:
        """Give a Deferred that fires when the last one has its answer, or none will follow."""
        over: Deferred[None] = Deferred()
        self._waiting.append(over)
        self._tell_over()
        return over

    def _tell_over(self) -> None:
        if self.is_over:
            waiting, self._waiting = self._waiting, []
            for over in waiting:
                over.callback(None)
