"""The timers of one machine, as its effects start and stop them (`sipd.sip.machine`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

Name = TypeVar("Name", bound=Hashable)


class Timers(Generic[Name]):
    """At most one timer for each name, which is an event most often.

    Args:
        clock: runs them.
        fired: told of the name of each timer that fires.
    """

    __slots__ = ("_clock", "_fired", "_running")

    def __init__(self, clock: IReactorTime, fired: Callable[[Name], object]) -> None:
        self._clock = clock
        self._fired = fired
        self._running: dict[Name, IDelayedCall] = {}

    def __len__(self) -> int:
        """How many run."""
        return len(self._running)

    def start(self, name: Name, duration: float) -> None:
        """Start one, to fire in ``duration`` seconds; one of the same name does not fire any more."""
        self.cancel(name)
        self._running[name] = self._clock.callLater(duration, self._fire, name)

    def cancel(self, name: Name) -> None:
        """Stop one, if it runs."""
        running = self._running.pop(name, None)
        if running is not None:
            running.cancel()

    def stop(self) -> None:
        """Stop all. Idempotent."""
        for timer in self._running.values():
            timer.cancel()
        self._running.clear()

    def _fire(self, name: Name) -> None:
        del self._running[name]
        self._fired(name)
