"""UPDATE within one session, of either side (RFC 3311 section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from sipd.errors import LocalError, RemoteError, RequestRefusedError
from sipd.interfaces import IServerTransaction
from sipd.sip.dialog import Dialog
from sipd.sip.headers import Fields
from sipd.sip.message import Request, Response
from sipd.ua.events import Answered, Failed, Refused, Updated
from sipd.ua.requesting import Requesting

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.ua.session import Session


class Updates:
    """Sends and takes the UPDATEs of one session. Each refreshes its timer; one with an offer asks for a change.

    Attributes:
        is_sending: whether one of this side waits for its answer.
    """

    __slots__ = ("_answering", "_session", "is_sending")

    def __init__(self, session: Session) -> None:
        self.is_sending = False
        self._session = session
        self._answering: Updating | None = None

    @property
    def is_answering(self) -> bool:
        """Whether one of the peer, with an offer, waits for its answer."""
        return self._answering is not None and not self._answering.is_answered

    # --- of this side ---------------------------------------------------------------------------------------

    def ask(self, dialog: Dialog, headers: Fields, body: bytes) -> None:
        """Send one with an offer; the user is told of the outcome."""
        self._send(dialog, headers, body).addCallbacks(self._asked, self._ask_failed)

    def refresh(self, dialog: Dialog) -> None:
        """Send one without an offer."""
        self._send(dialog).addCallbacks(self._answered, self._failed)

    def _send(self, dialog: Dialog, headers: Fields = (), body: bytes = b"") -> Deferred[Response]:
        request = dialog.request("UPDATE", headers, body)
        self._session.add_what_we_can(request)
        self.is_sending = True
        sending = self._session.agent.request_in_dialog(self._session, dialog, request)
        return sending.addBoth(self._over).addCallback(self._taken, request)

    def _over(self, result: Response | Failure) -> Response | Failure:
        self.is_sending = False
        return result

    def _taken(self, response: Response, request: Request) -> Response:
        if response.is_success:
            self._session.take_answer(response)
            self._session.said(request)
        return response

    def _asked(self, response: Response) -> None:
        self._session.tell(Answered(response, "UPDATE") if response.is_success else Refused(response, "UPDATE"))
        self._answered(response)

    def _ask_failed(self, failure: Failure) -> None:
        self._session.tell(Failed(_remote_error(failure), "UPDATE"))
        self._failed(failure)

    def _answered(self, response: Response) -> None:
        session = self._session
        if not response.is_success and not session.is_over:
            session.refreshing.refused(response)
            if response.status in (408, 481):
                session.lost(f"{response.status} {response.reason}")

    def _failed(self, failure: Failure) -> None:
        error = _remote_error(failure)
        if not self._session.is_over:
            self._session.refreshing.failed(error)
            self._session.gone(error)

    # --- of the peer ----------------------------------------------------------------------------------------

    def received(self, transaction: IServerTransaction) -> None:
        """Take one.

        Raises:
            RequestRefusedError: it crosses another change, or its session interval is too short.
            ParseError: what it says about the session timer is malformed.
        """
        session, request = self._session, transaction.request
        if request.body:
            if session.is_being_asked or self.is_answering:
                raise session.too_early()
            if session.is_asking:
                raise RequestRefusedError("Request Pending", status=491)
        session.refreshing.check(request)
        if request.body:
            session.goes_on()
        session.take_change(transaction)
        if request.body:
            self._answering = Updating(self, transaction)
            session.tell(Updated(self._answering))
        else:
            self.accept(transaction)

    def end(self) -> None:
        """The session is over: one that waits for an answer gets 487, as an INVITE would (RFC 3261 section 15.1.2)."""
        if self._answering is not None:
            self._answering.reject(487)

    def accept(self, transaction: IServerTransaction, headers: Fields = (), body: bytes = b"") -> None:
        """Answer one with 200."""
        session, request = self._session, transaction.request
        response = request.response(200, headers=headers, body=body)
        assert session.dialog is not None
        response.headers.add("Contact", session.dialog.contact)
        session.add_capabilities(response)
        if session.is_established:
            response.headers.extend(session.refreshing.accepted(request))
        session.said(response)
        transaction.respond(response)


class Updating(Requesting):
    """One UPDATE with an offer that waits for its answer."""

    __slots__ = ("_updates",)

    def __init__(self, updates: Updates, transaction: IServerTransaction) -> None:
        super().__init__(transaction)
        self._updates = updates

    def accept(self, headers: Fields = (), body: bytes = b"") -> None:
        """Send 200. Absorbed after a final response."""
        if not self.is_answered:
            self.is_answered = True
            self._updates.accept(self._transaction, headers, body)

    def reject(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a final response of 300 to 699. Absorbed after another one."""
        self.answer(status, reason, headers, body)


def _remote_error(failure: Failure) -> RemoteError:
    failure.trap(RemoteError, LocalError)
    error = failure.value
    return error if isinstance(error, RemoteError) else RemoteError(str(error))
