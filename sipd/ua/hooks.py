"""Hooks of an endpoint: who is told of each message and of each mistake on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import ParseError, RemoteError, TransportError
from sipd.interfaces import IFlow, IMessageObserver
from sipd.sip.message import Request, Response
from sipd.sip.parser import is_keep_alive, parse_message
from sipd.transport.layer import TransportLayer
from sipd.ua.interfaces import IMessageModule


class EventKind(Enum):
    """What an `Event` tells of."""

    #: Octets came that are no keep-alive; they are not parsed yet.
    DATAGRAM = "datagram"
    #: They cannot be read, or not be relied on.
    PARSE_ERROR = "parse error"
    #: They are a request; each copy of it counts.
    REQUEST = "request"
    #: They are a response.
    RESPONSE = "response"
    #: A request or a response leaves; each copy of it counts.
    SENT = "sent"
    #: A flow has ended, or what was sent on it did not arrive.
    ERROR = "error"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened on the wire.

    Args:
        kind: what it is.
        flow: where.
        raw: the octets; empty for `ERROR`, and for what was brought in as a message.
        request: for `REQUEST`, and for `SENT` if it is one; else ``None``.
        response: the same for responses.
        error: for `PARSE_ERROR` and `ERROR`; else ``None``.
    """

    kind: EventKind
    flow: IFlow
    raw: bytes = b""
    request: Request | None = None
    response: Response | None = None
    error: RemoteError | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the peer."""
        return self.flow.host, self.flow.port

    @property
    def method(self) -> str:
        """The method of the request; empty without one."""
        return "" if self.request is None else self.request.method

    @property
    def status(self) -> int:
        """The status of the response; 0 without one."""
        return 0 if self.response is None else self.response.status


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hooks:
    """Functions that are told of what happens; those that are ``None`` are not called. What they return is not used.

    One that fails is logged, and disturbs nobody. Messages are shown, not given: who changes one changes it for all.

    Args:
        on_datagram: of octets that came, before they are parsed; keep-alives do not count.
        on_parse_error: of octets that cannot be read.
        on_request: of requests that came, repetitions, ACK and CANCEL included.
        on_response: of responses that came.
        on_sent: of what is sent.
        on_answer: of each response that a handler gives, once, when it was sent: with the request that it answers.
        on_error: of flows that failed.
        on_event: of all of this but `on_answer`.
    """

    on_datagram: Callable[[bytes, IFlow], object] | None = None
    on_parse_error: Callable[[bytes, IFlow, RemoteError], object] | None = None
    on_request: Callable[[Request, IFlow], object] | None = None
    on_response: Callable[[Response, IFlow], object] | None = None
    on_sent: Callable[[Request | Response, IFlow], object] | None = None
    on_answer: Callable[[Request, Response, IFlow], object] | None = None
    on_error: Callable[[IFlow, RemoteError], object] | None = None
    on_event: Callable[[Event], object] | None = None


@implementer(IMessageModule, IMessageObserver)
class Tap:
    """Tells hooks. On the wire only while there are some: without hooks nothing is paid.

    Args:
        transport: shows the octets.
    """

    _log = Logger()

    #: Before all other modules.
    priority: int = -1

    def __init__(self, transport: TransportLayer) -> None:
        self.hooks: tuple[Hooks, ...] = ()
        self._transport = transport
        self._latest = b""

    def add(self, hooks: Hooks) -> None:
        """Tell these, too, behind those that are there."""
        if not self.hooks:
            self._transport.observers = (*self._transport.observers, self)
            self._transport.parse_observer = self._parse_failed
        self.hooks = (*self.hooks, hooks)

    def remove(self, hooks: Hooks) -> None:
        """Tell these no more. Does nothing if they are not there."""
        self.hooks = tuple(known for known in self.hooks if known is not hooks)
        if not self.hooks:
            me: object = self
            self._transport.observers = tuple(known for known in self._transport.observers if known is not me)
            self._transport.parse_observer = None

    def message_seen(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """See `IMessageObserver`."""
        if not sent:
            self._latest = data
            self._tell("on_datagram", Event(kind=EventKind.DATAGRAM, flow=flow, raw=data), data, flow)
        elif not is_keep_alive(data):
            try:
                message = parse_message(data)
            except ParseError:
                return  # a handler has put together what is no message; there is no hook for that
            self._tell("on_sent", _event(EventKind.SENT, message, flow, data), message, flow)

    def message_received(self, message: Request | Response, flow: IFlow) -> bool:
        """See `IMessageModule`."""
        raw, self._latest = self._latest, b""
        if self.hooks and isinstance(message, Request):
            self._tell("on_request", _event(EventKind.REQUEST, message, flow, raw), message, flow)
        elif self.hooks:
            self._tell("on_response", _event(EventKind.RESPONSE, message, flow, raw), message, flow)
        return False

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `IMessageModule`."""
        self.failed(flow, error)

    def answered(self, request: Request, response: Response, flow: IFlow) -> None:
        """Tell of an answer; on the wire it is an event of its own, which was told."""
        for hooks in self.hooks:
            if hooks.on_answer is not None:
                self._call(hooks.on_answer, request, response, flow)

    def failed(self, flow: IFlow, error: RemoteError) -> None:
        """Tell of an error."""
        self._tell("on_error", Event(kind=EventKind.ERROR, flow=flow, error=error), flow, error)

    def forget_latest(self) -> None:
        """What comes now did not come as octets."""
        self._latest = b""

    def _parse_failed(self, data: bytes, flow: IFlow, error: RemoteError) -> None:
        event = Event(kind=EventKind.PARSE_ERROR, flow=flow, raw=data, error=error)
        self._tell("on_parse_error", event, data, flow, error)

    def _tell(self, name: str, event: Event, *arguments: object) -> None:
        for hooks in self.hooks:
            hook: Callable[..., object] | None = getattr(hooks, name)
            if hook is not None:
                self._call(hook, *arguments)
            if hooks.on_event is not None:
                self._call(hooks.on_event, event)

    def _call(self, hook: Callable[..., object], *arguments: object) -> None:
        try:
            hook(*arguments)
        except Exception:  # who watches does not disturb
            self._log.failure("the hook {hook} failed", hook=hook)


def _event(kind: EventKind, message: Request | Response, flow: IFlow, raw: bytes) -> Event:
    if isinstance(message, Request):
        return Event(kind=kind, flow=flow, raw=raw, request=message)
    return Event(kind=kind, flow=flow, raw=raw, response=message)
