"""One observer that is many: passes each event of a call on, and keeps the observers from each other's failures."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger
from zope.interface import implementer

from sipd.interfaces import CallRecord, Decision, ICallObserver


@implementer(ICallObserver)
class CallObservers:
    """Passes every event to each of several observers, in order.

    One that raises is logged with its traceback; the others, and the call, go on as if it had not.

    Args:
        observers: in the order in which they are told.
    """

    _log = Logger()

    def __init__(self, observers: Iterable[ICallObserver] = ()) -> None:
        self._observers = tuple(observers)

    def add(self, observer: ICallObserver) -> None:
        """Tell one more observer from now on; may be called while an event is passed on."""
        self._observers = (*self._observers, observer)

    def remove(self, observer: ICallObserver) -> None:
        """Tell that observer nothing any more."""
        self._observers = tuple(known for known in self._observers if known is not observer)

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        for observer in self._observers:
            try:
                observer.call_started(call, record)
            except Exception:
                self._failed(observer, call)

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        for observer in self._observers:
            try:
                observer.call_decided(call, decision)
            except Exception:
                self._failed(observer, call)

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        for observer in self._observers:
            try:
                observer.call_resource_taken(call, kind, name)
            except Exception:
                self._failed(observer, call)

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        for observer in self._observers:
            try:
                observer.call_resource_released(call, kind, name)
            except Exception:
                self._failed(observer, call)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        for observer in self._observers:
            try:
                observer.call_ended(call, record)
            except Exception:
                self._failed(observer, call)

    def _failed(self, observer: ICallObserver, call: str) -> None:
        self._log.failure("{observer} failed to observe call {call}", observer=observer, call=call)
