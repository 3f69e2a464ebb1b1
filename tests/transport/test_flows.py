"""Tests of `sipd.transport.flows` and `sipd.transport.connections`, with a clock and wires that record."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.errors import ParseError, TlsError, TransportError
from sipd.interfaces import IFlow, IMessageObserver, ISourceGuard
from sipd.sip.locate import Target
from sipd.transport.connections import ConnectionTable
from sipd.transport.flows import StreamFlow
from sipd.transport.limits import Incidents, RateLimit, TransportCounters, TransportLimits
from tests.transport.support import TCP, TLS, Observer, point

LIMITS = TransportLimits(
    max_queue_octets=100,
    connect_timeout=10,
    handshake_timeout=8,
    message_timeout=20,
    idle_timeout=1000,
    stall_timeout=30,
    close_timeout=2,
)


class Owner:
    """Records what flows tell it."""

    def __init__(self) -> None:
        self.time = Clock()
        self.clock: IReactorTime = self.time
        self.limits = LIMITS
        self.incidents = Incidents(self.time, 1000)
        self.counters = TransportCounters()
        self.observers: tuple[IMessageObserver, ...] = ()
        self.guard: ISourceGuard | None = None
        self.failures: list[tuple[IFlow, TransportError]] = []
        self.unsent: list[bytes] = []

    def show(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
        """See `FlowOwner`."""
        for observer in self.observers:
            observer.message_seen(data, flow, sent=sent)

    def message_came(self, data: bytes, flow: IFlow) -> None:
        """See `FlowOwner`."""

    def datagram_came(self, data: bytes, flow: IFlow) -> None:
        """See `FlowOwner`."""

    def framing_lost(self, head: bytes, error: ParseError, flow: IFlow) -> None:
        """See `FlowOwner`."""

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `FlowOwner`."""
        self.failures.append((flow, error))

    def not_sent(self, data: bytes, flow: IFlow) -> None:
        """See `FlowOwner`."""
        self.unsent.append(data)


