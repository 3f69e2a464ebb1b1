"""The section on what becomes of REFER inside of calls."""

from __future__ import annotations

from typing import Literal

from sipd.daemon.sections.base import Section
from sipd.daemon.values import Count, Seconds


class Transfers(Section):
    """``[transfer]``: what becomes of REFER inside of calls (RFC 3515)."""

    policy: Literal["terminate", "pass", "refuse"] = "terminate"
    timeout: Seconds = 120.0
    limit: Count = 5
