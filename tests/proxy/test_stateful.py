"""The stateful proxy: one target, methods, failures, bounds, its end."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from sipd.errors import RequestRefusedError
from sipd.interfaces import ITransactionCore
from sipd.proxy.interfaces import ProxyTarget
from sipd.proxy.settings import ProxySettings
from sipd.testing import builders
from tests.proxy.support import ALICE, BOB, CAROL, DOMAIN, PROXY, WireCase, target


class ForwardingTests(WireCase):
    """One request to one place."""

    def test_interface(self) -> None:
        """A proxy is a core."""
        verifyObject(ITransactionCore, self.proxy)

    def test_call(self) -> None:
        """An INVITE gets 100 at once; what the callee says but 100 comes back; ACK and BYE find their way."""
        invite = self.send()
        self.assertEqual(self.alice.kinds(), ["100"])
        self.answer(self.bob, 100)
        self.answer(self.bob, 180)
        self.answer(self.bob, 200)
        self.assertEqual(self.alice.kinds(), ["180", "200"])
        answer = self.alice.response(200)
        self.assertEqual([via.host for via in answer.vias], [ALICE])
        self.alice.send(builders.ack(invite, answer))
        self.alice.send(builders.bye(invite, answer))
        self.pass_time()
        self.assertEqual(self.bob.kinds(), ["INVITE", "ACK", "BYE"])
        self.assertEqual(len(self.router.asked), 1)
        self.settle()

    def test_copy(self) -> None:
        """The copy has a Via and a Record-Route more, a hop less and the target's URI; all else is as it was."""
        fields = [("Subject", "a,  b"), ("X-Odd", "  two ,three"), ("f2", ""), ("Supported", "x-unknown")]
        sent = self.send(headers=fields)
        came = self.bob.request()
        self.assertEqual(came.uri_text, f"sip:bob@{BOB}")
        self.assertEqual([via.host for via in came.vias], [PROXY, ALICE])
        self.assertEqual(came.max_forwards, 69)
        self.assertIn(f"<sip:{PROXY}:5060;lr;dlg=", came.headers.get("Record-Route") or "")
        ours = ("via", "record-route", "max-forwards")
        lines = [
            line for name, line in zip(came.headers.names(), came.headers.lines(), strict=True) if name not in ours
        ]
        self.assertEqual(
            lines,
            [line for name, line in zip(sent.headers.names(), sent.headers.lines(), strict=True) if name not in ours],
        )
        self.assertEqual(came.body, sent.body)
        self.answer(self.bob, 486)
        self.settle()

    def test_refusal(self) -> None:
        """A refusal is acknowledged on both sides of the proxy by itself."""
        invite = self.send()
        self.answer(self.bob, 486)
        self.acknowledge(invite, 486)
        self.assertEqual(self.alice.kinds(), ["100", "486"])
        self.assertEqual(self.bob.kinds(), ["INVITE", "ACK"])
        self.settle()

    def test_other_method(self) -> None:
        """A request that is no INVITE gets its answer, and no 100 before."""
        self.send("MESSAGE")
        self.answer(self.bob, 202, method="MESSAGE")
        self.assertEqual(self.alice.kinds(), ["202"])
        self.assertNotIn("Record-Route", self.bob.request("MESSAGE").headers)
        self.settle()

    def test_unknown_method(self) -> None:
        """So does one of a method that nobody knows."""
        self.send("FROBNICATE")
        self.answer(self.bob, 501, method="FROBNICATE")
        self.assertEqual(self.alice.kinds(), ["501"])
        self.settle()

    def test_retransmission(self) -> None:
        """A request that comes again is not forwarded again, and gets the last response again."""
        invite = self.send()
        self.answer(self.bob, 180)
        self.alice.take()
        self.alice.send(invite)
        self.pass_time()
        self.assertEqual((self.alice.kinds(), self.bob.kinds()), (["180"], ["INVITE"]))
        self.answer(self.bob, 486)
        self.acknowledge(invite, 486)
        self.settle()

    def test_repeated_success(self) -> None:
        """A callee that misses the ACK repeats its 2xx, and each one is forwarded."""
        self.send()
        for _ in range(3):
            self.answer(self.bob, 200)
        self.assertEqual(self.alice.kinds(), ["100", "200", "200", "200"])
        self.settle()

    def test_silence(self) -> None:
        """A callee that says nothing at all is 408 after 64*T1."""
        invite = self.send()
        self.pass_time(32.0)
        self.acknowledge(invite, 408)
        self.assertEqual(self.alice.kinds(), ["100", "408"])
        self.settle()

    def test_silence_of_another_method(self) -> None:
        """A request that is no INVITE is never answered with 408 (RFC 4320)."""
        self.send("OPTIONS")
        self.settle()
        self.assertEqual(set(self.alice.kinds()), {"100"})

    def test_unavailable(self) -> None:
        """A 503 becomes 500, since it would be meant for the proxy."""
        invite = self.send()
        self.answer(self.bob, 503)
        self.acknowledge(invite, 500)
        self.assertEqual(self.alice.kinds(), ["100", "500"])
        self.settle()

    def test_unreachable(self) -> None:
        """A callee whose connection is refused counts as 503, and so it is 500."""
        self.route([f"sip:bob@{BOB};transport=tcp"])
        invite = self.send()
        self.acknowledge(invite, 500)
        self.assertEqual(self.alice.kinds(), ["100", "500"])
        self.settle()

    def test_unknown_name(self) -> None:
        """A target without an address is 502."""
        self.route(["sip:bob@nowhere.invalid"])
        invite = self.send()
        self.pass_time(1)
        self.acknowledge(invite, 502)
        self.settle()

    def test_changed_via(self) -> None:
        """What a callee has made of the Via below the proxy's makes no difference: responses go to who asked."""
        carol = self.wire(CAROL)
        self.send()
        own, below = (str(via) for via in self.bob.request().vias)
        elsewhere = below.replace(ALICE, CAROL)
        for lines in ([own], [own, elsewhere], [f"{own}, {elsewhere}"], [own, "x"], [f"{own}, {below}"]):
            answer = builders.response(self.bob.request(), 180)
            answer.headers.set("Via", lines[0])
            answer.headers.replace_first("Via", lines)
            self.bob.send(answer)
            self.pass_time()
            self.assertEqual([str(via) for via in self.alice.response(180).vias], [below])
        self.assertEqual((self.alice.kinds(), carol.kinds()), (["100"] + ["180"] * 5, []))
        self.answer(self.bob, 200)
        self.settle()


