"""Messages outside of calls: one that is sent, and an inbox for those that come (RFC 3428)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import RemoteError, RequestRefusedError
from sipd.interfaces import Credentials, IRequestHandler, IServerTransaction
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Fields, Headers
from sipd.sip.identifiers import new_tag
from sipd.sip.message import Request, Response
from sipd.sip.uri import Uri
from sipd.sip.validation import find_unsupported_body
from sipd.ua.outside import Place, Way

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.ua.core import UserAgent

PLAIN_TEXT = "text/plain"
#: Seconds after which a sender who was refused for too many messages may come again.
_RETRY_AFTER = 5


class MessageError(RemoteError):
    """A message that was refused, with a final response of 300 to 699 (section 4).

    Args:
        response: that one.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.status} {response.reason}".strip(), status=response.status)
        self.response = response


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRequest:
    """A message that is to be sent.

    Args:
        target: the URI of whom it is for.
        from_: who sends it; without a tag.
        body: octets; a text in UTF-8.
        content_type: of the body.
        headers: more header fields, such as Expires: seconds after which it is not worth reading.
        credentials: for challenges, or ``None``.
        next_hop: where it is sent to; by default to its first Route, or to `target`.
        route: values of its Route, topmost first.
    """

    target: Uri
    from_: NameAddr
    body: bytes
    content_type: str = f"{PLAIN_TEXT};charset=UTF-8"
    headers: Fields = ()
    credentials: Credentials | None = field(default=None, repr=False)
    next_hop: Uri | None = None
    route: tuple[str, ...] = ()


def send_message(agent: UserAgent, message: MessageRequest) -> Deferred[Response]:
    """Send a message; a Deferred of the 2xx: 200 if it was taken, 202 if somebody will pass it on (section 7).

    A message of more than 1300 octets, the head included, does not go over UDP, but over TCP to the same place: UDP
    does not slow down where the network is congested (section 8).

    Args:
        agent: sends it.
        message: it.

    Fails with `MessageError` for any other final response, with another `RemoteError` if there is none (513 where a
    large message finds no TCP), and with `LocalError` if nothing can be sent from here. Cancelling it gives up waiting;
    the message may have arrived.
    """
    return Deferred.fromCoroutine(_send(agent, message))


async def _send(agent: UserAgent, message: MessageRequest) -> Response:
    way = Way(from_=message.from_, credentials=message.credentials, next_hop=message.next_hop, route=message.route)
    place = Place(agent, way, message.target)
    fields = Headers([("Content-Type", message.content_type)] if message.body else ())
    fields.extend(message.headers)
    response = await place.ask_reliably(place.request("MESSAGE", fields, message.body))
    if not response.is_success:
        raise MessageError(response)
    return response


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMessage:
    """A message that has come.

    Args:
        sender: as the From says, which nobody has proved.
        body: octets.
        content_type: ``type/subtype`` in lower case; empty where there is no body.
        request: the MESSAGE, for all else that it says.
        host: the numeric address that it came from.
    """

    sender: NameAddr
    body: bytes
    content_type: str
    request: Request = field(repr=False)
    host: str

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 becomes the replacement character."""
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageAnswer:
    """How a message is answered.

    Args:
        status: 200 to 699.
        reason: the phrase; by default the usual one.
        headers: more header fields. There is no body (section 7).
    """

    status: int
    reason: str | None = None
    headers: Fields = ()


#: Decides about one message: ``None`` is 200, a number that status.
MessageHandler = Callable[[ReceivedMessage], Coroutine[Any, Any, MessageAnswer | int | None]]


@implementer(IRequestHandler)
class MessageInbox:
    """Takes the messages that come outside of calls: ``agent.handlers["MESSAGE"] = MessageInbox(agent, handler)``.

    Nobody is asked for a proof who sends it; a handler that wants one raises `RequestRefusedError` with a challenge.

    Args:
        agent: that they come to.
        handler: a coroutine function that decides about each; a `RemoteError` that it raises is the answer, anything
            else is logged and answered with 500.
        accepted: types of body, in lower case; others are answered with 415.
        max_size_octets: of a body; a larger one is answered with 413.
        max_pending: messages at a time that are not decided about; further ones are answered with 503.
        patience: seconds that a decision may take; then it is cancelled, and the answer is 480. Not above 64*T1.
    """

    _log = Logger()

    extensions: frozenset[str] = frozenset()

    def __init__(
        self,
        agent: UserAgent,
        handler: MessageHandler,
        *,
        accepted: frozenset[str] = frozenset((PLAIN_TEXT,)),
        max_size_octets: int = 65536,
        max_pending: int = 100,
        patience: float = 20.0,
    ) -> None:
        self._agent = agent
        self._handler = handler
        self._accepted = accepted
        self._max_size_octets = max_size_octets
        self._max_pending = max_pending
        self._patience = patience
        self._pending: dict[IServerTransaction, Deferred[None]] = {}

    def __len__(self) -> int:
        """How many are not decided about."""
        return len(self._pending)

    def close(self) -> None:
        """Answer those that are not decided about with 480, and cancel their decisions."""
        for deciding in list(self._pending.values()):
            deciding.cancel()

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        refused = self._refusal_of(transaction.request)
        if refused is not None:
            self._answer(transaction, refused.status, refused.reason, refused.headers)
            return
        deciding = Deferred.fromCoroutine(self._decide(transaction))
        self._pending[transaction] = deciding
        deciding.addTimeout(self._patience, self._agent.clock)
        deciding.addErrback(self._failed, transaction).addCallback(self._decided, transaction)

    def _refusal_of(self, request: Request) -> RequestRefusedError | None:
        if len(self._pending) >= self._max_pending:
            headers = (("Retry-After", str(_RETRY_AFTER)),)
            return RequestRefusedError("Too Many Messages", status=503, headers=headers)
        if len(request.body) > self._max_size_octets:
            return RequestRefusedError("Message Too Large", status=413)
        return find_unsupported_body(request, self._accepted)

    async def _decide(self, transaction: IServerTransaction) -> None:
        request = transaction.request
        answer = await self._handler(
            ReceivedMessage(
                sender=request.from_,
                body=request.body,
                content_type=(request.content_type or "") if request.body else "",
                request=request,
                host=transaction.flow.host,
            )
        )
        if not isinstance(answer, MessageAnswer):
            answer = MessageAnswer(status=200 if answer is None else answer)
        if not 200 <= answer.status < 700:
            raise ValueError(f"a message cannot be answered with {answer.status}")
        self._answer(transaction, answer.status, answer.reason, answer.headers)

    def _failed(self, failure: Failure, transaction: IServerTransaction) -> None:
        error = failure.value
        match error:
            case CancelledError() | TimeoutError():
                self._answer(transaction, 480, "Not Decided In Time")
            case RequestRefusedError():
                self._answer(transaction, error.status, error.reason, error.headers)
            case RemoteError():
                # A 408 would never be sent: nobody waits for it any more (RFC 4320 section 4.2).
                self._answer(transaction, 480 if error.status == 408 else error.status, error.reason)
            case _:
                self._log.failure("a message was not decided about", failure)
                self._answer(transaction, 500, "Server Internal Error")

    def _decided(self, _: None, transaction: IServerTransaction) -> None:
        self._pending.pop(transaction, None)

    def _answer(
        self, transaction: IServerTransaction, status: int, reason: str | None = None, headers: Fields = ()
    ) -> None:
        if transaction.is_answered:
            return
        tag = new_tag(self._agent.entropy)
        transaction.respond(transaction.request.response(status, reason, to_tag=tag, headers=headers))
