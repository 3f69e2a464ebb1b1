"""Tests of `sipd.sip.matching`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.matching import cancelled_key, client_key, merge_key, response_key, server_key, source_key
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram


def request(
    method: str = "INVITE",
    *,
    via: str = "SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKabc",
    uri: str = "sip:bob@example.com",
    from_tag: str = "a1",
    to_tag: str = "",
    call_id: str = "c1",
    cseq: int = 1,
) -> Request:
    """Make a request as it comes from the network."""
    tag = f";tag={to_tag}" if to_tag else ""
    message = parse_datagram(
        f"{method} {uri} SIP/2.0\r\nVia: {via}\r\nFrom: <sip:a@example.com>;tag={from_tag}\r\n"
        f"To: <sip:b@example.com>{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


OLD = "SIP/2.0/UDP 192.0.2.7:5070"


class ClientMatchingTests(SynchronousTestCase):
    """RFC 3261 section 17.1.3."""

    def test_branch_and_method(self) -> None:
        """A response belongs to what has its branch and the method of its CSeq."""
        response = request().response(200)
        self.assertEqual(response_key(response), client_key("z9hG4bKabc", "INVITE"))
        self.assertNotEqual(response_key(response), client_key("z9hG4bKabc", "CANCEL"))
        self.assertNotEqual(response_key(response), client_key("z9hG4bKabd", "INVITE"))

    def test_branch_in_any_case(self) -> None:
        """A peer that changes the case of the branch is understood (section 7.3.1)."""
        response = request(via="SIP/2.0/UDP 192.0.2.7:5070;branch=Z9HG4BKABC").response(200)
        self.assertEqual(response_key(response), client_key("z9hG4bKabc", "INVITE"))


class ServerMatchingTests(SynchronousTestCase):
    """RFC 3261 section 17.2.3, with a branch that is unique."""

    def test_retransmission(self) -> None:
        """The same branch, sent-by and method are the same transaction, whatever else differs."""
        again = request(via="SIP/2.0/UDP 192.0.2.7:5070;rport=9;branch=z9hG4bKabc", call_id="c2")
        self.assertEqual(server_key(request()), server_key(again))

    def test_different(self) -> None:
        """Another branch, sent-by host, sent-by port or method is another transaction."""
        for other in (
            request(via="SIP/2.0/UDP 192.0.2.7:5070;branch=z9hG4bKabd"),
            request(via="SIP/2.0/UDP 192.0.2.8:5070;branch=z9hG4bKabc"),
            request(via="SIP/2.0/UDP 192.0.2.7:5071;branch=z9hG4bKabc"),
            request(via="SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKabc"),
            request("OPTIONS"),
        ):
            self.assertNotEqual(server_key(request()), server_key(other))

    def test_ack_belongs_to_its_invite(self) -> None:
        """The ACK of a failure has the key of the INVITE."""
        self.assertEqual(server_key(request("ACK", to_tag="b1")), server_key(request()))

    def test_cancel_is_a_transaction_of_its_own(self) -> None:
        """A CANCEL has its own key, and names that of the INVITE."""
        self.assertNotEqual(server_key(request("CANCEL")), server_key(request()))
        self.assertEqual(cancelled_key(request("CANCEL")), server_key(request()))

    def test_keys_are_hashable_and_flat(self) -> None:
        """A key is a tuple of plain values."""
        for key in (server_key(request()), server_key(request(via=OLD))):
            self.assertTrue(all(part is None or isinstance(part, (str, int)) for part in key))


class Rfc2543Tests(SynchronousTestCase):
    """RFC 3261 section 17.2.3, without the magic cookie."""

    def test_retransmission(self) -> None:
        """What agrees in request URI, From tag, Call-ID, CSeq and Via is the same transaction."""
        self.assertEqual(server_key(request(via=OLD)), server_key(request(via=OLD)))
        self.assertEqual(server_key(request(via=f"{OLD};branch=1")), server_key(request(via=f"{OLD};branch=1")))

    def test_different(self) -> None:
        """What differs in one of them is another transaction."""
        for other in (
            request(via="SIP/2.0/UDP 192.0.2.7:5071"),
            request(via=f"{OLD};branch=1"),
            request(via=OLD, uri="sip:carol@example.com"),
            request(via=OLD, from_tag="a2"),
            request(via=OLD, call_id="c2"),
            request(via=OLD, cseq=2),
            request("OPTIONS", via=OLD),
            request(),
        ):
            self.assertNotEqual(server_key(request(via=OLD)), server_key(other))

    def test_ack_and_cancel(self) -> None:
        """The ACK, which has the To tag of the response, and the CANCEL find the INVITE."""
        self.assertEqual(server_key(request("ACK", via=OLD, to_tag="b1")), server_key(request(via=OLD)))
        self.assertEqual(cancelled_key(request("CANCEL", via=OLD)), server_key(request(via=OLD)))

    def test_the_cookie_alone_is_no_identifier(self) -> None:
        """A branch with nothing behind the cookie falls back to RFC 2543 (RFC 4475 section 3.2.1)."""
        bare = f"{OLD};branch=z9hG4bK"
        self.assertNotEqual(server_key(request(via=bare)), server_key(request(via=bare, call_id="c2")))
        self.assertIsNone(source_key(request(via=bare), "192.0.2.7"))


class SourceTests(SynchronousTestCase):
    """Lesson 7: a client behind NAT that changes its sent-by."""

    def test_another_sent_by(self) -> None:
        """Branch and source stay the same when the sent-by changes."""
        cancel = request("CANCEL", via="SIP/2.0/UDP 203.0.113.5:40000;branch=z9hG4bKabc")
        self.assertNotEqual(cancelled_key(cancel), server_key(request()))
        self.assertEqual(source_key(cancel, "203.0.113.5"), source_key(request(), "203.0.113.5"))

    def test_another_source(self) -> None:
        """From elsewhere the branch alone does not match."""
        self.assertNotEqual(source_key(request("CANCEL"), "203.0.113.6"), source_key(request(), "203.0.113.5"))

    def test_not_for_old_branches(self) -> None:
        """A branch that is not unique is not enough."""
        self.assertIsNone(source_key(request(via=OLD), "192.0.2.7"))


class MergeTests(SynchronousTestCase):
    """RFC 3261 section 8.2.2.2."""

    def test_copies_on_two_paths(self) -> None:
        """Copies of one request have another branch and the same From tag, Call-ID and CSeq."""
        other = request(via="SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKother")
        self.assertEqual(merge_key(request()), merge_key(other))

    def test_different(self) -> None:
        """Another From tag, Call-ID, number or method is another request."""
        for other in (request(from_tag="x"), request(call_id="x"), request(cseq=2), request("OPTIONS")):
            self.assertNotEqual(merge_key(request()), merge_key(other))

    def test_not_within_a_dialog(self) -> None:
        """A request with a To tag is never merged."""
        self.assertIsNone(merge_key(request(to_tag="b1")))
