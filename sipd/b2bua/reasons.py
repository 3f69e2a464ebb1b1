"""Why a leg is ended, as its CANCEL or BYE says (RFC 3326)."""

from __future__ import annotations

from sipd.sip.grammar import quote
from sipd.sip.message import Request, Response

#: A header field or more, for `Session.hang_up`.
Reasons = tuple[tuple[str, str], ...]


def reason(status: int, text: str) -> Reasons:
    """Give a Reason with the status of a SIP response."""
    return (("Reason", f"SIP;cause={status};text={quote(text)}"),)


def reasons_of(request: Request | None) -> Reasons:
    """Give the reasons that the other side gave in its CANCEL or BYE; empty if it gave none."""
    values = request.headers.get_all("Reason") if request is not None else []
    return tuple(("Reason", value) for value in values)


def reason_values(message: Request | Response | None) -> tuple[str, ...]:
    """Give the reasons in a message as they stand there, for the record; empty if there are none."""
    return tuple(message.headers.get_all("Reason")) if message is not None else ()


ANSWERED_ELSEWHERE = reason(200, "Call completed elsewhere")
NO_ANSWER = reason(408, "No answer")
OTHER_SIDE_GONE = reason(480, "The other side is gone")
MEDIA_LOST = reason(480, "No media")
CALLER_GAVE_UP = reason(487, "The caller gave up")
TIME_IS_UP = reason(480, "The time is up")
SHUTDOWN = reason(503, "Service unavailable")
