"""Phones behind NATs that forget, and connections that end: how they are reached all the same (RFC 5626, RFC 4787)."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory

from sipd.registrar.keepalive import KeepAliveSettings, Ping, Silence
from sipd.sip.framing import StreamFramer
from sipd.sip.locate import Transport
from sipd.sip.message import Request
from sipd.sip.parser import parse_message
from sipd.testing import builders
from sipd.testing.calls import Outcome, PeerCall
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Link
from sipd.testing.nat import Dependence, Nat
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer
from sipd.testing.wire import DatagramWire
from tests.b2bua.support import ALICE, BOB, SIPD, USERS, BridgeCase

NAT = "198.51.100.7"
INSIDE = "10.0.0.5"
FORGETS = 30.0


class KeepAliveCase(BridgeCase):
    """Carol's phone is behind a NAT that forgets after 30 seconds, and is called after ten minutes."""

    keep_alive: KeepAliveSettings | None = KeepAliveSettings()
    counts_inbound = False
    transport = Transport.UDP

    def setUp(self) -> None:
        """Make the network."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        self.server = SimulatedServer(self.network.host(SIPD), USERS, ring_timeout=30.0, keep_alive=self.keep_alive)
        self.alice = self.phone(ALICE, "alice")
        self.bob = self.phone(BOB, "bob")
        self.nat = Nat(
            NAT,
            self.clock.seconds,
            mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT,
            timeout=FORGETS,
            counts_inbound=self.counts_inbound,
        )
        self.carol = self.server.peer(self.network.host_behind(self.nat, INSIDE), "carol", transport=self.transport)
        self.carol.register()
        self.clock.advance(1.0)

    def settle(self) -> None:
        """See `BridgeCase`; questions have no end."""
        if self.server.keep_alive is not None:
            self.server.keep_alive.stop()
        super().settle()

    def asked(self, peer: Peer) -> int:
        """Count the OPTIONS that came to a peer."""
        return len(self.seen(peer, "OPTIONS"))

    def is_reached(self, after: float = 600.0) -> bool:
        """Let Alice call Carol after some time, and say whether Carol has answered."""
        self.clock.advance(after)
        self.carol.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(5.0)
        is_answered = call.is_answered
        call.hang_up()
        self.clock.advance(1.0)
        return is_answered


class OptionsTests(KeepAliveCase):
    """Questions keep the way open."""

    def test_reached(self) -> None:
        """The phone answers, so that something leaves through its NAT; it is called when it was silent for long."""
        self.assertTrue(self.is_reached())
        self.assertGreater(self.asked(self.carol), 20)
        self.assertEqual((self.asked(self.alice), self.asked(self.bob)), (0, 0))
        self.assertEqual(self.carol.calls[0].outcome, Outcome.ANSWERED)
        self.finish()

    def test_loss(self) -> None:
        """A network that loses a tenth of everything does not make a phone seem gone, nor its NAT forget."""
        self.network.set_links(SIPD, NAT, Link(loss=0.1))
        for _ in range(7):
            self.assertTrue(self.is_reached(450.0))
            self.assertEqual(self.carol.calls[-1].outcome, Outcome.ANSWERED)
        self.settle()

    def test_long_call(self) -> None:
        """A call in which nothing was said in SIP for ten minutes is ended on the phone, too, whoever began it."""
        self.carol.auto_answer()
        self.alice.auto_answer()
        for caller, callee, name in ((self.alice, self.carol, "carol"), (self.carol, self.alice, "alice")):
            call = caller.call(name)
            self.clock.advance(600.0)
            self.assertTrue(call.is_answered)
            (call if caller is self.alice else callee.calls[-1]).hang_up()
            self.clock.advance(1.0)
            self.assertEqual([one.outcome for one in (call, callee.calls[-1])], [Outcome.ANSWERED] * 2)
            self.assertEqual(self.carol.calls[-1].ended_by, "them")
        self.settle()

    def test_gone(self) -> None:
        """A phone that was unplugged is not called any more after a few minutes: the caller need not wait."""
        self.clock.advance(60.0)
        self.carol.close()
        self.clock.advance(200.0)
        call = self.alice.call("carol")
        self.clock.advance(1.0)
        self.assertEqual((call.outcome, call.status), (Outcome.REFUSED, 480))
        self.finish()

    def test_comes_back(self) -> None:
        """One that was cut off for a while is called again when it answers again."""
        self.clock.advance(60.0)
        self.network.partition([NAT])
        self.clock.advance(200.0)
        self.assertEqual(self.server.location.lookup("sip:carol@example.com"), ())
        self.network.heal()
        # Its NAT has forgotten: only the phone itself can come back.
        self.carol.register()
        self.assertTrue(self.is_reached())
        self.finish()


class UnregisterTests(KeepAliveCase):
    """The same, where who is gone is unregistered."""

    keep_alive = KeepAliveSettings(misses=2, silence=Silence.UNREGISTER)

    def test_gone(self) -> None:
        """Nothing is left of its registration."""
        self.clock.advance(60.0)
        self.carol.close()
        self.clock.advance(150.0)
        self.assertEqual(
            sorted(self.server.location.addresses_of_record()), [f"sip:{u}@example.com" for u in ("alice", "bob")]
        )


class EmptyLineTests(KeepAliveCase):
    """Empty lines, and a NAT that counts what comes in."""

    keep_alive = KeepAliveSettings(ping=Ping.CRLF)
    counts_inbound = True

    def test_reached(self) -> None:
        """They keep the way open, and the phone takes no notice."""
        self.assertTrue(self.is_reached())
        self.assertEqual(self.asked(self.carol), 0)
        self.finish()


class OtherNatTests(KeepAliveCase):
    """Empty lines, and a NAT that counts only what leaves."""

    keep_alive = KeepAliveSettings(ping=Ping.CRLF)

    def test_not_reached(self) -> None:
        """They are no help there, as the documentation says."""
        self.assertFalse(self.is_reached())
        self.finish()


class WithoutTests(KeepAliveCase):
    """Nothing is done."""

    keep_alive = None

    def test_not_reached(self) -> None:
        """The NAT forgets, and the INVITE does not arrive: that is what the rest is for."""
        self.assertFalse(self.is_reached())
        self.finish()

    def test_keep_alives_of_the_phone(self) -> None:
        """A phone that sends empty lines by itself is reached, and they are no messages."""
        for _ in range(30):
            wire = self.carol.exchanges._wire
            assert isinstance(wire, DatagramWire) and wire.transport is not None
            wire.transport.write(b"\r\n\r\n", (SIPD, 5060))
            self.clock.advance(20.0)
        self.assertTrue(self.is_reached(0.0))
        self.finish()


class ConnectionTests(KeepAliveCase):
    """Over TCP."""

    transport = Transport.TCP

    def test_reached(self) -> None:
        """The connection is asked, too, and the call comes over it."""
        self.assertTrue(self.is_reached())
        self.assertGreater(self.asked(self.carol), 20)
        self.finish()

    def test_connection_has_ended(self) -> None:
        """Nobody is asked over a connection that has ended, and none is made to a phone for that."""
        self.clock.advance(60.0)
        count = self.asked(self.carol)
        self.carol.exchanges._wire.close()
        self.clock.advance(100.0)
        self.assertEqual((self.asked(self.carol), len(self.server.transport._connections)), (count, 0))


class Door(ServerFactory["_DoorProtocol"]):
    """Takes connections at an address, and answers every request with 200."""

    def __init__(self, contact: str) -> None:
        self.contact = contact
        self.requests: list[Request] = []

    def buildProtocol(self, addr: IAddress | None) -> _DoorProtocol:
        """See `ServerFactory`."""
        return _DoorProtocol(self)


class _DoorProtocol(Protocol):
    def __init__(self, door: Door) -> None:
        self._door = door
        self._framer = StreamFramer()

    def dataReceived(self, data: bytes) -> None:
        for item in self._framer.feed(data):
            message = parse_message(item) if isinstance(item, bytes) else None
            if not isinstance(message, Request):
                continue
            self._door.requests.append(message)
            if message.method != "ACK":
                body = builders.sdp_answer(message.body, "192.0.2.8", 40000, version=2) if message.body else b""
                response = builders.response(message, 200, contact=self._door.contact, body=body)
                assert self.transport is not None
                self.transport.write(response.to_bytes())


class DeadFlowTests(BridgeCase):
    """A phone whose connection ends in mid-call, and which listens where its Contact says (RFC 3263, lesson 1)."""

    def setUp(self) -> None:
        """Give Carol's name to a phone that has a connection, and takes others; put a proxy beside it."""
        super().setUp()
        self.carol.unregister()
        self.dora = self.phone("192.0.2.8", "carol", transport=Transport.TCP)
        self.door = Door(self.dora.contact)
        self.dora.reactor.listenTCP(5060, self.door, interface="192.0.2.8")
        self.proxy = Door(self.dora.contact)
        proxy: Any = self.network.host("192.0.2.20")
        proxy.listenTCP(5060, self.proxy, interface="192.0.2.20")

    def _drop(self) -> None:
        self.assertEqual(self.door.requests, [])
        self.dora.exchanges._wire.close()
        self.clock.advance(1.0)
        self.assertEqual(len(self.server.transport._connections), 0)

    def _change_and_end(self, other: PeerCall, door: Door) -> None:
        """Let the other side change and end the call; all of it has to come to that door, over one connection."""
        change = other.reinvite(builders.sdp(other.peer.exchanges.local[0], direction="sendonly", version=2))
        self.clock.advance(2.0)
        response = self.successResultOf(change)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertEqual(len(self.server.transport._connections), 1)
        other.hang_up()
        self.clock.advance(2.0)
        self.assertEqual([one.method for one in door.requests], ["INVITE", "ACK", "BYE"])
        self.assertEqual({one.uri_text for one in door.requests}, {self.dora.contact.strip("<>")})
        self.assertEqual(len(self.server.transport._connections), 1)
        self.dora.calls.clear()
        self.finish()

    def test_callee(self) -> None:
        """What follows for a callee whose connection is gone goes to its Contact, and over that connection then."""
        self.dora.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self._drop()
        self._change_and_end(call, self.door)

    def test_caller(self) -> None:
        """So it does for a caller."""
        self.bob.auto_answer()
        call = self.dora.call("bob")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self._drop()
        self._change_and_end(self.bob.calls[0], self.door)

    def test_behind_a_proxy(self) -> None:
        """Where there is a route set its first hop is what is looked for, and the Contact stays the request URI."""
        self.bob.auto_answer()
        call = self.dora.call("bob", headers=[("Record-Route", "<sip:192.0.2.20;transport=tcp;lr>")])
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self._drop()
        self._change_and_end(self.bob.calls[0], self.proxy)
        self.assertEqual(
            {tuple(one.headers.get_all("Route")) for one in self.proxy.requests},
            {("<sip:192.0.2.20;transport=tcp;lr>",)},
        )
        self.assertEqual(self.door.requests, [])


