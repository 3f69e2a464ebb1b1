"""What makes a request unusable, and how it is answered."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import RequestRefusedError
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.validation import (
    find_fault,
    find_spent_hops,
    find_unsupported_body,
    find_unsupported_extension,
    find_unsupported_scheme,
    is_usable,
)

FIELDS = (
    ("Via", "SIP/2.0/UDP h;branch=z9hG4bK1"),
    ("From", "<sip:a@b>;tag=1"),
    ("To", "<sip:c@d>"),
    ("Call-ID", "x@y"),
    ("CSeq", "1 OPTIONS"),
    ("Max-Forwards", "70"),
)


def head(**changes: str | None) -> str:
    """Give header lines, some of them changed or (by `None`) left out; `_` in a name is a hyphen."""
    values = dict(FIELDS) | {name.replace("_", "-"): value for name, value in changes.items()}
    return "".join(f"{name}: {value}\r\n" for name, value in values.items() if value is not None)


def request(start: str | None = None, body: str | None = None, **changes: str | None) -> Request:
    """Parse a request made of that, an OPTIONS without a body by default."""
    message = parse_datagram(f"{start or 'OPTIONS sip:c@d SIP/2.0'}\r\n{head(**changes)}\r\n{body or ''}".encode())
    assert isinstance(message, Request)
    return message


def response(body: str = "", **changes: str | None) -> Response:
    """Parse a response made of that."""
    message = parse_datagram(f"SIP/2.0 200 OK\r\n{head(**changes)}\r\n{body}".encode())
    assert isinstance(message, Response)
    return message


class FaultTests(SynchronousTestCase):
    """`find_fault` (RFC 3261 sections 8.1.1 and 8.2)."""

    def check(self, faulty: Request, status: int, phrase: str) -> None:
        """Assert that a request is refused with that status and phrase."""
        fault = find_fault(faulty)
        assert fault is not None, phrase
        self.assertEqual((fault.status, fault.reason), (status, phrase))

    def test_good_requests_have_none(self) -> None:
        """Nor have those that leave off what RFC 2543 did not have."""
        for good in (
            request(),
            request(Max_Forwards=None, From="sip:a@b", Via="SIP/2.0/UDP h"),
            request("OPTIONS tel:+1 SIP/2.0"),
            request("OPTIONS unknown:scheme SIP/2.0"),
            request("OPTIONS sip:c@d sip/2.0"),
            request(body="abc", Content_Length="2"),
            request(Contact="*", Expires="0"),
            request(Expires="9" * 20),
        ):
            self.assertIsNone(find_fault(good), good)

    def test_what_is_read_is_known_afterwards(self) -> None:
        """Nothing that every request needs is parsed twice."""
        good = request()
        find_fault(good)
        self.assertLessEqual({"via", "from", "to", "call-id", "cseq", "max-forwards"}, good.headers.parsed.keys())

    def test_other_versions_are_refused_first(self) -> None:
        """505, whatever else is wrong (RFC 4475 section 3.1.2.16)."""
        self.check(request("OPTIONS sip:c@d SIP/7.0", Via=None), 505, "Version Not Supported")

    def test_needed_fields_must_be_there(self) -> None:
        """RFC 4475 section 3.3.1: the phrase names what is missing."""
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            self.check(request(**{name.replace("-", "_"): None}), 400, f"{name} is missing")

    def test_needed_fields_must_be_good(self) -> None:
        """RFC 4475 section 3.1.2: each kind of malformed field, and what is said about it."""
        for changes, phrase in (
            ({"Via": "SIP/2.0/UDP"}, "Malformed sent-by in a Via"),
            ({"Via": "SIP/2.0/UDP 192.0.2.15;;,;,,"}, "Malformed Via"),
            ({"From": "<sip:a@b"}, "Unbalanced angle bracket"),
            ({"To": '"Mr. J <sip:c@d>'}, "Malformed address"),
            ({"To": "Watson, T <sip:c@d>"}, "Malformed display name"),
            ({"To": "< sip:c@d >"}, "Forbidden character in a URI"),
            ({"Call_ID": "a b"}, "Malformed Call-ID"),
            ({"CSeq": "36893488147419103232 OPTIONS"}, "CSeq is too large"),
            ({"CSeq": "OPTIONS"}, "Malformed CSeq"),
            ({"CSeq": "1 INVITE"}, "CSeq names another method"),
            ({"Max_Forwards": "256"}, "Max-Forwards is too large"),
            ({"Max_Forwards": "-1"}, "Max-Forwards is not a number"),
            ({"Expires": "soon"}, "Expires is not a number"),
            ({"Content_Type": "sdp"}, "Malformed Content-Type"),
            ({"Content_Length": "-999"}, "Content-Length is not a number"),
            ({"Content_Length": "1"}, "Content-Length is larger than the body"),
            ({"Content_Length": "9" * 30}, "Content-Length is too large"),
        ):
            self.check(request(**changes), 400, phrase)

    def test_addresses_must_be_good_where_they_are_used(self) -> None:
        """RFC 4475 section 3.1.2.13: a dialog or a binding needs its Contact; a BYE ends a call whatever it has."""
        for changes in ({"Contact": "sip:a@b?X=y"}, {"Contact": "<sip:a@b>, *"}, {"Contact": "<sip:a@b>", "m": "*"}):
            for method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER", "REGISTER"):
                fault = find_fault(request(f"{method} sip:c@d SIP/2.0", CSeq=f"1 {method}", **changes))
                self.assertEqual(fault and fault.status, 400, changes)
            self.assertIsNone(find_fault(request("BYE sip:c@d SIP/2.0", CSeq="1 BYE", **changes)))
        for name in ("Route", "Record_Route"):
            fault = find_fault(request("INVITE sip:c@d SIP/2.0", CSeq="1 INVITE", **{name: "<sip:r"}))
            self.assertEqual(fault and fault.status, 400)
        self.check(request("INVITE sip:c@d SIP/2.0", CSeq="1 INVITE", Contact="*"), 400, "A URI without a scheme")

    def test_lists_of_addresses_are_read_whole(self) -> None:
        """What `find_fault` has read is the same as what is read without it, over all lines."""
        fields = {
            "Contact": "<sip:1@h>, <sip:2@h>;q=0.1",
            "m": "sip:3@h",
            "Route": "",
            "route": "<sip:4@h>,, <sip:5@h>",
        }
        judged, fresh = (request("INVITE sip:c@d SIP/2.0", CSeq="1 INVITE", **fields) for _ in range(2))
        self.assertIsNone(find_fault(judged))
        self.assertLessEqual({"contact", "route"}, judged.headers.parsed.keys())
        self.assertEqual([str(contact.uri) for contact in judged.contacts], ["sip:1@h", "sip:2@h", "sip:3@h"])
        self.assertEqual([str(route.uri) for route in judged.routes], ["sip:4@h", "sip:5@h"])
        self.assertEqual((fresh.contacts, fresh.routes), (judged.contacts, judged.routes))

    def test_single_fields_must_not_be_repeated(self) -> None:
        """RFC 4475 sections 3.3.8 and 3.3.9, also in compact form and with equal values."""
        for name, compact in (
            ("From", "f"), ("To", "t"), ("Call-ID", "i"), ("CSeq", "cseq"), ("Max-Forwards", "max-forwards"),
            ("Content-Length", "l"), ("Content-Type", "c"), ("Expires", "EXPIRES"),
        ):  # fmt: skip
            value = dict(FIELDS).get(name, "0" if name != "Content-Type" else "a/b")
            message = request(**{name.replace("-", "_"): value, compact: value})
            self.check(message, 400, f"{compact} stands more than once")

    def test_the_request_uri_must_be_good(self) -> None:
        """RFC 4475 sections 3.1.2.7 to 3.1.2.11: brackets, white space, escaped header fields."""
        for uri, phrase in (
            ("<sip:c@d>", "Forbidden character in a URI"),
            ("sip:c@d; lr", "Forbidden character in a URI"),
            (" sip:c@d ", "Forbidden character in a URI"),
            ("sip:c@d?Route=%3Csip:e%3E", "The Request-URI carries header fields"),
            ("sip:c@d:99999", "Port of a URI is too large"),
            ("sip:c%4@d", "Malformed escape in a URI"),
            ("nonsense", "A URI without a scheme"),
        ):
            self.check(request(f"OPTIONS {uri} SIP/2.0"), 400, phrase)

    def test_every_fault_can_be_answered(self) -> None:
        """Whatever is wrong, a response can be built from it, with a tag and that phrase."""
        for changes in ({"To": "<"}, {"From": None}, {"Via": "x"}, {"CSeq": "x"}, {"Call_ID": None}):
            faulty = request(**changes)
            fault = find_fault(faulty)
            assert fault is not None
            self.assertIn(b" 400 ", faulty.response(fault.status, fault.reason, to_tag="t").to_bytes())


class UsableResponseTests(SynchronousTestCase):
    """`is_usable` (RFC 3261 sections 8.1.3 and 18.3)."""

    def test_good_responses_are(self) -> None:
        """What only some user of a response may need is not looked at."""
        self.assertTrue(is_usable(response()))
        self.assertTrue(is_usable(response(Max_Forwards="x", Content_Type="x", Contact="<", Expires="x")))
        self.assertTrue(is_usable(response(body="abc", Content_Length="3")))

    def test_faulty_ones_are_not(self) -> None:
        """What is missing, malformed, repeated, or longer than what came makes a response one to drop."""
        for changes in (
            {"Via": None}, {"From": None}, {"To": None}, {"Call_ID": None}, {"CSeq": None}, {"Via": "x"}, {"From": "<"},
            {"CSeq": "9292394834772304023312 OPTIONS"}, {"Content_Length": "4"}, {"Content_Length": "x"},
            {"f": "<sip:a@b>;tag=1"}, {"i": "x@y"}, {"Content_Length": "3", "l": "2"},
        ):  # fmt: skip
            self.assertFalse(is_usable(response(body="abc", **changes)), changes)


class CoreTests(SynchronousTestCase):
    """What only the user agent core can judge (RFC 3261 section 8.2.2 and 8.2.3)."""

    def check(self, refusal: RequestRefusedError | None, status: int, *headers: tuple[str, str]) -> None:
        """Assert that this is a refusal with that status and those header fields."""
        assert refusal is not None
        self.assertEqual((refusal.status, refusal.headers), (status, headers))

    def test_schemes(self) -> None:
        """Nobody here serves anything but sip, sips and tel (RFC 4475 sections 3.3.2 and 3.3.3)."""
        for uri in ("sip:c@d", "SIPS:c@d", "tel:+1"):
            self.assertIsNone(find_unsupported_scheme(request(f"OPTIONS {uri} SIP/2.0")))
        self.check(find_unsupported_scheme(request("OPTIONS soap.beep://h SIP/2.0")), 416)

    def test_extensions(self) -> None:
        """Unsupported lists exactly those of all Require lines that are not known (RFC 4475 section 3.3.5)."""
        supported = frozenset(("100rel",))
        self.assertIsNone(find_unsupported_extension(request(), supported))
        self.assertIsNone(find_unsupported_extension(request(Require="100REL,"), supported))
        self.check(
            find_unsupported_extension(request(Require="nothing, 100rel", require="more"), supported),
            420,
            ("Unsupported", "nothing, more"),
        )
        for value in ('"', 'a, "b', "a b", "<"):
            self.check(find_unsupported_extension(request(Require=value), supported), 400)

    def test_bodies(self) -> None:
        """A body of another type, or encoded, is refused with what would be accepted; optional ones are not."""
        accepted = frozenset(("application/sdp", "a/b"))
        self.assertIsNone(find_unsupported_body(request(Content_Type="x/y"), accepted))
        self.assertIsNone(find_unsupported_body(request(body="x", Content_Type="Application/SDP;a=b"), accepted))
        self.assertIsNone(find_unsupported_body(request(body="x", c="a/b", e="Identity"), accepted))
        self.assertIsNone(
            find_unsupported_body(
                request(body="x", c="x/y", Content_Disposition="render ; Handling = optional"), accepted
            )
        )
        self.check(
            find_unsupported_body(request(body="x", c="x/y", Content_Disposition="session"), accepted),
            415,
            ("Accept", "a/b, application/sdp"),
        )
        self.check(
            find_unsupported_body(request(body="x", c="a/b", e="gzip"), accepted), 415, ("Accept-Encoding", "identity")
        )
        self.check(find_unsupported_body(request(body="x"), accepted), 400)

    def test_hops(self) -> None:
        """A Max-Forwards of 0 ends the way (RFC 4475 section 3.3.11); an absent one does not."""
        self.check(find_spent_hops(request(Max_Forwards="0")), 483)
        self.assertIsNone(find_spent_hops(request(Max_Forwards="1")))
        self.assertIsNone(find_spent_hops(request(Max_Forwards=None)))
