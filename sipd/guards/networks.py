"""Networks: in which one an address lies, whom an access list turns away, and who counts as one source."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Generic, TypeVar

Network = IPv4Network | IPv6Network
T = TypeVar("T")

#: Who has one address of IPv6 has all of its /64 (RFC 4291 section 2.5.4), and a new one for each message.
_IPV6_SOURCE_BITS = 64
_MAPPED = IPv6Network("::ffff:0:0/96")


class Access(Enum):
    """What an access list says of an address."""

    ALLOW = "allow"
    DENY = "deny"

    __hash__ = object.__hash__


class NetworkTable(Generic[T]):
    """What is known of networks; of several that an address lies in, the smallest counts.

    An IPv4 address that is written as IPv6 (``::ffff:192.0.2.1``, RFC 4291 section 2.5.5.2) is the IPv4 address.

    Args:
        entries: networks, and what is known of each; of two for the same one the later counts.
    """

    def __init__(self, entries: Iterable[tuple[Network, T]] = ()) -> None:
        found: dict[int, dict[int, dict[int, T]]] = {4: {}, 6: {}}
        for network, value in entries:
            plain = _plain_network(network)
            shift = plain.max_prefixlen - plain.prefixlen
            found[plain.version].setdefault(shift, {})[int(plain.network_address) >> shift] = value
        self._tables = {version: sorted(tables.items()) for version, tables in found.items()}
        self._is_filled = any(self._tables.values())

    def find(self, host: str) -> T | None:
        """Give what is known of the smallest network that an address lies in; ``None`` if that is nothing."""
        if not self._is_filled:
            return None
        try:
            address = _plain_address(host)
        except ValueError:
            return None
        number = int(address)
        for shift, table in self._tables[address.version]:
            value = table.get(number >> shift)
            if value is not None:
                return value
        return None


class AccessList:
    """Who is listened to at all.

    The smallest network that an address lies in decides; who lies in none is listened to. A network that is both
    allowed and denied is denied.

    Args:
        allow: networks that are listened to, as exceptions of what is denied.
        deny: networks that are not.
    """

    def __init__(self, allow: Iterable[Network] = (), deny: Iterable[Network] = ()) -> None:
        entries = [(network, Access.ALLOW) for network in allow]
        entries += [(network, Access.DENY) for network in deny]
        self._table = NetworkTable(entries)

    def denies(self, host: str) -> bool:
        """Say whether an address is turned away."""
        return self._table.find(host) is Access.DENY


def source_of(host: str) -> str:
    """Give what counts as one source with an address: itself, and the /64 of one of IPv6.

    Args:
        host: numeric, without brackets; anything else is given back as it is.
    """
    if ":" not in host:
        return host
    try:
        address = _plain_address(host)
    except ValueError:
        return host
    if isinstance(address, IPv4Address):
        return str(address)
    shift = address.max_prefixlen - _IPV6_SOURCE_BITS
    return f"{IPv6Address(int(address) >> shift << shift)}/{_IPV6_SOURCE_BITS}"


def _plain_address(host: str) -> IPv4Address | IPv6Address:
    address = ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _plain_network(network: Network) -> Network:
    if isinstance(network, IPv4Network) or not network.subnet_of(_MAPPED):
        return network
    number = int(network.network_address) & 0xFFFFFFFF
    return IPv4Network((number, network.prefixlen - _MAPPED.prefixlen))
