"""Two legs that talk: what crosses between them until one of them ends the call (RFC 3261 sections 14 and 15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sipd.b2bua.bodies import find_description
from sipd.b2bua.events import Stopped
from sipd.b2bua.infos import Infos
from sipd.b2bua.reasons import OTHER_SIDE_GONE, SHUTDOWN, Reasons, reasons_of
from sipd.b2bua.refusals import Refusal
from sipd.errors import InvalidStateError, LocalError, ParseError, RemoteError, SdpError
from sipd.ua.events import (
    Acknowledged,
    Answered,
    Cancelled,
    Ended,
    EndedBy,
    Failed,
    Refused,
    Reinvited,
    Requested,
    Updated,
)

if TYPE_CHECKING:
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.sip.message import Request, Response
    from sipd.ua.answering import Answering
    from sipd.ua.updating import Updating


@dataclass(slots=True)
class Change:
    """A re-INVITE or UPDATE on its way across the bridge.

    Args:
        leg: who asked for it.
        answering: waits for the other leg's answer.
        is_late: it carries no offer, so the other leg makes one and `leg` answers it in the ACK.
    """

    leg: Leg
    answering: Answering | Updating
    is_late: bool

    @property
    def is_withdrawn(self) -> bool:
        """Whether who asked has cancelled it, and so has its answer."""
        return self.answering.is_answered


class Dialogue:
    """The answered part of a call."""

    def __init__(self, bridge: Bridge, caller: Leg, callee: Leg) -> None:
        self._bridge = bridge
        self._caller = caller
        self._callee = callee
        self._change: Change | None = None
        #: By the name of the leg that they come from.
        self._infos: dict[str, Infos] = {}
        #: Whose ACK carries the answer to an offer made in a 2xx; at first the caller's, if it offered nothing.
        self._owes_answer: Leg | None = caller if bridge.offer is None else None

    async def run(self) -> None:
        """Take what happens until the call is over; both legs are over then, too."""
        while True:
            leg, event = await self._bridge.inbox.get()
            if leg in (self._caller, self._callee) and await self._take(leg, event):
                return

    async def _take(self, leg: Leg, event: object) -> bool:
        """Take one event; say whether the call is over."""
        other = self._callee if leg is self._caller else self._caller
        match event:
            case Ended(by, text, request):
                self._end(leg, other, by, text, request)
                return True
            case Stopped(text):
                self._bridge.ended("sipd", "stopped", text)
                self._drop(self._caller, SHUTDOWN)
                self._drop(self._callee, SHUTDOWN)
                return True
            case Acknowledged(_, ack):
                return await self._acknowledged(leg, other, ack)
            case Reinvited(answering):
                await self._pass(leg, other, answering)
            case Updated(updating):
                await self._pass(leg, other, updating)
            case Requested(requesting):
                if leg.name not in self._infos:
                    self._infos[leg.name] = Infos(self._bridge, other)
                self._infos[leg.name].take(requesting)
            case Answered(response):
                await self._answered(leg, response)
            case Refused(response):
                self._refuse(leg, Refusal.of_response(response))
            case Failed(error):
                self._refuse(leg, Refusal.of_error(error))
            case Cancelled(request):
                if self._change is not None and self._change.leg is leg:
                    self._bridge.explain("change", "withdrawn", leg.name)
                    other.session.withdraw(reasons_of(request))
        return False

    def _end(self, leg: Leg, other: Leg, by: EndedBy, text: str, request: Request | None) -> None:
        who = "caller" if leg is self._caller else "callee"
        reasons = reasons_of(request)
        if by is EndedBy.PEER:
            self._bridge.ended(who, "bye", f"the {who} hung up" + (f" ({reasons[0][1]})" if reasons else ""))
        else:
            self._bridge.ended("sipd", f"{who}-lost", f"the {who}'s leg failed: {text}")
            reasons = OTHER_SIDE_GONE
        self._drop(leg, ())
        self._drop(other, reasons)

    def _drop(self, leg: Leg, headers: Reasons) -> None:
        if leg.record:
            leg.record["ended_at"] = self._bridge.now()
        self._bridge.drop_leg(leg, headers)

    async def _acknowledged(self, leg: Leg, other: Leg, ack: Request | None) -> bool:
        """Pass an answer on that came in an ACK; without the one that is due there is no session."""
        if self._owes_answer is not leg:
            return False
        self._owes_answer = None
        try:
            description = find_description(ack) if ack is not None else None
            if ack is None or description is None:
                raise SdpError("The ACK carries no answer")
            answer = await self._bridge.media.answer(leg.name, other.name, description)
            content = other.content(ack, answer)
        except (RemoteError, LocalError) as error:
            self._bridge.ended("sipd", "bad-answer", str(error))
            self._drop(leg, ())
            self._drop(other, ())
            return True
        other.session.acknowledge(content.headers, content.body)
        return False

    async def _pass(self, leg: Leg, other: Leg, answering: Answering | Updating) -> None:
        """Pass a re-INVITE or UPDATE on to the other leg, which gets an INVITE if it has no UPDATE."""
        request = answering.request
        try:
            description = find_description(request)
            offered = None
            if description is None and request.method == "UPDATE":
                answering.accept()
                return
            if description is not None:
                offered = await self._bridge.media.offer(leg.name, other.name, description)
            content = other.content(request, offered)
            try:
                if request.method == "UPDATE" and other.session.allows_update:
                    other.session.update(content.headers, content.body)
                else:
                    other.session.reinvite(content.headers, content.body)
            except InvalidStateError:
                self._reject(leg, other, answering, 491, "Request Pending")
                return
        except ParseError as error:
            answering.reject(error.status, error.reason)
            return
        except LocalError as error:
            self._bridge.explain("change", str(error), leg.name)
            answering.reject(500)
            return
        self._change = Change(leg, answering, description is None)
        self._bridge.explain("change", "asked for", leg.name)

    async def _answered(self, leg: Leg, response: Response) -> None:
        """Pass the 2xx to a re-INVITE or UPDATE back to who asked."""
        change, self._change = self._change, None
        if change is None:
            leg.session.acknowledge()
            return
        try:
            description = find_description(response)
            if description is None:
                raise SdpError("A 2xx without a session description")
            if change.is_withdrawn:
                leg.session.acknowledge()
                self._bridge.media.offer_rejected(change.leg.name, leg.name)
                return
            if change.is_late:
                crossed = await self._bridge.media.offer(leg.name, change.leg.name, description)
            else:
                crossed = await self._bridge.media.answer(leg.name, change.leg.name, description)
            content = change.leg.content(response, crossed)
        except (RemoteError, LocalError) as error:
            leg.session.acknowledge()
            self._reject(change.leg, leg, change.answering, 488, str(error))
            return
        if change.is_late and not change.is_withdrawn:
            self._owes_answer = change.leg
        else:
            leg.session.acknowledge()
        change.answering.accept(content.headers, content.body)
        self._bridge.explain("change", "agreed", leg.name)

    def _refuse(self, leg: Leg, refusal: Refusal) -> None:
        """Pass the refusal of a re-INVITE or UPDATE back to who asked; the session is as it was (section 14.1)."""
        change, self._change = self._change, None
        if change is not None:
            self._reject(change.leg, leg, change.answering, refusal.status, refusal.reason)

    def _reject(self, leg: Leg, other: Leg, answering: Answering | Updating, status: int, reason: str) -> None:
        self._bridge.explain("change", f"refused: {status} {reason}", other.name)
        self._bridge.media.offer_rejected(leg.name, other.name)
        answering.reject(status, reason)
