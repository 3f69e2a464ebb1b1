"""The callee's side: answers, their ACK, and the races around them (RFC 3261 section 13.3, RFC 5407)."""

from __future__ import annotations

from sipd.sip.message import Response
from sipd.testing import builders
from sipd.ua.events import Acknowledged, Cancelled, Ended, EndedBy, Reinvited
from tests.ua.support import THEM, AgentCase


class AnswerTests(AgentCase):
    """A 2xx and its ACK."""

    def _accepted(self) -> Response:
        self.offered().accept([("Content-Type", "application/sdp")], builders.sdp())
        self.clock.advance(0.1)
        return self.them.response(200)

    def test_answer_carries_what_makes_a_dialog(self) -> None:
        """Contact, Record-Route, To tag, Allow (section 12.1.1, 13.3.1.4)."""
        routes = [("Record-Route", "<sip:p1.example.com;lr>"), ("Record-Route", "<sip:p2.example.com;lr>")]
        self.offered(headers=routes).accept()
        self.clock.advance(0.1)
        response = self.them.response(200)
        self.assertEqual(response.headers.get("Contact"), "<sip:bob@192.0.2.1:5060>")
        self.assertEqual(response.headers.get_all("Record-Route"), [value for _, value in routes])
        self.assertTrue(response.to.tag)
        self.assertIn("BYE", response.headers.tokens("Allow"))
        self.agent._sessions.copy().pop().hang_up()
        self.settle()

    def test_ringing_carries_what_makes_an_early_dialog(self) -> None:
        """Contact, Record-Route and To tag stand in a 180, too (section 12.1.1); the 2xx has the same tag."""
        call = self.offered(headers=[("Record-Route", "<sip:p1.example.com;lr>")])
        call.ring(180, "It Rings", [("Alert-Info", "<urn:alert:service:normal>")])
        self.clock.advance(0.1)
        ringing = self.them.response(180)
        self.assertEqual(ringing.headers.get("Contact"), "<sip:bob@192.0.2.1:5060>")
        self.assertEqual(ringing.headers.get("Record-Route"), "<sip:p1.example.com;lr>")
        self.assertEqual((ringing.reason, "Alert-Info" in ringing.headers), ("It Rings", True))
        call.accept()
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(200).to.tag, ringing.to.tag)
        call.hang_up()
        self.settle()

    def test_whether_it_is_answered(self) -> None:
        """By a final response of this side, or by the CANCEL of the other one; after that nothing answers again."""
        call = self.offered()
        call.ring()
        self.assertFalse(call.is_answered)
        call.reject(486, "Busy", [("X-Why", "meeting")], b"")
        self.assertTrue(call.is_answered)
        call.accept()
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(486).headers.get("X-Why"), "meeting")
        self.them.send(builders.ack(self.invite, self.them.response(486)))
        self.settle()
        self.assertEqual(self.them.kinds(), ["180", "486"])

    def test_nothing_runs_on_after_the_ack(self) -> None:
        """The ACK stops every timer of the answer."""
        response = self._accepted()
        call = self.user.calls[0]
        self.assertEqual(len(call._first._timers), 2)
        self.them.send(builders.ack(self.invite, response))
        self.clock.advance(0.1)
        self.assertEqual(len(call._first._timers), 0)
        call.hang_up()
        self.settle()

    def test_2xx_is_repeated_until_the_ack(self) -> None:
        """It goes out after T1, doubled up to T2, until the ACK comes (13.3.1.4)."""
        response = self._accepted()
        self.clock.advance(8.0)
        self.assertEqual(self.them.kinds().count("200"), 5)
        self.them.send(builders.ack(self.invite, response))
        self.clock.advance(20.0)
        self.assertEqual(self.them.kinds(), [])
        self.user.last(Acknowledged)
        self.user.calls[0].hang_up()
        self.settle()

    def test_no_ack_ends_the_call_with_bye(self) -> None:
        """After 64*T1 without an ACK the dialog is ended, and the user told (13.3.1.4)."""
        self._accepted()
        self.clock.advance(33.0)
        self.assertIn("BYE", self.them.kinds())
        self.assertIs(self.user.last(Ended).by, EndedBy.FAILURE)
        self.settle()

    def test_bye_waits_for_the_ack(self) -> None:
        """A callee that hangs up at once says BYE only when the ACK is here (section 15)."""
        response = self._accepted()
        self.user.calls[0].hang_up()
        self.clock.advance(1.0)
        self.assertNotIn("BYE", self.them.kinds())
        self.them.send(builders.ack(self.invite, response))
        self.clock.advance(0.1)
        bye = self.them.request("BYE")
        self.assertEqual((bye.uri_text, str(bye.cseq)), (f"sip:alice@{THEM}", "1 BYE"))
        self.them.send(builders.response(bye, 200))
        self.settle()

    def test_ack_of_another_number_does_not_count(self) -> None:
        """Only the ACK with the INVITE's CSeq number stops the repetition (lesson 28)."""
        response = self._accepted()
        ack = builders.ack(self.invite, response)
        ack.headers.set("CSeq", "99 ACK")
        self.them.send(ack)
        self.clock.advance(3.0)
        self.assertGreater(self.them.kinds().count("200"), 1)
        self.user.calls[0].hang_up()
        self.settle()

    def test_ack_for_nobody_is_dropped(self) -> None:
        """An ACK with strange tags gets no answer (section 13.3.1.4 and 17)."""
        ack = builders.request("ACK", to_tag="nobody", via=f"{THEM}:5060")
        self.them.send(ack)
        self.clock.advance(40.0)
        self.assertEqual(self.them.kinds(), [])

    def test_reinvite_before_the_ack_stands_for_it(self) -> None:
        """A caller that goes on has the 2xx: a lost ACK does not lose its re-INVITE (lesson 28)."""
        response = self._accepted()
        again = builders.invite(
            f"sip:bob@{THEM}", to_tag=response.to.tag, cseq=2, via=f"{THEM}:5060", branch="z9hG4bK-2",
            contact=f"<sip:alice@{THEM}>",
        )  # fmt: skip
        self.them.take()
        self.them.send(again)
        self.clock.advance(0.1)
        answering = self.user.last(Reinvited).answering
        answering.accept()
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.assertEqual(ok.cseq.number, 2)
        self.them.send(builders.ack(again, ok))
        self.clock.advance(40.0)
        self.assertEqual(self.them.kinds(), ["200"])
        self.user.calls[0].hang_up()
        self.settle()

    def test_second_invite_before_the_answer(self) -> None:
        """It is refused with 500 and a Retry-After of 0 to 10 seconds (section 14.2)."""
        call = self.offered()
        call.ring()
        self.clock.advance(0.1)
        tag = self.them.response(180).to.tag
        self.them.send(builders.invite(f"sip:bob@{THEM}", to_tag=tag, cseq=2, via=f"{THEM}:5060", branch="z9hG4bK-2"))
        self.clock.advance(0.1)
        refusal = self.them.response(500)
        self.assertLessEqual(int(refusal.headers.get("Retry-After") or "99"), 10)
        call.reject(480)
        self.settle()


