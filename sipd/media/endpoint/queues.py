"""A bounded queue between the beats of an endpoint and a coroutine."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, fail, succeed

from sipd.errors import InvalidStateError

T = TypeVar("T")


class DroppingQueue(Generic[T]):
    """Keeps what comes until somebody asks for it; when it is full, the oldest is dropped.

    Args:
        limit: how much is kept.

    Attributes:
        dropped: how much was dropped.
    """

    __slots__ = ("_entries", "_is_ended", "_limit", "_waiting", "dropped")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._entries: deque[T] = deque()
        self._waiting: deque[Deferred[T]] = deque()
        self._is_ended = False
        self.dropped = 0

    def __len__(self) -> int:
        """Count what is kept."""
        return len(self._entries)

    def put(self, entry: T) -> None:
        """Give one to who waits for longest, or keep it."""
        if self._waiting:
            self._waiting.popleft().callback(entry)
            return
        if len(self._entries) >= self._limit:
            self._entries.popleft()
            self.dropped += 1
        self._entries.append(entry)

    def get(self) -> Deferred[T]:
        """Give the oldest one, or the next. Fails with `InvalidStateError` when there are no more; can be cancelled."""
        if self._entries:
            return succeed(self._entries.popleft())
        if self._is_ended:
            return fail(InvalidStateError("It has ended"))
        waiting: Deferred[T] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def end(self) -> None:
        """Let nothing more come: what is kept can still be had."""
        self._is_ended = True
        waiting, self._waiting = self._waiting, deque()
        for deferred in waiting:
            deferred.errback(InvalidStateError("It has ended"))

    def _forget(self, waiting: Deferred[T]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
