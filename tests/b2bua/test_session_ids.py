"""What a call is called from leg to leg, and who talks with whom after a transfer."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from sipd.b2bua.identity import Identities
from sipd.interfaces import Attempt
from sipd.sip.fields import NameAddr
from sipd.sip.identity import ANONYMOUS as NOBODY
from sipd.sip.message import Request
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.peer import Peer
from tests.b2bua.trusting import (
    ALICE_AOR,
    ANONYMOUS,
    BOSS,
    GATEWAY,
    NIL,
    PAI,
    STRANGER,
    A,
    B,
    IdentityCase,
    policy,
)


class SessionIdTests(IdentityCase):
    """Session-ID (RFC 7989 sections 6 and 7)."""

    def ids(self, peer: Peer, kind: str | int) -> list[str | None]:
        """Give the Session-ID of each message of a kind that a peer has seen."""
        return [one.headers.get("Session-ID") for one in self.seen(peer, kind)]

    def test_both_ends_know_it(self) -> None:
        """The UUIDs of both ends cross, and what sipd sends by itself has them, too."""
        self.alice.fields = (("Session-ID", f"{A};remote={NIL}"),)
        self.bob.fields = (("Session-ID", f"{B};remote={A}"),)
        call, answered = self.established()
        self.assertEqual(answered.invite.headers.get("Session-ID"), f"{A};remote={NIL}")
        self.assertEqual(self.answer_of(self.alice, 200).headers.get("Session-ID"), f"{B};remote={A}")
        self.assertEqual(self.ids(self.bob, "ACK"), [f"{A};remote={B}"])
        self.alice.fields = (("Session-ID", f"{A};remote={B}"),)
        call.reinvite()
        self.clock.advance(5.0)
        self.assertEqual(self.ids(self.bob, "INVITE")[-1], f"{A};remote={B}")
        call.hang_up()
        record = self.finish()
        self.assertEqual(self.ids(self.bob, "BYE"), [f"{A};remote={B}"])
        of_bye = [one for one in self.seen(self.alice, 200) if one.cseq.method == "BYE"]
        self.assertEqual([one.headers.get("Session-ID") for one in of_bye], [f"{B};remote={A}"])
        self.assertEqual(record.session_id, f"{A};remote={B}")

    def test_one_end_does_not(self) -> None:
        """The end that has none gets one, which stays the same."""
        self.alice.fields = (("Session-ID", f"{A};remote={NIL}"),)
        _, answered = self.established()
        self.assertEqual(answered.invite.headers.get("Session-ID"), f"{A};remote={NIL}")
        ok = self.answer_of(self.alice, 200).headers.get("Session-ID") or ""
        match = re.fullmatch(rf"([0-9a-f]{{32}});remote={A}", ok)
        assert match is not None
        self.assertNotEqual(match[1], NIL)
        answered.hang_up()
        self.finish()
        self.assertEqual(self.ids(self.alice, "BYE"), [ok])

    def test_the_callee_alone(self) -> None:
        """The caller without one is given one when it answers."""
        self.bob.fields = (("Session-ID", f"{B};remote={NIL}"),)
        call, answered = self.established()
        self.assertEqual(answered.invite.headers.get("Session-ID"), None)
        self.assertEqual(self.answer_of(self.alice, 200).headers.get("Session-ID"), f"{B};remote={NIL}")
        call.hang_up()
        record = self.finish()
        self.assertEqual(record.session_id, f"{NIL};remote={B}")

    def test_nobody_does(self) -> None:
        """Then there is none."""
        call, _ = self.established()
        call.hang_up()
        self.assertEqual(self.finish().session_id, "")
        self.assertEqual({*self.ids(self.bob, "INVITE"), *self.ids(self.alice, 200)}, {None})

    def test_what_nobody_can_read(self) -> None:
        """A malformed one is none (section 7)."""
        self.assertIsNone(self.offered("alice", "bob", [("Session-ID", "abc")]).headers.get("Session-ID"))

    def test_what_sipd_answers_by_itself(self) -> None:
        """OPTIONS and what comes out of order in a call, and a call that was cancelled."""
        self.alice.fields = (("Session-ID", f"{A};remote={NIL}"),)
        self.bob.fields = (("Session-ID", f"{B};remote={A}"),)
        call, answered = self.established()
        self.assert_answer(answered, "OPTIONS", f"{A};remote={B}")
        self.assert_answer(call, "OPTIONS", f"{B};remote={A}")
        self.assert_answer(call, "PUBLISH", f"{B};remote={A}")
        call.hang_up()
        self.finish()
        self.bob.auto_ring()
        call = self.alice.call("bob")
        self.clock.advance(2.0)
        call.cancel()
        self.settle()
        ringing = self.ids(self.alice, 180)[-1]
        self.assertEqual(self.ids(self.alice, 487), [ringing])
        self.assertRegex(ringing or "", rf"^[0-9a-f]{{32}};remote={A}$")

    def assert_answer(self, end: PeerCall, method: str, expected: str) -> None:
        """Say what Session-ID the answer to a request in a call has."""
        answer = end.request(method)
        self.clock.advance(1.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.headers.get("Session-ID"), expected)

    def test_cancel(self) -> None:
        """A CANCEL has that of its INVITE, whatever is known by then."""
        self.bob.on_call = lambda call: call.later(0.1, call.ring)
        call = self.alice.call("bob", headers=[("Session-ID", f"{A};remote={NIL}")])
        self.clock.advance(2.0)
        call.cancel()
        self.finish()
        self.assertEqual(self.ids(self.bob, "CANCEL"), [f"{A};remote={NIL}"])

    def test_refusal_by_the_server(self) -> None:
        """What sipd refuses by itself names the caller's session."""
        call = self.alice.call("nobody", headers=[("Session-ID", f"{A};remote={NIL}")])
        self.clock.advance(2.0)
        self.assertEqual(call.status, 404)
        self.assertEqual(self.ids(self.alice, 404), [f"{NIL};remote={A}"])


