"""Requests and responses (RFC 3261 section 7), and the response to a request (section 8.2.6).

Header fields are parsed when asked for, once, and raise `ParseError` if they are missing or malformed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, cast

from sipd.errors import ParseError
from sipd.sip.fields import CSeq, NameAddr, Via, media_type
from sipd.sip.grammar import parse_number, split_commas
from sipd.sip.headers import Headers
from sipd.sip.status import reason_phrase
from sipd.sip.uri import Uri, parse_uri

T = TypeVar("T")

VERSION = "SIP/2.0"
_WIRE = "\0wire"


class Message:
    """What requests and responses have in common.

    Attributes:
        headers: the header fields; change them freely, parsed values follow.
    """

    __slots__ = ("_body", "headers")

    def __init__(self, headers: Headers | None, body: bytes) -> None:
        self.headers = headers if headers is not None else Headers()
        self._body = body

    @property
    def body(self) -> bytes:
        """The body as octets; printing sets Content-Length to its length."""
        return self._body

    @body.setter
    def body(self, body: bytes) -> None:
        self._body = body
        self.headers.parsed.pop(_WIRE, None)

    @property
    def via(self) -> Via:
        """The topmost Via value."""
        try:
            return cast(Via, self.headers.parsed["via"])
        except KeyError:
            via = self.headers.parsed["via"] = Via.parse(split_commas(self._needed("Via"))[0])
            return via

    @property
    def vias(self) -> tuple[Via, ...]:
        """All Via values, topmost first."""
        return self._list("vias", "Via", Via.parse)

    @property
    def from_(self) -> NameAddr:
        """The From value."""
        return self._single("from", "From", NameAddr.parse)

    @property
    def to(self) -> NameAddr:
        """The To value."""
        return self._single("to", "To", NameAddr.parse)

    @property
    def call_id(self) -> str:
        """The Call-ID; compared octet for octet (section 20.8)."""
        return self._single("call-id", "Call-ID", _call_id)

    @property
    def cseq(self) -> CSeq:
        """The CSeq value."""
        return self._single("cseq", "CSeq", CSeq.parse)

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """The Contact values; empty where there is none, and for `*`."""
        if self.contact_is_star:
            return ()
        return self._list("contact", "Contact", NameAddr.parse)

    @property
    def contact_is_star(self) -> bool:
        """Whether the Contact is `*` (section 10.2.2)."""
        return self.headers.get("Contact") == "*" and self.headers.count("Contact") == 1

    @property
    def routes(self) -> tuple[NameAddr, ...]:
        """The Route values, topmost first."""
        return self._list("route", "Route", NameAddr.parse)

    @property
    def record_routes(self) -> tuple[NameAddr, ...]:
        """The Record-Route values, topmost first."""
        return self._list("record-route", "Record-Route", NameAddr.parse)

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards, or `None` where it is absent."""
        return self._number("Max-Forwards", 255)

    @property
    def expires(self) -> int | None:
        """Expires in seconds, at most 2**32-1, or `None` where it is absent."""
        return self._number("Expires", 2**32 - 1)

    @property
    def content_type(self) -> str | None:
        """`type/subtype` of the body in lower case, or `None`."""
        text = self.headers.get("Content-Type")
        return None if text is None else media_type(text)

    def to_bytes(self) -> bytes:
        """Print the message for the wire; Content-Length always says the length of the body."""
        parsed = self.headers.parsed
        wire = parsed.get(_WIRE)
        if wire is None:
            length = str(len(self._body))
            if self.headers.get("Content-Length") != length:
                self.headers.set("Content-Length", length)
            head = f"{self.start_line}\r\n" + "\r\n".join(self.headers.lines()) + "\r\n\r\n"
            wire = self.headers.parsed[_WIRE] = head.encode("utf-8", "surrogateescape") + self._body
        return cast(bytes, wire)

    @property
    def start_line(self) -> str:
        """The first line, without its end."""
        raise TypeError("neither a request nor a response")

    def _needed(self, name: str) -> str:
        value = self.headers.get(name)
        if value is None:
            raise ParseError(f"{name} is missing")
        return value

    def _single(self, key: str, name: str, parse: Callable[[str], T]) -> T:
        try:
            return cast(T, self.headers.parsed[key])
        except KeyError:
            value = self.headers.parsed[key] = parse(self._needed(name))
            return value

    def _list(self, key: str, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        try:
            return cast(tuple[T, ...], self.headers.parsed[key])
        except KeyError:
            values = self.headers.parsed[key] = tuple(parse(value) for value in self.headers.values(name))
            return values

    def _number(self, name: str, maximum: int) -> int | None:
        value = self.headers.get(name)
        return None if value is None else parse_number(value, name, maximum)


class Request(Message):
    """A request (RFC 3261 section 7.1).

    Args:
        method: as written; methods are case-sensitive.
        uri: the request URI, parsed or as text.
        headers: its header fields; the request owns them from now on.
        body: octets.
        version: as written; only `SIP/2.0` is served.
    """

    __slots__ = ("_uri", "method", "uri_text", "version")

    def __init__(
        self, method: str, uri: Uri | str, headers: Headers | None = None, body: bytes = b"", version: str = VERSION
    ) -> None:
        super().__init__(headers, body)
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
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> Response:
        """Build a response to this request (section 8.2.6.2).

        Args:
            status: 100 to 699.
            reason: the phrase; by default the usual one.
            to_tag: added to To where the request has none there; a 100 needs none.
            headers: more header fields.
            body: octets; say their type in `headers`.
        """
        fields = Headers()
        for name in ("Via", "From", "To", "Call-ID", "CSeq"):
            fields.copy_lines(self.headers, name)
        if status == 100:
            fields.copy_lines(self.headers, "Timestamp")
        if to_tag is not None and self.to.tag is None:
            fields.set("To", str(self.to.with_tag(to_tag)))
        for name, value in headers:
            fields.add(name, value)
        return Response(status, reason if reason is not None else reason_phrase(status), fields, body)

    def copy(self) -> Request:
        """Give an independent copy."""
        copy = Request(self.method, self.uri_text, self.headers.copy(), self.body, self.version)
        copy._uri = self._uri
        copy.headers.parsed.pop(_WIRE, None)
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
        super().__init__(headers, body)
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
        copy = Response(self.status, self.reason, self.headers.copy(), self.body)
        copy.headers.parsed.pop(_WIRE, None)
        return copy

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Response):
            return NotImplemented
        return (self.start_line, self.headers, self.body) == (other.start_line, other.headers, other.body)

    __hash__ = object.__hash__


def _call_id(text: str) -> str:
    if not text or " " in text or "\t" in text:
        raise ParseError("Malformed Call-ID")
    return text
