"""Dialogs through the proxy, loops and spirals, and responses that no transaction waits for."""

from __future__ import annotations

from sipd.proxy.settings import ProxySettings
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, parse_uri
from sipd.testing import builders
from tests.proxy.support import ALICE, BOB, CAROL, DOMAIN, PROXY, PROXY6, ProxyCase, Wire, WireCase, target

ALICE6 = "2001:db8::1"


class DialogTests(WireCase):
    """Requests within a dialog: they go where they say, if the dialog began here."""

    def established(self) -> tuple[Request, Response]:
        """Give an INVITE and its 2xx."""
        invite = self.send()
        self.answer(self.bob, 200)
        response = self.alice.response(200)
        self.alice.send(builders.ack(invite, response))
        self.pass_time()
        for wire in (self.alice, self.bob):
            wire.take()
        self.router.asked.clear()
        return invite, response

    def hang_up(self, invite: Request, response: Response, **changes: str) -> None:
        """Send Alice's BYE, with other header fields."""
        bye = builders.bye(invite, response)
        for name, value in changes.items():
            bye.headers.set(name.replace("_", "-"), value)
        self.alice.send(bye)
        self.pass_time()

    def test_from_the_caller(self) -> None:
        """The router is not asked about them."""
        self.hang_up(*self.established())
        self.answer(self.bob, 200, method="BYE")
        self.assertEqual((self.alice.kinds(), self.router.asked), (["200"], []))
        self.assertEqual(self.bob.request("BYE").headers.get_all("Route"), [])
        self.settle()

    def test_from_the_callee(self) -> None:
        """Neither about the callee's."""
        invite, _ = self.established()
        came = self.bob.request()
        bye = builders.request(
            "BYE",
            f"sip:alice@{ALICE}",
            caller="sip:bob@example.com",
            callee="sip:alice@example.com",
            from_tag=f"tag-{BOB}",
            to_tag=invite.from_.tag,
            via=f"{BOB}:5060",
            contact=None,
            headers=[("Route", value) for value in came.headers.get_all("Record-Route")],
        )
        self.bob.send(bye)
        self.pass_time()
        self.answer(self.alice, 200, method="BYE")
        self.assertEqual((self.bob.kinds(), self.router.asked), (["200"], []))
        self.settle()

    def test_strict_router(self) -> None:
        """A strict router's request is put right: its Request-URI is the proxy's, and the target its last Route."""
        invite, response = self.established()
        bye = builders.bye(invite, response)
        (route,) = bye.routes
        strict = Request("BYE", str(route.uri), bye.headers)
        strict.headers.set("Route", f"<{bye.uri_text}>")
        self.alice.send(strict)
        self.pass_time()
        came = self.bob.request("BYE")
        self.assertEqual((came.uri_text, came.headers.get_all("Route")), (bye.uri_text, []))
        self.answer(self.bob, 200, method="BYE")
        self.assertEqual(self.router.asked, [])
        self.settle()

    def test_other_dialog(self) -> None:
        """What proves one dialog proves no other one: the router is asked, and refuses."""
        for name, value in (("Call_ID", "another"), ("From", "<sip:alice@example.com>;tag=another")):
            invite, response = self.established()
            self.hang_up(invite, response, **{name: value})
            self.assertEqual((self.alice.kinds(), self.bob.kinds()), (["403"], []), name)
            self.settle()
            self.make_again()

    def make_again(self) -> None:
        """Begin with a new network."""
        self.setUp()

    def test_new_dialog(self) -> None:
        """Nor does it let another dialog begin: without a To tag the router is asked."""
        _, response = self.established()
        route = str(response.record_routes[0])
        self.send(uri=f"sip:bob@{CAROL}", headers=[("Route", route)], branch="z9hG4bK-9")
        self.assertEqual(self.alice.kinds(), ["100", "403"])
        self.settle()

    def test_forged(self) -> None:
        """A proof that somebody made up is none."""
        invite, response = self.established()
        self.hang_up(invite, response, Route=f"<sip:{PROXY}:5060;lr;dlg=0123456789abcdef>")
        self.assertEqual((self.alice.kinds(), len(self.router.asked)), (["403"], 1))
        self.settle()

    def test_key(self) -> None:
        """With the same key dialogs outlive the proxy; with another one they do not."""
        for key, expected in ((b"k" * 32, ["BYE"]), (b"l" * 32, [])):
            self.make_again()
            self.restart(b"k" * 32)
            invite, response = self.established()
            self.restart(key)
            self.hang_up(invite, response)
            self.assertEqual(self.bob.kinds(), expected)
            if expected:
                self.answer(self.bob, 200, method="BYE")
            self.settle()

    def restart(self, key: bytes) -> None:
        """Put another proxy in place of the one there is."""
        self.proxy = type(self.proxy)(
            clock=self.host,
            transport=self.transport,
            transactions=self.transactions,
            resolver=self.resolver,
            entropy=self.network.entropy,
            router=self.router,
            key=key,
        )
        self.transactions.core = self.proxy

    def test_bad_key(self) -> None:
        """A key has its length."""
        self.assertRaises(ValueError, self.restart, b"short")

    def test_without_record_routes(self) -> None:
        """A proxy that does not Record-Route does not stand in the way."""
        self.make_proxy(ProxySettings(record_routes=False))
        self.send()
        self.assertNotIn("Record-Route", self.bob.request().headers)
        self.answer(self.bob, 200)
        self.settle()

    def test_re_invite(self) -> None:
        """A re-INVITE is Record-Routed, too, and its ACK follows the Route."""
        invite, response = self.established()
        again = builders.bye(invite, response)
        again = Request("INVITE", again.uri_text, again.headers, builders.sdp())
        again.headers.set("CSeq", "2 INVITE")
        self.alice.send(again)
        self.pass_time()
        self.assertEqual(self.bob.request().headers.count("Record-Route"), 1)
        self.answer(self.bob, 200)
        ack = builders.ack(again, self.alice.response(200))
        self.alice.send(ack)
        self.pass_time()
        self.assertEqual(self.bob.kinds(), ["INVITE", "ACK"])
        self.settle()


