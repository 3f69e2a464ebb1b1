"""The simulated server: a registrar and B2BUA from the wire to the bridge."""

from __future__ import annotations

import re

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.interfaces import ICallObserver
from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Transport
from sipd.testing.calls import Outcome
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Link
from sipd.testing.nat import Nat
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.stack import RecordList, SimulatedServer, sent_messages

USERS = {"alice": "secret", "bob": "hidden"}


class ServerTests(SynchronousTestCase):
    """Calls between two phones."""

    def setUp(self) -> None:
        """Make a server with two addresses."""
        self.clock = SimulatedClock(1_000_000.0)
        self.network = Network(self.clock, seed=1)
        self.server = SimulatedServer(self.network.host("192.0.2.100", "2001:db8::100"), USERS)

    def phones(self, *places: tuple[str, Transport]) -> list[Peer]:
        """Register alice and bob at these places."""
        peers = []
        for user, (address, transport) in zip(USERS, places, strict=True):
            if address.startswith("10."):
                nat = Nat("198.51.100.1", self.clock.seconds, timeout=600.0)
                host = self.network.host_behind(nat, address)
            else:
                host = self.network.host(address)
            peers.append(self.server.peer(host, user, transport=transport))
            registered = peers[-1].register()
            self.clock.advance(1.0)
            response = self.successResultOf(registered)
            assert response is not None
            self.assertEqual(response.status, 200)
        return peers

    def assertNothingLeft(self) -> None:
        """When everything has run out, nothing is held."""
        closed = self.server.close()
        self.clock.run()
        self.successResultOf(closed)
        self.assertEqual((self.server.leftovers(), self.clock.getDelayedCalls()), ([], []))

    def test_call_between_places(self) -> None:
        """Phones on UDP and TCP, behind NAT, and on IPv6 call each other, and media go through the relay."""
        udp, tcp = Transport.UDP, Transport.TCP
        for alice_at, bob_at in (
            (("192.0.2.1", udp), ("192.0.2.2", udp)),
            (("192.0.2.1", tcp), ("192.0.2.2", udp)),
            (("192.0.2.1", udp), ("10.0.0.2", udp)),
            (("192.0.2.1", tcp), ("10.0.0.2", tcp)),
            (("2001:db8::1", udp), ("192.0.2.2", udp)),
            (("192.0.2.1", udp), ("2001:db8::2", tcp)),
        ):
            self.setUp()
            alice, bob = self.phones(alice_at, bob_at)
            bob.auto_answer()
            call = alice.call("bob")
            self.clock.advance(5.0)
            self.assertIn(b"c=IN IP", call.remote_body)
            relayed = [self.address_in(end.remote_body) for end in (call, bob.calls[0])]
            self.assertEqual(
                relayed,
                ["2001:db8::100" if ":" in at[0] else "192.0.2.100" for at in (alice_at, bob_at)],
                (alice_at, bob_at),
            )
            bob.calls[0].hang_up()
            self.clock.advance(5.0)
            self.assertEqual((call.outcome, bob.calls[0].outcome), (Outcome.ANSWERED, Outcome.ANSWERED))
            self.assertNothingLeft()

    def address_in(self, body: bytes) -> str:
        """Give the address of the media in a description."""
        match = re.search(rb"^c=IN IP[46] (\S+)\r$", body, re.MULTILINE)
        return match[1].decode() if match else ""

    def test_connection_that_is_gone(self) -> None:
        """A phone whose connection was reset cannot be called; the caller hears so, and nothing is left."""
        alice, bob = self.phones(("192.0.2.1", Transport.UDP), ("192.0.2.2", Transport.TCP))
        bob.reactor.connections[0].abortConnection()
        self.clock.advance(1.0)
        call = alice.call("bob")
        self.clock.run(until=self.clock.seconds() + 100.0)
        self.assertEqual(call.outcome, Outcome.REFUSED)
        self.assertNothingLeft()

    def test_phone_that_vanishes(self) -> None:
        """A callee that cannot be reached any more does not keep the caller from hanging up."""
        alice, bob = self.phones(("192.0.2.1", Transport.UDP), ("192.0.2.2", Transport.UDP))
        bob.auto_answer()
        call = alice.call("bob")
        self.clock.advance(5.0)
        self.network.partition(["192.0.2.2"])
        call.hang_up()
        self.clock.run(until=self.clock.seconds() + 100.0)
        self.assertEqual(call.outcome, Outcome.ANSWERED)
        self.assertEqual([record.status for record in self.server.records.records], [200])
        self.assertNothingLeft()

    def test_routes_and_bounds(self) -> None:
        """Static routes and the bound of calls are the caller's to choose."""
        refusal = StaticRoute(name="no", user=re.compile("9.*"), refusal=(403, "Not This"), authenticate=False)
        for max_calls, status in ((1, 403), (0, 503)):
            network = Network(self.clock, seed=2)
            server = SimulatedServer(network.host("192.0.2.100"), USERS, routes=(refusal,), max_calls=max_calls)
            call = server.peer(network.host("192.0.2.1"), "alice").call("911")
            self.clock.advance(5.0)
            self.assertEqual(call.status, status)

    def test_close_ends_calls(self) -> None:
        """A server that is closed has no calls any more."""
        alice, bob = self.phones(("192.0.2.1", Transport.UDP), ("192.0.2.2", Transport.UDP))
        bob.auto_answer()
        alice.call("bob")
        self.clock.advance(5.0)
        self.server.close()
        self.assertEqual((len(self.server.b2bua), len(self.server.ledger)), (0, 0))

    def test_ladder(self) -> None:
        """The ladder of a call shows both legs; the network's view of it shows what was lost, too."""
        alice, bob = self.phones(("192.0.2.1", Transport.UDP), ("192.0.2.2", Transport.UDP))
        self.network.set_link("192.0.2.1", "192.0.2.100", Link(loss=1.0))
        alice.call("bob")
        self.clock.advance(0.6)
        lost = [message.note for message in sent_messages(self.network)][-2:]
        self.assertEqual(lost, ["lost", "lost"])
        self.network.set_link("192.0.2.1", "192.0.2.100", Link())
        bob.auto_refuse()
        self.clock.advance(5.0)
        record = self.server.records.records[-1]
        drawing = self.server.ladder(record.id, {("192.0.2.1", 5060): "alice"})
        self.assertIn("sipd", drawing.splitlines()[0])
        self.assertIn("486 Busy Here", drawing)
        self.assertIn("192.0.2.2:5060", drawing)

    def test_unreachable_host(self) -> None:
        """A peer of a family that the server does not speak is a mistake in the test."""
        server = SimulatedServer(self.network.host("192.0.2.101"), USERS)
        self.assertRaises(ValueError, server.peer, self.network.host("2001:db8::9"), "alice")

    def test_record_list(self) -> None:
        """The list of records is an observer of calls."""
        verifyObject(ICallObserver, RecordList())


