"""The pages for Prometheus: who may ask what."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import HTTPChannel

from sipd.observe.exposition import FRESH, IDLE_TIMEOUT, MAX_CONNECTIONS, Exposition, Network, Pages

THIS_MACHINE = IPv4Address("TCP", "127.0.0.1", 40000)
NETWORKS: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("2001:db8::/32"))


class Thermometer:
    """A metric that counts how often it was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def collect(self) -> Iterator[Metric]:
        """Give the metric."""
        self.asked += 1
        yield GaugeMetricFamily("asked", "How often.", value=self.asked)


class Wire(StringTransport):
    """A transport that takes note of its end, and tells the protocol."""

    protocol: ProtocolWrapper

    def loseConnection(self) -> None:
        """See `ITransport`."""
        if not self.disconnected:
            self.disconnected = True
            self.protocol.connectionLost(Failure(ConnectionError()))

    disconnected = False
    abortConnection = loseConnection


class ExpositionCase(SynchronousTestCase):
    """Asks over a wire that is none."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.thermometer = Thermometer()
        self.state = "serving"
        registry = CollectorRegistry()
        registry.register(self.thermometer)
        self.factory = Exposition(Pages(registry, self.clock, lambda: self.state), self.clock, NETWORKS)
        self.factory.doStart()
        self.addCleanup(self.end)

    def end(self) -> None:
        """Close everything; nothing is left."""
        self.successResultOf(self.factory.close())
        self.factory.doStop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def connect(self, address: IAddress = THIS_MACHINE) -> Wire | None:
        """Give a connection from there, or `None` if it is closed at once."""
        protocol = self.factory.buildProtocol(address)
        if protocol is None:
            return None
        wire = Wire(peerAddress=address)
        wire.protocol = protocol
        protocol.makeConnection(wire)
        return wire

    def ask(self, text: str = "GET /metrics HTTP/1.1", *headers: str) -> tuple[int, str, str]:
        """Give status, head and body of the answer to a request."""
        wire = self.connect()
        assert wire is not None
        wire.protocol.dataReceived("\r\n".join([text, "Host: x", *headers, "", ""]).encode())
        head, _, body = wire.value().decode().partition("\r\n\r\n")
        wire.loseConnection()
        return int(head.split(" ", 2)[1]) if head else 0, head, body


class PageTests(ExpositionCase):
    """What is told."""

    def test_metrics(self) -> None:
        """The metrics are in the text format of Prometheus; the head says nothing of what runs here."""
        status, head, body = self.ask()
        self.assertEqual((status, body), (200, "# HELP asked How often.\n# TYPE asked gauge\nasked 1.0\n"))
        self.assertIn("Content-Type: text/plain; version=0.0.4; charset=utf-8", head)
        self.assertIn(f"Content-Length: {len(body)}", head)
        self.assertNotIn("Server", head)
        self.assertNotIn("Twisted", head)

    def test_head(self) -> None:
        """HEAD gives the same head, and no body."""
        status, head, body = self.ask("HEAD /metrics HTTP/1.1")
        self.assertEqual((status, body), (200, ""))
        self.assertIn("Content-Length: 53", head)

    def test_a_query_changes_nothing(self) -> None:
        """What follows the path, and what the client would like to read, makes no difference."""
        status, head, _ = self.ask(
            "GET /metrics?name[]=x HTTP/1.1", "Accept: application/openmetrics-text; version=x.y"
        )
        self.assertEqual(status, 200)
        self.assertIn("version=0.0.4", head)

    def test_health(self) -> None:
        """Both pages of health say what sipd does: 200 where it serves, else 503."""
        for state, status in (("serving", 200), ("draining", 503), ("starting", 503), ("failed", 503)):
            self.state = state
            for path in ("/health", "/healthz"):
                answer = self.ask(f"GET {path} HTTP/1.1")
                self.assertEqual((answer[0], answer[2]), (status, f"{state}\n"))
        self.assertEqual(self.thermometer.asked, 0)

    def test_anything_else(self) -> None:
        """Other paths are not there, other methods are not allowed, and neither makes anything be collected."""
        for path in ("/", "/metrics/", "/metrics/x", "//metrics", "/Metrics", "/%6Detrics", "/../metrics", "/health/x"):
            self.assertEqual(self.ask(f"GET {path} HTTP/1.1")[0], 404, path)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "FOO"):
            status, head, _ = self.ask(f"{method} /metrics HTTP/1.1")
            self.assertEqual(status, 405, method)
            self.assertIn("Allow: GET, HEAD", head)
        self.assertEqual(self.thermometer.asked, 0)

    def test_asked_often(self) -> None:
        """Who asks without a pause is told the same again, and so does not keep sipd busy."""
        for _ in range(50):
            self.ask()
        self.assertEqual(self.thermometer.asked, 1)
        self.clock.advance(FRESH)
        self.assertIn("asked 2.0", self.ask()[2])

    def test_a_clock_that_is_set_back(self) -> None:
        """What was told in the future is not told for ever."""
        self.clock.rightNow = 100.0
        self.ask()
        self.clock.rightNow = 50.0
        self.assertIn("asked 2.0", self.ask()[2])


class BoundTests(ExpositionCase):
    """Who is let in, and how much."""

    def test_networks(self) -> None:
        """Only hosts of the networks get a connection, also where IPv4 comes in by an IPv6 socket."""
        for address, is_allowed in (
            (IPv4Address("TCP", "127.0.0.9", 1), True),
            (IPv4Address("TCP", "192.0.2.1", 1), False),
            (IPv6Address("TCP", "2001:db8::1", 1), True),
            (IPv6Address("TCP", "::ffff:127.0.0.1", 1), True),
            (IPv6Address("TCP", "::ffff:192.0.2.1", 1), False),
            (IPv6Address("TCP", "fe80::1%eth0", 1), False),
            (IPv6Address("TCP", "::1", 1), False),
            (UNIXAddress(b"/run/x"), False),
        ):
            with self.subTest(str(address)):
                self.assertEqual(self.connect(address) is not None, is_allowed)

    def test_the_log(self) -> None:
        """Somebody who may not ask is named in the log once; not everybody is."""
        with capturedLogs() as logs:
            for _ in range(3):
                self.connect(IPv4Address("TCP", "192.0.2.1", 1))
            self.assertEqual([log["host"] for log in logs], ["192.0.2.1"])
            for number in range(250):
                self.connect(IPv4Address("TCP", f"198.51.100.{number}", 1))
        self.assertEqual(len(logs), 100)

    def test_connections(self) -> None:
        """One connection more than the bound is closed; when another one ends there is room again."""
        wires = [self.connect() for _ in range(MAX_CONNECTIONS)]
        self.assertIsNone(self.connect())
        assert wires[0] is not None
        wires[0].loseConnection()
        self.assertIsNotNone(self.connect())

    def test_several_requests(self) -> None:
        """One connection serves one request after another."""
        wire = self.connect()
        assert wire is not None
        for _ in range(3):
            wire.clear()
            wire.protocol.dataReceived(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertTrue(wire.value().endswith(b"\r\n\r\nserving\n"))
        self.assertFalse(wire.disconnected)

    def test_silence(self) -> None:
        """A connection on which nothing comes is closed."""
        wire = self.connect()
        assert wire is not None
        self.clock.advance(IDLE_TIMEOUT + 1)
        # Twisted gives it another 15 s to end in good order.
        self.clock.advance(HTTPChannel.abortTimeout or 0)
        self.assertTrue(wire.disconnected)

    def test_a_body(self) -> None:
        """A body is not kept, however large or long it claims to be: it ends the connection."""
        for header in ("Content-Length: 1000000000000", "Transfer-Encoding: chunked"):
            wire = self.connect()
            assert wire is not None
            wire.protocol.dataReceived(f"POST /metrics HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
            self.assertFalse(wire.disconnected)
            wire.protocol.dataReceived(b"400\r\n" + b"x" * 1000)
            self.assertTrue(wire.disconnected)

    def test_a_long_head(self) -> None:
        """A head without an end ends the connection."""
        wire = self.connect()
        assert wire is not None
        wire.protocol.dataReceived(b"GET /metrics HTTP/1.1\r\n")
        for number in range(2000):
            if not wire.disconnected:
                wire.protocol.dataReceived(b"X-%d: %s\r\n" % (number, b"y" * 100))
        self.assertTrue(wire.disconnected)

    def test_garbage(self) -> None:
        """What is no HTTP ends the connection, and nothing else."""
        for data in (
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"INVITE sip:x SIP/2.0\r\n\r\n",
            b"\r\n\r\n\r\n\r\n \r\n",
        ):
            wire = self.connect()
            assert wire is not None
            wire.protocol.dataReceived(data)
            self.assertTrue(wire.disconnected or not wire.value())
        self.assertEqual(self.ask()[0], 200)
