"""A leg on its way into a call, in the place of another one (RFC 3891, RFC 5589, RFC 3725).

The leg that stays is offered what the new one says, as in any change of a session; when it has agreed the two talk, and
the third is let go. If it does not agree, everything is as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from sipd.b2bua.aligning import MAX_RETRIES
from sipd.b2bua.changes import Changes
from sipd.b2bua.events import Again
from sipd.b2bua.refusals import Refusal
from sipd.errors import InvalidStateError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall

    from sipd.b2bua.agreement import Agreement
    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.sdp.description import SessionDescription
    from sipd.sip.message import Response


class Joiner(Protocol):
    """Who brings a leg into a call."""

    @property
    def is_late(self) -> bool:
        """Whether the new leg has made no offer, so that the one that stays has to make it."""

    def joined(self, description: SessionDescription, response: Response) -> None:
        """The leg that stays has agreed.

        Args:
            description: what the new leg is to be answered, or offered if it `is_late`.
            response: of the one that stays.

        Raises:
            SdpError: the new leg cannot be told so.
        """

    def over(self, refusal: Refusal | None) -> Deferred[None]:
        """The two talk now, or never will; fires when the leg that leaves may be let go."""

    def returns(self, leg: Leg) -> bool:
        """Give a leg that did not come in back to the call that it is from; say whether it is from another one."""


class Joining:
    """One leg on its way in.

    Args:
        bridge: the call.
        stays: the leg that stays.
        leaves: the leg that is to go.
        agreement: of the one that stays with the new one.
        joiner: who brings it in.

    Attributes:
        is_agreed: the leg that stays has agreed.
        refusal: why it never will.
        was_answered: it has agreed, whatever came of that.
    """

    def __init__(self, bridge: Bridge, stays: Leg, leaves: Leg, agreement: Agreement, joiner: Joiner) -> None:
        self.stays = stays
        self.leaves = leaves
        self.new = agreement.beside(stays)
        self.joiner = joiner
        self.changes = Changes(bridge, agreement)
        self.is_agreed = False
        self.was_answered = False
        self.refusal: Refusal | None = None
        self._bridge = bridge
        self._retries = 0
        self._timer: IDelayedCall | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is an outcome, and nobody is being asked any more."""
        return self.is_agreed or (self.refusal is not None and not self.changes.is_asking(self.stays))

    async def ask(self) -> None:
        """Ask the leg that stays, now or as soon as it is changed no more."""
        self.stop()
        try:
            await self.changes.tell(self.new, self, is_late=self.joiner.is_late)
        except InvalidStateError as error:
            self.not_told(Refusal(491, str(error)))

    def stop(self) -> None:
        """Stop the timer."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def give_up(self, refusal: Refusal) -> None:
        """It is not to happen any more; what is asked for already has an outcome all the same."""
        self.stop()
        if not self.is_agreed and self.refusal is None:
            self.refusal = refusal
            if self.changes.is_asking(self.stays):
                self.stays.session.withdraw()

    def told(self, description: SessionDescription, response: Response) -> None:
        """See `Telling`."""
        self.was_answered = True
        if self.refusal is None:
            self.joiner.joined(description, response)
            self.is_agreed = True

    def not_told(self, refusal: Refusal) -> None:
        """See `Telling`. A change that crosses another one is tried again (RFC 3261 section 14.1)."""
        if self.is_agreed or self.refusal is not None:
            return
        if refusal.status != 491 or self._retries >= MAX_RETRIES or not self.stays.session.is_established:
            self.refusal = refusal
            return
        self._retries += 1
        agent = self._bridge.b2bua.agent
        delay = self.stays.back_off()
        self._timer = agent.clock.callLater(delay, self._bridge.inbox.put, (self.new, Again()))
        self._bridge.explain("joining", f"{refusal.status} {refusal.account}: again in {delay:g} s", self.stays.name)
