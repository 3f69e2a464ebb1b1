"""What a proxy is told about itself, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass

#: Timer C has to be more than three minutes (RFC 3261 section 16.6, step 11).
MIN_TIMER_C = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """How a proxy forwards, and its bounds.

    Args:
        names: host names, beside the addresses of its listening points, that mean this proxy in a Route or as
            ``maddr``.
        record_routes: whether it stays in the path of the dialogs that it sees begin (section 16.6, step 4).
        supported: option tags that a Proxy-Require may name, in lower case.
        timer_c: seconds that an INVITE may ring without a further sign, more than 180; then it is cancelled.
        router_timeout: seconds that the router has for its answer; then it is cancelled, and the request answered with
            504.
        target_timeout: seconds after which a server of a target that has said nothing is left for the next one of the
            same target, where there is one; the last has 64*T1 (RFC 3263 section 4.3).
        max_contexts: requests that are being forwarded; at so many a further one is refused with 503 and Retry-After.
        max_targets: of one request, over all rounds; those beyond are left out.
        max_branches: copies that wait for an answer, of all requests; at so many a further one counts as a 503 of its
            target.
        max_servers: that are tried for one target; those beyond are left out.

    Raises:
        ValueError: timer C is too short, or another number is not positive.
    """

    names: frozenset[str] = frozenset()
    record_routes: bool = True
    supported: frozenset[str] = frozenset()
    timer_c: float = 185.0
    router_timeout: float = 30.0
    target_timeout: float = 4.0
    max_contexts: int = 20_000
    max_targets: int = 32
    max_branches: int = 60_000
    max_servers: int = 8

    def __post_init__(self) -> None:
        if self.timer_c <= MIN_TIMER_C:
            raise ValueError("Timer C must be more than 180 seconds")
        bounds = (self.max_contexts, self.max_targets, self.max_branches, self.max_servers)
        if min(self.router_timeout, self.target_timeout, *bounds) <= 0:
            raise ValueError("Bounds must be positive")
