"""ICE in a session description: RFC 8839, with ``a=end-of-candidates`` of RFC 8840.

Values only: which candidates are worth a check is for `sipd.ice`. The password is in no ``repr`` and in no error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from sipd.errors import SdpError
from sipd.sdp.description import MediaDescription, SessionDescription

#: What one attribute may have, in characters; of one stream, so many candidates and options are read.
_LONGEST = 1024
CANDIDATE_LIMIT = 64
_OPTION_LIMIT = 32
#: The same hosts are looked at again and again: so many are parsed once.
_MEMORY = 1024

_ICE = "[A-Za-z0-9+/]"
_TOKEN = re.compile(r"[!-~]{1,255}")
_CANDIDATE = re.compile(
    rf"({_ICE}{{1,32}}) ([0-9]{{1,3}}) ([!-~]{{1,32}}) ([0-9]{{1,10}}) ([!-~]{{1,255}}) ([0-9]{{1,5}})"
    r" typ ([!-~]{1,32})"
    r"(?: raddr ([!-~]{1,255}))?(?: rport ([0-9]{1,5}))?((?: [!-~]+ [!-~]+)*)"
)
_UFRAG = re.compile(rf"{_ICE}{{4,256}}")
_PASSWORD = re.compile(rf"{_ICE}{{22,256}}")

#: What `IceDescription.write` replaces in a stream.
_NAMES = ("candidate", "ice-ufrag", "ice-pwd", "ice-options", "end-of-candidates")

Address = tuple[str, int]


class CandidateKind(Enum):
    """How a candidate was found (RFC 8445 section 5.1.1)."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"

    __hash__ = object.__hash__


