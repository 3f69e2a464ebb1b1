"""What a TURN allocation asks of its owner (RFC 8656), and the names of its timers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from sipd.ice.requests import Address, Send, StartTimer, StopTimer


class Task(Enum):
    """What is asked of the server."""

    ALLOCATE = "Allocate"
    REFRESH = "Refresh"
    PERMISSION = "CreatePermission"
    CHANNEL = "ChannelBind"
    RELEASE = "Refresh with lifetime 0"


@dataclass(frozen=True, slots=True)
class Timer:
    """The name of a timer: it repeats a request, or begins the next one of its kind.

    Args:
        task: which kind.
        peer: for whom; for a permission its port is 0.
    """

    task: Task
    peer: Address | None = None


@dataclass(slots=True)
class StopTimers:
    """An effect: stop all timers."""


@dataclass(slots=True)
class Deliver:
    """An effect: a datagram came from a peer, by the relayed address."""

    peer: Address
    data: bytes


@dataclass(slots=True)
class Allocated:
    """An effect: the allocation is there. Comes once.

    Args:
        relayed: the server's address that peers send to.
        mapped: this socket's address, as the server sees it.
        lifetime: seconds that the server granted at first; it is refreshed by itself.
    """

    relayed: Address
    mapped: Address | None
    lifetime: int


@dataclass(slots=True)
class PeerRefused:
    """An effect: the server gives no permission for a host.

    What is sent there is dropped until `sipd.ice.allocation.Allocation.permit` asks anew.
    """

    host: str
    text: str


@dataclass(slots=True)
class Failed:
    """An effect: there is no allocation, or none any more. Nothing comes after it.

    Args:
        text: why, in one line for a person.
    """

    text: str


@dataclass(slots=True)
class Over:
    """An effect: the allocation was given back, as `sipd.ice.allocation.Allocation.close` asked. Nothing follows."""


Effect: TypeAlias = Send | StartTimer | StopTimer | StopTimers | Deliver | Allocated | PeerRefused | Failed | Over
Effects: TypeAlias = tuple[Effect, ...]
