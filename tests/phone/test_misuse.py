"""Applications that cancel, raise, stop and ask at the wrong moment, or for what cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.base import _ThreePhaseEvent
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.interfaces import IReactorCore
from zope.interface import directlyProvides, implementer, providedBy

from sipd.errors import (
    ConfigurationError,
    InvalidStateError,
    LocalError,
    ParseError,
    RemoteError,
)
from sipd.interfaces import IRequestHandler, IServerTransaction
from sipd.phone.account import Account
from sipd.phone.call import Call
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialError
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from sipd.phone.progress import DialProgress, DialStep
from sipd.sip.message import Request
from tests.phone.support import ALICE, BOB, CAROL, PhoneCase, answering

EVIL = "x\r\nX-Evil: 1"


class MisuseCase(PhoneCase):
    """Two phones."""

    def setUp(self) -> None:
        """Make them."""
        super().setUp()
        self.alice, self.bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")

    def offered(self, **options: Any) -> tuple[IncomingCall, Deferred[Any]]:
        """Let alice call bob, who does nothing yet."""
        calls: list[IncomingCall] = []
        self.bob.on_call = calls.append
        dialling = self.alice.dial(f"bob@{BOB}", **options)
        self.clock.advance(0.1)
        return calls[0], dialling

    def established(self) -> tuple[Any, IncomingCall]:
        """Let them talk."""
        call, dialling = self.offered()
        call.answer()
        self.clock.advance(0.1)
        return self.successResultOf(dialling), call


class SayingTests(MisuseCase):
    """What cannot be said is refused before anything happens."""

    def test_to_a_caller(self) -> None:
        """Another status than the method is for, or a line break, is refused; the call waits on."""
        call, dialling = self.offered()
        for error, say in (
            (ValueError, lambda: call.ring(200)),
            (ValueError, lambda: call.ring(100)),
            (ValueError, lambda: call.reject(180)),
            (ValueError, lambda: call.reject(200)),
            (ValueError, lambda: call.answer(486)),
            (ValueError, lambda: call.answer(100)),
            (ValueError, lambda: call.redirect("sip:x@example.org", status=486)),
            (ValueError, lambda: call.send_early_media(200)),
            (ParseError, lambda: call.ring(180, EVIL)),
            (ParseError, lambda: call.ring(headers={"X": EVIL})),
            (ParseError, lambda: call.reject(486, EVIL)),
            (ParseError, lambda: call.reject(headers={"X": EVIL})),
            (ParseError, lambda: call.answer(200, EVIL)),
            (ParseError, lambda: call.answer(headers={"X": EVIL})),
            (ParseError, lambda: call.send_early_media(183, EVIL)),
            (ParseError, lambda: call.redirect(f'"{EVIL}" <sip:x@example.org>')),
            (ParseError, lambda: call.hang_up(EVIL)),
        ):
            self.assertRaises(error, say)
        self.clock.advance(0.1)
        self.assertNoResult(dialling)
        answering = call.answer()
        self.clock.advance(0.1)
        self.successResultOf(answering)
        self.assertTrue(self.successResultOf(dialling).is_established)

    def test_at_the_end(self) -> None:
        """A reason that cannot be printed ends nothing; one that can reaches the other side."""
        call, other = self.established()
        self.assertRaises(ParseError, call.hang_up, EVIL)
        self.assertTrue(call.is_established)
        call.hang_up("Q.850;cause=16")
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(other.ended).reasons, ("Q.850;cause=16",))

    def test_requests(self) -> None:
        """What makes and ends calls is not sent as a request of its own, in calls and outside of them."""
        call, _ = self.established()
        for method in ("ACK", "BYE", "CANCEL", "INVITE", "PRACK"):
            self.failureResultOf(call.request(method), LocalError)
            self.failureResultOf(self.alice.request(method, f"bob@{BOB}"), LocalError)
        self.failureResultOf(call.request(EVIL), ParseError)
        self.assertTrue(call.is_established)

    def test_status_of_a_request(self) -> None:
        """A hook that gives no final status is logged, and the peer gets 500."""
        call, other = self.established()
        for status in (100, 700, -1):

            def gives(_: Call, request: Request, status: int = status) -> int:
                return status

            other.on_request = gives
            asking = call.message("tea?")
            self.clock.advance(0.1)
            self.assertEqual(self.successResultOf(asking).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 3)

    def test_decisions(self) -> None:
        """A decision that is none fails the wait for a call, and the caller is refused; so does what cannot be said."""
        for decision in (100, 700):

            def decides(call: IncomingCall, decision: int = decision) -> int:
                return decision

            waiting = self.bob.answer(on_call=decides)
            dialling = self.alice.dial(f"bob@{BOB}")
            self.clock.advance(1.0)
            self.failureResultOf(waiting, ValueError)
            self.assertEqual(self.failureResultOf(dialling, DialError).value.status, 480)
        self.failureResultOf(self.bob.answer(status=100), ValueError)
        self.failureResultOf(self.bob.answer(reason=EVIL), ParseError)

    def test_dialling(self) -> None:
        """A time to ring that is none is refused, and nothing is left of the call."""
        for seconds in (-1.0, float("nan")):
            self.failureResultOf(self.alice.dial(f"bob@{BOB}", ring_timeout=seconds), ValueError)
        self.assertEqual((len(self.alice.calls), len(self.alice.agent)), (0, 0))

    def test_accounts(self) -> None:
        """One URI is expected where there can be only one."""
        self.assertRaises(ConfigurationError, Account, "sip:a@x sip:b@y")
        self.assertRaises(ConfigurationError, Account, "sip:a@example.org", proxy="one.example two.example")
        self.assertEqual(len(Account("sip:a@example.org", registrar="one.example two.example").registrars), 2)


class CancellingTests(MisuseCase):
    """Deferreds that are cancelled."""

    def test_answer(self) -> None:
        """An answer that is cancelled before its ACK fails so, also by a time limit, and hangs up."""
        for limit in (False, True):
            call, dialling = self.offered()
            self.network.partition([ALICE])
            answering = call.answer()
            if limit:
                answering.addTimeout(1.0, self.clock)
                self.clock.advance(1.0)
                self.failureResultOf(answering, DeferredTimeoutError)
            else:
                answering.cancel()
                self.failureResultOf(answering, CancelledError)
            self.assertTrue(call.is_over)
            self.network.heal()
            self.clock.advance(40.0)
            if dialling.called:
                dialling.addErrback(lambda failure: failure.trap(RemoteError))

    def test_wait_for_one_call(self) -> None:
        """Who does not wait any more for a call that was just answered is not given a later one."""
        waiting = self.bob.answer()
        dialling = self.alice.dial(f"bob@{BOB}")
        self.network.partition([ALICE])
        self.network.heal()
        while not any(call.is_answered for call in self.bob.calls if isinstance(call, IncomingCall)):
            self.clock.advance(0.001)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.clock.advance(5.0)
        self.assertEqual(self.bob.calls, set())
        dialling.addBoth(lambda _: None)
        again = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(again, DialError).value.status, 480)

    def test_ends_that_nobody_waits_for(self) -> None:
        """Who asks again and again how a call ends, and gives up each time, leaves nothing behind."""
        call, other = self.established()
        for _ in range(100):
            waiting = call.ended
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
        self.assertEqual(len(call._endings), 0)
        waiting = call.ended
        other.hang_up()
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(waiting).by, EndedBy.THEM)

    def test_dial_inside_of_a_hook(self) -> None:
        """A dial is cancelled also where it tells of its first step, after the name was looked up."""
        taken = answering(self.bob, after=1.0)
        self.network.names["bob.example"] = [BOB]
        resolver = self.alice.agent.resolver
        locate = resolver.locate
        self.patch(resolver, "locate", lambda uri: self.sleep(0.1).addCallback(lambda _: locate(uri)))
        steps: list[DialStep] = []

        def progressed(progress: DialProgress) -> None:
            steps.append(progress.step)
            dialling.cancel()

        dialling = self.alice.dial("bob@bob.example", on_progress=progressed)
        self.clock.advance(0.5)
        self.failureResultOf(dialling, CancelledError)
        self.clock.advance(5.0)
        self.assertEqual((steps, self.alice.calls), ([DialStep.INVITED], set()))
        self.assertEqual([call.is_answered and call.is_over for call in taken], [True] * len(taken))

    def test_every_moment_of_a_call(self) -> None:
        """A dial that is cancelled at any moment leaves nothing, on either side."""
        for milliseconds in range(0, 60, 3):
            taken = answering(self.bob, after=0.02)
            dialling = self.alice.dial(f"bob@{BOB}")
            self.clock.advance(milliseconds / 1000)
            if dialling.called:
                self.successResultOf(dialling).hang_up()
            else:
                dialling.cancel()
                self.failureResultOf(dialling, CancelledError)
            self.clock.advance(40.0)
            self.assertEqual([call.is_over for call in taken], [True] * len(taken))
            self.assertEqual((len(self.alice.agent), len(self.bob.agent)), (0, 0))


class StoppingTests(MisuseCase):
    """Phones that are being stopped, or are."""

    def test_calls_outlive_it(self) -> None:
        """What is asked of a call of a phone that has stopped says so, or does nothing."""
        call, _ = self.established()
        stopping = self.alice.stopService()
        self.clock.advance(1.0)
        self.successResultOf(stopping)
        self.successResultOf(call.hang_up())
        call.drop()
        self.assertEqual(call.statistics.codec, "pcmu/8000")
        self.assertTrue(self.successResultOf(call.ended).by is EndedBy.US)
        for ask in (call.hold, call.resume, lambda: call.transfer("sip:x@example.org"), lambda: call.message("x")):
            self.failureResultOf(ask(), InvalidStateError)
        self.failureResultOf(call.play("tone:de:dial"), InvalidStateError)
        self.failureResultOf(call.collect(1), InvalidStateError)
        self.failureResultOf(call.send_digits("1"), InvalidStateError)

    def test_nothing_begins_any_more(self) -> None:
        """While it is being stopped nothing new begins that it would have to end."""
        self.established()
        self.network.partition([ALICE])
        stopping = self.alice.stopService()
        self.clock.advance(1.0)
        self.assertNoResult(stopping)
        self.failureResultOf(self.alice.dial(f"bob@{BOB}"), InvalidStateError)
        self.failureResultOf(self.alice.register(), InvalidStateError)
        self.assertRaises(InvalidStateError, self.alice.subscribe, f"bob@{BOB}", "presence")
        self.assertRaises(InvalidStateError, self.alice.publish, "presence", "text/plain", b"x")
        self.clock.advance(5.0)
        self.successResultOf(stopping)
        self.assertEqual(self.alice.calls, set())
        self.network.heal()
        self.clock.advance(60.0)

    def test_while_it_looks_for_the_callee(self) -> None:
        """A call whose callee is still being looked for when the phone stops fails."""
        looking: Deferred[Any] = Deferred()
        locate = self.alice.agent.resolver.locate
        self.patch(self.alice.agent.resolver, "locate", lambda uri: looking.addCallback(lambda _: locate(uri)))
        dialling = self.alice.dial(f"bob@{BOB}")
        stopping = self.alice.stopService()
        looking.callback(None)
        self.clock.advance(6.0)
        self.successResultOf(stopping)
        self.failureResultOf(dialling, LocalError)
        self.assertEqual(self.alice.calls, set())

    def test_unregistering(self) -> None:
        """A registration that is being ended when the phone stops leaves no timer."""
        carol = self.phone(CAROL, "carol", account=Account(f"sip:carol@{BOB}", "x"))
        self.bob.agent.handlers["REGISTER"] = _Registrar()
        registering = carol.register()
        self.clock.advance(1.0)
        self.successResultOf(registering)
        self.network.partition([CAROL])
        self.failureResultOf(carol.register(Account(f"sip:dave@{BOB}", "x")), InvalidStateError)
        leaving = carol.unregister()
        stopping = carol.stopService()
        self.clock.advance(5.1)
        self.successResultOf(stopping)
        self.successResultOf(leaving)
        self.network.heal()
        del self.bob.agent.handlers["REGISTER"]

    def test_entering_is_cancelled(self) -> None:
        """Who gives up entering the block of a phone leaves no phone behind."""
        account = Account(f"sip:carol@{ALICE}", "x", register=True, proxy="192.0.2.77")
        carol = self.phone(CAROL, "carol", account=account)
        entering = Deferred.fromCoroutine(carol.__aenter__())
        self.clock.advance(1.0)
        entering.cancel()
        self.clock.advance(10.0)
        self.failureResultOf(entering, CancelledError)
        self.assertFalse(carol.running)

    def test_end_of_the_reactor(self) -> None:
        """When the reactor ends, the block of a phone ends with it, without a word of warning."""
        host = self.network.host(CAROL)
        event = _ThreePhaseEvent()
        directlyProvides(host, providedBy(host), IReactorCore)
        host.addSystemEventTrigger = lambda phase, _, call: event.addTrigger(phase, call)  # type: ignore[attr-defined]
        host.removeSystemEventTrigger = event.removeTrigger  # type: ignore[attr-defined]
        carol = Phone(host, listen=f"udp:{CAROL}:5060", entropy=self.network.entropy)
        self.phones.append(carol)
        answering(self.bob)

        async def talk() -> EndedBy:
            async with carol:
                return (await (await carol.dial(f"bob@{BOB}")).ended).by

        talking = Deferred.fromCoroutine(talk())
        self.clock.advance(1.0)
        event.fireEvent()
        self.clock.advance(5.0)
        self.assertIs(self.successResultOf(talking), EndedBy.US)
        self.assertEqual(event.state, "BASE")

    def test_inside_of_hooks(self) -> None:
        """A phone may be stopped, and a call ended, inside of any hook."""
        ends: list[Callable[[Phone], object]] = [Phone.stopService, Phone.hang_up_all]
        for end in ends:
            for moment in ("on_progress", "on_answer", "on_media", "on_request", "on_call"):
                place = len(self.phones) + 10
                alice, bob = self.phone(f"192.0.2.{place}", "a"), self.phone(f"192.0.2.{place + 1}", "b")
                taken = answering(bob)
                options: dict[str, Any] = {}
                if moment in ("on_progress", "on_answer"):
                    options[moment] = lambda *_, alice=alice, end=end: end(alice) and None
                elif moment == "on_call":
                    bob.on_call = lambda call, bob=bob, end=end: end(bob) and None
                dialling = alice.dial(f"b@{bob.points[0].host}", **options)
                self.clock.advance(1.0)
                if moment in ("on_media", "on_request"):
                    call = self.successResultOf(dialling)
                    taken[0].on_media = lambda _, bob=bob, end=end: end(bob)
                    taken[0].on_request = lambda _, request, bob=bob, end=end: end(bob) and None
                    asking = call.hold() if moment == "on_media" else call.message("x")
                    self.clock.advance(1.0)
                    asking.addErrback(lambda failure: failure.trap(RemoteError, LocalError))
                dialling.addErrback(lambda failure: failure.trap(DialError))
                self.clock.advance(40.0)
                self.assertEqual((alice.calls, bob.calls), (set(), set()), (moment, end))

    def test_again(self) -> None:
        """A phone that was stopped and started again calls, records and is called as before."""
        for _ in range(2):
            self.alice.stopService()
            self.bob.stopService()
            self.clock.advance(5.0)
            self.alice.startService()
            self.bob.startService()
            call, _ = self.established()
            recording = call.record(self.mktemp())
            self.clock.advance(1.0)
            self.assertGreater(self.successResultOf(recording.stop()), 0.9)


class PlaceTests(PhoneCase):
    """Where phones listen."""

    def test_advertised_name(self) -> None:
        """A phone that advertises a name has media at a numeric address."""
        alice = self.phone(ALICE, "alice", listen=f"udp:{ALICE}:5060:advertise=alice.example.org")
        self.network.names["alice.example.org"] = [ALICE]
        taken = answering(self.phone(BOB, "bob"))
        dialling = alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        self.assertTrue(self.successResultOf(dialling).is_established)
        self.assertEqual(taken[0].invite.contacts[0].uri.host, "alice.example.org")  # type: ignore[union-attr]
        self.assertEqual(taken[0].audio.remote[0], ALICE)  # type: ignore[index]

    def test_ipv6(self) -> None:
        """Phones without accounts call each other by IPv6."""
        alice = self.phone("2001:db8::1", "alice", account=None, listen="udp:[2001:db8::1]:5060")
        bob = self.phone("2001:db8::2", "bob", account=None, listen="udp:[::]:5060")
        answering(bob)
        dialling = alice.dial("bob@[2001:db8::2]")
        self.clock.advance(1.0)
        call = self.successResultOf(dialling)
        self.assertTrue(call.is_established)
        self.clock.advance(1.0)
        self.assertGreater(call.statistics.packets_received, 30)

    def test_nowhere(self) -> None:
        """A phone that listens nowhere does not start."""
        phone = Phone(self.network.host(ALICE), listen=[], entropy=self.network.entropy)
        self.assertRaises(ConfigurationError, phone.startService)
        self.assertFalse(phone.running)


class FloodTests(PhoneCase):
    """Callers that have to prove who they are, and never do."""

    def test_authentication_that_hangs(self) -> None:
        """As many callers as there may be calls are asked at a time; further ones are refused."""
        asked: list[Deferred[str]] = []

        class Slow:
            def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
                asked.append(Deferred())
                return asked[-1]

        bob = self.phone(BOB, "bob", authorize=Slow(), max_calls=3)
        alice = self.phone(ALICE, "alice")
        taken = answering(bob)
        dialling = [alice.dial(f"bob@{BOB}") for _ in range(5)]
        self.clock.advance(1.0)
        for one in dialling[3:]:
            self.assertEqual(self.failureResultOf(one, DialError).value.status, 486)
        self.assertEqual(len(asked), 3)
        for deciding in asked:
            deciding.callback("alice")
        self.clock.advance(1.0)
        for one in dialling[:3]:
            self.assertTrue(self.successResultOf(one).is_established)
        self.assertEqual(len(taken), 3)


@implementer(IRequestHandler)
class _Registrar:
    """Grants every registration."""

    extensions: frozenset[str] = frozenset(("path",))

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IRequestHandler`."""
        request = transaction.request
        fields = [("Contact", f"{value};expires=600") for value in request.headers.get_all("Contact")]
        transaction.respond(request.response(200, to_tag="reg", headers=fields))
