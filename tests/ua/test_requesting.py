"""Requests inside of a session that its user answers (RFC 6086, RFC 3428)."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from sipd.interfaces import IServerTransactionUser
from sipd.testing import builders
from sipd.ua.events import Ended, Requested
from sipd.ua.requesting import MAX_PENDING, Requesting
from tests.ua.test_updates import OFFER, UpdateCase


class RequestingTests(UpdateCase):
    """The peer sends INFO and MESSAGE."""

    def _asked(self, method: str = "INFO", *, cseq: int = 2) -> Requesting:
        self.said(method, cseq=cseq, body=b"Signal=5")
        return self.user.last(Requested).requesting

    def test_answer(self) -> None:
        """The user answers, once, with what it likes; until then nothing is said."""
        call = self.incoming()
        for cseq, method in ((2, "INFO"), (3, "MESSAGE")):
            requesting = self._asked(method, cseq=cseq)
            self.assertEqual((requesting.request.method, requesting.request.body), (method, b"Signal=5"))
            self.assertEqual(self.them.take(), [])
            requesting.answer(200, "Fine", (("Content-Type", "text/plain"),), b"ok")
            requesting.answer(500)
            self.clock.advance(0.1)
            response = self.them.response(200)
            self.assertEqual((response.reason, response.body, response.cseq.method), ("Fine", b"ok", method))
            self.assertEqual(self.them.kinds(), ["200"])
            self.assertTrue(verifyObject(IServerTransactionUser, requesting))
        self.end(call)

    def test_changes_nothing(self) -> None:
        """One that waits is no change of the session, and does not keep others from changing it."""
        call = self.incoming()
        requesting = self._asked()
        self.assertFalse(call.is_changing)
        self.said(cseq=3)
        self.assertEqual(self.them.kinds(), ["200"])
        requesting.answer(200)
        self.end(call)

    def test_hang_up(self) -> None:
        """What waits when this side hangs up gets 487, in order, before the BYE."""
        call = self.incoming()
        waiting = [self._asked(cseq=cseq) for cseq in (2, 3)]
        call.hang_up()
        self.clock.advance(0.1)
        self.assertTrue(all(requesting.is_answered for requesting in waiting))
        self.assertEqual(self.them.kinds(), ["487", "487", "BYE"])
        waiting[0].answer(200)
        self.settle()
        self.assertNotIn("200", self.them.kinds())

    def test_peer_hangs_up(self) -> None:
        """What waits when the peer hangs up gets 487 (RFC 3261 section 15.1.2); what comes later 481."""
        self.incoming()
        self._asked()
        self.said("BYE", cseq=3)
        self.user.last(Ended)
        self.said("INFO", cseq=4)
        self.assertEqual(sorted(self.them.kinds()), ["200", "481", "487"])
        self.settle()

    def test_too_many(self) -> None:
        """Beyond the bound there is 500 with Retry-After until one of those that wait has its answer."""
        told: list[str] = []
        self.agent.explanation = lambda session, text: told.append(text)
        call = self.incoming()
        waiting = [self._asked(cseq=2 + number) for number in range(MAX_PENDING)]
        self.assertEqual(self.them.kinds(), [])
        self.said("INFO", cseq=100)
        self.assertLessEqual(int(self.them.response(500).headers.get("Retry-After") or "99"), 10)
        self.assertEqual(told, [f"INFO refused: {MAX_PENDING} wait for their answers"])
        waiting[7].answer(200)
        self.assertIsNot(self._asked(cseq=101), waiting[-1])
        self.said("INFO", cseq=102)
        self.assertEqual(self.them.kinds(), ["500", "200", "500"])
        self.end(call)

    def test_before_the_answer(self) -> None:
        """An INFO in an early dialog gets 500 with Retry-After: the call goes on, and may be answered later."""
        call = self.offered()
        call.ring()
        self.clock.advance(0.1)
        self.ok = self.them.response(180)
        self.said("INFO", cseq=2)
        self.assertIn("Retry-After", self.them.response(500).headers)
        self.assertEqual(self.user.events, [])
        call.accept()
        self.clock.advance(0.1)
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self._asked(cseq=3).answer(200)
        self.end(call)

    def test_old_number(self) -> None:
        """One that comes after a later request is out of order: 500, and the user does not hear of it (12.2.2)."""
        call = self.incoming()
        self._asked(cseq=5).answer(200)
        events = len(self.user.events)
        self.said("INFO", cseq=4)
        self.assertEqual((self.them.kinds(), len(self.user.events)), (["200", "500"], events))
        self.end(call)

    def test_repetition(self) -> None:
        """One that comes again is the same: it is told of once, and answered again with the same."""
        call = self.incoming()
        requesting = self._asked()
        events = len(self.user.events)
        self.them.send(requesting.request)
        self.clock.advance(0.1)
        requesting.answer(415)
        self.them.send(requesting.request)
        self.clock.advance(0.1)
        self.assertEqual((self.them.kinds(), len(self.user.events)), (["415", "415"], events))
        self.end(call)

    def test_required_extension(self) -> None:
        """What nobody here supports cannot be required: 420, and the user does not hear of it."""
        call = self.incoming()
        self.said("INFO", cseq=2, Require="warp")
        self.assertEqual(self.them.kinds(), ["420"])
        self.end(call)

    def test_other_methods(self) -> None:
        """NOTIFY has no subscription: 481 (RFC 6665 section 4.1.3); SUBSCRIBE and REFER are not served: 405."""
        call = self.incoming()
        for cseq, (method, status) in enumerate((("NOTIFY", 481), ("SUBSCRIBE", 405), ("REFER", 405)), 2):
            self.said(method, cseq=cseq)
            self.assertEqual(self.them.response(status).cseq.method, method)
        self.assertTrue({"INFO", "MESSAGE"} <= self.them.response(405).headers.tokens("Allow"))
        self.assertTrue(call.is_established)
        self.end(call)

    def test_too_late(self) -> None:
        """After the client has given up there is nothing to answer any more."""
        call = self.incoming()
        requesting = self._asked()
        self.clock.advance(40.0)
        requesting.answer(200)
        self.clock.advance(0.1)
        self.assertNotIn("200", self.them.kinds())
        self.end(call)

    def test_with_an_update(self) -> None:
        """An UPDATE that waits and an INFO that waits end together, each with 487."""
        call = self.incoming()
        self.said(cseq=2, body=OFFER)
        self._asked(cseq=3)
        call.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["487", "487", "BYE"])
        self.settle()
