"""A clock for simulations: time stands still until it is moved, and then jumps from event to event.

``twisted.internet.task.Clock`` sorts its calls at every change; this one keeps a heap, so ten thousand pending
timers cost no more than ten.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from sipd.errors import ResourcesExhaustedError

#: Entries of cancelled or moved calls that may stay in the heap before it is rebuilt without them.
_STALE_LIMIT = 1000


@implementer(IDelayedCall)
class SimulatedCall:
    """One pending call of a `SimulatedClock`."""

    __slots__ = ("_clock", "args", "called", "cancelled", "function", "kwargs", "order", "time")

    def __init__(
        self,
        clock: SimulatedClock,
        time: float,
        order: int,
        function: Callable[..., Any],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> None:
        self._clock = clock
        self.time = time
        self.order = order
        self.function: Callable[..., Any] | None = function
        self.args = args
        self.kwargs = kwargs
        self.cancelled = False
        self.called = False

    def getTime(self) -> float:
        """See ``IDelayedCall``."""
        return self.time

    def active(self) -> bool:
        """See ``IDelayedCall``."""
        return not (self.called or self.cancelled)

    def cancel(self) -> None:
        """See ``IDelayedCall``."""
        self._check_pending()
        self.cancelled = True
        self._forget()
        self._clock._cancelled(self)

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803 (the interface's name)
        """See ``IDelayedCall``."""
        self._check_pending()
        self._clock._moved(self, self._clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:  # noqa: N803 (the interface's name)
        """See ``IDelayedCall``."""
        self._check_pending()
        self._clock._moved(self, self.time + secondsLater)

    def run(self) -> None:
        """Make the call: only the clock does this."""
        function, args, kwargs = self.function, self.args, self.kwargs
        self.called = True
        self._forget()
        if function is not None:
            function(*args, **kwargs)

    def _forget(self) -> None:
        """Drop what was to be called, so that a kept ``IDelayedCall`` keeps nothing else alive."""
        self.function, self.args, self.kwargs = None, (), {}

    def _check_pending(self) -> None:
        if self.cancelled:
            raise AlreadyCancelled
        if self.called:
            raise AlreadyCalled

    def __repr__(self) -> str:
        what = getattr(self.function, "__qualname__", repr(self.function))
        return f"<SimulatedCall {what} at {self.time:.3f} s>"


@implementer(IReactorTime)
class SimulatedClock:
    """An ``IReactorTime`` whose time moves only when it is told to.

    Calls due at the same time run in the order in which they were scheduled. A call that raises does not stop the
    others: its exception is raised by the method that moved the time, once the time is where it should be (several
    together as an ``ExceptionGroup``).

    Args:
        start: the time at the beginning.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._heap: list[tuple[float, int, SimulatedCall]] = []
        self._pending: dict[int, SimulatedCall] = {}
        self._order = 0
        self._errors: list[Exception] = []

    def seconds(self) -> float:
        """See ``IReactorTime``."""
        return self._now

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> SimulatedCall:
        """See ``IReactorTime``.

        Raises:
            ValueError: the delay is negative.
        """
        if delay < 0:
            raise ValueError(f"a call cannot be made {-delay} s ago")
        self._order += 1
        call = SimulatedCall(self, self._now + delay, self._order, callable, args, kwargs)
        self._push(call)
        return call

    def getDelayedCalls(self) -> list[SimulatedCall]:
        """Give the pending calls in the order in which they will be made."""
        return sorted(self._pending.values(), key=lambda call: (call.time, call.order))

    def advance(self, amount: float) -> None:
        """Move the time on by that many seconds and make every call that falls due on the way.

        Raises:
            Exception: whatever the calls raised.
        """
        if amount < 0:
            raise ValueError("time does not move back")
        self._advance_to(self._now + amount)
        self._raise_errors()

    def stand_still(self, amount: float) -> None:
        """Let that many seconds pass without a call, as for a process that is stopped for as long.

        What falls due meanwhile is called when the time is moved the next time, in order, and late: a call then finds
        the time later than what it was scheduled for.
        """
        if amount < 0:
            raise ValueError("time does not move back")
        self._now += amount

    def run(self, *, until: float | None = None, max_events: int = 1_000_000) -> int:
        """Jump from call to call until none is left, or until a time.

        Args:
            until: the time to stop at, and to stand at afterwards; ``None`` to run until nothing is pending.
            max_events: how many calls may be made; a simulation that never rests ends here.

        Returns:
            How many calls were made.

        Raises:
            ResourcesExhaustedError: ``max_events`` calls were made and others are still due.
            Exception: whatever the calls raised.
        """
        made = 0
        while (call := self._head()) is not None and (until is None or call.time <= until):
            if made == max_events:
                self._raise_errors()
                raise ResourcesExhaustedError(f"{max_events} calls made, and {len(self._pending)} still pending")
            self._step(call)
            made += 1
        if until is not None and until > self._now:
            self._now = until
        self._raise_errors()
        return made

    def run_until(self, condition: Callable[[], object], *, limit: float) -> bool:
        """Jump from call to call until a condition holds; it is asked before the first call and after each.

        Args:
            condition: what is waited for.
            limit: seconds from now at which to give up; the time then stands there.

        Returns:
            Whether the condition holds.

        Raises:
            Exception: whatever the calls raised.
        """
        end = self._now + limit
        while not condition():
            call = self._head()
            if call is None or call.time > end:
                self._now = end
                break
            self._step(call)
            self._raise_errors()
        return bool(condition())

    def _advance_to(self, end: float) -> None:
        while (call := self._head()) is not None and call.time <= end:
            self._step(call)
        self._now = max(self._now, end)

    def _step(self, call: SimulatedCall) -> None:
        heappop(self._heap)
        del self._pending[call.order]
        self._now = max(self._now, call.time)
        try:
            call.run()
        except Exception as error:
            self._errors.append(error)

    def _head(self) -> SimulatedCall | None:
        """Give the next call to make; drop what is stale before it."""
        heap = self._heap
        while heap:
            _, order, call = heap[0]
            if call.order == order and call.active():
                return call
            heappop(heap)
        return None

    def _push(self, call: SimulatedCall) -> None:
        self._pending[call.order] = call
        heappush(self._heap, (call.time, call.order, call))

    def _cancelled(self, call: SimulatedCall) -> None:
        del self._pending[call.order]
        self._tidy()

    def _moved(self, call: SimulatedCall, time: float) -> None:
        """Schedule a call anew: behind those that are already due at its new time."""
        del self._pending[call.order]
        self._order += 1
        call.time, call.order = max(time, self._now), self._order
        self._push(call)
        self._tidy()

    def _tidy(self) -> None:
        """Rebuild the heap when it holds mostly stale entries."""
        if len(self._heap) > _STALE_LIMIT + 2 * len(self._pending):
            self._heap = [(call.time, call.order, call) for call in self._pending.values()]
            heapify(self._heap)

    def _raise_errors(self) -> None:
        errors, self._errors = self._errors, []
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise ExceptionGroup("calls of a simulated clock failed", errors)
