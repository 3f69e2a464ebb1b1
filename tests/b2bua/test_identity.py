"""Who somebody is, from leg to leg: who is believed, who is told, and what privacy hides."""

from __future__ import annotations

from sipd.b2bua.trust import IdentityForm
from sipd.sip.message import Request
from sipd.testing import builders
from tests.b2bua.trusting import (
    ALICE_AOR,
    ANONYMOUS,
    BOSS,
    NIL,
    PAI,
    PPI,
    RPID,
    TEL,
    A,
    Got,
    IdentityCase,
    Sent,
    policy,
)


class AssertionTests(IdentityCase):
    """P-Asserted-Identity and Remote-Party-ID (RFC 3325 section 5)."""

    def test_table(self) -> None:
        """Only who is trusted is believed, and told."""
        asserted, preferred = [(PAI, BOSS), (PAI, TEL)], [(PPI, BOSS), (PPI, "<tel:+49301>")]
        rpid = [(RPID, f"{BOSS};party=calling;screen=yes;privacy=off")]
        diverted = [("Diversion", "<sip:x@y.example>;reason=no-answer"), ("History-Info", "<sip:x@y.example>;index=1")]
        for caller, target, fields, got in (
            # What a trusted peer says goes to trusted peers, and to nobody else.
            ("gateway", "9001", asserted, {PAI: [BOSS, TEL]}),
            ("gateway", "bob", asserted, {PAI: None}),
            ("gateway", "8001", asserted, {PAI: None}),
            ("gateway", "9001", [(PAI, f"{BOSS}, {TEL}, <sip:second@carrier.example>")], {PAI: [BOSS, TEL]}),
            ("gateway", "9001", [(PAI, "<sip:broken")], {PAI: None}),
            ("gateway", "9001", [], {PAI: None}),
            # The older form says the same, if somebody has looked at it, and speaks of the caller.
            ("gateway", "9001", rpid, {PAI: [BOSS], RPID: None, "Privacy": None}),
            ("gateway", "9001", [(RPID, f"{BOSS};party=calling;screen=yes;privacy=full")],
             {PAI: [BOSS], "Privacy": ["id"]}),
            ("gateway", "9001", [(RPID, f"{BOSS};party=calling;screen=no")], {PAI: None}),
            ("gateway", "9001", [(RPID, f"{BOSS};party=called;screen=yes")], {PAI: None}),
            ("gateway", "bob", rpid, {PAI: None, RPID: None}),
            # What anybody else says of themselves goes nowhere.
            ("stranger", "9001", [*asserted, *rpid, *preferred, *diverted],
             {PAI: None, RPID: None, PPI: None, "Diversion": None, "History-Info": None}),
            ("stranger", "bob", [*asserted, *diverted], {PAI: None, "Diversion": None, "History-Info": None}),
            # Of a user sipd knows who it is; the user may choose.
            ("alice", "9001", [], {PAI: [ALICE_AOR]}),
            ("alice", "9001", [*asserted, *rpid, *diverted],
             {PAI: [ALICE_AOR], RPID: None, "Diversion": None, "History-Info": None}),
            ("alice", "9001", [(PPI, "<sip:bob@example.com>")], {PAI: [ALICE_AOR], PPI: None}),
            ("alice", "9001", preferred, {PAI: ["<tel:+49301>"], PPI: None}),
            ("alice", "9001", [(PPI, '"Me" <sip:alice@example.com>'), (PPI, "<tel:+49-301>")],
             {PAI: [ALICE_AOR, "<tel:+49-301>"]}),
            ("alice", "9001", [(PPI, "<sip:broken")], {PAI: [ALICE_AOR]}),
            ("alice", "7001", [], {PAI: [ALICE_AOR]}),
            ("alice", "8001", preferred, {PAI: None, PPI: None}),
            ("alice", "bob", asserted, {PAI: None}),
        ):  # fmt: skip
            with self.subTest(f"{caller} {target} {fields}"):
                self.assert_got(self.offered(caller, target, fields), got)

    def test_from(self) -> None:
        """A user calls under an address of their own, or under none."""
        for name, fields, status, got in (
            ("sales", [], 487, ["<sip:sales@example.com>"]),
            ("sales", [(PPI, ALICE_AOR)], 487, [ALICE_AOR]),
            ("anonymous", [("Privacy", "id")], 487, [ALICE_AOR]),
            ("Anonymous", [("Privacy", "user;critical")], 487, [ALICE_AOR]),
            ("anonymous", [], 403, None),
            ("anonymous", [("Privacy", "none;id")], 403, None),
            ("bob", [("Privacy", "id")], 403, None),
        ):
            with self.subTest(f"{name} {fields}"):
                self.gateway.calls.clear()
                self.alice.aor = f"sip:{name}@example.com"
                invite = self.offered_or_none("alice", "9001", fields)
                self.assertEqual(self.status, status)
                self.assertEqual(invite and invite.headers.get_all(PAI), got)

    def test_answers(self) -> None:
        """The callee's side is told of, too: of a user that it is that user, of a trusted peer what it asserts."""
        self.gateway.fields = ((PAI, BOSS),)
        self.stranger.fields = ((PAI, BOSS),)
        for caller, target, expected in (
            ("gateway", "bob", ["<sip:bob@example.com>"]),
            ("stranger", "bob", None),
            ("gateway", "8001", None),
            ("alice", "9001", None),
            ("gateway", "9001", [BOSS]),
        ):
            with self.subTest(f"{caller} {target}"):
                call, _ = self.talk(caller, target)
                self.assert_got(self.answer_of(self.peers[caller], 200), {PAI: expected})
                call.hang_up()
                self.clock.advance(60.0)

    def test_connected_identity_changes(self) -> None:
        """A re-INVITE of a trusted peer says that somebody else is there now."""
        call, answered = self.talk("gateway", "9001", [(PAI, BOSS)])
        self.gateway.fields = ((PAI, TEL),)
        answered.reinvite()
        self.clock.advance(5.0)
        reinvite = [one for one in self.seen(self.gateway, "INVITE") if one.to.tag == call.local_tag]
        self.assert_got(reinvite[-1], {PAI: [TEL]})
        call.hang_up()
        self.settle()

    def test_connected_identity_alone_changes(self) -> None:
        """Who is there now is told where nothing else changes: in an UPDATE, or in a re-INVITE that repeats itself."""
        allow = ("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE")
        self.gateway.fields = (allow, (PAI, BOSS))
        call, answered = self.talk("gateway", "9001")
        body = builders.sdp_answer(answered.invite.body, *self.gateway.media)
        for method, now, expected in (
            ("UPDATE", TEL, [[TEL]]),
            ("UPDATE", TEL, []),
            ("INVITE", BOSS, [[BOSS]]),
            ("INVITE", BOSS, []),
        ):
            with self.subTest(f"{method} {now}"):
                # What is said without saying who it is does not change who it is.
                answered.request("INFO")
                self.clock.advance(1.0)
                seen = len(self.gateway.seen)
                self.gateway.fields = (allow, (PAI, now))
                _ = answered.request("UPDATE") if method == "UPDATE" else answered.reinvite(body)
                self.clock.advance(5.0)
                told = [one for one in self.gateway.seen[seen:] if isinstance(one, Request) and one.method != "ACK"]
                self.assertEqual([one.headers.get_all(PAI) for one in told], expected)
                self.assertTrue(all(one.to.tag == call.local_tag for one in told))
        call.hang_up()
        self.settle()

    def test_strangers_cannot_change_it(self) -> None:
        """Nobody is told what somebody says who is not believed."""
        self.stranger.fields = (("Allow", "INVITE, ACK, CANCEL, BYE, UPDATE"),)
        call, answered = self.talk("gateway", "8001")
        seen = len(self.gateway.seen)
        answered.request("UPDATE", headers=[(PAI, BOSS)])
        self.clock.advance(5.0)
        self.assertEqual(len(self.gateway.seen), seen)
        call.hang_up()
        self.settle()