class Wire:
    """A stream transport whose peer reads when the test says so. Aborting it ends the flow, later, as Twisted does."""

    def __init__(self, clock: Clock, flow: StreamFlow) -> None:
        self.written: list[bytes] = []
        self.calls: list[str] = []
        self.producer: IPushProducer | None = None
        self._clock = clock
        self._flow = flow

    def write(self, data: bytes) -> None:
        """Take octets."""
        self.written.append(data)

    def loseConnection(self) -> None:
        """Note it; the peer does not react."""
        self.calls.append("lose")

    def abortConnection(self) -> None:
        """Note it, and end."""
        self.calls.append("abort")
        self._clock.callLater(0, self._flow.ended, TransportError("aborted"))

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """Take the producer."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self.producer = None


class FlowTestCase(SynchronousTestCase):
    """A flow, its owner and its wire; nothing is left on the clock at the end."""

    def setUp(self) -> None:
        """Make an owner."""
        self.owner = Owner()
        self.clock = self.owner.time

    def tearDown(self) -> None:
        """Check that a flow which has ended leaves nothing behind."""
        if self.owner.failures:
            self.clock.advance(0)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def outgoing(self) -> tuple[StreamFlow, Wire]:
        """Make a flow that connects."""
        flow = StreamFlow(self.owner, point(TCP), "192.0.2.1", 5060, "example.com")
        return flow, Wire(self.clock, flow)

    def opened(self) -> tuple[StreamFlow, Wire]:
        """Make a flow that is open."""
        flow, wire = self.outgoing()
        flow.attached(wire)
        flow.opened(())
        return flow, wire

    def failure(self, flow: StreamFlow) -> str:
        """Expect that the flow has failed once, and give the reason."""
        self.assertFalse(flow.is_open)
        self.assertEqual([failed for failed, _ in self.owner.failures], [flow])
        return self.owner.failures[0][1].reason


class QueueTests(FlowTestCase):
    """What is sent, and when."""

    def test_provides_the_interfaces(self) -> None:
        """A connection is a flow, and a producer."""
        flow, _ = self.outgoing()
        verifyObject(IFlow, flow)
        verifyObject(IPushProducer, flow)
        self.assertEqual(str(flow), "TCP 192.0.2.1:5060")
        six = StreamFlow(self.owner, point(TLS), "2001:db8::1", 5061)
        self.assertEqual(repr(six), "<TLS [2001:db8::1]:5061 connecting>")

    def test_waits_until_open(self) -> None:
        """Before it is open messages wait, and observers see them when they are written."""
        observer = Observer()
        self.owner.observers = (observer,)
        flow, wire = self.outgoing()
        flow.send(b"one")
        flow.attached(wire)
        flow.send(b"two")
        self.assertEqual((wire.written, observer.seen), ([], []))
        flow.opened(("example.com",))
        flow.send(b"three")
        self.assertEqual(wire.written, [b"one", b"two", b"three"])
        self.assertEqual([data for data, _, _ in observer.seen], [b"one", b"two", b"three"])
        self.assertEqual((flow.peer_names, self.owner.counters.messages_sent), (("example.com",), 3))

    def test_queue_is_bounded_while_connecting(self) -> None:
        """More than the bound ends the attempt, and tells so after `send` has returned."""
        cancelled: list[bool] = []
        flow, _ = self.outgoing()

        def cancel() -> None:
            cancelled.append(True)
            flow.ended(TransportError("cancelled"))

        flow.connecting(cancel)
        flow.send(b"x" * 100)
        self.assertTrue(flow.is_open)
        flow.send(b"y")
        flow.send(b"z")
        self.assertEqual((flow.is_open, self.owner.failures, cancelled), (False, [], []))
        self.clock.advance(0)
        self.assertEqual(cancelled, [True])
        self.assertIn("more than 100 octets wait", self.failure(flow))
        self.assertEqual(self.owner.incidents.counts["queue-full"], 1)

    def test_queue_is_bounded_when_open(self) -> None:
        """Only what is written while the buffer is full counts, and starts anew when the peer reads (lesson 22)."""
        flow, wire = self.opened()
        self.assertIs(wire.producer, flow)
        flow.send(b"x" * 1000)
        flow.pauseProducing()
        flow.send(b"x" * 100)
        flow.resumeProducing()
        flow.pauseProducing()
        flow.send(b"x" * 100)
        self.assertTrue(flow.is_open)
        flow.ping_came()
        self.assertFalse(flow.is_open)
        flow.send(b"never")
        self.assertEqual(self.owner.failures, [])
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertIn("more than 100 octets wait", self.failure(flow))
        self.assertNotIn(b"never", wire.written)

    def test_peer_that_reads_nothing(self) -> None:
        """A buffer that stays full for too long ends the connection, though little is written."""
        flow, wire = self.opened()
        flow.pauseProducing()
        flow.pauseProducing()
        self.clock.advance(29)
        flow.resumeProducing()
        flow.resumeProducing()
        self.clock.advance(29)
        self.assertTrue(flow.is_open)
        flow.pauseProducing()
        self.clock.advance(30)
        self.clock.advance(0)
        self.assertIn("does not read", self.failure(flow))
        self.assertEqual(wire.calls, ["abort"])

    def test_send_after_the_end(self) -> None:
        """Each message on a dead flow fails, later, with the reason of its end."""
        flow, _ = self.opened()
        flow.ended(TransportError("gone"))
        flow.ended(TransportError("gone twice"))
        flow.send(b"one")
        self.assertEqual(len(self.owner.failures), 1)
        self.clock.advance(0)
        self.assertEqual([error.reason for _, error in self.owner.failures], ["gone", "gone"])


class TimeTests(FlowTestCase):
    """Each phase has its time limit."""

    def test_connecting(self) -> None:
        """No connection in time is given up."""
        flow, _ = self.outgoing()
        flow.connecting(lambda: flow.ended(TransportError("cancelled")))
        self.clock.advance(9.9)
        self.assertTrue(flow.is_open)
        self.clock.advance(0.1)
        self.assertIn("no connection in time", self.failure(flow))
        self.assertEqual(self.owner.incidents.counts["connect-timeout"], 1)

    def test_handshake(self) -> None:
        """No TLS handshake in time is a TLS error, in both directions."""
        for server_name, limit in (("example.com", 10), (None, 8)):
            self.owner.failures.clear()
            flow = StreamFlow(self.owner, point(TLS), "192.0.2.1", 5061, server_name)
            flow.attached(Wire(self.clock, flow))
            self.clock.advance(limit - 0.1)
            self.assertTrue(flow.is_open)
            self.clock.advance(0.1)
            self.clock.advance(0)
            self.assertIn("no TLS handshake in time", self.failure(flow))
            self.assertIsInstance(self.owner.failures[0][1], TlsError)

    def test_nothing_was_ever_attached(self) -> None:
        """A flow that nothing came of ends by itself."""
        flow, _ = self.outgoing()
        self.clock.advance(10)
        self.assertIn("no connection in time", self.failure(flow))

    def test_late_connection_is_aborted(self) -> None:
        """A connection that is made after it was given up is aborted."""
        flow, wire = self.outgoing()
        flow.close()
        flow.attached(wire)
        flow.opened(())
        self.assertEqual((wire.calls, flow.is_open), (["abort"], False))
        self.clock.advance(0)
        self.assertIn("closed before it was open", self.failure(flow))

    def test_first_message(self) -> None:
        """An accepted connection on which no whole message comes in time is closed, though octets trickle in."""
        flow = StreamFlow(self.owner, point(TCP), "192.0.2.1", 40000)
        wire = Wire(self.clock, flow)
        flow.attached(wire)
        flow.opened(())
        for _ in range(19):
            self.clock.advance(1)
            flow.octets_came(finished=False, is_between_messages=False)
        self.assertTrue(flow.is_open)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertIn("no whole message in time", self.failure(flow))
        self.assertEqual(self.owner.incidents.counts["slow-message"], 1)

    def test_slow_message(self) -> None:
        """A message has its time from its first octet; a finished one gives the next its own."""
        flow, _ = self.opened()
        self.clock.advance(500)
        flow.octets_came(finished=False, is_between_messages=False)
        self.clock.advance(15)
        flow.octets_came(finished=True, is_between_messages=False)
        self.clock.advance(15)
        flow.octets_came(finished=False, is_between_messages=False)
        self.assertTrue(flow.is_open)
        self.clock.advance(5)
        self.clock.advance(0)
        self.assertIn("no whole message in time", self.failure(flow))

    def test_idle(self) -> None:
        """Between messages it stays open for the idle time, counted from the last octet."""
        flow, _ = self.opened()
        self.clock.advance(999)
        flow.octets_came(finished=True, is_between_messages=True)
        self.clock.advance(999)
        flow.octets_came(finished=False, is_between_messages=True)
        self.clock.advance(999)
        self.assertTrue(flow.is_open)
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertIn("nothing came for too long", self.failure(flow))

    def test_close(self) -> None:
        """A close waits for the buffer to be written, but not for ever."""
        flow, wire = self.opened()
        flow.send(b"bye")
        flow.close()
        flow.close()
        flow.octets_came(finished=True, is_between_messages=True)
        self.assertEqual((wire.calls, wire.producer, self.owner.failures), (["lose"], None, []))
        self.clock.advance(2)
        self.clock.advance(0)
        self.assertEqual(wire.calls, ["lose", "abort"])
        self.assertIn("closed by this side", self.failure(flow))

    def test_framing_lost(self) -> None:
        """When the border of messages is lost the connection is closed in good order, with an incident."""
        flow, wire = self.opened()
        flow.framing_lost(b"", ParseError("no length"))
        self.assertEqual((wire.calls, self.owner.incidents.counts["framing"]), (["lose"], 1))
        flow.ended(TransportError("done"))
        self.assertIn("closed by this side", self.failure(flow))


class TableTests(FlowTestCase):
    """Which connection a request may take."""

    def setUp(self) -> None:
        """Make a table."""
        super().setUp()
        self.table = ConnectionTable()

    def add(self, at: object = None, server_name: str | None = None, port: int = 5061) -> StreamFlow:
        """Add a TLS connection."""
        flow = StreamFlow(self.owner, at or point(TLS), "192.0.2.1", port, server_name)  # type: ignore[arg-type]
        self.table.add(flow)
        return flow

    def find(self, name: str, at: object = None) -> StreamFlow | None:
        """Find a connection for that name."""
        target = Target(transport=TLS, host="192.0.2.1", port=5061, server_name=name)
        where = at or point(TLS)
        return self.table.find_reusable(target, where, lambda flow: name in flow.peer_names)  # type: ignore[arg-type]

    def test_by_name_and_listening_point(self) -> None:
        """Neither another name nor another listening point shares a connection (lesson 17)."""
        flow = self.add(server_name="a.example.com")
        other_point = replace(point(TLS), name="strict")
        self.assertIs(self.find("a.example.com"), flow)
        self.assertIs(self.find("b.example.com"), None)
        self.assertIs(self.find("a.example.com", other_point), None)

    def test_accepted_with_a_verified_name(self) -> None:
        """A connection that came in is reused over TLS only if its peer proved the name."""
        flow = self.add()
        self.assertIs(self.find("a.example.com"), None)
        flow.peer_names = ("a.example.com",)
        self.assertIs(self.find("a.example.com"), flow)

    def test_dead_ones_are_not_found(self) -> None:
        """A connection that is closing is not given to anybody."""
        flow = self.add(server_name="a.example.com")
        flow.is_open = False
        self.assertIs(self.find("a.example.com"), None)
        self.assertIs(self.table.find(Target(transport=TLS, host="192.0.2.1", port=5061)), None)

    def test_counts_are_those_of_the_set(self) -> None:
        """Counts follow what is in the table; removing twice, or what was never there, does nothing."""
        flows = [self.add(port=port) for port in (1, 2, 2)] + [self.add(server_name="x", port=3)]
        self.assertEqual((len(self.table), self.table.inbound_from("192.0.2.1")), (4, 3))
        self.assertEqual(set(self.table), set(flows))
        for flow in flows + flows:
            self.table.remove(flow)
        self.assertEqual((len(self.table), self.table.inbound_from("192.0.2.1"), list(self.table)), (0, 0, []))


class RateTests(SynchronousTestCase):
    """Bounds in time."""

    def test_rate(self) -> None:
        """A burst of a second's worth passes, then so many a second."""
        clock = Clock()
        rate = RateLimit(clock, 10)
        self.assertEqual([rate.allow() for _ in range(12)].count(True), 10)
        clock.advance(0.1)
        self.assertEqual([rate.allow() for _ in range(3)], [True, False, False])
        clock.advance(100)
        self.assertEqual([rate.allow() for _ in range(20)].count(True), 10)

    def test_incidents_are_always_counted(self) -> None:
        """The log has a bounded number of lines; the counters have all."""
        incidents = Incidents(Clock(), 5)
        for _ in range(20):
            incidents.note("malformed", "192.0.2.1", "why")
        self.assertEqual(incidents.counts, {"malformed": 20, "not-logged": 15})
