"""Compares the messages of a call with a ladder that a person has written.

Such as::

    assertLadder(self, network, '''
        alice -> bob    INVITE sdp
        bob -> alice    100?           # may be there or not
        bob -> alice    18x
        bob -> alice    200 sdp
        alice -> bob    ACK
        ...                            # whatever, or nothing
        alice -> bob    BYE
        bob -> alice    200 BYE
    ''', names={"192.0.2.1": "alice", "192.0.2.2": "bob"})

A line says who sends to whom (``alice -> bob``, or ``bob <- alice``), and what: a method, a status, a part of one
(``18x``, ``2xx``) or ``*``. A ``?`` behind that makes the line optional. Words after it are to hold as well, in any
order: ``sdp`` or ``no-sdp`` (whether it has a session description), a method and a number (those of CSeq), the words of
the reason phrase, ``again`` (the same octets went the same way before), ``lost`` (the simulated network has lost it).
What a line says nothing of is not looked at, and messages that are sent again do not count, unless a line of the ladder
says ``again``.

``...`` stands for any messages, or none; ``#`` begins a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from unittest import TestCase

from sipd.observe.capture import Address, Capture, CapturedMessage
from sipd.observe.ladder import ladder, summary
from sipd.testing.links import Fate
from sipd.testing.network import Network
from sipd.testing.stack import sent_messages

#: Where messages are: a simulated network, what a server has captured, or the messages themselves.
Messages: TypeAlias = Network | Capture | Iterable[CapturedMessage]
#: What to call an address, or every port of a host; others are called ``host:port``.
Names: TypeAlias = Mapping[Address, str] | Mapping[str, str] | Mapping[Address | str, str]

#: Characters of a message's summary that are looked at.
_LONGEST = 1000
#: How a simulated network calls it.
_LOST = (Fate.LOST.value, Fate.PARTITIONED.value)
_LINE = re.compile(r"(\S+)\s*(->|<-)\s*(\S+)\s+([^\s?]+)(\s*\?)?(?:\s+(.*))?\Z")
_STATUS = re.compile(r"[1-6][0-9x]{2}\Z")
_METHOD = re.compile(r"[A-Z]+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A message that was sent, in words."""

    source: str
    destination: str
    words: tuple[str, ...]
    what: str
    is_again: bool
    is_lost: bool

    def __str__(self) -> str:
        notes = f"{' again' if self.is_again else ''}{' lost' if self.is_lost else ''}"
        return f"{self.source} -> {self.destination}    {' '.join(self.words)}{notes}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """A line of the expected ladder; without a `what` it is ``...``."""

    number: int
    text: str
    source: str = ""
    destination: str = ""
    what: str = ""
    words: frozenset[str] = frozenset()
    is_optional: bool = False

    def matches(self, seen: _Seen) -> bool:
        if (self.source, self.destination) != (seen.source, seen.destination):
            return False
        if self.what != "*" and not re.fullmatch(self.what.replace("x", "[0-9]"), seen.what):
            return False
        known = {word.lower() for word in seen.words}
        known |= {"sdp"} & known or {"no-sdp"}
        known |= {word for word, holds in (("again", seen.is_again), ("lost", seen.is_lost)) if holds}
        return self.words <= known


def assertLadder(case: TestCase, messages: Messages, expected: str, names: Names | None = None) -> None:
    """Fail a test unless messages are those that a ladder says.

    Args:
        case: the test.
        messages: where they are; what is no SIP there, such as media, is not looked at.
        expected: the ladder, in the form that the module describes.
        names: what to call an address ``(host, port)``, or a host with all its ports.

    Raises:
        ValueError: a line of ``expected`` cannot be read.
        AssertionError: the test fails; the text has the first line that differs, and the real ladder.
    """
    lines = _parse(expected)
    captured = _sip_of(messages)
    known = _resolve(captured, names)
    seen = _describe(captured, known)
    if not any("again" in line.words for line in lines):
        seen = [one for one in seen if not one.is_again]
    difference = _compare(lines, seen)
    if difference is not None:
        order = list(dict.fromkeys(name for line in lines for name in (line.source, line.destination) if name))
        drawn = ladder(captured, known, order)
        case.fail(f"{difference}\n\nThe messages were:\n{drawn}\nor, as lines:\n{_join(seen)}")


def write_ladder(messages: Messages, names: Names | None = None) -> str:
    """Give messages as lines that `assertLadder` takes: where a new test may begin.

    Args:
        messages: as there.
        names: as there.
    """
    captured = _sip_of(messages)
    return _join(_describe(captured, _resolve(captured, names)))


def _join(seen: Sequence[_Seen]) -> str:
    return "".join(f"{one}\n" for one in seen)


def _parse(text: str) -> list[_Expected]:
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.partition("#")[0].strip()
        if not stripped:
            continue
        if stripped == "...":
            lines.append(_Expected(number=number, text=stripped))
            continue
        match = _LINE.match(stripped)
        what = match[4] if match else ""
        if match is None or not (what == "*" or _STATUS.match(what) or _METHOD.match(what)):
            raise ValueError(f"line {number}: `alice -> bob  INVITE` or the like expected (got {stripped!r})")
        ends = (match[1], match[3]) if match[2] == "->" else (match[3], match[1])
        words = frozenset((match[6] or "").lower().split())
        lines.append(
            _Expected(
                number=number,
                text=stripped,
                source=ends[0],
                destination=ends[1],
                what=what,
                words=words,
                is_optional=match[5] is not None,
            )
        )
    return lines


def _sip_of(messages: Messages) -> list[CapturedMessage]:
    if isinstance(messages, Network):
        messages = sent_messages(messages)
    elif isinstance(messages, Capture):
        messages = messages.messages()
    return [message for message in messages if _is_sip(message.data)]


def _is_sip(data: bytes) -> bool:
    line = data.partition(b"\r\n")[0]
    return line.startswith(b"SIP/2.0 ") or line.endswith(b" SIP/2.0")


def _resolve(captured: Sequence[CapturedMessage], names: Names | None) -> dict[Address, str]:
    """Give the name of each address that has one."""
    given: dict[Any, str] = dict(names or {})
    ends = {end for message in captured for end in (message.source, message.destination)}
    resolved = {end: given.get(end) or given.get(end[0]) for end in ends}
    return {end: name for end, name in resolved.items() if name}


def _describe(captured: Sequence[CapturedMessage], names: Mapping[Address, str]) -> list[_Seen]:
    described: list[_Seen] = []
    before: set[tuple[Address, Address, bytes]] = set()
    for message in captured:
        key = (message.source, message.destination, message.data)
        words = summary(message.data, _LONGEST).split()
        described.append(
            _Seen(
                source=names.get(message.source) or "{}:{}".format(*message.source),
                destination=names.get(message.destination) or "{}:{}".format(*message.destination),
                words=tuple(words),
                what=words[0],
                is_again=key in before,
                is_lost=message.note in _LOST,
            )
        )
        before.add(key)
    return described


def _compare(lines: Sequence[_Expected], seen: Sequence[_Seen]) -> str | None:
    """Give in a few words where messages and lines part; ``None`` if they do not."""
    # The lines that may come next; and those where the ladder was followed furthest, with so many messages behind.
    reached = _go_on(lines, {0})
    furthest, behind = reached, 0
    for count, one in enumerate(seen, 1):
        after = {place if not lines[place].what else place + 1 for place in reached if _takes(lines, place, one)}
        reached = _go_on(lines, after)
        if not reached:
            break
        if max(reached) >= max(furthest):
            furthest, behind = reached, count
    if len(lines) in reached:
        return None
    if behind == len(seen):
        return f"After {behind} messages there are no more, but expected was {_wanted(lines, furthest)}."
    following = seen[behind]
    return f"Message {behind + 1} is `{following}`, but expected was {_wanted(lines, furthest, following)}."


def _takes(lines: Sequence[_Expected], place: int, seen: _Seen) -> bool:
    return place < len(lines) and (not lines[place].what or lines[place].matches(seen))


def _go_on(lines: Sequence[_Expected], places: set[int]) -> set[int]:
    """Add the places that are reached without a message."""
    reached = set(places)
    for place in range(len(lines)):
        if place in reached and _may_be_skipped(lines[place]):
            reached.add(place + 1)
    return reached


def _may_be_skipped(line: _Expected) -> bool:
    return line.is_optional or not line.what


def _wanted(lines: Sequence[_Expected], places: set[int], seen: _Seen | None = None) -> str:
    """Name the lines that could come next where the ladder was followed furthest, but for those that take a message."""
    place = max(places)
    wanted = [place]
    while place and place - 1 in places and _may_be_skipped(lines[place - 1]):
        place -= 1
        wanted.insert(0, place)
    return " or ".join(
        f"`{lines[place].text}` (line {lines[place].number})" if place < len(lines) else "the end"
        for place in wanted
        if seen is None or not _takes(lines, place, seen)
    )
