"""A proxy on a simulated network, a router with a table, and wires whose other end is held by the test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import RequestRefusedError
from sipd.interfaces import IFlow, ListeningPoint
from sipd.proxy.interfaces import IProxyRouter, ProxyTarget
from sipd.proxy.settings import ProxySettings
from sipd.proxy.stateful import StatefulProxy
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, parse_uri
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Address, Link
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.wire import DatagramWire
from sipd.transaction.layer import TransactionLayer
from sipd.transport.layer import TransportLayer
from sipd.transport.resolver import Resolver

#: The proxy, by IPv4 and IPv6; the caller; callees.
PROXY, PROXY6 = "192.0.2.100", "2001:db8::100"
ALICE, BOB, CAROL, DAVE = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
DOMAIN = "example.com"


def target(text: str, **options: Any) -> ProxyTarget:
    """Give the target with that URI."""
    return ProxyTarget(uri=parse_uri(text), **options)


@implementer(IProxyRouter)
class TableRouter:
    """Knows users of `DOMAIN`, and nobody else.

    Attributes:
        rounds: user to rounds of targets.
        asked: the requests it was asked about.
        answers: what it gives instead, once, if there is something.
    """

    def __init__(self) -> None:
        self.rounds: dict[str, Sequence[Sequence[ProxyTarget]]] = {}
        self.asked: list[Request] = []
        self.answers: list[Deferred[Sequence[Sequence[ProxyTarget]]]] = []

    def targets(self, request: Request, flow: IFlow) -> Deferred[Sequence[Sequence[ProxyTarget]]]:
        """See `IProxyRouter`."""
        self.asked.append(request)
        if self.answers:
            return self.answers.pop(0)
        uri = request.uri
        if not isinstance(uri, SipUri) or uri.host != DOMAIN:
            raise RequestRefusedError("Relaying Denied", status=403)
        return succeed(self.rounds.get(uri.user or "", ()))


class Wire:
    """The other end: a UDP port that says only what the test tells it to."""

    def __init__(self, network: Network, address: str, port: int = 5060) -> None:
        self.address = address
        self.messages: list[Request | Response] = []
        self.seen: list[Request | Response] = []
        self._wire = DatagramWire(network.host(address), (address, port), self._received)

    def send(self, message: Request | Response, to: Address | None = None) -> None:
        """Send a message, to the proxy unless it says otherwise."""
        proxy = PROXY6 if ":" in self.address else PROXY
        self._wire.send(message, to or (proxy, 5060))

    def send_octets(self, data: bytes) -> None:
        """Send a datagram to the proxy that need not be a message."""
        self._wire._port.write(data, (PROXY, 5060))

    def answer(self, status: int, *, method: str = "INVITE", **options: Any) -> Response:
        """Answer the last request of a method, as a callee does."""
        options.setdefault("contact", f"<sip:callee@{self.address}>")
        options.setdefault("to_tag", f"tag-{self.address}")
        response = builders.response(self.request(method), status, **options)
        self.send(response)
        return response

    def take(self) -> list[Request | Response]:
        """Give what came since the last time."""
        messages, self.messages = self.messages, []
        return messages

    def kinds(self) -> list[str]:
        """Give methods and statuses of what came since the last time."""
        return [one.method if isinstance(one, Request) else str(one.status) for one in self.take()]

    def request(self, method: str = "INVITE") -> Request:
        """Give the last request of a method that came, taken or not."""
        return next(one for one in reversed(self.seen) if isinstance(one, Request) and one.method == method)

    def response(self, status: int) -> Response:
        """Give the last response of a status that came, taken or not."""
        return next(one for one in reversed(self.seen) if isinstance(one, Response) and one.status == status)

    def _received(self, message: Request | Response, source: Address) -> None:
        self.messages.append(message)
        self.seen.append(message)


class NetworkCase(SynchronousTestCase):
    """A host with a transport layer, over UDP and TCP, IPv4 and IPv6."""

    def setUp(self) -> None:
        """Make a network without faults."""
        self.make(Link())

    def make(self, link: Link, seed: int = 1) -> None:
        """Make the network and the proxy's host."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed, link=link)
        host: Any = self.network.host(PROXY, PROXY6)
        self.host = host
        self.transport = TransportLayer(reactor=host)
        for address in (PROXY, PROXY6):
            for transport in (Transport.UDP, Transport.TCP):
                point = ListeningPoint(
                    name=f"{transport.value}-{address}",
                    transport=transport,
                    host=address,
                    port=5060,
                    advertised_host=address,
                    advertised_port=5060,
                )
                self.successResultOf(self.transport.listen(point))

    def wire(self, address: str, port: int = 5060) -> Wire:
        """Put the other end at an address."""
        return Wire(self.network, address, port)

    def peer(self, user: str, address: str, transport: Transport = Transport.UDP) -> Peer:
        """Put a user agent at an address; the proxy is its outbound proxy."""
        proxy = (PROXY6 if ":" in address else PROXY, 5060)
        return Peer(
            self.network.host(address),
            user,
            address,
            proxy=proxy,
            entropy=self.network.entropy,
            domain=DOMAIN,
            transport=transport,
        )

    def pass_time(self, duration: float = 0.1) -> None:
        """Let messages arrive."""
        self.clock.advance(duration)


