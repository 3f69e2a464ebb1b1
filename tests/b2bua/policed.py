"""A B2BUA whose users call a carrier, by a route with policies for both legs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sipd.policies import HeaderAction, HeaderRule, LegPolicy, Template
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.testing.calls import PeerCall
from sipd.testing.peer import Peer
from tests.b2bua.support import BridgeCase

CARRIER = "192.0.2.9"


def rule(action: str, name: str, value: str | None = None, match: str | None = None, **more: Any) -> HeaderRule:
    """Make a rule for header fields."""
    return HeaderRule(
        action=HeaderAction(action),
        name=name,
        value=None if value is None else Template(value),
        pattern=None if match is None else re.compile(match),
        **more,
    )


class PolicyCase(BridgeCase):
    """Call `begin` in each test."""

    def setUp(self) -> None:
        """Wait for the policies."""

    def begin(
        self,
        policy: LegPolicy | None = None,
        caller: LegPolicy | None = None,
        users: Mapping[str, LegPolicy] | None = None,
    ) -> None:
        """Make the network: numbers lead to the carrier, which calls users by their names.

        Args:
            policy: of the carrier's leg, whoever calls.
            caller: of the leg of who calls the carrier.
            users: of the legs of users, by their names.
        """
        self.routes = (
            StaticRoute(name="out", user=re.compile(r"\+?\d+"), to=f"sip:{{0}}@{CARRIER}", policy=policy,
                        caller_policy=caller),
            StaticRoute(name="in", user=re.compile("[a-z]+"), host=re.compile(r"192\.0\.2\.1"), authenticate=False,
                        to="sip:{0}@example.com", caller_policy=policy),
        )  # fmt: skip
        super().setUp()
        b2bua = self.server.b2bua
        b2bua.settings = replace(b2bua.settings, user_policies=users or {})
        self.carrier = self.phone(CARRIER, "carrier", register=False)
        self.carrier.auto_answer(after=1.0)

    def out(self, number: str = "123", *, wait: float = 3.0, **options: Any) -> PeerCall:
        """Let Alice call the carrier."""
        call = self.alice.call(number, **options)
        self.clock.advance(wait)
        return call

    def talking(self, **options: Any) -> tuple[PeerCall, PeerCall]:
        """Give both ends of a call to the carrier that is answered."""
        call = self.out(**options)
        self.assertTrue(call.is_answered, call)
        return call, self.carrier.calls[-1]

    def invited(self, **options: Any) -> Request:
        """Give the INVITE that the carrier gets, and end the call."""
        call = self.out(**options)
        invite = self.carrier.calls[-1].invite
        call.hang_up()
        self.settle()
        return invite

    def last(self, peer: Peer, kind: str | int) -> Request | Response:
        """Give the last message of a method or status that came to a peer."""
        return self.seen(peer, kind)[-1]

    def ok(self, peer: Peer) -> Response:
        """Give the last 2xx to an INVITE that came to a peer."""
        found = [one for one in self.seen(peer, 200) if one.cseq.method == "INVITE"][-1]
        assert isinstance(found, Response)
        return found