class TransferTests(IdentityCase):
    """Who talks with whom after a transfer (RFC 4916 in spirit, RFC 7989 section 7)."""

    def refer(self, call: PeerCall, target: str) -> None:
        """Let one end of a call send the other one to somebody else."""
        call.request("REFER", headers=[("Refer-To", f"<sip:{target}@example.com>")])
        self.clock.advance(5.0)

    def test_transferee_is_known(self) -> None:
        """The target is told who is sent to it; who is sent is told who answers there."""
        self.carol.auto_answer(after=1.0)
        call, answered = self.talk("gateway", "bob", [(PAI, BOSS), ("Session-ID", f"{A};remote={NIL}")])
        self.refer(answered, "carol")
        self.assertTrue(call.is_answered)
        told = [one for one in self.gateway.seen if isinstance(one, Request) and one.method in ("INVITE", "UPDATE")]
        self.assert_got(told[-1], {PAI: ["<sip:carol@example.com>"]})
        self.assertEqual(self.carol.calls[-1].invite.headers.get("Session-ID"), f"{A};remote={NIL}")
        match = re.fullmatch(rf"([0-9a-f]{{32}});remote={A}", told[-1].headers.get("Session-ID") or "")
        assert match is not None
        call.hang_up()
        self.settle()

    def test_to_the_trusted_side(self) -> None:
        """A user who is sent to a trusted side is asserted there."""
        self.gateway.auto_answer(after=1.0)
        call, answered = self.talk("alice", "bob")
        self.refer(answered, "9001")
        self.assert_got(self.gateway.calls[-1].invite, {PAI: [ALICE_AOR]})
        call.hang_up()
        self.settle()

    def test_privacy_goes_with_the_call(self) -> None:
        """Who did not want to be named is not named by a transfer, on whichever side it is."""
        self.stranger.auto_answer(after=1.0)
        call, answered = self.talk("alice", "bob", [("Privacy", "user")])
        self.refer(answered, "8001")
        self.assertEqual(str(self.stranger.calls[-1].invite.from_.without_parameters()), ANONYMOUS)
        call.hang_up()
        self.clock.advance(60.0)
        self.bob.fields = (("Privacy", "user"),)
        call, answered = self.talk("alice", "bob")
        self.refer(call, "8001")
        self.assertEqual(str(self.stranger.calls[-1].invite.from_.without_parameters()), ANONYMOUS)
        answered.hang_up()
        self.settle()


class SideTests(SynchronousTestCase):
    """Two legs, without the rest of the call."""

    def setUp(self) -> None:
        """Let somebody whom nobody trusts call the gateway, and the stranger."""
        fields = [("Session-ID", f"{A};remote={NIL}"), ("Privacy", "user")]
        self.invite = builders.invite(via=None, call_id="a", headers=fields)
        self.identities = self.call(self.invite)
        self.gateway = self.identities.side_of(Attempt(uri=SipUri(GATEWAY), label="gateway"))
        self.stranger = self.identities.side_of(Attempt(uri=SipUri(STRANGER), label="stranger"))
        self.identities.hold(self.gateway, "b")
        self.gateway.take(self.invite)

    def call(self, invite: Request) -> Identities:
        """Begin a call of the stranger."""
        return Identities(policy(), lambda count: b"\1" * count, invite, STRANGER)

    def test_goes_to_another_call(self) -> None:
        """Who is adopted by another call is who it was in its own: name, UUID and wish for privacy."""
        other = self.call(builders.invite(via=None, call_id="c"))
        self.identities.caller.user = "alice"
        self.gateway.take(self.invite)
        adopted = other.adopt(self.identities.caller)
        self.assertEqual((adopted.uuid, adopted.user, adopted.is_trusted), (A, "alice", False))
        target = other.side_of(Attempt(uri=SipUri(GATEWAY), label="gateway"))
        got = dict(target.meet(adopted).items())
        self.assertEqual(got, {PAI: ALICE_AOR, "Privacy": "user", "Session-ID": f"{A};remote={NIL}"})
        alice = NameAddr(SipUri("example.com", "alice"))
        self.assertIs(other.side_of(Attempt(uri=SipUri(STRANGER), label="s")).name_of(adopted, alice), NOBODY)
        self.assertIs(target.name_of(adopted, alice), alice)

    def test_both_know_of_each_other(self) -> None:
        """Two who meet are each other's peers, whoever is told of it."""
        self.stranger.uuid = B
        self.stranger.meet(self.identities.caller)
        self.assertEqual(self.identities.caller.session_id(), (("Session-ID", f"{B};remote={A}"),))
        self.assertEqual(self.stranger.session_id(), (("Session-ID", f"{A};remote={B}"),))
        self.assertEqual(self.identities.session_id(), f"{A};remote={B}")

    def test_nothing_is_claimed_in_an_ack(self) -> None:
        """An ACK could not be refused (RFC 5876); that it belongs to the session is said all the same."""
        self.identities.caller.user = "alice"
        for method, expected in (("ACK", False), ("INFO", True)):
            request = Request(method, self.invite.uri_text, self.invite.headers.copy())
            told = self.gateway.take(request)
            self.assertEqual(PAI in told, expected, method)
            self.assertIn("Session-ID", told)
