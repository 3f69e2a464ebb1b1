"""The layers joined in one call: texts for listening points, addresses, and what is left when a port cannot be had."""

from __future__ import annotations

import itertools
import secrets
import socket
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor as global_reactor  # noqa: TID251 - real sockets
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sipd.errors import ConfigurationError, InvalidStateError, LocalError, TransportError
from sipd.interfaces import ListeningPoint
from sipd.sip.headers import Headers
from sipd.sip.locate import Transport
from sipd.sip.message import Request
from sipd.sip.timers import TimerValues
from sipd.sip.uri import parse_uri
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from sipd.transport.resolver import Resolver
from sipd.transport.upgrade import WebSocketSettings
from sipd.ua.settings import AgentSettings
from sipd.ua.stack import Layers, find_local_address, make_agent, open_layers, parse_listen
from tests.ports import Ports
from tests.transport.certificates import Authority

reactor: Any = global_reactor


_numbers = itertools.count(1)


def options(uri: str) -> Request:
    """Make an OPTIONS with all that the caller of a user agent gives."""
    fields = [
        ("From", "<sip:alice@example.com>;tag=a"),
        ("To", f"<{uri}>"),
        ("Call-ID", f"c{next(_numbers)}"),
        ("CSeq", "1 OPTIONS"),
        ("Max-Forwards", "70"),
    ]
    return Request("OPTIONS", parse_uri(uri), Headers(fields))


