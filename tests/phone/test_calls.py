"""Calls between phones: dialled, answered, talked in, ended."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.defer import TimeoutError as DeferredTimeoutError

from sipd.errors import InvalidStateError, ParseError
from sipd.phone.call import Call, CallState
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialConnectionRefused, DialError, DialTimeoutError, DialUnresolvableError
from sipd.phone.progress import DialProgress, DialStep
from sipd.testing.links import Fate
from tests.phone.support import ALICE, BOB, CAROL, Ear, PhoneCase, answering, forever


class CallTests(PhoneCase):
    """Two phones."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.alice = self.phone(ALICE, "alice", listen=[f"udp:{ALICE}:5060", f"tcp:{ALICE}:5060"])
        self.bob = self.phone(BOB, "bob")

    def test_talk(self) -> None:
        """A call is dialled and answered; each hears the other one; the end is told on both sides."""
        taken = answering(self.bob, after=1.0)
        ear, other_ear = Ear(), Ear()

        async def talk() -> EndedBy:
            call = await self.alice.dial(f"bob@{BOB}")
            call.connect(None, ear)
            taken[0].connect(None, other_ear)
            forever(call.play("tone:de:dial", times=None))
            forever(taken[0].play("tone:us:dial", times=None))
            await self.sleep(1.0)
            self.assertTrue(other_ear.hears(425))
            self.assertTrue(ear.hears(440))
            self.assertEqual((call.state, taken[0].state), (CallState.ESTABLISHED, CallState.ESTABLISHED))
            await call.hang_up()
            return (await call.ended).by

        self.assertEqual(self.run_coroutine(talk()), EndedBy.US)
        end = self.successResultOf(taken[0].ended)
        self.assertEqual((end.by, end.status, round(end.duration, 1)), (EndedBy.THEM, 0, 1.0))

    def test_leaving_hangs_up(self) -> None:
        """A call that is a context manager is hung up at its end, whatever ends it."""
        taken = answering(self.bob)

        async def talk() -> None:
            async with await self.alice.dial(f"bob@{BOB}"):
                await self.sleep(1.0)
                raise ZeroDivisionError

        self.failureResultOf(self.begin(talk()), ZeroDivisionError)
        self.assertEqual(self.successResultOf(taken[0].ended).by, EndedBy.THEM)

    def test_deferreds(self) -> None:
        """Nothing needs a coroutine."""
        answering(self.bob)
        seen: list[str] = []
        dialling = self.alice.dial(f"bob@{BOB}")

        def talk(call: Call) -> Deferred[None]:
            call.ended.addCallback(lambda end: seen.append(end.by.value))
            return call.hang_up()

        talking: Deferred[None] = dialling.addCallback(talk)
        self.clock.advance(10.0)
        self.successResultOf(talking)
        self.assertEqual(seen, ["this side"])

    def test_inline_callbacks(self) -> None:
        """Generators will do as well."""
        taken = answering(self.bob)

        @inlineCallbacks
        def talk():  # type: ignore[no-untyped-def]  # yields are not typed
            call = yield self.alice.dial(f"bob@{BOB}")
            yield taken[0].hang_up()
            end = yield call.ended
            return end.by

        talking = talk()
        self.clock.advance(10.0)
        self.assertEqual(self.successResultOf(talking), EndedBy.THEM)

    def test_cancelled(self) -> None:
        """To cancel the Deferred of a call that rings sends CANCEL; the callee knows who gave up."""
        taken = answering(self.bob, after=60.0)
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(2.0)
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.clock.advance(2.0)
        end = self.successResultOf(taken[0].ended)
        self.assertEqual((end.by, end.status), (EndedBy.CANCELLED, 487))
        self.assertEqual((self.alice.calls, self.bob.calls), (set(), set()))
        self.clock.advance(60.0)

    def test_cancelled_at_once(self) -> None:
        """A call that nobody has heard of yet is cancelled when it was heard of."""
        taken = answering(self.bob, after=60.0)
        dialling = self.alice.dial(f"bob@{BOB}")
        dialling.cancel()
        self.failureResultOf(dialling, CancelledError)
        self.clock.advance(2.0)
        self.assertEqual([self.successResultOf(call.ended).by for call in taken], [EndedBy.CANCELLED])
        self.clock.advance(60.0)

    def test_timeout(self) -> None:
        """`addTimeout` is how a call is given so much time."""
        taken = answering(self.bob, after=60.0)
        dialling = self.alice.dial(f"bob@{BOB}").addTimeout(5.0, self.clock)
        self.clock.advance(6.0)
        self.failureResultOf(dialling, DeferredTimeoutError)
        self.assertEqual(self.successResultOf(taken[0].ended).by, EndedBy.CANCELLED)
        self.clock.advance(60.0)

    def test_nobody_answers(self) -> None:
        """A call that rings for too long is cancelled, and fails so."""
        answering(self.bob, after=60.0)
        dialling = self.alice.dial(f"bob@{BOB}", ring_timeout=5.0)
        self.clock.advance(6.0)
        error = self.failureResultOf(dialling, DialTimeoutError).value
        self.assertEqual((error.status, error.reason), (408, "Nobody has answered in 5 s"))
        self.clock.advance(60.0)

    def test_refused(self) -> None:
        """A refusal fails the Deferred with request, response and status; the callee's phrase and fields are there."""
        self.bob.on_call = lambda call: call.reject(486, "In A Meeting", {"Retry-After": "60"})
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(5.0)
        error = self.failureResultOf(dialling, DialError).value
        assert error.response is not None
        assert error.request is not None
        self.assertEqual((error.status, error.reason), (486, "486 In A Meeting"))
        self.assertEqual(error.response.headers.get("Retry-After"), "60")
        self.assertEqual((error.request.method, error.request.uri.user), ("INVITE", "bob"))

    def test_nobody_there(self) -> None:
        """Nobody at home, no such name, no such host, nobody listening: each failure has its own type."""
        for recipient, kind, status in (
            (f"bob@{BOB}", DialError, 480),
            ("bob@192.0.2.77", DialTimeoutError, 408),
            ("bob@nowhere.example", DialUnresolvableError, 502),
            (f"sip:bob@{BOB};transport=tcp", DialConnectionRefused, 503),
        ):
            with self.subTest(recipient):
                dialling = self.alice.dial(recipient)
                self.clock.advance(40.0)
                self.assertEqual(self.failureResultOf(dialling, kind).value.status, status)
        dialling = self.alice.dial("<<")
        self.failureResultOf(dialling, ParseError)

    def test_not_started(self) -> None:
        """A phone that is not started says so."""
        self.alice.stopService()
        self.clock.advance(1.0)
        self.failureResultOf(self.alice.dial(f"bob@{BOB}"), InvalidStateError)
        self.failureResultOf(self.alice.when_ready(), InvalidStateError)

    def test_progress(self) -> None:
        """Each step is told, with what the application knows the call by."""
        answering(self.bob, after=1.0)
        steps: list[DialProgress] = []
        dialling = self.alice.dial(
            f"bob@{BOB}", on_progress=steps.append, correlation="c-7", scenario="campaign", call_id="mine@here"
        )
        self.clock.advance(5.0)
        call = self.successResultOf(dialling)
        self.assertEqual(
            [(one.step, one.status, one.reason) for one in steps],
            [
                (DialStep.INVITED, 0, ""),
                (DialStep.PROVISIONAL, 180, "Ringing"),
                (DialStep.ESTABLISHED, 200, "OK"),
            ],
        )
        self.assertEqual(
            {(one.call_id, one.correlation, one.scenario) for one in steps}, {("mine@here", "c-7", "campaign")}
        )
        self.assertEqual({one.remote for one in steps}, {f"{BOB}:5060"})
        self.assertEqual((call.call_id, call.correlation, call.scenario), ("mine@here", "c-7", "campaign"))
        self.assertEqual(str(steps[1]), f"provisional sip:bob@{BOB}: 180 Ringing")

    def test_progress_of_a_refusal(self) -> None:
        """A refusal is the last step, with its status and phrase."""
        self.bob.on_call = lambda call: call.reject(486, "Later")
        steps: list[str] = []
        dialling = self.alice.dial(f"bob@{BOB}", on_progress=lambda step: steps.append(str(step)))
        self.clock.advance(5.0)
        self.failureResultOf(dialling, DialError)
        self.assertEqual(steps, [f"invited sip:bob@{BOB}", f"failed sip:bob@{BOB}: 486 Later"])

    def test_failing_hook(self) -> None:
        """What a hook of progress raises is logged, and does no harm."""
        answering(self.bob)

        def fails(step: DialProgress) -> None:
            raise ZeroDivisionError

        dialling = self.alice.dial(f"bob@{BOB}", on_progress=fails)
        self.clock.advance(5.0)
        self.assertTrue(self.successResultOf(dialling).is_established)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 3)

    def test_headers(self) -> None:
        """What is said of the caller, and of the call, stands in the INVITE; a line break is refused."""
        taken = answering(self.bob)
        dialling = self.alice.dial(
            f"bob@{BOB}",
            headers={"X-Campaign": "7"},
            caller="sip:sales@example.org",
            caller_name="Sales",
            asserted_identity=("sip:+49301@example.org", "tel:+49301"),
            privacy=("id", "history"),
            history=("<sip:x@example.org>;index=1",),
            diversion=("<sip:y@example.org>;reason=no-answer",),
            identity="eyJ;info=<https://example.org/c>",
        )
        self.clock.advance(5.0)
        self.successResultOf(dialling)
        invite = taken[0].invite
        self.assertEqual(str(invite.from_.without_parameters()), "Sales <sip:sales@example.org>")
        self.assertEqual(
            {
                name: invite.headers.get_all(name)
                for name in ("X-Campaign", "Privacy", "History-Info", "Diversion", "Identity")
            },
            {
                "X-Campaign": ["7"],
                "Privacy": ["id;history"],
                "History-Info": ["<sip:x@example.org>;index=1"],
                "Diversion": ["<sip:y@example.org>;reason=no-answer"],
                "Identity": ["eyJ;info=<https://example.org/c>"],
            },
        )
        self.assertEqual(invite.headers.get_all("P-Asserted-Identity"), ["<sip:+49301@example.org>", "<tel:+49301>"])
        self.failureResultOf(self.alice.dial(f"bob@{BOB}", headers={"X": "a\r\nY: b"}), ParseError)
        self.assertEqual(len(self.alice.calls), 1)

    def test_several_at_once(self) -> None:
        """A phone has many calls at a time; what is too much is refused."""
        self.bob.max_calls = 3
        answering(self.bob)
        dialling = [self.alice.dial(f"bob@{BOB}") for _ in range(4)]
        self.clock.advance(5.0)
        for one in dialling[:3]:
            self.assertTrue(self.successResultOf(one).is_established)
        self.assertEqual(self.failureResultOf(dialling[3], DialError).value.status, 486)
        self.assertEqual((len(self.alice.calls), len(self.bob.calls)), (3, 3))

    def test_dropped(self) -> None:
        """A call may be forgotten without a word; the other side notices when it says something."""
        taken = answering(self.bob)
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(5.0)
        call = self.successResultOf(dialling)
        call.drop()
        self.clock.advance(1.0)
        self.assertFalse(taken[0].is_over)
        asking = taken[0].info("text/plain", b"there?")
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(asking).status, 481)
        self.assertEqual(self.successResultOf(taken[0].ended).by, EndedBy.FAILURE)

    def test_hang_up_with_a_reason(self) -> None:
        """The other side hears why (RFC 3326)."""
        taken = answering(self.bob)
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(5.0)
        self.successResultOf(dialling).hang_up('Q.850;cause=31;text="Enough"')
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(taken[0].ended).reasons, ('Q.850;cause=31;text="Enough"',))


