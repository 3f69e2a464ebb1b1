"""Who somebody is, from leg to leg: who is believed, who is told, and what privacy hides."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from sipd.b2bua.routing import StaticRoute
from sipd.b2bua.trust import HistoryForStrangers, IdentityForm, IdentityPolicy
from sipd.sip.message import Request, Response
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.peer import Peer
from tests.b2bua.support import BridgeCase

GATEWAY, STRANGER = "192.0.2.9", "192.0.2.10"
TRUST = (ipaddress.ip_network(f"{GATEWAY}/32"),)
STRANGERS = (ipaddress.ip_network(f"{STRANGER}/32"),)
ANONYMOUS = "Anonymous <sip:anonymous@anonymous.invalid>"
PAI, PPI, RPID = "P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"
BOSS, TEL = '"The Boss" <sip:boss@carrier.example>', "<tel:+4930123>"
ALICE_AOR = "<sip:alice@example.com>"
A, B, NIL = "a" * 32, "b" * 32, "0" * 32

#: Header fields as somebody sends them.
Sent = Sequence[tuple[str, str]]
#: Header fields as somebody gets them; `None` where there is none of that name.
Got = Mapping[str, list[str] | None]


def policy(
    *,
    form: IdentityForm = IdentityForm.PAI,
    anonymises: bool = True,
    tells_strangers: bool = False,
    history: HistoryForStrangers = HistoryForStrangers.REMOVE,
    relays_media: bool = True,
) -> IdentityPolicy:
    """Give a policy that trusts the gateway."""
    return IdentityPolicy(
        trust=TRUST,
        domains=("example.com",),
        owned={"alice": (parse_uri("tel:+49301"),)},
        form=form,
        anonymises=anonymises,
        tells_strangers=tells_strangers,
        history=history,
        relays_media=relays_media,
    )


class IdentityCase(BridgeCase):
    """Three users, a gateway that is trusted, and a stranger: 7 to 9 and digits lead to one of the latter."""

    identity: IdentityPolicy | None = policy()
    routes = (
        StaticRoute(name="inward", user=re.compile("[a-z]+"), sources=(*TRUST, *STRANGERS), to="sip:{0}@example.com",
                    authenticate=False),
        StaticRoute(name="through", user=re.compile("8.*"), sources=TRUST, to=f"sip:{{0}}@{STRANGER}",
                    authenticate=False),
        StaticRoute(name="back", user=re.compile("9.*"), sources=(*TRUST, *STRANGERS), to=f"sip:{{0}}@{GATEWAY}",
                    authenticate=False),
        StaticRoute(name="gateway", user=re.compile("9.*"), to=f"sip:{{0}}@{GATEWAY}"),
        StaticRoute(name="marked", user=re.compile("7.*"), to=f"sip:{{0}}@{STRANGER}", trusted=True),
        StaticRoute(name="world", user=re.compile("8.*"), to=f"sip:{{0}}@{STRANGER}"),
    )  # fmt: skip

    def setUp(self) -> None:
        """Put the two others there as well."""
        super().setUp()
        self.gateway = self.phone(GATEWAY, "gateway", register=False)
        self.stranger = self.phone(STRANGER, "stranger", register=False)
        self.peers = {peer.user: peer for peer in (self.alice, self.bob, self.carol, self.gateway, self.stranger)}

    def offered(self, caller: str, target: str, fields: Sent = ()) -> Request:
        """Give the INVITE that the callee gets."""
        invite = self.offered_or_none(caller, target, fields)
        assert invite is not None
        return invite

    def offered_or_none(self, caller: str, target: str, fields: Sent = ()) -> Request | None:
        """The same, or `None` where there is none."""
        callee = {"7": "stranger", "8": "stranger", "9": "gateway"}.get(target[0], target)
        call = self.peers[caller].call(target, headers=fields)
        self.clock.advance(1.0)
        calls = self.peers[callee].calls
        invite = calls[-1].invite if calls and not calls[-1].is_outgoing else None
        call.cancel()
        self.clock.advance(60.0)
        self.assertEqual(self.server.leftovers(), [])
        self.status = call.status
        return invite

    def talk(self, caller: str, target: str, fields: Sent = ()) -> tuple[PeerCall, PeerCall]:
        """Give both ends of a call that is answered."""
        callee = self.peers[{"7": "stranger", "8": "stranger", "9": "gateway"}.get(target[0], target)]
        callee.auto_answer(after=1.0)
        call = self.peers[caller].call(target, headers=fields)
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered, call)
        return call, callee.calls[-1]

    def assert_got(self, message: Request | Response, got: Got) -> None:
        """Say what of some fields is in a message."""
        for name, values in got.items():
            self.assertEqual(message.headers.get_all(name) or None, values, name)

    def answer_of(self, peer: Peer, status: int) -> Response:
        """Give the last response of that status to an INVITE."""
        responses = [one for one in self.seen(peer, status) if one.cseq.method == "INVITE"]
        assert isinstance(responses[-1], Response)
        return responses[-1]


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


PAST = "<sip:old@carrier.example?Reason=SIP%3Bcause%3D302>;index=1"
DIVERTED = "<sip:old@carrier.example>;reason=no-answer;counter=2"


class HistoryTests(IdentityCase):
    """History-Info (RFC 7044) and Diversion (RFC 5806)."""

    def test_between_trusted_sides(self) -> None:
        """What was comes as it is, and where sipd sends the call is added."""
        here = "<sip:9001@example.com>"
        fields = [("History-Info", f"{PAST}, {here};index=1.1;mp=1"), ("Diversion", DIVERTED)]
        self.assert_got(
            self.offered("gateway", "9001", fields),
            {
                "History-Info": [f"{PAST}, {here};index=1.1;mp=1", f"<sip:9001@{GATEWAY}>;index=1.1.1;mp=1.1"],
                "Diversion": [DIVERTED],
            },
        )

    def test_what_is_missing_is_added(self) -> None:
        """Who wants a history, and has none, or one that ends elsewhere, gets it from here on."""
        added = [f"<sip:9001@{GATEWAY}>;index=1.1;mp=1"]
        self.assert_got(
            self.offered("alice", "9001", [("Supported", "histinfo")]),
            {"History-Info": ["<sip:9001@example.com>;index=1", *added]},
        )
        self.assert_got(
            self.offered("gateway", "9001", [("History-Info", PAST)]),
            {"History-Info": [PAST, "<sip:9001@example.com>;index=1.1", f"<sip:9001@{GATEWAY}>;index=1.1.1;mp=1.1"]},
        )
        self.assert_got(self.offered("alice", "9001"), {"History-Info": None})

    def test_strangers(self) -> None:
        """Others hear nothing of it."""
        fields = [("History-Info", PAST), ("Diversion", DIVERTED), ("Supported", "histinfo")]
        for target in ("8001", "bob"):
            self.assert_got(self.offered("gateway", target, fields), {"History-Info": None, "Diversion": None})


class ContactHistoryTests(IdentityCase):
    """Users whose phones are in the trust domain."""

    identity = IdentityPolicy(trust=(ipaddress.ip_network("192.0.2.0/24"),), domains=("example.com",))

    def test_contacts_of_a_user(self) -> None:
        """A contact is another place for the same user; a route that leads to a user is another user first."""
        wish = [("Supported", "histinfo")]
        self.assert_got(
            self.offered("alice", "bob", wish),
            {"History-Info": ["<sip:bob@example.com>;index=1", "<sip:bob@192.0.2.3:5060>;index=1.1;rc=1"]},
        )


class OtherHistoryTests(IdentityCase):
    """Strangers that hear of it without names."""

    identity = policy(history=HistoryForStrangers.ANONYMISE)

    def test_anonymised(self) -> None:
        """The shape of the past stays, its places go; but not where nothing is to be hidden."""
        fields = [("History-Info", f"{PAST}, <sip:8001@example.com>;index=1.1;mp=1"), ("Diversion", DIVERTED)]
        nobody = "<sip:anonymous@anonymous.invalid>"
        self.assert_got(
            self.offered("gateway", "8001", fields),
            {
                "History-Info": [f"{nobody};index=1", f"{nobody};index=1.1;mp=1"],
                "Diversion": [f"{nobody};reason=no-answer;counter=2"],
            },
        )
        self.assert_got(self.offered("gateway", "8001", [*fields, ("Privacy", "none")]), {"Diversion": [DIVERTED]})


class OpenHistoryTests(IdentityCase):
    """Strangers that hear of what nobody wants to hide."""

    identity = policy(history=HistoryForStrangers.PASS)

    def test_private_entries(self) -> None:
        """An entry that is private is anonymised; all are, if the caller asks for that."""
        nobody = "<sip:anonymous@anonymous.invalid>"
        private = "<sip:secret@carrier.example?Privacy=history>;index=1.1;mp=1"
        fields = [("History-Info", f"{PAST}, {private}"), ("Diversion", f"{DIVERTED};privacy=full")]
        self.assert_got(
            self.offered("gateway", "8001", fields),
            {
                "History-Info": [PAST, f"{nobody};index=1.1;mp=1"],
                "Diversion": [f"{nobody};reason=no-answer;counter=2"],
            },
        )
        for wish in ("history", "header", "user"):
            with self.subTest(wish):
                invite = self.offered("gateway", "8001", [*fields, ("Privacy", wish)])
                self.assertNotIn(b"carrier.example", invite.to_bytes())

    def test_what_nobody_can_read(self) -> None:
        """An entry that is malformed stays here."""
        fields = [("History-Info", f"<sip:x@carrier.example>, {PAST}"), ("Diversion", '"open <sip:x@y>')]
        self.assert_got(self.offered("gateway", "8001", fields), {"History-Info": [PAST], "Diversion": None})


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
