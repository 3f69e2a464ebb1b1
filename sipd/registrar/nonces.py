"""Nonces that carry their own proof, and the memory of how often each was used (RFC 7616 sections 3.3, 3.4, 5.4)."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import Enum

from sipd.interfaces import Entropy

_TIME_OCTETS = 8
_RANDOM_OCTETS = 10
_SEAL_OCTETS = 18
_ID_OCTETS = _TIME_OCTETS + _RANDOM_OCTETS
_NONCE_OCTETS = _ID_OCTETS + _SEAL_OCTETS
#: How far a nonce count may lag behind the highest one: requests that were sent together may arrive in any order.
_WINDOW = 64
_WINDOW_MASK = (1 << _WINDOW) - 1


class NonceState(Enum):
    """What a nonce that comes back is worth."""

    GOOD = "good"
    EXPIRED = "expired"
    FOREIGN = "foreign"


class Nonces:
    """Makes nonces, knows its own again without having kept them, and refuses a nonce count that was used before.

    A nonce is time, randomness and a seal over both and the realm, so a challenge costs no memory. What is kept is the
    nonce counts of those nonces with which somebody proved to know a password, until they expire.

    At the bound of that memory the oldest entry is dropped, and from then on no nonce as old as it is taken for new:
    its owner is challenged again with ``stale=true``. So the bound shortens the life of nonces and lets no replay
    through.

    Args:
        entropy: for the key, which lives as long as this object, and for the nonces.
        lifetime: seconds that a nonce may be used for.
        max_used: entries of the memory; one takes about 250 octets.
    """

    def __init__(self, *, entropy: Entropy, lifetime: float, max_used: int = 50_000) -> None:
        self._entropy = entropy
        self._key = entropy(32)
        self._lifetime = lifetime
        self._max_used = max_used
        #: Nonce to (highest count, bit n set where highest - n was used), in the order of their first use.
        self._used: dict[bytes, tuple[int, int]] = {}
        self._horizon = -1

    def __len__(self) -> int:
        """Give the number of entries in the memory."""
        return len(self._used)

    def issue(self, realm: str, now: float) -> str:
        """Make a nonce.

        Args:
            realm: it is good for this one only.
            now: seconds.
        """
        identity = int(now * 1000).to_bytes(_TIME_OCTETS, "big") + self._entropy(_RANDOM_OCTETS)
        return urlsafe_b64encode(identity + self._seal(identity, realm)).decode("ascii")

    def check(self, nonce: str, realm: str, now: float) -> NonceState:
        """Say whether a nonce was made here, for that realm, and may still be used."""
        octets = _decode(nonce)
        if len(octets) != _NONCE_OCTETS:
            return NonceState.FOREIGN
        identity = octets[:_ID_OCTETS]
        if not hmac.compare_digest(octets[_ID_OCTETS:], self._seal(identity, realm)):
            return NonceState.FOREIGN
        age = now - _issued(identity) / 1000
        return NonceState.GOOD if -1 <= age <= self._lifetime else NonceState.EXPIRED

    def use(self, nonce: str, count: int, now: float) -> bool:
        """Take note of one use of a good nonce by somebody who knows the password.

        Args:
            nonce: a good one.
            count: its nonce count.
            now: seconds.

        Returns:
            False if that count was used before, or may have been.
        """
        identity = _decode(nonce)[:_ID_OCTETS]
        used = self._used.get(identity)
        if used is None:
            if _issued(identity) <= self._horizon:
                return False
            self._make_room(now)
            self._used[identity] = (count, 1)
            return True
        highest, window = used
        if count > highest:
            self._used[identity] = (count, ((window << min(count - highest, _WINDOW)) | 1) & _WINDOW_MASK)
            return True
        bit = highest - count
        if bit >= _WINDOW or window >> bit & 1:
            return False
        self._used[identity] = (highest, window | 1 << bit)
        return True

    def _make_room(self, now: float) -> None:
        """Drop what has expired, as far as it is oldest, and one more entry where the memory is full."""
        oldest_alive = int((now - self._lifetime) * 1000)
        while self._used:
            oldest = next(iter(self._used))
            if _issued(oldest) >= oldest_alive:
                if len(self._used) < self._max_used:
                    return
                self._horizon = max(self._horizon, _issued(oldest))
            del self._used[oldest]

    def _seal(self, identity: bytes, realm: str) -> bytes:
        text = identity + realm.encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, text, "sha256")[:_SEAL_OCTETS]


def _issued(identity: bytes) -> int:
    """Give the milliseconds at which a nonce was made."""
    return int.from_bytes(identity[:_TIME_OCTETS], "big")


def _decode(nonce: str) -> bytes:
    """Give the octets of a nonce; none if it is not base64."""
    try:
        return urlsafe_b64decode(nonce)
    except ValueError:
        return b""
