"""Log lines: for people by default, JSON for machines.

Most of what is logged contains text that others sent. A line break in it is indented, every other control character is
escaped, and octets that are not UTF-8 are shown as such: nobody can forge a line of this log.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, cast

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
)
from twisted.python.logfile import LogFile

from sipd.daemon.sections import Logging
from sipd.errors import ConfigurationError

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code not in (9, 10)}
#: What Twisted says at info level about every socket it opens is not what an operator wants to read.
_QUIET = ("twisted", "log_legacy")


def observer_for(stream: IO[str] | LogFile, settings: Logging) -> ILogObserver:
    """Give an observer that writes what the settings ask for to a stream."""
    formatter = _FORMATS[settings.format]
    level = LogLevel.levelWithName(settings.level)
    predicate = LogLevelFilterPredicate(defaultLogLevel=level)
    if level >= LogLevel.info:
        for namespace in _QUIET:
            predicate.setLogLevelForNamespace(namespace, max(level, LogLevel.warn))
    return FilteringLogObserver(FileLogObserver(cast(IO[str], stream), formatter), [predicate])


def open_log(path: Path) -> LogFile:
    """Open a file to append to. It never rotates by itself; its `reopen` is for who moves it away.

    Raises:
        ConfigurationError: it cannot be opened.
    """
    try:
        return LogFile(path.name, str(path.parent), rotateLength=None)
    except OSError as error:
        raise ConfigurationError([f"{path}: the log cannot be written: {error.strerror}"]) from error


def format_text(event: LogEvent) -> str:
    """Give an event as `2026-11-21 12:00:00.123 info  text`, local time, further lines indented."""
    moment = _moment(event).astimezone()
    text = _safe(eventAsText(event, includeTimestamp=False, includeSystem=False).rstrip("\n"))
    stamp = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
    return f"{stamp} {_level(event):<5} {text}\n" if text else ""


def format_json(event: LogEvent) -> str:
    """Give an event as one flat JSON object: time, level, logger, message, and its fields that are plain values."""
    text = eventAsText(event, includeTraceback=False, includeTimestamp=False, includeSystem=False)
    record: dict[str, Any] = {
        "time": _moment(event).isoformat(timespec="milliseconds"),
        "level": _level(event),
        "logger": event.get("log_namespace", ""),
        "message": text,
    }
    if "log_failure" in event:
        record["traceback"] = event["log_failure"].getTraceback()
    for name, value in event.items():
        if not name.startswith("log_") and name not in record and isinstance(value, str | int | float | bool | None):
            record[name] = value
    return json.dumps(record, ensure_ascii=True) + "\n"


_FORMATS: dict[str, Callable[[LogEvent], str]] = {"text": format_text, "json": format_json}


def _moment(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0), UTC)


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _safe(text: str) -> str:
    shown = text.translate(_ESCAPES).replace("\n", "\n    ")
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")
