"""Messages outside of calls, from the sender to whoever takes them and back (RFC 3428)."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.errors import LocalError
from sipd.interfaces import IAuthenticator, IRequestHandler
from sipd.sip.locate import Transport
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.links import Link
from tests.b2bua.support import ALICE, BOB, SIPD
from tests.b2bua.writing import LONG, MessageCase, answering

DESK = "192.0.2.5"


class DeliveredTests(MessageCase):
    """Messages that somebody takes."""

    def test_interface(self) -> None:
        """It is a handler of requests as the user agent wants one."""
        verifyObject(IRequestHandler, self.server.messages)

    def test_crosses_as_it_is(self) -> None:
        """The body, its type, and what is said of the message reach the callee octet for octet."""
        fields = [
            ("Subject", "lunch"), ("Date", "Sat, 21 Nov 2026 12:00:00 GMT"), ("Expires", "600"), ("X-Mood", "good"),
            ("Content-Language", "de"), ("Content-Disposition", "render"),
        ]  # fmt: skip
        body = b"um zw\xc3\xb6lf?\r\n\x00\xff"
        waiting = self.alice.message("bob", body, content_type='text/plain;charset="utf-8"', headers=fields)
        self.assertEqual(self.answer(waiting).status, 200)
        (message,) = self.bob.messages
        self.assertEqual(message.body, body)
        self.assertEqual(message.headers.get("Content-Type"), 'text/plain;charset="utf-8"')
        for name, value in fields:
            self.assertEqual(message.headers.get_all(name), [value])

    def test_has_a_leg_of_its_own(self) -> None:
        """Call-ID, tags, Via and CSeq are the server's; there is no Contact; one hop is spent (RFC 3428, 4)."""
        waiting = self.alice.message("bob", headers=[("Contact", self.alice.contact)])
        self.assertEqual(self.answer(waiting).status, 200)
        (received,) = self.bob.messages
        sent = next(one for one in self.seen(self.alice, 200) if one.cseq.method == "MESSAGE")
        self.assertNotEqual(received.call_id, sent.call_id)
        self.assertNotEqual(received.from_.tag, sent.from_.tag)
        self.assertEqual((received.cseq.number, received.max_forwards, received.contacts), (1, 69, ()))
        self.assertEqual((str(received.from_.uri), str(received.to.uri)), (self.alice.aor, self.bob.aor))
        self.assertEqual((received.uri_text, received.to.tag), (f"sip:bob@{BOB}:5060", None))
        self.assertNotIn(ALICE.encode(), received.to_bytes())
        self.assertNotIn("Proxy-Authorization", received.headers)
        self.assertNotIn(BOB.encode(), sent.to_bytes())

    def test_accepted(self) -> None:
        """A 202 stays a 202, with its phrase; a body and a Contact of a 2xx do not cross (RFC 3428 section 7)."""
        fields = [("Contact", f"<sip:bob@{BOB}>"), ("X-Stored", "yes")]
        self.bob.on_message = answering(202, "Stored", headers=fields, body=b"ok", content_type="text/plain")
        response = self.answer(self.alice.message("bob"))
        self.assertEqual((response.status, response.reason, response.body), (202, "Stored", b""))
        self.assertEqual(response.headers.get("X-Stored"), "yes")
        self.assertNotIn("Contact", response.headers)
        self.assertNotIn("Content-Type", response.headers)

    def test_without_a_body(self) -> None:
        """A message that says nothing is one, too."""
        self.assertEqual(self.answer(self.alice.message("bob", b"")).status, 200)
        self.assertEqual(self.bob.messages[0].body, b"")

    def test_is_explained_by_a_line(self) -> None:
        """The log says in one line who wrote to whom, how much, where it went and what came of it; not what it says."""
        self.answer(self.alice.message("bob", b"a secret"))
        (line,) = self.lines
        self.assertEqual(
            line,
            "message from sip:alice@example.com to sip:bob@example.com, 8 octets: 200 OK; "
            f"registered: 1 contact of bob; contact sip:bob@{BOB}:5060: 200 OK",
        )

    def test_goes_where_the_phone_registered_from(self) -> None:
        """A phone on a connection gets it there, whatever its Contact says."""
        self.bob.unregister()
        desk = self.phone(DESK, "bob", transport=Transport.TCP, register=False)
        desk.contact = "<sip:bob@10.0.0.1:5060;transport=tcp>"
        desk.register()
        self.clock.advance(1.0)
        self.assertEqual(self.answer(self.alice.message("bob", LONG)).status, 200)
        self.assertEqual([one.body for one in desk.messages], [LONG])

    def test_lost_datagrams(self) -> None:
        """What is lost is sent again, and shown once."""
        for address in (ALICE, BOB):
            self.network.set_links(SIPD, address, Link(loss=0.4))
        statuses = []
        for number in range(20):
            waiting = self.alice.message("bob", b"%d" % number)
            statuses.append(self.answer(waiting, 70.0).status)
            self.assertEqual([one.body for one in self.bob.messages].count(b"%d" % number), 1)
        self.assertEqual(statuses, [200] * 20)
        self.assertGreater(len(self.seen(self.bob, "MESSAGE")), 20)
        for address in (ALICE, BOB):
            self.network.set_links(SIPD, address, Link())

    def test_allowed(self) -> None:
        """MESSAGE stands in Allow."""
        options = self.alice.ask(builders.options(f"sip:{SIPD}", via=None))
        self.assertIn("MESSAGE", self.answer(options).headers.tokens("Allow"))


