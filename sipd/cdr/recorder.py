"""Makes a record of each call that ends, and of its attempts, and gives it to everybody who takes such."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, gatherResults

from sipd.cdr.interfaces import IRecordTaker
from sipd.cdr.record import ATTEMPT, records_of
from sipd.interfaces import CallObserver, CallRecord


class CallRecorder(CallObserver):
    """Turns the end of a call into records.

    Args:
        takers: who gets them, in order.
    """

    def __init__(self, takers: Iterable[IRecordTaker]) -> None:
        self._takers = tuple(takers)
        self._wants_attempts = any(ATTEMPT in taker.kinds for taker in self._takers)

    @property
    def waiting(self) -> int:
        """How many records are in memory alone, since a disk does not take them."""
        return sum(taker.waiting for taker in self._takers)

    def reopen(self) -> None:
        """Files have been moved away: go on in new ones."""
        for taker in self._takers:
            taker.reopen()

    def close(self) -> Deferred[None]:
        """Bring all records as far as they get in a short time, and stop. Never fails."""
        return gatherResults([taker.close() for taker in self._takers]).addCallback(lambda _: None)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        for one in records_of(record):
            for taker in self._takers:
                if one["kind"] in taker.kinds:
                    taker.take(one)
            if not self._wants_attempts:
                return
