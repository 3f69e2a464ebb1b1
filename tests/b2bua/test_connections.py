"""Calls over connections, through NATs and between versions of IP; connections that end at the wrong moment."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Transport
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.calls import Outcome
from sipd.testing.clock import SimulatedClock
from sipd.testing.nat import Dependence, Nat
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer
from tests.b2bua.support import BOB, USERS, BridgeCase

NAT = "198.51.100.7"


def drop_connection(peer: Peer) -> None:
    """End a peer's connection, and let it go on; it makes a new one when it has something to say."""
    peer.exchanges._wire.close()


class ConnectionTests(BridgeCase):
    """Dora calls, and is called, over one TCP connection that she made."""

    def setUp(self) -> None:
        """Give Carol's name to a phone with a connection."""
        super().setUp()
        self.carol.unregister()
        self.dora = self.phone("192.0.2.8", "carol", transport=Transport.TCP)

    def settle(self) -> None:
        """See `BridgeCase`; the same for Dora."""
        super().settle()
        self.assertEqual(len(self.dora.exchanges), 0)

    def test_caller_with_a_connection(self) -> None:
        """Everything for the caller goes over the connection that the call came on."""
        self.bob.auto_answer()
        call = self.dora.call("bob")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertIn(";transport=tcp", self.seen(self.dora, 200)[-1].headers.get("Contact") or "")
        self.bob.calls[0].hang_up()
        self.finish()
        self.assertEqual((call.outcome, call.ended_by), (Outcome.ANSWERED, "them"))
        self.assertEqual(len(self.server.transport._connections), 1)

    def test_callee_with_a_connection(self) -> None:
        """A contact that came over a connection is called on it, and so are all requests of the dialog (lesson 1)."""
        self.dora.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        answered = self.dora.calls[0]
        self.assertEqual(answered.invite.via.transport, "TCP")
        change = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(1.0)
        self.successResultOf(change)
        call.hang_up()
        self.finish()
        self.assertEqual((answered.outcome, answered.ended_by), (Outcome.ANSWERED, "them"))
        self.assertEqual(len(self.server.transport._connections), 1)

    def test_caller_gives_up_over_a_connection(self) -> None:
        """CANCEL crosses to and from connections."""
        for caller, callee, name in ((self.dora, self.bob, "bob"), (self.alice, self.dora, "carol")):
            callee.auto_ring()
            call = caller.call(name)
            self.clock.advance(2.0)
            call.cancel()
            self.settle()
            self.assertEqual((call.status, callee.calls[-1].outcome), (487, Outcome.CANCELLED))

    def test_connection_of_the_caller_ends_while_it_rings(self) -> None:
        """Who called cannot be told any more: the callee is cancelled, and nothing is left (RFC 6026 section 8.8)."""
        self.bob.auto_ring()
        self.dora.call("bob")
        self.clock.advance(2.0)
        self.dora.close()
        record = self.finish()
        self.assertEqual(self.bob.calls[0].outcome, Outcome.CANCELLED)
        self.assertEqual((record.ended_by, record.cause), ("sipd", "caller-lost"))

    def test_connection_of_the_callee_ends_while_it_rings(self) -> None:
        """An attempt whose connection ends has failed; the caller hears 502, which blames the other side."""
        self.dora.auto_ring()
        call = self.alice.call("carol")
        self.clock.advance(2.0)
        self.dora.close()
        record = self.finish()
        self.assertEqual((call.outcome, call.status), (Outcome.REFUSED, 502))
        self.assertEqual(record.ended_by, "sipd")

    def test_connection_of_the_caller_ends_in_mid_call(self) -> None:
        """The call goes on without it; what the caller then says over a new connection belongs to it."""
        self.bob.auto_answer()
        call = self.dora.call("bob")
        self.clock.advance(3.0)
        drop_connection(self.dora)
        self.clock.advance(5.0)
        self.assertTrue(self.bob.calls[0].is_answered)
        call.hang_up()
        record = self.finish()
        self.assertEqual((self.bob.calls[0].ended_by, record.ended_by), ("them", "caller"))

    def test_connection_of_the_callee_ends_in_mid_call(self) -> None:
        """A BYE that cannot reach the callee is given up; the caller's leg and the record do not wait for it."""
        self.dora.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        drop_connection(self.dora)
        self.clock.advance(1.0)
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.server.records.records[0].ended_by, "caller")
        self.dora.close()
        self.finish()
        self.assertRegex(self.explanation(), "b1 +leg +BYE: ")

    def test_callee_that_comes_back_over_a_new_connection(self) -> None:
        """A re-INVITE over a new connection tells where the phone is now: the BYE goes there."""
        self.dora.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        answered = self.dora.calls[0]
        drop_connection(self.dora)
        self.clock.advance(1.0)
        change = answered.reinvite()
        self.clock.advance(2.0)
        response = self.successResultOf(change)
        assert response is not None
        self.assertEqual(response.status, 200)
        call.hang_up()
        self.finish()
        self.assertEqual((answered.outcome, answered.ended_by), (Outcome.ANSWERED, "them"))


