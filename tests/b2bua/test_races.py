"""Messages that cross or are lost: CANCEL against 200, ACK, BYE, re-INVITE, on either leg (RFC 5407, lesson 4.5)."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import Outcome, PeerCall
from sipd.testing.exchanges import Reply
from sipd.testing.links import Link
from tests.b2bua.slow import SlowRelay
from tests.b2bua.support import ALICE, BOB, SIPD, BridgeCase

DEAD = Link(loss=1.0)
SLOW = Link(delay=0.2)


class CancelTests(BridgeCase):
    """CANCEL and 200 cross; every message takes 0.2 seconds."""

    link = SLOW

    def setUp(self) -> None:
        """Let Bob ring, and Alice call him."""
        super().setUp()
        self.bob.auto_ring()
        self.call = self.alice.call("bob")
        self.clock.advance(5.0)
        self.answered = self.bob.calls[0]

    def test_200_crosses_the_cancel_on_the_leg_of_the_caller(self) -> None:
        """The call is answered already: the CANCEL changes nothing, and the caller's BYE ends it (section 9.1)."""
        self.answered.answer()
        self.clock.advance(0.3)
        self.call.cancel()
        record = self.finish()
        self.assertEqual((self.call.outcome, self.answered.outcome), (Outcome.ANSWERED, Outcome.ANSWERED))
        self.assertEqual((record.status, record.ended_by, record.cause), (200, "caller", "bye"))

    def test_200_crosses_the_cancel_on_the_leg_of_the_callee(self) -> None:
        """The caller hears 487; the callee, who answered too late, gets ACK and BYE (lesson 26)."""
        self.call.cancel()
        self.clock.advance(0.3)
        self.answered.answer()
        record = self.finish()
        self.assertEqual((self.call.status, record.status, record.cause), (487, 487, "cancel"))
        self.assertEqual((self.answered.outcome, self.answered.ended_by), (Outcome.ANSWERED, "them"))
        self.assertTrue(self.answered.is_acknowledged)

    def test_refusal_crosses_the_cancel(self) -> None:
        """A callee that refuses as the CANCEL comes is acknowledged; the caller hears 487, and once."""
        self.call.cancel()
        self.clock.advance(0.3)
        self.answered.refuse(486)
        record = self.finish()
        self.assertEqual((self.call.status, record.status), (487, 487))
        self.assertEqual(self.seen(self.alice, 486), [])


