"""What bounds a search and a call: times of attempts and of the whole, stops, redirections, gates, credit."""

from __future__ import annotations

from typing import Any

from zope.interface.verify import verifyObject

from sipd.b2bua.redirecting import follow
from sipd.interfaces import Attempt, Credentials, IGate, IRouter, ITrunks, LegPolicy
from sipd.policies.headers import HeaderAction, HeaderPolicy, HeaderRule
from sipd.policies.text import Template
from sipd.sip.headers import Headers
from sipd.sip.message import Response
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import parse_uri
from sipd.testing.calls import Outcome, PeerCall
from tests.b2bua.planned import NotedGate, NotedTrunks, PlannedRouter, attempt_at
from tests.b2bua.support import ALICE, BOB, CAROL, BridgeCase

NOBODY = "192.0.2.99"


class PlannedCase(BridgeCase):
    """Calls that go where the test says."""

    def plan(self, *rounds: tuple[Attempt, ...], **more: Any) -> None:
        """Choose where."""
        self.server.b2bua.router = router = PlannedRouter(*rounds, **more)
        verifyObject(IRouter, router)

    def check_attempts(self, *expected: tuple[str, int | None]) -> None:
        """Say which attempts the only record has, with their statuses."""
        record = self.finish()
        self.assertEqual([(one.label, one.status or None) for one in record.attempts], list(expected))


