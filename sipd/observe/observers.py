"""One observer that is many: passes each event of a call on, and keeps the observers from each other's failures."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger
from zope.interface import implementer

from sipd.interfaces import CallObserver, CallRecord, Decision, ICallObserver


@implementer(ICallObserver)
class CallObservers:
    """Passes every event to each of several observers, in order.

    One that raises is logged with its traceback; the others, and the call, go on as if it had not.

    Args:
        observers: in the order in which they are told. One that inherits a method of `CallObserver` is not called for
            that.
    """

    _log = Logger(namespace=__name__)

    def __init__(self, observers: Iterable[ICallObserver] = ()) -> None:
        self._take(tuple(observers))

    def add(self, observer: ICallObserver) -> None:
        """Tell one more observer from now on; may be called while an event is passed on."""
        self._take((*self._observers, observer))

    def remove(self, observer: ICallObserver) -> None:
        """Tell that observer nothing any more."""
        self._take(tuple(known for known in self._observers if known is not observer))

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        for observer in self._started:
            try:
                observer.call_started(call, record)
            except Exception:
                self._failed(observer, call)

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        for observer in self._decided:
            try:
                observer.call_decided(call, decision)
            except Exception:
                self._failed(observer, call)

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        for observer in self._taken:
            try:
                observer.call_resource_taken(call, kind, name)
            except Exception:
                self._failed(observer, call)

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        for observer in self._released:
            try:
                observer.call_resource_released(call, kind, name)
            except Exception:
                self._failed(observer, call)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        for observer in self._ended:
            try:
                observer.call_ended(call, record)
            except Exception:
                self._failed(observer, call)

    def _take(self, observers: tuple[ICallObserver, ...]) -> None:
        self._observers = observers
        self._started = _who_define(observers, "call_started")
        self._decided = _who_define(observers, "call_decided")
        self._taken = _who_define(observers, "call_resource_taken")
        self._released = _who_define(observers, "call_resource_released")
        self._ended = _who_define(observers, "call_ended")

    def _failed(self, observer: ICallObserver, call: str) -> None:
        self._log.failure("{observer} failed to observe call {call}", observer=observer, call=call)


def _who_define(observers: tuple[ICallObserver, ...], event: str) -> tuple[ICallObserver, ...]:
    empty = getattr(CallObserver, event)
    return tuple(one for one in observers if getattr(getattr(one, event), "__func__", None) is not empty)
