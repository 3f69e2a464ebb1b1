"""Tests of `sipd.transport.resolver` with name servers: NAPTR, SRV, addresses, the cache (RFC 3263 section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import dns
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.errors import UnresolvableError
from sipd.interfaces import IResolver, ListeningPoint
from sipd.sip.locate import Target, Transport
from sipd.sip.uri import parse_uri
from sipd.testing.clock import SimulatedClock
from sipd.testing.nameserver import NameServer, Record, address, alias, pointer, service
from sipd.testing.network import Network
from sipd.transport.cache import CacheLimits, NameCache
from sipd.transport.dns import NameClient
from sipd.transport.hostfiles import HostsFile, ResolvConf
from sipd.transport.interfaces import IDomainNames, INameClient
from sipd.transport.names import DomainNames
from sipd.transport.resolver import MAX_TARGETS, Resolver
from tests.transport.support import TCP, TLS, UDP, point
from tests.transport.websockets import WS, WSS

US, SERVER, OTHER_SERVER = "192.0.2.1", "192.0.2.53", "192.0.2.54"
EVERYTHING = tuple(
    point(transport, host, 5060) for transport in (UDP, TCP, TLS) for host in ("192.0.2.1", "2001:db8::1")
)


class DiscoveryCase(SynchronousTestCase):
    """A resolver on a simulated host, and a name server on another."""

    points: Sequence[ListeningPoint] = EVERYTHING
    limits = CacheLimits()
    versions: Sequence[int] = (6, 4)

    def setUp(self) -> None:
        """Make both."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        self.server = NameServer(self.network.host(SERVER), SERVER)
        self.servers = [(SERVER, 53)]
        host: Any = self.network.host(US)
        self.client = NameClient(host, lambda: self.servers)
        self.cache = NameCache(self.client, host, self.limits)
        self.hosts = Path(self.mktemp())
        self.resolv_conf = Path(self.mktemp())
        self.names = DomainNames(
            self.cache, hosts=HostsFile(self.hosts), resolv_conf=ResolvConf(self.resolv_conf), versions=self.versions
        )
        self.resolver = Resolver(
            host, names=self.names, points=lambda: self.points, entropy=self.network.entropy, timeout=5.0
        )

    def tearDown(self) -> None:
        """Nothing may be left."""
        self.server.close()
        self.clock.advance(10.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([host.ports for host in self.network._hosts.values()], [{}] * len(self.network._hosts))

    def add(self, name: str, *records: Record) -> None:
        """Let the server know a name."""
        self.server.records[name] = [*self.server.records.get(name, ()), *records]

    def ask(self, uri: str, seconds: float = 1.0) -> Deferred[Sequence[Target]]:
        """Ask, and let some time go by."""
        found = self.resolver.locate(parse_uri(uri))
        self.clock.advance(seconds)
        return found

    def locate(self, uri: str, seconds: float = 1.0) -> list[str]:
        """Give where the targets are."""
        return [str(target) for target in self.successResultOf(self.ask(uri, seconds))]

    def reason(self, uri: str, seconds: float = 1.0) -> str:
        """Give why there is no target."""
        reason: str = self.failureResultOf(self.ask(uri, seconds), UnresolvableError).value.reason
        return reason

    def take_asked(self) -> list[tuple[str, int]]:
        """Give the questions since the last time."""
        asked, self.server.asked = self.server.asked, []
        return asked


class ProcedureTests(DiscoveryCase):
    """RFC 3263 section 4, step by step."""

    def test_interfaces(self) -> None:
        """Each part is what it says."""
        verifyObject(IResolver, self.resolver)
        verifyObject(IDomainNames, self.names)
        verifyObject(INameClient, self.client)

    def test_example_of_the_rfc(self) -> None:
        """The example of section 4.1: the domain prefers TLS, then TCP, then UDP."""
        self.add(
            "example.com",
            pointer("SIPS+D2T", "_sips._tcp.example.com", order=50, preference=50),
            pointer("SIP+D2T", "_sip._tcp.example.com", order=90, preference=50),
            pointer("SIP+D2U", "_sip._udp.example.com", order=100, preference=50),
        )
        self.add("_sips._tcp.example.com", service("server1.example.com", 5061))
        self.add(
            "_sip._tcp.example.com",
            service("server1.example.com", 5060, priority=0, weight=1),
            service("server2.example.com", 5070, priority=1, weight=2),
        )
        self.add("_sip._udp.example.com", service("server2.example.com", 5060))
        self.add("server1.example.com", address("192.0.2.11"))
        self.add("server2.example.com", address("192.0.2.12"))
        self.assertEqual(
            self.locate("sip:bob@example.com"),
            ["TLS 192.0.2.11:5061", "TCP 192.0.2.11:5060", "TCP 192.0.2.12:5070", "UDP 192.0.2.12:5060"],
        )
        self.assertEqual(self.locate("sips:bob@example.com"), ["TLS 192.0.2.11:5061"])
        targets = self.successResultOf(self.ask("sips:bob@example.com"))
        self.assertEqual(targets[0].server_name, "example.com")

    def test_websocket(self) -> None:
        """NAPTR records may lead to WebSocket (RFC 7118 section 5.3); with a transport, addresses alone count."""
        self.points = (point(WS, "192.0.2.1"), point(WSS, "192.0.2.1"))
        self.add(
            "example.com", pointer("SIPS+D2W", "_a.example.com", order=1), pointer("SIP+D2W", "_b.example.com", order=2)
        )
        self.add("_a.example.com", service("ws.example.com", 443))
        self.add("_b.example.com", service("ws.example.com", 8080))
        self.add("ws.example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com"), ["WSS 192.0.2.11:443", "WS 192.0.2.11:8080"])
        self.assertEqual(self.locate("sips:example.com"), ["WSS 192.0.2.11:443"])
        self.assertEqual(self.locate("sip:ws.example.com;transport=ws"), ["WS 192.0.2.11:80"])
        self.assertEqual(self.locate("sips:ws.example.com;transport=ws"), ["WSS 192.0.2.11:443"])

    def test_services_without_pointers(self) -> None:
        """Without NAPTR records UDP is looked for first, then TCP; nobody asks for addresses of the domain."""
        self.add("_sip._udp.example.com", service("a.example.com", 5062))
        self.add("_sip._tcp.example.com", service("a.example.com", 5063))
        self.add("a.example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com"), ["UDP 192.0.2.11:5062", "TCP 192.0.2.11:5063"])
        self.assertEqual(
            self.take_asked(),
            [
                ("example.com", dns.NAPTR),
                ("_sip._udp.example.com", dns.SRV),
                ("_sip._tcp.example.com", dns.SRV),
                ("a.example.com", dns.AAAA),
                ("a.example.com", dns.A),
            ],
        )

    def test_addresses_without_services(self) -> None:
        """Without NAPTR and SRV records it is the host itself: UDP for `sip`, TLS for `sips`, the default port."""
        self.add("example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com"), ["UDP 192.0.2.11:5060"])
        self.assertEqual(self.locate("sips:example.com"), ["TLS 192.0.2.11:5061"])
        self.assertIn(("_sips._tcp.example.com", dns.SRV), self.take_asked())

    def test_transport_given(self) -> None:
        """A transport in the URI makes NAPTR needless, and its SRV records alone count."""
        self.add("example.com", pointer("SIP+D2U", "_sip._udp.example.com"), address("192.0.2.10"))
        self.add("_sip._tcp.example.com", service("a.example.com", 5063))
        self.add("a.example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com;transport=tcp"), ["TCP 192.0.2.11:5063"])
        self.assertNotIn(("example.com", dns.NAPTR), self.take_asked())
        self.assertEqual(self.locate("sip:example.com;transport=udp"), ["UDP 192.0.2.10:5060"])
        self.assertEqual(self.locate("sip:example.com;transport=tls"), ["TLS 192.0.2.10:5061"])

    def test_port_given(self) -> None:
        """A port in the URI makes SRV needless, too (section 4.2)."""
        self.add("example.com", address("192.0.2.10"))
        self.assertEqual(self.locate("sip:example.com:5070"), ["UDP 192.0.2.10:5070"])
        self.assertEqual(self.take_asked(), [("example.com", dns.AAAA), ("example.com", dns.A)])

    def test_maddr(self) -> None:
        """`maddr` is looked up instead of the host; the certificate is that of the host."""
        self.add("_sip._udp.edge.example.com", service("a.example.com", 5062))
        self.add("a.example.com", address("192.0.2.11"))
        targets = self.successResultOf(self.ask("sip:bob@example.com;maddr=edge.example.com"))
        self.assertEqual([str(target) for target in targets], ["UDP 192.0.2.11:5062"])
        self.assertEqual(targets[0].server_name, "example.com")

    def test_numeric(self) -> None:
        """A numeric host is not looked up."""
        self.assertEqual(self.locate("sip:192.0.2.9"), ["UDP 192.0.2.9:5060"])
        self.assertEqual(self.take_asked(), [])

    def test_no_service(self) -> None:
        """A service that is decidedly not available is not looked for at the host itself (RFC 2782)."""
        self.add("example.com", address("192.0.2.10"))
        self.add("_sip._tcp.example.com", service("", 0))
        self.assertIn("offers no SIP service", self.reason("sip:example.com;transport=tcp"))
        self.add("_sip._udp.example.com", service("example.com", 5062))
        self.assertEqual(self.locate("sip:example.com"), ["UDP 192.0.2.10:5062"])

    def test_service_without_addresses(self) -> None:
        """A server that has no address is passed over; where none has, that is the reason."""
        self.add("_sip._udp.example.com", service("gone.example.com", 5060), service("a.example.com", 5060, priority=2))
        self.assertEqual(self.reason("sip:example.com"), "example.com has no address")
        self.clock.advance(100.0)
        self.add("a.example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com"), ["UDP 192.0.2.11:5060"])

    def test_aliases(self) -> None:
        """Aliases are followed wherever they stand, in one answer or over several."""
        self.add("example.com", alias("sip.provider.example"))
        self.add("sip.provider.example", pointer("SIP+D2T", "_sip._tcp.provider.example"))
        self.add("_sip._tcp.provider.example", alias("_sip._tcp.farm.example"))
        self.add("_sip._tcp.farm.example", service("a.farm.example", 5060))
        self.add("a.farm.example", alias("b.farm.example"))
        self.add("b.farm.example", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com"), ["TCP 192.0.2.11:5060"])

    def test_aliases_step_by_step(self) -> None:
        """A server that gives an alias alone is asked about the next name."""
        self.server.follows_aliases = False
        self.add("a.example.com", alias("b.example.com"))
        self.add("b.example.com", alias("c.example.com"))
        self.add("c.example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:a.example.com:5060"), ["UDP 192.0.2.11:5060"])

    def test_alias_without_an_end(self) -> None:
        """A loop of aliases is no name."""
        self.server.follows_aliases = False
        self.add("a.example.com", alias("b.example.com"))
        self.add("b.example.com", alias("a.example.com"))
        self.assertEqual(
            self.reason("sip:a.example.com:5060"), "a.example.com is an alias of an alias, and so on without an end"
        )

    def test_additional_section(self) -> None:
        """What the server adds is not asked for again: with IPv4 alone, one question is enough."""
        self.server.is_helpful = True
        self.add("example.com", pointer("SIP+D2U", "_sip._udp.example.com"))
        self.add("_sip._udp.example.com", service("a.example.com", 5062))
        self.add("a.example.com", address("192.0.2.11"), address("2001:db8::11"))
        self.assertEqual(self.locate("sip:example.com"), ["UDP [2001:db8::11]:5062", "UDP 192.0.2.11:5062"])
        self.assertEqual(self.take_asked(), [("example.com", dns.NAPTR)])

    def test_many_records(self) -> None:
        """What does not fit into a datagram comes by TCP; no more targets than are worth trying."""
        hosts = [f"a-rather-long-host-name-{number}.example.com" for number in range(30)]
        self.add("_sip._udp.example.com", *(service(host, 5060, priority=index) for index, host in enumerate(hosts)))
        for index, host in enumerate(hosts):
            self.add(host, *(address(f"192.0.{index}.{last}") for last in range(1, 31)))
        located = self.locate("sip:example.com;transport=udp", 3.0)
        self.assertEqual(located[:2], ["UDP 192.0.0.1:5060", "UDP 192.0.0.2:5060"])
        self.assertEqual(len(located), MAX_TARGETS)
        self.assertIn(("TCP _sip._udp.example.com", dns.SRV), self.take_asked())

    def test_weights(self) -> None:
        """Of two servers of equal priority each has its share, call by call, though the answer is remembered."""
        self.add(
            "_sip._udp.example.com", service("a.example.com", 1, weight=90), service("b.example.com", 2, weight=10)
        )
        self.add("a.example.com", address("192.0.2.11"))
        self.add("b.example.com", address("192.0.2.12"))
        first = [self.locate("sip:example.com;transport=udp", 0.1)[0] for _ in range(200)]
        self.assertTrue(5 < first.count("UDP 192.0.2.12:2") < 40, first.count("UDP 192.0.2.12:2"))


