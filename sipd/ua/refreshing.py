"""Keeps one session refreshed, and ends it when nobody refreshes it any more (RFC 4028)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from sipd.errors import RemoteError, TransactionTimeoutError, TransportError
from sipd.sip import session_timer
from sipd.sip.glare import other_delay, owner_delay
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Request, Response
from sipd.sip.session_timer import Effects, Event, Fields, SessionTimer, SessionTimerPolicy
from sipd.timers import Timers
from sipd.ua.ending import expire

if TYPE_CHECKING:
    from sipd.ua.session import Session


class Refreshing:
    """The session timer of one session. Performs the effects of a `SessionTimer`.

    Args:
        session: whose timer it is.
        is_caller: whether this side chose the Call-ID: who did waits longer after 491 (RFC 3261 section 14.1).
    """

    __slots__ = ("_is_caller", "_machine", "_session", "_timers")

    def __init__(self, session: Session, *, is_caller: bool) -> None:
        self._session = session
        self._is_caller = is_caller
        self._machine = SessionTimer(session.settings.session_timer)
        self._timers = Timers(session.agent.clock, self._fired)

    @property
    def interval(self) -> int | None:
        """The interval in seconds, or ``None`` where there is no timer."""
        return self._machine.interval

    def use(self, policy: SessionTimerPolicy) -> None:
        """Want that from now on; nothing is agreed on yet."""
        self._machine.policy = policy

    def request_fields(self) -> Fields:
        """Give what an INVITE or UPDATE of this side says about the timer."""
        return self._machine.request_fields()

    def check(self, request: Request) -> None:
        """Look at an INVITE or UPDATE of the peer before anything is done for it.

        Raises:
            RequestRefusedError: 422, the interval is too short.
            ParseError: what it says about the timer is malformed.
        """
        self._machine.check(request)

    def accepted(self, request: Request) -> Fields:
        """Take an INVITE or UPDATE of the peer that gets a 2xx now; give what that says about the timer."""
        fields, effects = self._machine.answer(request)
        self._perform(effects)
        return fields

    def answered(self, response: Response) -> None:
        """Take the 2xx to an INVITE or UPDATE of this side."""
        self._perform(self._machine.answered(response))

    def refused(self, response: Response) -> None:
        """Take the refusal of an INVITE or UPDATE of this side, in a session that is established."""
        self._perform(self._machine.refused(response, self._back_off()))

    def failed(self, error: RemoteError) -> None:
        """Take note that an INVITE or UPDATE of this side, in a session that is established, has no answer."""
        is_gone = isinstance(error, TransactionTimeoutError | TransportError)
        self._perform(self._machine.feed(Event.GONE if is_gone else Event.REFUSED, error.reason))

    def postpone(self) -> None:
        """Try the refresh that was asked for again later: another change is under way, which may make it needless."""
        self._perform(self._machine.feed(Event.PENDING, self._back_off()))

    def may_retry(self, response: Response) -> bool:
        """Take a 422; say whether to send the request again, with new `request_fields`."""
        return self._machine.may_retry(response)

    def close(self) -> None:
        """The session is over."""
        self._perform(self._machine.feed(Event.CLOSE))

    def _back_off(self) -> float:
        return (owner_delay if self._is_caller else other_delay)(self._session.agent.entropy)

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case StartTimer(event, duration):
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case session_timer.Refresh():
                    self._refresh()
                case session_timer.Expire(reason):
                    expire(self._session, reason)

    def _refresh(self) -> None:
        """Refresh the session (section 7.4): by UPDATE, or by an INVITE like the last where the peer has no UPDATE."""
        session = self._session
        if session.dialog is None or not session.is_established:
            return
        if session.is_changing:
            self.postpone()
        elif session.allows_update:
            session.updates.refresh()
        else:
            session.invite_as_before()

    def _fired(self, event: Enum) -> None:
        self._perform(self._machine.feed(event))
