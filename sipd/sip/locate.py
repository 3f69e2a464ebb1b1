"""Transports and targets, and the rules that choose between them (RFC 3261 section 18, RFC 3263 section 4.1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache

from sipd.errors import UnresolvableError
from sipd.sip.uri import SipUri, Uri

#: A request above this does not go over UDP first, since the path MTU is unknown (RFC 3261 section 18.1.1).
MAX_UDP_REQUEST_OCTETS = 1300
#: What fits into one UDP datagram over IPv4; above it there is no falling back.
MAX_DATAGRAM_OCTETS = 65507


class Transport(Enum):
    """A SIP transport (RFC 3261 section 18, RFC 7118)."""

    UDP = "UDP"
    TCP = "TCP"
    TLS = "TLS"
    WS = "WS"
    WSS = "WSS"

    __hash__ = object.__hash__

    @property
    def is_reliable(self) -> bool:
        """Whether retransmission is left to the transport: everything but UDP."""
        return self is not Transport.UDP

    @property
    def is_secure(self) -> bool:
        """Whether it satisfies ``sips`` (RFC 5630)."""
        return self is Transport.TLS or self is Transport.WSS

    @property
    def is_websocket(self) -> bool:
        """Whether it is one of WebSocket (RFC 7118), whose clients are reached on their own connection alone."""
        return self is Transport.WS or self is Transport.WSS

    @property
    def default_port(self) -> int:
        """The port that is meant where none is written (RFC 3261 section 19.1.2)."""
        return 5061 if self is Transport.TLS else {Transport.WS: 80, Transport.WSS: 443}.get(self, 5060)

    @property
    def uri_parameter(self) -> str:
        """The value of ``transport=`` in a URI. TLS is ``tcp`` in a ``sips`` URI, and ``tls`` in a ``sip`` one."""
        return self.value.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place to send a request to: an outcome of RFC 3263.

    Args:
        transport: how.
        host: a numeric address, without brackets.
        port: 1 to 65535.
        server_name: the host of the URI that led here; TLS verifies the certificate against it (RFC 5922 section 7.1).
        point: name of the listening point that it is spoken to from, if there is a choice: who came to one may have a
            NAT that lets in nothing from another. It is the same place, whatever stands here.
    """

    transport: Transport
    host: str
    port: int
    server_name: str = ""
    point: str = field(default="", compare=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport.value} {host}:{self.port}"


@lru_cache(maxsize=1024)
def is_numeric(host: str) -> bool:
    """Say whether a host is an IPv4 or IPv6 address (without brackets) and not a name."""
    if not host or not (host[-1].isdigit() or ":" in host):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def select_transport(uri: SipUri) -> Transport:
    """Choose the transport for a URI without asking DNS (RFC 3263 section 4.1, RFC 5630 section 3.1).

    ``sips`` is never downgraded: ``transport=tcp`` means TLS there, and ``transport=ws`` means WSS.

    Returns:
        What the ``transport`` parameter says; without one UDP for ``sip`` and TLS for ``sips``.

    Raises:
        UnresolvableError: the parameter names a transport that is not spoken, or an insecure one in a ``sips`` URI.
    """
    name = uri.transport
    if name is None:
        return Transport.TLS if uri.is_secure else Transport.UDP
    try:
        transport = Transport(name.upper())
    except ValueError:
        raise UnresolvableError(f"The transport {name[:20]} is not spoken here") from None
    if not uri.is_secure:
        return transport
    secured = {Transport.TCP: Transport.TLS, Transport.WS: Transport.WSS}.get(transport, transport)
    if not secured.is_secure:
        raise UnresolvableError(f"A sips URI cannot be reached over {name[:20]}")
    return secured


class Lookup(Enum):
    """What has to be asked about a URI's host, before the addresses of a name (RFC 3263 sections 4.1 and 4.2)."""

    NOTHING = "the host is numeric"
    ADDRESSES = "the URI has a port, or its transport has no SRV records: A and AAAA alone"
    SERVICES = "the URI has a transport: its SRV records"
    POINTERS = "the URI leaves it to the domain: NAPTR, then SRV"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a URI points, before its host is looked up.

    Args:
        transport: as the URI says, or by default.
        host: a name or a numeric address: ``maddr`` if the URI has one, else its host (RFC 3263 section 4).
        port: as the URI says, or the default of the transport.
        server_name: the host of the URI, whatever ``maddr`` says: what a certificate must be good for.
        lookup: what to ask about `host` first.
        is_secure: whether the URI is ``sips``.
    """

    transport: Transport
    host: str
    port: int
    server_name: str
    lookup: Lookup = Lookup.NOTHING
    is_secure: bool = False

    def at(self, address: str) -> Target:
        """Give the target for one of the numeric addresses of `host`."""
        return Target(transport=self.transport, host=address, port=self.port, server_name=self.server_name)


def find_destination(uri: Uri) -> Destination:
    """Read where a URI points (RFC 3263 section 4).

    Raises:
        UnresolvableError: it is neither ``sip`` nor ``sips``, its transport is not spoken, or its port is 0.
    """
    if not isinstance(uri, SipUri):
        raise UnresolvableError(f"A {uri.scheme[:20]} URI names no server: it needs a route")
    transport = select_transport(uri)
    port = transport.default_port if uri.port is None else uri.port
    if not port:
        raise UnresolvableError("Nothing can be reached at port 0")
    host = (uri.parameters.get("maddr") or uri.host).strip("[]").lower()
    if is_numeric(host):
        lookup = Lookup.NOTHING
    elif uri.port is not None or transport.is_websocket:
        lookup = Lookup.ADDRESSES
    else:
        lookup = Lookup.POINTERS if uri.transport is None else Lookup.SERVICES
    return Destination(
        transport=transport,
        host=host,
        port=port,
        server_name=uri.host,
        lookup=lookup,
        is_secure=uri.is_secure,
    )


def targets_for_size(targets: Sequence[Target], size_octets: int) -> tuple[Target, ...]:
    """Give the targets to try for a request of that size (RFC 3261 section 18.1.1).

    Args:
        targets: in the order in which they are to be tried.
        size_octets: of the printed request, Via included.

    Returns:
        The same, but a request that is too large for UDP tries TCP at the same address first. UDP stays as the
        fallback where TCP is refused, as long as the request fits into a datagram.
    """
    if size_octets <= MAX_UDP_REQUEST_OCTETS:
        return tuple(targets)
    result: list[Target] = []
    for target in targets:
        if target.transport is Transport.UDP:
            result.append(replace(target, transport=Transport.TCP))
            if size_octets > MAX_DATAGRAM_OCTETS:
                continue
        result.append(target)
    return tuple(result)
