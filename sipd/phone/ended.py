"""How a call was over, and who has ended it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.sip.message import Request, Response


class EndedBy(Enum):
    """Who, or what, has ended a call."""

    US = "this side"
    THEM = "the other side"
    CANCELLED = "the caller, before the answer"
    REFUSED = "a refusal"
    FAILURE = "a failure"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnd:
    """The end of a call.

    Args:
        by: who has ended it.
        text: one line for a person.
        status: of the refusal; 0 if there was none.
        reasons: the values of Reason (RFC 3326) in what the other side has said last.
        duration: seconds since it was established; 0 if it never was.
        message: what the other side has said last: BYE, CANCEL or a response; ``None`` if there was nothing.
    """

    by: EndedBy
    text: str
    status: int = 0
    reasons: tuple[str, ...] = ()
    duration: float = 0.0
    message: Request | Response | None = None


def reasons_of(message: Request | Response | None) -> tuple[str, ...]:
    """Give the values of Reason of a message."""
    return () if message is None else tuple(message.headers.values("Reason"))