class VersionTests(DiscoveryCase):
    """IPv4 and IPv6 (RFC 7984)."""

    def test_both(self) -> None:
        """Of each server both versions are targets, the preferred one first; the order of servers stays."""
        self.add("_sip._udp.example.com", service("a.example.com", 5060), service("b.example.com", 5060, priority=2))
        self.add("a.example.com", address("192.0.2.11"), address("2001:db8::11"))
        self.add("b.example.com", address("2001:db8::12"), address("192.0.2.12"))
        self.assertEqual(
            self.locate("sip:example.com;transport=udp"),
            ["UDP [2001:db8::11]:5060", "UDP 192.0.2.11:5060", "UDP [2001:db8::12]:5060", "UDP 192.0.2.12:5060"],
        )

    def test_listening_points(self) -> None:
        """Only what a listening point of that transport speaks is a target."""
        self.points = (point(UDP, "192.0.2.1"), point(TCP, "2001:db8::1"))
        self.add("example.com", address("192.0.2.11"), address("2001:db8::11"))
        self.assertEqual(self.locate("sip:example.com:5060"), ["UDP 192.0.2.11:5060"])
        self.assertEqual(self.locate("sip:example.com:5060;transport=tcp"), ["TCP [2001:db8::11]:5060"])
        self.add("six.example.com", address("2001:db8::11"))
        self.assertEqual(
            self.reason("sip:six.example.com:5060"), "No listening point can reach an address of six.example.com"
        )

    def test_loopback(self) -> None:
        """A listening point on the loopback address is not the way to others while there is a better one."""
        self.points = (point(UDP, "192.0.2.1"), point(UDP, "::1"))
        self.add("example.com", address("192.0.2.11"), address("2001:db8::11"))
        self.assertEqual(self.locate("sip:example.com:5060"), ["UDP 192.0.2.11:5060", "UDP [2001:db8::11]:5060"])

    def test_transports_that_are_spoken(self) -> None:
        """NAPTR records of transports without a listening point do not count, and nobody asks for their servers."""
        self.points = (point(TCP, "192.0.2.1"),)
        self.add(
            "example.com",
            pointer("SIPS+D2T", "_sips._tcp.example.com", order=1),
            pointer("SIP+D2U", "_sip._udp.example.com", order=2),
            pointer("SIP+D2T", "_sip._tcp.example.com", order=3),
        )
        self.add("_sip._tcp.example.com", service("a.example.com", 5060))
        self.add("a.example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com"), ["TCP 192.0.2.11:5060"])
        self.assertNotIn(("_sip._udp.example.com", dns.SRV), self.take_asked())

    def test_one_version_fails(self) -> None:
        """A version of IP that the server cannot tell about does not hide the other."""
        self.add("example.com", address("192.0.2.11"))
        self.server.errors["example.com", dns.AAAA] = dns.ESERVER
        self.assertEqual(self.locate("sip:example.com:5060"), ["UDP 192.0.2.11:5060"])


