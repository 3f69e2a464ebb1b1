"""Two legs that talk: what crosses between them until one of them ends the call (RFC 3261 sections 14 and 15).

Who talks with whom may change: a transfer brings a leg in, in the place of one of the two, or takes one away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.changes import Answerable, Changes
from sipd.b2bua.digits import Digits
from sipd.b2bua.events import Again, Joins, Leaves, Lost, Returned, Stopped, TransferFailed
from sipd.b2bua.infos import Infos
from sipd.b2bua.joining import Joiner, Joining
from sipd.b2bua.reasons import (
    CALLER_GAVE_UP,
    MEDIA_LOST,
    OTHER_SIDE_GONE,
    SHUTDOWN,
    TIME_IS_UP,
    Reasons,
    reason_values,
    reasons_of,
)
from sipd.b2bua.refusals import Refusal
from sipd.b2bua.talktime import CUT_OFF
from sipd.b2bua.transfer import Transfer, TransferPolicy
from sipd.errors import LocalError, RemoteError
from sipd.ua.events import (
    Acknowledged,
    Answered,
    Cancelled,
    Ended,
    EndedBy,
    Failed,
    Introduced,
    Referred,
    Refused,
    Reinvited,
    Requested,
    Updated,
)
from sipd.ua.incoming import IncomingCall

if TYPE_CHECKING:
    from sipd.b2bua.agreement import Agreement
    from sipd.b2bua.asking import CallerAsking
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.sip.message import Request
    from sipd.ua.referring import Referring
    from sipd.ua.requesting import Requesting


#: By the cause of a stop, what the legs are told of it.
_STOPPED = {"stopped": SHUTDOWN, CUT_OFF: TIME_IS_UP}


class Loan:
    """A leg that another call has for a transfer. It comes back, or stays there.

    Args:
        dialogue: where it is from.
        leg: the leg.
    """

    def __init__(self, dialogue: Dialogue, leg: Leg) -> None:
        self.leg = leg
        self._dialogue = dialogue

    def give_back(self, *, was_changed: bool) -> None:
        """Let the leg go on where it is from.

        Args:
            was_changed: it has agreed to something else meanwhile.
        """
        self._dialogue.take_back(self.leg, Returned(was_changed))

    def keep(self, bridge: Bridge) -> None:
        """It does not come back: that call has it, and answers for it."""
        bridge.inherit(self._dialogue._bridge)
        self._dialogue.take_back(self.leg, Lost("transferred"))


class Dialogue:
    """The answered part of a call."""

    def __init__(
        self, bridge: Bridge, agreement: Agreement, *, owes_answer: Leg | None = None, misled: Leg | None = None
    ) -> None:
        self._bridge = bridge
        self._caller = agreement.one
        self._callee = agreement.other
        self._changes = Changes(bridge, agreement, owes_answer)
        self._is_over = False
        #: By the name of the leg that they come from.
        self._infos: dict[str, Infos] = {}
        self._digits = Digits(bridge, self._infos_of)
        #: Who has yet to be told what the other one says.
        self._misled = misled
        self._transfer: Transfer | None = None
        self._joining: Joining | None = None
        self._loan: Loan | None = None
        for leg in (self._caller, self._callee):
            leg.session.passes_requests = True

    @classmethod
    def of_answered(cls, bridge: Bridge, asker: CallerAsking) -> Dialogue:
        """Begin with the leg that has answered the caller."""
        assert asker.agreement is not None
        dialogue = cls(bridge, asker.agreement, owes_answer=asker.owes_answer, misled=asker.misled)
        if asker.changes is not None:
            dialogue._changes = asker.changes
        return dialogue

    async def run(self) -> None:
        """Take what happens until the call is over; all legs are over then, too."""
        self._bridge.media.established()
        self._digits.arrange(self._caller, self._callee)
        await self._tell_misled()
        while not self._is_over:
            # The event, with its message, is not held here while the next one is waited for.
            await self._take(*await self._bridge.inbox.get())
            joining = self._joining
            if joining is not None and joining.is_over:
                self._joining = None
                await self._joined(joining)
        if self._transfer is not None:
            # What it has asked of a leg of another call has an outcome first.
            await self._transfer.done

    def other(self, leg: Leg) -> Leg:
        """Give whom a leg talks with."""
        return self._callee if leg is self._caller else self._caller

    def may_join(self, leaves: Leg) -> bool:
        """Say whether another leg may take the place of that one now."""
        return (
            not self._is_over
            and leaves in (self._caller, self._callee)
            and self._transfer is None
            and self._joining is None
            and self._loan is None
            and self.other(leaves).session.is_established
        )

    def lend(self, leaves: Leg) -> Loan | None:
        """Give the one that a leg talks with away; ``None`` while it is needed here."""
        other = self.other(leaves)
        if not self.may_join(leaves) or other.session.is_changing:
            return None
        self._loan = Loan(self, other)
        return self._loan

    def take_back(self, leg: Leg, event: Returned | Lost) -> None:
        """Take note what came of the leg that was lent."""
        if self._is_over:
            if isinstance(event, Returned):
                leg.session.hang_up(OTHER_SIDE_GONE)
            return
        self._bridge.inbox.put((leg, event))
        if isinstance(event, Returned):
            leg.session.user = self._bridge
            if leg.session.is_over:
                self._bridge.inbox.put((leg, Ended(EndedBy.FAILURE, "it ended while it was to be transferred")))

    async def _take(self, leg: Leg, event: object) -> None:
        """Take one event; most of those of a leg that is over by now mean nothing."""
        if not leg.is_live and not isinstance(event, TransferFailed | Stopped):
            return
        match event:
            case Ended(EndedBy.FAILURE) if isinstance(leg.session, IncomingCall) and not leg.session.is_accepted:
                self._bridge.given_up(event)
                self._end(OTHER_SIDE_GONE)
            case Ended(by, text, request):
                self._ended(leg, by, text, request)
            case Stopped(text, cause):
                self._bridge.ended("sipd", cause, text)
                self._end(_STOPPED.get(cause, MEDIA_LOST))
            case Acknowledged(_, ack):
                await self._acknowledged(leg, ack)
            case Reinvited(answering):
                await self._ask(leg, answering)
            case Updated(updating):
                await self._ask(leg, updating)
            case Introduced(request) if self._loan is None and leg in (self._caller, self._callee):
                await self._changes.introduce(leg, request)
            case Requested(requesting):
                self._carry(leg, requesting)
            case Referred(referring):
                self._refer(leg, referring)
            case Answered(response):
                await self._changes_of(leg).answered(leg, response)
                await self._tell_misled()
            case Refused(response):
                self._changes_of(leg).refused(leg, Refusal.of_response(response))
                await self._tell_misled()
            case Failed(error):
                self._changes_of(leg).refused(leg, Refusal.of_error(error))
                await self._tell_misled()
            case Cancelled(request) if leg is self._caller and leg.session.is_over:
                # The answer waited for a PRACK: the caller has never had it.
                self._bridge.given_up(event)
                self._end(reasons_of(request) or CALLER_GAVE_UP)
            case Cancelled(request):
                self._changes.withdraw(leg, request)
                if self._joining is not None and leg is self._joining.new:
                    self._joining.give_up(Refusal(487, "Request Terminated"))
            case Joins(leaves, agreement, joiner):
                await self._join(leaves, agreement, joiner)
            case Again() if self._joining is not None and leg is self._joining.new:
                await self._joining.ask()
            case Again():
                await self._changes.again()
            case TransferFailed():
                self._transfer = None
                self._go_on_without(leg, "transfer-failed", "the transfer failed, and who asked for it is gone")
            case Returned(was_changed):
                await self._returned(leg, was_changed)
            case Leaves():
                self._drop(leg, ())
            case Lost(text):
                self._bridge.ended("sipd", text, text)
                self._bridge.release_leg(leg)
                self._end(())

    # --- the session ----------------------------------------------------------------------------------------

    def _changes_of(self, leg: Leg) -> Changes:
        """Give what a leg has been asked by."""
        joining = self._joining
        return joining.changes if joining is not None and joining.changes.is_asking(leg) else self._changes

    async def _ask(self, leg: Leg, answering: Answerable) -> None:
        if self._loan is not None or leg not in (self._caller, self._callee):
            answering.reject(491)
        else:
            await self._changes.ask(leg, answering)

    async def _acknowledged(self, leg: Leg, ack: Request | None) -> None:
        """Take an ACK; without an answer that is due in it there is no session."""
        joining = self._joining
        changes = joining.changes if joining is not None and leg is joining.new else self._changes
        try:
            await changes.acknowledged(leg, ack)
        except (RemoteError, LocalError) as error:
            self._bridge.ended("sipd", "bad-answer", str(error))
            self._end(())
            return
        await self._tell_misled()

    async def _tell_misled(self) -> None:
        misled = self._misled
        if misled is not None and not any(leg.session.is_changing for leg in (self._caller, self._callee)):
            self._misled = None
            self._bridge.explain("change", "is told whom it talks with", misled.name)
            await self._changes.align(misled)

    def _carry(self, leg: Leg, requesting: Requesting) -> None:
        if leg not in (self._caller, self._callee):
            requesting.answer(480)
            return
        if not self._digits.take(leg, requesting):
            self._infos_of(leg).take(requesting)

    def _infos_of(self, leg: Leg) -> Infos:
        if leg.name not in self._infos:
            self._infos[leg.name] = Infos(self._bridge, leg, self.other(leg))
        return self._infos[leg.name]

    # --- other parties --------------------------------------------------------------------------------------

    def _refer(self, leg: Leg, referring: Referring) -> None:
        """Take a REFER."""
        policy = leg.transfer_policy(self._bridge.settings.transfer.policy)
        if policy is TransferPolicy.PASS:
            self._carry(leg, referring)
        elif policy is TransferPolicy.REFUSE:
            referring.answer(603, "Transfers Are Not Allowed")
        elif not self.may_join(leg):
            error = leg.session.too_early("Another transfer is under way")
            referring.answer(error.status, error.reason, error.headers)
        else:
            self._transfer = Transfer(self._bridge, leg, self.other(leg), referring)
            self._transfer.start()

    async def _join(self, leaves: Leg, agreement: Agreement, joiner: Joiner) -> None:
        """Begin to bring a leg in."""
        if joiner is self._transfer:
            self._transfer = None
        self._joining = Joining(self._bridge, self.other(leaves), leaves, agreement, joiner)
        await self._joining.ask()

    async def _joined(self, joining: Joining) -> None:
        """A leg has come in, or never will."""
        new, leaves = joining.new, joining.leaves
        if joining.is_agreed:
            if leaves is self._caller:
                self._caller = new
            else:
                self._callee = new
            self._changes.stop()
            self._changes = joining.changes
            self._infos.clear()
            self._digits.arrange(self._caller, self._callee)
            self._bridge.explain("joined", f"in the place of {leaves.name}", new.name, new.user)
            if leaves.is_live:
                self._bridge.explain("left", f"{new.name} is in its place", leaves.name, leaves.user)
            new.session.passes_requests = True
            new.record.answered_at = self._bridge.now()
            told = joining.joiner.over(None)
            told.addCallback(lambda _: self._bridge.inbox.put((leaves, Leaves())))
            return
        joining.joiner.over(joining.refusal)
        if not joining.joiner.returns(new):
            self._drop(new, ())
        self._go_on_without(leaves, "transfer-failed", "the transfer failed, and who asked for it is gone")
        if not self._is_over:
            await self._restore(leaves, was_changed=joining.was_answered)

    async def _restore(self, leg: Leg, *, was_changed: bool, was_away: bool = False) -> None:
        """Let the other one talk with a leg again as before; one whose media was elsewhere has to agree to that."""
        try:
            await self._changes.agreement.restore()
            if was_changed:
                await self._changes.align(self.other(leg), is_last=was_away)
        except (RemoteError, LocalError) as error:
            self._bridge.explain("change", str(error), leg.name)

    async def _returned(self, leg: Leg, was_changed: bool) -> None:
        """The leg that was lent is back."""
        self._loan = None
        other = self.other(leg)
        self._go_on_without(other, "bye", "one side hung up during a transfer that failed")
        if not self._is_over and was_changed and leg.session.is_established:
            await self._restore(other, was_changed=True, was_away=True)

    def _go_on_without(self, leg: Leg, cause: str, text: str) -> None:
        """Nobody takes the place of a leg: if that has left already the call is over."""
        if not leg.is_live:
            self._bridge.ended("sipd", cause, text)
            self._end(OTHER_SIDE_GONE)

    # --- the end --------------------------------------------------------------------------------------------

    def _ended(self, leg: Leg, by: EndedBy, text: str, request: Request | None) -> None:
        """One leg is over. The other one is, too, unless somebody else is about to talk with it."""
        joining = self._joining
        if joining is not None and leg is joining.new:
            joining.give_up(Refusal(480, "The Other Side Is Gone", detail=text))
            return
        if leg not in (self._caller, self._callee):
            self._drop(leg, ())
            return
        who = "caller" if leg is self._caller else "callee"
        reasons = reasons_of(request)
        said = f"the {who} hung up" + (f" ({reasons[0][1]})" if reasons else "")
        is_awaited = self._transfer is not None and leg is not self._transfer.leg
        if is_awaited or (joining is not None and leg is joining.leaves) or self._loan is not None:
            self._bridge.explain("left", said if by is EndedBy.PEER else text, leg.name, leg.user)
            self._drop(leg, ())
            return
        if by is EndedBy.PEER:
            self._bridge.record.reasons = reason_values(request)
            self._bridge.ended(who, "bye", said)
        else:
            self._bridge.ended("sipd", f"{who}-lost", f"the {who}'s leg failed: {text}")
            reasons = OTHER_SIDE_GONE
        self._drop(leg, ())
        self._end(reasons)

    def _end(self, reasons: Reasons) -> None:
        """End what is left of the call."""
        self._is_over = True
        self._changes.stop()
        if self._transfer is not None:
            self._transfer.stop("the call is over")
        joining, self._joining = self._joining, None
        if joining is not None:
            joining.stop()
            joining.joiner.over(joining.refusal or Refusal(480, "The Other Side Is Gone"))
            if not joining.joiner.returns(joining.new):
                self._drop(joining.new, reasons)
        if self._loan is not None:
            self._bridge.release_leg(self._loan.leg)
        for leg in (self._caller, self._callee):
            self._drop(leg, reasons)

    def _drop(self, leg: Leg, headers: Reasons) -> None:
        if leg.is_live:
            leg.record.ended_at = self._bridge.now()
        self._bridge.drop_leg(leg, headers)
