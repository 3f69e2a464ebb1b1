"""SIP over WebSocket (RFC 7118), plain and inside of TLS, as server and as client.

A WebSocket is what stands between a flow and its connection: to the flow it is a wire, on which each message that is
written becomes one WebSocket message. Framing, masking and the client's handshake are wsproto's (RFC 6455), reading an
HTTP request is h11's. No extension is offered or taken: compressed frames would unfold to any size.
"""

from __future__ import annotations

from enum import Enum

import h11
from twisted.internet.interfaces import IPushProducer
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.frame_protocol import CloseReason
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from sipd.errors import ParseError, TransportError
from sipd.sip.framing import PING
from sipd.transport.flows import FlowOwner, StreamFlow, Wire
from sipd.transport.tcp import ConnectionProtocol, MakeProtocol, TlsConnectionProtocol
from sipd.transport.tls import TlsContext
from sipd.transport.upgrade import MALFORMED, SUBPROTOCOL, TOO_LARGE, Refusal, WebSocketSettings, find_refusal

#: Of an HTTP request or response without an end; a browser's has about 600.
MAX_UPGRADE_OCTETS = 16384
#: That come in one turn of the reactor, which is 64 KiB; SIP has some hundred, and others have their turn soon.
MAX_FRAMES_PER_TURN = 1024
_END_OF_HEAD = b"\r\n\r\n"


class _Stage(Enum):
    """What is exchanged."""

    UPGRADING = "HTTP"
    OPEN = "messages"
    CLOSING = "our close frame is sent, the peer's has not come"
    DONE = "nothing"

    __hash__ = object.__hash__


