"""Transfers by REFER, which the server carries out itself (RFC 3515, RFC 5589)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred, fail

from sipd.b2bua.transfer import TransferPolicy, TransferSettings
from sipd.errors import RemoteError
from sipd.interfaces import Route, RoutingRequest
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.calls import Outcome, PeerCall
from sipd.testing.exchanges import Reply
from sipd.testing.peer import Peer
from tests.b2bua.support import BridgeCase
from tests.b2bua.test_gateway import GATEWAY, GatewayCase


class TransferCase(BridgeCase):
    """A call from Alice to Bob, and Carol."""

    def setUp(self) -> None:
        """Let Carol answer."""
        super().setUp()
        self.carol.auto_answer(after=1.0)

    def refer(self, call: PeerCall, target: str, **headers: str) -> int:
        """Let one end of a call ask that the other one calls somebody; give the status."""
        asked = call.request("REFER", headers=(("Refer-To", target), *headers.items()))
        self.clock.advance(0.2)
        response = self.successResultOf(asked)
        assert response is not None
        return response.status

    def hold(self, end: PeerCall) -> list[tuple[Request, Reply]]:
        """Let one end leave re-INVITEs without an answer; give them."""
        waiting: list[tuple[Request, Reply]] = []

        def wait(request: Request, reply: Reply) -> None:
            waiting.append((request, reply))

        end._reinvited = wait  # type: ignore[method-assign]
        return waiting

    def connected(self) -> list[set[str]]:
        """Give the legs whose media flows."""
        return [set(pair) for session in self.server.relay.sessions for pair in session.connected]

    def told(self, peer: Peer) -> list[str]:
        """Give what a peer was told in NOTIFYs, a line each."""
        return [
            f"{one.body.decode().split(None, 1)[1].strip()}; {one.headers.get('Subscription-State')}"
            for one in self.seen(peer, "NOTIFY")
            if isinstance(one, Request)
        ]

    def outcomes(self, peer: Peer) -> list[str]:
        """The same without how long the subscription lasts."""
        return [line.split(";expires")[0] for line in self.told(peer)]


class BlindTests(TransferCase):
    """The target is called anew."""

    def test_by_either_side(self) -> None:
        """Who asks is told of each step and let go; the other two talk with each other."""
        for is_caller in (False, True):
            self.server.records.records.clear()
            call, answered = self.established()
            who, stays = (call, answered) if is_caller else (answered, call)
            self.assertEqual(self.refer(who, "<sip:carol@example.com>"), 202)
            self.clock.advance(3.0)
            self.assertEqual(
                self.outcomes(who.peer)[-3:],
                ["100 Trying; active", "180 Ringing; active", "200 OK; terminated;reason=noresource"],
            )
            third = self.carol.calls[-1]
            self.assertTrue(third.is_answered and stays.is_answered)
            self.assertEqual((who.outcome, who.ended_by), (Outcome.ANSWERED, "them"))
            self.assertEqual(self.connected(), [{"b2", "b1" if is_caller else "a"}])
            # Each has been told the ports of its own leg, and only these are held.
            self.assertEqual(len(self.server.relay.taken), 2)
            third.hang_up()
            record = self.finish()
            self.assertFalse(stays.is_answered)
            self.assertEqual(record.ended_by, "caller" if is_caller else "callee")
            self.assertEqual([attempt.leg for attempt in record.attempts], ["b1", "b2"])

    def test_transferor_hears_of_it_first(self) -> None:
        """It is let go when it has answered the NOTIFY that says how the transfer ended, or never will."""
        for answers in (True, False):
            self.server.records.records.clear()
            self.bob.infos.clear()
            call, answered = self.established()
            waiting: list[tuple[Request, Reply]] = []

            def wait(request: Request, reply: Reply, waiting: list[tuple[Request, Reply]] = waiting) -> None:
                waiting.append((request, reply))

            self.refer(answered, "<sip:carol@example.com>")
            self.bob.on_info = wait
            self.clock.advance(4.0)
            third = self.carol.calls[-1]
            self.assertTrue(call.is_answered and answered.is_answered and third.is_answered)
            self.assertEqual(self.connected(), [{"a", "b2"}])
            if answers:
                for request, reply in waiting:
                    reply(builders.response(request, 200))
                self.clock.advance(1.0)
                for request, reply in waiting[1:]:
                    reply(builders.response(request, 200))
                self.clock.advance(1.0)
            else:
                self.clock.advance(70.0)
                for request, reply in waiting:
                    reply(builders.response(request, 408))
            self.assertFalse(answered.is_answered)
            self.assertTrue(call.is_answered and third.is_answered)
            self.bob.on_info = lambda request, reply: reply(builders.response(request, 200))
            call.hang_up()
            self.finish()

    def test_of_a_held_call(self) -> None:
        """Who was on hold for the transferor talks both ways with the target."""
        call, answered = self.established()
        answered.reinvite(builders.sdp("192.0.2.3", direction="sendonly", version=2))
        self.clock.advance(1.0)
        self.assertIn(b"a=sendonly", call.remote_body)
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(3.0)
        self.assertNotIn(b"a=sendonly", call.remote_body)
        self.assertNotIn(b"a=recvonly", self.carol.calls[0].remote_body)
        self.assertNotIn(b"a=inactive", self.carol.calls[0].remote_body)
        call.hang_up()
        self.finish()

    def test_target_is_called_for_the_transferee(self) -> None:
        """From is the other party, To the target; Referred-By crosses, and what the URI may ask for."""
        _, answered = self.established()
        self.refer(
            answered,
            "<sip:carol@example.com?X-Reason=sales&From=%3Csip%3Aking%40example.com%3E>",
            **{"Referred-By": "<sip:bob@example.com>"},
        )
        self.clock.advance(3.0)
        invite = self.carol.calls[0].invite
        self.assertEqual(str(invite.from_.uri), "sip:alice@example.com")
        self.assertEqual(str(invite.to.uri), "sip:carol@example.com")
        self.assertEqual(invite.headers.get("Referred-By"), "<sip:bob@example.com>")
        self.assertEqual(invite.headers.get("X-Reason"), "sales")
        answered.hang_up()
        self.carol.calls[0].hang_up()
        self.finish()

    def test_target_refuses(self) -> None:
        """The transferor hears the status, and the call goes on as it was."""
        self.carol.auto_refuse(486)
        call, answered = self.established()
        before = call.remote_body
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 202)
        self.clock.advance(3.0)
        self.assertEqual(self.outcomes(self.bob)[-1], "486 Busy Here; terminated;reason=noresource")
        self.assertTrue(call.is_answered and answered.is_answered)
        self.assertEqual(call.remote_body, before)
        self.assertEqual(self.connected(), [{"a", "b1"}])
        again = answered.reinvite()
        self.clock.advance(1.0)
        response = self.successResultOf(again)
        assert response is not None
        self.assertEqual(response.status, 200)
        call.hang_up()
        self.assertEqual(self.finish().cause, "bye")

    def test_transferor_leaves_at_once(self) -> None:
        """A BYE right after the 202 does not end the call of the other two."""
        call, answered = self.established()
        self.refer(answered, "<sip:carol@example.com>")
        answered.hang_up()
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertTrue(self.carol.calls[0].is_answered)
        call.hang_up()
        record = self.finish()
        self.assertEqual((record.ended_by, record.cause), ("caller", "bye"))

    def test_transferor_leaves_and_the_target_refuses(self) -> None:
        """Then nobody is left to talk to: the call is over."""
        self.carol.auto_refuse(486, after=1.0)
        call, answered = self.established()
        self.refer(answered, "<sip:carol@example.com>")
        answered.hang_up()
        self.clock.advance(3.0)
        self.assertFalse(call.is_answered)
        self.assertEqual(self.finish().cause, "transfer-failed")

    def test_transferee_leaves(self) -> None:
        """The target's phone stops ringing, and the call is over."""
        self.carol.auto_ring()
        call, answered = self.established()
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(1.0)
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.carol.calls[0].outcome, Outcome.CANCELLED)
        self.assertFalse(answered.is_answered)
        self.assertEqual(self.outcomes(self.bob)[-1], "487 Request Terminated; terminated;reason=noresource")
        self.finish()

    def test_target_leaves_before_it_is_joined(self) -> None:
        """A target that hangs up at once leaves the first two with each other."""
        call, answered = self.established()
        reinvited = call._reinvited
        waiting = self.hold(call)
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(3.0)
        self.carol.calls[0].hang_up()
        self.clock.advance(1.0)
        call._reinvited = reinvited  # type: ignore[method-assign]
        reinvited(*waiting[0])
        self.clock.advance(5.0)
        self.assertTrue(call.is_answered and answered.is_answered)
        self.assertEqual(self.outcomes(self.bob)[-1].partition(" ")[0], "480")
        self.assertEqual(self.connected(), [{"a", "b1"}])
        call.hang_up()
        self.finish()

    def test_transferee_refuses_the_target(self) -> None:
        """A re-INVITE that is refused leaves the call as it was, and the target is hung up on."""
        call, answered = self.established()
        self.alice.answers_reinvites = False
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(3.0)
        self.assertEqual(self.outcomes(self.bob)[-1].partition(" ")[0], "488")
        self.assertEqual(self.carol.calls[0].ended_by, "them")
        self.assertTrue(call.is_answered and answered.is_answered)
        self.assertEqual(self.connected(), [{"a", "b1"}])
        answered.hang_up()
        self.finish()

    def test_crosses_a_change(self) -> None:
        """A transferee whose own re-INVITE is on its way is asked again after a while (section 14.1)."""
        call, answered = self.established()
        reinvited = call._reinvited
        asked: list[Request] = []

        def pending(request: Request, reply: Reply) -> None:
            asked.append(request)
            if len(asked) < 3:
                reply(builders.response(request, 491))
            else:
                reinvited(request, reply)

        call._reinvited = pending  # type: ignore[method-assign]
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(20.0)
        self.assertEqual(len(asked), 3)
        self.assertEqual(self.outcomes(self.bob)[-1].partition(" ")[0], "200")
        self.assertTrue(call.is_answered and self.carol.calls[0].is_answered)
        call.hang_up()
        self.finish()

    def test_refused_requests(self) -> None:
        """What cannot be done is refused at once, and nothing happens: methods, strangers, users who are not there."""
        call, answered = self.established()
        for target, status in (
            ("<sip:carol@example.com;method=SUBSCRIBE>", 501),
            ("<sip:nobody@example.com>", 404),
            ("<sip:somebody@elsewhere.example>", 403),
            ("<tel:+4930123>", 403),
            ("no uri", 400),
        ):
            self.assertEqual(self.refer(answered, target), status, target)
        self.assertEqual(self.told(self.bob), [])
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.finish()

    def test_router_that_fails(self) -> None:
        """Where no route can be asked for the REFER is refused, and the call goes on."""
        call, answered = self.established()

        def route(asked: RoutingRequest) -> Deferred[Route]:
            return fail(RemoteError("no answer of the router", status=504))

        self.server.b2bua.router.route = route  # type: ignore[method-assign,assignment]
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 504)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_one_at_a_time(self) -> None:
        """A second REFER has to wait until the first has its outcome."""
        self.carol.auto_ring()
        call, answered = self.established()
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 202)
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 500)
        self.assertEqual(self.refer(call, "<sip:carol@example.com>"), 500)
        call.hang_up()
        self.finish()

    def test_limit(self) -> None:
        """One call is transferred so many times only."""
        call, answered = self.established()
        others = [self.carol, self.bob]
        self.bob.auto_answer(after=0.1)
        who = answered
        for number in range(6):
            target = others[number % 2]
            status = self.refer(who, f"<sip:{target.user}@example.com>")
            self.clock.advance(3.0)
            if number == 5:
                self.assertEqual(status, 403)
            else:
                self.assertEqual(status, 202)
                who = target.calls[-1]
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.finish()

    def test_time_limit(self) -> None:
        """A transfer without an outcome is given up, and the call goes on."""
        self.carol.auto_ring()
        self.server.b2bua.router._users._timeout = 600.0  # type: ignore[attr-defined]
        call, answered = self.established()
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(125.0)
        self.assertEqual(self.outcomes(self.bob)[-1].partition(" ")[0], "408")
        self.assertEqual(self.carol.calls[0].outcome, Outcome.CANCELLED)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_shutdown_afterwards(self) -> None:
        """A call is stopped, too, whose caller has left it."""
        call, answered = self.established()
        self.refer(call, "<sip:carol@example.com>")
        self.clock.advance(3.0)
        self.assertFalse(call.is_answered)
        self.server.b2bua.stop_calls("shutdown")
        self.clock.advance(1.0)
        self.assertFalse(answered.is_answered or self.carol.calls[0].is_answered)
        self.assertEqual(self.finish().cause, "stopped")

    def test_shutdown(self) -> None:
        """Calls that are stopped end on all three legs."""
        self.carol.auto_ring()
        call, answered = self.established()
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(1.0)
        self.server.b2bua.stop_calls("shutdown")
        self.clock.advance(1.0)
        self.assertFalse(call.is_answered or answered.is_answered)
        self.assertEqual(self.carol.calls[0].outcome, Outcome.CANCELLED)
        self.finish()


