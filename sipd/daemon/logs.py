"""Log lines: for people by default, JSON for machines.

Most of what is logged contains text that others sent. A line break in it is indented, every other control character is
escaped, and octets that are not UTF-8 are shown as such: nobody can forge a line of this log.

A server that is busy logs two lines for each call, so the common event has a short way: whether it is wanted is known
from the last one of its kind, its text is one call of ``str.format_map``, and its date is that of the second.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, cast

from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    PredicateResult,
    eventAsText,
    formatEvent,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from sipd.daemon.sections import Logging
from sipd.errors import ConfigurationError

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code not in (9, 10)}
#: What Twisted says at info level about every socket it opens is not what an operator wants to read.
_QUIET = ("twisted", "log_legacy")


@implementer(ILogObserver)
class LogWriter:
    """Writes what the settings ask for to a stream. What is wanted is asked once for each namespace and level.

    Args:
        stream: where to.
        settings: what, and how.
    """

    def __init__(self, stream: IO[str] | LogFile, settings: Logging) -> None:
        self._stream = cast(IO[str], stream)
        self.configure(settings)

    def configure(self, settings: Logging) -> None:
        """Write something else, or otherwise, from now on; to the same stream."""
        level = LogLevel.levelWithName(settings.level)
        self._predicate = LogLevelFilterPredicate(defaultLogLevel=level)
        if level >= LogLevel.info:
            for namespace in _QUIET:
                self._predicate.setLogLevelForNamespace(namespace, max(level, LogLevel.warn))
        self._observer = FileLogObserver(self._stream, _FORMATS[settings.format])
        self._is_wanted: dict[tuple[object, object], bool] = {}

    def __call__(self, event: LogEvent) -> None:
        """See ``ILogObserver``."""
        kind = event.get("log_namespace"), event.get("log_level")
        is_wanted = self._is_wanted.get(kind)
        if is_wanted is None:
            is_wanted = self._is_wanted[kind] = self._predicate(event) is not PredicateResult.no
        if is_wanted:
            self._observer(event)


def open_log(path: Path) -> LogFile:
    """Open a file to append to. It never rotates by itself; its ``reopen`` is for who moves it away.

    Raises:
        ConfigurationError: it cannot be opened.
    """
    try:
        return LogFile(path.name, str(path.parent), rotateLength=None)
    except OSError as error:
        raise ConfigurationError([f"{path}: the log cannot be written: {error.strerror}"]) from error


def format_text(event: LogEvent) -> str:
    """Give an event as ``2026-11-21 12:00:00.123 info`` and its text, local time, further lines indented."""
    if "log_failure" in event:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    else:
        text = _message(event)
    text = _safe(text.rstrip("\n"))
    if not text:
        return ""
    second, millisecond = _moment(event)
    return f"{_local_time(second)}.{millisecond:03d} {_level(event):<5} {text}\n"


def format_json(event: LogEvent) -> str:
    """Give an event as one flat JSON object: time, level, logger, message, and its fields that are plain values."""
    second, millisecond = _moment(event)
    record: dict[str, Any] = {
        "time": f"{_universal_time(second)}.{millisecond:03d}+00:00",
        "level": _level(event),
        "logger": event.get("log_namespace", ""),
        "message": _message(event),
    }
    if "log_failure" in event:
        record["traceback"] = event["log_failure"].getTraceback()
    for name, value in event.items():
        if not name.startswith("log_") and name not in record and isinstance(value, _PLAIN):
            record[name] = value
    return json.dumps(record, ensure_ascii=True) + "\n"


_FORMATS: dict[str, Callable[[LogEvent], str]] = {"text": format_text, "json": format_json}
_PLAIN = (str, int, float, bool, type(None))


def _moment(event: LogEvent) -> tuple[int, int]:
    """Give the second and the millisecond of an event."""
    second, microsecond = divmod(round(event.get("log_time", 0.0) * 1_000_000), 1_000_000)
    return second, microsecond // 1000


@lru_cache(maxsize=1)
def _local_time(second: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))


@lru_cache(maxsize=1)
def _universal_time(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _message(event: LogEvent) -> str:
    """Fill in the format of an event; what Python alone cannot do is left to Twisted, which never fails."""
    try:
        return cast(str, event["log_format"].format_map(event))
    except Exception:
        return formatEvent(event)


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _safe(text: str) -> str:
    if text.isprintable():
        return text
    shown = text.translate(_ESCAPES).replace("\n", "\n    ")
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")
