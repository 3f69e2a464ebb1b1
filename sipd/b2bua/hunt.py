"""The search for someone who answers: rounds of attempts, ringing, early media (RFC 3261 sections 13 and 16.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.events import Stopped, TimedOut
from sipd.b2bua.reasons import (
    ANSWERED_ELSEWHERE,
    CALLER_GAVE_UP,
    NO_ANSWER,
    SHUTDOWN,
    Reasons,
    reason,
    reasons_of,
)
from sipd.b2bua.refusals import Refusal, choose
from sipd.errors import RemoteError, SdpError
from sipd.ua.events import Answered, Cancelled, Ended, Failed, Progressed, Refused

if TYPE_CHECKING:
    from sipd.b2bua.asking import Asker
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.interfaces import Attempt, Route
    from sipd.sip.message import Response


class Hunt:
    """Tries the attempts of a route until one is answered or all have failed.

    Args:
        bridge: the call.
        route: whom to try.
        asker: who wants to talk with somebody.
    """

    def __init__(self, bridge: Bridge, route: Route, asker: Asker) -> None:
        self._bridge = bridge
        self._route = route
        self._asker = asker
        self._open: dict[str, Leg] = {}
        self._refusals: list[Refusal] = []
        self._is_over = False

    async def run(self) -> Leg | None:
        """Give the leg that answered, which the asker knows of; `None` if there is none, which it knows of, too."""
        for attempts in self._route.rounds:
            for attempt in attempts:
                await self._start(attempt, is_only=len(attempts) == 1)
            winner = await self._wait()
            if winner is not None or self._is_over:
                return winner
        self._asker.refused(choose(self._refusals))
        return None

    async def _start(self, attempt: Attempt, *, is_only: bool) -> None:
        """Send the INVITE of one attempt."""
        bridge = self._bridge
        leg = bridge.new_leg(attempt)
        leg.inbox = self._asker.inbox
        invitation = await self._asker.invitation(leg, attempt, is_only=is_only)
        if self._asker.is_gone:
            # It gave up while this was being prepared.
            return
        session = bridge.b2bua.agent.call(invitation)
        leg.record = {"leg": leg.name, "label": attempt.label, "call_id": session.call_id, "started_at": bridge.now()}
        bridge.record.attempts.append(leg.record)
        bridge.explain("attempt", f"{attempt.label} as {session.call_id}", leg.name)
        bridge.hold_leg(leg, session)
        bridge.start_timer(leg, attempt.timeout)
        self._open[leg.name] = leg
        session.start()

    async def _wait(self) -> Leg | None:
        """Take what happens until one attempt is answered, or none is left."""
        while self._open:
            leg, event = await self._asker.inbox.get()
            if leg is self._asker.leg:
                if isinstance(event, Cancelled | Ended | Stopped | TimedOut):
                    self._end(event)
                    return None
                await self._asker.told(leg, event)
                continue
            if leg.name not in self._open:
                continue
            match event:
                case Progressed(response):
                    leg.status = response.status
                    self._bridge.explain("progress", f"{response.status} {response.reason}", leg.name)
                    await self._asker.progressed(leg, event)
                case Answered(response, "INVITE"):
                    if await self._take(leg, response):
                        return leg
                case Refused(response, "INVITE"):
                    self._lose(leg, Refusal.of_response(response))
                case Failed(error, "INVITE"):
                    self._lose(leg, Refusal.of_error(error))
                case TimedOut():
                    refusal = Refusal(480, "No Answer", None, "no-answer") if leg.status else _no_response()
                    self._lose(leg, refusal, NO_ANSWER)
                case _:
                    await self._asker.told(leg, event)
        return None

    def _end(self, event: object) -> None:
        """The asker gave up, or someone stops the call."""
        self._is_over = True
        for leg in list(self._open.values()):
            self._close(leg, "cancelled", _why(event))
        self._asker.left(event)

    async def _take(self, leg: Leg, response: Response) -> bool:
        """Give the asker what the callee answered. Say whether that could be done."""
        bridge = self._bridge
        bridge.stop_timer(leg)
        try:
            if not await self._asker.answered(leg, response):
                return False
        except RemoteError as error:
            bridge.explain("answer", f"cannot be used: {error.reason}", leg.name)
            self._lose(leg, Refusal(488 if isinstance(error, SdpError) else 502, error.reason, None, "bad-answer"))
            return False
        leg.record.update(status=response.status, reason=response.reason)
        del self._open[leg.name]
        for other in list(self._open.values()):
            self._close(other, "answered elsewhere", ANSWERED_ELSEWHERE)
        bridge.explain("answered", f"{response.status} {response.reason}", leg.name)
        return True

    def _lose(self, leg: Leg, refusal: Refusal, headers: Reasons = ()) -> None:
        """An attempt failed: note it; a 6xx speaks for all places where the callee may be (section 21.6)."""
        leg.record["cause"] = refusal.cause
        leg.record.update(status=refusal.status, reason=refusal.reason)
        leg.side.status = refusal.status
        self._refusals.append(refusal)
        self._close(leg, f"{refusal.status} {refusal.reason}", headers)
        if refusal.status >= 600:
            self._is_over = True
            for other in list(self._open.values()):
                self._close(other, "refused for all", reason(refusal.status, refusal.reason))
            self._asker.refused(refusal)

    def _close(self, leg: Leg, text: str, headers: Reasons) -> None:
        leg.record.setdefault("reason", text)
        leg.record["ended_at"] = self._bridge.now()
        self._bridge.explain("attempt-ended", text, leg.name)
        self._open.pop(leg.name, None)
        self._asker.lost(leg)
        self._bridge.drop_leg(leg, headers)


def _why(event: object) -> Reasons:
    """Say why all attempts are cancelled: in the words of the caller's own CANCEL, if it has any."""
    if isinstance(event, Stopped):
        return SHUTDOWN
    return (reasons_of(event.request) if isinstance(event, Cancelled) else ()) or CALLER_GAVE_UP


def _no_response() -> Refusal:
    return Refusal(408, "No Response", None, "timeout")
