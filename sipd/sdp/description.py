"""Session descriptions: RFC 8866 sections 5, 6 and 9, with ``a=rtcp`` (RFC 3605) and ``a=rtcp-mux`` (RFC 5761).

A description is its text, in one piece for the session and one for each stream. It is kept as it came, and looked at
only when somebody asks; what is not replaced is printed as it was. Reading is lenient, so lines and attributes nobody
here knows pass through in their place; every line ends with CRLF, whatever it came with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Self

from sipd.errors import SdpError

#: A phone says the same address again and again: those of up to so many characters are parsed once.
_SHORT = 64
_MEMORY = 1024

#: Lines of letters with values.
_LINES = re.compile(r"(?:[^\W\d_]=[^\r\n]*+\r\n)++")
_MEDIA_LINE = re.compile(r"m=\S+[^\S\r\n]+([0-9]{1,5})(?:/([0-9]{1,5}))?[^\S\r\n]+\S")
_ORIGIN_LINE = re.compile(r"\r\no=[^\r\n]*")
_CONNECTION_LINE = re.compile(r"\r\nc=[^\r\n]*")
_DIRECTION_LINE = re.compile(r"\r\na=(sendrecv|sendonly|recvonly|inactive)[^\S\r\n]*\r")
#: What stands after a ``c=`` line (RFC 8866 section 5).
_AFTER_CONNECTION = re.compile(r"\r\n[bktza]")


class AddressType(Enum):
    """The ``<addrtype>`` of RFC 8866 section 5.7: which version of IP."""

    IP4 = "IP4"
    IP6 = "IP6"

    __hash__ = object.__hash__

    @classmethod
    def of(cls, host: str) -> AddressType:
        """Give the type of a numeric address, without brackets."""
        return _IP6 if ":" in host else _IP4


#: To look a member up in its class takes longer.
_IP4, _IP6 = AddressType.IP4, AddressType.IP6


class Direction(Enum):
    """Which way media flows, as seen by whoever says so (RFC 8866 section 6.7)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    __hash__ = object.__hash__


