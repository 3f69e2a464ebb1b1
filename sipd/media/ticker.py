"""What is done for each stream every second: one timer for all streams of an engine, and none without streams."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from sipd.media.poller import MediaReactor

#: Seconds from one look to the next.
_PERIOD = 1.0


class Ticked(Protocol):
    """Something to be looked after."""

    def tick(self, now: float) -> None:
        """Look after it; may add and remove others, and itself."""


class Ticker:
    """Looks after things every second.

    Args:
        reactor: gives the time.
    """

    _log = Logger()

    def __init__(self, reactor: MediaReactor) -> None:
        self._reactor = reactor
        self._ticked: dict[Ticked, None] = {}
        self._next: IDelayedCall | None = None

    def __len__(self) -> int:
        """Count what is looked after."""
        return len(self._ticked)

    def add(self, ticked: Ticked) -> None:
        """Begin to look after something."""
        self._ticked[ticked] = None
        if self._next is None:
            self._next = self._reactor.callLater(_PERIOD, self._tick)

    def remove(self, ticked: Ticked) -> None:
        """Look after it no more. Idempotent."""
        self._ticked.pop(ticked, None)
        if not self._ticked and self._next is not None:
            self._next.cancel()
            self._next = None

    def _tick(self) -> None:
        self._next = self._reactor.callLater(_PERIOD, self._tick)
        now = self._reactor.seconds()
        handled = self._log.failureHandler("a media stream could not be looked after")
        for ticked in tuple(self._ticked):
            if ticked in self._ticked:  # not removed by one before it
                with handled:
                    ticked.tick(now)
