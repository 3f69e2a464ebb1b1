"""Header field values with a structure of their own (RFC 3261 section 20). Immutable; each parses and prints itself."""

from __future__ import annotations

import re
from functools import lru_cache

from sipd.errors import ParseError
from sipd.sip.grammar import (
    WHITESPACE,
    end_of_quoted,
    is_token,
    parse_number,
    parse_parameters,
    print_parameters,
    quote,
    unquote,
)
from sipd.sip.uri import Uri, parse_uri

_VIA = re.compile(
    r"SIP\s*/\s*2\.0\s*/\s*(?P<transport>[A-Za-z0-9\-.!%*_+`'~]+)[ \t]+"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)\s*(?::\s*(?P<port>[0-9]{1,5}))?\s*(?P<parameters>;.*)?\Z",
    re.IGNORECASE | re.DOTALL,
)
_USUAL_VIA = re.compile(r"SIP/2\.0/([A-Z]+) ([A-Za-z0-9.\-]+)(?::([0-9]{1,5}))?(;.*)?\Z")
_NAME_ADDR = re.compile(
    r'(?P<display>"(?:[^"\\]|\\.)*"|[^<"]*?)\s*<(?P<uri>[^<>]*)>\s*(?P<parameters>;.*)?\Z', re.DOTALL
)
_DISPLAY_TOKENS = re.compile(r"[A-Za-z0-9\-.!%*_+`'~ \t\x80-\U0010ffff]*\Z")
_CSEQ = re.compile(r"([0-9]+)[ \t]+([A-Za-z0-9\-.!%*_+`'~]+)\Z")
_QVALUE = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\Z")


class Via:
    """One Via value (RFC 3261 section 20.42).

    Args:
        transport: `UDP`, `TCP`, `TLS`, ... in upper case.
        host: of sent-by; an IPv6 address without brackets.
        port: of sent-by, or `None` where it is not written.
        parameters: `branch`, `received`, `rport`, ...
    """

    __slots__ = ("_text", "host", "parameters", "port", "transport")

    def __init__(
        self, transport: str, host: str, port: int | None = None, parameters: dict[str, str | None] | None = None
    ) -> None:
        self.transport = transport
        self.host = host
        self.port = port
        self.parameters = parameters if parameters is not None else {}
        self._text = ""

    @classmethod
    def parse(cls, text: str) -> Via:
        """Parse one value, white space undone.

        Raises:
            ParseError: it breaks the grammar.
        """
        match = _USUAL_VIA.match(text) or _VIA.match(text)
        if match is None:
            raise ParseError("Malformed Via")
        transport, host, port_text, parameter_text = match.groups()
        port = None
        if port_text is not None:
            port = int(port_text)
            if port > 65535:
                raise ParseError("Port of a Via is too large")
        host = host.lower()
        if host[0] == "[":
            host = host[1:-1]
        via = cls(transport.upper(), host, port, parse_parameters(parameter_text) if parameter_text else None)
        via._text = text
        return via

    @property
    def branch(self) -> str:
        """The branch, or an empty text where there is none (RFC 2543)."""
        return self.parameters.get("branch") or ""

    @property
    def received(self) -> str | None:
        """The address that the request really came from, without brackets, or `None`."""
        value = self.parameters.get("received")
        return value.strip("[]") if value else None

    @property
    def rport(self) -> str | None:
        """RFC 3581: `None` where absent, empty where it is asked for, the port as text where it is answered."""
        return (self.parameters["rport"] or "") if "rport" in self.parameters else None

    @property
    def sent_by(self) -> str:
        """`host` or `host:port` as in the header."""
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
        parameters: those of the header field; those of the URI stay in the URI.
    """

    __slots__ = ("_text", "display_name", "parameters", "uri")

    def __init__(self, uri: Uri, display_name: str = "", parameters: dict[str, str | None] | None = None) -> None:
        self.uri = uri
        self.display_name = display_name
        self.parameters = parameters if parameters is not None else {}
        self._text = ""

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Parse `name-addr` or `addr-spec` with parameters.

        Without angle brackets all that follows a semicolon belongs to the header field (section 20).

        Raises:
            ParseError: it breaks the grammar; a comma, question mark or semicolon needs the brackets (RFC 8217).
        """
        return _parse_short_name_addr(text) if len(text) <= _SHORT else cls._parse(text)

    @classmethod
    def _parse(cls, text: str) -> NameAddr:
        match = _NAME_ADDR.match(text)
        if match is not None:
            display, uri_text, parameter_text = match.groups()
            if display and display[0] != '"' and not _DISPLAY_TOKENS.match(display):
                raise ParseError("Malformed display name")
        else:
            if "<" in text or '"' in text or ">" in text:
                raise ParseError("Malformed address")
            display = ""
            uri_text, semicolon, parameter_text = text.partition(";")
            uri_text = uri_text.rstrip(WHITESPACE)
            parameter_text = semicolon + parameter_text
            if "?" in uri_text or "," in uri_text:
                raise ParseError("An address with , or ? needs angle brackets")
        uri = parse_uri(uri_text.strip(WHITESPACE) if match is None else uri_text)
        address = cls(
            uri, unquote(display.strip(WHITESPACE)), parse_parameters(parameter_text) if parameter_text else None
        )
        address._text = text
        return address

    @property
    def tag(self) -> str | None:
        """The tag, or `None`."""
        return self.parameters.get("tag")

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
        """The `expires` parameter in seconds, or `None`.

        Raises:
            ParseError: it is no number.
        """
        text = self.parameters.get("expires")
        return None if text is None else min(parse_number(text, "expires", 10**19), 2**32 - 1)

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


