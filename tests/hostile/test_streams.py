"""Peers that misuse connections: slow, deaf, endless, many. Others are served meanwhile, and nothing stays."""

from __future__ import annotations

from sipd.sip.locate import Transport
from sipd.testing import builders
from sipd.testing.links import Fate
from sipd.transport.limits import TransportLimits
from tests.hostile.support import ALICE, SERVER, HostileCase, RawStream

LIMITS = TransportLimits()
#: What Twisted, and the simulated connection, holds of what is written before a producer is told to pause.
WIRE_BUFFER = 65536


class StreamCase(HostileCase):
    """Connections from the stranger."""

    def options(self, number: int = 1, *, body: bytes = b"") -> bytes:
        """Give a good OPTIONS."""
        name = f"stream-{number}"
        request = builders.options(
            "sip:example.com", transport="TCP", branch=f"z9hG4bK-{name}", call_id=name, body=body, content_type="a/b"
        )
        return request.to_bytes()

    def assert_alice_is_served(self, user: str = "alice", address: str = ALICE) -> None:
        """Say that somebody from elsewhere can register over TCP."""
        phone = self.arena.server.peer(self.arena.network.host(address), user, transport=Transport.TCP)
        registered = phone.register()
        self.arena.clock.advance(1.0)
        response = self.successResultOf(registered)
        assert response is not None
        self.assertEqual(response.status, 200)
        phone.close()
        self.arena.clock.advance(1.0)

    @property
    def connections(self) -> int:
        """How many connections the server has."""
        return self.arena.server.transport.connection_count


class EndlessTests(StreamCase):
    """Messages without an end."""

    def delivered_octets(self) -> int:
        """Give how many octets of connections have come to the server."""
        return sum(
            len(event.data)
            for event in self.arena.network.log
            if event.fate is Fate.DELIVERED and event.transport == "TCP" and event.destination == (SERVER, 5060)
        )

    def test_a_million_header_lines(self) -> None:
        """A head of a million lines ends the connection when the head is too large: 64 KiB are looked at, not 6 MB."""
        stream = self.arena.connect()
        stream.wire.write(b"OPTIONS sip:example.com SIP/2.0\r\n" + b"A: b\r\n" * 1_000_000)
        self.arena.clock.advance(1.0)
        self.assertTrue(stream.is_lost)
        self.assertEqual(stream.data, b"")
        self.assertLess(self.delivered_octets(), LIMITS.max_head_octets + 3000)
        self.assertEqual(self.arena.server.transport.incidents.counts, {"framing": 1})
        self.assertEqual(self.arena.server.transport.counters.messages_received, 0)
        self.assert_alice_is_served()
        self.assert_unharmed()

    def test_a_line_without_an_end(self) -> None:
        """So does one header line of a megabyte, and a start line."""
        for beginning in (b"", b"OPTIONS sip:example.com SIP/2.0\r\nSubject: "):
            stream = self.arena.connect()
            stream.wire.write(beginning + b"x" * 1_000_000)
            self.arena.clock.advance(1.0)
            self.assertTrue(stream.is_lost)
        self.assertLess(self.delivered_octets(), 2 * (LIMITS.max_head_octets + 3000))
        self.assert_unharmed()

    def test_a_body_without_an_end(self) -> None:
        """A Content-Length that is too large is answered with 513, and the connection closed before the body comes."""
        for length in (str(LIMITS.max_body_octets + 1), "9" * 18, "9" * 400):
            stream = self.arena.connect()
            stream.wire.write(self.options().replace(b"Content-Length: 0", f"Content-Length: {length}".encode()))
            self.arena.clock.advance(1.0)
            self.assertEqual((stream.statuses(), stream.is_lost), ([513], True), length)
        self.assert_unharmed()

    def test_the_largest_body(self) -> None:
        """A body of the largest size is taken, and a good request after it served."""
        stream = self.arena.connect()
        stream.wire.write(self.options(1, body=b"x" * LIMITS.max_body_octets) + self.options(2))
        self.arena.clock.advance(1.0)
        self.assertEqual(stream.statuses(), [200, 200])
        stream.wire.loseConnection()
        self.assert_unharmed()


class SlowTests(StreamCase):
    """Peers that take their time."""

    def test_an_octet_a_second(self) -> None:
        """A message that comes an octet a second is not waited for longer than `message_timeout`, and costs nothing."""
        stream = self.arena.connect()
        sent = 0
        for octet in self.options():
            if stream.is_lost:
                break
            stream.wire.write(bytes((octet,)))
            sent += 1
            self.arena.clock.advance(1.0)
        self.assertAlmostEqual(sent, LIMITS.message_timeout, delta=2)
        self.assertEqual(self.arena.server.transport.incidents.counts, {"slow-message": 1})
        self.assertEqual(self.arena.server.transport.counters.messages_received, 0)
        self.assert_unharmed()

    def test_an_octet_a_second_after_a_message(self) -> None:
        """The same holds for the second message of a connection, though it was idle for long before."""
        stream = self.arena.connect()
        stream.wire.write(self.options())
        self.arena.clock.advance(1000.0)
        self.assertFalse(stream.is_lost)
        stream.wire.write(b"O")
        self.arena.clock.advance(LIMITS.message_timeout + 1.0)
        self.assertTrue(stream.is_lost)
        self.assert_unharmed()

    def test_many_slow_ones(self) -> None:
        """As many slow connections as one source may have are all gone in time, without a message in between."""
        streams = self.arena.connect_many(LIMITS.max_connections_per_source)
        for _ in range(40):
            for stream in streams:
                if not stream.is_lost:
                    stream.wire.write(b"x")
            self.arena.clock.advance(1.0)
        self.assertEqual((self.connections, sum(not stream.is_lost for stream in streams)), (0, 0))
        self.assert_unharmed()


