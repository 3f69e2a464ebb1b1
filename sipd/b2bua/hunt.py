"""The search for someone who answers: rounds of attempts, ringing, early media (RFC 3261 sections 13 and 16.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.bodies import find_description
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
from sipd.errors import ParseError, RemoteError, SdpError
from sipd.ua.events import Answered, Cancelled, Failed, Progressed, Refused
from sipd.ua.outgoing import CallRequest

if TYPE_CHECKING:
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.interfaces import Attempt, Route
    from sipd.sip.message import Response


class Hunt:
    """Tries the attempts of a route until one is answered or all have failed."""

    def __init__(self, bridge: Bridge, route: Route) -> None:
        self._bridge = bridge
        self._route = route
        self._open: dict[str, Leg] = {}
        self._refusals: list[Refusal] = []
        self._early: Leg | None = None
        self._is_over = False

    async def run(self) -> Leg | None:
        """Give the leg that answered, with the caller answered too; `None` if the call is over."""
        for attempts in self._route.rounds:
            for attempt in attempts:
                await self._start(attempt)
            winner = await self._wait()
            if winner is not None or self._is_over:
                return winner
        self._bridge.refuse(choose(self._refusals))
        return None

    async def _start(self, attempt: Attempt) -> None:
        """Send the INVITE of one attempt."""
        bridge = self._bridge
        request = bridge.call.invite
        leg = bridge.new_leg(attempt)
        description = None
        if bridge.offer is not None:
            bridge.prefer_family(leg)
            description = await bridge.media.offer(bridge.caller.name, leg.name, bridge.offer)
        if bridge.call.is_over:
            # It gave up while this was being prepared.
            return
        content = leg.content(request, description)
        hops = request.max_forwards
        session = bridge.b2bua.agent.call(
            CallRequest(
                uri=attempt.uri,
                caller=request.from_.without_parameters(),
                callee=request.to.without_parameters(),
                headers=content.headers,
                body=content.body,
                max_forwards=(70 if hops is None else hops) - 1,
                route_set=attempt.route_set,
                next_hop=attempt.next_hop,
                source=attempt.source,
                credentials=attempt.credentials,
            )
        )
        leg.record = {"leg": leg.name, "label": attempt.label, "call_id": session.call_id, "started_at": bridge.now()}
        bridge.record.attempts.append(leg.record)
        bridge.explain("attempt", f"{attempt.label} as {session.call_id}", leg.name)
        bridge.hold_leg(leg, session)
        bridge.start_timer(leg, attempt.timeout)
        self._open[leg.name] = leg
        session.start()

    async def _wait(self) -> Leg | None:
        """Take what happens until one attempt is answered, or none is left."""
        bridge = self._bridge
        while self._open:
            leg, event = await bridge.inbox.get()
            if leg is bridge.caller:
                self._end(event)
                return None
            if leg.name not in self._open:
                continue
            match event:
                case Progressed(response):
                    await self._progress(leg, response)
                case Answered(response):
                    if await self._take(leg, response):
                        return leg
                case Refused(response):
                    self._lose(leg, Refusal.of_response(response))
                case Failed(error):
                    self._lose(leg, Refusal.of_error(error))
                case TimedOut():
                    refusal = Refusal(480, "No Answer", None, "no-answer") if leg.status else _no_response()
                    self._lose(leg, refusal, NO_ANSWER)
        return None

    def _end(self, event: object) -> None:
        """The caller gave up, or someone stops the call."""
        bridge = self._bridge
        self._is_over = True
        for leg in list(self._open.values()):
            self._close(leg, "cancelled", _why(event))
        if isinstance(event, Stopped):
            bridge.refuse(Refusal(503, "Service Unavailable", None, "stopped"), (("Retry-After", "30"),))
            return
        bridge.given_up(event)

    async def _progress(self, leg: Leg, response: Response) -> None:
        """Pass ringing and early media on; of several legs the first that sends early media is heard."""
        bridge = self._bridge
        leg.status = response.status
        if bridge.record.ringing_at is None:
            bridge.record.ringing_at = bridge.now()
        bridge.explain("progress", f"{response.status} {response.reason}", leg.name)
        answer = None
        try:
            description = find_description(response)
            if description is not None and bridge.offer is not None and self._early in (None, leg):
                answer = await bridge.media.answer(leg.name, bridge.caller.name, description)
                leg.early = description
                self._early = leg
        except ParseError as error:
            bridge.explain("early-media", f"ignored: {error.reason}", leg.name)
        content = bridge.caller.content(response, answer)
        bridge.call.ring(response.status, response.reason, content.headers, content.body)

    async def _take(self, leg: Leg, response: Response) -> bool:
        """Answer the caller with what the callee answered. Say whether that could be done."""
        bridge = self._bridge
        bridge.stop_timer(leg)
        try:
            await self._answer(leg, response)
        except RemoteError as error:
            bridge.explain("answer", f"cannot be used: {error.reason}", leg.name)
            self._lose(leg, Refusal(488 if isinstance(error, SdpError) else 502, error.reason, None, "bad-answer"))
            return False
        if not bridge.call.is_established:
            # Its CANCEL is in the inbox: the callee is let go when it is taken out.
            return False
        leg.record.update(status=response.status, reason=response.reason)
        del self._open[leg.name]
        for other in list(self._open.values()):
            self._close(other, "answered elsewhere", ANSWERED_ELSEWHERE)
        bridge.record.answered_at = bridge.now()
        bridge.record.status, bridge.record.reason = response.status, response.reason
        bridge.explain("answered", f"{response.status} {response.reason}", leg.name)
        return True

    async def _answer(self, leg: Leg, response: Response) -> None:
        bridge = self._bridge
        description = find_description(response)
        if bridge.offer is None:
            if description is None:
                raise SdpError("The callee made no offer in its answer to an INVITE without one")
            offered = await bridge.media.offer(leg.name, bridge.caller.name, description)
            content = bridge.caller.content(response, offered)
            bridge.call.accept(content.headers, content.body)
            return
        description = description or leg.early
        if description is None:
            raise SdpError("The callee answered without a session description")
        answer = await bridge.media.answer(leg.name, bridge.caller.name, description)
        content = bridge.caller.content(response, answer)
        bridge.call.accept(content.headers, content.body)
        leg.session.acknowledge()

    def _lose(self, leg: Leg, refusal: Refusal, headers: Reasons = ()) -> None:
        """An attempt failed: note it; a 6xx speaks for all places where the callee may be (section 21.6)."""
        leg.record["cause"] = refusal.cause
        leg.record.update(status=refusal.status, reason=refusal.reason)
        self._refusals.append(refusal)
        self._close(leg, f"{refusal.status} {refusal.reason}", headers)
        if refusal.status >= 600:
            self._is_over = True
            for other in list(self._open.values()):
                self._close(other, "refused for all", reason(refusal.status, refusal.reason))
            self._bridge.refuse(refusal)

    def _close(self, leg: Leg, text: str, headers: Reasons) -> None:
        leg.record.setdefault("reason", text)
        leg.record["ended_at"] = self._bridge.now()
        self._bridge.explain("attempt-ended", text, leg.name)
        self._open.pop(leg.name, None)
        if self._early is leg:
            self._early = None
        self._bridge.drop_leg(leg, headers)


def _why(event: object) -> Reasons:
    """Say why all attempts are cancelled: in the words of the caller's own CANCEL, if it has any."""
    if isinstance(event, Stopped):
        return SHUTDOWN
    return (reasons_of(event.request) if isinstance(event, Cancelled) else ()) or CALLER_GAVE_UP


def _no_response() -> Refusal:
    return Refusal(408, "No Response", None, "timeout")
