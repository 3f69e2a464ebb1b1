"""A gateway that asks who this server is, for any request of a call, on either leg (RFC 3261 section 22, lesson 55)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred

from sipd.b2bua.transfer import TransferPolicy, TransferSettings
from sipd.interfaces import Credentials
from sipd.routing.rules import StaticRoute
from sipd.sip.digest import MAX_REALMS
from sipd.sip.fields import AuthParameters
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from tests.b2bua.support import SIPD
from tests.b2bua.test_gateway import GATEWAY, GatewayCase
from tests.ua.test_challenges import counts_of, proxy, www
from tests.watching.watchers import Watcher

OURS = Credentials(username="us", password="secret")


class ChallengeCase(GatewayCase):
    """Calls to and from a gateway; it may be told a password, or not."""

    routes: Sequence[StaticRoute] = (
        StaticRoute(name="free", user=re.compile(r"\d+"), to=f"sip:{{0}}@{GATEWAY}"),
        StaticRoute(name="paid", user=re.compile("paid"), to=f"sip:paid@{GATEWAY}", credentials=OURS),
        StaticRoute(
            name="incoming",
            user=re.compile("alice|carol"),
            sources=(ipaddress.ip_network(f"{GATEWAY}/32"),),
            to="sip:{0}@example.com",
            authenticate=False,
            caller_credentials=OURS,
        ),
    )

    def answered(self, user: str = "paid") -> PeerCall:
        """Give Alice's end of a call to the gateway."""
        call = self.calling(user)
        self.say(200, port=41000)
        self.assertTrue(call.is_answered)
        self.gateway.take()
        return call

    def reply(self, method: str, status: int, *headers: tuple[str, str], body: bytes = b"") -> Request:
        """Let the gateway answer the last request of a method."""
        request = self.gateway.request(method)
        contact = f"<sip:t1@{GATEWAY}>"
        self.gateway.send(builders.response(request, status, contact=contact, headers=headers, body=body))
        self.clock.advance(0.5)
        return request

    def sent(self, method: str) -> list[Request]:
        """Give all requests of a method that came to the gateway, without repetitions."""
        found = [one for one in self.gateway.messages if isinstance(one, Request) and one.method == method]
        return list({one.via.branch: one for one in found}.values())

    def assert_acknowledged(self, invite: Request) -> None:
        """See that an ACK came with the credentials of the INVITE as they are (section 22.1)."""
        ack = self.gateway.request("ACK")
        self.assertEqual(ack.cseq.number, invite.cseq.number)
        for name in ("Authorization", "Proxy-Authorization"):
            self.assertEqual(ack.headers.get_all(name), invite.headers.get_all(name))

    def outcome(self, answer: Deferred[Response | None]) -> Response:
        """Give what Alice was answered."""
        response = self.successResultOf(answer)
        assert response is not None
        return response

    def assert_no_challenge(self, call: PeerCall) -> None:
        """Nothing of it has come to Alice, but for the one that this server gave her."""
        for message in self.alice.seen:
            if isinstance(message, Response) and message.call_id == call.call_id:
                for line in message.headers.get_all("Proxy-Authenticate") + message.headers.get_all("WWW-Authenticate"):
                    self.assertIn('realm="example.com"', line)


