"""SIPp behind names: sipd finds it by a name server of ours, and goes on where a server fails (RFC 3263)."""

from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from sipd.testing.nameserver import NameServer, address, pointer, service
from tests.interop.case import InteropTestCase
from tests.interop.server import Server
from tests.interop.sipp import Sipp
from tests.ports import HOST

_DNS = """
[[routes]]
name = "carrier"
user = "callee"
to = "sip:callee@sipp.invalid"
next_hop = "sip:carrier.example"
authenticate = false

[dns]
servers = ["{host}:{port}"]
target_timeout = 1.0
"""


class ServerTests(InteropTestCase):
    """Calls to `sip:carrier.example`, whose first server does not take them."""

    programs = ("sipp",)

    def setUp(self) -> None:
        """Start a name server that knows where the carrier's second server is."""
        super().setUp()
        self.names = NameServer(self.reactor, HOST, self.ports.take())
        self.addCleanup(self.names.close)
        self.port = self.ports.take()
        self.dead_port = self.ports.take()
        self.names.records["a.carrier.example"] = self.names.records["b.carrier.example"] = [address(HOST)]

    def servers(self, transport: str) -> None:
        """Let the carrier prefer a server that is reached by that transport, and have SIPp as the next."""
        self.names.records["carrier.example"] = [
            pointer("SIP+D2T" if transport == "tcp" else "SIP+D2U", f"_first._{transport}.carrier.example", order=1),
            pointer("SIP+D2U", "_sip._udp.carrier.example", order=2),
        ]
        self.names.records[f"_first._{transport}.carrier.example"] = [service("a.carrier.example", self.dead_port)]
        self.names.records["_sip._udp.carrier.example"] = [service("b.carrier.example", self.port)]

    async def call(self, calls: int = 1) -> list[dict[str, object]]:
        """Make calls, one after the other; both ends must see what their scenarios say. Give the records."""
        server = Server(self)
        server.configure(_DNS.format(host=HOST, port=self.names.port))
        await server.start()
        called = Sipp(self, "uas_answers", port=self.port, calls=calls)
        await called.listens()
        for _ in range(calls):
            calling = Sipp(self, "uac_answered", port=self.ports.take(), target=server.address)
            await calling.succeeds()
        await called.succeeds()
        return await server.finish()

    async def test_silent_server(self) -> None:
        """A server that says nothing is left after its time; the second call does not wait for it any more."""
        self.servers("udp")
        silent = IReactorUDP(self.reactor).listenUDP(self.dead_port, DatagramProtocol(), HOST, 8192)
        self.addCleanup(silent.stopListening)
        first, second = await self.call(2)
        self.assertEqual((first["status"], second["status"]), (200, 200))
        self.assertGreater(delay(first), 0.9)
        self.assertLess(delay(second), 0.9)

    async def test_refused_connection(self) -> None:
        """Where nobody takes the connection the next server is tried at once."""
        self.servers("tcp")
        (record,) = await self.call()
        self.assertEqual(record["status"], 200)
        self.assertLess(delay(record), 0.9)

    async def test_refused_datagram(self) -> None:
        """The same where nobody takes the datagram, and the kernel says so."""
        self.servers("udp")
        (record,) = await self.call()
        self.assertEqual(record["status"], 200)
        self.assertLess(delay(record), 0.9)

    async def test_overloaded_server(self) -> None:
        """A server that answers 503 makes room for the next one, at once."""
        self.servers("udp")
        overloaded = Sipp(self, "uas_overloaded", port=self.dead_port)
        await overloaded.listens()
        (record,) = await self.call()
        await overloaded.succeeds()
        self.assertEqual(record["status"], 200)
        self.assertLess(delay(record), 0.9)

    async def test_unknown_name(self) -> None:
        """A name that does not exist fails the call at once, and the record says why."""
        server = Server(self)
        server.configure(_DNS.format(host=HOST, port=self.names.port))
        await server.start()
        calling = Sipp(self, "uac_refused", port=self.ports.take(), target=server.address, status=502)
        await calling.succeeds()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["cause"]), (502, "UnresolvableError"))
        self.assertEqual(record["reason"], "carrier.example has no address")


def delay(record: dict[str, object]) -> float:
    """Give how long a call waited until it rang."""
    ringing_at, started_at = record["ringing_at"], record["started_at"]
    assert isinstance(ringing_at, float) and isinstance(started_at, float)
    return ringing_at - started_at
