"""What crosses before the answer: offers in UPDATE, PRACK and reliable responses, early media (RFC 3311, 3262)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from twisted.internet.defer import succeed

from sipd.interfaces import Attempt, EarlyMedia, Route
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.sip.uri import parse_uri
from sipd.testing import builders
from tests.b2bua.support import SIPD
from tests.b2bua.test_gateway import GATEWAY, GatewayCase
from tests.ua.support import Wire

CALLER = "192.0.2.8"
RELIABLE = ("Require", "100rel")
PCMA = builders.sdp(GATEWAY, 42000).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 8")
METHODS = ("Allow", "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE")


class EarlyCase(GatewayCase):
    """A caller and a gateway, each of which says only what the test tells it to."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="open", user=re.compile("999"), to=f"sip:{{0}}@{GATEWAY}", authenticate=False),
    )

    def setUp(self) -> None:
        """Add the caller, whose calls need no authentication."""
        super().setUp()
        self.caller = Wire(self.network, CALLER)
        self.sequence = 1

    def invited(self, *headers: tuple[str, str], body: bytes | None = None) -> None:
        """Let the caller call through to the gateway."""
        self.invite = builders.invite(
            f"sip:999@{SIPD}", via=f"{CALLER}:5060", contact=f"<sip:alice@{CALLER}>", headers=(METHODS, *headers),
            body=builders.sdp(CALLER) if body is None else body,
        )  # fmt: skip
        self.caller.send(self.invite, (SIPD, 5060))
        self.clock.advance(0.5)

    def early(self, **options: object) -> Response:
        """Let the gateway answer early, reliably, and both sides acknowledge; give what the caller got."""
        self.say(183, port=41000, headers=[RELIABLE, METHODS, ("RSeq", "7")])
        self.gateway.send(builders.response(self.gateway.request("PRACK"), 200))
        self.clock.advance(0.1)
        response = self.caller.response(183)
        self.prack(response)
        return response

    def prack(self, response: Response, body: bytes = b"") -> None:
        """Let the caller acknowledge a response."""
        self.ask("PRACK", response, body=body, headers=[("RAck", f"{response.headers.get('RSeq')} {response.cseq}")])

    def ask(self, method: str, response: Response, *, body: bytes = b"", headers: builders.Fields = ()) -> None:
        """Let the caller send a request in the early dialog."""
        self.sequence += 1
        self.caller.send(
            builders.request(
                method, f"sip:999@{SIPD}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
                to_tag=response.to.tag, cseq=self.sequence, branch=f"z9hG4bK-e{self.sequence}", via=f"{CALLER}:5060",
                contact=f"<sip:alice@{CALLER}>", headers=headers, body=body,
            ),
            (SIPD, 5060),
        )  # fmt: skip
        self.clock.advance(0.1)

    def answered(self, method: str, body: bytes = b"", status: int = 200) -> Request:
        """Let the gateway answer the last request of a method."""
        request = self.gateway.request(method)
        self.gateway.send(builders.response(request, status, contact=f"<sip:999@{GATEWAY}>", body=body))
        self.clock.advance(0.1)
        return request

    def over(self) -> None:
        """Let the caller hang up; nothing may be left."""
        ok = next(
            one for one in self.caller.messages if isinstance(one, Response) and str(one.cseq) == "1 INVITE"
            and one.status == 200
        )  # fmt: skip
        self.caller.send(builders.ack(self.invite, ok), (SIPD, 5060))
        self.clock.advance(0.5)
        self.caller.send(builders.bye(self.invite, ok, cseq=90), (SIPD, 5060))
        self.clock.advance(0.5)
        self.gateway.send(builders.response(self.gateway.request("BYE"), 200))
        self.finish()