class ProxyCase(NetworkCase):
    """A stateful proxy, with Alice's and Bob's wires."""

    settings = ProxySettings()

    def make(self, link: Link, seed: int = 1) -> None:
        """Put the proxy on its host, too."""
        super().make(link, seed)
        entropy = self.network.entropy
        self.transactions = TransactionLayer(clock=self.host, transport=self.transport, entropy=entropy)
        self.transport.receiver = self.transactions
        host: Any = self.host
        self.resolver = Resolver(host)
        self.router = TableRouter()
        self.make_proxy(self.settings)

    def make_proxy(self, settings: ProxySettings) -> None:
        """Make the proxy, or another one in its place."""
        self.proxy = StatefulProxy(
            clock=self.host,
            transport=self.transport,
            transactions=self.transactions,
            resolver=self.resolver,
            entropy=self.network.entropy,
            router=self.router,
            settings=settings,
        )
        self.transactions.core = self.proxy
        verifyObject(IProxyRouter, self.router)

    def introduced(self, peer: Peer) -> Deferred[Response | None]:
        """Let a peer ask something, so that its connection is there."""
        asking = peer.ask(builders.options(f"sip:{DOMAIN}", via=None))
        self.pass_time(1.0)
        return asking

    def settle(self, duration: float = 600.0) -> None:
        """Let every timer run out; nothing may be left."""
        self.clock.advance(duration)
        self.assertEqual((len(self.proxy), self.proxy.branch_count, len(self.transactions)), (0, 0, 0))


class WireCase(ProxyCase):
    """Alice calls `sip:bob@example.com`; her wire and the callees' say only what the test tells them to."""

    def make(self, link: Link, seed: int = 1) -> None:
        """Hold the ends of the wires."""
        super().make(link, seed)
        self.alice, self.bob = self.wire(ALICE), self.wire(BOB)
        self.route([f"sip:bob@{BOB}"])

    def route(self, *rounds: Sequence[str]) -> None:
        """Say where Bob is."""
        self.router.rounds["bob"] = [[target(text) for text in texts] for texts in rounds]

    def send(self, method: str = "INVITE", uri: str = f"sip:bob@{DOMAIN}", **options: Any) -> Request:
        """Send a request of Alice's."""
        options.setdefault("via", f"{ALICE}:5060")
        options.setdefault("contact", f"<sip:alice@{ALICE}>")
        body = builders.sdp() if method == "INVITE" else b""
        request = builders.request(method, uri, body=body, **options)
        self.alice.send(request)
        self.pass_time()
        return request

    def answer(self, wire: Wire, status: int, **options: Any) -> Response:
        """Let a callee answer."""
        response = wire.answer(status, **options)
        self.pass_time()
        return response

    def acknowledge(self, invite: Request, status: int) -> None:
        """Let Alice acknowledge a refusal that she got."""
        self.alice.send(builders.ack(invite, self.alice.response(status)))
        self.pass_time()
