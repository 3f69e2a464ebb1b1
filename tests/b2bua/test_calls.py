"""Calls from the INVITE to the record: every way in which one can go."""

from __future__ import annotations

import re

from sipd.routing.rules import StaticRoute
from sipd.sip.headers import Headers
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.calls import CallState, Outcome
from tests.b2bua.support import BOB, SIPD, BridgeCase


class AnsweredTests(BridgeCase):
    """Calls that are answered."""

    def test_call_from_invite_to_record(self) -> None:
        """Ringing, answer and BYE cross; the record says who, when and why it ended."""
        call, answered = self.established()
        self.assertEqual(len(self.seen(self.alice, 180)), 1)
        self.assertTrue(answered.is_acknowledged)
        self.clock.advance(10.0)
        call.hang_up()
        record = self.finish()
        self.assertEqual((call.outcome, answered.outcome), (Outcome.ANSWERED, Outcome.ANSWERED))
        self.assertEqual((record.caller, record.user), ("sip:alice@example.com", "alice"))
        self.assertEqual((record.status, record.ended_by, record.cause), (200, "caller", "bye"))
        assert record.ringing_at is not None and record.answered_at is not None and record.ended_at is not None
        self.assertLess(record.started_at, record.ringing_at)
        self.assertLess(record.ringing_at, record.answered_at)
        self.assertEqual(round(record.ended_at - record.answered_at), 12)
        self.assertEqual([attempt.leg for attempt in record.attempts], ["b1"])

    def test_callee_hangs_up(self) -> None:
        """The callee's BYE ends the caller's leg, with the Reason that it gave."""
        call, answered = self.established()
        answered.hang_up(headers=[("Reason", 'Q.850;cause=16;text="Normal"')])
        record = self.finish()
        self.assertEqual((record.ended_by, call.ended_by), ("callee", "them"))
        self.assertEqual(self.seen(self.alice, "BYE")[0].headers.get("Reason"), 'Q.850;cause=16;text="Normal"')

    def test_both_hang_up_at_once(self) -> None:
        """BYEs that cross both get their answer (RFC 5407 section 3.2)."""
        call, answered = self.established()
        call.hang_up()
        answered.hang_up()
        self.finish()
        self.assertEqual((call.outcome, answered.outcome), (Outcome.ANSWERED, Outcome.ANSWERED))

    def test_explains_itself(self) -> None:
        """The explanation names the listening point, the user, the route, the attempt and who ended it."""
        call, _ = self.established()
        call.hang_up()
        self.finish()
        text = self.explanation()
        for part in ("udp-192.0.2.1", "as alice", "1 contact of bob", "contact sip:bob@192.0.2.3", "200 OK", "hung up"):
            self.assertIn(part, text)

    def test_hides_each_side_from_the_other(self) -> None:
        """Neither leg sees the other's Call-ID, tags, Via, Contact or media address."""
        call, answered = self.established()
        self.assertNotEqual(call.call_id, answered.call_id)
        invite = answered.invite.to_bytes()
        for secret in (b"192.0.2.2", call.call_id.encode(), call.local_tag.encode()):
            self.assertNotIn(secret, invite)
        ok = next(message for message in self.seen(self.alice, 200) if message.cseq.method == "INVITE")
        for secret in (b"192.0.2.3", answered.call_id.encode(), answered.local_tag.encode()):
            self.assertNotIn(secret, ok.to_bytes())
        call.hang_up()
        self.finish()

    def test_counts_the_hops_down(self) -> None:
        """Max-Forwards crosses the bridge, one less (RFC 7332)."""
        call, answered = self.established()
        self.assertEqual(answered.invite.max_forwards, 69)
        call.hang_up()
        self.finish()

    def test_unknown_fields_cross(self) -> None:
        """Header fields that nobody here knows reach the callee."""
        self.bob.auto_answer()
        call = self.alice.call("bob", headers=[("X-Campaign", "7"), ("Subject", "hi")])
        self.clock.advance(3.0)
        invite = self.bob.calls[0].invite
        self.assertEqual((invite.headers.get("X-Campaign"), invite.headers.get("Subject")), ("7", "hi"))
        call.hang_up()
        self.finish()

    def test_crossing_fields_keep_their_octets(self) -> None:
        """Folding and white space of a line that nobody touched are the same on the other side (7.3.1)."""
        self.bob.auto_answer()
        call = self.alice.call("bob")
        call.invite.headers.extend(Headers.from_lines(["X-Odd  :  one,", "\ttwo"]))
        self.clock.advance(3.0)
        self.assertIn(b"\r\nX-Odd  :  one,\r\n\ttwo\r\n", self.bob.calls[0].invite.to_bytes())
        call.hang_up()
        self.finish()

    def test_late_offer(self) -> None:
        """An INVITE without an offer: the callee's comes in the 200, the caller's answer in the ACK (13.2.1)."""
        call, answered = self.established(body=b"")
        self.assertEqual(answered.invite.body, b"")
        self.assertIn(b"m=audio", call.remote_body)
        self.assertIn(b"m=audio", answered.remote_body)
        self.assertTrue(answered.is_acknowledged)
        call.hang_up()
        self.finish()

    def test_early_media(self) -> None:
        """A 183 with a description crosses with one, and the answer that follows is the same session."""
        call = self.alice.call("bob")
        self.clock.advance(1.0)
        answered = self.bob.calls[0]
        answered.ring(183, body=builders.sdp_answer(answered.invite.body, BOB, 41000))
        self.clock.advance(1.0)
        progress = self.seen(self.alice, 183)[0]
        self.assertIn(b"m=audio", progress.body)
        answered.answer(body=builders.sdp_answer(answered.invite.body, BOB, 41000))
        self.clock.advance(1.0)
        ok = next(message for message in self.seen(self.alice, 200) if message.cseq.method == "INVITE")
        self.assertEqual(ok.body, progress.body)
        call.hang_up()
        self.finish()

    def test_long_ringing_is_refreshed(self) -> None:
        """The caller hears 180 again each minute while the callee rings (13.3.1.1)."""
        self.server.b2bua.router._users._timeout = 200.0  # type: ignore[attr-defined]
        self.bob.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(130.0)
        self.assertEqual(len(self.seen(self.alice, 180)), 3)
        call.cancel()
        self.finish()


