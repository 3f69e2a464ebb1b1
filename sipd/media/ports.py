"""Ports for media: pairs of an even one for RTP and the next one for RTCP (RFC 3550 section 11).

A pair is bound whole or not at all. When it is given back it rests before it is used again, so that what the last call
still has on its way does not reach the next one.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections import deque
from dataclasses import dataclass, field

from twisted.internet.interfaces import IReactorTime

from sipd.errors import ConfigurationError, ResourcesExhaustedError
from sipd.sdp.description import AddressType

#: How many pairs are tried for one that nobody else has bound, before that is called exhaustion.
_ATTEMPTS = 100

#: Non-blocking from the start, where the system can do that.
_NONBLOCKING: int = getattr(socket, "SOCK_NONBLOCK", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaAddress:
    """Where media comes in.

    Args:
        host: the numeric address that is bound, without brackets.
        advertised_host: the numeric address that session descriptions name instead (behind NAT, in a container).
    """

    host: str
    advertised_host: str

    @property
    def address_type(self) -> AddressType:
        """The version of IP."""
        return AddressType.of(self.host)


@dataclass(slots=True)
class PortPair:
    """Two bound, non-blocking sockets."""

    host: str
    port: int
    rtp: socket.socket
    rtcp: socket.socket


@dataclass(slots=True, kw_only=True)
class _Pool:
    """The pairs of one host by their even port: ready ones, resting ones by when they are rested, those in use."""

    ready: deque[int]
    resting: deque[tuple[float, int]] = field(default_factory=deque)
    used: set[int] = field(default_factory=set)


class PortAllocator:
    """Gives pairs of ports out of one range, on each host that is asked for.

    The pair that has been unused for longest is given first. A released pair is unbound and rests; whoever still sends
    to it is told by ICMP that nobody listens.

    Args:
        clock: for the resting time.
        low: the first port of the range; an odd one is left out.
        high: the last port of the range, included.
        rest: seconds that a pair rests after its release.
        resting_limit: how many pairs of a host may rest at once; beyond it, the one that has rested longest is ready
            early. Half of the pairs if ``None``: a busy relay shortens the rest, it does not refuse calls for it.

    Raises:
        ConfigurationError: the range has no pair.
    """

    def __init__(
        self, *, clock: IReactorTime, low: int, high: int, rest: float = 30.0, resting_limit: int | None = None
    ) -> None:
        if not 1 <= low <= high <= 65535:
            raise ConfigurationError([f"media ports {low}-{high}: not a range within 1-65535"])
        self._evens = range(low + low % 2, high, 2)
        if not self._evens:
            raise ConfigurationError([f"media ports {low}-{high}: no pair of an even port and the next one"])
        self._clock = clock
        self._low = low
        self._high = high
        self._rest = rest
        self._resting_limit = len(self._evens) // 2 if resting_limit is None else resting_limit
        self._pools: dict[str, _Pool] = {}

    def __len__(self) -> int:
        """Count the pairs in use, on all hosts."""
        return sum(len(pool.used) for pool in self._pools.values())

    @property
    def pairs_per_host(self) -> int:
        """How many pairs the range has."""
        return len(self._evens)

    def take(self, host: str) -> PortPair:
        """Bind a pair.

        Args:
            host: a numeric address of this machine.

        Raises:
            ResourcesExhaustedError: all pairs are in use, resting or bound by others, or the system has no more
                sockets for us. Nothing stays bound.
        """
        pool = self._pools.get(host)
        if pool is None:
            pool = self._pools[host] = _Pool(ready=deque(self._evens))
        now = self._clock.seconds()
        resting = pool.resting
        while resting and (resting[0][0] <= now or len(resting) > self._resting_limit):
            pool.ready.append(resting.popleft()[1])
        for _ in range(min(len(pool.ready), _ATTEMPTS)):
            port = pool.ready.popleft()
            try:
                rtp, rtcp = _bind_pair(host, port)
            except OSError as error:
                resting.append((now + self._rest, port))
                if error.errno == errno.EADDRINUSE:
                    continue
                raise ResourcesExhaustedError(f"no socket for media on {host}: {error.strerror}") from error
            pool.used.add(port)
            return PortPair(host, port, rtp, rtcp)
        raise ResourcesExhaustedError(
            f"no media ports left on {host}: of the {len(self._evens)} pairs in {self._low}-{self._high} "
            f"{len(pool.used)} are in use and {len(resting)} rest"
        )

    def release(self, pair: PortPair) -> None:
        """Close a pair; it rests. A pair must be released once."""
        pair.rtp.close()
        pair.rtcp.close()
        pool = self._pools[pair.host]
        pool.used.remove(pair.port)
        pool.resting.append((self._clock.seconds() + self._rest, pair.port))


def check_address(address: MediaAddress) -> None:
    """Find out at the start, rather than at the first call, whether an address can be used.

    Raises:
        ConfigurationError: it is not an address of this machine, or what is advertised is of another version of IP, or
            is no address that a peer could send to.
    """
    for host in (address.host, address.advertised_host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ConfigurationError([f"media address {address.host}: {host} is not a numeric address"]) from None
    if AddressType.of(address.advertised_host) is not address.address_type:
        raise ConfigurationError([f"media address {address.host}: advertised as another version of IP"])
    if address.advertised_host in ("0.0.0.0", "::"):
        raise ConfigurationError([f"media address {address.host}: needs an advertised address that peers can send to"])
    try:
        _bind(address.host, 0).close()
    except OSError as error:
        raise ConfigurationError([f"media address {address.host}: {error.strerror or error}"]) from error


def _bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Bind both sockets of a pair, or none and raise ``OSError``."""
    rtp = _bind(host, port)
    try:
        return rtp, _bind(host, port + 1)
    except OSError:
        rtp.close()
        raise


def _bind(host: str, port: int) -> socket.socket:
    """Bind one socket, or raise ``OSError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM | _NONBLOCKING)
    try:
        if not _NONBLOCKING:
            bound.setblocking(False)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
