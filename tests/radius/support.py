"""What the tests of RADIUS share: a simulated network with two servers."""

from __future__ import annotations

from collections.abc import Coroutine

from pyrad.packet import AuthPacket
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.radius.peer import RadiusServer
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from tests.radius.server import FakeRadiusServer

CLIENT = "192.0.2.100"
ADDRESSES = ("192.0.2.1", "192.0.2.2")
PORT = 1812
ACCEPT, REJECT, CHALLENGE = 2, 3, 11
#: The answers that are asked for.
CODES = (ACCEPT, REJECT)


def make_request(identifier: int, secret: bytes) -> AuthPacket:
    """Make an Access-Request; its authenticator shows which one it is."""
    packet = AuthPacket(id=identifier, secret=secret, authenticator=bytes((identifier,)) * 16)
    packet[1] = [b"alice"]
    packet.add_message_authenticator()
    return packet


@implementer(ILogObserver)
class Errors:
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`."""
        if event["log_level"].name == "error":
            self.lines.append(formatEvent(event))


class RadiusCase(SynchronousTestCase):
    """Two servers, and a host that asks them."""

    def setUp(self) -> None:
        """Make them."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed=1)
        self.host = self.network.host(CLIENT)
        self.fakes = [FakeRadiusServer() for _ in ADDRESSES]
        for address, fake in zip(ADDRESSES, self.fakes, strict=True):
            self.network.host(address).listenUDP(PORT, fake)
        self.first, self.second = self.fakes
        self.servers = [RadiusServer(host=address, port=PORT, secret=b"testing") for address in ADDRESSES]
        self.errors = Errors()
        globalLogPublisher.addObserver(self.errors)
        self.addCleanup(globalLogPublisher.removeObserver, self.errors)

    def tearDown(self) -> None:
        """Nothing is pending."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def start(self, asking: Coroutine[Deferred[int], object, int], seconds: float = 0.5) -> Deferred[int]:
        """Ask, and let some time pass."""
        waiting = Deferred.fromCoroutine(asking)
        self.clock.advance(seconds)
        return waiting

    def counts(self) -> list[int]:
        """How many datagrams each server got."""
        return [len(fake.requests) for fake in self.fakes]

    def place(self) -> tuple[str, int]:
        """Give where the first request came from."""
        return next(event.source for event in self.network.log if event.source[0] == CLIENT)
