"""The second SIGTERM, SIGHUP for a changed configuration, and SIGUSR1 for who rotates files.

Twisted's handler of SIGTERM and SIGINT calls ``reactor.stop()``. The first time that begins the shutdown: ``twistd``
and ``python -m twisted`` then call ``stopService`` and wait for its Deferred while the reactor still runs. Every
further time ``reactor.stop()`` raises, and the impatience of the operator is a traceback in the log and nothing else.
So a handler stands in front of Twisted's: the first signal goes through, later ones go to the service.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.internet.interfaces import IReactorFromThreads

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Tells the first stop signal from the ones that follow it. Process-wide: for a process of our own only.

    Args:
        reactor: runs ``hurry`` outside of the signal handler.
        is_stopping: whether the service has begun to stop, for whatever reason.
        hurry: called for each signal that comes when it has.
    """

    def __init__(
        self, reactor: IReactorFromThreads, is_stopping: Callable[[], bool], hurry: Callable[[], None]
    ) -> None:
        self._reactor = reactor
        self._is_stopping = is_stopping
        self._hurry = hurry
        self._received = False
        self._previous: dict[int, Callable[[int, FrameType | None], Any]] = {}

    def install(self) -> None:
        """Stand in front of the handlers that are there. Signals that are ignored, or not handled, stay so."""
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._previous[number] = handler
                signal.signal(number, self._handle)

    def uninstall(self) -> None:
        """Put back what was there."""
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received or self._is_stopping():
            self._reactor.callFromThread(self._hurry)
        else:
            self._received = True
            self._previous[number](number, frame)


def on_rotation(reactor: IReactorFromThreads, reopen: Callable[[], object]) -> None:
    """Call ``reopen`` at each SIGUSR1, after what handled that before: ``twistd`` rotates its own log then."""
    _on(signal.SIGUSR1, reactor, reopen)


def on_change(reactor: IReactorFromThreads, reload: Callable[[], object]) -> None:
    """Call ``reload`` at each SIGHUP, after what handled that before; unhandled, it would end the process."""
    _on(signal.SIGHUP, reactor, reload)


def _on(which: signal.Signals, reactor: IReactorFromThreads, call: Callable[[], object]) -> None:
    previous = signal.getsignal(which)

    def handle(number: int, frame: FrameType | None) -> None:
        if callable(previous):
            previous(number, frame)
        reactor.callFromThread(call)

    signal.signal(which, handle)
