"""Requests outside of dialogs: who may send them, where they go, and how many wait for their answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sipd.b2bua.headers import body_fields, crossing
from sipd.b2bua.identity import Identities
from sipd.b2bua.policing import apply_headers, tell
from sipd.b2bua.refusals import Refusal
from sipd.errors import LocalError, RequestRefusedError
from sipd.interfaces import IServerTransaction, Route
from sipd.sip.headers import Fields, Headers
from sipd.sip.identifiers import new_tag
from sipd.sip.message import Response
from sipd.sip.validation import find_spent_hops

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.b2bua.service import B2bua
    from sipd.interfaces import LegPolicy

#: What a callee can read: in a call the legs' own, here the callee's, for whom the body is meant.
_WHAT_IT_READS = frozenset(("accept", "accept-encoding", "allow-events"))


class OutsideRequests(ABC):
    """Takes the requests of one method that come from outside of a dialog, each in a coroutine of its own.

    Who may send them, and where to, is decided as for calls.

    Args:
        b2bua: whose user agent, router and authenticator serve these, too.
        max_pending: requests at a time that are not answered yet; further ones are answered with 503. May be changed.
    """

    _log = Logger()

    #: What one of them is called in the log and in phrases.
    what = "request"
    extensions: frozenset[str] = frozenset()

    def __init__(self, b2bua: B2bua, *, max_pending: int) -> None:
        self.b2bua = b2bua
        self.max_pending = max_pending
        self._pending: set[IServerTransaction] = set()
        self._is_draining = False
        self._is_full = False
        self._idle: list[Deferred[None]] = []

    def __len__(self) -> int:
        """How many requests are not answered yet."""
        return len(self._pending)

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        refused = self._refusal() or find_spent_hops(transaction.request)
        if refused is not None:
            self.respond(transaction, refused.status, refused.reason, refused.headers)
            return
        self._pending.add(transaction)
        taking = Deferred.fromCoroutine(self.take(transaction))
        taking.addErrback(self._failed, transaction).addCallback(self._ended, transaction)

    def drain(self) -> Deferred[None]:
        """Take no more (503 with Retry-After); the Deferred fires when those that there are are answered."""
        self._is_draining = True
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        self._tell()
        return idle

    @abstractmethod
    async def take(self, transaction: IServerTransaction) -> None:
        """Answer a request; what it raises is logged and answered with 500."""

    async def identify(self, transaction: IServerTransaction) -> str | None:
        """Give the name of the user who sends it, or ``None`` where the route does not ask.

        Raises:
            RequestRefusedError: 407, or 403.
        """
        if not self.b2bua.router.needs_authentication(self.b2bua.asked(transaction.request, transaction.flow)):
            return None
        return await self.b2bua.authenticate(transaction.request)

    async def route(self, transaction: IServerTransaction, user: str | None) -> Route:
        """Give where it goes."""
        return await self.b2bua.router.route(self.b2bua.asked(transaction.request, transaction.flow, user))

    def identities(self, transaction: IServerTransaction, user: str | None, route: Route | None = None) -> Identities:
        """Give what those that it goes to are told of who sends it.

        Args:
            transaction: of the request.
            user: who sends it.
            route: where it goes; says what is wanted of who sends it.
        """
        request, host = transaction.request, transaction.flow.host
        settings = self.b2bua.settings
        identities = Identities(settings.identity, self.b2bua.agent.entropy, request, host, settings.user_policies)
        identities.caller.user = user
        policy = (route.caller_policy if route is not None else None) or identities.policy_of(user)
        if policy is not None:
            identities.caller.use(policy)
        return identities

    def too_many(self, reason: str) -> RequestRefusedError:
        """Give the refusal of what is too much: 503 with Retry-After."""
        retry_after = str(self.b2bua.settings.retry_after)
        return RequestRefusedError(reason, status=503, headers=(("Retry-After", retry_after),))

    def respond(
        self, transaction: IServerTransaction, status: int, reason: str, headers: Fields = (), body: bytes = b""
    ) -> None:
        """Answer a request that makes no dialog."""
        tag = new_tag(self.b2bua.agent.entropy)
        transaction.respond(transaction.request.response(status, reason, to_tag=tag, headers=headers, body=body))

    def _refusal(self) -> RequestRefusedError | None:
        """Say why none is taken now; too many are logged once, until half of them are gone."""
        if self._is_draining:
            return self.too_many("Shutting Down")
        if len(self._pending) < self.max_pending:
            return None
        if not self._is_full:
            self._is_full = True
            self._log.warn("{limit} {what}s are pending: new ones get 503", limit=self.max_pending, what=self.what)
        return self.too_many(f"Too Many {self.what.title()}s")

    def _failed(self, failure: Failure, transaction: IServerTransaction) -> None:
        """Answer 500: a credential store that is out of reach, or a bug."""
        if failure.check(LocalError):
            self._log.error("a {what} failed: {error}", what=self.what, error=failure.value)
        else:
            self._log.failure("a {what} broke", failure, what=self.what)
        if not transaction.is_answered:
            self.respond(transaction, 500, "Server Internal Error")

    def _ended(self, _: None, transaction: IServerTransaction) -> None:
        self._pending.discard(transaction)
        if len(self._pending) <= self.max_pending // 2:
            self._is_full = False
        self._tell()

    def _tell(self) -> None:
        if not self._pending:
            idle, self._idle = self._idle, []
            for deferred in idle:
                deferred.callback(None)


def status_of(outcome: Response | Refusal) -> tuple[int, str]:
    """Give what the sender is told. A 408 would never be sent: nobody waits for it any more (RFC 4320 section 4.2)."""
    return (480, "No Answer") if outcome.status == 408 else (outcome.status, outcome.reason)


def content_of(outcome: Response | Refusal) -> tuple[Fields, bytes]:
    """Give what crosses of an answer: of a 2xx neither Contact nor a body (RFC 3428 section 7, RFC 3903 section 4)."""
    response = outcome.response if isinstance(outcome, Refusal) else outcome
    if response is None:
        return (), b""
    fields = crossing(response.headers)
    fields.copy_lines(response.headers, "Session-ID")
    if response.is_success:
        return fields, b""
    if response.status < 400:
        fields.copy_lines(response.headers, "Contact")
    fields.copy_only(response.headers, _WHAT_IT_READS)
    fields.extend(body_fields(response.headers))
    return fields, response.body


def answer_of(outcome: Response | Refusal, policy: LegPolicy | None) -> tuple[int, str, Fields, bytes]:
    """Give status, phrase, fields and body that a sender with that policy, if it has one, is told."""
    status, reason = status_of(outcome)
    fields, body = content_of(outcome)
    if policy is None:
        return status, reason, fields, body
    response = outcome.response if isinstance(outcome, Refusal) else outcome
    said = Headers(fields)
    if response is not None and policy.headers is not None:
        apply_headers(policy.headers, said, response, {"method": response.cseq.method})
    if status < 300:
        return status, reason, said, body
    method = "" if response is None else response.cseq.method
    refusal, told = tell(policy, Refusal(status, reason, response), said, method=method, in_dialog=False)
    return (refusal.status if refusal.status != 408 else 480), refusal.reason, told, body


def peer_of(transaction: IServerTransaction) -> str:
    """Give where a request came from, for the log."""
    flow = transaction.flow
    return f"{flow.transport.value.lower()}:{flow.host}:{flow.port}"
