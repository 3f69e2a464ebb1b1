"""One readable line for each call when it is answered, and one when it is over."""

from __future__ import annotations

from twisted.logger import Logger

from sipd.interfaces import CallObserver, CallRecord, Decision
from sipd.observe.explain import describe
from sipd.sip.grammar import printable


class CallConsole(CallObserver):
    """Logs calls at info level: at most two lines each, with fields by fixed names."""

    _log = Logger()

    def __init__(self) -> None:
        self._unanswered: dict[str, CallRecord] = {}

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._unanswered[call] = record

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`. The first decision after the answer brings the line."""
        record = self._unanswered.get(call)
        if record is None or record.answered_at is None:
            return
        del self._unanswered[call]
        self._log.info(
            "call {call} answered: {caller} -> {callee} after {after:.1f} s",
            call=call,
            call_id=record.call_id,
            caller=printable(record.caller),
            callee=printable(record.callee),
            after=record.answered_at - record.started_at,
        )

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._unanswered.pop(call, None)
        self._log.info(
            "call {call} ended: {description}",
            call=call,
            call_id=record.call_id,
            status=record.status,
            peer=record.source,
            description=printable(describe(record), 500),
        )
