"""A redirect server: says where else to ask, and forwards nothing (RFC 3261 section 8.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import RemoteError, RequestRefusedError, TransactionTimeoutError
from sipd.interfaces import Entropy, IFlow, IServerTransaction, IServerTransactionUser, ITransactionCore
from sipd.sip.fields import NameAddr
from sipd.sip.identifiers import new_tag
from sipd.sip.message import Request, Response
from sipd.sip.validation import find_unsupported_scheme

#: Gives the other addresses of whom a request is for, by their preference (``q``, if they have one).
FindContacts = Callable[[Request, IFlow], "Deferred[Sequence[NameAddr]]"]

_RETRY_AFTER = 10


@implementer(ITransactionCore)
class RedirectServer:
    """Answers every request with the addresses that the application knows for it.

    One address is 302, several are 300, none is 404. An address that is the Request-URI itself is left out: to go there
    would lead here again. Option tags, header fields and methods that nobody knows make no difference (section 8.3).

    Args:
        find: gives the addresses, each a value for Contact. To refuse a request, its Deferred fails with a
            `RemoteError`, whose status and reason are answered; of a `RequestRefusedError` the header fields, too. It
            is cancelled when the caller gives up.
        clock: measures how long the application takes.
        entropy: for tags.
        status: for a single address; 301 says that it is the only one from now on, 302 that it is for this time.
        timeout: seconds that the application has for its answer; then its Deferred is cancelled, and the request is
            answered with 504.
        max_pending: requests whose addresses are being looked for; at so many a further one is refused with 503.
        max_contacts: in one response; those beyond are left out.

    Raises:
        ValueError: the status is no 3xx, or a bound is not positive.
    """

    def __init__(
        self,
        find: FindContacts,
        *,
        clock: IReactorTime,
        entropy: Entropy,
        status: int = 302,
        timeout: float = 30.0,
        max_pending: int = 10_000,
        max_contacts: int = 32,
    ) -> None:
        if not 300 <= status < 400:
            raise ValueError(f"{status} is no redirection")
        if min(timeout, max_pending, max_contacts) <= 0:
            raise ValueError("Bounds must be positive")
        self.find = find
        self.clock = clock
        self.timeout = timeout
        self.entropy = entropy
        self.status = status
        self.max_contacts = max_contacts
        self._max_pending = max_pending
        self._pending: dict[IServerTransaction, _Question] = {}

    def __len__(self) -> int:
        """How many requests wait for their addresses."""
        return len(self._pending)

    def close(self) -> None:
        """Forget every request that waits, and say nothing. Idempotent."""
        for question in list(self._pending.values()):
            question.end()

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        fault = find_unsupported_scheme(transaction.request)
        if fault is not None:
            raise fault
        if len(self._pending) >= self._max_pending:
            headers = (("Retry-After", str(_RETRY_AFTER)),)
            raise RequestRefusedError("Service Unavailable", status=503, headers=headers)
        question = _Question(self, transaction)
        self._pending[transaction] = question
        transaction.user = question
        question.ask()

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        question = self._pending.get(transaction)
        if question is not None:
            question.refuse(RemoteError("Request Terminated", status=487))

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`. No 2xx leaves from here, so this is for somebody else."""

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`. No request leaves from here, either."""

    def question_ended(self, transaction: IServerTransaction) -> None:
        """Forget a request."""
        self._pending.pop(transaction, None)


@implementer(IServerTransactionUser)
class _Question:
    """A request whose addresses are being looked for."""

    _log = Logger()

    def __init__(self, server: RedirectServer, transaction: IServerTransaction) -> None:
        self._server = server
        self._transaction = transaction
        self._finding: Deferred[Sequence[NameAddr]] | None = None
        self._is_over = False

    def ask(self) -> None:
        """Ask the application."""
        transaction = self._transaction
        finding = maybeDeferred(self._server.find, transaction.request, transaction.flow)
        self._finding = finding.addTimeout(self._server.timeout, self._server.clock, _too_slow)
        finding.addCallbacks(self._found, self._failed).addErrback(self._broke)

    def refuse(self, error: RemoteError) -> None:
        """Refuse the request."""
        if self._is_over:
            return
        self._respond(error.status, error.reason, error.headers if isinstance(error, RequestRefusedError) else ())

    def end(self) -> None:
        """Ask no more, and answer nothing. Idempotent."""
        self._is_over = True
        self._server.question_ended(self._transaction)
        finding, self._finding = self._finding, None
        if finding is not None:
            finding.cancel()

    def transaction_failed(self, error: RemoteError) -> None:
        """See `IServerTransactionUser`. After a lost connection the answer may find another one."""
        if isinstance(error, TransactionTimeoutError):
            self.end()

    def _found(self, contacts: Sequence[NameAddr]) -> None:
        self._finding = None
        if self._is_over:
            return
        uri = self._transaction.request.uri
        others = [contact for contact in contacts if contact.uri != uri][: self._server.max_contacts]
        if not others:
            self._respond(404, None, ())
            return
        status = self._server.status if len(others) == 1 else 300
        self._respond(status, None, [("Contact", str(contact)) for contact in others])

    def _failed(self, failure: Failure) -> Failure | None:
        self._finding = None
        if self._is_over:
            return None
        error = failure.value
        if not isinstance(error, RemoteError):
            return failure
        self.refuse(error)
        return None

    def _broke(self, failure: Failure) -> None:
        if not self._is_over:
            self._log.failure("{request} could not be redirected", failure, request=self._transaction.request)
            self._respond(500, None, ())

    def _respond(self, status: int, reason: str | None, headers: Sequence[tuple[str, str]]) -> None:
        tag = new_tag(self._server.entropy)
        response = self._transaction.request.response(status, reason, to_tag=tag, headers=headers)
        self.end()
        self._transaction.respond(response)


def _too_slow(_: object, __: float) -> Failure:
    return Failure(RequestRefusedError("Server Time-out", status=504))
