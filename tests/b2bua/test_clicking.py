"""Click-to-dial: REFER outside of a dialog (RFC 3515, RFC 3725 section 4.4)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipd.sdp.description import Direction, parse_description
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import Outcome
from sipd.testing.exchanges import Reply
from sipd.testing.peer import Peer
from tests.b2bua.support import BridgeCase


class ClickCase(BridgeCase):
    """Alice has a program that asks for calls; her phone and Bob's answer."""

    def setUp(self) -> None:
        """Let both answer."""
        super().setUp()
        self.notified: list[str] = []
        self.alice.on_other = self._take
        self.alice.auto_answer(after=1.0)
        self.bob.auto_answer(after=1.0)

    def _take(self, request: Request, reply: Reply) -> bool:
        if request.method != "NOTIFY":
            return False
        self.notified.append(request.body.decode().split(None, 1)[1].strip())
        reply(builders.response(request, 200))
        return True

    def refer(
        self, target: str = "<sip:bob@example.com>", *, who: Peer | None = None, first: str = "sip:alice@example.com"
    ) -> Deferred[Response | None]:
        """Ask for a call."""
        peer = who or self.alice
        return peer.ask(
            builders.request(
                "REFER", first, caller=peer.aor, callee=first, from_tag=new_tag(peer.entropy),
                call_id=new_call_id(peer.entropy), via=None, contact=peer.contact, headers=[("Refer-To", target)],
            )
        )  # fmt: skip

    def status(self, asked: Deferred[Response | None]) -> int:
        """Give the final status of that."""
        response = self.successResultOf(asked)
        assert response is not None
        return response.status


class ClickTests(ClickCase):
    """From the click to the call."""

    def test_both_are_called(self) -> None:
        """Alice's phone rings first, and hears nothing until Bob has answered; then the two talk, as in any call."""
        asked = self.refer()
        self.clock.advance(1.3)
        self.assertEqual(self.status(asked), 202)
        (hers,) = self.alice.calls
        self.assertTrue(hers.is_answered)
        self.assertEqual(hers.invite.body, b"")
        self.assertEqual(str(hers.invite.from_.uri), "sip:bob@example.com")
        (stream,) = parse_description(hers.remote_body).media
        self.assertEqual(stream.direction, Direction.INACTIVE)
        self.clock.advance(3.0)
        (his,) = self.bob.calls
        self.assertTrue(his.is_answered)
        self.assertEqual(str(his.invite.from_.uri), "sip:alice@example.com")
        self.assertNotIn(b"a=inactive", hers.remote_body)
        self.assertNotIn(b"c=IN IP4 0.0.0.0", hers.remote_body)
        self.assertEqual([set(pair) for pair in self.server.relay.sessions[0].connected], [{"b1", "b2"}])
        self.assertEqual(self.notified, ["100 Trying", "180 Ringing", "200 OK"])
        his.hang_up()
        record = self.finish()
        self.assertFalse(hers.is_answered)
        self.assertEqual((record.user, record.status, record.cause), ("alice", 200, "bye"))
        self.assertEqual((record.caller, record.callee), ("sip:alice@example.com", "sip:bob@example.com"))

    def test_nobody_answers_first(self) -> None:
        """If the first phone refuses nobody else is called."""
        self.alice.auto_refuse(486)
        self.refer()
        self.clock.advance(3.0)
        self.assertEqual(self.notified, ["100 Trying", "486 Busy Here"])
        self.assertEqual(self.bob.calls, [])
        self.assertEqual(self.finish().cause, "sip:486")

    def test_target_refuses(self) -> None:
        """Then the first phone is hung up on."""
        self.bob.auto_refuse(603)
        self.refer()
        self.clock.advance(5.0)
        self.assertEqual(self.notified[-1], "603 Decline")
        self.assertEqual(self.alice.calls[0].ended_by, "them")
        self.assertEqual(self.finish().status, 603)

    def test_first_leaves(self) -> None:
        """If who waits hangs up the other phone stops ringing."""
        self.bob.auto_ring()
        self.refer()
        self.clock.advance(3.0)
        self.alice.calls[0].hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.bob.calls[0].outcome, Outcome.CANCELLED)
        self.assertEqual(self.notified[-1], "487 Request Terminated")
        self.finish()

    def test_first_changes_while_it_waits(self) -> None:
        """What it asks for meanwhile is told to wait."""
        self.bob.auto_ring()
        self.refer()
        self.clock.advance(3.0)
        change = self.alice.calls[0].reinvite()
        self.clock.advance(1.0)
        self.assertEqual(self.status(change), 491)
        self.assertEqual(self.bob.calls[0].outcome, Outcome.OPEN)
        self.server.b2bua.stop_calls("shutdown")
        self.clock.advance(1.0)
        self.assertEqual(self.notified[-1], "503 Service Unavailable")
        self.finish()

    def test_first_says_who_it_is_while_it_waits(self) -> None:
        """An UPDATE without an offer, with an identity in it, disturbs nothing."""
        self.bob.auto_ring()
        self.alice.fields = (("Allow", "INVITE, ACK, BYE, CANCEL, UPDATE"),)
        self.refer()
        self.clock.advance(3.0)
        told = self.alice.calls[0].request("UPDATE", headers=(("P-Asserted-Identity", "<sip:alice@example.com>"),))
        self.clock.advance(1.0)
        self.assertEqual(self.status(told), 200)
        self.assertEqual(self.bob.calls[0].outcome, Outcome.OPEN)
        self.bob.calls[0].answer()
        self.clock.advance(2.0)
        self.assertTrue(self.alice.calls[0].is_answered and self.bob.calls[0].is_answered)
        self.alice.calls[0].hang_up()
        self.finish()

    def test_explained(self) -> None:
        """The explanation says where both parties were looked for, and why there."""
        self.refer()
        self.clock.advance(5.0)
        self.bob.calls[0].hang_up()
        self.finish()
        explanation = self.explanation()
        self.assertIn("1 contact of alice", explanation)
        self.assertIn("1 contact of bob", explanation)

    def test_who_may(self) -> None:
        """Users of ours only, for calls that they could make themselves; what is malformed is said to be."""
        stranger = self.phone("192.0.2.7", "mallory", register=False)
        for asked, status in (
            (self.refer(who=stranger), 407),
            (self.refer("<sip:a@elsewhere.example>"), 403),
            (self.refer(first="sip:nobody@example.com"), 404),
            (self.refer("<sip:bob@example.com;method=BYE>"), 501),
            (self.refer("<>"), 400),
        ):
            self.clock.advance(1.0)
            self.assertEqual(self.status(asked), status)
        self.assertEqual((self.alice.calls, self.bob.calls, self.notified), ([], [], []))
        self.settle()
        # A refused call of a user of ours is a call; what nobody of ours asked for, or cannot be one, is none.
        self.assertEqual(
            [(record.user, record.status, record.cause) for record in self.server.records.records],
            [("alice", 403, "refused"), ("alice", 404, "refused")],
        )
