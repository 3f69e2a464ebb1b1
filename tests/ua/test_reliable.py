"""Provisional responses that arrive for certain, as callee and as caller (RFC 3262)."""

from __future__ import annotations

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.events import Acknowledged, Answered, Cancelled, Ended, EndedBy, Progressed
from sipd.ua.incoming import IncomingCall
from tests.ua.support import THEM, US, AgentCase

OFFER = builders.sdp(THEM)
ANSWER = builders.sdp(US)
SDP_TYPE = (("Content-Type", "application/sdp"),)


class CalleeTests(AgentCase):
    """A call comes in."""

    def ringing(self, wish: str = "Supported", *, body: bytes = ANSWER) -> IncomingCall:
        """Give a call from a caller that requires or supports it, and that is told of early media."""
        call = self.offered(headers=[(wish, "100rel")])
        self.them.take()
        call.ring(183, headers=SDP_TYPE if body else (), body=body)
        self.clock.advance(0.1)
        return call

    def prack(self, response: Response, *, cseq: int = 2, rack: str = "", body: bytes = b"") -> None:
        """Let the caller acknowledge a response."""
        headers = [("RAck", rack or f"{response.headers.get('RSeq')} {response.cseq}")]
        self.them.send(
            builders.request(
                "PRACK", f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
                to_tag=response.to.tag, cseq=cseq, branch=f"z9hG4bK-p{cseq}", via=f"{THEM}:5060", headers=headers,
                body=body,
            )
        )  # fmt: skip
        self.clock.advance(0.1)

    def acknowledged(self) -> None:
        """Let the caller send the ACK; the session is up."""
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self.clock.advance(0.1)
        self.user.last(Acknowledged)

    def hung_up(self, call: IncomingCall) -> None:
        """Hang up, and let the caller agree."""
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_early_media(self) -> None:
        """It is numbered, repeated with doubled intervals until PRACK comes, and then no more (section 3)."""
        call = self.ringing()
        response = self.them.response(183)
        self.assertEqual((response.headers.get("Require"), response.body), ("100rel", ANSWER))
        self.assertGreater(int(response.headers.get("RSeq") or 0), 0)
        self.clock.advance(3.5)
        self.assertEqual(self.them.kinds(), ["183"] * 4)
        self.prack(response)
        self.assertEqual(self.them.kinds(), ["200"])
        self.clock.advance(30.0)
        self.assertEqual(self.them.kinds(), [])
        call.accept()
        self.clock.advance(0.1)
        self.acknowledged()
        self.hung_up(call)

    def test_ringing_without_a_description(self) -> None:
        """It needs no PRACK from a caller that does not insist, and the next one with a description does."""
        call = self.ringing(body=b"")
        self.assertNotIn("RSeq", self.them.response(183).headers)
        call.ring(183, headers=SDP_TYPE, body=ANSWER)
        self.clock.advance(0.1)
        self.prack(self.them.response(183))
        call.reject(486)
        self.settle()

    def test_required(self) -> None:
        """Where the caller insists, each is numbered, one after the other."""
        call = self.ringing("Require", body=b"")
        first = self.them.response(183)
        call.ring(180)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["183"])
        self.prack(first)
        second = self.them.response(180)
        self.assertEqual(int(second.headers.get("RSeq") or 0), int(first.headers.get("RSeq") or 0) + 1)
        self.prack(second, cseq=3)
        self.them.take()
        self.clock.advance(61.0)
        self.assertEqual(set(self.them.kinds()), {"180"})
        call.reject(486)
        self.settle()

    def test_answer_waits(self) -> None:
        """The 2xx follows the PRACK of the description before it, not sooner (section 3)."""
        call = self.ringing()
        response = self.them.response(183)
        call.accept()
        call.accept()
        self.clock.advance(0.3)
        self.assertNotIn("200", self.them.kinds())
        self.prack(response)
        self.assertEqual(
            [one.cseq.method for one in self.them.messages if isinstance(one, Response)], ["PRACK", "INVITE"]
        )
        self.acknowledged()
        self.hung_up(call)

    def test_never_acknowledged(self) -> None:
        """After 64*T1 the call is refused, and the user is told; also where the answer was waiting already."""
        for accepts in (False, True):
            self.setUp()
            call = self.ringing()
            if accepts:
                call.accept()
            self.clock.advance(33.0)
            self.assertEqual(self.them.kinds()[-1], "504")
            self.assertEqual(self.user.last(Ended).by, EndedBy.FAILURE)
            self.assertTrue(call.is_over)
            self.settle()

    def test_cancelled(self) -> None:
        """CANCEL stops the repetition; also where the answer was waiting already."""
        for accepts in (False, True):
            self.setUp()
            call = self.ringing()
            if accepts:
                call.accept()
            self.them.take()
            self.them.send(builders.cancel(self.invite))
            self.clock.advance(0.1)
            self.assertEqual(set(self.them.kinds()), {"200", "487"})
            self.user.last(Cancelled)
            self.clock.advance(10.0)
            self.assertNotIn("183", self.them.kinds())
            self.settle()

    def test_hung_up_while_the_answer_waits(self) -> None:
        """The INVITE is refused, and no BYE is owed: nothing was answered."""
        call = self.ringing()
        call.accept()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertIn("487", self.them.kinds())
        self.settle()

    def test_strange_pracks(self) -> None:
        """One for nothing gets 481, one without RAck 400; neither counts."""
        call = self.ringing()
        response = self.them.response(183)
        self.them.take()
        self.prack(response, rack=f"1 {response.cseq}", cseq=2)
        self.prack(response, rack="nonsense", cseq=3)
        self.prack(response, cseq=4)
        self.prack(response, cseq=5)
        self.assertEqual([kind for kind in self.them.kinds() if kind != "183"], ["481", "400", "200", "481"])
        call.reject(486)
        self.settle()

    def test_prack_with_an_offer(self) -> None:
        """The response counts as acknowledged; the offer is refused, and nothing changes."""
        call = self.ringing()
        self.prack(self.them.response(183), body=OFFER)
        self.assertEqual(self.them.kinds()[-1], "488")
        self.clock.advance(20.0)
        self.assertEqual(self.them.kinds(), [])
        call.reject(486)
        self.settle()

    def test_caller_without_it(self) -> None:
        """Nothing is numbered, and a PRACK is for nothing."""
        call = self.offered()
        call.ring(183, headers=SDP_TYPE, body=ANSWER)
        self.clock.advance(0.1)
        response = self.them.response(183)
        self.assertNotIn("RSeq", response.headers)
        self.prack(response, rack=f"1 {response.cseq}")
        self.assertEqual(self.them.kinds()[-1], "481")
        call.reject(486)
        self.settle()


