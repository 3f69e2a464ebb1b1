"""How late the reactor is: whatever blocks it, in Python or below, delays everything else by as much."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sipd.observe.tallies import Histogram

#: Seconds between two looks; so a pause of half of that is seen by every second one.
INTERVAL = 0.25

_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ReactorLag:
    """Has itself called at intervals, and counts by how much too late that was.

    A wall clock that is set forward looks like lag, and is one: the reactor's timers go by it.

    Args:
        clock: the reactor.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None
        self._due = 0.0
        self._lag = Histogram("sipd_reactor_lag_seconds", "By how much timers fire too late.", _BOUNDS)

    def start(self) -> None:
        """Begin to look."""
        self._due = self._clock.seconds() + INTERVAL
        self._call = self._clock.callLater(INTERVAL, self._look)

    def stop(self) -> None:
        """Look no more. Idempotent."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def collect(self) -> Iterator[Metric]:
        """Give the metric."""
        yield self._lag.family()

    def _look(self) -> None:
        self._lag.add(max(0.0, self._clock.seconds() - self._due))
        self.start()
