"""An INVITE sent again: with credentials (RFC 3261 section 22), or for longer (RFC 4028 section 7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.sip import digest
from sipd.sip.digest import answer_challenges, proven_credentials, set_credentials

if TYPE_CHECKING:
    from sipd.sip.message import Request, Response
    from sipd.ua.session import Session


def renew(session: Session, request: Request, response: Response) -> Request | None:
    """Build a refused INVITE again, with the next CSeq; ``None`` to give up."""
    if response.status == 422:
        if not session.refreshing.may_retry(response):
            return None
        renewed = _build_again(session, request)
        repeat_credentials(session, renewed, proven_credentials(request, response))
        return renewed
    known = session.agent.known_credentials(session.credentials)
    if not known:
        return None
    answers = answer_challenges(response, request, known, session.agent.entropy, session.nonce_counts)
    if not answers:
        return None
    renewed = _build_again(session, request)
    set_credentials(renewed, answers)
    return renewed


def repeat_credentials(session: Session, request: Request, given: tuple[tuple[str, str], ...]) -> None:
    """Put credentials that were right before into a request ahead of a challenge (section 22.3)."""
    known = session.agent.known_credentials(session.credentials)
    if given and known:
        repeated = digest.repeat_credentials(given, request, known, session.agent.entropy, session.nonce_counts)
        set_credentials(request, repeated)


def _build_again(session: Session, request: Request) -> Request:
    renewed = request.copy()
    for name in ("Via", "Session-Expires", "Min-SE"):
        renewed.headers.remove(name)
    renewed.headers.extend(session.refreshing.request_fields())
    number = request.cseq.number + 1 if session.dialog is None else session.dialog.next_number()
    renewed.headers.set("CSeq", f"{number} {request.method}")
    return renewed
