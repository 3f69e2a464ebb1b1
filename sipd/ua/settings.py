"""What a user agent is told about itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipd.interfaces import Credentials
from sipd.sip.session_timer import SessionTimerPolicy
from sipd.sip.timers import TimerValues

#: Methods that are known to the protocol; of the others nobody has heard: 501, not 405 (RFC 3261 section 8.2.1).
KNOWN_METHODS = frozenset(
    (
        "INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "PRACK", "SUBSCRIBE", "NOTIFY", "PUBLISH", "INFO",
        "REFER", "MESSAGE", "UPDATE",
    )
)  # fmt: skip
#: Stands for none at all: a request that has these answers no challenge, whatever `AgentSettings.credentials` knows.
NO_CREDENTIALS = Credentials(username="", password="", realm="")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How a user agent presents itself, and its bounds.

    Args:
        name: for User-Agent and Server; empty to say nothing.
        timers: T1, T2 and T4.
        supported: option tags that it supports (section 8.2.2.3).
        accepted: body types that it takes in an INVITE (section 8.2.3).
        max_early_dialogs: of one INVITE; forks beyond it are told apart only when they answer. Of those that answer
            although another one was taken so many are ended with BYE; the others hear nothing: a callee that makes
            up tags would have a storm sent to whom it likes.
        target_timeout: seconds after which a target that has said nothing is left for the next one, where there is
            one; the last has 64*T1 (RFC 3263 section 4.3).
        ping_interval: seconds between questions to a peer without session timers whether it is there; 0 for none.
        session_timer: how long a session lives without a refresh (RFC 4028).
        takes_referrals: whether the users of sessions are told of REFER; it gets 405 else.
        require_reliable: whether an INVITE from a caller without 100rel is refused with 421 (RFC 3262 section 3).
        refer_duration: seconds that the subscription lasts which a REFER makes (RFC 3515 section 2.4.4).
        credentials: for challenges of any request, beside those that it brings along. Each should name its realm: one
            that names none is tried with whoever asks.
    """

    name: str = "sipd"
    timers: TimerValues = field(default_factory=TimerValues)
    supported: frozenset[str] = frozenset(("100rel", "timer"))
    accepted: frozenset[str] = frozenset(("application/sdp", "multipart/mixed", "multipart/alternative"))
    max_early_dialogs: int = 32
    target_timeout: float = 4.0
    ping_interval: float = 0.0
    session_timer: SessionTimerPolicy = field(default_factory=SessionTimerPolicy)
    takes_referrals: bool = False
    require_reliable: bool = False
    refer_duration: float = 180.0
    credentials: tuple[Credentials, ...] = field(default=(), repr=False)
