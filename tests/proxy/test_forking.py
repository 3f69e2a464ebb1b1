"""Several targets: in parallel and in turn, races of answers, CANCEL, timer C, servers that fail."""

from __future__ import annotations

from sipd.proxy.settings import ProxySettings
from sipd.sip.fields import NameAddr
from sipd.sip.message import Request, Response
from sipd.testing import builders
from tests.proxy.support import BOB, CAROL, DAVE, Wire, WireCase, target

#: More than timer B, and than the time that a cancelled INVITE has.
TIMEOUT = 33.0


class ForkCase(WireCase):
    """Bob and Carol are called together."""

    def setUp(self) -> None:
        """Put Carol there."""
        super().setUp()
        self.carol = self.wire(CAROL)
        self.route([f"sip:bob@{BOB}", f"sip:carol@{CAROL}"])

    def confirm_cancel(self, wire: Wire) -> None:
        """Let a callee obey the CANCEL that it got."""
        wire.send(builders.response(wire.request("CANCEL"), 200))
        self.answer(wire, 487)


class ParallelTests(ForkCase):
    """Two targets at a time."""

    def test_first_answer(self) -> None:
        """The first 2xx goes back at once; the other phone is cancelled, and told that the call is taken."""
        self.send()
        self.answer(self.bob, 180)
        self.answer(self.carol, 180)
        self.answer(self.carol, 200)
        self.assertEqual(self.alice.kinds(), ["100", "180", "180", "200"])
        self.assertIn("cause=200", self.bob.request("CANCEL").headers.get("Reason") or "")
        self.confirm_cancel(self.bob)
        self.assertEqual(self.alice.kinds(), [])
        self.assertEqual(self.bob.kinds(), ["INVITE", "CANCEL", "ACK"])
        self.settle()

    def test_two_answers(self) -> None:
        """A 2xx that crosses the CANCEL goes back, too: the caller has to know of both calls."""
        self.send()
        self.answer(self.carol, 180)
        self.answer(self.bob, 200)
        self.answer(self.carol, 200)
        self.assertEqual(self.alice.kinds(), ["100", "180", "200", "200"])
        tags = [one.to.tag for one in self.alice.seen if isinstance(one, Response) and one.status == 200]
        self.assertEqual(len(set(tags)), 2)
        self.settle()

    def test_late_answer(self) -> None:
        """So does one that comes when everything is over: the caller's transaction is gone, its Via is not."""
        self.send()
        self.answer(self.carol, 180)
        self.answer(self.bob, 200)
        self.pass_time(20)
        self.answer(self.carol, 200)
        self.pass_time(20)
        self.assertEqual(len(self.proxy), 0)
        self.alice.take()
        self.carol.send(self.carol_answer())
        self.pass_time()
        self.assertEqual(self.alice.kinds(), ["200"])
        self.settle()

    def carol_answer(self) -> Response:
        """Give Carol's 2xx once more."""
        return builders.response(self.carol.request(), 200, to_tag=f"tag-{CAROL}", contact=f"<sip:carol@{CAROL}>")

    def test_all_refuse(self) -> None:
        """When all have refused the best refusal goes back."""
        invite = self.send()
        self.answer(self.bob, 500)
        self.assertEqual(self.alice.kinds(), ["100"])
        self.answer(self.carol, 404)
        self.acknowledge(invite, 404)
        self.settle()

    def test_decline(self) -> None:
        """A 6xx ends it for all; it goes back when the others have ended."""
        invite = self.send()
        self.answer(self.carol, 180)
        self.answer(self.bob, 603)
        self.assertEqual(self.alice.kinds(), ["100", "180"])
        self.confirm_cancel(self.carol)
        self.acknowledge(invite, 603)
        self.settle()

    def test_answer_after_decline(self) -> None:
        """A 2xx that crosses that CANCEL is the answer."""
        self.send()
        self.answer(self.carol, 180)
        self.answer(self.bob, 603)
        self.answer(self.carol, 200)
        self.assertEqual(self.alice.kinds(), ["100", "180", "200"])
        self.settle()

    def test_challenges(self) -> None:
        """Of two challenges both go back, so that the caller can answer both."""
        invite = self.send()
        self.answer(self.bob, 401, headers=[("WWW-Authenticate", 'Digest realm="b", nonce="1"')])
        self.answer(self.carol, 407, headers=[("Proxy-Authenticate", 'Digest realm="c", nonce="2"')])
        response = self.alice.response(401)
        self.assertEqual(response.headers.get("WWW-Authenticate"), 'Digest realm="b", nonce="1"')
        self.assertEqual(response.headers.get("Proxy-Authenticate"), 'Digest realm="c", nonce="2"')
        self.acknowledge(invite, 401)
        self.settle()

    def test_silent_target(self) -> None:
        """One that says nothing does not keep the others from ringing; 408 is the worst refusal."""
        invite = self.send()
        self.answer(self.bob, 486)
        self.pass_time(TIMEOUT)
        self.acknowledge(invite, 486)
        self.settle()

    def test_other_method(self) -> None:
        """The first 2xx to another request is its answer; what the others say does not count."""
        self.send("MESSAGE")
        self.answer(self.bob, 200, method="MESSAGE")
        self.answer(self.carol, 200, method="MESSAGE")
        self.assertEqual((self.alice.kinds(), len(self.proxy)), (["200"], 0))
        self.assertEqual(self.carol.kinds(), ["MESSAGE"])
        self.settle()

    def test_breadth(self) -> None:
        """Branches share the breadth that a request came with (RFC 5393)."""
        self.send("MESSAGE", headers=[("Max-Breadth", "5")])
        breadths = [wire.request("MESSAGE").headers.get("Max-Breadth") for wire in (self.bob, self.carol)]
        self.assertEqual(breadths, ["2", "3"])
        self.answer(self.bob, 200, method="MESSAGE")
        self.settle()

    def test_no_breadth_left(self) -> None:
        """With too little of it for all targets the request is refused; with a malformed one, too."""
        self.send("MESSAGE", headers=[("Max-Breadth", "1")])
        self.send("MESSAGE", headers=[("Max-Breadth", "x")], branch="z9hG4bK-2")
        self.assertEqual((self.alice.kinds(), self.bob.kinds()), (["440", "400"], []))
        self.settle()

    def test_foreign_route(self) -> None:
        """Of several targets only those are used that follow the Route."""
        route = (f"<sip:{DAVE};lr>",)
        dave = self.wire(DAVE)
        self.router.rounds["bob"] = [[target(f"sip:bob@{BOB}"), target(f"sip:carol@{CAROL}", follows_routes=True)]]
        invite = self.send(headers=[("Route", route[0])])
        self.answer(dave, 486)
        self.acknowledge(invite, 403)
        self.assertEqual((self.bob.kinds(), dave.request().uri_text), ([], f"sip:carol@{CAROL}"))
        self.settle()


