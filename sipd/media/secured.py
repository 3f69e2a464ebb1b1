"""Offers and answers between two legs, each with its own keys, or with those of the parties if both legs pass them."""

from __future__ import annotations

from sipd.media.securing import CryptoPolicy, LegCrypto, TakenOffer
from sipd.sdp.description import SessionDescription
from sipd.sdp.offer_answer import check_answer
from sipd.sdp.streams import Slots


class SecuredOffer:
    """An offer from one leg to another, on its way: see `secure_offer`.

    Attributes:
        description: as the leg that is to answer sees it.
    """

    __slots__ = ("_answerer", "_offerer", "_taken", "description")

    def __init__(
        self, offerer: LegCrypto, answerer: LegCrypto, taken: TakenOffer | None, description: SessionDescription
    ) -> None:
        self._offerer = offerer
        self._answerer = answerer
        self._taken = taken
        self.description = description

    @property
    def passes_keys(self) -> bool:
        """Whether the keys are those of the parties, who encrypt end to end if they do."""
        return self._taken is None

    def answer(self, description: SessionDescription) -> SessionDescription:
        """Give an answer of the one leg as the other one sees it. Its keys are in force on both.

        May be called again for another answer.

        Raises:
            SdpError: it is no answer to that offer, or see `LegCrypto.take_answer`.
        """
        check_answer(self.description, description)
        if self._taken is None:
            self._offerer.release()
            self._answerer.release()
            return description
        return self._offerer.make_answer(self._taken, self._answerer.take_answer(description))


def secure_offer(
    offerer: LegCrypto, answerer: LegCrypto, description: SessionDescription, slots: Slots | None = None
) -> SecuredOffer:
    """Give an offer of one leg as another one is to see it. Nothing is in force by that.

    Args:
        offerer: whose offer it is.
        answerer: who is to answer.
        description: as it came; its media lines are those of the answerer.
        slots: which line of the offerer each one is; without it, they are the same.

    Raises:
        SdpError: what is offered cannot be accepted on the one side, or not be offered on the other.
    """
    if offerer.policy is CryptoPolicy.PASS and answerer.policy is CryptoPolicy.PASS:
        return SecuredOffer(offerer, answerer, None, description)
    taken = offerer.take_offer(description, slots)
    return SecuredOffer(offerer, answerer, taken, answerer.make_offer(taken.description))
