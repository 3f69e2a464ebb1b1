"""Tests of `sipd.sip.hop_by_hop`: golden messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.hop_by_hop import build_ack, build_cancel
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram

INVITE = (
    b"INVITE sip:bob@198.51.100.4;line=7 SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK77;rport\r\n"
    b"Via: SIP/2.0/TCP 203.0.113.9;branch=z9hG4bK01\r\n"
    b"Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n"
    b"Route: <sip:p3.example.com;lr>\r\n"
    b"Max-Forwards: 12\r\n"
    b'From: "Alice" <sip:alice@example.com>;tag=88sja8x\r\n'
    b"To: Bob <sip:bob@example.com>\r\n"
    b"Call-ID: 987asjd97y7atg\r\n"
    b"CSeq: 986759 INVITE\r\n"
    b"Require: 100rel\r\n"
    b"Proxy-Require: foo\r\n"
    b'Proxy-Authorization: Digest username="alice"\r\n'
    b"Contact: <sip:alice@192.0.2.1>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Content-Length: 4\r\n\r\nv=0\n"
)

BUSY = (
    b"SIP/2.0 486 Busy Here\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK77;rport=5060;received=192.0.2.1\r\n"
    b'From: "Alice" <sip:alice@example.com>;tag=88sja8x\r\n'
    b"To: Bob <sip:bob@example.com>;tag=b7\r\n"
    b"Call-ID: 987asjd97y7atg\r\n"
    b"CSeq: 986759 INVITE\r\n\r\n"
)


def invite() -> Request:
    """Parse the INVITE."""
    message = parse_datagram(INVITE)
    assert isinstance(message, Request)
    return message


class HopByHopTests(SynchronousTestCase):
    """ACK and CANCEL to the octet."""

    def test_ack(self) -> None:
        """The ACK has the INVITE's own Via, Route, From, Call-ID and number, and the To of the response (17.1.1.3)."""
        response = parse_datagram(BUSY)
        assert isinstance(response, Response)
        self.assertEqual(
            build_ack(invite(), response).to_bytes(),
            b"ACK sip:bob@198.51.100.4;line=7 SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK77;rport\r\n"
            b"Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n"
            b"Route: <sip:p3.example.com;lr>\r\n"
            b"Max-Forwards: 70\r\n"
            b'From: "Alice" <sip:alice@example.com>;tag=88sja8x\r\n'
            b"To: Bob <sip:bob@example.com>;tag=b7\r\n"
            b"Call-ID: 987asjd97y7atg\r\n"
            b"CSeq: 986759 ACK\r\n"
            b"Content-Length: 0\r\n\r\n",
        )

    def test_cancel(self) -> None:
        """The CANCEL repeats the INVITE's hop and identity, without Require, credentials or body (9.1, lesson 27)."""
        self.assertEqual(
            build_cancel(invite()).to_bytes(),
            b"CANCEL sip:bob@198.51.100.4;line=7 SIP/2.0\r\n"
            b"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK77;rport\r\n"
            b"Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n"
            b"Route: <sip:p3.example.com;lr>\r\n"
            b"Max-Forwards: 70\r\n"
            b'From: "Alice" <sip:alice@example.com>;tag=88sja8x\r\n'
            b"To: Bob <sip:bob@example.com>\r\n"
            b"Call-ID: 987asjd97y7atg\r\n"
            b"CSeq: 986759 CANCEL\r\n"
            b"Content-Length: 0\r\n\r\n",
        )

    def test_cancel_with_a_reason(self) -> None:
        """Header fields given by the user stand in the CANCEL."""
        cancel = build_cancel(invite(), [("Reason", 'SIP;cause=200;text="Call completed elsewhere"')])
        self.assertEqual(cancel.headers.get("Reason"), 'SIP;cause=200;text="Call completed elsewhere"')

    def test_two_values_in_one_via_line(self) -> None:
        """Where the INVITE has two Via values in one line, only the topmost goes along."""
        request = invite()
        request.headers.set("Via", "SIP/2.0/UDP a.example.com;branch=z9hG4bK1, SIP/2.0/UDP b.example.com")
        self.assertEqual(build_cancel(request).headers.get_all("Via"), ["SIP/2.0/UDP a.example.com;branch=z9hG4bK1"])

    def test_invite_stays_as_it_is(self) -> None:
        """Building from an INVITE does not change it."""
        request = invite()
        build_cancel(request, [("Reason", "SIP")])
        self.assertEqual(request, invite())


class SessionIdTests(SynchronousTestCase):
    """RFC 7989 section 7: both say what the INVITE said."""

    def test_is_that_of_the_invite(self) -> None:
        """Whatever is known by then."""
        request = invite()
        request.headers.add("Session-ID", "1;remote=2")
        busy = parse_datagram(BUSY)
        assert isinstance(busy, Response)
        busy.headers.add("Session-ID", "3;remote=1")
        for message in (build_ack(request, busy), build_cancel(request)):
            self.assertEqual(message.headers.get_all("Session-ID"), ["1;remote=2"])
