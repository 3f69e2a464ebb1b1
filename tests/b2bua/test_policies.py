"""Policies of legs in whole calls: header fields, statuses, identities, and how sipd presents itself."""

from __future__ import annotations

import re
from dataclasses import replace

from sipd.policies import (
    PRESETS,
    AddressPolicy,
    EarlyMedia,
    HeaderPolicy,
    IdentityForm,
    LegPolicy,
    Messages,
    NumberRule,
    Phrases,
    ReasonForm,
    ReliablePolicy,
    StatusPolicy,
    StatusRule,
    Template,
    TransferPolicy,
)
from sipd.sip.message import Response
from sipd.sip.session_timer import SessionTimerPolicy
from sipd.testing import builders
from sipd.testing.calls import Outcome
from sipd.testing.trunks import FakeTrunks
from tests.b2bua.policed import CARRIER, PolicyCase, rule

MARK = HeaderPolicy(rules=(rule("set", "X-Mark", "{method} of {user} from {source}"),))
COUNTRY = (NumberRule(pattern=re.compile("0([1-9][0-9]+)"), value=Template("+49{1}")),)


class HeaderTests(PolicyCase):
    """Header fields."""

    def test_both_legs_have_their_own(self) -> None:
        """Each message that crosses has what is set for its receiver: INVITE, 180, 200, re-INVITE and what it gets."""
        out = LegPolicy(headers=HeaderPolicy(rules=(rule("set", "X-To", "carrier"), rule("remove", "X-A"))))
        back = LegPolicy(headers=HeaderPolicy(rules=(rule("set", "X-To", "alice"),)))
        self.begin(out, back)
        call, answered = self.talking(headers=[("X-A", "1"), ("X-B", "2")])
        invite = answered.invite.headers
        self.assertEqual((invite.get("X-To"), invite.get("X-A"), invite.get("X-B")), ("carrier", None, "2"))
        for status in (180, 200):
            self.assertEqual(self.seen(self.alice, status)[-1].headers.get("X-To"), "alice", status)
        done = call.reinvite()
        self.clock.advance(2.0)
        self.assertEqual(self.last(self.carrier, "INVITE").headers.get_all("X-To"), ["carrier"])
        again = self.successResultOf(done)
        assert again is not None
        self.assertEqual(again.headers.get("X-To"), "alice")
        done = answered.reinvite()
        self.clock.advance(2.0)
        self.assertEqual(self.last(self.alice, "INVITE").headers.get("X-To"), "alice")
        call.request("INFO", headers=[("Content-Type", "text/plain")], body=b"x")
        self.clock.advance(1.0)
        self.assertEqual(self.last(self.carrier, "INFO").headers.get("X-To"), "carrier")
        call.hang_up()
        self.finish()
        self.assertEqual(self.last(self.carrier, "BYE").headers.get("X-To"), "carrier")

    def test_bye_of_the_other_side(self) -> None:
        """The BYE that sipd makes of a BYE has what is set for its receiver, and the reason that was given."""
        self.begin(caller=LegPolicy(headers=HeaderPolicy(rules=(rule("set", "X-End", "{method}"),))))
        _, answered = self.talking()
        answered.hang_up(headers=[("Reason", "Q.850;cause=16")])
        self.finish()
        bye = self.last(self.alice, "BYE").headers
        self.assertEqual((bye.get("X-End"), bye.get("Reason")), ("BYE", "Q.850;cause=16"))

    def test_cancel(self) -> None:
        """So has the CANCEL."""
        self.begin(LegPolicy(headers=HeaderPolicy(rules=(rule("set", "X-End", "{method}"),))))
        self.carrier.auto_ring()
        call = self.out()
        call.cancel()
        self.finish()
        self.assertEqual(self.last(self.carrier, "CANCEL").headers.get("X-End"), "CANCEL")

    def test_refusals(self) -> None:
        """Refusals of the other side have what is set, and those of sipd itself, too."""
        caller = LegPolicy(headers=HeaderPolicy(also=("warning",), deny=("x-why",), rules=MARK.rules))
        self.begin(caller=caller)
        self.carrier.on_call = lambda call: call.refuse(
            488, headers=[("X-Why", "no"), ("Warning", '305 h "x"'), ("Retry-After", "5")]
        )
        self.out()
        self.settle()
        refusal = self.last(self.alice, 488).headers
        self.assertEqual(refusal.get("X-Mark"), f"INVITE of  from {CARRIER}")
        self.assertEqual((refusal.get("X-Why"), refusal.get("Warning"), refusal.get("Retry-After")),
                         (None, '305 h "x"', None))  # fmt: skip
        self.carrier.auto_ring()
        self.out()
        self.clock.advance(70.0)
        self.assertEqual(self.last(self.alice, 480).headers.get("X-Mark"), "INVITE of  from")
        self.settle()

    def test_placeholders(self) -> None:
        """They stand for who has proved to call, from where, and what is called."""
        value = "{user} {source} {from} {to} {method}"
        self.begin(LegPolicy(headers=HeaderPolicy(rules=(rule("set", "X-A", value), rule("set", "X-Id", "{call_id}")))))
        call = self.out()
        invite = self.carrier.calls[-1].invite
        self.assertEqual(invite.headers.get("X-A"), "alice 192.0.2.2 alice 123 INVITE")
        self.assertEqual(invite.headers.get("X-Id"), call.call_id)
        call.hang_up()
        self.settle()

    def test_only_some_messages(self) -> None:
        """A rule for requests, or for a method, leaves other messages alone."""
        rules = (
            rule("set", "X-Q", "1", messages=Messages.REQUESTS),
            rule("set", "X-R", "1", messages=Messages.RESPONSES),
            rule("set", "X-B", "1", methods=frozenset(("BYE",))),
        )
        both = LegPolicy(headers=HeaderPolicy(rules=rules))
        self.begin(both, both)
        call, answered = self.talking()
        invite, ok = answered.invite.headers, self.ok(self.alice).headers
        self.assertEqual([name in invite for name in ("X-Q", "X-R", "X-B")], [True, False, False])
        self.assertEqual([name in ok for name in ("X-Q", "X-R", "X-B")], [False, True, False])
        call.hang_up()
        self.finish()
        bye = self.last(self.carrier, "BYE").headers
        self.assertEqual([name in bye for name in ("X-Q", "X-R", "X-B")], [True, False, True])

    def test_heard(self) -> None:
        """What comes from a leg is filtered for everybody else, and what goes there is not."""
        self.begin(LegPolicy(heard_headers=HeaderPolicy(deny=("x-*",), also=("server",))))
        self.carrier.on_call = lambda call: call.refuse(486, headers=[("X-A", "1"), ("Server", "gw/1"), ("Y", "2")])
        self.out(headers=[("X-B", "1")])
        self.settle()
        self.assertEqual(self.carrier.calls[-1].invite.headers.get("X-B"), "1")
        refusal = self.last(self.alice, 486).headers
        self.assertEqual((refusal.get("X-A"), refusal.get("Server"), refusal.get("Y")), (None, "gw/1", "2"))

    def test_users(self) -> None:
        """A user's policy holds whether the user calls or is called."""
        self.begin(users={"alice": LegPolicy(headers=MARK), "bob": LegPolicy(headers=MARK)})
        call, answered = self.established()
        self.assertEqual(answered.invite.headers.get("X-Mark"), "INVITE of alice from 192.0.2.2")
        self.assertEqual(self.ok(self.alice).headers.get("X-Mark"), "INVITE of bob from 192.0.2.3")
        call.hang_up()
        self.finish()

    def test_trunks(self) -> None:
        """The leg of a trunk that calls has the policy of the trunk, where the route says nothing of it."""
        self.begin()
        b2bua = self.server.b2bua
        b2bua.trunks = FakeTrunks({"carrier": CARRIER})
        b2bua.settings = replace(b2bua.settings, trunk_policies={"carrier": LegPolicy(headers=MARK)})
        self.bob.auto_answer()
        call = self.carrier.call("sip:bob@192.0.2.1")
        self.clock.advance(3.0)
        self.assertEqual(self.ok(self.carrier).headers.get("X-Mark"), "INVITE of bob from 192.0.2.3")
        call.hang_up()
        self.settle()

    def test_route_before_user(self) -> None:
        """What a route says of the caller counts before what is set for the user."""
        other = LegPolicy(headers=HeaderPolicy(rules=(rule("set", "X-Route", "1"),)))
        self.begin(caller=other, users={"alice": LegPolicy(headers=MARK)})
        call, _ = self.talking()
        ok = self.ok(self.alice).headers
        self.assertEqual((ok.get("X-Route"), ok.get("X-Mark")), ("1", None))
        call.hang_up()
        self.finish()

    def test_messages_outside_of_calls(self) -> None:
        """A MESSAGE, and what comes back for it, have what is set for their receivers."""
        marked = LegPolicy(headers=HeaderPolicy(also=("user-agent",), rules=(rule("set", "X-A", "{method}"),)),
                           addresses=AddressPolicy(domain="hidden.example"))  # fmt: skip
        self.begin(marked, LegPolicy(statuses=StatusPolicy(rules=(StatusRule(matches=("4xx",), status=480),))))
        answer = self.alice.message("123", b"hi", headers=[("User-Agent", "phone")])
        self.clock.advance(2.0)
        got = self.last(self.carrier, "MESSAGE")
        self.assertEqual((got.headers.get("X-A"), got.headers.get_all("User-Agent")), ("MESSAGE", ["phone"]))
        self.assertEqual(str(got.from_.uri), "sip:alice@hidden.example")
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 200)
        self.carrier.on_message = lambda message: message.response(404, "gw7")
        answer = self.alice.message("123", b"hi")
        self.clock.advance(2.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual((response.status, response.reason), (480, "Temporarily Unavailable"))
        self.settle()


class StatusTests(PolicyCase):
    """Statuses, phrases and reasons."""

    def refused(self, status: int, reason: str | None = None, *headers: tuple[str, str]) -> Response:
        """Let the carrier refuse; give what Alice is told."""
        self.carrier.on_call = lambda call: call.refuse(status, reason, headers=headers)
        call = self.out()
        self.settle()
        self.assertIs(call.outcome, Outcome.REFUSED)
        found = [one for one in self.alice.seen if isinstance(one, Response) and one.status >= 300]
        return [one for one in found if one.status not in (401, 407)][-1]

    def test_of_the_carrier(self) -> None:
        """What the carrier's statuses mean is known before the caller's policy speaks."""
        told = StatusPolicy(rules=(StatusRule(matches=("486",), reason="All Lines Busy", said_cause=17),))
        self.begin(LegPolicy(heard_statuses=StatusPolicy(rules=(StatusRule(matches=("500",), status=486),))),
                   LegPolicy(statuses=told))  # fmt: skip
        refusal = self.refused(503, "gw7 has no circuits")
        self.assertEqual((refusal.status, refusal.reason), (486, "All Lines Busy"))
        self.assertEqual(refusal.headers.get("Reason"), "Q.850;cause=17")
        record = self.server.records.records[-1]
        self.assertEqual((record.status, record.reason, record.cause), (486, "All Lines Busy", "sip:503"))
        self.assertEqual(record.attempts[-1].status, 503)
        for line in ("500 gw7 has no circuits is taken for 486", "486 Busy Here is told as 486 All Lines Busy"):
            self.assertIn(line, self.explanation())

    def test_reason_decides(self) -> None:
        """A rule may ask for a cause in ISDN's terms."""
        rules = (StatusRule(matches=("480",), cause=17, status=486), StatusRule(matches=("480",), status=404))
        self.begin(LegPolicy(heard_statuses=StatusPolicy(rules=rules)))
        self.assertEqual(self.refused(480, None, ("Reason", "Q.850;cause=17")).status, 486)
        self.assertEqual(self.refused(480).status, 404)

    def test_phrases_and_reasons_are_hidden(self) -> None:
        """Phrases are the RFC's, and reasons have no text."""
        self.begin(caller=LegPolicy(statuses=StatusPolicy(phrases=Phrases.STANDARD, reasons=ReasonForm.CAUSE)))
        refusal = self.refused(486, "gw7 says busy", ("Reason", 'SIP;cause=486;text="gw7"'))
        self.assertEqual((refusal.reason, refusal.headers.get("Reason")), ("Busy Here", "SIP;cause=486"))

    def test_isdn(self) -> None:
        """What has no cause in ISDN's terms gets one: refusals, BYE."""
        self.begin(LegPolicy(statuses=StatusPolicy(reasons=ReasonForm.Q850)),
                   LegPolicy(statuses=StatusPolicy(reasons=ReasonForm.Q850)))  # fmt: skip
        self.assertEqual(self.refused(486).headers.get("Reason"), "Q.850;cause=17")
        self.carrier.auto_answer()
        call = self.out()
        call.hang_up()
        self.settle()
        self.assertEqual(self.last(self.carrier, "BYE").headers.get("Reason"), "Q.850;cause=16")

    def test_ringing(self) -> None:
        """Provisional statuses have rules, too, of both legs."""
        self.begin(LegPolicy(heard_statuses=StatusPolicy(rules=(StatusRule(matches=("180",), status=182),))),
                   LegPolicy(statuses=StatusPolicy(rules=(StatusRule(matches=("182",), reason="Wait"),))))  # fmt: skip
        call, _ = self.talking()
        progress = self.last(self.alice, 182)
        assert isinstance(progress, Response)
        self.assertEqual(progress.reason, "Wait")
        self.assertEqual(self.seen(self.alice, 180), [])
        call.hang_up()
        self.finish()

    def test_inside_of_dialogs(self) -> None:
        """The refusal of a re-INVITE is mapped; what means something to the dialog stays."""
        rules = (StatusRule(matches=("488",), status=606), StatusRule(matches=("4xx", "5xx"), status=481))
        self.begin(caller=LegPolicy(statuses=StatusPolicy(rules=rules)))
        call, answered = self.talking()
        self.carrier.answers_reinvites = False
        for expected in (606,):
            done = call.reinvite()
            self.clock.advance(2.0)
            response = self.successResultOf(done)
            assert response is not None
            self.assertEqual(response.status, expected)
        self.assertTrue(call.is_answered and answered.is_answered)
        call.hang_up()
        self.finish()

    def test_hunting_goes_by_what_is_meant(self) -> None:
        """A refusal that is taken for one of all places ends the search."""
        self.begin(
            users={"bob": LegPolicy(heard_statuses=StatusPolicy(rules=(StatusRule(matches=("486",), status=603),)))}
        )
        self.bob.auto_refuse(486)
        call = self.alice.call("bob")
        self.settle()
        self.assertEqual(call.status, 603)


class IdentityTests(PolicyCase):
    """Who calls."""

    def test_addresses(self) -> None:
        """From, To and P-Asserted-Identity are written as the carrier wants them."""
        addresses = AddressPolicy(numbers=COUNTRY, is_phone=True, domain="pbx.example", to_is_target=True)
        self.begin(LegPolicy(addresses=addresses, trusted=True))
        self.alice.user = "alice"
        invite = self.invited(headers=[("P-Preferred-Identity", "<sip:alice@example.com>")])
        self.assertEqual(str(invite.from_.uri), "sip:alice@pbx.example")
        self.assertEqual(invite.headers.get_all("P-Asserted-Identity"), ["<sip:alice@pbx.example>"])
        self.assertEqual(str(invite.to.uri), f"sip:123@{CARRIER}")

    def test_anonymous(self) -> None:
        """Who asks for privacy is anonymous in From for a carrier that wants so, and named in what only it sees."""
        for hides, expected in ((True, "anonymous.invalid"), (False, "example.com")):
            self.begin(LegPolicy(addresses=AddressPolicy(hides_from=hides), trusted=True))
            invite = self.invited(headers=[("Privacy", "id")])
            self.assertEqual(getattr(invite.from_.uri, "host", ""), expected)
            self.assertEqual(invite.headers.get("P-Asserted-Identity"), "<sip:alice@example.com>")
            self.assertEqual(invite.headers.get("Privacy"), "id")

    def test_trust_by_policy(self) -> None:
        """A leg is trusted, or not, as its policy says; then it is told, in the form that it wants."""
        for policy, expected in (
            (LegPolicy(), []),
            (LegPolicy(trusted=True), ["P-Asserted-Identity"]),
            (LegPolicy(trusted=True, form=IdentityForm.RPID), ["Remote-Party-ID"]),
            (LegPolicy(tells_strangers=True), ["P-Asserted-Identity"]),
            (LegPolicy(trusted=False, tells_strangers=False), []),
        ):
            self.begin(policy)
            invite = self.invited(headers=[("P-Preferred-Identity", "<sip:alice@example.com>")])
            found = [name for name in ("P-Asserted-Identity", "Remote-Party-ID") if name in invite.headers]
            self.assertEqual(found, expected, policy)

    def test_trusted_caller(self) -> None:
        """Who calls in by a trusted leg is believed."""
        self.begin(LegPolicy(trusted=True), users={"bob": LegPolicy(tells_strangers=True)})
        self.bob.auto_answer()
        call = self.carrier.call("sip:bob@192.0.2.1", headers=[("P-Asserted-Identity", "<tel:+4930123>")])
        self.clock.advance(3.0)
        self.assertEqual(self.bob.calls[-1].invite.headers.get("P-Asserted-Identity"), "<tel:+4930123>")
        call.hang_up()
        self.settle()

    def test_rewritten_identity(self) -> None:
        """Rules see what is told of identity, and have the last word."""
        rules = (rule("rewrite", "P-Asserted-Identity", "<sip:+49301@c>", ".*alice.*"),)
        self.begin(LegPolicy(trusted=True, headers=HeaderPolicy(rules=rules)))
        invite = self.invited(headers=[("P-Preferred-Identity", "<sip:alice@example.com>")])
        self.assertEqual(invite.headers.get_all("P-Asserted-Identity"), ["<sip:+49301@c>"])


class PresentationTests(PolicyCase):
    """How sipd presents itself, and what it wants of a leg."""

    def test_user_agent(self) -> None:
        """A leg is told another name, none, or that of the other side; the other leg is told as ever."""
        for policy, expected in (
            (LegPolicy(user_agent="PBX 7"), ["PBX 7"]),
            (LegPolicy(user_agent=""), []),
            (LegPolicy(), ["sipd"]),
            (PRESETS["transparent"], ["phone/1"]),
        ):
            self.begin(policy)
            call = self.out(headers=[("User-Agent", "phone/1")])
            self.assertEqual(self.carrier.calls[-1].invite.headers.get_all("User-Agent"), expected)
            self.assertEqual(self.ok(self.alice).headers.get("User-Agent"), "sipd")
            call.hang_up()
            self.settle()

    def test_name_for_the_caller(self) -> None:
        """The caller's leg has its own name, in answers and in requests of later."""
        self.begin(caller=LegPolicy(user_agent="PBX 7"))
        call, answered = self.talking()
        self.assertEqual(self.ok(self.alice).headers.get_all("User-Agent"), ["PBX 7"])
        answered.reinvite()
        self.clock.advance(2.0)
        self.assertEqual(self.last(self.alice, "INVITE").headers.get_all("User-Agent"), ["PBX 7"])
        call.hang_up()
        self.finish()

    def test_reliable(self) -> None:
        """100rel is offered to a callee, not offered, or demanded."""
        for reliable, supports, requires in (
            (ReliablePolicy.SUPPORTED, True, False),
            (ReliablePolicy.OFF, False, False),
            (ReliablePolicy.REQUIRED, True, True),
        ):
            self.begin(LegPolicy(reliable=reliable))
            invite = self.invited()
            self.assertEqual("100rel" in (invite.headers.get("Supported") or ""), supports)
            self.assertEqual(invite.headers.get("Require") == "100rel", requires)

    def test_reliable_caller(self) -> None:
        """A caller gets no reliable responses where they are off, and is refused without them where they must be."""
        self.begin(caller=LegPolicy(reliable=ReliablePolicy.OFF))
        self.carrier.on_call = lambda call: call.ring(183, body=builders.sdp_answer(call.invite.body, CARRIER))
        call = self.out(headers=[("Supported", "100rel")])
        self.assertNotIn("RSeq", self.last(self.alice, 183).headers)
        call.cancel()
        self.settle()
        self.begin(caller=LegPolicy(reliable=ReliablePolicy.REQUIRED))
        call = self.out()
        self.settle()
        self.assertEqual((call.status, self.last(self.alice, 421).headers.get("Require")), (421, "100rel"))

    def test_session_timer(self) -> None:
        """Each leg has the session timer that its policy wants."""
        self.begin(LegPolicy(session_timer=SessionTimerPolicy(interval=600, minimum=300)))
        invite = self.invited()
        self.assertEqual(invite.headers.get("Session-Expires"), "600")
        self.begin(LegPolicy(session_timer=SessionTimerPolicy(interval=None)))
        self.assertNotIn("Session-Expires", self.invited().headers)
        self.begin(caller=LegPolicy(session_timer=SessionTimerPolicy(minimum=1000)))
        call = self.out(headers=[("Supported", "timer"), ("Session-Expires", "500")])
        self.settle()
        self.assertEqual((call.status, self.last(self.alice, 422).headers.get("Min-SE")), (422, "1000"))

    def test_early_media(self) -> None:
        """The caller's policy decides what it is told, then that of the callee."""
        for policy, caller, expected in (
            (LegPolicy(early_media=EarlyMedia.AS_180), None, 180),
            (None, LegPolicy(early_media=EarlyMedia.AS_180), 180),
            (LegPolicy(early_media=EarlyMedia.AS_180), LegPolicy(early_media=EarlyMedia.PASS), 183),
        ):
            self.begin(policy, caller)
            self.carrier.on_call = lambda call: call.ring(183, body=builders.sdp_answer(call.invite.body, CARRIER))
            call = self.out()
            self.assertEqual(bool(self.seen(self.alice, expected)), True, (policy, caller))
            call.cancel()
            self.settle()

    def test_transfer(self) -> None:
        """What becomes of a REFER is the policy of the leg that it comes from."""
        self.begin(caller=LegPolicy(transfer=TransferPolicy.REFUSE))
        call, _ = self.talking()
        done = call.request("REFER", headers=[("Refer-To", "<sip:bob@example.com>")])
        self.clock.advance(1.0)
        response = self.successResultOf(done)
        assert response is not None
        self.assertEqual(response.status, 603)
        call.hang_up()
        self.finish()


class OtherPartyTests(PolicyCase):
    """Legs that somebody else has asked for."""

    def test_transfer_target(self) -> None:
        """Who is called because of a REFER has the policy of the route that leads there."""
        self.begin(LegPolicy(headers=MARK, addresses=AddressPolicy(domain="pbx.example"), user_agent="PBX"))
        call, _ = self.established()
        call.request("REFER", headers=[("Refer-To", "<sip:123@example.com>")])
        self.clock.advance(5.0)
        invite = self.carrier.calls[-1].invite
        self.assertEqual(invite.headers.get("X-Mark"), "INVITE of  from")
        self.assertEqual(invite.headers.get_all("User-Agent"), ["PBX"])
        self.assertEqual(str(invite.from_.uri), "sip:bob@pbx.example")
        self.assertTrue(self.carrier.calls[-1].is_answered)
        self.carrier.calls[-1].hang_up()
        self.settle()

    def test_after_a_transfer(self) -> None:
        """Who has come in by a transfer keeps the policy of its leg."""
        self.begin(LegPolicy(headers=MARK))
        call, answered = self.established()
        call.request("REFER", headers=[("Refer-To", "<sip:123@example.com>")])
        self.clock.advance(5.0)
        answered.request("INFO", headers=[("Content-Type", "text/plain")], body=b"x")
        self.clock.advance(1.0)
        self.assertEqual(self.last(self.carrier, "INFO").headers.get("X-Mark"), "INFO of bob from 192.0.2.3")
        answered.hang_up()
        self.settle()

    def test_click_to_dial(self) -> None:
        """A call that is asked for from outside of one has the policies of both routes."""
        self.begin(LegPolicy(headers=MARK), users={"bob": LegPolicy(headers=MARK, user_agent="PBX")})
        self.bob.auto_answer()
        refer = builders.request(
            "REFER", "sip:bob@example.com", caller="sip:alice@example.com", callee="sip:bob@example.com",
            via="192.0.2.2:5060", contact="<sip:alice@192.0.2.2>", headers=[("Refer-To", "<sip:123@example.com>")],
        )  # fmt: skip
        self.alice.ask(refer)
        self.clock.advance(10.0)
        first, second = self.bob.calls[-1].invite.headers, self.carrier.calls[-1].invite.headers
        self.assertEqual(first.get_all("User-Agent"), ["PBX"])
        self.assertEqual((first.get("X-Mark"), second.get("X-Mark")), ("INVITE of  from", "INVITE of  from"))
        self.bob.calls[-1].hang_up()
        self.settle()


class PresetTests(PolicyCase):
    """Presets."""

    def test_hide(self) -> None:
        """Nothing of either side's hosts, programs, and private fields is seen on the other."""
        hide = PRESETS["hide"]
        self.begin(hide, hide)
        self.carrier.on_call = lambda call: call.refuse(
            486, f"Busy at {CARRIER}",
            headers=[("Reason", f'SIP;cause=486;text="{CARRIER}"'), ("Warning", f'399 {CARRIER} "x"'),
                     ("Server", "gw/1"), ("X-Route", CARRIER), ("P-Charging-Vector", f"icid-value={CARRIER}")],
        )  # fmt: skip
        private = [("X-Host", "192.0.2.2"), ("Call-Info", "<http://192.0.2.2/>"), ("User-Agent", "Phone 1.2"),
                   ("Subject", "hello")]  # fmt: skip
        body = builders.sdp("192.0.2.2", 4000).replace(b"a=", b"a=tool:Phone 1.2\r\na=x-host:192.0.2.2\r\na=", 1)
        self.out(headers=private, body=body)
        self.settle()
        invite = self.carrier.calls[-1].invite
        for secret in (b"192.0.2.2", b"Phone 1.2"):
            self.assertNotIn(secret, invite.to_bytes().replace(b"c=IN IP4 192.0.2.2", b""))
        self.assertEqual(invite.headers.get("Subject"), "hello")
        refusal = self.last(self.alice, 486)
        self.assertNotIn(CARRIER.encode(), refusal.to_bytes())
        self.assertNotIn(b"gw/1", refusal.to_bytes())
