"""Tests of `sipd.transport.via`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.fields import Via
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram
from sipd.transport.via import build_refusal, response_address, stamp_source
from tests.transport.support import TCP, TLS, UDP, request_octets


def request(via: str, **changes: str) -> Request:
    """Parse a request with that Via."""
    message = parse_datagram(request_octets(via, **changes))  # type: ignore[arg-type]  # only texts are given here
    assert isinstance(message, Request)
    return message


class StampTests(SynchronousTestCase):
    """RFC 3261 section 18.2.1 and RFC 3581 section 4."""

    def stamped(self, parameters: str, sent_by: str = "192.0.2.9:5070") -> str:
        """Give the parameters of a Via after a request with it came from 192.0.2.1:40000."""
        message = request(f"SIP/2.0/UDP {sent_by};branch=z9hG4bK1{parameters}")
        before = str(message.via)
        stamp_source(message, "192.0.2.1", 40000)
        self.assertEqual(str(message.via), message.headers.values("Via")[0])
        self.assertEqual(parse_datagram(message.to_bytes()).via, message.via)
        return str(message.via).removeprefix(before.split(";", 1)[0] + ";branch=z9hG4bK1")

    def test_received(self) -> None:
        """`received` is added where sent-by is another address or a name, and not where it is the same."""
        self.assertEqual(self.stamped(""), ";received=192.0.2.1")
        self.assertEqual(self.stamped("", "host.example.com"), ";received=192.0.2.1")
        self.assertEqual(self.stamped("", "192.0.2.1:5070"), "")

    def test_rport(self) -> None:
        """`rport` gets the port, and `received` then stands there in any case."""
        self.assertEqual(self.stamped(";rport"), ";rport=40000;received=192.0.2.1")
        self.assertEqual(self.stamped(";rport", "192.0.2.1"), ";rport=40000;received=192.0.2.1")

    def test_forged(self) -> None:
        """What the sender claims is replaced."""
        self.assertEqual(self.stamped(";received=198.51.100.1;rport=1"), ";received=192.0.2.1;rport=40000")
        self.assertEqual(self.stamped(";received=198.51.100.1", "192.0.2.1"), ";received=192.0.2.1")

    def test_only_the_topmost(self) -> None:
        """Other values, on the same line or on others, stay as they are."""
        others = 'SIP/2.0/TCP b.example.com;rport;x="a,b"\r\nVia: SIP/2.0/UDP c.example.com'
        message = request(f"SIP/2.0/UDP a.example.com;rport , {others}")
        stamp_source(message, "192.0.2.1", 40000)
        vias = [str(via) for via in message.vias]
        self.assertEqual(vias[1:], ['SIP/2.0/TCP b.example.com;rport;x="a,b"', "SIP/2.0/UDP c.example.com"])

    def test_ipv6(self) -> None:
        """An IPv6 address stands in `received` without brackets, as the grammar has it."""
        message = request("SIP/2.0/UDP [2001:db8::9]:5060;rport")
        stamp_source(message, "2001:db8::1", 5060)
        self.assertEqual(str(message.via), "SIP/2.0/UDP [2001:db8::9]:5060;rport=5060;received=2001:db8::1")

    def test_missing(self) -> None:
        """Without a Via, or with one that does not parse, nobody knows where a response would go."""
        self.assertRaises(ParseError, stamp_source, request("", without="Via"), "192.0.2.1", 1)
        self.assertRaises(ParseError, stamp_source, request("SIP/2.0 example.com"), "192.0.2.1", 1)


class ResponseAddressTests(SynchronousTestCase):
    """RFC 3261 section 18.2.2."""

    def test_addresses(self) -> None:
        """maddr, then rport, then received with the port of sent-by; a reliable transport has only the last."""
        for parameters, transport, expected in (
            ("192.0.2.9;received=192.0.2.1", UDP, ("192.0.2.1", 5060)),
            ("192.0.2.9:5070;received=192.0.2.1", UDP, ("192.0.2.1", 5070)),
            ("192.0.2.9:5070;received=192.0.2.1;rport=40000", UDP, ("192.0.2.1", 40000)),
            ("192.0.2.9:5070;received=192.0.2.1;maddr=192.0.2.7;rport=1", UDP, ("192.0.2.7", 5070)),
            ("192.0.2.9:5070;received=192.0.2.1;maddr=host.example.com", UDP, ("192.0.2.1", 5070)),
            ("192.0.2.9;received=192.0.2.1;maddr=224.0.1.75", UDP, ("192.0.2.1", 5060)),
            ("192.0.2.9;received=192.0.2.1;maddr=255.255.255.255", UDP, ("192.0.2.1", 5060)),
            ("192.0.2.9;received=192.0.2.1;maddr=127.0.0.1", UDP, ("192.0.2.1", 5060)),
            ("127.0.0.2;received=127.0.0.2;maddr=127.0.0.1", UDP, ("127.0.0.1", 5060)),
            ("192.0.2.9;received=2001:db8::1;maddr=[ff02::1]", UDP, ("2001:db8::1", 5060)),
            ("192.0.2.9;received=2001:db8::1", UDP, ("2001:db8::1", 5060)),
            ("192.0.2.9:5070;received=192.0.2.1;rport=40000;maddr=192.0.2.7", TCP, ("192.0.2.1", 5070)),
            ("192.0.2.9;received=192.0.2.1;rport=40000", TLS, ("192.0.2.1", 5061)),
            ("192.0.2.9:5070", UDP, ("192.0.2.9", 5070)),
        ):
            via = Via.parse(f"SIP/2.0/{transport.value} {parameters}")
            self.assertEqual(response_address(via, transport), expected, parameters)


class RefusalTests(SynchronousTestCase):
    """RFC 3261 section 8.2.7."""

    def test_headers_and_tag(self) -> None:
        """It copies what a response copies, carries the headers of the error, and tags To the same way each time."""
        error = RequestRefusedError("Bad Extension", status=420, headers=(("Unsupported", "x"),))
        first, second = (build_refusal(request("SIP/2.0/UDP a;branch=z9hG4bK1"), error) for _ in range(2))
        assert first is not None
        self.assertEqual(first, second)
        self.assertEqual((first.status, first.reason, first.headers.get("Unsupported")), (420, "Bad Extension", "x"))
        self.assertEqual((first.call_id, str(first.cseq), str(first.via.host)), ("c1", "1 OPTIONS", "a"))
        other = build_refusal(request("SIP/2.0/UDP a;branch=z9hG4bK2"), error)
        assert other is not None
        self.assertNotEqual(first.to.tag, other.to.tag)

    def test_malformed_to(self) -> None:
        """A To that does not parse goes back as it came."""
        message = parse_datagram(request_octets().replace(b"<sip:bob@example.com>\r\nCall", b'"<sip:b>\r\nCall'))
        assert isinstance(message, Request)
        response = build_refusal(message, ParseError("Malformed address"))
        assert response is not None
        self.assertEqual(response.headers.get("To"), '"<sip:b>')

    def test_ack(self) -> None:
        """There is no response to ACK."""
        self.assertIs(build_refusal(request("SIP/2.0/UDP a", method="ACK"), ParseError("x")), None)