class StopTests(PhoneCase):
    """How a phone ends."""

    def test_everything_ends(self) -> None:
        """To stop a phone hangs up what is established, cancels what rings, and refuses what is offered."""
        alice, bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        taken = answering(bob)
        talking = alice.dial(f"bob@{BOB}")
        self.clock.advance(5.0)
        bob.on_call = lambda call: call.ring()
        ringing = alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        stopping = alice.stopService()
        self.clock.advance(1.0)
        self.successResultOf(stopping)
        self.assertEqual(self.successResultOf(self.successResultOf(talking).ended).by, EndedBy.US)
        self.assertEqual(self.successResultOf(taken[0].ended).by, EndedBy.THEM)
        self.failureResultOf(ringing, DialError)
        self.assertEqual(bob.calls, set())

    def test_within_a_limit(self) -> None:
        """Where nobody answers it does not take longer than it may."""
        alice, bob = self.phone(ALICE, "alice", patience=3.0), self.phone(BOB, "bob")
        answering(bob)
        talking = alice.dial(f"bob@{BOB}")
        self.clock.advance(5.0)
        self.successResultOf(talking)
        self.network.partition([ALICE])
        stopping = alice.stopService()
        self.clock.advance(2.9)
        self.assertNoResult(stopping)
        self.clock.advance(0.2)
        self.successResultOf(stopping)
        self.network.heal()

    def test_twice(self) -> None:
        """Whoever stops it again waits for the same end; it cannot be started before that."""
        alice = self.phone(ALICE, "alice")
        first, second = alice.stopService(), alice.stopService()
        self.assertRaises(InvalidStateError, alice.startService)
        self.clock.advance(1.0)
        self.successResultOf(first)
        self.successResultOf(second)
        self.successResultOf(alice.stopService())
        alice.startService()

    def test_context_and_again(self) -> None:
        """As a context manager it is stopped at the end; it may be started again."""
        alice, bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        answering(bob)

        async def once() -> bool:
            async with alice as phone:
                return (await phone.dial(f"bob@{BOB}")).is_established

        for _ in range(2):
            self.assertTrue(self.run_coroutine(once()))
            self.assertFalse(alice.running)

    def leave(self, until: str) -> list[bytes]:
        """Leave a phone's block as soon as something has happened; give what the callee has sent since."""
        alice, bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        taken = answering(bob, after=60.0 if until == "cancelled" else 0.0)

        async def talk() -> None:
            async with alice as phone:
                if until == "cancelled":
                    dialling = phone.dial(f"bob@{BOB}")
                    dialling.addErrback(lambda failure: failure.trap(CancelledError))
                    await self.sleep(1.0)
                    dialling.cancel()
                else:
                    call = await phone.dial(f"bob@{BOB}")
                    self.clock.callLater(1.0, taken[0].hang_up)
                    await call.ended

        self.run_coroutine(talk(), 20.0)
        self.assertTrue(taken[0].is_over)
        self.clock.advance(60.0)
        sent = [event for event in self.network.log if event.data and event.source[0] == BOB]
        return [event.data for event in sent if event.fate is Fate.SENT]

    def test_left_when_the_other_side_hangs_up(self) -> None:
        """Who leaves as soon as the call has ended still answers the BYE: it is not repeated."""
        self.assertEqual(len([data for data in self.leave("ended") if data.startswith(b"BYE ")]), 1)

    def test_left_when_cancelled(self) -> None:
        """Who leaves right after it has cancelled a call acknowledges the 487."""
        self.assertEqual(len([data for data in self.leave("cancelled") if b" 487 " in data[:20]]), 1)

    def test_cancelled_and_left_at_the_end_of_another_call(self) -> None:
        """A call that is cancelled because another one has ended is cancelled at the other side, too."""
        alice, bob, carol = self.phone(ALICE, "alice"), self.phone(BOB, "bob"), self.phone(CAROL, "carol")
        taken, ringing = answering(bob), answering(carol, after=60.0)

        async def talk() -> None:
            async with alice as phone:
                call = await phone.dial(f"bob@{BOB}")
                dialling = phone.dial(f"carol@{CAROL}")
                dialling.addErrback(lambda failure: failure.trap(CancelledError))
                self.clock.callLater(1.0, taken[0].hang_up)
                await call.ended
                dialling.cancel()

        self.run_coroutine(talk(), 20.0)
        self.assertEqual(self.successResultOf(ringing[0].ended).by, EndedBy.CANCELLED)
        self.clock.advance(60.0)
