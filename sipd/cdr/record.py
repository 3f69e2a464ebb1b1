"""A call record as plain values: what JSON can say, under names that do not change. docs/records.md has the table.

A call gives one record of kind ``call``, which has its attempts inside, and one of kind ``attempt`` for each of them.
The names mean the same in both; who wants one table for both has one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any

from sipd.cdr.causes import hangup_of
from sipd.records import AttemptRecord, CallRecord, StreamStatistics

#: A record: text, numbers, ``None``, and lists and mappings of these.
Record = Mapping[str, Any]

#: Grows when a field changes its meaning or goes away; a new field alone changes nothing for who reads the others.
VERSION = 1

CALL, ATTEMPT = "call", "attempt"

_FOREIGN = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)


class Type(Enum):
    """What a field holds."""

    TEXT = "text"
    INTEGER = "integer"
    #: Seconds since 1970, or ``None`` for what did not happen.
    TIME = "time"
    SECONDS = "seconds"
    #: A list: of text, or of mappings.
    LIST = "list"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record.

    Args:
        name: its key.
        type: what it holds.
        kinds: the kinds of records that have it.
    """

    name: str
    type: Type
    kinds: tuple[str, ...] = (CALL, ATTEMPT)


#: All fields, in the order in which they are written.
FIELDS: tuple[Field, ...] = (
    Field("version", Type.INTEGER),
    Field("kind", Type.TEXT),
    Field("id", Type.TEXT),
    Field("call", Type.TEXT),
    Field("leg", Type.TEXT, (ATTEMPT,)),
    Field("label", Type.TEXT, (ATTEMPT,)),
    Field("call_id", Type.TEXT),
    Field("direction", Type.TEXT),
    Field("caller", Type.TEXT),
    Field("caller_name", Type.TEXT),
    Field("caller_identity", Type.TEXT),
    Field("callee", Type.TEXT),
    Field("user", Type.TEXT),
    Field("trunk", Type.TEXT),
    Field("aor", Type.TEXT, (CALL,)),
    Field("source", Type.TEXT),
    Field("point", Type.TEXT),
    Field("route", Type.TEXT),
    Field("callee_uri", Type.TEXT),
    Field("callee_user", Type.TEXT),
    Field("callee_identity", Type.TEXT),
    Field("callee_trunk", Type.TEXT),
    Field("callee_call_id", Type.TEXT),
    Field("started_at", Type.TIME),
    Field("ringing_at", Type.TIME),
    Field("answered_at", Type.TIME),
    Field("ended_at", Type.TIME),
    Field("post_dial_delay", Type.SECONDS),
    Field("duration", Type.SECONDS),
    Field("billable_seconds", Type.INTEGER),
    Field("status", Type.INTEGER),
    Field("reason", Type.TEXT),
    Field("ended_by", Type.TEXT, (CALL,)),
    Field("cause", Type.TEXT),
    Field("hangup_cause", Type.INTEGER),
    Field("hangup_name", Type.TEXT),
    Field("hangup_reason", Type.TEXT),
    Field("hangup_text", Type.TEXT),
    Field("codecs", Type.LIST),
    Field("session_id", Type.TEXT, (CALL,)),
    Field("transfers", Type.INTEGER, (CALL,)),
    Field("related", Type.LIST, (CALL,)),
    Field("media_verdict", Type.TEXT, (CALL,)),
    Field("reasons", Type.LIST),
    Field("attempts", Type.LIST, (CALL,)),
    Field("media", Type.LIST, (CALL,)),
)
#: Those that are one value: what fits into a column.
SCALARS: tuple[Field, ...] = tuple(one for one in FIELDS if one.type is not Type.LIST)

#: What an attempt has of its call, in that order.
_OF_THE_CALL = (
    "caller",
    "caller_name",
    "caller_identity",
    "callee",
    "user",
    "trunk",
    "source",
    "point",
    "route",
)
_STREAM_FIELDS = tuple(one.name for one in fields(StreamStatistics))
_ATTEMPT_FIELDS = tuple(one.name for one in fields(AttemptRecord))


def records_of(call: CallRecord) -> Iterator[Record]:
    """Give the record of a call that is over, then those of its attempts, in their order."""
    whole = _call(call)
    yield whole
    for attempt in call.attempts:
        yield _attempt(whole, attempt)


def to_json(record: Record) -> bytes:
    """Print a record as one line of ASCII, without an end."""
    return _ENCODER.encode(record).encode("ascii")


