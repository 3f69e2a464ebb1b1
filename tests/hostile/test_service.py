"""The service over real sockets, in bad company: it goes on serving, and its log stays readable."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from random import Random
from typing import Any, cast

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IPushProducer, IReactorUDP, ITCPTransport
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from sipd.daemon.logs import LogWriter
from sipd.daemon.sections import Logging
from sipd.daemon.service import SipService
from sipd.interfaces import ListeningPoint
from sipd.media.relay import MediaRelay
from sipd.sip.locate import Transport
from sipd.sip.message import Response
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import parse_sip_uri
from sipd.testing import builders
from tests.daemon.test_service import ServiceCase
from tests.ports import HOST

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \w+ | {4})")
#: What a flood consists of; every one of these is also sent with a few octets changed.
METHODS = ("INVITE", "REGISTER", "OPTIONS", "BYE", "ACK", "CANCEL", "MESSAGE", "X")


class Datagrams(DatagramProtocol):
    """A UDP socket that keeps what comes."""

    noisy = False

    def __init__(self) -> None:
        self.received: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        """See `DatagramProtocol`."""
        self.received.append(datagram)


class Stream(Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        self.data = b""
        self.is_lost = False
        self.made: Deferred[Stream] = Deferred()

    @property
    def wire(self) -> ITCPTransport:
        """What it writes to."""
        return cast(ITCPTransport, self.transport)

    def connectionMade(self) -> None:
        """See `Protocol`."""
        self.made.callback(self)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See `Protocol`."""
        self.is_lost = True


class _Streams(ClientFactory[Stream]):
    noisy = False

    def __init__(self) -> None:
        self.stream = Stream()

    def buildProtocol(self, addr: IAddress | None) -> Stream:
        return self.stream


