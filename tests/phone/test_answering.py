"""Calls that come in: rung, answered, refused, waited for, authorised."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred

from sipd.errors import CallFailedError, InvalidStateError, SdpError
from sipd.phone.account import Account
from sipd.phone.call import Call
from sipd.phone.dialing import OutgoingCall
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialError
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from sipd.phone.progress import DialProgress
from tests.phone.support import ALICE, BOB, CAROL, Ear, PhoneCase, answering, forever

#: An offer that no phone can do anything with.
VIDEO = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 5000 RTP/AVP 96\r\n"


class AnsweringCase(PhoneCase):
    """One phone calls another one."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.alice, self.bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")

    def dial(self, seconds: float = 1.0, **options: Any) -> Deferred[OutgoingCall]:
        """Let alice call bob."""
        dialling = self.alice.dial(f"bob@{BOB}", **options)
        self.clock.advance(seconds)
        return dialling


class DecidingTests(AnsweringCase):
    """What becomes of a call is decided call by call."""

    def test_iterator(self) -> None:
        """Calls are taken from an iterator, one by one, also those that came while nobody asked."""
        seen: list[str] = []

        async def serve() -> None:
            async for call in self.bob.incoming():
                seen.append(str(call.remote.uri))
                await call.answer()
                await self.sleep(2.0)
                await call.hang_up()

        serving = Deferred.fromCoroutine(serve())
        dialling = [self.dial(), self.dial()]
        self.clock.advance(10.0)
        for one in dialling:
            self.assertEqual(self.successResultOf(self.successResultOf(one).ended).by, EndedBy.THEM)
        self.assertEqual(seen, [f"sip:alice@{ALICE}"] * 2)
        self.assertNoResult(serving)
        self.bob.stopService()
        self.clock.advance(10.0)
        self.successResultOf(serving)

    def test_iterator_has_a_limit(self) -> None:
        """Calls that wait too many are refused; one that is given up is left out; at the end the rest is refused."""
        calls = self.bob.incoming(limit=2)
        first, second, third = self.dial(), self.dial(), self.dial()
        self.assertEqual(self.failureResultOf(third, DialError).value.status, 486)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.clock.advance(1.0)
        fourth = self.dial()
        self.assertNoResult(fourth)
        waiting = calls.next()
        call = self.successResultOf(waiting)
        assert call is not None
        call.reject(603)
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(second, DialError).value.status, 603)
        calls.close()
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(fourth, DialError).value.status, 480)
        self.assertIsNone(self.successResultOf(calls.next()))

    def test_cancelled_wait(self) -> None:
        """Who does not wait any more takes no call."""
        calls = self.bob.incoming()
        waiting = calls.next()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        dialling = self.dial()
        self.assertNoResult(dialling)
        call = self.successResultOf(calls.next())
        assert call is not None
        call.reject()
        self.clock.advance(1.0)
        self.failureResultOf(dialling, DialError)

    def test_answer(self) -> None:
        """One call is waited for, rings for so long, and is answered as is said."""
        answered = self.bob.answer(ring_time=3.0, status=202, reason="Yes", headers={"X-Answer": "1"})
        steps: list[DialProgress] = []
        dialling = self.dial(on_progress=steps.append)
        self.assertNoResult(dialling)
        self.clock.advance(3.0)
        call = self.successResultOf(dialling)
        self.assertEqual([one.status for one in steps], [0, 180, 202])
        assert call.answer is not None
        self.assertEqual((steps[-1].reason, call.answer.headers.get("X-Answer")), ("Yes", "1"))
        self.assertTrue(self.successResultOf(answered).is_established)
        again = self.dial()
        self.assertEqual(self.failureResultOf(again, DialError).value.status, 480)

    def test_answer_decides(self) -> None:
        """Each call is asked about: refused with a status, with none, or taken."""
        decisions = iter((-1, 603, 0))
        answered = self.bob.answer(on_call=lambda call: next(decisions))
        self.assertEqual(self.failureResultOf(self.dial(), DialError).value.status, 480)
        self.assertEqual(self.failureResultOf(self.dial(), DialError).value.status, 603)
        self.assertTrue(self.successResultOf(self.dial()).is_established)
        self.assertTrue(self.successResultOf(answered).is_established)

    def test_answer_passes_over(self) -> None:
        """A caller that gives up while it rings is passed over, and the next one answered."""
        answered = self.bob.answer(ring_time=5.0)
        dialling = self.dial()
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.clock.advance(1.0)
        self.assertNoResult(answered)
        second = self.dial(8.0)
        self.assertTrue(self.successResultOf(second).is_established)
        self.assertTrue(self.successResultOf(answered).is_established)

    def test_answer_cancelled(self) -> None:
        """To cancel it stops waiting; a call that rings is refused."""
        answered = self.bob.answer(ring_time=5.0)
        dialling = self.dial()
        answered.cancel()
        self.failureResultOf(answered, CancelledError)
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(dialling, DialError).value.status, 480)

    def test_answer_and_the_end_of_the_phone(self) -> None:
        """A phone that stops has no call to give."""
        answered = self.bob.answer()
        self.bob.stopService()
        self.clock.advance(1.0)
        self.failureResultOf(answered, InvalidStateError)

    def test_hook_that_fails(self) -> None:
        """An application that fails with a call ends it, and is told of in the log."""

        async def fails(call: IncomingCall) -> None:
            raise ZeroDivisionError

        self.bob.on_call = fails
        self.assertEqual(self.failureResultOf(self.dial(), DialError).value.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

        async def fails_later(call: IncomingCall) -> None:
            await call.answer()
            raise ZeroDivisionError

        self.bob.on_call = fails_later
        call = self.successResultOf(self.dial())
        self.assertEqual(self.successResultOf(call.ended).by, EndedBy.THEM)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_redirected(self) -> None:
        """A call is sent elsewhere; the caller follows if it is told to."""
        carol = self.phone(CAROL, "carol")
        answering(carol)
        self.bob.on_call = lambda call: call.redirect("sip:nobody@192.0.2.99:1", f"carol@{CAROL}")
        refused = self.failureResultOf(self.dial(), DialError).value
        assert refused.response is not None
        self.assertEqual(refused.status, 302)
        self.assertEqual(
            [str(one.uri) for one in refused.response.contacts], ["sip:nobody@192.0.2.99:1", f"sip:carol@{CAROL}"]
        )
        followed = self.dial(40.0, max_redirects=2)
        self.assertTrue(self.successResultOf(followed).is_established)
        self.assertEqual(len(carol.calls), 1)
        self.failureResultOf(self.dial(40.0, max_redirects=1), DialError)

    def test_circles(self) -> None:
        """Who sends a caller in a circle ends it."""
        self.bob.on_call = lambda call: call.redirect(f"bob@{BOB}")
        self.assertEqual(self.failureResultOf(self.dial(max_redirects=10), DialError).value.status, 302)


class EarlyMediaTests(AnsweringCase):
    """What is said of media before the answer."""

    def test_heard(self) -> None:
        """An announcement before the answer is heard, and the answer changes nothing of it."""
        ear = Ear()
        taken: list[IncomingCall] = []

        async def announce(call: IncomingCall) -> None:
            taken.append(call)
            call.send_early_media()
            forever(call.play("tone:de:dial", times=None))
            await self.sleep(2.0)
            await call.answer()

        self.bob.on_call = announce
        self.dial()
        (calling,) = self.alice.calls
        calling.connect(None, ear)
        self.clock.advance(0.5)
        self.assertTrue(ear.hears(425))
        self.clock.advance(2.0)
        self.assertTrue(calling.is_established)
        self.assertTrue(ear.hears(425))
        self.assertTrue(taken[0].is_established)

    def test_none_without_an_offer(self) -> None:
        """Without an offer there is nothing to answer early."""
        failures: list[str] = []

        def announce(call: IncomingCall) -> None:
            try:
                call.send_early_media()
            except SdpError as error:
                failures.append(error.reason)
            call.answer()

        self.bob.on_call = announce
        call = self.successResultOf(self.dial(late_offer=True))
        self.assertEqual(failures, ["There is no offer to answer"])
        self.assertEqual(call.audio.codec, "pcmu/8000")


class MediaTests(AnsweringCase):
    """What the media of both sides agree on, or do not."""

    def test_codecs(self) -> None:
        """A call offers what it is told to."""
        taken = answering(self.bob)
        call = self.successResultOf(self.dial(codecs=["pcma"]))
        self.assertEqual((call.audio.codec, taken[0].audio.codec), ("pcma/8000", "pcma/8000"))
        self.failureResultOf(self.dial(codecs=["mp3"]), ValueError)

    def test_nothing_in_common(self) -> None:
        """An offer that cannot be used is refused with 488, and the callee's application knows why."""
        outcome: list[object] = []

        def answer(call: IncomingCall) -> None:
            call.answer().addErrback(lambda failure: outcome.append(failure.value))

        self.bob.on_call = answer
        self.assertEqual(self.failureResultOf(self.dial(sdp=VIDEO), DialError).value.status, 488)
        self.assertIsInstance(outcome[0], SdpError)

    def test_late_offer(self) -> None:
        """The callee makes the offer, and the ACK brings the answer."""
        taken = answering(self.bob)
        call = self.successResultOf(self.dial(late_offer=True))
        ear = Ear()
        taken[0].connect(None, ear)
        forever(call.play("tone:de:dial", times=None))
        self.clock.advance(1.0)
        self.assertTrue(ear.hears(425))
        self.assertEqual(call.session.invite.body, b"")

    def test_hook_before_the_acknowledgement(self) -> None:
        """The application may look at the answer before it is acknowledged; what it raises ends the call."""
        taken = answering(self.bob)
        seen: list[int] = []

        async def looks(call: Call, response: object) -> None:
            await self.sleep(0.2)
            seen.append(len([one for one in taken if one.is_established]))

        self.assertTrue(self.successResultOf(self.dial(on_answer=looks)).is_established)
        self.assertEqual(seen, [0])

        async def refuses(call: Call, response: object) -> None:
            raise ZeroDivisionError

        error = self.failureResultOf(self.dial(on_answer=refuses), DialError).value
        self.assertIsInstance(error.__cause__, ZeroDivisionError)
        end = self.successResultOf(taken[1].ended)
        # The 200 had its ACK, and then came a BYE (RFC 3261 section 13.2.2.4).
        self.assertEqual(end.by, EndedBy.THEM)

    def test_gives_up_before_it_is_bound(self) -> None:
        """A call that is cancelled between answer and ACK is acknowledged and hung up."""
        taken = answering(self.bob)
        dialling = self.dial(on_answer=lambda call, response: self.sleep(5.0))
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(taken[0].ended).by, EndedBy.THEM)
        self.clock.advance(10.0)