class TimeTests(PlannedCase):
    """Times of a search."""

    def test_nothing_heard(self) -> None:
        """An attempt that not even a provisional response comes to is given up early, and the next one is made."""
        self.network.host(NOBODY)
        self.plan((attempt_at(NOBODY, response_timeout=4.0),), (attempt_at(BOB),))
        self.bob.auto_answer()
        call = self.alice.call("bob")
        self.clock.advance(3.9)
        self.assertEqual(self.bob.calls, [])
        self.clock.advance(2.0)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.check_attempts((f"at {NOBODY}", 408), (f"at {BOB}", 200))

    def test_something_heard(self) -> None:
        """When it rings there, the whole time of the attempt counts, from then on."""
        self.plan((attempt_at(BOB, response_timeout=2.0, timeout=20.0),))
        self.bob.auto_ring(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(20.0)
        self.assertIs(call.outcome, Outcome.OPEN)
        self.clock.advance(3.0)
        self.assertEqual(call.status, 480)
        self.finish()

    def test_whole_search(self) -> None:
        """The caller is refused when the time of the whole search is up, whatever is being tried."""
        self.plan((attempt_at(BOB, timeout=8.0),), (attempt_at(CAROL, timeout=8.0),), setup_timeout=12.0)
        self.bob.auto_ring()
        self.carol.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(11.9)
        self.assertIs(call.outcome, Outcome.OPEN)
        self.clock.advance(1.0)
        self.assertEqual(call.status, 480)
        self.assertEqual(self.carol.calls[0].outcome, Outcome.CANCELLED)
        self.finish()
        self.assertIn("nobody has answered within 12 s", self.explanation())

    def test_answer_in_time(self) -> None:
        """The time of the search does not end a call that was answered in it."""
        self.plan((attempt_at(BOB),), setup_timeout=5.0)
        call, _ = self.established()
        self.clock.advance(60.0)
        self.assertIs(call.outcome, Outcome.OPEN)
        call.hang_up()
        self.finish()


class StopTests(PlannedCase):
    """Statuses after which nobody else is tried."""

    def check(self, status: int, *stops: int) -> PeerCall:
        """Let Bob refuse with that status, with Carol behind him."""
        self.plan((attempt_at(BOB, stops=frozenset(stops)),), (attempt_at(CAROL),))
        self.bob.auto_refuse(status)
        self.carol.auto_answer()
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        return call

    def test_stops(self) -> None:
        """A status that stops the search is what the caller hears of."""
        call = self.check(486, 486, 404)
        self.assertEqual((call.status, self.carol.calls), (486, []))
        self.finish()

    def test_server_that_is_overloaded(self) -> None:
        """503 may be among them, though the caller hears of 500."""
        call = self.check(503, 503)
        self.assertEqual((call.status, self.carol.calls), (500, []))
        self.finish()

    def test_goes_on(self) -> None:
        """Another status does not stop it."""
        call = self.check(480, 486, 404)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.finish()


class RedirectTests(PlannedCase):
    """Contacts of a 3xx."""

    def redirect(self, *contacts: str) -> None:
        """Let Bob redirect his calls there."""

        def take(call: PeerCall) -> None:
            self.clock.callLater(0.1, call.refuse, 302, headers=[("Contact", contact) for contact in contacts])

        self.bob.on_call = take

    def test_passed_on(self) -> None:
        """Where it is not allowed, the caller is told where to go."""
        self.plan((attempt_at(BOB),))
        self.redirect(f"<sip:carol@{CAROL}>")
        call = self.alice.call("bob")
        self.clock.advance(2.0)
        self.assertEqual(call.status, 302)
        self.check_attempts((f"at {BOB}", 302))

    def test_followed(self) -> None:
        """The most wanted contact is tried first, and the next one if it refuses."""
        self.plan((attempt_at(BOB, redirects=3),))
        self.redirect(f"<sip:alice@{ALICE}>;q=0.2", f"<sip:carol@{CAROL}>;q=0.9")
        self.carol.auto_refuse(486)
        self.alice.auto_refuse(480)
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        self.assertEqual(call.outcome, Outcome.REFUSED)
        self.check_attempts(
            (f"at {BOB}", 302), (f"redirect to sip:carol@{CAROL}", 486), (f"redirect to sip:alice@{ALICE}", 480)
        )

    def test_answered(self) -> None:
        """One that answers ends the search."""
        self.plan((attempt_at(BOB, redirects=3),), (attempt_at(ALICE),))
        self.redirect(f"<sip:carol@{CAROL}>", f"<sip:alice@{ALICE}>")
        self.carol.auto_answer()
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.check_attempts((f"at {BOB}", 302), (f"redirect to sip:carol@{CAROL}", 200))

    def test_in_a_circle(self) -> None:
        """Who was tried is not tried again, and the search ends."""
        self.plan((attempt_at(BOB, redirects=5),))
        self.redirect(f"<sip:bob@{BOB}>")
        call = self.alice.call("bob")
        self.clock.advance(2.0)
        self.assertEqual((call.status, len(self.bob.calls)), (302, 1))
        self.finish()
        self.assertIn("to nobody new", self.explanation())

    def test_bound(self) -> None:
        """No more contacts are tried than allowed, those of further redirections included."""
        attempt = attempt_at(BOB, redirects=3)
        tried = {attempt.uri}
        first = follow(attempt, _moved("<sip:1@h>", "<sip:2@h>"), tried)
        self.assertEqual([(str(one.uri), one.redirects) for one in first], [("sip:1@h", 1), ("sip:2@h", 1)])
        second = follow(first[0], _moved("<sip:3@h>", "<sip:4@h>"), tried)
        self.assertEqual([(str(one.uri), one.redirects) for one in second], [("sip:3@h", 0)])
        self.assertEqual(follow(second[0], _moved("<sip:5@h>"), tried), [])

    def test_what_stays_behind(self) -> None:
        """What is for the server that was asked does not go elsewhere; what an URI would add to the request neither."""
        attempt = attempt_at(
            "h",
            redirects=2,
            credentials=Credentials(username="us", password="x"),
            next_hop=parse_uri("sip:proxy.example.com"),
            trunk="carrier",
            trusted=True,
            timeout=7.0,
        )
        there, same = follow(attempt, _moved("<sip:1@other;method=BYE?Subject=x>", "<sip:2@h>"), set())
        self.assertEqual((there.credentials, there.next_hop, there.trunk, there.trusted), (None, None, None, False))
        self.assertEqual((str(there.uri), there.timeout), ("sip:1@other", 7.0))
        self.assertEqual(
            (same.credentials, same.next_hop, same.trunk), (attempt.credentials, attempt.next_hop, "carrier")
        )

    def test_trust_stays_behind(self) -> None:
        """Who is trusted by the policy of a leg may not hand that trust on; what else the policy wants holds."""
        policy = LegPolicy(name="carrier", trusted=True, tells_strangers=True, user_agent="x")
        attempt = attempt_at(BOB, redirects=1, trusted=True, policy=policy)
        (other,) = follow(attempt, _moved(f"<sip:bob@{CAROL}>"), set())
        self.assertEqual(other.policy, LegPolicy(name="carrier", user_agent="x"))
        (same,) = follow(attempt, _moved(f"<sip:robert@{BOB}>"), set())
        self.assertEqual(same.policy, policy)

    def test_header_fields_stay_behind(self) -> None:
        """What a policy says to one side, no other one hears; what it takes out stays out."""
        key = HeaderRule(action=HeaderAction.SET, name="X-Key", value=Template("secret"))
        more = HeaderRule(action=HeaderAction.ADD, name="X-More", value=Template("secret"))
        removed = HeaderRule(action=HeaderAction.REMOVE, name="X-Internal")
        headers = HeaderPolicy(deny=("X-Own-*",), also=("Warning",), rules=(key, more, removed))
        attempt = attempt_at(BOB, redirects=1, policy=LegPolicy(name="carrier", headers=headers))
        (other,) = follow(attempt, _moved(f"<sip:bob@{CAROL}>"), set())
        assert other.policy is not None
        assert other.policy.headers is not None
        fields = Headers([("X-Key", "caller"), ("X-Internal", "1"), ("X-Own-2", "1"), ("X-Other", "1")])
        other.policy.headers.apply(fields, Headers([("Warning", "1")]), "INVITE", {}, is_request=True)
        self.assertEqual(list(fields.items()), [("X-Other", "1")])

    def test_rubbish(self) -> None:
        """Contacts that cannot be read, or called, are passed over."""
        self.assertEqual(follow(attempt_at("h", redirects=2), _moved("<sip:1@h>;q=7"), set()), [])
        self.assertEqual(follow(attempt_at("h", redirects=2), _moved("<mailto:x@example.com>"), set()), [])
        self.assertEqual(follow(attempt_at("h", redirects=2), _moved(), set()), [])


class GateTests(PlannedCase):
    """What decides whether calls are taken."""

    def setUp(self) -> None:
        """Put one there."""
        super().setUp()
        self.gate = self.server.b2bua.gate = NotedGate()
        verifyObject(IGate, self.gate)
        self.plan((attempt_at(BOB),), (attempt_at(CAROL),))
        self.carol.auto_answer()

    def test_order(self) -> None:
        """It is asked before the caller is, when the route is known, and before each leg; all of it is given back."""
        self.bob.auto_refuse(480)
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        call.hang_up()
        self.finish()
        self.assertEqual(
            self.gate.notes,
            [
                "offered",
                "routed {call} planned None",
                f"attempt at {BOB}",
                f"ended at {BOB}",
                f"attempt at {CAROL}",
                f"ended at {CAROL}",
                "over {call}",
            ],
        )

    def test_refused(self) -> None:
        """What it refuses at either step is what the caller hears, and the record says so."""
        for step in ("offered", "routed"):
            self.gate.refuses = {step}
            call = self.alice.call("bob")
            self.clock.advance(2.0)
            self.assertEqual(call.status, 503)
            self.assertEqual(self.seen(self.alice, 503)[-1].headers.get("Retry-After"), "7")
            self.settle()
            self.assertIn(f"503 Refused When {step}", self.explanation())
        self.assertEqual([record.cause for record in self.server.records.records], ["refused", "refused"])
        self.assertEqual(self.gate.notes, ["offered", "offered", "routed {call} planned None"])

    def test_attempt_refused(self) -> None:
        """A leg that must not be tried is passed over, and the next one is made."""
        self.gate.refuses = {f"at {BOB}"}
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.check_attempts((f"at {CAROL}", 200))
        self.assertIn(f"at {BOB}: no room", self.explanation())

    def test_every_attempt_refused(self) -> None:
        """Where none may be tried the caller gets 503."""
        self.gate.refuses = {f"at {BOB}", f"at {CAROL}"}
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertEqual(call.status, 503)
        self.assertEqual(self.finish().cause, "limit")


class TrunkTests(PlannedCase):
    """Calls from and to trunks."""

    def setUp(self) -> None:
        """Alice's phone is a carrier's."""
        super().setUp()
        self.trunks = self.server.b2bua.trunks = NotedTrunks(carrier=ALICE)
        verifyObject(ITrunks, self.trunks)

    def test_where_it_comes_from(self) -> None:
        """The router and the record know the trunk that a call comes from, and the router what time it is."""
        self.plan((attempt_at(BOB),))
        call, _ = self.established()
        call.hang_up()
        self.assertEqual(self.finish().trunk, "carrier")
        router = self.server.b2bua.router
        assert isinstance(router, PlannedRouter)
        self.assertEqual(router.asked[0].trunk, "carrier")
        self.assertGreater(router.asked[0].at, 0.0)

    def test_what_became_of_it(self) -> None:
        """The trunks hear of each attempt by one of them: its final status, or that none came."""
        self.network.host(NOBODY)
        self.plan(
            (attempt_at(NOBODY, trunk="dead", response_timeout=3.0),),
            (attempt_at(BOB, trunk="busy", next_hop=parse_uri(f"sip:{BOB}")),),
            (attempt_at(BOB, user="other"),),
            (attempt_at(ALICE, trunk="patient", timeout=5.0),),
            (attempt_at(CAROL, trunk="good"),),
        )
        self.bob.auto_refuse(503)
        self.alice.auto_ring()
        self.carol.auto_answer()
        call = self.alice.call("bob")
        self.clock.advance(13.0)
        self.assertTrue(call.is_answered)
        call.hang_up()
        record = self.finish()
        self.assertEqual(self.trunks.ended, [("dead", 0), ("busy", 503), ("patient", 180), ("good", 200)])
        self.assertEqual([one.trunk or None for one in record.attempts], ["dead", "busy", None, "patient", "good"])


class CreditTests(PlannedCase):
    """Calls that may last only so long."""

    def test_cut_off(self) -> None:
        """The caller hears a warning, and both sides are let go when the time is up."""
        self.server.relay.plays = True
        self.plan((attempt_at(BOB),), duration=60.0, warning=10.0, warning_sound="tone:de:busy")
        call, answered = self.established()
        self.clock.advance(48.0)
        session = self.server.relay.sessions[0]
        assert session.studio is not None
        self.assertEqual(session.studio.playing, {})
        self.clock.advance(2.0)
        self.assertEqual(session.studio.playing, {"a": "tone:de:busy"})
        self.clock.advance(12.0)
        self.assertEqual((call.outcome, answered.outcome), (Outcome.ANSWERED, Outcome.ANSWERED))
        for peer in (self.alice, self.bob):
            self.assertEqual(self.seen(peer, "BYE")[0].headers.get("Reason"), 'SIP;cause=480;text="The time is up"')
        record = self.finish()
        assert record.answered_at is not None
        assert record.ended_at is not None
        self.assertEqual((record.cause, record.ended_by), ("duration", "sipd"))
        self.assertEqual(round(record.ended_at - record.answered_at), 60)
        self.assertIn("10 s are left: the caller hears tone:de:busy", self.explanation())

    def test_hangs_up_before(self) -> None:
        """A call that ends before leaves nothing."""
        self.plan((attempt_at(BOB),), duration=60.0, warning=10.0, warning_sound="tone:de:busy")
        call, _ = self.established()
        call.hang_up()
        self.assertEqual(self.finish().cause, "bye")

    def test_warning_that_cannot_be_heard(self) -> None:
        """Where nothing can be played the call is cut off all the same."""
        self.plan((attempt_at(BOB),), duration=60.0, warning=10.0, warning_sound="missing.wav")
        call, _ = self.established()
        self.clock.advance(65.0)
        self.assertEqual(call.outcome, Outcome.ANSWERED)
        self.assertEqual(self.finish().cause, "duration")

    def test_tighter_bound(self) -> None:
        """What lets calls begin may allow them less time."""
        self.gate = self.server.b2bua.gate = NotedGate()
        self.gate.duration = 20.0
        self.plan((attempt_at(BOB),), duration=60.0)
        call, _ = self.established()
        self.clock.advance(25.0)
        self.assertEqual(call.outcome, Outcome.ANSWERED)
        self.finish()


def _moved(*contacts: str) -> Response:
    fields = "".join(f"Contact: {contact}\r\n" for contact in contacts)
    message = parse_datagram(
        f"SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n"
        f"Call-ID: 1\r\nCSeq: 1 INVITE\r\n{fields}Content-Length: 0\r\n\r\n".encode()
    )
    assert isinstance(message, Response)
    return message
