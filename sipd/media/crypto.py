"""The keys of a session: which legs encrypt, and what descriptions say of that on their way from one to another."""

from __future__ import annotations

from sipd.errors import SdpError
from sipd.interfaces import CryptoPolicy, Entropy
from sipd.media.libsrtp import available, usable_suites
from sipd.media.secured import SecuredOffer, secure_offer
from sipd.media.securing import DEFAULT_SUITES, PLAIN, Keys, LegCrypto
from sipd.sdp.description import SessionDescription
from sipd.sdp.streams import Slots


class SessionCrypto:
    """The keys of the legs of one session.

    Args:
        entropy: for ours.
    """

    __slots__ = ("_entropy", "_legs", "_lent", "_policies")

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._policies: dict[str, CryptoPolicy] = {}
        self._legs: dict[str, LegCrypto] = {}
        #: Legs that nobody is behind, and to whom they talk.
        self._lent: dict[str, str] = {}

    def set_policy(self, leg: str, policy: CryptoPolicy) -> None:
        """Say what a leg does."""
        self._policies[leg] = policy

    def lend(self, leg: str, greeter: str) -> None:
        """Let a leg have keys with one that nobody is behind, until `forget` of that one."""
        self._policies[greeter] = CryptoPolicy.OFF
        self._lent[greeter] = leg

    def secure(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None
    ) -> SecuredOffer | None:
        """Take an offer; ``None`` if keys are none of our business, since both legs pass theirs.

        Raises:
            SdpError: it cannot be accepted, or not be offered to the other leg; or there is no SRTP here.
        """
        policies = [self._policies.get(leg, CryptoPolicy.PASS) for leg in (sender, receiver)]
        if policies == [CryptoPolicy.PASS, CryptoPolicy.PASS] and not self._legs:
            return None
        return secure_offer(self._leg(sender), self._leg(receiver), description, slots)

    def keys(self, leg: str, index: int) -> Keys:
        """Give what is in force on a media line of a leg."""
        known = self._legs.get(leg)
        return PLAIN if known is None else known.keys(index)

    def forget(self, leg: str) -> None:
        """A leg is gone."""
        self._legs.pop(leg, None)
        self._policies.pop(leg, None)
        borrower = self._lent.pop(leg, None)
        if borrower is not None and borrower in self._legs:
            self._legs[borrower].rest()

    def _leg(self, name: str) -> LegCrypto:
        leg = self._legs.get(name)
        if leg is None:
            reason = available()
            if reason is not None:
                raise SdpError(f"no SRTP here: {reason}")
            policy = self._policies.get(name, CryptoPolicy.PASS)
            usable = frozenset(usable_suites())
            suites = tuple(suite for suite in DEFAULT_SUITES if suite in usable)
            leg = self._legs[name] = LegCrypto(policy, self._entropy, suites)
        return leg
