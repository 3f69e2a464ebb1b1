"""What Prometheus would read of metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

#: Name and labels of a sample, and its value.
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    """Read what was told."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def expose(*collectors: Collector) -> Samples:
    """Tell, and read it."""
    registry = CollectorRegistry()
    for collector in collectors:
        registry.register(collector)
    return parse(generate_latest(registry).decode())


def value(samples: Samples, name: str, **labels: str) -> float | None:
    """Give one sample, or `None`. A label that Python keeps for itself is written with `_` after it."""
    return samples.get((name, tuple(sorted((label.rstrip("_"), text) for label, text in labels.items()))))
