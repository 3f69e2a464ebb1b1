"""What became of a call that was played through, for a person and for a program."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from sipd.daemon.rehearsal.play import Outcome
from sipd.interfaces import Attempt, Credentials, Route
from sipd.sip.grammar import printable

_UNSET = Attempt(uri=None, label="")  # type: ignore[arg-type]
_PLAIN = (str, int, float, bool, type(None))


def as_values(outcome: Outcome) -> dict[str, Any]:
    """Give it as what JSON can say."""
    posed, route, answer = outcome.posed, outcome.route, outcome.answer
    return {
        "from": str(posed.request.from_.uri),
        "to": posed.request.uri_text,
        "source": str(posed.source),
        "point": posed.point.name,
        "at": posed.at,
        "dropped": outcome.is_dropped,
        "must_authenticate": outcome.is_asked_who,
        "user": posed.user if outcome.is_asked_who else None,
        "route": None if route is None else route.name,
        "considered": [] if route is None else list(route.considered),
        "rounds": [] if route is None else [[attempt_values(one) for one in attempts] for attempts in route.rounds],
        "questions": outcome.questions,
        "setup_timeout": None if route is None else route.setup_timeout,
        "duration": None if route is None else route.duration,
        "answer": None if answer is None or outcome.invites else {"status": answer.status, "reason": answer.reason},
        "decisions": [{"kind": one.kind, "text": one.text, "leg": one.leg} for one in outcome.decisions],
        "invite": (
            {"to": str(outcome.invites[0].flow), "text": _text(outcome.invites[0].data)} if outcome.invites else None
        ),
    }


def attempt_values(attempt: Attempt) -> dict[str, Any]:
    """Give what is known of an attempt, but for what is as it is anyhow, and what is secret."""
    values: dict[str, Any] = {"uri": str(attempt.uri), "label": attempt.label, "timeout": attempt.timeout}
    for field in fields(Attempt):
        value = getattr(attempt, field.name)
        if field.name not in values and value != getattr(_UNSET, field.name):
            values[field.name] = _plain(value)
    return values


def as_text(outcome: Outcome) -> Iterator[str]:
    """Give it as lines."""
    posed, route, answer = outcome.posed, outcome.route, outcome.answer
    yield f"{posed.request.from_.uri} calls {posed.request.uri_text}"
    yield f"  from {posed.source}, at the listening point {posed.point.name}, at {_moment(posed.at)}"
    if outcome.is_dropped:
        yield "is not listened to: no answer, and nothing in the record"
        return
    if not outcome.is_asked_who:
        yield "  need not say who it is"
    elif posed.user is None:
        yield "  has to prove who it is, and cannot"
    else:
        yield f"  proves to be {posed.user}"
    for question in outcome.questions:
        yield f"asks the routing service: {json.dumps(question)}"
    if route is not None:
        yield from _route(route)
    shown = {"received", "authenticated", "considered", "routed", "attempt"}
    for decision in outcome.decisions:
        if decision.kind not in shown and (decision.kind != "ended" or not outcome.invites):
            yield f"{decision.kind}{f' ({decision.leg})' if decision.leg else ''}: {decision.text}"
    if outcome.invites:
        first = outcome.invites[0]
        yield f"leaves for {first.flow}:"
        yield ""
        yield from _text(first.data).splitlines()
    elif answer is not None:
        yield f"the caller is answered {answer.status} {answer.reason}"


def _route(route: Route) -> Iterator[str]:
    yield "rules:"
    yield from (f"  {printable(line, 500)}" for line in route.considered)
    yield f"goes by: {route.name}"
    for name, value in (("no answer at all", route.setup_timeout), ("the end of the call", route.duration)):
        if value is not None:
            yield f"  {value:g} s until {name}"
    for number, attempts in enumerate(route.rounds, 1):
        yield f"round {number}{' (all at once)' if len(attempts) > 1 else ''}:"
        for attempt in attempts:
            values = attempt_values(attempt)
            yield f"  {values.pop('label')}: {values.pop('uri')}, for {values.pop('timeout'):g} s"
            yield from (f"    {name.replace('_', ' ')}: {_shown(value)}" for name, value in values.items())


def _plain(value: Any) -> Any:
    if isinstance(value, Credentials):
        return value.username
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, _PLAIN) else str(value)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _moment(at: float) -> str:
    """Give a moment of Unix time."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
