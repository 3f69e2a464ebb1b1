"""The timers of one machine, as its effects start and stop them (`sipd.sip.machine`)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timers:
    """At most one timer for each event.

    Args:
        clock: runs them.
        fired: told of the event of each timer that fires.
    """

    __slots__ = ("_clock", "_fired", "_running")

    def __init__(self, clock: IReactorTime, fired: Callable[[Enum], None]) -> None:
        self._clock = clock
        self._fired = fired
        self._running: dict[Enum, IDelayedCall] = {}

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    def start(self, event: Enum, duration: float) -> None:
        """Start one, to fire in ``duration`` seconds; one of the same event does not fire any more."""
        running = self._running.pop(event, None)
        if running is not None:
            running.cancel()
        self._running[event] = self._clock.callLater(duration, self._fire, event)

    def stop(self) -> None:
        """Stop all. Idempotent."""
        for timer in self._running.values():
            timer.cancel()
        self._running.clear()

    def _fire(self, event: Enum) -> None:
        del self._running[event]
        self._fired(event)
