"""What happens to a call, in order: filled by the stack, emptied by the call's one coroutine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred, succeed

T = TypeVar("T")


class Inbox(Generic[T]):
    """A queue with one reader. Filling it never blocks; a call has few legs, and each says little."""

    __slots__ = ("_items", "_waiting")

    def __init__(self) -> None:
        # A deque is ten times as large as this list, which is empty nearly always.
        self._items: list[T] = []
        self._waiting: Deferred[T] | None = None

    def __iter__(self) -> Iterator[T]:
        """Go through what waits to be taken."""
        return iter(self._items)

    def put(self, item: T) -> None:
        """Add an item; a reader that waits goes on with it at once."""
        waiting = self._waiting
        if waiting is None:
            self._items.append(item)
        else:
            self._waiting = None
            waiting.callback(item)

    def get(self) -> Deferred[T]:
        """Give the next item, when there is one."""
        if self._items:
            return succeed(self._items.pop(0))
        self._waiting = Deferred()
        return self._waiting
