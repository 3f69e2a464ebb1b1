"""What is not told to whom nobody has chosen: passwords' proofs, and who somebody is said to be."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipd.interfaces import Credentials
from sipd.phone.account import Account
from sipd.phone.dialing import OutgoingCall
from sipd.phone.errors import DialError
from sipd.phone.phone import Phone
from sipd.phone.placing import _contacts
from sipd.sip.message import Request
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from tests.phone.raw import RawPeer
from tests.phone.support import ALICE, PhoneCase

HOME, STRANGER = "192.0.2.60", "192.0.2.61"
CHALLENGE = (("WWW-Authenticate", 'Digest realm="home", nonce="abc", algorithm=MD5'),)


class StrangerCase(PhoneCase):
    """A phone with a password, its home, and a stranger who asks for proofs."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.home, self.stranger = RawPeer(self.network.host(HOME)), RawPeer(self.network.host(STRANGER))
        for peer in (self.home, self.stranger):
            self.addCleanup(peer.close)
        self.alice = self.make(ALICE)

    def make(self, address: str, **more: Any) -> Phone:
        """Put a phone with the account on the network."""
        return self.phone(address, "alice", account=Account(f"sip:alice@{HOME}", "secret", **more))

    def redirected(self, contact: str, to: RawPeer | None = None, **options: Any) -> Deferred[OutgoingCall]:
        """Let the phone call somebody at home, or elsewhere, and be sent on."""
        to = to or self.home
        dialling = self.alice.dial(f"sip:bob@{to.address}", max_redirects=3, **options)
        self.clock.advance(0.1)
        to.respond(to.last("INVITE"), 302, headers=(("Contact", contact),))
        self.clock.advance(0.1)
        return dialling

    def proves(self, peer: RawPeer) -> bool:
        """Challenge the last INVITE; say whether it comes again with a proof."""
        before = peer.count("INVITE")
        peer.respond(peer.last("INVITE"), 401, headers=CHALLENGE, tag="challenge")
        self.clock.advance(0.1)
        proofs = [one for one in peer.requests if "Authorization" in one.headers]
        self.assertEqual(peer.count("INVITE") - before, len([one for one in proofs if one.method == "INVITE"]))
        return bool(proofs)

    def give_up(self, dialling: Deferred[Any], peer: RawPeer) -> None:
        """End a call that was proved."""
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        peer.respond(peer.last("INVITE"), 486, tag="end")
        self.clock.advance(0.1)


class RedirectTests(StrangerCase):
    """Calls that are sent on."""

    def test_to_a_stranger(self) -> None:
        """A stranger whom a 3xx names gets no proof, and no identity that only the home may read."""
        dialling = self.redirected(f"<sip:bob@{STRANGER}>", asserted_identity="sip:alice@home", headers={"X-Tea": "1"})
        invite = self.stranger.last("INVITE")
        self.assertEqual((invite.headers.get("P-Asserted-Identity"), invite.headers.get("X-Tea")), (None, "1"))
        self.assertFalse(self.proves(self.stranger))
        self.assertEqual(self.failureResultOf(dialling, DialError).value.status, 401)

    def test_other_credentials(self) -> None:
        """Nor does it get a proof by what the phone knows of other realms, although it says to be one."""
        known = Credentials(username="alice", password="secret", realm="home")
        self.alice = self.phone("192.0.2.4", "alice", account=Account(f"sip:alice@{HOME}"), credentials=[known])
        dialling = self.redirected(f"<sip:bob@{STRANGER}>")
        self.assertFalse(self.proves(self.stranger))
        self.failureResultOf(dialling, DialError)

    def test_at_home(self) -> None:
        """Somebody else at home does."""
        dialling = self.redirected(f"<sip:carol@{HOME}>", asserted_identity="sip:alice@home")
        self.assertEqual(self.home.last("INVITE").headers.get("P-Asserted-Identity"), "<sip:alice@home>")
        self.assertTrue(self.proves(self.home))
        self.give_up(dialling, self.home)

    def test_where_it_was_called(self) -> None:
        """And so does the host that the application has called."""
        dialling = self.redirected(f"<sip:carol@{STRANGER}>", self.stranger)
        self.assertTrue(self.proves(self.stranger))
        self.give_up(dialling, self.stranger)

    def test_by_the_proxy(self) -> None:
        """Whatever the account's proxy takes on is proved to it."""
        self.alice = self.make("192.0.2.4", proxy=HOME)
        dialling = self.redirected("<sip:carol@elsewhere.example>")
        self.assertEqual(str(self.home.last("INVITE").uri), "sip:carol@elsewhere.example")
        self.assertTrue(self.proves(self.home))
        self.give_up(dialling, self.home)

    def test_realm(self) -> None:
        """An account of one realm answers no other."""
        for realm, is_proved in (("other", False), ("home", True)):
            alice = self.make(f"192.0.2.{len(self.phones) + 5}", realm=realm)
            dialling = alice.dial("bob")
            self.clock.advance(0.1)
            self.assertEqual(self.proves(self.home), is_proved)
            if is_proved:
                self.give_up(dialling, self.home)
            else:
                self.failureResultOf(dialling, DialError)

    def test_no_way_down(self) -> None:
        """A call to a `sips` URI is not sent on to a `sip` one (RFC 3261 section 26.2.2)."""
        invite = builders.invite("sips:bob@example.org")
        response = builders.response(
            invite, 302, contact=None, headers=(("Contact", "<sip:x@a.example>"), ("Contact", "<sips:y@b.example>"))
        )
        error = DialError("302", response=response)
        self.assertEqual(
            [str(one.uri) for one in _contacts(error, parse_uri("sips:b@x.example"))], ["sips:y@b.example"]
        )
        self.assertEqual(len(_contacts(error, parse_uri("sip:b@x.example"))), 2)


class ReferTests(StrangerCase):
    """Calls that the peer of another one has asked for."""

    def refer(self, to: str) -> Request:
        """Let the phone have a call with the stranger, who transfers it."""
        self.alice.on_refer = lambda referred: True
        dialling = self.alice.dial(f"sip:x@{STRANGER}")
        self.clock.advance(0.1)
        invite = self.stranger.last("INVITE")
        self.stranger.respond(invite, 200, builders.sdp_answer(invite.body, STRANGER))
        self.clock.advance(0.1)
        self.successResultOf(dialling)
        self.stranger.ask_in_call("REFER", headers=(("Refer-To", to),))
        self.clock.advance(0.1)
        return invite

    def end(self) -> None:
        """Forget all calls."""
        for call in list(self.alice.calls):
            call.drop()

    def test_to_a_stranger(self) -> None:
        """Whoever is named by a REFER gets no proof of the account's password."""
        self.refer(f"<sip:y@{STRANGER}>")
        self.assertEqual(str(self.stranger.last("INVITE").uri), f"sip:y@{STRANGER}")
        self.assertFalse(self.proves(self.stranger))
        self.end()

    def test_home(self) -> None:
        """The account's own domain does."""
        self.refer(f"<sip:y@{HOME}>")
        self.assertTrue(self.proves(self.home))
        self.end()
        self.clock.advance(40.0)
