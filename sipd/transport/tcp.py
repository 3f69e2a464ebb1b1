"""TCP and TLS listening points and connections (RFC 3261 section 18). TLS is TCP with a wrapper around it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import cast

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.interfaces import IAddress, IConnector, IHandshakeListener, IReactorTCP, ISystemHandle
from twisted.internet.protocol import ClientFactory, Protocol, ServerFactory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import ConnectionRefused, ParseError, TlsError, TransportError
from sipd.interfaces import ListeningPoint
from sipd.sip.framing import KeepAlive, StreamFramer
from sipd.transport.connections import ConnectionTable
from sipd.transport.flows import FlowOwner, StreamFlow, Wire
from sipd.transport.sockets import watch_peer
from sipd.transport.tls import TlsContext, verified_identities


class ConnectionProtocol(Protocol):
    """One connection from its beginning to its end. Decides nothing.

    Args:
        flow: told of all that happens.
    """

    def __init__(self, flow: StreamFlow) -> None:
        self.flow = flow

    def connectionMade(self) -> None:
        """See ``Protocol``."""
        if self._socket is not None:
            watch_peer(self._socket, self.flow.silence_limit)
        self.flow.attached(self.make_wire())
        self.established()

    @property
    def _socket(self) -> socket.socket | None:
        """The socket below, inside of TLS or not; ``None`` in a simulation."""
        transport: object = self.transport
        if isinstance(transport, TLSMemoryBIOProtocol):
            transport = transport.transport
        return cast(socket.socket, transport.getHandle()) if ISystemHandle.providedBy(transport) else None

    def make_wire(self) -> Wire:
        """Give what the flow writes to."""
        return cast(Wire, self.transport)

    def established(self) -> None:
        """The connection is made: TCP is ready."""
        self.ready(())

    def ready(self, peer_names: tuple[str, ...]) -> None:
        """Octets can be exchanged.

        Args:
            peer_names: what a verified certificate says, if there was one.
        """
        self.flow.opened(peer_names)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``Protocol``."""
        self.flow.ended(_why(reason, self.flow))


class SipStreamProtocol(ConnectionProtocol):
    """Turns one connection into messages.

    Args:
        flow: told of all that happens.
        framer: cuts the octets.
    """

    def __init__(self, flow: StreamFlow, framer: StreamFramer) -> None:
        super().__init__(flow)
        self._framer = framer

    def dataReceived(self, data: bytes) -> None:
        """See ``Protocol``. What comes when the connection is being closed, as TLS lets it, is not looked at."""
        if not self.flow.is_open:
            return
        flow = self.flow
        finished = False
        try:
            for item in self._framer.feed(data):
                finished = True
                if item is KeepAlive.PING:
                    flow.ping_came()
                elif isinstance(item, bytes):
                    flow.message_came(item)
                if not flow.is_open:
                    return
        except ParseError as problem:
            flow.framing_lost(self._framer.rejected, problem)
        else:
            flow.octets_came(finished=finished, is_between_messages=self._framer.is_between_messages)


