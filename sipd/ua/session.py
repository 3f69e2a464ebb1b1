"""One leg of a call as an application sees it (RFC 3261 sections 12 to 15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.errors import (
    InvalidStateError,
    LocalError,
    ParseError,
    RemoteError,
    RequestRefusedError,
    TransactionTimeoutError,
    TransportError,
)
from sipd.interfaces import Credentials, IFlow, IServerTransaction
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.digest import answer_challenges, proven_credentials, repeat_credentials, set_credentials
from sipd.sip.fields import RAck
from sipd.sip.glare import retry_after
from sipd.sip.grammar import quote
from sipd.sip.headers import Fields
from sipd.sip.message import Request, Response
from sipd.sip.refer import EventValue
from sipd.ua.answering import Answering
from sipd.ua.calling import Calling
from sipd.ua.events import (
    Answered,
    Cancelled,
    Ended,
    EndedBy,
    Failed,
    Referred,
    Refused,
    Reinvited,
    SessionEvent,
)
from sipd.ua.flows import is_behind_nat
from sipd.ua.interfaces import IDialogUser, ISessionUser
from sipd.ua.pinging import Pinging
from sipd.ua.referral import Referral
from sipd.ua.referring import PACKAGE, Referrals
from sipd.ua.refreshing import Refreshing
from sipd.ua.requesting import USER_METHODS, Requests
from sipd.ua.updating import Updates

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from sipd.ua.core import UserAgent


@implementer(IDialogUser)
class Session:
    """A dialog made by INVITE, and what goes on in it.

    Attributes:
        agent: the user agent that it belongs to.
        user: who is told of events; set before anything can happen.
        dialog: once there is one.
        early_dialogs: of an INVITE of this side without an answer, those in which something was acknowledged.
        flow: what the dialog's messages travel on.
        is_natted: whether the peer's Contact is not where it is reached.
        credentials: for challenges of the peer, or `None`.
        nonce_counts: how often each nonce of the peer's was used.
        is_over: nothing more will happen, and nothing more can be asked for.
        allows_update: whether the peer understands UPDATE, as it says itself.
        passes_notifications: whether the user answers NOTIFYs of a REFER that did not leave by `refer`.
        refreshing: its session timer.
        pinging: what it has instead.
        updates: its UPDATEs.
        requests: those of the peer that the user answers.
    """

    def __init__(self, agent: UserAgent, *, call_id: str, local_tag: str, is_caller: bool) -> None:
        self.agent = agent
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
        self._bye_headers: tuple[tuple[str, str], ...] = ()
        self._answering: Answering | None = None
        self._calling: Calling | None = None
        self.allows_update = False
        self.passes_notifications = False
        self.refreshing = Refreshing(self, is_caller=is_caller)
        self.pinging = Pinging(self)
        self.updates = Updates(self)
        self.requests = Requests(self)
        self._referrals: Referrals | None = None
        #: Content-Type and octets of the description that this side gave last and the peer took.
        self._said: tuple[str, bytes] | None = None

    # --- for the user ---------------------------------------------------------------------------------------

    @property
    def is_established(self) -> bool:
        """Whether the first INVITE was answered with 2xx and nobody has ended the session."""
        return not self.is_over and self.dialog is not None and self.dialog.state is DialogState.CONFIRMED

    @property
    def is_changing(self) -> bool:
        """Whether an INVITE or UPDATE, of either side, waits for its final response or its ACK (section 14)."""
        answering = self._answering
        return (
            (answering is not None and (not answering.is_answered or answering.awaits_ack))
            or self.is_asking
            or self.updates.is_answering
        )

    @property
    def is_asking(self) -> bool:
        """Whether an INVITE or UPDATE of this side waits for its final response or its ACK."""
        calling = self._calling
        return self.updates.is_sending or (calling is not None and (not calling.is_over or calling.awaits_ack))

    @property
    def is_being_asked(self) -> bool:
        """Whether an INVITE of the peer waits for its final response."""
        return self._answering is not None and not self._answering.is_answered

    def reinvite(self, headers: Fields = (), body: bytes = b"") -> None:
        """Send an INVITE inside the dialog (section 14.1); `Answered`, `Refused` or `Failed` follows.

        Raises:
            InvalidStateError: the session is not established, or is changing already.
        """
        if self.dialog is None or not self.is_established or self.is_changing:
            raise InvalidStateError("The session cannot be changed now")
        self._invite_again(self.dialog, headers, body)

    def update(self, headers: Fields, body: bytes) -> None:
        """Send an UPDATE with an offer (RFC 3311 section 5.1); `Answered`, `Refused` or `Failed` follows.

        Raises:
            InvalidStateError: the session is not established, or is changing already.
        """
        if self.dialog is None or not self.is_established or self.is_changing:
            raise InvalidStateError("The session cannot be changed now")
        self.updates.ask(self.dialog, headers, body)

    def withdraw(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Cancel the INVITE that `reinvite` sent; its outcome is told as ever, and may be `Answered` (section 9.1)."""
        if self._calling is not None and self.is_established:
            self._calling.withdraw(headers)

    def acknowledge(self, headers: Fields = (), body: bytes = b"") -> None:
        """Send the ACK of the 2xx that `Answered` told of. Does nothing where none is due."""
        if self._calling is not None and self.dialog is not None:
            self._calling.acknowledge(self.dialog, headers, body)

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
        if self._referrals is None:
            self._referrals = Referrals(self.agent, self, self.dialog)
        if not self._referrals.may_send:
            raise InvalidStateError("Another REFER is under way")
        sending = self.request("REFER", (("Refer-To", refer_to), *headers))
        return self._referrals.send(sending, self.dialog.local_sequence)

    @property
    def is_subscribed(self) -> bool:
        """Whether its dialog has a subscription that is not over."""
        return self._referrals is not None and self._referrals.is_subscribed

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """End the session in the way that its state asks for; the user hears nothing more of it. Idempotent.

        Args:
            headers: such as Reason (RFC 3326), for the CANCEL or BYE.
        """
        if self.is_over:
            return
        self._bye_headers = tuple(headers)
        self.finish()
        self._end_waiting()
        self._leave()

    def _leave(self) -> None:
        """Begin to end what there is."""
        calling, answering = self._calling, self._answering
        if calling is not None and not calling.is_over and self.dialog is None:
            calling.cancel(self._bye_headers)
            return
        if answering is not None and not answering.is_answered:
            answering.reject(487 if self._is_confirmed() else 480)
            if not self._is_confirmed():
                self.agent.forget(self)
                return
        if answering is not None and answering.awaits_ack:
            answering.hang_up()
        else:
            self.send_bye()

    def _is_confirmed(self) -> bool:
        return self.dialog is not None and self.dialog.state is DialogState.CONFIRMED

    def close(self) -> None:
        """Stop all timers; neither the user nor the peer hears anything."""
        self.finish()
        if self._referrals is not None:
            self._referrals.close()
        if self._answering is not None:
            self._answering.close()
        if self._calling is not None:
            self._calling.close()

    # --- for the user agent ---------------------------------------------------------------------------------

    def request_received(self, transaction: IServerTransaction) -> None:
        """Take a request inside the dialog, other than ACK and CANCEL (section 12.2.2)."""
        assert self.dialog is not None
        request = transaction.request
        try:
            self.dialog.check_sequence(request)
            if request.method == "BYE" and self in self.agent:
                self._bye_received(transaction)
            elif request.method in ("NOTIFY", "SUBSCRIBE"):
                self._event_received(transaction)
            elif self.is_over:
                transaction.respond(request.response(481))
            elif request.method == "INVITE":
                self._invite_received(transaction)
            elif request.method == "PRACK":
                self._prack_received(transaction)
            elif request.method == "UPDATE":
                self.updates.received(transaction)
            elif request.method == "OPTIONS":
                self.agent.answer_options(transaction)
            elif request.method in USER_METHODS:
                self.requests.received(transaction)
            elif request.method == "REFER" and self.agent.settings.takes_referrals:
                self._refer_received(transaction)
            else:
                self.agent.refuse_method(transaction)
        except RequestRefusedError as error:
            transaction.respond(request.response(error.status, error.reason, headers=error.headers))
        except ParseError as error:
            transaction.respond(request.response(400, error.reason))

    def ack_received(self, ack: Request) -> None:
        """Take an ACK inside the dialog; it counts if it is for the INVITE that waits for one."""
        answering = self._answering
        if answering is not None and ack.cseq.number == answering.request.cseq.number:
            answering.ack_received(ack)

    def tell(self, event: SessionEvent) -> None:
        """Tell the user of an event, while there is one who wants to know."""
        if not self.is_over and self.user is not None:
            self.user.session_event(self, event)

    def prepare(self, request: Request, flow: IFlow) -> None:
        """Make an INVITE ready for the flow that it will leave on."""

    def renew(self, request: Request, response: Response) -> Request | None:
        """Build a refused request again, with the next CSeq; `None` to give up.

        With credentials where they were asked for (section 22), or with a longer interval (RFC 4028 section 7.3).
        """
        if response.status == 422:
            if not self.refreshing.may_retry(response):
                return None
            renewed = self._build_again(request)
            self._repeat_credentials(renewed, proven_credentials(request, response))
            return renewed
        if self.credentials is None:
            return None
        answers = answer_challenges(response, request, (self.credentials,), self.agent.entropy, self.nonce_counts)
        if not answers:
            return None
        renewed = self._build_again(request)
        set_credentials(renewed, answers)
        return renewed

    def _repeat_credentials(self, request: Request, given: tuple[tuple[str, str], ...]) -> None:
        """Put credentials that were right before into a request ahead of a challenge (section 22.3)."""
        if given and self.credentials is not None:
            known = (self.credentials,)
            repeated = repeat_credentials(given, request, known, self.agent.entropy, self.nonce_counts)
            set_credentials(request, repeated)

    def _build_again(self, request: Request) -> Request:
        renewed = request.copy()
        for name in ("Via", "Session-Expires", "Min-SE"):
            renewed.headers.remove(name)
        renewed.headers.extend(self.refreshing.request_fields())
        renewed.headers.set("CSeq", f"{self.next_sequence(request)} {request.method}")
        return renewed

    def next_sequence(self, request: Request) -> int:
        """Give the CSeq number of the next request."""
        return request.cseq.number + 1 if self.dialog is None else self.dialog.next_number()

    def calling_answered(self, calling: Calling, event: Answered) -> None:
        """Take the 2xx of an INVITE of ours."""
        assert self.dialog is not None
        self.dialog.authorizations = proven_credentials(calling.request, event.response)
        self.take_answer(event.response)
        self.said(calling.request)
        if self.is_over:
            calling.acknowledge(self.dialog)
        elif calling.is_refresh:
            # What it says of the media is what it said before: the offer was, too.
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
            self.lost(f"{event.response.status} {event.response.reason}")

    def calling_failed(self, calling: Calling, event: Failed) -> None:
        """Take note that an INVITE of ours came to nothing; silence and a lost connection end the dialog, too."""
        if not calling.is_refresh:
            self.tell(event)
        self.refreshing.failed(event.error)
        self.gone(event.error)

    def answering_cancelled(self, answering: Answering, event: Cancelled) -> None:
        """Take note that the peer cancelled its INVITE: a later one changes nothing."""
        self.tell(event)

    def answering_failed(self, answering: Answering, event: Ended) -> None:
        """Take note that an answer was never acknowledged; the BYE is on its way."""
        self._end(event)

    def send_bye(self) -> None:
        """Send BYE, and forget the dialog when its outcome is known."""
        if self.dialog is not None and self.dialog.state is not DialogState.TERMINATED:
            self._leave_no_invite()
            self.agent.end_dialog(self.dialog, self._known_flow(), self, self._bye_headers)

    def expired(self, text: str) -> None:
        """End the session, which nobody refreshed, on both sides (RFC 4028 section 10)."""
        if not self.is_over:
            self._bye_headers = (("Reason", f"SIP;cause=408;text={quote(text)}"),)
            self.send_bye()
            self._end(Ended(EndedBy.FAILURE, text))

    def learn(self, message: Request | Response) -> None:
        """Take note of what the peer says it can do."""
        methods = message.headers.get("Allow")
        if methods is not None:
            self.allows_update = "UPDATE" in methods

    def said(self, message: Request | Response) -> None:
        """Remember the description in an INVITE, UPDATE or 2xx of this side that the peer took."""
        if message.body:
            self._said = message.headers.get("Content-Type") or "", message.body

    def finish(self) -> None:
        """Let nothing more happen. Idempotent."""
        self.is_over = True
        self.refreshing.close()
        self.pinging.stop()

    def acknowledge_early(self, dialog: Dialog, rack: RAck, flow: IFlow) -> None:
        """Send the PRACK of a reliable provisional response to an INVITE of ours, in the dialog that it makes."""
        self.flow = self.flow or flow
        self.agent.add_early_dialog(self, dialog)
        prack = dialog.request("PRACK", (("RAck", str(rack)),))
        self.agent.request_in_dialog(self, dialog, prack).addCallbacks(self._prack_answered, self._prack_failed)

    def _prack_answered(self, response: Response) -> None:
        if not response.is_success:
            self.agent.explain(self, f"PRACK: {response.status} {response.reason}")

    def _prack_failed(self, failure: Failure) -> None:
        failure.trap(RemoteError, LocalError)
        self.agent.explain(self, f"PRACK: {failure.getErrorMessage()}")

    def add_dialog_fields(self, request: Request, response: Response) -> None:
        """Put what makes a dialog into a 1xx or 2xx: Record-Route and Contact (section 12.1.1)."""
        response.headers.copy_lines(request.headers, "Record-Route")
        if self.dialog is not None:
            response.headers.add("Contact", self.dialog.contact)

    def add_capabilities(self, response: Response) -> None:
        """Put into a 2xx what this side can do (section 13.3.1.4)."""
        self.agent.add_capabilities(response.headers)

    def take_flow(self, request: Request, flow: IFlow) -> None:
        """Reach the peer from now on where its INVITE came from: its connection or NAT binding may be a new one."""
        assert self.dialog is not None
        self.flow = flow
        if not self.dialog.route_set and is_behind_nat(self.dialog.remote_target, request.via, flow):
            self.is_natted = True

    def dialog_ended(self) -> None:
        """Take note that the BYE of this side has its outcome (lesson 55)."""
        self.finish()
        self.agent.forget(self)

    def _invite_received(self, transaction: IServerTransaction) -> None:
        request = transaction.request
        if self.is_being_asked or self.updates.is_answering:
            raise self.too_early()
        if self.updates.is_sending or (self._calling is not None and not self._calling.is_over):
            raise RequestRefusedError("Request Pending", status=491)
        self.refreshing.check(request)
        self.goes_on()
        self.take_change(transaction)
        self._answering = Answering(self, transaction)
        self.tell(Reinvited(self._answering))

    def _refer_received(self, transaction: IServerTransaction) -> None:
        """Take a REFER (RFC 3515 section 2.4.2): `Referred` tells the user."""
        if self.dialog is None or not self.is_established:
            raise self.too_early("The call is not answered yet")
        if self._referrals is None:
            self._referrals = Referrals(self.agent, self, self.dialog)
        if self._referrals.is_full:
            raise self.too_early("Too many requests wait for their outcomes")
        referring = self._referrals.take(transaction)
        self.dialog.refresh_target(transaction.request)
        self.tell(Referred(referring))

    def _event_received(self, transaction: IServerTransaction) -> None:
        """Take a NOTIFY or SUBSCRIBE; there are no subscriptions in here but those that REFER makes."""
        request, referrals = transaction.request, self._referrals
        if request.method == "SUBSCRIBE":
            if referrals is not None:
                referrals.subscribe_received(transaction)
            elif self.agent.settings.takes_referrals:
                transaction.respond(request.response(481))
            else:
                self.agent.refuse_method(transaction)
            return
        event = EventValue.parse(request.headers.get("Event") or "unknown")
        if event.package != PACKAGE:
            transaction.respond(request.response(481))
        elif referrals is not None and referrals.notify_received(transaction, event):
            return
        elif self.passes_notifications and not self.is_over:
            self.requests.received(transaction)
        else:
            # Of a subscription that nobody made (RFC 6665 section 4.1.3).
            transaction.respond(request.response(481))

    def _prack_received(self, transaction: IServerTransaction) -> None:
        if self._answering is not None:
            self._answering.prack_received(transaction)
        else:
            transaction.respond(transaction.request.response(481))

    def goes_on(self) -> None:
        """Take note that the peer asks for another change: it has the 2xx, and its ACK is late or lost.

        See RFC 5407 section 3.1.

        Raises:
            RequestRefusedError: 491, the answer to an offer in that 2xx is due in the ACK.
        """
        answering = self._answering
        if answering is not None and answering.awaits_ack:
            if not answering.request.body:
                raise RequestRefusedError("Request Pending", status=491)
            answering.ack_received(None)

    def take_change(self, transaction: IServerTransaction) -> None:
        """Take from an INVITE or UPDATE in the dialog where the peer is reached now, and what it can do."""
        assert self.dialog is not None
        self.dialog.refresh_target(transaction.request)
        self.take_flow(transaction.request, transaction.flow)
        self.learn(transaction.request)

    def take_answer(self, response: Response) -> None:
        """Take the same from the 2xx to one of this side."""
        assert self.dialog is not None
        try:
            self.dialog.refresh_target(response)
        except ParseError as error:
            self.agent.explain(self, f"the Contact of the 2xx is ignored: {error.reason}")
        self.learn(response)
        if not self.is_over:
            self.refreshing.answered(response)

    def invite_as_before(self) -> None:
        """Send an INVITE that changes nothing: it refreshes the session where the peer has no UPDATE."""
        assert self.dialog is not None
        content_type, body = self._said or ("", b"")
        self._invite_again(self.dialog, (("Content-Type", content_type),) if body else (), body, is_refresh=True)

    def _invite_again(self, dialog: Dialog, headers: Fields, body: bytes, *, is_refresh: bool = False) -> None:
        request = dialog.request("INVITE", headers, body)
        self.add_what_we_can(request)
        self._repeat_credentials(request, dialog.authorizations)
        self._calling = Calling(self, request, is_refresh=is_refresh)
        self._calling.start_within(dialog, self._known_flow())

    def add_what_we_can(self, request: Request) -> None:
        """Put into an INVITE or UPDATE in the dialog what this side can do, and wants of the session timer."""
        self.agent.add_capabilities(request.headers, has_offer=bool(request.body))
        request.headers.extend(self.refreshing.request_fields())

    def too_early(self, reason: str = "Another request is being answered") -> RequestRefusedError:
        """Give the refusal of a request that may be sent again soon (section 14.2, RFC 3311 section 5.2).

        It is 500 with Retry-After: that ends nothing, unlike 481, and blames no server, unlike 503.
        """
        seconds = retry_after(self.agent.entropy)
        return RequestRefusedError(reason, status=500, headers=(("Retry-After", str(seconds)),))

    def _bye_received(self, transaction: IServerTransaction) -> None:
        bye = transaction.request
        transaction.respond(bye.response(200))
        assert self.dialog is not None
        was_confirmed = self._is_confirmed()
        self.dialog.state = DialogState.TERMINATED
        if self._answering is not None:
            self._answering.bye_received()
        self._end(Ended(EndedBy.PEER, "BYE", bye) if was_confirmed else Cancelled(bye))
        self._leave_no_invite()

    def _leave_no_invite(self) -> None:
        """Acknowledge the 2xx to an INVITE of ours, or cancel it: whoever ended the dialog may never answer it."""
        if self._calling is not None:
            self.acknowledge()
            self._calling.withdraw()

    def gone(self, error: BaseException | None) -> None:
        """Take note that a request in the dialog has no answer: silence and a lost connection end the session."""
        if isinstance(error, TransactionTimeoutError | TransportError):
            self.lost(error.reason)

    def lost(self, text: str) -> None:
        """The peer is gone: end the dialog here and, as far as it goes, there (section 12.2.1.2)."""
        if not self.is_over:
            self.send_bye()
            self._end(Ended(EndedBy.FAILURE, text))

    def _end(self, event: SessionEvent) -> None:
        """Tell the user, whose `hang_up` does nothing any more; the BYE that may be under way goes its way."""
        if not self.is_over:
            self.finish()
            self._end_waiting()
            if self.user is not None:
                self.user.session_event(self, event)
        if self.dialog is None or self.dialog.state is DialogState.TERMINATED:
            self.agent.forget(self)

    def _end_waiting(self) -> None:
        """Answer what waits for an answer of the user."""
        self.updates.end()
        self.requests.end()
        if self._referrals is not None:
            self._referrals.end()

    def _request_answered(self, response: Response) -> Response:
        if response.status in (408, 481):
            self.lost(f"{response.status} {response.reason}")
        return response

    def _request_failed(self, failure: Failure) -> Failure:
        self.gone(failure.value)
        return failure

    def _known_flow(self) -> IFlow:
        assert self.flow is not None
        return self.flow
