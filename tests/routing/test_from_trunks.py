"""Calls from trunks: nobody asks for a password, and no rule is open to them that is not meant for them."""

from __future__ import annotations

import re
from typing import Any

from sipd.interfaces import Route
from sipd.routing.choice import Candidate
from sipd.routing.rules import StaticRoute
from sipd.testing.trunks import FakeTrunks
from tests.routing.case import PlanCase, asked, binding


class FromTrunkTests(PlanCase):
    """A call to a user or a number that a carrier brings."""

    def led(self, *rules: StaticRoute, to: str = "sip:100@example.com", **more: Any) -> Route:
        """Give where a call from the trunk `a` leads."""
        table = self.table(*rules, trunks=FakeTrunks({"a": "192.0.2.8", "b": "192.0.2.9"}), **more)
        request = asked(to, trunk="a")
        self.assertFalse(table.needs_authentication(request))
        return self.route(table, request)

    def test_to_a_user(self) -> None:
        """Registered users can be called by a trunk, by themselves and by a rule that leads to them."""
        bindings = [binding("sip:b@192.0.2.2")]
        self.assertEqual(self.led(to="sip:bob@example.com", bindings=bindings).name, "registered")
        rule = StaticRoute(name="in", user=re.compile("100"), to="sip:bob@example.com")
        self.assertIsNone(self.led(rule, bindings=bindings).refusal)

    def test_to_another_trunk(self) -> None:
        """A rule for users leads no trunk to another one, nor anywhere else outside."""
        for rule in (
            StaticRoute(name="out", trunks=(Candidate("b"),)),
            StaticRoute(name="out", to="sip:100@elsewhere.example"),
            StaticRoute(name="out", to="sip:bob@example.com", next_hop=binding("sip:x@192.0.2.7").uri),
            StaticRoute(name="out"),
        ):
            route = self.led(rule, bindings=[binding("sip:b@192.0.2.2")])
            self.assertEqual((route.name, route.refusal), ("registered", (404, "No Such User")), rule)
            self.assertIn("route out: trunk a is none of its from_trunks", route.considered)

    def test_meant_for_it(self) -> None:
        """One that names the trunk, or asks nobody who calls, is open to it."""
        named = StaticRoute(name="out", trunks=(Candidate("b"),), from_trunks=frozenset("a"))
        opened = StaticRoute(name="out", trunks=(Candidate("b"),), authenticate=False)
        for rule in (named, opened):
            ((attempt,),) = self.led(rule).rounds
            self.assertEqual(attempt.trunk, "b")

    def test_refused(self) -> None:
        """A rule that refuses does so to trunks as well."""
        self.assertEqual(self.led(StaticRoute(name="no", refusal=(603, "Decline"))).refusal, (603, "Decline"))