class WebSocket:
    """One WebSocket: the wire of a flow, and the reader of its connection.

    Within the time limits of the flow, it upgrades the connection, exchanges messages, answers pings, and closes with
    a close frame. A message that is larger than the limits of the layer, an error in the framing and too many frames
    at once end it, with the close code that says so. Pings are not answered while the peer does not read (RFC 6455
    section 5.5.3 asks for the latest answer alone).

    Args:
        owner: of all flows.
        flow: told of all that happens.
        settings: of the listening point.
    """

    def __init__(self, owner: FlowOwner, flow: StreamFlow, settings: WebSocketSettings) -> None:
        self._owner = owner
        self._flow = flow
        self._settings = settings
        self._stage = _Stage.UPGRADING
        self._wire: Wire | None = None
        self._peer_names: tuple[str, ...] = ()
        # What is needed until the WebSocket is open, and what then.
        self._http: h11.Connection | None = None
        self._handshake: WSConnection | None = None
        self._frames: Connection | None = None
        self._part = bytearray()
        self._is_in_message = False
        self._failure: int | None = None

    # --- called by the connection --------------------------------------------------------------------------

    def attach(self, wire: Wire) -> None:
        """Take the transport of the connection."""
        self._wire = wire

    def begin(self, peer_names: tuple[str, ...]) -> None:
        """Take note that octets can be exchanged: a client asks now, a server waits.

        Args:
            peer_names: what a verified certificate says, if there was one.
        """
        self._peer_names = peer_names
        if self._flow.is_inbound:
            self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_UPGRADE_OCTETS)
            return
        self._handshake = WSConnection(ConnectionType.CLIENT)
        try:
            request = Request(host=self._host(), target=self._settings.path or "/", subprotocols=[SUBPROTOCOL])
            self._write_octets(self._handshake.send(request))
        except (UnicodeError, h11.LocalProtocolError):
            self._give_up("this host or path cannot be asked for in HTTP")

    def octets_came(self, data: bytes) -> None:
        """Take what the network gave, at any border."""
        if self._stage is _Stage.UPGRADING:
            if self._http is not None:
                self._take_request(data, self._http)
            elif self._handshake is not None:
                self._take_response(data, self._handshake)
        else:
            self._take_frames(data)

    # --- Wire ----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """See `Wire`: sends one message, as text if it is UTF-8. A ping of ours is one of WebSocket (section 6)."""
        if self._stage is not _Stage.OPEN or self._frames is None:
            return
        event: Event
        if data == PING:
            event = Ping()
        else:
            try:
                event = TextMessage(data=data.decode())
            except UnicodeDecodeError:
                event = BytesMessage(data=data)
        self._write_octets(self._frames.send(event))

    def loseConnection(self) -> None:
        """See `Wire`: closes in good order, or at once where the peer has broken the rules (RFC 6455 section 7.1.7)."""
        if self._stage is _Stage.OPEN and self._frames is not None:
            usual = CloseReason.GOING_AWAY if self._flow.is_inbound else CloseReason.NORMAL_CLOSURE
            code = usual if self._failure is None else self._failure
            self._write_octets(self._frames.send(CloseConnection(code=code)))
            self._stage = _Stage.CLOSING
            if self._failure is None:
                return
        self._end()

    def abortConnection(self) -> None:
        """See `Wire`."""
        self._forget()
        if self._wire is not None:
            self._wire.abortConnection()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See `Wire`."""
        if self._wire is not None:
            self._wire.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """See `Wire`."""
        if self._wire is not None:
            self._wire.unregisterProducer()

    # --- upgrading -----------------------------------------------------------------------------------------

    def _take_request(self, data: bytes, http: h11.Connection) -> None:
        """Take a part of a client's request; answer it when it is whole."""
        try:
            http.receive_data(data)
            request = http.next_event()
        except h11.RemoteProtocolError as error:
            self._refuse(TOO_LARGE if error.error_status_hint == TOO_LARGE.status else MALFORMED)
            return
        if not isinstance(request, h11.Request):
            return
        headers = list(request.headers)
        refusal = find_refusal(self._settings, request.method, request.target, headers)
        if refusal is not None:
            self._refuse(refusal)
            return
        handshake = WSConnection(ConnectionType.SERVER)
        try:
            handshake.initiate_upgrade_connection(headers, request.target)
            accepted = handshake.send(AcceptConnection(subprotocol=SUBPROTOCOL))
        except (RemoteProtocolError, LocalProtocolError, h11.ProtocolError, UnicodeError):
            self._refuse(MALFORMED)
            return
        self._write_octets(accepted)
        self._open(handshake)
        self._take_frames(http.trailing_data[0])

    def _refuse(self, refusal: Refusal) -> None:
        reason = f"{refusal.status} {refusal.phrase}"
        self._owner.incidents.note("websocket", self._flow, reason)
        self._flow.closing(TransportError(f"{self._flow}: no WebSocket: {reason}"))
        self._write_octets(refusal.to_bytes())
        self._end()

    def _take_response(self, data: bytes, handshake: WSConnection) -> None:
        """Take a part of a server's response."""
        try:
            handshake.receive_data(data)
            event = next(handshake.events(), None)
        except (RemoteProtocolError, LocalProtocolError, h11.ProtocolError, UnicodeError) as error:
            self._give_up(f"the server's answer is no WebSocket: {error}")
            return
        if isinstance(event, RejectConnection):
            self._give_up(f"the server refused the WebSocket: {event.status_code}")
        elif isinstance(event, AcceptConnection):
            if event.subprotocol != SUBPROTOCOL:
                self._give_up("the server does not speak SIP over WebSocket")
                return
            self._open(handshake)
            self._take_frames(b"")

    def _open(self, handshake: WSConnection) -> None:
        """Exchange messages from now on; what was needed for the handshake is not any more."""
        self._frames = handshake.connection
        self._http = self._handshake = None
        self._stage = _Stage.OPEN
        self._flow.opened(self._peer_names)

    def _give_up(self, reason: str) -> None:
        """End a connection of ours that becomes no WebSocket."""
        line = " ".join(reason.split())[:200]
        self._owner.incidents.note("websocket", self._flow, line)
        self._flow.closing(TransportError(f"{self._flow}: {line}"))
        self.abortConnection()

    def _host(self) -> str:
        """Give the value of Host: the name that the certificate has to be good for, and the port."""
        flow = self._flow
        host = flow.server_name or flow.host
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return host if flow.port == flow.transport.default_port else f"{host}:{flow.port}"

    # --- messages ------------------------------------------------------------------------------------------

    def _take_frames(self, data: bytes) -> None:
        """Take octets of frames, after those that wsproto has already; all are read, or the WebSocket is done."""
        flow, websocket = self._flow, self._frames
        if websocket is None:
            return
        frames = 0
        is_finished = False
        ping: Ping | None = None
        if data:
            websocket.receive_data(data)
        for event in websocket.events():
            frames += 1
            if isinstance(event, CloseConnection):
                self._take_close(event, websocket)
            elif frames > MAX_FRAMES_PER_TURN:
                self._fail(CloseReason.POLICY_VIOLATION, "too many frames at once")
            elif isinstance(event, TextMessage | BytesMessage):
                is_finished = self._take_part(event) or is_finished
            else:
                is_finished = is_finished or not self._is_in_message
                if isinstance(event, Ping):
                    ping = event
            if self._stage is _Stage.DONE:
                return
        if self._stage is not _Stage.OPEN:
            return
        if ping is not None:
            self._owner.counters.keep_alives += 1
            if not flow.is_full:
                self._write_octets(websocket.send(ping.response()))
        is_between = frames > 0 and not self._is_in_message
        if data or frames:
            flow.octets_came(finished=is_finished, is_between_messages=is_between)

    def _take_part(self, event: TextMessage | BytesMessage) -> bool:
        """Take a message or a part of one; say whether it is whole now."""
        if self._stage is not _Stage.OPEN:
            return False
        data = event.data.encode() if isinstance(event.data, str) else bytes(event.data)
        if self._is_in_message or not event.message_finished:
            self._part += data
            limits = self._owner.limits
            if len(self._part) > limits.max_head_octets + limits.max_body_octets:
                self._refuse_size(bytes(self._part))
                return False
            self._is_in_message = not event.message_finished
            if self._is_in_message:
                return False
            data = bytes(self._part)
            self._part.clear()
        self._take_message(data)
        return True

    def _take_message(self, data: bytes) -> None:
        """Bring one message up. It is one as in a datagram: Content-Length may be missing (RFC 7118 section 5)."""
        flow, owner = self._flow, self._owner
        if data == PING:
            flow.ping_came()
            return
        head_size = _head_size(data)
        if head_size > owner.limits.max_head_octets or len(data) - head_size > owner.limits.max_body_octets:
            self._refuse_size(data)
        elif owner.guard is not None and owner.guard.drops(flow.host):
            flow.close()
        else:
            owner.datagram_came(data, flow)

    def _refuse_size(self, data: bytes) -> None:
        head = data[: _head_size(data)]
        reason = "The message is larger than allowed"
        if len(head) > self._owner.limits.max_head_octets or not head.endswith(_END_OF_HEAD):
            head = b""
        self._fail(CloseReason.MESSAGE_TOO_BIG, reason, head=head)

    def _take_close(self, event: CloseConnection, websocket: Connection) -> None:
        """Take a close frame; wsproto gives one also for what breaks the rules, and reads nothing after it."""
        if self._stage is _Stage.CLOSING:
            self._end()
        elif websocket.state is ConnectionState.REMOTE_CLOSING:
            self._flow.closing(TransportError(f"{self._flow}: the peer closed the connection"))
            self._write_octets(websocket.send(event.response()))
            self._end()
        else:
            self._fail(event.code, f"WebSocket: {event.reason}")

    def _fail(self, code: int, reason: str, *, head: bytes = b"") -> None:
        """End a connection whose peer breaks the rules."""
        if self._stage is _Stage.OPEN:
            self._failure = code
            self._flow.framing_lost(head, ParseError(reason, status=513 if head else 400))
        self._end()

    def _end(self) -> None:
        """Close the connection below when everything is written; read no more."""
        if self._stage is _Stage.DONE:
            return
        self._forget()
        if self._wire is not None:
            self._wire.loseConnection()

    def _forget(self) -> None:
        self._stage = _Stage.DONE
        self._http = self._handshake = self._frames = None
        self._part.clear()

    def _write_octets(self, data: bytes) -> None:
        if self._wire is not None:
            self._wire.write(bytes(data))


