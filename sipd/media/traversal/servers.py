"""Which STUN and TURN servers: their URIs (RFC 7064, RFC 7065), and their addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorPluggableNameResolver

from sipd.errors import ConfigurationError
from sipd.ice.requests import Address
from sipd.media.traversal.errors import TraversalError
from sipd.transport.names import SystemNames

DEFAULT_PORT = 3478
#: Characters of a URI.
_LIMIT = 300
_URI = re.compile(
    r"(?P<scheme>[A-Za-z]+):(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+))"
    r"(?::(?P<port>[0-9]{1,5}))?(?:\?transport=(?P<transport>[A-Za-z0-9_-]+))?"
)


class ServerKind(Enum):
    """What a server does."""

    STUN = "stun"
    TURN = "turn"


@dataclass(frozen=True, slots=True)
class TraversalServer:
    """A STUN or TURN server that is asked over UDP.

    Args:
        kind: which.
        host: its name, or its numeric address without brackets.
        port: 1 to 65535.
    """

    kind: ServerKind
    host: str
    port: int = DEFAULT_PORT

    @classmethod
    def parse(cls, text: str) -> TraversalServer:
        """Read ``stun:host:port`` or ``turn:host:port?transport=udp``; port and transport may be left out.

        Raises:
            ConfigurationError: it is no such URI, of more than 300 characters, or wants TLS or TCP, which are not
                spoken here.
        """
        found = _URI.fullmatch(text) if len(text) <= _LIMIT else None
        if found is None:
            raise ConfigurationError(["a STUN or TURN server is written as stun:host:port or turn:host:port"])
        scheme = found["scheme"].lower()
        if scheme in ("stuns", "turns"):
            raise ConfigurationError([f"{text}: STUN and TURN servers are asked over UDP only, not over TLS"])
        kind = {each.value: each for each in ServerKind}.get(scheme)
        if kind is None or (kind is ServerKind.STUN and found["transport"] is not None):
            raise ConfigurationError([f"{text}: neither stun:host:port nor turn:host:port?transport=udp"])
        if (found["transport"] or "udp").lower() != "udp":
            raise ConfigurationError([f"{text}: TURN servers are asked over UDP only"])
        port = int(found["port"] or DEFAULT_PORT)
        if not 0 < port <= 0xFFFF:
            raise ConfigurationError([f"{text}: no port {port}"])
        if (ipv6 := found["ipv6"]) is not None:
            try:
                return cls(kind, str(ip_address(ipv6)), port)
            except ValueError:
                raise ConfigurationError([f"{text}: {ipv6} is no address"]) from None
        return cls(kind, found["host"], port)

    def __str__(self) -> str:
        """Give the URI."""
        return f"{self.kind.value}:{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def find_address(
    reactor: IReactorPluggableNameResolver, server: TraversalServer, *, version: int = 4
) -> Deferred[Address]:
    """Find the address of a server by the reactor's resolver; a numeric host is there at once.

    Args:
        reactor: has the resolver.
        server: which.
        version: the version of IP of the socket that asks, 4 or 6. The first address of it is taken.

    Returns:
        The address. Can be cancelled.

    Raises:
        TraversalError: the name has no such address.
    """
    return Deferred.fromCoroutine(_find_address(reactor, server, version))


async def _find_address(reactor: IReactorPluggableNameResolver, server: TraversalServer, version: int) -> Address:
    try:
        addresses = [str(ip_address(server.host))]
    except ValueError:
        addresses = list(await SystemNames(reactor).find_addresses(server.host))
    for address in addresses:
        if ip_address(address).version == version:
            return address, server.port
    raise TraversalError(f"{server} has no address of version {version} of IP")
