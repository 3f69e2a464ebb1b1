"""URIs: ``sip`` and ``sips`` (RFC 3261 section 19.1), ``tel`` (RFC 3966), and any other scheme kept as it is.

All are immutable values. They print what was parsed, octet for octet, and compare by the rules of their scheme.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sipd.errors import ParseError
from sipd.sip.grammar import UNRESERVED, escape, has_bad_escape, print_parameters

_SIP = re.compile(
    r"(?P<scheme>sips?):"
    r"(?:(?P<user>[^@:]+)(?::(?P<password>[^@:]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<parameters>;[^?@]*)?"
    r"(?P<headers>\?.*)?\Z",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_FORBIDDEN = re.compile(r'[\x00-\x20"<>\x7f]')
_CANONICAL = re.compile(r"[A-Za-z0-9\-_.!~*'();/?:@&=+$,]*\Z")
_NOT_CANONICAL = re.compile(r"%([0-9A-Fa-f]{2})|[^A-Za-z0-9\-_.!~*'();/?:@&=+$,]")
_VISUAL_SEPARATORS = str.maketrans("", "", "-.()")
_TEL_NUMBER = re.compile(r"\+?[0-9A-Fa-f*#\-.()]+\Z")
#: These must be equal, or absent, on both sides (section 19.1.4); others count only where both sides have them.
_ALWAYS_COMPARED = ("user", "ttl", "method", "maddr", "transport")


class SipUri:
    """A ``sip`` or ``sips`` URI (RFC 3261 section 19.1.1). Immutable.

    Args:
        host: a name, or a numeric address; an IPv6 address without brackets.
        user: as written, escapes kept; ``None`` where there is none.
        port: 0 to 65535, or ``None`` where it is not written, which is not the same as the default port.
        parameters: lower-case name to value as written; ``None`` for a parameter without one. Not to be changed.
        headers: ``(name, value)`` pairs as written after ``?``.
        scheme: ``sip`` or ``sips``.
        password: deprecated by the RFC, kept for what it is.
    """

    __slots__ = ("_text", "headers", "host", "parameters", "password", "port", "scheme", "user")

    def __init__(
        self,
        host: str,
        user: str | None = None,
        port: int | None = None,
        parameters: Mapping[str, str | None] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        scheme: str = "sip",
        password: str | None = None,
    ) -> None:
        self.scheme = scheme
        self.user = user
        self.password = password
        self.host = host
        self.port = port
        self.parameters: Mapping[str, str | None] = parameters if parameters is not None else {}
        self.headers = headers
        self._text = ""

    @property
    def is_secure(self) -> bool:
        """Whether the scheme is ``sips``."""
        return self.scheme == "sips"

    @property
    def transport(self) -> str | None:
        """The `transport` parameter in lower case, or ``None``."""
        value = self.parameters.get("transport")
        return value.lower() if value else None

    @property
    def host_port(self) -> str:
        """`host` or ``host:port`` as it stands in the URI, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    def address_of_record(self) -> str:
        """Give the canonical AOR: ``sip:user@host``, user unescaped where allowed, no port, no parameters (10.3)."""
        host = _canonical_host(self.host)
        if ":" in host:
            host = f"[{host}]"
        return f"sip:{host}" if self.user is None else f"sip:{_canonical(self.user)}@{host}"

    def replace(self, **changes: Any) -> SipUri:
        """Give a copy in which the named attributes have other values."""
        values = {
            name: changes.pop(name, getattr(self, name))
            for name in ("host", "user", "port", "parameters", "headers", "scheme", "password")
        }
        if changes:
            raise TypeError(f"SipUri has no {', '.join(changes)}")
        return SipUri(**values)

    def without_headers(self) -> SipUri:
        """Give the URI as it may stand in a request line: no headers, no ``method`` (section 19.1.1, table 1)."""
        if not self.headers and "method" not in self.parameters:
            return self
        parameters = {name: value for name, value in self.parameters.items() if name != "method"}
        return self.replace(headers=(), parameters=parameters)

    def __str__(self) -> str:
        if not self._text:
            self._text = self._print()
        return self._text

    def _print(self) -> str:
        user = ""
        if self.user is not None:
            user = f"{self.user}@" if self.password is None else f"{self.user}:{self.password}@"
        headers = "?" + "&".join(f"{name}={value}" for name, value in self.headers) if self.headers else ""
        return f"{self.scheme}:{user}{self.host_port}{print_parameters(self.parameters)}{headers}"

    def __repr__(self) -> str:
        return f"<SipUri {self}>"

    def __hash__(self) -> int:
        return hash((self.scheme, self.user and _canonical(self.user), _canonical_host(self.host), self.port))

    def __eq__(self, other: object) -> bool:
        """Compare by RFC 3261 section 19.1.4, and by RFC 5954 where an IPv6 address is written in two ways."""
        if not isinstance(other, SipUri):
            return NotImplemented
        return (
            self.scheme == other.scheme
            and self.port == other.port
            and _canonical_host(self.host) == _canonical_host(other.host)
            and _canonical_or_none(self.user) == _canonical_or_none(other.user)
            and _canonical_or_none(self.password) == _canonical_or_none(other.password)
            and _same_parameters(self.parameters, other.parameters)
            and _header_set(self.headers) == _header_set(other.headers)
        )