_KINDS = {kind.value: kind for kind in CandidateKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The value of an ``a=candidate`` attribute (RFC 8839 section 5.1).

    Args:
        foundation: 1 to 32 letters, digits, ``+`` and ``/``; what is the same for candidates that are alike.
        component: 1 to 256: 1 is RTP, 2 is RTCP.
        transport: in lower case; ``udp`` is the only one that RFC 8445 knows.
        priority: 1 to 2**31 - 1; higher is better.
        host: a numeric address, without brackets and as ``ipaddress`` prints it; or a name, such as one of mDNS.
        port: 0 to 65535.
        kind: how it was found.
        related: the base of a reflexive candidate, the mapped address of a relayed one; for people.
        extensions: further pairs of a name and a value, in order: they mean nothing here, and are kept.
    """

    foundation: str
    component: int
    priority: int
    host: str
    port: int
    kind: CandidateKind
    transport: str = "udp"
    related: Address | None = None
    extensions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Candidate:
        """Parse ``1 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 10.0.1.1 rport 8998``.

        Args:
            text: the value of the attribute; at most 1024 characters.

        Raises:
            SdpError: it is not that, a number is out of its range, or it is of a kind that nobody knows.
        """
        found = _CANDIDATE.fullmatch(" ".join(text.split())) if len(text) <= _LONGEST else None
        if found is None:
            raise SdpError(f"candidate that is not one: {text[:80]!r}")
        foundation, component, transport, priority, host, port, name, related, related_port, rest = found.groups()
        kind = _KINDS.get(name.lower())
        if kind is None:
            raise SdpError(f"candidate of a kind that is not known: {name!r}")
        if not (1 <= int(component) <= 256 and 1 <= int(priority) < 2**31):
            raise SdpError("candidate whose component or priority is out of range")
        if max(int(port), int(related_port or 0)) > 65535:
            raise SdpError("candidate with a port that is none")
        words = rest.split()
        return cls(
            foundation=foundation,
            component=int(component),
            transport=transport.lower(),
            priority=int(priority),
            host=canonical_host(host),
            port=int(port),
            kind=kind,
            related=None if related is None else (canonical_host(related), int(related_port or 0)),
            extensions=tuple(zip(words[::2], words[1::2], strict=True)),
        )

    def __str__(self) -> str:
        parts = [self.foundation, str(self.component), self.transport, str(self.priority), self.host, str(self.port)]
        parts += ["typ", self.kind.value]
        if self.related is not None:
            parts += ["raddr", self.related[0], "rport", str(self.related[1])]
        return " ".join([*parts, *(word for pair in self.extensions for word in pair)])

    @property
    def address(self) -> Address:
        """Host and port."""
        return (self.host, self.port)

    @property
    def numeric_host(self) -> IPv4Address | IPv6Address | None:
        """The host as an address, or ``None`` if it is a name."""
        return _numeric(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class IceDescription:
    """What one side says about ICE for one stream.

    Args:
        ufrag: user name fragment, 4 to 256 letters, digits, ``+`` and ``/``.
        pwd: password, 22 to 256 of them.
        is_lite: whether this side is a lite implementation (RFC 8839 section 5.3).
        options: names of extensions, such as ``ice2`` and ``trickle``, in order.
        candidates: in order.
        is_ended: whether no more candidates will follow (RFC 8840 section 8.2).

    Raises:
        ValueError: user name fragment or password are not of that form.
    """

    ufrag: str
    pwd: str = field(repr=False)
    is_lite: bool = False
    options: tuple[str, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    is_ended: bool = False

    def __post_init__(self) -> None:
        if not _UFRAG.fullmatch(self.ufrag) or not _PASSWORD.fullmatch(self.pwd):
            raise ValueError("ICE needs a user name fragment and a password, each of its form")

    @property
    def trickles(self) -> bool:
        """Whether candidates may follow later: it can trickle (RFC 8838) and has not said that these were all."""
        return "trickle" in self.options and not self.is_ended

    @classmethod
    def read(cls, media: MediaDescription, session: SessionDescription | None = None) -> IceDescription | None:
        """Read what a stream says.

        Candidates that are malformed or of an unknown kind are left out (RFC 8839 section 5.1), and so are those after
        the first 64.

        Args:
            media: the stream.
            session: the description that it is in: what it says holds for streams that do not say otherwise.

        Returns:
            What it says, or ``None`` if it does not speak of ICE, that is has no user name fragment.

        Raises:
            SdpError: user name fragment or password are malformed, or one of them is missing.
        """
        ufrag, pwd = media.attribute("ice-ufrag"), media.attribute("ice-pwd")
        if session is not None:
            ufrag = session.attribute("ice-ufrag") if ufrag is None else ufrag
            pwd = session.attribute("ice-pwd") if pwd is None else pwd
        if ufrag is None:
            return None
        if pwd is None or not _UFRAG.fullmatch(ufrag.strip()) or not _PASSWORD.fullmatch(pwd.strip()):
            raise SdpError("ICE user name fragment or password that is missing or malformed")
        parts = (media,) if session is None else (media, session)
        return cls(
            ufrag=ufrag.strip(),
            pwd=pwd.strip(),
            is_lite=any(part.attribute("ice-lite") is not None for part in parts),
            options=_read_options(next((value for part in parts if (value := part.attribute("ice-options"))), "")),
            candidates=read_candidates(media),
            is_ended=any(part.attribute("end-of-candidates") is not None for part in parts),
        )

    def write(self, media: MediaDescription) -> MediaDescription:
        """Give a copy of a stream that says this in the place of what it said about ICE.

        But for ``a=ice-lite``, which belongs to the session: see `write_session`.
        """
        lines = [f"ice-ufrag:{self.ufrag}", f"ice-pwd:{self.pwd}"]
        if self.options:
            lines.append("ice-options:" + " ".join(self.options))
        lines += [f"candidate:{candidate}" for candidate in self.candidates]
        if self.is_ended:
            lines.append("end-of-candidates")
        return media.without_attributes(_NAMES).with_more_attributes(lines)

    def write_session(self, session: SessionDescription) -> SessionDescription:
        """Give a copy of a description whose session part says whether this side is lite."""
        return session.with_attribute("ice-lite") if self.is_lite else session.without_attributes(("ice-lite",))

    def is_restart_of(self, other: IceDescription) -> bool:
        """Say whether this asks for a restart, coming after that one: RFC 8839 section 4.4.1.1.1."""
        return (self.ufrag, self.pwd) != (other.ufrag, other.pwd)


def read_candidates(media: MediaDescription) -> tuple[Candidate, ...]:
    """Give the candidates of a stream in order: at most 64, without those that are malformed."""
    found: list[Candidate] = []
    for name, value in media.attributes:
        if name == "candidate" and value is not None:
            try:
                found.append(Candidate.parse(value))
            except SdpError:
                continue
            if len(found) == CANDIDATE_LIMIT:
                break
    return tuple(found)


def agrees_with_default(
    media: MediaDescription, session: SessionDescription, candidates: tuple[Candidate, ...]
) -> bool:
    """Say whether the default destination of RTP is among the candidates: RFC 8839 section 4.2.5.

    Where it is not, something on the way has changed the address and does not know of ICE, so that ICE is not to be
    used, and the answer says ``a=ice-mismatch``. An unspecified address or the discard port is what a side says that
    has no candidate yet (RFC 8840 section 4.1.1), and a name may stand for any address.

    Raises:
        SdpError: the ``c=`` line is malformed.
    """
    connection = session.connection_of(media)
    if connection is None or connection.is_unspecified or media.port == 9 or _numeric(connection.host) is None:
        return True
    destination = (canonical_host(connection.host), media.port)
    return any(candidate.component == 1 and candidate.address == destination for candidate in candidates)


def canonical_host(host: str) -> str:
    """Give a numeric address in its one usual form; a name in lower case."""
    address = _numeric(host)
    return host.lower() if address is None else str(address)


@lru_cache(maxsize=_MEMORY)
def _numeric(host: str) -> IPv4Address | IPv6Address | None:
    """Give the address that a text is."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _read_options(text: str) -> tuple[str, ...]:
    """Give the names of ``a=ice-options``, at most 32."""
    return tuple([name for name in text.split()[:_OPTION_LIMIT] if _TOKEN.fullmatch(name)])
