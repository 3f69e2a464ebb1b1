"""Tells the fraud guard when people begin to talk: the gate hears of beginnings and ends only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.guards.fraud import FraudGuard
from sipd.interfaces import CallObserver

if TYPE_CHECKING:
    from sipd.interfaces import Decision


class AnswerWatch(CallObserver):
    """Watches calls for their answers."""

    def __init__(self, fraud: FraudGuard) -> None:
        self._fraud = fraud

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        if decision.kind == "answered":
            self._fraud.answered(call)
