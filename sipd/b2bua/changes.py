"""Changes of a session that cross the bridge: re-INVITE, UPDATE and offers in PRACK (RFC 3261 section 14, RFC 6337).

One at a time, as it is one session. Each leg says of it what its own state allows; what one of them refuses leaves both
as they were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sipd.b2bua.aligning import Aligning
from sipd.b2bua.reasons import reasons_of
from sipd.b2bua.refusals import Refusal
from sipd.errors import InvalidStateError, LocalError, ParseError, RemoteError, RequestRefusedError, SdpError
from sipd.sdp.negotiation import Carrier, Meaning
from sipd.sdp.streams import agree_alike
from sipd.ua.bodies import find_description

if TYPE_CHECKING:
    from sipd.b2bua.agreement import Agreement
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.sdp.description import SessionDescription
    from sipd.sip.headers import Fields
    from sipd.sip.message import Request, Response

#: What the request of a method carries, and what its 2xx.
_CARRIERS = {
    "INVITE": (Carrier.INVITE, Carrier.SUCCESS),
    "UPDATE": (Carrier.UPDATE, Carrier.UPDATE_SUCCESS),
    "PRACK": (Carrier.PRACK, Carrier.PRACK_SUCCESS),
}


class Answerable(Protocol):
    """A request for a change that waits for its answer: `sipd.ua.answering.Answering` and its like."""

    @property
    def request(self) -> Request:
        """What asks."""

    @property
    def is_answered(self) -> bool:
        """Whether it has a final response."""

    def accept(self, headers: Fields = (), body: bytes = b"") -> None:
        """Agree."""

    def reject(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Refuse."""


class Telling(Protocol):
    """Who wants a leg to be told what the other one says, without being asked by that."""

    def told(self, description: SessionDescription, response: Response) -> None:
        """The leg has agreed.

        Args:
            description: what the other one is to be answered; or offered, if it has made no offer.
            response: the 2xx.

        Raises:
            SdpError: that cannot be.
        """

    def not_told(self, refusal: Refusal) -> None:
        """It has not, and is as it was."""


@dataclass(slots=True)
class _Change:
    """What is under way.

    Args:
        leg: whose description it is about.
        carrier: what the other leg got.
        answering: waits for the other leg's answer; ``None`` where `leg` did not ask.
        telling: is told of the outcome then, if anybody is.
        is_late: it carries no offer, so the other leg makes one and `leg` answers it in the ACK.
        tells_back: where `leg` did not ask it is told of the answer, if that is new to it.
    """

    leg: Leg
    carrier: Carrier
    answering: Answerable | None = None
    telling: Telling | None = None
    is_late: bool = False
    tells_back: bool = True

    @property
    def is_withdrawn(self) -> bool:
        """Whether who asked has cancelled it, and so has its answer."""
        return self.answering is not None and self.answering.is_answered


