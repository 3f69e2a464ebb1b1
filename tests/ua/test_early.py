"""Changes before the final response: UPDATE in early dialogs, PRACK with an offer (RFC 3311 section 5, RFC 3262)."""

from __future__ import annotations

from sipd.errors import InvalidStateError
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.events import Acknowledged, Answered, Cancelled, Ended, Failed, Progressed, Refused, Updated
from sipd.ua.incoming import IncomingCall
from sipd.ua.outgoing import OutgoingCall
from sipd.ua.updating import Updating
from tests.ua.support import THEM, US, AgentCase

OFFER, ANSWER = builders.sdp(THEM), builders.sdp(US)
OTHER_OFFER = builders.sdp(THEM, 50000)
SDP_TYPE = (("Content-Type", "application/sdp"),)
ALLOW = ("Allow", "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE")


class EarlyCase(AgentCase):
    """Calls without an answer, in which something was acknowledged."""

    def reply(self, request: Request, status: int, *, body: bytes = b"", allow: bool = False) -> Response:
        """Let the other end answer a request."""
        response = builders.response(request, status, body=body, headers=[ALLOW] if allow else ())
        self.them.send(response)
        self.clock.advance(0.1)
        return response


class CallerTests(EarlyCase):
    """A call goes out."""

    def ringing(self, *tags: str, allow: str = ALLOW[1]) -> OutgoingCall:
        """Give a call that callees with these tags have answered for now, each in a reliable 183."""
        call = self.calling(body=OFFER)
        call.takes_early_updates = True
        self.invite = self.them.request("INVITE")
        for tag in tags or ("t1",):
            self.progress(tag, 1, allow=allow)
        return call

    def progress(self, tag: str, rseq: int, *, allow: str = ALLOW[1]) -> None:
        """Let a callee say something reliably; its PRACK is answered."""
        headers = [("Require", "100rel"), ("RSeq", str(rseq)), ("Allow", allow)]
        self.them.messages.append(self.invite)
        self.answer(183, tag=tag, headers=headers, body=ANSWER)
        self.reply(self.them.request("PRACK"), 200)
        self.them.take()

    def final(self, status: int, tag: str = "t1", body: bytes = b"") -> None:
        """Let a callee answer the INVITE."""
        self.them.messages.append(self.invite)
        self.answer(status, tag=tag, body=body)
        self.them.messages.remove(self.invite)

    def said(self, method: str, cseq: int, *, tag: str = "t1", body: bytes = b"", contact: str = "bob") -> None:
        """Let a callee send a request in its early dialog."""
        self.them.send(
            builders.request(
                method, f"sip:alice@{US}", call_id=self.invite.call_id, from_tag=tag, to_tag=self.invite.from_.tag,
                cseq=cseq, branch=f"z9hG4bK-{tag}-{cseq}", via=THEM, body=body, contact=f"<sip:{contact}@{THEM}>",
                headers=[ALLOW],
            )
        )  # fmt: skip
        self.clock.advance(0.1)

    def updated(self, cseq: int = 1, *, tag: str = "t1") -> Updating:
        """Let a callee send an UPDATE with an offer."""
        self.said("UPDATE", cseq, tag=tag, body=OTHER_OFFER)
        return self.user.last(Updated).updating

    def up(self, call: OutgoingCall, tag: str = "t1") -> None:
        """Let the call be answered, and hang up."""
        self.final(200, tag)
        self.user.last(Answered)
        call.acknowledge()
        self.clock.advance(0.1)
        call.hang_up()
        self.clock.advance(0.1)
        self.reply(self.them.request("BYE"), 200)
        self.settle()

    def test_takes_one(self) -> None:
        """The user answers it; it says which callee it comes from, and where that is reached now."""
        call = self.ringing()
        self.said("UPDATE", 1, body=OTHER_OFFER, contact="moved")
        updating = self.user.last(Updated).updating
        self.assertEqual((updating.tag, updating.request.body), ("t1", OTHER_OFFER))
        self.assertFalse(call.can_update("t1"))
        updating.accept(SDP_TYPE, ANSWER)
        updating.reject(488)
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.assertEqual((ok.body, len(ok.contacts), self.them.kinds()), (ANSWER, 1, ["200"]))
        self.assertNotIn("Session-Expires", ok.headers)
        call.update(SDP_TYPE, OFFER, "t1")
        self.clock.advance(0.1)
        update = self.them.request("UPDATE")
        self.assertEqual(update.uri_text, f"sip:moved@{THEM}")
        self.reply(update, 200)
        self.up(call)

    def test_refuses_one(self) -> None:
        """A refusal leaves the dialog as it is."""
        call = self.ringing()
        self.updated().reject(488)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["488"])
        self.updated(2).accept()
        self.up(call)

    def test_nobody_takes_them(self) -> None:
        """Unless its user says that it takes them they get 488, and one without an offer 200 all the same."""
        call = self.ringing()
        call.takes_early_updates = False
        self.said("UPDATE", 1, body=OTHER_OFFER)
        self.said("UPDATE", 2)
        self.assertEqual(self.them.kinds(), ["488", "200"])
        self.up(call)

    def test_order(self) -> None:
        """The number of each has to be larger than that of the one before, also across the answer."""
        call = self.ringing()
        self.updated(5).accept()
        self.said("UPDATE", 4, body=OTHER_OFFER)
        self.final(200)
        call.acknowledge()
        self.said("OPTIONS", 5)
        self.said("UPDATE", 6)
        kinds = [kind for kind in self.them.kinds() if kind != "ACK"]
        self.assertEqual(kinds[:3], ["200", "500", "500"])
        call.hang_up()
        self.settle()

    def test_several_callees(self) -> None:
        """Each has its own offers: one under way does not hinder those of another one (RFC 3262, lesson 29)."""
        call = self.ringing("t1", "t2")
        first = self.updated(tag="t1")
        call.update(SDP_TYPE, OFFER, "t2")
        self.clock.advance(0.1)
        ours = self.them.request("UPDATE")
        self.assertEqual(ours.to.tag, "t2")
        self.them.take()
        self.said("UPDATE", 2, tag="t1", body=OTHER_OFFER)
        self.said("UPDATE", 1, tag="t2", body=OTHER_OFFER)
        self.assertEqual(self.them.kinds(), ["500", "491"])
        self.reply(ours, 488)
        refused = self.user.last(Refused)
        self.assertEqual((refused.method, refused.tag), ("UPDATE", "t2"))
        self.updated(2, tag="t2").accept()
        first.accept()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["200", "200"])
        self.up(call)

    def test_sends_one(self) -> None:
        """To a callee that says that it understands it; its outcome is told with the callee's tag."""
        call = self.ringing()
        self.assertTrue(call.can_update("t1"))
        self.assertEqual([call.can_update(), call.can_update("t2"), call.can_update("")], [False] * 3)
        self.assertRaises(InvalidStateError, call.update, SDP_TYPE, OTHER_OFFER)
        call.update(SDP_TYPE, OTHER_OFFER, "t1")
        self.assertFalse(call.can_update("t1"))
        self.assertRaises(InvalidStateError, call.update, SDP_TYPE, OTHER_OFFER, "t1")
        self.clock.advance(0.1)
        update = self.them.request("UPDATE")
        self.assertEqual((update.cseq.number, update.body, len(update.contacts)), (3, OTHER_OFFER, 1))
        self.assertNotIn("Session-Expires", update.headers)
        self.reply(update, 200, body=ANSWER)
        answered = self.user.last(Answered)
        self.assertEqual((answered.method, answered.tag, answered.response.body), ("UPDATE", "t1", ANSWER))
        self.assertTrue(call.can_update("t1"))
        self.up(call)

    def test_peer_without_it(self) -> None:
        """Who does not say that it understands UPDATE gets none."""
        call = self.ringing(allow="INVITE, ACK, BYE, PRACK")
        self.assertFalse(call.can_update("t1"))
        self.progress("t1", 2)
        self.assertTrue(call.can_update("t1"))
        self.up(call)

    def test_not_before_the_prack_is_answered(self) -> None:
        """Over UDP an UPDATE might overtake the PRACK before it, which would then be out of order: it waits."""
        for status in (200, 0):
            self.setUp()
            call = self.ringing()
            self.them.messages.append(self.invite)
            self.answer(183, tag="t1", headers=[("Require", "100rel"), ("RSeq", "2")], body=ANSWER)
            self.them.messages.remove(self.invite)
            call.update(SDP_TYPE, OTHER_OFFER, "t1")
            self.assertRaises(InvalidStateError, call.update, SDP_TYPE, OTHER_OFFER, "t1")
            self.clock.advance(0.1)
            self.assertEqual(self.them.kinds(), ["PRACK"])
            if status:
                self.progress("t1", 3)
                self.said("UPDATE", 1, body=OFFER)
                self.assertEqual(self.them.kinds(), ["491"])
            self.clock.advance(33.0)
            self.reply(self.them.request("UPDATE"), 200)
            self.assertEqual(self.user.last(Answered).tag, "t1")
            self.them.take()
            self.up(call)

    def test_gone_before_the_prack_is_answered(self) -> None:
        """If the call is over by then, or somebody else has answered, it is not sent."""
        for status, tag in ((486, "t1"), (200, "t2")):
            self.setUp()
            call = self.ringing()
            self.them.messages.append(self.invite)
            self.answer(183, tag="t1", headers=[("Require", "100rel"), ("RSeq", "2")], body=ANSWER)
            self.them.messages.remove(self.invite)
            prack = self.them.request("PRACK")
            call.update(SDP_TYPE, OTHER_OFFER, "t1")
            self.final(status, tag)
            self.them.take()
            self.reply(prack, 200)
            self.assertNotIn("UPDATE", self.them.kinds())
            call.hang_up()
            self.settle()

    def test_no_answer(self) -> None:
        """A callee that does not answer it, or knows nothing of it, does not end the call: others may answer."""
        call = self.ringing("t1", "t2")
        for status in (481, 408, 0):
            call.update(SDP_TYPE, OTHER_OFFER, "t1")
            self.clock.advance(0.1)
            if status:
                self.reply(self.them.request("UPDATE"), status)
                self.assertEqual(self.user.last(Refused).tag, "t1")
            else:
                self.clock.advance(33.0)
                self.assertEqual(self.user.last(Failed).tag, "t1")
            self.them.take()
        self.up(call, "t2")

    def test_answer_while_one_of_ours_is_under_way(self) -> None:
        """An UPDATE that crosses the 200 of the INVITE is answered in the session; until then nothing else changes."""
        call = self.ringing()
        call.update(SDP_TYPE, OTHER_OFFER, "t1")
        self.clock.advance(0.1)
        update = self.them.request("UPDATE")
        self.final(200)
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertTrue(call.is_established and call.is_changing)
        self.assertRaises(InvalidStateError, call.reinvite)
        self.said("UPDATE", 1, body=OTHER_OFFER)
        self.assertEqual(self.them.response(491).cseq.method, "UPDATE")
        self.reply(update, 200, body=ANSWER)
        answered = self.user.last(Answered)
        self.assertEqual((answered.method, answered.tag, call.is_changing), ("UPDATE", "t1", False))
        self.assertEqual(call.updates.description, ("application/sdp", OTHER_OFFER))
        self.assertTrue(call.can_update("t1") and call.can_update())
        call.hang_up()
        self.settle()

    def test_answer_while_one_of_theirs_is_under_way(self) -> None:
        """So it is with an UPDATE of the callee that answers the INVITE before it has its answer."""
        call = self.ringing()
        updating = self.updated()
        self.final(200)
        call.acknowledge()
        self.assertTrue(call.is_changing)
        updating.accept(SDP_TYPE, ANSWER)
        self.assertFalse(call.is_changing)
        self.assertEqual(call.updates.description, ("application/sdp", ANSWER))
        call.hang_up()
        self.settle()

    def test_another_one_answers(self) -> None:
        """Nothing is told of what was asked of those that did not win, and what they asked gets 487."""
        call = self.ringing("t1", "t2")
        updating = self.updated(tag="t1")
        call.update(SDP_TYPE, OTHER_OFFER, "t2")
        self.clock.advance(0.1)
        ours = self.them.request("UPDATE")
        self.them.take()
        self.final(200, "t3")
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertTrue(updating.is_answered)
        self.assertEqual(sorted(self.them.kinds()), ["487", "ACK"])
        events = len(self.user.events)
        self.reply(ours, 200)
        self.said("UPDATE", 2, tag="t2", body=OTHER_OFFER)
        self.assertEqual((len(self.user.events), self.them.kinds()), (events, ["481"]))
        self.assertRaises(InvalidStateError, call.update, SDP_TYPE, OFFER, "t2")
        call.hang_up()
        self.settle()

    def test_cancelled(self) -> None:
        """What waits for an answer when this side gives up gets 487; nothing is left."""
        call = self.ringing()
        self.updated()
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(sorted(self.them.kinds()), ["487", "CANCEL"])
        self.said("UPDATE", 2, body=OTHER_OFFER)
        self.assertEqual(self.them.kinds(), ["481"])
        self.final(487)
        self.settle()

    def test_refused_meanwhile(self) -> None:
        """A refusal of the INVITE ends what waits, on both sides; its outcome is not told."""
        call = self.ringing("t1", "t2")
        updating = self.updated(tag="t1")
        call.update(SDP_TYPE, OTHER_OFFER, "t2")
        self.clock.advance(0.1)
        update = self.them.request("UPDATE")
        self.final(486)
        self.assertEqual(self.user.last(Refused).method, "INVITE")
        self.assertTrue(updating.is_answered)
        events = len(self.user.events)
        self.reply(update, 200)
        self.assertEqual(len(self.user.events), events)
        self.settle()


