"""Neighbours of the bridge that fail or answer late: the caller is told, and nothing is left."""

from __future__ import annotations

import re

from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.b2bua.bridge import MEDIA_PATIENCE
from sipd.errors import LocalError, RequestRefusedError, TransactionTimeoutError, UnresolvableError
from sipd.interfaces import (
    CallRecord,
    Decision,
    IAuthenticator,
    ICallObserver,
    IMediaRelay,
    IMediaSession,
    IResolver,
    IRouter,
    Route,
)
from sipd.observe.observers import CallObservers
from sipd.routing.rules import StaticRoute
from sipd.testing import builders
from sipd.testing.calls import Outcome
from tests.b2bua.slow import SlowAuthenticator, SlowRelay, SlowResolver, SlowRouter
from tests.b2bua.support import BridgeCase


class Mistake(Exception):
    """What a bug raises."""


class AuthenticatorTests(BridgeCase):
    """An authenticator that asks elsewhere."""

    def setUp(self) -> None:
        """Replace the authenticator."""
        super().setUp()
        self.authenticator = SlowAuthenticator()
        verifyObject(IAuthenticator, self.authenticator)
        self.server.b2bua._authenticator = self.authenticator
        self.bob.auto_answer()

    def test_answer_that_takes_a_while(self) -> None:
        """The caller gets 100 meanwhile, and its call afterwards."""
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        self.assertEqual(self.bob.calls, [])
        self.assertEqual(len(self.seen(self.alice, 100)), 1)
        self.authenticator.asked[0].callback("alice")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.finish()

    def test_caller_that_gave_up_meanwhile(self) -> None:
        """The proof comes after the CANCEL: nobody is called, and the record says who gave up."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        call.cancel()
        self.clock.advance(1.0)
        self.authenticator.asked[0].callback("alice")
        record = self.finish()
        self.assertEqual((call.outcome, call.status, self.bob.calls), (Outcome.CANCELLED, 487, []))
        self.assertEqual((record.status, record.ended_by, record.cause), (487, "caller", "cancel"))

    def test_challenge_for_a_caller_that_gave_up(self) -> None:
        """A challenge that comes after the CANCEL is never sent, and there was no call."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        call.cancel()
        self.clock.advance(1.0)
        self.authenticator.asked[0].errback(RequestRefusedError("Who?", status=407))
        self.settle()
        self.assertEqual((call.status, self.server.records.records), (487, []))

    def test_refusal_of_a_caller_that_gave_up(self) -> None:
        """The record of a cancelled call says what the caller was told, not what it would have been told."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        call.cancel()
        self.clock.advance(1.0)
        self.authenticator.asked[0].errback(RequestRefusedError("No", status=403))
        record = self.finish()
        self.assertEqual((call.status, record.status, record.cause), (487, 487, "cancel"))

    def test_authenticator_that_fails(self) -> None:
        """What the authenticator lacks is 500 to the caller, and the record has its name."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        self.authenticator.asked[0].errback(LocalError("no database"))
        record = self.finish()
        self.assertEqual((call.status, record.status, record.cause), (500, 500, "LocalError"))

    def test_authenticator_that_is_not_answered(self) -> None:
        """A failure of whoever the authenticator asks becomes the answer, and the explanation says what it was."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        self.authenticator.asked[0].errback(TransactionTimeoutError("the user database is silent"))
        record = self.finish()
        self.assertEqual((call.status, record.cause, record.user), (408, "timeout", None))
        self.assertIn("failed         the user database is silent", self.explanation())

    def test_authenticator_with_a_bug(self) -> None:
        """A bug is logged with its traceback, and the caller is not left waiting."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        self.authenticator.asked[0].errback(Mistake())
        self.settle()
        self.assertEqual(call.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)


