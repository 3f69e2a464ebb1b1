"""Requests that lead back to the server that sent them: they end, and cost little (RFC 3261 section 16.3, RFC 7332)."""

from __future__ import annotations

from collections.abc import Sequence

from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer
from tests.hostile.support import ALICE, BOB, SERVER, STRANGER, Arena, HostileCase

#: Calls to users of ours, from anybody: the router does not ask who calls.
OPEN = StaticRoute(name="open", to="sip:{0}@example.com", authenticate=False)
US = f"sip:bob@{SERVER}"


class RegisteredLoopTests(HostileCase):
    """Bob registers contacts at the server itself, and is gone."""

    def begin(self, routes: Sequence[StaticRoute], contacts: str) -> PeerCall:
        """Let bob register over TCP, so that nothing remains of where he was, and alice call him."""
        self.arena = Arena(routes=routes)
        bob = self.arena.server.peer(self.arena.network.host(BOB), "bob", transport=Transport.TCP)
        bob.contact = contacts
        bob.register()
        self.arena.clock.advance(1.0)
        self.assertTrue(self.arena.server.location.lookup("sip:bob@example.com"))
        bob.close()
        self.arena.clock.advance(5.0)
        self._mark = len(self.arena.network.log)
        call = self.arena.peer("alice", ALICE, registered=False).call("bob")
        self.arena.clock.advance(120.0)
        return call

    def departures(self) -> int:
        """Give how many datagrams and segments were sent by anybody since the call began."""
        return sum(event.fate.is_departure for event in self.arena.network.log[self._mark :])

    def test_callers_that_must_say_who_they_are(self) -> None:
        """The server cannot answer its own challenge: the call ends at its first hop back."""
        for contact in (f"<{US}>", f"<{US}:5060>", f"<{US};transport=tcp>"):
            call = self.begin((), contact)
            self.assertEqual(call.status, 482, contact)
            self.assertLess(self.departures(), 15)
            self.assertEqual(len(self.arena.server.records.records), 1)
            self.assert_unharmed()

    def test_a_route_that_is_open(self) -> None:
        """Where nobody is asked, what the server sends to itself is refused with 482, over UDP and TCP."""
        for contact in (f"<{US}>", f"<{US};transport=tcp>"):
            call = self.begin((OPEN,), contact)
            self.assertEqual(call.status, 482, contact)
            self.assertLess(self.departures(), 15)
            self.assert_unharmed()

    def test_forks_do_not_multiply(self) -> None:
        """Ten contacts that lead back, tried together or in turn, are ten attempts, not ten for each of ten."""
        for pattern in ("<sip:bob@{1};x={0}>", "<sip:bob@{1};x={0}>;q=0.{0}"):
            contacts = ", ".join(pattern.format(number, SERVER) for number in range(10))
            call = self.begin((OPEN,), contacts)
            self.assertEqual(call.status, 482)
            self.assertEqual(len(self.arena.server.location.lookup("sip:bob@example.com")), 10)
            self.assertLess(self.departures(), 100)
            self.assertLessEqual(len(self.arena.server.records.records), 11)
            self.assert_unharmed()


class RouteLoopTests(HostileCase):
    """Routes and names that lead back."""

    def test_a_route_to_oneself(self) -> None:
        """A route to the server's own address is refused at its first hop back."""
        self.routes = (StaticRoute(name="self", to=f"sip:{{0}}@{SERVER}:5060", authenticate=False),)
        self.setUp()
        call = self.arena.peer("alice", ALICE, registered=False).call("bob")
        self.arena.clock.advance(5.0)
        self.assertEqual((call.status, len(self.arena.server.records.records)), (482, 1))
        self.assert_unharmed()

    def test_two_servers(self) -> None:
        """Two servers whose routes lead to each other end the call when its hops are spent: 483."""
        routes = [
            (StaticRoute(name="there", to=f"sip:{{0}}@{other}:5060", authenticate=False),)
            for other in ("192.0.2.200", SERVER)
        ]
        self.arena = Arena(routes=routes[0])
        second = SimulatedServer(self.arena.network.host("192.0.2.200"), {}, routes=routes[1])
        call = self.arena.peer("alice", ALICE, registered=False).call("bob")
        self.arena.clock.advance(30.0)
        self.assertEqual(call.status, 483)
        # Max-Forwards 70: each of the two had the call 36 or 35 times.
        records = [len(server.records.records) for server in (self.arena.server, second)]
        self.assertEqual(sorted(records), [35, 36])
        self.arena.clock.advance(60.0)
        self.assertEqual(second.leftovers(), [])
        second.close()
        self.assert_unharmed()

    def test_hops(self) -> None:
        """A call with no hops left is refused; one with one left goes out with none."""
        self.routes = (StaticRoute(name="all", to=f"sip:callee@{BOB}:5060", authenticate=False),)
        for hops, statuses, forwarded in ((0, [483], []), (1, [], [0])):
            self.setUp()
            self.arena.mark()
            self.arena.send(builders.invite(via=f"{STRANGER}:5060", max_forwards=hops).to_bytes())
            passed = [message.max_forwards for message in self.arena.sent() if isinstance(message, Request)]
            self.assertEqual((self.arena.statuses(), passed), (statuses, forwarded))
            self.arena.clock.advance(60.0)
            self.assert_unharmed()