_DIRECTIONS = {direction.value: direction for direction in Direction}


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The value of a ``c=`` line (RFC 8866 section 5.7).

    Args:
        address_type: the version of IP.
        host: a numeric address or a domain name.
        scope: the TTL and the number of addresses of a multicast group with their slashes (``/127/3``), or empty.
    """

    address_type: AddressType
    host: str
    scope: str = ""

    @classmethod
    def parse(cls, text: str) -> Connection:
        """Parse ``IN IP4 192.0.2.1``.

        Raises:
            SdpError: it is not that.
        """
        return _parse_short_connection(text) if len(text) <= _SHORT else _parse_connection(text)

    def __str__(self) -> str:
        return f"IN {'IP6' if self.address_type is _IP6 else 'IP4'} {self.host}{self.scope}"

    @property
    def is_unspecified(self) -> bool:
        """Whether it says "send me nothing": ``0.0.0.0`` (RFC 3264 section 8.4), or the same for IPv6."""
        return self.host == "0.0.0.0" or (":" in self.host and not self.host.strip(":0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RtcpAddress:
    """The value of an ``a=rtcp`` attribute (RFC 3605): a port, and an address if it is not that of the media."""

    port: int
    connection: Connection | None = None

    @classmethod
    def parse(cls, text: str) -> RtcpAddress:
        """Parse ``53020`` or ``53020 IN IP4 192.0.2.1``.

        Raises:
            SdpError: it is neither.
        """
        port, _, rest = text.strip().partition(" ")
        return cls(port=_port(port), connection=Connection.parse(rest) if rest.strip() else None)

    def __str__(self) -> str:
        return str(self.port) if self.connection is None else f"{self.port} {self.connection}"


class Section:
    """What a session part and a media part have in common: lines. Immutable.

    Args:
        text: the lines in order, each a letter, ``=`` and a value, and ended with CRLF. The first is ``v=`` or ``m=``.
        lines: the same without line ends, instead of `text`.
    """

    __slots__ = ("text",)

    def __init__(self, text: str = "", *, lines: Iterable[str] | None = None) -> None:
        self.text = text if lines is None else _join(lines)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines in order, without line ends."""
        return tuple(self.text[:-2].split("\r\n"))

    def values(self, letter: str) -> list[str]:
        """Give the value of each line of one letter, in order."""
        prefix = letter + "="
        return [line[2:] for line in self.lines if line.startswith(prefix)]

    @property
    def attributes(self) -> list[tuple[str, str | None]]:
        """Give (name, value) of each ``a=`` line; that of a property attribute, such as ``sendonly``, is ``None``."""
        pairs = (value.partition(":") for value in self.values("a"))
        return [(name, value if colon else None) for name, colon, value in pairs]

    def attribute(self, name: str) -> str | None:
        """Give the value of the first attribute of that name: empty for a property attribute, ``None`` if absent."""
        text = self.text
        flag = f"\r\na={name}"
        start = text.find(flag)
        while start >= 0:
            end = start + len(flag)
            if text[end] == ":":
                return text[end + 1 : text.index("\r", end)]
            if text[end] == "\r":
                return ""
            start = text.find(flag, end)
        return None

    @property
    def connection(self) -> Connection | None:
        """The first ``c=`` line.

        Raises:
            SdpError: it is malformed, or not of the Internet.
        """
        text = self.text
        start = text.find("\r\nc=")
        if start < 0:
            return None
        value = text[start + 4 : text.index("\r", start + 4)]
        return _parse_short_connection(value) if len(value) <= _SHORT else _parse_connection(value)

    @property
    def direction(self) -> Direction | None:
        """What this part says about the direction of media, or ``None`` if it says nothing."""
        found = _DIRECTION_LINE.search(self.text)
        return None if found is None else _DIRECTIONS[found[1]]

    def with_attribute(self, name: str, value: str | None = None) -> Self:
        """Give a copy in which that attribute is there once: in the place of the first of its name, or at the end."""
        line = f"\r\na={name}" if value is None else f"\r\na={name}:{value}"
        lines = _attribute_lines((name,))
        first = lines.search(self.text)
        if first is None:
            return self._with_text(f"{self.text[:-2]}{line}\r\n")
        return self._with_text(self.text[: first.start()] + line + lines.sub("", self.text[first.end() :]))

    def with_more_attributes(self, attributes: Iterable[str]) -> Self:
        """Give a copy with more attributes at its end, each as it stands after ``a=``."""
        return self._with_text(self.text + "".join([f"a={attribute}\r\n" for attribute in attributes]))

    def without_attributes(self, names: Iterable[str]) -> Self:
        """Give a copy without the attributes of those names."""
        lines = _attribute_lines(tuple(names))
        return self if lines.search(self.text) is None else self._with_text(lines.sub("", self.text))

    def with_direction(self, direction: Direction) -> Self:
        """Give a copy that says that direction, and no other."""
        return self.without_attributes(_DIRECTIONS).with_attribute(direction.value)

    def with_connection(self, connection: Connection) -> Self:
        """Give a copy with that ``c=`` line and no other: in the place of the first, or where section 5 wants it."""
        text = self.text
        start = text.find("\r\nc=")
        if start < 0:
            after = _AFTER_CONNECTION.search(text)
            start = len(text) - 2 if after is None else after.start()
            rest = text[start:]
        else:
            rest = text[text.index("\r", start + 2) :]
            if "\r\nc=" in rest:
                rest = _CONNECTION_LINE.sub("", rest)
        return self._with_text(f"{text[:start]}\r\nc={connection}{rest}")

    def _with_text(self, text: str) -> Self:
        return type(self)(text)


