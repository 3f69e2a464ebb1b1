"""Calls to a gateway that says only what the test tells it to: forks behind it, refusals, challenges."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sipd.interfaces import Credentials
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Response
from sipd.testing import builders
from sipd.testing.calls import Outcome, PeerCall
from tests.b2bua.support import SIPD, BridgeCase
from tests.ua.support import Wire

GATEWAY = "192.0.2.9"


class GatewayCase(BridgeCase):
    """A gateway beside the users."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="gw", user=re.compile(r"\d+"), to=f"sip:{{0}}@{GATEWAY}"),
        StaticRoute(
            name="paid",
            user=re.compile("paid"),
            to=f"sip:paid@{GATEWAY}",
            credentials=Credentials(username="us", password="secret"),
        ),
    )

    def setUp(self) -> None:
        """Add it."""
        super().setUp()
        self.gateway = Wire(self.network, GATEWAY)

    def calling(self, user: str = "123", **options: Any) -> PeerCall:
        """Let Alice call through it."""
        call = self.alice.call(user, **options)
        self.clock.advance(0.5)
        return call

    def say(self, status: int, *, tag: str = "t1", port: int = 0, **options: Any) -> Response:
        """Let it answer the INVITE that it got last; with a port, with a description that names it."""
        body = builders.sdp(GATEWAY, port, session_id=port) if port else b""
        response = builders.response(
            self.gateway.request("INVITE"),
            status,
            to_tag=tag,
            contact=f"<sip:{tag}@{GATEWAY}>",
            **{"body": body, **options},
        )
        self.gateway.send(response)
        self.clock.advance(0.5)
        return response

    def end(self, call: PeerCall) -> None:
        """Let Alice hang up, and the gateway agree."""
        call.hang_up()
        self.clock.advance(0.5)
        self.gateway.send(builders.response(self.gateway.request("BYE"), 200))


class ForkTests(GatewayCase):
    """Several phones behind the gateway ring for one INVITE (RFC 3261 section 13.2.2.4, lesson 29)."""

    def test_early_media_of_two_forks_and_the_answer_of_the_second(self) -> None:
        """What is heard last is connected; the 2xx decides, and its dialog is the one that is acknowledged."""
        call = self.calling()
        self.say(183, tag="t1", port=41000)
        self.say(183, tag="t2", port=42000)
        self.assertEqual([b"m=audio" in one.body for one in self.seen(self.alice, 183)], [True, True])
        self.say(200, tag="t2", port=42000)
        self.assertTrue(call.is_answered)
        self.assertEqual(self.gateway.request("ACK").to.tag, "t2")
        self.end(call)
        self.assertEqual(self.gateway.request("BYE").uri_text, f"sip:t2@{GATEWAY}")
        self.finish()

    def test_second_fork_answers_too(self) -> None:
        """The later 2xx gets ACK and BYE of its own, and the call does not notice."""
        call = self.calling()
        self.say(180, tag="t1")
        self.say(180, tag="t2")
        self.say(200, tag="t2", port=42000)
        self.gateway.messages = [self.gateway.request("INVITE")]
        self.say(200, tag="t1", port=41000)
        ack, bye = self.gateway.request("ACK"), self.gateway.request("BYE")
        self.assertEqual((ack.to.tag, bye.to.tag, bye.cseq.number), ("t1", "t1", 2))
        self.gateway.send(builders.response(bye, 200))
        self.clock.advance(1.0)
        self.assertTrue(call.is_answered)
        self.gateway.take()
        call.hang_up()
        self.clock.advance(0.5)
        bye = self.gateway.request("BYE")
        self.assertEqual((bye.to.tag, bye.cseq.number), ("t2", 2))
        self.gateway.send(builders.response(bye, 200))
        self.finish()

    def test_answer_that_was_described_early(self) -> None:
        """A 2xx without a description, after a 183 with one: the caller gets that one again (RFC 3264)."""
        call = self.calling()
        self.say(183, port=41000)
        self.say(200)
        self.assertTrue(call.is_answered)
        self.assertIn(b"m=audio", self.seen(self.alice, 200)[-1].body)
        self.end(call)
        self.finish()

    def test_answer_with_another_body(self) -> None:
        """A 2xx whose body is no description does not hide the one that came early."""
        call = self.calling()
        self.say(183, port=41000)
        self.say(200, body=b"Thank you", content_type="text/plain")
        self.assertTrue(call.is_answered)
        self.assertIn(b"m=audio", self.seen(self.alice, 200)[-1].body)
        self.assertEqual(self.seen(self.alice, 200)[-1].content_type, "application/sdp")
        self.end(call)
        self.finish()

    def test_unusable_early_media(self) -> None:
        """A 183 whose description cannot be used crosses without it, and the call goes on."""
        call = self.calling()
        self.say(183, body=b"nonsense")
        self.assertEqual(self.seen(self.alice, 183)[0].body, b"")
        self.say(200, port=41000)
        self.assertTrue(call.is_answered)
        self.end(call)
        self.finish()
        self.assertIn("early-media", self.explanation())


