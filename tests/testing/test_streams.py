"""Connections of the simulated network."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TCPTimedOutError,
)
from twisted.internet.interfaces import IAddress, IConnector, IConsumer, IListeningPort, IPushProducer, ITCPTransport
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.testing.clock import SimulatedClock
from sipd.testing.connections import SimulatedConnection
from sipd.testing.links import Link
from sipd.testing.nat import Nat
from sipd.testing.network import Host, Network

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"


class Recorder(Protocol):
    """Keeps what it hears, and why it ended."""

    transport: SimulatedConnection

    def __init__(self, greeting: bytes = b"") -> None:
        self.data = b""
        self.chunks: list[int] = []
        self.reason: type[BaseException] | None = None
        self.greeting = greeting

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self.transport.write(self.greeting)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.data += data
        self.chunks.append(len(data))

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        """See `Protocol`."""
        self.reason = reason.type


class RecorderFactory(Factory):
    """Makes recorders and keeps them."""

    noisy = False

    def __init__(self, greeting: bytes = b"") -> None:
        self.made: list[Recorder] = []
        self.greeting = greeting

    def buildProtocol(self, addr: IAddress | None) -> Recorder:
        """See `Factory`."""
        self.made.append(Recorder(self.greeting))
        return self.made[-1]


class RefusingFactory(Factory):
    """Wants no connection."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> None:
        """See `Factory`."""


@implementer(IPushProducer)
class Flag:
    """A producer that only knows whether it may produce."""

    def __init__(self) -> None:
        self.history: list[str] = []

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.history.append("pause")

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.history.append("resume")

    def stopProducing(self) -> None:
        """See `IProducer`."""


