"""The stateless proxy: what comes goes on, and nothing stays."""

from __future__ import annotations

from typing import Any

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import RequestRefusedError
from sipd.interfaces import IFlow, IMessageReceiver
from sipd.proxy.computed import ComputedBranches
from sipd.proxy.interfaces import IStatelessRouter, ProxyTarget
from sipd.proxy.settings import ProxySettings
from sipd.proxy.stateless import StatelessProxy
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.testing.links import Link
from sipd.transport.resolver import Resolver
from tests.proxy.support import ALICE, BOB, CAROL, DOMAIN, PROXY, NetworkCase, target


@implementer(IStatelessRouter)
class Users:
    """Knows some users of `DOMAIN`."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {"bob": f"sip:bob@{BOB}"}
        self.options: dict[str, Any] = {}

    def target(self, request: Request, flow: IFlow) -> ProxyTarget | None:
        """See `IStatelessRouter`."""
        uri = request.uri
        if not isinstance(uri, SipUri) or uri.host != DOMAIN:
            raise RequestRefusedError("Relaying Denied", status=403)
        text = self.users.get(uri.user or "")
        return None if text is None else target(text, **self.options)


class StatelessCase(NetworkCase):
    """A stateless proxy between Alice and Bob."""

    def make(self, link: Link, seed: int = 1) -> None:
        """Put the proxy on its host."""
        super().make(link, seed)
        self.router = Users()
        verifyObject(IStatelessRouter, self.router)
        self.make_proxy(None)

    def make_proxy(self, resolver: Resolver | None, **settings: Any) -> None:
        """Put it there, or another one in its place."""
        self.proxy = StatelessProxy(
            transport=self.transport,
            router=self.router,
            key=b"k" * 16,
            settings=ProxySettings(**settings),
            resolver=resolver,
        )
        self.transport.receiver = self.proxy
        verifyObject(IMessageReceiver, self.proxy)

    def settle(self) -> None:
        """Nothing is left."""
        self.clock.run()
        self.assertEqual((len(self.proxy), self.clock.getDelayedCalls()), (0, []))


class WireCase(StatelessCase):
    """Alice and Bob say only what the test tells them to."""

    def setUp(self) -> None:
        """Hold the ends of the wires."""
        super().setUp()
        self.alice, self.bob = self.wire(ALICE), self.wire(BOB)
        self.addCleanup(self.settle)

    def send(self, request: Request) -> None:
        """Send a request of Alice's."""
        self.alice.send(request)
        self.pass_time()

    def invite(self, uri: str = f"sip:bob@{DOMAIN}", **options: Any) -> Request:
        """Send an INVITE of Alice's."""
        options.setdefault("via", f"{ALICE}:5060")
        invite = builders.invite(uri, **options)
        self.send(invite)
        return invite