class TelUri:
    """A ``tel`` URI (RFC 3966). Immutable.

    Args:
        number: as written, visual separators included.
        parameters: lower-case name to value as written.
    """

    __slots__ = ("_text", "number", "parameters")

    scheme = "tel"

    def __init__(self, number: str, parameters: Mapping[str, str | None] | None = None) -> None:
        self.number = number
        self.parameters: Mapping[str, str | None] = parameters if parameters is not None else {}
        self._text = ""

    @property
    def is_global(self) -> bool:
        """Whether it begins with ``+``: an E.164 number."""
        return self.number.startswith("+")

    @property
    def digits(self) -> str:
        """The number without visual separators (RFC 3966 section 5.1.1)."""
        return self.number.translate(_VISUAL_SEPARATORS)

    def __str__(self) -> str:
        if not self._text:
            self._text = f"tel:{self.number}{print_parameters(self.parameters)}"
        return self._text

    def __repr__(self) -> str:
        return f"<TelUri {self}>"

    def __hash__(self) -> int:
        return hash(self.digits.lower())

    def __eq__(self, other: object) -> bool:
        """Compare by RFC 3966 section 4: digits without separators, parameters in any order, any case."""
        if not isinstance(other, TelUri):
            return NotImplemented
        return self.digits.lower() == other.digits.lower() and _tel_parameters(self) == _tel_parameters(other)


class OtherUri:
    """A URI of a scheme that sipd does not interpret. Immutable.

    Args:
        scheme: in lower case.
        text: the whole URI as written.
    """

    __slots__ = ("scheme", "text")

    def __init__(self, scheme: str, text: str) -> None:
        self.scheme = scheme
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<OtherUri {self.text}>"

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OtherUri):
            return NotImplemented
        return self.text == other.text


Uri = SipUri | TelUri | OtherUri


def parse_uri(text: str) -> Uri:
    """Parse any URI.

    Args:
        text: without angle brackets and without white space around it.

    Raises:
        ParseError: it breaks the grammar of its scheme.
    """
    return _parse_short(text) if len(text) <= _SHORT else _parse(text)


def _parse(text: str) -> Uri:
    if _FORBIDDEN.search(text):
        raise ParseError("Forbidden character in a URI")
    match = _SIP.match(text)
    if match is not None:
        return _sip_uri(match, text)
    scheme = _SCHEME.match(text)
    if scheme is None:
        raise ParseError("A URI without a scheme")
    name = scheme[1].lower()
    if name == "tel":
        return _tel_uri(text)
    if name in ("sip", "sips"):
        raise ParseError(f"Malformed {name} URI")
    return OtherUri(name, text)


#: The same addresses come again in every message of a call: a URI of up to `_SHORT` characters is parsed once. URIs are
#: immutable, and the memory is bounded by the two numbers.
_SHORT = 200
_parse_short = lru_cache(maxsize=4096)(_parse)


