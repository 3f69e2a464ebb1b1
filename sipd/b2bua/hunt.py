"""The search for someone who answers: rounds of attempts, ringing, early media (RFC 3261 sections 13 and 16.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.events import SetupTimedOut, Stopped, TimedOut
from sipd.b2bua.reasons import (
    ANSWERED_ELSEWHERE,
    CALLER_GAVE_UP,
    NO_ANSWER,
    SHUTDOWN,
    Reasons,
    reason,
    reason_values,
    reasons_of,
)
from sipd.b2bua.redirecting import follow
from sipd.b2bua.refusals import Refusal, choose
from sipd.errors import LocalError, RemoteError, SdpError
from sipd.sip.glare import retry_after_of
from sipd.ua.events import Answered, Cancelled, Ended, Failed, Progressed, Refused

if TYPE_CHECKING:
    from sipd.b2bua.asking import Asker
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.interfaces import Attempt, Route
    from sipd.sip.message import Response
    from sipd.sip.uri import Uri


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
        #: By the name of a leg whose contacts of a 3xx are tried after it.
        self._following: dict[str, list[Attempt]] = {}
        self._tried: set[Uri] = set()
        self._refusals: list[Refusal] = []
        self._is_over = False

    async def run(self) -> Leg | None:
        """Give the leg that answered, which the asker knows of; ``None`` if there is none, which it knows of, too."""
        limit = self._route.setup_timeout
        timer = None
        if limit is not None:
            put = self._asker.inbox.put
            timer = self._bridge.b2bua.agent.clock.callLater(limit, put, (self._asker.leg, SetupTimedOut(limit)))
        try:
            return await self._run()
        except (RemoteError, LocalError):
            # Nobody waits any more for those that ring.
            for leg in list(self._open.values()):
                self._close(leg, "given up", ())
            raise
        finally:
            if timer is not None and timer.active():
                timer.cancel()

    async def _run(self) -> Leg | None:
        for attempts in self._route.rounds:
            for attempt in attempts:
                await self._start(attempt, is_only=len(attempts) == 1)
            winner = await self._wait()
            if winner is not None or self._is_over:
                return winner
        self._asker.refused(choose(self._refusals))
        return None

    async def _start(self, attempt: Attempt, *, is_only: bool, following: list[Attempt] | None = None) -> None:
        """Send the INVITE of one attempt.

        Args:
            attempt: whom to call.
            is_only: nobody else is called at the same time.
            following: tried one after another if this one fails.
        """
        bridge = self._bridge
        self._tried.add(attempt.uri)
        why = bridge.refusal_of(attempt)
        if why:
            bridge.explain("attempt-refused", f"{attempt.label}: {why}")
            self._refusals.append(Refusal(503, "Too Many Calls That Way", None, "limit"))
            await self._follow(following or [])
            return
        leg = bridge.new_leg(attempt)
        if following:
            self._following[leg.name] = following
        leg.inbox = self._asker.inbox
        try:
            await self._invite(leg, attempt, is_only=is_only)
        finally:
            if leg.name not in self._open:
                bridge.count_out(attempt)

    async def _invite(self, leg: Leg, attempt: Attempt, *, is_only: bool) -> None:
        bridge = self._bridge
        invitation = await self._asker.invitation(leg, attempt, is_only=is_only)
        if self._asker.is_gone:
            # It gave up while this was being prepared.
            return
        agent = bridge.b2bua.agent
        session = agent.call(leg.completed(invitation, agent.settings))
        leg.record.call_id, leg.record.started_at = session.call_id, bridge.now()
        bridge.record.attempts.append(leg.record)
        bridge.explain("attempt", f"{attempt.label} as {session.call_id}", leg.name)
        bridge.hold_leg(leg, session)
        bridge.start_timer(leg, min(attempt.timeout, attempt.response_timeout or attempt.timeout))
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
                if isinstance(event, SetupTimedOut):
                    self._give_up(event)
                    return None
                await self._asker.told(leg, event)
                continue
            if leg.name not in self._open:
                continue
            match event:
                case Progressed(response):
                    self._responds(leg)
                    leg.status = response.status
                    self._bridge.explain("progress", f"{response.status} {response.reason}", leg.name)
                    await self._asker.progressed(leg, event)
                case Answered(response, "INVITE"):
                    if await self._take(leg, response):
                        return leg
                case Refused(response, "INVITE"):
                    await self._refused(leg, response)
                case Failed(error, "INVITE"):
                    await self._lose(leg, Refusal.of_error(error))
                case TimedOut():
                    refusal = Refusal(480, "No Answer", None, "no-answer") if leg.status else _no_response()
                    await self._lose(leg, refusal, NO_ANSWER)
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
        leg.status = response.status
        try:
            if not await self._asker.answered(leg, response):
                return False
        except RemoteError as error:
            bridge.explain("answer", f"cannot be used: {error.reason}", leg.name)
            status = 488 if isinstance(error, SdpError) else 502
            await self._lose(leg, Refusal(status, "The Answer Cannot Be Used", None, "bad-answer", error.reason))
            return False
        leg.record.answered_at, leg.record.status, leg.record.reason = bridge.now(), response.status, response.reason
        leg.record.identity = leg.side.proved(response)
        del self._open[leg.name]
        for other in list(self._open.values()):
            self._close(other, "answered elsewhere", ANSWERED_ELSEWHERE)
        bridge.explain("answered", f"{response.status} {response.reason}", leg.name)
        self._judge(leg, response.status, response)
        return True

    def _responds(self, leg: Leg) -> None:
        """There is a provisional response: from now on the whole time holds."""
        attempt = leg.attempt
        if leg.record.ringing_at is None:
            leg.record.ringing_at = self._bridge.now()
        if attempt is not None and attempt.response_timeout is not None and not leg.status:
            self._bridge.stop_timer(leg)
            self._bridge.start_timer(leg, attempt.timeout)

    def _judge(self, leg: Leg, status: int, response: Response | None) -> None:
        """Let what knows of trunks know how one of them did."""
        trunks, attempt = self._bridge.b2bua.trunks, leg.attempt
        if trunks is not None and attempt is not None and attempt.trunk is not None:
            retry_after = None if response is None else retry_after_of(response)
            trunks.attempt_ended(attempt.trunk, status, attempt.next_hop, retry_after)

    async def _refused(self, leg: Leg, response: Response) -> None:
        """Take a final response that is no answer; a redirection is followed where the attempt allows that."""
        attempt = leg.attempt
        if attempt is not None and attempt.redirects and response.status < 400:
            found = follow(attempt, response, self._tried)
            self._bridge.explain("redirected", ", ".join(str(one.uri) for one in found) or "to nobody new", leg.name)
            self._following[leg.name] = found + self._following.get(leg.name, [])
        await self._lose(leg, Refusal.of_response(response))

    async def _follow(self, attempts: list[Attempt]) -> None:
        """Try the first of these, and the others if it fails."""
        if attempts and not self._is_over:
            await self._start(attempts[0], is_only=not self._open, following=attempts[1:])

    async def _lose(self, leg: Leg, refusal: Refusal, headers: Reasons = ()) -> None:
        """An attempt failed: note it, and go on; not after a 6xx, which speaks for all places (section 21.6)."""
        status = refusal.response.status if refusal.response is not None else 0
        # A trunk by which somebody's phone rang has done its part.
        self._judge(leg, status or leg.status, refusal.response)
        # What the other side has said itself; the caller may be told another status.
        said = refusal if refusal.response is None else refusal.response
        leg.record.cause, leg.record.status = refusal.cause, said.status
        leg.record.reason = refusal.account if refusal.response is None else refusal.response.reason
        if refusal.response is not None:
            leg.record.reasons = reason_values(refusal.response)
        leg.side.status = said.status
        meant = leg.hears(refusal)
        if meant is not refusal:
            self._bridge.explain("status", f"{refusal.status} {refusal.account} is taken for {meant.status}", leg.name)
        refusal = meant
        self._refusals.append(refusal)
        self._close(leg, f"{refusal.status} {refusal.account}", headers)
        stops = () if leg.attempt is None else leg.attempt.stops
        if refusal.status >= 600 or status in stops:
            self._is_over = True
            for other in list(self._open.values()):
                self._close(other, "refused for all", reason(refusal.status, refusal.reason))
            self._asker.refused(refusal)
            return
        await self._follow(self._following.pop(leg.name, []))

    def _give_up(self, event: SetupTimedOut) -> None:
        """Nobody has answered in the time that the whole search may take."""
        self._is_over = True
        for leg in list(self._open.values()):
            self._close(leg, "out of time", NO_ANSWER)
        self._bridge.explain("setup-timeout", f"nobody has answered within {event.limit:g} s")
        self._asker.refused(Refusal(480, "No Answer", None, "no-answer"))

    def _close(self, leg: Leg, text: str, headers: Reasons) -> None:
        leg.record.reason = leg.record.reason or text
        leg.record.ended_at = self._bridge.now()
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