@implementer(IResolutionReceiver)
class Receiver:
    """Collects addresses."""

    def __init__(self) -> None:
        self.addresses: list[IAddress] = []
        self.is_complete = False

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: IAddress) -> None:
        """See `IResolutionReceiver`."""
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        """See `IResolutionReceiver`."""
        self.is_complete = True


class NameTests(SynchronousTestCase):
    """Host names."""

    def setUp(self) -> None:
        """Make a host, and a name."""
        self.clock = SimulatedClock()
        network = Network(self.clock, seed=1)
        network.names["pbx.example.com"] = ("192.0.2.7", "2001:db8::7")
        self.host = network.host("192.0.2.1")

    def look_up(self, *arguments: object) -> Receiver:
        """Look a name up."""
        receiver = Receiver()
        self.host.nameResolver.resolveHostName(receiver, *arguments)  # type: ignore[arg-type]
        self.clock.run()
        return receiver

    def test_interfaces(self) -> None:
        """A host's resolver provides Twisted's interfaces, and may be replaced."""
        verifyObject(IReactorPluggableNameResolver, self.host)
        verifyObject(IHostnameResolver, self.host.nameResolver)
        verifyObject(IHostResolution, self.host.nameResolver.resolveHostName(Receiver(), "x"))
        before = self.host.nameResolver
        self.assertIs(self.host.installNameResolver(before), before)

    def test_look_up(self) -> None:
        """A name gives its addresses, in any case; of one family if asked so; an unknown one gives none."""
        found = self.look_up("PBX.example.com", 5060)
        self.assertEqual([getattr(address, "host", "") for address in found.addresses], ["192.0.2.7", "2001:db8::7"])
        four = self.look_up("pbx.example.com", 5060, [IPv4Address], "UDP").addresses
        self.assertEqual(four, [IPv4Address("UDP", "192.0.2.7", 5060)])
        nothing = self.look_up("nowhere.example.com")
        self.assertEqual((nothing.addresses, nothing.is_complete), ([], True))

    def test_cancelled(self) -> None:
        """A look-up that is cancelled says nothing any more."""
        receiver = Receiver()
        self.host.nameResolver.resolveHostName(receiver, "pbx.example.com").cancel()
        self.clock.run()
        self.assertEqual((receiver.addresses, receiver.is_complete), ([], False))
