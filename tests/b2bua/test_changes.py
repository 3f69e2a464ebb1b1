"""Re-INVITEs across the bridge, and what goes wrong with them (RFC 3261 section 14, RFC 5407)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import Outcome, PeerCall
from sipd.testing.exchanges import Reply
from tests.b2bua.support import ALICE, BOB, BridgeCase


class ReinviteTests(BridgeCase):
    """One side changes the session."""

    def _status(self, answer: Deferred[Response | None]) -> int:
        response = self.successResultOf(answer)
        return 0 if response is None else response.status

    def _hold(self, host: str, version: int = 2) -> bytes:
        return builders.sdp(host, 40000, direction="sendonly", version=version)

    def test_either_side_may_change_the_session(self) -> None:
        """An offer crosses, the answer comes back, and the call goes on (section 14.1)."""
        call, answered = self.established()
        for asking, host, asked in ((call, ALICE, answered), (answered, BOB, call)):
            answer = asking.reinvite(self._hold(host))
            self.clock.advance(2.0)
            self.assertEqual(self._status(answer), 200)
            self.assertIn(b"a=sendonly", asked.remote_body)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_versions_count_up_per_leg(self) -> None:
        """Each leg's `o=` keeps its identifier and counts its own versions (lesson 31)."""
        call, answered = self.established()
        first = answered.remote_body.splitlines()[1].split()
        call.reinvite(self._hold(ALICE))
        self.clock.advance(2.0)
        second = answered.remote_body.splitlines()[1].split()
        self.assertEqual(first[1], second[1])
        self.assertEqual((int(first[2]), int(second[2])), (1, 2))
        call.hang_up()
        self.finish()

    def test_refusal_leaves_the_session(self) -> None:
        """488 crosses back, and both legs talk on as before (section 14.1)."""
        call, answered = self.established()
        self.bob.answers_reinvites = False
        answer = call.reinvite(self._hold(ALICE))
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 488)
        self.assertTrue(call.is_answered and answered.is_answered)
        self.bob.answers_reinvites = True
        again = call.reinvite(self._hold(ALICE, version=3))
        self.clock.advance(2.0)
        self.assertEqual(self._status(again), 200)
        call.hang_up()
        self.finish()

    def test_unusable_offer_does_not_cross(self) -> None:
        """A description that does not parse is refused with 488 on the leg that it came on."""
        call, answered = self.established()
        invites = len(self.seen(self.bob, "INVITE"))
        answer = call.reinvite(b"m=nonsense")
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 488)
        self.assertEqual(len(self.seen(self.bob, "INVITE")), invites)
        self.assertTrue(answered.is_answered)
        call.hang_up()
        self.finish()

    def test_late_offer(self) -> None:
        """A re-INVITE without an offer gets the other side's offer, and its ACK carries the answer across."""
        call, answered = self.established()
        answer = call.reinvite(b"")
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 200)
        self.assertIn(b"m=audio", call.remote_body)
        call.hang_up()
        self.finish()
        self.assertEqual((call.outcome, answered.outcome), (Outcome.ANSWERED, Outcome.ANSWERED))

    def test_crossing_changes(self) -> None:
        """Both sides ask at once: each is told 491, and the session is as it was (section 14.1, lesson 32)."""
        call, answered = self.established()
        answers = [call.reinvite(self._hold(ALICE)), answered.reinvite(self._hold(BOB))]
        self.clock.advance(5.0)
        self.assertIn(491, [self._status(answer) for answer in answers])
        self.assertTrue(call.is_answered and answered.is_answered)
        again = call.reinvite(self._hold(ALICE, version=3))
        self.clock.advance(2.0)
        self.assertEqual(self._status(again), 200)
        call.hang_up()
        self.finish()

    def test_hang_up_while_a_change_is_under_way(self) -> None:
        """A BYE that crosses a re-INVITE ends both legs, and every request has its answer (lesson 46)."""
        for hangs_up in ("caller", "callee"):
            call, answered = self.established()
            answer = call.reinvite(self._hold(ALICE))
            (call if hangs_up == "caller" else answered).hang_up()
            self.settle()
            self.assertGreaterEqual(self._status(answer), 200)
            self.assertFalse(call.is_answered or answered.is_answered)

    def test_dialog_that_is_gone(self) -> None:
        """A callee that answers 481 to a re-INVITE has no call any more: the caller's leg ends too (12.2.1.2)."""
        call, answered = self.established()
        self._forget(answered)
        call.reinvite(self._hold(ALICE))
        record = self.finish()
        self.assertFalse(call.is_answered)
        self.assertEqual(record.cause, "callee-lost")

    def test_callee_that_is_gone(self) -> None:
        """A re-INVITE that nobody answers ends both legs, and the record says which one was lost."""
        call, _ = self.established()
        self.bob.close()
        answer = call.reinvite(self._hold(ALICE))
        self.settle()
        self.assertEqual(self._status(answer), 408)
        self.assertFalse(call.is_answered)
        self.assertEqual(self.server.records.records[0].cause, "callee-lost")

    def test_answer_without_a_description(self) -> None:
        """A 2xx without an answer is acknowledged, who asked is told 488, and the other asked to stay as it was."""
        call, answered = self.established()
        bodies = [request.body for request in self.seen(self.bob, "INVITE")]
        reinvited = answered._reinvited

        def say_nothing(request: Request, reply: Reply) -> None:
            answered._reinvited = reinvited  # type: ignore[method-assign]
            reply(builders.response(request, 200, contact=self.bob.contact))

        answered._reinvited = say_nothing  # type: ignore[method-assign]
        answer = call.reinvite(self._hold(ALICE))
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 488)
        acks = [ack.cseq.number for ack in self.seen(self.bob, "ACK")]
        self.assertEqual(len(acks), 3)
        bodies += [request.body for request in self.seen(self.bob, "INVITE")[1:]]
        self.assertEqual([b"a=sendonly" in body for body in bodies], [False, True, False])
        self.assertTrue(call.is_answered)
        self.assertTrue(answered.is_answered)
        call.hang_up()
        self.finish()
        self.assertIn("refused: 488", self.explanation())

    def test_refused_stream_is_not_kept(self) -> None:
        """Ports that a refused offer took are given back; those of the session stay (section 14.1)."""
        call, _ = self.established()
        before = set(self.server.relay.taken)
        self.bob.answers_reinvites = False
        for body in (builders.sdp(ALICE, media=("audio", "video"), version=2), builders.sdp(ALICE, version=3)):
            answer = call.reinvite(body)
            self.clock.advance(2.0)
            self.assertEqual(self._status(answer), 488)
            self.assertEqual(self.server.relay.taken, before)
        call.hang_up()
        self.finish()

    def test_added_stream(self) -> None:
        """A stream more takes a pair of ports more on each leg, for as long as the call."""
        call, answered = self.established()
        answer = call.reinvite(builders.sdp(ALICE, media=("audio", "video"), version=2))
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 200)
        self.assertIn(b"m=video", answered.remote_body)
        self.assertEqual(len(self.server.relay.taken), 4)
        answered.hang_up()
        self.finish()

    def test_late_offer_that_needs_too_much(self) -> None:
        """A callee's late offer for which there are no ports is taken back, and the caller told 488."""
        call, answered = self.established()
        self.server.relay._max_pairs = 2
        reinvited = answered._reinvited

        def offer(request: Request, reply: Reply) -> None:
            answered._reinvited = reinvited  # type: ignore[method-assign]
            body = builders.sdp(BOB, media=("audio", "video"), version=2)
            reply(builders.response(request, 200, contact=self.bob.contact, body=body))

        answered._reinvited = offer  # type: ignore[method-assign]
        answer = call.reinvite(b"")
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 488)
        self.assertEqual(len(self.seen(self.bob, "ACK")), 3)
        self.assertNotIn(b"m=video", answered.remote_body)
        call.hang_up()
        self.finish()

    def test_progress_of_a_change(self) -> None:
        """A 1xx to a re-INVITE stays on its leg, and is no end of the change."""
        call, answered = self.established()
        reinvited = answered._reinvited

        def ring(request: Request, reply: Reply) -> None:
            reply(builders.response(request, 180))
            answered.later(1.0, reinvited, request, reply)

        answered._reinvited = ring  # type: ignore[method-assign]
        answer = call.reinvite(self._hold(ALICE))
        self.clock.advance(2.0)
        self.assertEqual(self._status(answer), 200)
        self.assertEqual([one.cseq.number for one in self.seen(self.alice, 180)], [2])
        call.hang_up()
        self.finish()
        text = self.explanation()
        for part in ("asked for", "agreed"):
            self.assertIn(part, text)

    def test_options_in_the_dialog(self) -> None:
        """OPTIONS inside a call is answered by the leg itself; a method that is not served gives 405."""
        call, _ = self.established()
        options, publish = call.request("OPTIONS"), call.request("PUBLISH")
        self.clock.advance(2.0)
        self.assertEqual((self._status(options), self._status(publish)), (200, 405))
        call.hang_up()
        self.finish()

    def _forget(self, answered: PeerCall) -> None:
        """Let the callee's phone lose the call without a word."""
        self.bob.calls.remove(answered)
