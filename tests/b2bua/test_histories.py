"""Where a call has been before, from leg to leg: History-Info and Diversion."""

from __future__ import annotations

import ipaddress

from sipd.b2bua.trust import HistoryForStrangers, IdentityPolicy
from tests.b2bua.trusting import (
    GATEWAY,
    IdentityCase,
    policy,
)

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

    def test_contacts_that_failed(self) -> None:
        """The second phone of a user is told what came of the first one (RFC 7044 section 9.3)."""
        self.bob.auto_refuse(486)
        desk = self.phone("192.0.2.5", "bob", register=False)
        desk.contact = "<sip:bob@192.0.2.5:5060>;q=0.1"
        desk.register()
        self.clock.advance(1.0)
        call = self.alice.call("bob", headers=[("Supported", "histinfo")])
        self.clock.advance(2.0)
        self.assert_got(
            desk.calls[-1].invite,
            {
                "History-Info": [
                    "<sip:bob@example.com>;index=1",
                    "<sip:bob@192.0.2.3:5060?Reason=SIP%3Bcause%3D486>;index=1.1;rc=1",
                    "<sip:bob@192.0.2.5:5060>;index=1.2;rc=1",
                ]
            },
        )
        call.cancel()
        self.clock.advance(60.0)

    def test_another_user(self) -> None:
        """A route that leads to a user of ours maps the call to that user first."""
        self.assert_got(
            self.offered("alice", "666", [("Supported", "histinfo")]),
            {
                "History-Info": [
                    "<sip:666@example.com>;index=1",
                    "<sip:bob@example.com>;index=1.1;mp=1",
                    "<sip:bob@192.0.2.3:5060>;index=1.1.1;rc=1.1",
                ]
            },
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
