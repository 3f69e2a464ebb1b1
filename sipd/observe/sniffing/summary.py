"""What was seen, counted: methods, statuses, users, registrations, and calls with the times of their set-up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sipd.observe.sniffing.calls import Call, Calls
from sipd.observe.sniffing.lines import moment
from sipd.observe.sniffing.registrations import Registration, Registrations
from sipd.observe.sniffing.sightings import Sighting
from sipd.observe.sniffing.sniffer import Rest
from sipd.sip.grammar import printable
from sipd.sip.message import Request

#: Different users, methods and statuses that are counted one by one, and users that are listed.
_MAX_COUNTED = 10_000
_MAX_LISTED = 50
_OTHERS = "others"
_LONGEST = 60


class Summary:
    """Counts messages. Bounded as `Calls` and `Registrations` are; of names beyond 10000 only the number is known."""

    def __init__(self) -> None:
        self._first_at: float | None = None
        self._last_at = 0.0
        self._transports: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._users: Counter[str] = Counter()
        self._malformed = 0
        self._calls = Calls()
        self._registrations = Registrations()

    def take(self, sighting: Sighting) -> None:
        """Take the next message."""
        self._first_at = sighting.at if self._first_at is None else self._first_at
        self._last_at = sighting.at
        self._transports[sighting.transport] += 1
        if sighting.message is None:
            self._malformed += 1
            return
        if isinstance(sighting.message, Request):
            _count(self._requests, sighting.method)
        else:
            _count(self._statuses, str(sighting.status))
        for user in sorted(sighting.users):
            _count(self._users, user)
        self._calls.take(sighting)
        self._registrations.take(sighting)

    def lines(self, rest: Rest) -> list[str]:
        """Give it as text.

        Args:
            rest: what was no message.
        """
        total = sum(self._transports.values())
        if self._first_at is None:
            text = ["messages: none"]
        else:
            text = [f"messages: {total} in {self._last_at - self._first_at:.3f} s ({_counts(self._transports)})"]
        text += [
            f"{name}: {_counts(counter)}"
            for name, counter in (("requests", self._requests), ("responses", self._statuses), ("users", self._users))
            if counter
        ]
        if self._malformed:
            text.append(f"malformed: {self._malformed}")
        text += [
            f"{name}: {number}"
            for name, number in (
                ("keep-alives", rest.keep_alives),
                ("not SIP", rest.others),
                ("broken packets", rest.broken),
            )
            if number
        ]
        text += _section("registrations", map(_registration, self._registrations))
        text += _section("calls", (_call(call) for call in self._calls if call.invited_at is not None))
        if self._calls.forgotten:
            text.append(f"  and what belongs to {self._calls.forgotten} older Call-IDs")
        return text

    def values(self, rest: Rest) -> dict[str, Any]:
        """Give it by names, for JSON. Times are seconds; those of calls count from the first INVITE."""
        return {
            "kind": "summary",
            "messages": sum(self._transports.values()),
            "duration": round(self._last_at - self._first_at, 6) if self._first_at is not None else 0.0,
            "transports": dict(self._transports),
            "requests": dict(self._requests),
            "responses": dict(self._statuses),
            "users": dict(self._users),
            "malformed": self._malformed,
            "keep_alives": rest.keep_alives,
            "not_sip": rest.others,
            "broken_packets": rest.broken,
            "registrations": [
                {
                    "user": one.user,
                    "state": one.state,
                    "at": round(one.at, 6),
                    "status": one.status,
                    "contacts": list(one.contacts),
                    "expires": one.expires,
                }
                for one in self._registrations
            ],
            "calls": [
                {
                    "call_id": call.call_id,
                    "caller": call.caller,
                    "callee": call.callee,
                    "at": round(call.at, 6),
                    "status": call.status,
                    "ringing_after": _rounded(call.after(call.ringing_at)),
                    "answered_after": _rounded(call.after(call.answered_at)),
                    "acknowledged_after": _rounded(call.after(call.acknowledged_at)),
                    "ended_after": _rounded(call.after(call.ended_at)),
                }
                for call in self._calls
                if call.invited_at is not None
            ],
        }


def _count(counter: Counter[str], name: str) -> None:
    counter[name if name in counter or len(counter) < _MAX_COUNTED else _OTHERS] += 1


def _counts(counter: Counter[str]) -> str:
    listed = counter.most_common(_MAX_LISTED)
    text = ", ".join(f"{printable(name, _LONGEST)} {number}" for name, number in listed)
    return text if len(counter) <= _MAX_LISTED else f"{text} and {len(counter) - _MAX_LISTED} more"


def _section(name: str, entries: Iterable[str]) -> list[str]:
    lines = [f"  {entry}" for entry in entries]
    return [f"{name}:", *lines] if lines else []


def _registration(one: Registration) -> str:
    text = f"{printable(one.user)} {one.state}"
    if one.state in ("refused", "challenged"):
        text += f" {one.status}"
    if one.contacts:
        text += f" at {', '.join(printable(contact) for contact in one.contacts)}"
    if one.expires is not None:
        text += f" for {one.expires} s"
    return f"{text}, {moment(one.at)}"


def _call(call: Call) -> str:
    steps = [
        f"{name} after {after:.3f} s"
        for name, at in (
            ("rang", call.ringing_at),
            ("answered", call.answered_at),
            ("acknowledged", call.acknowledged_at),
            ("ended" if call.answered_at is not None else f"refused {call.status}", call.ended_at),
        )
        if (after := call.after(at)) is not None
    ]
    if call.ended_at is None:
        steps.append("goes on" if call.answered_at is not None else f"not answered (last status: {call.status or '-'})")
    ends = f"{printable(call.caller, _LONGEST) or '?'} -> {printable(call.callee, _LONGEST) or '?'}"
    return f"{moment(call.at)} {ends} {printable(call.call_id, _LONGEST)}: {', '.join(steps)}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