@implementer(IHandshakeListener)
class TlsConnectionProtocol(ConnectionProtocol):
    """The same inside of TLS: octets can be exchanged when the handshake is done."""

    _refusal = ""
    _is_secure = False

    def established(self) -> None:
        """Not yet."""

    def certificate_refused(self, reason: str) -> None:
        """See `sipd.transport.tls.VerifiedProtocol`."""
        self._refusal = reason

    def handshakeCompleted(self) -> None:
        """See ``IHandshakeListener``."""
        self._is_secure = True
        connection = cast(TLSMemoryBIOProtocol, self.transport).getHandle()
        self.ready(verified_identities(connection))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``Protocol``."""
        if self._is_secure:
            super().connectionLost(reason)
            return
        detail = self._refusal or _tls_reason(reason)
        self.flow.handshake_failed(TlsError(f"{self.flow}: {detail}"))


class TlsStreamProtocol(TlsConnectionProtocol, SipStreamProtocol):
    """Turns one TLS connection into messages."""


#: Makes the protocol of a connection, given the owner of its flow, the flow, and what TLS is made of, if it is used.
MakeProtocol = Callable[[FlowOwner, StreamFlow, TlsContext | None], ConnectionProtocol]


def make_stream_protocol(owner: FlowOwner, flow: StreamFlow, tls: TlsContext | None) -> SipStreamProtocol:
    """Make the protocol of a connection whose messages follow each other (RFC 3261 section 18.3)."""
    limits = owner.limits
    framer = StreamFramer(max_head_octets=limits.max_head_octets, max_body_octets=limits.max_body_octets)
    return SipStreamProtocol(flow, framer) if tls is None else TlsStreamProtocol(flow, framer)


class StreamPort(ServerFactory):
    """One listening point on a TCP socket: accepts connections up to the bounds.

    Args:
        owner: of all flows.
        point: where it listens; its port is settled when the socket is bound.
        connections: of the whole layer.
        tls: for TLS.
        make_protocol: for connections in both directions.
    """

    noisy = False

    def __init__(
        self,
        owner: FlowOwner,
        point: ListeningPoint,
        connections: ConnectionTable,
        tls: TlsContext | None,
        make_protocol: MakeProtocol = make_stream_protocol,
    ) -> None:
        self.point = point
        self.tls = tls
        self.make_protocol = make_protocol
        self.is_accepting = True
        self._owner = owner
        self._connections = connections
        self._wrapper = (
            None if tls is None else TLSMemoryBIOFactory(tls.server_creator(), False, _Inner(self), owner.clock)
        )

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """See ``ServerFactory``. Closes at once who is not listened to, and what is beyond a bound."""
        if not self.is_accepting:
            return None
        host = getattr(addr, "host", "")
        limits = self._owner.limits
        if self._owner.guard is not None and self._owner.guard.drops(host):
            return None
        if len(self._connections) >= limits.max_connections:
            self._owner.incidents.note("too-many-connections", addr, f"{limits.max_connections} are open")
            return None
        if self._connections.inbound_from(host) >= limits.max_connections_per_source:
            reason = f"{limits.max_connections_per_source} from this address are open"
            self._owner.incidents.note("too-many-from-source", addr, reason)
            return None
        return self.build(addr) if self._wrapper is None else self._wrapper.buildProtocol(addr)

    def build(self, addr: IAddress | None) -> ConnectionProtocol:
        """Make the protocol of an accepted connection, and its flow."""
        flow = StreamFlow(self._owner, self.point, getattr(addr, "host", ""), getattr(addr, "port", 0))
        self._connections.add(flow)
        return self.make_protocol(self._owner, flow, self.tls)


class _Inner(ServerFactory):
    """What the TLS wrapper asks for the protocol inside."""

    noisy = False

    def __init__(self, stream_port: StreamPort) -> None:
        self._stream_port = stream_port

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._stream_port.build(addr)


class _Connecting(ClientFactory[ConnectionProtocol]):
    """Makes one connection."""

    noisy = False

    def __init__(self, owner: FlowOwner, flow: StreamFlow, port: StreamPort) -> None:
        self._owner = owner
        self._flow = flow
        self._port = port

    def buildProtocol(self, addr: IAddress | None) -> ConnectionProtocol:
        return self._port.make_protocol(self._owner, self._flow, self._port.tls)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        problem = _why(reason, self._flow)
        self._owner.incidents.note("connect-failed", self._flow, problem.reason)
        self._flow.ended(problem)


def connect(reactor: IReactorTCP, owner: FlowOwner, flow: StreamFlow, port: StreamPort) -> None:
    """Begin to connect a new flow to where it goes. It is told what becomes of it, but not from within this call.

    Args:
        reactor: makes the connection.
        owner: of all flows.
        flow: as made, with a server name.
        port: the listening point that it belongs to: says what is spoken.
    """
    factory = cast("ClientFactory[Protocol]", _Connecting(owner, flow, port))
    if port.tls is not None:
        creator = port.tls.client_creator(flow.server_name or flow.host)
        factory = cast("ClientFactory[Protocol]", TLSMemoryBIOFactory(creator, True, factory, owner.clock))
    connector = reactor.connectTCP(
        flow.host, flow.port, factory, timeout=owner.limits.connect_timeout, bindAddress=_source(flow)
    )
    flow.connecting(connector.disconnect)


def _source(flow: StreamFlow) -> tuple[str, int] | None:
    """Give the local address of a connection: that of the listening point, where it can reach the peer."""
    host = flow.point.host
    if is_wildcard(host) or (is_loopback(host) and not is_loopback(flow.host)):
        return None
    return (host, 0)


def is_loopback(host: str) -> bool:
    """Say whether a numeric address is this machine's own."""
    return host.startswith("127.") or host == "::1"


def is_wildcard(host: str) -> bool:
    """Say whether a numeric address stands for all of this machine's."""
    return host in ("0.0.0.0", "::")


def _why(reason: Failure, flow: StreamFlow) -> TransportError:
    if reason.check(error.ConnectionRefusedError):
        return ConnectionRefused(f"{flow}: the connection was refused")
    if reason.check(error.TimeoutError, error.TCPTimedOutError):
        return TransportError(f"{flow}: no connection in time")
    if reason.check(error.ConnectionDone):
        return TransportError(f"{flow}: the peer closed the connection")
    if reason.check(SSL.Error):
        return TlsError(f"{flow}: {_tls_reason(reason)}")
    return TransportError(f"{flow}: {reason.getErrorMessage()}")


def _tls_reason(reason: Failure) -> str:
    """Say in words why a TLS connection broke: OpenSSL gives a list of (library, function, reason)."""
    if isinstance(reason.value, SSL.Error) and reason.value.args and isinstance(reason.value.args[0], list):
        reasons = [str(entry[-1]) for entry in reason.value.args[0] if entry]
        if reasons:
            return f"TLS failed: {reasons[-1]}"
    return "the connection was closed during the TLS handshake"
