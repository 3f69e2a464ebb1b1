"""What a message's body says of the session, and the body that the other leg gets instead of it."""

from __future__ import annotations

from sipd.errors import ParseError
from sipd.sdp.description import SessionDescription, parse_description
from sipd.sip.message import Request, Response
from sipd.sip.multipart import find_part

SDP = "application/sdp"


def find_description(message: Request | Response) -> SessionDescription | None:
    """Give the session description in a body, also as one part of several (RFC 5621), or ``None``.

    Raises:
        ParseError: there is one that cannot be used (`SdpError`), or the parts cannot be told apart.
    """
    place = _place(message)
    return None if place is None else parse_description(message.body[place[0] : place[1]])


def is_other_content(message: Request | Response) -> bool:
    """Say whether there is a body that certainly describes no session: one that nobody can read may do so."""
    try:
        return bool(message.body) and _place(message) is None
    except ParseError:
        return False


def replace_description(message: Request | Response, description: SessionDescription) -> bytes:
    """Give the body with another description in the place of the one it has; all else stays octet for octet.

    Empty if it has none.
    """
    place = _place(message)
    if place is None:
        return b""
    return message.body[: place[0]] + description.to_bytes() + message.body[place[1] :]


def _place(message: Request | Response) -> tuple[int, int] | None:
    if not message.body:
        return None
    kind = message.content_type
    if kind == SDP:
        return 0, len(message.body)
    if kind is not None and kind.startswith("multipart/"):
        return find_part(message.body, message.headers.get("Content-Type") or "", SDP)
    return None
