"""What a relay reads in a session description, and what it writes there instead.

The addresses of the media are replaced: ``c=`` and the ports of ``m=`` (RFC 8866 sections 5.7 and 5.14), ``a=rtcp``
(RFC 3605). What would lead media past the relay is left out: the candidates of ICE (RFC 8839 section 5). Nothing else
is touched, ``o=`` neither: that belongs to the leg.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sipd.errors import SdpError
from sipd.media.latch import Address
from sipd.sdp.description import AddressType, Connection, MediaDescription, RtcpAddress, SessionDescription

#: RFC 8839 section 5, RFC 8840 section 8.2.
_ICE = (
    "candidate",
    "end-of-candidates",
    "ice-lite",
    "ice-mismatch",
    "ice-options",
    "ice-pacing",
    "ice-pwd",
    "ice-ufrag",
    "remote-candidates",
)

#: The longest text of a numeric address. What was read and written lately is remembered: phones say the same again.
_LONGEST = 45
_MEMORY = 1024

#: First octets of the addresses of multicast groups: 224.0.0.0/4 and ff00::/8.
_MULTICAST4 = range(224, 240)
_MULTICAST6 = range(255, 256)


@dataclass(slots=True)
class SignalledStream:
    """Where a party wants one stream.

    Args:
        address_type: the version of IP it named.
        rtp: where RTP is to go; ``None`` if it named no numeric address, or said "send nothing" by 0.0.0.0.
        rtcp: the same for RTCP.
        wants_mux: whether RTCP may go where RTP goes (RFC 5761).
    """

    address_type: AddressType
    rtp: Address | None
    rtcp: Address | None
    wants_mux: bool


@dataclass(slots=True)
class StreamPlace:
    """Where the relay takes one stream: RTP on `port`, RTCP on the next one."""

    host: str
    port: int


def read_streams(description: SessionDescription) -> list[SignalledStream | None]:
    """Find out where a party wants its streams.

    Args:
        description: an offer or answer.

    Returns:
        One entry for each media line; ``None`` where there is nothing to relay: the port is 0, or the transport is not
        one of datagrams.

    Raises:
        SdpError: an address is missing, malformed, or that of a multicast group.
    """
    inherited = description.connection
    return [_read_stream(media, inherited) for media in description.media]


def is_datagrams(media: MediaDescription) -> bool:
    """Say whether a stream is one of datagrams: everything that does not name TCP (RFC 4145, RFC 4975)."""
    return not _is_stream_oriented(media.protocol)


def rewrite(
    description: SessionDescription, places: Sequence[StreamPlace | None], default_host: str
) -> SessionDescription:
    """Replace the addresses in a description by those of the relay.

    A stream on hold by address (0.0.0.0) stays so.

    Args:
        description: as it came.
        places: one entry for each media line; where it is ``None``, the port becomes 0.
        default_host: the advertised address where no stream decides it.

    Raises:
        SdpError: an address is malformed.
    """
    inherited = description.connection
    session_host: str | None = None
    streams = []
    for media, place in zip(description.media, places, strict=True):
        own = media.connection
        host = _host(own or inherited, default_host if place is None else place.host)
        if own is None and session_host is None and inherited is not None:
            session_host = host
        result = media.without_attributes(_ICE).with_port(0 if place is None else place.port)
        if own is not None or (place is not None and host != session_host):
            result = result.with_connection(_connection(host))
        streams.append(_rewrite_rtcp(result, place, host))
    session = description.without_attributes(_ICE)
    if inherited is not None:
        session = session.with_connection(_connection(session_host or default_host))
    return SessionDescription(session.text, tuple(streams))


def _is_stream_oriented(protocol: str) -> bool:
    return "TCP" in protocol.upper()


def _rewrite_rtcp(media: MediaDescription, place: StreamPlace | None, host: str) -> MediaDescription:
    """Name the relay's port for RTCP where a port is named, and none where it shares that of RTP."""
    rtcp = media.rtcp if media.mentions_rtcp else None
    if rtcp is None:
        return media
    if place is None or media.has_rtcp_mux:
        return media.without_attributes(("rtcp",))
    address = RtcpAddress(port=place.port + 1, connection=None if rtcp.connection is None else _connection(host))
    return media.with_attribute("rtcp", str(address))


def _read_stream(media: MediaDescription, inherited: Connection | None) -> SignalledStream | None:
    """Find out where a party wants one stream, given the session's address, or raise `SdpError`."""
    port, protocol = media.transport
    if not port or _is_stream_oriented(protocol):
        return None
    connection = media.connection or inherited
    if connection is None:
        raise SdpError(f"no connection address for the {media.media} stream")
    host = _numeric(connection.host)
    address_type = connection.address_type if host is None else AddressType.of(host)
    rtp = None if host is None else (host, port)
    wants_mux = False
    port += 1
    if media.mentions_rtcp:
        wants_mux = media.has_rtcp_mux and media.is_rtp
        rtcp = media.rtcp
        if rtcp is not None:
            port = rtcp.port
            if rtcp.connection is not None:
                host = _numeric(rtcp.connection.host)
    return SignalledStream(
        address_type, rtp, (host, port) if host is not None and 0 < port <= 65535 else None, wants_mux
    )


def _numeric(host: str) -> str | None:
    """Give an address as the system spells it, ``None`` if it is none or nowhere; `SdpError` for a multicast group."""
    return _spell(host) if len(host) <= _LONGEST else None


@lru_cache(maxsize=_MEMORY)
def _spell(host: str) -> str | None:
    """See `_numeric`."""
    family, multicast = (socket.AF_INET6, _MULTICAST6) if ":" in host else (socket.AF_INET, _MULTICAST4)
    try:
        packed = socket.inet_pton(family, host)
    except (OSError, ValueError):
        return None
    if packed[0] in multicast:
        raise SdpError(f"multicast address {host}: multicast is not relayed")
    return socket.inet_ntop(family, packed) if any(packed) else None


def _host(connection: Connection | None, host: str) -> str:
    """Give what to write as the address of a stream that the relay takes at `host`."""
    if connection is not None and connection.is_unspecified:
        return "::" if ":" in host else "0.0.0.0"
    return host


@lru_cache(maxsize=_MEMORY)
def _connection(host: str) -> Connection:
    """Give the value of a ``c=`` line for a numeric address."""
    return Connection(address_type=AddressType.of(host), host=host)