class TransportTests(ProxyCase):
    """Calls between transports: Record-Route stands twice, once for each side (RFC 5658)."""

    def call(self, caller: str, callee: str, transports: tuple[Transport, Transport], uri: str) -> Request:
        """Let one peer call another, and hang up. Give the INVITE that came."""
        alice = self.peer("alice", caller, transports[0])
        bob = self.peer("bob", callee, transports[1])
        if transports[1].is_reliable:
            # The callee's only connection is the one that it makes: what is sent to it has to take that one.
            self.successResultOf(self.introduced(bob))
            flow = next(iter(self.transport._connections))
            self.router.rounds["bob"] = [[target(uri, flow=flow)]]
        else:
            self.router.rounds["bob"] = [[target(uri)]]
        bob.auto_answer(after=1.0)
        call = alice.call("bob")
        self.clock.advance(3.0)
        self.assertTrue(call.is_answered)
        self.assertTrue(bob.calls[0].is_acknowledged)
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual([one.ended_by for one in (call, *bob.calls)], ["us", "them"])
        self.settle()
        for peer in (alice, bob):
            self.assertEqual(len(peer.exchanges), 0)
            peer.close()
        return bob.calls[0].invite

    def uris(self, invite: Request) -> list[str]:
        """Give the Record-Route, without proof and flow."""
        return [
            str(one.uri.replace(parameters={k: v for k, v in one.uri.parameters.items() if k not in ("dlg", "flow")}))
            for one in invite.record_routes
            if isinstance(one.uri, SipUri)
        ]

    def test_same(self) -> None:
        """With UDP on both sides it stands once."""
        invite = self.call(ALICE, BOB, (Transport.UDP, Transport.UDP), f"sip:bob@{BOB}")
        self.assertEqual(self.uris(invite), [f"sip:{PROXY}:5060;lr"])

    def test_tcp_to_udp(self) -> None:
        """From TCP to UDP it stands twice, that of the callee's side on top."""
        invite = self.call(ALICE, BOB, (Transport.TCP, Transport.UDP), f"sip:bob@{BOB}")
        self.assertEqual(self.uris(invite), [f"sip:{PROXY}:5060;lr", f"sip:{PROXY}:5060;transport=tcp;lr"])

    def test_udp_to_tcp(self) -> None:
        """And the other way round."""
        uri = f"sip:bob@{BOB}:5060;transport=tcp"
        invite = self.call(ALICE, BOB, (Transport.UDP, Transport.TCP), uri)
        self.assertEqual(self.uris(invite), [f"sip:{PROXY}:5060;transport=tcp;lr", f"sip:{PROXY}:5060;lr"])

    def test_ipv6_to_ipv4(self) -> None:
        """From IPv6 to IPv4 it stands twice."""
        invite = self.call(ALICE6, BOB, (Transport.UDP, Transport.UDP), f"sip:bob@{BOB}")
        self.assertEqual(self.uris(invite), [f"sip:{PROXY}:5060;lr", f"sip:[{PROXY6}]:5060;lr"])


