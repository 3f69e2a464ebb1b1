"""What the gate counts, and the bounds that it sets, when calls are transferred, asked for, or fail on their way."""

from __future__ import annotations

from sipd.interfaces import Route, RoutingRequest
from sipd.sip.message import Request
from sipd.sip.uri import SipUri
from sipd.testing.calls import Outcome
from tests.b2bua.planned import NotedGate, NotedTrunks, attempt_at
from tests.b2bua.slow import SlowRelay, SlowRouter
from tests.b2bua.support import BOB, CAROL
from tests.b2bua.test_bounds import PlannedCase
from tests.b2bua.test_clicking import ClickCase
from tests.b2bua.test_transfer import TransferCase


class _Gate(NotedGate):
    """Bounds the calls to one user.

    Attributes:
        bounded: the user part of their request URI.
    """

    bounded = ""

    def is_urgent(self, request: Request) -> bool:
        """See `IGate`."""
        return request.uri_text.startswith("sip:112@")

    def call_routed(self, call: str, asked: RoutingRequest, route: Route) -> Route:
        """See `IGate`."""
        uri = asked.request.uri
        self.duration = 20.0 if isinstance(uri, SipUri) and uri.user == self.bounded else None
        return super().call_routed(call, asked, route)


class TransferTests(TransferCase):
    """What a transfer calls is counted, and bounded, like a call."""

    def setUp(self) -> None:
        """Put a gate there."""
        super().setUp()
        self.gate = self.server.b2bua.gate = _Gate()

    def test_failed(self) -> None:
        """A transfer that fails counts no longer, though the call goes on."""
        self.carol.auto_refuse(486)
        call, answered = self.established()
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 202)
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered and answered.is_answered)
        self.assertEqual(self.gate.notes[-1], "over {call}/1")
        call.hang_up()
        self.finish()
        self.assertEqual(self.gate.notes[-1], "over {call}")
        self.assertEqual(self.gate.notes.count("over {call}/1"), 1)

    def test_refused_by_the_transferee(self) -> None:
        """So does one whose target has answered, but whose transferee does not agree."""
        call, answered = self.established()
        self.alice.answers_reinvites = False
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 202)
        self.clock.advance(5.0)
        self.assertTrue(call.is_answered and answered.is_answered)
        self.assertIn("over {call}/1", self.gate.notes)
        call.hang_up()
        self.finish()

    def test_no_ports(self) -> None:
        """An attempt that cannot even be made is given back at once."""
        call, answered = self.established()
        self.server.relay._max_pairs = 2
        self.gate.notes.clear()
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 202)
        self.clock.advance(3.0)
        kinds = [note.split()[0] for note in self.gate.notes]
        self.assertEqual(kinds, ["routed", "attempt", "ended", "over"])
        call.hang_up()
        self.finish()

    def test_no_ports_for_the_second_phone(self) -> None:
        """Phones that ring for a transfer ring no longer when another one cannot be called."""
        second = self.phone("192.0.2.5", "carol")
        self.carol.auto_ring()
        second.auto_ring()
        call, answered = self.established()
        self.server.relay._max_pairs = 3
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 202)
        self.clock.advance(3.0)
        self.assertEqual([end.outcome for end in self.carol.calls + second.calls], [Outcome.CANCELLED])
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_bounded(self) -> None:
        """A call that may last for a while only is cut off then, even if somebody was transferred into it."""
        self.gate.bounded = "carol"
        call, answered = self.established()
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 202)
        self.clock.advance(10.0)
        self.assertTrue(call.is_answered and self.carol.calls[0].is_answered)
        self.clock.advance(15.0)
        self.assertFalse(call.is_answered or self.carol.calls[0].is_answered)
        self.assertEqual(self.finish().cause, "duration")

    def test_bounded_before_it_is_taken_over(self) -> None:
        """The bound of a call goes along with a party that is taken over from it, and so does what is counted."""
        self.gate.bounded = "carol"
        call, answered = self.established()
        self.gate._first = ""
        second = self.bob.call("carol")
        self.clock.advance(3.0)
        value = f"{second.call_id};to-tag={second.remote_tag};from-tag={second.local_tag}"
        escaped = value.replace(";", "%3B").replace("=", "%3D").replace("@", "%40")
        self.assertEqual(self.refer(answered, f"<sip:carol@example.com?Replaces={escaped}>"), 202)
        self.clock.advance(10.0)
        self.assertEqual(len(self.server.b2bua), 1)
        self.assertTrue(call.is_answered and self.carol.calls[0].is_answered)
        self.assertNotIn("over {call}", self.gate.notes)
        self.assertNotIn("ended carol", " ".join(self.gate.notes))
        self.clock.advance(15.0)
        self.assertFalse(call.is_answered or self.carol.calls[0].is_answered)
        self.settle()
        self.assertEqual(self.gate.notes.count("over {call}"), 1)


