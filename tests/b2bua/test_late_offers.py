"""INVITEs without an offer, whose answer comes in the ACK, or does not (RFC 3261 section 13.2.1, lesson 35)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import CallState, Outcome, PeerCall
from tests.b2bua.support import BOB, SIPD, BridgeCase
from tests.ua.support import Wire

CALLER = "192.0.2.9"


class LateOfferTests(BridgeCase):
    """A caller that says only what the test tells it to, without an offer."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="bob", user=re.compile("bob"), to=f"sip:bob@{BOB}", authenticate=False),
    )

    def setUp(self) -> None:
        """Add it."""
        super().setUp()
        self.caller = Wire(self.network, CALLER)

    def _call(self, take: Callable[[PeerCall], object] = lambda call: call.answer()) -> None:
        """Call Bob, who takes the call so."""
        self.bob.on_call = lambda call: call.later(0.2, take, call)
        self.invite = builders.invite(
            f"sip:bob@{SIPD}", caller=f"sip:x@{CALLER}", body=b"", via=f"{CALLER}:5060", contact=f"<sip:x@{CALLER}>",
            branch=f"z9hG4bK-{len(self.bob.calls)}", call_id=f"call-{len(self.bob.calls)}",
        )  # fmt: skip
        self.caller.send(self.invite, (SIPD, 5060))
        self.clock.advance(0.4)

    def _acknowledge(self, invite: Request, response: Response, body: bytes = b"") -> None:
        ack = builders.ack(invite, response)
        if body:
            ack.headers.add("Content-Type", "application/sdp")
            ack.body = body
        self.caller.send(ack, (SIPD, 5060))
        self.clock.advance(0.1)

    def _answer_byes(self) -> None:
        self.caller.send(builders.response(self.caller.request("BYE"), 200), (SIPD, 5060))

    def _reinvite(self, response: Response, body: bytes = b"") -> Request:
        """Send a re-INVITE, without an offer or with one."""
        again = builders.invite(
            f"sip:bob@{SIPD}", caller=f"sip:x@{CALLER}", body=body, via=f"{CALLER}:5060", contact=f"<sip:x@{CALLER}>",
            to_tag=response.to.tag, cseq=2, branch="z9hG4bK-again", call_id=self.invite.call_id,
        )  # fmt: skip
        self.caller.send(again, (SIPD, 5060))
        self.clock.advance(0.2)
        return again

    def test_answer_in_the_ack(self) -> None:
        """The callee is acknowledged when the caller's answer is there, and not before."""
        self._call()
        answered = self.bob.calls[0]
        offer = self.caller.response(200)
        self.assertIn(b"m=audio", offer.body)
        self.assertFalse(answered.is_acknowledged)
        self._acknowledge(self.invite, offer, builders.sdp_answer(offer.body, CALLER))
        self.assertTrue(answered.is_acknowledged)
        self.assertIn(b"m=audio", answered.remote_body)
        answered.hang_up()
        self.clock.advance(0.1)
        self._answer_byes()
        self.finish()

    def test_ack_without_an_answer(self) -> None:
        """There is no session then: both legs are ended, and the record says why."""
        for body in (b"", b"nonsense", builders.sdp(CALLER, media=("audio", "audio"))):
            self._call()
            self._acknowledge(self.invite, self.caller.response(200), body)
            self._answer_byes()
            record = self.finish()
            self.server.records.records.clear()
            answered = self.bob.calls[-1]
            self.assertEqual((record.ended_by, record.cause), ("sipd", "bad-answer"))
            self.assertEqual((answered.outcome, answered.ended_by), (Outcome.ANSWERED, "them"))
            self.assertTrue(answered.is_acknowledged)
            self.caller.take()

    def test_answer_after_the_media_ended(self) -> None:
        """What this side lacks ends both legs like an answer that cannot be used."""
        self._call()
        ok = self.caller.response(200)
        self.server.relay.sessions[0].close()
        self._acknowledge(self.invite, ok, builders.sdp_answer(ok.body, CALLER))
        self._answer_byes()
        record = self.finish()
        self.assertEqual(record.cause, "bad-answer")
        self.assertEqual(record.attempts[0].ended_at, record.ended_at)
        self.assertTrue(self.bob.calls[0].is_acknowledged)

    def test_no_ack(self) -> None:
        """Without any ACK both legs end after 64*T1."""
        self._call()
        self.clock.advance(33.0)
        self._answer_byes()
        self.assertEqual(self.finish().status, 200)
        self.assertEqual(self.bob.calls[0].state, CallState.ENDED)

    def test_caller_hangs_up_instead_of_answering(self) -> None:
        """A BYE in the place of the ACK ends both legs."""
        self._call()
        self.caller.send(builders.bye(self.invite, self.caller.response(200)), (SIPD, 5060))
        self.clock.advance(0.2)
        self.assertEqual(self.finish().ended_by, "caller")
        self.assertEqual(self.bob.calls[0].ended_by, "them")

    def test_callee_without_an_offer(self) -> None:
        """A 200 without an offer cannot be used: ACK and BYE to the callee, 488 to the caller."""
        self._call(lambda call: call.answer(body=b""))
        self._acknowledge(self.invite, self.caller.response(488))
        self.assertEqual(self.finish().status, 488)
        answered = self.bob.calls[0]
        self.assertEqual((answered.is_acknowledged, answered.ended_by), (True, "them"))

    def test_early_description_is_no_offer(self) -> None:
        """A description in an unreliable 183 cannot be an offer, and does not cross (section 13.2.1)."""
        self._call(lambda call: call.ring(183, body=builders.sdp(BOB)))
        self.assertEqual(self.caller.response(183).body, b"")
        self.bob.calls[0].refuse()
        self.clock.advance(0.2)
        self._acknowledge(self.invite, self.caller.response(486))
        self.finish()

    def test_change_without_an_offer(self) -> None:
        """A re-INVITE without one gets the callee's, and the callee its ACK with the answer of the caller's ACK."""
        self._call()
        ok = self.caller.response(200)
        self._acknowledge(self.invite, ok, builders.sdp_answer(ok.body, CALLER))
        again = self._reinvite(ok)
        offer = self.caller.response(200)
        self.assertEqual(offer.cseq.number, 2)
        self._acknowledge(again, offer, builders.sdp_answer(offer.body, CALLER, version=2))
        acks = [one for one in self.seen(self.bob, "ACK") if isinstance(one, Request)]
        self.assertEqual([bool(ack.body) for ack in acks], [True, True])
        self.bob.calls[0].hang_up()
        self.clock.advance(0.1)
        self._answer_byes()
        self.finish()

    def test_change_with_an_offer(self) -> None:
        """After a late offer a change may carry its own; its ACK owes nothing any more."""
        self._call()
        ok = self.caller.response(200)
        self._acknowledge(self.invite, ok, builders.sdp_answer(ok.body, CALLER))
        again = self._reinvite(ok, builders.sdp(CALLER, version=2))
        self._acknowledge(again, self.caller.response(200))
        self.clock.advance(1.0)
        self.assertTrue(self.bob.calls[0].is_answered)
        self.bob.calls[0].hang_up()
        self.clock.advance(0.1)
        self._answer_byes()
        self.assertEqual(self.finish().cause, "bye")

    def test_change_without_an_answer(self) -> None:
        """An ACK that leaves the callee's offer unanswered leaves no session: both legs end."""
        self._call()
        ok = self.caller.response(200)
        self._acknowledge(self.invite, ok, builders.sdp_answer(ok.body, CALLER))
        again = self._reinvite(ok)
        self._acknowledge(again, self.caller.response(200))
        self._answer_byes()
        self.assertEqual(self.finish().cause, "bad-answer")
        self.assertEqual(self.bob.calls[0].ended_by, "them")

    def test_change_before_the_answer(self) -> None:
        """A re-INVITE of the callee that overtakes the caller's answer is told to wait: 491 (section 14.1)."""
        self._call()
        answered = self.bob.calls[0]
        answered.is_acknowledged = True
        change = answered.reinvite()
        self.clock.advance(0.2)
        response = self.successResultOf(change)
        assert response is not None
        self.assertEqual(response.status, 491)
        ok = self.caller.response(200)
        self._acknowledge(self.invite, ok, builders.sdp_answer(ok.body, CALLER))
        answered.hang_up()
        self.clock.advance(0.1)
        self._answer_byes()
        self.finish()