class EndTests(AgentCase):
    """Calls that end before or after the answer."""

    def test_cancel(self) -> None:
        """CANCEL gets 200, the INVITE 487, and the user is told once (section 9.2)."""
        self.offered().ring()
        self.clock.advance(0.1)
        self.them.take()
        self.them.send(builders.cancel(self.invite))
        self.clock.advance(0.1)
        self.assertEqual(sorted(self.them.kinds()), ["200", "487"])
        self.user.last(Cancelled)
        self.user.calls[0].accept()
        self.settle()

    def test_no_bye_after_a_cancel(self) -> None:
        """A user that hangs up as soon as it hears of the CANCEL says nothing more to the caller."""
        call = self.offered()
        call.ring()
        self.user.on_event = lambda session: session.hang_up()
        self.them.send(builders.cancel(self.invite))
        self.clock.advance(1.0)
        self.assertNotIn("BYE", self.them.kinds())
        self.settle()

    def test_cancel_after_the_answer_changes_nothing(self) -> None:
        """It gets its 200, and the call goes on (section 9.2)."""
        self.offered().accept()
        self.clock.advance(0.1)
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self.them.send(builders.cancel(self.invite))
        self.clock.advance(0.1)
        self.assertTrue(self.user.calls[0].is_established)
        self.user.calls[0].hang_up()
        self.settle()

    def test_bye_before_the_answer(self) -> None:
        """A caller may end an early dialog with BYE: 200 to it and 487 to the INVITE (15.1.2)."""
        self.offered().ring()
        self.clock.advance(0.1)
        ringing = self.them.response(180)
        self.them.take()
        self.them.send(builders.bye(self.invite, ringing))
        self.clock.advance(0.1)
        self.assertEqual(sorted(self.them.kinds()), ["200", "487"])
        self.user.last(Cancelled)
        self.settle()

    def test_bye_and_its_repetition(self) -> None:
        """A BYE ends the session once; its retransmission gets the same 200, a new one 481."""
        self.offered().accept()
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.them.send(builders.ack(self.invite, ok))
        bye = builders.bye(self.invite, ok)
        self.them.take()
        self.them.send(bye)
        self.them.send(bye)
        self.clock.advance(0.1)
        self.them.send(builders.bye(self.invite, ok, cseq=9, branch="z9hG4bK-other"))
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["200", "200", "481"])
        self.assertEqual([type(event).__name__ for event in self.user.events].count("Ended"), 1)
        self.settle()

    def test_request_out_of_order(self) -> None:
        """A CSeq that goes back is refused with 500 (12.2.2)."""
        self.offered(cseq=10).accept()
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.them.send(builders.ack(self.invite, ok))
        self.them.send(builders.bye(self.invite, ok, cseq=9))
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(500).cseq.method, "BYE")
        self.assertTrue(self.user.calls[0].is_established)
        self.user.calls[0].hang_up()
        self.settle()

    def test_wrong_tags(self) -> None:
        """A BYE with another From tag is for nobody: 481, and the call goes on (lesson 6)."""
        self.offered().accept()
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.them.send(builders.ack(self.invite, ok))
        bye = builders.bye(self.invite, ok)
        bye.headers.set("From", "<sip:alice@example.com>;tag=forged")
        self.them.send(bye)
        self.clock.advance(0.1)
        self.them.response(481)
        self.assertTrue(self.user.calls[0].is_established)
        self.user.calls[0].hang_up()
        self.settle()

    def test_challenged_bye(self) -> None:
        """A BYE that is challenged ends the session only with its final outcome (lesson 55)."""
        self.offered().accept()
        self.clock.advance(0.1)
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self.clock.advance(0.1)
        self.user.calls[0].hang_up()
        self.clock.advance(0.1)
        self.assertEqual(len(self.agent), 1)
        self.them.send(builders.response(self.them.request("BYE"), 407))
        self.clock.advance(0.1)
        self.assertEqual(len(self.agent), 0)
        self.settle()

    def test_merged_request(self) -> None:
        """The same INVITE on another path is refused with 482, and offered once (8.2.2.2)."""
        self.offered()
        self.them.send(builders.invite(f"sip:bob@{THEM}", via=f"{THEM}:5060", branch="z9hG4bK-other"))
        self.clock.advance(0.1)
        self.them.response(482)
        self.assertEqual(len(self.user.calls), 1)
        self.user.calls[0].reject(486)
        self.clock.advance(0.1)
        self.them.send(builders.ack(self.invite, self.them.response(486)))
        self.settle()
