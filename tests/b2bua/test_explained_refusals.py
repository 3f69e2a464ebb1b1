"""Every status that the code refuses with stands in the explanation of the call that is refused."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sipd.errors import RequestRefusedError
from sipd.interfaces import RoutingRequest
from tests.b2bua.planned import NotedGate, PlannedRouter, attempt_at
from tests.b2bua.support import BOB, BridgeCase

_SIPD = Path(__file__).resolve().parents[2] / "sipd"
#: Who refuses calls, or has others refuse them.
_PACKAGES = ("accounts", "b2bua", "guards", "registrar", "routing", "trunks", "ua")
#: Challenges are no refusals: the same call comes again.
_CHALLENGES = frozenset((401, 407))


def statuses() -> Iterator[int]:
    """Give the final statuses that stand as numbers where these packages refuse something, or choose a status."""
    for package in _PACKAGES:
        for path in sorted((_SIPD / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                values: list[ast.expr] = []
                if isinstance(node, ast.Call):
                    values = [*node.args[:1], *(one.value for one in node.keywords if one.arg == "status")]
                elif isinstance(node, ast.Tuple):
                    values = node.elts[:1]
                for value in values:
                    # Numbers of three digits at these places are statuses; 2xx and 1xx refuse nobody.
                    if isinstance(value, ast.Constant) and type(value.value) is int and 300 <= value.value <= 699:
                        yield value.value


class RefusingGate(NotedGate):
    """Refuses every call with the next status."""

    def __init__(self, remaining: list[int]) -> None:
        super().__init__()
        self.remaining = remaining

    def call_offered(self, asked: RoutingRequest) -> None:
        """See `IGate`."""
        raise RequestRefusedError("For This Reason", status=self.remaining[0])


class RefusalTests(BridgeCase):
    """Refusals of all kinds."""

    def check(self, status: int) -> None:
        """Make a call, which must be refused with that status and say so."""
        call = self.alice.call("bob")
        self.clock.advance(3.0)
        self.assertEqual(call.status, status)
        self.settle()
        record = self.server.records.records[-1]
        self.assertEqual((record.status, record.ended_by), (status, "sipd"))
        self.assertRegex(self.explanation(), rf" ended +{status} For This Reason\n?")

    def test_every_status(self) -> None:
        """Whatever status it is, and whether it comes before the caller is asked or from the route, it is explained."""
        found = sorted(set(statuses()) - _CHALLENGES)
        self.assertLess({403, 404, 408, 480, 486, 488, 503}, set(found))
        self.server.b2bua.gate = gate = RefusingGate(found)
        for status in found:
            gate.remaining = [status]
            self.check(status)
        self.server.b2bua.gate = None
        for status in found:
            self.server.b2bua.router = PlannedRouter(refusal=(status, "For This Reason"))
            self.check(status)

    def test_of_an_attempt(self) -> None:
        """What an attempt is refused for is explained, and so is what the caller is told of it."""
        for status in sorted(set(statuses()) - _CHALLENGES):
            self.server.b2bua.router = PlannedRouter((attempt_at(BOB),))
            self.bob.auto_refuse(status)
            self.alice.call("bob")
            self.clock.advance(3.0)
            self.settle()
            self.assertRegex(self.explanation(), rf"attempt-ended\s.*{self.server.records.records[-1].status} ")