def _head_size(data: bytes) -> int:
    end = data.find(_END_OF_HEAD)
    return len(data) if end < 0 else end + len(_END_OF_HEAD)


class WebSocketProtocol(ConnectionProtocol):
    """Turns one connection into messages, through a WebSocket."""

    def __init__(self, flow: StreamFlow, websocket: WebSocket) -> None:
        super().__init__(flow)
        self._websocket = websocket

    def make_wire(self) -> Wire:
        """See `ConnectionProtocol`."""
        self._websocket.attach(super().make_wire())
        return self._websocket

    def ready(self, peer_names: tuple[str, ...]) -> None:
        """See `ConnectionProtocol`: HTTP comes first."""
        self._websocket.begin(peer_names)

    def dataReceived(self, data: bytes) -> None:
        """See ``Protocol``. The close handshake is read when the flow is no longer open."""
        self._websocket.octets_came(data)


class TlsWebSocketProtocol(TlsConnectionProtocol, WebSocketProtocol):
    """The same inside of TLS."""


def protocol_maker(settings: WebSocketSettings) -> MakeProtocol:
    """Give what makes the protocols of a listening point's connections, in both directions."""

    def make(owner: FlowOwner, flow: StreamFlow, tls: TlsContext | None) -> ConnectionProtocol:
        websocket = WebSocket(owner, flow, settings)
        return WebSocketProtocol(flow, websocket) if tls is None else TlsWebSocketProtocol(flow, websocket)

    return make
