"""What an ICE agent wants done, and the values that it takes.

There is one timer: `StartTimer` of `Timer.DUE` starts it anew, and when it fires the agent is told what time it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from sipd.ice.candidates import LocalCandidate
from sipd.sdp.candidates import Address, Candidate
from sipd.sip.machine import StartTimer, StopTimers

#: Octets of chance: 6 and 18 of them are 8 and 24 characters, where RFC 8445 section 5.3 wants 4 and 22 at least.
_UFRAG_OCTETS = 6
_PASSWORD_OCTETS = 18


class Timer(Enum):
    """What `StartTimer` names."""

    DUE = "something is to be done"

    __hash__ = object.__hash__


class Role(Enum):
    """Who nominates (RFC 8445 section 6.1.1): at first the one whose offer started ICE."""

    CONTROLLING = "controlling"
    CONTROLLED = "controlled"

    __hash__ = object.__hash__

    @property
    def other(self) -> Role:
        """What the other side has to be."""
        return Role.CONTROLLED if self is Role.CONTROLLING else Role.CONTROLLING


class State(Enum):
    """Where an agent stands."""

    NEW = "the other side's description is not known"
    RUNNING = "there is a component without a selected pair"
    COMPLETED = "each component has its selected pair"
    FAILED = "nothing can be sent, and nothing more will happen without a restart"
    CLOSED = "over"

    __hash__ = object.__hash__


class Side(Enum):
    """Whose candidate it is."""

    LOCAL = "ours"
    REMOTE = "theirs"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class IceCredentials:
    """User name fragment and password of one side (RFC 8445 section 5.3)."""

    ufrag: str
    pwd: str = field(repr=False)

    @classmethod
    def make(cls, entropy: Callable[[int], bytes]) -> IceCredentials:
        """Make new ones out of chance."""
        return cls(ufrag=_ice_chars(entropy(_UFRAG_OCTETS)), pwd=_ice_chars(entropy(_PASSWORD_OCTETS)))

    @property
    def key(self) -> bytes:
        """What messages to this side are signed with (RFC 8489 section 9.1.1)."""
        return self.pwd.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class IceTiming:
    """All in seconds.

    Args:
        pacing: Ta, between two checks (RFC 8445 section 14.2).
        retransmission: the shortest RTO of a check (section 14.3).
        patience: for which an agent goes on at least without a pair (RFC 8863 section 4); it gives up after twice as
            long.
        nomination: how long a valid pair waits for a better one before the controlling side nominates it.
        consent_interval: between two checks of consent, a fifth more or less by chance (RFC 7675 section 5.1).
        consent_expiry: without an answer, after which nothing may be sent.
        keepalive: between two Binding indications of a lite agent (RFC 8445 section 11).
    """

    pacing: float = 0.05
    retransmission: float = 0.5
    patience: float = 39.5
    nomination: float = 0.5
    consent_interval: float = 5.0
    consent_expiry: float = 30.0
    keepalive: float = 15.0


@dataclass(slots=True)
class Send:
    """Send octets from a base to a remote address."""

    base: Address
    remote: Address
    data: bytes = field(repr=False)


@dataclass(slots=True)
class Selected:
    """Media of a component go this way from now on; it may come again with a better one (RFC 8445 section 8.1.1)."""

    component: int
    local: LocalCandidate
    remote: Candidate


@dataclass(slots=True)
class Learned:
    """A check has shown a peer-reflexive candidate (RFC 8445 sections 7.2.5.3.1 and 7.3.1.3)."""

    side: Side
    candidate: Candidate


@dataclass(slots=True)
class Completed:
    """Each component has its selected pair; once for each start."""


@dataclass(slots=True)
class Failed:
    """No pair could be had, or consent is lost: nothing may be sent any more. Only a restart helps."""

    text: str


Effect = Send | Selected | Learned | Completed | Failed | StartTimer | StopTimers
Effects = tuple[Effect, ...]

_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _ice_chars(octets: bytes) -> str:
    """Write octets, a multiple of three, in the characters that both may have."""
    number = int.from_bytes(octets, "big")
    return "".join([_CHARACTERS[number >> 6 * place & 63] for place in range(len(octets) * 8 // 6)])