class FormTests(IdentityCase):
    """Peers that know the older form only."""

    identity = policy(form=IdentityForm.RPID)

    def test_remote_party(self) -> None:
        """Who calls, and who answers, is told in Remote-Party-ID, privacy and all."""
        self.assert_got(
            self.offered("alice", "9001"),
            {PAI: None, RPID: [f"{ALICE_AOR};party=calling;screen=yes;privacy=off"]},
        )
        self.assert_got(
            self.offered("gateway", "9001", [(PAI, BOSS), ("Privacy", "id")]),
            {PAI: None, RPID: [f"{BOSS};party=calling;screen=yes;privacy=full"], "Privacy": ["id"]},
        )
        call, _ = self.talk("gateway", "bob")
        expected = ["<sip:bob@example.com>;party=called;screen=yes;privacy=off"]
        self.assert_got(self.answer_of(self.gateway, 200), {RPID: expected})
        call.hang_up()
        self.settle()


class BothFormsTests(IdentityCase):
    """Peers of both kinds."""

    identity = policy(form=IdentityForm.BOTH)

    def test_both(self) -> None:
        """Each is told in its own way."""
        expected = {PAI: [ALICE_AOR], RPID: [f"{ALICE_AOR};party=calling;screen=yes;privacy=off"]}
        self.assert_got(self.offered("alice", "9001"), expected)


