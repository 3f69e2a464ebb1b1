"""What a simulated network does to what it carries, and what it writes down about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

#: A numeric address without brackets, and a port.
Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What happens to datagrams on their way, in one direction. Connections see the delays only.

    Args:
        delay: seconds that every datagram takes.
        jitter: up to this many seconds more, evenly spread: enough of it reorders, too.
        loss: probability that a datagram does not arrive.
        duplication: probability that it arrives twice.
        reordering: probability that it is held back by `holdback` seconds while others pass.
        holdback: seconds.
    """

    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    holdback: float = 0.1


class Fate(Enum):
    """What a line of the log says about a datagram, a segment or a connection."""

    SENT = "sent"
    LOST = "lost"
    DUPLICATED = "duplicated"
    PARTITIONED = "partitioned"
    DELIVERED = "delivered"
    UNREACHABLE = "unreachable"
    FILTERED = "filtered"
    CONNECTED = "connected"
    REFUSED = "refused"
    CLOSED = "closed"
    RESET = "reset"

    __hash__ = object.__hash__

    @property
    def is_departure(self) -> bool:
        """Whether it is the entry made when something was sent: exactly one for each."""
        return self in _DEPARTURES


_DEPARTURES = frozenset({Fate.SENT, Fate.LOST, Fate.DUPLICATED, Fate.PARTITIONED})


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkEvent:
    """One line of the log.

    Args:
        at: simulated time.
        fate: what happened.
        transport: `UDP` or `TCP`.
        source: who sent it, as its receiver sees it: translated, behind NAT.
        destination: where it was sent to.
        data: the octets, or nothing.
    """

    at: float
    fate: Fate
    transport: str
    source: Address
    destination: Address
    data: bytes = b""

    def __bytes__(self) -> bytes:
        source, destination = (f"{host} {port}" for host, port in (self.source, self.destination))
        head = f"{self.at:.6f} {self.fate.value} {self.transport} {source} > {destination} {len(self.data)}\n"
        return head.encode() + self.data + b"\n" if self.data else head.encode()
