"""Phones with accounts at a registrar and B2BUA."""

from __future__ import annotations

from typing import Any

from sipd.errors import ConfigurationError, InvalidStateError, RegistrationError
from sipd.media.endpoint.settings import EndpointSettings
from sipd.phone.account import Account
from sipd.phone.ended import EndedBy
from sipd.phone.phone import Phone
from sipd.testing.stack import SimulatedServer, sent_messages
from sipd.ua.registering import (
    Expired,
    Failed,
    Refreshed,
    Registered,
    RegistrationEvent,
    RegistrationRefusedError,
    Unregistered,
)
from tests.phone.support import ALICE, BOB, SERVER, PhoneCase, answering


class AccountCase(PhoneCase):
    """Has a server with users."""

    def setUp(self) -> None:
        """Make the server."""
        super().setUp()
        self.server = SimulatedServer(self.network.host(SERVER), {"alice": "secret", "bob": "hidden"})
        self.addCleanup(self.end_server)

    def end_server(self) -> None:
        """See that nothing is left there either."""
        for phone in self.phones:
            phone.stopService()
        self.clock.advance(4000.0)
        self.assertEqual(self.server.leftovers(), [])
        self.server.close()
        self.clock.advance(1.0)

    def user(self, address: str, name: str, password: str, **more: Any) -> Phone:
        """Put a user's phone on the network."""
        account = Account(f"sip:{name}@example.com", password, proxy=SERVER, **more)
        return self.phone(address, name, account=account, audio=EndpointSettings(rtcp_interval=0.0))

    def bindings(self, name: str) -> int:
        """Count the contacts of a user."""
        return len(self.server.location.lookup(f"sip:{name}@example.com"))


class RegistrationTests(AccountCase):
    """Registering, and what comes of it."""

    def test_ready(self) -> None:
        """A phone that is to register is ready when it has; calls reach it, also by a name alone."""
        bob = self.user(BOB, "bob", "hidden", register=True)
        ready = bob.when_ready()
        self.assertNoResult(ready)
        self.clock.advance(1.0)
        self.successResultOf(ready)
        self.assertEqual(self.bindings("bob"), 1)
        alice = self.user(ALICE, "alice", "secret")
        taken = answering(bob)
        dialling = alice.dial("bob")
        self.clock.advance(2.0)
        call = self.successResultOf(dialling)
        self.assertEqual(str(taken[0].remote.uri), "sip:alice@example.com")
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(taken[0].ended).by, EndedBy.THEM)

    def test_kept(self) -> None:
        """A registration is refreshed for as long as the phone runs, and ended with it."""
        bob = self.user(BOB, "bob", "hidden")
        registering = bob.register()
        self.clock.advance(1.0)
        registration = self.successResultOf(registering)
        self.assertTrue(registration.is_registered)
        self.clock.advance(4000.0)
        self.assertEqual(self.bindings("bob"), 1)
        self.network.partition([BOB])
        self.clock.advance(4000.0)
        self.assertEqual(self.bindings("bob"), 0)
        self.network.heal()
        bob.network_changed()
        self.clock.advance(5.0)
        self.assertEqual(self.bindings("bob"), 1)
        stopping = bob.stopService()
        self.clock.advance(1.0)
        self.successResultOf(stopping)
        self.assertEqual(self.bindings("bob"), 0)

    def test_wrong_password(self) -> None:
        """A phone that is refused says so, and as a context manager is not entered."""
        bob = self.user(BOB, "bob", "wrong", register=True)
        error = self.failureResultOf(self.begin(bob.__aenter__(), 5.0), RegistrationRefusedError).value
        self.assertEqual((error.response.status, str(error.request.to.uri)), (401, "sip:bob@example.com"))
        self.clock.advance(60.0)
        self.assertFalse(bob.running)

    def test_stopped_by_who_is_told(self) -> None:
        """Who stops the phone as soon as it hears of the refusal leaves no timer."""
        bob = self.user(BOB, "bob", "wrong", register=True)
        stopping = bob.when_ready().addErrback(lambda failure: failure.trap(RegistrationError) and bob.stopService())
        self.clock.advance(5.0)
        self.successResultOf(stopping)
        self.clock.advance(60.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_account(self) -> None:
        """What an account says besides stands in its REGISTER; what it cannot say is refused when it is made."""
        bob = self.user(BOB, "bob", "hidden", headers={"Allow": "INVITE, ACK, BYE", "X-Site": "7"})
        bob.register()
        self.clock.advance(1.0)
        sent = [message.data for message in sent_messages(self.network) if message.data.startswith(b"REGISTER")]
        self.assertEqual(len(sent), 2)
        for data in sent:
            self.assertIn(b"\r\nX-Site: 7\r\n", data)
            self.assertEqual(data.count(b"\r\nAllow: "), 1)
            self.assertIn(b"\r\nAllow: INVITE, ACK, BYE\r\n", data)
        error = self.assertRaises(ConfigurationError, Account, "sip:x@example.com", headers={"X": "a\r\nY: b"})
        self.assertEqual(len(error.problems), 1)

    def test_unregister(self) -> None:
        """A registration may be ended, and so may all of an account."""
        bob = self.user(BOB, "bob", "hidden")
        bob.register()
        self.clock.advance(1.0)
        ending = bob.unregister()
        self.clock.advance(1.0)
        self.successResultOf(ending)
        self.assertEqual(self.bindings("bob"), 0)
        other = self.server.peer(self.network.host("192.0.2.9"), "bob")
        other.register()
        self.clock.advance(1.0)
        self.assertEqual(self.bindings("bob"), 1)
        removing = bob.unregister_all()
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(removing).status, 200)
        self.assertEqual(self.bindings("bob"), 0)
        other.close()

    def test_no_account(self) -> None:
        """A phone that is nobody cannot register."""
        phone = Phone(self.network.host("192.0.2.7"), listen="udp:192.0.2.7:5060", entropy=self.network.entropy)
        phone.startService()
        self.phones.append(phone)
        self.failureResultOf(phone.register(), InvalidStateError)
        self.failureResultOf(phone.unregister_all(), InvalidStateError)
        self.assertEqual(str(phone.identity), "<sip:phone@192.0.2.7:5060>")


