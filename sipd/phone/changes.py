"""What is agreed on about the media of a call, changed by either side, one change at a time (RFC 3261 section 14)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.task import deferLater

from sipd.errors import CallFailedError, InvalidStateError, LocalError, ParseError, RemoteError
from sipd.sdp.description import Direction
from sipd.sip.glare import other_delay, owner_delay
from sipd.sip.grammar import quote
from sipd.sip.message import Request, Response
from sipd.ua.bodies import SDP, find_description
from sipd.ua.events import Answered, Failed, Refused
from sipd.ua.outgoing import OutgoingCall

if TYPE_CHECKING:
    from sipd.phone.call import Call
    from sipd.ua.answering import Answering
    from sipd.ua.updating import Updating

#: How often a change is asked for that crosses one of the other side's, or waits for it.
_ATTEMPTS = 6
CONTENT = (("Content-Type", SDP),)


class Changes:
    """The changes of one call.

    Args:
        call: which.

    Attributes:
        direction: of its media as this side wants it.
    """

    def __init__(self, call: Call) -> None:
        self.direction = Direction.SENDRECV
        self._call = call
        self._lock = DeferredLock()
        self._asking: Deferred[Answered | Refused | Failed] | None = None
        #: What an offer would have changed whose outcome nobody waits for any more.
        self._abandoned: Direction | None = None
        #: Until another attempt is due.
        self._waiting: Deferred[None] | None = None
        #: The INVITE of the peer whose ACK has to bring the answer to an offer of ours.
        self._awaiting: Answering | None = None

    # --- asked for by this side -----------------------------------------------------------------------------

    async def ask(self, direction: Direction | None = None, *, by_update: bool = False) -> None:
        """Make an offer, in its turn; again where it crosses one of the peer's (491).

        Raises:
            CallFailedError: the peer refuses it. What held before goes on.
            RemoteError: it has no answer, or one that cannot be used.
            LocalError: the call is not established, or its media cannot make an offer.
        """
        await self._lock.acquire()
        try:
            wanted = self.direction if direction is None else direction
            for attempts_left in reversed(range(_ATTEMPTS)):
                self._check()
                if not self._call.session.is_changing and await self._offer(wanted, by_update, attempts_left):
                    self.direction = wanted
                    self._call.media_changed()
                    return
                await self._wait()
            raise CallFailedError("The other side is changing the call itself", status=491)
        finally:
            self._lock.release()

    async def _offer(self, direction: Direction, by_update: bool, attempts_left: int) -> bool:
        """Make the offer; ``False`` if it is to be made again."""
        call = self._call
        session, media = call.session, call.media
        body = media.make_offer(direction).to_bytes()
        self._asking = Deferred(lambda _: self._abandon(direction))
        try:
            if by_update and session.can_update():
                session.update(CONTENT, body)
            else:
                session.reinvite(CONTENT, body)
            event = await self._asking
        except LocalError:
            media.offer_rejected()
            raise
        finally:
            self._asking = None
        match event:
            case Answered(response):
                if event.method == "INVITE":
                    session.acknowledge()
                self._take(response)
                return True
            case Refused(response):
                media.offer_rejected()
                if response.status == 491 and attempts_left:
                    return False
                raise CallFailedError(f"{response.status} {response.reason}", status=response.status)
            case Failed(error):
                media.offer_rejected()
                raise error

    def told(self, event: Answered | Refused | Failed) -> None:
        """Take the outcome of what was asked for."""
        asking = self._asking
        if asking is not None and not asking.called:
            asking.callback(event)
        elif self._abandoned is not None:
            wanted, self._abandoned = self._abandoned, None
            self._told_too_late(event, wanted)
        elif isinstance(event, Answered) and event.method == "INVITE":
            self._call.session.acknowledge()

    def _told_too_late(self, event: Answered | Refused | Failed, wanted: Direction) -> None:
        """Take an outcome that nobody waits for any more: what the peer has agreed to holds, for it sends so by now."""
        call = self._call
        if not isinstance(event, Answered):
            call.media.offer_rejected()
            return
        if event.method == "INVITE":
            # The 2xx has its ACK in any case (section 13.2.2.4).
            call.session.acknowledge()
        try:
            self._take(event.response)
        except RemoteError as error:
            self._call.phone.log.info("a change of call {call_id}: {error}", call_id=call.call_id, error=error.reason)
        else:
            self.direction = wanted
            call.media_changed()

    def _abandon(self, direction: Direction) -> None:
        """Nobody waits for the outcome any more: the INVITE is cancelled (section 9.1), an UPDATE cannot be."""
        self._abandoned, self._asking = direction, None
        self._call.session.withdraw()

    def _take(self, response: Response) -> None:
        """Take the answer to the offer that was made.

        Raises:
            ParseError: there is none that can be used; then the offer is void.
        """
        media = self._call.media
        try:
            description = find_description(response)
            if description is None:
                raise ParseError("The answer has no session description")
            media.take_answer(description)
        except ParseError:
            media.offer_rejected()
            raise

    # --- asked for by the peer ------------------------------------------------------------------------------

    def asked(self, asking: Answering | Updating) -> None:
        """Take an offer of the peer, or its wish for one."""
        try:
            description = find_description(asking.request)
            if description is not None:
                body = self._call.media.answer_offer(description, self.direction).to_bytes()
            elif asking.request.method != "INVITE":
                asking.accept()
                return
            else:
                body = self._call.media.make_offer(self.direction).to_bytes()
                self._awaiting = asking  # type: ignore[assignment]  # an INVITE is answered by an `Answering`
        except ParseError as error:
            asking.reject(error.status, error.reason)
        except LocalError:
            asking.reject(488)
        else:
            asking.accept(CONTENT, body)
            if description is not None:
                self._call.media_changed()

    def acknowledged(self, answering: Answering, ack: Request | None) -> None:
        """Take the ACK of an answer of ours; it has the answer to an offer of ours if the INVITE made none."""
        if answering is not self._awaiting:
            return
        self._awaiting = None
        media = self._call.media
        try:
            description = None if ack is None else find_description(ack)
            if description is None:
                raise ParseError("The ACK has no session description")
            media.take_answer(description)
        except RemoteError as error:
            media.offer_rejected()
            text = "".join([one if one.isprintable() else " " for one in error.reason])
            self._call.hang_up(f"SIP;cause=488;text={quote(text)}")
        else:
            self._call.media_changed()

    def await_answer(self, answering: Answering) -> None:
        """The ACK of that INVITE will have the answer to the offer that was made."""
        self._awaiting = answering

    # --- the end --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """The call is over: what was asked for has failed."""
        asking = self._asking
        if asking is not None and not asking.called:
            asking.callback(Failed(CallFailedError("The call is over", status=481)))
        if self._waiting is not None:
            self._waiting.cancel()

    # --- inside ---------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self._call.is_established:
            raise InvalidStateError("The call is not established")

    async def _wait(self) -> None:
        session = self._call.session
        delay = owner_delay if isinstance(session, OutgoingCall) else other_delay
        self._waiting = deferLater(self._call.phone.clock, delay(session.agent.entropy))
        try:
            await self._waiting
        except CancelledError:
            if not self._call.is_over:
                raise
            raise CallFailedError("The call is over", status=481) from None
        finally:
            self._waiting = None
