"""A user agent on a simulated network, and wires whose other end is held by the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.interfaces import Credentials, ListeningPoint
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Headers
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request, Response
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Address
from sipd.testing.network import Network
from sipd.testing.wire import DatagramWire
from sipd.transaction.layer import TransactionLayer
from sipd.transport.layer import TransportLayer
from sipd.transport.resolver import Resolver
from sipd.ua.core import UserAgent
from sipd.ua.events import SessionEvent
from sipd.ua.incoming import IncomingCall
from sipd.ua.interfaces import ICallHandler, ISessionUser
from sipd.ua.outgoing import CallRequest, OutgoingCall
from sipd.ua.session import Session

US, THEM, OTHER = "192.0.2.1", "192.0.2.2", "192.0.2.3"

E = TypeVar("E")


@implementer(ISessionUser, ICallHandler)
class User:
    """Keeps the calls that are offered, and what happens to sessions."""

    def __init__(self) -> None:
        self.calls: list[IncomingCall] = []
        self.events: list[SessionEvent] = []
        self.on_event: Callable[[Session], object] = lambda session: None

    def call_offered(self, call: IncomingCall) -> None:
        """See `ICallHandler`."""
        call.user = self
        self.calls.append(call)

    def session_event(self, session: Session, event: SessionEvent) -> None:
        """See `ISessionUser`."""
        self.events.append(event)
        self.on_event(session)

    def last(self, kind: type[E]) -> E:
        """Give the last event, which must be of that kind."""
        event: Any = self.events[-1]
        assert isinstance(event, kind), self.events
        return event


class Wire:
    """The other end: a UDP port that says only what the test tells it to."""

    def __init__(self, network: Network, address: str, port: int = 5060) -> None:
        self.messages: list[Request | Response] = []
        self._wire = DatagramWire(network.host(address), (address, port), self._received)

    def send(self, message: Request | Response, to: Address = (US, 5060)) -> None:
        """Send a message."""
        self._wire.send(message, to)

    def close(self) -> None:
        """Close the port."""
        self._wire.close()

    def take(self) -> list[Request | Response]:
        """Give what came since the last time."""
        messages, self.messages = self.messages, []
        return messages

    def kinds(self) -> list[str]:
        """Give methods and statuses of what came since the last time."""
        return [one.method if isinstance(one, Request) else str(one.status) for one in self.take()]

    def request(self, method: str) -> Request:
        """Give the last request of a method that came; it stays to be counted."""
        return next(one for one in reversed(self.messages) if isinstance(one, Request) and one.method == method)

    def response(self, status: int) -> Response:
        """Give the last response of a status that came; it stays to be counted."""
        return next(one for one in reversed(self.messages) if isinstance(one, Response) and one.status == status)

    def _received(self, message: Request | Response, source: Address) -> None:
        self.messages.append(message)


class AgentCase(SynchronousTestCase):
    """A user agent at `US`, and a wire at `THEM`."""

    def setUp(self) -> None:
        """Make both."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        host: Any = self.network.host(US)
        self.transport = TransportLayer(reactor=host)
        entropy = self.network.entropy
        self.transactions = TransactionLayer(clock=host, transport=self.transport, entropy=entropy)
        self.transport.receiver = self.transactions
        self.agent = UserAgent(
            clock=host,
            transport=self.transport,
            transactions=self.transactions,
            resolver=Resolver(host),
            entropy=entropy,
        )
        self.transactions.core = self.agent
        self.user = User()
        self.agent.call_handler = self.user
        for transport in (Transport.UDP, Transport.TCP):
            point = ListeningPoint(
                name="p", transport=transport, host=US, port=5060, advertised_host=US, advertised_port=5060
            )
            self.successResultOf(self.transport.listen(point))
        self.them = Wire(self.network, THEM)

    def settle(self) -> None:
        """Let every timer run out; nothing may be left."""
        self.clock.advance(300.0)
        self.assertEqual((len(self.agent), len(self.transactions)), (0, 0))
        self.assertEqual(self.agent._dialogs, {})

    def offered(self, **options: Any) -> IncomingCall:
        """Let an INVITE come in."""
        self.invite = builders.invite(f"sip:bob@{US}", via=f"{THEM}:5060", contact=f"<sip:alice@{THEM}>", **options)
        self.them.send(self.invite)
        self.clock.advance(0.1)
        return self.user.calls[-1]

    def calling(self, uri: str = f"sip:bob@{THEM}", **options: Any) -> OutgoingCall:
        """Send an INVITE out."""
        call = self.ready(uri, **options)
        call.start()
        self.clock.advance(0.1)
        return call

    def ready(
        self,
        uri: str = f"sip:bob@{THEM}",
        *,
        body: bytes = b"",
        source: Target | None = None,
        point: str = "",
        next_hop: str | None = None,
        route_set: tuple[str, ...] = (),
        credentials: Credentials | None = None,
        takes_reliable_offer: bool = False,
    ) -> OutgoingCall:
        """Make a call that goes out when it is started."""
        call = self.agent.call(
            CallRequest(
                uri=parse_uri(uri),
                caller=NameAddr.parse(f"<sip:alice@{US}>"),
                callee=NameAddr.parse(f"<{uri}>"),
                headers=Headers([("Content-Type", "application/sdp")]) if body else Headers(),
                body=body,
                source=source,
                point=point,
                next_hop=None if next_hop is None else parse_uri(next_hop),
                route_set=route_set,
                credentials=credentials,
                takes_reliable_offer=takes_reliable_offer,
            )
        )
        call.user = self.user
        return call

    def answer(self, status: int, *, tag: str = "t1", contact: str = f"<sip:bob@{THEM}>", **options: Any) -> Response:
        """Let the other end answer the INVITE that it got last."""
        response = builders.response(self.them.request("INVITE"), status, to_tag=tag, contact=contact, **options)
        self.them.send(response)
        self.clock.advance(0.1)
        return response