class ToldTests(AccountCase):
    """What an application is told of a registration."""

    def test_events(self) -> None:
        """It hears when it is granted, refreshed, lost and ended."""
        bob = self.user(BOB, "bob", "hidden")
        events: list[RegistrationEvent] = []
        bob.on_registration = events.append
        bob.register()
        self.clock.advance(1200.0)
        self.network.partition([BOB])
        self.clock.advance(2400.0)
        self.network.heal()
        bob.network_changed()
        self.clock.advance(1.0)
        bob.stopService()
        self.clock.advance(1.0)
        kinds = [type(event) for event in events]
        self.assertEqual(
            [kind for kind in kinds if kind is not Failed], [Registered, Refreshed, Expired, Registered, Unregistered]
        )
        self.assertIn(Failed, kinds)


class OutsideTests(AccountCase):
    """Requests outside of calls."""

    def test_options(self) -> None:
        """What somebody can is asked for, through the proxy, with the password if it is wanted."""
        alice = self.user(ALICE, "alice", "secret")
        asking = alice.options("sip:example.com")
        self.clock.advance(1.0)
        self.assertIn("INVITE", self.successResultOf(asking).headers.get("Allow") or "")

    def test_types_of_messages(self) -> None:
        """Messages may have other bodies than plain text where the application says so."""
        bob = self.user(BOB, "bob", "hidden", register=True)
        alice = self.user(ALICE, "alice", "secret")
        self.clock.advance(1.0)
        bodies: list[bytes] = []
        bob.on_message = lambda message: bodies.append(message.body)
        for types, status in ((bob.message_types, 415), (frozenset(("text/xml",)), 200)):
            bob.stopService()
            self.clock.advance(5.0)
            bob.message_types = types
            bob.startService()
            self.clock.advance(1.0)
            asking = alice.request("MESSAGE", "bob", {"Content-Type": "text/xml"}, b"<tea/>")
            self.clock.advance(2.0)
            self.assertEqual(self.successResultOf(asking).status, status)
        self.assertEqual(bodies, [b"<tea/>"])

    def test_message(self) -> None:
        """A request of any method has what every request needs."""
        bob = self.user(BOB, "bob", "hidden", register=True)
        alice = self.user(ALICE, "alice", "secret")
        self.clock.advance(1.0)
        asking = alice.request("MESSAGE", "bob", {"Content-Type": "text/plain"}, b"tea?")
        self.clock.advance(2.0)
        self.assertIn(self.successResultOf(asking).status, (405, 501, 200, 202))
        self.assertTrue(bob.running)
