"""How a call went, as one line and as values for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from sipd.media.endpoint.statistics import EndpointStatistics
from sipd.phone.ended import CallEnd


def media_line(statistics: EndpointStatistics) -> str:
    """Say how the media of a call fare, or fared."""
    expected = statistics.packets_received + max(0, statistics.lost)
    share = 100.0 * max(0, statistics.lost) / expected if expected else 0.0
    return ", ".join(
        [
            (statistics.codec or "no codec") + (" encrypted" if statistics.is_secure else ""),
            f"{statistics.packets_sent} packets sent, {statistics.packets_received} received",
            f"{statistics.lost} lost ({share:.1f} %)",
            f"jitter {_milliseconds(statistics.jitter)}",
            f"round trip {_milliseconds(statistics.round_trip)}",
            f"MOS {'unknown' if statistics.mos is None else f'{statistics.mos:.1f}'}",
        ]
    )


def media_values(statistics: EndpointStatistics) -> dict[str, Any]:
    """Give the same for JSON: times in seconds, and null where nothing is known."""
    return asdict(statistics)


def end_line(end: CallEnd, statistics: EndpointStatistics | None) -> str:
    """Say how a call was over, and how its media fared."""
    text = f"ended by {end.by.value} after {end.duration:.1f} s"
    if end.reasons:
        text += f" ({'; '.join(end.reasons)})"
    return text if statistics is None else f"{text}: {media_line(statistics)}"


def end_values(end: CallEnd, statistics: EndpointStatistics | None) -> dict[str, Any]:
    """Give the same for JSON."""
    return {
        "by": end.by.name.lower(),
        "text": end.text,
        "status": end.status or None,
        "reasons": list(end.reasons),
        "duration": round(end.duration, 3),
        "media": None if statistics is None else media_values(statistics),
    }


def _milliseconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{1000 * seconds:.1f} ms"