class UpdateTests(EarlyCase):
    """Offers in early dialogs, when the first is agreed on."""

    def test_of_the_caller(self) -> None:
        """Its offer crosses as UPDATE, and the answer comes back; the 200 of the call needs to say nothing more."""
        self.invited(("Supported", "100rel"))
        response = self.early()
        self.ask("UPDATE", response, body=builders.sdp(CALLER, direction="sendonly", version=2))
        crossed = self.answered("UPDATE", builders.sdp(GATEWAY, direction="recvonly", version=2))
        self.assertIn(b"a=sendonly", crossed.body)
        ok = self.caller.response(200)
        self.assertEqual(ok.cseq.method, "UPDATE")
        self.assertIn(b"a=recvonly", ok.body)
        self.say(200)
        self.assertEqual(self.caller.response(200).body, b"")
        self.over()

    def test_of_the_callee(self) -> None:
        """The same the other way round."""
        self.invited(("Supported", "100rel"))
        self.early()
        invite = self.gateway.request("INVITE")
        update = builders.request(
            "UPDATE", f"sip:alice@{SIPD}", call_id=invite.call_id, from_tag="t1", to_tag=invite.from_.tag, cseq=5,
            branch="z9hG4bK-g5", via=f"{GATEWAY}:5060", contact=f"<sip:999@{GATEWAY}>",
            body=builders.sdp(GATEWAY, direction="inactive", version=2),
        )  # fmt: skip
        self.gateway.send(update)
        self.clock.advance(0.1)
        crossed = self.caller.request("UPDATE")
        self.assertIn(b"a=inactive", crossed.body)
        self.caller.send(
            builders.response(
                crossed,
                200,
                contact=f"<sip:alice@{CALLER}>",
                body=builders.sdp(CALLER, direction="inactive", version=2),
            )
        )
        self.clock.advance(0.1)
        self.assertIn(b"a=inactive", self.gateway.response(200).body)
        self.say(200)
        self.over()

    def test_refused(self) -> None:
        """A refusal comes back, and what was agreed on before stays."""
        self.invited(("Supported", "100rel"))
        response = self.early()
        self.ask("UPDATE", response, body=builders.sdp(CALLER, direction="sendonly", version=2))
        self.answered("UPDATE", status=488)
        self.assertEqual(self.caller.response(488).cseq.method, "UPDATE")
        self.say(200)
        self.over()

    def test_before_anything_is_agreed_on(self) -> None:
        """While the first offer has no answer there is no second one: 500 with Retry-After (RFC 3311 section 5.2)."""
        self.invited()
        self.say(180)
        self.ask("UPDATE", self.caller.response(180), body=builders.sdp(CALLER, version=2))
        self.assertIn("Retry-After", self.caller.response(500).headers)
        self.say(200, port=41000)
        self.over()

    def test_in_prack(self) -> None:
        """An offer in a PRACK crosses as UPDATE; the answer is in its 200."""
        self.invited(("Supported", "100rel"))
        self.say(183, port=41000, headers=[RELIABLE, METHODS, ("RSeq", "7")])
        self.gateway.send(builders.response(self.gateway.request("PRACK"), 200))
        self.clock.advance(0.1)
        self.prack(self.caller.response(183), builders.sdp(CALLER, direction="sendonly", version=2))
        self.answered("UPDATE", builders.sdp(GATEWAY, direction="recvonly", version=2))
        ok = self.caller.response(200)
        self.assertEqual(ok.cseq.method, "PRACK")
        self.assertIn(b"a=recvonly", ok.body)
        self.say(200)
        self.over()

    def test_answer_meets_it(self) -> None:
        """A call that is answered while an early UPDATE waits goes on with it."""
        self.invited(("Supported", "100rel"))
        response = self.early()
        self.ask("UPDATE", response, body=builders.sdp(CALLER, direction="sendonly", version=2))
        self.say(200)
        self.answered("UPDATE", builders.sdp(GATEWAY, direction="recvonly", version=2))
        oks = [one.cseq.method for one in self.caller.messages if isinstance(one, Response) and one.status == 200]
        self.assertEqual(set(oks), {"INVITE", "PRACK", "UPDATE"})
        self.over()


