"""A clock for many timers of few durations: one FIFO for each duration, one delayed call for its head.

A stack has tens of timers for each call, for one of about two dozen durations, and stops nearly all of them before they
fire. Those of one duration fire in the order in which they were started, so that to start one is an append, and to stop
one marks it: no heap, no call of the reactor.

A busy server has hundreds of timers a second that only free what is over. So that each does not wake the process by
itself, one that follows another closely waits until a small part of its duration has gone by since: they fire together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import classImplements

#: What part of its duration a call may be late by, 8 ms for T1 and half a second for 64*T1; and the most, in seconds.
LATENESS = 1 / 64
MAX_LATENESS = 0.5
#: A lane with more cancelled calls than this is cleared of them when they are the greater part of it.
_TOLERATED = 64


class LaneCall:
    """A call that was asked of a `LaneClock` (``IDelayedCall``). It holds what it calls only while it is active."""

    __slots__ = ("_arguments", "_called", "_is_cancelled", "_keywords", "due", "lane")

    def __init__(
        self, lane: Lane, called: Callable[..., object], arguments: tuple[Any, ...], keywords: dict[str, Any] | None
    ) -> None:
        self.lane = lane
        #: Its lane says when.
        self.due = 0.0
        self._called: Callable[..., object] | None = called
        self._arguments = arguments
        self._keywords = keywords
        self._is_cancelled = False

    def active(self) -> bool:
        """See ``IDelayedCall``."""
        return self._called is not None

    def getTime(self) -> float:
        """See ``IDelayedCall``."""
        return self.due

    def cancel(self) -> None:
        """See ``IDelayedCall``."""
        self._check()
        self._is_cancelled = True
        self._forget()
        self.lane.cancelled()

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803 (the interface's name)
        """See ``IDelayedCall``. Unlike everything else here it costs more with more calls of that duration."""
        self._check()
        self.lane.move(self, secondsFromNow)

    def delay(self, secondsLater: float) -> None:  # noqa: N803 (the interface's name)
        """See ``IDelayedCall``. Costs what `reset` costs."""
        self._check()
        # It may be due already, and late.
        self.lane.move(self, max(0.0, self.due + secondsLater - self.lane.clock.seconds()))

    def make(self) -> None:
        """Make the call, if it was not cancelled: its lane says that it is due."""
        called = self._called
        if called is None:
            return
        arguments, keywords = self._arguments, self._keywords
        self._forget()
        if keywords is None:
            called(*arguments)
        else:
            called(*arguments, **keywords)

    def _check(self) -> None:
        if self._called is None:
            raise AlreadyCancelled if self._is_cancelled else AlreadyCalled

    def _forget(self) -> None:
        self._called = self._keywords = None
        self._arguments = ()


class LaneClock:
    """Gives the time of a clock, and makes delayed calls by few of its own (``IReactorTime``).

    A call is made when it is due, or later by `LATENESS` of its delay, and `MAX_LATENESS` at most.

    Args:
        clock: gives the time, and at most one delayed call for each delay that was asked for.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._lanes: dict[float, Lane] = {}

    def __len__(self) -> int:
        """How many durations have a call to come."""
        return len(self._lanes)

    def seconds(self) -> float:
        """See ``IReactorTime``."""
        return self._clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kw: Any) -> LaneCall:
        """See ``IReactorTime``.

        Raises:
            ValueError: the delay is less than nothing.
        """
        call = LaneCall(self.lane(delay), callable, args, kw or None)
        call.lane.append(call)
        return call

    def getDelayedCalls(self) -> list[LaneCall]:
        """See ``IReactorTime``."""
        return [call for lane in self._lanes.values() for call in lane.calls if call.active()]

    def lane(self, duration: float) -> Lane:
        """Give the lane of a duration, there from now on."""
        lane = self._lanes.get(duration)
        if lane is None:
            if not duration >= 0:
                raise ValueError(f"a call cannot be made in {duration} s")
            lane = self._lanes[duration] = Lane(self, self._clock, duration, self._lanes)
        return lane


def with_lanes(clock: IReactorTime) -> LaneClock:
    """Give the clock itself if it has lanes, or else one that stands on it."""
    return clock if isinstance(clock, LaneClock) else LaneClock(clock)


class Lane:
    """The calls of one duration, oldest first. Those that are cancelled leave if they stand at an end, or are many.

    Args:
        lanes: what it is one of.
        clock: see `LaneClock`.
        duration: of each call, in seconds.
        by_duration: all lanes: this one leaves them with its last call.
    """

    __slots__ = ("_by_duration", "_call", "_cancelled", "_due", "_duration", "_lanes", "_next", "calls", "clock")

    def __init__(self, lanes: LaneClock, clock: IReactorTime, duration: float, by_duration: dict[float, Lane]) -> None:
        self._lanes = lanes
        self.clock = clock
        self._duration = duration
        self._by_duration = by_duration
        self._call: IDelayedCall | None = None
        self._due = 0.0
        #: No call before that.
        self._next = 0.0
        #: How many are cancelled that are still there.
        self._cancelled = 0
        self.calls: deque[LaneCall] = deque()

    def append(self, call: LaneCall) -> None:
        """Take a call that is made after the duration."""
        call.due = self.clock.seconds() + self._duration
        self.calls.append(call)
        if self._call is None and len(self.calls) == 1:
            self._schedule()

    def cancelled(self) -> None:
        """One of the calls was cancelled."""
        self._cancelled += 1
        if self._cancelled > _TOLERATED and 2 * self._cancelled > len(self.calls):
            self.calls = deque([call for call in self.calls if call.active()])
            self._cancelled = 0
        self._tidy()

    def move(self, call: LaneCall, duration: float) -> None:
        """Have a call of this lane made after another duration from now."""
        lane = self._lanes.lane(duration)
        self.calls.remove(call)
        call.lane = lane
        lane.append(call)
        self._tidy()

    def _schedule(self) -> None:
        # Have a call made when the first one is due, if there is one and it is not on its way yet.
        if self.calls and self._call is None:
            self._due = max(self.calls[0].due, self._next)
            self._call = self.clock.callLater(max(0.0, self._due - self.clock.seconds()), self._fire)

    def _tidy(self) -> None:
        # Drop what is cancelled at both ends; without calls there is no delayed call either, and no lane.
        calls = self.calls
        while calls and not calls[-1].active():
            calls.pop()
            self._cancelled -= 1
        while calls and not calls[0].active():
            calls.popleft()
            self._cancelled -= 1
        if calls:
            return
        if self._call is not None:
            self._call.cancel()
            self._call = None
        # While calls are made, one may have been cancelled and another asked for: then a new lane stands there.
        if self._by_duration.get(self._duration) is self:
            del self._by_duration[self._duration]

    def _fire(self) -> None:
        # The clock may stand a rounding error before the time that the call was made for.
        now = max(self.clock.seconds(), self._due)
        self._call = None
        try:
            while self.calls and self.calls[0].due <= now:
                call = self.calls.popleft()
                if call.active():
                    call.make()
                else:
                    self._cancelled -= 1
            self._next = now + min(self._duration * LATENESS, MAX_LATENESS)
        finally:
            self._tidy()
            self._schedule()


classImplements(LaneCall, IDelayedCall)
classImplements(LaneClock, IReactorTime)