class PolicyTests(TransferCase):
    """Servers that do not carry transfers out."""

    def use(self, policy: TransferPolicy) -> None:
        """Let the server have that policy."""
        b2bua = self.server.b2bua
        b2bua.settings = replace(b2bua.settings, transfer=TransferSettings(policy=policy))

    def test_pass(self) -> None:
        """The other phone gets the REFER with its fields, its answer comes back, and so do its NOTIFYs."""
        self.use(TransferPolicy.PASS)
        call, answered = self.established()
        self.alice.on_info = lambda request, reply: reply(
            builders.response(request, 202 if request.method == "REFER" else 200)
        )
        target = "<sip:carol@example.com?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>"
        self.assertEqual(self.refer(answered, target, **{"Referred-By": "<sip:bob@example.com>"}), 202)
        (refer,) = self.alice.infos
        self.assertEqual(refer.headers.get("Refer-To"), target)
        self.assertEqual(refer.headers.get("Referred-By"), "<sip:bob@example.com>")
        self.assertEqual(self.carol.calls, [])
        notify = call.request(
            "NOTIFY",
            headers=(
                ("Event", "refer"),
                ("Subscription-State", "terminated;reason=noresource"),
                ("Content-Type", "message/sipfrag"),
            ),
            body=b"SIP/2.0 200 OK\r\n",
        )
        self.clock.advance(0.2)
        response = self.successResultOf(notify)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.assertEqual(self.outcomes(self.bob), ["200 OK; terminated;reason=noresource"])
        answered.hang_up()
        self.finish()

    def test_refuse(self) -> None:
        """It is refused, and nothing happens."""
        self.use(TransferPolicy.REFUSE)
        call, answered = self.established()
        self.assertEqual(self.refer(answered, "<sip:carol@example.com>"), 603)
        self.assertTrue(call.is_answered)
        call.hang_up()
        self.finish()


