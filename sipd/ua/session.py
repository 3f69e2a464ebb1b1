"""One leg of a call as an application sees it (RFC 3261 sections 12 to 15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.errors import InvalidStateError, RequestRefusedError
from sipd.interfaces import Credentials, IFlow, IServerTransaction
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.digest import proven_credentials
from sipd.sip.glare import retry_after
from sipd.sip.headers import Fields
from sipd.sip.message import Request, Response
from sipd.ua.answering import Answering
from sipd.ua.calling import Calling
from sipd.ua.ending import drop, end, finish, hang_up, lose, lose_if_gone
from sipd.ua.events import Answered, Cancelled, Ended, Failed, Refused, SessionEvent
from sipd.ua.flows import is_behind_nat
from sipd.ua.interfaces import IDialogUser, ISessionUser
from sipd.ua.pinging import Pinging
from sipd.ua.receiving import receive
from sipd.ua.referral import Referral
from sipd.ua.referring import Referrals
from sipd.ua.refreshing import Refreshing
from sipd.ua.renewing import repeat_credentials
from sipd.ua.requesting import Requests
from sipd.ua.updating import Updates

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from sipd.ua.core import UserAgent
    from sipd.ua.settings import AgentSettings


@implementer(IDialogUser)
class Session:
    """A dialog made by INVITE, and what goes on in it.

    Attributes:
        agent: the user agent that it belongs to.
        settings: how that presents itself to the peer, and what it wants of it.
        user: who is told of events; set before anything can happen.
        dialog: once there is one.
        early_dialogs: of an INVITE of this side without an answer, those in which something was acknowledged.
        flow: what the dialog's messages travel on.
        is_natted: whether the peer's Contact is not where it is reached.
        credentials: for challenges of the peer, or ``None``.
        nonce_counts: how often each nonce of the peer's was used.
        bye_headers: what its CANCEL or BYE says besides.
        is_over: nothing more will happen, and nothing more can be asked for.
        answering: the last INVITE of the peer, or ``None``.
        calling: the last INVITE of this side, or ``None``.
        takes_early_updates: whether the user answers offers that come before the final response, by UPDATE or PRACK.
        passes_requests: whether the user answers OPTIONS and PUBLISH, and NOTIFY and SUBSCRIBE that are not about a
            REFER of this session, when it is established.
        refreshing: its session timer.
        pinging: what it has instead.
        updates: the UPDATEs in its dialog.
        requests: those of the peer that the user answers.
        referrals: its REFERs; ``None`` before the first one.
    """

    def __init__(
        self,
        agent: UserAgent,
        *,
        call_id: str,
        local_tag: str,
        is_caller: bool,
        settings: AgentSettings | None = None,
    ) -> None:
        self.agent = agent
        self.settings = settings if settings is not None else agent.settings
        self.call_id = call_id
        self.local_tag = local_tag
        self.user: ISessionUser | None = None
        self.dialog: Dialog | None = None
        self.early_dialogs: list[Dialog] = []
        self.flow: IFlow | None = None
        self.is_natted = False
        self.credentials: Credentials | None = None
        self.is_over = False
        self.nonce_counts: dict[str, int] = {}
        self.bye_headers: tuple[tuple[str, str], ...] = ()
        self.answering: Answering | None = None
        self.calling: Calling | None = None
        self.takes_early_updates = False
        self.passes_requests = False
        self.refreshing = Refreshing(self, is_caller=is_caller)
        self.pinging = Pinging(self)
        self.updates = Updates(self)
        self.requests = Requests(self)
        self.referrals: Referrals | None = None

    # --- for the user ---------------------------------------------------------------------------------------

    @property
    def is_confirmed(self) -> bool:
        """Whether its dialog is confirmed and nobody has begun to end it."""
        return self.dialog is not None and self.dialog.state is DialogState.CONFIRMED

    @property
    def is_established(self) -> bool:
        """Whether the first INVITE was answered with 2xx and nobody has ended the session."""
        return not self.is_over and self.is_confirmed

    @property
    def is_changing(self) -> bool:
        """Whether an INVITE or UPDATE, of either side, waits for its final response or its ACK (section 14)."""
        answering = self.answering
        return (
            (answering is not None and (not answering.is_answered or answering.awaits_ack))
            or self.is_asking
            or self.updates.is_answering
        )

    @property
    def is_asking(self) -> bool:
        """Whether an INVITE or UPDATE of this side waits for its final response or its ACK."""
        calling = self.calling
        return self.updates.is_sending or (calling is not None and (not calling.is_over or calling.awaits_ack))

    @property
    def is_being_asked(self) -> bool:
        """Whether an INVITE of the peer waits for its final response."""
        return self.answering is not None and not self.answering.is_answered

    def reinvite(self, headers: Fields = (), body: bytes = b"") -> None:
        """Send an INVITE inside the dialog (section 14.1); `Answered`, `Refused` or `Failed` follows.

        Raises:
            InvalidStateError: the session is not established, or is changing already.
        """
        if self.dialog is None or not self.is_established or self.is_changing:
            raise InvalidStateError("The session cannot be changed now")
        self._invite_again(self.dialog, headers, body)

    @property
    def allows_update(self) -> bool:
        """Whether the peer understands UPDATE, as it says itself."""
        return self.updates.is_allowed

    def can_update(self, tag: str | None = None) -> bool:
        """Say whether `update` may be called, and the peer would understand it.

        Args:
            tag: the peer's in an early dialog of an INVITE of this side; ``None`` for the session's own dialog.
        """
        updates = self.updates_in(tag)
        return updates is not None and updates.is_allowed and self.is_free(updates)

    def update(self, headers: Fields, body: bytes, tag: str | None = None) -> None:
        """Send an UPDATE with an offer (RFC 3311 section 5.1); `Answered`, `Refused` or `Failed` follows.

        Before the final response it is for the user to know that no other offer waits for its answer.

        Args:
            headers: more header fields, Content-Type among them.
            body: the offer.
            tag: as for `can_update`.

        Raises:
            InvalidStateError: there is no such dialog, or it is changing already.
        """
        updates = self.updates_in(tag)
        if updates is None or not self.is_free(updates):
            raise InvalidStateError("The session cannot be changed now")
        updates.ask(headers, body, tag)

    def acknowledge_progress(
        self, response: Response, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Send the PRACK that `Progressed` said is owed, with the answer. Does nothing where none is due any more."""
        if self.calling is not None and not self.is_over:
            self.calling.acknowledge_progress(response, headers, body)

    def withdraw(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Cancel the INVITE that `reinvite` sent; its outcome is told as ever, and may be `Answered` (section 9.1)."""
        if self.calling is not None and self.is_established:
            self.calling.withdraw(headers)

    def acknowledge(self, headers: Fields = (), body: bytes = b"") -> None:
        """Send the ACK of the 2xx that `Answered` told of. Does nothing where none is due."""
        if self.calling is not None and self.dialog is not None:
            self.calling.acknowledge(self.dialog, headers, body)

    def request(self, method: str, headers: Fields = (), body: bytes = b"") -> Deferred[Response]:
        """Send a request other than INVITE inside the dialog; a Deferred of the final response.

        408 and 481 end the session (section 12.2.1.2). Fails with `RemoteError`.

        Raises:
            InvalidStateError: there is no dialog.
        """
        if self.dialog is None or self.is_over:
            raise InvalidStateError("There is no dialog")
        sending = self.agent.request_in_dialog(self, self.dialog, self.dialog.request(method, headers, body))
        return sending.addCallbacks(self._request_answered, self._request_failed)

    def refer(self, refer_to: str, headers: Sequence[tuple[str, str]] = ()) -> Referral:
        """Ask the peer to contact somebody (RFC 3515 section 2.4.1); 408 and 481 end the session.

        Args:
            refer_to: the Refer-To value.
            headers: more header fields, such as Referred-By.

        Raises:
            InvalidStateError: the session is not established, or too many others are under way.
        """
        if self.dialog is None or not self.is_established:
            raise InvalidStateError("There is no session")
        if self.referrals is None:
            self.referrals = Referrals(self.agent, self, self.dialog)
        if not self.referrals.may_send:
            raise InvalidStateError("Another REFER is under way")
        sending = self.request("REFER", (("Refer-To", refer_to), *headers))
        return self.referrals.send(sending, self.dialog.local_sequence)

    @property
    def is_subscribed(self) -> bool:
        """Whether its dialog has a subscription that is not over."""
        return self.referrals is not None and self.referrals.is_subscribed

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """End the session in the way that its state asks for; the user hears nothing more of it. Idempotent.

        Args:
            headers: such as Reason (RFC 3326), for the CANCEL or BYE.
        """
        hang_up(self, headers)

    def drop(self) -> None:
        """Forget the session at once: neither the user nor the peer hears anything. Idempotent.

        An INVITE without an answer, of either side, is forgotten with it, and what comes for the session later is for
        nobody: 481. Of the other requests that are under way only the outcome is not looked at.
        """
        drop(self)

    def close(self) -> None:
        """Stop all timers; neither the user nor the peer hears anything."""
        finish(self)
        if self.referrals is not None:
            self.referrals.close()
        if self.answering is not None:
            self.answering.close()
        if self.calling is not None:
            self.calling.close()

    # --- for the user agent ---------------------------------------------------------------------------------

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IDialogUser`."""
        if self.dialog is not None:
            transaction.standing = self.dialog.standing
        receive(self, transaction)

    def name(self, fields: tuple[tuple[str, str], ...]) -> None:
        """Put these fields into all that this side says inside of the dialog: Session-ID (RFC 7989 section 6)."""
        if self.dialog is not None:
            self.dialog.standing = fields

    def ack_received(self, ack: Request) -> None:
        """Take an ACK inside the dialog; it counts if it is for the INVITE that waits for one."""
        answering = self.answering
        if answering is not None and ack.cseq.number == answering.request.cseq.number:
            answering.ack_received(ack)

    def tell(self, event: SessionEvent) -> None:
        """Tell the user of an event, while there is one who wants to know."""
        if not self.is_over and self.user is not None:
            self.user.session_event(self, event)

    def prepare(self, request: Request, flow: IFlow) -> None:
        """Make an INVITE ready for the flow that it will leave on."""

    def calling_answered(self, calling: Calling, event: Answered) -> None:
        """Take the 2xx of an INVITE of ours."""
        assert self.dialog is not None
        self.dialog.authorizations = proven_credentials(calling.request, event.response)
        self.updates.take_answer(event.response)
        self.updates.said(calling.request)
        if not self.is_over:
            self.refreshing.answered(event.response)
        if self.is_over or calling.is_refresh:
            # What the answer to a refresh says of the media is what it said before: the offer was, too.
            calling.acknowledge(self.dialog)
        else:
            self.tell(event)

    def calling_refused(self, calling: Calling, event: Refused) -> None:
        """Take the refusal of an INVITE of ours; 408 and 481 end the dialog (section 14.1)."""
        if self.dialog is not None:
            self.dialog.authorizations = proven_credentials(calling.request, event.response)
        if not calling.is_refresh:
            self.tell(event)
        self.refreshing.refused(event.response)
        if event.response.status in (408, 481):
            lose(self, f"{event.response.status} {event.response.reason}")

    def calling_failed(self, calling: Calling, event: Failed) -> None:
        """Take note that an INVITE of ours came to nothing; silence and a lost connection end the dialog, too."""
        if not calling.is_refresh:
            self.tell(event)
        self.refreshing.failed(event.error)
        lose_if_gone(self, event.error)

    def answering_cancelled(self, answering: Answering, event: Cancelled) -> None:
        """Take note that the peer cancelled its INVITE: a later one changes nothing."""
        self.tell(event)

    def answering_failed(self, answering: Answering, event: Ended) -> None:
        """Take note that an answer was never acknowledged; the BYE is on its way."""
        end(self, event)

    def updates_in(self, tag: str | None) -> Updates | None:
        """Give the UPDATEs of a dialog by the peer's tag, or of the session's own; ``None`` if it is not there."""
        if self.dialog is None or tag not in (None, self.dialog.remote.tag):
            return None
        return self.updates

    def is_free(self, updates: Updates) -> bool:
        """Whether an UPDATE may leave in that dialog now."""
        if updates.is_early:
            return not (self.is_over or updates.is_sending or updates.is_answering)
        return self.is_established and not self.is_changing

    def take_flow(self, request: Request, flow: IFlow) -> None:
        """Reach the peer from now on where its INVITE came from: its connection or NAT binding may be a new one."""
        assert self.dialog is not None
        self.flow = flow
        if not self.dialog.route_set and is_behind_nat(self.dialog.remote_target, request.via, flow):
            self.is_natted = True

    def dialog_ended(self) -> None:
        """Take note that the BYE of this side has its outcome (lesson 55)."""
        finish(self)
        self.agent.forget(self)

    def goes_on(self) -> None:
        """Take note that the peer asks for another change: it has the 2xx, and its ACK is late or lost.

        See RFC 5407 section 3.1.

        Raises:
            RequestRefusedError: 491, the answer to an offer in that 2xx is due in the ACK.
        """
        answering = self.answering
        if answering is not None and answering.awaits_ack:
            if answering.wants_answer:
                raise RequestRefusedError("Request Pending", status=491)
            answering.ack_received(None)

    def invite_as_before(self) -> None:
        """Send an INVITE that changes nothing: it refreshes the session where the peer has no UPDATE."""
        assert self.dialog is not None
        content_type, body = self.updates.description or ("", b"")
        self._invite_again(self.dialog, (("Content-Type", content_type),) if body else (), body, is_refresh=True)

    def _invite_again(self, dialog: Dialog, headers: Fields, body: bytes, *, is_refresh: bool = False) -> None:
        request = dialog.request("INVITE", headers, body)
        self.add_what_we_can(request)
        repeat_credentials(self, request, dialog.authorizations)
        self.calling = Calling(self, request, is_refresh=is_refresh)
        self.calling.start_within(dialog, self._known_flow())

    def add_what_we_can(self, request: Request) -> None:
        """Put into an INVITE or UPDATE in the dialog what this side can do, and wants of the session timer."""
        self.agent.add_capabilities(request.headers, self.settings, has_offer=bool(request.body))
        if self.is_established:
            request.headers.extend(self.refreshing.request_fields())

    def too_early(self, reason: str = "Another request is being answered") -> RequestRefusedError:
        """Give the refusal of a request that may be sent again soon (section 14.2, RFC 3311 section 5.2).

        It is 500 with Retry-After: that ends nothing, unlike 481, and blames no server, unlike 503.
        """
        seconds = retry_after(self.agent.entropy)
        return RequestRefusedError(reason, status=500, headers=(("Retry-After", str(seconds)),))

    def end_waiting(self) -> None:
        """Answer what waits for an answer of the user."""
        self.updates.end()
        self.requests.end()
        if self.referrals is not None:
            self.referrals.end()

    def _request_answered(self, response: Response) -> Response:
        if response.status in (408, 481):
            lose(self, f"{response.status} {response.reason}")
        return response

    def _request_failed(self, failure: Failure) -> Failure:
        lose_if_gone(self, failure.value)
        return failure

    def _known_flow(self) -> IFlow:
        assert self.flow is not None
        return self.flow
