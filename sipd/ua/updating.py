"""UPDATE within the dialogs of a session, early ones too, and what it changes (RFC 3311 section 5)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.python.failure import Failure

from sipd.errors import LocalError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import IServerTransaction
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.headers import Fields
from sipd.sip.identity import ASSERTIONS
from sipd.sip.message import Request, Response
from sipd.ua.ending import lose, lose_if_gone
from sipd.ua.events import Answered, Failed, Introduced, Refused, Updated
from sipd.ua.requesting import Requesting

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.ua.session import Session


class Updates:
    """Sends and takes the UPDATEs of one dialog, and knows what this side says in it.

    In a session that is up each refreshes its timer; one with an offer asks for a change.

    Args:
        session: whose dialog it is.
        early: an early dialog of an INVITE of this side; ``None`` for the session's own.

    Attributes:
        is_allowed: whether the peer understands UPDATE, as it says itself.
        is_sending: whether one of this side waits for its answer.
        description: Content-Type and octets of the description that this side gave last and the peer took, or ``None``.
    """

    __slots__ = ("_answering", "_described_at", "_early", "_held", "_is_over", "_pracks", "_session", "description",
                 "is_allowed", "is_sending")  # fmt: skip

    def __init__(self, session: Session, early: Dialog | None = None) -> None:
        self.is_allowed = False
        self.is_sending = False
        self.description: tuple[str, bytes] | None = None
        self._session = session
        self._early = early
        self._answering: Updating | None = None
        self._described_at = 0
        self._is_over = False
        self._pracks = 0
        #: An UPDATE that waits for the answer to a PRACK: header fields, body, and what its outcome is told with.
        self._held: tuple[Fields, bytes, str | None] | None = None

    @property
    def dialog(self) -> Dialog:
        """The dialog; of a session that has one."""
        dialog = self._early or self._session.dialog
        assert dialog is not None
        return dialog

    @property
    def is_early(self) -> bool:
        """Whether the INVITE that makes the dialog has no answer yet."""
        return self.dialog.state is DialogState.EARLY

    @property
    def is_answering(self) -> bool:
        """Whether an offer of the peer, in UPDATE or PRACK, waits for its answer."""
        return self._answering is not None and not self._answering.is_answered

    # --- what each side says --------------------------------------------------------------------------------

    def learn(self, message: Request | Response) -> None:
        """Take note of what the peer says it can do."""
        methods = message.headers.get("Allow")
        if methods is not None:
            self.is_allowed = "UPDATE" in methods

    def take(self, message: Request | Response) -> None:
        """Take the same from what refreshes the target, and where the peer is reached now.

        Raises:
            ParseError: its Contact is malformed.
        """
        self.dialog.refresh_target(message)
        self.learn(message)

    def take_answer(self, response: Response) -> None:
        """Take the same from the 2xx to something of this side."""
        try:
            self.take(response)
        except ParseError as error:
            self._session.agent.explain(self._session, f"the Contact of the 2xx is ignored: {error.reason}")

    def said(self, message: Request | Response) -> None:
        """Remember the description in a message of this side that the peer took.

        An INVITE may be answered after the UPDATE that changed what it says.
        """
        if not message.body:
            return
        is_request = isinstance(message, Request)
        sequence = message.cseq.number if is_request else self.dialog.local_sequence
        if is_request and sequence <= self._described_at:
            return
        self._described_at = sequence
        self.description = message.headers.get("Content-Type") or "", message.body

    # --- of this side ---------------------------------------------------------------------------------------

    def ask(self, headers: Fields, body: bytes, tag: str | None) -> None:
        """Send one with an offer; the user is told of the outcome, with that tag.

        While a PRACK waits for its answer it is held back: over UDP it might overtake it, which is out of order then.
        """
        self.is_sending = True
        if self._pracks:
            self._held = headers, body, tag
        else:
            self._ask(headers, body, tag)

    def prack_sent(self) -> None:
        """A PRACK is under way."""
        self._pracks += 1

    def prack_answered(self) -> None:
        """It is no more."""
        self._pracks -= 1
        if self._held is not None and not self._pracks:
            held, self._held = self._held, None
            if not (self._is_over or self._session.is_over):
                self._ask(*held)

    def _ask(self, headers: Fields, body: bytes, tag: str | None) -> None:
        sending, is_early = self._send(headers, body), self.is_early
        sending.addCallbacks(
            self._asked, self._ask_failed, callbackArgs=(tag, is_early), errbackArgs=(tag, is_early)
        )  # fmt: skip

    def refresh(self) -> None:
        """Send one without an offer."""
        self._send().addCallbacks(self._answered, self._failed)

    def _send(self, headers: Fields = (), body: bytes = b"") -> Deferred[Response]:
        session, dialog = self._session, self.dialog
        request = dialog.request("UPDATE", headers, body)
        session.add_what_we_can(request)
        self.is_sending = True
        sending = session.agent.request_in_dialog(session, dialog, request)
        return sending.addBoth(self._over).addCallback(self._taken, request)

    def _over(self, result: Response | Failure) -> Response | Failure:
        self.is_sending = False
        return result

    def _taken(self, response: Response, request: Request) -> Response:
        if response.is_success:
            self.take_answer(response)
            self.said(request)
        return response

    def _asked(self, response: Response, tag: str | None, is_early: bool) -> None:
        self._tell((Answered if response.is_success else Refused)(response, "UPDATE", tag))
        if not is_early:
            self._answered(response)

    def _ask_failed(self, failure: Failure, tag: str | None, is_early: bool) -> None:
        self._tell(Failed(_remote_error(failure), "UPDATE", tag))
        if not is_early:
            self._failed(failure)

    def _tell(self, event: Answered | Refused | Failed) -> None:
        if not self._is_over:
            self._session.tell(event)

    def _answered(self, response: Response) -> None:
        session = self._session
        if session.is_over:
            return
        if response.is_success:
            session.refreshing.answered(response)
            return
        session.refreshing.refused(response)
        if response.status in (408, 481):
            lose(session, f"{response.status} {response.reason}")

    def _failed(self, failure: Failure) -> None:
        error = _remote_error(failure)
        if not self._session.is_over:
            self._session.refreshing.failed(error)
            lose_if_gone(self._session, error)

    # --- of the peer ----------------------------------------------------------------------------------------

    def received(self, transaction: IServerTransaction) -> None:
        """Take one.

        Raises:
            RequestRefusedError: it crosses another change, or its session interval is too short.
            ParseError: what it says about the session timer is malformed.
        """
        session, request = self._session, transaction.request
        is_early = self.is_early
        if request.body:
            if is_early:
                self._check_early()
            elif session.is_being_asked or self.is_answering:
                raise session.too_early()
            elif session.is_asking:
                raise RequestRefusedError("Request Pending", status=491)
        session.refreshing.check(request)
        if request.body and not is_early:
            session.goes_on()
        self.take(request)
        if self._early is None or not is_early:
            session.take_flow(request, transaction.flow)
        if request.body:
            self._answering = Updating(self, transaction, is_early=is_early)
            session.tell(Updated(self._answering))
        else:
            self.accept(transaction, is_early=is_early)
            if not is_early and request.headers.has_any(ASSERTIONS):
                session.tell(Introduced(request))

    def offered(self, transaction: IServerTransaction, answered: Callable[[], None]) -> None:
        """Take a PRACK with an offer: the user is told, and so is ``answered`` as soon as it has its answer.

        Raises:
            RequestRefusedError: nobody takes such offers, or it crosses another one.
        """
        if not self._session.takes_early_updates:
            raise RequestRefusedError("Not Acceptable Here", status=488)
        if self.is_sending or self.is_answering:
            raise RequestRefusedError("Request Pending", status=491)
        self._answering = Updating(self, transaction, is_early=True, answered=answered)
        self._session.tell(Updated(self._answering))

    def end(self) -> None:
        """The dialog is over: what waits for an answer gets 487, as an INVITE would (RFC 3261 section 15.1.2)."""
        self._is_over = True
        if self._answering is not None:
            self._answering.reject(487)

    def accept(
        self, transaction: IServerTransaction, headers: Fields = (), body: bytes = b"", *, is_early: bool
    ) -> None:
        """Answer one, or a PRACK, with 200."""
        session, request = self._session, transaction.request
        response = request.response(200, headers=headers, body=body)
        if request.method == "UPDATE":
            response.headers.add("Contact", self.dialog.contact)
            session.agent.add_capabilities(response.headers, session.settings)
            if not is_early and session.is_established:
                response.headers.extend(session.refreshing.accepted(request))
        self.said(response)
        transaction.respond(response)

    def _check_early(self) -> None:
        """Say whether an offer may come now: what goes before it is the user's business (section 5.2)."""
        session = self._session
        if self.is_answering or (session.is_being_asked and not session.takes_early_updates):
            raise session.too_early()
        if not session.takes_early_updates:
            raise RequestRefusedError("Not Acceptable Here", status=488)
        if self.is_sending:
            raise RequestRefusedError("Request Pending", status=491)


