"""One side of a bridged call: a session, and what it says of itself in SDP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sipd.b2bua.bodies import SDP, is_other_content, replace_description
from sipd.b2bua.headers import body_fields, crossing
from sipd.interfaces import Attempt
from sipd.sdp.offer_answer import LocalOrigin

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from sipd.sdp.description import SessionDescription
    from sipd.sip.headers import Headers
    from sipd.sip.message import Request, Response
    from sipd.ua.session import Session


@dataclass(slots=True)
class Content:
    """What one leg gets of a message of the other: the header fields that cross, and the body."""

    headers: Headers
    body: bytes


class Leg:
    """A leg of a call.

    Args:
        name: `a` for the caller's, `b1`, `b2`, ... for those that are tried.
        origin: makes the `o=` line of every description that it sends (lesson 31).
        attempt: what is tried; `None` for the caller's.

    Attributes:
        session: its user agent session; set when it is held by the call.
    """

    __slots__ = ("attempt", "early", "is_live", "name", "origin", "record", "session", "status", "timer")

    session: Session

    def __init__(self, name: str, origin: LocalOrigin, attempt: Attempt | None = None) -> None:
        self.name = name
        self.origin = origin
        self.attempt = attempt
        #: Whether it waits for an answer, or is up.
        self.is_live = True
        #: The last description that it sent before its answer.
        self.early: SessionDescription | None = None
        #: The last provisional status that it gave, or 0.
        self.status = 0
        #: Ends an attempt that nobody answers.
        self.timer: IDelayedCall | None = None
        #: Its entry in the call record.
        self.record: dict[str, Any] = {}

    def content(self, message: Request | Response, description: SessionDescription | None) -> Content:
        """Give what this leg sends on of a message of the other leg.

        Args:
            message: the other leg's.
            description: what this leg says of the session, in the place of what the message says, if it says anything;
                `None` to leave off a body that describes one.
        """
        headers = crossing(message.headers)
        body = b""
        if description is not None:
            described = self.origin.stamp(description)
            body = replace_description(message, described)
            if not body:
                headers.add("Content-Type", SDP)
                return Content(headers, described.to_bytes())
        elif is_other_content(message):
            body = message.body
        if body:
            headers.extend(body_fields(message.headers))
        return Content(headers, body)

    def stop_timer(self) -> bool:
        """Stop the timer of the attempt; say whether it ran."""
        timer, self.timer = self.timer, None
        if timer is not None and timer.active():
            timer.cancel()
            return True
        return False

    def __repr__(self) -> str:
        return f"<Leg {self.name}>"
