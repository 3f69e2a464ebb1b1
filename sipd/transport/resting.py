"""Which targets failed a short while ago: they are tried after the others (RFC 3263 section 4.3)."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.interfaces import IReactorTime

from sipd.sip.locate import Target, Transport

#: Seconds for which a server may ask to be spared (Retry-After); a longer wish is shortened.
_MAX_REST = 600.0


class RestingTargets:
    """Remembers failures for a while. A target that rests is never left out: it may be the only one.

    Args:
        clock: says for how long a target has rested.
        rest: seconds, where the server does not wish for another time.
        max_targets: beyond that the one that failed first is forgotten.
    """

    def __init__(self, clock: IReactorTime, *, rest: float = 60.0, max_targets: int = 1024) -> None:
        self._clock = clock
        self._rest = rest
        self._max_targets = max_targets
        self._until: dict[tuple[Transport, str, int], float] = {}

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._until)

    def add(self, target: Target, seconds: float | None = None) -> None:
        """Let a target rest from now on.

        Args:
            target: that failed.
            seconds: that the server wishes for; ``None`` where it said nothing.
        """
        key = _key(target)
        self._until.pop(key, None)
        if len(self._until) >= self._max_targets:
            del self._until[next(iter(self._until))]
        rest = self._rest if seconds is None else min(max(seconds, 0.0), _MAX_REST)
        self._until[key] = self._clock.seconds() + rest

    def put_last(self, targets: Iterable[Target]) -> tuple[Target, ...]:
        """Give targets in their order, but those that rest after all others."""
        if not self._until:
            return tuple(targets)
        return tuple(sorted(targets, key=self._rests))

    def _rests(self, target: Target) -> bool:
        key = _key(target)
        until = self._until.get(key)
        if until is None:
            return False
        if until > self._clock.seconds():
            return True
        del self._until[key]
        return False


def _key(target: Target) -> tuple[Transport, str, int]:
    return target.transport, target.host, target.port