class AcknowledgementTests(BridgeCase):
    """An ACK that does not arrive."""

    def test_ack_of_the_caller_is_lost_once(self) -> None:
        """The 200 comes again, and the ACK with it; the callee does not notice."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(1.02)
        self.network.set_link(ALICE, SIPD, DEAD)
        self.clock.advance(0.4)
        self.network.set_link(ALICE, SIPD, Link())
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertEqual(len([one for one in self.seen(self.alice, 200) if one.cseq.method == "INVITE"]), 2)
        call.hang_up()
        self.finish()

    def test_caller_never_acknowledges(self) -> None:
        """After 64*T1 both legs are ended, the callee's with a Reason; the record blames the caller's leg."""
        self.bob.auto_answer(after=1.0)
        self.alice.call("bob")
        self.clock.advance(1.02)
        self.network.set_link(ALICE, SIPD, DEAD)
        record = self.finish()
        answered = self.bob.calls[0]
        self.assertEqual((answered.outcome, answered.ended_by), (Outcome.ANSWERED, "them"))
        self.assertIn("cause=480", self.seen(self.bob, "BYE")[0].headers.get("Reason") or "")
        self.assertEqual((record.status, record.ended_by, record.cause), (200, "sipd", "caller-lost"))

    def test_ack_to_the_callee_is_lost(self) -> None:
        """Each repetition of the 200 gets the same ACK again, until one arrives (section 13.2.2.4)."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(0.9)
        self.network.set_link(SIPD, BOB, DEAD)
        self.clock.advance(1.4)
        answered = self.bob.calls[0]
        self.assertFalse(answered.is_acknowledged)
        self.network.set_link(SIPD, BOB, Link())
        self.clock.advance(4.0)
        self.assertTrue(answered.is_acknowledged)
        call.hang_up()
        self.finish()

    def test_callee_never_hears_the_ack(self) -> None:
        """A callee that gives up waiting says BYE, and the caller's leg ends with it."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(0.9)
        self.network.set_link(SIPD, BOB, DEAD)
        self.clock.advance(40.0)
        self.assertEqual((call.outcome, call.ended_by), (Outcome.ANSWERED, "them"))
        self.network.set_link(SIPD, BOB, Link())
        record = self.finish()
        self.assertEqual((record.ended_by, record.cause), ("callee", "bye"))

    def test_bye_without_an_ack(self) -> None:
        """A caller whose ACK is lost and who hangs up at once ends the call; nothing is repeated after that."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(1.02)
        self.network.set_link(ALICE, SIPD, DEAD)
        self.clock.advance(0.1)
        self.network.set_link(ALICE, SIPD, Link())
        call.hang_up()
        self.clock.advance(1.0)
        count = len(self.alice.seen)
        record = self.finish()
        self.assertEqual((len(self.alice.seen), record.ended_by), (count, "caller"))

    def test_stopped_before_the_ack(self) -> None:
        """A call that is stopped between 200 and ACK is ended with BYE when the ACK is there, and not before."""
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(1.02)
        self.network.set_link(ALICE, SIPD, DEAD)
        self.clock.advance(0.1)
        self.server.b2bua.stop_calls("shutdown")
        self.clock.advance(0.1)
        self.assertEqual(self.seen(self.alice, "BYE"), [])
        (bye,) = self.seen(self.bob, "BYE")
        self.assertEqual(bye.headers.get("Reason"), 'SIP;cause=503;text="Service unavailable"')
        self.network.set_link(ALICE, SIPD, Link())
        self.finish()
        self.assertEqual((call.outcome, call.ended_by), (Outcome.ANSWERED, "them"))


