"""A call that comes to a phone: rung, answered, refused or sent elsewhere (RFC 3261 section 13.3)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from sipd.errors import CallFailedError, InvalidStateError, LocalError, ParseError, SdpError
from sipd.interfaces import IMediaEndpoint
from sipd.phone.call import Call
from sipd.phone.changes import CONTENT
from sipd.phone.ended import EndedBy
from sipd.phone.fields import HeaderFields, printable, status_in
from sipd.sdp.description import Direction
from sipd.sip.fields import NameAddr
from sipd.sip.message import Request, Response
from sipd.ua import events
from sipd.ua.bodies import find_description
from sipd.ua.incoming import IncomingCall as IncomingSession

if TYPE_CHECKING:
    from sipd.phone.phone import Phone
    from sipd.ua.session import Session

#: Calls that wait for an iterator to take them.
MAX_WAITING = 32


class IncomingCall(Call):
    """A call that is offered to a phone. The caller hears nothing of it until `ring` or `answer`.

    Attributes:
        username: who the caller has proved to be, where the phone asks for that; else empty.
        codecs: that its media may use, in that order; ``None`` for the phone's. Counts until its media are made: by
            `answer`, `send_early_media` or `media`.
    """

    session: IncomingSession

    def __init__(self, phone: Phone, session: IncomingSession, username: str = "") -> None:
        super().__init__(phone, session, session.invite.from_.without_parameters(), None)
        self.username = username
        self.codecs: Sequence[str] | None = None
        self._answering: Deferred[None] | None = None
        #: The answer that was given before the call was answered.
        self._early = b""

    @property
    def invite(self) -> Request:
        """The INVITE."""
        return self.session.invite

    @property
    def callee(self) -> NameAddr:
        """Whom the caller has asked for."""
        return self.invite.to.without_parameters()

    @property
    def is_answered(self) -> bool:
        """Whether it was given a final response."""
        return self.session.is_answered

    @property
    def media(self) -> IMediaEndpoint:
        """What describes its media, made when it is first wanted.

        Raises:
            InvalidStateError: the call is over.
            LocalError: it cannot be made.
        """
        if self._media is None:
            if self.is_over:
                raise InvalidStateError("The call is over")
            assert self.session.flow is not None
            self._media = self.phone.make_media(self.session.flow.point, self.codecs)
        return self._media

    def ring(self, status: int = 180, reason: str | None = None, headers: HeaderFields = ()) -> None:
        """Let the caller hear that it rings. Any number of times; absorbed after an answer.

        Args:
            status: 101 to 199.
            reason: the phrase; ``None`` for the usual one.
            headers: more header fields.

        Raises:
            ValueError: another status.
            ParseError: what is to be said cannot be printed.
        """
        self.session.ring(status_in(status, 101, 199), reason, printable(headers, reason))

    def send_early_media(self, status: int = 183, reason: str | None = None, headers: HeaderFields = ()) -> None:
        """Give the caller an answer to its offer before it is answered: it hears what is played from now on.

        Any number of times, with the same answer (section 13.2.1); absorbed after the call is answered.

        Raises:
            SdpError: the offer cannot be used, or there is none.
            ValueError, ParseError: as for `ring`.
            LocalError: there are no media, or the call is over.
        """
        fields = [*printable(headers, reason), *CONTENT]
        status_in(status, 101, 199)
        if self.is_answered and not self.is_over:
            return
        description = find_description(self.invite)
        if description is None:
            raise SdpError("There is no offer to answer")
        media = self.media
        if not self._early:
            self._early = media.answer_offer(description).to_bytes()
        self.session.ring(status, reason, fields, self._early)

    def answer(
        self,
        status: int = 200,
        reason: str | None = None,
        headers: HeaderFields = (),
        direction: Direction = Direction.SENDRECV,
    ) -> Deferred[None]:
        """Take the call.

        Args:
            status: 200 to 299.
            reason: the phrase; ``None`` for the usual one.
            headers: more header fields of the answer.
            direction: of its media.

        Returns:
            A Deferred that fires when the caller has acknowledged it. Fails with `CallFailedError` if the caller gives
            up before, or is never heard of again; with `SdpError` (the caller got 488) or `LocalError` (500) if there
            is nothing that both can. Cancelling it hangs up.

        Raises:
            ValueError: another status.
            ParseError: what is to be said cannot be printed.
        """
        fields = [*printable(headers, reason), *CONTENT]
        status_in(status, 200, 299)
        if self._answering is not None or self.is_answered:
            return fail(InvalidStateError("The call is answered already"))
        answering: Deferred[None] = Deferred(lambda _: self._give_up())
        self._answering = answering
        preparing: Deferred[None] = maybeDeferred(lambda: self.media.prepare())
        preparing.addCallback(lambda _: self._accept(status, reason, fields, direction))
        preparing.addErrback(self._cannot_answer)
        return answering

    def _accept(self, status: int, reason: str | None, fields: Sequence[tuple[str, str]], direction: Direction) -> None:
        """Answer, now that the media can be described."""
        if self.is_over or self._answering is None:
            return
        body = self._describe(direction)
        self.session.accept(fields, body, status=status, reason=reason)

    def _cannot_answer(self, failure: Failure) -> None:
        failure.trap(ParseError, LocalError)
        answering, self._answering = self._answering, None
        if isinstance(failure.value, ParseError):
            self._refuse(failure.value.status, failure.value.reason)
        else:
            self._refuse(500, "No Media")
        if answering is not None and not answering.called:
            answering.errback(failure)

    def reject(self, status: int = 486, reason: str | None = None, headers: HeaderFields = ()) -> None:
        """Refuse the call. Absorbed after an answer.

        Args:
            status: 300 to 699.
            reason: the phrase; ``None`` for the usual one.
            headers: more header fields, such as Retry-After.

        Raises:
            ValueError: another status.
            ParseError: what is to be said cannot be printed.
        """
        fields = printable(headers, reason)
        status_in(status, 300, 699)
        if not self.is_answered:
            self.session.reject(status, reason, fields)
            self.finish(EndedBy.US, f"refused with {status}", status=status)

    def redirect(self, *contacts: str, status: int = 302) -> None:
        """Send the caller elsewhere (section 8.3). Absorbed after an answer.

        Args:
            contacts: addresses, which may be incomplete as for `Phone.dial`; the best one first.
            status: 300 to 399.

        Raises:
            ParseError: one is none.
            ValueError: another status.
        """
        fields = [("Contact", str(self.phone.address(contact))) for contact in contacts]
        self.reject(status_in(status, 300, 399), None, fields)

    def session_event(self, session: Session, event: events.SessionEvent) -> None:
        """See `ISessionUser`."""
        match event:
            case events.Cancelled(request):
                self.finish(EndedBy.CANCELLED, "the caller gave up", status=487, message=request)
            case events.Acknowledged(answering) if answering is session.answering and not self.is_established:
                super().session_event(session, event)
                if not self.is_over:
                    self.establish()
                    self._fire(None)
            case _:
                super().session_event(session, event)

    def finish(self, by: EndedBy, text: str, *, status: int = 0, message: Request | Response | None = None) -> None:
        """See `Call`."""
        if not self.is_over:
            super().finish(by, text, status=status, message=message)
            self._fire(CallFailedError(text, status=status or 487))

    def _describe(self, direction: Direction) -> bytes:
        """Give the body of the answer."""
        description = find_description(self.invite)
        self._changes.direction = direction
        if description is None:
            assert self.session.answering is not None
            self._changes.await_answer(self.session.answering)
            return self.media.make_offer(direction).to_bytes()
        if self._early:
            # What was said before the answer is what holds (RFC 3261 section 13.2.1).
            return self._early
        return self.media.answer_offer(description, direction).to_bytes()

    def _give_up(self) -> None:
        """The application does not wait for the caller any more; its Deferred fails as one that was cancelled."""
        self._answering = None
        self.hang_up()

    def _refuse(self, status: int, reason: str) -> None:
        self.session.reject(status, reason)
        self.finish(EndedBy.US, f"{status} {reason}", status=status)

    def _fire(self, error: CallFailedError | None) -> None:
        answering = self._answering
        if answering is None or answering.called:
            return
        if error is None:
            answering.callback(None)
        else:
            answering.errback(error)


class IncomingCalls(AsyncIterator[IncomingCall]):
    """The calls that come to a phone while this is waited on: ``async for call in phone.incoming():``.

    Calls that come faster than they are taken wait, ``limit`` at most; further ones are refused with 486. One whose
    caller gives up while it waits is left out. It ends when the phone stops, or by `close`.

    Args:
        closed: called with it when it takes no more.
        limit: how many wait.
    """

    def __init__(self, closed: Callable[[IncomingCalls], object], limit: int) -> None:
        self._closed = closed
        self._limit = limit
        self._waiting: deque[IncomingCall] = deque()
        self._asking: deque[Deferred[IncomingCall | None]] = deque()
        self._is_closed = False

    def __aiter__(self) -> IncomingCalls:
        return self

    async def __anext__(self) -> IncomingCall:
        call = await self.next()
        if call is None:
            raise StopAsyncIteration
        return call

    def next(self) -> Deferred[IncomingCall | None]:
        """Give the next call, or ``None`` when there will be no more. Cancelling it leaves the call to the next one."""
        asking: Deferred[IncomingCall | None] = Deferred(self._forget)
        while self._waiting and self._waiting[0].is_over:
            self._waiting.popleft()
        if self._waiting:
            asking.callback(self._waiting.popleft())
        elif self._is_closed:
            asking.callback(None)
        else:
            self._asking.append(asking)
        return asking

    def offer(self, call: IncomingCall) -> None:
        """Take a call that has come."""
        if self._asking:
            self._asking.popleft().callback(call)
            return
        self._waiting = deque([one for one in self._waiting if not one.is_over])
        if len(self._waiting) < self._limit:
            self._waiting.append(call)
        else:
            call.reject(486)

    def close(self) -> None:
        """Take no more; what waits is refused with 480. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._closed(self)
        while self._waiting:
            self._waiting.popleft().reject(480)
        while self._asking:
            self._asking.popleft().callback(None)

    def _forget(self, asking: Deferred[IncomingCall | None]) -> None:
        self._asking.remove(asking)
