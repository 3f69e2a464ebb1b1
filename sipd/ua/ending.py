"""How a session ends: by this side, by the peer, or because one of them is gone (RFC 3261 sections 12.2.1.2 and 15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sipd.errors import TransactionTimeoutError, TransportError
from sipd.sip.dialog import DialogState
from sipd.sip.grammar import quote
from sipd.ua.events import Ended, EndedBy

if TYPE_CHECKING:
    from sipd.ua.events import SessionEvent
    from sipd.ua.session import Session


def hang_up(session: Session, headers: Sequence[tuple[str, str]] = ()) -> None:
    """End it in the way that its state asks for; the user hears nothing more of it. Idempotent."""
    if session.is_over:
        return
    session.bye_headers = tuple(headers)
    finish(session)
    session.end_waiting()
    _leave(session)


def _leave(session: Session) -> None:
    """Begin to end what there is."""
    calling, answering = session.calling, session.answering
    if calling is not None and not calling.is_over and session.dialog is None:
        calling.cancel(session.bye_headers)
        return
    if answering is not None and not answering.is_answered:
        answering.reject(487 if session.is_confirmed else 480)
        if not session.is_confirmed:
            session.agent.forget(session)
            return
    if answering is not None and answering.awaits_ack:
        answering.hang_up()
    else:
        send_bye(session)


def finish(session: Session) -> None:
    """Let nothing more happen. Idempotent."""
    session.is_over = True
    session.refreshing.close()
    session.pinging.stop()


def drop(session: Session) -> None:
    """Forget it without a word to anybody."""
    session.close()
    for invite in (session.answering, session.calling):
        if invite is not None:
            invite.drop()
    if session.dialog is not None:
        session.dialog.state = DialogState.TERMINATED
    session.agent.forget(session)


def end(session: Session, event: SessionEvent) -> None:
    """Tell the user, whose `hang_up` does nothing any more; the BYE that may be under way goes its way."""
    if not session.is_over:
        finish(session)
        session.end_waiting()
        if session.user is not None:
            session.user.session_event(session, event)
    if session.dialog is None or session.dialog.state is DialogState.TERMINATED:
        session.agent.forget(session)


def lose(session: Session, text: str) -> None:
    """The peer is gone: end the dialog here and, as far as it goes, there (section 12.2.1.2)."""
    if not session.is_over:
        _leave(session)
        end(session, Ended(EndedBy.FAILURE, text))


def lose_if_gone(session: Session, error: BaseException | None) -> None:
    """Take note that a request in the dialog has no answer: silence and a lost connection end the session."""
    if isinstance(error, TransactionTimeoutError | TransportError):
        lose(session, error.reason)


def expire(session: Session, text: str) -> None:
    """End a session that nobody refreshed, on both sides (RFC 4028 section 10)."""
    if not session.is_over:
        session.bye_headers = (("Reason", f"SIP;cause=408;text={quote(text)}"),)
        lose(session, text)


def send_bye(session: Session) -> None:
    """Send BYE, and forget the dialog when its outcome is known."""
    if session.dialog is not None and session.dialog.state is not DialogState.TERMINATED:
        leave_no_invite(session)
        assert session.flow is not None
        session.agent.end_dialog(session.dialog, session.flow, session, session.bye_headers)


def leave_no_invite(session: Session) -> None:
    """Acknowledge the 2xx to an INVITE of ours, or cancel it: whoever ended the dialog may never answer it."""
    if session.calling is not None:
        session.acknowledge()
        session.calling.withdraw()
