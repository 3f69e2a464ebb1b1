"""Handlers of requests by method: what an endpoint does with what comes to it (RFC 3261 section 8.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import RemoteError, RequestRefusedError
from sipd.interfaces import IFlow, IServerTransaction, IServerTransactionUser, ITransactionCore
from sipd.sip.message import Request, Response
from sipd.ua.accepting import Accepted
from sipd.ua.interfaces import IMessageModule
from sipd.ua.settings import KNOWN_METHODS

#: What a handler gives: a response, now or later, or ``None`` if it has answered, or will answer, by the transaction.
Answer = Response | None
#: Answers the requests of a method.
Handler = Callable[[Request, IServerTransaction], Answer | Awaitable[Answer]]
#: Answers them below the transactions.
StatelessHandler = Callable[[Request, IFlow], Answer]
#: Takes ACKs, for which there is no answer.
AckHandler = Callable[[Request, IFlow], object]
#: Takes responses that belong to no transaction.
StrayHandler = Callable[[Response, IFlow], object]


@implementer(ITransactionCore)
class Handling:
    """Gives each request to the handler of its method, and sends what that gives back.

    Args:
        accepted: repeats what is accepted.
        tag: gives the To tag of responses that have none.
        resend: sends an ACK again.
        name: for Server; empty to say nothing.

    Attributes:
        handlers: by method.
        otherwise: for all other methods; without it they get 405 or 501, and OPTIONS gets 200.
        ack: takes ACKs of 2xx, and stray ones.
        stray: takes responses that belong to nothing.
    """

    _log = Logger()

    def __init__(
        self, accepted: Accepted, *, tag: Callable[[Request], str], resend: Callable[[Request, IFlow], None], name: str
    ) -> None:
        self.handlers: dict[str, Handler] = {}
        self.otherwise: Handler | None = None
        self.ack: AckHandler | None = None
        self.stray: StrayHandler | None = None
        #: Told of each response when it was sent, with what it answers.
        self.answered: Callable[[Request, Response, IFlow], object] | None = None
        self._accepted = accepted
        self._tag = tag
        self._resend = resend
        self._name = name
        self._pending: dict[IServerTransaction, Deferred[Answer]] = {}

    def __len__(self) -> int:
        """How many handlers have not finished."""
        return len(self._pending)

    @property
    def allow(self) -> str:
        """The value of Allow: every method that is served."""
        methods = {*self.handlers, "OPTIONS"}
        return ", ".join(sorted(methods | {"ACK", "CANCEL"} if "INVITE" in methods else methods))

    def close(self) -> None:
        """Cancel what is not finished, without an answer."""
        pending, self._pending = self._pending, {}
        for deferred in pending.values():
            deferred.cancel()

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        request = transaction.request
        handler = self.handlers.get(request.method) or self.otherwise
        try:
            if handler is None:
                self._refuse(transaction)
            else:
                self._take(handler(request, transaction), transaction)
        except RemoteError as error:
            self._decline(transaction, error)

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`. Without a handler of its own the INVITE's is cancelled, and the INVITE gets 487."""
        handler = self.handlers.get("CANCEL")
        if handler is not None:
            try:
                self._take(handler(cancel, transaction), transaction)
            except RemoteError as error:
                self._decline(transaction, error)
            return
        pending = self._pending.pop(transaction, None)
        self.respond(transaction, transaction.request.response(487))
        if pending is not None:
            pending.cancel()

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        self._accepted.acknowledged(ack)
        if self.ack is not None:
            result = self.ack(ack, flow)
            if isinstance(result, Deferred | Coroutine):
                taking = result if isinstance(result, Deferred) else Deferred.fromCoroutine(result)
                taking.addErrback(self._ack_failed)

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`. A 2xx that comes again gets its ACK again."""
        known = self._accepted.find(response) if response.is_success else None
        if known is not None:
            self._resend(*known)
        elif self.stray is not None:
            self.stray(response, flow)

    def dispatch(self, core: ITransactionCore, transaction: Elsewhere) -> Deferred[Answer]:
        """Give a request that came in another way to the core, and give what it is answered with.

        Args:
            core: this, or what stands before it.
            transaction: of the request.

        Returns:
            A Deferred of the final response, or of ``None`` if the handler has finished without one. It never fails.
        """
        request = transaction.request
        finished: Deferred[Answer] = Deferred(lambda _: self._abandon(transaction))
        try:
            if request.method == "ACK":
                core.ack_received(request, transaction.flow)
            elif request.method == "CANCEL":
                self.respond(transaction, request.response(481))
            else:
                core.request_received(transaction)
        except RemoteError as error:
            self._decline(transaction, error)
        except Exception:
            self._log.failure("the handler of {request} failed", request=request)
            if request.method != "ACK":
                self.respond(transaction, request.response(500))
        pending = self._pending.get(transaction)
        if pending is None:
            finished.callback(transaction.final)
        else:
            pending.addCallback(lambda _: None if transaction.is_abandoned else finished.callback(transaction.final))
        return finished

    def respond(self, transaction: IServerTransaction, response: Response) -> None:
        """Send a response, with a To tag and a Server; a 2xx to an INVITE is sent again until its ACK comes."""
        self.finish(transaction.request, response)
        is_first = not transaction.is_answered
        transaction.respond(response)
        if is_first and self.answered is not None:
            self.answered(transaction.request, response, transaction.flow)
        is_accepted = response.is_success and transaction.request.method == "INVITE"
        if is_first and is_accepted and not isinstance(transaction, Elsewhere):
            self._accepted.answered(transaction, response)

    def finish(self, request: Request, response: Response) -> Response:
        """Put a To tag and a Server into a response that has none."""
        if response.status > 100 and response.to.tag is None:
            response.headers.set("To", f"{response.headers.get('To')};tag={self._tag(request)}")
        if self._name and "Server" not in response.headers:
            response.headers.add("Server", self._name)
        return response

    def _take(self, answer: object, transaction: IServerTransaction) -> None:
        """Take what a handler gives: it is sent now, or when it is there."""
        if isinstance(answer, Response):
            self.respond(transaction, answer)
        elif isinstance(answer, Deferred | Coroutine):
            coming = answer if isinstance(answer, Deferred) else Deferred.fromCoroutine(answer)
            self._await(cast("Deferred[Answer]", coming), transaction)
        elif answer is not None:
            raise TypeError(f"a handler of {transaction.request.method} gave {type(answer).__name__}")

    def _await(self, coming: Deferred[Answer], transaction: IServerTransaction) -> None:
        self._pending[transaction] = coming
        if transaction.user is None:
            transaction.user = _Waiting(self, transaction)
        coming.addCallback(self._came, transaction)
        coming.addErrback(self._failed, transaction)

    def _came(self, answer: object, transaction: IServerTransaction) -> None:
        is_wanted = self._pending.pop(transaction, None) is not None
        if is_wanted and isinstance(answer, Response):
            self.respond(transaction, answer)
        elif is_wanted and answer is not None:
            raise TypeError(f"a handler of {transaction.request.method} gave {type(answer).__name__}")

    def _failed(self, failure: Failure, transaction: IServerTransaction) -> None:
        error = failure.value
        is_wanted = self._pending.pop(transaction, None) is not None
        if isinstance(error, RemoteError):
            self._decline(transaction, error)
        elif is_wanted or not isinstance(error, CancelledError):
            self._log.failure("the handler of {request} failed", failure, request=transaction.request)
            self.respond(transaction, transaction.request.response(500))

    def _decline(self, transaction: IServerTransaction, error: RemoteError) -> None:
        headers = error.headers if isinstance(error, RequestRefusedError) else ()
        self.respond(transaction, transaction.request.response(error.status, error.reason, headers=headers))

    def _ack_failed(self, failure: Failure) -> None:
        self._log.failure("the handler of an ACK failed", failure)

    def _refuse(self, transaction: IServerTransaction) -> None:
        request = transaction.request
        status = 200 if request.method == "OPTIONS" else 405 if request.method in KNOWN_METHODS else 501
        self.respond(transaction, request.response(status, headers=(("Allow", self.allow),)))

    def _abandon(self, transaction: Elsewhere) -> None:
        transaction.is_abandoned = True
        self.give_up(transaction)

    def give_up(self, transaction: IServerTransaction) -> None:
        """Cancel the handler of a request that cannot be answered any more."""
        pending = self._pending.pop(transaction, None)
        if pending is not None:
            pending.cancel()


@implementer(IServerTransaction)
class Elsewhere:
    """The server transaction of a request that came in another way."""

    def __init__(self, request: Request, flow: IFlow, respond: Callable[[Response], object] | None) -> None:
        self.request: Request = request
        self.flow: IFlow = flow
        self.user: IServerTransactionUser | None = None
        self.standing: Sequence[tuple[str, str]] = ()
        self.final: Response | None = None
        #: Nobody waits for what its handler gives.
        self.is_abandoned = False
        self._respond = respond

    @property
    def is_answered(self) -> bool:
        """See `IServerTransaction`."""
        return self.final is not None

    def respond(self, response: Response) -> None:
        """See `IServerTransaction`."""
        if self.final is not None:
            return
        for name, value in self.standing:
            response.headers.ensure(name, value)
        if not response.is_provisional:
            self.final = response
        if self._respond is not None:
            self._respond(response)


@implementer(IServerTransactionUser)
class _Waiting:
    """Is told when a handler that has not finished works for nothing."""

    def __init__(self, handling: Handling, transaction: IServerTransaction) -> None:
        self._handling = handling
        self._transaction = transaction

    def transaction_failed(self, error: RemoteError) -> None:
        """See `IServerTransactionUser`."""
        self._handling.give_up(self._transaction)


@implementer(IMessageModule)
class Stateless:
    """Answers requests without transactions (section 8.2.7).

    Args:
        send: sends a response on the flow of its request.
    """

    #: Where the transactions would be.
    priority: int = 16

    def __init__(self, send: Callable[[Request, IFlow, Response], None]) -> None:
        self.handlers: dict[str, StatelessHandler] = {}
        self._send = send

    def message_received(self, message: Request | Response, flow: IFlow) -> bool:
        """See `IMessageModule`."""
        handler = self.handlers.get(message.method) if isinstance(message, Request) else None
        if handler is None:
            return False
        request: Any = message
        response = handler(request, flow)
        if response is not None:
            self._send(request, flow, response)
        return True

    def flow_failed(self, flow: IFlow, error: RemoteError) -> None:
        """See `IMessageModule`."""
