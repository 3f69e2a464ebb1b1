"""How many calls a user, a trunk or a source has: the set of those that live, counted by what they have in common.

Nothing is counted up and down apart from that set: what ends twice, or never began, changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Key(NamedTuple):
    """What calls have in common: its kind (``user``, ``source``, ``trunk-in``, ...), and which one."""

    kind: str
    name: str


class LiveCalls:
    """The calls in progress, by name, each with any number of keys."""

    def __init__(self) -> None:
        self._keys: dict[str, frozenset[Key]] = {}
        self._calls: dict[Key, set[str]] = {}

    def __len__(self) -> int:
        """How many calls there are."""
        return len(self._keys)

    def __contains__(self, call: object) -> bool:
        return call in self._keys

    def begin(self, call: str, keys: Iterable[Key]) -> None:
        """Count a call from now on; one of that name that is there already has these keys now."""
        self.end(call)
        self._keys[call] = frozenset(keys)
        for key in self._keys[call]:
            self._calls.setdefault(key, set()).add(call)

    def end(self, call: str) -> None:
        """Count it no longer. Idempotent."""
        for key in self._keys.pop(call, ()):
            calls = self._calls[key]
            calls.discard(call)
            if not calls:
                del self._calls[key]

    def count(self, key: Key) -> int:
        """Say how many calls have that key."""
        return len(self._calls.get(key, ()))

    def calls(self, key: Key) -> frozenset[str]:
        """Give the calls that have that key."""
        return frozenset(self._calls.get(key, ()))

    def counts(self, kind: str) -> dict[str, int]:
        """Give for each name of a kind how many calls it has: for metrics."""
        return {key.name: len(calls) for key, calls in self._calls.items() if key.kind == kind}
