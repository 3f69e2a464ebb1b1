"""Records by syslog: the messages, and the three ways that they go."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import tempfile
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.cdr.interfaces import IRecordSink, RecordsRefusedError, SinkError
from sipd.cdr.record import SCALARS, records_of
from sipd.cdr.syslog import Formatter, SyslogDatagrams, SyslogStream
from tests.cdr.support import call, record

FORMATTER = Formatter(host="pbx.example", process=4711)


class KernelTransport(StringTransport):
    """Asks what is registered for more at once, as a socket does, whatever waits to be written."""

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See `IConsumer`."""
        super().registerProducer(producer, streaming)
        if not streaming:
            producer.resumeProducing()


class FormatterTests(SynchronousTestCase):
    """One message (RFC 5424)."""

    def test_message(self) -> None:
        """The header has priority, version, time, host, program, process and kind; the rest is JSON."""
        for one in records_of(call("c1")):
            text = FORMATTER(one).decode("ascii")
            match = re.fullmatch(r"<(\d+)>1 (\S+) (\S+) (\S+) (\S+) (\S+) - (\{.*\})", text)
            assert match is not None
            stamp = "2026-11-22T12:00:00.500Z" if one["id"] == "c1/b1" else "2026-11-22T12:01:03.250Z"
            self.assertEqual(match.groups()[:6], ("134", stamp, "pbx.example", "sipd", "4711", one["kind"]))
            body = json.loads(match[7])
            names = [field.name for field in SCALARS if one["kind"] in field.kinds]
            self.assertEqual(body, {name: one[name] for name in names})

    def test_facility_and_host(self) -> None:
        """The facility is in the priority; a host without a name is a dash."""
        self.assertTrue(Formatter(host=" \u00e4", process=1, facility="daemon")(record()).startswith(b"<30>1 "))
        self.assertIn(b" - sipd 1 call - {", Formatter(host=" \u00e4", process=1)(record()))

    def test_too_large(self) -> None:
        """A message that is larger than it may be is refused."""
        self.assertRaises(RecordsRefusedError, FORMATTER, record(reason="x" * 9000))