class CallerTests(AgentCase):
    """A call goes out."""

    def said(self, status: int, rseq: int, *, tag: str = "t1") -> Response:
        """Let the callee say something that is to be acknowledged."""
        headers = [("Require", "100rel"), ("RSeq", str(rseq))]
        return self.answer(status, tag=tag, headers=headers)

    def pracks(self) -> list[Request]:
        """Give the PRACKs that came, and answer them."""
        pracks = [one for one in self.them.take() if isinstance(one, Request) and one.method == "PRACK"]
        for prack in pracks:
            self.them.send(builders.response(prack, 200))
        self.clock.advance(0.1)
        return pracks

    def answered(self, status: int = 200, tag: str = "t1") -> None:
        """Let the callee give a final response to the INVITE."""
        self.them.messages.append(self.invite)
        self.answer(status, tag=tag)

    def test_acknowledges(self) -> None:
        """Each new one is acknowledged once in its dialog, and told; repetitions and what is early are not."""
        call = self.calling(body=OFFER)
        self.invite = self.them.request("INVITE")
        self.assertIn("100rel", self.invite.headers.get("Supported") or "")
        for rseq in (7, 7, 9, 8, 9):
            self.them.messages.append(self.invite)
            self.said(183, rseq)
        pracks = self.pracks()
        self.assertEqual([prack.headers.get("RAck") for prack in pracks], [f"{n} 1 INVITE" for n in (7, 8, 9)])
        self.assertEqual([prack.cseq.number for prack in pracks], [2, 3, 4])
        self.assertEqual({(prack.to.tag, prack.uri_text) for prack in pracks}, {("t1", f"sip:bob@{THEM}")})
        self.assertEqual([type(event) for event in self.user.events], [Progressed] * 3)
        self.answered()
        self.user.last(Answered)
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        bye = self.them.request("BYE")
        self.assertEqual(bye.cseq.number, 5)
        self.them.send(builders.response(bye, 200))
        self.settle()

    def test_forks(self) -> None:
        """Each callee counts for itself (lesson 29)."""
        self.calling(body=OFFER)
        self.invite = self.them.request("INVITE")
        for rseq, tag in ((7, "t1"), (500, "t2"), (8, "t1"), (501, "t2")):
            self.them.messages.append(self.invite)
            self.said(180, rseq, tag=tag)
        pracks = [(prack.to.tag, (prack.headers.get("RAck") or "").split()[0]) for prack in self.pracks()]
        self.assertEqual(pracks, [("t1", "7"), ("t2", "500"), ("t1", "8"), ("t2", "501")])
        self.answered(486)
        self.settle()

    def test_late_offer(self) -> None:
        """An INVITE without an offer does not ask for one in a provisional response."""
        self.calling()
        self.invite = self.them.request("INVITE")
        self.assertNotIn("100rel", self.invite.headers.get("Supported") or "")
        self.answered(486)
        self.settle()

    def test_unreadable(self) -> None:
        """What has a number that is none is left alone, and so is what has no tag, and makes no dialog."""
        self.calling(body=OFFER)
        self.invite = self.them.request("INVITE")
        self.answer(180, headers=[("Require", "100rel"), ("RSeq", "x")])
        self.them.messages.append(self.invite)
        headers = [("Require", "100rel"), ("RSeq", "1")]
        self.them.send(builders.response(self.invite, 180, to_tag=None, headers=headers))
        self.clock.advance(0.1)
        self.assertEqual((self.pracks(), self.user.events), ([], []))
        self.answered(486)
        self.settle()

    def test_requests_of_the_callee(self) -> None:
        """Before its answer a callee may refresh, but not change anything; when it is refused, it is forgotten."""
        self.calling(body=OFFER)
        self.invite = self.them.request("INVITE")
        self.said(183, 1)
        self.pracks()
        for number, (method, body, status) in enumerate(
            (("UPDATE", b"", 200), ("UPDATE", OFFER, 488), ("OPTIONS", b"", 200), ("INFO", b"", 500)), 2
        ):
            self.them.send(
                builders.request(
                    method, f"sip:alice@{US}", call_id=self.invite.call_id, from_tag="t1",
                    to_tag=self.invite.from_.tag, cseq=number, branch=f"z9hG4bK-e{number}", via=THEM, body=body,
                )
            )  # fmt: skip
            self.clock.advance(0.1)
            self.assertEqual(self.them.kinds()[-1:], [str(status)], method)
        self.answered(486)
        self.settle()