class MediaDescription(Section):
    """One ``m=`` line and what follows it (RFC 8866 section 5.14)."""

    __slots__ = ()

    @property
    def transport(self) -> tuple[int, str]:
        """The port and the protocol, read together: ``(49170, "RTP/AVP")``."""
        fields = self.text.split(None, 3)
        port = fields[1]
        return int(port.partition("/")[0] if "/" in port else port), fields[2]

    @property
    def media(self) -> str:
        """The kind: ``audio``, ``video``, ``image``, ..."""
        return self.text[2:].split(None, 1)[0]

    @property
    def port(self) -> int:
        """The transport port; 0 for a stream that is refused or ended (RFC 3264 sections 6 and 8.2)."""
        return self.transport[0]

    @property
    def port_count(self) -> int:
        """How many ports, or pairs of them, the line names: ``/2``; 1 if it does not say."""
        return int(self.text.split(None, 2)[1].partition("/")[2] or 1)

    @property
    def protocol(self) -> str:
        """The transport protocol: ``RTP/AVP``, ``udptl``, ..."""
        return self.transport[1]

    @property
    def formats(self) -> tuple[str, ...]:
        """The media formats: payload types for RTP."""
        return tuple(self.text.partition("\r")[0].split()[3:])

    @property
    def is_disabled(self) -> bool:
        """Whether the stream is refused or ended: its port is 0."""
        return self.port == 0

    @property
    def is_rtp(self) -> bool:
        """Whether its datagrams are RTP and RTCP of some profile."""
        return "RTP/" in self.protocol.upper()

    @property
    def rtcp(self) -> RtcpAddress | None:
        """Where RTCP is to go, if it says so (RFC 3605).

        Raises:
            SdpError: it says so in no known way.
        """
        value = self.attribute("rtcp")
        return None if value is None else RtcpAddress.parse(value)

    @property
    def mentions_rtcp(self) -> bool:
        """Whether there may be any of the attributes about RTCP, such as ``a=rtcp`` and ``a=rtcp-mux``."""
        return "\r\na=rtcp" in self.text

    @property
    def has_rtcp_mux(self) -> bool:
        """Whether RTCP may come on the port of RTP (RFC 5761 section 5.1.1)."""
        return self.attribute("rtcp-mux") is not None

    @property
    def rtpmaps(self) -> dict[str, str]:
        """Payload type to encoding, clock rate and parameters: ``{"0": "PCMU/8000"}`` (RFC 8866 section 6.6)."""
        maps = [line.partition("\r")[0].split(None, 1) for line in self.text.split("\r\na=rtpmap:")[1:]]
        return {pair[0]: pair[1] for pair in maps if len(pair) == 2}

    def with_port(self, port: int) -> MediaDescription:
        """Give a copy with one port, or one pair, in the place of those it names."""
        kind, _, rest = self.text.split(None, 2)
        return MediaDescription(f"{kind} {port} {rest}")

    def with_formats(self, formats: Iterable[str]) -> MediaDescription:
        """Give a copy with those formats; attributes of others stay."""
        line, end, rest = self.text.partition("\r")
        return MediaDescription(" ".join((*line.split(None, 3)[:3], *formats)) + end + rest)


class SessionDescription(Section):
    """A whole description.

    Args:
        text: the lines before the first ``m=`` line, as in `Section`.
        lines: the same without line ends, instead of `text`.
        media: the media descriptions, in order: what an offer and its answer are matched by.
    """

    __slots__ = ("media",)

    def __init__(
        self, text: str = "", media: tuple[MediaDescription, ...] = (), *, lines: Iterable[str] | None = None
    ) -> None:
        self.text = text if lines is None else _join(lines)
        self.media = media

    @property
    def origin(self) -> str | None:
        """The value of the ``o=`` line."""
        found = _ORIGIN_LINE.search(self.text)
        return None if found is None else found[0][4:]

    def connection_of(self, media: MediaDescription) -> Connection | None:
        """Give the address of a stream: its own, or the session's (RFC 8866 section 5.7).

        Raises:
            SdpError: it is malformed, or not of the Internet.
        """
        own = media.connection
        return self.connection if own is None else own

    def direction_of(self, media: MediaDescription) -> Direction:
        """Give the direction of a stream: its own, or the session's, or both ways (RFC 8866 section 6.7)."""
        return media.direction or self.direction or Direction.SENDRECV

    def with_origin(self, value: str) -> SessionDescription:
        """Give a copy with that ``o=`` line and no other: in the place of the first, or after ``v=``."""
        before, after = self._split_at_origin()
        return SessionDescription(f"{before}\r\no={value}{after}", self.media)

    def without_origin(self) -> SessionDescription:
        """Give a copy without its ``o=`` line."""
        return SessionDescription("".join(self._split_at_origin()), self.media)

    def differs_from(self, other: SessionDescription) -> bool:
        """Say whether there is a difference in more than the ``o=`` line."""
        return self.media != other.media or (
            self.text != other.text and self._split_at_origin() != other._split_at_origin()
        )

    def __str__(self) -> str:
        return "".join([self.text, *[media.text for media in self.media]])

    def to_bytes(self) -> bytes:
        """Print it. Octets that are not UTF-8 leave as they came."""
        return str(self).encode("utf-8", "surrogateescape")

    def _with_text(self, text: str) -> SessionDescription:
        return SessionDescription(text, self.media)

    def _split_at_origin(self) -> tuple[str, str]:
        """Give what stands before the ``o=`` line, or where it should be, and what comes after it."""
        text = self.text
        start = text.find("\r\no=")
        if start < 0:
            start = end = text.index("\r\n")
        else:
            end = text.index("\r", start + 2)
        after = text[end:]
        return text[:start], after if "\r\no=" not in after else _ORIGIN_LINE.sub("", after)