class ParseTests(SynchronousTestCase):
    """Texts for listening points."""

    def test_three_parts(self) -> None:
        """Transport, address and port are enough; the port that is advertised is the one that is bound."""
        for text, transport, host, port in (
            ("udp:0.0.0.0:5060", Transport.UDP, "0.0.0.0", 5060),
            ("UDP:127.0.0.1:0", Transport.UDP, "127.0.0.1", 0),
            ("tcp:[::]:5060", Transport.TCP, "::", 5060),
            ("tls:[2001:db8::1]:65535", Transport.TLS, "2001:db8::1", 65535),
        ):
            spec = parse_listen(text)
            self.assertEqual(
                spec.point,
                ListeningPoint(
                    name=text, transport=transport, host=host, port=port, advertised_host=host, advertised_port=0
                ),
            )
            self.assertIsNone(spec.tls)

    def test_advertised(self) -> None:
        """What others are told is a name or an address, with a port if it is another one."""
        for text, host, port in (
            ("sip.example.com", "sip.example.com", 0),
            ("sip.example.com:5070", "sip.example.com", 5070),
            ("[2001:db8::1]:5070:name=x", "2001:db8::1", 5070),
            ("2001\\:db8\\:\\:1", "2001:db8::1", 0),
            ("192.0.2.9", "192.0.2.9", 0),
        ):
            point = parse_listen(f"udp:10.0.0.1:5060:advertise={text}").point
            self.assertEqual((point.host, point.advertised_host, point.advertised_port), ("10.0.0.1", host, port))

    def test_names(self) -> None:
        """A name in the text counts most, then the one that is given, then the first three parts."""
        self.assertEqual(parse_listen("udp:10.0.0.1:1:name=inside", name="other").point.name, "inside")
        self.assertEqual(parse_listen("udp:10.0.0.1:1", name="other").point.name, "other")
        self.assertEqual(parse_listen("udp:10.0.0.1:1:advertise=h").point.name, "udp:10.0.0.1:1")

    def test_files(self) -> None:
        """For TLS there are certificate, key and authorities; the key may be in the file of the certificate."""
        tls = parse_listen("tls:192.0.2.1:5061:cert=a.pem:key=b.pem:ca=c.pem").tls
        assert tls is not None
        self.assertEqual((tls.certificate, tls.key, tls.authorities), ("a.pem", "b.pem", ("c.pem",)))
        tls = parse_listen("tls:192.0.2.1:5061:cert=C\\:\\\\a.pem").tls
        assert tls is not None
        self.assertEqual((tls.certificate, tls.key, tls.authorities), ("C:\\a.pem", "C:\\a.pem", ()))

    def test_websocket(self) -> None:
        """For WS and WSS there are path and origins; WSS has files as TLS has."""
        spec = parse_listen("ws:192.0.2.1:8080:path=/sip:origins=https\\://a.example,https\\://b.example\\:8443")
        self.assertEqual(
            spec.websocket, WebSocketSettings(path="/sip", origins=("https://a.example", "https://b.example:8443"))
        )
        self.assertEqual((spec.point.transport, spec.tls), (Transport.WS, None))
        spec = parse_listen("wss:[::1]:0:cert=a.pem:ca=c.pem:advertise=df7jal23ls0d.invalid")
        assert spec.tls is not None
        self.assertEqual((spec.point.advertised_host, spec.tls.key), ("df7jal23ls0d.invalid", "a.pem"))
        self.assertEqual(spec.websocket, WebSocketSettings())
        self.assertIsNone(parse_listen("tcp:192.0.2.1:5060").websocket)

    def test_mistakes(self) -> None:
        """Everything else is refused in one line that shows the text and says what is wrong with it."""
        for text, problem in (
            ("", "not TRANSPORT:HOST:PORT"),
            ("udp:5060", "not TRANSPORT:HOST:PORT"),
            ("udp:[::1:5060", "not TRANSPORT:HOST:PORT"),
            ("sctp:192.0.2.1:5060", "sctp is none of udp, tcp, tls, ws, wss"),
            ("tcp:192.0.2.1:5060:path=/sip", "path is none of name, advertise"),
            ("ws:192.0.2.1:80:cert=a", "cert is none of name, advertise, path, origins"),
            ("ws:192.0.2.1:80:path=sip", "sip is no path"),
            ("wss:192.0.2.1:443:origins=example.com", "example.com is no origin"),
            ("udp:localhost:5060", "localhost is no numeric address"),
            ("udp:::1:5060", "is no numeric address"),
            ("udp:192.0.2.1:65536", "65536 is no port"),
            ("udp:192.0.2.1:-1", "-1 is no port"),
            ("udp:192.0.2.1:", "nothing is no port"),
            ("udp:192.0.2.1:5060:", "nothing stands where KEY=VALUE should"),
            ("udp:192.0.2.1:5060:name=", "name= stands where KEY=VALUE should"),
            ("udp:192.0.2.1:5060:5070", "5070 stands where KEY=VALUE should"),
            ("udp:192.0.2.1:5060:advertise=h:0", "0 is no port"),
            ("udp:192.0.2.1:5060:advertise=a b", "a b is neither an address nor a host name"),
            ("udp:192.0.2.1:5060:advertise=h:1:2", "2 stands where KEY=VALUE should"),
            ("udp:192.0.2.1:5060:name=a:name=b", "name is there twice"),
            ("udp:192.0.2.1:5060:colour=red", "colour is none of name, advertise"),
            ("tcp:192.0.2.1:5060:cert=a", "cert is none of name, advertise"),
            ("tls:192.0.2.1:5060:key=a", "key and ca need a cert"),
            ("udp:192.0.2.1:5060:name=a\r\nb", "cannot be printed"),
        ):
            error = self.assertRaises(ConfigurationError, parse_listen, text)
            self.assertEqual(len(error.problems), 1)
            self.assertIn(problem, error.problems[0])
            self.assertTrue(error.problems[0].startswith(repr(text)))
            self.assertIsInstance(error, LocalError)

    @given(st.text(alphabet="udptcls:[]0123456789.=\\adverti\u0661 \n"))
    def test_any_text(self, text: str) -> None:
        """Whatever is written is a listening point or a configuration error."""
        for whole in (text, f"udp:192.0.2.1:{text}"):
            try:
                point = parse_listen(whole).point
            except ConfigurationError:
                continue
            self.assertIn(point.transport, Transport)


