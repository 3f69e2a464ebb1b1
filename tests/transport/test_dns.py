"""Tests of `sipd.transport.dns` over real sockets, with a name server of Twisted's, and of what is read of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.names import dns
from twisted.names.authority import FileAuthority
from twisted.names.server import DNSServerFactory
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sipd.errors import UnresolvableError
from sipd.sip.uri import parse_uri
from sipd.testing.nameserver import NameServer, Record, address, alias, pointer, service
from sipd.transport.cache import NameCache
from sipd.transport.dns import NameClient, ServerAddress
from sipd.transport.names import DomainNames
from sipd.transport.records import read_answer
from sipd.transport.resolver import Resolver
from tests.ports import Ports
from tests.transport.support import reactor


class Zone(FileAuthority):
    """A zone of Twisted's, from a table instead of a file."""

    def __init__(self, records: dict[bytes, list[Record]]) -> None:
        soa: Any = (b"example.com", dns.Record_SOA(b"ns.example.com", b"root.example.com", minimum=60, expire=60))
        table: Any = records
        self.soa, self.records = soa, table
        super().__init__("")

    def loadFile(self, filename: str) -> None:  # noqa: N802 (Twisted's name)
        """See `FileAuthority`: there is nothing to load."""


class LoopbackTests(TestCase):
    """Real sockets."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Start a server."""
        self.zone = Zone(
            {
                b"example.com": [pointer("SIP+D2T", "_sip._tcp.example.com")],
                b"_sip._tcp.example.com": [service("b.example.com", 5062, priority=2), service("a.example.com", 5061)],
                b"a.example.com": [alias("host.example.com")],
                b"host.example.com": [address("127.0.0.11"), address("::1")],
                b"b.example.com": [address("127.0.0.12")],
            }
        )
        factory = DNSServerFactory(authorities=[self.zone])
        factory.noisy = False
        datagrams = dns.DNSDatagramProtocol(factory, reactor=reactor)
        datagrams.noisy = False
        self.port = Ports().take()
        self.listening: list[IListeningPort] = [
            reactor.listenUDP(self.port, datagrams, interface="127.0.0.1"),
            reactor.listenTCP(self.port, factory, interface="127.0.0.1"),
        ]
        for one in self.listening:
            self.addCleanup(one.stopListening)

    def client(self, *servers: ServerAddress) -> NameClient:
        """Make a client."""
        return NameClient(reactor, lambda: servers or (("127.0.0.1", self.port),), timeouts=(0.3, 1.0))

    async def test_procedure(self) -> None:
        """From a name to targets: NAPTR, SRV, an alias, both versions of IP."""
        names = DomainNames(NameCache(self.client(), reactor))
        resolver = Resolver(reactor, names=names)
        targets = await resolver.locate(parse_uri("sip:bob@example.com"))
        self.assertEqual(
            [str(target) for target in targets], ["TCP [::1]:5061", "TCP 127.0.0.11:5061", "TCP 127.0.0.12:5062"]
        )
        self.assertEqual({target.server_name for target in targets}, {"example.com"})

    async def test_long_answer(self) -> None:
        """What does not fit into a datagram comes by TCP, whole."""
        server = NameServer(reactor, "127.0.0.1", Ports().take())
        server.records["many.example.com"] = [service(f"server-number-{n}.example.com", 5060) for n in range(30)]
        answer = await self.client(("127.0.0.1", server.port)).ask("many.example.com", dns.SRV)
        self.assertEqual((len(answer.answers), answer.trunc), (30, 0))
        self.assertEqual([name for name, _ in server.asked], ["many.example.com", "TCP many.example.com"])
        await server.close()

    async def test_unknown(self) -> None:
        """A name that does not exist is no failure of the server."""
        answer = await self.client().ask("nobody.example.com", dns.A)
        self.assertEqual(answer.rCode, dns.ENAME)

    async def test_server_that_is_not_there(self) -> None:
        """A server where nobody listens costs its time once; the next one is asked."""
        client = self.client(("127.0.0.1", 1), ("127.0.0.1", self.port))
        for _ in range(2):
            answer = await client.ask("b.example.com", dns.A)
            self.assertEqual(len(answer.answers), 1)

    async def test_ipv6(self) -> None:
        """A server may have an IPv6 address; without one that answers the question has failed."""
        client = NameClient(reactor, lambda: (("::1", 1),), timeouts=(0.1,))
        with self.assertRaises(UnresolvableError) as caught:
            await client.ask("b.example.com", dns.A)
        self.assertIn("no name server answers", caught.exception.reason)

    async def test_cancelled(self) -> None:
        """A question that is given up leaves neither a socket nor a timer: the next test would see them."""
        asking = self.client(("127.0.0.1", 1)).ask("b.example.com", dns.A)
        asking.addErrback(lambda _: None)
        asking.cancel()
        await asking