class CalleeTests(ChallengeCase):
    """The gateway is called."""

    def test_every_request_of_a_call(self) -> None:
        """The first INVITE is challenged twice; what follows carries both answers, and the caller hears of nothing."""
        call = self.calling("paid")
        self.say(407, headers=[proxy()])
        self.say(401, headers=[www()])
        self.say(200, port=41000)
        self.assertEqual(counts_of(self.gateway.request("INVITE")), {"p1": 2, "n1": 1})
        self.assert_acknowledged(self.gateway.request("INVITE"))
        info = call.request("INFO", body=b"Signal=1")
        self.clock.advance(0.5)
        self.assertEqual(counts_of(self.reply("INFO", 200)), {"p1": 3, "n1": 2})
        self.assertEqual(self.outcome(info).status, 200)
        change = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(0.5)
        again = self.gateway.request("INVITE")
        self.assertEqual(counts_of(again), {"p1": 4, "n1": 3})
        self.reply("INVITE", 200, body=builders.sdp(GATEWAY, 41000, direction="recvonly", session_id=41000, version=2))
        self.assertEqual(self.outcome(change).status, 200)
        self.assert_acknowledged(again)
        call.hang_up()
        self.clock.advance(0.5)
        self.assertEqual(counts_of(self.reply("BYE", 200)), {"p1": 5, "n1": 4})
        self.finish()
        self.assert_no_challenge(call)

    def test_first_challenge_in_mid_call(self) -> None:
        """A gateway that asks for the first time when the call is changed, spoken in, or ended, gets its answer."""
        for status, header in ((401, www()), (407, proxy())):
            call = self.answered()
            info = call.request("INFO", body=b"Signal=1")
            self.clock.advance(0.5)
            self.reply("INFO", status, header)
            self.reply("INFO", 200)
            self.assertEqual(self.outcome(info).status, 200)
            call.hang_up()
            self.clock.advance(0.5)
            self.reply("BYE", status, (header[0], header[1].replace("1", "2")))
            bye = self.reply("BYE", 200)
            self.assertEqual((len(self.sent("BYE")), bye.cseq.number - self.sent("BYE")[0].cseq.number), (2, 1))
            self.settle()
            self.assert_no_challenge(call)

    def test_change_is_challenged(self) -> None:
        """A re-INVITE is, too; the caller gets one answer, and the session has changed."""
        call = self.answered()
        change = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(0.5)
        self.reply("INVITE", 401, www())
        self.reply("INVITE", 407, proxy())
        again = self.reply(
            "INVITE", 200, body=builders.sdp(GATEWAY, 41000, direction="recvonly", session_id=41000, version=2)
        )
        self.assertEqual(counts_of(again), {"n1": 2, "p1": 1})
        self.assertEqual([one.cseq.number for one in self.sent("INVITE")], [2, 3, 4])
        self.assertEqual(self.outcome(change).status, 200)
        self.end(call)
        self.finish()
        self.assert_no_challenge(call)

    def test_nobody_knows_the_password(self) -> None:
        """Without credentials a change or a digit comes to nothing, the caller is not asked, and the call goes on."""
        call = self.answered("123")
        info = call.request("INFO", body=b"Signal=1")
        self.clock.advance(0.5)
        self.reply("INFO", 401, www())
        change = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(0.5)
        self.reply("INVITE", 407, proxy())
        for answer in (info, change):
            response = self.outcome(answer)
            self.assertNotIn(response.status, (401, 407))
            self.assertFalse(response.is_success)
        self.assertTrue(call.is_answered)
        self.end(call)
        self.finish()
        self.assert_no_challenge(call)

    def test_bye_that_is_never_taken(self) -> None:
        """The call is over for the caller at once; the leg to the gateway when that has refused for good."""
        call = self.answered()
        call.hang_up()
        self.clock.advance(0.5)
        self.reply("BYE", 407, proxy())
        self.assertEqual(len(self.server.agent), 1)
        self.reply("BYE", 407, proxy("proxy", "p2"))
        self.assertEqual((len(self.sent("BYE")), len(self.server.agent)), (2, 0))
        self.finish()

    def test_gateway_that_never_has_enough(self) -> None:
        """One that asks for another realm each time is given up after some tries, and the caller is told."""
        call = self.calling("paid")
        for number in range(20):
            self.say(407, headers=[proxy(f"realm {number}", f"n{number}")])
        self.assertEqual(call.status, 502)
        self.assertEqual(len(self.sent("INVITE")), MAX_REALMS + 1)
        self.finish()
        self.assert_no_challenge(call)

    def test_cancel_is_challenged(self) -> None:
        """A CANCEL has no second try (section 22.1); the INVITE ends with its 487."""
        call = self.calling("paid")
        self.say(407, headers=[proxy()])
        self.say(180)
        call.cancel()
        self.clock.advance(0.5)
        self.reply("CANCEL", 401, www())
        self.say(487)
        self.assertEqual((call.status, len(self.sent("CANCEL"))), (487, 1))
        self.finish()

    def test_message(self) -> None:
        """A message outside of calls is sent again with credentials, and its sender hears 200."""
        answer = self.alice.message("paid")
        self.clock.advance(0.5)
        self.reply("MESSAGE", 407, proxy())
        again = self.reply("MESSAGE", 200)
        self.assertEqual((counts_of(again), again.cseq.number), ({"p1": 1}, 2))
        self.assertEqual(self.outcome(answer).status, 200)
        self.settle()

    def test_transfer_that_is_passed_on(self) -> None:
        """A REFER is, too; the transferor hears of the 202 alone."""
        settings = self.server.b2bua.settings
        self.server.b2bua.settings = replace(settings, transfer=TransferSettings(policy=TransferPolicy.PASS))
        call = self.answered()
        asked = call.request(
            "REFER", headers=[("Refer-To", "<sip:carol@example.com>"), ("Contact", self.alice.contact)]
        )
        self.clock.advance(0.4)
        first = self.reply("REFER", 407, proxy())
        again = self.reply("REFER", 202, ("Contact", f"<sip:t1@{GATEWAY}>"))
        self.assertEqual((counts_of(again), again.cseq.number), ({"p1": 1}, first.cseq.number + 1))
        self.assertEqual(self.outcome(asked).status, 202)
        call.hang_up()
        self.clock.advance(0.4)
        self.assertEqual(counts_of(self.reply("BYE", 200)), {"p1": 2})
        self.finish()
        self.assert_no_challenge(call)

    def test_news_of_a_transfer(self) -> None:
        """A gateway that asks for a transfer, and then asks who tells of it, is told all the same."""
        self.carol.auto_answer(after=5.0)
        call = self.calling("paid")
        self.say(200, port=41000)
        invite = self.gateway.request("INVITE")
        refer = builders.request(
            "REFER", str(invite.contacts[0].uri), caller=str(invite.to.uri), callee=str(invite.from_.uri),
            from_tag="t1", to_tag=invite.from_.tag, call_id=invite.call_id, via=f"{GATEWAY}:5060",
            contact=f"<sip:t1@{GATEWAY}>", headers=[("Refer-To", "<sip:carol@example.com>")],
        )  # fmt: skip
        self.gateway.send(refer)
        self.clock.advance(0.4)
        self.assertEqual(self.gateway.response(202).cseq.method, "REFER")
        self.reply("NOTIFY", 401, www())
        news = [self.reply("NOTIFY", 200)]
        for _ in range(10):
            if self.gateway.request("NOTIFY").cseq.number > news[-1].cseq.number:
                news.append(self.reply("NOTIFY", 200))
            self.clock.advance(1.0)
        self.assertEqual([one.body[8:11] for one in news], [b"100", b"180", b"200"])
        self.assertEqual([counts_of(one)["n1"] for one in news], [1, 2, 3])
        self.assertEqual([one.cseq.number for one in news], [3, 4, 5])
        if self.sent("BYE"):
            self.reply("BYE", 200)
        call.hang_up()
        self.settle()

    def test_subscription(self) -> None:
        """A SUBSCRIBE is, the first, one that refreshes, and one that ends it; the watcher hears of none of that."""
        watcher = Watcher(self.alice, "sip:paid@example.com", "presence")
        self.clock.advance(0.5)
        self.reply("SUBSCRIBE", 407, proxy())
        first = self.gateway.request("SUBSCRIBE")
        self.assertEqual((counts_of(first), first.cseq.number), ({"p1": 1}, 2))
        contact = f"<sip:t1@{GATEWAY}>"
        accepted = [("Expires", "600"), ("Contact", contact)]
        self.gateway.send(builders.response(first, 200, to_tag="t1", headers=accepted))
        state = [("Event", "presence"), ("Subscription-State", "active;expires=600")]
        notify = builders.request(
            "NOTIFY", str(first.contacts[0].uri), caller=str(first.to.uri), callee=str(first.from_.uri), from_tag="t1",
            to_tag=first.from_.tag, call_id=first.call_id, via=f"{GATEWAY}:5060", contact=contact, headers=state,
        )  # fmt: skip
        self.gateway.send(notify)
        self.clock.advance(0.5)
        self.assertEqual((watcher.status, watcher.states), (200, ["active"]))
        for expires, header in ((600, www()), (0, www(nonce="n2"))):
            refreshed = watcher.refresh(expires)
            self.clock.advance(0.4)
            before = self.gateway.request("SUBSCRIBE")
            self.reply("SUBSCRIBE", 401, header)
            again = self.reply("SUBSCRIBE", 200, ("Expires", str(expires)), ("Contact", contact))
            self.assertEqual(again.cseq.number, before.cseq.number + 1)
            self.assertIn(AuthParameters.parse(header[1]).parameters["nonce"], counts_of(again))
            self.assertEqual(self.outcome(refreshed).status, 200)
        notify = notify.copy()
        notify.headers.set("CSeq", "2 NOTIFY")
        notify.headers.set("Subscription-State", "terminated;reason=timeout")
        notify.headers.set("Via", f"SIP/2.0/UDP {GATEWAY}:5060;branch=z9hG4bK-last;rport")
        self.gateway.send(notify)
        self.settle()