def parse_description(data: bytes | str) -> SessionDescription:
    """Parse a session description.

    Args:
        data: the body of a message. Lines may end with CRLF, LF or CR, the last one with nothing. Empty lines are
            dropped; lines of unknown letters and unknown attributes are kept in order.

    Returns:
        The description. Of its lines only ``v=`` and ``m=`` have been looked at.

    Raises:
        SdpError: it does not begin with ``v=0``, a line is not a letter with a value, or an ``m=`` line is malformed.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    if _LINES.fullmatch(text) is None:
        text = _mend_lines(text)
    if not text.startswith("v=0\r\n") and text.partition("\r\n")[0].rstrip() != "v=0":
        raise SdpError("not a session description: it does not begin with v=0")
    session, *streams = text[:-2].split("\r\nm=")
    return SessionDescription(session + "\r\n", tuple([_parse_media(f"m={each}\r\n") for each in streams]))


def _join(lines: Iterable[str]) -> str:
    """Give lines in one piece."""
    return "\r\n".join(lines) + "\r\n"


def _mend_lines(text: str) -> str:
    """Give the lines of a description, each ended with CRLF and none empty, or raise `SdpError` if one is no line."""
    lines = [line for line in text.replace("\r", "\n").split("\n") if line]
    for place, line in enumerate(lines):
        if not _LINES.fullmatch(line + "\r\n"):
            raise SdpError(f"line {place + 1} of the session description is not one: {line[:40]!r}")
    return _join(lines)


def _parse_media(text: str) -> MediaDescription:
    """Give a media part, or raise `SdpError` unless it begins with ``m=kind port[/count] protocol``."""
    found = _MEDIA_LINE.match(text)
    if found is None or int(found[1]) > 65535 or (found[2] is not None and not int(found[2])):
        raise SdpError(f"media line that is not one: {text[:40]!r}")
    return MediaDescription(text)


def _parse_connection(text: str) -> Connection:
    """See `Connection.parse`."""
    match text.split():
        case [network, "IP4" | "IP6" as address_type, address] if network.upper() == "IN":
            host, slash, scope = address.partition("/")
            if host:
                return Connection(address_type=AddressType(address_type), host=host, scope=slash + scope)
    raise SdpError(f"connection address that is not one: {text!r}")


_parse_short_connection = lru_cache(maxsize=_MEMORY)(_parse_connection)


@lru_cache
def _attribute_lines(names: tuple[str, ...]) -> re.Pattern[str]:
    """Give what finds the lines of attributes of those names, each with the line end before it."""
    return re.compile(rf"\r\na=(?:{'|'.join(map(re.escape, names))})(?::[^\r\n]*)?(?=\r\n)")


def _port(text: str) -> int:
    """Give the number of a port, or raise `SdpError`."""
    if text.isascii() and text.isdigit() and len(text) < 6 and (port := int(text)) <= 65535:
        return port
    raise SdpError(f"port that is none: {text[:40]!r}")
