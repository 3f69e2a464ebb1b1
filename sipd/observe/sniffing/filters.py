"""Which of what is seen is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from sipd.observe.sniffing.sightings import Address, MediaSeen, Seen, Sighting, Unreadable
from sipd.sip.grammar import is_token

Network = IPv4Network | IPv6Network
#: Both ends are included.
StatusRange = tuple[int, int]

#: What belongs to the beginning of a call, and what a registrar, proxy or user agent answers who it does not know.
SETUP_METHODS = frozenset(("INVITE", "ACK", "CANCEL", "PRACK"))
AUTHENTICATION_STATUSES = ((401, 401), (403, 403), (407, 407))

_STATUSES = re.compile(r"(?:([1-6])xx|([1-6][0-9]{2})(?:-([1-6][0-9]{2}))?)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What has to be true of a message, all of it; what is left out is not asked.

    Args:
        networks: it comes from or goes to an address in one of them. The only condition that RTP has to meet.
        methods: it is a request of one of these methods, or answers one.
        statuses: it is a response with one of these.
        users: From or To has such a user; ``*`` stands for any characters.
        call_id: a part of its Call-ID.
        text: stands in it, upper or lower case.
    """

    networks: tuple[Network, ...] = ()
    methods: frozenset[str] = frozenset()
    statuses: tuple[StatusRange, ...] = ()
    users: tuple[str, ...] = ()
    call_id: str = ""
    text: str = ""

    def shows(self, seen: Seen) -> bool:
        """Say whether it is to be shown."""
        if self.networks and not self._is_of_networks(seen.source, seen.destination):
            return False
        if isinstance(seen, MediaSeen):
            return True
        if isinstance(seen, Unreadable):
            # Nobody can know what is in it: it is only left out if it cannot be meant.
            return True
        return self._shows_message(seen)

    def _shows_message(self, sighting: Sighting) -> bool:
        if self.methods and sighting.method not in self.methods:
            return False
        if self.statuses:
            status = sighting.status
            if status is None or not any(low <= status <= high for low, high in self.statuses):
                return False
        if self.users and not any(fnmatchcase(user, wanted) for user in sighting.users for wanted in self.users):
            return False
        if self.call_id not in sighting.call_id:
            return False
        return not self.text or self.text.encode("utf-8", "surrogateescape").lower() in sighting.data.lower()

    def _is_of_networks(self, *addresses: Address) -> bool:
        return any(_numeric(host) in network for host, _ in addresses for network in self.networks)


def parse_methods(text: str) -> frozenset[str]:
    """Read ``INVITE,BYE``, in upper or lower case.

    Raises:
        ValueError: a part can be no method.
    """
    methods = frozenset(part.strip().upper() for part in text.split(","))
    for method in methods:
        if not is_token(method):
            raise ValueError(f"{method!r} is no method")
    return methods


def parse_statuses(text: str) -> tuple[StatusRange, ...]:
    """Read ``4xx``, ``401``, ``400-499``, or several of them between commas.

    Raises:
        ValueError: a part is none of these.
    """
    ranges = []
    for part in text.split(","):
        match = _STATUSES.match(part.strip())
        if match is None:
            raise ValueError(f"{part!r} is no status: 401, 4xx or 400-499 expected")
        hundreds, low, high = match.groups()
        first, last = (int(hundreds) * 100, int(hundreds) * 100 + 99) if hundreds else (int(low), int(high or low))
        if first > last:
            raise ValueError(f"{part!r}: the lower status comes first")
        ranges.append((first, last))
    return tuple(ranges)


def parse_network(text: str) -> Network:
    """Read an address, or a network such as ``192.0.2.0/24``.

    Raises:
        ValueError: it is neither.
    """
    return ip_network(text, strict=False)


def _numeric(host: str) -> IPv4Address | IPv6Address:
    return ip_address(host)