class CallerTests(ChallengeCase):
    """The gateway calls, and asks who changes or ends its call."""

    def call_in(self) -> PeerCall:
        """Let it call Alice, and give her end."""
        self.alice.auto_answer()
        invite = builders.invite(
            f"sip:alice@{SIPD}", via=f"{GATEWAY}:5060", contact=f"<sip:gw@{GATEWAY}>", caller=f"sip:1234@{GATEWAY}"
        )
        self.gateway.send(invite)
        self.clock.advance(3.0)
        self.gateway.send(builders.ack(invite, self.gateway.response(200)))
        self.clock.advance(0.5)
        self.gateway.take()
        return self.alice.calls[-1]

    def test_bye(self) -> None:
        """The BYE goes again with the credentials that the route has for callers."""
        call = self.call_in()
        call.hang_up()
        self.clock.advance(0.5)
        self.reply("BYE", 407, proxy())
        self.assertEqual(counts_of(self.reply("BYE", 200)), {"p1": 1})
        self.finish()

    def test_change(self) -> None:
        """So does a re-INVITE, and the BYE after it carries them ahead."""
        call = self.call_in()
        change = call.reinvite(builders.sdp("192.0.2.2", direction="sendonly", version=2))
        self.clock.advance(0.5)
        self.reply("INVITE", 401, www())
        again = self.reply("INVITE", 200, body=builders.sdp(GATEWAY, 41000, direction="recvonly", version=2))
        self.assertEqual(counts_of(again), {"n1": 1})
        self.assertEqual(self.outcome(change).status, 200)
        self.assert_acknowledged(again)
        call.hang_up()
        self.clock.advance(0.5)
        self.assertEqual(counts_of(self.reply("BYE", 200)), {"n1": 2})
        self.finish()
