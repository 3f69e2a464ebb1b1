"""What two legs agree on about the session: each one's offers and answers, as the other is to see them (RFC 3264).

Each leg negotiates with its peer by itself (`sipd.sdp.negotiation`). Here an offer of one becomes an offer to the other
through the media relay, line by line, and the answer comes back the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.sdp.filters import tell_hold
from sipd.sdp.streams import Crossing, Slots, cross_offer, leave_out_disabled

if TYPE_CHECKING:
    from sipd.b2bua.leg import Leg
    from sipd.interfaces import IMediaSession
    from sipd.sdp.description import SessionDescription


class Agreement:
    """What two legs of a call agree on.

    Args:
        media: the call's.
        one: a leg.
        other: the other.
    """

    __slots__ = ("_answer", "_crossings", "_media", "_slots", "one", "other")

    def __init__(self, media: IMediaSession, one: Leg, other: Leg) -> None:
        self.one = one
        self.other = other
        self._media = media
        #: From the media lines of `one` to those of `other`, as agreed on last.
        self._slots: Slots = ()
        #: The last offer of each, by the leg's name: one that meets another one and is refused changes nothing of that.
        self._crossings: dict[str, Crossing] = {}
        self._answer: tuple[Leg, SessionDescription] | None = None

    def beside(self, leg: Leg) -> Leg:
        """Give the other one of the two."""
        return self.other if leg is self.one else self.one

    async def offer(self, sender: Leg, description: SessionDescription) -> SessionDescription:
        """Take an offer of one leg; give what the other one is to be offered.

        Raises:
            SdpError: it cannot be used.
            ResourcesExhaustedError: there are no ports for it.
        """
        receiver = self.beside(sender)
        slots = self._slots if sender is self.one else _reversed(self._slots)
        local, policy = receiver.negotiation.local, receiver.negotiation.policy
        if policy is not None:
            # What it is not to see gets no slot of its own, and no port.
            description = policy.apply(description)
        crossing = cross_offer(description, local, slots)
        if local is None and (policy is not None or sender.negotiation.policy is not None):
            crossing = leave_out_disabled(crossing)
        offered = await self._media.offer(
            sender.name, receiver.name, crossing.description, None if crossing.is_straight else crossing.reverse_slots
        )
        self._crossings[sender.name] = crossing
        return offered if policy is None or local is None else tell_hold(offered, policy.hold)

    async def answer(self, sender: Leg, description: SessionDescription) -> SessionDescription:
        """Take the answer of one leg to the offer of the other; give what that one is to be answered.

        It may be repeated, with another answer, too: early media, then the answer itself.

        Raises:
            SdpError: it cannot be used.
            InvalidStateError: there is no such offer.
        """
        offerer = self.beside(sender)
        answered = await self._media.answer(sender.name, offerer.name, description)
        crossing = self._crossings[offerer.name]
        self._answer = sender, description
        self._slots = crossing.slots if offerer is self.one else crossing.reverse_slots
        return crossing.answer(answered)

    async def restore(self) -> None:
        """Connect the two once more as agreed on last: one of them was connected with somebody else meanwhile."""
        if self._answer is not None:
            sender, description = self._answer
            await self._media.answer(sender.name, self.beside(sender).name, description)

    def reject(self, sender: Leg) -> None:
        """Forget an offer of that leg: what was agreed on before stays."""
        self._media.offer_rejected(sender.name, self.beside(sender).name)


def _reversed(slots: Slots) -> Slots:
    """Give the way back."""
    places = {slot: place for place, slot in enumerate(slots) if slot is not None}
    return tuple([places.get(slot) for slot in range(max(places, default=-1) + 1)])
