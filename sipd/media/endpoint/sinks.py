"""Sinks that are ready made: what a coroutine reads, several at once, and what goes straight back. See `ISink`."""

from __future__ import annotations

from array import array
from collections import deque
from typing import Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.errors import InvalidStateError
from sipd.media.endpoint.interfaces import IEndingSink, ISink, ISource
from sipd.media.endpoint.queues import DroppingQueue


@implementer(IEndingSink)
class QueueSink:
    """What a coroutine reads: ``async for frame in sink``, until the endpoint is closed.

    Args:
        limit: frames of 20 ms that may wait; the oldest are dropped.
    """

    def __init__(self, limit: int = 50) -> None:
        self._queue: DroppingQueue[array[int]] = DroppingQueue(limit)

    @property
    def dropped(self) -> int:
        """How many frames were dropped since nobody took them."""
        return self._queue.dropped

    def __len__(self) -> int:
        """Count the frames that wait."""
        return len(self._queue)

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self._queue.put(samples)

    def end(self) -> None:
        """See `IEndingSink`: who reads gets what is left, and then the end."""
        self._queue.end()

    def read(self) -> Deferred[array[int]]:
        """Give the next frame. Fails with `InvalidStateError` at the end; can be cancelled."""
        return self._queue.get()

    def __aiter__(self) -> QueueSink:
        """Give itself."""
        return self

    async def __anext__(self) -> array[int]:
        """Give the next frame."""
        try:
            return await self._queue.get()
        except InvalidStateError:
            raise StopAsyncIteration from None


class Detector(Protocol):
    """Something of `sipd.rtp.detection` that looks for something in sound."""

    def feed(self, samples: array[int]) -> None:
        """Take what was heard next."""


@implementer(ISink)
class Detecting:
    """Lets detectors listen: ``call.connect(None, Detecting(ToneDetector((425,), told), SilenceDetector(told)))``.

    Args:
        detectors: of `sipd.rtp.detection`.
    """

    def __init__(self, *detectors: Detector) -> None:
        self._detectors = detectors

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        for detector in self._detectors:
            detector.feed(samples)


@implementer(IEndingSink)
class Tee:
    """Gives what comes to several sinks.

    Args:
        sinks: in order.
    """

    __slots__ = ("_sinks",)

    def __init__(self, *sinks: ISink) -> None:
        self._sinks = sinks

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        for sink in self._sinks:
            sink.write(samples)

    def end(self) -> None:
        """See `IEndingSink`."""
        for sink in self._sinks:
            end_sink(sink)


@implementer(ISource, ISink)
class Loop:
    """A sink that is also the source: what is written comes out again, in order.

    Args:
        limit: frames that may be inside; the oldest are dropped.

    Attributes:
        dropped: how many were.
    """

    __slots__ = ("_frames", "dropped")

    def __init__(self, limit: int = 5) -> None:
        self._frames: deque[array[int]] = deque(maxlen=limit)
        self.dropped = 0

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self.dropped += len(self._frames) == self._frames.maxlen
        self._frames.append(samples)

    def read(self, count: int) -> array[int]:
        """See `ISource`: one frame, or nothing while there is none. It is never over."""
        if not self._frames:
            return array("h")
        frame = self._frames.popleft()
        if len(frame) > count:
            self._frames.appendleft(frame[count:])
            frame = frame[:count]
        return frame


class EchoPair:
    """Two ends, as of two endpoints that talk: what one writes, the other reads.

    Attributes:
        left: one end, a source and a sink.
        right: the other one.
    """

    __slots__ = ("left", "right")

    def __init__(self, limit: int = 5) -> None:
        there, back = Loop(limit), Loop(limit)
        self.left = _End(there, back)
        self.right = _End(back, there)


@implementer(ISource, ISink)
class _End:
    """One end of an `EchoPair`."""

    __slots__ = ("_reads", "_writes")

    def __init__(self, reads: Loop, writes: Loop) -> None:
        self._reads = reads
        self._writes = writes

    def read(self, count: int) -> array[int]:
        """See `ISource`."""
        return self._reads.read(count)

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        self._writes.write(samples)


def end_sink(sink: ISink | None) -> None:
    """Tell a sink that wants to know it that nothing more comes."""
    if sink is not None and IEndingSink.providedBy(sink):
        sink.end()