class ManyPointsTests(BridgeCase):
    """A server with two addresses, and a phone whose NAT lets in only what comes from where it registered."""

    def test_reached_from_where_it_registered(self) -> None:
        """The phone is asked and called from the listening point that its last REGISTER came to."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        other = "192.0.2.11"
        host = self.network.host(SIPD, other)
        self.server = SimulatedServer(host, USERS, ring_timeout=30.0, keep_alive=KeepAliveSettings())
        self.alice, self.bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        nat = Nat(NAT, self.clock.seconds, mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT, timeout=FORGETS)
        self.carol = self.server.peer(self.network.host_behind(nat, INSIDE), "carol")
        self.carol.auto_answer()
        for address in (other, SIPD):
            self.carol.proxy = (address, 5060)
            self.carol.register()
            self.clock.advance(600.0)
            call = self.alice.call("carol")
            self.clock.advance(5.0)
            self.assertTrue(call.is_answered, address)
            invite = self.carol.calls[-1].invite
            self.assertEqual((invite.via.host, str(invite.contacts[0].uri)), (address, f"sip:alice@{address}:5060"))
            call.hang_up()
            self.clock.advance(1.0)
            self.assertEqual(self.carol.calls[-1].outcome, Outcome.ANSWERED)
        assert self.server.keep_alive is not None
        self.server.keep_alive.stop()
        self.settle()


class ContactTests(BridgeCase):
    """A Contact is neither rewritten nor passed on."""

    def setUp(self) -> None:
        """Put Carol behind a NAT."""
        super().setUp()
        self.carol.unregister()
        self.nat = Nat(NAT, self.clock.seconds, mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT, timeout=600.0)
        self.inside = self.server.peer(self.network.host_behind(self.nat, INSIDE), "carol")
        self.inside.register()
        self.clock.advance(1.0)

    def test_registered_as_it_was(self) -> None:
        """The 200 to its REGISTER, and the request URI of its calls, have the Contact that the phone gave."""
        contact = self.inside.contact
        registered = self.seen(self.inside, 200)[-1]
        self.assertTrue((registered.headers.get("Contact") or "").startswith(contact))
        self.inside.auto_answer()
        call = self.alice.call("carol")
        self.clock.advance(3.0)
        call.hang_up()
        self.finish()
        requests = [one for one in self.inside.seen if isinstance(one, Request)]
        self.assertEqual([one.method for one in requests], ["INVITE", "ACK", "BYE"])
        self.assertEqual({one.uri_text for one in requests}, {contact.strip("<>")})

    def test_nobody_else_sees_it(self) -> None:
        """Each side is told where this server is; the other's address is in no message, in whatever direction."""
        for caller, callee, name in ((self.alice, self.inside, "carol"), (self.inside, self.alice, "alice")):
            callee.auto_answer()
            call = caller.call(name)
            self.clock.advance(3.0)
            change = call.reinvite(builders.sdp(caller.media[0], direction="sendonly", version=2))
            self.clock.advance(1.0)
            self.assertIsNotNone(self.successResultOf(change))
            callee.calls[-1].hang_up()
            self.settle()
            self.server.records.records.clear()
        for peer, others in ((self.alice, (INSIDE, NAT)), (self.inside, (ALICE,))):
            for message in peer.seen:
                text = message.to_bytes().decode()
                if "REGISTER" not in text:
                    self.assertFalse(any(other in text for other in others), text)
                    for contact in message.contacts:
                        self.assertIn(f"@{SIPD}:5060", str(contact.uri))
