"""A call that a phone makes, until it is answered (RFC 3261 section 13.2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, maybeDeferred

from sipd.errors import LocalError, ParseError, RemoteError, SdpError
from sipd.phone.call import Call, CallState
from sipd.phone.changes import CONTENT
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialError, DialTimeoutError, dial_error
from sipd.phone.fields import HeaderFields
from sipd.phone.progress import DialProgress, DialStep
from sipd.sip.message import Request, Response
from sipd.ua import events
from sipd.ua.bodies import find_description
from sipd.ua.outgoing import OutgoingCall as OutgoingSession

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from sipd.interfaces import IMediaEndpoint
    from sipd.phone.phone import Phone
    from sipd.sdp.description import SessionDescription
    from sipd.sip.fields import NameAddr
    from sipd.ua.session import Session

#: Callees of one call whose early media are known.
_MOST_EARLY = 16
ProgressHook = Callable[[DialProgress], object]
#: Is called with the call and the 2xx before the ACK leaves; what it raises ends the call.
AnswerHook = Callable[["OutgoingCall", Response], "object | Awaitable[object]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DialOptions:
    """How a call is made: see `Phone.dial`."""

    headers: HeaderFields = ()
    on_progress: ProgressHook | None = None
    on_answer: AnswerHook | None = None
    ring_timeout: float = 180.0
    late_offer: bool = False
    correlation: str = ""
    scenario: str = ""
    script: str = ""


class OutgoingCall(Call):
    """A call that was made. `Phone.dial` gives it when it is answered.

    Attributes:
        answer: the 2xx.
        has_early_media: whether the other side has sent a session description before its answer.
    """

    session: OutgoingSession

    def __init__(
        self, phone: Phone, session: OutgoingSession, remote: NameAddr, media: IMediaEndpoint, options: DialOptions
    ) -> None:
        super().__init__(phone, session, remote, media)
        self.correlation, self.scenario, self.script = options.correlation, options.scenario, options.script
        self.answer: Response | None = None
        self.has_early_media = False
        self._options = options
        self._dialing: Deferred[OutgoingCall] = Deferred(lambda _: self._give_up())
        self._ring_timer: IDelayedCall | None = None
        self._error: DialError | None = None
        self._is_given_up = False
        #: What callees have said before the answer, by their tags.
        self._early: dict[str, SessionDescription] = {}

    @property
    def invite(self) -> Request:
        """The INVITE as it was sent last."""
        return self.session.invite

    def start(self) -> Deferred[OutgoingCall]:
        """Send the INVITE; the Deferred fires when the call is established. To cancel it sends CANCEL."""
        self._ring_timer = self.phone.clock.callLater(self._options.ring_timeout, self._rung_out)
        self.session.start()
        if not self.is_over:
            self._tell(DialStep.INVITED)
        return self._dialing

    def session_event(self, session: Session, event: events.SessionEvent) -> None:
        """See `ISessionUser`."""
        if self.state is not CallState.OFFERED or self.answer is not None:
            super().session_event(session, event)
            return
        match event:
            case events.Progressed(response):
                self._progressed(response)
            case events.Answered(response):
                self._answered(response)
            case events.Refused(response):
                text = f"{response.status} {response.reason}"
                refusal = DialError(text, status=response.status, request=self.invite, response=response)
                self._fail(refusal, EndedBy.REFUSED)
            case events.Failed(error):
                self._fail(dial_error(error, self.invite), EndedBy.FAILURE)
            case _:
                super().session_event(session, event)

    # --- on the way -----------------------------------------------------------------------------------------

    def _progressed(self, response: Response) -> None:
        self._tell(DialStep.PROVISIONAL, response)
        if not response.body or self._options.late_offer or self.is_over:
            return
        try:
            description = find_description(response)
            if description is not None:
                self.media.take_answer(description)
                self._keep_early(response.to.tag or "", description)
        except RemoteError as error:
            self.phone.log.info("early media of call {call_id}: {error}", call_id=self.call_id, error=error.reason)

    def _keep_early(self, tag: str, description: SessionDescription) -> None:
        self.has_early_media = True
        if tag in self._early or len(self._early) < _MOST_EARLY:
            self._early[tag] = description

    def _answered(self, response: Response) -> None:
        self._stop_ringing()
        self.answer = response
        Deferred.fromCoroutine(self._bind(response)).addCallbacks(self._bound, self._not_bound)

    async def _bind(self, response: Response) -> bytes:
        """Give the media what was agreed on, and the application its say; give the body of the ACK."""
        body = b""
        # Of several callees, what the one has said that answers (section 13.2.2.4).
        description = find_description(response) or self._early.get(response.to.tag or "")
        if description is None:
            raise SdpError("The answer has no session description")
        if self._options.late_offer:
            body = self.media.answer_offer(description).to_bytes()
        else:
            self.media.take_answer(description)
        if self._options.on_answer is not None:
            await maybeDeferred(self._options.on_answer, self, response)
        return body

    def _bound(self, body: bytes) -> None:
        if self.is_over:
            return
        self.session.acknowledge(CONTENT if body else (), body)
        self.establish()
        self._tell(DialStep.ESTABLISHED, self.answer)
        self._dialing.callback(self)

    def _not_bound(self, failure: Failure) -> None:
        """The answer cannot be used: it has its ACK, and then a BYE (section 13.2.2.4)."""
        if self.is_over:
            return
        error = failure.value
        text = str(error) if isinstance(error, RemoteError | LocalError) else "The application has refused the answer"
        self.session.acknowledge()
        self.session.hang_up((("Reason", "SIP;cause=488"),) if isinstance(error, ParseError) else ())
        status = error.status if isinstance(error, RemoteError) else 500
        told = DialError(text, status=status, request=self.invite, response=self.answer)
        told.__cause__ = error
        self._fail(told, EndedBy.US)

    # --- the end --------------------------------------------------------------------------------------------

    def finish(self, by: EndedBy, text: str, *, status: int = 0, message: Request | Response | None = None) -> None:
        """See `Call`."""
        if self.is_over:
            return
        was_offered = self.state is CallState.OFFERED
        self._stop_ringing()
        super().finish(by, text, status=status, message=message)
        if was_offered and not self._is_given_up:
            error = self._error or DialError(text, status=487, request=self.invite)
            is_refusal = error.response is not None and not error.response.is_success
            self._tell(DialStep.FAILED, error.response, "" if is_refusal else error.reason)
            self._dialing.errback(error)

    def _fail(self, error: DialError, by: EndedBy) -> None:
        self._error = error
        self.finish(by, error.reason, status=error.status, message=error.response)

    def _rung_out(self) -> None:
        self._ring_timer = None
        self.session.hang_up()
        text = f"Nobody has answered in {self._options.ring_timeout:g} s"
        self._fail(DialTimeoutError(text, request=self.invite), EndedBy.FAILURE)

    def _give_up(self) -> None:
        """The application has cancelled it."""
        self._is_given_up = True
        if self.answer is not None:
            self.session.acknowledge()
        self.session.hang_up()
        self.finish(EndedBy.US, "this side gave up")

    def _stop_ringing(self) -> None:
        timer, self._ring_timer = self._ring_timer, None
        if timer is not None:
            timer.cancel()

    def _tell(self, step: DialStep, response: Response | None = None, text: str = "") -> None:
        hook = self._options.on_progress
        if hook is None:
            return
        flow = self.session.flow
        progress = DialProgress(
            step=step,
            at=self.phone.clock.seconds(),
            call_id=self.call_id,
            uri=str(self.invite.uri),
            status=0 if response is None else response.status,
            reason=text or ("" if response is None else response.reason),
            remote="" if flow is None else f"{flow.host}:{flow.port}",
            correlation=self.correlation,
            scenario=self.scenario,
            script=self.script,
            request=self.invite,
            response=response,
        )
        self.call_hook(maybeDeferred(hook, progress), "on_progress")