class SimulatedTests(SynchronousTestCase):
    """Layers on a simulated network."""

    def setUp(self) -> None:
        """Make a network."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)

    def open(self, *addresses: str, listen: tuple[str, ...] = ("udp:0.0.0.0:5060", "tcp:0.0.0.0:5060")) -> Layers:
        """Open layers on a new host."""
        layers = open_layers(self.network.host(*addresses), listen, entropy=self.network.entropy)
        self.addCleanup(layers.close)
        return layers

    def test_two_agents(self) -> None:
        """Two user agents made in two lines each ask each other, by name, over UDP."""
        ours, theirs = self.open("192.0.2.1"), self.open("192.0.2.2")
        make_agent(theirs)
        self.network.names["them.example.com"] = ["192.0.2.2"]
        asked = make_agent(ours).request(options("sip:them.example.com"))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(asked).status, 200)

    def test_wildcards(self) -> None:
        """Via and Contact say an address of the host where it listens on all of them, of the same version of IP."""
        layers = self.open("192.0.2.1", "2001:db8::1", listen=("udp:0.0.0.0:5060", "udp:[::]:5060"))
        self.assertEqual([point.sent_by for point in layers.points], ["192.0.2.1:5060", "[2001:db8::1]:5060"])

    def test_facing(self) -> None:
        """A wildcard advertises what faces a peer that is named, if that has its version of IP."""

        class Routed:
            """A host that knows two networks."""

            def __init__(self, host: Any) -> None:
                self._host = host

            def source_for(self, destination: str) -> str:
                """Give the address of the network that the destination is in."""
                return (
                    "2001:db8::1" if ":" in destination else "192.0.2.1" if destination[:5] == "192.0" else "10.0.0.1"
                )

            def __getattr__(self, name: str) -> Any:
                return getattr(self._host, name)

        host = Routed(self.network.host("192.0.2.1", "10.0.0.1", "2001:db8::1"))
        layers = open_layers(host, ["udp:0.0.0.0:5060", "udp:[::]:5060", "tcp:192.0.2.1:5060"], facing="10.0.0.9")
        self.addCleanup(layers.close)
        self.assertEqual([point.advertised_host for point in layers.points], ["10.0.0.1", "2001:db8::1", "192.0.2.1"])

    def test_nobody_above(self) -> None:
        """Until there is a core requests are answered with 480, and nothing fails."""
        self.open("192.0.2.2")
        ours = self.open("192.0.2.1")
        asked = make_agent(ours).request(options("sip:192.0.2.2"))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(asked).status, 480)

    def test_one_agent(self) -> None:
        """Layers carry one user agent; it has their timers unless it is told others."""
        layers = open_layers(self.network.host("192.0.2.1"), [], timers=TimerValues(t1=0.1))
        agent = make_agent(layers)
        self.assertEqual(agent.settings.timers.t1, 0.1)
        self.assertIs(layers.transactions.core, agent)
        self.assertRaises(InvalidStateError, make_agent, layers)
        other = open_layers(self.network.host("192.0.2.2"), [])
        settings = AgentSettings(name="other")
        self.assertIs(make_agent(other, settings).settings, settings)

    def test_address_in_use(self) -> None:
        """Where one port cannot be had nothing stays open, and the error says which."""
        host = self.network.host("192.0.2.1")
        first = open_layers(host, ["tcp:192.0.2.1:5060"])
        error = self.assertRaises(ConfigurationError, open_layers, host, ["udp:192.0.2.1:5060", "tcp:192.0.2.1:5060"])
        self.assertIn("tcp:192.0.2.1:5060: cannot listen on TCP 192.0.2.1 port 5060", str(error))
        self.assertEqual((list(host.ports), len(host.listeners)), ([], 1))
        self.successResultOf(first.close())
        self.assertEqual(host.listeners, {})

    def test_mistakes_open_nothing(self) -> None:
        """A text that cannot be read, or TLS without a certificate, leaves no port open."""
        host = self.network.host("192.0.2.1")
        for listen in (["udp:192.0.2.1:5060", "udp"], ["udp:192.0.2.1:5060", "tls:192.0.2.1:5061"]):
            self.assertRaises(ConfigurationError, open_layers, host, listen)
            self.assertEqual(host.ports, {})

    def test_close(self) -> None:
        """Closing ends what is under way, and frees the ports."""
        layers = self.open("192.0.2.1", listen=("udp:192.0.2.1:5060",))
        asked = make_agent(layers).request(options("sip:192.0.2.99"))
        closing = layers.close()
        self.failureResultOf(asked)
        self.successResultOf(closing)
        self.clock.advance(300.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_own_resolver(self) -> None:
        """A resolver that is given is used."""
        host = self.network.host("192.0.2.1")
        resolver = Resolver(host)  # type: ignore[arg-type]
        self.assertIs(make_agent(open_layers(host, [], resolver=resolver)).resolver, resolver)

    def test_local_address(self) -> None:
        """A simulated host tells which of its addresses faces a target; where none does, that is an error."""
        host = self.network.host("192.0.2.1")
        self.assertEqual(find_local_address("198.51.100.1", host), "192.0.2.1")
        self.assertRaises(LocalError, find_local_address, "2001:db8::9", host)
        self.assertRaises(LocalError, find_local_address, "::", host)
        self.assertRaises(LocalError, find_local_address, "example.com", host)
        self.assertRaises(LocalError, open_layers, host, ["udp:[::]:5060"])
        self.assertEqual(host.ports, {})


class LoopbackTests(TestCase):
    """Layers on the real reactor."""

    timeout = 30

    def open(self, *listen: str | socket.socket) -> Layers:
        """Open layers that are closed at the end of the test."""
        layers = open_layers(reactor, listen)
        self.addCleanup(layers.close)
        return layers

    async def test_udp_and_tcp(self) -> None:
        """Two agents ask each other over UDP and TCP, by addresses."""
        ours, theirs = self.open("udp:127.0.0.1:0", "tcp:127.0.0.1:0"), self.open("udp:127.0.0.1:0", "tcp:127.0.0.1:0")
        agent, _ = make_agent(ours), make_agent(theirs)
        for point in theirs.points:
            uri = f"sip:{point.sent_by};transport={point.transport.uri_parameter}"
            self.assertEqual((await agent.request(options(uri))).status, 200)

    async def test_tls(self) -> None:
        """The same over TLS, with certificates that the texts name."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority(folder)
        certificate, key = authority.sign(["127.0.0.1"])
        text = f"tls:127.0.0.1:0:cert={certificate}:key={key}:ca={authority.path}"
        ours, theirs = self.open(text), self.open(text)
        make_agent(theirs)
        uri = f"sip:{theirs.points[0].sent_by};transport=tls"
        self.assertEqual((await make_agent(ours).request(options(uri))).status, 200)

    async def test_websocket(self) -> None:
        """The same over WebSocket, plain and inside of TLS."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority(folder)
        certificate, key = authority.sign(["127.0.0.1"])
        files = f"cert={certificate}:key={key}:ca={authority.path}"
        for text in ("ws:127.0.0.1:0:path=/sip", f"wss:127.0.0.1:0:path=/sip:{files}"):
            ours, theirs = self.open(text), self.open(text)
            agent, _ = make_agent(ours), make_agent(theirs)
            (point,) = theirs.points
            uri = f"sip:{point.sent_by};transport={point.transport.uri_parameter}"
            self.assertEqual((await agent.request(options(uri))).status, 200)

    async def test_secure_websocket(self) -> None:
        """A `sips` URI with `transport=ws` leads to WSS; a certificate for another name is refused."""
        folder = Path(self.mktemp())
        folder.mkdir()
        authority = Authority(folder)
        certificate, key = authority.sign(["127.0.0.1"])
        text = f"wss:127.0.0.1:0:cert={certificate}:key={key}:ca={authority.path}"
        ours, theirs = self.open(text), self.open(text)
        agent, _ = make_agent(ours), make_agent(theirs)
        port = theirs.points[0].port
        self.assertEqual((await agent.request(options(f"sips:127.0.0.1:{port};transport=ws"))).status, 200)
        with self.assertRaises(TransportError) as caught:
            await agent.request(options(f"sips:localhost:{port};transport=ws"))
        self.assertIn("not for localhost", str(caught.exception))

    async def test_adopted_socket(self) -> None:
        """A UDP socket that is bound already is listened on like a text."""
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(made.close)
        made.bind(("127.0.0.1", 0))
        theirs = self.open(made)
        make_agent(theirs)
        uri = f"sip:127.0.0.1:{made.getsockname()[1]}"
        self.assertEqual((await make_agent(self.open("udp:127.0.0.1:0")).request(options(uri))).status, 200)

    async def test_address_in_use(self) -> None:
        """A port that is taken is an error, and the others are free after one turn of the reactor."""
        taken = self.open("tcp:127.0.0.1:0").points[0]
        port = Ports().take()
        closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        closed.close()
        self.assertRaises(ConfigurationError, self.open, f"udp:127.0.0.1:{port}", f"tcp:127.0.0.1:{taken.port}")
        self.assertRaises(ConfigurationError, self.open, closed)
        await self.open("tcp:127.0.0.1:0").close()
        await self.open(f"udp:127.0.0.1:{port}").close()

    def test_local_address(self) -> None:
        """The kernel tells which address faces a target: loopback for loopback, and one that is bound for all."""
        self.assertEqual(find_local_address("127.0.0.1"), "127.0.0.1")
        self.assertEqual(find_local_address("::1", reactor), "::1")
        address = find_local_address("0.0.0.0")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.bind((address, 0))
        self.assertRaises(LocalError, find_local_address, "sip.example.com")

    def test_entropy(self) -> None:
        """Without another source it is that of the system."""
        self.assertIs(self.open("udp:127.0.0.1:0").entropy, secrets.token_bytes)