class PreferIpv4Tests(DiscoveryCase):
    """The other preference."""

    versions = (4, 6)

    def test_preference(self) -> None:
        """IPv4 comes first where that is preferred, also of names in the hosts file."""
        self.add("example.com", address("2001:db8::11"), address("192.0.2.11"))
        self.hosts.write_text("2001:db8::12 gw\n192.0.2.12 gw\n")
        self.assertEqual(self.locate("sip:example.com:1"), ["UDP 192.0.2.11:1", "UDP [2001:db8::11]:1"])
        self.assertEqual(self.locate("sip:gw:1"), ["UDP 192.0.2.12:1", "UDP [2001:db8::12]:1"])


class FileTests(DiscoveryCase):
    """What this host's own files say."""

    def test_hosts(self) -> None:
        """A name of the hosts file is asked of nobody, not even for services; the file may change."""
        self.hosts.write_text("# ours\n192.0.2.20  Gateway.example.com gw # one\n2001:DB8:0::20 gw\nbroken gw\n")
        self.assertEqual(self.locate("sip:gateway.example.com"), ["UDP 192.0.2.20:5060"])
        self.assertEqual(self.locate("sip:gw;transport=tcp"), ["TCP [2001:db8::20]:5060", "TCP 192.0.2.20:5060"])
        self.assertEqual(self.take_asked(), [])
        self.hosts.write_text("192.0.2.21 gateway.example.com\n")
        self.assertEqual(self.locate("sip:gateway.example.com"), ["UDP 192.0.2.21:5060"])
        self.hosts.unlink()
        self.assertEqual(self.reason("sip:gateway.example.com"), "gateway.example.com has no address")

    def test_server_in_hosts(self) -> None:
        """A server that SRV names may have its address from the hosts file."""
        self.add("_sip._udp.example.com", service("gw", 5062))
        self.hosts.write_text("192.0.2.20 gw\n")
        self.assertEqual(self.locate("sip:example.com"), ["UDP 192.0.2.20:5062"])

    def test_suffixes(self) -> None:
        """A short name is looked for in the domains of `resolv.conf`; one with dots as it is before that."""
        self.resolv_conf.write_text("domain old.example\nsearch Example.com. example.net\noptions ndots:1\n")
        self.add("gw.example.net", address("192.0.2.20"))
        self.add("gw.zone.example.com", address("192.0.2.21"))
        self.assertEqual(self.locate("sip:gw:5060"), ["UDP 192.0.2.20:5060"])
        self.assertEqual(
            [name for name, kind in self.take_asked() if kind == dns.A], ["gw.example.com", "gw.example.net"]
        )
        self.assertEqual(self.locate("sip:gw.zone:5060"), ["UDP 192.0.2.21:5060"])
        self.assertEqual(
            [name for name, kind in self.take_asked() if kind == dns.A], ["gw.zone", "gw.zone.example.com"]
        )

    def test_servers(self) -> None:
        """`resolv.conf` names the servers, comments and mistakes aside; without any it is this host."""
        conf = ResolvConf(self.resolv_conf)
        self.assertEqual(list(conf.servers()), [("127.0.0.1", 53)])
        self.resolv_conf.write_text(
            "; old\nnameserver 192.0.2.1 # first\nnameserver\nnameserver ns.example.com\nnameserver 2001:db8::53\n"
            "nameserver 192.0.2.3\nnameserver 192.0.2.4\n"
        )
        self.assertEqual(list(conf.servers()), [("192.0.2.1", 53), ("2001:db8::53", 53), ("192.0.2.3", 53)])