class RouterTests(BridgeCase):
    """A router that asks elsewhere."""

    def setUp(self) -> None:
        """Replace the router."""
        super().setUp()
        self.router = SlowRouter()
        verifyObject(IRouter, self.router)
        self.server.b2bua.router = self.router

    def test_caller_that_gave_up_meanwhile(self) -> None:
        """A route that is found after the CANCEL is not tried."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        call.cancel()
        self.clock.advance(1.0)
        self.router.asked[0].callback(Route(name="late", rounds=(), refusal=(404, "No")))
        record = self.finish()
        self.assertEqual((call.status, record.status, record.cause), (487, 487, "cancel"))

    def test_router_that_fails_after_the_caller_gave_up(self) -> None:
        """The record says 487, as the caller was told."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        call.cancel()
        self.clock.advance(1.0)
        self.router.asked[0].errback(LocalError("no route"))
        record = self.finish()
        self.assertEqual((call.status, record.status, record.cause), (487, 487, "cancel"))

    def test_stopped_while_it_is_routed(self) -> None:
        """A call that is stopped before its route is known is refused with 503 when it is."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        self.server.b2bua.stop_calls("shutdown")
        self.clock.advance(1.0)
        self.router.asked[0].callback(Route(name="none", rounds=()))
        self.finish()
        self.assertGreaterEqual(call.status, 480)

    def test_remote_failure(self) -> None:
        """What the other side of a router says becomes the answer."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        self.router.asked[0].errback(UnresolvableError("No such host"))
        record = self.finish()
        self.assertEqual((call.status, record.cause), (502, "UnresolvableError"))

    def test_bug(self) -> None:
        """A bug is logged; the caller is refused, the call has its record, and nothing is left."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        self.router.asked[0].errback(Mistake())
        self.finish()
        self.assertEqual(call.outcome, Outcome.REFUSED)
        self.assertEqual(len(self.flushLoggedErrors(Mistake)), 1)


class MediaTests(BridgeCase):
    """Media that fails, or takes a while."""

    def _slow(self, delay: float) -> SlowRelay:
        relay = SlowRelay(self.server.relay, self.clock.callLater, delay)
        verifyObject(IMediaRelay, relay)
        verifyObject(IMediaSession, relay.open_session("x", lambda kind, text: None))
        self.server.relay.sessions.clear()
        self.server.b2bua.media = relay
        return relay

    def test_no_ports(self) -> None:
        """Without a port the caller gets 503 with Retry-After, the callee hears nothing, and nothing is left."""
        self.server.relay._max_pairs = 1
        call = self.alice.call("bob")
        record = self.finish()
        self.assertEqual((call.status, record.cause, self.bob.calls), (503, "exhausted", []))
        self.assertEqual(self.seen(self.alice, 503)[0].headers.get("Retry-After"), "10")
        self.assertIn("1 pairs of media ports are taken", self.explanation())

    def test_no_ports_for_the_second_phone(self) -> None:
        """Ports for one phone and not for the other: the call is refused, and the first phone stops ringing."""
        second = self.phone("192.0.2.5", "bob")
        self.bob.auto_ring()
        second.auto_ring()
        self.server.relay._max_pairs = 2
        call = self.alice.call("bob")
        self.finish()
        self.assertEqual(call.status, 503)
        self.assertEqual([end.outcome for end in self.bob.calls + second.calls], [Outcome.CANCELLED])

    def test_no_ports_for_a_change(self) -> None:
        """A re-INVITE that needs more ports than there are is refused, and the call goes on as it was."""
        call, answered = self.established()
        self.server.relay._max_pairs = 2
        answer = call.reinvite(builders.sdp("192.0.2.2", media=("audio", "video"), version=2))
        self.clock.advance(2.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 500)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()
        text = self.explanation()
        self.assertIn("2 pairs of media ports are taken", text)
        self.assertNotIn("asked for", text)

    def test_media_that_never_ends(self) -> None:
        """The record of a call does not wait for ever for what its media came to."""
        self._slow(0.0).is_stuck = True
        call, _ = self.established()
        call.hang_up()
        self.clock.advance(MEDIA_PATIENCE - 1.0)
        self.assertEqual(self.server.records.records, [])
        record = self.finish()
        self.assertEqual(len(record.media), 2)
        self.assertIn("has not ended within 10 s", self.explanation())

    def test_media_that_never_ends_after_all(self) -> None:
        """Nor does it where a part of that has ended, and another one hangs."""
        relay = self._slow(0.0)
        relay.is_stuck = relay.is_stuck_later = True
        call, _ = self.established()
        call.hang_up()
        self.clock.advance(MEDIA_PATIENCE + 1.0)
        (record,) = self.server.records.records
        self.assertEqual(len(record.media), 2)
        self.finish()

    def test_end_of_the_server(self) -> None:
        """Who stops the server need not wait for it: the records are closed with what is known."""
        self._slow(0.0).is_stuck = True
        call, _ = self.established()
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.server.records.records, [])
        self.server.b2bua.wait_no_longer()
        (record,) = self.server.records.records
        self.assertEqual((len(record.media), record.cause), (2, "bye"))
        self.finish()

    def test_slow_media(self) -> None:
        """A call whose descriptions take a while is answered all the same, early media and a change included."""
        self._slow(0.3)
        call, answered = self.established()
        answer = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(2.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertIn(b"a=sendonly", answered.remote_body)
        answered.hang_up()
        self.finish()

    def test_caller_gives_up_while_media_is_prepared(self) -> None:
        """The CANCEL comes while the offer waits: nobody is called any more."""
        self._slow(2.0)
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        call.cancel()
        record = self.finish()
        self.assertEqual((call.status, record.status, record.cause), (487, 487, "cancel"))
        self.assertEqual(self.bob.calls, [])

    def test_caller_gives_up_while_the_answer_waits(self) -> None:
        """The CANCEL comes while the callee's answer waits: ACK and BYE to the callee, and the call is over."""
        relay = self._slow(0.0)
        self.bob.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(0.9)
        relay.delay = 1.0
        self.clock.advance(0.6)
        call.cancel()
        record = self.finish()
        self.assertEqual((call.status, record.status, record.cause), (487, 487, "cancel"))
        self.assertEqual((self.bob.calls[0].outcome, self.bob.calls[0].ended_by), (Outcome.ANSWERED, "them"))

    def test_other_side_hangs_up_while_a_change_waits(self) -> None:
        """A BYE that overtakes the offer of a re-INVITE ends both legs."""
        relay = self._slow(0.0)
        call, answered = self.established()
        relay.delay = 1.0
        answer = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(0.5)
        answered.hang_up()
        record = self.finish()
        response = self.successResultOf(answer)
        assert response is not None
        self.assertGreaterEqual(response.status, 481)
        self.assertEqual((record.ended_by, call.outcome), ("callee", Outcome.ANSWERED))