class AbandonedTests(EarlyCase):
    """An UPDATE of a callee that waits for the caller while somebody else is chosen."""

    def offered(self) -> Request:
        """Let one fork's UPDATE reach the caller; give it as that gets it."""
        invite = self.gateway.request("INVITE")
        self.gateway.send(
            builders.request(
                "UPDATE", f"sip:alice@{SIPD}", call_id=invite.call_id, from_tag="t1", to_tag=invite.from_.tag, cseq=5,
                branch="z9hG4bK-g5", via=f"{GATEWAY}:5060", contact=f"<sip:999@{GATEWAY}>",
                body=builders.sdp(GATEWAY, 41000, direction="inactive", version=2),
            )
        )  # fmt: skip
        self.clock.advance(0.1)
        return self.caller.request("UPDATE")

    def answer_update(self, update: Request, direction: str) -> None:
        """Let the caller agree."""
        body = builders.sdp(CALLER, direction=direction, version=3)
        self.caller.send(builders.response(update, 200, contact=f"<sip:alice@{CALLER}>", body=body))
        self.clock.advance(0.5)

    def test_another_fork_answers(self) -> None:
        """The one who has asked gets 487; the caller, who agrees to what is void by then, is told of the other."""
        self.invited(("Supported", "100rel"))
        self.early()
        update = self.offered()
        self.say(200, port=42000, tag="g2")
        self.assertEqual(self.gateway.response(487).cseq.method, "UPDATE")
        self.caller.send(builders.ack(self.invite, self.caller.response(200)), (SIPD, 5060))
        self.clock.advance(0.1)
        self.answer_update(update, "inactive")
        again = self.caller.request("UPDATE")
        self.assertIsNot(again, update)
        self.assertNotIn(b"a=inactive", again.body)
        self.answer_update(again, "sendrecv")
        change = builders.request(
            "INVITE", f"sip:999@{SIPD}", call_id=self.invite.call_id, from_tag=self.invite.from_.tag or "",
            to_tag=self.caller.response(200).to.tag, cseq=80, branch="z9hG4bK-c80", via=f"{CALLER}:5060",
            contact=f"<sip:alice@{CALLER}>", body=builders.sdp(CALLER, direction="sendonly", version=4),
        )  # fmt: skip
        self.caller.send(change, (SIPD, 5060))
        self.clock.advance(0.2)
        self.assertIn(b"a=sendonly", self.gateway.request("INVITE").body)
        self.say(200, body=builders.sdp(GATEWAY, 42000, direction="recvonly", version=3))
        self.caller.send(builders.ack(change, self.caller.response(200)), (SIPD, 5060))
        self.clock.advance(0.1)
        self.over()

    def test_next_attempt(self) -> None:
        """What the caller says of a change that nobody waits for any more does not end its call."""
        there, other = (Attempt(uri=parse_uri(f"sip:99{n}@{GATEWAY}"), label=f"try {n}") for n in (1, 2))
        route = Route(name="two", rounds=((there,), (other,)))
        self.server.b2bua.router.route = lambda asked: succeed(route)  # type: ignore[method-assign,assignment]
        self.invited(("Supported", "100rel"))
        self.early()
        update = self.offered()
        self.say(486)
        self.assertEqual(self.gateway.request("INVITE").uri_text, f"sip:992@{GATEWAY}")
        self.answer_update(update, "inactive")
        methods = [one.method for one in self.gateway.messages if isinstance(one, Request)]
        self.assertNotIn("CANCEL", methods)
        self.say(200, port=42000, tag="g2")
        self.assertEqual(self.caller.response(200).cseq.method, "INVITE")
        ok = self.caller.response(200)
        self.caller.send(builders.ack(self.invite, ok), (SIPD, 5060))
        self.clock.advance(0.5)
        told = self.caller.request("UPDATE")
        self.assertNotIn(b"a=inactive", told.body)
        self.answer_update(told, "sendrecv")
        self.caller.send(builders.bye(self.invite, ok, cseq=90), (SIPD, 5060))
        self.clock.advance(0.5)
        self.gateway.send(builders.response(self.gateway.request("BYE"), 200))
        self.assertEqual(self.finish().status, 200)


