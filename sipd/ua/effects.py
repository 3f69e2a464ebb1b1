"""Performs the effects of a machine in order, whoever is called back by one of them, and whatever that feeds to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Effect = TypeVar("Effect")


class EffectQueue(Generic[Effect]):
    """Effects that wait to be performed, first in, first out.

    What is added while one is being performed comes after all that were added before.

    Args:
        perform: performs one.
    """

    __slots__ = ("_is_performing", "_perform", "_waiting")

    def __init__(self, perform: Callable[[Effect], None]) -> None:
        self._perform = perform
        self._waiting: deque[Effect] = deque()
        self._is_performing = False

    def add(self, effects: Iterable[Effect]) -> None:
        """Perform these, after those that wait."""
        self._waiting.extend(effects)
        if self._is_performing:
            return
        self._is_performing = True
        try:
            while self._waiting:
                self._perform(self._waiting.popleft())
        finally:
            self._is_performing = False

    def clear(self) -> None:
        """Forget those that wait: they are not to happen any more."""
        self._waiting.clear()
