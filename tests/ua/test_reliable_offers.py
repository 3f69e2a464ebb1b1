"""Offers that a callee makes before its answer, and callers that have to take them reliably (RFC 3262 section 5)."""

from __future__ import annotations

from dataclasses import replace

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.events import Acknowledged, Answered, ProgressAcknowledged, Progressed
from sipd.ua.incoming import IncomingCall
from sipd.ua.outgoing import OutgoingCall
from tests.ua.support import THEM, US, AgentCase

OFFER, ANSWER = builders.sdp(THEM), builders.sdp(US)
SDP_TYPE = (("Content-Type", "application/sdp"),)


class CallerTests(AgentCase):
    """A call goes out without an offer, and takes one in a reliable provisional response."""

    def setUp(self) -> None:
        """Count what is wrong."""
        super().setUp()
        self.told: list[str] = []
        self.agent.explanation = lambda session, text: self.told.append(text)

    def asked(self) -> OutgoingCall:
        """Give the call."""
        call = self.calling(takes_reliable_offer=True)
        self.invite = self.them.request("INVITE")
        self.assertIn("100rel", self.invite.headers.get("Supported") or "")
        self.them.take()
        return call

    def said(self, status: int, rseq: int | None, *, tag: str = "t1", body: bytes = OFFER) -> Response:
        """Let the callee say something."""
        headers = [] if rseq is None else [("Require", "100rel"), ("RSeq", str(rseq))]
        self.them.messages.append(self.invite)
        response = self.answer(status, tag=tag, headers=headers, body=body)
        self.them.messages.remove(self.invite)
        return response

    def progressed(self) -> list[tuple[int, bool]]:
        """Give what was told of provisional responses."""
        events = [event for event in self.user.events if isinstance(event, Progressed)]
        return [(event.response.status, event.owes_prack) for event in events]

    def pracked(self, status: int = 200) -> Request:
        """Give the PRACK that came, and answer it."""
        prack = self.them.request("PRACK")
        self.them.take()
        self.them.send(builders.response(prack, status))
        self.clock.advance(0.1)
        return prack

    def up(self, call: OutgoingCall) -> None:
        """Let the callee answer, and hang up."""
        self.said(200, None, body=b"")
        self.user.last(Answered)
        call.acknowledge()
        self.clock.advance(0.1)
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_answers_it(self) -> None:
        """The PRACK waits for the answer, and carries it; repetitions meanwhile, and what comes early, are ignored."""
        call = self.asked()
        self.said(183, 7)
        self.said(183, 7)
        self.said(180, 8, body=b"")
        self.assertEqual((self.them.kinds(), self.progressed()), ([], [(183, True)]))
        response = self.user.last(Progressed).response
        call.acknowledge_progress(response, SDP_TYPE, ANSWER)
        call.acknowledge_progress(response, SDP_TYPE, ANSWER)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["PRACK"])
        self.said(183, 7)
        self.assertEqual(self.them.kinds(), [])
        self.assertEqual(call._first.early["t1"].updates.description, ("application/sdp", ANSWER))
        self.said(180, 8, body=b"")
        prack = self.pracked()
        self.assertEqual((prack.headers.get("RAck"), prack.body), ("8 1 INVITE", b""))
        self.assertEqual(self.progressed(), [(183, True), (180, False)])
        self.up(call)

    def test_prack(self) -> None:
        """It is a request of its dialog, with what the user says."""
        call = self.asked()
        self.said(183, 7)
        call.acknowledge_progress(self.user.last(Progressed).response, (*SDP_TYPE, ("X-Y", "z")), ANSWER)
        self.clock.advance(0.1)
        prack = self.pracked()
        self.assertEqual((prack.headers.get("RAck"), prack.body, prack.to.tag), ("7 1 INVITE", ANSWER, "t1"))
        self.assertEqual((prack.headers.get("Content-Type"), prack.headers.get("X-Y")), ("application/sdp", "z"))
        self.up(call)

    def test_without_a_description(self) -> None:
        """What makes no offer is acknowledged at once, and so is what follows the offer; what is unreliable never."""
        call = self.asked()
        self.said(180, None, body=b"")
        self.said(183, None)
        self.said(182, 7, body=b"")
        self.assertEqual(self.pracked().body, b"")
        self.said(183, 8)
        call.acknowledge_progress(self.user.last(Progressed).response, SDP_TYPE, ANSWER)
        self.clock.advance(0.1)
        self.pracked()
        self.said(183, 9)
        self.assertEqual(self.pracked().body, b"")
        owed = [(180, False), (183, False), (182, False), (183, True), (183, False)]
        self.assertEqual(self.progressed(), owed)
        self.up(call)

    def test_forks(self) -> None:
        """Each callee makes its own offer."""
        call = self.asked()
        for tag in ("t1", "t2"):
            self.said(183, 7, tag=tag)
        first, second = [event.response for event in self.user.events if isinstance(event, Progressed)]
        call.acknowledge_progress(second, SDP_TYPE, ANSWER)
        self.clock.advance(0.1)
        self.assertEqual(self.pracked().to.tag, "t2")
        call.acknowledge_progress(first, SDP_TYPE, ANSWER)
        self.clock.advance(0.1)
        self.assertEqual(self.pracked().to.tag, "t1")
        self.up(call)

    def test_cancelled_or_refused(self) -> None:
        """If the call is over before the user has an answer there is nothing more to acknowledge, and nothing left."""
        for cancels in (True, False):
            self.setUp()
            call = self.asked()
            self.said(183, 7)
            response = self.user.last(Progressed).response
            if cancels:
                call.hang_up()
                self.clock.advance(0.1)
                self.assertEqual(self.them.kinds(), ["CANCEL"])
            self.said(487, None, body=b"")
            self.them.take()
            call.acknowledge_progress(response, SDP_TYPE, ANSWER)
            self.clock.advance(0.1)
            self.assertEqual(self.them.kinds(), [])
            self.settle()

    def test_answered_before(self) -> None:
        """A callee that answers without waiting for the PRACK gets none any more."""
        call = self.asked()
        self.said(183, 7)
        response = self.user.last(Progressed).response
        self.said(200, None)
        call.acknowledge_progress(response, SDP_TYPE, ANSWER)
        call.acknowledge(SDP_TYPE, ANSWER)
        self.clock.advance(0.1)
        self.assertEqual(self.them.request("ACK").body, ANSWER)
        self.assertEqual(self.them.kinds(), ["ACK"])
        self.assertEqual(call.updates.description, ("application/sdp", ANSWER))
        call.hang_up()
        self.settle()

    def test_lost_prack(self) -> None:
        """A PRACK that is refused, or has no answer, is explained; what comes of the call is the callee's to say."""
        for status in (488, 0):
            self.setUp()
            call = self.asked()
            self.said(183, 7)
            call.acknowledge_progress(self.user.last(Progressed).response, SDP_TYPE, ANSWER)
            self.clock.advance(0.1)
            if status:
                self.pracked(status)
            else:
                self.clock.advance(33.0)
                self.assertGreater(self.them.kinds().count("PRACK"), 5)
            self.assertTrue(self.told[-1].startswith("PRACK: "))
            self.said(504, None, body=b"")
            self.settle()

    def test_with_an_offer(self) -> None:
        """A call that makes an offer gets the answer, and acknowledges it by itself, whatever was said of offers."""
        call = self.calling(body=OFFER, takes_reliable_offer=True)
        self.invite = self.them.request("INVITE")
        self.them.take()
        self.said(183, 7)
        self.pracked()
        self.assertEqual(self.progressed(), [(183, False)])
        call.acknowledge_progress(self.user.last(Progressed).response, SDP_TYPE, ANSWER)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), [])
        self.up(call)


