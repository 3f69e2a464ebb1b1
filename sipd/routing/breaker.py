"""Spares a service that fails: after some failures in a row nobody asks it for a while, then one does."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Counts failures in a row.

    Args:
        seconds: the time.
        failures: so many in a row, and nobody asks any more.
        rest: seconds until one question is let through again; if that fails, too, as many again.
    """

    def __init__(self, seconds: Callable[[], float], *, failures: int = 5, rest: float = 30.0) -> None:
        self._seconds = seconds
        self._failures = failures
        self._rest = rest
        self._count = 0
        self._closed_until = 0.0
        self._is_probing = False

    @property
    def is_resting(self) -> bool:
        """Whether nobody may ask now."""
        return self._count >= self._failures and (self._is_probing or self._seconds() < self._closed_until)

    def allow(self) -> bool:
        """Say whether a question may be asked now; if so, `succeeded` or `failed` has to follow."""
        if self._count < self._failures:
            return True
        if self._is_probing or self._seconds() < self._closed_until:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> bool:
        """Take note of an answer; say whether that ends a time of rest."""
        was_resting = self._count >= self._failures
        self._count, self._is_probing = 0, False
        return was_resting

    def failed(self) -> bool:
        """Take note of a failure; say whether a time of rest begins with it that was none before."""
        self._is_probing = False
        self._count += 1
        if self._count >= self._failures:
            self._closed_until = self._seconds() + self._rest
        return self._count == self._failures