class AuthorisationTests(PhoneCase):
    """Who may call is known by name and password."""

    def test_authorised(self) -> None:
        """Who proves to be somebody may call, and is known by that name; nobody else."""
        bob = self.phone(BOB, "bob", authorize={"alice": "secret"}, realm="home")
        taken = answering(bob)
        for password, status in (("secret", 0), ("wrong", 401), (None, 401)):
            with self.subTest(password):
                account = Account(f"sip:alice@{ALICE}", password)
                alice = self.caller(account)
                dialling = alice.dial(f"bob@{BOB}")
                self.clock.advance(2.0)
                if status:
                    self.assertEqual(self.failureResultOf(dialling, DialError).value.status, status)
                else:
                    self.assertTrue(self.successResultOf(dialling).is_established)
                self.successful_stop(alice)
        self.assertEqual([call.username for call in taken], ["alice"])

    def caller(self, account: Account) -> Phone:
        """Make a phone, once more at the same place."""
        if not hasattr(self, "host"):
            self.host = self.network.host(ALICE)
        phone = Phone(self.host, listen=f"udp:{ALICE}:5060", account=account, entropy=self.network.entropy)
        phone.startService()
        return phone

    def successful_stop(self, phone: Phone) -> None:
        """Stop a phone."""
        stopping = phone.stopService()
        self.clock.advance(10.0)
        self.successResultOf(stopping)


class AcknowledgementTests(AnsweringCase):
    """An answer that nobody acknowledges."""

    def test_lost(self) -> None:
        """The call ends, and whoever answered it hears that."""
        outcome: list[object] = []

        def answer(call: IncomingCall) -> None:
            self.network.partition([ALICE])
            call.answer().addErrback(lambda failure: outcome.append(failure.value))

        self.bob.on_call = answer
        dialling = self.dial(40.0)
        self.failureResultOf(dialling, DialError)
        self.assertIsInstance(outcome[0], CallFailedError)
        self.network.heal()
        self.clock.advance(60.0)

    def test_twice(self) -> None:
        """A call is answered once."""
        calls: list[IncomingCall] = []
        self.bob.on_call = calls.append
        self.dial()
        calls[0].answer()
        self.failureResultOf(calls[0].answer(), InvalidStateError)
        calls[0].reject()
        self.clock.advance(1.0)
        self.assertTrue(calls[0].is_established)
