"""The timers of transactions and their values (RFC 3261 section 17 and table 4, RFC 6026, RFC 4320)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Timer(Enum):
    """A timer of a transaction. When it fires it is an event of the machine that started it."""

    A = "INVITE request retransmission"
    B = "INVITE transaction timeout"
    D = "wait for retransmitted final responses to INVITE"
    E = "non-INVITE request retransmission"
    F = "non-INVITE transaction timeout"
    G = "final response to INVITE retransmission"
    H = "wait for ACK"
    I = "wait for retransmitted ACK"  # noqa: E741 (the RFC's name)
    J = "wait for retransmitted non-INVITE requests"
    K = "wait for retransmitted responses to non-INVITE"
    L = "wait for retransmitted INVITE after a 2xx (RFC 6026)"
    M = "wait for retransmitted and forked 2xx (RFC 6026)"
    TRYING = "the user is silent: send 100 (RFC 3261 section 17.2.1, RFC 4320 section 4.1)"
    EXPIRY = "the client has given up: no answer is of use (RFC 4320 section 4.2)"
    CANCELLED = "wait for the final response of a cancelled INVITE (RFC 3261 section 9.1)"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerValues:
    """How long the timers run, in seconds. What an RFC derives from T1, T2 and T4 is derived here.

    Args:
        t1: an estimate of the round-trip time.
        t2: the longest interval between retransmissions of a non-INVITE request or of a final response to INVITE.
        t4: how long a message may stay in the network.

    Attributes:
        timeout: 64*T1: timers B, F, H, J, L, M, and how long a cancelled INVITE waits.
        d: timer D; at least 32 seconds over an unreliable transport.
        invite_trying: how long the user may be silent before an INVITE is answered with 100.
        non_invite_trying: the same for other requests: when the client's timer E reaches T2 (RFC 4320 section 4.1).

    Raises:
        ValueError: an interval is not positive, or T2 is shorter than T1.
    """

    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    timeout: float = field(init=False)
    d: float = field(init=False)
    invite_trying: float = field(init=False)
    non_invite_trying: float = field(init=False)

    def __post_init__(self) -> None:
        if not 0 < self.t1 <= self.t2 or self.t4 <= 0:
            raise ValueError("T1, T2 and T4 must be positive, and T2 not shorter than T1")
        timeout = 64 * self.t1
        reached, interval = 0.0, self.t1
        while interval < self.t2:
            reached += interval
            interval *= 2
        object.__setattr__(self, "timeout", timeout)
        object.__setattr__(self, "d", max(32.0, timeout))
        object.__setattr__(self, "invite_trying", 0.2)
        object.__setattr__(self, "non_invite_trying", max(reached, self.t1))
