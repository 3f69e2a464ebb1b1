"""The two requests that concern one hop only: ACK of a failure (RFC 3261 section 17.1.1.3) and CANCEL (section 9.1)."""

from __future__ import annotations

from collections.abc import Iterable

from sipd.sip.headers import Headers
from sipd.sip.message import Request, Response


def build_ack(invite: Request, response: Response) -> Request:
    """Build the ACK of a final response that is no 2xx (RFC 3261 section 17.1.1.3).

    Args:
        invite: as it was sent.
        response: what it acknowledges; gives the To.
    """
    headers = _same_hop(invite)
    headers.copy_lines(invite.headers, "From")
    headers.copy_lines(response.headers, "To")
    headers.copy_lines(invite.headers, "Call-ID")
    headers.add("CSeq", f"{invite.cseq.number} ACK")
    headers.copy_lines(invite.headers, "Session-ID")
    return Request("ACK", invite.uri_text, headers)


def build_cancel(invite: Request, more: Iterable[tuple[str, str]] = ()) -> Request:
    """Build the CANCEL of an INVITE (RFC 3261 section 9.1).

    Args:
        invite: as it was sent. Its Require and credentials stay behind: a CANCEL can be neither refused nor challenged.
        more: more header fields, such as Reason (RFC 3326).
    """
    headers = _same_hop(invite)
    for name in ("From", "To", "Call-ID", "Session-ID"):  # that as in the INVITE, too (RFC 7989 section 7)
        headers.copy_lines(invite.headers, name)
    headers.add("CSeq", f"{invite.cseq.number} CANCEL")
    for name, value in more:
        headers.add(name, value)
    return Request("CANCEL", invite.uri_text, headers)


def _same_hop(invite: Request) -> Headers:
    """What makes a request go where the INVITE went, and match it there: its topmost Via alone, and its Route."""
    headers = Headers()
    headers.add("Via", str(invite.via))
    headers.copy_lines(invite.headers, "Route")
    headers.add("Max-Forwards", "70")
    return headers