class MessageTests(WireCase):
    """Message by message."""

    def test_same_branch(self) -> None:
        """An INVITE that comes again, its CANCEL and the ACK of its refusal have one branch; others have others."""
        invite = self.invite()
        first = self.bob.request().via.branch
        self.assertTrue(first.startswith("z9hG4bK"))
        self.send(invite)
        self.assertEqual(self.bob.request().via.branch, first)
        self.send(builders.cancel(invite))
        self.assertEqual(self.bob.request("CANCEL").via.branch, first)
        self.send(builders.ack(invite, builders.response(invite, 486)))
        self.assertEqual(self.bob.request("ACK").via.branch, first)
        self.assertEqual(self.bob.kinds(), ["INVITE", "INVITE", "CANCEL", "ACK"])
        self.invite(branch="z9hG4bK-other")
        self.assertNotEqual(self.bob.request().via.branch, first)
        self.assertEqual(self.alice.kinds(), [])

    def test_old_branch(self) -> None:
        """The same holds for a sender of RFC 2543, whose branch says nothing."""
        invite = self.invite(branch="1")
        first = self.bob.request().via.branch
        self.send(builders.cancel(invite))
        self.assertEqual(self.bob.request("CANCEL").via.branch, first)
        self.invite(branch="1", call_id="another")
        self.assertNotEqual(self.bob.request().via.branch, first)
        self.bob.answer(200)
        self.pass_time()
        self.assertEqual(self.alice.kinds(), ["200"])

    def test_responses(self) -> None:
        """Each response goes back by Via, 100 included, and no response is made here."""
        self.invite()
        for status in (100, 180, 200, 200, 486):
            self.bob.answer(status)
        self.pass_time()
        self.assertEqual(self.alice.kinds(), ["100", "180", "200", "200", "486"])
        self.assertEqual(len(self.alice.response(200).vias), 1)

    def test_foreign_response(self) -> None:
        """A response to something that was never forwarded here is dropped."""
        self.invite()
        response = builders.response(self.bob.request(), 200)
        own, below = (str(via) for via in response.vias)
        for vias in (
            f"{own}, SIP/2.0/UDP {CAROL}:5060;branch=z9hG4bK-other",
            f"SIP/2.0/UDP {PROXY}:5060;branch=z9hG4bKforged, {below}",
            own,
            f"{own}, x",
            f"{own}, SIP/2.0/SCTP {ALICE}:5060;branch=z9hG4bK-1",
        ):
            response.headers.set("Via", vias)
            self.bob.send(response)
            self.pass_time()
        carol = self.wire(CAROL)
        self.assertEqual((self.alice.kinds(), carol.kinds()), ([], []))

    def test_nat(self) -> None:
        """A response goes to where the request really came from."""
        self.invite(via="10.0.0.1:5060")
        self.bob.answer(200)
        self.pass_time()
        self.assertEqual(self.alice.kinds(), ["200"])

    def test_refusals(self) -> None:
        """What is refused is answered, the same each time, and an ACK never."""
        for status, options in (
            (404, {"uri": f"sip:nobody@{DOMAIN}"}),
            (403, {"uri": f"sip:bob@{CAROL}"}),
            (483, {"max_forwards": 0}),
            (420, {"headers": [("Proxy-Require", "x")]}),
            (416, {"uri": "x:y"}),
            (403, {"headers": [("Route", f"<sip:{CAROL};lr>")]}),
        ):
            request = self.invite(**options)
            self.send(request)
            first, second = self.alice.take()
            self.assertEqual(getattr(first, "status", 0), status)
            self.assertEqual(first, second)
        self.send(builders.request("ACK", f"sip:nobody@{DOMAIN}", via=f"{ALICE}:5060", to_tag="x"))
        self.assertEqual((self.alice.kinds(), self.bob.kinds()), ([], []))

    def test_loop(self) -> None:
        """A request that comes back as it came is 482, with another URI it goes on."""
        self.invite()
        for uri, expected in ((f"sip:bob@{DOMAIN}", ["482"]), (f"sip:carol@{DOMAIN}", [])):
            self.router.users["carol"] = f"sip:carol@{CAROL}"
            came = self.bob.request().copy()
            again = Request("INVITE", uri, came.headers, came.body)
            again.headers.prepend("Via", f"SIP/2.0/UDP {BOB}:5060;branch=z9hG4bK-b")
            self.bob.take()
            self.bob.send(again)
            self.pass_time()
            self.assertEqual(self.bob.kinds(), expected)

    def test_unreachable(self) -> None:
        """A next hop that cannot be reached from here is 502: a transport, a scheme, a name without a resolver."""
        for uri in ("sips:bob@192.0.2.2", "tel:+123", "sip:bob@bob.invalid", "sip:bob@192.0.2.2;transport=sctp"):
            self.router.users["bob"] = uri
            self.invite()
            self.assertEqual(self.alice.kinds(), ["502"], uri)
        self.assertEqual(self.bob.kinds(), [])

    def test_chosen_flow(self) -> None:
        """A flow that the router chose is taken while it is open."""
        self.router.users["bob"] = "sip:bob@bob.invalid"
        flow = self.transport.find_flow(Target(transport=Transport.UDP, host=BOB, port=5060))
        self.router.options["flow"] = flow
        self.invite()
        self.assertEqual(self.bob.request().uri_text, "sip:bob@bob.invalid")


