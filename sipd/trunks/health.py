"""Whether a server of a trunk is up: what answers and silences make of it, without clocks and messages."""

from __future__ import annotations

from sipd.trunks.settings import HealthSettings


class ServerHealth:
    """One server. It is up until it has failed often enough in a row, and down until it has done well often enough.

    Args:
        settings: how often that is.

    Attributes:
        is_up: whether calls may go there, as far as is known.
        reason: of the last change, or failure.
        rests_until: it wants to be left alone until then; seconds of the clock of whoever says so.
    """

    __slots__ = ("_failures", "_settings", "_successes", "is_up", "reason", "rests_until")

    def __init__(self, settings: HealthSettings) -> None:
        self.is_up = True
        self.reason = ""
        self.rests_until = 0.0
        self._settings = settings
        self._failures = 0
        self._successes = 0

    @property
    def failures(self) -> int:
        """How often it has failed in a row."""
        return self._failures

    def configure(self, settings: HealthSettings) -> None:
        """Let other settings hold from now on; what is known stays."""
        self._settings = settings

    def succeeded(self) -> bool:
        """Take note that it answers; say whether it is up again by that."""
        self._failures = 0
        self._successes += 1
        if self.is_up or self._successes < self._settings.successes:
            return False
        self.is_up = True
        self.reason = _times("it answers", self._successes)
        return True

    def failed(self, reason: str) -> bool:
        """Take note that it does not answer, or not well; say whether it is down by that."""
        self._successes = 0
        self._failures += 1
        if self.is_up:
            self.reason = _times(reason, self._failures)
        if not self.is_up or self._failures < self._settings.failures:
            return False
        self.is_up = False
        return True

    def recover(self) -> None:
        """Let calls try it again; the next failure has it down again."""
        self.is_up = True
        self.reason = "calls try it again"
        self._failures = self._settings.failures - 1

    def may_take_calls(self, now: float) -> bool:
        """Say whether a call may go there."""
        return self.is_up and self.rests_until <= now


def _times(text: str, count: int) -> str:
    return text if count == 1 else f"{text}, {count} times"
