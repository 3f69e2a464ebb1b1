"""The counters of a stream as they travel between processes, and how those of one engine are added to another's."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sipd.interfaces import StreamStatistics

#: Those of which an engine counts its own share; of the others the last value holds.
ADDED = (
    "packets",
    "size_octets",
    "rtcp_packets",
    "dropped",
    "lost",
    "late",
    "duplicates",
    "bursts",
    "ssrc_changes",
    "unexpected",
    "failures",
    "unreachable",
)
_IDENTITY = ("leg", "stream", "media", "engine")
_REPLACED = tuple(one.name for one in fields(StreamStatistics) if one.name not in ADDED and one.name not in _IDENTITY)


def export_counters(statistics: StreamStatistics) -> list[Any]:
    """Give the counters as values for JSON: first those that are added, then the others."""
    return [getattr(statistics, name) for name in ADDED + _REPLACED]


class Share:
    """What another process has counted of a stream since it has it.

    Args:
        statistics: to add to.
    """

    __slots__ = ("_counted", "_statistics")

    def __init__(self, statistics: StreamStatistics) -> None:
        self._statistics = statistics
        self._counted = [0] * len(ADDED)

    def is_in(self, statistics: StreamStatistics) -> bool:
        """Say whether it is added to that one."""
        return self._statistics is statistics

    def count_in(self, statistics: StreamStatistics) -> None:
        """Add to another one from now on."""
        self._statistics = statistics

    def update(self, values: list[Any]) -> None:
        """Take what `export_counters` gave there."""
        statistics = self._statistics
        for place, name in enumerate(ADDED):
            setattr(statistics, name, getattr(statistics, name) + values[place] - self._counted[place])
        self._counted = values[: len(ADDED)]
        for name, value in zip(_REPLACED, values[len(ADDED) :], strict=True):
            setattr(statistics, name, value)