class DialogLoopTests(HostileCase):
    """Contacts and routes of a dialog that lead back."""

    def established(self, *, contact: str | None = None, record_route: str | None = None) -> tuple[PeerCall, Peer]:
        """Give an answered call of alice, whose INVITE says these things of her, and bob."""
        self.setUp()
        alice, bob = self.arena.peer("alice", ALICE), self.arena.peer("bob", BOB)
        bob.auto_answer(0.1)
        alice.contact = contact or alice.contact
        call = alice.call("bob", headers=[("Record-Route", record_route)] if record_route else ())
        self.arena.clock.advance(2.0)
        self.assertTrue(call.is_answered)
        return call, bob

    def test_the_callers_contact(self) -> None:
        """A BYE to a caller whose Contact or Record-Route is the server comes back, gets 481, and that is the end."""
        for details in (
            {"contact": f"<{US}>"},
            {"contact": f"<{US};transport=tcp>"},
            {"record_route": f"<sip:{SERVER};lr>"},
            {"record_route": f"<sip:{SERVER}>"},
            {"record_route": f"<sip:{SERVER};lr>, <sip:{SERVER};lr>"},
        ):
            _, bob = self.established(**details)
            before = len(self.arena.network.log)
            bob.calls[0].hang_up()
            self.arena.clock.advance(60.0)
            # BYE and its 200, the other BYE and its 481, and their arrivals.
            self.assertLessEqual(len(self.arena.network.log) - before, 16, details)
            (record,) = self.arena.server.records.records
            self.assertEqual((record.status, record.ended_by), (200, "callee"))
            self.assert_unharmed()

    def test_changes(self) -> None:
        """A re-INVITE to a caller whose Contact is the server gets 481, which ends the call on both legs."""
        _, bob = self.established(contact=f"<{US}>")
        changed = bob.calls[0].reinvite()
        self.arena.clock.advance(60.0)
        response = self.successResultOf(changed)
        assert response is not None
        self.assertEqual(response.status, 481)
        self.assertEqual(bob.calls[0].ended_by, "them")
        self.assert_unharmed()

    def test_routes_in_a_request(self) -> None:
        """A Route that names the server, or anybody, in a request from outside is followed by nobody."""
        for route in (
            f"<sip:{SERVER};lr>",
            f"<sip:{SERVER}>",
            "<sip:198.51.100.7;lr>",
            ", ".join([f"<sip:{SERVER}>"] * 99),
        ):
            self.setUp()
            self.arena.mark()
            headers = [("Route", route)]
            self.arena.send(builders.options(via=f"{STRANGER}:5060", headers=headers).to_bytes())
            self.assertEqual(self.arena.statuses(), [200])
            self.arena.send(builders.invite(via=f"{STRANGER}:5060", branch="z9hG4bK-i", headers=headers).to_bytes())
            self.assertEqual({address for address, _ in self.arena.datagrams_sent()}, {(STRANGER, 5060)})
            self.assert_unharmed()

    def test_a_redirection(self) -> None:
        """A callee that redirects to the server is passed on to the caller, and called by nobody here."""
        alice, bob = self.arena.peer("alice", ALICE), self.arena.peer("bob", BOB)
        bob.on_call = lambda call: call.refuse(302, headers=[("Contact", f"<{US}>")])
        call = alice.call("bob")
        self.arena.clock.advance(5.0)
        self.assertEqual((call.status, len(bob.calls)), (302, 1))
        redirect = next(message for message in alice.seen if isinstance(message, Response) and message.status == 302)
        self.assertEqual(redirect.headers.get_all("Contact"), [f"<{US}>"])
        self.assert_unharmed()
