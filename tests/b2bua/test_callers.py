"""Who the callee is told that calls, where routes and trunks say another number."""

from __future__ import annotations

from typing import Any

from sipd.b2bua.trust import IdentityPolicy
from sipd.sip.message import Request
from tests.b2bua.planned import PlannedRouter, attempt_at
from tests.b2bua.support import BOB, BridgeCase


class CallerTests(BridgeCase):
    """The number of the attempt stands in From, and in what is asserted."""

    identity = IdentityPolicy(domains=("example.com",))

    def invited(self, headers: tuple[tuple[str, str], ...] = (), **more: Any) -> Request:
        """Let Alice call Bob by an attempt of that kind; give the INVITE that he gets."""
        self.server.b2bua.router = PlannedRouter((attempt_at(BOB, **more),))
        self.bob.auto_refuse(486)
        self.alice.call("bob", headers=headers)
        self.clock.advance(3.0)
        self.finish()
        (request,) = self.seen(self.bob, "INVITE")
        assert isinstance(request, Request)
        return request

    def test_number_and_name(self) -> None:
        """Both are what the attempt says; the host stays the caller's."""
        request = self.invited(caller="+4930123", caller_name="The Shop")
        self.assertEqual(str(request.from_.uri), "sip:+4930123@example.com")
        self.assertEqual(request.from_.display_name, "The Shop")

    def test_what_the_caller_says(self) -> None:
        """Without a word of the attempt they are the caller's own."""
        self.assertEqual(str(self.invited().from_.uri), "sip:alice@example.com")

    def test_asserted(self) -> None:
        """Who is trusted is told the same in P-Asserted-Identity."""
        self.server.b2bua.router = PlannedRouter()
        request = self.invited(
            headers=(("P-Asserted-Identity", "<sip:alice@example.com>"),), caller="+4930123", trusted=True
        )
        self.assertEqual(str(request.from_.uri), "sip:+4930123@example.com")
        for identity in request.headers.get_all("P-Asserted-Identity"):
            self.assertIn("+4930123@", identity)

    def test_anonymous(self) -> None:
        """Nobody's number does not become somebody's."""
        self.server.b2bua.router = PlannedRouter((attempt_at(BOB, caller="+4930123"),))
        self.alice.aor = "sip:anonymous@anonymous.invalid"
        self.bob.auto_refuse(486)
        self.alice.call("bob")
        self.clock.advance(3.0)
        self.finish()
        (request,) = self.seen(self.bob, "INVITE")
        self.assertEqual(str(request.from_.uri), "sip:anonymous@anonymous.invalid")