class NobodyTrustedTests(IdentityCase):
    """As long as nobody is trusted."""

    identity = None

    def test_nothing_crosses(self) -> None:
        """Whatever comes, and from wherever: nobody is told anything but From."""
        fields = [(PAI, BOSS), (PPI, BOSS), (RPID, f"{BOSS};screen=yes"), ("Diversion", BOSS)]
        fields.append(("History-Info", f"{BOSS};index=1"))
        for caller, target in (("gateway", "9001"), ("gateway", "bob"), ("stranger", "bob"), ("alice", "8001")):
            with self.subTest(f"{caller} {target}"):
                invite = self.offered(caller, target, fields)
                self.assert_got(invite, dict.fromkeys([PAI, PPI, RPID, "Diversion", "History-Info"]))


class PrivacyTests(IdentityCase):
    """Privacy (RFC 3323 section 5, RFC 3325 section 7)."""

    def test_table(self) -> None:
        """A trusted side is told all, and asked to keep it; for any other one it is done here."""
        telling = [("Subject", "us"), ("Organization", "ACME"), ("Reply-To", "<sip:x@y>"), ("Call-Info", "<http://x>")]
        own, boss = "sip:alice@example.com", "sip:gateway@example.com"
        for caller, target, wishes, from_, left in (
            ("alice", "8001", "id", ANONYMOUS, None),
            ("alice", "8001", "user", ANONYMOUS, None),
            ("alice", "8001", "header", f"<{own}>", None),
            ("alice", "8001", "session", f"<{own}>", None),
            ("alice", "8001", "none", f"<{own}>", ["none"]),
            ("alice", "8001", "id;critical", ANONYMOUS, None),
            ("alice", "8001", "USER; x-new", ANONYMOUS, ["x-new"]),
            ("alice", "8001", "header;user;id;session;history;critical", ANONYMOUS, None),
            ("alice", "8001", '"?', ANONYMOUS, None),
            ("alice", "9001", "user;id", f"<{own}>", ["user;id"]),
            ("alice", "9001", "none", f"<{own}>", ["none"]),
            ("gateway", "8001", "id", f"<{boss}>", None),
            ("gateway", "8001", "user", ANONYMOUS, None),
            ("gateway", "bob", "user", ANONYMOUS, None),
            ("gateway", "9001", "user;id", f"<{boss}>", ["user;id"]),
            ("stranger", "9001", "id", "<sip:stranger@example.com>", ["id"]),
        ):
            fields = [("Privacy", wishes), *telling, *([(PAI, BOSS)] if caller == "gateway" else [])]
            with self.subTest(f"{caller} {target} {wishes}"):
                invite = self.offered(caller, target, fields)
                self.assertEqual(str(invite.from_.without_parameters()), from_)
                is_hidden = "user" in wishes.lower() or "?" in wishes
                known = is_hidden and not target.startswith("9")
                got: Got = {name: None if known else [value] for name, value in telling}
                self.assert_got(invite, {**got, "Privacy": left})
                if from_ == ANONYMOUS:
                    self.assertNotIn(caller.encode(), invite.to_bytes())

    def test_none_tells_strangers(self) -> None:
        """`none` means that an identity is not to be held back, from anybody (RFC 3325 section 7)."""
        self.assert_got(self.offered("gateway", "8001", [(PAI, BOSS), ("Privacy", "none")]), {PAI: [BOSS]})
        self.assert_got(self.offered("alice", "8001", [("Privacy", "none")]), {PAI: [ALICE_AOR]})

    def test_critical(self) -> None:
        """Who would rather not call than be seen does not call, unless a trusted side sees to it."""
        self.assertIsNone(self.offered_or_none("alice", "8001", [("Privacy", "user;x-new;critical")]))
        self.assertEqual(self.status, 500)
        self.assertIn("500 Privacy Not Possible: x-new", self.explanation())
        self.assert_got(self.offered("alice", "9001", [("Privacy", "x-new;critical")]), {"Privacy": ["x-new;critical"]})

    def test_of_the_callee(self) -> None:
        """Who is called may ask for it as well."""
        self.bob.fields = (("Privacy", "user"), ("Organization", "ACME"))
        for caller, got in (
            ("alice", {"Privacy": None, "Organization": None, PAI: None}),
            ("gateway", {"Privacy": ["user"], "Organization": ["ACME"], PAI: ["<sip:bob@example.com>"]}),
        ):
            with self.subTest(caller):
                call, _ = self.talk(caller, "bob")
                self.assert_got(self.answer_of(self.peers[caller], 200), got)
                call.hang_up()
                self.clock.advance(60.0)

    def test_holds_for_the_call(self) -> None:
        """What was asked for once holds in what follows, in both directions."""
        call, answered = self.talk("alice", "8001", [("Privacy", "user")])
        self.alice.fields = (("Subject", "us"),)
        call.reinvite()
        self.clock.advance(5.0)
        reinvite = self.seen(self.stranger, "INVITE")[-1]
        self.assertIsNotNone(reinvite.to.tag)
        self.assertEqual(reinvite.headers.get("Subject"), None)
        self.assertEqual(reinvite.from_.uri, answered.invite.from_.uri)
        call.hang_up()
        self.settle()
        self.assertNotIn(b"alice", b"".join(one.to_bytes() for one in self.stranger.seen))


