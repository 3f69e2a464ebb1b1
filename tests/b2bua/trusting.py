"""A B2BUA with a gateway that is trusted, and a stranger, on a simulated network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

from sipd.b2bua.trust import HistoryForStrangers, IdentityForm, IdentityPolicy
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.sip.uri import parse_uri
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

#: Who is called where a number begins with that digit.
CALLEES = {"6": "bob", "7": "stranger", "8": "stranger", "9": "gateway"}

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
        owned={"alice": (parse_uri("tel:+49301"), parse_uri("sip:sales@example.com"))},
        form=form,
        anonymises=anonymises,
        tells_strangers=tells_strangers,
        history=history,
        relays_media=relays_media,
    )


class IdentityCase(BridgeCase):
    """Three users, a gateway that is trusted, and a stranger; numbers lead to them by their first digit."""

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
        StaticRoute(name="service", user=re.compile("6.*"), to="sip:bob@example.com"),
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
        callee = CALLEES.get(target[0], target)
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
        callee = self.peers[CALLEES.get(target[0], target)]
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
