"""Many timers of few durations: one FIFO for each duration, one delayed call for its head.

All timers of transactions run for one of about a dozen durations. Those of one duration fire in the order in which
they were started, so that to start one is an append, and to stop one marks it: no heap, no call of the reactor.

A busy server has hundreds of timers a second that only free what is over. So that each does not wake the process by
itself, one that follows another closely waits until a small part of its duration has gone by since: they fire together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sipd.sip.timers import Timer

T = TypeVar("T")

#: What part of its duration a timer may be late by: half a second for 64*T1, 8 ms for T1.
LATENESS = 1 / 64


class RunningTimer(Generic[T]):
    """A timer that was started. It holds its owner only while it runs."""

    __slots__ = ("_lane", "due", "owner", "timer")

    def __init__(self, lane: Lane[T], owner: T, timer: Timer, due: float) -> None:
        self._lane = lane
        self.owner: T | None = owner
        self.timer = timer
        self.due = due

    def stop(self) -> None:
        """Make sure that it does not fire. Does nothing if it is over."""
        if self.owner is not None:
            self.owner = None
            self._lane.tidy()


class TimerQueue(Generic[T]):
    """Runs timers.

    Args:
        clock: gives the time and the delayed calls, at most one for each duration.
        fired: told of each timer that fires, with its owner.
    """

    def __init__(self, clock: IReactorTime, fired: Callable[[T, Timer], None]) -> None:
        self._clock = clock
        self._fired = fired
        self._lanes: dict[float, Lane[T]] = {}

    def __len__(self) -> int:
        """How many durations have a timer that runs."""
        return len(self._lanes)

    def start(self, owner: T, timer: Timer, duration: float) -> RunningTimer[T]:
        """Start a timer, to fire in ``duration`` seconds."""
        try:
            lane = self._lanes[duration]
        except KeyError:
            lane = self._lanes[duration] = Lane(self._clock, self._fired, duration, self._lanes)
        started = RunningTimer(lane, owner, timer, self._clock.seconds() + duration)
        lane.timers.append(started)
        if len(lane.timers) == 1:
            lane.schedule()
        return started


class Lane(Generic[T]):
    """The timers of one duration, oldest first. Those that are stopped leave when they stand at either end.

    Args:
        clock: see `TimerQueue`.
        fired: see `TimerQueue`.
        duration: of each timer, in seconds.
        lanes: the queue's, by duration: the lane leaves it with its last timer.
    """

    __slots__ = ("_call", "_clock", "_due", "_duration", "_fired", "_lanes", "_next", "timers")

    def __init__(
        self,
        clock: IReactorTime,
        fired: Callable[[T, Timer], None],
        duration: float,
        lanes: dict[float, Lane[T]],
    ) -> None:
        self._clock = clock
        self._fired = fired
        self._duration = duration
        self._lanes = lanes
        self._call: IDelayedCall | None = None
        self._due = 0.0
        #: No call before that.
        self._next = 0.0
        self.timers: deque[RunningTimer[T]] = deque()

    def schedule(self) -> None:
        """Have a call made when the first timer is due, if there is a timer and no call yet."""
        if self.timers and self._call is None:
            self._due = max(self.timers[0].due, self._next)
            self._call = self._clock.callLater(max(0.0, self._due - self._clock.seconds()), self._fire)

    def tidy(self) -> None:
        """Drop what is stopped at both ends; without timers there is no delayed call either, and no lane."""
        timers = self.timers
        while timers and timers[-1].owner is None:
            timers.pop()
        while timers and timers[0].owner is None:
            timers.popleft()
        if timers:
            return
        if self._call is not None:
            self._call.cancel()
            self._call = None
        # While timers fire, one may have been stopped and another started: then a new lane stands there.
        if self._lanes.get(self._duration) is self:
            del self._lanes[self._duration]

    def _fire(self) -> None:
        # The clock may stand a rounding error before the time that the call was made for.
        now = max(self._clock.seconds(), self._due)
        self._call = None
        timers = self.timers
        try:
            while timers and timers[0].due <= now:
                timer = timers.popleft()
                owner, timer.owner = timer.owner, None
                if owner is not None:
                    self._fired(owner, timer.timer)
            self._next = now + self._duration * LATENESS
        finally:
            self.tidy()
            self.schedule()
