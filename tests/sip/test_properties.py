"""Properties: any input parses or is refused, what parses prints itself, and what was not touched stays as it was."""

from __future__ import annotations

import re
from typing import TypeAlias

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ParseError, RequestRefusedError
from sipd.sip.fields import AuthParameters, CSeq, NameAddr, RAck, Via, media_type
from sipd.sip.grammar import (
    parse_parameters,
    print_parameters,
    split_commas,
    split_semicolons,
    unescape,
    unquote,
)
from sipd.sip.headers import Headers
from sipd.sip.message import Message, Request, Response
from sipd.sip.parser import is_keep_alive, parse_datagram, parse_head, parse_message
from sipd.sip.uri import SipUri, Uri, parse_uri
from sipd.sip.validation import (
    find_fault,
    find_spent_hops,
    find_unsupported_body,
    find_unsupported_extension,
    find_unsupported_scheme,
    is_usable,
)

AnyMessage: TypeAlias = Request | Response

LAZY = (
    "via", "vias", "from_", "to", "call_id", "cseq", "contacts", "contact_is_star", "routes", "record_routes",
    "max_forwards", "expires", "content_length", "content_type", "start_line",
)  # fmt: skip

SEEDS = (
    b"INVITE sip:bob@biloxi.example:5070;transport=tcp SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP pc33.atlanta.example;branch=z9hG4bK776asdhds;rport, SIP/2.0/TCP [2001:db8::1]:5060;ttl=1\r\n"
    b"Max-Forwards: 70\r\nTo: Bob <sip:bob@biloxi.example>\r\n"
    b"From: \"Alice, \\\"A\\\"\" <sip:alice:pw@atlanta.example;user=phone?a=b&c=d>;tag=1928301774\r\n"
    b"Call-ID: a84b4c76e66710@pc33.atlanta.example\r\nCSeq: 314159 INVITE\r\n"
    b"Contact: <sip:a@h>;q=0.7;expires=60, sip:b@h\r\n"
    b"Route: <sip:r1;lr>,\r\n <sip:r2;lr>\r\nRecord-Route: <sip:rr;lr>\r\nExpires: 30\r\nRequire: 100rel, timer\r\n"
    b"Authorization: Digest username=\"a\", realm=\"b\", nc=00000001, qop=auth\r\nSubject: \xc3\xbc \xff\r\n"
    b"Content-Type: application/sdp;a=\"b\"\r\nContent-Length: 4\r\n\r\nv=0\n",
    b"SIP/2.0 200 OK\r\nv: SIP/2.0/TLS h;branch=z9hG4bK1\r\nf: sip:a@b;tag=1\r\nt: <tel:+1-2;ext=3>;tag=2\r\ni: x\r\n"
    b"CSeq: 1 REGISTER\r\nm: *\r\nl: 0\r\n\r\n",
    b"REGISTER sips:[::1] SIP/2.0\nVia: SIP/2.0/UDP h\nFrom: <sip:a@b>\nTo: <urn:x>\nCall-ID: 1\nCSeq: 1 REGISTER\n\n",
)  # fmt: skip

#: Pieces that parsers trip over.
DELICATE = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\n\n", b"\r\n ", b" ", b"\t", b"\0", b",", b";", b":", b"=", b"<", b">", b'"',
    b"\\", b"%", b"%00", b"%4", b"@", b"?", b"&", b"[", b"]", b"*", b"/", b"+", b"-1", b"\xff", b"\xc2\xa0",
    b"\xe2\x84\xaa", b"\xc5\xbf", b"\xd9\xa3", b"99999999999999999999999999", b"SIP/2.0", b"sip:", b"tel:", b"Via",
    b"v:", b"l: 5\r\n", b"Content-Length: 3\r\n", b";tag=",
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Give a good message in which pieces were cut, doubled, or replaced by delicate ones."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 12)))
        piece = draw(st.sampled_from((*DELICATE, b"", bytes(data[start:end]) * 2)))
        data[start:end] = piece
    return bytes(data)


