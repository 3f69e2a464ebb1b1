"""What happens to a bridged call beside what its sessions tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipd.b2bua.leg import Leg
from sipd.ua.events import SessionEvent

if TYPE_CHECKING:
    from sipd.b2bua.agreement import Agreement
    from sipd.b2bua.joining import Joiner


@dataclass(slots=True)
class TimedOut:
    """An attempt was not answered in its time, or a transfer has no outcome in its own."""


@dataclass(slots=True)
class SetupTimedOut:
    """Nobody has answered in the time that the whole search may take.

    Args:
        limit: seconds of it.
    """

    limit: float


@dataclass(slots=True)
class Stopped:
    """Someone other than the two parties ends the call.

    Args:
        text: why.
        cause: a short word for the record.
    """

    text: str
    cause: str = "stopped"


@dataclass(slots=True)
class Again:
    """It is time to ask once more."""


@dataclass(slots=True)
class Joins:
    """A leg is there to take the place of another one.

    Args:
        leaves: the leg that is to go.
        agreement: of the new leg with the one that stays.
        joiner: who brings it.
    """

    leaves: Leg
    agreement: Agreement
    joiner: Joiner


@dataclass(slots=True)
class TransferFailed:
    """What the leg asked for comes to nothing: the call goes on without it, if there is still somebody to talk to."""


@dataclass(slots=True)
class Leaves:
    """Somebody else has taken the place of the leg, and it has heard so: let it go."""


@dataclass(slots=True)
class Lost:
    """The leg is lent to another call for a transfer, and does not come back.

    Args:
        text: why.
    """

    text: str


@dataclass(slots=True)
class Returned:
    """The leg that was lent is back.

    Args:
        was_changed: it has agreed to something else meanwhile.
    """

    was_changed: bool


BridgeEvent = tuple[
    Leg, SessionEvent | TimedOut | SetupTimedOut | Stopped | Again | Joins | TransferFailed | Leaves | Lost | Returned
]