class CacheTests(DiscoveryCase):
    """What is remembered, and for how long."""

    limits = CacheLimits(max_entries=20, max_ttl=100.0, max_negative_ttl=30.0, max_questions=3)

    def test_time_to_live(self) -> None:
        """An answer holds for its time to live, but for a second at least, and not beyond what is allowed."""
        for name, ttl, held in (("a.example.com", 50, 50.0), ("b.example.com", 5000, 100.0), ("c.example.com", 0, 1.0)):
            self.add(name, address("192.0.2.11", ttl))
            self.cache.find(name, dns.A)
            self.clock.advance(0.5)
            self.take_asked()
            self.clock.advance(held - 0.7)
            self.assertEqual(self.successResultOf(self.cache.find(name, dns.A)), ("192.0.2.11",))
            self.assertEqual(self.take_asked(), [])
            self.clock.advance(0.5)
            self.cache.find(name, dns.A)
            self.clock.advance(0.5)
            self.assertEqual(self.take_asked(), [(name, dns.A)])

    def test_shortest_of_a_chain(self) -> None:
        """An alias that holds shorter than the address it leads to decides, whether they come together or not."""
        self.add("a.example.com", alias("b.example.com", 10))
        self.add("b.example.com", address("192.0.2.11", 90))
        for self.server.follows_aliases in (True, False):
            self.cache.find("a.example.com", dns.A)
            self.clock.advance(10.5)
            self.take_asked()
            self.cache.find("a.example.com", dns.A)
            self.clock.advance(0.5)
            self.assertIn(("a.example.com", dns.A), self.take_asked())
            self.clock.advance(100.0)

    def test_nothing(self) -> None:
        """That there is nothing is remembered as long as the server says, and for a few seconds if it does not."""
        for says, held in ((True, 30.0), (False, 5.0)):
            self.server.says_for_how_long = says
            name = f"{says}.example.com".lower()
            self.reason(f"sip:{name}:5060", 0.5)
            self.take_asked()
            self.clock.advance(held - 0.8)
            self.assertEqual(self.reason(f"sip:{name}:5060", 0.0), f"{name} has no address")
            self.assertEqual(self.take_asked(), [])
            self.clock.advance(1.0)
            self.reason(f"sip:{name}:5060", 0.5)
            self.assertEqual(len(self.take_asked()), 2)

    def test_together(self) -> None:
        """The same question asked by many calls at a time goes out once; one that is given up disturbs no other."""
        self.add("example.com", address("192.0.2.11"))
        uri = parse_uri("sip:example.com:5060")
        lookups = [self.resolver.locate(uri) for _ in range(50)]
        lookups[0].cancel()
        self.clock.advance(1.0)
        self.failureResultOf(lookups[0])
        self.assertEqual({str(self.successResultOf(lookup)[0]) for lookup in lookups[1:]}, {"UDP 192.0.2.11:5060"})
        self.assertEqual(len(self.take_asked()), 2)

    def test_bounds(self) -> None:
        """No more answers are kept, and no more questions wait, than is allowed."""
        for number in range(40):
            self.add(f"n{number}.example.com", address("192.0.2.11"))
            self.locate(f"sip:n{number}.example.com:5060", 0.2)
        self.assertEqual(len(self.cache), 20)
        self.take_asked()
        self.locate("sip:n39.example.com:5060", 0.0)
        self.assertEqual(self.take_asked(), [])
        lookups = [self.resolver.locate(parse_uri(f"sip:x{number}.example.com:5060")) for number in range(3)]
        self.assertIn("3 questions wait", self.failureResultOf(lookups[2], UnresolvableError).value.reason)
        self.clock.advance(1.0)
        for lookup in lookups[:2]:
            self.failureResultOf(lookup, UnresolvableError)

    def test_old_answers(self) -> None:
        """An answer that holds no longer is better than none: for an hour, while no server answers (RFC 8767)."""
        self.add("example.com", address("192.0.2.11", 20))
        self.locate("sip:example.com:5060")
        self.server.is_silent = True
        self.clock.advance(30.0)
        self.assertEqual(self.locate("sip:example.com:5060", 4.0), ["UDP 192.0.2.11:5060"])
        self.assertEqual(self.locate("sip:example.com:5060", 0.0), ["UDP 192.0.2.11:5060"])
        self.clock.advance(3700.0)
        self.assertIn("no name server answers", self.reason("sip:example.com:5060", 4.0))

    def test_new_answers(self) -> None:
        """When the server is back, what it says is taken at once."""
        self.server.is_silent = True
        self.reason("sip:example.com:5060", 4.0)
        self.server.is_silent = False
        self.add("example.com", address("192.0.2.11"))
        self.clock.advance(1.0)
        self.assertEqual(self.locate("sip:example.com:5060"), ["UDP 192.0.2.11:5060"])