class ChangeTests(BridgeCase):
    """A re-INVITE that meets something else."""

    def _status(self, answer: Deferred[Response | None]) -> int:
        response = self.successResultOf(answer)
        return 0 if response is None else response.status

    def _hold(self, answered: PeerCall) -> list[tuple[Request, Reply]]:
        """Let a peer leave re-INVITEs alone; give what came."""
        held: list[tuple[Request, Reply]] = []
        answered._reinvited = lambda request, reply: held.append((request, reply))  # type: ignore[method-assign]
        return held

    def _offer(self, version: int = 2) -> bytes:
        return builders.sdp(ALICE, 40000, direction="sendonly", version=version)

    def _cancel(self) -> None:
        """Let Alice cancel the INVITE that she sent last."""
        exchange = next(
            one
            for one in reversed(self.alice.exchanges._clients.values())
            if one.request.method == "INVITE" and not one.is_final
        )
        self.alice.exchanges.cancel(exchange)

    def test_withdrawn_change(self) -> None:
        """A cancelled re-INVITE is cancelled on the other leg, too, and the session may be changed again."""
        call, answered = self.established()
        held = self._hold(answered)
        answer = call.reinvite(self._offer())
        self.clock.advance(1.0)
        request, reply = held[0]
        reply(builders.response(request, 180))
        self._cancel()
        self.clock.advance(1.0)
        self.assertGreaterEqual(len(self.seen(self.bob, "CANCEL")), 1)
        reply(builders.response(request, 487))
        self.clock.advance(1.0)
        self.assertEqual(self._status(answer), 487)
        self.assertTrue(call.is_answered)
        del answered._reinvited
        again = call.reinvite(self._offer(version=3))
        self.clock.advance(1.0)
        self.assertEqual(self._status(again), 200)
        call.hang_up()
        self.finish()
        self.assertIn("withdrawn", self.explanation())

    def test_change_that_is_withdrawn_while_its_answer_waits(self) -> None:
        """The CANCEL comes while media take the answer: the other leg has its ACK, and is asked to stay as it was."""
        for body in (self._offer(), b""):
            self.server.records.records.clear()
            relay = SlowRelay(self.server.relay, self.clock.callLater, 0.0)
            self.server.b2bua.media = relay
            call, answered = self.established()
            acks = len(self.seen(self.bob, "ACK"))
            call.reinvite(body)
            relay.delay = 1.0
            self.clock.advance(1.5 if body else 0.5)
            self._cancel()
            self.clock.advance(5.0)
            self.assertEqual(len(self.seen(self.bob, "ACK")), acks + 2)
            self.assertTrue(call.is_answered)
            self.assertTrue(answered.is_answered)
            call.hang_up()
            self.finish()

    def test_withdrawn_change_that_is_answered_all_the_same(self) -> None:
        """The 200 that crosses the CANCEL of a re-INVITE is acknowledged, and what it agreed to is taken back."""
        call, answered = self.established()
        reinvited = answered._reinvited
        held = self._hold(answered)
        call.reinvite(builders.sdp(ALICE, media=("audio", "video"), version=2))
        self.clock.advance(1.0)
        self.assertEqual(len(self.server.relay.taken), 4)
        self._cancel()
        self.clock.advance(0.005)
        request, reply = held[0]
        answered._reinvited = reinvited  # type: ignore[method-assign]
        reinvited(request, reply)
        self.clock.advance(5.0)
        self.assertEqual(len(self.server.relay.taken), 2)
        self.assertIn(b"m=video 0 ", answered.remote_body)
        acks = [one for one in self.seen(self.bob, "ACK") if one.cseq.number == request.cseq.number]
        self.assertEqual(len(acks), 1)
        self.assertTrue(call.is_answered)
        self.assertTrue(answered.is_answered)
        call.hang_up()
        self.finish()

    def test_change_while_another_is_taken_back(self) -> None:
        """It gets 491, and does not disturb what is under way."""
        call, answered = self.established()
        reinvited = answered._reinvited
        held = self._hold(answered)
        call.reinvite(builders.sdp(ALICE, media=("audio", "video"), version=2))
        self.clock.advance(1.0)
        self._cancel()
        self.clock.advance(0.005)
        reinvited(*held[0])
        self.clock.advance(0.5)
        again = call.reinvite(builders.sdp(ALICE, media=("audio", "video", "audio"), version=3))
        self.clock.advance(0.5)
        self.assertEqual(self._status(again), 491)
        answered._reinvited = reinvited  # type: ignore[method-assign]
        reinvited(*held[-1])
        self.clock.advance(5.0)
        self.assertEqual(len(self.server.relay.taken), 2)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_change_that_crosses_the_bye(self) -> None:
        """A re-INVITE that meets a leg whose BYE is under way gets 481 (RFC 5407 section 3.2.2)."""
        call, answered = self.established()
        answered.hang_up()
        self.clock.advance(0.015)
        answer = call.reinvite(self._offer())
        self.finish()
        self.assertIn(self._status(answer), (0, 481))

    def test_challenged_change(self) -> None:
        """A re-INVITE that the other leg challenges is refused with 502: nobody could answer a bare 407."""
        call, answered = self.established()
        answered._reinvited = lambda request, reply: reply(  # type: ignore[method-assign]
            builders.response(request, 407, headers=[("Proxy-Authenticate", 'Digest realm="r", nonce="n"')])
        )
        answer = call.reinvite(self._offer())
        self.clock.advance(1.0)
        self.assertEqual(self._status(answer), 502)
        call.hang_up()
        self.finish()

    def test_lost_ack_of_a_change(self) -> None:
        """A re-INVITE whose ACK never comes ends the call: the peer does not hear what it is told (14.2)."""
        call, answered = self.established()
        call.reinvite(self._offer())
        self.clock.advance(0.025)
        self.network.set_link(ALICE, SIPD, DEAD)
        record = self.finish()
        self.assertEqual(record.cause, "caller-lost")
        self.assertEqual(answered.outcome, Outcome.ANSWERED)
