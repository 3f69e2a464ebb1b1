"""Transports and targets, and the rules that choose between them (RFC 3261 section 18, RFC 3263 section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
        """Whether it satisfies `sips` (RFC 5630)."""
        return self is Transport.TLS or self is Transport.WSS

    @property
    def default_port(self) -> int:
        """The port that is meant where none is written (RFC 3261 section 19.1.2)."""
        return 5061 if self is Transport.TLS else {Transport.WS: 80, Transport.WSS: 443}.get(self, 5060)

    @property
    def uri_parameter(self) -> str:
        """The value of `transport=` in a URI. TLS is `tcp` in a `sips` URI, and `tls` in a `sip` one."""
        return self.value.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One place to send a request to: an outcome of RFC 3263.

    Args:
        transport: how.
        host: a numeric address, without brackets.
        port: 1 to 65535.
        server_name: the host of the URI that led here; TLS verifies the certificate against it (RFC 5922 section 7.1).
    """

    transport: Transport
    host: str
    port: int
    server_name: str = ""
