"""What a party is told when the way to the other one fails: never where that is (topology hiding, RFC 7092)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sipd.errors import LocalError
from sipd.interfaces import IMediaSession
from sipd.routing.rules import StaticRoute
from sipd.sip.locate import Transport
from tests.b2bua.support import ALICE, SIPD, BridgeCase

CARRIER, DESK = "gw7.carrier.example", "192.0.2.5"


class HiddenTests(BridgeCase):
    """Alice calls where nobody can be reached; whatever she is sent names no place of the other side."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="out", user=re.compile("away"), to=f"sip:a@{CARRIER}", authenticate=False),
    )

    def move_bob(self) -> None:
        """Let Bob have a phone on a connection instead."""
        self.bob.unregister()
        self.clock.advance(1.0)
        self.bob = self.phone(DESK, "bob", transport=Transport.TCP)

    def lose_bob(self) -> None:
        """Let it be gone."""
        self.bob.close()
        self.clock.advance(1.0)

    def assert_hidden(self, *texts: str) -> None:
        """Check everything that was sent to Alice."""
        told = [event.data for event in self.network.log if (event.source[0], event.destination[0]) == (SIPD, ALICE)]
        self.assertTrue(told)
        for text in texts:
            self.assertEqual([data for data in told if text.encode() in data], [])

    def test_no_connection(self) -> None:
        """A phone whose connection is gone: 502 to the caller, the reason in the record and its explanation."""
        self.move_bob()
        self.lose_bob()
        call = self.alice.call("bob")
        record = self.finish()
        self.assertEqual((call.status, record.status, record.attempts[0].status), (502, 502, 502))
        for account in (record.reason, record.attempts[0].reason, self.explanation()):
            self.assertIn(f"TCP {DESK}", account)
        self.assert_hidden(DESK)

    def test_no_name(self) -> None:
        """A carrier whose name means nothing."""
        call = self.alice.call("away")
        record = self.finish()
        self.assertEqual((call.status, record.reason), (502, f"{CARRIER} has no address"))
        self.assert_hidden(CARRIER)

    def test_message(self) -> None:
        """A message that cannot be brought there."""
        for callee in ("away", "bob"):
            if callee == "bob":
                self.move_bob()
                self.lose_bob()
            asking = self.alice.message(callee)
            self.clock.advance(60.0)
            response = self.successResultOf(asking)
            assert response is not None
            self.assertEqual(response.status, 502)
        self.settle()
        self.assert_hidden(DESK, CARRIER)

    def test_end_of_a_call(self) -> None:
        """A call that ends because the other one's connection does: BYE, without an address of hers or his."""
        self.move_bob()
        call, _ = self.established()
        self.network.partition([DESK])
        call.reinvite()
        record = self.finish()
        self.assertEqual((record.ended_by, call.ended_by), ("sipd", "them"))
        self.assert_hidden(DESK)

    def test_lack_of_this_server(self) -> None:
        """What this server lacks is no business of the caller's."""

        def fail(*_: object) -> IMediaSession:
            raise LocalError("the engine at 10.9.8.7 does not answer")

        self.patch(self.server.b2bua.media, "open_session", fail)
        call = self.alice.call("bob")
        record = self.finish()
        self.assertEqual((call.status, record.cause), (500, "LocalError"))
        self.assertIn("the engine at 10.9.8.7 does not answer", record.reason)
        self.assert_hidden("10.9.8.7")