class Changes:
    """The changes that two legs of a call ask each other for.

    Args:
        bridge: the call.
        agreement: of the two.
        owes_answer: whose next ACK carries the answer to an offer made in a 2xx.
    """

    def __init__(self, bridge: Bridge, agreement: Agreement, owes_answer: Leg | None = None) -> None:
        self.agreement = agreement
        self._bridge = bridge
        self._change: _Change | None = None
        self._owes_answer = owes_answer
        self._aligning: Aligning | None = None

    def is_asking(self, leg: Leg) -> bool:
        """Say whether that leg is being asked for something."""
        return self._change is not None and self.agreement.beside(self._change.leg) is leg

    # --- asking ---------------------------------------------------------------------------------------------

    async def ask(self, leg: Leg, answering: Answerable) -> None:
        """Take a request for a change, and pass it on to the other leg, which gets an INVITE if it has no UPDATE."""
        request = answering.request
        carrier, _ = _CARRIERS[request.method]
        try:
            description = find_description(request)
            if description is None and carrier is not Carrier.INVITE:
                answering.accept()
                return
            leg.negotiation.receive(carrier, description)
        except RequestRefusedError as error:
            answering.reject(error.status, error.reason, error.headers)
            return
        except ParseError as error:
            answering.reject(error.status, error.reason)
            return
        if description is not None and leg.negotiation.is_repeated and self._aligning is None:
            self._repeat(leg, answering)
            await self.introduce(leg, request)
            return
        change = _Change(leg, carrier, answering, is_late=description is None)
        try:
            await self._pass(change, description and leg.negotiation.offer, request)
        except InvalidStateError:
            self._answer(change, Refusal(491, "Request Pending"))
        except (ParseError, LocalError) as error:
            self._answer(change, Refusal.of_own(error))
        else:
            self._bridge.explain("change", "asked for", leg.name)

    async def tell(
        self,
        leg: Leg,
        telling: Telling | None = None,
        *,
        description: SessionDescription | None = None,
        is_late: bool = False,
        tells_back: bool = True,
    ) -> None:
        """Offer the other leg what one of them says, as if that had asked.

        Args:
            leg: whose description it is about.
            telling: hears what comes of it.
            description: instead of what it offers or said last.
            is_late: the other leg is to make an offer instead.
            tells_back: ``leg`` is told of the answer, too, if it comes to something new.

        Raises:
            InvalidStateError: the other leg is being changed already: try again later.
        """
        change = _Change(leg, Carrier.INVITE, telling=telling, is_late=is_late, tells_back=tells_back)
        negotiation = leg.negotiation
        try:
            offer = description or negotiation.offer or negotiation.remote
            await self._pass(change, None if is_late else offer, None)
        except InvalidStateError:
            raise
        except (ParseError, LocalError) as error:
            if telling is not None:
                telling.not_told(Refusal.of_error(error, status=488))

    async def introduce(self, leg: Leg, request: Request) -> None:
        """Tell the other leg that somebody else is on that one now, if a request says so that changes nothing else."""
        other = self.agreement.beside(leg)
        if leg.side.is_news(request) and other.side.hears_of(leg.side):
            try:
                await self.tell(leg)
            except InvalidStateError as error:
                self._bridge.explain("identity", f"is not told who is there now: {error}", other.name)

    async def align(self, leg: Leg, *, is_last: bool = False) -> None:
        """Make sure that a leg holds the same to be in force as the other one does; see `Aligning`."""
        self.stop()
        self._aligning = Aligning(self._bridge, self, leg, is_last=is_last)
        await self.again()

    async def again(self) -> None:
        """It is time to go on with that."""
        aligning = self._aligning
        if aligning is not None:
            await aligning.ask()
            self._tidy()

    def abandon(self) -> None:
        """One of the two is not there any more: what waits for its answer gets none."""
        self.stop()
        change, self._change = self._change, None
        if change is not None:
            self._reject(change, Refusal(491, "Request Pending"))

    def stop(self) -> None:
        """Ask nobody any more: the two agree, or the call is over."""
        aligning, self._aligning = self._aligning, None
        if aligning is not None:
            aligning.stop()

    def _tidy(self) -> None:
        if self._aligning is not None and self._aligning.is_over:
            self._aligning = None

    def withdraw(self, leg: Leg, request: Request) -> None:
        """Cancel what that leg has asked for."""
        if self._change is not None and self._change.leg is leg:
            self._bridge.explain("change", "withdrawn", leg.name)
            self.agreement.beside(leg).session.withdraw(reasons_of(request))

    async def _pass(self, change: _Change, description: SessionDescription | None, request: Request | None) -> None:
        """Ask the other leg. What raises leaves everything as it is, an offer that is under way included."""
        other = self.agreement.beside(change.leg)
        has_offer = description is not None
        prefers_update = change.carrier is not Carrier.INVITE or request is None
        if self._change is not None:
            raise InvalidStateError("Another change is under way")
        other.way_to_ask(has_offer=has_offer, prefers_update=prefers_update)
        offered = None if description is None else await self.agreement.offer(change.leg, description)
        try:
            # It takes its time to prepare the media.
            carrier = other.way_to_ask(has_offer=has_offer, prefers_update=prefers_update)
            said = other.negotiation.send(carrier, offered)
        except (ParseError, LocalError):
            self.agreement.reject(change.leg)
            raise
        change.carrier = carrier
        content = other.content(request, said)
        if request is None:
            content.headers.extend(other.side.meet(change.leg.side))
        self._change = change
        if change.carrier is Carrier.UPDATE:
            other.session.update(content.headers, content.body, other.tag)
        else:
            other.session.reinvite(content.headers, content.body)

    def _repeat(self, leg: Leg, answering: Answerable) -> None:
        """Answer a request that changes nothing, such as a refresh of the session, with what was said before."""
        negotiation = leg.negotiation
        said = negotiation.send(_CARRIERS[answering.request.method][1], negotiation.local)
        content = leg.content(None, said)
        answering.accept(content.headers, content.body)

    # --- what comes of it -----------------------------------------------------------------------------------

    async def answered(self, leg: Leg, response: Response) -> None:
        """Take the 2xx of the leg that was asked, and answer who asked."""
        change = self._change
        if change is None or not self.is_asking(leg):
            if response.cseq.method == "INVITE":
                leg.acknowledge()
                return
            # It agrees to what was given up while it was asked.
            leg.settle_update(response)
            await self.align(leg)
            return
        self._change = None
        try:
            await self._take(change, leg, response)
        except (RemoteError, LocalError) as error:
            self._acknowledge(change, leg)
            self._reject(change, Refusal.of_error(error, status=488))
            if change.answering is not None and self.agreement.beside(leg).negotiation.remote is not None:
                self._bridge.explain("change", "taken back", leg.name)
                await self.align(leg)

    async def _take(self, change: _Change, leg: Leg, response: Response) -> None:
        is_invite = change.carrier is Carrier.INVITE
        description = find_description(response)
        leg.negotiation.receive(Carrier.SUCCESS if is_invite else Carrier.UPDATE_SUCCESS, description)
        if change.is_late:
            assert leg.negotiation.offer is not None
            crossed = await self.agreement.offer(leg, leg.negotiation.offer)
        else:
            if change.is_withdrawn:
                raise InvalidStateError("Withdrawn, and agreed to all the same")
            assert description is not None
            crossed = await self.agreement.answer(leg, description)
        if change.answering is None:
            await self._told(change, leg, crossed, response)
            return
        if change.is_withdrawn:
            raise InvalidStateError("Withdrawn, and agreed to all the same")
        said = change.leg.negotiation.send(_CARRIERS[change.answering.request.method][1], crossed)
        content = change.leg.content(response, said)
        if change.is_late:
            self._owes_answer = change.leg
        else:
            self._acknowledge(change, leg)
        self.stop()
        change.answering.accept(content.headers, content.body)
        self._bridge.explain("change", "agreed", leg.name)

    async def _told(self, change: _Change, leg: Leg, crossed: SessionDescription, response: Response) -> None:
        """A leg has agreed to what the other one did not ask for: that has to hear of what is new to it."""
        other = change.leg
        if change.telling is not None:
            change.telling.told(crossed, response)
            self._tidy()
        if change.is_late:
            self._owes_answer = other
            return
        self._acknowledge(change, leg)
        if change.telling is None or not change.tells_back:
            return
        if not agree_alike(crossed, other.negotiation.local, other.negotiation.remote):
            self._bridge.explain("change", "told of the answer", other.name)
            await self.align(other, is_last=isinstance(change.telling, Aligning))

    def _acknowledge(self, change: _Change, leg: Leg) -> None:
        """Send the ACK that is due; an offer that nobody wants any more is answered with what was in force."""
        if change.carrier is not Carrier.INVITE:
            return
        try:
            leg.acknowledge(leg.negotiation.local if change.is_late else None)
        except (SdpError, InvalidStateError):
            leg.acknowledge()

    def refused(self, leg: Leg, refusal: Refusal) -> None:
        """Pass the refusal of the leg that was asked back to who asked; the session is as it was (section 14.1)."""
        change = self._change
        if change is None or not self.is_asking(leg):
            leg.settle_update(None)
            return
        self._change = None
        leg.negotiation.refused(change.carrier)
        self._reject(change, refusal)

    def _reject(self, change: _Change, refusal: Refusal) -> None:
        """Give up what a leg was asked for: nobody has agreed to it, or nobody wants it any more."""
        self.agreement.reject(self.agreement.beside(change.leg) if change.is_late else change.leg)
        self._answer(change, refusal)

    def _answer(self, change: _Change, refusal: Refusal) -> None:
        """Tell who asked that it is not to be."""
        leg, answering = change.leg, change.answering
        self._bridge.explain("change", f"refused: {refusal.status} {refusal.account}", self.agreement.beside(leg).name)
        if answering is not None:
            leg.negotiation.refuse(_CARRIERS[answering.request.method][0])
            refusal, fields = leg.refusal(refusal, method=answering.request.method, in_dialog=True)
            answering.reject(refusal.status, refusal.reason, fields)
        elif change.telling is not None:
            change.telling.not_told(refusal)
            self._tidy()

    async def acknowledged(self, leg: Leg, ack: Request | None) -> None:
        """Take the ACK of a 2xx that a leg was given.

        Raises:
            RemoteError: it lacks the answer that is due, so there is no session; or that cannot be used.
            LocalError: the same.
        """
        owes_answer = self._owes_answer is leg
        description = find_description(ack) if ack is not None and owes_answer else None
        meaning = leg.negotiation.receive(Carrier.ACK, description)
        if not owes_answer:
            return
        self._owes_answer = None
        if description is None or meaning is not Meaning.ANSWER:
            raise SdpError("The ACK carries no answer")
        answer = await self.agreement.answer(leg, description)
        self.agreement.beside(leg).acknowledge(answer, ack)
