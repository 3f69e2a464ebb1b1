"""Two legs that talk: what crosses between them until one of them ends the call (RFC 3261 sections 14 and 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.changes import Changes
from sipd.b2bua.events import Stopped
from sipd.b2bua.infos import Infos
from sipd.b2bua.reasons import OTHER_SIDE_GONE, SHUTDOWN, Reasons, reasons_of
from sipd.b2bua.refusals import Refusal
from sipd.errors import InvalidStateError, LocalError, RemoteError
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
    from sipd.b2bua.agreement import Agreement
    from sipd.b2bua.asking import CallerAsking
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.sip.message import Request


class Dialogue:
    """The answered part of a call."""

    def __init__(self, bridge: Bridge, agreement: Agreement, *, owes_answer: Leg | None = None) -> None:
        self._bridge = bridge
        self._caller = agreement.one
        self._callee = agreement.other
        self._changes = Changes(bridge, agreement, owes_answer)
        #: By the name of the leg that they come from.
        self._infos: dict[str, Infos] = {}
        #: Whether the caller has yet to be told what the callee said.
        self._is_misled = False

    @classmethod
    def of_answered(cls, bridge: Bridge, asker: CallerAsking) -> Dialogue:
        """Begin with the leg that has answered the caller."""
        assert asker.agreement is not None
        dialogue = cls(bridge, asker.agreement, owes_answer=asker.leg if bridge.offer is None else None)
        dialogue._is_misled = asker.is_misled
        return dialogue

    async def run(self) -> None:
        """Take what happens until the call is over; both legs are over then, too."""
        while True:
            leg, event = await self._bridge.inbox.get()
            if leg in (self._caller, self._callee) and await self._take(leg, event):
                return

    async def _take(self, leg: Leg, event: object) -> bool:
        """Take one event; say whether the call is over."""
        other = self._callee if leg is self._caller else self._caller
        changes = self._changes
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
                await changes.ask(leg, answering)
            case Updated(updating):
                await changes.ask(leg, updating)
            case Requested(requesting):
                if leg.name not in self._infos:
                    self._infos[leg.name] = Infos(self._bridge, other)
                self._infos[leg.name].take(requesting)
            case Answered(response):
                await changes.answered(leg, response)
            case Refused(response):
                changes.refused(leg, Refusal.of_response(response))
            case Failed(error):
                changes.refused(leg, Refusal.of_error(error))
            case Cancelled(request):
                changes.withdraw(leg, request)
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
        """Take an ACK; without an answer that is due in it there is no session. Say whether the call is over."""
        try:
            await self._changes.acknowledged(leg, ack)
        except (RemoteError, LocalError) as error:
            self._bridge.ended("sipd", "bad-answer", str(error))
            self._drop(leg, ())
            self._drop(other, ())
            return True
        if self._is_misled and leg is self._caller:
            self._is_misled = False
            self._bridge.explain("change", "the caller is told who it talks with", leg.name)
            try:
                await self._changes.tell(self._callee)
            except InvalidStateError as error:
                self._bridge.explain("change", str(error), leg.name)
        return False
