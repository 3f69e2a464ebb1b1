"""A connection as a flow (RFC 3261 section 18): its queue, its phases and their time limits."""

from __future__ import annotations

import typing
from collections.abc import Callable
from enum import Enum

from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from sipd.errors import ParseError, TlsError, TransportError
from sipd.interfaces import IFlow, IMessageObserver, ISourceGuard, ListeningPoint
from sipd.sip.framing import PONG
from sipd.sip.locate import Transport
from sipd.transport.limits import Incidents, TransportCounters, TransportLimits


class FlowOwner(typing.Protocol):
    """What the flows and listening points of one transport layer share: the layer, as they see it."""

    clock: IReactorTime
    limits: TransportLimits
    incidents: Incidents
    counters: TransportCounters
    observers: tuple[IMessageObserver, ...]
    guard: ISourceGuard | None

    def show(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """Show a message to the observers. Only called where there are any."""

    def message_came(self, data: bytes, flow: IFlow) -> None:
        """Take one whole message from a connection."""

    def datagram_came(self, data: bytes, flow: IFlow) -> None:
        """Take one datagram."""

    def framing_lost(self, head: bytes, error: ParseError, flow: IFlow) -> None:
        """Take note that nobody can tell where the message with this head ends; the connection is about to close."""

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """Tell the receiver that what was sent on this flow did not arrive, or that the flow has ended."""

    def not_sent(self, data: bytes, flow: IFlow) -> None:
        """Take a message that a flow has not sent and never will; the flow has failed already."""


class Wire(typing.Protocol):
    """The part of a Twisted stream transport that a flow uses."""

    def write(self, data: bytes) -> None:
        """Write, sooner or later."""

    def loseConnection(self) -> None:
        """Close when all is written."""

    def abortConnection(self) -> None:
        """Close at once."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Tell that producer when the buffer is full, and when it is empty."""

    def unregisterProducer(self) -> None:
        """Tell nobody any more."""


class Phase(Enum):
    """What a connection is doing, which decides how long it may take."""

    CONNECTING = "connecting"
    IDLE = "between messages"
    RECEIVING = "in a message"
    CLOSING = "closing"
    ABORTING = "aborting"
    ENDED = "ended"

    __hash__ = object.__hash__


@implementer(IFlow, IPushProducer)
class StreamFlow:
    """One connection (TCP, TLS, WebSocket), from before it is made to after it has ended.

    It ends exactly once, and then tells its owner, never from within a call of `send` or `close`.

    Args:
        owner: of all flows.
        point: the listening point that it came to, or whose address stands in what is sent on it.
        host: the peer's numeric address.
        port: the peer's port.
        server_name: for a connection that we make: what the certificate must be good for. ``None`` for others.
    """

    __slots__ = (
        "_cancel",
        "_error",
        "_is_full",
        "_owner",
        "_phase",
        "_queue",
        "_stall",
        "_timer",
        "_unsent_octets",
        "_wire",
        "host",
        "is_open",
        "peer_names",
        "point",
        "port",
        "server_name",
        "transport",
    )

    def __init__(
        self, owner: FlowOwner, point: ListeningPoint, host: str, port: int, server_name: str | None = None
    ) -> None:
        self.transport: Transport = point.transport
        self.point: ListeningPoint = point
        self.host: str = host
        self.port: int = port
        self.is_open: bool = True
        self.peer_names: tuple[str, ...] = ()
        self.server_name = server_name
        self._owner = owner
        self._phase = Phase.CONNECTING
        self._error: TransportError | None = None
        self._wire: Wire | None = None
        self._cancel: Callable[[], object] | None = None
        self._queue: list[bytes] = []
        self._unsent_octets = 0
        self._is_full = False
        self._stall: IDelayedCall | None = None
        limits = owner.limits
        timeout = limits.handshake_timeout if server_name is None else limits.connect_timeout
        self._timer = owner.clock.callLater(timeout, self._timed_out)

    def __repr__(self) -> str:
        return f"<{self} {self._phase.value}>"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value} {host}:{self.port}"

    @property
    def is_inbound(self) -> bool:
        """Whether the peer made this connection."""
        return self.server_name is None

    @property
    def is_full(self) -> bool:
        """Whether the peer does not read what is written: what need not be sent should not be now."""
        return self._is_full

    @property
    def silence_limit(self) -> float:
        """Seconds after which a peer that confirms nothing of what was written counts as gone."""
        return self._owner.limits.stall_timeout

    # --- IFlow ---------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """See `IFlow`. Beyond ``max_queue_octets`` the connection is given up."""
        if self._phase is Phase.CONNECTING:
            self._queue.append(data)
            self._count_unsent(len(data))
        elif self.is_open:
            self._send_now(data)
        elif self._phase is Phase.ENDED:
            self._owner.clock.callLater(0, self._owner.flow_failed, self, self._error or TransportError("has ended"))

    def close(self) -> None:
        """See `IFlow`."""
        if not self.is_open:
            return
        if self._phase is Phase.CONNECTING or self._wire is None:
            self._give_up_soon(TransportError(f"{self}: closed before it was open"))
            return
        wire = self._wire
        self.closing(TransportError(f"{self}: closed by this side"))
        wire.loseConnection()

    # --- called by the connection --------------------------------------------------------------------------

    def connecting(self, cancel: Callable[[], object]) -> None:
        """Take note of how an attempt to connect is given up."""
        self._cancel = cancel

    def attached(self, wire: Wire) -> None:
        """Take note that octets can be exchanged; handshakes of TLS and WebSocket may still have to come."""
        self._wire = wire
        self._cancel = None
        if self._phase is not Phase.CONNECTING:
            wire.abortConnection()

    def opened(self, peer_names: tuple[str, ...]) -> None:
        """Take note that messages can be exchanged, and send what waits.

        Args:
            peer_names: what a verified certificate says, if there was one.
        """
        if self._phase is not Phase.CONNECTING or self._wire is None:
            return
        self.peer_names = peer_names
        self._wire.registerProducer(self, True)
        if self.is_inbound:
            self._enter(Phase.RECEIVING, self._owner.limits.message_timeout)
        else:
            self._enter(Phase.IDLE, self._owner.limits.idle_timeout)
        queue, self._queue, self._unsent_octets = self._queue, [], 0
        for data in queue:
            self._send_now(data)

    def closing(self, error: TransportError) -> None:
        """Take note that the connection is about to be closed in good order. It has ``close_timeout`` for that.

        Args:
            error: why.
        """
        if not self.is_open or self._wire is None:
            return
        self._error = error
        self.is_open = False
        self._enter(Phase.CLOSING, self._owner.limits.close_timeout)
        self._wire.unregisterProducer()

    def message_came(self, data: bytes) -> None:
        """Take one whole message."""
        self._owner.message_came(data, self)

    def ping_came(self) -> None:
        """Answer CRLFCRLF with CRLF (RFC 5626 section 4.4.1)."""
        self._owner.counters.keep_alives += 1
        self._write(PONG)

    def octets_came(self, *, finished: bool, is_between_messages: bool) -> None:
        """Take note of the time at which something came.

        Args:
            finished: whether a message or a ping became whole by it.
            is_between_messages: whether no part of a message is left over.
        """
        if not self.is_open:
            return
        if is_between_messages:
            if finished or self._phase is Phase.IDLE:
                self._enter(Phase.IDLE, self._owner.limits.idle_timeout)
        elif finished or self._phase is Phase.IDLE:
            self._enter(Phase.RECEIVING, self._owner.limits.message_timeout)

    def framing_lost(self, head: bytes, error: ParseError) -> None:
        """End the connection, since nobody can tell where the next message begins; answer the last if possible."""
        self._owner.incidents.note("framing", self, error.reason)
        self._owner.framing_lost(head, error, self)
        self.close()

    def handshake_failed(self, error: TlsError) -> None:
        """Take note that the connection was lost before TLS was agreed on."""
        if self._error is None:
            self._owner.incidents.note("tls", self, error.reason)
        self.ended(error)

    def ended(self, error: TransportError) -> None:
        """Take note that the connection is no more, or could not be made.

        Args:
            error: why, unless this side has decided to end it for a reason of its own.
        """
        if self._phase is Phase.ENDED:
            return
        self._phase = Phase.ENDED
        self.is_open = False
        if self._error is None:
            self._error = error
        for call in (self._timer, self._stall):
            if call is not None and call.active():
                call.cancel()
        self._wire = self._cancel = self._stall = None
        unsent, self._queue = self._queue, []
        self._owner.flow_failed(self, self._error)
        for data in unsent:
            self._owner.not_sent(data, self)

    # --- IPushProducer: the write buffer of the transport ---------------------------------------------------

    def pauseProducing(self) -> None:
        """See ``IPushProducer``: the buffer is full; what is written from now on counts as unsent."""
        self._is_full = True
        if self._stall is None:
            self._stall = self._owner.clock.callLater(self._owner.limits.stall_timeout, self._stalled)

    def resumeProducing(self) -> None:
        """See ``IPushProducer``: the buffer is empty."""
        self._is_full = False
        self._unsent_octets = 0
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def stopProducing(self) -> None:
        """See ``IPushProducer``: the connection is being lost, which `ended` will tell."""

    # --- within ----------------------------------------------------------------------------------------------

    def _send_now(self, data: bytes) -> None:
        owner = self._owner
        if owner.observers:
            owner.show(data, self, sent=True)
        owner.counters.count_sent(data, self.transport)
        self._write(data)

    def _write(self, data: bytes) -> None:
        if self._wire is not None and self.is_open:
            self._wire.write(data)
            if self._is_full:
                self._count_unsent(len(data))

    def _count_unsent(self, size_octets: int) -> None:
        self._unsent_octets += size_octets
        if self._unsent_octets > self._owner.limits.max_queue_octets and self.is_open:
            error = TransportError(f"{self}: more than {self._owner.limits.max_queue_octets} octets wait to be sent")
            self._owner.incidents.note("queue-full", self, error.reason)
            self._give_up_soon(error)

    def _enter(self, phase: Phase, timeout: float) -> None:
        self._phase = phase
        self._timer.reset(timeout)

    def _give_up_soon(self, error: TransportError) -> None:
        """End it without waiting for anything, but not from within a call of somebody else."""
        self._error = error
        self.is_open = False
        self._enter(Phase.ABORTING, 0)

    def _timed_out(self) -> None:
        """Perform what is due when the time of the phase is up."""
        if self._phase is Phase.CONNECTING and self._wire is not None:
            reason = "no TLS handshake in time"
            if self.transport.is_websocket:
                reason = "no WebSocket in time"
            kind = TlsError if self.transport.is_secure else TransportError
            self._error = kind(f"{self}: {reason}")
            self._abort("handshake-timeout", reason)
        else:
            self._abort(*_OVERDUE.get(self._phase, ("", "")))

    def _stalled(self) -> None:
        self._stall = None
        self._abort("stalled", "the peer does not read what is sent to it")

    def _abort(self, kind: str, reason: str) -> None:
        if kind:
            self._owner.incidents.note(kind, self, reason)
        if self._error is None:
            self._error = TransportError(f"{self}: {reason}")
        self._phase = Phase.ABORTING
        self.is_open = False
        if self._wire is not None:
            self._wire.abortConnection()
        elif self._cancel is not None:
            self._cancel()
        else:
            self.ended(self._error)


_OVERDUE = {
    Phase.CONNECTING: ("connect-timeout", "no connection in time"),
    Phase.IDLE: ("idle", "nothing came for too long"),
    Phase.RECEIVING: ("slow-message", "no whole message in time"),
    Phase.CLOSING: ("close-timeout", "the peer did not let it end in good order"),
}
