"""Requests and responses (RFC 3261 section 7), and the response to a request (section 8.2.6).

Header fields are parsed when asked for, once, and raise `ParseError` if they are missing or malformed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sipd.errors import ParseError
from sipd.sip.fields import CSeq, NameAddr, Via, media_type
from sipd.sip.grammar import parse_number, split_commas
from sipd.sip.headers import Fields, Headers
from sipd.sip.status import reason_phrase
from sipd.sip.uri import Uri, parse_uri

VERSION = "SIP/2.0"
#: What a response takes over from its request beside the Via lines (section 8.2.6.2).
_ECHOED = ("From", "To", "Call-ID", "CSeq")
_ECHOED_VALUES = ("via", "from", "to", "call-id", "cseq")


class Message:
    """What requests and responses have in common.

    Attributes:
        headers: the header fields; change them freely, parsed values follow.
        body: octets; printing sets Content-Length to their number.
    """

    __slots__ = ("body", "headers")

    headers: Headers
    body: bytes

    @property
    def via(self) -> Via:
        """The topmost Via value."""
        via: Via = self.headers.parsed.get("via") or self._read("via", "Via")
        return via

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, topmost first; parsed each time."""
        return tuple([Via.parse(value) for value in self.headers.values("Via")])

    @property
    def from_(self) -> NameAddr:
        """The From value."""
        from_: NameAddr = self.headers.parsed.get("from") or self._read("from", "From")
        return from_

    @property
    def to(self) -> NameAddr:
        """The To value."""
        to: NameAddr = self.headers.parsed.get("to") or self._read("to", "To")
        return to

    @property
    def call_id(self) -> str:
        """The Call-ID; compared octet for octet (section 20.8)."""
        call_id: str = self.headers.parsed.get("call-id") or self._read("call-id", "Call-ID")
        return call_id

    @property
    def cseq(self) -> CSeq:
        """The CSeq value."""
        cseq: CSeq = self.headers.parsed.get("cseq") or self._read("cseq", "CSeq")
        return cseq

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """The Contact values; empty where there is none, and for ``*``."""
        known: tuple[NameAddr, ...] | None = self.headers.parsed.get("contact")
        if known is None:
            texts = self.headers.values("Contact")
            known = () if texts == ["*"] else tuple(map(NameAddr.parse, texts))
            self.headers.parsed["contact"] = known
        return known

    @property
    def contact_is_star(self) -> bool:
        """Whether the Contact is ``*`` (section 10.2.2)."""
        return self.headers.values("Contact") == ["*"]

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """The Route values, topmost first."""
        return self._addresses("route", "Route")

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """The Record-Route values, topmost first."""
        return self._addresses("record-route", "Record-Route")

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, or ``None`` where it is absent."""
        number: int | None = self._read_if_present("max-forwards")
        return number

    @property
    def expires(self) -> int | None:
        """Expires in seconds, at most 2**32-1, or ``None`` where it is absent."""
        seconds: int | None = self._read_if_present("expires")
        return seconds

    @property
    def content_length(self) -> int | None:
        """Content-Length as it was received, or ``None`` where it is absent. Printing does not look at it."""
        size_octets: int | None = self._read_if_present("content-length")
        return size_octets

    @property
    def content_type(self) -> str | None:
        """``type/subtype`` of the body in lower case, or ``None``."""
        text: str | None = self._read_if_present("content-type")
        return text

    def to_bytes(self) -> bytes:
        """Print the message for the wire; Content-Length always says the length of the body.

        Raises:
            ParseError: there is a line break in the start line, or something in the head that is no text. (Header
                lines are checked for line breaks when they are put in.)
        """
        start_line = self.start_line
        if "\n" in start_line or "\r" in start_line:
            raise ParseError("A line break in the start line")
        self.headers.ensure("Content-Length", str(len(self.body)))
        lines = "\r\n".join(self.headers.lines())
        try:
            head = f"{start_line}\r\n{lines}\r\n\r\n".encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ParseError("A lone surrogate in a message head") from None
        return head + self.body

    @property
    def start_line(self) -> str:
        """The first line, without its end."""
        raise TypeError("neither a request nor a response")

    def _read(self, key: str, name: str) -> Any:
        text = self.headers.get(key)
        if text is None:
            raise ParseError(f"{name} is missing")
        value = self.headers.parsed[key] = READERS[key](text)
        return value

    def _read_if_present(self, key: str) -> Any:
        parsed = self.headers.parsed
        if key not in parsed and key in self.headers:
            self._read(key, key)
        return parsed.get(key)

    def _addresses(self, key: str, name: str) -> tuple[NameAddr, ...]:
        known: tuple[NameAddr, ...] | None = self.headers.parsed.get(key)
        if known is None:
            known = self.headers.parsed[key] = tuple(map(NameAddr.parse, self.headers.values(name)))
        return known


class Request(Message):
    """A request (RFC 3261 section 7.1).

    Args:
        method: as written; methods are case-sensitive.
        uri: the request URI, parsed or as text.
        headers: its header fields; the request owns them from now on.
        body: octets.
        version: as written; only ``SIP/2.0`` is served.
    """

    __slots__ = ("_uri", "method", "uri_text", "version")

    def __init__(
        self, method: str, uri: Uri | str, headers: Headers | None = None, body: bytes = b"", version: str = VERSION
    ) -> None:
        self.headers = headers if headers is not None else Headers()
        self.body = body
        self.method = method
        self._uri = None if isinstance(uri, str) else uri
        self.uri_text = str(uri)
        self.version = version

    @property
    def uri(self) -> Uri:
        """The request URI.

        Raises:
            ParseError: it is malformed.
        """
        if self._uri is None:
            self._uri = parse_uri(self.uri_text)
        return self._uri

    @property
    def start_line(self) -> str:
        """The request line."""
        return f"{self.method} {self.uri_text} {self.version}"

    def response(
        self,
        status: int,
        reason: str | None = None,
        *,
        to_tag: str | None = None,
        headers: Fields = (),
        body: bytes = b"",
    ) -> Response:
        """Build a response to this request (section 8.2.6.2).

        Args:
            status: 100 to 699.
            reason: the phrase; by default the usual one.
            to_tag: added to To where the request has none there, if To can be read; a 100 needs none.
            headers: more header fields.
            body: octets; say their type in `headers`.

        Returns:
            The response. What the request lacks, or what cannot be parsed in it, is no reason not to answer it.
        """
        fields = Headers()
        fields.copy_lines(self.headers, "Via")
        for name in _ECHOED:
            fields.copy_first(self.headers, name)
        parsed = self.headers.parsed
        fields.parsed = {key: parsed[key] for key in _ECHOED_VALUES if key in parsed}
        if status == 100:
            fields.copy_first(self.headers, "Timestamp")
        if to_tag is not None and self._lacks_to_tag():
            fields.set("To", f"{fields.get('To')};tag={to_tag}")
        if headers:
            fields.extend(headers)
        return Response(status, reason if reason is not None else reason_phrase(status), fields, body)

    def _lacks_to_tag(self) -> bool:
        try:
            return self.to.tag is None
        except ParseError:
            return False

    def copy(self) -> Request:
        """Give an independent copy."""
        copy = Request(self.method, self.uri_text, self.headers.copy(), self.body, self.version)
        copy._uri = self._uri
        return copy

    def __repr__(self) -> str:
        return f"<Request {self.start_line}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Request):
            return NotImplemented
        return (self.start_line, self.headers, self.body) == (other.start_line, other.headers, other.body)

    __hash__ = object.__hash__


class Response(Message):
    """A response (RFC 3261 section 7.2).

    Args:
        status: 100 to 699.
        reason: the phrase as written; may be empty.
        headers: its header fields; the response owns them from now on.
        body: octets.
    """

    __slots__ = ("reason", "status")

    def __init__(self, status: int, reason: str, headers: Headers | None = None, body: bytes = b"") -> None:
        self.headers = headers if headers is not None else Headers()
        self.body = body
        self.status = status
        self.reason = reason

    @property
    def start_line(self) -> str:
        """The status line."""
        return f"{VERSION} {self.status} {self.reason}"

    @property
    def is_provisional(self) -> bool:
        """Whether it is a 1xx."""
        return self.status < 200

    @property
    def is_success(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300

    def copy(self) -> Response:
        """Give an independent copy."""
        return Response(self.status, self.reason, self.headers.copy(), self.body)

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Response):
            return NotImplemented
        return (self.start_line, self.headers, self.body) == (other.start_line, other.headers, other.body)

    __hash__ = object.__hash__


def _max_forwards(text: str) -> int:
    return parse_number(text, "Max-Forwards", 255)


def _content_length(text: str) -> int:
    return parse_number(text, "Content-Length")


def _expires(text: str) -> int:
    return min(parse_number(text, "Expires", 10**20), 2**32 - 1)


def _topmost_via(text: str) -> Via:
    if "," not in text:
        return Via.parse(text)
    # One line may hold several: all of them must be good, or nobody knows where the first one ends.
    first, *_ = [Via.parse(value) for value in split_commas(text)]
    return first


def _addresses(text: str) -> tuple[NameAddr, ...]:
    if "," not in text and text:
        return (NameAddr.parse(text),)
    return tuple([NameAddr.parse(value) for value in split_commas(text) if value])


def _call_id(text: str) -> str:
    if not text or " " in text or "\t" in text:
        raise ParseError("Malformed Call-ID")
    return text


#: How the fields that may stand once are read, Via's first value among them, by canonical name.
READERS: Mapping[str, Callable[[str], Any]] = {
    "via": _topmost_via,
    "from": NameAddr.parse,
    "to": NameAddr.parse,
    "call-id": _call_id,
    "cseq": CSeq.parse,
    "content-length": _content_length,
    "max-forwards": _max_forwards,
    "content-type": media_type,
    "expires": _expires,
}
#: The lists of addresses that a dialog is made of, and how they are read, beside the others.
DIALOG_LISTS = ("contact", "route", "record-route")
DIALOG_READERS = {**READERS, **dict.fromkeys(DIALOG_LISTS, _addresses)}
