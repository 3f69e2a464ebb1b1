"""What the peer asks for inside of a session, and who answers it (RFC 3261 section 12.2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.errors import RequestRefusedError
from sipd.sip.dialog import DialogState
from sipd.sip.refer import EventValue
from sipd.ua.answering import Answering
from sipd.ua.ending import end, leave_no_invite
from sipd.ua.events import Cancelled, Ended, EndedBy, Referred, Reinvited
from sipd.ua.referring import PACKAGE, Referrals

if TYPE_CHECKING:
    from sipd.interfaces import IServerTransaction
    from sipd.ua.session import Session


def receive(session: Session, transaction: IServerTransaction) -> None:
    """Take a request in the session's own dialog, other than ACK and CANCEL.

    Raises:
        RequestRefusedError: how it is to be refused.
        ParseError: it is malformed: 400.
    """
    request = transaction.request
    assert session.dialog is not None
    session.dialog.check_sequence(request)
    method = request.method
    if method == "BYE" and session in session.agent:
        _bye_received(session, transaction)
    elif method == "NOTIFY":
        _notify_received(session, transaction)
    elif method == "SUBSCRIBE":
        _subscribe_received(session, transaction)
    elif session.is_over:
        transaction.respond(request.response(481))
    elif method == "INVITE":
        _invite_received(session, transaction)
    elif method == "UPDATE":
        session.updates.received(transaction)
    elif method == "PRACK":
        _prack_received(session, transaction)
    elif method in ("INFO", "MESSAGE") or (method in ("OPTIONS", "PUBLISH") and _passes(session)):
        session.requests.received(transaction)
    elif method == "OPTIONS":
        session.agent.answer_options(transaction)
    elif method == "REFER" and session.agent.settings.takes_referrals:
        _refer_received(session, transaction)
    else:
        session.agent.refuse_method(transaction)


def _invite_received(session: Session, transaction: IServerTransaction) -> None:
    """Take an INVITE (section 14.2): `Reinvited` tells the user."""
    request = transaction.request
    if session.is_being_asked or session.updates.is_answering:
        raise session.too_early()
    calling = session.calling
    if session.updates.is_sending or (calling is not None and not calling.is_over):
        raise RequestRefusedError("Request Pending", status=491)
    session.refreshing.check(request)
    answering = Answering(session, transaction)
    session.goes_on()
    session.updates.take(request)
    session.take_flow(request, transaction.flow)
    session.answering = answering
    session.tell(Reinvited(answering))


def _prack_received(session: Session, transaction: IServerTransaction) -> None:
    if session.answering is not None:
        session.answering.prack_received(transaction)
    else:
        transaction.respond(transaction.request.response(481))


def _bye_received(session: Session, transaction: IServerTransaction) -> None:
    """End the session (section 15.1.2); an INVITE of the peer without an answer counts as cancelled."""
    bye = transaction.request
    transaction.respond(bye.response(200))
    assert session.dialog is not None
    was_confirmed = session.is_confirmed
    session.dialog.state = DialogState.TERMINATED
    if session.answering is not None:
        session.answering.bye_received()
    end(session, Ended(EndedBy.PEER, "BYE", bye) if was_confirmed else Cancelled(bye))
    leave_no_invite(session)


def _refer_received(session: Session, transaction: IServerTransaction) -> None:
    """Take a REFER (RFC 3515 section 2.4.2): `Referred` tells the user."""
    if not session.is_established or session.dialog is None:
        raise session.too_early("The call is not answered yet")
    if session.referrals is None:
        session.referrals = Referrals(session.agent, session, session.dialog)
    if session.referrals.is_full:
        raise session.too_early("Too many requests wait for their outcomes")
    referring = session.referrals.take(transaction)
    session.dialog.refresh_target(transaction.request)
    session.tell(Referred(referring))


def _subscribe_received(session: Session, transaction: IServerTransaction) -> None:
    """Take a SUBSCRIBE: this side has nothing to subscribe to but what REFER has made."""
    event = EventValue.parse(transaction.request.headers.get("Event") or "unknown")
    if event.package != PACKAGE and _passes(session):
        session.requests.received(transaction)
    elif session.referrals is not None:
        session.referrals.subscribe_received(transaction)
    elif session.agent.settings.takes_referrals:
        raise RequestRefusedError("Subscription Does Not Exist", status=481)
    else:
        session.agent.refuse_method(transaction)


def _notify_received(session: Session, transaction: IServerTransaction) -> None:
    """Take a NOTIFY; of a subscription that nobody made it is refused (RFC 6665 section 4.1.3)."""
    event = EventValue.parse(transaction.request.headers.get("Event") or "unknown")
    is_refer = event.package == PACKAGE and session.referrals is not None
    if is_refer and session.referrals is not None and session.referrals.notify_received(transaction, event):
        return
    if not _passes(session):
        raise RequestRefusedError("Subscription Does Not Exist", status=481)
    session.requests.received(transaction)


def _passes(session: Session) -> bool:
    return session.passes_requests and session.is_established