def parse_sip_uri(text: str) -> SipUri:
    """Parse a URI that must be ``sip`` or ``sips``.

    Raises:
        ParseError: it is malformed or of another scheme.
    """
    uri = parse_uri(text)
    if not isinstance(uri, SipUri):
        raise ParseError(f"A sip or sips URI is needed, not {uri.scheme}")
    return uri


def is_ipv6(text: str) -> bool:
    """Say whether a text is an IPv6 address, without brackets and without a zone (RFC 5954)."""
    if ":" not in text or "%" in text:
        return False
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _sip_uri(match: re.Match[str], text: str) -> SipUri:
    scheme, user, password, host, port_text, parameter_text, header_text = match.groups()
    if "%" in text and has_bad_escape(text):
        raise ParseError("Malformed escape in a URI")
    port = None
    if port_text is not None:
        port = int(port_text)
        if port > 65535:
            raise ParseError("Port of a URI is too large")
    host = host.lower()
    if host[0] == "[":
        host = host[1:-1]
        if not is_ipv6(host):
            raise ParseError("Malformed IPv6 reference in a URI")
    parameters = _uri_parameters(parameter_text) if parameter_text else {}
    headers = _uri_headers(header_text) if header_text and len(header_text) > 1 else ()
    uri = SipUri(host, user, port, parameters, headers, scheme.lower(), password)
    uri._text = text
    return uri


def _uri_parameters(text: str) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    for part in text.split(";"):
        if not part:
            continue
        name, equals, value = part.partition("=")
        name = _canonical(name).lower()
        if not name or name in parameters:
            raise ParseError(f"URI parameter {name[:40]!r} has no name, or stands twice")
        parameters[name] = value if equals else None
    return parameters


def _uri_headers(text: str) -> tuple[tuple[str, str], ...]:
    headers = []
    for part in text[1:].split("&"):
        name, equals, value = part.partition("=")
        if not name or not equals:
            raise ParseError("Malformed header in a URI")
        headers.append((name, value))
    return tuple(headers)


def _tel_uri(text: str) -> TelUri:
    number, _, parameter_text = text[4:].partition(";")
    if not _TEL_NUMBER.match(number) or number.strip("+-.()") == "":
        raise ParseError("Malformed number in a tel URI")
    if has_bad_escape(parameter_text):
        raise ParseError("Malformed escape in a URI")
    uri = TelUri(number, _uri_parameters(parameter_text))
    uri._text = text
    return uri


def _canonical_host(host: str) -> str:
    return str(ipaddress.IPv6Address(host)) if is_ipv6(host) else host.lower()


def _canonical(text: str) -> str:
    """Write each character in one way: escaped if it is neither unreserved nor reserved, else plain (19.1.4).

    An escaped reserved character stays escaped: it does not mean the same as the plain one.
    """
    return text if _CANONICAL.match(text) else _NOT_CANONICAL.sub(_canonical_character, text)


def _canonical_character(match: re.Match[str]) -> str:
    if match[1] is None:
        return escape(match[0])
    character = chr(int(match[1], 16))
    return character if character in UNRESERVED else match[0].upper()


def _canonical_or_none(text: str | None) -> str | None:
    return None if text is None else _canonical(text)


def _same_parameters(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> bool:
    if not one and not other:
        return True
    for name in _ALWAYS_COMPARED:
        if (name in one) != (name in other):
            return False
    return all(
        _canonical(value or "").lower() == _canonical(other[name] or "").lower()
        for name, value in one.items()
        if name in other
    )


def _tel_parameters(uri: TelUri) -> dict[str, str]:
    folded = {name: _canonical(value or "").lower() for name, value in uri.parameters.items()}
    for name, value in folded.items():
        if name == "ext" or (name == "phone-context" and value.startswith("+")):
            folded[name] = value.translate(_VISUAL_SEPARATORS)
    return folded


def _header_set(headers: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return sorted((_canonical(name).lower(), _canonical(value)) for name, value in headers)