class LoopTests(WireCase):
    """Requests that come back."""

    def come_back(self, wire: Wire, **changes: str) -> Request:
        """Let a request that a callee got come back to the proxy, as a proxy there would send it."""
        request = wire.request().copy()
        uri = changes.pop("uri", f"sip:bob@{DOMAIN}")
        request = Request(request.method, uri, request.headers, request.body)
        for name, value in changes.items():
            request.headers.set(name, value)
        request.headers.prepend(
            "Via", f"SIP/2.0/UDP {wire.address}:5060;branch=z9hG4bK-{len(wire.seen)}-{wire.address}"
        )
        wire.send(request)
        self.pass_time()
        return request

    def test_loop(self) -> None:
        """One that comes back as it came is answered with 482, which becomes the answer to the first."""
        invite = self.send()
        again = self.come_back(self.bob)
        self.assertEqual(self.bob.kinds(), ["INVITE", "482"])
        self.bob.send(builders.ack(again, self.bob.response(482)))
        self.answer(self.bob, 482)
        self.acknowledge(invite, 482)
        self.settle()

    def test_loop_of_its_own(self) -> None:
        """A target that is the proxy itself ends in a loop, after one round."""
        self.route([f"sip:bob@{DOMAIN}"])
        self.network.names[DOMAIN] = [PROXY]
        invite = self.send()
        self.pass_time()
        self.acknowledge(invite, 482)
        self.assertEqual(len(self.router.asked), 1)
        self.settle()

    def test_spiral(self) -> None:
        """One that comes back for somebody else goes on."""
        carol = self.wire(CAROL)
        self.router.rounds["carol"] = [[target(f"sip:carol@{CAROL}")]]
        invite = self.send()
        again = self.come_back(self.bob, uri=f"sip:carol@{DOMAIN}")
        self.assertEqual(carol.kinds(), ["INVITE"])
        self.answer(carol, 486)
        self.bob.send(builders.ack(again, self.bob.response(486)))
        self.answer(self.bob, 486)
        self.acknowledge(invite, 486)
        self.settle()

    def test_other_route(self) -> None:
        """One that comes back with another Route is a spiral as well: here one that leads nowhere."""
        self.send()
        self.come_back(self.bob, Route=f"<sip:{CAROL};lr>")
        self.assertEqual(self.bob.kinds(), ["INVITE", "100", "403"])
        self.answer(self.bob, 200)
        self.settle()

    def test_no_hops_left(self) -> None:
        """One that has gone too far is answered with 483."""
        self.send(max_forwards=0)
        self.assertEqual(self.alice.kinds(), ["483"])
        self.settle()

    def test_malformed_via(self) -> None:
        """With a Via in between that nobody can read it is answered with 400."""
        self.send(headers=[("Via", "SIP/2.0/UDP ;branch=1")])
        self.assertEqual(self.alice.kinds(), ["400"])
        self.settle()


class StrayTests(WireCase):
    """Responses that no transaction waits for."""

    def settled(self) -> Response:
        """Give a 2xx whose transactions are all over."""
        self.send()
        response = self.answer(self.bob, 200)
        self.settle()
        self.alice.take()
        return response

    def test_success(self) -> None:
        """A 2xx to an INVITE that went this way goes on by its Via."""
        self.bob.send(self.settled())
        self.pass_time()
        self.assertEqual(self.alice.kinds(), ["200"])
        self.settle()

    def test_without_proof(self) -> None:
        """Without a Record-Route that proves it, it is dropped: it could be sent to anybody."""
        response = self.settled()
        response.headers.remove("Record-Route")
        self.bob.send(response)
        response.headers.add("Record-Route", f"<sip:{PROXY};lr>")
        self.bob.send(response)
        response.headers.set("Record-Route", "<tel:1>")
        self.bob.send(response)
        self.pass_time()
        self.assertEqual(self.alice.kinds(), [])

    def test_others(self) -> None:
        """So is every other one."""
        response = self.settled()
        for status, method in ((180, "INVITE"), (486, "INVITE"), (200, "MESSAGE")):
            other = response.copy()
            other.status = status
            other.headers.set("CSeq", f"1 {method}")
            self.bob.send(other)
        for name, value in (("Record-Route", "<<"), ("Via", str(response.via)), ("Via", f"{response.via}, x")):
            other = response.copy()
            other.headers.set(name, value)
            self.bob.send(other)
        self.pass_time()
        self.assertEqual(self.alice.kinds(), [])

    def test_unreachable_via(self) -> None:
        """One whose Via leads nowhere is dropped."""
        response = self.settled()
        for via in ("SIP/2.0/SCTP 192.0.2.1:5060;branch=1", "SIP/2.0/UDP alice.invalid;branch=1"):
            other = response.copy()
            other.headers.set("Via", f"{response.via}, {via}")
            self.bob.send(other)
        self.pass_time()
        self.assertEqual(self.alice.kinds(), [])
        self.assertIsInstance(parse_uri(f"sip:{ALICE}"), SipUri)