class RouterTests(WireCase):
    """What the router says."""

    def refused(self, status: int, **options: str) -> None:
        """Send an INVITE that is refused with that status, and goes nowhere."""
        invite = self.send(**options)
        self.acknowledge(invite, status)
        self.assertEqual((self.alice.kinds()[-1], self.bob.kinds()), (str(status), []))
        self.settle()

    def test_no_targets(self) -> None:
        """No targets are 480."""
        self.router.rounds.clear()
        self.refused(480)

    def test_empty_rounds(self) -> None:
        """Rounds with nothing in them are no targets."""
        self.router.rounds["bob"] = [[], []]
        self.refused(480)

    def test_foreign_host(self) -> None:
        """A request for another host goes nowhere unless the router says so: no open relay."""
        self.refused(403, uri=f"sip:bob@{BOB}")

    def test_foreign_route(self) -> None:
        """A Route that leads elsewhere is not followed, even if the Request-URI is served."""
        invite = self.send(headers=[("Route", f"<sip:{PROXY};lr>"), ("Route", f"<sip:{CAROL};lr>")])
        self.acknowledge(invite, 403)
        self.assertEqual(self.bob.kinds(), [])
        self.settle()

    def test_foreign_route_that_is_followed(self) -> None:
        """It is followed if the target says so."""
        carol = self.wire(CAROL)
        self.router.rounds["bob"] = [[target(f"sip:bob@{BOB}", follows_routes=True)]]
        invite = self.send(headers=[("Route", f"<sip:{PROXY};lr>"), ("Route", f"<sip:{CAROL};lr>")])
        self.assertEqual(carol.request().headers.get_all("Route"), [f"<sip:{CAROL};lr>"])
        self.assertEqual((self.bob.kinds(), carol.request().uri_text), ([], f"sip:bob@{BOB}"))
        self.answer(carol, 486)
        self.acknowledge(invite, 486)
        self.settle()

    def test_refusal(self) -> None:
        """A refusal of the router's is answered, with its header fields."""
        answer: Deferred[Sequence[Sequence[ProxyTarget]]] = Deferred()
        self.router.answers.append(answer)
        invite = self.send()
        answer.errback(RequestRefusedError("Try later", status=480, headers=(("Retry-After", "7"),)))
        self.pass_time()
        response = self.alice.response(480)
        self.assertEqual((response.reason, response.headers.get("Retry-After")), ("Try later", "7"))
        self.acknowledge(invite, 480)
        self.settle()

    def test_mistake(self) -> None:
        """A router that fails otherwise is logged, and the request answered with 500."""
        answer: Deferred[Sequence[Sequence[ProxyTarget]]] = Deferred()
        self.router.answers.append(answer)
        invite = self.send()
        with capturedLogs() as logs:
            answer.errback(ZeroDivisionError())
        self.pass_time()
        self.acknowledge(invite, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(logs)
        self.settle()

    def test_cancelled_while_asked(self) -> None:
        """A caller that gives up before the router has spoken gets its 487, and the router is told."""
        cancelled: list[object] = []
        answer: Deferred[Sequence[Sequence[ProxyTarget]]] = Deferred(cancelled.append)
        self.router.answers.append(answer)
        invite = self.send()
        self.alice.send(builders.cancel(invite))
        self.pass_time()
        self.acknowledge(invite, 487)
        self.assertEqual(self.alice.kinds(), ["100", "200", "487"])
        self.assertEqual((len(cancelled), self.bob.kinds()), (1, []))
        self.settle()

    def test_slow(self) -> None:
        """A router that takes too long is told so, and the caller gets 504; an ACK is lost."""
        cancelled: list[object] = []
        for _ in range(2):
            self.router.answers.append(Deferred(cancelled.append))
        invite = self.send()
        self.send("ACK", to_tag="x", branch="z9hG4bK-2")
        self.pass_time(30)
        self.acknowledge(invite, 504)
        self.assertEqual((self.alice.kinds()[-1], self.bob.kinds(), len(cancelled)), ("504", [], 2))
        self.settle()

    def test_late(self) -> None:
        """When the client of a request that is no INVITE has given up the router is told."""
        self.make_proxy(ProxySettings(router_timeout=60))
        cancelled: list[object] = []
        self.router.answers.append(Deferred(cancelled.append))
        self.send("MESSAGE")
        self.settle(40)
        self.assertEqual((set(self.alice.kinds()), len(cancelled)), ({"100"}, 1))

    def test_next_hop(self) -> None:
        """A next hop of the router's counts before the URI, which stays."""
        self.router.rounds["bob"] = [[target("sip:bob@far.invalid", next_hop=target(f"sip:{BOB}").uri)]]
        self.send("MESSAGE")
        self.assertEqual(self.bob.request("MESSAGE").uri_text, "sip:bob@far.invalid")
        self.answer(self.bob, 200, method="MESSAGE")
        self.settle()

    def test_route_set(self) -> None:
        """A route set of the router's stands in the Route."""
        self.router.rounds["bob"] = [
            [target("sip:bob@far.invalid", route_set=(f"<sip:{BOB};lr>", "<sip:x.invalid;lr>"))]
        ]
        self.send("MESSAGE")
        routes = self.bob.request("MESSAGE").headers.get_all("Route")
        self.assertEqual(routes, [f"<sip:{BOB};lr>", "<sip:x.invalid;lr>"])
        self.answer(self.bob, 200, method="MESSAGE")
        self.settle()


class BoundTests(WireCase):
    """What happens at each bound, and at the end."""

    def test_settings(self) -> None:
        """Timer C has to be more than three minutes, and a bound is positive."""
        self.assertRaises(ValueError, ProxySettings, timer_c=180)
        for name in ("router_timeout", "target_timeout", "max_contexts", "max_targets", "max_branches", "max_servers"):
            self.assertRaises(ValueError, ProxySettings, **{name: 0})

    def test_contexts(self) -> None:
        """With all contexts taken a request is refused with 503, until there is room again."""
        self.make_proxy(ProxySettings(max_contexts=1))
        self.send("MESSAGE", call_id="1", branch="z9hG4bK-1")
        with capturedLogs() as logs:
            self.send("MESSAGE", call_id="2", branch="z9hG4bK-2")
            self.send("MESSAGE", call_id="3", branch="z9hG4bK-3")
        self.assertEqual(self.alice.response(503).headers.get("Retry-After"), "10")
        self.assertEqual(self.alice.kinds(), ["503", "503"])
        self.assertEqual(len([event for event in logs if "limit" in event]), 1)
        self.answer(self.bob, 200, method="MESSAGE")
        self.send("MESSAGE", call_id="4", branch="z9hG4bK-4")
        self.answer(self.bob, 200, method="MESSAGE")
        self.assertEqual(self.alice.kinds(), ["200", "200"])
        self.settle()

    def test_targets(self) -> None:
        """Targets beyond the bound are left out, and one that stands twice counts once."""
        self.make_proxy(ProxySettings(max_targets=2))
        carol = self.wire(CAROL)
        self.route([f"sip:bob@{BOB}", f"sip:bob@{BOB}"], [f"sip:carol@{CAROL}", "sip:nobody@192.0.2.77"])
        invite = self.send()
        self.answer(self.bob, 486)
        self.answer(carol, 404)
        self.acknowledge(invite, 486)
        self.assertEqual((self.bob.kinds(), carol.kinds()), (["INVITE", "ACK"], ["INVITE", "ACK"]))
        self.settle()

    def test_branches(self) -> None:
        """A target for which there is no room counts as 503."""
        self.make_proxy(ProxySettings(max_branches=1))
        self.route([f"sip:bob@{BOB}", f"sip:carol@{CAROL}"])
        self.send("MESSAGE")
        self.answer(self.bob, 404, method="MESSAGE")
        self.assertEqual(self.alice.kinds(), ["404"])
        self.settle()

    def test_close(self) -> None:
        """At its end a proxy forgets everything and says nothing; from then on it refuses."""
        self.send()
        self.answer(self.bob, 180)
        self.alice.take()
        self.proxy.close()
        self.assertEqual((len(self.proxy), self.proxy.branch_count), (0, 0))
        self.send("MESSAGE", branch="z9hG4bK-2")
        self.proxy.close()
        self.assertEqual(self.alice.kinds(), ["503"])
        self.transactions.close()
        self.assertEqual(self.clock.run(until=self.clock.seconds() + 1000) >= 0, True)
        self.assertEqual((len(self.proxy), len(self.transactions), self.clock.getDelayedCalls()), (0, 0, []))

    def test_close_while_asked(self) -> None:
        """The router is told."""
        cancelled: list[object] = []
        for _ in range(2):
            self.router.answers.append(Deferred(cancelled.append))
        self.send("MESSAGE")
        self.send("ACK", to_tag="x", branch="z9hG4bK-2")
        self.assertEqual(len(self.proxy), 2)
        self.proxy.close()
        self.assertEqual((len(cancelled), len(self.proxy)), (2, 0))
        self.settle()


class AckTests(WireCase):
    """ACKs that belong to no transaction."""

    def test_foreign(self) -> None:
        """An ACK for another host is dropped, and nobody hears of it."""
        self.send("ACK", f"sip:bob@{BOB}", to_tag="x")
        self.assertEqual((self.bob.kinds(), self.alice.kinds()), ([], []))
        self.settle()

    def test_served(self) -> None:
        """One for which the router has a target goes there, once."""
        self.send("ACK", to_tag="x")
        self.assertEqual(self.bob.kinds(), ["ACK"])
        self.settle()

    def test_no_hops_left(self) -> None:
        """One that may not travel further is dropped."""
        self.send("ACK", to_tag="x", max_forwards=0)
        self.assertEqual((self.bob.kinds(), self.alice.kinds()), ([], []))
        self.settle()

    def test_at_the_bound(self) -> None:
        """With all contexts taken it is lost."""
        self.make_proxy(ProxySettings(max_contexts=1))
        self.send("MESSAGE")
        self.send("ACK", to_tag="x", branch="z9hG4bK-2")
        self.answer(self.bob, 200, method="MESSAGE")
        self.assertEqual(self.bob.kinds(), ["MESSAGE"])
        self.settle()

    def test_mistake_of_the_router(self) -> None:
        """A router that fails is logged."""
        answer: Deferred[Sequence[Sequence[ProxyTarget]]] = Deferred()
        self.router.answers.append(answer)
        self.send("ACK", f"sip:bob@{DOMAIN}", to_tag="x")
        answer.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.settle()