class RefusalTests(GatewayCase):
    """What the gateway refuses, and what of it the caller hears."""

    def _refused(self, status: int, **options: Any) -> tuple[PeerCall, Response]:
        call = self.calling()
        self.say(status, **options)
        self.assertEqual(self.gateway.kinds()[-1], "ACK")
        self.finish()
        response = self.alice.seen[-1]
        assert isinstance(response, Response)
        return call, response

    def test_redirection(self) -> None:
        """A 3xx crosses with its Contacts: the caller may go there itself (section 8.1.3.4)."""
        contacts = [("Contact", "<sip:new@other.example>;q=0.7"), ("Contact", "<sip:old@other.example>")]
        call, response = self._refused(302, headers=contacts)
        self.assertEqual((call.status, response.headers.get_all("Contact")), (302, [value for _, value in contacts]))

    def test_contacts_of_other_refusals_stay(self) -> None:
        """A Contact in a 4xx would show the other side's address, and is of no use."""
        for status in (400, 486):
            call, response = self._refused(status, headers=[("Contact", "<sip:x@198.51.100.1>")])
            self.assertEqual((call.status, response.headers.get("Contact")), (status, None))
            self.server.records.records.clear()

    def test_overload_behind_the_bridge(self) -> None:
        """A 503 says that the gateway is overloaded, not this server: the caller hears 500 (16.7 step 6)."""
        call, response = self._refused(503, headers=[("Retry-After", "120")])
        self.assertEqual((call.status, response.headers.get("Retry-After")), (500, None))

    def test_challenge_without_credentials(self) -> None:
        """A challenge is for this server; the caller, who could not answer it, hears 502."""
        challenge = [("WWW-Authenticate", 'Digest realm="gw", nonce="n"')]
        call, response = self._refused(401, headers=challenge)
        self.assertEqual((call.status, response.headers.get("WWW-Authenticate")), (502, None))

    def test_required_extension(self) -> None:
        """A 421 or 494 that nobody could meet crosses with its status."""
        call, _ = self._refused(421, headers=[("Require", "100rel")])
        self.assertEqual(call.status, 421)

    def test_challenge_with_credentials(self) -> None:
        """With credentials of the route the INVITE goes again, and the caller hears nothing of it."""
        call = self.calling("paid")
        self.say(407, headers=[("Proxy-Authenticate", 'Digest realm="gw", nonce="n", qop="auth"')])
        again = self.gateway.request("INVITE")
        self.assertIn('username="us"', again.headers.get("Proxy-Authorization") or "")
        self.say(200, port=41000)
        self.assertTrue(call.is_answered)
        self.end(call)
        record = self.finish()
        self.assertEqual((record.route, len(record.attempts)), ("paid", 1))


