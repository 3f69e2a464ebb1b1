"""What one side of a call asks the other beside the session: INFO, MESSAGE and the like (RFC 6086, 3428, 7092)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sipd.b2bua.digits import DigitInfo
from sipd.b2bua.headers import body_fields
from sipd.b2bua.refusals import Refusal
from sipd.errors import LocalError, RemoteError
from sipd.sip.dialog import TARGET_REFRESH
from sipd.sip.grammar import printable
from sipd.sip.headers import Fields, Headers
from sipd.sip.status import reason_phrase
from sipd.ua.bodies import is_other_content

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.identity import Side
    from sipd.b2bua.leg import Leg
    from sipd.sip.message import Request, Response
    from sipd.ua.requesting import Requesting

#: What belongs to a leg elsewhere, but is said of such a message, or of what its sender can read.
_OF_THE_MESSAGE = frozenset(("accept", "accept-encoding", "expires"))


class Infos:
    """Carries such requests of one leg to the other as they are, one after the other, and the answers back.

    One at a time: over UDP the next one could overtake one that is lost and sent again, whose number would then be too
    low (RFC 3261 section 12.2.2), and a digit would be missing. Meanwhile the call goes on: nobody waits for this but
    the requests of the same leg. How many of these may wait is the session's bound (`sipd.ua.requesting`).

    Args:
        bridge: the call.
        leg: who asks.
        other: who is asked.
    """

    __slots__ = ("_bridge", "_is_busy", "_leg", "_other", "_waiting")

    _log = Logger()

    def __init__(self, bridge: Bridge, leg: Leg, other: Leg) -> None:
        self._bridge = bridge
        self._leg = leg
        self._other = other
        self._waiting: deque[tuple[float, Requesting | DigitInfo]] = deque()
        self._is_busy = False

    def take(self, requesting: Requesting | DigitInfo) -> None:
        """Carry a request across, now or when those before it are answered; it is answered in any case."""
        self._waiting.append((self._now(), requesting))
        if not self._is_busy:
            self._is_busy = True
            Deferred.fromCoroutine(self._carry_all())

    async def _carry_all(self) -> None:
        while self._waiting:
            since, requesting = self._waiting.popleft()
            await Deferred.fromCoroutine(self._carry(since, requesting)).addErrback(self._broke, requesting)
        self._is_busy = False

    async def _carry(self, since: float, requesting: Requesting | DigitInfo) -> None:
        """Carry one. What has waited for half of its client's patience is not sent: the answer might come too late."""
        request = requesting.request
        if requesting.is_answered:
            self._answer(requesting, 487)
        elif self._now() - since > self._bridge.b2bua.agent.settings.timers.timeout / 2:
            self._answer(requesting, 504)
        else:
            try:
                # What begins here says nothing of who is on the other leg.
                is_own = isinstance(requesting, DigitInfo)
                fields = body_fields(request.headers) if is_own else _fields(request, self._other.side)
                response = await self._other.session.request(request.method, fields, _body(request))
            except (RemoteError, LocalError) as error:
                refusal = Refusal.of_error(error)
                self._answer(requesting, refusal.status, refusal.reason)
            else:
                status, reason = response.status, response.reason
                if not response.is_success:
                    refusal = Refusal.of_response(response)
                    status, reason = refusal.status, refusal.reason
                content = _fields(response, self._leg.side)
                if response.is_success:
                    content.extend(self._own_fields(request.method))
                self._answer(requesting, status, reason, content, _body(response))

    def _own_fields(self, method: str) -> Fields:
        """Give what a 2xx says of this side of the leg."""
        session = self._leg.session
        if method in TARGET_REFRESH and session.dialog is not None:
            return (("Contact", session.dialog.contact),)
        fields = Headers()
        if method == "OPTIONS":
            session.agent.add_capabilities(fields, session.settings)
        return fields

    def _answer(
        self,
        requesting: Requesting | DigitInfo,
        status: int,
        reason: str | None = None,
        headers: Fields = (),
        body: bytes = b"",
    ) -> None:
        """Answer it, unless the end of the call has done so; say in one line what it was, never what it said."""
        request = requesting.request
        kind = printable(request.headers.get("Content-Type") or "no content", 80)
        outcome = "the call ended before its answer" if requesting.is_answered else f"{status} {reason or ''}".rstrip()
        text = f"{request.method}, {kind}, {len(request.body)} octets: {printable(outcome)}"
        self._bridge.explain("info", text, self._other.name)
        if status >= 300 and self._leg.policy is not None:
            refusal = Refusal(status, reason or reason_phrase(status))
            told, headers = self._leg.refusal(refusal, headers, method=request.method, in_dialog=True)
            status, reason = told.status, told.reason
        requesting.answer(status, reason, headers, body)

    def _broke(self, failure: Failure, requesting: Requesting | DigitInfo) -> None:
        """A bug costs this one request only."""
        self._log.failure("a request inside of call {call} broke", failure, call=self._bridge.id)
        requesting.answer(500)

    def _now(self) -> float:
        return self._bridge.b2bua.agent.clock.seconds()


def _fields(message: Request | Response, receiver: Side) -> Headers:
    """Give the header fields that cross with such a message, those of its body among them."""
    fields = receiver.take(message)
    fields.copy_only(message.headers, _OF_THE_MESSAGE)
    if _body(message):
        fields.extend(body_fields(message.headers))
    return fields


def _body(message: Request | Response) -> bytes:
    """Give the body that crosses: a description of the other side, such as an answer to OPTIONS may have, does not."""
    return message.body if is_other_content(message) else b""