class OpenPrivacyTests(IdentityCase):
    """Where callers are not made anonymous, media is not relayed, and strangers are told."""

    identity = policy(anonymises=False, tells_strangers=True, relays_media=False)

    def test_table(self) -> None:
        """What is not done is asked of the next one; an identity goes to all who are not to be kept from it."""
        for caller, target, wishes, got in (
            ("gateway", "8001", "", {PAI: [BOSS], "Privacy": None}),
            ("gateway", "8001", "user", {PAI: None, "Privacy": ["user"]}),
            ("gateway", "8001", "id;session", {PAI: None, "Privacy": ["session"]}),
            ("alice", "8001", "", {PAI: [ALICE_AOR]}),
            ("alice", "bob", "", {PAI: [ALICE_AOR]}),
            ("alice", "bob", "id", {PAI: None, "Privacy": None}),
            ("stranger", "bob", "", {PAI: None}),
        ):
            fields = [(PAI, BOSS), *([("Privacy", wishes)] if wishes else [])]
            with self.subTest(f"{caller} {target} {wishes}"):
                invite = self.offered(caller, target, fields)
                self.assert_got(invite, got)
                self.assertNotEqual(str(invite.from_.without_parameters()), ANONYMOUS)

    def test_critical(self) -> None:
        """What cannot be done refuses a call for which it is critical."""
        for wish in ("user", "session"):
            with self.subTest(wish):
                self.assertIsNone(self.offered_or_none("alice", "8001", [("Privacy", f"{wish};critical")]))
                self.assertEqual(self.status, 500)


class ReasonTests(IdentityCase):
    """Reason in answers (RFC 6432)."""

    def test_refusal_says_why(self) -> None:
        """What the telephone network said of it reaches the caller."""
        reason = 'Q.850;cause=17;text="User busy"'
        self.gateway.on_call = lambda call: call.later(0.1, lambda: call.refuse(486, headers=[("Reason", reason)]))
        call = self.alice.call("9001")
        self.clock.advance(2.0)
        self.assertEqual(call.status, 486)
        self.assert_got(self.answer_of(self.alice, 486), {"Reason": [reason]})
        self.settle()


class MessageTests(IdentityCase):
    """MESSAGE outside of calls."""

    def written(self, caller: str, target: str, fields: Sent = ()) -> Request:
        """Give the message that its reader gets."""
        reader = self.peers[{"8": "stranger", "9": "gateway"}.get(target[0], target)]
        self.peers[caller].message(target, headers=fields)
        self.clock.advance(60.0)
        self.assertEqual(self.server.leftovers(), [])
        return reader.messages[-1]

    def test_table(self) -> None:
        """Who writes is told, and hidden, as of who calls."""
        for caller, target, fields, from_, got in (
            ("alice", "9001", [], ALICE_AOR, {PAI: [ALICE_AOR]}),
            ("alice", "9001", [(PPI, "<tel:+49301>"), ("Privacy", "id")], ALICE_AOR,
             {PAI: ["<tel:+49301>"], PPI: None, "Privacy": ["id"]}),
            ("alice", "8001", [("Privacy", "user"), ("Subject", "us")], ANONYMOUS,
             {PAI: None, "Privacy": None, "Subject": None}),
            ("alice", "bob", [(PAI, BOSS), ("Subject", "us")], ALICE_AOR, {PAI: None, "Subject": ["us"]}),
            ("gateway", "bob", [(PAI, BOSS)], "<sip:gateway@example.com>", {PAI: None}),
            ("gateway", "9001", [(PAI, BOSS)], "<sip:gateway@example.com>", {PAI: [BOSS]}),
            ("alice", "bob", [("Session-ID", f"{A};remote={NIL}")], ALICE_AOR, {"Session-ID": [f"{A};remote={NIL}"]}),
        ):  # fmt: skip
            with self.subTest(f"{caller} {target} {fields}"):
                message = self.written(caller, target, fields)
                self.assertEqual(str(message.from_.without_parameters()), from_)
                self.assertTrue(message.from_.tag)
                self.assert_got(message, got)

    def test_critical(self) -> None:
        """A message that would be seen by more than its writer likes is not sent."""
        answer = self.alice.message("8001", headers=[("Privacy", "x-new;critical")])
        self.clock.advance(2.0)
        response = self.successResultOf(answer)
        assert response is not None
        self.assertEqual(response.status, 500)
        self.assertEqual(self.stranger.messages, [])
