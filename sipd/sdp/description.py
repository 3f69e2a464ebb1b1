"""Session descriptions: RFC 8866 sections 5, 6 and 9, with `a=rtcp` (RFC 3605) and `a=rtcp-mux` (RFC 5761).

A description is its lines. They are kept as they came, without line ends, and are looked at only when somebody asks;
what is not replaced is printed as it was. Reading is lenient, so lines and attributes nobody here knows pass through in
their place; writing ends every line with CRLF.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from itertools import pairwise
from typing import Self

from sipd.errors import SdpError


class AddressType(Enum):
    """The `<addrtype>` of RFC 8866 section 5.7: which version of IP."""

    IP4 = "IP4"
    IP6 = "IP6"

    __hash__ = object.__hash__

    @classmethod
    def of(cls, host: str) -> AddressType:
        """Give the type of a numeric address, without brackets."""
        return cls.IP6 if ":" in host else cls.IP4


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
    """The value of a `c=` line (RFC 8866 section 5.7).

    Args:
        address_type: the version of IP.
        host: a numeric address or a domain name.
        scope: the TTL and the number of addresses of a multicast group with their slashes (`/127/3`), or empty.
    """

    address_type: AddressType
    host: str
    scope: str = ""

    @classmethod
    def parse(cls, text: str) -> Connection:
        """Parse `IN IP4 192.0.2.1`.

        Raises:
            SdpError: it is not that.
        """
        match text.split():
            case [network, "IP4" | "IP6" as address_type, address] if network.upper() == "IN":
                host, slash, scope = address.partition("/")
                if host:
                    return cls(address_type=AddressType(address_type), host=host, scope=slash + scope)
        raise SdpError(f"connection address that is not one: {text!r}")

    def __str__(self) -> str:
        return f"IN {self.address_type.value} {self.host}{self.scope}"

    @property
    def is_unspecified(self) -> bool:
        """Whether it says "send me nothing": `0.0.0.0` (RFC 3264 section 8.4), or the same for IPv6."""
        return self.host == "0.0.0.0" or (":" in self.host and not self.host.strip(":0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RtcpAddress:
    """The value of an `a=rtcp` attribute (RFC 3605): a port, and an address if it is not that of the media."""

    port: int
    connection: Connection | None = None

    @classmethod
    def parse(cls, text: str) -> RtcpAddress:
        """Parse `53020` or `53020 IN IP4 192.0.2.1`.

        Raises:
            SdpError: it is neither.
        """
        port, _, rest = text.strip().partition(" ")
        return cls(port=_port(port), connection=Connection.parse(rest) if rest.strip() else None)

    def __str__(self) -> str:
        return str(self.port) if self.connection is None else f"{self.port} {self.connection}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a session part and a media part have in common: lines.

    Args:
        lines: in order, without line ends, each beginning with its letter and `=`.
    """

    lines: tuple[str, ...]

    def values(self, letter: str) -> list[str]:
        """Give the value of each line of one letter, in order."""
        prefix = letter + "="
        return [line[2:] for line in self.lines if line.startswith(prefix)]

    @property
    def attributes(self) -> list[tuple[str, str | None]]:
        """Give (name, value) of each `a=` line; the value of a property attribute, such as `sendonly`, is `None`."""
        pairs = (value.partition(":") for value in self.values("a"))
        return [(name, value if colon else None) for name, colon, value in pairs]

    def attribute(self, name: str) -> str | None:
        """Give the value of the first attribute of that name: empty for a property attribute, `None` if absent."""
        flag = f"a={name}"
        for line in self.lines:
            if line.startswith(flag):
                rest = line[len(flag) :]
                if not rest or rest[0] == ":":
                    return rest[1:]
        return None

    @property
    def connection(self) -> Connection | None:
        """The first `c=` line.

        Raises:
            SdpError: it is malformed, or not of the Internet.
        """
        for line in self.lines:
            if line.startswith("c="):
                return Connection.parse(line[2:])
        return None

    @property
    def direction(self) -> Direction | None:
        """What this part says about the direction of media, or `None` if it says nothing."""
        for line in self.lines:
            if line.startswith("a=") and (direction := _DIRECTIONS.get(line[2:].rstrip())) is not None:
                return direction
        return None

    def with_attribute(self, name: str, value: str | None = None) -> Self:
        """Give a copy in which that attribute is there once: in the place of the first of its name, or at the end."""
        line = f"a={name}" if value is None else f"a={name}:{value}"
        lines = list(self.lines)
        places = [place for place, old in enumerate(lines) if _is_attribute(old, name)]
        if places:
            lines[places[0]] = line
            for place in reversed(places[1:]):
                del lines[place]
        else:
            lines.append(line)
        return replace(self, lines=tuple(lines))

    def without_attributes(self, names: Iterable[str]) -> Self:
        """Give a copy without the attributes of those names."""
        flags = tuple([f"a={name}" for name in names])
        kept = [line for line in self.lines if not (line.startswith(flags) and line.partition(":")[0] in flags)]
        return self if len(kept) == len(self.lines) else replace(self, lines=tuple(kept))

    def with_direction(self, direction: Direction) -> Self:
        """Give a copy that says that direction, and no other."""
        return self.without_attributes(_DIRECTIONS).with_attribute(direction.value)

    def with_connection(self, connection: Connection) -> Self:
        """Give a copy with that `c=` line and no other: in the place of the first, or where section 5 wants it."""
        place = next((place for place, line in enumerate(self.lines) if line.startswith("c=")), None)
        if place is None:
            place = next((place for place, line in enumerate(self.lines) if line[0] in "bktza"), len(self.lines))
        lines = [line for line in self.lines[place:] if not line.startswith("c=")]
        return replace(self, lines=(*self.lines[:place], f"c={connection}", *lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaDescription(Section):
    """One `m=` line and what follows it (RFC 8866 section 5.14). `lines[0]` is the `m=` line."""

    @property
    def media(self) -> str:
        """The kind: `audio`, `video`, `image`, ..."""
        return self.lines[0][2:].split(None, 1)[0]

    @property
    def port(self) -> int:
        """The transport port; 0 for a stream that is refused or ended (RFC 3264 sections 6 and 8.2)."""
        return int(self.lines[0].split(None, 2)[1].partition("/")[0])

    @property
    def port_count(self) -> int:
        """How many ports, or pairs of them, the line names: `/2`; 1 if it does not say."""
        return int(self.lines[0].split(None, 2)[1].partition("/")[2] or 1)

    @property
    def protocol(self) -> str:
        """The transport protocol: `RTP/AVP`, `udptl`, ..."""
        return self.lines[0].split(None, 3)[2]

    @property
    def formats(self) -> tuple[str, ...]:
        """The media formats: payload types for RTP."""
        return tuple(self.lines[0].split()[3:])

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
    def has_rtcp_mux(self) -> bool:
        """Whether RTCP may come on the port of RTP (RFC 5761 section 5.1.1)."""
        return self.attribute("rtcp-mux") is not None

    @property
    def rtpmaps(self) -> dict[str, str]:
        """Payload type to encoding, clock rate and parameters: `{"0": "PCMU/8000"}` (RFC 8866 section 6.6)."""
        maps = (value.split(None, 1) for name, value in self.attributes if name == "rtpmap" and value is not None)
        return {pair[0]: pair[1] for pair in maps if len(pair) == 2}

    def with_port(self, port: int) -> MediaDescription:
        """Give a copy with one port, or one pair, in the place of those it names."""
        kind, _, rest = self.lines[0].split(None, 2)
        return MediaDescription(lines=(f"{kind} {port} {rest}", *self.lines[1:]))

    def with_formats(self, formats: Iterable[str]) -> MediaDescription:
        """Give a copy with those formats; attributes of others stay."""
        head = self.lines[0].split(None, 3)[:3]
        return MediaDescription(lines=(" ".join((*head, *formats)), *self.lines[1:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription(Section):
    """A whole description.

    Args:
        lines: those before the first `m=` line.
        media: the media descriptions, in order: what an offer and its answer are matched by.
    """

    media: tuple[MediaDescription, ...] = ()

    @property
    def origin(self) -> str | None:
        """The value of the `o=` line."""
        return next((line[2:] for line in self.lines if line.startswith("o=")), None)

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
        """Give a copy with that `o=` line: in the place of the first, or after `v=`."""
        rest = [line for line in self.lines if not line.startswith("o=")]
        return SessionDescription(lines=(rest[0], f"o={value}", *rest[1:]), media=self.media)

    def without_origin(self) -> SessionDescription:
        """Give a copy without its `o=` line: for finding out whether anything else changed."""
        return SessionDescription(
            lines=tuple([line for line in self.lines if not line.startswith("o=")]), media=self.media
        )

    def __str__(self) -> str:
        lines = list(self.lines)
        for media in self.media:
            lines += media.lines
        return "\r\n".join(lines) + "\r\n"

    def to_bytes(self) -> bytes:
        """Print it. Octets that are not UTF-8 leave as they came."""
        return str(self).encode("utf-8", "surrogateescape")


def parse_description(data: bytes | str) -> SessionDescription:
    """Parse a session description.

    Args:
        data: the body of a message. Lines may end with CRLF, LF or CR, the last one with nothing. Empty lines are
            dropped; lines of unknown letters and unknown attributes are kept in order.

    Returns:
        The description. Of its lines only `v=` and `m=` have been looked at.

    Raises:
        SdpError: it does not begin with `v=0`, a line is not a letter with a value, or an `m=` line is malformed.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.split("\n") if line]
    if not lines or lines[0].rstrip() != "v=0":
        raise SdpError("not a session description: it does not begin with v=0")
    starts = []
    for place, line in enumerate(lines):
        if line[1:2] != "=" or not line[0].isalpha():
            raise SdpError(f"line {place + 1} of the session description is not one: {line[:40]!r}")
        if line[0] == "m":
            _check_media_line(line)
            starts.append(place)
    starts.append(len(lines))
    return SessionDescription(
        lines=tuple(lines[: starts[0]]),
        media=tuple(MediaDescription(lines=tuple(lines[start:end])) for start, end in pairwise(starts)),
    )


def _check_media_line(line: str) -> None:
    """Raise `SdpError` unless `line` is `m=kind port[/count] protocol format ...`."""
    fields = line[2:].split()
    if line[2:3].isspace() or len(fields) < 3:
        raise SdpError(f"media line that lacks a field: {line[:40]!r}")
    port, slash, count = fields[1].partition("/")
    _port(port)
    if slash and not (count.isascii() and count.isdigit() and 0 < len(count) < 6 and int(count)):
        raise SdpError(f"media line with a number of ports that is none: {line[:40]!r}")


def _port(text: str) -> int:
    """Give the number of a port, or raise `SdpError`."""
    if text.isascii() and text.isdigit() and len(text) < 6 and (port := int(text)) <= 65535:
        return port
    raise SdpError(f"port that is none: {text[:40]!r}")


def _is_attribute(line: str, name: str) -> bool:
    """Say whether that line is an attribute of that name."""
    return line.startswith("a=") and line[2:].partition(":")[0] == name