def _call(call: CallRecord) -> dict[str, Any]:
    callee = _callee(call)
    is_answered = call.answered_at is not None
    hangup = hangup_of(call.reasons, call.status, is_answered=is_answered)
    duration = _duration(call.answered_at, call.ended_at)
    return {
        "version": VERSION,
        "kind": CALL,
        "id": call.id,
        "call": call.id,
        "call_id": clean(call.call_id),
        "direction": direction_of(
            ours=call.user is not None, to_ours=bool(call.aor) or (callee is not None and callee.user is not None)
        ),
        "caller": clean(call.caller),
        "caller_name": clean(call.caller_name),
        "caller_identity": clean(call.caller_identity),
        "callee": clean(call.callee),
        "user": call.user,
        "trunk": call.trunk,
        "aor": clean(call.aor),
        "source": call.source,
        "point": call.point,
        "route": call.route,
        "callee_uri": clean(callee.uri) if callee is not None else "",
        "callee_user": callee.user if callee is not None else None,
        "callee_identity": clean(callee.identity) if callee is not None else "",
        "callee_trunk": callee.trunk if callee is not None else "",
        "callee_call_id": clean(callee.call_id) if callee is not None else "",
        "started_at": call.started_at,
        "ringing_at": call.ringing_at,
        "answered_at": call.answered_at,
        "ended_at": call.ended_at,
        "post_dial_delay": _delay(call.started_at, call.ringing_at, call.answered_at),
        "duration": duration,
        "billable_seconds": math.ceil(duration),
        "status": call.status,
        "reason": clean(call.reason),
        "ended_by": call.ended_by,
        "cause": clean(call.cause),
        "hangup_cause": hangup.cause,
        "hangup_name": hangup.name,
        "hangup_reason": hangup.reason,
        "hangup_text": clean(hangup.text),
        "codecs": list(call.codecs),
        "session_id": call.session_id,
        "transfers": call.transfers,
        "related": list(call.related),
        "media_verdict": call.media_verdict,
        "reasons": [clean(reason) for reason in call.reasons],
        "attempts": [{name: _plain(getattr(attempt, name)) for name in _ATTEMPT_FIELDS} for attempt in call.attempts],
        "media": [{name: _plain(getattr(stream, name)) for name in _STREAM_FIELDS} for stream in call.media],
    }


def _attempt(call: Record, attempt: AttemptRecord) -> dict[str, Any]:
    duration = _duration(attempt.answered_at, attempt.ended_at)
    hangup = hangup_of(attempt.reasons, attempt.status, is_answered=attempt.answered_at is not None)
    if attempt.answered_at is not None and attempt.ended_at == call["ended_at"]:
        # It was up to the end, which is that of the call.
        ended = {name: call[name] for name in ("cause", "hangup_cause", "hangup_name", "hangup_reason", "hangup_text")}
    else:
        ended = {
            "cause": clean(attempt.cause),
            "hangup_cause": hangup.cause,
            "hangup_name": hangup.name,
            "hangup_reason": hangup.reason,
            "hangup_text": clean(hangup.text),
        }
    if not attempt.status and attempt.answered_at is None:
        # Given up from here, before it had an outcome.
        ended |= {"hangup_cause": 16, "hangup_name": "ORIGINATOR_CANCEL", "hangup_reason": "cancelled"}
    return {
        "version": VERSION,
        "kind": ATTEMPT,
        "id": f"{call['id']}/{attempt.leg}",
        "call": call["id"],
        "leg": attempt.leg,
        "label": clean(attempt.label),
        "call_id": clean(attempt.call_id),
        "direction": direction_of(ours=call["user"] is not None, to_ours=attempt.user is not None),
        **{name: call[name] for name in _OF_THE_CALL},
        "callee_uri": clean(attempt.uri),
        "callee_user": attempt.user,
        "callee_identity": clean(attempt.identity),
        "callee_trunk": attempt.trunk,
        "callee_call_id": clean(attempt.call_id),
        "started_at": attempt.started_at,
        "ringing_at": attempt.ringing_at,
        "answered_at": attempt.answered_at,
        "ended_at": attempt.ended_at,
        "post_dial_delay": _delay(attempt.started_at, attempt.ringing_at, attempt.answered_at),
        "duration": duration,
        "billable_seconds": math.ceil(duration),
        "status": attempt.status,
        "reason": clean(attempt.reason),
        **ended,
        "codecs": list(attempt.codecs),
        "reasons": [clean(reason) for reason in attempt.reasons],
    }


def _callee(call: CallRecord) -> AttemptRecord | None:
    """Give the attempt that was answered first, or else the last one."""
    for attempt in call.attempts:
        if attempt.answered_at is not None:
            return attempt
    return call.attempts[-1] if call.attempts else None


def direction_of(*, ours: bool, to_ours: bool) -> str:
    """Say which way a call went, seen from our users: ``internal``, ``outbound``, ``inbound`` or ``transit``."""
    if ours:
        return "internal" if to_ours else "outbound"
    return "inbound" if to_ours else "transit"


def _duration(answered_at: float | None, ended_at: float | None) -> float:
    if answered_at is None or ended_at is None:
        return 0.0
    return round(max(0.0, ended_at - answered_at), 3)


def _delay(started_at: float | None, ringing_at: float | None, answered_at: float | None) -> float | None:
    """Give the seconds until something was heard of the callee; ``None`` if nothing was."""
    first = ringing_at if ringing_at is not None else answered_at
    return None if first is None or started_at is None else round(max(0.0, first - started_at), 3)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    return list(value) if isinstance(value, tuple) else value


def clean(text: str) -> str:
    r"""Make text from a message valid: an octet that is no UTF-8 becomes ``\x`` and its two hexadecimal digits."""
    if text.isascii():
        return text
    return _FOREIGN.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text)