class ReplacementTests(TransferCase):
    """An INVITE with Replaces (RFC 3891)."""

    def test_takes_the_place(self) -> None:
        """Carol takes Bob's place in his call with Alice."""
        for body in (None, b""):
            self.server.records.records.clear()
            call, answered = self.established()
            value = f"{answered.call_id};to-tag={answered.remote_tag};from-tag={answered.local_tag}"
            taken = self.carol.call("bob", body=body, headers=(("Replaces", value), ("Require", "replaces")))
            self.clock.advance(3.0)
            self.assertTrue(taken.is_answered, taken.status)
            self.assertTrue(call.is_answered)
            self.assertEqual(answered.ended_by, "them")
            self.assertEqual(self.connected(), [{"a", "b2"}])
            taken.hang_up()
            self.finish()
            self.assertFalse(call.is_answered)

    def test_refused(self) -> None:
        """Unknown dialogs get 481, answered ones that should be early 486; the call stays."""
        call, answered = self.established()
        value = f"{answered.call_id};to-tag={answered.remote_tag};from-tag={answered.local_tag}"
        for replaces, status in (("no;to-tag=1;from-tag=2", 481), (f"{value};early-only", 486), ("nothing", 400)):
            taken = self.carol.call("bob", headers=(("Replaces", replaces),))
            self.clock.advance(1.0)
            self.assertEqual(taken.status, status)
        self.alice.answers_reinvites = False
        taken = self.carol.call("bob", headers=(("Replaces", value),))
        self.clock.advance(3.0)
        self.assertEqual(taken.status, 488)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_rubbish(self) -> None:
        """One whose offer cannot be read is refused, and the call holds nothing of it."""
        call, answered = self.established()
        value = f"{answered.call_id};to-tag={answered.remote_tag};from-tag={answered.local_tag}"
        taken = self.carol.call("bob", body=b"v=0\r\nrubbish\r\n", headers=(("Replaces", value),))
        self.clock.advance(1.0)
        self.assertEqual(taken.status, 488)
        (identifier,) = self.server.ledger.calls()
        held = [name for kind, name in self.server.ledger.held(identifier) if kind == "leg"]
        self.assertEqual(held, ["a", "b1"])
        call.hang_up()
        self.finish()

    def test_gives_up(self) -> None:
        """Who cancels such a call changes nothing."""
        call, answered = self.established()
        value = f"{answered.call_id};to-tag={answered.remote_tag};from-tag={answered.local_tag}"
        reinvited = call._reinvited
        waiting = self.hold(call)
        taken = self.carol.call("bob", headers=(("Replaces", value),))
        self.clock.advance(1.0)
        taken.cancel()
        self.clock.advance(1.0)
        call._reinvited = reinvited  # type: ignore[method-assign]
        reinvited(*waiting[0])
        self.clock.advance(5.0)
        self.assertEqual(taken.outcome, Outcome.CANCELLED)
        self.assertTrue(call.is_answered and answered.is_answered)
        self.assertEqual(self.connected(), [{"a", "b1"}])
        call.hang_up()
        self.finish()


class GatewayTests(GatewayCase):
    """Transfers to numbers."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="pstn", user=re.compile(r"\+\d+"), next_hop=parse_uri(f"sip:{GATEWAY}")),
    )

    def test_to_a_number(self) -> None:
        """A `tel` URI goes as it came, with its parameters, to where the route leads."""
        call, answered = self.established()
        asked = answered.request("REFER", headers=(("Refer-To", "<tel:+49-30-123;ext=7>"),))
        self.clock.advance(0.5)
        response = self.successResultOf(asked)
        assert response is not None
        self.assertEqual(response.status, 202)
        invite = self.gateway.request("INVITE")
        self.assertEqual((invite.uri_text, str(invite.to.uri)), ("tel:+49-30-123;ext=7", "tel:+49-30-123;ext=7"))
        self.say(200, port=41000)
        self.clock.advance(1.0)
        self.assertTrue(call.is_answered)
        self.assertFalse(answered.is_answered)
        self.end(call)
        self.finish()
