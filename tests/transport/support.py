"""What the tests of the transport layer share: a receiver that records, messages, raw peers, certificates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet import reactor as global_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, ServerFactory, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from sipd.errors import TransportError
from sipd.interfaces import IFlow, IMessageObserver, IMessageReceiver, ListeningPoint
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request, Response
from sipd.transport.layer import TransportLayer, TransportReactor
from sipd.transport.limits import TransportLimits
from sipd.transport.tls import TlsSettings

reactor = cast(Any, global_reactor)

#: What came, and from where.
Datagram = tuple[bytes, tuple[str, int]]
UDP, TCP, TLS = Transport.UDP, Transport.TCP, Transport.TLS


def point(transport: Transport, host: str = "127.0.0.1", port: int = 0, **changes: Any) -> ListeningPoint:
    """Make a listening point that advertises where it listens."""
    values: dict[str, Any] = {"advertised_host": host, "advertised_port": port, **changes}
    return ListeningPoint(name=transport.value.lower(), transport=transport, host=host, port=port, **values)


def request_octets(
    via: str = "SIP/2.0/UDP client.example.com:5070;branch=z9hG4bK1;rport",
    method: str = "OPTIONS",
    extra: tuple[str, ...] = (),
    body: bytes = b"",
    without: str = "",
) -> bytes:
    """Print a good request; `without` names a header field to be left off."""
    lines = [
        f"Via: {via}",
        "From: <sip:alice@example.com>;tag=1",
        "To: <sip:bob@example.com>",
        "Call-ID: c1",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
        *extra,
        f"Content-Length: {len(body)}",
    ]
    lines = [line for line in lines if not without or not line.startswith(without)]
    return "\r\n".join([f"{method} sip:bob@example.com SIP/2.0", *lines, "", ""]).encode() + body


def response_octets(sent_by: str, transport: Transport = UDP) -> bytes:
    """Print a good 200 to a request that was sent by that."""
    lines = [
        "SIP/2.0 200 OK",
        f"Via: SIP/2.0/{transport.value} {sent_by};branch=z9hG4bK1",
        "From: <sip:alice@example.com>;tag=1",
        "To: <sip:bob@example.com>;tag=2",
        "Call-ID: c1",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def target(at: ListeningPoint | IListeningPort, transport: Transport | None = None, name: str = "") -> Target:
    """Make the target that leads to a listening point or a port."""
    if isinstance(at, ListeningPoint):
        return Target(transport=transport or at.transport, host=at.host, port=at.port, server_name=name)
    address = cast(Any, at.getHost())
    return Target(transport=transport or TCP, host=address.host, port=address.port, server_name=name)


@implementer(IMessageReceiver)
class Receiver:
    """Records what it is given, and fires what waits for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[Request | Response, IFlow]] = []
        self.failures: list[tuple[IFlow, TransportError]] = []
        self.reaction: Callable[[Request | Response, IFlow], object] | None = None

    def message_received(self, message: Request | Response, flow: IFlow) -> None:
        """See `IMessageReceiver`."""
        self.messages.append((message, flow))
        if self.reaction is not None:
            self.reaction(message, flow)

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `IMessageReceiver`."""
        self.failures.append((flow, error))

    def has(self, count: int) -> bool:
        """Say whether that many messages have come."""
        return len(self.messages) >= count

    def answer(self, layer: TransportLayer) -> None:
        """Let that layer answer each request from now on with 200."""

        def respond(message: Request | Response, flow: IFlow) -> None:
            if isinstance(message, Request) and message.method != "ACK":
                layer.send_response(message.response(200), flow)

        self.reaction = respond

    @property
    def requests(self) -> list[Request]:
        """The requests received so far."""
        return [message for message, _ in self.messages if isinstance(message, Request)]


@implementer(IMessageObserver)
class Observer:
    """Records what it sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[bytes, str, bool]] = []

    def message_seen(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """See `IMessageObserver`."""
        self.seen.append((data, str(flow), sent))


class RawPeer(Protocol):
    """One end of a connection that a test writes octets to."""

    def __init__(self) -> None:
        self.data = b""
        self.is_lost = False
        self.reason: Failure | None = None

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self.is_lost = True
        self.reason = reason

    @property
    def wire(self) -> Any:
        """The transport, with everything that it has."""
        return self.transport


class RawDatagrams(DatagramProtocol):
    """A UDP socket that a test writes octets to."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[Datagram] = []

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """See `DatagramProtocol`."""
        self.received.append((datagram, addr))

    @property
    def port(self) -> int:
        """The port that it is bound to."""
        return int(cast(Any, self.transport).getHost().port)

    def send(self, data: bytes, to: ListeningPoint) -> None:
        """Send one datagram."""
        cast(Any, self.transport).write(data, (to.host, to.port))


class RawServer(ServerFactory):
    """Accepts connections for a test."""

    noisy = False

    def __init__(self) -> None:
        self.peers: list[RawPeer] = []

    def buildProtocol(self, addr: object) -> RawPeer:
        """See `ServerFactory`."""
        peer = RawPeer()
        self.peers.append(peer)
        return peer


class RawClient(ClientFactory[RawPeer]):
    """Makes one connection for a test."""

    noisy = False

    def __init__(self) -> None:
        self.peer = RawPeer()

    def buildProtocol(self, addr: object) -> RawPeer:
        """See `ClientFactory`."""
        return self.peer

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """See `ClientFactory`."""
        self.peer.is_lost = True
        self.peer.reason = reason


class LoopbackTestCase(TestCase):
    """A test with real sockets on the loopback interface, all of them closed at its end."""

    timeout = 30

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor turn until the condition holds; the time limit of the test ends what never comes."""
        while not condition():
            await deferLater(reactor, 0.002)

    def layer(self, **limits: Any) -> tuple[TransportLayer, Receiver]:
        """Make a transport layer, closed at the end of the test, and its receiver."""
        layer = TransportLayer(reactor=cast(TransportReactor, reactor), limits=TransportLimits(**limits))
        receiver = layer.receiver = Receiver()
        self.addCleanup(layer.close)
        return layer, receiver

    async def endpoint(
        self, transport: Transport, tls: TlsSettings | None = None, **limits: Any
    ) -> tuple[TransportLayer, Receiver, ListeningPoint]:
        """Make a layer with one listening point."""
        layer, receiver = self.layer(**limits)
        return layer, receiver, await layer.listen(point(transport), tls)

    def datagrams(self, interface: str = "127.0.0.1") -> RawDatagrams:
        """Open a UDP socket."""
        protocol = RawDatagrams()
        listening = reactor.listenUDP(0, protocol, interface=interface, maxPacketSize=65535)
        self.addCleanup(listening.stopListening)
        return protocol

    def server(self, interface: str = "127.0.0.1") -> tuple[RawServer, IListeningPort]:
        """Open a TCP server."""
        factory = RawServer()
        listening = reactor.listenTCP(0, factory, interface=interface)
        self.addCleanup(self._close_server, factory, listening)
        return factory, listening

    def _close_server(self, factory: RawServer, listening: IListeningPort) -> Deferred[None] | None:
        for peer in factory.peers:
            if not peer.is_lost:
                peer.wire.abortConnection()
        return listening.stopListening()

    async def connect(self, to: ListeningPoint) -> RawPeer:
        """Connect to a listening point over TCP."""
        factory = RawClient()
        connector = reactor.connectTCP(to.host, to.port, factory)
        self.addCleanup(self._disconnect, factory.peer, connector)
        await self.until(lambda: factory.peer.connected or factory.peer.is_lost)
        return factory.peer

    async def _disconnect(self, peer: RawPeer, connector: Any) -> None:
        if not peer.is_lost:
            peer.wire.abortConnection()
            await self.until(lambda: peer.is_lost)
