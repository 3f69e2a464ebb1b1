"""What an offer and its answer come to for one endpoint: which codec goes where, and which way (RFC 3264 section 6)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from sipd.errors import SdpError
from sipd.media.endpoint.codecs import CODECS, EVENT_NAME, clock_rate_of
from sipd.media.latch import Address
from sipd.sdp.codecs import Codec, encodings
from sipd.sdp.description import AddressType, Direction, MediaDescription, SessionDescription
from sipd.sdp.streams import agreed_streams

_SENDS = frozenset((Direction.SENDRECV, Direction.SENDONLY))
_RECEIVES = frozenset((Direction.SENDRECV, Direction.RECVONLY))
#: Milliseconds of one frame, and of the longest packet that is sent.
_FRAME = 20
_FRAMES_LIMIT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What holds for the stream.

    Args:
        index: of the media line.
        direction: which way media flows, as this side sees it.
        is_held: whether the peer holds, in any dialect.
        encoding: of what is sent: ``pcmu/8000``.
        payload_type: of what is sent, as the peer wants it.
        frames: of 20 ms, in each packet that is sent.
        event: payload type and clock rate of the telephone events that the peer takes; ``None`` if it takes none.
        received: encodings by payload type of what the peer may send.
        remote: where the peer wants RTP; ``None`` if that is nowhere, or is not a number.
        remote_rtcp: the same for RTCP.
        has_mux: whether RTCP goes with RTP (RFC 5761).
    """

    index: int
    direction: Direction
    is_held: bool
    encoding: str
    payload_type: int
    frames: int = 1
    event: tuple[int, int] | None = None
    received: Mapping[int, str] = field(default_factory=dict)
    remote: Address | None = None
    remote_rtcp: Address | None = None
    has_mux: bool = False

    @property
    def name(self) -> str:
        """Of the codec that is sent."""
        return self.encoding.partition("/")[0]

    @property
    def clock_rate(self) -> int:
        """Of the codec that is sent."""
        return clock_rate_of(self.encoding)

    @property
    def sends(self) -> bool:
        """Whether this side may send."""
        return self.direction in _SENDS

    @property
    def receives(self) -> bool:
        """Whether the peer may."""
        return self.direction in _RECEIVES


def agree(
    local: SessionDescription,
    remote: SessionDescription,
    index: int,
    *,
    prefers_local: bool,
    host: str,
    has_ice: bool = False,
) -> Agreement:
    """Find out what two descriptions come to.

    Args:
        local: what this side said.
        remote: what the peer said.
        index: of the media line.
        prefers_local: whose order of codecs says which one is sent: that of the answer.
        host: the address that is bound; the peer's must be of the same version of IP.
        has_ice: whether ICE says where media go, and not the addresses of the description.

    Raises:
        SdpError: there is no stream any more, no codec, or no address.
    """
    mine, theirs = local.media[index], remote.media[index]
    stream = agreed_streams(local, remote)[index]
    if not stream.is_active:
        raise SdpError("There is no audio that both sides want")
    spoken = [codec for codec in stream.codecs if codec.name in CODECS]
    if not prefers_local:
        places = list(encodings(theirs))
        spoken.sort(key=lambda codec: places.index(codec.remote))
    if not spoken:
        raise SdpError("There is no codec that both sides can")
    codec = spoken[0]
    rate = clock_rate_of(codec.encoding)
    events = [each for each in stream.codecs if each.name == EVENT_NAME]
    events.sort(key=lambda event: clock_rate_of(event.encoding) != rate)
    event = events[0] if events else None
    rtp, rtcp = (None, None) if has_ice else _addresses(remote, theirs, host)
    return Agreement(
        index=index,
        direction=stream.direction,
        is_held=stream.is_held,
        encoding=codec.encoding,
        payload_type=_number(codec),
        frames=_frames(theirs) if CODECS[codec.name].joins else 1,
        event=None if event is None else (_number(event), clock_rate_of(event.encoding)),
        received=_received(mine, theirs),
        remote=rtp,
        remote_rtcp=rtcp,
        has_mux=mine.has_rtcp_mux and theirs.has_rtcp_mux,
    )


def numeric(host: str) -> str | None:
    """Give a numeric address as sockets write it; ``None`` if it is something else."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _number(codec: Codec) -> int:
    """Give the payload type that the peer wants, or raise `SdpError` if it is none."""
    if codec.remote.isdecimal() and int(codec.remote[:4]) <= 127:
        return int(codec.remote)
    raise SdpError(f"payload type that is none: {codec.remote[:40]!r}")


def _received(mine: MediaDescription, theirs: MediaDescription) -> dict[int, str]:
    """Give what may come: by the numbers of this side, and else by those of the peer, which many send instead."""
    known = set(encodings(mine).values())
    found: dict[int, str] = {}
    for media in (mine, theirs):
        for number, encoding in encodings(media).items():
            if encoding in known and number.isdecimal() and int(number[:4]) <= 127:
                found.setdefault(int(number), encoding)
    return found


def _frames(theirs: MediaDescription) -> int:
    """Give how many frames the peer would like in a packet: ``a=ptime``, unless ``a=maxptime`` forbids."""
    wanted, most = (_milliseconds(theirs.attribute(name)) for name in ("ptime", "maxptime"))
    frames = (wanted or _FRAME) // _FRAME
    if most:
        frames = min(frames, most // _FRAME)
    return max(1, min(frames, _FRAMES_LIMIT))


def _milliseconds(text: str | None) -> int:
    """Give the whole number that an attribute begins with, or 0."""
    digits = (text or "").strip().partition(".")[0]
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) < 6 else 0


def _addresses(
    remote: SessionDescription, theirs: MediaDescription, host: str
) -> tuple[Address | None, Address | None]:
    """Give where the peer wants RTP and RTCP."""
    connection = remote.connection_of(theirs)
    if connection is None:
        raise SdpError("Session description without an address")
    port = theirs.port
    rtcp = theirs.rtcp
    if connection.is_unspecified:
        return None, None
    family = AddressType.of(host)
    number = numeric(connection.host)
    if connection.address_type is not family or (number is not None and AddressType.of(number) is not family):
        raise SdpError(f"The address is not one of {family.value}")
    rtcp_port, rtcp_host = port + 1, number
    if rtcp is not None:
        rtcp_port = rtcp.port
        rtcp_host = number if rtcp.connection is None else numeric(rtcp.connection.host)
    return (
        None if number is None else (number, port),
        None if rtcp_host is None or not 0 < rtcp_port <= 65535 else (rtcp_host, rtcp_port),
    )
