"""Requests and responses: what is read from them, what they print, and the response to a request."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError
from sipd.sip.fields import CSeq, NameAddr, Via
from sipd.sip.headers import Headers
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import SipUri, parse_uri

INVITE = (
    b"INVITE sip:bob@biloxi.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds, SIP/2.0/TCP p1;branch=z9hG4bK2\r\n"
    b"v: SIP/2.0/UDP p2\r\n"
    b"Max-Forwards: 70\r\n"
    b"t:  Bob <sip:bob@biloxi.example> \r\n"
    b"From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Timestamp: 54\r\n"
    b"Contact: <sip:alice@pc33.atlanta.example>\r\n"
    b"Route: <sip:r1;lr>, <sip:r2;lr>\r\n"
    b"Route: <sip:r3;lr>\r\n"
    b"Record-Route: <sip:rr;lr>\r\n"
    b"Expires: 30\r\n"
    b"Content-Type: Application/SDP;x=y\r\n"
    b"Content-Length: 4\r\n"
    b"\r\n"
    b"v=0\n"
)


def invite() -> Request:
    """Give that INVITE, parsed anew."""
    message = parse_datagram(INVITE)
    assert isinstance(message, Request)
    return message


class ReadingTests(SynchronousTestCase):
    """Values of header fields."""

    def test_reads_every_field(self) -> None:
        """What a core asks for is there, parsed."""
        request = invite()
        self.assertEqual(request.method, "INVITE")
        self.assertEqual((str(request.uri), request.uri_text), ("sip:bob@biloxi.example", "sip:bob@biloxi.example"))
        self.assertEqual(request.via.branch, "z9hG4bK776asdhds")
        self.assertEqual([via.host for via in request.vias], ["pc33.atlanta.example", "p1", "p2"])
        self.assertEqual((request.from_.tag, request.to.tag), ("1928301774", None))
        self.assertEqual(request.call_id, "a84b4c76e66710@pc33.atlanta.example")
        self.assertEqual(request.cseq, CSeq(314159, "INVITE"))
        self.assertEqual([str(contact.uri) for contact in request.contacts], ["sip:alice@pc33.atlanta.example"])
        self.assertEqual([str(route) for route in request.routes], ["<sip:r1;lr>", "<sip:r2;lr>", "<sip:r3;lr>"])
        self.assertEqual([str(route) for route in request.record_routes], ["<sip:rr;lr>"])
        self.assertEqual((request.max_forwards, request.expires), (70, 30))
        self.assertEqual((request.content_type, request.body), ("application/sdp", b"v=0\n"))

    def test_parses_once(self) -> None:
        """Reading a field again gives the same object."""
        request = invite()
        self.assertIs(request.via, request.via)
        self.assertIs(request.from_, request.from_)
        self.assertIs(request.cseq, request.cseq)
        self.assertIs(request.contacts, request.contacts)
        self.assertIs(request.uri, request.uri)

    def test_tells_what_is_absent(self) -> None:
        """Optional fields are `None` or empty, mandatory ones raise and say their name."""
        request = Request("OPTIONS", "sip:a@b")
        self.assertEqual((request.contacts, request.routes, request.record_routes, request.vias), ((), (), (), ()))
        self.assertEqual((request.max_forwards, request.expires, request.content_type), (None, None, None))
        self.assertFalse(request.contact_is_star)
        for attribute, name in (
            ("via", "Via"), ("from_", "From"), ("to", "To"), ("call_id", "Call-ID"), ("cseq", "CSeq"),
        ):  # fmt: skip
            error = self.assertRaises(ParseError, getattr, request, attribute)
            self.assertEqual(error.reason, f"{name} is missing")

    def test_malformed_fields_raise_each_time(self) -> None:
        """A field that does not parse is not remembered as anything."""
        request = Request("INVITE", "nonsense", Headers([
            ("Via", "SIP/2.0/UDP a;;,;,,"), ("From", "<"), ("To", "Bell, A <sip:a@b>"), ("Call-ID", "a b"),
            ("CSeq", "INVITE 1"), ("Contact", "<sip:a@b>, *"), ("Route", "<"), ("Max-Forwards", "256"),
            ("Expires", "x"), ("Content-Type", "sdp"),
        ]))  # fmt: skip
        for attribute in (
            "via", "vias", "from_", "to", "call_id", "cseq", "contacts", "routes", "max_forwards", "expires",
            "content_type", "uri",
        ):  # fmt: skip
            for _ in range(2):
                self.assertRaises(ParseError, getattr, request, attribute)

    def test_a_faulty_lower_via_in_the_same_line_counts(self) -> None:
        """RFC 4475 section 3.1.2.1: `;,;,,` after a good Via makes the line a bad one."""
        for value in ("SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP a, nonsense", 'SIP/2.0/UDP a;x="'):
            request = Request("INVITE", "sip:a@b", Headers([("Via", value)]))
            self.assertRaises(ParseError, getattr, request, "via")

    def test_knows_the_star(self) -> None:
        """`Contact: *` stands alone and is no address (section 10.2.2)."""
        request = Request("REGISTER", "sip:b", Headers([("Contact", "*")]))
        self.assertTrue(request.contact_is_star)
        self.assertEqual(request.contacts, ())
        request.headers.add("Contact", "<sip:a@b>")
        self.assertFalse(request.contact_is_star)
        self.assertRaises(ParseError, getattr, request, "contacts")

    def test_changes_show(self) -> None:
        """After a change of a header field its new value is read, whichever way it was changed."""
        request = invite()
        _ = request.via, request.to, request.contacts, request.routes, request.vias
        request.headers.prepend("Via", "SIP/2.0/UDP own;branch=z9hG4bKown")
        self.assertEqual(request.via.host, "own")
        self.assertEqual(len(request.vias), 4)
        request.headers.remove("v")
        self.assertRaises(ParseError, getattr, request, "via")
        request.headers.set("To", "<sip:x@y>;tag=t")
        self.assertEqual(request.to.tag, "t")
        request.headers.remove("Route")
        self.assertEqual(request.routes, ())
        request.headers.add("m", "<sip:c@d>")
        self.assertEqual(len(request.contacts), 2)


class PrintingTests(SynchronousTestCase):
    """What goes on the wire."""

    def test_untouched_lines_leave_as_they_came(self) -> None:
        """A message nobody changed is printed octet for octet."""
        request = invite()
        _ = request.via, request.vias, request.from_, request.to, request.contacts, request.routes
        self.assertEqual(request.to_bytes(), INVITE)

    def test_content_length_is_always_true(self) -> None:
        """It is added where it is absent and corrected where it is wrong; there is never a second one."""
        for lines in (
            [],
            ["Content-Length: 99"],
            ["l : 0007"],
            ["l: 3", "Content-Length: 77"],
            ["l: 9", "L: 3"],
            ["l: "],
        ):
            request = Request("INFO", "sip:a@b", Headers.from_lines(["To: <sip:a@b>", *lines]), b"abc")
            copy = parse_datagram(request.to_bytes())
            self.assertEqual(copy.headers.get_all("Content-Length"), ["3"], lines)
            self.assertEqual(copy.body, b"abc")

    def test_a_change_of_anything_is_printed(self) -> None:
        """Nothing that was printed before is remembered."""
        request = invite()
        request.to_bytes()
        request.body = b"other"
        request.headers.set("Subject", "x")
        request.method = "MESSAGE"
        self.assertTrue(request.to_bytes().startswith(b"MESSAGE sip:bob@biloxi.example SIP/2.0\r\n"))
        self.assertTrue(request.to_bytes().endswith(b"Content-Length: 5\r\nSubject: x\r\n\r\nother"))
        response = Response(200, "OK")
        response.to_bytes()
        response.status, response.reason = 486, "Busy"
        self.assertEqual(response.to_bytes(), b"SIP/2.0 486 Busy\r\nContent-Length: 0\r\n\r\n")

    def test_prints_a_uri_that_is_an_object(self) -> None:
        """The request URI may be given parsed; its text is what it prints."""
        request = Request("BYE", SipUri("h", "u", 5070, {"lr": None}))
        self.assertEqual(request.uri_text, "sip:u@h:5070;lr")
        self.assertEqual(request.start_line, "BYE sip:u@h:5070;lr SIP/2.0")

    def test_no_start_line_can_add_a_line(self) -> None:
        """CR and LF in method, request URI or reason phrase are refused when printing."""
        for message in (
            Request("INVITE", SipUri("h", "a\r\nX: y")),
            Request("INVITE", "sip:a@b SIP/2.0\nX: y"),
            Request("INVITE\r", "sip:a@b"),
            Response(200, "OK\r\nX: y"),
            Response(200, "OK\n"),
        ):
            self.assertRaises(ParseError, message.to_bytes)

    def test_octets_that_are_no_utf_8_survive(self) -> None:
        """What came as Latin-1 or worse leaves as it came, in headers and reason phrases."""
        data = b"SIP/2.0 200 \xff\xfe\r\nSubject: J\xfcrgen \xc3\xbc\r\nContent-Length: 0\r\n\r\n"
        self.assertEqual(parse_datagram(data).to_bytes(), data)
        request = Request("INVITE", "sip:a@b", Headers([("From", str(NameAddr(parse_uri("sip:a@b"), "J\udcfc")))]))
        self.assertIn(b'From: "J\xfc" <sip:a@b>', request.to_bytes())

    def test_what_is_no_text_is_refused(self) -> None:
        """A surrogate that stands for no octet, as JSON may hold it, cannot be printed."""
        self.assertRaises(ParseError, Response(200, "\ud800").to_bytes)

    def test_an_empty_reason_keeps_its_space(self) -> None:
        """RFC 4475 section 3.1.1.13: the space before an empty phrase is part of the grammar."""
        self.assertTrue(Response(100, "").to_bytes().startswith(b"SIP/2.0 100 \r\n"))


class CopyTests(SynchronousTestCase):
    """`copy` and equality."""

    def test_a_copied_request_is_independent(self) -> None:
        """Header fields and body of the copy are its own."""
        request = invite()
        _ = request.via, request.uri
        copy = request.copy()
        self.assertEqual(copy, request)
        copy.headers.set("Via", "SIP/2.0/UDP x")
        copy.body = b""
        self.assertEqual((request.via.host, request.body), ("pc33.atlanta.example", b"v=0\n"))
        self.assertEqual(copy.via.host, "x")
        self.assertNotEqual(copy, request)
        self.assertEqual(request.to_bytes(), INVITE)

    def test_a_copied_response_is_independent(self) -> None:
        """The same for responses."""
        response = Response(200, "OK", Headers([("To", "<sip:a@b>")]), b"x")
        copy = response.copy()
        self.assertEqual(copy, response)
        copy.headers.add("X", "1")
        self.assertNotEqual(copy, response)
        self.assertNotIn("X", response.headers)
        self.assertNotEqual(response, "SIP/2.0 200 OK")
        self.assertNotEqual(invite(), response)

    def test_classes_of_status(self) -> None:
        """1xx are provisional, 2xx are success."""
        self.assertEqual([Response(status, "").is_provisional for status in (100, 199, 200)], [True, True, False])
        self.assertEqual(
            [Response(status, "").is_success for status in (199, 200, 299, 300)], [False, True, True, False]
        )

    def test_represents_itself(self) -> None:
        """The representation shows the start line."""
        self.assertEqual(repr(invite()), "<Request INVITE sip:bob@biloxi.example SIP/2.0>")
        self.assertEqual(repr(Response(200, "OK")), "<Response 200 OK>")


class ResponseTests(SynchronousTestCase):
    """`Request.response` (RFC 3261 section 8.2.6)."""

    def test_copies_what_it_must(self) -> None:
        """Via of all lines in order, From, To, Call-ID and CSeq, octet for octet, and nothing else."""
        self.assertEqual(
            invite().response(486).to_bytes(),
            b"SIP/2.0 486 Busy Here\r\n"
            b"Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds, SIP/2.0/TCP p1;branch=z9hG4bK2\r\n"
            b"v: SIP/2.0/UDP p2\r\n"
            b"From: Alice <sip:alice@atlanta.example>;tag=1928301774\r\n"
            b"t:  Bob <sip:bob@biloxi.example> \r\n"
            b"Call-ID: a84b4c76e66710@pc33.atlanta.example\r\n"
            b"CSeq: 314159 INVITE\r\n"
            b"Content-Length: 0\r\n\r\n",
        )

    def test_adds_what_is_given(self) -> None:
        """Phrase, tag, header fields and body."""
        response = invite().response(
            200, "Fine", to_tag="314", headers=(("Contact", "<sip:b@c>"), ("Content-Type", "a/b")), body=b"x"
        )
        self.assertEqual(response.start_line, "SIP/2.0 200 Fine")
        self.assertEqual(response.headers.get("To"), "Bob <sip:bob@biloxi.example>;tag=314")
        self.assertEqual((response.to.tag, str(response.contacts[0]), response.body), ("314", "<sip:b@c>", b"x"))

    def test_tags_bare_addresses_too(self) -> None:
        """Without brackets, too, the tag is a parameter of the header field."""
        request = Request("INVITE", "sip:a@b", Headers([("To", "sip:a@b;x=1")]))
        self.assertEqual(request.response(180, to_tag="t").headers.get("To"), "sip:a@b;x=1;tag=t")

    def test_leaves_a_tag_that_is_there(self) -> None:
        """A request in a dialog has its tag already."""
        request = Request("BYE", "sip:a@b", Headers([("To", "<sip:a@b>;tag=old")]))
        self.assertEqual(request.response(200, to_tag="new").to.tag, "old")

    def test_a_100_takes_the_timestamp_along(self) -> None:
        """Section 8.2.6.1; other responses do not."""
        self.assertEqual(invite().response(100).headers.get("Timestamp"), "54")
        self.assertNotIn("Timestamp", invite().response(180).headers)

    def test_knows_what_the_request_knew(self) -> None:
        """What is parsed already is not parsed again, and what was changed is."""
        request = invite()
        _ = request.via, request.from_, request.to, request.cseq, request.call_id
        response = request.response(200, to_tag="t", headers=(("X", "1"),))
        self.assertIs(response.via, request.via)
        self.assertIs(response.cseq, request.cseq)
        self.assertEqual((request.to.tag, response.to.tag), (None, "t"))
        self.assertEqual(response.contacts, ())
        response.headers.set("Via", "SIP/2.0/UDP x")
        self.assertEqual((response.via.host, request.via.host), ("x", "pc33.atlanta.example"))

    def test_never_raises_for_a_faulty_request(self) -> None:
        """RFC 4475 section 3.3.1: a 400 says what it can; fields that must stand once are not multiplied."""
        request = Request("INVITE", "sip:a@b", Headers([
            ("Via", "SIP/2.0/UDP h"), ("To", "<"), ("From", "<sip:a@b>"), ("From", "<sip:c@d>"), ("CSeq", "1 INVITE"),
        ]))  # fmt: skip
        self.assertEqual(
            request.response(400, "To is malformed", to_tag="t").headers.lines(),
            ["Via: SIP/2.0/UDP h", "From: <sip:a@b>", "To: <", "CSeq: 1 INVITE"],
        )
        self.assertEqual(Request("X", "y").response(400, to_tag="t").headers.lines(), [])

    def test_takes_nothing_that_would_add_a_line(self) -> None:
        """Tag, phrase and header fields with a line break are refused."""
        request = invite()
        self.assertRaises(ParseError, request.response, 200, to_tag="a\r\nX: y")
        self.assertRaises(ParseError, request.response, 200, headers=(("X", "a\r\nY: z"),))
        self.assertRaises(ParseError, request.response(200, "a\r\nX: y").to_bytes)

    def test_keeps_the_via_value(self) -> None:
        """The Via of the response is a value equal to that of the request."""
        self.assertEqual(
            invite().response(200).via, Via.parse("SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds")
        )
