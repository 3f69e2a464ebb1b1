"""What happens to a bridged call beside what its sessions tell."""

from __future__ import annotations

from dataclasses import dataclass

from sipd.b2bua.leg import Leg
from sipd.ua.events import SessionEvent


@dataclass(slots=True)
class TimedOut:
    """An attempt was not answered in its time."""


@dataclass(slots=True)
class Stopped:
    """Someone other than the two parties ends the call.

    Args:
        text: why.
    """

    text: str


BridgeEvent = tuple[Leg, SessionEvent | TimedOut | Stopped]