class CalleeTests(EarlyCase):
    """A call comes in."""

    def ringing(self, *, acknowledged: bool = True, body: bytes = ANSWER) -> IncomingCall:
        """Give a call that was answered for now, in a reliable 183."""
        call = self.offered(headers=[("Supported", "100rel"), ALLOW])
        call.takes_early_updates = True
        call.ring(183, headers=SDP_TYPE, body=body)
        self.clock.advance(0.1)
        self.early = self.them.response(183)
        self.them.take()
        if acknowledged:
            self.prack(2)
            self.them.take()
        return call

    def said(self, method: str, cseq: int, *, body: bytes = b"", headers: tuple[tuple[str, str], ...] = ()) -> Request:
        """Let the caller send a request."""
        request = builders.request(
            method, f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
            to_tag=self.early.to.tag, cseq=cseq, branch=f"z9hG4bK-{cseq}", via=THEM, body=body,
            contact=f"<sip:alice@{THEM}>", headers=[ALLOW, *headers],
        )  # fmt: skip
        self.them.send(request)
        self.clock.advance(0.1)
        return request

    def prack(self, cseq: int, body: bytes = b"") -> Request:
        """Let the caller acknowledge the 183."""
        rack = f"{self.early.headers.get('RSeq')} {self.early.cseq}"
        return self.said("PRACK", cseq, body=body, headers=(("RAck", rack),))

    def up(self, call: IncomingCall) -> None:
        """Answer the call, and hang up."""
        call.accept()
        self.clock.advance(0.1)
        self.acknowledged(call)

    def acknowledged(self, call: IncomingCall) -> None:
        """Let the ACK come, and hang up."""
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self.clock.advance(0.1)
        self.user.last(Acknowledged)
        call.hang_up()
        self.clock.advance(0.1)
        self.reply(self.them.request("BYE"), 200)
        self.settle()

    def test_takes_one(self) -> None:
        """The user answers it before the call; a second one meanwhile gets 500."""
        call = self.ringing()
        self.said("UPDATE", 3, body=OTHER_OFFER)
        updating = self.user.last(Updated).updating
        self.assertEqual(updating.tag, self.invite.from_.tag)
        self.said("UPDATE", 4, body=OTHER_OFFER)
        self.assertIn("Retry-After", self.them.response(500).headers)
        self.them.take()
        updating.accept(SDP_TYPE, ANSWER)
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(200).body, ANSWER)
        self.up(call)

    def test_nobody_takes_them(self) -> None:
        """Unless its user says that it takes them they get 500 with Retry-After: there is no answer yet."""
        call = self.ringing()
        call.takes_early_updates = False
        self.said("UPDATE", 3, body=OTHER_OFFER)
        self.assertIn("Retry-After", self.them.response(500).headers)
        self.assertEqual(self.user.events, [])
        self.up(call)

    def test_sends_one(self) -> None:
        """Not before the caller has acknowledged something; then one at a time, and only before the answer or after."""
        call = self.ringing(acknowledged=False)
        self.assertFalse(call.can_update())
        self.assertRaises(InvalidStateError, call.update, SDP_TYPE, OFFER)
        self.prack(2)
        self.assertTrue(call.can_update())
        call.update(SDP_TYPE, OTHER_OFFER)
        self.clock.advance(0.1)
        self.assertFalse(call.can_update())
        update = self.them.request("UPDATE")
        self.said("UPDATE", 3, body=OFFER)
        self.assertEqual(self.them.response(491).cseq.number, 3)
        self.reply(update, 200, body=ANSWER)
        answered = self.user.last(Answered)
        self.assertEqual((answered.method, answered.tag), ("UPDATE", None))
        self.assertEqual(call.updates.description, ("application/sdp", OTHER_OFFER))
        call.accept()
        self.assertFalse(call.can_update())
        self.clock.advance(0.1)
        self.acknowledged(call)

    def test_peer_without_it(self) -> None:
        """Who does not say that it understands UPDATE gets none."""
        call = self.offered(headers=[("Supported", "100rel")])
        call.ring(183, headers=SDP_TYPE, body=ANSWER)
        self.clock.advance(0.1)
        self.early = self.them.response(183)
        self.assertFalse(call.can_update())
        call.reject(486)
        self.settle()

    def test_accepted_while_one_is_under_way(self) -> None:
        """The 200 of the INVITE and the answer to an UPDATE, of either side, cross as they like."""
        for is_ours in (True, False):
            self.setUp()
            call = self.ringing()
            if is_ours:
                call.update(SDP_TYPE, OTHER_OFFER)
            else:
                self.said("UPDATE", 3, body=OTHER_OFFER)
            call.accept()
            self.clock.advance(0.1)
            self.them.send(builders.ack(self.invite, self.them.response(200)))
            self.clock.advance(0.1)
            self.assertTrue(call.is_established and call.is_changing)
            if is_ours:
                self.reply(self.them.request("UPDATE"), 200, body=ANSWER)
                self.assertEqual(self.user.last(Answered).method, "UPDATE")
            else:
                updated = next(event for event in self.user.events if isinstance(event, Updated))
                updated.updating.accept(SDP_TYPE, ANSWER)
            self.assertFalse(call.is_changing)
            call.hang_up()
            self.clock.advance(0.1)
            self.reply(self.them.request("BYE"), 200)
            self.settle()

    def test_ended_while_one_is_under_way(self) -> None:
        """What waits for an answer gets 487 when the call ends, in whatever way."""
        for end in ("CANCEL", "BYE", "reject", "hang up"):
            self.setUp()
            call = self.ringing()
            self.said("UPDATE", 3, body=OTHER_OFFER)
            self.them.take()
            if end == "CANCEL":
                self.them.send(builders.cancel(self.invite))
            elif end == "BYE":
                self.said("BYE", 4)
            elif end == "reject":
                call.reject(486)
            else:
                call.hang_up()
            self.clock.advance(0.1)
            updates = [one.status for one in self.them.messages if isinstance(one, Response) and one.cseq.number == 3]
            self.assertEqual(updates, [487], end)
            self.settle()

    def test_prack_with_an_offer(self) -> None:
        """It acknowledges the response, and the user answers the offer in its 200."""
        call = self.ringing(acknowledged=False)
        self.prack(2, OTHER_OFFER)
        updating = self.user.last(Updated).updating
        self.assertEqual((updating.request.method, updating.request.body), ("PRACK", OTHER_OFFER))
        self.clock.advance(3.0)
        self.assertEqual(self.them.kinds().count("183"), 0)
        updating.accept(SDP_TYPE, ANSWER)
        updating.reject(488)
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.assertEqual((ok.cseq.method, ok.body, ok.contacts), ("PRACK", ANSWER, ()))
        self.up(call)

    def test_prack_with_an_offer_that_is_refused(self) -> None:
        """A refusal changes nothing, and the response counts as acknowledged."""
        call = self.ringing(acknowledged=False)
        self.prack(2, OTHER_OFFER)
        self.user.last(Updated).updating.reject(488)
        self.clock.advance(10.0)
        self.assertEqual(self.them.kinds(), ["488"])
        self.assertTrue(call.can_update())
        self.up(call)

    def test_prack_with_an_offer_repeated(self) -> None:
        """The PRACK again is the same one, whether its answer was given or not."""
        call = self.ringing(acknowledged=False)
        prack = self.prack(2, OTHER_OFFER)
        self.them.send(prack)
        self.clock.advance(0.1)
        self.assertEqual([type(event) for event in self.user.events], [Updated])
        self.user.last(Updated).updating.accept(SDP_TYPE, ANSWER)
        self.them.send(prack)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["200", "200"])
        self.up(call)

    def test_prack_with_an_offer_that_crosses_ours(self) -> None:
        """While an offer of this side is under way another one gets 491, and still acknowledges."""
        call = self.ringing()
        call.update(SDP_TYPE, OFFER)
        call.ring(183, headers=SDP_TYPE, body=ANSWER)
        self.clock.advance(0.1)
        update, self.early = self.them.request("UPDATE"), self.them.response(183)
        self.prack(3, OTHER_OFFER)
        self.assertEqual(self.them.response(491).cseq.method, "PRACK")
        self.reply(update, 200)
        self.assertTrue(call.can_update())
        self.them.take()
        self.up(call)

    def test_answer_waits_for_the_offer(self) -> None:
        """A 2xx that waits for the PRACK goes out after the answer to the offer in it, whatever that is."""
        for status in (200, 488):
            self.setUp()
            call = self.ringing(acknowledged=False)
            call.accept()
            self.prack(2, OTHER_OFFER)
            self.assertNotIn("200", self.them.kinds())
            updating = self.user.last(Updated).updating
            if status == 200:
                updating.accept(SDP_TYPE, ANSWER)
            else:
                updating.reject(488)
            self.clock.advance(0.1)
            answers = [(one.status, one.cseq.method) for one in self.them.messages if isinstance(one, Response)]
            self.assertEqual(answers, [(status, "PRACK"), (200, "INVITE")])
            self.acknowledged(call)

    def test_nobody_takes_offers_in_prack(self) -> None:
        """Where they are refused at once the 2xx that waited for the PRACK follows at once."""
        call = self.ringing(acknowledged=False)
        call.takes_early_updates = False
        call.accept()
        self.prack(2, OTHER_OFFER)
        answers = [(one.status, one.cseq.method) for one in self.them.messages if isinstance(one, Response)]
        self.assertEqual((answers, self.user.events), ([(488, "PRACK"), (200, "INVITE")], []))
        self.acknowledged(call)

    def test_ended_while_the_offer_waits(self) -> None:
        """If the call ends meanwhile the offer gets 487, and the 2xx that waited is never sent."""
        for end in ("CANCEL", "hang up"):
            self.setUp()
            call = self.ringing(acknowledged=False)
            call.accept()
            self.prack(2, OTHER_OFFER)
            self.them.take()
            if end == "CANCEL":
                self.them.send(builders.cancel(self.invite))
            else:
                call.hang_up()
            self.clock.advance(0.1)
            answers = [(one.status, one.cseq.method) for one in self.them.messages if isinstance(one, Response)]
            self.assertEqual(
                sorted(one for one in answers if one[1] != "CANCEL"), [(487, "INVITE"), (487, "PRACK")], end
            )
            self.settle()

    def test_unanswered_offer(self) -> None:
        """A user that never answers it loses that offer, not the call."""
        call = self.ringing(acknowledged=False)
        call.accept()
        self.prack(2, OTHER_OFFER)
        self.clock.advance(64.0)
        self.assertFalse(call.updates.is_answering)
        self.assertTrue(call.is_over or "200" in self.them.kinds())
        call.hang_up()
        self.settle()

    def test_events(self) -> None:
        """Nothing but what was asked for was told."""
        call = self.ringing()
        self.assertEqual(self.user.events, [])
        self.them.send(builders.cancel(self.invite))
        self.clock.advance(0.1)
        self.user.last(Cancelled)
        self.assertFalse(any(isinstance(event, Ended | Progressed) for event in self.user.events))
        self.assertTrue(call.is_over)
        self.settle()