class LateOfferTests(EarlyCase):
    """An INVITE without an offer, of a caller with 100rel."""

    def test_in_a_reliable_response(self) -> None:
        """The callee's offer is in a 183, the caller's answer in its PRACK, which is when the callee gets its own."""
        self.invited(("Supported", "100rel"), body=b"")
        self.assertIn("100rel", self.gateway.request("INVITE").headers.tokens("Supported"))
        self.say(183, port=41000, headers=[RELIABLE, METHODS, ("RSeq", "7")])
        self.assertFalse(any(isinstance(one, Request) and one.method == "PRACK" for one in self.gateway.messages))
        early = self.caller.response(183)
        self.assertIn(b"m=audio", early.body)
        self.prack(early, builders.sdp_answer(early.body, CALLER))
        prack = self.answered("PRACK")
        self.assertIn(b"m=audio", prack.body)
        self.assertEqual(self.caller.response(200).cseq.method, "PRACK")
        self.assertEqual([set(pair) for pair in self.server.relay.sessions[0].connected], [{"a", "b1"}])
        self.say(200)
        self.assertEqual(self.caller.response(200).body, b"")
        self.over()
        self.assertEqual(self.gateway.request("ACK").body, b"")

    def test_second_fork(self) -> None:
        """Another callee behind the gateway who makes an offer, too, is answered with nothing."""
        self.invited(("Supported", "100rel"), body=b"")
        self.say(183, port=41000, headers=[RELIABLE, METHODS, ("RSeq", "7")])
        early = self.caller.response(183)
        self.prack(early, builders.sdp_answer(early.body, CALLER))
        self.answered("PRACK")
        self.say(183, port=42000, tag="g2", headers=[RELIABLE, METHODS, ("RSeq", "9")])
        prack = self.answered("PRACK")
        self.assertEqual(prack.to.tag, "g2")
        self.assertIn(b"m=audio 0 ", prack.body)
        self.say(200)
        self.over()

    def test_caller_without_it(self) -> None:
        """Then the callee is not told of 100rel."""
        self.invited(body=b"")
        self.assertNotIn("100rel", self.gateway.request("INVITE").headers.tokens("Supported"))
        self.say(486)
        self.caller.send(builders.ack(self.invite, self.caller.response(486)), (SIPD, 5060))
        self.finish()


class MisledTests(EarlyCase):
    """A caller that was told, reliably, what somebody said who did not answer in the end."""

    def test_is_told(self) -> None:
        """When another one answers with other codecs the caller is asked to change to these."""
        self.invited(("Supported", "100rel"))
        self.early()
        self.say(200, port=42000, tag="g2", body=PCMA)
        ok = self.caller.response(200)
        self.assertEqual((ok.cseq.method, ok.body), ("INVITE", b""))
        self.caller.send(builders.ack(self.invite, ok), (SIPD, 5060))
        self.clock.advance(0.5)
        told = self.caller.request("UPDATE")
        self.assertIn(b"RTP/AVP 8", told.body)
        self.caller.send(
            builders.response(
                told, 200, contact=f"<sip:alice@{CALLER}>", body=builders.sdp_answer(told.body, CALLER, version=2)
            )
        )
        self.clock.advance(0.1)
        self.over()


class PolicyTests(EarlyCase):
    """What the caller hears of early media is a matter of the route."""

    routes = tuple(
        StaticRoute(
            name=policy.value, user=re.compile(user), to=f"sip:{{0}}@{GATEWAY}", authenticate=False, early_media=policy
        )
        for user, policy in (("999", EarlyMedia.AS_183), ("998", EarlyMedia.AS_180))
    )

    def heard(self, user: str, *said: tuple[int, int]) -> list[tuple[int, bool]]:
        """Let the gateway say so; give the statuses, and whether with media, that the caller hears."""
        self.invite = builders.invite(
            f"sip:{user}@{SIPD}", via=f"{CALLER}:5060", contact=f"<sip:a@{CALLER}>", body=builders.sdp(CALLER)
        )
        self.caller.send(self.invite, (SIPD, 5060))
        self.clock.advance(0.5)
        for status, port in said:
            self.say(status, port=port)
        heard = [
            (one.status, bool(one.body)) for one in self.caller.messages if isinstance(one, Response)
        ]  # fmt: skip
        self.say(200, port=41000)
        self.over()
        return [one for one in heard if one[0] > 100]

    def test_ringing_with_media_as_progress(self) -> None:
        """`180->183`: without media ringing stays ringing."""
        heard = self.heard("999", (180, 0), (180, 41000))
        self.assertEqual(heard, [(180, False), (183, True)])

    def test_progress_as_ringing(self) -> None:
        """`183->180`: the media is left out until the answer."""
        heard = self.heard("998", (183, 41000), (183, 0))
        self.assertEqual(heard, [(180, False), (180, False)])
