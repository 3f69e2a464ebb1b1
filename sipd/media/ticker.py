"""What is done for each stream every second: one timer for all streams of an engine, and none without streams.

To look after a thousand streams takes four milliseconds and more, in which no packet is relayed. So they are not all
looked after at the same moment: a second has some parts, and each stream has its place in one of them.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from sipd.media.poller import MediaReactor

#: Seconds from one look to the next.
_PERIOD = 1.0
#: Parts of that.
_PARTS = 50
#: How many more than its share one part may have.
_MORE = 2


class Ticked(Protocol):
    """Something to be looked after."""

    def tick(self, now: float) -> None:
        """Look after it; may add and remove others, and itself."""


class _Part:
    """What is looked after at the same moment.

    Attributes:
        ticked: that.
        due: when next; of no meaning while there is nothing.
    """

    __slots__ = ("due", "ticked")

    def __init__(self) -> None:
        self.ticked: dict[Ticked, None] = {}
        self.due = 0.0


class Ticker:
    """Looks after things every second.

    Args:
        reactor: gives the time.
    """

    _log = Logger()

    def __init__(self, reactor: MediaReactor) -> None:
        self._reactor = reactor
        self._parts = [_Part() for _ in range(_PARTS)]
        self._part_of: dict[Ticked, _Part] = {}
        self._next: IDelayedCall | None = None
        self._due = 0.0

    def __len__(self) -> int:
        """Count what is looked after."""
        return len(self._part_of)

    def add(self, ticked: Ticked) -> None:
        """Begin to look after something, within a second. What is looked after already is left where it is."""
        if ticked in self._part_of:
            return
        part = self._choose(self._reactor.seconds())
        part.ticked[ticked] = None
        self._part_of[ticked] = part
        if self._next is None or part.due < self._due:
            self._schedule()

    def remove(self, ticked: Ticked) -> None:
        """Look after it no more. Idempotent."""
        part = self._part_of.pop(ticked, None)
        if part is not None:
            del part.ticked[ticked]
        if not self._part_of:
            self._schedule()

    def _choose(self, now: float) -> _Part:
        """Give the part of the present moment, which comes again in a second; or, if that is full, one after it."""
        most = len(self._part_of) // _PARTS + _MORE
        first = int(now % _PERIOD / _PERIOD * _PARTS)
        step = next(step for step in range(_PARTS) if len(self._parts[(first + step) % _PARTS].ticked) < most)
        part = self._parts[(first + step) % _PARTS]
        if not part.ticked:
            part.due = now + (step / _PARTS or 1.0) * _PERIOD
        return part

    def _schedule(self) -> None:
        """Come back for the part that is next; not at all while there is nothing."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._part_of:
            now = self._reactor.seconds()
            self._due = min([part.due for part in self._parts if part.ticked])
            self._next = self._reactor.callLater(max(0.0, self._due - now), self._tick)

    def _tick(self) -> None:
        self._next = None
        now = self._reactor.seconds()
        handled = self._log.failureHandler("a media stream could not be looked after")
        # The clock may stand a rounding error before the time that this was called for.
        for part in [part for part in self._parts if part.ticked and part.due <= max(now, self._due)]:
            part.due = max(part.due, now - _PERIOD / _PARTS) + _PERIOD
            for ticked in tuple(part.ticked):
                if ticked in part.ticked:  # not removed by one before it
                    with handled:
                        ticked.tick(now)
        self._schedule()