class NameTests(WireCase):
    """Next hops that are names."""

    def setUp(self) -> None:
        """Give Bob and Carol one name."""
        super().setUp()
        self.carol = self.wire(CAROL)
        host: Any = self.host
        self.make_proxy(Resolver(host), max_contexts=2)
        self.network.names["servers.example.com"] = [BOB, CAROL]
        self.router.users["servers"] = "sip:servers.example.com:5060"

    def test_one_server_for_a_transaction(self) -> None:
        """All of a transaction goes to one server, in whatever order the servers come; both get some."""
        counts = [0, 0]
        for number in range(20):
            self.network.names["servers.example.com"].reverse()  # type: ignore[attr-defined]
            invite = self.invite(f"sip:servers@{DOMAIN}", branch=f"z9hG4bK-{number}")
            self.network.names["servers.example.com"].reverse()  # type: ignore[attr-defined]
            self.send(builders.cancel(invite))
            came = [self.bob.kinds(), self.carol.kinds()]
            self.assertEqual(sorted(came), [[], ["INVITE", "CANCEL"]])
            counts[came.index(["INVITE", "CANCEL"])] += 1
        self.assertTrue(all(counts), counts)

    def test_bound(self) -> None:
        """Requests beyond the bound are dropped, and at the end all are."""
        for number in range(4):
            self.alice.send(builders.invite(f"sip:servers@{DOMAIN}", via=f"{ALICE}:5060", branch=f"z9hG4bK-{number}"))
        self.clock.advance(0.011)
        self.assertEqual(len(self.proxy), 2)
        self.proxy.close()
        self.assertEqual(len(self.proxy), 0)
        self.pass_time(1)
        self.assertEqual((self.bob.kinds(), self.carol.kinds(), self.alice.kinds()), ([], [], []))

    def test_unreachable(self) -> None:
        """A name without an address is 502."""
        self.router.users["bob"] = "sip:bob@bob.invalid"
        self.invite()
        self.assertEqual(self.alice.kinds(), ["502"])


class CallTests(StatelessCase):
    """Whole calls of user agents."""

    def call(self, transport: Transport, seed: int, link: Link) -> None:
        """Let Alice call Bob, and hang up."""
        self.make(link, seed)
        alice, bob = self.peer("alice", ALICE, transport), self.peer("bob", BOB)
        bob.auto_answer(after=1.0)
        call = alice.call("bob")
        self.clock.run_until(lambda: call.is_answered, limit=40)
        self.clock.advance(40)
        call.hang_up()
        self.clock.advance(80)
        self.assertEqual([one.status for one in (call, *bob.calls)], [200, 200], seed)
        self.assertEqual([one.ended_by for one in (call, *bob.calls)], ["us", "them"], seed)
        self.assertEqual((len(alice.exchanges), len(bob.exchanges), len(self.proxy)), (0, 0, 0))
        for peer in (alice, bob):
            peer.close()
        self.settle()

    def test_udp(self) -> None:
        """Over UDP, with losses: retransmissions and answers pass as they are."""
        for seed in range(21):
            self.call(Transport.UDP, seed, Link(loss=0.1, jitter=0.02))

    def test_tcp(self) -> None:
        """From TCP to UDP."""
        self.call(Transport.TCP, 1, Link())


class BranchTests(NetworkCase):
    """Branches that are computed."""

    def test_key(self) -> None:
        """Another key makes other branches."""
        invite = builders.invite()
        branches = {ComputedBranches(key * 16).make(invite, "loop") for key in (b"a", b"b", b"a")}
        self.assertEqual(len(branches), 2)
