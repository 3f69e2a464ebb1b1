"""Tells the fraud guard when people begin to talk: the gate hears of beginnings and ends only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.guards.fraud import FraudGuard
from sipd.interfaces import ICallObserver

if TYPE_CHECKING:
    from sipd.interfaces import CallRecord, Decision


@implementer(ICallObserver)
class AnswerWatch:
    """Watches calls for their answers."""

    def __init__(self, fraud: FraudGuard) -> None:
        self._fraud = fraud

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        if decision.kind == "answered":
            self._fraud.answered(call)

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