class TimeTests(GatewayCase):
    """Attempts that take too long."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="gw", user=re.compile(r"\d+"), to=f"sip:{{0}}@{GATEWAY}", timeout=5.0),
    )

    def test_answer_that_crosses_the_timeout(self) -> None:
        """The 2xx of a callee who has just been given up gets ACK and BYE; the caller hears 480 (lesson 26)."""
        call = self.calling()
        self.say(180)
        self.clock.advance(5.0)
        cancel = self.gateway.request("CANCEL")
        self.assertIn("cause=408", cancel.headers.get("Reason") or "")
        self.assertEqual(call.status, 480)
        self.say(200, port=41000)
        self.assertEqual(self.gateway.kinds()[-2:], ["ACK", "BYE"])
        self.gateway.send(builders.response(cancel, 200))
        self.finish()

    def test_silence(self) -> None:
        """A gateway that says nothing at all gives 408; it gets no CANCEL, since it may not be there (9.1)."""
        call = self.calling()
        self.clock.advance(6.0)
        self.assertEqual(call.status, 408)
        self.assertNotIn("CANCEL", self.gateway.kinds())
        self.finish()

    def test_only_trying(self) -> None:
        """A gateway that says 100 and nothing more is not ringing."""
        call = self.calling()
        self.say(100)
        self.clock.advance(6.0)
        self.assertEqual(call.status, 408)
        self.finish()


class InviteTests(GatewayCase):
    """What an INVITE may ask of this server."""

    def test_supported_extension(self) -> None:
        """What the caller supports is not promised to the callee: that would be this server's promise."""
        call = self.calling(headers=[("Supported", "path, timer")])
        self.assertNotIn("path", self.gateway.request("INVITE").headers.tokens("Supported"))
        self.say(200, port=41000)
        self.end(call)
        self.finish()

    def test_methods_within_a_call(self) -> None:
        """REGISTER inside a call gets 405 with Allow, and the call goes on (8.2.1)."""
        call = self.calling()
        self.say(200, port=41000)
        answer = call.request("REGISTER")
        self.clock.advance(0.5)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 405)
        self.assertIn("BYE", response.headers.tokens("Allow"))
        answer = call.request("DANCE")
        self.clock.advance(0.5)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 501)
        self.end(call)
        self.finish()

    def test_extension_required_within_a_call(self) -> None:
        """A re-INVITE that requires what is not served gets 420, and the session is as it was."""
        call = self.calling()
        self.say(200, port=41000)
        answer = call.request("OPTIONS", headers=[("Require", "path")])
        self.clock.advance(0.5)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual((response.status, response.headers.get("Unsupported")), (420, "path"))
        self.end(call)
        self.finish()

    def test_reason_of_a_cancel_crosses(self) -> None:
        """Why the caller gave up reaches the callee: a call that was taken elsewhere is not missed (RFC 3326)."""
        call = self.calling()
        self.say(180)
        cancel = builders.cancel(call.invite)
        cancel.headers.add("Reason", 'SIP;cause=200;text="Call completed elsewhere"')
        self.alice.exchanges.send(cancel, (SIPD, 5060))
        self.clock.advance(0.5)
        reason = self.gateway.request("CANCEL").headers.get_all("Reason")
        self.assertEqual(reason, ['SIP;cause=200;text="Call completed elsewhere"'])
        self.say(487)
        self.gateway.send(builders.response(self.gateway.request("CANCEL"), 200))
        self.finish()
        self.assertEqual(call.outcome, Outcome.REFUSED)

    def test_last_hop(self) -> None:
        """An INVITE with one hop left goes out with none: it may arrive, and go no further (RFC 7332)."""
        invite = builders.invite("sip:123@example.com", via=None, max_forwards=1, contact=self.alice.contact)
        invite.headers.set("From", "<sip:alice@example.com>;tag=1")
        self.alice.ask(invite)
        self.clock.advance(0.5)
        self.assertEqual(self.gateway.request("INVITE").max_forwards, 0)
        self.say(486)
        self.settle()
