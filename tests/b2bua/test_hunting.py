"""Several attempts for one call: rounds, races between phones, early media, and what the record keeps of each."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sipd.interfaces import CallObserver, Decision
from sipd.observe.observers import CallObservers
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.calls import Outcome, PeerCall
from sipd.testing.peer import Peer
from tests.b2bua.slow import SlowRelay
from tests.b2bua.support import BOB, SIPD, BridgeCase
from tests.ua.support import Wire

DESK, MOBILE = "192.0.2.5", "192.0.2.6"


class Books(CallObserver):
    """Writes down what a call takes and gives back, and what it decides."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.kinds: list[str] = []

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        self.kinds.append(f"{decision.kind} {decision.leg}".strip())

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        if kind != "ports":
            self.entries.append(f"+{kind} {name}")

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        if kind != "ports":
            self.entries.append(f"-{kind} {name}")


class HuntCase(BridgeCase):
    """Bob has three phones; the desk phone is preferred when the test says so."""

    def setUp(self) -> None:
        """Register them, and watch."""
        super().setUp()
        self.desk = self.phone(DESK, "bob", register=False)
        self.mobile = self.phone(MOBILE, "bob", register=False)
        self.books = Books()
        observer = self.server.b2bua.observer
        assert isinstance(observer, CallObservers)
        observer.add(self.books)

    def register(self, peer: Peer, q: str) -> None:
        """Register a phone with a preference."""
        contact, peer.contact = peer.contact, f"{peer.contact};q={q}"
        peer.register()
        self.clock.advance(1.0)
        peer.contact = contact


class RoundTests(HuntCase):
    """Contacts of different preference are tried one after another."""

    def setUp(self) -> None:
        """The desk phone, then the mobile; Bob's first phone last."""
        super().setUp()
        self.bob.unregister()
        self.clock.advance(1.0)
        self.register(self.desk, "0.9")
        self.register(self.mobile, "0.5")
        self.register(self.bob, "0.1")

    def test_next_round_after_a_refusal(self) -> None:
        """When the preferred phone refuses, the next one rings; the record has an entry for each, with its outcome."""
        self.desk.auto_refuse(486)
        self.mobile.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertEqual(self.bob.calls, [])
        call.hang_up()
        record = self.finish()
        desk, mobile = record.attempts
        self.assertEqual((desk.leg, mobile.leg), ("b1", "b2"))
        self.assertEqual((desk.status, desk.reason, desk.cause), (486, "Busy Here", "sip:486"))
        self.assertEqual((mobile.status, mobile.reason, mobile.cause), (200, "OK", ""))
        self.assertEqual(desk.label, f"contact sip:bob@{DESK}:5060")
        self.assertEqual([desk.call_id, mobile.call_id], [self.desk.calls[0].call_id, self.mobile.calls[0].call_id])
        times = [desk.started_at, desk.ended_at, mobile.started_at, mobile.ringing_at, mobile.answered_at]
        self.assertEqual(times, sorted(time for time in times if time is not None))
        self.assertEqual(mobile.ended_at, record.ended_at)

    def test_next_round_after_no_answer(self) -> None:
        """When the preferred phone rings too long, it is cancelled with a Reason, and the next one rings."""
        self.desk.auto_ring()
        self.mobile.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(33.0)
        self.assertTrue(call.is_answered)
        cancel = self.seen(self.desk, "CANCEL")[0]
        self.assertEqual(cancel.headers.get("Reason"), 'SIP;cause=408;text="No answer"')
        call.hang_up()
        self.assertEqual(self.finish().attempts[0].cause, "no-answer")

    def test_busy_everywhere_ends_all_rounds(self) -> None:
        """A 600 speaks for all phones: none of the later ones rings."""
        self.desk.auto_refuse(600)
        call = self.alice.call("bob")
        self.finish()
        self.assertEqual((call.status, self.mobile.calls, self.bob.calls), (600, [], []))

    def test_caller_gives_up_between_rounds(self) -> None:
        """A CANCEL ends the hunt: no later phone rings."""
        self.desk.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(2.0)
        call.cancel()
        self.finish()
        self.assertEqual((call.status, self.mobile.calls), (487, []))
        self.assertEqual(self.server.records.records[0].attempts[0].reason, "cancelled")

    def test_what_is_on_the_books(self) -> None:
        """Legs and timers are taken and given back one by one; a call that talks holds no timer."""
        self.desk.auto_refuse(486)
        self.mobile.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertEqual(
            self.books.entries,
            ["+leg a", "+leg b1", "+timer b1", "-timer b1", "-leg b1", "+leg b2", "+timer b2", "-timer b2"],
        )
        call.hang_up()
        self.finish()
        self.assertEqual(self.books.entries[-2:], ["-leg a", "-leg b2"])
        self.assertEqual(
            self.books.kinds,
            [
                "received a", "authenticated a", "considered", "routed", "attempt b1", "attempt-ended b1", "attempt b2",
                "progress b2", "answered b2", "ended",
            ],
        )  # fmt: skip


