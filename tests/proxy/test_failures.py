"""What fails below a proxy: transports, connections, tables that are full, parts with mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail
from zope.interface import implementer

from sipd.interfaces import IResolver
from sipd.proxy.settings import ProxySettings
from sipd.proxy.stateless import StatelessProxy
from sipd.sip.locate import Target, Transport
from sipd.sip.uri import Uri
from sipd.testing import builders
from sipd.testing.calls import Outcome
from sipd.transaction.layer import TransactionLayer
from tests.proxy.support import ALICE, BOB, DOMAIN, NetworkCase, ProxyCase, WireCase, target
from tests.proxy.test_stateless import Users


@implementer(IResolver)
class MistakenResolver:
    """Fails as no resolver should."""

    def locate(self, uri: Uri) -> Deferred[Sequence[Target]]:
        """See `IResolver`."""
        return fail(ZeroDivisionError())

    def target_failed(self, target: Target, rest: float | None = None) -> None:
        """See `IResolver`."""


class LowerLayerTests(WireCase):
    """A target that cannot be tried counts as 503, and so it is 500."""

    def refused(self) -> None:
        """Send an INVITE that is refused."""
        invite = self.send()
        self.acknowledge(invite, 500)
        self.assertEqual(self.bob.kinds(), [])
        self.settle()

    def test_no_listening_point(self) -> None:
        """There is none for TLS."""
        self.route([f"sips:bob@{BOB}"])
        self.refused()

    def test_no_transactions_left(self) -> None:
        """The table of transactions is full with the INVITE."""
        self.transactions = TransactionLayer(
            clock=self.host, transport=self.transport, entropy=self.network.entropy, max_transactions=1
        )
        self.transport.receiver = self.transactions
        self.make_proxy(ProxySettings())
        self.refused()
        flow = self.transport.find_flow(Target(transport=Transport.UDP, host=BOB, port=5060))
        self.router.rounds["bob"] = [[target(f"sip:bob@{BOB}", flow=flow)]]
        self.refused()

    def test_mistake_of_the_resolver(self) -> None:
        """A resolver that fails otherwise is logged: 500, and an ACK is lost."""
        self.proxy.resolver = MistakenResolver()
        self.refused()
        self.send("ACK", to_tag="x", branch="z9hG4bK-2")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.settle()

    def test_ack_without_targets(self) -> None:
        """An ACK for which there are no targets is dropped."""
        self.router.rounds.clear()
        self.send("ACK", to_tag="x")
        self.assertEqual((self.alice.kinds(), self.bob.kinds()), ([], []))
        self.settle()


class ConnectionTests(ProxyCase):
    """Connections that are lost in the middle of a call."""

    def test_caller(self) -> None:
        """A caller that is gone is called back in vain; the callee gives up, and nothing is left."""
        alice, bob = self.peer("alice", ALICE, Transport.TCP), self.peer("bob", BOB)
        self.router.rounds["bob"] = [[target(f"sip:bob@{BOB}")]]
        bob.auto_answer(after=2.0)
        alice.call("bob")
        self.pass_time(1.0)
        alice.close()
        self.pass_time(200)
        self.assertEqual([call.outcome for call in bob.calls], [Outcome.LOST])
        self.settle()
        self.assertEqual(len(bob.exchanges), 0)
        bob.close()

    def test_caller_of_another_method(self) -> None:
        """The same with a request that is no INVITE, whose answer never comes."""
        alice = self.peer("alice", ALICE, Transport.TCP)
        self.router.rounds["bob"] = [[target(f"sip:bob@{BOB}")]]
        asked = alice.message("bob")
        self.pass_time(1.0)
        alice.close()
        self.settle()
        self.assertNoResult(asked)

    def test_callee(self) -> None:
        """A callee whose connection is lost while it rings counts as 503."""
        alice, bob = self.peer("alice", ALICE), self.peer("bob", BOB, Transport.TCP)
        self.successResultOf(self.introduced(bob))
        flow = next(iter(self.transport._connections))
        self.router.rounds["bob"] = [[target("sip:bob@bob.invalid", flow=flow)]]
        bob.auto_ring()
        call = alice.call("bob")
        self.pass_time(1.0)
        bob.close()
        self.pass_time(1.0)
        self.assertEqual((call.outcome, call.status), (Outcome.REFUSED, 500))
        self.settle()
        alice.close()


class StatelessTests(NetworkCase):
    """The same for a stateless proxy."""

    def test_mistake_of_the_resolver(self) -> None:
        """It is logged, and the request is lost."""
        alice = self.wire(ALICE)
        router = Users()
        router.users["bob"] = "sip:bob@bob.example.com"
        proxy = StatelessProxy(transport=self.transport, router=router, key=b"k" * 16, resolver=MistakenResolver())
        self.transport.receiver = proxy
        alice.send(builders.invite(f"sip:bob@{DOMAIN}", via=f"{ALICE}:5060"))
        self.pass_time()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((alice.kinds(), len(proxy)), ([], 0))
