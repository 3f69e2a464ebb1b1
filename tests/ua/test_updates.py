"""UPDATE within a session, in and out, and what it crosses (RFC 3311)."""

from __future__ import annotations

from sipd.errors import InvalidStateError
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.ua.events import Answered, Ended, EndedBy, Failed, Refused, Reinvited, Updated
from sipd.ua.session import Session
from tests.ua.support import THEM, US
from tests.ua.test_session import SDP_TYPE, SessionCase

OFFER = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"


class UpdateCase(SessionCase):
    """A session that came in, and what the other end says in it."""

    def said(self, method: str = "UPDATE", *, cseq: int, body: bytes | None = None, **options: str) -> Request:
        """Let a request come in."""
        headers = [
            ("Allow", "INVITE, ACK, BYE, UPDATE"),
            *((name.replace("_", "-"), options[name]) for name in options),
        ]
        request = builders.request(
            method, f"sip:bob@{US}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
            to_tag=self.ok.to.tag, cseq=cseq, branch=f"z9hG4bK-u{cseq}", via=f"{THEM}:5060",
            contact=f"<sip:alice@{THEM}>", headers=headers, body=body or b"",
        )  # fmt: skip
        self.them.send(request)
        self.clock.advance(0.1)
        return request

    def reply(self, request: Request, status: int) -> Response:
        """Let the other end answer a request."""
        response = builders.response(request, status, contact=f"<sip:alice@{THEM}>")
        self.them.send(response)
        self.clock.advance(0.1)
        return response


class IncomingTests(UpdateCase):
    """The peer sends UPDATE."""

    def test_without_an_offer(self) -> None:
        """It is answered at once with where this side is and what it can do, moves the target, and asks nobody."""
        call = self.incoming()
        self.said(cseq=2)
        ok = self.them.response(200)
        self.assertEqual((ok.cseq.method, ok.body), ("UPDATE", b""))
        self.assertIn("UPDATE", ok.headers.get("Allow") or "")
        self.assertEqual(len(ok.contacts), 1)
        self.assertFalse(call.is_changing)
        self.assertTrue(call.allows_update)
        self.assertFalse(any(isinstance(event, Updated) for event in self.user.events))
        self.end(call)

    def test_with_an_offer(self) -> None:
        """The user answers it, once."""
        call = self.incoming()
        self.said(cseq=2, body=OFFER)
        updating = self.user.last(Updated).updating
        self.assertTrue(call.is_changing)
        self.assertRaises(InvalidStateError, call.update, SDP_TYPE, OFFER)
        self.assertRaises(InvalidStateError, call.reinvite)
        updating.accept(SDP_TYPE, OFFER)
        updating.reject(488)
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(200).body, OFFER)
        self.assertEqual(self.them.kinds(), ["200"])
        self.assertFalse(call.is_changing)
        self.end(call)

    def test_refused(self) -> None:
        """A refusal leaves the session as it is."""
        call = self.incoming()
        self.said(cseq=2, body=OFFER)
        self.user.last(Updated).updating.reject(488)
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["488"])
        self.assertTrue(call.is_established and not call.is_changing)
        self.end(call)

    def test_two_at_once(self) -> None:
        """A second offer before the first is answered gets 500 with Retry-After (section 5.2); a refresh gets 200."""
        call = self.incoming()
        self.said(cseq=2, body=OFFER)
        self.them.take()
        self.said(cseq=3, body=OFFER)
        self.assertLessEqual(int(self.them.response(500).headers.get("Retry-After") or "99"), 10)
        self.said("INVITE", cseq=4, body=OFFER)
        self.said(cseq=5)
        self.assertEqual([kind for kind in self.them.kinds() if kind != "100"], ["500", "500", "200"])
        self.user.last(Updated).updating.accept()
        self.end(call)

    def test_crosses_one_of_ours(self) -> None:
        """While an offer of this side is under way, the peer's gets 491, in an UPDATE or an INVITE."""
        call = self.incoming()
        self.said(cseq=2)
        call.update(SDP_TYPE, OFFER)
        self.clock.advance(0.1)
        ours = self.them.request("UPDATE")
        self.them.take()
        self.said(cseq=3, body=OFFER)
        self.said("INVITE", cseq=4, body=OFFER)
        self.assertEqual([kind for kind in self.them.kinds() if kind not in ("100", "UPDATE")], ["491", "491"])
        self.reply(ours, 200)
        self.user.last(Answered)
        self.end(call)

    def test_before_the_ack(self) -> None:
        """An offer of who has the 2xx proves that its ACK is late or lost; whose ACK owes an answer has to wait."""
        for body, kinds in ((OFFER, []), (b"", ["491"])):
            call = self.offered(body=body)
            call.accept(SDP_TYPE, OFFER)
            self.clock.advance(0.1)
            self.ok = self.them.response(200)
            self.them.take()
            self.said(cseq=2, body=OFFER)
            self.assertEqual(self.them.kinds(), kinds)
            self.assertEqual(call.updates.is_answering, bool(body))
            call.hang_up()
            self.settle()

    def test_before_the_answer(self) -> None:
        """Whose INVITE has no answer yet has no offer to make (section 5.2)."""
        call = self.offered()
        call.ring()
        self.clock.advance(0.1)
        self.ok = self.them.response(180)
        self.said(cseq=2, body=OFFER)
        self.assertEqual(self.them.response(500).cseq.method, "UPDATE")
        call.reject(486)
        self.settle()

    def test_malformed(self) -> None:
        """A session interval that nobody can read gets 400, and one that is too short 422."""
        call = self.incoming()
        self.said(cseq=2, Session_Expires="x")
        self.said(cseq=3, Session_Expires="60", Supported="timer")
        self.assertEqual(self.them.response(422).headers.get("Min-SE"), "90")
        self.assertEqual(self.them.kinds(), ["400", "422"])
        self.end(call)