#: All messages of a call carry the same From, and nearly the same To: a value of up to `_SHORT` characters is parsed
#: once. The values are immutable, and the memory is bounded by the two numbers.
_SHORT = 200
_parse_short_name_addr = lru_cache(maxsize=4096)(NameAddr._parse)


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
        match = _CSEQ.match(text)
        if match is None:
            raise ParseError("Malformed CSeq")
        number, method = match.groups()
        return cls(parse_number(number, "CSeq"), method)

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


class AuthParameters:
    """A challenge or credentials: a scheme and its parameters (RFC 3261 sections 20.7, 20.44; RFC 7616 section 3).

    Args:
        scheme: as written, compared in any case: `Digest`.
        parameters: lower-case name to value, quotes undone.
    """

    __slots__ = ("parameters", "scheme")

    #: What stands without quotes (RFC 7616 section 3.3 and 3.4); everything else is printed as a quoted-string.
    _PLAIN = frozenset(("algorithm", "stale", "nc"))

    def __init__(self, scheme: str, parameters: dict[str, str]) -> None:
        self.scheme = scheme
        self.parameters = parameters

    @classmethod
    def parse(cls, text: str) -> AuthParameters:
        """Parse one header line: a scheme, then parameters separated by commas.

        Raises:
            ParseError: it breaks the grammar, or a parameter stands twice.
        """
        scheme, _, rest = text.strip(WHITESPACE).partition(" ")
        if not is_token(scheme):
            raise ParseError("Malformed authentication scheme")
        parameters: dict[str, str] = {}
        index = 0
        while index < len(rest):
            end = index
            while end < len(rest) and rest[end] != ",":
                end = end_of_quoted(rest, end) + 1 if rest[end] == '"' else end + 1
            name, _, value = rest[index:end].partition("=")
            name = name.strip(WHITESPACE).lower()
            index = end + 1
            if not name:
                continue
            if not is_token(name) or name in parameters:
                raise ParseError("Malformed authentication parameter")
            parameters[name] = unquote(value.strip(WHITESPACE))
        return cls(scheme, parameters)

    def __str__(self) -> str:
        return f"{self.scheme} " + ", ".join(
            f"{name}={value if self._is_plain(name) else quote(value)}" for name, value in self.parameters.items()
        )

    def _is_plain(self, name: str) -> bool:
        # qop is quoted in a challenge, where it is a list, and plain in credentials, which carry a response.
        return name in self._PLAIN or (name == "qop" and "response" in self.parameters)

    def __repr__(self) -> str:
        return f"<AuthParameters {self.scheme}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AuthParameters):
            return NotImplemented
        return self.scheme.lower() == other.scheme.lower() and self.parameters == other.parameters

    def __hash__(self) -> int:
        return hash(self.scheme.lower())


def media_type(text: str) -> str:
    """Give `type/subtype` of a Content-Type in lower case, parameters left off (RFC 3261 section 20.15).

    Raises:
        ParseError: it is none.
    """
    kind, slash, subtype = text.partition(";")[0].partition("/")
    kind, subtype = kind.strip(WHITESPACE).lower(), subtype.strip(WHITESPACE).lower()
    if not slash or not is_token(kind) or not is_token(subtype):
        raise ParseError("Malformed Content-Type")
    return f"{kind}/{subtype}"
