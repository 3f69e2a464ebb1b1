"""What the telephone shows: lines for a person, or JSON objects for a program."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from sipd.observe.sniffing.lines import moment
from sipd.sip.grammar import printable

#: Characters of a line that holds what a peer chose.
_LONGEST = 500


class Screen:
    """Standard output and standard error.

    Args:
        write: takes each line of output, without its end.
        complain: takes each line that is for standard error.
        as_json: whether output is one JSON object a line.
        is_quiet: whether there is none.
        seconds: tells the wall clock's time.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        complain: Callable[[str], None],
        *,
        as_json: bool = False,
        is_quiet: bool = False,
        seconds: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._complain = complain
        self.as_json = as_json
        self.is_quiet = is_quiet
        self.seconds = seconds

    def show(self, event: str, text: str, /, **values: Any) -> None:
        """Show something that has happened.

        Args:
            event: what kind of thing it is, for JSON.
            text: a line for a person, made harmless for a terminal here.
            values: what JSON has of it.
        """
        if self.is_quiet:
            return
        if not self.as_json:
            self._write(printable(text, _LONGEST))
            return
        now = self.seconds()
        self._write(json.dumps({"event": event, "at": round(now, 6), "time": moment(now), **values}))

    def draw(self, text: str, /, **values: Any) -> None:
        """Show a message on the wire: lines that are harmless already."""
        if self.is_quiet:
            return
        self._write(json.dumps({"event": "sip", **values}) if self.as_json else text)

    def fail(self, text: str, /, **values: Any) -> None:
        """Say in one line what went wrong: on standard error, and in JSON, too. That is said even when quiet."""
        if self.as_json:
            self.show("failed", text, reason=text, **values)
        self._complain(printable(text, _LONGEST))