class NatTests(BridgeCase):
    """A phone behind a NAT that lets in only what was asked for."""

    def setUp(self) -> None:
        """Put Carol's phone behind it."""
        super().setUp()
        self.carol.unregister()
        self.nat = Nat(NAT, self.clock.seconds, mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT, timeout=30.0)
        self.inside = self.server.peer(self.network.host_behind(self.nat, "10.0.0.5"), "carol")
        self.inside.register()
        self.clock.advance(1.0)

    def test_callee_behind_nat(self) -> None:
        """INVITE, ACK, re-INVITE and BYE reach the phone where its REGISTER came from (lesson 2)."""
        self.inside.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        answered = self.inside.calls[0]
        self.assertTrue(call.is_answered and answered.is_acknowledged)
        self.assertIn("10.0.0.5", answered.invite.uri_text)
        change = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(1.0)
        response = self.successResultOf(change)
        assert response is not None
        self.assertEqual(response.status, 200)
        call.hang_up()
        self.finish()
        self.assertEqual((answered.outcome, answered.ended_by), (Outcome.ANSWERED, "them"))

    def test_caller_behind_nat(self) -> None:
        """Responses and the callee's BYE come back through the NAT (RFC 3581)."""
        self.bob.auto_answer()
        call = self.inside.call("bob")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.bob.calls[0].hang_up()
        self.finish()
        self.assertEqual((call.outcome, call.ended_by), (Outcome.ANSWERED, "them"))

    def test_binding_that_changes_in_mid_call(self) -> None:
        """A re-INVITE from another port of the NAT tells where the phone is now: the BYE goes there."""
        self.inside.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        answered = self.inside.calls[0]
        self.clock.advance(60.0)
        change = answered.reinvite()
        self.clock.advance(2.0)
        response = self.successResultOf(change)
        assert response is not None
        self.assertEqual(response.status, 200)
        call.hang_up()
        self.finish()
        self.assertEqual((answered.outcome, answered.ended_by), (Outcome.ANSWERED, "them"))


class DualStackTests(BridgeCase):
    """A server with an address of each version of IP."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(
            name="carrier",
            user=re.compile("carrier"),
            to="sip:carrier@192.0.2.77",
            next_hop=parse_uri("sip:[2001:db8::4]"),
        ),
    )

    def setUp(self) -> None:
        """Make it, with Alice on the one and Bob on the other."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        self.server = SimulatedServer(
            self.network.host("192.0.2.1", "2001:db8::1"), USERS, routes=self.routes, ring_timeout=30.0
        )
        self.alice = self.phone("2001:db8::2", "alice")
        self.bob = self.phone(BOB, "bob")
        self.carol = self.phone("2001:db8::4", "carol")

    def test_call_between_versions(self) -> None:
        """Each leg speaks its own version, in SIP and in SDP, and hides the other one."""
        for caller, callee, name in ((self.alice, self.bob, "bob"), (self.bob, self.alice, "alice")):
            callee.auto_answer()
            call = caller.call(name)
            self.clock.advance(3.0)
            answered = callee.calls[-1]
            self.assertTrue(call.is_answered and answered.is_acknowledged)
            for end in (call, answered):
                family = b"IP6" if end.peer is self.alice else b"IP4"
                self.assertIn(b"\r\nc=IN " + family, end.remote_body)
            answered.hang_up()
            self.settle()
            self.assertEqual((call.outcome, answered.outcome), (Outcome.ANSWERED, Outcome.ANSWERED))

    def test_next_hop_decides_on_the_version(self) -> None:
        """Media go where the INVITE goes, whatever stands in the request URI."""
        self.carol.auto_answer()
        call = self.bob.call("carrier")
        self.clock.advance(3.0)
        self.assertIn(b"\r\nc=IN IP6", self.carol.calls[0].invite.body)
        call.hang_up()
        self.finish()

    def test_call_over_ipv6(self) -> None:
        """Both legs over IPv6: Contact and Via have brackets, and every request finds its way."""
        self.carol.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        answered = self.carol.calls[0]
        self.assertEqual(str(answered.invite.contacts[0].uri), "sip:alice@[2001:db8::1]:5060")
        change = answered.reinvite()
        self.clock.advance(2.0)
        self.successResultOf(change)
        call.hang_up()
        self.finish()
        self.assertEqual((call.outcome, answered.outcome), (Outcome.ANSWERED, Outcome.ANSWERED))