ANY_DATA = st.one_of(mutated(), st.binary(max_size=400), st.lists(st.sampled_from(DELICATE), max_size=40).map(b"".join))
ANY_TEXT = st.one_of(
    st.text(max_size=60),
    ANY_DATA.map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.lists(st.sampled_from(DELICATE), max_size=12).map(
        lambda parts: b"".join(parts).decode("utf-8", "surrogateescape")
    ),
)
TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=8)
#: Text that may stand in a header line: whatever comes from the network, without line breaks.
LINE = ANY_TEXT.filter(lambda text: "\r" not in text and "\n" not in text).map(str.strip)
USER = st.text("abcXYZ019-_.!~*'()&=+$,;?/", min_size=1, max_size=8)
HOST = st.sampled_from(("example.com", "192.0.2.1", "2001:db8::1", "a-b.c"))
PARAMETERS = st.dictionaries(
    TOKEN.map(str.lower), st.none() | TOKEN | st.just('"a;b, \\"<c>"') | st.just("[::1]"), max_size=3
)
URI = st.builds(
    SipUri,
    HOST,
    user=st.none() | USER,
    port=st.none() | st.integers(0, 65535),
    parameters=st.dictionaries(
        st.text("abcxyz-", min_size=1, max_size=5), st.none() | st.text("ab1/:&+$", max_size=5), max_size=3
    ),
    headers=st.lists(st.tuples(TOKEN.filter(lambda text: "%" not in text), st.just("x%20y")), max_size=2).map(tuple),
    scheme=st.sampled_from(("sip", "sips")),
)  # fmt: skip
QUICK = settings(deadline=None, max_examples=100)
THOROUGH = settings(deadline=None, max_examples=300)


def parsed(data: bytes) -> AnyMessage | None:
    """Parse a datagram, or give `None` where it is refused; anything but `ParseError` is a bug."""
    try:
        return parse_datagram(data)
    except ParseError:
        return None


def read_everything(message: Message) -> None:
    """Read every lazy property; each gives a value or raises `ParseError`."""
    for name in (*LAZY, "uri") if isinstance(message, Request) else LAZY:
        try:
            value = getattr(message, name)
        except ParseError:
            continue
        str(value)
        for address in value if isinstance(value, tuple) else (value,):
            if isinstance(address, NameAddr):
                _ = address.tag, address.expires, address.without_parameters(), address.with_tag("t"), hash(address)
                _ = hash(address.uri), address.uri == address.uri
    for name in message.headers.names():
        try:
            message.headers.values(name)
        except ParseError:
            continue
    _ = list(message.headers.items()), message.headers.get_all("Via"), message.headers.count("Via")


class TotalityTests(SynchronousTestCase):
    """Nothing but `ParseError` is ever raised."""

    @THOROUGH
    @given(ANY_DATA)
    def test_any_octets(self, data: bytes) -> None:
        """Parsing, reading, judging, answering and printing raise `ParseError` or nothing."""
        for parse in (parse_message, parse_head):
            try:
                parse(data)
            except ParseError:
                continue
        is_keep_alive(data)
        message = parsed(data)
        if message is None:
            return
        read_everything(message)
        if isinstance(message, Response):
            self.assertIn(is_usable(message), (True, False))
        else:
            self.judge(message)
        message.to_bytes()
        read_everything(message.copy())

    def judge(self, request: Request) -> None:
        """Assert that every judgement is a refusal or `None`, and that every request can be answered."""
        fault = find_fault(request)
        if fault is None:
            _ = request.via, request.from_, request.to, request.call_id, request.cseq, request.uri
            for found in (
                find_unsupported_scheme(request),
                find_unsupported_extension(request, frozenset(("100rel",))),
                find_unsupported_body(request, frozenset(("application/sdp",))),
                find_spent_hops(request),
            ):
                self.assertIsInstance(found, (RequestRefusedError, type(None)))
        reason = fault.reason if fault is not None else None
        for status in (100, 200, 400):
            answer = parse_datagram(request.response(status, reason, to_tag="t").to_bytes())
            assert isinstance(answer, Response)
            self.assertEqual(answer.status, status)

    @THOROUGH
    @given(ANY_TEXT)
    def test_any_text(self, text: str) -> None:
        """Every parser of values gives a value that prints, or raises `ParseError`."""
        for parse in (
            parse_uri, Via.parse, NameAddr.parse, CSeq.parse, RAck.parse, AuthParameters.parse, media_type,
            split_commas, split_semicolons, parse_parameters, unquote, unescape,
        ):  # fmt: skip
            try:
                value = parse(text)
            except ParseError:
                continue
            str(value)
            repr(value)