class StreamTests(SynchronousTestCase):
    """TCP, through Twisted's own endpoints."""

    def setUp(self) -> None:
        """Make two hosts with 0.1 s between them."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed=1, link=Link(delay=0.1, jitter=0.05))
        self.client, self.server = self.network.host(CLIENT), self.network.host(SERVER)
        self.factory = RecorderFactory()

    def listen(self, factory: Factory | None = None) -> IListeningPort:
        """Listen on the server's port 5060."""
        endpoint = TCP4ServerEndpoint(self.server, 5060)
        listening: IListeningPort = self.successResultOf(endpoint.listen(factory or self.factory))
        return listening

    def connect(self, host: Host | None = None) -> Deferred[Any]:
        """Connect to it."""
        return TCP4ClientEndpoint(host or self.client, SERVER, 5060, timeout=20).connect(RecorderFactory())

    def connected(self) -> tuple[Recorder, Recorder]:
        """Give both ends of a new connection."""
        self.listen()
        connecting = self.connect()
        self.clock.run()
        return self.successResultOf(connecting), self.factory.made[0]

    def test_interfaces(self) -> None:
        """Connection, listener and connector provide Twisted's interfaces."""
        verifyObject(IListeningPort, self.listen())
        factory: ClientFactory[Recorder] = ClientFactory()
        factory.protocol = Recorder
        connector = self.client.connectTCP(SERVER, 5060, factory)
        verifyObject(IConnector, connector)
        self.clock.run()
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, self.client.connections[0])

    def test_octets_arrive_in_order(self) -> None:
        """Whatever the jitter, what is written arrives whole and in order, in segments."""
        here, there = self.connected()
        sent = self.network.entropy(10000)
        for start in range(0, len(sent), 2500):
            here.transport.write(sent[start : start + 2500])
        self.clock.run()
        self.assertEqual(there.data, sent)
        self.assertEqual(max(there.chunks), 1460)

    def test_server_speaks_first(self) -> None:
        """What the server writes at once is not lost, though the client learns later that it is connected."""
        self.listen(RecorderFactory(b"welcome"))
        connecting = self.connect()
        self.clock.run()
        self.assertEqual(self.successResultOf(connecting).data, b"welcome")

    def test_addresses(self) -> None:
        """Each end knows the other's address; behind NAT the server sees the public one."""
        here, there = self.connected()
        self.assertEqual(here.transport.getPeer().port, 5060)
        self.assertEqual(there.transport.getPeer(), here.transport.getHost())
        inner = self.network.host_behind(Nat("198.51.100.1", self.clock.seconds), "10.0.0.2")
        connecting = self.connect(inner)
        self.clock.run()
        behind = self.successResultOf(connecting)
        self.assertEqual(behind.transport.getHost().host, "10.0.0.2")
        self.assertEqual(self.factory.made[1].transport.getPeer().host, "198.51.100.1")
        self.factory.made[1].transport.write(b"back")
        self.clock.run()
        self.assertEqual(behind.data, b"back")

    def test_close(self) -> None:
        """A close delivers what was written before it, and ends both sides in good order."""
        here, there = self.connected()
        here.transport.write(b"last words")
        here.transport.loseConnection()
        here.transport.write(b"too late")
        self.clock.run()
        self.assertEqual(there.data, b"last words")
        self.assertEqual((here.reason, there.reason), (ConnectionDone, ConnectionDone))
        self.assertEqual(self.client.connections + self.server.connections, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_abort(self) -> None:
        """An abort loses what has not arrived; the other side sees a reset."""
        here, there = self.connected()
        here.transport.write(b"lost")
        here.transport.abortConnection()
        self.clock.run()
        self.assertEqual(there.data, b"")
        self.assertEqual((here.reason, there.reason), (ConnectionAborted, ConnectionLost))

    def test_refused(self) -> None:
        """Where nobody listens, or the listener is closed or wants nobody, a connection is refused."""
        self.assertRefused()
        listening = self.listen()
        listening.stopListening()
        self.assertRefused()
        self.listen(RefusingFactory())
        self.assertRefused()
        self.assertEqual([event.fate.value for event in self.network.log], ["refused"] * 3)

    def assertRefused(self) -> None:
        """A connection attempt made now is refused."""
        connecting = self.connect()
        self.clock.run()
        self.failureResultOf(connecting, ConnectionRefusedError)

    def test_timeout(self) -> None:
        """Where there is no host, or a partition, the attempt times out."""
        for destination in ("192.0.2.77", SERVER):
            self.listen() if destination == SERVER else None
            self.network.partition([SERVER])
            started = self.clock.seconds()
            connecting = TCP4ClientEndpoint(self.client, destination, 5060, timeout=20).connect(RecorderFactory())
            self.clock.run()
            self.failureResultOf(connecting, TCPTimedOutError)
            self.assertEqual(self.clock.seconds() - started, 20)

    def test_no_address_of_that_family(self) -> None:
        """An IPv4 host cannot connect to an IPv6 address."""
        connecting = TCP4ClientEndpoint(self.client, "2001:db8::1", 5060).connect(RecorderFactory())
        self.clock.run()
        self.failureResultOf(connecting, ConnectError)

    def test_cancelled_attempt(self) -> None:
        """An attempt cancelled half-way fails at once, and the server's end is reset."""
        self.listen()
        connecting = self.connect()
        self.clock.run_until(lambda: self.factory.made, limit=1.0)
        connecting.cancel()
        self.failureResultOf(connecting, ConnectingCancelledError)
        self.clock.run()
        self.assertIs(self.factory.made[0].reason, ConnectionLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_partition_stalls_and_heals(self) -> None:
        """A connection waits for a partition of less than a minute, and loses nothing."""
        here, there = self.connected()
        self.network.partition([SERVER])
        here.transport.write(b"patience")
        self.clock.advance(30.0)
        self.assertEqual(there.data, b"")
        self.network.heal()
        self.clock.run()
        self.assertEqual((there.data, there.reason), (b"patience", None))

    def test_partition_breaks_in_the_end(self) -> None:
        """A connection with something to send through a lasting partition breaks at both ends."""
        here, there = self.connected()
        self.network.partition([SERVER])
        here.transport.write(b"never")
        self.clock.run()
        self.assertEqual((here.reason, there.reason, there.data), (TCPTimedOutError, TCPTimedOutError, b""))

    def test_reader_that_pauses(self) -> None:
        """What is written to an end that does not read waits; its producer is paused, and resumed when it reads."""
        here, there = self.connected()
        producer = Flag()
        here.transport.registerProducer(producer, streaming=True)
        there.transport.pauseProducing()
        here.transport.write(bytes(100_000))
        self.clock.run()
        self.assertEqual((len(there.data), producer.history), (0, ["pause"]))
        there.transport.resumeProducing()
        self.clock.run()
        self.assertEqual((len(there.data), producer.history), (100_000, ["pause", "resume"]))
        here.transport.loseConnection()
        self.assertTrue(here.transport.is_open)
        here.transport.unregisterProducer()
        self.clock.run()
        self.assertIs(there.reason, ConnectionDone)

    def test_port_in_use(self) -> None:
        """A port takes one listener."""
        self.listen()
        self.failureResultOf(TCP4ServerEndpoint(self.server, 5060).listen(self.factory), CannotListenError)

    def test_connector(self) -> None:
        """A connector reports to its factory, and can end what it made."""
        self.listen()
        lost: list[Failure] = []

        class Reporting(ClientFactory[Recorder]):
            noisy = False
            protocol = Recorder

            def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:  # noqa: N802
                lost.append(reason)

        connector = self.client.connectTCP(SERVER, 5060, Reporting())
        self.assertEqual(connector.getDestination().host, SERVER)
        self.clock.run()
        connector.disconnect()
        self.clock.run()
        self.assertEqual([reason.type for reason in lost], [ConnectionDone])
