"""The steps from a request to its copy, one by one."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import RequestRefusedError
from sipd.interfaces import IFlow
from sipd.proxy.forwarding import Forwarding, Outgoing, Received
from sipd.proxy.settings import ProxySettings
from sipd.sip.locate import Target, Transport
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import SipUri
from sipd.testing import builders
from tests.proxy.support import target
from tests.transaction.fakes import FakeFlow, FakeTransport

#: The address of the listening point of a `FakeFlow`.
US = "192.0.2.1"


class Transports(FakeTransport):
    """Has listening points, and knows flows by the address of the peer."""

    def __init__(self) -> None:
        super().__init__()
        self.flows: dict[tuple[Transport, str, int], FakeFlow] = {}

    def find_flow(self, target: Target) -> IFlow | None:
        """See `ITransportLayer`."""
        return self.flows.get((target.transport, target.host, target.port))


class ForwardingCase(SynchronousTestCase):
    """Sections 16.3 to 16.6 on a UDP and a TLS listening point of `US`."""

    def setUp(self) -> None:
        """Make them."""
        self.flow = FakeFlow(Clock(), host="192.0.2.1")
        self.flow.port = 5060
        self.tls = FakeFlow(Clock(), Transport.TLS)
        self.transport = Transports()
        self.transport.points = (self.flow.point, self.tls.point)
        self.forwarding = self.make()

    def make(self, **settings: Any) -> Forwarding:
        """Make the steps for other settings."""
        return Forwarding(self.transport, ProxySettings(**settings), b"k" * 16)

    def receive(self, request: Request, flow: FakeFlow | None = None) -> Received:
        """Do sections 16.3 and 16.4."""
        return self.forwarding.receive(request, flow or self.flow)

    def refusal(self, request: Request) -> RequestRefusedError:
        """Give what a request is refused with."""
        error: RequestRefusedError = self.assertRaises(RequestRefusedError, self.receive, request)
        return error

    def forward(self, request: Request, uri: str = "sip:bob@192.0.2.2", **options: Any) -> Outgoing:
        """Do section 16.6 for one target, which follows Routes."""
        return self.forwarding.forward(self.receive(request), target(uri, follows_routes=True, **options))

    def recorded(self, outgoing: Outgoing, request: Request, came: FakeFlow, leaves: FakeFlow) -> list[str]:
        """Give the Record-Route of a copy, without the proofs."""
        copy = outgoing.request.copy()
        self.forwarding.record(copy, self.receive(request, came), leaves, outgoing.target)
        values = []
        for value in copy.record_routes:
            assert isinstance(value.uri, SipUri)
            values.append(str(value.uri).partition(";dlg=")[0])
        return values


class ValidationTests(ForwardingCase):
    """Section 16.3."""

    def test_scheme(self) -> None:
        """A scheme that nobody knows is 416; tel is known."""
        self.assertEqual(self.refusal(builders.invite("http://x")).status, 416)
        self.receive(builders.invite("tel:+4912345"))

    def test_hops(self) -> None:
        """Max-Forwards 0 is 483, for ACK, too."""
        self.assertEqual(self.refusal(builders.invite(max_forwards=0)).status, 483)
        self.assertEqual(self.refusal(builders.request("ACK", max_forwards=0)).status, 483)
        self.receive(builders.invite(max_forwards=1))

    def test_proxy_require(self) -> None:
        """What Proxy-Require asks for and nobody can is 420, and Unsupported says what it is."""
        request = builders.invite(headers=[("Proxy-Require", "sec-agree, Known"), ("Proxy-Require", "x")])
        refusal = self.refusal(request)
        self.assertEqual((refusal.status, refusal.headers), (420, (("Unsupported", "sec-agree, Known, x"),)))
        self.forwarding = self.make(supported=frozenset(("known", "sec-agree")))
        self.assertEqual(self.refusal(request).headers, (("Unsupported", "x"),))
        self.forwarding = self.make(supported=frozenset(("known", "sec-agree", "x")))
        self.receive(request)

    def test_proxy_require_of_others(self) -> None:
        """Nobody asks ACK and CANCEL; Require is for the other end."""
        fields = [("Proxy-Require", "x")]
        self.receive(builders.request("ACK", headers=fields))
        self.receive(builders.request("CANCEL", headers=fields))
        self.receive(builders.invite(headers=[("Require", "x")]))

    def test_malformed(self) -> None:
        """What cannot be read is 400."""
        for name, value in (("Proxy-Require", '"a, b'), ("Proxy-Require", "a b"), ("Route", "<"), ("Route", "<<x>>")):
            self.assertEqual(self.refusal(builders.invite(headers=[(name, value)])).status, 400, value)

    def test_key(self) -> None:
        """A key has 16 to 32 octets."""
        for size in (15, 33):
            self.assertRaises(ValueError, Forwarding, self.transport, ProxySettings(), b"x" * size)


class PreprocessingTests(ForwardingCase):
    """Section 16.4."""

    def routes(self, *values: str, uri: str = builders.BOB) -> tuple[str, list[str]]:
        """Give Request-URI and Route lines after it."""
        request = self.receive(builders.invite(uri, headers=[("Route", value) for value in values])).request
        return request.uri_text, request.headers.get_all("Route")

    def test_own_routes(self) -> None:
        """The values on top that mean this proxy go, and only those; others stay as they are written."""
        own, other = f"<sip:{US};lr>", "<sip:x.invalid;lr>;p=1"
        self.assertEqual(self.routes(own), (builders.BOB, []))
        self.assertEqual(self.routes(own, other), (builders.BOB, [other]))
        self.assertEqual(self.routes(f"{own},{own} , {other}"), (builders.BOB, [other]))
        self.assertEqual(self.routes(other, own), (builders.BOB, [other, own]))
        self.assertEqual(self.routes(f" {other},{own}"), (builders.BOB, [f"{other},{own}"]))

    def test_own_names(self) -> None:
        """It is meant by its addresses and names, with its ports alone."""
        self.forwarding = self.make(names=frozenset(("Proxy.example.com",)))
        for own in (f"sip:{US}:5060", "sip:PROXY.example.com", "sips:proxy.example.com", "sip:proxy.example.com:5060"):
            self.assertEqual(self.routes(f"<{own};lr>"), (builders.BOB, []), own)
        for other in (f"sip:{US}:5070", "sip:proxy.example.com:5070", "sip:example.com", "tel:1"):
            self.assertEqual(self.routes(f"<{other}>")[1], [f"<{other}>"], other)

    def test_strict_router(self) -> None:
        """A Record-Route in the Request-URI makes room for the last value of the Route."""
        uri = f"sip:{US}:5060;lr;dlg=0"
        self.assertEqual(self.routes("<sip:bob@b>", uri=uri), ("sip:bob@b", []))
        self.assertEqual(self.routes("<sip:a;lr>,<sip:bob@b>", uri=uri), ("sip:bob@b", ["<sip:a;lr>"]))
        self.assertEqual(self.routes(uri=uri), (uri, []))
        self.assertEqual(self.routes("<sip:bob@b>", uri=f"sip:{US};lr")[0], f"sip:{US};lr")
        self.assertEqual(self.routes("<sip:bob@b>", uri=f"sip:x@{US};dlg=0")[0], f"sip:x@{US};dlg=0")

    def test_maddr(self) -> None:
        """A `maddr` that means this proxy goes, with port and transport, if the request came in this way."""
        for uri, expected in (
            (f"sip:bob@b;maddr={US}", "sip:bob@b"),
            (f"sip:bob@b:5060;transport=udp;maddr={US};x=1", "sip:bob@b;x=1"),
            (f"sip:bob@b:5070;maddr={US}", None),
            (f"sip:bob@b;transport=tcp;maddr={US}", None),
            ("sip:bob@b;maddr=192.0.2.9", None),
        ):
            self.assertEqual(self.routes(uri=uri)[0], expected or uri)

    def test_loop_key(self) -> None:
        """The key is that of a request that comes again, of its CANCEL and its ACK; a spiral has another one."""
        invite = builders.invite()
        key = self.receive(invite).loop_key
        refusal = builders.response(invite, 486)
        for same in (
            builders.invite(headers=[("Route", f"<sip:{US};lr>"), ("Proxy-Authorization", "Digest x=1")]),
            builders.invite(max_forwards=3, branch="z9hG4bK-other"),
            builders.cancel(invite),
            builders.ack(invite, refusal),
        ):
            self.assertEqual(self.receive(same).loop_key, key)
        for other in (
            builders.invite("sip:bob2@example.com"),
            builders.invite(from_tag="x"),
            builders.invite(call_id="x"),
            builders.invite(cseq=2),
            builders.invite(headers=[("Route", "<sip:x;lr>")]),
        ):
            self.assertNotEqual(self.receive(other).loop_key, key)


class CopyTests(ForwardingCase):
    """Section 16.6, steps 1 to 3, 6 and 7."""

    def test_untouched(self) -> None:
        """Header lines that nothing has to be done to stay octet for octet."""
        data = (
            b"MESSAGE sip:bob@example.com SIP/2.0\r\n"
            b"v: SIP / 2.0 / UDP 192.0.2.1 ;branch=z9hG4bK1\r\n"
            b'TO :  <sip:bob@example.com>\r\nf:"A" <sip:a@x> ; tag=1\r\ni: 1\r\nCSeq: 1  MESSAGE\r\n'
            b"Max-Forwards: 7\r\nX-Folded: a\r\n  b\r\nl:3\r\nRoute: <sip:192.0.2.1;lr> , <sip:r;lr>\r\n"
            b"Route:<sip:s;lr>\r\n\r\nabc"
        )
        message = parse_datagram(data)
        assert isinstance(message, Request)
        expected = (
            data.replace(b"sip:bob@example.com SIP", b"sip:bob@192.0.2.2 SIP")
            .replace(b"Max-Forwards: 7", b"Max-Forwards: 6")
            .replace(b"Route: <sip:192.0.2.1;lr> , <sip:r;lr>", b"Route: <sip:r;lr>")
        )
        self.assertEqual(self.forward(message).request.to_bytes(), expected)
        self.assertEqual(message.to_bytes(), data)

    def test_max_forwards(self) -> None:
        """A request without Max-Forwards gets 70."""
        request = builders.invite()
        request.headers.remove("Max-Forwards")
        self.assertEqual(self.forward(request).request.max_forwards, 70)

    def test_request_uri(self) -> None:
        """What may not stand in a Request-URI is left off; the same URI stays as it was written."""
        self.assertEqual(self.forward(builders.invite(), "sip:b@x;method=BYE?A=b").request.uri_text, "sip:b@x")
        self.assertEqual(self.forward(builders.invite("SIP:B@X"), "sip:B@X").request.uri_text, "sip:B@X")

    def test_next_hop(self) -> None:
        """The next hop is what the router says, else the Route, else the Request-URI."""
        routed = builders.invite(headers=[("Route", "<sip:r;lr>")])
        self.assertEqual(str(self.forward(builders.invite(), "sip:b@x").next_hop), "sip:b@x")
        self.assertEqual(str(self.forward(routed, "sip:b@x").next_hop), "sip:r;lr")
        self.assertEqual(str(self.forward(routed, "sip:b@x", route_set=("<sip:q;lr>",)).next_hop), "sip:q;lr")
        outgoing = self.forward(routed, "sip:b@x", next_hop=target("sip:n").uri)
        self.assertEqual((str(outgoing.next_hop), outgoing.request.headers.get_all("Route")), ("sip:n", ["<sip:r;lr>"]))

    def test_strict_next_hop(self) -> None:
        """A strict router gets itself in the Request-URI, and that one at the end of the Route."""
        request = builders.invite(headers=[("Route", "<sip:strict.invalid;method=x>, <sip:r;lr>")])
        outgoing = self.forward(request, "sip:bob@b")
        self.assertEqual(outgoing.request.uri_text, "sip:strict.invalid")
        self.assertEqual(outgoing.request.headers.values("Route"), ["<sip:r;lr>", "<sip:bob@b>"])
        self.assertEqual(outgoing.next_hop, target("sip:strict.invalid;method=x").uri)

    def test_refused_route(self) -> None:
        """A Route that the target does not follow is 403."""
        received = self.receive(builders.invite(headers=[("Route", "<sip:r;lr>")]))
        error = self.assertRaises(RequestRefusedError, self.forwarding.forward, received, target("sip:b@x"))
        self.assertEqual(error.status, 403)


class RecordRouteTests(ForwardingCase):
    """Section 16.6, step 4, and RFC 5658."""

    def test_methods(self) -> None:
        """Requests that make dialogs get one, and no others."""
        for method, count in (("INVITE", 1), ("SUBSCRIBE", 1), ("REFER", 1), ("NOTIFY", 1), ("MESSAGE", 0), ("BYE", 0)):
            request = builders.request(method)
            values = self.recorded(self.forward(request), request, self.flow, self.flow)
            self.assertEqual(values, [f"sip:{US}:5060;lr"] * count, method)

    def test_on_top(self) -> None:
        """It stands before those that were there."""
        request = builders.invite(headers=[("Record-Route", "<sip:other;lr>")])
        values = self.recorded(self.forward(request), request, self.flow, self.flow)
        self.assertEqual(values, [f"sip:{US}:5060;lr", "sip:other;lr"])

    def test_secure(self) -> None:
        """With `sips` it is `sips` on the secure side, with TLS alone it is not."""
        request = builders.invite("sips:bob@example.com", transport="TLS")
        inner, outer = self.recorded(self.forward(request, "sips:b@x"), request, self.tls, FakeFlow(Clock()))[::-1]
        self.assertEqual((inner.partition(";flow")[0], outer), (f"sips:{US}:5060;lr", f"sip:{US}:5060;lr"))
        request = builders.invite(transport="TLS")
        inner, _ = self.recorded(self.forward(request), request, self.tls, FakeFlow(Clock()))[::-1]
        self.assertEqual(inner.partition(";flow")[0], f"sip:{US}:5060;transport=tls;lr")

    def test_flow(self) -> None:
        """Who came by a connection, or through a NAT, is reached there again, as long as it is open."""
        for came, is_pinned in ((self.tls, True), (FakeFlow(Clock()), True), (self.flow, False)):
            self.transport.flows = {(came.transport, came.host, came.port): came}
            request = builders.invite(via="192.0.2.1:5060", transport=came.transport.value)
            copy = self.forward(request).request
            self.forwarding.record(copy, self.receive(request, came), self.flow, target("sip:b@x"))
            inner = copy.record_routes[-1]
            back = builders.request("BYE", from_tag="b", to_tag="from-tag", headers=[("Route", str(inner))])
            received = self.receive(back)
            self.assertTrue(received.is_known)
            self.assertIs(received.known_flow, came if is_pinned else None)
            self.transport.flows.clear()
            self.assertIsNone(self.receive(back).known_flow)
            changed = str(inner).replace("flow=", "flow=0") if is_pinned else f"{inner}".replace(";lr", ";flow=x;lr")
            forged = builders.request("BYE", from_tag="b", to_tag="from-tag", headers=[("Route", changed)])
            self.assertFalse(self.receive(forged).is_known)

    def test_chosen_flow(self) -> None:
        """A flow that the router chose is kept for the dialog."""
        request = builders.invite()
        chosen = FakeFlow(Clock(), host="192.0.2.9")
        outgoing = self.forward(request, flow=chosen)
        values = self.recorded(outgoing, request, self.flow, chosen)
        self.assertEqual(values, [f"sip:{US}:5060;lr;flow=udp-c0000209-5070", f"sip:{US}:5060;lr"])

    def test_odd_flows(self) -> None:
        """A flow that nobody wrote like this is none."""
        find = self.forwarding.record_routes.find_flow
        for text in ("sip:x", "sip:x;flow", "sip:x;flow=1", "sip:x;flow=udp-zz-1", "sip:x;flow=udp-c0-1", "tel:1",
                     "sip:x;flow=xx-c0000209-1", "sip:x;flow=udp-c0000209-y"):  # fmt: skip
            self.assertIsNone(find(target(text).uri), text)