class RoundTripTests(SynchronousTestCase):
    """What is printed is what was parsed."""

    @THOROUGH
    @given(ANY_DATA)
    def test_a_printed_message_parses_to_itself(self, data: bytes) -> None:
        """Parsing what was printed gives an equal message, which prints the same octets."""
        message = parsed(data)
        if message is None:
            return
        printed = message.to_bytes()
        again = parse_datagram(printed)
        self.assertEqual(again, message)
        self.assertEqual(again.to_bytes(), printed)
        self.assertEqual(parse_message(printed), message)

    @THOROUGH
    @given(ANY_DATA)
    def test_lines_nobody_touched_stay(self, data: bytes) -> None:
        """Reading everything changes no line, and changing one field leaves the others, octet for octet, in order."""
        message = parsed(data)
        if message is None:
            return
        lines = list(message.headers.lines())
        read_everything(message)
        self.assertEqual(message.headers.lines(), lines)
        for line in lines:
            self.assertIn(line.replace("\r\n", "\n").encode("utf-8", "surrogateescape"), data.replace(b"\r\n", b"\n"))
        others = [line for line, name in zip(lines, message.headers.names(), strict=True) if name != "via"]
        message.headers.prepend("Via", "SIP/2.0/UDP own")
        message.headers.remove("Via")
        self.assertEqual(message.headers.lines(), others)

    @QUICK
    @given(ANY_TEXT)
    def test_values_print_what_they_parsed(self, text: str) -> None:
        """URIs, Via and addresses print the text itself; the printed form of the others parses to an equal value."""
        for parse in (parse_uri, Via.parse, NameAddr.parse):
            try:
                value = parse(text)
            except ParseError:
                continue
            self.assertEqual(str(value), text)
            if isinstance(value, NameAddr):
                self.assertRegex(text, rf"^{re.escape(str(value.uri))}[ \t]*(;|$)|<{re.escape(str(value.uri))}>")
        for parse_again in (CSeq.parse, RAck.parse, AuthParameters.parse):
            try:
                other = parse_again(text)
            except ParseError:
                continue
            self.assertEqual(parse_again(str(other)), other)

    @QUICK
    @given(URI)
    def test_built_uris(self, uri: SipUri) -> None:
        """A URI that is built prints, and parses to an equal one, with the same hash and the same AOR."""
        again = parse_uri(str(uri))
        assert isinstance(again, SipUri)
        self.assertEqual(again, uri)
        self.assertEqual(hash(again), hash(uri))
        self.assertEqual(str(again.replace()), str(uri))
        self.assertEqual(again.address_of_record(), uri.address_of_record())
        aor = parse_uri(uri.address_of_record())
        assert isinstance(aor, SipUri)
        self.assertEqual(aor.address_of_record(), uri.address_of_record())

    @QUICK
    @given(URI, LINE, PARAMETERS)
    def test_built_addresses(self, uri: Uri, name: str, parameters: dict[str, str | None]) -> None:
        """Any display name, URI and parameters come back as they were put in."""
        address = NameAddr.parse(str(NameAddr(uri, name, parameters)))
        self.assertEqual((address.display_name, address.uri, address.parameters), (name, uri, parameters))

    @QUICK
    @given(TOKEN, HOST, st.none() | st.integers(0, 65535), PARAMETERS)
    def test_built_vias(self, transport: str, host: str, port: int | None, parameters: dict[str, str | None]) -> None:
        """So do transport, host, port and parameters of a Via."""
        via = Via(transport.upper(), host, port, parameters)
        self.assertEqual(Via.parse(str(via)), via)
        self.assertEqual(parse_parameters(print_parameters(parameters)), parameters)

    @QUICK
    @given(TOKEN, st.dictionaries(TOKEN.map(str.lower), LINE, max_size=4))
    def test_built_challenges(self, scheme: str, parameters: dict[str, str]) -> None:
        """No value of an authentication parameter can become another parameter."""
        value = AuthParameters(scheme, parameters)
        self.assertEqual(AuthParameters.parse(str(value)), value)


class InjectionTests(SynchronousTestCase):
    """Whatever is put into a message, it has the fields that were put in, and no other."""

    @QUICK
    @given(TOKEN, st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=4), ANY_TEXT, st.binary(max_size=20))
    def test_built_messages(self, method: str, fields: list[tuple[str, str]], text: str, body: bytes) -> None:
        """A message that prints has as many header lines, and the body, that it was given."""
        headers = Headers([("Subject", "x")])
        for name, value in fields:
            try:
                headers.add(name, value)
            except ParseError:
                continue
        count = len(headers)
        had_length = "Content-Length" in headers
        for message in (
            Request(method, text, headers.copy(), body),
            Request(text, "sip:a@b", headers.copy(), body),
            Response(200, text, headers.copy(), body),
        ):
            try:
                data = message.to_bytes()
            except ParseError:
                continue
            head, _, rest = data.partition(b"\r\n\r\n")
            self.assertEqual(rest, body)
            lengths = message.headers.count("Content-Length")
            self.assertEqual(lengths, 1)
            if not had_length:
                self.assertEqual(head.count(b"\r\n"), count + 1)
            self.assertEqual(head.count(b"\n"), head.count(b"\r\n"))
            self.assertEqual(head.count(b"\r"), head.count(b"\r\n"))
