"""A signalling endpoint: requests in and out, with as much of SIP as a program wants (RFC 3261 section 8)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from sipd.errors import ConfigurationError, ParseError
from sipd.interfaces import (
    Credentials,
    Entropy,
    IClientTransaction,
    IFlow,
    IResolver,
    IServerTransaction,
    ITransactionUser,
    ListeningPoint,
)
from sipd.sip.dialog import Dialog
from sipd.sip.headers import Fields
from sipd.sip.locate import Target
from sipd.sip.message import Request, Response
from sipd.sip.timers import TimerValues
from sipd.sip.uri import Uri, parse_uri
from sipd.transport.limits import TransportLimits
from sipd.transport.tls import TlsSettings
from sipd.ua.accepting import Accepted
from sipd.ua.completing import Completion
from sipd.ua.handling import AckHandler, Answer, Elsewhere, Handler, Handling, Stateless, StatelessHandler, StrayHandler
from sipd.ua.hooks import Hooks, Tap
from sipd.ua.modules import MessageModules, Modules
from sipd.ua.sending import Sending
from sipd.ua.settings import AgentSettings
from sipd.ua.stack import Listen, make_agent, open_layers

H = TypeVar("H", bound=Handler)
S = TypeVar("S", bound=StatelessHandler)


class Endpoint:
    """Listens, gives requests to handlers by their methods, and sends requests.

    Transactions, retransmission, targets and challenges are taken care of; dialogs, sessions and media are not (for
    those there is `UserAgent`), but `sipd.sip.dialog.Dialog` builds the requests inside of one. Everything listens
    from the moment it is made; handlers that are set before the reactor turns miss nothing.

    Args:
        reactor: gives sockets and time.
        listen: what to open, as for `open_layers`.
        entropy: for branches, tags and Call-IDs.
        timers: T1, T2 and T4.
        resolver: finds targets, as for `open_layers`.
        tls: for TLS listening points that name no certificate.
        limits: the bounds of the transport layer.
        facing: what wildcards face, as for `open_layers`.
        address: a URI for the From of requests that have none; without it, that of the first listening point.
        name: for User-Agent and Server; empty to say nothing.

    Attributes:
        layers: what it stands on.
        modules: between the transactions and the handlers: may take what comes before the handlers do.
        messages: between the transport and the transactions.

    Raises:
        ConfigurationError: as `open_layers`; or the address is no URI.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        listen: Sequence[Listen],
        *,
        entropy: Entropy = secrets.token_bytes,
        timers: TimerValues | None = None,
        resolver: IResolver | None = None,
        tls: TlsSettings | None = None,
        limits: TransportLimits | None = None,
        facing: str = "",
        address: str = "",
        name: str = "",
    ) -> None:
        if address:
            _check(address)
        self.layers = layers = open_layers(
            reactor, listen, entropy=entropy, timers=timers, resolver=resolver, tls=tls, limits=limits, facing=facing
        )
        self._transactions = layers.transactions
        agent = make_agent(layers, AgentSettings(name=name, timers=layers.timers))
        self.messages = MessageModules(self._transactions, transport=layers.transport, entropy=entropy)
        self._tap = Tap(layers.transport)
        self._stateless = Stateless(self.respond_stateless)
        self._accepted = Accepted(layers.clock, layers.timers, self._tap.failed)
        self._handling = Handling(self._accepted, tag=self.messages.tag, resend=self._transactions.send_ack, name=name)
        self._handling.answered = self._tap.answered
        self.modules = Modules(self._handling)
        self._transactions.core = self.modules
        layers.transport.receiver = self.messages
        self._completion = Completion(entropy, name, lambda: self.address)
        self._sending = Sending(layers, agent, self._completion, self._accepted)
        self._address = address
        self._serving: list[Deferred[None]] = []
        self._closing: Deferred[None] | None = None

    # --- its life -------------------------------------------------------------------------------------------

    @property
    def points(self) -> Sequence[ListeningPoint]:
        """Where it listens, with real ports."""
        return self.layers.points

    @property
    def address(self) -> str:
        """The URI that stands in From where nothing else is said."""
        points = self.points
        return self._address or (f"sip:{points[0].sent_by}" if points else "sip:anonymous@anonymous.invalid")

    def when_ready(self) -> Deferred[Self]:
        """Give a Deferred that fires when it listens: that is now."""
        return succeed(self)

    def serve(self) -> Deferred[None]:
        """Give a Deferred that fires when it is closed. Cancelling it closes the endpoint."""
        serving: Deferred[None] = Deferred(self._serving_cancelled)
        if self._closing is not None:
            serving.callback(None)
        else:
            self._serving.append(serving)
        return serving

    def close(self) -> Deferred[None]:
        """End everything at once: what is under way fails, handlers that have not finished are cancelled. Idempotent.

        A Deferred that fires when every socket is released.
        """
        self._stop()
        closed: Deferred[None] = Deferred()
        assert self._closing is not None
        self._closing.addCallback(lambda _: closed.callback(None))
        return closed

    async def __aenter__(self) -> Self:
        return await self.when_ready()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _serving_cancelled(self, serving: Deferred[None]) -> None:
        self._serving.remove(serving)
        self._stop()

    def _stop(self) -> None:
        if self._closing is not None:
            return
        self._closing = Deferred()
        self._handling.close()
        self._accepted.close()
        self.layers.close().addErrback(self._close_failed).addCallback(self._closed)

    def _closed(self, _: object) -> None:
        assert self._closing is not None
        serving, self._serving = self._serving, []
        self._closing.callback(None)
        for one in serving:
            one.callback(None)

    def _close_failed(self, failure: Any) -> None:
        self._log.failure("the endpoint could not be closed in good order", failure)

    # --- what comes -----------------------------------------------------------------------------------------

    @overload
    def on(self, method: str) -> Callable[[H], H]: ...

    @overload
    def on(self, method: str, handler: H) -> H: ...

    def on(self, method: str, handler: Handler | None = None) -> Any:
        """Let a handler answer the requests of a method from now on, instead of the one before.

        ``endpoint.on("OPTIONS", handler)``, or as a decorator ``@endpoint.on("OPTIONS")``.

        The handler is given the request and its server transaction. It gives a `Response`, or a Deferred or coroutine
        of one; a To tag is put in where there is none. Or it gives ``None``, and answers by `respond`, now or later: an
        INVITE stays until it has a final response. A `RemoteError` that it raises is the answer, with its status;
        anything else is logged and answered with 500. When the request has become void it is cancelled.

        A handler of CANCEL is given the CANCEL, which is answered already, and the transaction of the INVITE; what it
        gives is the answer to that. Without one the handler of the INVITE is cancelled, and the INVITE gets 487.

        Args:
            method: in capitals or not; not ACK, for which there is `on_ack`.
            handler: what answers.
        """
        if method.upper() == "ACK":
            raise ValueError("ACK has no transaction: see on_ack")
        if handler is None:
            return lambda decorated: self.on(method, decorated)
        self._handling.handlers[method.upper()] = handler
        return handler

    def otherwise(self, handler: Handler) -> Handler:
        """Let a handler answer all methods that have none; without it they get 405 or 501, and OPTIONS gets 200."""
        self._handling.otherwise = handler
        return handler

    def on_ack(self, handler: AckHandler) -> AckHandler:
        """Let a handler take the ACKs of 2xx, and stray ones: it is given the ACK and its flow."""
        self._handling.ack = handler
        return handler

    def on_stray_response(self, handler: StrayHandler) -> StrayHandler:
        """Let a handler take responses without a transaction, such as the second 2xx of a forked INVITE."""
        self._handling.stray = handler
        return handler

    @overload
    def on_stateless(self, method: str) -> Callable[[S], S]: ...

    @overload
    def on_stateless(self, method: str, handler: S) -> S: ...

    def on_stateless(self, method: str, handler: StatelessHandler | None = None) -> Any:
        """Let a handler answer a method without transactions: it is given the request, each copy of it, and the flow.

        It gives a response, or ``None`` to send nothing. The To tag is the same for each copy (section 8.2.7). Use it
        as `on`.
        """
        if handler is None:
            return lambda decorated: self.on_stateless(method, decorated)
        if not self._stateless.handlers:
            self.messages.add(self._stateless)
        self._stateless.handlers[method.upper()] = handler
        return handler

    def add_hooks(self, hooks: Hooks) -> None:
        """Tell these of what happens on the wire, too. Nothing is paid while there are none."""
        if not self._tap.hooks:
            self.messages.add(self._tap)
        self._tap.add(hooks)

    def remove_hooks(self, hooks: Hooks) -> None:
        """Tell these no more. Does nothing if they are not there."""
        self._tap.remove(hooks)
        if not self._tap.hooks:
            self.messages.remove(self._tap)

    def respond(
        self,
        transaction: IServerTransaction,
        status: int,
        reason: str | None = None,
        *,
        headers: Fields = (),
        body: bytes = b"",
    ) -> None:
        """Answer a request: with any number of provisional responses, and a final one.

        All have the same To tag. A 2xx to an INVITE is sent again until its ACK comes, for 64*T1 at most; after that,
        ``on_error`` of the hooks has a `TransactionTimeoutError`.
        """
        response = transaction.request.response(status, reason, headers=headers, body=body)
        self._handling.respond(transaction, response)

    def respond_stateless(self, request: Request, flow: IFlow, response: Response) -> None:
        """Send a response without a transaction, to where section 18.2.2 says (RFC 3581 included)."""
        self.layers.transport.send_response(self._handling.finish(request, response), flow)
        self._tap.answered(request, response, flow)

    def tag(self, request: Request) -> str:
        """Give the To tag of the responses to a request that has none: what a dialog of it has as the local one."""
        return self.messages.tag(request)

    def dispatch(
        self, request: Request, flow: IFlow, respond: Callable[[Response], object] | None = None
    ) -> Deferred[Answer]:
        """Give a request that came in another way to its handler, as `on` has it, and send nothing.

        There is no transaction layer: repetitions, a CANCEL and an ACK of a refusal are the caller's business.

        Args:
            request: whose Via, From, To, Call-ID and CSeq can be read.
            flow: what the handler sees as its flow.
            respond: told of each response, provisional ones included.

        Returns:
            A Deferred of what the handler gives; ``None`` if it has answered by the transaction, or will. It never
            fails: a handler that does is answered for. Cancelling it cancels the handler.
        """
        return self._handling.dispatch(self.modules, Elsewhere(request, flow, respond))

    def response_received(self, response: Response, flow: IFlow) -> None:
        """Take a response that came in another way: it goes to its transaction, and is shown to the hooks."""
        self._tap.forget_latest()
        self.messages.message_received(response, flow)

    # --- what goes out --------------------------------------------------------------------------------------

    def complete(self, request: Request) -> Request:
        """Give a copy of a request with Max-Forwards, From and its tag, To, Call-ID and CSeq.

        What is there stays as it is; so a request that a `Dialog` has built is not changed. CSeq numbers that are
        filled in always grow: a request without one may be sent again and again in one Call-ID, such as REGISTER.

        Raises:
            ParseError: what is there is malformed.
        """
        return self._completion.complete(request)

    def contact(self, flow: IFlow, uri: Uri | None = None) -> str:
        """Give the Contact value for a flow, with the user of that URI."""
        return self._sending.contact(flow, uri)

    def request(
        self,
        request: Request,
        *,
        credentials: Credentials | None = None,
        provisional: Callable[[Response], object] | None = None,
        to: IFlow | Target | None = None,
    ) -> Deferred[Response]:
        """Send a request, completed, with Via, and with Contact where its method wants one; answer challenges.

        Without ``to`` it goes to the first target of its topmost Route, or of its URI, that gives an answer other than
        503. A 2xx to an INVITE is to be acknowledged with `acknowledge`.

        Args:
            request: is not changed.
            credentials: for challenges.
            provisional: told of each provisional response.
            to: where it goes instead of where RFC 3263 leads.

        Returns:
            A Deferred of the final response, whatever its status. Fails with `RemoteError` if there is none, or if
            the request cannot be read, and with `LocalError` if there is no room. Cancelling it cancels an INVITE the
            SIP way, and forgets any other request.
        """
        return Deferred.fromCoroutine(self._sending.request(request, credentials, provisional, to))

    def start(
        self, request: Request, user: ITransactionUser, *, to: IFlow | Target | None = None
    ) -> Deferred[IClientTransaction]:
        """Send a request in one client transaction, to one target, whose user is told of each response.

        A Deferred of the transaction, that has fired already if nothing was to be looked up; it fails with
        `RemoteError` if there is no target, and with `LocalError` if there is no room.
        """
        return Deferred.fromCoroutine(self._sending.start(request, user, to))

    def acknowledge(
        self, invite: Request, response: Response, *, headers: Fields = (), body: bytes = b"", to: IFlow | None = None
    ) -> Deferred[Dialog]:
        """Send the ACK of a 2xx, and again for each repetition of the 2xx; give its dialog.

        Args:
            invite: as it was given to `request`.
            response: the 2xx.
            headers: more header fields, Content-Type among them if there is a body.
            body: octets.
            to: what it leaves on, instead of what leads to the next hop of the dialog.

        Returns:
            A Deferred of the dialog, whose requests `request` sends. Fails with `RemoteError` if the 2xx makes no
            dialog, or its next hop is nowhere.
        """
        return Deferred.fromCoroutine(self._sending.acknowledge(invite, response, headers, body, to))

    def send_stateless(self, message: Request | Response, to: IFlow | Target | None = None) -> Deferred[None]:
        """Send a message without a transaction: once.

        Args:
            message: a request is completed, and gets a Via if it has none; a response is sent as it is.
            to: for a response the flow of its request, which sends it where its Via says, or a target. For a request
                it may be left out.

        Returns:
            A Deferred that fires when it has left, or waits for its connection. Fails with `RemoteError` if there is
            no target, and with `LocalError` for a response without ``to``.
        """
        return Deferred.fromCoroutine(self._sending.send_stateless(message, to))


def _check(address: str) -> None:
    try:
        parse_uri(address)
    except ParseError as error:
        raise ConfigurationError([f"{address!r}: {error.reason}"]) from error
