"""UPDATE and session timers across the bridge: each leg has its own (RFC 3311, RFC 4028)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipd.sip.message import Request, Response
from sipd.testing import builders
from tests.b2bua.support import ALICE, BOB, BridgeCase

UPDATES = (("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE"),)
TIMERS = (*UPDATES, ("Supported", "timer"), ("Session-Expires", "600;refresher=uac"))


class UpdateTests(BridgeCase):
    """One side changes the session by UPDATE."""

    def _status(self, answer: Deferred[Response | None]) -> int:
        response = self.successResultOf(answer)
        return 0 if response is None else response.status

    def _hold(self, host: str, version: int = 2) -> bytes:
        return builders.sdp(host, 40000, direction="sendonly", version=version)

    def test_to_a_side_that_has_it(self) -> None:
        """It crosses as UPDATE, either way, and nobody gets an INVITE."""
        self.alice.fields = self.bob.fields = UPDATES
        call, answered = self.established()
        for asking, host, asked in ((call, ALICE, answered), (answered, BOB, call)):
            answer = asking.request("UPDATE", body=self._hold(host))
            self.clock.advance(2.0)
            response = self.successResultOf(answer)
            assert response is not None
            self.assertEqual(response.status, 200)
            self.assertIn(b"m=audio", response.body)
            self.assertIn(b"a=sendonly", asked.remote_body)
        self.assertEqual((len(self.seen(self.alice, "INVITE")), len(self.seen(self.bob, "INVITE"))), (0, 1))
        self.assertEqual((len(self.seen(self.alice, "UPDATE")), len(self.seen(self.bob, "UPDATE"))), (1, 1))
        call.hang_up()
        self.finish()
        self.assertIn("agreed", self.explanation())

    def test_to_a_side_that_has_none(self) -> None:
        """It gets an INVITE, whose answer comes back in the 2xx of the UPDATE."""
        self.alice.fields = UPDATES
        call, answered = self.established()
        answer = call.request("UPDATE", body=self._hold(ALICE))
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 200)
        self.assertIn(b"a=sendonly", answered.remote_body)
        self.assertEqual((len(self.seen(self.bob, "INVITE")), len(self.seen(self.bob, "UPDATE"))), (2, 0))
        call.hang_up()
        self.finish()

    def test_refusal(self) -> None:
        """488 crosses back; the session is as it was, and can be changed later."""
        self.alice.fields = self.bob.fields = UPDATES
        call, answered = self.established()
        self.bob.answers_reinvites = False
        answer = call.request("UPDATE", body=self._hold(ALICE))
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 488)
        self.bob.answers_reinvites = True
        again = call.reinvite(self._hold(ALICE, version=3))
        self.clock.advance(2.0)
        self.assertEqual(self._status(again), 200)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_unusable_offer(self) -> None:
        """A description that does not parse is refused on the leg that it came on."""
        self.alice.fields = self.bob.fields = UPDATES
        call, _ = self.established()
        answer = call.request("UPDATE", body=b"m=nonsense")
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 488)
        self.assertEqual(self.seen(self.bob, "UPDATE"), [])
        call.hang_up()
        self.finish()

    def test_body_that_is_no_description(self) -> None:
        """Without an offer there is nothing to ask the other side for."""
        self.alice.fields = self.bob.fields = UPDATES
        call, _ = self.established()
        answer = call.request("UPDATE", headers=[("Content-Type", "text/plain")], body=b"hello")
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 200)
        self.assertEqual(self.seen(self.bob, "UPDATE"), [])
        call.hang_up()
        self.finish()

    def test_both_at_once(self) -> None:
        """Offers that cross get 491, and both legs are as they were; BYE ends what is under way."""
        self.alice.fields = self.bob.fields = UPDATES
        call, answered = self.established()
        answers = [call.request("UPDATE", body=self._hold(ALICE)), answered.request("UPDATE", body=self._hold(BOB))]
        self.clock.advance(5.0)
        self.assertIn(491, [self._status(answer) for answer in answers])
        last = call.request("UPDATE", body=self._hold(ALICE, version=3))
        answered.hang_up()
        self.settle()
        self.assertGreaterEqual(self._status(last), 200)
        self.assertFalse(call.is_answered or answered.is_answered)


class TimerTests(BridgeCase):
    """Session timers, which end at each leg."""

    def test_refresh_stays_on_its_leg(self) -> None:
        """An UPDATE without an offer is answered by sipd; the other side hears nothing of it."""
        self.alice.fields = TIMERS
        call, answered = self.established()
        for _ in range(4):
            self.clock.advance(300.0)
            answer = call.request("UPDATE")
            self.clock.advance(1.0)
            response = self.successResultOf(answer)
            assert response is not None
            self.assertEqual(response.headers.get("Session-Expires"), "600;refresher=uac")
        self.assertEqual((self.seen(self.bob, "UPDATE"), len(self.seen(self.bob, "INVITE"))), ([], 1))
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_side_that_vanishes(self) -> None:
        """Nobody refreshes: both legs end with a Reason, and the record says whose fault it was."""
        self.alice.fields = TIMERS
        call, answered = self.established()
        self.clock.advance(600.0)
        record = self.finish()
        self.assertEqual((record.ended_by, record.cause), ("sipd", "caller-lost"))
        self.assertFalse(call.is_answered or answered.is_answered)
        for peer in (self.alice, self.bob):
            (bye,) = self.seen(peer, "BYE")
            assert isinstance(bye, Request)
            self.assertIn("SIP;cause=", bye.headers.get("Reason") or "")
        self.assertIn("The session timer expired", self.explanation())

    def test_sipd_refreshes_the_callee(self) -> None:
        """Where the callee leaves it to the caller, sipd refreshes, and notices when it is gone."""
        self.bob.fields = (*UPDATES, ("Supported", "timer"), ("Session-Expires", "600;refresher=uac"))
        call, answered = self.established()
        self.clock.advance(1000.0)
        self.assertEqual((len(self.seen(self.bob, "UPDATE")), self.seen(self.alice, "UPDATE")), (3, []))
        self.assertTrue(call.is_answered and answered.is_answered)
        self.bob.close()
        self.clock.advance(600.0)
        self.assertFalse(call.is_answered)
        self.assertEqual(self.finish().cause, "callee-lost")

    def test_what_is_asked_for(self) -> None:
        """The callee is asked for half an hour, and what the caller asked for does not cross."""
        self.alice.fields = (*UPDATES, ("Supported", "timer"), ("Session-Expires", "1200"), ("Min-SE", "1000"))
        call, answered = self.established()
        self.assertEqual(answered.invite.headers.get("Session-Expires"), "1800")
        self.assertNotIn("Min-SE", answered.invite.headers)
        call.hang_up()
        self.finish()

    def test_too_short(self) -> None:
        """A call with an interval of a minute gets 422, no record, and reaches nobody."""
        self.alice.fields = (*UPDATES, ("Supported", "timer"), ("Session-Expires", "60"))
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertEqual(call.status, 422)
        self.settle()
        self.assertEqual((self.server.records.records, self.seen(self.bob, "INVITE")), ([], []))
