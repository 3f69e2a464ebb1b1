"""Provisional responses that have to arrive, as a phone sends them and takes them (RFC 3262)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sipd.sip.message import Request, Response

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

_T1 = 0.5
_LIMIT = 64 * _T1


class Sending:
    """The reliable provisional responses of a callee: one at a time, each until its PRACK.

    Args:
        reactor: for its timers.
        given_up: told that a PRACK never came.

    Attributes:
        has_offer: whether the one that waits makes an offer, so that its PRACK has to answer.
    """

    def __init__(self, reactor: Any, given_up: Callable[[], None]) -> None:
        self.has_offer = False
        self._reactor = reactor
        self._given_up = given_up
        self._number = 100
        self._send: Callable[[], None] | None = None
        self._interval = _T1
        self._again: IDelayedCall | None = None
        self._end: IDelayedCall | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether the last one has no PRACK yet."""
        return self._send is not None

    def fields(self) -> list[tuple[str, str]]:
        """Number the next one."""
        self._number += 1
        return [("Require", "100rel"), ("RSeq", str(self._number))]

    def start(self, send: Callable[[], None], *, has_offer: bool) -> None:
        """Send one, and again until it is acknowledged."""
        self.has_offer = has_offer
        self._send = send
        self._interval = _T1
        self._end = self._reactor.callLater(_LIMIT, self._limit)
        self._repeat()

    def acknowledged(self, prack: Request) -> bool:
        """Take a PRACK; say whether it is for the one that waits."""
        if self._send is None or (prack.headers.get("RAck") or "").split(" ")[0] != str(self._number):
            return False
        self.stop()
        return True

    def stop(self) -> None:
        """There is a PRACK, or a final response."""
        self._send = None
        for call in (self._again, self._end):
            if call is not None and call.active():
                call.cancel()

    def _repeat(self) -> None:
        assert self._send is not None
        self._send()
        self._again = self._reactor.callLater(self._interval, self._repeat)
        self._interval *= 2

    def _limit(self) -> None:
        self.stop()
        self._given_up()


class Taking:
    """The reliable provisional responses that come to a caller, in order."""

    def __init__(self) -> None:
        self._last: int | None = None

    def is_next(self, response: Response) -> bool:
        """Say whether a response is to be acknowledged, for the first time."""
        if "100rel" not in response.headers.tokens("Require") or response.status == 100:
            return False
        number = int(response.headers.get("RSeq") or 0)
        if self._last is not None and number != self._last + 1:
            return False
        self._last = number
        return True
