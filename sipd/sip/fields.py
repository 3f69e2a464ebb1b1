"""Header field values with a structure of their own (RFC 3261 section 20). Immutable; each parses and prints itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from sipd.errors import ParseError
from sipd.sip.grammar import (
    DELICATE,
    USUAL_METHODS,
    WHITESPACE,
    is_quoted,
    is_token,
    parse_number,
    parse_parameters,
    print_parameters,
    quote,
    split_commas,
    unquote,
)
from sipd.sip.uri import Uri, is_ipv6, parse_uri

_USUAL_PROTOCOLS = {f"SIP/2.0/{transport}": transport for transport in ("UDP", "TCP", "TLS", "WS", "WSS")}
#: Of any version: a request of another one is answered with 505, and for that its Via has to be read.
_PROTOCOL = re.compile(r"SIP[ \t]*/[ \t]*[0-9]+\.[0-9]+[ \t]*/[ \t]*([\w\-.!%*+`'~]+)[ \t]+", re.IGNORECASE | re.ASCII)
_SENT_BY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)(?:[ \t]*:[ \t]*([0-9]{1,5}))?\Z")
#: A name-addr to its bracket, and its tag where that is all that follows. A semicolon does not stand in a display name.
_NAME_ADDR = re.compile(
    r"""((?:"(?:[^"\\]|\\.)*"[ \t]*|[^"<>;]*)<[^<>]*>)(?:;tag=([\w\-.!%*+`'~]+)\Z)?""", re.DOTALL | re.ASCII
)
#: A display name without quotes should be tokens (RFC 4475 section 3.1.2.15); what cannot mislead is let through.
_DISPLAY = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\"<>,;:\\]*\Z")
_CSEQ = re.compile(r"([0-9]{1,20})[ \t]+([\w\-.!%*+`'~]+)\Z", re.ASCII)
_RACK = re.compile(r"([0-9]+)[ \t]+([0-9].*)\Z")
_QVALUE = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")
_AUTH_SCHEME = re.compile(r"[ \t]*([\w\-.!%*+`'~]+)(?:[ \t]+|\Z)", re.ASCII)
_TOKEN68 = re.compile(r"[A-Za-z0-9\-._~+/]+=*\Z")

#: The same addresses come again in every message of a call: what has up to `_SHORT` characters is parsed once. Values
#: are immutable, and the memory is bounded by the two numbers.
_SHORT = 200
_MEMORY = 4096
_USUAL_MEDIA_TYPES = {name: name for name in ("application/sdp", "multipart/mixed", "message/sipfrag", "text/plain")}
#: What a Contact is good for whose `expires` nobody can read (RFC 3261 section 20.10), in seconds.
_MALFORMED_EXPIRES = 3600


class Via:
    """One Via value (RFC 3261 section 20.42).

    Args:
        transport: `UDP`, `TCP`, ``TLS``, ... in upper case.
        host: of sent-by; an IPv6 address without brackets.
        port: of sent-by, or ``None`` where it is not written.
        parameters: `branch`, `received`, `rport`, ... Not to be changed.
    """

    __slots__ = ("_text", "host", "parameters", "port", "transport")

    def __init__(
        self, transport: str, host: str, port: int | None = None, parameters: Mapping[str, str | None] | None = None
    ) -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.parameters: Mapping[str, str | None] = parameters if parameters is not None else {}
        self._text = ""

    @classmethod
    def parse(cls, text: str) -> Via:
        """Parse one value, white space undone.

        Raises:
            ParseError: it breaks the grammar.
        """
        protocol, _, rest = text.partition(" ")
        transport = _USUAL_PROTOCOLS.get(protocol)
        if transport is None:
            match = _PROTOCOL.match(text)
            if match is None:
                raise ParseError("Malformed Via")
            transport, rest = match[1].upper(), text[match.end() :]
        sent_by, semicolon, parameters = rest.partition(";")
        host, port = _parse_sent_by(sent_by) if len(sent_by) <= _SHORT else _read_sent_by(sent_by)
        via = cls(transport, host, port, parse_parameters(parameters) if semicolon else None)
        via._text = text
        return via

    @property
    def branch(self) -> str:
        """The branch, or an empty text where there is none (RFC 2543)."""
        return self.parameters.get("branch") or ""

    @property
    def received(self) -> str | None:
        """The address that the request really came from, without brackets, or ``None``."""
        value = self.parameters.get("received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> str | None:
        """RFC 3581: ``None`` where absent, empty where it is asked for, the port as text where it is answered."""
        return (self.parameters["rport"] or "") if "rport" in self.parameters else None

    @property
    def sent_by(self) -> str:
        """`host` or ``host:port`` as in the header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def with_parameter(self, name: str, value: str | None) -> Via:
        """Give a copy with that parameter added or changed."""
        return Via(self.transport, self.host, self.port, {**self.parameters, name: value})

    def __str__(self) -> str:
        if not self._text:
            self._text = f"SIP/2.0/{self.transport} {self.sent_by}{print_parameters(self.parameters)}"
        return self._text

    def __repr__(self) -> str:
        return f"<Via {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Via):
            return NotImplemented
        return (self.transport, self.host, self.port, self.parameters) == (
            other.transport,
            other.host,
            other.port,
            other.parameters,
        )

    def __hash__(self) -> int:
        return hash((self.transport, self.host, self.port, self.branch))


class NameAddr:
    """A From, To, Contact, Route, ... value: display name, URI and header parameters (RFC 3261 section 20.10).

    Args:
        uri: the address.
        display_name: what it says, quotes undone; empty where there is none.
        parameters: those of the header field; those of the URI stay in the URI. Not to be changed.
    """

    __slots__ = ("_text", "display_name", "parameters", "uri")

    def __init__(self, uri: Uri, display_name: str = "", parameters: Mapping[str, str | None] | None = None) -> None:
        self.uri = uri
        self.display_name = display_name
        self.parameters: Mapping[str, str | None] = parameters if parameters is not None else {}
        self._text = ""

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Parse ``name-addr`` or ``addr-spec`` with parameters.

        Without angle brackets all that follows a semicolon belongs to the header field (section 20).

        Raises:
            ParseError: it breaks the grammar; a comma, question mark or semicolon needs the brackets (RFC 8217).
        """
        if text[-1:] == ">" and len(text) <= _SHORT:
            return _parse_without_parameters(text)
        match = _NAME_ADDR.match(text)
        address_text, tag = match.groups() if match is not None else (text.partition(";")[0], None)
        display_name, uri = (_parse_address if len(address_text) <= _SHORT else _read_address)(address_text)
        if tag is not None:
            address = cls(uri, display_name, {"tag": tag})
        else:
            parameters = text[len(address_text) :].lstrip(WHITESPACE)
            if parameters and parameters[0] != ";":
                raise ParseError("Malformed address")
            address = cls(uri, display_name, parse_parameters(parameters))
        address._text = text
        return address

    @property
    def tag(self) -> str | None:
        """The tag, or ``None``; empty for one without a value, which is no tag that anybody gave."""
        return (self.parameters["tag"] or "") if "tag" in self.parameters else None

    @property
    def q(self) -> float:
        """The preference of a contact, 0.0 to 1.0; 1.0 where it is absent (section 20.10 leaves it open).

        Raises:
            ParseError: it is no qvalue.
        """
        text = self.parameters.get("q")
        if text is None:
            return 1.0
        if not _QVALUE.match(text):
            raise ParseError("Malformed q value")
        return float(text)

    @property
    def expires(self) -> int | None:
        """The `expires` parameter in seconds, at most 2**32-1, or ``None``; 3600 for one that is malformed."""
        text = self.parameters.get("expires")
        if text is None:
            return None if "expires" not in self.parameters else _MALFORMED_EXPIRES
        if not (text.isascii() and text.isdigit()):
            return _MALFORMED_EXPIRES
        return min(int(text), 2**32 - 1) if len(text) <= 20 else 2**32 - 1

    def with_tag(self, tag: str) -> NameAddr:
        """Give a copy with that tag."""
        return NameAddr(self.uri, self.display_name, {**self.parameters, "tag": tag})

    def without_parameters(self) -> NameAddr:
        """Give display name and URI alone."""
        return NameAddr(self.uri, self.display_name) if self.parameters else self

    def __str__(self) -> str:
        if not self._text:
            name = ""
            if self.display_name:
                name = self.display_name if is_token(self.display_name) else quote(self.display_name)
                name += " "
            self._text = f"{name}<{self.uri}>{print_parameters(self.parameters)}"
        return self._text

    def __repr__(self) -> str:
        return f"<NameAddr {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, NameAddr):
            return NotImplemented
        return self.uri == other.uri and self.display_name == other.display_name and self.parameters == other.parameters

    def __hash__(self) -> int:
        return hash(self.uri)


class CSeq:
    """A CSeq value (RFC 3261 section 20.16).

    Args:
        number: 0 to 2**32-1; a request that begins something has less than 2**31 (section 8.1.1.5).
        method: as written; methods are case-sensitive.
    """

    __slots__ = ("method", "number")

    def __init__(self, number: int, method: str) -> None:
        self.number = number
        self.method = method

    @classmethod
    def parse(cls, text: str) -> CSeq:
        """Parse a value.

        Raises:
            ParseError: it breaks the grammar, or the number needs more than 32 bits.
        """
        digits, _, method = text.partition(" ")
        if method not in USUAL_METHODS or not (digits.isascii() and digits.isdigit() and len(digits) <= 10):
            match = _CSEQ.match(text)
            if match is None:
                raise ParseError("Malformed CSeq")
            digits, method = match[1], match[2]
        number = int(digits)
        if number > 2**32 - 1:
            raise ParseError("CSeq is too large")
        return cls(number, method)

    def with_method(self, method: str) -> CSeq:
        """Give the same number with another method: that of the ACK or CANCEL of an INVITE."""
        return CSeq(self.number, method)

    def __str__(self) -> str:
        return f"{self.number} {self.method}"

    def __repr__(self) -> str:
        return f"<CSeq {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CSeq):
            return NotImplemented
        return self.number == other.number and self.method == other.method

    def __hash__(self) -> int:
        return hash((self.number, self.method))


class RAck:
    """A RAck value (RFC 3262 section 7.2).

    Args:
        rseq: RSeq of the provisional response that is acknowledged, 1 to 2**32-1.
        cseq: CSeq of that response.
    """

    __slots__ = ("cseq", "rseq")

    def __init__(self, rseq: int, cseq: CSeq) -> None:
        self.rseq = rseq
        self.cseq = cseq

    @classmethod
    def parse(cls, text: str) -> RAck:
        """Parse a value.

        Raises:
            ParseError: it breaks the grammar, or a number needs more than 32 bits.
        """
        match = _RACK.match(text)
        if match is None:
            raise ParseError("Malformed RAck")
        return cls(parse_number(match[1], "RAck"), CSeq.parse(match[2]))

    def __str__(self) -> str:
        return f"{self.rseq} {self.cseq}"

    def __repr__(self) -> str:
        return f"<RAck {self}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RAck):
            return NotImplemented
        return self.rseq == other.rseq and self.cseq == other.cseq

    def __hash__(self) -> int:
        return hash((self.rseq, self.cseq))


class AuthParameters:
    """A challenge or credentials: a scheme and its parameters (RFC 3261 sections 20.7, 20.44; RFC 7616 section 3).

    Args:
        scheme: as written, compared in any case: ``Digest``.
        parameters: lower-case name to value, quotes undone.
        token: what schemes such as Bearer have instead of parameters (RFC 8898 section 4); else empty.
    """

    __slots__ = ("parameters", "scheme", "token")

    #: What stands without quotes (RFC 7616 sections 3.3 and 3.4) if it can; everything else is a quoted-string.
    _PLAIN = frozenset(("algorithm", "nc", "stale", "userhash", "username*"))

    def __init__(self, scheme: str, parameters: dict[str, str], token: str = "") -> None:
        self.scheme = scheme
        self.parameters = parameters
        self.token = token

    @classmethod
    def parse(cls, text: str) -> AuthParameters:
        """Parse one header line: a scheme, then parameters separated by commas, or a bare token.

        Raises:
            ParseError: it breaks the grammar, or a parameter stands twice.
        """
        match = _AUTH_SCHEME.match(text)
        if match is None:
            raise ParseError("Malformed authentication scheme")
        scheme, rest = match[1], text[match.end() :].rstrip(WHITESPACE)
        if "=" not in rest.rstrip("=") and _TOKEN68.match(rest):
            return cls(scheme, {}, rest)
        parameters: dict[str, str] = {}
        for part in split_commas(rest):
            name, equals, value = part.partition("=")
            name = name.rstrip(WHITESPACE)
            if not name and not equals:
                continue
            value = value.lstrip(WHITESPACE)
            if not equals or not is_token(name) or name.lower() in parameters:
                raise ParseError("Malformed authentication parameter")
            if not is_quoted(value) and DELICATE.search(value):
                raise ParseError("Malformed value of an authentication parameter")
            parameters[name.lower()] = unquote(value)
        return cls(scheme, parameters)

    def __str__(self) -> str:
        parameters = ", ".join(
            f"{name}={value if self._is_plain(name) and is_token(value) else quote(value)}"
            for name, value in self.parameters.items()
        )
        return f"{self.scheme} {self.token or parameters}".rstrip(WHITESPACE)

    def _is_plain(self, name: str) -> bool:
        # qop is quoted in a challenge, where it is a list, and plain in credentials, which carry a response.
        return name in self._PLAIN or (name == "qop" and "response" in self.parameters)

    def __repr__(self) -> str:
        return f"<AuthParameters {self.scheme}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AuthParameters):
            return NotImplemented
        return (self.scheme.lower(), self.parameters, self.token) == (
            other.scheme.lower(),
            other.parameters,
            other.token,
        )

    def __hash__(self) -> int:
        return hash(self.scheme.lower())


def media_type(text: str) -> str:
    """Give ``type/subtype`` of a Content-Type in lower case, parameters left off (RFC 3261 section 20.15).

    Raises:
        ParseError: it is none.
    """
    known = _USUAL_MEDIA_TYPES.get(text)
    if known is not None:
        return known
    kind, slash, subtype = text.partition(";")[0].partition("/")
    kind, subtype = kind.strip(WHITESPACE), subtype.strip(WHITESPACE)
    if not slash or not is_token(kind) or not is_token(subtype):
        raise ParseError("Malformed Content-Type")
    return f"{kind}/{subtype}".lower()


def _read_sent_by(text: str) -> tuple[str, int | None]:
    match = _SENT_BY.match(text.strip(WHITESPACE))
    if match is None:
        raise ParseError("Malformed sent-by in a Via")
    host, port = match[1].lower(), int(match[2]) if match[2] is not None else None
    if port is not None and port > 65535:
        raise ParseError("Port of a Via is too large")
    if host[0] == "[":
        host = host[1:-1]
        if not is_ipv6(host):
            raise ParseError("Malformed IPv6 reference in a Via")
    return host, port


def _read_without_parameters(text: str) -> NameAddr:
    """Read a whole value that ends with its bracket."""
    match = _NAME_ADDR.match(text)
    if match is None or match.end() != len(text):
        raise ParseError("Malformed address")
    display_name, uri = _read_address(text)
    address = NameAddr(uri, display_name)
    address._text = text
    return address


def _read_address(text: str) -> tuple[str, Uri]:
    """Read display name and URI: ``text`` ends with the closing bracket, if there are brackets."""
    display_name, bracket, uri = text.rpartition("<")
    if not bracket:
        if "?" in text or "," in text:
            raise ParseError("An address with , or ? needs angle brackets")
        return "", parse_uri(text.rstrip(WHITESPACE))
    display_name = display_name.strip(WHITESPACE)
    if uri[-1:] != ">":
        raise ParseError("Unbalanced angle bracket")
    if not is_quoted(display_name) and not _DISPLAY.match(display_name):
        raise ParseError("Malformed display name")
    return unquote(display_name), parse_uri(uri[:-1])


_parse_sent_by = lru_cache(maxsize=_MEMORY)(_read_sent_by)
_parse_without_parameters = lru_cache(maxsize=_MEMORY)(_read_without_parameters)
_parse_address = lru_cache(maxsize=_MEMORY)(_read_address)