class SenderTests(MessageCase):
    """Who may send."""

    def test_stranger(self) -> None:
        """Without a proof there is a 407, and nothing is sent or logged."""
        self.carol._password = None
        response = self.answer(self.carol.message("bob"))
        self.assertEqual(response.status, 407)
        self.assertIn("Proxy-Authenticate", response.headers)
        self.assertEqual((self.bob.messages, self.lines), ([], []))

    def test_wrong_password(self) -> None:
        """With a wrong one there is another 407."""
        self.carol._password = "guess"
        self.assertEqual(self.answer(self.carol.message("bob")).status, 407)
        self.assertEqual(self.bob.messages, [])

    def test_in_the_name_of_another(self) -> None:
        """Nobody writes under another user's address."""
        self.carol.aor = self.alice.aor
        response = self.answer(self.carol.message("bob"))
        self.assertEqual((response.status, response.reason), (403, "From Is Not Your Address"))
        self.assertEqual(self.bob.messages, [])
        self.assertIn("403 From Is Not Your Address", self.lines[0])

    def test_users_are_out_of_reach(self) -> None:
        """Where nobody can say who it is the answer is 500, and the log says why."""

        @implementer(IAuthenticator)
        class Gone:
            def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
                """See `IAuthenticator`."""
                raise LocalError("the directory is gone")

        self.server.b2bua._authenticator = Gone()
        self.assertEqual(self.answer(self.alice.message("bob")).status, 500)
        self.assertEqual(self.lines, ["a message failed: the directory is gone"])

    def test_a_bug(self) -> None:
        """A bug is logged with its traceback; the sender gets 500, and nothing is held."""
        self.server.b2bua.router = None  # type: ignore[assignment]
        self.assertEqual(self.answer(self.alice.message("bob")).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_requires_what_nobody_has(self) -> None:
        """A Require that is not met gives 420 (RFC 3261 section 8.2.2.3)."""
        response = self.answer(self.alice.message("bob", headers=[("Require", "warp")]))
        self.assertEqual((response.status, response.headers.get("Unsupported")), (420, "warp"))


class RefusedTests(MessageCase):
    """Messages that nobody takes."""

    def test_nobody_there(self) -> None:
        """A user without a phone gives 480, no user 404, another domain 403; each is one line of the log."""
        self.bob.unregister()
        self.clock.advance(1.0)
        for uri, status, text in (
            ("sip:bob@example.com", 480, "bob has no contact"),
            ("sip:nobody@example.com", 404, "nobody is no user"),
            ("sip:bob@elsewhere.example", 403, "not of a domain served here"),
        ):
            self.lines.clear()
            self.assertEqual(self.answer(self.alice.message(uri)).status, status)
            self.assertEqual(len(self.lines), 1)
            self.assertIn(text, self.lines[0])

    def test_refusal_crosses(self) -> None:
        """Status, phrase, body and unknown fields of a refusal reach the sender."""
        self.bob.on_message = answering(
            488, "Not In This Tone", headers=[("X-Why", "rude")], body=b"no", content_type="text/plain"
        )
        response = self.answer(self.alice.message("bob"))
        self.assertEqual((response.status, response.reason, response.body), (488, "Not In This Tone", b"no"))
        self.assertEqual((response.headers.get("X-Why"), response.content_type), ("rude", "text/plain"))

    def test_unreadable_type(self) -> None:
        """With a 415 comes what the callee can read: the sender may try again with that (RFC 3261 section 21.4.13)."""
        self.bob.on_message = answering(415, headers=[("Accept", "text/plain"), ("Accept-Encoding", "identity")])
        response = self.answer(self.alice.message("bob", b"<b>hi</b>", content_type="text/html"))
        self.assertEqual((response.status, response.headers.get("Accept")), (415, "text/plain"))
        self.assertEqual(response.headers.get("Accept-Encoding"), "identity")

    def test_moved(self) -> None:
        """A redirection reaches the sender with its Contact."""
        self.bob.on_message = answering(302, headers=[("Contact", "<sip:bob@elsewhere.example>")])
        response = self.answer(self.alice.message("bob"))
        self.assertEqual((response.status, response.headers.get("Contact")), (302, "<sip:bob@elsewhere.example>"))

    def test_what_concerns_this_server_only(self) -> None:
        """A challenge and a 503 of the callee are no challenge and no overload of this server (16.7)."""
        for status, expected in ((401, 502), (407, 502), (503, 500)):
            self.bob.on_message = answering(status)
            response = self.answer(self.alice.message("bob"))
            self.assertEqual(response.status, expected)
            self.assertNotIn("Proxy-Authenticate", response.headers)

    def test_silence(self) -> None:
        """Where nobody answers the sender is told 480 in time: no 408 would reach it (RFC 4320 section 4.2)."""
        self.bob.close()
        waiting = self.alice.message("bob")
        self.clock.advance(29.0)
        self.assertNoResult(waiting)
        response = self.answer(waiting, 2.0)
        self.assertEqual((response.status, response.reason), (480, "No Answer"))
        self.assertIn(f"contact sip:bob@{BOB}:5060: no answer", self.lines[0])

    def test_408_of_a_callee(self) -> None:
        """A 408 that came too soon is 480 for the sender."""
        self.bob.on_message = answering(408)
        self.assertEqual(self.answer(self.alice.message("bob")).status, 480)

    def test_no_hops_left(self) -> None:
        """Max-Forwards 0 gives 483, before anybody is asked who it is (RFC 3261 section 16.3)."""
        message = builders.request("MESSAGE", via=None, contact=None, max_forwards=0, body=b"x")
        self.assertEqual(self.answer(self.alice.ask(message)).status, 483)

    def test_in_no_dialog(self) -> None:
        """A message of a dialog that does not exist gives 481."""
        message = builders.request("MESSAGE", via=None, contact=None, to_tag="none", body=b"x")
        self.assertEqual(self.answer(self.alice.ask(message)).status, 481)