class UnansweredTests(BridgeCase):
    """Calls that are not answered."""

    def test_busy(self) -> None:
        """Code, phrase and unknown fields of a refusal reach the caller."""
        self.bob.on_call = lambda call: call.refuse(486, "On Another Line", headers=[("X-Why", "meeting")])
        call = self.alice.call("bob")
        record = self.finish()
        self.assertEqual((call.outcome, call.status), (Outcome.REFUSED, 486))
        refusal = self.seen(self.alice, 486)[0]
        self.assertEqual((getattr(refusal, "reason", ""), refusal.headers.get("X-Why")), ("On Another Line", "meeting"))
        self.assertEqual((record.status, record.cause, record.answered_at), (486, "sip:486", None))

    def test_caller_gives_up(self) -> None:
        """A CANCEL reaches the callee; both see 487."""
        self.bob.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        call.cancel()
        record = self.finish()
        self.assertEqual((call.outcome, call.status), (Outcome.CANCELLED, 487))
        self.assertEqual(self.bob.calls[0].outcome, Outcome.CANCELLED)
        self.assertEqual((record.status, record.ended_by, record.cause), (487, "caller", "cancel"))

    def test_answer_that_crosses_the_cancel(self) -> None:
        """The callee answers as the CANCEL is on its way: its 200 gets ACK and BYE (lesson 26)."""
        self.bob.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        answered = self.bob.calls[0]
        call.cancel()
        answered.answer()
        record = self.finish()
        self.assertEqual(call.status, 487)
        self.assertEqual((answered.outcome, answered.ended_by), (Outcome.ANSWERED, "them"))
        self.assertTrue(answered.is_acknowledged)
        self.assertEqual(record.status, 487)

    def test_nobody_answers(self) -> None:
        """After the ring timeout the callee is cancelled and the caller told 480."""
        self.bob.auto_ring()
        call = self.alice.call("bob")
        record = self.finish()
        self.assertEqual((call.outcome, call.status), (Outcome.REFUSED, 480))
        self.assertEqual(self.bob.calls[0].outcome, Outcome.CANCELLED)
        self.assertEqual(record.cause, "no-answer")

    def test_callee_is_dead(self) -> None:
        """Nothing comes back: 408, and the record blames nobody but the timeout (lesson 12)."""
        self.bob.close()
        call = self.alice.call("bob")
        record = self.finish()
        self.assertEqual((call.status, record.cause), (408, "timeout"))

    def test_not_registered(self) -> None:
        """A user without a contact gives 480, and nothing is held."""
        self.bob.unregister()
        self.clock.advance(1.0)
        call = self.alice.call("bob")
        self.finish()
        self.assertEqual(call.status, 480)

    def test_other_domain(self) -> None:
        """No open relay: 403."""
        call = self.alice.call("sip:someone@elsewhere.example")
        self.finish()
        self.assertEqual(call.status, 403)

    def test_unusable_description(self) -> None:
        """A description that does not parse is refused with 488 before anyone is called."""
        call = self.alice.call("bob", body=b"m=nonsense")
        self.finish()
        self.assertEqual(call.status, 488)
        self.assertEqual(self.bob.calls, [])

    def test_unknown_body(self) -> None:
        """A body of a type that nobody takes is refused with 415, with what would be taken."""
        invite = builders.invite("sip:bob@example.com", via=None, body=b"x", content_type="application/x-strange")
        answer = self.alice.ask(invite)
        self.clock.advance(40.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual((response.status, response.headers.get("Accept") is not None), (415, True))

    def test_no_hops_left(self) -> None:
        """An INVITE that may not travel further is refused with 483: loops end (RFC 7332)."""
        invite = builders.invite("sip:bob@example.com", via=None, max_forwards=0, contact=self.alice.contact)
        answer = self.alice.ask(invite)
        self.clock.advance(40.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 483)

    def test_answer_without_description(self) -> None:
        """A 200 that does not answer the offer is acknowledged and ended, and the caller is told."""
        self.bob.on_call = lambda call: call.answer(body=b"")
        call = self.alice.call("bob")
        self.finish()
        self.assertEqual(call.outcome, Outcome.REFUSED)
        self.assertEqual((self.bob.calls[0].outcome, self.bob.calls[0].ended_by), (Outcome.ANSWERED, "them"))


class AuthenticationTests(BridgeCase):
    """Who may call."""

    def test_stranger_is_challenged(self) -> None:
        """Without credentials there is no call: 407, no record, and the callee hears nothing."""
        self.alice._password = None
        call = self.alice.call("bob")
        self.settle()
        self.assertEqual(self.server.records.records, [])
        self.assertEqual(call.status, 407)
        self.assertEqual(self.bob.calls, [])

    def test_wrong_password(self) -> None:
        """Credentials that are wrong do not open the door."""
        self.alice._password = "guess"
        call = self.alice.call("bob")
        self.settle()
        self.assertIn(call.status, (403, 407))
        self.assertEqual(self.bob.calls, [])

    def test_name_of_another_user(self) -> None:
        """A user who calls under another user's address is refused with 403."""
        invite = builders.invite(
            "sip:bob@example.com", via=None, caller="sip:carol@example.com", contact=self.alice.contact
        )
        answer = self.alice.ask(invite)
        self.clock.advance(40.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 403)


class RouteTests(BridgeCase):
    """Static routes, with digest on the outbound leg."""

    routes = (
        StaticRoute(name="door", user=re.compile("door"), to="sip:carol@192.0.2.4", authenticate=False),
        StaticRoute(name="no", user=re.compile("0900.*"), refusal=(603, "Not From Here")),
        StaticRoute(name="gone", user=re.compile("gone"), to="sip:x@192.0.2.99", timeout=5.0),
    )

    def test_route_without_authentication(self) -> None:
        """A route that says so takes a stranger's call."""
        self.alice._password = None
        self.carol.auto_answer()
        call = self.alice.call("door")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        call.hang_up()
        record = self.finish()
        self.assertEqual((record.route, record.user), ("door", None))

    def test_route_that_refuses(self) -> None:
        """A refusing route answers with its status and phrase, to whoever has proved who they are."""
        call = self.alice.call("0900123")
        self.settle()
        self.assertEqual(call.status, 603)

    def test_route_to_nowhere_times_out(self) -> None:
        """An attempt that nobody answers at all ends after its timeout with 408."""
        call = self.alice.call("gone")
        self.settle()
        self.assertEqual(call.status, 408)


class ForkTests(BridgeCase):
    """Several contacts ring together."""

    def setUp(self) -> None:
        """Carol's phone registers a contact of Bob's, too."""
        super().setUp()
        self.second = self.phone("192.0.2.5", "bob")

    def test_first_to_answer_wins(self) -> None:
        """Both ring; one answers, and the other is cancelled with a Reason."""
        self.bob.auto_ring()
        self.second.auto_answer(after=2.0)
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        self.assertTrue(call.is_answered)
        self.assertEqual(self.bob.calls[0].outcome, Outcome.CANCELLED)
        cancel = self.seen(self.bob, "CANCEL")[0]
        self.assertIn("cause=200", cancel.headers.get("Reason") or "")
        call.hang_up()
        record = self.finish()
        self.assertEqual(len(record.attempts), 2)
        self.assertEqual(len(self.second.exchanges), 0)

    def test_both_answer_at_once(self) -> None:
        """The one whose answer comes later is acknowledged and hung up (lesson 29)."""
        self.bob.auto_answer(after=1.0)
        self.second.auto_answer(after=1.0)
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        ends = [self.bob.calls[0], self.second.calls[0]]
        self.assertEqual(sorted(end.state.value for end in ends), ["answered", "ended"])
        loser = next(end for end in ends if end.state is CallState.ENDED)
        self.assertEqual((loser.outcome, loser.ended_by), (Outcome.ANSWERED, "them"))
        call.hang_up()
        self.finish()

    def test_one_busy_one_answers(self) -> None:
        """A refusal of one phone does not end the call."""
        self.bob.auto_refuse(486)
        self.second.auto_answer(after=2.0)
        call = self.alice.call("bob")
        self.clock.advance(5.0)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.finish()

    def test_decline_everywhere(self) -> None:
        """A 6xx from one phone ends the call at all."""
        self.bob.auto_refuse(603, after=1.0)
        self.second.auto_ring()
        call = self.alice.call("bob")
        self.finish()
        self.assertEqual(call.status, 603)
        self.assertEqual(self.second.calls[0].outcome, Outcome.CANCELLED)
        cancel = self.seen(self.second, "CANCEL")[0]
        self.assertEqual(cancel.headers.get("Reason"), 'SIP;cause=603;text="Decline"')

    def test_all_refuse(self) -> None:
        """The best of the refusals is what the caller hears (16.7 step 6)."""
        self.bob.auto_refuse(404)
        self.second.auto_refuse(486, after=2.0)
        call = self.alice.call("bob")
        self.finish()
        self.assertEqual(call.status, 486)


class LimitTests(BridgeCase):
    """What happens at the bounds."""

    max_calls = 1

    def test_too_many_calls(self) -> None:
        """A call beyond the limit gets 503 with Retry-After, and the first one goes on."""
        call, _ = self.established()
        second = self.carol.call("bob")
        self.clock.advance(2.0)
        self.assertEqual(second.status, 503)
        self.assertIsNotNone(self.seen(self.carol, 503)[0].headers.get("Retry-After"))
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.settle()
        self.assertEqual(len(self.server.records.records), 2)

    def test_draining(self) -> None:
        """A server that drains takes no new call, still registers, and is done when the last call has ended."""
        call, _ = self.established()
        idle = self.server.b2bua.drain()
        refused = self.carol.call("bob")
        registered = self.carol.register()
        self.clock.advance(2.0)
        self.assertEqual(refused.status, 503)
        response = self.successResultOf(registered)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertNoResult(idle)
        call.hang_up()
        self.clock.advance(1.0)
        self.successResultOf(idle)
        self.settle()

    def test_stopping(self) -> None:
        """Stopped calls end on both legs, with a Reason, and have their record."""
        call, answered = self.established()
        self.server.b2bua.stop_calls("shutdown")
        record = self.finish()
        self.assertEqual((call.ended_by, answered.ended_by), ("them", "them"))
        self.assertIn("cause=503", self.seen(self.alice, "BYE")[0].headers.get("Reason") or "")
        self.assertEqual((record.ended_by, record.cause), ("sipd", "stopped"))

    def test_stopping_while_it_rings(self) -> None:
        """A ringing call that is stopped is cancelled on one side and refused with 503 on the other."""
        self.bob.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.server.b2bua.stop_calls("shutdown")
        self.finish()
        self.assertEqual((call.status, self.bob.calls[0].outcome), (503, Outcome.CANCELLED))


class RefusalTests(BridgeCase):
    """What is answered outside of calls."""

    def _ask(self, request: Request) -> int:
        answer = self.alice.ask(request)
        self.clock.advance(40.0)
        response = self.successResultOf(answer)
        return 0 if response is None else response.status

    def test_options(self) -> None:
        """OPTIONS is answered with what this server can do (section 11.2)."""
        answer = self.alice.ask(builders.options(f"sip:{SIPD}", via=None))
        self.clock.advance(1.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertIn("INVITE", response.headers.tokens("Allow"))
        self.assertIn("application/sdp", response.headers.tokens("Accept"))

    def test_methods(self) -> None:
        """A known method that is not served gives 405, an unknown one 501, both with Allow (8.2.1)."""
        del self.server.agent.handlers["REFER"]
        for method, status in (("REFER", 405), ("DANCE", 501)):
            self.assertEqual(self._ask(builders.request(method, f"sip:{SIPD}", via=None)), status)

    def test_extension(self) -> None:
        """A Require that nobody here meets gives 420 (8.2.2.3)."""
        request = builders.options(f"sip:{SIPD}", via=None, headers=[("Require", "warp")])
        self.assertEqual(self._ask(request), 420)

    def test_extension_of_one_method(self) -> None:
        """A registrar keeps Path, so a REGISTER may require it; a call may not (RFC 3327)."""
        require = [("Require", "path")]
        register = builders.register("sip:alice@example.com", self.alice.contact, via=None, headers=require)
        self.assertEqual(self._ask(register), 200)
        self.assertEqual(self._ask(builders.invite("sip:bob@example.com", via=None, headers=require)), 420)

    def test_scheme(self) -> None:
        """A request URI of a strange scheme gives 416 (8.2.2.1)."""
        self.assertEqual(self._ask(builders.options("soap.beep://192.0.2.1", via=None)), 416)

    def test_bye_for_nobody(self) -> None:
        """A BYE, or a re-INVITE, of a dialog that does not exist gives 481."""
        self.assertEqual(self._ask(builders.request("BYE", f"sip:{SIPD}", to_tag="none", via=None)), 481)
        self.assertEqual(self._ask(builders.invite(f"sip:{SIPD}", to_tag="none", via=None)), 481)
        self.assertEqual(self._ask(builders.request("BYE", f"sip:{SIPD}", via=None)), 481)
