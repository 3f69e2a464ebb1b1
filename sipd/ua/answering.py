"""Answers one INVITE, the first of a session or a later one (RFC 3261 sections 13.3 and 14.2)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.errors import RemoteError
from sipd.interfaces import IServerTransaction, IServerTransactionUser
from sipd.sip import invite
from sipd.sip.headers import Fields
from sipd.sip.invite import AnswerMachine, Event, State
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Request, Response
from sipd.sip.reliable import reliability
from sipd.timers import Timers
from sipd.ua.ending import send_bye
from sipd.ua.events import Acknowledged, Cancelled, Ended, EndedBy
from sipd.ua.provisional import ProvisionalResponses

if TYPE_CHECKING:
    from sipd.ua.session import Session


@implementer(IServerTransactionUser)
class Answering:
    """One INVITE that waits for an answer, or an answer that waits for its ACK.

    Performs the effects of an `AnswerMachine`.

    Attributes:
        request: the INVITE.
        transaction: its server transaction.
        wish: what the caller wants of provisional responses.
        is_accepted: whether its 2xx has left; one that waits for a PRACK may never do so.

    Raises:
        ParseError: nobody can read what it wants.
    """

    def __init__(self, session: Session, transaction: IServerTransaction) -> None:
        self.request = transaction.request
        self.wish = reliability(transaction.request, session.settings.supported)
        self.transaction = transaction
        self.is_accepted = False
        self._session = session
        self._timers = Timers(session.agent.clock, self._feed)
        self._cancel: Request | None = None
        self._machine = AnswerMachine(session.agent.settings.timers)
        self._provisional: ProvisionalResponses | None = None
        transaction.user = self

    @property
    def is_answered(self) -> bool:
        """Whether a final response was given."""
        return self._machine.state not in (State.OFFERED, State.RINGING)

    @property
    def awaits_ack(self) -> bool:
        """Whether a 2xx was given and its ACK has not come."""
        return self._machine.state in (State.ACCEPTED, State.LEAVING)

    @property
    def wants_answer(self) -> bool:
        """Whether its ACK has to carry the answer to an offer: neither it nor a provisional response made one."""
        return not self.request.body and (self._provisional is None or not self._provisional.has_offer)

    @property
    def is_acknowledged(self) -> bool:
        """Whether a provisional response was sent reliably, and none waits for its PRACK."""
        return self._provisional is not None and self._provisional.is_acknowledged

    def ring(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a provisional response, and again each minute. Absorbed after a final one.

        It is sent until the caller acknowledges it if that is what the caller wants (RFC 3262).
        """
        if self._provisional is None:
            self._provisional = ProvisionalResponses(self._session, self, self._unacknowledged)
        response = self._response(status, reason, headers, body)
        self._add_dialog_fields(response)
        self._feed(Event.PROVISIONAL, response)

    def accept(self, headers: Fields = (), body: bytes = b"", *, status: int = 200, reason: str | None = None) -> None:
        """Send a 2xx, and again until the ACK comes. Absorbed after a final response."""
        response = self._response(status, reason, headers, body)
        self._add_dialog_fields(response)
        self._session.agent.add_capabilities(response.headers, self._session.settings)
        response.headers.extend(self._session.refreshing.accepted(self.request))
        if self._provisional is None:
            self.accepted(response)
        else:
            self._provisional.accept(response)

    def accepted(self, response: Response) -> None:
        """Send the 2xx that `accept` has made, now that nothing stands before it."""
        self.is_accepted = True
        self._session.updates.said(response)
        self._feed(Event.SUCCESS, response)

    def reject(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a final response of 300 to 699. Absorbed after another one."""
        self._feed(Event.FAILURE, self._response(status, reason, headers, body))

    def cancel_received(self, cancel: Request) -> None:
        """Take a CANCEL, already answered: 487 if there is no answer yet (section 9.2)."""
        self._cancel = cancel
        self._feed(Event.CANCEL)

    def ack_received(self, ack: Request | None) -> None:
        """Take the ACK of the 2xx."""
        self._feed(Event.ACK, ack)

    def prack_received(self, transaction: IServerTransaction) -> None:
        """Take a PRACK (RFC 3262 section 3).

        Raises:
            ParseError: it has no RAck that can be read.
        """
        if self._provisional is not None:
            self._provisional.prack_received(transaction)
        else:
            transaction.respond(transaction.request.response(481))

    def bye_received(self) -> None:
        """Take note that the peer ended the dialog: 487 if there is no answer yet (section 15.1.2)."""
        self._feed(Event.BYE)

    def hang_up(self) -> None:
        """End the dialog with BYE as soon as that is allowed (section 15)."""
        self._feed(Event.HANG_UP)

    def close(self) -> None:
        """Stop all timers."""
        self._timers.stop()
        if self._provisional is not None:
            self._provisional.stop()

    def drop(self) -> None:
        """Forget the INVITE, if it has no answer: it will get none."""
        self.close()
        if not self.is_answered:
            self._session.agent.transactions.drop(self.transaction)
            self._feed(Event.LOST, RemoteError("Dropped"))

    def transaction_failed(self, error: RemoteError) -> None:
        """See `IServerTransactionUser`."""
        self._feed(Event.LOST, error)

    def _add_dialog_fields(self, response: Response) -> None:
        """Put what makes a dialog into a 1xx or 2xx: Record-Route and Contact (section 12.1.1)."""
        response.headers.copy_lines(self.request.headers, "Record-Route")
        response.headers.add("Contact", self._session.updates.dialog.contact)

    def _response(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> Response:
        return self.request.response(status, reason, to_tag=self._session.local_tag, headers=headers, body=body)

    def _feed(self, event: Enum, argument: object = None) -> None:
        for effect in self._machine.feed(event, argument):
            match effect:
                case invite.Respond(response) if response.is_provisional and self._provisional is not None:
                    self._provisional.send(response)
                case invite.Respond(response):
                    self.transaction.respond(response)
                case invite.Terminate():
                    self.transaction.respond(self._response(487))
                case StartTimer(event, duration):
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case invite.SendBye():
                    send_bye(self._session)
                case invite.Acknowledged(ack):
                    self.request.headers.forget_parsed()
                    self._session.tell(Acknowledged(self, ack))
                case invite.Cancelled():
                    assert self._cancel is not None
                    self._session.answering_cancelled(self, Cancelled(self._cancel))
                case invite.Failed(error):
                    self._session.answering_failed(self, Ended(EndedBy.FAILURE, error.reason))
        if self._provisional is not None and self.is_answered:
            self._provisional.stop()

    def _unacknowledged(self, error: RemoteError) -> None:
        self.reject(error.status, error.reason)
        self._session.answering_failed(self, Ended(EndedBy.FAILURE, error.reason))
