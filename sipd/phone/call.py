"""One call of a phone, made or taken: its media, its changes, its end.

A call is a session of the user agent (`sipd.ua.session`) and a media endpoint, joined: what the peer asks of the media
is answered by the endpoint, and everything else is the application's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import InvalidStateError, LocalError, RemoteError
from sipd.interfaces import IMediaEndpoint
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.phone.changes import Changes
from sipd.phone.ended import CallEnd, EndedBy, reasons_of
from sipd.phone.fields import RESERVED, HeaderFields, final_status, pairs, printable
from sipd.phone.transfers import ReferHook, Transfers
from sipd.sdp.description import Direction
from sipd.sip.digit_info import RELAY, read_digit, write_digit
from sipd.sip.fields import NameAddr
from sipd.sip.message import Request, Response
from sipd.ua import events
from sipd.ua.interfaces import ISessionUser
from sipd.ua.requesting import Requesting
from sipd.ua.session import Session

if TYPE_CHECKING:
    from sipd.media.endpoint.interfaces import ISink, ISource
    from sipd.media.endpoint.recording import Recording
    from sipd.media.endpoint.statistics import EndpointStatistics
    from sipd.phone.phone import Phone

#: Seconds of a digit that is said by INFO.
_DIGIT = 0.16


class CallState(Enum):
    """How far a call is."""

    OFFERED = "offered"
    ESTABLISHED = "established"
    OVER = "over"

    __hash__ = object.__hash__


#: What answers an INFO or a MESSAGE inside of a call: gives the status, or an awaitable of it; ``None`` for 200.
RequestHook = Callable[["Call", Request], "int | Awaitable[int | None] | None"]


@implementer(ISessionUser)
class Call:
    """One call. Made by `Phone.dial`, or comes as an `IncomingCall`.

    As a context manager (``async with call:``) it hangs up in the end.

    Attributes:
        phone: whose it is.
        session: the user agent's session.
        remote: who is at the other end, as From or To say; another identity may come later (RFC 4916).
        correlation: what the application knows the call by; it is its to set.
        scenario: what it was made for, in the application's words.
        script: what it is carried out by, in the application's words.
        on_refer: decides about a transfer that the peer asks for; without it the peer is refused with 603.
        on_media: called with the call each time something else is agreed on about its media.
    """

    def __init__(self, phone: Phone, session: Session, remote: NameAddr, media: IMediaEndpoint | None) -> None:
        self.phone = phone
        self.session = session
        self.remote = remote
        self.correlation = ""
        self.scenario = ""
        self.script = ""
        self.state = CallState.OFFERED
        self._on_request: RequestHook | None = None
        self.on_refer: ReferHook | None = phone.on_refer
        self.on_media: Callable[[Call], object] | None = None
        self.end: CallEnd | None = None
        self._media = media
        self._established_at = 0.0
        self._endings: list[Deferred[CallEnd]] = []
        self._changes = Changes(self)
        self._transfers = Transfers(self)
        session.user = self

    # --- what it is -----------------------------------------------------------------------------------------

    @property
    def call_id(self) -> str:
        """Its Call-ID."""
        return self.session.call_id

    @property
    def on_request(self) -> RequestHook | None:
        """What answers INFO, MESSAGE, OPTIONS, and NOTIFY that come in the call; digits are taken by the media.

        Without it INFO and MESSAGE get 200, OPTIONS the usual answer, and NOTIFY 481.
        """
        return self._on_request

    @on_request.setter
    def on_request(self, hook: RequestHook | None) -> None:
        self._on_request = hook
        self.session.passes_requests = hook is not None

    @property
    def is_established(self) -> bool:
        """Whether it is answered and acknowledged, and not over."""
        return self.state is CallState.ESTABLISHED

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state is CallState.OVER

    @property
    def is_held(self) -> bool:
        """Whether this side has put the peer on hold."""
        return self._changes.direction in (Direction.SENDONLY, Direction.INACTIVE)

    @property
    def duration(self) -> float:
        """Seconds that it is established, or was."""
        if self.end is not None:
            return self.end.duration
        return self.phone.clock.seconds() - self._established_at if self.is_established else 0.0

    @property
    def ended(self) -> Deferred[CallEnd]:
        """A Deferred of how the call ended, which may be now. A new one each time; it never fails.

        Cancelling it changes nothing else.
        """
        waiting: Deferred[CallEnd] = Deferred(self._endings.remove)
        if self.end is not None:
            waiting.callback(self.end)
        else:
            self._endings.append(waiting)
        return waiting

    @property
    def media(self) -> IMediaEndpoint:
        """What describes its media.

        Raises:
            InvalidStateError: there is none any more, or not yet.
        """
        if self._media is None:
            raise InvalidStateError("The call has no media")
        return self._media

    @property
    def audio(self) -> AudioEndpoint:
        """What plays, listens and takes digits.

        Raises:
            InvalidStateError: the media of this call are the application's own, or are gone.
        """
        media: object = self._media
        if not isinstance(media, AudioEndpoint):
            raise InvalidStateError("The media of this call are not in this phone's hands")
        return media

    # --- how it ends ----------------------------------------------------------------------------------------

    def hang_up(self, reason: str = "", headers: HeaderFields = ()) -> Deferred[None]:
        """End it in the way that its state asks for: CANCEL, a refusal, or BYE. Idempotent.

        Args:
            reason: a value for Reason (RFC 3326): ``Q.850;cause=16``.
            headers: more header fields of what is said.

        Returns:
            A Deferred that fires when the other side has answered that, or is given up. It never fails.

        Raises:
            ParseError: a header field cannot be printed; then nothing has happened.
        """
        fields = printable([*pairs(headers), *([("Reason", reason)] if reason else [])])
        forgotten = self.session.agent.when_forgotten(self.session)
        self.session.hang_up(fields)
        self.finish(EndedBy.US, "this side hung up")
        return forgotten

    def drop(self) -> None:
        """Forget it without a word to the other side. Idempotent."""
        self.session.drop()
        self.finish(EndedBy.US, "this side dropped it")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.hang_up()

    # --- what can be changed --------------------------------------------------------------------------------

    def hold(self) -> Deferred[None]:
        """Put the other side on hold: it is asked to send nothing (RFC 3264 section 8.4).

        Fails with `RemoteError` if it does not agree, `InvalidStateError` if the call is over.
        """
        return Deferred.fromCoroutine(self._changes.ask(Direction.SENDONLY))

    def resume(self) -> Deferred[None]:
        """End that. As for `hold`."""
        return Deferred.fromCoroutine(self._changes.ask(Direction.SENDRECV))

    def renegotiate(self, direction: Direction | None = None, *, by_update: bool = False) -> Deferred[None]:
        """Make an offer of what there is now (RFC 3261 section 14.1, RFC 3311). As for `hold`.

        Args:
            direction: that is wanted; ``None`` for as it was.
            by_update: whether UPDATE is used, where the other side understands it.
        """
        return Deferred.fromCoroutine(self._changes.ask(direction, by_update=by_update))

    def transfer(
        self, to: str | Call, *, headers: HeaderFields = (), on_progress: Callable[[int, str], object] | None = None
    ) -> Deferred[None]:
        """Let the other side talk with somebody else: blind, or attended where ``to`` is another call (RFC 5589).

        When the other side says that it has reached whom it was sent to, this call, and ``to``, are hung up.

        Args:
            to: an address, which may be incomplete as for `Phone.dial`; or a call of this phone that is established.
            headers: more header fields of the REFER.
            on_progress: called with status and phrase of what the other side tells of its attempt.

        Returns:
            A Deferred that fires when it has succeeded, as far as the other side tells: one that agrees and then says
            nothing is taken at its word after `AgentSettings.refer_duration`. Fails with `TransferError`; then the
            call goes on.
        """
        return Deferred.fromCoroutine(self._transfers.transfer(to, headers, on_progress))

    # --- what can be said -----------------------------------------------------------------------------------

    def request(self, method: str, headers: HeaderFields = (), body: bytes = b"") -> Deferred[Response]:
        """Send a request inside the call; a Deferred of the final response, whatever it says.

        Args:
            method: any but ACK, BYE, CANCEL, INVITE and PRACK.
            headers: more header fields, Content-Type among them.
            body: octets.

        Fails with `RemoteError` if there is none, with `InvalidStateError`, or with `LocalError` for these methods.
        """
        if method in RESERVED:
            return fail(LocalError(f"{method} is not sent as a request of its own"))
        return maybeDeferred(self.session.request, method, pairs(headers), body)

    def info(self, content_type: str, body: bytes, headers: HeaderFields = ()) -> Deferred[Response]:
        """Send INFO (RFC 6086). As for `request`."""
        return self.request("INFO", [("Content-Type", content_type), *pairs(headers)], body)

    def message(self, text: str, content_type: str = "text/plain") -> Deferred[Response]:
        """Send MESSAGE (RFC 3428). As for `request`."""
        kind = content_type if "charset" in content_type else f"{content_type};charset=utf-8"
        return self.request("MESSAGE", [("Content-Type", kind)], text.encode())

    def notify(self, event: str, content_type: str, body: bytes, state: str = "active") -> Deferred[Response]:
        """Send NOTIFY inside the call's dialog (RFC 6665). As for `request`."""
        fields = [("Event", event), ("Subscription-State", state), ("Content-Type", content_type)]
        return self.request("NOTIFY", fields, body)

    def send_digits(self, digits: str, *, duration: float = 0.1, pause: float = 0.1) -> Deferred[None]:
        """Say digits as telephone events (RFC 4733), or as tones where those are not agreed on.

        See `AudioEndpoint.send_digits`.
        """
        return self.audio.send_digits(digits, duration=duration, pause=pause)

    def send_digits_by_info(self, digits: str, *, duration: float = _DIGIT) -> Deferred[None]:
        """Say digits by INFO, each when the one before is answered.

        Fails with `RemoteError` where one is refused.
        """
        return Deferred.fromCoroutine(self._tell_digits(digits, duration))

    async def _tell_digits(self, digits: str, duration: float) -> None:
        for digit in digits:
            response = await self.info(RELAY, write_digit(digit, duration))
            if not response.is_success:
                raise RemoteError(response.reason, status=response.status)

    # --- what is heard --------------------------------------------------------------------------------------

    def play(self, what: str | Path | ISource, *, times: int | None = 1, gain: float = 0.0) -> Deferred[None]:
        """Play a WAVE file, a tone (``tone:de:ringback``) or a source. See `AudioEndpoint.play`."""
        return self.audio.play(what, times=times, gain=gain)

    def stop_playing(self) -> None:
        """End what is played."""
        self.audio.stop_playing()

    def record(self, path: str | Path, *, both: bool = False) -> Recording:
        """Record what is heard, and what is said too if ``both``. See `AudioEndpoint.record`."""
        return self.audio.record(path, both=both)

    def echo(self) -> None:
        """Send back what is heard, until `stop_playing`."""
        self.audio.echo()

    def connect(self, source: ISource | None, sink: ISink | None) -> None:
        """Take what is said from a source, and give what is heard to a sink. See `AudioEndpoint.connect`."""
        self.audio.connect(source, sink)

    def collect(self, count: int, *, timeout: float = 10.0, until: str = "#", between: float = 3.0) -> Deferred[str]:
        """Give digits that the other side says. See `AudioEndpoint.collect`."""
        return self.audio.collect(count, timeout=timeout, until=until, between=between)

    def mute(self) -> None:
        """Say nothing until `unmute`; what is played goes on unheard."""
        self.audio.is_muted = True

    def unmute(self) -> None:
        """End that."""
        self.audio.is_muted = False

    @property
    def statistics(self) -> EndpointStatistics:
        """How its media fare, or fared."""
        return self.audio.statistics

    # --- for the session ------------------------------------------------------------------------------------

    def session_event(self, session: Session, event: events.SessionEvent) -> None:
        """See `ISessionUser`."""
        match event:
            case events.Ended():
                by = EndedBy.THEM if event.by is events.EndedBy.PEER else EndedBy.FAILURE
                self.finish(by, event.text, message=event.request)
            case events.Reinvited(asking):
                self._changes.asked(asking)
            case events.Updated(asking):
                self._changes.asked(asking)
            case events.Acknowledged(answering, ack):
                self._changes.acknowledged(answering, ack)
            case events.Answered() | events.Refused() | events.Failed():
                self._changes.told(event)
            case events.Requested(requesting):
                self._requested(requesting)
            case events.Referred(referring):
                self._transfers.asked(referring)
            case events.Introduced(request):
                self._introduced(request)
            case _:
                pass

    # --- for the parts of a call ----------------------------------------------------------------------------

    def establish(self) -> None:
        """Take note that it is established."""
        if self.state is CallState.OFFERED:
            self.state = CallState.ESTABLISHED
            self._established_at = self.phone.clock.seconds()

    def finish(self, by: EndedBy, text: str, *, status: int = 0, message: Request | Response | None = None) -> None:
        """Take note that it is over; whoever waits is told. Idempotent."""
        if self.state is CallState.OVER:
            return
        duration = self.duration
        self.state = CallState.OVER
        self.end = CallEnd(
            by=by, text=text, status=status, reasons=reasons_of(message), duration=duration, message=message
        )
        self.phone.log.info(
            "call {call_id} with {remote} ended: {text}", call_id=self.call_id, remote=str(self.remote.uri), text=text
        )
        self._changes.close()
        media = self._media
        if media is not None:
            self.phone.wait_for(media.close())
        self.phone.forget(self)
        while self._endings:
            self._endings.pop(0).callback(self.end)

    def media_changed(self) -> None:
        """Tell the application that something else is agreed on."""
        if self.on_media is not None:
            self.call_hook(maybeDeferred(self.on_media, self), "on_media")

    def call_hook(self, result: Deferred[Any], name: str) -> None:
        """Let a hook of the application run; what it fails with is logged, for nobody waits for it."""

        def failed(failure: Failure) -> None:
            if not failure.check(CancelledError):
                self.phone.log.failure("{hook} of call {call_id} has failed", failure, hook=name, call_id=self.call_id)

        result.addErrback(failed)

    # --- inside ---------------------------------------------------------------------------------------------

    def _requested(self, requesting: Requesting) -> None:
        digit = read_digit(requesting.request)
        media: object = self._media
        if digit is not None and isinstance(media, AudioEndpoint):
            requesting.answer(200)
            media.digit_received(digit[0])
        elif self._on_request is None:
            requesting.answer(200)
        else:
            answering: Deferred[Any] = maybeDeferred(self._on_request, self, requesting.request)
            answering.addCallback(lambda status: requesting.answer(final_status(200 if status is None else status)))
            answering.addErrback(self._not_answered, requesting)
            self.call_hook(answering, "on_request")

    def _not_answered(self, failure: Failure, requesting: Requesting) -> Failure:
        requesting.answer(500)
        return failure

    def _introduced(self, request: Request) -> None:
        with suppress(RemoteError):
            self.remote = request.from_.without_parameters()
