"""What the transaction layer leaves to its user of an accepted INVITE (RFC 3261 sections 13.2.2.4 and 13.3.1.4).

A 2xx is sent again until its ACK comes, and an ACK is sent again for each repetition of the 2xx.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipd.errors import RemoteError, TransactionTimeoutError
from sipd.interfaces import IFlow, IServerTransaction
from sipd.sip.message import Request, Response
from sipd.sip.timers import TimerValues

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Of each kind; one more is sent once only.
MAX_KNOWN = 10_000

#: Call-ID, tags of the caller and the callee, CSeq number.
_Key = tuple[str, str, str, int]


class Accepted:
    """The 2xx that wait for their ACK, and the ACKs that may be asked for again.

    Args:
        clock: for both.
        timers: T1 and T2.
        unacknowledged: told of each 2xx whose ACK did not come within 64*T1, with the flow of its INVITE.
    """

    def __init__(
        self, clock: IReactorTime, timers: TimerValues, unacknowledged: Callable[[IFlow, RemoteError], object]
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._unacknowledged = unacknowledged
        self._waiting: dict[_Key, IDelayedCall] = {}
        self._acks: dict[_Key, tuple[Request, IFlow, IDelayedCall]] = {}

    def __len__(self) -> int:
        """Count both."""
        return len(self._waiting) + len(self._acks)

    def answered(self, transaction: IServerTransaction, response: Response) -> None:
        """Take note that this 2xx was given to an INVITE."""
        key = _key(response)
        if key not in self._waiting and len(self._waiting) < MAX_KNOWN:
            self._wait(key, transaction, response, 0.0, self._timers.t1)

    def acknowledged(self, ack: Request) -> None:
        """Take note that this ACK came."""
        waiting = self._waiting.pop(_key(ack), None)
        if waiting is not None:
            waiting.cancel()

    def sent(self, ack: Request, flow: IFlow) -> None:
        """Take note that this ACK was sent."""
        key = _key(ack)
        if key not in self._acks and len(self._acks) < MAX_KNOWN:
            forgetting = self._clock.callLater(64 * self._timers.t1, self._acks.pop, key)
            self._acks[key] = (ack, flow, forgetting)

    def find(self, response: Response) -> tuple[Request, IFlow] | None:
        """Give the ACK that was sent for a 2xx, and its flow; ``None`` if there was none."""
        known = self._acks.get(_key(response))
        return None if known is None else known[:2]

    def close(self) -> None:
        """Forget all."""
        for waiting in self._waiting.values():
            waiting.cancel()
        for _, _, forgetting in self._acks.values():
            forgetting.cancel()
        self._waiting.clear()
        self._acks.clear()

    def _wait(
        self, key: _Key, transaction: IServerTransaction, response: Response, passed: float, interval: float
    ) -> None:
        """Wait for the ACK; over every transport, since the next hop need not have the same one."""
        interval = min(interval, 64 * self._timers.t1 - passed)
        self._waiting[key] = self._clock.callLater(
            interval, self._again, key, transaction, response, passed + interval, interval
        )

    def _again(
        self, key: _Key, transaction: IServerTransaction, response: Response, passed: float, interval: float
    ) -> None:
        del self._waiting[key]
        if passed >= 64 * self._timers.t1:
            self._unacknowledged(transaction.flow, TransactionTimeoutError("The 2xx was not acknowledged"))
            return
        transaction.respond(response)
        self._wait(key, transaction, response, passed, min(2 * interval, self._timers.t2))


def _key(message: Request | Response) -> _Key:
    return message.call_id, message.from_.tag or "", message.to.tag or "", message.cseq.number
