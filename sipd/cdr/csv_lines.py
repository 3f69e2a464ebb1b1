"""Call records as lines of comma-separated values (RFC 4180): with columns of choice, or as other exchanges have them.

* ``asterisk``: the 18 fields of its ``Master.csv``, with unique id and user field: text in quotes, numbers bare, a time
  that did not come empty.
* ``freeswitch``: the 15 fields of the template that its module ``cdr_csv`` has as its default, all in quotes.

Both write times of day without a zone; here that is UTC. What sipd does not know is empty. Their seconds are whole ones
that are over, as theirs are; ``billable_seconds`` counts the one that has begun.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sipd.cdr.addresses import number_of
from sipd.cdr.record import FIELDS, Record, Type

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TYPES = {field.name: field.type for field in FIELDS}


class Times(Enum):
    """How times are written in columns of choice."""

    #: Seconds since 1970, with three digits of their fraction.
    SECONDS = "seconds"
    #: ``2026-11-22T12:00:00.000Z`` (RFC 3339).
    ISO = "iso"

    __hash__ = object.__hash__


def columns_printer(columns: Sequence[str], times: Times = Times.SECONDS) -> tuple[Callable[[Record], bytes], bytes]:
    """Give what prints a record with these columns, and the line of their names.

    Args:
        columns: names of fields. Lists of text are written with a space in between, other lists not at all.
        times: how times are written.
    """

    def print_record(record: Record) -> bytes:
        return _line([_free(record.get(name), _TYPES[name], times) for name in columns])

    return print_record, _line([_quoted(name) for name in columns])


def print_asterisk(record: Record) -> bytes:
    """Print a record as Asterisk's ``cdr_csv`` does."""
    number = number_of(record["caller"])
    name = record["caller_name"]
    shown = f'"{name}" <{number}>' if name else number
    trunk = record["callee_trunk"]
    return _line(
        [
            _quoted(record["user"] or ""),
            _quoted(number),
            _quoted(number_of(record["callee"])),
            _quoted(record["route"]),
            _quoted(shown),
            _quoted(f"SIP/{record['trunk'] or record['user'] or number}-{record['call']}"),
            _quoted(f"SIP/{trunk or number_of(record['callee_uri'])}" if record["callee_uri"] else ""),
            _quoted("Dial" if record["callee_uri"] else ""),
            _quoted(record["callee_uri"]),
            _date(record["started_at"]),
            _date(record["answered_at"]),
            _date(record["ended_at"]),
            str(_whole(record["started_at"], record["ended_at"])),
            str(_whole(record["answered_at"], record["ended_at"])),
            _quoted(disposition_of(record)),
            _quoted("DOCUMENTATION"),
            _quoted(record["id"]),
            _quoted(record["call_id"]),
        ]
    )


def print_freeswitch(record: Record) -> bytes:
    """Print a record as FreeSWITCH's ``cdr_csv`` does with the template ``example``."""
    codec = next((one.partition("/")[0].upper() for one in record["codecs"]), "")
    return _line(
        [
            _quoted(record["caller_name"]),
            _quoted(number_of(record["caller"])),
            _quoted(number_of(record["callee"])),
            _quoted(record["route"]),
            _quoted(_stamp(record["started_at"])),
            _quoted(_stamp(record["answered_at"])),
            _quoted(_stamp(record["ended_at"])),
            _quoted(str(_whole(record["started_at"], record["ended_at"]))),
            _quoted(str(_whole(record["answered_at"], record["ended_at"]))),
            _quoted(record["hangup_name"]),
            _quoted(record["id"]),
            _quoted(record["callee_call_id"]),
            _quoted(record["user"] or ""),
            _quoted(codec),
            _quoted(codec),
        ]
    )


#: By the name in a configuration.
PRESETS: dict[str, Callable[[Record], bytes]] = {"asterisk": print_asterisk, "freeswitch": print_freeswitch}


def disposition_of(record: Record) -> str:
    """Give what Asterisk calls the outcome of a call."""
    if record["answered_at"] is not None:
        return "ANSWERED"
    reason = record["hangup_reason"]
    if reason == "busy":
        return "BUSY"
    if reason == "congestion":
        return "CONGESTION"
    return "NO ANSWER" if reason in ("no-answer", "cancelled", "timeout", "normal") else "FAILED"


def _line(values: Sequence[str]) -> bytes:
    return (",".join(values) + "\n").encode("utf-8", "replace")


def _quoted(text: str) -> str:
    return '"' + _CONTROL.sub(" ", text).replace('"', '""') + '"'


def _free(value: Any, kind: Type, times: Times) -> str:
    if value is None:
        return ""
    if kind is Type.TIME:
        return f"{value:.3f}" if times is Times.SECONDS else _iso(value)
    if kind is Type.TEXT:
        return _quoted(value)
    if kind is Type.LIST:
        return _quoted(" ".join(one for one in value if isinstance(one, str)))
    return str(value)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def _stamp(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _date(seconds: float | None) -> str:
    return "" if seconds is None else _quoted(_stamp(seconds))


def _whole(start: float | None, end: float | None) -> int:
    """Give the whole seconds between two stamps, as they would be without their fractions."""
    return 0 if start is None or end is None else max(0, int(end) - int(start))
