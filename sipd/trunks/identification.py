"""From whom a request comes: which trunk, by its certificate, by whom it is for, by its address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from sipd.trunks.settings import Network

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Networks:
    """Which trunks there are at an address: those of the longest network that it is in.

    Args:
        entries: network and name of the trunk.
    """

    def __init__(self, entries: Iterable[tuple[Network, str]]) -> None:
        #: By version of IP and length of the prefix, longest first: the first address to names.
        self._lengths: dict[tuple[int, int], dict[int, list[str]]] = {}
        by_length = sorted(entries, key=lambda entry: -entry[0].prefixlen)
        for network, name in by_length:
            found = self._lengths.setdefault((network.version, network.prefixlen), {})
            names = found.setdefault(int(network.network_address), [])
            if name not in names:
                names.append(name)

    def find(self, host: str) -> Sequence[str]:
        """Give the names for a numeric address."""
        address = read_address(host) if self._lengths else None
        if address is None:
            return ()
        number, bits = int(address), address.max_prefixlen
        for (version, length), found in self._lengths.items():
            if version == address.version:
                names = found.get(number >> (bits - length) << (bits - length))
                if names is not None:
                    return names
        return ()


class CertificateNames:
    """Which trunks have one of the names that a certificate proves.

    Args:
        entries: name in a certificate, and name of the trunk.
    """

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._trunks: dict[str, list[str]] = {}
        for certified, name in entries:
            names = self._trunks.setdefault(certified.lower(), [])
            if name not in names:
                names.append(name)

    def find(self, peer_names: Sequence[str]) -> Sequence[str]:
        """Give the names for those that the peer has proved to have; no wildcards (RFC 5922 section 7.2)."""
        if not self._trunks:
            return ()
        found = (name for certified in peer_names for name in self._trunks.get(certified.lower(), ()))
        return tuple(dict.fromkeys(found))


def read_address(host: str) -> _Address | None:
    """Read a numeric address; one of IPv4 that is written as one of IPv6 is one of IPv4. ``None`` for a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