class TroubleTests(DiscoveryCase):
    """Servers that are slow, silent, or wrong."""

    def test_silence(self) -> None:
        """A server that says nothing is asked three times; then the name has failed."""
        self.server.is_silent = True
        self.assertEqual(
            self.reason("sip:192.example.com:5060", 4.0), "192.example.com cannot be looked up: no name server answers"
        )
        self.assertEqual(len(self.take_asked()), 6)

    def test_time_limit(self) -> None:
        """All lookups of a name together have one time limit."""
        self.server.is_silent = True
        found = self.ask("sip:example.com", 4.9)
        self.assertNoResult(found)
        self.clock.advance(0.2)
        reason = self.failureResultOf(found, UnresolvableError).value.reason
        self.assertEqual(reason, "No answer about example.com from DNS within 5 s")

    def test_second_server(self) -> None:
        """Where the first server is silent the second is asked, and for a while it is asked first."""
        other = NameServer(self.network.host(OTHER_SERVER), OTHER_SERVER)
        other.records["example.com"] = other.records["example.net"] = [address("192.0.2.11")]
        self.servers = [(SERVER, 53), (OTHER_SERVER, 53)]
        self.server.is_silent = True
        self.assertEqual(self.locate("sip:example.com:5060"), ["UDP 192.0.2.11:5060"])
        self.take_asked()
        self.assertEqual(self.locate("sip:example.net:5060"), ["UDP 192.0.2.11:5060"])
        self.assertEqual(self.take_asked(), [])
        self.clock.advance(40.0)
        self.assertEqual(self.reason("sip:example.org:5060"), "example.org has no address")
        self.assertEqual(len(self.take_asked()), 2)
        other.close()

    def test_error(self) -> None:
        """A server that refuses, or fails, makes room for the next one; of the last the error is the reason."""
        other = NameServer(self.network.host(OTHER_SERVER), OTHER_SERVER)
        other.records["example.com"] = [address("192.0.2.11")]
        for kind in (dns.A, dns.AAAA):
            self.server.errors["example.com", kind] = dns.EREFUSED
        self.assertEqual(
            self.reason("sip:example.com:5060"), f"example.com cannot be looked up: {SERVER} answers with error 5"
        )
        self.clock.advance(2.0)
        self.servers = [(SERVER, 53), (OTHER_SERVER, 53)]
        self.assertEqual(self.locate("sip:example.com:5060"), ["UDP 192.0.2.11:5060"])
        other.close()

    def test_pointers_that_cannot_be_had(self) -> None:
        """A server that fails on NAPTR or SRV alone does not make the name useless."""
        self.server.errors["example.com", dns.NAPTR] = dns.EFORMAT
        self.server.errors["_sip._udp.example.com", dns.SRV] = dns.ESERVER
        self.server.errors["_sip._tcp.example.com", dns.SRV] = dns.ENOTIMP
        self.add("example.com", address("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com"), ["UDP 192.0.2.11:5060"])

    def test_no_server(self) -> None:
        """Without a server nothing is found, at once."""
        self.servers = []
        self.assertEqual(
            self.reason("sip:example.com", 0.0), "example.com cannot be looked up: no name server is known"
        )

    def test_close(self) -> None:
        """Closed in the middle of a question, nothing is left, and who waits is told."""
        self.server.is_silent = True
        found = self.ask("sip:example.com", 0.1)
        self.resolver.close()
        reason = self.failureResultOf(found, UnresolvableError).value.reason
        self.assertEqual(reason, "example.com is looked up no longer")

    def test_close_during_tcp(self) -> None:
        """The same while the answer comes by TCP, or does not come."""
        self.add("_sip._udp.example.com", *(service(f"{'x' * 50}{number}.example.com", 1) for number in range(30)))
        found = self.ask("sip:example.com;transport=udp", 0.05)
        self.server.is_silent = True
        self.clock.advance(0.1)
        self.resolver.close()
        self.clock.advance(0.1)
        self.failureResultOf(found, UnresolvableError)

    def test_names_that_are_none(self) -> None:
        """A name that does not fit into a question is not asked about, wherever it comes from."""
        self.assertIn("is no host name", self.reason("sip:" + "a" * 64 + ".example.com"))
        self.add("_sip._udp.example.com", service("x" * 63 + ("." + "y" * 60) * 4, 1))
        self.assertIn("is no host name", self.reason("sip:example.com;transport=udp"))