@implementer(ICallObserver)
class Clumsy:
    """Raises whatever it is told."""

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        raise Mistake

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        raise Mistake

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        raise Mistake

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        raise Mistake

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        raise Mistake


class ObserverTests(BridgeCase):
    """Who watches does not disturb."""

    def test_observer_that_raises(self) -> None:
        """A call goes its way, and the other observers are told, whatever one of them does."""
        observers = self.server.b2bua.observer
        assert isinstance(observers, CallObservers)
        self.server.b2bua.observer = CallObservers((Clumsy(), observers))
        call, _ = self.established()
        call.hang_up()
        record = self.finish()
        self.assertEqual(record.status, 200)
        self.assertGreater(len(self.flushLoggedErrors(Mistake)), 5)


class NameTests(BridgeCase):
    """Names that are found late, or not at all."""

    routes = (StaticRoute(name="gw", user=re.compile("gw"), to="sip:bob@gw.example.net"),)

    def test_name_that_comes_after_the_caller_gave_up(self) -> None:
        """The gateway's address is known when nobody wants it any more: nothing is sent to it."""
        self.network.names["gw.example.net"] = ("192.0.2.3",)
        resolver = SlowResolver(self.server.agent.resolver)
        verifyObject(IResolver, resolver)
        self.server.agent.resolver = resolver
        call = self.alice.call("gw")
        self.clock.advance(2.0)
        call.cancel()
        self.clock.advance(1.0)
        resolver.go_on()
        record = self.finish()
        self.assertEqual((call.status, record.status, self.seen(self.bob, "INVITE")), (487, 487, []))

    def test_unknown_name(self) -> None:
        """A gateway without an address fails at once with 502, and the record says so (lesson 12)."""
        call = self.alice.call("gw")
        self.clock.advance(2.0)
        self.assertEqual(call.status, 502)
        record = self.finish()
        self.assertEqual((record.cause, record.attempts[0].cause), ("UnresolvableError", "UnresolvableError"))