class DeafTests(StreamCase):
    """Peers that do not read."""

    def written_octets(self) -> int:
        """Give how many octets the server has written to connections."""
        return sum(
            len(event.data)
            for event in self.arena.network.log
            if event.fate is Fate.SENT and event.transport == "TCP" and event.source == (SERVER, 5060)
        )

    def deaf(self) -> RawStream:
        """Give a connection whose peer does not read."""
        stream = self.arena.connect()
        stream.stop_reading()
        return stream

    def test_a_flood_of_requests(self) -> None:
        """What is kept for a peer that never reads is bounded; then the connection is given up, alone."""
        stream = self.deaf()
        for number in range(20_000):
            stream.wire.write(self.options(number))
            if number % 100 == 0:
                self.arena.clock.advance(0.02)
            if not self.connections:
                break
        self.assertEqual(self.arena.server.transport.incidents.counts["queue-full"], 1)
        self.assertLess(self.written_octets(), LIMITS.max_queue_octets + WIRE_BUFFER + 5000)
        self.assert_alice_is_served()
        self.assert_unharmed()

    def test_a_few_requests(self) -> None:
        """A peer that reads nothing for `stall_timeout`, though there is room for more, is given up as well."""
        self.deaf().wire.write(b"".join(map(self.options, range(500))))
        self.arena.clock.advance(LIMITS.stall_timeout - 1.0)
        self.assertEqual(self.connections, 1)
        self.arena.clock.advance(2.0)
        self.assertEqual((self.connections, self.arena.server.transport.incidents.counts), (0, {"stalled": 1}))
        self.assert_unharmed()

    def test_a_flood_of_pings(self) -> None:
        """Nor can it be made to keep pongs without end."""
        stream = self.deaf()
        for _ in range(100):
            stream.wire.write(b"\r\n\r\n" * 20_000)
            self.arena.clock.advance(0.02)
        self.arena.clock.advance(LIMITS.stall_timeout)
        self.assertEqual(self.connections, 0)
        self.assertLess(self.written_octets(), LIMITS.max_queue_octets + WIRE_BUFFER + 100_000)
        self.assert_unharmed()


class ManyTests(StreamCase):
    """Peers that come in numbers."""

    def test_a_thousand_connections(self) -> None:
        """Of a thousand connections from one address 256 are kept; others are served; all is given back."""
        streams = self.arena.connect_many(1000)
        limit = LIMITS.max_connections_per_source
        self.assertEqual(self.connections, limit)
        self.assertEqual(self.arena.server.transport.incidents.counts["too-many-from-source"], 1000 - limit)
        self.assert_alice_is_served()
        for stream in streams[: limit // 2]:
            stream.wire.loseConnection()
        self.arena.clock.advance(1.0)
        self.assertEqual(self.connections, limit - limit // 2)
        again = self.arena.connect()
        again.wire.write(self.options())
        self.arena.clock.advance(1.0)
        self.assertEqual(again.statuses(), [200])
        again.wire.loseConnection()
        self.arena.clock.advance(LIMITS.message_timeout + 1.0)
        self.assertEqual(self.connections, 0)
        self.assert_unharmed()

    def test_connections_that_are_reset_at_once(self) -> None:
        """Two thousand connections that are reset as soon as they are made leave nothing, and use up no bound."""
        for _ in range(2000):
            self.arena.connect().wire.abortConnection()
            self.arena.clock.advance(0.05)
        self.assertEqual(self.connections, 0)
        self.assert_alice_is_served()
        self.assert_unharmed()

    def test_a_pipeline(self) -> None:
        """A thousand requests in one write have a thousand answers, in order."""
        stream = self.arena.connect()
        stream.wire.write(b"".join(map(self.options, range(1000))))
        self.arena.clock.advance(1.0)
        self.assertEqual(stream.statuses(), [200] * 1000)
        self.assertEqual(
            [line for line in stream.data.split(b"\r\n") if line.startswith(b"Call-ID")],
            [b"Call-ID: stream-%d" % number for number in range(1000)],
        )
        stream.wire.loseConnection()
        self.assert_unharmed()

    def test_who_leaves_in_the_middle(self) -> None:
        """A caller whose connection ends while the phone rings is no caller any more: the callee stops ringing."""
        bob = self.arena.peer("bob", "192.0.2.2")
        bob.auto_ring()
        alice = self.arena.server.peer(self.arena.network.host(ALICE), "alice", transport=Transport.TCP)
        alice.call("bob")
        self.arena.clock.advance(1.0)
        self.assertEqual(bob.calls[0].status, 0)
        alice.reactor.connections[0].abortConnection()
        alice.close()
        self.arena.clock.advance(5.0)
        self.assertEqual(bob.calls[0].status, 487)
        self.assert_unharmed()
