"""Consent of the other side to be sent to, once a pair is selected: RFC 7675."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from sipd.ice.effects import IceCredentials, Role
from sipd.sdp.candidates import Address

#: Checks of which answers are still taken: at the usual pace, those of the time in which consent expires.
_OPEN_LIMIT = 8


@dataclass(slots=True, kw_only=True)
class Consent:
    """Consent on one path.

    Args:
        path: the base, and the remote address.
        local: our credentials of the session that has selected the path.
        remote: the other side's.
        role: ours in that session.
        priority: what checks say of it.
        due: when to ask next.
        expires: when there is none any more.
    """

    path: tuple[Address, Address]
    local: IceCredentials
    remote: IceCredentials
    role: Role
    priority: int
    due: float
    expires: float
    _open: deque[bytes] = field(default_factory=lambda: deque(maxlen=_OPEN_LIMIT))

    def asked(self, transaction: bytes, due: float) -> None:
        """Take note that it was asked for; each request is of another transaction, and none is sent twice (5.1)."""
        self._open.append(transaction)
        self.due = due

    def has_asked(self, transaction: bytes) -> bool:
        """Say whether a response is to one of the last requests."""
        return transaction in self._open

    def given(self, transaction: bytes, expires: float) -> None:
        """Take note that a request was answered with success."""
        self._open.remove(transaction)
        self.expires = expires