class CalleeTests(AgentCase):
    """A call comes in without an offer, and gets one in a reliable provisional response."""

    def ringing(self, wish: str = "Supported") -> IncomingCall:
        """Give the call."""
        call = self.offered(headers=[(wish, "100rel")], body=b"")
        call.ring(183, headers=SDP_TYPE, body=ANSWER)
        self.clock.advance(0.1)
        self.early = self.them.response(183)
        self.them.take()
        return call

    def prack(self, cseq: int = 2, *, response: Response | None = None, body: bytes = b"", to: str = "") -> Request:
        """Let the caller acknowledge a response."""
        response = response or self.early
        prack = builders.request(
            "PRACK", f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
            to_tag=self.early.to.tag, cseq=cseq, branch=f"z9hG4bK-p{cseq}", via=THEM, body=body,
            headers=[("RAck", f"{response.headers.get('RSeq')} {response.cseq}")],
        )  # fmt: skip
        self.them.send(prack)
        self.clock.advance(0.1)
        return prack

    def up(self, call: IncomingCall) -> None:
        """Answer the call, and hang up."""
        call.accept()
        self.clock.advance(0.1)
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self.clock.advance(0.1)
        self.user.last(Acknowledged)
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_told_of_the_answer(self) -> None:
        """The PRACK is answered with 200, and the user is told of what it carries, once."""
        call = self.ringing()
        prack = self.prack(body=OFFER)
        self.assertEqual(self.user.last(ProgressAcknowledged).prack.body, OFFER)
        self.them.send(prack)
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), len(self.user.events)), (["200", "200"], 1))
        self.up(call)

    def test_told_of_none(self) -> None:
        """A PRACK without an answer is told of, too: then there is nothing agreed."""
        call = self.ringing()
        self.prack()
        self.assertEqual(self.user.last(ProgressAcknowledged).prack.body, b"")
        self.assertEqual(self.them.kinds(), ["200"])
        self.up(call)

    def test_strange(self) -> None:
        """One for something else is 481, and tells nothing."""
        call = self.ringing()
        other = self.early.copy()
        other.headers.set("RSeq", "1")
        self.prack(response=other, body=OFFER)
        self.assertEqual((self.them.kinds()[-1], self.user.events), ("481", []))
        self.prack(3, body=OFFER)
        self.user.last(ProgressAcknowledged)
        self.them.take()
        self.up(call)

    def test_only_the_first(self) -> None:
        """Only the response with the offer is told of; an offer in the PRACK of a later one is another offer: 488."""
        call = self.ringing("Require")
        self.prack(body=OFFER)
        call.ring(180)
        self.clock.advance(0.1)
        self.prack(3, response=self.them.response(180))
        call.ring(183, headers=SDP_TYPE, body=ANSWER)
        self.clock.advance(0.1)
        self.prack(4, response=self.them.response(183), body=OFFER)
        statuses = [kind for kind in self.them.kinds() if kind in ("200", "488")]
        self.assertEqual((statuses, len(self.user.events)), (["200", "200", "488"], 1))
        self.up(call)

    def test_answer_follows(self) -> None:
        """The 2xx waits for it; the ACK owes no answer then, so that another change needs not wait for it."""
        call = self.ringing()
        call.accept()
        self.prack(body=OFFER)
        self.user.last(ProgressAcknowledged)
        answers = [(one.status, one.cseq.method) for one in self.them.take() if isinstance(one, Response)]
        self.assertEqual(answers, [(200, "PRACK"), (200, "INVITE")])
        self.them.send(
            builders.request(
                "UPDATE", f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
                to_tag=self.early.to.tag, cseq=3, branch="z9hG4bK-u", via=THEM, body=OFFER,
            )
        )  # fmt: skip
        self.clock.advance(0.1)
        self.assertTrue(call.updates.is_answering)
        call.hang_up()
        self.settle()

    def test_never_acknowledged(self) -> None:
        """Without a PRACK the call is refused after 64*T1."""
        call = self.ringing()
        self.clock.advance(33.0)
        self.assertEqual(self.them.kinds()[-1], "504")
        self.assertTrue(call.is_over)
        self.settle()

    def test_user_that_ends_it(self) -> None:
        """A user that ends the call when it hears what is, or is not, in the PRACK leaves nothing running."""
        for is_waiting in (True, False):
            self.setUp()
            call = self.ringing()
            if is_waiting:
                call.ring(183, headers=SDP_TYPE, body=ANSWER)
            self.user.on_event = lambda session: session.hang_up()
            self.prack()
            self.assertTrue(call.is_over)
            self.settle()