class SequentialTests(ForkCase):
    """One target after the other."""

    def setUp(self) -> None:
        """First Bob, then Carol."""
        super().setUp()
        self.route([f"sip:bob@{BOB}"], [f"sip:carol@{CAROL}"])

    def test_next_round(self) -> None:
        """The next one is called when the first has refused, and what it says goes back."""
        self.send()
        self.answer(self.bob, 486)
        self.assertEqual((self.alice.kinds(), self.carol.kinds()), (["100"], ["INVITE"]))
        self.answer(self.carol, 180)
        self.answer(self.carol, 200)
        self.assertEqual(self.alice.kinds(), ["180", "200"])
        self.settle()

    def test_best_of_all_rounds(self) -> None:
        """The best response is that of all rounds."""
        invite = self.send()
        self.answer(self.bob, 404)
        self.answer(self.carol, 500)
        self.acknowledge(invite, 404)
        self.settle()

    def test_answered(self) -> None:
        """After an answer there is no next round."""
        self.send()
        self.answer(self.bob, 200)
        self.settle()
        self.assertEqual(self.carol.kinds(), [])

    def test_decline(self) -> None:
        """After a 6xx neither."""
        invite = self.send()
        self.answer(self.bob, 600)
        self.acknowledge(invite, 600)
        self.assertEqual(self.carol.kinds(), [])
        self.settle()

    def test_cancelled(self) -> None:
        """After a CANCEL neither."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.alice.send(builders.cancel(invite))
        self.pass_time()
        self.confirm_cancel(self.bob)
        self.acknowledge(invite, 487)
        self.assertEqual(self.carol.kinds(), [])
        self.settle()


class CancelTests(ForkCase):
    """The caller gives up."""

    def cancel(self, invite: Request, reason: str = "") -> None:
        """Send the CANCEL."""
        cancel = builders.cancel(invite)
        if reason:
            cancel.headers.add("Reason", reason)
        self.alice.send(cancel)
        self.pass_time()

    def test_ringing(self) -> None:
        """Each branch is cancelled, with the caller's reason; the 487 goes back when both have ended."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.answer(self.carol, 180)
        self.cancel(invite, "SIP;cause=600")
        self.assertEqual(self.bob.request("CANCEL").headers.get("Reason"), "SIP;cause=600")
        self.assertEqual(self.bob.request("CANCEL").via.branch, self.bob.request().via.branch)
        self.confirm_cancel(self.bob)
        self.assertEqual(self.alice.kinds(), ["100", "180", "180", "200"])
        self.confirm_cancel(self.carol)
        self.acknowledge(invite, 487)
        self.settle()

    def test_not_ringing_yet(self) -> None:
        """A branch that nothing was heard of is cancelled when it is heard of."""
        invite = self.send()
        self.cancel(invite)
        self.assertEqual(self.bob.kinds(), ["INVITE"])
        for wire in (self.bob, self.carol):
            self.answer(wire, 100)
            self.confirm_cancel(wire)
        self.acknowledge(invite, 487)
        self.settle()

    def test_never_heard_of(self) -> None:
        """One that is never heard of counts as cancelled, too."""
        invite = self.send()
        self.cancel(invite)
        self.pass_time(TIMEOUT)
        self.acknowledge(invite, 487)
        self.settle()

    def test_cancel_is_ignored(self) -> None:
        """A callee that rings on after the CANCEL is given up 64*T1 later."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.answer(self.carol, 486)
        self.cancel(invite)
        self.pass_time(TIMEOUT)
        self.acknowledge(invite, 486)
        self.settle()

    def test_crossing_answer(self) -> None:
        """A 2xx that crosses the CANCEL goes back."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.bob.answer(200)
        self.cancel(invite)
        self.assertIn("200", self.alice.kinds())
        self.assertEqual(self.alice.response(200).cseq.method, "CANCEL")
        answers = [one for one in self.alice.seen if isinstance(one, Response) and one.status == 200]
        self.assertEqual({one.cseq.method for one in answers}, {"INVITE", "CANCEL"})
        self.settle()

    def test_answer_after_the_refusal(self) -> None:
        """A 2xx that comes when the 487 is back goes back all the same."""
        self.route([f"sip:bob@{BOB}"])
        invite = self.send()
        self.answer(self.bob, 180)
        self.cancel(invite)
        self.pass_time(TIMEOUT)
        self.acknowledge(invite, 487)
        self.alice.take()
        self.answer(self.bob, 200)
        self.assertEqual(self.alice.kinds(), ["200"])
        self.settle()

    def test_unknown(self) -> None:
        """A CANCEL for nothing is answered with 481."""
        self.cancel(builders.invite(via="192.0.2.1:5060"))
        self.assertEqual(self.alice.kinds(), ["481"])
        self.settle()

    def test_while_looked_up(self) -> None:
        """A target whose name is being looked up is not called any more."""
        self.network.names["bob.example.com"] = [BOB]
        self.route(["sip:bob@bob.example.com:5060"])
        invite = builders.invite("sip:bob@example.com", via="192.0.2.1:5060")
        self.alice.send(invite)
        self.pass_time(0.011)
        self.alice.send(builders.cancel(invite))
        self.pass_time()
        self.acknowledge(invite, 487)
        self.assertEqual(self.bob.kinds(), [])
        self.settle()