class OutgoingTests(UpdateCase):
    """This side sends UPDATE."""

    def asked(self) -> tuple[Session, Request]:
        """Give a session that came in, and the UPDATE in it."""
        call = self.incoming()
        call.update(SDP_TYPE, OFFER)
        self.clock.advance(0.1)
        return call, self.them.request("UPDATE")

    def test_accepted(self) -> None:
        """The user hears of the 2xx; nothing is acknowledged."""
        call, update = self.asked()
        self.assertEqual((update.body, update.headers.get("Content-Type")), (OFFER, "application/sdp"))
        self.assertEqual(len(update.contacts), 1)
        self.them.take()
        self.reply(update, 200)
        self.assertEqual(self.user.last(Answered).method, "UPDATE")
        call.acknowledge()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), [])
        call.update(SDP_TYPE, OFFER)
        self.clock.advance(0.1)
        self.reply(self.them.request("UPDATE"), 488)
        self.assertEqual(self.user.last(Refused).method, "UPDATE")
        self.assertTrue(call.is_established)
        call.hang_up()
        self.clock.advance(0.1)
        self.reply(self.them.request("BYE"), 200)
        self.settle()

    def test_dialog_that_is_gone(self) -> None:
        """481 ends the session with BYE (RFC 3261 section 12.2.1.2)."""
        call, update = self.asked()
        self.reply(update, 481)
        self.assertIsInstance(self.user.events[-2], Refused)
        self.ended(call)

    def test_peer_that_is_gone(self) -> None:
        """So does silence."""
        call, _ = self.asked()
        self.clock.advance(33.0)
        failed = self.user.events[-2]
        self.assertTrue(isinstance(failed, Failed) and failed.method == "UPDATE")
        self.ended(call)

    def ended(self, call: Session) -> None:
        """Check that the session is over, and that the peer is told."""
        self.assertEqual(self.user.last(Ended).by, EndedBy.FAILURE)
        self.assertTrue(call.is_over)
        self.clock.advance(0.1)
        self.reply(self.them.request("BYE"), 200)
        self.settle()

    def test_hang_up_meanwhile(self) -> None:
        """What comes of it is nobody's business any more."""
        call, update = self.asked()
        call.hang_up()
        count = len(self.user.events)
        self.reply(update, 200)
        self.reply(self.them.request("BYE"), 200)
        self.assertEqual(len(self.user.events), count)
        self.settle()

    def test_needs_a_session_that_is_up(self) -> None:
        """Not before the answer."""
        call = self.offered()
        self.assertRaises(InvalidStateError, call.update, SDP_TYPE, OFFER)
        call.reject(486)
        self.settle()

    def test_reinvite_while_none_is_under_way(self) -> None:
        """After an UPDATE, an INVITE of the peer is taken again."""
        call, update = self.asked()
        self.reply(update, 200)
        self.said("INVITE", cseq=2, body=OFFER)
        self.user.last(Reinvited).answering.reject(488)
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(488).cseq.method, "INVITE")
        call.hang_up()
        self.clock.advance(0.1)
        self.reply(self.them.request("BYE"), 200)
        self.settle()
