"""Messages outside of calls: a user's MESSAGE goes to whom it is for, and the answer comes back (RFC 3428).

Who may send, and where to, is decided as for calls. Nothing is stored: who is not there does not get it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sipd.b2bua.delivery import Delivery
from sipd.b2bua.headers import body_fields, crossing
from sipd.b2bua.page import Page
from sipd.b2bua.refusals import Refusal
from sipd.errors import LocalError, RemoteError, RequestRefusedError
from sipd.interfaces import IRequestHandler, IServerTransaction, RoutingRequest
from sipd.sip.grammar import printable
from sipd.sip.headers import Fields
from sipd.sip.identifiers import new_tag
from sipd.sip.locate import Target
from sipd.sip.message import Response
from sipd.sip.validation import find_spent_hops

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.b2bua.service import B2bua

#: What a callee can read: in a call the legs' own, here the callee's, for whom the body is meant.
_WHAT_IT_READS = frozenset(("accept", "accept-encoding"))


@implementer(IRequestHandler)
class Messages:
    """Carries each MESSAGE that comes from outside of a dialog to where the router sends it.

    Args:
        b2bua: whose user agent, router and authenticator serve messages, too.
        max_pending: messages at a time that are not answered yet; further ones are answered with 503.
    """

    _log = Logger()

    extensions: frozenset[str] = frozenset()

    def __init__(self, b2bua: B2bua, *, max_pending: int = 1000) -> None:
        self._b2bua = b2bua
        self._max_pending = max_pending
        self._pending: dict[IServerTransaction, Delivery] = {}
        self._is_draining = False
        self._is_full = False
        self._idle: list[Deferred[None]] = []

    def __len__(self) -> int:
        """How many messages are not answered yet."""
        return len(self._pending)

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        refused = self._refusal() or find_spent_hops(transaction.request)
        if refused is not None:
            self._respond(transaction, refused.status, refused.reason, refused.headers)
            return
        delivery = Delivery(self._b2bua.agent)
        self._pending[transaction] = delivery
        carrying = Deferred.fromCoroutine(self._carry(transaction, delivery))
        carrying.addErrback(self._failed, transaction).addCallback(self._ended, transaction)

    def drain(self) -> Deferred[None]:
        """Take no more messages (503 with Retry-After); the Deferred fires when those that there are are answered."""
        self._is_draining = True
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        self._tell()
        return idle

    def stop(self) -> None:
        """Answer every message that waits for a contact with 503."""
        for delivery in list(self._pending.values()):
            delivery.stop()

    def _refusal(self) -> RequestRefusedError | None:
        """Say why no message is taken now; too many are logged once, until half of them are gone."""
        if self._is_draining:
            reason = "Shutting Down"
        elif len(self._pending) >= self._max_pending:
            reason = "Too Many Messages"
            if not self._is_full:
                self._is_full = True
                self._log.warn("{limit} messages are pending: new ones get 503", limit=self._max_pending)
        else:
            return None
        retry_after = str(self._b2bua.settings.retry_after)
        return RequestRefusedError(reason, status=503, headers=(("Retry-After", retry_after),))

    # --- one message ------------------------------------------------------------------------------------------

    async def _carry(self, transaction: IServerTransaction, delivery: Delivery) -> None:
        request = transaction.request
        considered: tuple[str, ...] = ()
        headers: Fields = ()
        body = b""
        user = None
        try:
            asked = _routing_request(transaction)
            if self._b2bua.router.needs_authentication(asked):
                user = await self._b2bua.authenticate(request)
            route = await self._b2bua.router.route(replace(asked, user=user))
            considered = route.considered
            if route.refusal is not None:
                status, reason = route.refusal
            else:
                outcome = await delivery.run(Page(self._b2bua.agent, request), route.rounds)
                status, reason = _status(outcome)
                response = outcome.response if isinstance(outcome, Refusal) else outcome
                if response is not None:
                    headers, body = _content(response)
        except RequestRefusedError as error:
            status, reason, headers = error.status, error.reason, error.headers
        except RemoteError as error:
            status, reason = error.status, error.reason
        self._respond(transaction, status, reason, headers, body)
        if status not in (401, 407):
            self._explain(transaction, user, f"{status} {reason}", (*considered, *delivery.notes))

    def _explain(self, transaction: IServerTransaction, user: str | None, outcome: str, steps: tuple[str, ...]) -> None:
        """Say in one line of the log who wrote to whom, how long it is, what came of it and why; not what it says."""
        request, flow = transaction.request, transaction.flow
        self._log.info(
            "message from {caller} to {callee}, {size_octets} octets: {description}",
            caller=printable(str(request.from_.uri)),
            callee=printable(request.uri_text),
            size_octets=len(request.body),
            description=printable("; ".join((outcome, *steps)), 500),
            call_id=request.call_id,
            user=user,
            peer=f"{flow.transport.value.lower()}:{flow.host}:{flow.port}",
        )

    def _respond(
        self, transaction: IServerTransaction, status: int, reason: str, headers: Fields = (), body: bytes = b""
    ) -> None:
        tag = new_tag(self._b2bua.agent.entropy)
        transaction.respond(transaction.request.response(status, reason, to_tag=tag, headers=headers, body=body))

    def _failed(self, failure: Failure, transaction: IServerTransaction) -> None:
        """Answer 500: a credential store that is out of reach, or a bug."""
        if failure.check(LocalError):
            self._log.error("a message failed: {error}", error=failure.value)
        else:
            self._log.failure("a message broke", failure)
        if not transaction.is_answered:
            self._respond(transaction, 500, "Server Internal Error")

    def _ended(self, _: None, transaction: IServerTransaction) -> None:
        del self._pending[transaction]
        if len(self._pending) <= self._max_pending // 2:
            self._is_full = False
        self._tell()

    def _tell(self) -> None:
        if not self._pending:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)


def _routing_request(transaction: IServerTransaction) -> RoutingRequest:
    flow = transaction.flow
    return RoutingRequest(
        request=transaction.request,
        user=None,
        source=Target(transport=flow.transport, host=flow.host, port=flow.port),
        point=flow.point.name,
    )


def _status(outcome: Response | Refusal) -> tuple[int, str]:
    """Give what the sender is told. A 408 would never be sent: nobody waits for it any more (RFC 4320 section 4.2)."""
    return (480, "No Answer") if outcome.status == 408 else (outcome.status, outcome.reason)


def _content(response: Response) -> tuple[Fields, bytes]:
    """Give what crosses of an answer: of a 2xx neither Contact nor a body (RFC 3428 section 7)."""
    fields = crossing(response.headers)
    if response.is_success:
        return fields, b""
    if response.status < 400:
        fields.copy_lines(response.headers, "Contact")
    fields.copy_only(response.headers, _WHAT_IT_READS)
    fields.extend(body_fields(response.headers))
    return fields, response.body