class TimerCTests(ForkCase):
    """Phones that ring for ever."""

    def setUp(self) -> None:
        """Bob alone."""
        super().setUp()
        self.route([f"sip:bob@{BOB}"])

    def test_expiry(self) -> None:
        """A phone that rings for too long is cancelled, and the caller told 408."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.pass_time(184)
        self.assertEqual(self.bob.kinds(), ["INVITE"])
        self.pass_time(1)
        self.confirm_cancel(self.bob)
        self.acknowledge(invite, 408)
        self.settle()

    def test_reset(self) -> None:
        """Each sign of life but 100 begins the time again."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.pass_time(180)
        self.answer(self.bob, 183)
        self.pass_time(180)
        self.answer(self.bob, 100)
        self.pass_time(4)
        self.assertEqual(self.bob.kinds(), ["INVITE"])
        self.pass_time(1)
        self.assertEqual(self.bob.kinds(), ["CANCEL"])
        self.confirm_cancel(self.bob)
        self.acknowledge(invite, 408)
        self.settle()

    def test_answer_crosses(self) -> None:
        """A 2xx that crosses the CANCEL of timer C goes back."""
        self.send()
        self.answer(self.bob, 180)
        self.pass_time(186)
        self.answer(self.bob, 200)
        self.assertEqual(self.alice.kinds()[-1], "200")
        self.settle()

    def test_cancel_is_ignored(self) -> None:
        """A phone that rings on after it is given up 64*T1 later."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.pass_time(185 + TIMEOUT)
        self.acknowledge(invite, 408)
        self.settle()


class ServerTests(ForkCase):
    """One target that has two servers (RFC 3263 section 4.3)."""

    def setUp(self) -> None:
        """Bob's first server, then Carol's."""
        super().setUp()
        self.network.names["servers.example.com"] = [BOB, CAROL]
        self.router.rounds["bob"] = [[target("sip:bob@servers.example.com:5060")]]

    def test_unavailable(self) -> None:
        """A 503 of the first server sends the request to the second; the next request goes there at once."""
        self.send()
        self.answer(self.bob, 503, headers=[("Retry-After", "100")])
        self.assertEqual(self.carol.kinds(), ["INVITE"])
        self.answer(self.carol, 200)
        self.assertEqual(self.alice.kinds(), ["100", "200"])
        self.bob.take()
        self.send("MESSAGE", branch="z9hG4bK-2", call_id="2")
        self.answer(self.carol, 200, method="MESSAGE")
        self.assertEqual(self.bob.kinds(), [])
        self.settle()

    def test_silent(self) -> None:
        """A server that says nothing is left for the next one after its time."""
        self.send()
        self.pass_time(4)
        self.answer(self.carol, 200)
        self.assertEqual(self.alice.kinds(), ["100", "200"])
        self.settle()

    def test_left_server_answers(self) -> None:
        """What a server says that was left does not count, but for a 2xx."""
        self.send()
        self.pass_time(4)
        self.answer(self.bob, 180)
        self.assertEqual(self.bob.kinds()[-1], "CANCEL")
        self.assertEqual(self.alice.kinds(), ["100"])
        self.answer(self.carol, 180)
        self.answer(self.bob, 200)
        self.assertEqual(self.alice.kinds(), ["180", "200"])
        self.confirm_cancel(self.carol)
        self.settle()

    def test_left_server_answers_late(self) -> None:
        """Even when another server's refusal is back."""
        invite = self.send()
        self.pass_time(4)
        self.answer(self.carol, 486)
        self.acknowledge(invite, 486)
        self.alice.take()
        self.answer(self.bob, 200)
        self.assertEqual(self.alice.kinds(), ["200"])
        self.settle()

    def test_left_server_refuses(self) -> None:
        """Its refusal does not count."""
        self.send()
        self.pass_time(4)
        self.answer(self.bob, 486)
        self.assertEqual(self.alice.kinds(), ["100"])
        self.answer(self.carol, 200)
        self.assertEqual(self.alice.kinds(), ["200"])
        self.settle()

    def test_slow(self) -> None:
        """A server that has said something is waited for."""
        self.send()
        self.answer(self.bob, 180)
        self.pass_time(10)
        self.assertEqual(self.carol.kinds(), [])
        self.answer(self.bob, 200)
        self.settle()

    def test_slow_for_ever(self) -> None:
        """When it has rung for too long, and ignores the CANCEL, the next one is not tried either."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.pass_time(185 + TIMEOUT)
        self.acknowledge(invite, 408)
        self.assertEqual(self.carol.kinds(), [])
        self.settle()

    def test_unavailable_when_cancelled(self) -> None:
        """After a CANCEL a 503 is the end of it."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.alice.send(builders.cancel(invite))
        self.pass_time()
        self.answer(self.bob, 503)
        self.acknowledge(invite, 500)
        self.assertEqual(self.carol.kinds(), [])
        self.settle()

    def test_not_needed_any_more(self) -> None:
        """When a request that is no INVITE is answered elsewhere, no other server is tried."""
        dave = self.wire(DAVE)
        self.router.rounds["bob"] = [[target("sip:bob@servers.example.com:5060"), target(f"sip:dave@{DAVE}")]]
        self.send("MESSAGE")
        self.answer(dave, 200, method="MESSAGE")
        self.pass_time(10)
        self.assertEqual((self.alice.kinds(), self.carol.kinds()), (["200"], []))
        self.settle()

    def test_all_unavailable(self) -> None:
        """With all servers unavailable the answer is 500."""
        invite = self.send()
        self.answer(self.bob, 503)
        self.answer(self.carol, 503)
        self.acknowledge(invite, 500)
        self.settle()

    def test_all_silent(self) -> None:
        """With all servers silent it is 408; the last one has its full time."""
        invite = self.send()
        self.pass_time(4 + TIMEOUT)
        self.acknowledge(invite, 408)
        self.settle()

    def test_first_has_failed(self) -> None:
        """Bob's refusal is that of the target: the second server is not asked."""
        invite = self.send()
        self.answer(self.bob, 486)
        self.acknowledge(invite, 486)
        self.assertEqual(self.carol.kinds(), [])
        self.settle()

    def test_bound(self) -> None:
        """Servers beyond the bound are left out."""
        self.make_proxy(ProxySettings(max_servers=1))
        invite = self.send()
        self.answer(self.bob, 503)
        self.acknowledge(invite, 500)
        self.assertEqual(self.carol.kinds(), [])
        self.settle()

    def test_large_request(self) -> None:
        """A request that is too large for UDP falls back to it where TCP is refused."""
        self.route([f"sip:bob@{BOB}"])
        self.alice.send(
            builders.request(
                "MESSAGE",
                "sip:bob@example.com",
                via="192.0.2.1:5060",
                headers=[("X-Padding", "x" * 1200)],
                contact=str(NameAddr.parse("<sip:alice@192.0.2.1>")),
            )
        )
        self.pass_time(1)
        self.answer(self.bob, 200, method="MESSAGE")
        self.assertEqual(self.alice.kinds()[-1], "200")
        self.settle()
