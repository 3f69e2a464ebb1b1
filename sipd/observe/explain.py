"""Why a call went the way it went: the decisions of recent calls, as lines for a person."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from sipd.interfaces import CallObserver, CallRecord, Decision


@dataclass(slots=True, kw_only=True)
class _Story:
    """What is remembered of one call; where decisions were left out, it is in the middle of them."""

    record: CallRecord
    decisions: list[Decision] = field(default_factory=list)
    left_out: int = 0


class ExplainLog(CallObserver):
    """Remembers the decisions of the calls in progress and of those that ended last.

    Args:
        max_calls: how many calls are remembered; beyond it the call that ended first is forgotten, and if none has
            ended the one that began first.
        max_decisions: how many decisions of one call are remembered; beyond it some in the middle are left out.
    """

    def __init__(self, *, max_calls: int = 1000, max_decisions: int = 200) -> None:
        self._max_calls = max_calls
        self._half = max(1, max_decisions // 2)
        self._live: dict[str, _Story] = {}
        self._ended: dict[str, _Story] = {}

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def calls(self) -> list[str]:
        """Give the identifiers of the calls that are remembered: those that ended, then those in progress."""
        return [*self._ended, *self._live]

    def find(self, call_id: str) -> str | None:
        """Give the call whose incoming leg has that Call-ID, the newest if there are several, or ``None``."""
        return next((call for call in reversed(self.calls()) if self._story(call).record.call_id == call_id), None)

    def explain(self, call: str) -> list[str]:
        """Give the explanation of a call, one line for each decision after a line about the call.

        Raises:
            KeyError: the call is not remembered.
        """
        story = self._story(call)
        lines = [f"{call}: {describe(story.record)}", *map(_line, story.decisions)]
        if story.left_out:
            lines.insert(1 + self._half, f"... {story.left_out} more ...")
        return lines

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._live[call] = _Story(record=record)
        while len(self._live) + len(self._ended) > self._max_calls:
            stories = self._ended or self._live
            del stories[next(iter(stories))]

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        story = self._live.get(call) or self._ended.get(call)
        if story is None:
            return
        if len(story.decisions) == 2 * self._half:
            del story.decisions[self._half]
            story.left_out += 1
        story.decisions.append(decision)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        story = self._live.pop(call, None)
        if story is not None:
            self._ended[call] = story

    def _story(self, call: str) -> _Story:
        return self._live[call] if call in self._live else self._ended[call]


def describe(record: CallRecord) -> str:
    """Say in one line who called whom and what came of it."""
    parties = f"{record.caller} -> {record.callee}"
    if record.ended_at is None:
        state = "ringing" if record.ringing_at is not None else "trying"
        return f"{parties}, {'talking' if record.answered_at is not None else state}"
    cause = f" ({record.cause})" if record.cause else ""
    if record.answered_at is None:
        after = record.ended_at - record.started_at
        return f"{parties}, failed after {after:.1f} s: {record.status} {record.reason}{cause}"
    talked = record.ended_at - record.answered_at
    return f"{parties}, talked {talked:.1f} s, ended by {record.ended_by or 'nobody known'}{cause}"


def _line(decision: Decision) -> str:
    at = datetime.fromtimestamp(decision.at, UTC).strftime("%H:%M:%S.%f")[:-3]
    return f"{at} {decision.leg or '-':<3} {decision.kind:<14} {decision.text}"
