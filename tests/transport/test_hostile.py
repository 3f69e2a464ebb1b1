"""Peers that misbehave: a bounded cost, an answer or a silent drop, and no traceback."""

from __future__ import annotations

from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.parser import parse_datagram
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from sipd.transport.layer import TransportLayer, TransportReactor
from tests.transport.support import (
    TCP,
    UDP,
    LoopbackTestCase,
    RawClient,
    RawDatagrams,
    Receiver,
    point,
    reactor,
    request_octets,
    response_octets,
    target,
)

GOOD = [
    request_octets(),
    request_octets(method="INVITE", extra=("Contact: <sip:a@192.0.2.1>", 'Subject: "x"'), body=b"v=0\r\n"),
    request_octets('SIP/2.0/TCP [2001:db8::1]:9;branch=z9hG4bK1;rport , SIP/2.0/UDP b.example.com;x="a,b"'),
    response_octets("192.0.2.1:5060"),
]
INTERESTING = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b'"',
    b"<",
    b">",
    b"\xff",
    b"%",
    b"rport",
    b"9" * 30,
]


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """Give a good message to which a few things happened."""
    data = draw(st.sampled_from(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        data = data[:start] + draw(st.one_of(st.sampled_from(INTERESTING), st.binary(max_size=4))) + data[end:]
    return data


class MangledTests(SynchronousTestCase):
    """Octets that are almost messages, over a simulated network."""

    def setUp(self) -> None:
        """Make an endpoint that answers whatever it can, and a peer."""
        self.network = Network(SimulatedClock(), 1)
        self.layer = TransportLayer(reactor=cast(TransportReactor, self.network.host("192.0.2.1")))
        self.receiver = self.layer.receiver = Receiver()
        self.receiver.answer(self.layer)
        for transport in (UDP, TCP):
            self.successResultOf(self.layer.listen(point(transport, host="192.0.2.1", port=5060)))
        self.peer = self.network.host("192.0.2.2")
        self.datagrams = RawDatagrams()
        self.peer.listenUDP(5060, self.datagrams)

    def check(self) -> None:
        """Check that nothing went wrong, and that what was delivered can be relied on."""
        self.network.clock.advance(1)
        self.assertEqual(self.layer.incidents.counts["bug"], 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        for message, _ in self.receiver.messages:
            _ = (message.via, message.from_, message.to, message.call_id, message.cseq)
        self.receiver.messages.clear()
        for data, _ in self.datagrams.received:
            parse_datagram(data)
        self.datagrams.received.clear()

    @settings(deadline=None, max_examples=400)
    @given(st.one_of(mangled(), st.binary(max_size=200)))
    def test_datagrams(self, data: bytes) -> None:
        """Any datagram is answered, delivered or dropped: nothing is raised, and every answer is well formed."""
        self.datagrams.send(data, self.layer.points[0])
        self.check()

    @settings(deadline=None, max_examples=200)
    @given(st.lists(st.one_of(st.sampled_from(GOOD), mangled(), st.just(b"\r\n\r\n")), max_size=3))
    def test_streams(self, pieces: list[bytes]) -> None:
        """Any stream gives messages until it is closed, and a connection that has ended leaves nothing."""
        client = RawClient()
        self.peer.connectTCP("192.0.2.1", 5060, client)
        self.network.clock.advance(1)
        client.peer.wire.write(b"".join(pieces))
        self.check()
        if not client.peer.is_lost:
            client.peer.wire.loseConnection()
        self.network.clock.advance(5)
        self.assertEqual(self.layer.connection_count, 0)
        self.assertEqual(self.network.clock.getDelayedCalls(), [])


class StreamBoundTests(LoopbackTestCase):
    """Peers that use more than their share, over real connections."""

    async def test_byte_by_byte_message(self) -> None:
        """A peer that sends a message octet by octet is served; one that takes too long is closed (slow loris)."""
        layer, receiver, at = await self.endpoint(TCP, message_timeout=0.3)
        peer = await self.connect(at)
        for octet in request_octets():
            peer.wire.write(bytes((octet,)))
        await self.until(lambda: receiver.messages)
        sent = 0
        while not peer.is_lost:
            peer.wire.write(b"x")
            sent += 1
            await deferLater(reactor, 0.02)
        self.assertGreater(sent, 5)
        self.assertEqual(layer.incidents.counts["slow-message"], 1)

    async def test_silent_connection(self) -> None:
        """A connection on which nothing ever comes is closed in time."""
        layer, receiver, at = await self.endpoint(TCP, message_timeout=0.05)
        peer = await self.connect(at)
        await self.until(lambda: peer.is_lost)
        self.assertEqual((layer.incidents.counts["slow-message"], len(receiver.failures)), (1, 1))

    async def test_idle_connection(self) -> None:
        """A connection that had its message is closed after the idle time only."""
        layer, _, at = await self.endpoint(TCP, message_timeout=0.05, idle_timeout=0.3)
        peer = await self.connect(at)
        peer.wire.write(request_octets())
        await self.until(lambda: peer.is_lost)
        self.assertEqual(layer.incidents.counts, {"idle": 1})

    async def test_million_header_lines(self) -> None:
        """A head that does not end is cut off at its bound, long before a million lines are stored."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        peer.wire.write(b"OPTIONS sip:a@example.com SIP/2.0\r\n" + b"A: b\r\n" * 1_000_000)
        await self.until(lambda: peer.is_lost)
        self.assertEqual((receiver.messages, layer.incidents.counts["framing"]), ([], 1))

    async def test_too_many_header_lines(self) -> None:
        """A whole message with too many lines is dropped, and the connection goes on with the next."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        peer.wire.write(request_octets(extra=("A: b",) * 8000) + request_octets())
        await self.until(lambda: receiver.messages)
        self.assertEqual((len(receiver.messages), layer.incidents.counts["malformed"]), (1, 1))

    async def test_peer_that_never_reads(self) -> None:
        """What a peer does not read is stored up to the bound; then the connection is given up, alone (lesson 22)."""
        layer, receiver, _ = await self.endpoint(TCP, max_queue_octets=300_000)
        server, listening = self.server()
        flow = layer.flow_to(target(listening))
        await self.until(lambda: server.peers)
        server.peers[0].wire.pauseProducing()
        message = request_octets(body=b"x" * 10_000)
        for _ in range(10_000):
            flow.send(message)
            if not flow.is_open:
                break
            await self.until(lambda: True)
        self.assertFalse(flow.is_open)
        await self.until(lambda: receiver.failures)
        self.assertIn("more than 300000 octets wait to be sent", receiver.failures[0][1].reason)
        self.assertEqual((len(receiver.failures), layer.connection_count), (1, 0))
        again = layer.flow_to(target(listening))
        again.send(message)
        await self.until(lambda: len(server.peers) == 2 and len(server.peers[1].data) == len(message))

    async def test_peer_that_reads_too_late(self) -> None:
        """A peer that reads nothing for the stall time is given up, though the queue has room."""
        layer, receiver, _ = await self.endpoint(TCP, max_queue_octets=100_000_000, stall_timeout=0.1)
        server, listening = self.server()
        flow = layer.flow_to(target(listening))
        await self.until(lambda: server.peers)
        server.peers[0].wire.pauseProducing()
        flow.send(b"x" * 20_000_000)
        await self.until(lambda: receiver.failures)
        self.assertEqual(layer.incidents.counts["stalled"], 1)

    async def test_a_thousand_connections_from_one_source(self) -> None:
        """Beyond the bound for one address connections are closed at once; another address is still served."""
        layer, receiver, at = await self.endpoint(TCP, max_connections_per_source=50)
        peers = [await self.connect(at) for _ in range(1000)]
        await self.until(lambda: sum(peer.is_lost for peer in peers) == 950)
        self.assertEqual((layer.connection_count, layer.incidents.counts["too-many-from-source"]), (50, 950))
        other, _ = self.layer()
        await other.listen(point(TCP, host="127.0.0.2"))
        other.flow_to(target(at)).send(request_octets())
        await self.until(lambda: receiver.messages)
        living = next(peer for peer in peers if not peer.is_lost)
        living.wire.loseConnection()
        await self.until(lambda: layer.connection_count == 50)
        replacement = await self.connect(at)
        replacement.wire.write(request_octets())
        await self.until(lambda: len(receiver.messages) == 2)

    async def test_too_many_connections(self) -> None:
        """The bound of all connections holds for those that come in and for those that we make."""
        layer, _, at = await self.endpoint(TCP, max_connections=2)
        peers = [await self.connect(at) for _ in range(4)]
        await self.until(lambda: sum(peer.is_lost for peer in peers) == 2)
        self.assertEqual(layer.incidents.counts["too-many-connections"], 2)
        self.assertRaisesRegex(Exception, "2 are open", layer.flow_to, target(self.server()[1]))

    async def test_flood_of_pings(self) -> None:
        """A hundred thousand pings at once have as many answers, and the message behind them is served."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        peer.wire.write(b"\r\n\r\n" * 100_000 + request_octets())
        await self.until(lambda: receiver.messages and len(peer.data) == 200_000)
        self.assertEqual(layer.counters.keep_alives, 100_000)