class DatagramTests(SynchronousTestCase):
    """UDP, and a socket of this machine."""

    def receiver(self, family: int, address: Any) -> socket.socket:
        """Open a socket that takes messages."""
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.setblocking(False)
        receiver.bind(address)
        return receiver

    def sink(self, address: Any) -> SyslogDatagrams:
        """Make a sink."""
        self.clock = Clock()
        sink = SyslogDatagrams(address, FORMATTER, clock=self.clock)
        self.addCleanup(sink.close)
        return sink

    def test_udp(self) -> None:
        """Each record is a datagram, in order, on IPv4 and IPv6."""
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            receiver = self.receiver(family, (host, 0))
            sink = self.sink((host, receiver.getsockname()[1]))
            verifyObject(IRecordSink, sink)
            self.successResultOf(sink.deliver([record("1"), record("2")]))
            self.assertEqual([receiver.recv(9000) for _ in "12"], [FORMATTER(record("1")), FORMATTER(record("2"))])

    def test_unix(self) -> None:
        """A socket of this machine says when nobody is behind it, and is found again when somebody is."""
        directory = tempfile.mkdtemp()
        path = os.path.join(directory, "log")
        self.addCleanup(os.rmdir, directory)
        self.addCleanup(os.remove, path)
        sink = self.sink(path)
        self.failureResultOf(sink.deliver([record("1")]), SinkError)
        first = self.receiver(socket.AF_UNIX, path)
        self.successResultOf(sink.deliver([record("1")]))
        self.assertEqual(first.recv(9000), FORMATTER(record("1")))
        first.close()
        self.failureResultOf(sink.deliver([record("2")]), SinkError)
        os.remove(path)
        second = self.receiver(socket.AF_UNIX, path)
        self.successResultOf(sink.deliver([record("2")]))
        self.assertEqual(second.recv(9000), FORMATTER(record("2")))

    def full(self) -> tuple[SyslogDatagrams, Deferred[None], socket.socket]:
        """Deliver more than a socket takes at once; give the sink, what became of it, and the other end."""
        directory = tempfile.mkdtemp()
        path = os.path.join(directory, "log")
        self.addCleanup(os.rmdir, directory)
        self.addCleanup(os.remove, path)
        receiver = self.receiver(socket.AF_UNIX, path)
        sink = self.sink(path)
        done = sink.deliver([record(str(number)) for number in range(2000)])
        self.assertNoResult(done)
        return sink, done, receiver

    def test_full(self) -> None:
        """A socket that takes nothing for ten seconds is tried again later."""
        _, done, receiver = self.full()
        self.clock.pump([0.5] * 21)
        self.failureResultOf(done, SinkError)
        self.assertEqual(receiver.recv(9000), FORMATTER(record("0")))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_slow(self) -> None:
        """A socket that takes a few at a time gets each record of a large batch once."""
        _, done, receiver = self.full()
        received: list[bytes] = []
        for _ in range(2000):
            with contextlib.suppress(BlockingIOError):
                while True:
                    received.append(receiver.recv(9000))
            self.clock.advance(0.5)
        self.successResultOf(done)
        self.assertEqual(received, [FORMATTER(record(str(number))) for number in range(2000)])

    def test_close(self) -> None:
        """A close gives up what waits for a socket."""
        sink, done, _ = self.full()
        self.successResultOf(sink.close())
        self.failureResultOf(done, SinkError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refuses(self) -> None:
        """A record that is too large for a message is refused."""
        self.failureResultOf(self.sink(("127.0.0.1", 9)).deliver([record(reason="x" * 9000)]), RecordsRefusedError)


class StreamTests(SynchronousTestCase):
    """TCP."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        endpoint = TCP4ClientEndpoint(self.reactor, "192.0.2.1", 601, timeout=30)
        self.sink = SyslogStream(endpoint, FORMATTER, clock=self.reactor)

    def connect(self) -> tuple[Protocol, StringTransport]:
        """Let the last connection come up."""
        factory: Any = self.reactor.tcpClients[-1][2]
        protocol = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 601))
        assert protocol is not None
        transport = KernelTransport()
        protocol.makeConnection(transport)
        return protocol, transport

    def test_lengths_in_front(self) -> None:
        """The messages of a batch come one after the other, each behind its length (RFC 6587 section 3.4.1)."""
        verifyObject(IRecordSink, self.sink)
        done = self.sink.deliver([record("1"), record("2")])
        _, transport = self.connect()
        expected = b"".join(b"%d %b" % (len(one), one) for one in (FORMATTER(record("1")), FORMATTER(record("2"))))
        self.assertEqual(transport.value(), expected)
        self.assertNoResult(done)
        self.finish(done, transport)

    def finish(self, done: Deferred[None], transport: StringTransport) -> None:
        """Let the kernel take what was written."""
        assert transport.producer is not None
        transport.producer.resumeProducing()
        self.successResultOf(done)

    def test_keeps_its_connection(self) -> None:
        """The next batch goes over the same connection; one that is lost is replaced."""
        done = self.sink.deliver([record("1")])
        protocol, transport = self.connect()
        self.finish(done, transport)
        self.finish(self.sink.deliver([record("2")]), transport)
        self.assertEqual(len(self.reactor.tcpClients), 1)
        protocol.connectionLost(Failure(ConnectionDone()))
        done = self.sink.deliver([record("3")])
        self.assertEqual(len(self.reactor.tcpClients), 2)
        self.finish(done, self.connect()[1])

    def test_lost_in_between(self) -> None:
        """A connection that is lost before all was written fails the batch: it comes again."""
        done = self.sink.deliver([record("1")])
        protocol, _ = self.connect()
        protocol.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(done, SinkError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_slow_server(self) -> None:
        """A server that takes nothing is given up after ten seconds, one that does not answer after five."""
        done = self.sink.deliver([record("1")])
        _, transport = self.connect()
        self.reactor.advance(10)
        self.failureResultOf(done, SinkError)
        self.assertTrue(transport.disconnecting or transport.disconnected)
        done = self.sink.deliver([record("1")])
        self.reactor.advance(5)
        self.failureResultOf(done, SinkError)

    def test_close(self) -> None:
        """A close gives up what is on its way."""
        done = self.sink.deliver([record("1")])
        self.connect()
        self.successResultOf(self.sink.close())
        self.failureResultOf(done, SinkError)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