class ClickTests(ClickCase):
    """Calls that are asked for."""

    def test_bounded(self) -> None:
        """The bounds of both ways hold."""
        for bounded in ("alice", "bob"):
            gate = self.server.b2bua.gate = _Gate()
            gate.bounded = bounded
            self.refer()
            self.clock.advance(10.0)
            self.assertTrue(self.bob.calls[-1].is_answered)
            self.clock.advance(15.0)
            self.assertFalse(self.bob.calls[-1].is_answered)
            self.settle()
            self.assertEqual(self.server.records.records[-1].cause, "duration")

    def test_stopped_while_a_router_is_asked(self) -> None:
        """A call does not begin any more when its route comes after the server was told to end."""
        router = self.server.b2bua.router = SlowRouter()
        asked = self.refer()
        self.clock.advance(0.5)
        self.successResultOf(self.server.b2bua.drain())
        for _ in range(2):
            router.asked[-1].callback(Route(name="late", rounds=((attempt_at(BOB),),)))
        self.clock.advance(2.0)
        self.assertEqual(self.status(asked), 503)
        self.assertEqual((len(self.server.b2bua), self.bob.calls), (0, []))
        self.settle()


class ReplacementTests(TransferCase):
    """INVITEs that name a call."""

    def test_of_no_call(self) -> None:
        """One that names no call of ours is weighed like any other one, before anybody is asked for a password."""
        gate = self.server.b2bua.gate = NotedGate()
        call, answered = self.established()
        gate.refuses = {"offered"}
        taken = self.carol.call("bob", headers=(("Replaces", "x;to-tag=1;from-tag=2"),))
        self.clock.advance(2.0)
        self.assertEqual((taken.status, self.seen(self.carol, 407)), (503, []))
        value = f"{answered.call_id};to-tag={answered.remote_tag};from-tag={answered.local_tag}"
        taken = self.carol.call("bob", headers=(("Replaces", value),))
        self.clock.advance(3.0)
        self.assertTrue(taken.is_answered)
        call.hang_up()
        self.settle()


class EmergencyTests(PlannedCase):
    """Calls for help."""

    max_calls = 1

    def test_bound_of_all_calls(self) -> None:
        """One more call than there may be is taken if it is for help, and no other one is."""
        self.server.b2bua.gate = _Gate()
        self.plan((attempt_at(BOB),))
        call, _ = self.established()
        other, urgent = self.carol.call("bob"), self.carol.call("sip:112@example.com")
        self.clock.advance(3.0)
        self.assertEqual((other.status, urgent.is_answered), (503, True))
        call.hang_up()
        urgent.hang_up()
        self.settle()


class EndTests(PlannedCase):
    """The end of a call."""

    def test_media_that_takes_a_while(self) -> None:
        """A call is given back when it ends, not when a disk or an engine is done with it."""
        gate = self.server.b2bua.gate = NotedGate()
        relay = SlowRelay(self.server.relay, self.clock.callLater, 0.0)
        relay.is_stuck = True
        self.server.b2bua.media = relay
        self.plan((attempt_at(BOB),))
        call, _ = self.established()
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(gate.notes[-1], "over {call}")
        self.finish()


class JudgementTests(PlannedCase):
    """What trunks are told of attempts."""

    def test_answer_of_no_use(self) -> None:
        """A server that answers with what cannot be used is there all the same."""
        trunks = self.server.b2bua.trunks = NotedTrunks()
        self.plan((attempt_at(CAROL, trunk="carrier"),))
        self.carol.on_call = lambda call: call.later(0.1, lambda: call.answer(body=b"v=0\r\nrubbish\r\n"))
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertIn(call.status, (488, 502))
        self.assertEqual(trunks.ended, [("carrier", 200)])
        self.settle()