class ParallelTests(HuntCase):
    """Contacts of the same preference ring together."""

    def setUp(self) -> None:
        """Two phones."""
        super().setUp()
        self.register(self.desk, "1.0")

    def _ringing(self) -> tuple[PeerCall, PeerCall, PeerCall]:
        """Give the caller's end, and that of both phones."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        return call, self.bob.calls[0], self.desk.calls[0]

    def _early(self, end: PeerCall, port: int) -> None:
        end.ring(183, body=builders.sdp_answer(end.invite.body, end.peer.media[0], port))
        self.clock.advance(0.1)

    def test_early_media_of_the_first_is_heard(self) -> None:
        """A second phone's early media does not cross; its answer does, and ends the first one's."""
        call, bob, desk = self._ringing()
        self._early(bob, 41000)
        self._early(desk, 42000)
        self.assertEqual([bool(one.body) for one in self.seen(self.alice, 183)], [True, False])
        desk.answer(body=builders.sdp_answer(desk.invite.body, DESK, 42000))
        self.clock.advance(1.0)
        self.assertTrue(call.is_answered)
        self.assertEqual(bob.outcome, Outcome.CANCELLED)
        self.assertEqual(self.server.relay.sessions[0].connected, {("a", "b2")})
        self.assertEqual(len(self.server.relay.taken), 2)
        call.hang_up()
        self.finish()

    def test_early_media_may_change(self) -> None:
        """The phone that is heard may send another description (a forwarding phone, an announcement)."""
        call, bob, _ = self._ringing()
        self._early(bob, 41000)
        self._early(bob, 43000)
        self.assertEqual([bool(one.body) for one in self.seen(self.alice, 183)], [True, True])
        call.cancel()
        self._end_quiet_phones()

    def test_early_media_of_the_next_when_the_first_is_gone(self) -> None:
        """When the phone that was heard refuses, another one may be heard."""
        call, bob, desk = self._ringing()
        self._early(bob, 41000)
        bob.refuse(486)
        self.clock.advance(0.1)
        self._early(desk, 42000)
        self.assertEqual([bool(one.body) for one in self.seen(self.alice, 183)], [True, True])
        self.assertEqual(self.server.relay.sessions[0].connected, {("a", "b2")})
        call.cancel()
        self._end_quiet_phones()

    def test_both_answer_while_media_is_prepared(self) -> None:
        """The second answer waits its turn, and finds that it came too late: ACK and BYE (lesson 29)."""
        relay = SlowRelay(self.server.relay, self.clock.callLater, 0.0)
        self.server.b2bua.media = relay
        call, bob, desk = self._ringing()
        relay.delay = 1.0
        bob.answer()
        self.clock.advance(0.5)
        desk.answer()
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertEqual((desk.outcome, desk.ended_by), (Outcome.ANSWERED, "them"))
        self.assertTrue(bob.is_answered)
        call.hang_up()
        self.finish()

    def test_loser_that_hangs_up_while_media_is_prepared(self) -> None:
        """What a phone says after another one was taken does not end the call."""
        relay = SlowRelay(self.server.relay, self.clock.callLater, 0.0)
        self.server.b2bua.media = relay
        call, bob, desk = self._ringing()
        relay.delay = 1.0
        bob.answer()
        self.clock.advance(0.2)
        desk.answer()
        self.clock.advance(0.2)
        desk.is_acknowledged = True
        desk.hang_up()
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertTrue(bob.is_answered)
        call.hang_up()
        self.finish()

    def test_refusal_just_before_the_timeout(self) -> None:
        """The first outcome of an attempt is the one that counts, even if both wait to be taken."""
        relay = SlowRelay(self.server.relay, self.clock.callLater, 0.0)
        self.server.b2bua.media = relay
        call, bob, desk = self._ringing()
        self.clock.advance(28.5)
        relay.delay = 1.0
        desk.ring(183, body=builders.sdp_answer(desk.invite.body, DESK, 42000))
        self.clock.advance(0.2)
        bob.refuse(486)
        record = self.finish()
        self.assertEqual([attempt.cause for attempt in record.attempts], ["sip:486", "no-answer"])
        self.assertEqual((call.status, desk.outcome), (486, Outcome.CANCELLED))

    def test_busy_everywhere(self) -> None:
        """A 6xx ends the other attempts with its own reason, and they are closed in the record."""
        call, bob, desk = self._ringing()
        desk.ring()
        self.clock.advance(0.1)
        bob.refuse(600)
        record = self.finish()
        self.assertEqual((call.status, desk.outcome), (600, Outcome.CANCELLED))
        self.assertEqual(
            self.seen(self.desk, "CANCEL")[0].headers.get("Reason"), 'SIP;cause=600;text="Busy Everywhere"'
        )
        self.assertEqual([attempt.reason for attempt in record.attempts], ["Busy Everywhere", "refused for all"])
        self.assertTrue(all(attempt.ended_at for attempt in record.attempts))

    def test_stopped_while_they_ring(self) -> None:
        """All phones are cancelled with the reason, and the caller may try again in half a minute."""
        call, bob, desk = self._ringing()
        bob.ring()
        desk.ring()
        self.clock.advance(0.1)
        self.server.b2bua.stop_calls("shutdown")
        record = self.finish()
        self.assertEqual((call.status, record.cause), (503, "stopped"))
        self.assertEqual(self.seen(self.alice, 503)[0].headers.get("Retry-After"), "30")
        for peer in (self.bob, self.desk):
            self.assertIn("cause=503", self.seen(peer, "CANCEL")[0].headers.get("Reason") or "")

    def _end_quiet_phones(self) -> None:
        """Let a phone that never rang, and so is never cancelled, end its exchange."""
        self.clock.advance(1.0)
        for peer in (self.bob, self.desk):
            for end in peer.calls:
                if end.outcome is Outcome.OPEN:
                    end.refuse(480)
        self.finish()


class AnswerTests(HuntCase):
    """Answers that cannot be used."""

    def test_unreadable_answer(self) -> None:
        """A 200 whose description does not parse is ended, and the caller hears 488."""
        self._answered_with(b"m=oops", "application/sdp", 488)

    def test_unreadable_parts(self) -> None:
        """A 200 whose parts cannot be told apart is ended, and the caller hears 502: it did nothing wrong."""
        self._answered_with(b"--x", "multipart/mixed", 502)

    def _answered_with(self, body: bytes, kind: str, status: int) -> None:
        def take(end: PeerCall) -> None:
            end._accept(200)
            assert end._reply is not None
            end._reply(
                builders.response(
                    end.invite, 200, to_tag=end.local_tag, contact=self.bob.contact, body=body, content_type=kind
                )
            )

        self.bob.on_call = take
        call = self.alice.call("bob")
        record = self.finish()
        self.assertEqual((call.status, record.cause), (status, "bad-answer"))
        self.assertEqual(self.bob.calls[0].ended_by, "them")
        self.assertIn("answer b1", self.books.kinds)


class RequestTests(BridgeCase):
    """Where the attempts of a route go."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(
            name="far",
            user=re.compile("far"),
            to="sip:far@198.51.100.7",
            next_hop=parse_uri(f"sip:{MOBILE};lr"),
        ),
    )

    def test_next_hop(self) -> None:
        """The INVITE goes to the route's next hop, and is for the URI that it leads to."""
        proxy = Wire(self.network, MOBILE)
        call = self.alice.call("far")
        self.clock.advance(1.0)
        invite = proxy.request("INVITE")
        self.assertEqual((invite.uri_text, invite.headers.get("Route")), ("sip:far@198.51.100.7", None))
        proxy.send(builders.response(invite, 404), (SIPD, 5060))
        self.clock.advance(1.0)
        self.assertEqual(call.status, 404)
        self.finish()

    def test_path(self) -> None:
        """A contact that was registered through a proxy is called through it (RFC 3327)."""
        proxy = Wire(self.network, MOBILE)
        register = builders.register(
            "sip:bob@example.com", f"<sip:bob@{BOB}:5080>", via=None, call_id="p",
            headers=[("Path", f"<sip:{MOBILE};lr>"), ("Supported", "path")],
        )  # fmt: skip
        self.bob.unregister()
        self.bob.ask(register)
        self.clock.advance(1.0)
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        invite = proxy.request("INVITE")
        self.assertEqual((invite.uri_text, invite.headers.get("Route")), (f"sip:bob@{BOB}:5080", f"<sip:{MOBILE};lr>"))
        proxy.send(builders.response(invite, 480), (SIPD, 5060))
        self.clock.advance(1.0)
        self.assertEqual(call.status, 480)
        self.finish()

    def test_no_hop_count(self) -> None:
        """An INVITE without Max-Forwards, as RFC 2543 has it, starts at 70 here."""
        self.bob.auto_refuse()
        invite = builders.invite("sip:bob@example.com", caller=self.alice.aor, via=None, contact=self.alice.contact)
        invite.headers.remove("Max-Forwards")
        self.alice.ask(invite)
        self.clock.advance(1.0)
        sent = self.seen(self.bob, "INVITE")[0]
        assert isinstance(sent, Request)
        self.assertEqual(sent.max_forwards, 69)
        self.finish()