class Updating(Requesting):
    """One UPDATE, or PRACK, with an offer that waits for its answer.

    Attributes:
        tag: the peer's, of the dialog that it is in.
    """

    __slots__ = ("_answered", "_is_early", "_updates", "tag")

    def __init__(
        self,
        updates: Updates,
        transaction: IServerTransaction,
        *,
        is_early: bool,
        answered: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(transaction)
        self.tag = transaction.request.from_.tag or ""
        self._updates = updates
        self._is_early = is_early
        self._answered = answered

    def accept(self, headers: Fields = (), body: bytes = b"") -> None:
        """Send 200. Absorbed after a final response."""
        if not self.is_answered:
            self.is_answered = True
            self._updates.accept(self._transaction, headers, body, is_early=self._is_early)
            self._go_on()

    def reject(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a final response of 300 to 699. Absorbed after another one."""
        if not self.is_answered:
            self.answer(status, reason, headers, body)
            self._go_on()

    def transaction_failed(self, error: RemoteError) -> None:
        """See `IServerTransactionUser`: it is too late for an answer."""
        self.is_answered = True
        self._go_on()

    def _go_on(self) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered()


def _remote_error(failure: Failure) -> RemoteError:
    failure.trap(RemoteError, LocalError)
    error = failure.value
    return error if isinstance(error, RemoteError) else RemoteError(str(error))
