"""Lines on what somebody tried who should not: one kind of line, one name of the logger, made for fail2ban.

    security: KIND src=ADDRESS port=PORT name="value" ...

The address comes from the socket and stands before anything that the other side has chosen, so that nobody can have
somebody else banned; what it has chosen is quoted, escaped and short.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

from sipd.guards.buckets import BucketTable, Rate, TokenBucket

#: The name of the logger, as it stands in JSON logs.
NAMESPACE = "sipd.security"
#: Characters of a value that are shown.
_SHOWN = 64
#: How often the same thing is said of the same source, and lines altogether.
_REPETITION = Rate(per_second=1 / 60, burst=1)
_LINES = Rate(per_second=20, burst=100)

#: Of no class: a class would give it its own name.
_log = Logger(namespace=NAMESPACE)


class SecurityLog:
    """Writes these lines, each at level warn, at a bounded rate.

    The same of the same source is said once a minute; and there are no more than 20 lines a second, in bursts of 100.

    Args:
        seconds: tells the time.

    Attributes:
        counts: kind of line to how many there were, those included that were not written.
        unwritten: how many were not.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self.unwritten = 0
        self._seconds = seconds
        self._said = BucketTable()
        self._lines = TokenBucket(_LINES, seconds())

    def note(self, kind: str, src: str, port: int | None = None, topic: str = "", **details: object) -> None:
        """Say something.

        Args:
            kind: a short fixed word: ``denied``, ``flood``, ``scanner``, ``banned``, ``fraud``.
            src: a numeric address, as the socket gave it.
            port: of it, where it is known.
            topic: what else tells this apart from what was said of the source before.
            details: further values, in order.
        """
        self.counts[kind] += 1
        now = self._seconds()
        if not self._said.take((kind, src, topic), _REPETITION, now) or not self._lines.take(now):
            self.unwritten += 1
            return
        _log.warn(
            "security: {kind} src={src} port={port}{details}",
            kind=kind,
            src=src,
            port="" if port is None else port,
            details="".join(f" {name}={quoted(str(value))}" for name, value in details.items()),
        )


def quoted(text: str) -> str:
    """Make text from the network harmless in a log: ASCII, in quotes, escaped, short."""
    return json.dumps(text[:_SHOWN])