class RestTests(DiscoveryCase):
    """Targets that failed (RFC 3263 section 4.3)."""

    def setUp(self) -> None:
        """Give the domain two servers."""
        super().setUp()
        self.add("example.com", address("192.0.2.11"), address("192.0.2.12"))
        self.first, self.second = "UDP 192.0.2.11:5060", "UDP 192.0.2.12:5060"

    def target(self, host: str) -> Target:
        """Give a target."""
        return Target(transport=Transport.UDP, host=host, port=5060, server_name="elsewhere.example")

    def test_last_for_a_while(self) -> None:
        """A target that failed is tried last for a minute, by whatever name it is reached."""
        self.resolver.target_failed(self.target("192.0.2.11"))
        self.assertEqual(self.locate("sip:example.com:5060"), [self.second, self.first])
        self.resolver.target_failed(self.target("192.0.2.12"))
        self.assertEqual(self.locate("sip:example.com:5060"), [self.first, self.second])
        self.clock.advance(59.0)
        self.assertEqual(self.locate("sip:example.com:5060"), [self.first, self.second])
        self.assertEqual(len(self.resolver.resting), 0)

    def test_wish_of_the_server(self) -> None:
        """A server may say for how long it wants to be spared, up to ten minutes."""
        for wish, rests in ((5.0, 5.0), (1e9, 600.0), (-1.0, 0.0)):
            self.resolver.target_failed(self.target("192.0.2.11"), wish)
            if rests:
                self.clock.advance(rests - 1.5)
                self.assertEqual(self.locate("sip:example.com:5060")[0], self.second)
            self.clock.advance(1.0)
            self.assertEqual(self.locate("sip:example.com:5060")[0], self.first)

    def test_bounded(self) -> None:
        """No more failures are remembered than is allowed; the oldest goes first."""
        for number in range(2000):
            self.resolver.target_failed(self.target(f"198.51.{number // 256}.{number % 256}"))
        self.assertEqual(len(self.resolver.resting), 1024)
