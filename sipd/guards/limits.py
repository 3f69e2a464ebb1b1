"""How many calls there may be, and how many a second: of whom, and what they are. 0 is no bound, everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TrunkLimits:
    """Bounds of a trunk.

    Args:
        calls: in both directions together.
        calls_in: that come from it.
        calls_out: that go to it, those included that it has not answered.
        per_second_in: calls that come from it.
        per_second_out: that go to it.
    """

    calls: int = 0
    calls_in: int = 0
    calls_out: int = 0
    per_second_in: float = 0.0
    per_second_out: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """Bounds of calls.

    Args:
        calls: all in all.
        per_second: all in all.
        calls_per_user: of one user who has proved who it is, unless something else is known of that user.
        per_second_user: of the same.
        calls_per_source: that come from one address (the /64 of one of IPv6), if it is not trusted and no trunk.
        per_second_source: of the same.
        calls_per_callee: for one user of ours.
        trunk: of each trunk of which nothing else is said.
        trunks: of those of which something is.
        duration: seconds that a call may last after its answer.
        retry_after: seconds that who is refused with 480 or 503 is told to wait.
    """

    calls: int = 0
    per_second: float = 0.0
    calls_per_user: int = 0
    per_second_user: float = 0.0
    calls_per_source: int = 0
    per_second_source: float = 0.0
    calls_per_callee: int = 0
    trunk: TrunkLimits = field(default_factory=TrunkLimits)
    trunks: Mapping[str, TrunkLimits] = field(default_factory=dict)
    duration: float = 0.0
    retry_after: int = 10

    def of_trunk(self, name: str) -> TrunkLimits:
        """Give the bounds of a trunk."""
        return self.trunks.get(name, self.trunk)
