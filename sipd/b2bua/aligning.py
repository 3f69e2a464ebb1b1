"""Two legs that hold different things to be in force are brought to the same (RFC 3261 section 14.1, RFC 6141)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.b2bua.events import Again
from sipd.b2bua.refusals import Refusal
from sipd.errors import InvalidStateError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.changes import Changes
    from sipd.b2bua.leg import Leg
    from sipd.sdp.description import SessionDescription
    from sipd.sip.message import Response

#: How often a leg that is being changed otherwise is asked again. Each time takes up to 4 s (RFC 3261 section 14.1).
MAX_RETRIES = 8
#: Such refusals mean that it may be asked again.
_LATER = frozenset((491, 500, 503))


class Aligning:
    """Tells a leg what the other one says until it agrees. It is a `Telling`.

    If the leg does not want that, the other one is told what this one says; if that does not want it either, the call
    is over: each would send what the other does not take.

    Args:
        bridge: the call.
        changes: of the two legs.
        leg: the one to be told.
        is_last: the leg has to agree: the other one has answered such a thing already, or this one's media was
            elsewhere.

    Attributes:
        is_over: the two agree, or never will.
    """

    def __init__(self, bridge: Bridge, changes: Changes, leg: Leg, *, is_last: bool) -> None:
        self.is_over = False
        self._bridge = bridge
        self._changes = changes
        self._leg = leg
        self._is_last = self._is_turned = is_last
        self._retries = 0
        self._timer: IDelayedCall | None = None

    async def ask(self) -> None:
        """Tell the leg, now or as soon as it is changed no more."""
        self.stop()
        other = self._changes.agreement.beside(self._leg)
        if not (self._leg.session.is_established and other.session.is_established):
            self.is_over = True
            return
        try:
            await self._changes.tell(other, self, tells_back=self._is_turned and not self._is_last)
        except InvalidStateError as error:
            self.not_told(Refusal(491, str(error)))

    def stop(self) -> None:
        """Stop the timer."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def told(self, description: SessionDescription, response: Response) -> None:
        """See `Telling`."""
        self.is_over = True

    def not_told(self, refusal: Refusal) -> None:
        """See `Telling`."""
        delay = self._leg.back_off()
        if refusal.status not in _LATER or self._retries >= MAX_RETRIES:
            if self._is_turned:
                self.is_over = True
                self._bridge.stop("the two sides do not agree on the session")
                return
            self._is_turned = True
            self._retries = 0
            self._leg = self._changes.agreement.beside(self._leg)
            delay = 0.0
        self._retries += 1
        agent = self._bridge.b2bua.agent
        self._timer = agent.clock.callLater(delay, self._bridge.inbox.put, (self._leg, Again()))
        self._bridge.explain("change", f"{refusal.status} {refusal.account}: again in {delay:g} s", self._leg.name)