class RequiredTests(AgentCase):
    """What callers support, and what they have to."""

    def test_is_reliable(self) -> None:
        """All that is said to who requires it, descriptions to who supports it, nothing else."""
        for headers, expected in (
            ([("Require", "100rel")], (True, True)),
            ([("Supported", "timer, 100rel")], (True, False)),
            ([], (False, False)),
        ):
            self.setUp()
            call = self.offered(headers=headers)
            self.assertEqual(
                (call.is_reliable(has_description=True), call.is_reliable(has_description=False)), expected
            )
            call.reject(486)
            self.settle()

    def test_extension_required(self) -> None:
        """Where that is so a caller without 100rel gets 421, with what it lacks (RFC 3261 section 21.4.16)."""
        self.agent.settings = replace(self.agent.settings, require_reliable=True)
        self.them.send(builders.invite(f"sip:bob@{US}", via=f"{THEM}:5060"))
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(421).headers.get("Require"), "100rel")
        self.assertEqual(self.user.calls, [])
        self.settle()
        call = self.offered(headers=[("Supported", "100rel")], branch="z9hG4bK-2", call_id="call-2")
        call.reject(486)
        self.settle()

    def test_unreadable(self) -> None:
        """A caller that says what nobody can read gets 400, not silence when the call is to ring."""
        self.them.send(builders.invite(f"sip:bob@{US}", via=f"{THEM}:5060", headers=[("Supported", '",')]))
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), self.user.calls), (["400"], []))
        self.settle()
