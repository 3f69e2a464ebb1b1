"""100rel ends at each leg: what one side wants is no business of the other (RFC 3262)."""

from __future__ import annotations

import re

from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.testing import builders
from tests.b2bua.support import SIPD
from tests.b2bua.test_gateway import GATEWAY, GatewayCase
from tests.ua.support import Wire

CALLER = "192.0.2.8"


class ReliableTests(GatewayCase):
    """A caller and a gateway, each of which says only what the test tells it to."""

    routes = (StaticRoute(name="open", user=re.compile("999"), to=f"sip:{{0}}@{GATEWAY}", authenticate=False),)

    def setUp(self) -> None:
        """Add the caller, whose calls need no authentication."""
        super().setUp()
        self.caller = Wire(self.network, CALLER)

    def invited(self, *headers: tuple[str, str]) -> None:
        """Let the caller call through to the gateway."""
        self.invite = builders.invite(
            f"sip:999@{SIPD}", via=f"{CALLER}:5060", contact=f"<sip:alice@{CALLER}>", headers=headers,
            body=builders.sdp(CALLER),
        )  # fmt: skip
        self.caller.send(self.invite, (SIPD, 5060))
        self.clock.advance(0.5)

    def prack(self, response: Response, cseq: int) -> None:
        """Let the caller acknowledge a response."""
        self.caller.send(
            builders.request(
                "PRACK", f"sip:999@{SIPD}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
                to_tag=response.to.tag, cseq=cseq, branch=f"z9hG4bK-p{cseq}", via=f"{CALLER}:5060",
                headers=[("RAck", f"{response.headers.get('RSeq')} {response.cseq}")],
            ),
            (SIPD, 5060),
        )  # fmt: skip
        self.clock.advance(0.1)

    def pracked(self) -> Request:
        """Let the gateway answer the last PRACK that it got."""
        prack = self.gateway.request("PRACK")
        self.gateway.send(builders.response(prack, 200))
        self.clock.advance(0.1)
        return prack

    def over(self) -> None:
        """Let the caller hang up; nothing may be left."""
        ok = self.caller.response(200)
        self.caller.send(builders.ack(self.invite, ok), (SIPD, 5060))
        self.clock.advance(0.5)
        self.caller.send(builders.bye(self.invite, ok, cseq=90), (SIPD, 5060))
        self.clock.advance(0.5)
        self.gateway.send(builders.response(self.gateway.request("BYE"), 200))
        self.finish()

    def test_only_the_callee_has_it(self) -> None:
        """The gateway has its PRACK from this server; the caller gets early media as a response like any other."""
        self.invited()
        self.assertIn("100rel", self.gateway.request("INVITE").headers.tokens("Supported"))
        self.say(183, port=41000, headers=[("Require", "100rel"), ("RSeq", "7")])
        self.assertEqual(self.pracked().headers.get("RAck"), "7 1 INVITE")
        early = self.caller.response(183)
        self.assertIn(b"m=audio", early.body)
        self.assertEqual([name for name in ("RSeq", "Require") if name in early.headers], [])
        self.say(200, port=41000)
        self.over()

    def test_only_the_caller_has_it(self) -> None:
        """Early media is sent to the caller until it acknowledges, and the answer waits for that."""
        self.invited(("Supported", "100rel"))
        self.say(183, port=41000)
        early = self.caller.response(183)
        self.assertEqual(early.headers.get("Require"), "100rel")
        self.say(200, port=41000)
        self.assertNotIn(200, [one.status for one in self.caller.messages if isinstance(one, Response)])
        self.prack(early, 2)
        self.assertEqual(self.caller.messages[-1].cseq.method, "INVITE")
        self.assertNotIn("PRACK", self.gateway.kinds())
        self.over()

    def test_both_have_it(self) -> None:
        """Each leg counts for itself."""
        self.invited(("Require", "100rel"))
        self.say(180, headers=[("Require", "100rel"), ("RSeq", "7")])
        self.assertEqual(self.pracked().headers.get("RAck"), "7 1 INVITE")
        ringing = self.caller.response(180)
        self.assertNotEqual(ringing.headers.get("RSeq"), "7")
        self.prack(ringing, 2)
        self.say(200, port=41000)
        self.over()

    def test_caller_that_never_acknowledges(self) -> None:
        """It gets 504 after 64*T1, and the gateway is cancelled."""
        self.invited(("Require", "100rel"))
        self.say(180)
        self.clock.advance(33.0)
        self.caller.response(504)
        self.gateway.send(builders.response(self.gateway.request("CANCEL"), 200))
        self.say(487)
        self.caller.send(builders.ack(self.invite, self.caller.response(504)), (SIPD, 5060))
        record = self.finish()
        self.assertEqual((record.ended_by, record.cause), ("sipd", "caller-lost"))

    def test_given_up_while_the_answer_waits(self) -> None:
        """A caller that cancels before its PRACK has never been answered: it did not talk, and the callee gets BYE."""
        self.invited(("Supported", "100rel"))
        self.say(183, port=41000)
        self.say(200, port=41000)
        cancel = builders.cancel(self.invite)
        self.caller.send(cancel, (SIPD, 5060))
        self.clock.advance(0.5)
        refused = self.caller.response(487)
        self.caller.send(builders.ack(self.invite, refused), (SIPD, 5060))
        self.gateway.send(builders.response(self.gateway.request("BYE"), 200))
        record = self.finish()
        self.assertEqual((record.status, record.cause, record.answered_at), (487, "cancel", None))

    def test_never_acknowledged_and_answered_by_the_callee(self) -> None:
        """The caller gets 504, and has not talked: the callee gets BYE."""
        self.invited(("Supported", "100rel"))
        self.say(183, port=41000)
        self.say(200, port=41000)
        self.clock.advance(33.0)
        self.caller.send(builders.ack(self.invite, self.caller.response(504)), (SIPD, 5060))
        self.gateway.send(builders.response(self.gateway.request("BYE"), 200))
        record = self.finish()
        self.assertEqual((record.status, record.cause, record.answered_at), (504, "caller-lost", None))

    def test_late_offer(self) -> None:
        """Without an offer, the callee is not told of 100rel: its offer could not be answered in a PRACK."""
        self.invite = builders.invite(f"sip:999@{SIPD}", via=f"{CALLER}:5060", contact=f"<sip:a@{CALLER}>", body=b"")
        self.caller.send(self.invite, (SIPD, 5060))
        self.clock.advance(0.5)
        self.assertNotIn("100rel", self.gateway.request("INVITE").headers.tokens("Supported"))
        self.say(486)
        self.caller.send(builders.ack(self.invite, self.caller.response(486)), (SIPD, 5060))
        self.finish()
