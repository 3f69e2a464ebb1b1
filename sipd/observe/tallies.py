"""Counters and histograms as plain values, which become metrics when somebody asks for them.

To count costs one step in a dictionary: there is no lock, since all of it happens in the reactor's thread, and nothing
is global. What may stand in a label is bounded: whoever makes up words cannot make up time series.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

#: Different values of all labels together that one metric keeps; further ones are counted under `OTHER`.
MAX_SERIES = 200
OTHER = "other"

Labels = tuple[str, ...]


class Tally:
    """Counts events by labels.

    Args:
        name: of the metric; ends with ``_total``.
        text: one sentence for a person.
        labels: their names.
        known: values of all labels that are there from the start, at 0: or else nobody would see the first event as an
            increase.
    """

    __slots__ = ("_counts", "_labels", "_name", "_text")

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), known: Iterable[Labels] = ()) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._counts: dict[Labels, int] = dict.fromkeys(known if labels else ((),), 0)

    def add(self, *values: str, count: int = 1) -> None:
        """Count so many events, 0 or more, with these values of the labels."""
        values = _bounded(values, self._counts)
        self._counts[values] = self._counts.get(values, 0) + count

    def family(self) -> CounterMetricFamily:
        """Give the metric."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for values, count in self._counts.items():
            family.add_metric(values, count)
        return family


class Histogram:
    """Counts values by how large they are.

    Args:
        name: of the metric; ends with the unit.
        text: one sentence for a person.
        bounds: upper ones, included, in ascending order; what is above them all is counted, too.
        labels: their names.
    """

    __slots__ = ("_bounds", "_counts", "_labels", "_name", "_sums", "_text")

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Sequence[str] = ()) -> None:
        self._name = name
        self._text = text
        self._bounds = tuple(bounds)
        self._labels = tuple(labels)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not labels:
            self._begin(())

    def add(self, value: float, *values: str) -> None:
        """Count a value, 0 or more, with these values of the labels."""
        values = _bounded(values, self._counts)
        if values not in self._counts:
            self._begin(values)
        self._counts[values][bisect_left(self._bounds, value)] += 1
        self._sums[values] += value

    def _begin(self, values: Labels) -> None:
        self._counts[values] = [0] * (len(self._bounds) + 1)
        self._sums[values] = 0.0

    def family(self) -> HistogramMetricFamily:
        """Give the metric."""
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        for values, counts in self._counts.items():
            family.add_metric(values, list(zip(names, accumulate(counts), strict=True)), self._sums[values])
        return family


def _bounded(values: Labels, known: dict[Labels, int] | dict[Labels, list[int]]) -> Labels:
    """Give the values under which to count: their own, unless there are too many others already."""
    return values if values in known or len(known) < MAX_SERIES else (OTHER,) * len(values)