class ForgedTests(TestCase):
    """Answers that were not asked for."""

    async def test_wrong_source(self) -> None:
        """An answer from another address than the server's is not one, even with the right identifier."""
        heard: Deferred[tuple[bytes, Any]] = Deferred()

        class Silent(dns.DNSDatagramProtocol):
            def datagramReceived(self, data: bytes, addr: tuple[str, int]) -> None:
                if not heard.called:
                    heard.callback((data, addr))

        silent = reactor.listenUDP(0, Silent(None, reactor=reactor), interface="127.0.0.1")
        forger = reactor.listenUDP(0, dns.DNSDatagramProtocol(None, reactor=reactor), interface="127.0.0.1")
        server = ("127.0.0.1", silent.getHost().port)
        asking = NameClient(reactor, lambda: (server,), timeouts=(0.3,)).ask("a.example.com", dns.A)
        data, source = await heard
        question = dns.Message()
        question.fromStr(data)
        reply = dns.Message(question.id, answer=1)
        reply.queries = question.queries
        reply.answers = [dns.RRHeader(b"a.example.com", dns.A, dns.IN, 60, dns.Record_A("192.0.2.66"))]
        forger.write(reply.toStr(), source)
        with self.assertRaises(UnresolvableError):
            await asking
        for one in (silent, forger):
            await one.stopListening()


def encoded(records: Sequence[dns.RRHeader]) -> bytes:
    """Give an answer as it is on the wire."""
    message = dns.Message(1, answer=1, maxSize=0)
    message.queries = [dns.Query(b"example.com", dns.SRV)]
    message.answers = list(records)
    message.additional = list(records)
    message.authority = [dns.RRHeader(b"example.com", dns.SOA, dns.IN, 30, dns.Record_SOA(b"a", b"b"))]
    data: bytes = message.toStr()
    return data


GOOD = encoded(
    [
        dns.RRHeader(b"example.com", record.TYPE, dns.IN, 30, record)
        for record in (
            service("a.example.com", 5060),
            pointer("SIP+D2U", "x.example.com"),
            address("192.0.2.1"),
            address("::1"),
            alias("b.example.com"),
        )
    ]
)


class AnswerTests(SynchronousTestCase):
    """`read_answer`, whatever a server sends."""

    @settings(deadline=None, max_examples=400)
    @given(
        places=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8),
        kind=st.sampled_from((dns.A, dns.AAAA, dns.SRV, dns.NAPTR)),
    )
    def test_damaged(self, places: list[tuple[int, int]], kind: int) -> None:
        """What Twisted can decode can be read, and holds for a time that is no negative one."""
        data = bytearray(GOOD)
        for place, octet in places:
            data[place] = octet
        message = dns.Message()
        try:
            message.fromStr(bytes(data))
        except (EOFError, ValueError):
            return
        answer = read_answer(message, ("example.com", kind))
        self.assertTrue(answer.ttl is None or answer.ttl >= 0)
        self.assertLessEqual(len(answer.values), 5)

    def test_strangers(self) -> None:
        """Records of names that nobody asked about, in the answer or beside it, are not taken."""
        message = dns.Message(1, answer=1)
        message.answers = [
            dns.RRHeader(b"example.com", dns.SRV, dns.IN, 30, service("a.example.com", 5060)),
            dns.RRHeader(b"bank.example", dns.SRV, dns.IN, 30, service("evil.example.com", 5060)),
        ]
        message.additional = [
            dns.RRHeader(b"bank.example", dns.A, dns.IN, 30, address("192.0.2.66")),
            dns.RRHeader(b"a.example.com", dns.A, dns.IN, 30, address("192.0.2.1")),
        ]
        answer = read_answer(message, ("example.com", dns.SRV))
        self.assertEqual([value.host for value in answer.values], ["a.example.com"])
        self.assertEqual(list(answer.others), [("a.example.com", dns.A)])

    def test_very_long_time(self) -> None:
        """A time to live with its highest bit set means none (RFC 2181 section 8)."""
        message = dns.Message(1, answer=1)
        message.answers = [dns.RRHeader(b"example.com", dns.A, dns.IN, 2**31, address("192.0.2.1"))]
        self.assertEqual(read_answer(message, ("example.com", dns.A)).ttl, 0.0)