class HostileServiceCase(ServiceCase):
    """A service over UDP and TCP whose limits are short, and whose log is looked at."""

    timeout = 60

    async def begin(self, **limits: Any) -> SipService:
        """Start a service; write its log as `twistd` would."""
        listen = [{"name": kind, "transport": kind, "address": HOST, "port": 0} for kind in ("udp", "tcp")]
        self.log = io.StringIO()
        observer = LogWriter(self.log, Logging(level="debug"))
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.service = await self.start(self.table(listen=listen, limits={"drain": 0.1, **limits}))
        self.socket = Datagrams()
        port = real_reactor.listenUDP(0, self.socket, interface=HOST, maxPacketSize=65536)  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        return self.service

    def point(self, transport: Transport) -> ListeningPoint:
        """Give the listening point of a transport."""
        assert self.service.stack is not None
        return next(point for point in self.service.stack.transport.points if point.transport is transport)

    def send(self, data: bytes) -> None:
        """Send a datagram to the service."""
        assert self.socket.transport is not None
        self.socket.transport.write(data, (HOST, self.point(Transport.UDP).port))

    async def connect(self) -> Stream:
        """Give a connection to the service; it may be closed at once."""
        factory = _Streams()
        real_reactor.connectTCP(HOST, self.point(Transport.TCP).port, factory)
        return await factory.stream.made

    async def until(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened."""
        while not happened():
            await deferLater(real_reactor, 0.01)

    def count(self, incident: str) -> int:
        """Give how often something went wrong on the wire."""
        assert self.service.stack is not None
        return self.service.stack.transport.incidents.counts[incident]

    async def assert_serving(self) -> None:
        """Say that two phones can call each other; that nothing failed; that the log has one line for each event."""
        call = await self.call(self.service)
        call.hang_up()
        await call.peer.calls[0].when_ended()
        self.assertEqual(self.count("bug"), 0)
        self.assertEqual(self.flushLoggedErrors(), [])
        text = self.log.getvalue()
        text.encode()
        self.assertNotIn("Traceback", text)
        for line in text.splitlines():
            self.assertRegex(line, LINE)


class DatagramTests(HostileServiceCase):
    """Floods of datagrams."""

    def message(self, random: Random, number: int) -> bytes:
        """Give a message, three times out of four with a few octets changed."""
        method = random.choice(METHODS)
        name = f"flood-{number}"
        user = random.choice(("alice", "b\udcffb", "nobody"))
        message = builders.request(
            method,
            f"sip:{user}@{HOST}",
            caller=f"sip:{random.choice(('alice', 'bob'))}@{HOST}",
            via=f"{HOST}:5060",
            branch=f"z9hG4bK-{name}",
            call_id=name,
            to_tag=random.choice((None, "x")),
            body=builders.sdp() if method == "INVITE" else b"",
        )
        data = bytearray(message.to_bytes())
        for _ in range(random.choice((0, 1, 3, 10))):
            data[random.randrange(len(data))] = random.choice(b'\r\n\0 "<>;,:%\xff\x1b\x80A9')
        return bytes(data)

    async def test_mutated_messages(self) -> None:
        """After thousands of messages that are almost good, phones call each other as before."""
        await self.begin()
        random = Random(11)
        for number in range(3000):
            self.send(self.message(random, number))
            if number % 50 == 0:
                await deferLater(real_reactor, 0)
        await deferLater(real_reactor, 0.2)
        self.assertGreater(len(self.socket.received), 500)
        for data in self.socket.received:
            self.assertIsInstance(parse_datagram(data), Response)
        await self.assert_serving()

    async def test_the_largest_datagrams(self) -> None:
        """Datagrams of 64 KiB, sense or nonsense, have one answer at most."""
        await self.begin()
        options = builders.options(f"sip:{HOST}", via=f"{HOST}:5060").to_bytes()
        for filling in (
            b"A: b\r\n",
            b"\0",
            b"\r\n",
            b"Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n",
            b"Subject: x;",
            b"\xff",
        ):
            start, _, rest = options.partition(b"\r\n")
            size = 65507 - len(options) - 2
            self.send(start + b"\r\n" + (filling * (size // len(filling)))[:size] + b"\r\n" + rest)
            self.send((filling * 65507)[:65507])
            await deferLater(real_reactor, 0.02)
        self.assertLessEqual(len(self.socket.received), 6)
        await self.assert_serving()

    async def test_octets_that_are_no_text(self) -> None:
        """Names, contacts and numbers in octets that are not UTF-8 survive a restart, and the records and the log."""
        await self.begin()
        table = self.table(listen=[{"name": "udp", "transport": "udp", "address": HOST, "port": 0}])
        alice = self.phone(self.service, "alice")
        alice.contact = '"\udcff\udc80 \u2028 é" ' + alice.contact
        self.assert_status(await alice.register(), 200)
        call = alice.call(f"sip:b\udcffb@{HOST}")
        await call.when_ended()
        self.assertEqual(call.status, 404)
        await self.service.stopService()
        self.assertEqual([record["callee"] for record in self.records()], [f"sip:b\\xffb@{HOST}"])
        self.service = await self.start(table)
        assert self.service.stack is not None
        (binding,) = self.service.stack.location.lookup(f"sip:alice@{HOST}")
        self.assertIn("\udcff\udc80", binding.contact)
        bob = await self.register(self.service, "bob")
        alice.auto_answer(0.01)
        self.assertEqual((await bob.call("alice").when_answered()).status, 200)
        await self.assert_serving()


class MediaTests(HostileServiceCase):
    """Session descriptions that ask for more than there is."""

    def relayed(self) -> int:
        """Give how many calls hold media."""
        assert self.service.stack is not None
        relay = self.service.stack.media.relay
        assert isinstance(relay, MediaRelay)
        return len(relay)

    async def test_a_thousand_streams(self) -> None:
        """An offer of a thousand streams gets 488, and takes no port; of disabled ones it may have as many."""
        service = await self.begin()
        alice, bob = await self.register(service, "alice"), await self.register(service, "bob")
        head = builders.sdp(media=())
        for line, status in ((b"m=audio 9 RTP/AVP 0\r\n", 488), (b"m=audio 0 RTP/AVP 0\r\n", 480)):
            bob.auto_refuse(480, 0.01)
            call = await alice.call("bob", body=head + line * 1000).when_ended()
            self.assertEqual((call.status, self.relayed()), (status, 0))
        await self.assert_serving()

    async def test_more_calls_than_ports(self) -> None:
        """When all ports are taken calls get 503; when they are given back there are calls again."""
        service = await self.begin()
        alice, bob = await self.register(service, "alice"), await self.register(service, "bob")
        bob.auto_answer(0.01, ring_after=None)
        # Forty ports are ten pairs for each leg.
        calls = [await alice.call("bob").when_answered() for _ in range(12)]
        self.assertEqual([call.status for call in calls], [200] * 10 + [503] * 2)
        for call in calls:
            call.hang_up()
        for call in [*calls, *bob.calls]:
            await call.when_ended()
        self.assertEqual(self.relayed(), 0)


class SilenceTests(HostileServiceCase):
    """Phones that say nothing at all."""

    async def test_stopped_meanwhile(self) -> None:
        """A call that was cancelled before the phone gave any answer does not outlive the service."""
        await self.begin()
        alice, bob = await self.register(self.service, "alice"), await self.register(self.service, "bob")
        bob.close()
        await deferLater(real_reactor, 0.05)
        port = parse_sip_uri(bob.contact.strip("<>")).port or 0
        silent = cast(IReactorUDP, real_reactor).listenUDP(port, Datagrams(), HOST, 8192)
        self.addCleanup(silent.stopListening)
        call = alice.call("bob")
        await deferLater(real_reactor, 0.1)
        call.cancel()
        await deferLater(real_reactor, 0.1)
        await self.service.stopService()
        self.assertEqual([record["status"] for record in self.records()], [487])


class StreamTests(HostileServiceCase):
    """Connections."""

    async def test_a_million_header_lines(self) -> None:
        """A head of a million lines ends its connection at 64 KiB."""
        await self.begin()
        stream = await self.connect()
        stream.wire.write(b"OPTIONS sip:a@b SIP/2.0\r\n" + b"A: b\r\n" * 1_000_000)
        await self.until(lambda: stream.is_lost)
        self.assertEqual((stream.data, self.count("framing")), (b"", 1))
        await self.assert_serving()

    async def test_an_octet_at_a_time(self) -> None:
        """Who sends an octet at a time is closed when its message takes too long."""
        await self.begin(message_timeout=0.4)
        stream = await self.connect()
        while not stream.is_lost:
            stream.wire.write(b"x")
            await deferLater(real_reactor, 0.05)
        self.assertEqual(self.count("slow-message"), 1)
        await self.assert_serving()

    async def test_who_never_reads(self) -> None:
        """Who asks and asks and never reads an answer is given up at the bound of the queue."""
        await self.begin(write_queue_octets=65536)
        stream = await self.connect()
        cast(IPushProducer, stream.transport).pauseProducing()
        request = builders.request("BYE", transport="TCP", to_tag="x", call_id="x" * 4000)
        number = 0
        while not self.count("queue-full"):
            number += 1
            request.headers.set("Via", f"SIP/2.0/TCP {HOST}:9;branch=z9hG4bK-{number}")
            stream.wire.write(request.to_bytes())
            await deferLater(real_reactor, 0)
        stream.wire.abortConnection()
        await self.assert_serving()

    async def test_a_thousand_connections(self) -> None:
        """Of a thousand connections as many are kept as one source may have; phones over UDP notice nothing."""
        await self.begin(connections_per_source=40)
        streams = [await self.connect() for _ in range(1000)]
        await self.until(lambda: sum(stream.is_lost for stream in streams) == 960)
        self.assertEqual(self.count("too-many-from-source"), 960)
        await self.assert_serving()
        for stream in streams:
            if not stream.is_lost:
                stream.wire.loseConnection()
        await self.until(lambda: all(stream.is_lost for stream in streams))
