"""The transport layer (RFC 3261 section 18): listening points, reception, choice and reuse of flows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from socket import AF_INET, AF_INET6, SOCK_DGRAM, socket
from typing import cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorSocket, IReactorTCP, IReactorTime, IReactorUDP
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import ConfigurationError, ParseError, RemoteError, TransportError
from sipd.interfaces import IFlow, IMessageObserver, IMessageReceiver, ISourceGuard, ITransportLayer, ListeningPoint
from sipd.sip.locate import Target, Transport, is_numeric
from sipd.sip.message import Request, Response
from sipd.sip.parser import is_keep_alive, parse_datagram, parse_message
from sipd.sip.validation import find_fault, is_usable
from sipd.transport.choice import choose_speaker
from sipd.transport.connections import ConnectionTable, server_name
from sipd.transport.flows import StreamFlow
from sipd.transport.limits import Incidents, RateLimit, TransportCounters, TransportLimits
from sipd.transport.responses import LocateSender, ResponseRouter
from sipd.transport.sockets import adopt_udp, listen_tcp, listen_udp
from sipd.transport.tcp import MakeProtocol, StreamPort, connect
from sipd.transport.tls import TlsContext, TlsSettings, is_good_for
from sipd.transport.udp import UdpFlow, UdpPort
from sipd.transport.upgrade import WebSocketSettings
from sipd.transport.via import build_refusal, is_sent_by, response_address, stamp_source


class TransportReactor(IReactorTCP, IReactorUDP, IReactorTime):
    """The parts of a reactor that the transport layer uses."""


#: Shown what cannot be read: octets, flow, what is wrong.
ParseObserver = Callable[[bytes, IFlow, RemoteError], object]


@dataclass(slots=True)
class _Listener:
    """A listening point that is open, and what Twisted has for it."""

    protocol: UdpPort | StreamPort
    listening: IListeningPort

    @property
    def point(self) -> ListeningPoint:
        return self.protocol.point


@implementer(ITransportLayer)
class TransportLayer:
    """Turns octets into messages for its receiver, and messages into octets on the right flow.

    Args:
        reactor: gives sockets and time.
        limits: every bound.

    Attributes:
        receiver: who takes messages; set once, before anything is received.
        observers: see every message; nothing is paid where there are none.
        guard: decides whom to listen to; ``None`` for everybody.
        counters: how much came and went.
        incidents: what went wrong, by kind.
        parse_observer: shown each message that cannot be read or relied on, as (octets, flow, what is wrong); of one
            that has no end on a connection, its head. ``None`` for nobody.
        locate_sender: finds the servers of a Via's sent-by, for responses whose source cannot be reached; ``None`` to
            leave those.
    """

    _log = Logger()

    def __init__(self, *, reactor: TransportReactor, limits: TransportLimits | None = None) -> None:
        self.receiver: IMessageReceiver | None = None
        self.observers: tuple[IMessageObserver, ...] = ()
        self.guard: ISourceGuard | None = None
        self.parse_observer: ParseObserver | None = None
        self.locate_sender: LocateSender | None = None
        self.clock: IReactorTime = reactor
        self.limits = limits or TransportLimits()
        self.counters = TransportCounters()
        self.incidents = Incidents(reactor, self.limits.log_lines_per_second)
        self._reactor = reactor
        self._listeners: list[_Listener] = []
        self._connections = ConnectionTable()
        self._own_names: frozenset[tuple[str, int]] = frozenset()
        self._refusals = RateLimit(reactor, self.limits.refusals_per_second)
        self._reroutings = RateLimit(reactor, self.limits.reroutings_per_second)
        self._is_closed = False
        self._emptied: Deferred[None] | None = None

    @property
    def points(self) -> Sequence[ListeningPoint]:
        """See `ITransportLayer`."""
        return [listener.point for listener in self._listeners]

    @property
    def connection_count(self) -> int:
        """How many connections there are, in both directions, open or not."""
        return len(self._connections)

    def connection_counts(self) -> Counter[tuple[Transport, bool]]:
        """Count the connections, open or not, by transport and whether the peer made them."""
        return Counter((flow.transport, flow.is_inbound) for flow in self._connections)

    # --- listening -------------------------------------------------------------------------------------------

    def listen(
        self, point: ListeningPoint, tls: TlsSettings | None = None, websocket: WebSocketSettings | None = None
    ) -> Deferred[ListeningPoint]:
        """Open a listening point.

        Args:
            point: port 0 means any, and an advertised port of 0 means the same as the port.
            tls: for TLS and WSS; needs at least certificate and key.
            websocket: for WS and WSS; without it every path and every web site will do.

        Returns:
            The point with its real ports. Fails with `ConfigurationError` if the address cannot be bound, a file
            cannot be used, or wsproto is missing for a WebSocket.
        """
        return maybeDeferred(self._listen, point, tls, websocket or WebSocketSettings())

    def _listen(self, point: ListeningPoint, tls: TlsSettings | None, websocket: WebSocketSettings) -> ListeningPoint:
        protocol: UdpPort | StreamPort
        if point.transport is Transport.UDP:
            protocol = UdpPort(self, point)
        else:
            context = _context(point, tls) if point.transport.is_secure else None
            protocol = StreamPort(self, point, self._connections, context)
            if point.transport.is_websocket:
                protocol.make_protocol = _websocket_maker(point, websocket)
        try:
            if isinstance(protocol, UdpPort):
                listening = listen_udp(self._reactor, point.host, point.port, protocol)
            else:
                listening = listen_tcp(self._reactor, point.host, point.port, protocol)
        except CannotListenError as error:
            where = f"{point.transport.value} {point.host} port {point.port}"
            raise ConfigurationError([f"{point.name}: cannot listen on {where}: {error.socketError}"]) from error
        return self._opened(protocol, listening)

    def adopt(self, made: socket, point: ListeningPoint) -> ListeningPoint:
        """Listen on a UDP socket that somebody else has made and bound.

        The socket is duplicated, and set not to block: the caller may close his own, and should not read from it.
        What ICMP says of its datagrams is not known, unlike with sockets of this layer.

        Args:
            made: of ``AF_INET`` or ``AF_INET6``.
            point: its host and port are those of the socket, whatever it says; advertised is what it says, or if that
                is empty or 0, the same.

        Raises:
            ConfigurationError: it is something else, or the reactor takes no sockets.
        """
        if made.type != SOCK_DGRAM or made.family not in (AF_INET, AF_INET6) or point.transport is not Transport.UDP:
            raise ConfigurationError([f"{point.name}: this is no UDP socket"])
        if not IReactorSocket.providedBy(self._reactor):
            raise ConfigurationError([f"{point.name}: this reactor takes no sockets"])
        try:
            host = made.getsockname()[0]
            point = replace(point, host=host, advertised_host=point.advertised_host or host)
            protocol = UdpPort(self, point)
            listening = adopt_udp(self._reactor, made, protocol)
        except OSError as error:
            raise ConfigurationError([f"{point.name}: this socket cannot be used: {error.strerror}"]) from error
        return self._opened(protocol, listening)

    def _opened(self, protocol: UdpPort | StreamPort, listening: IListeningPort) -> ListeningPoint:
        """Take note of a listening point that is open; give it with its real ports."""
        point = protocol.point
        port = cast(IPv4Address | IPv6Address, listening.getHost()).port
        protocol.point = replace(point, port=port, advertised_port=point.advertised_port or port)
        self._listeners.append(_Listener(protocol, listening))
        self._own_names |= {
            (protocol.point.advertised_host.lower(), protocol.point.advertised_port),
            (protocol.point.host.lower(), port),
        }
        return protocol.point

    def close(self) -> Deferred[None]:
        """Stop listening and end all connections. Fires when all is released, after ``close_timeout`` at most."""
        self._is_closed = True
        ending: list[Deferred[object]] = []
        for listener in self._listeners:
            if isinstance(listener.protocol, StreamPort):
                listener.protocol.is_accepting = False
            ending.append(maybeDeferred(listener.listening.stopListening))
        self._listeners = []
        for flow in self._connections:
            flow.close()
        if len(self._connections):
            self._emptied = self._emptied or Deferred()
            ending.append(cast("Deferred[object]", self._emptied))
        return gatherResults(ending, consumeErrors=True).addCallback(lambda _: None)

    # --- sending: ITransportLayer ----------------------------------------------------------------------------

    def flow_to(self, target: Target) -> IFlow:
        """See `ITransportLayer`."""
        protocol = self._choose(target)
        if isinstance(protocol, UdpPort):
            return protocol.flow(target.host, target.port)
        flow = self._connections.find_reusable(target, protocol.point, self._names(target, protocol))
        if flow is not None:
            return flow
        if len(self._connections) >= self.limits.max_connections:
            raise TransportError(f"No connection to {target.host}: {self.limits.max_connections} are open")
        flow = StreamFlow(self, protocol.point, target.host, target.port, server_name(target))
        self._connections.add(flow)
        connect(self._reactor, self, flow, protocol)
        return flow

    def find_flow(self, target: Target) -> IFlow | None:
        """See `ITransportLayer`."""
        if target.transport is not Transport.UDP:
            return self._connections.find(target)
        try:
            return self.flow_to(target)
        except TransportError:
            return None

    def send_response(self, response: Response, flow: IFlow) -> None:
        """See `ITransportLayer`."""
        if flow.transport.is_reliable and flow.is_open:
            flow.send(response.to_bytes())
            return
        via = response.via
        host, port = response_address(via, flow.transport)
        if isinstance(flow, UdpFlow):
            is_elsewhere = host != flow.host or port != flow.port
            if is_elsewhere and is_numeric(host) and (":" in host) == (":" in flow.host):
                flow = flow.to(host, port)
            flow.send(response.to_bytes())
            return
        target = Target(transport=flow.transport, host=flow.host, port=port, server_name=via.host)
        try:
            if flow.transport.is_websocket and isinstance(flow, StreamFlow) and flow.is_inbound:
                raise TransportError(f"{flow}: a client of WebSocket cannot be connected to")
            self.flow_to(target).send(response.to_bytes())
        except TransportError as error:
            self.clock.callLater(0, self.flow_failed, flow, error)

    def _choose(self, target: Target) -> UdpPort | StreamPort:
        """Choose the listening point that speaks for us to that target: one that can reach it, if there is one."""
        if self._is_closed:
            raise TransportError("The transport layer is closed")
        return choose_speaker(self._listeners, target).protocol

    def _names(self, target: Target, protocol: StreamPort) -> Callable[[StreamFlow], bool]:
        allow_wildcards = protocol.tls is not None and protocol.tls.settings.allow_wildcards
        name = server_name(target)
        return lambda flow: is_good_for(flow.peer_names, name, allow_wildcards=allow_wildcards)

    # --- receiving: FlowOwner --------------------------------------------------------------------------------

    def datagram_came(self, data: bytes, flow: IFlow) -> None:
        """See `FlowOwner`. Keep-alives and noise are dropped without a word."""
        if is_keep_alive(data):
            self.counters.keep_alives += 1
            return
        self._receive(data, flow, parse_datagram)

    def message_came(self, data: bytes, flow: IFlow) -> None:
        """See `FlowOwner`."""
        if self.guard is not None and self.guard.drops(flow.host):
            flow.close()
            return
        self._receive(data, flow, parse_message)

    def framing_lost(self, head: bytes, error: ParseError, flow: IFlow) -> None:
        """See `FlowOwner`. A request whose head is there is answered (section 18.3)."""
        self._show_fault(head, flow, error)
        try:
            message = parse_message(head)
            if isinstance(message, Request):
                stamp_source(message, flow.host, flow.port)
                self._refuse(message, error, flow)
        except ParseError:
            return

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `FlowOwner`."""
        if isinstance(flow, StreamFlow):
            self._connections.remove(flow)
        if self.receiver is not None:
            try:
                self.receiver.flow_failed(flow, error)
            except Exception:  # a bug above must not stop what this flow's end makes happen here
                self._bug("The failure of {flow} could not be handled", flow)
        if self._emptied is not None and not len(self._connections):
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def not_sent(self, data: bytes, flow: IFlow) -> None:
        """See `FlowOwner`. A response may have another way (RFC 3263 section 5)."""
        if self.locate_sender is not None and not self._is_closed and not flow.transport.is_websocket:
            ResponseRouter(self, self.locate_sender, self._reroutings).not_sent(data, flow)

    def show(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """See `FlowOwner`."""
        for observer in self.observers:
            try:
                observer.message_seen(data, flow, sent=sent)
            except Exception:  # who watches does not disturb
                self._bug("An observer of messages failed on one of {flow}", flow)

    def _receive(self, data: bytes, flow: IFlow, parse: Callable[[bytes], Request | Response]) -> None:
        """Bring one message up. This is the net of the datagram and the connection: a bug costs one message."""
        if self.observers:
            self.show(data, flow, sent=False)
        self.counters.messages_received += 1
        try:
            message = self._read(data, flow, parse)
            if message is not None:
                kind = message.method if isinstance(message, Request) else message.status // 100
                self.counters.count_received(kind, flow.transport)
                if self.receiver is not None:
                    self.receiver.message_received(message, flow)
        except Exception:
            self._bug("A message of {flow} could not be handled", flow)

    def _read(
        self, data: bytes, flow: IFlow, parse: Callable[[bytes], Request | Response]
    ) -> Request | Response | None:
        """Give a message that can be relied on, as `IMessageReceiver` has it; refuse or drop what cannot be."""
        try:
            message = parse(data)
            if isinstance(message, Request):
                stamp_source(message, flow.host, flow.port)
                fault = find_fault(message)
                if fault is None:
                    return message if self.guard is None or self.guard.takes(message, flow) else None
                self._show_fault(data, flow, fault)
                self._refuse(message, fault, flow)
            elif not is_usable(message):
                reason = "a response without what is needed to match it"
                self._show_fault(data, flow, ParseError(reason))
                self.incidents.note("malformed", flow, reason)
            elif is_sent_by(message.via, self._own_names, flow):
                return message
            else:
                self.incidents.note("stray-response", flow, f"a response to {message.via.sent_by}, which is not ours")
        except ParseError as error:
            self._show_fault(data, flow, error)
            self.incidents.note("malformed", flow, error.reason)
        return None

    def _show_fault(self, data: bytes, flow: IFlow, error: RemoteError) -> None:
        if self.parse_observer is not None:
            try:
                self.parse_observer(data, flow, error)
            except Exception:  # who watches does not disturb
                self._bug("An observer of faults failed on one of {flow}", flow)

    def _refuse(self, request: Request, error: RemoteError, flow: IFlow) -> None:
        """Answer a defective request without a transaction (section 8.2.7), unless there are too many of them."""
        self.incidents.note("refused", flow, f"{error.status} {error.reason}")
        response = build_refusal(request, error)
        if response is not None and self._refusals.allow():
            self.send_response(response, flow)

    def _bug(self, text: str, flow: IFlow) -> None:
        self.incidents.counts["bug"] += 1
        self._log.failure(text, flow=str(flow))


def _context(point: ListeningPoint, tls: TlsSettings | None) -> TlsContext:
    if tls is None or not tls.certificate or not tls.key:
        raise ConfigurationError([f"{point.name}: {point.transport.value} needs a certificate and its key"])
    return TlsContext(tls)


def _websocket_maker(point: ListeningPoint, settings: WebSocketSettings) -> MakeProtocol:
    try:
        from sipd.transport import ws
    except ImportError:
        raise ConfigurationError(
            [f"{point.name}: {point.transport.value} needs the package wsproto: pip install 'sipd[ws]'"]
        ) from None
    return ws.protocol_maker(settings)
