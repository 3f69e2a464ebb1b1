"""A captured call as a ladder: one column for each party, one arrow for each message, with times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from sipd.observe.capture import Address, CapturedMessage

#: Columns from one party's line to the next.
_SPACING = 34
_TIME_WIDTH = 12
_LABEL_WIDTH = _SPACING - 12

_CSEQ = re.compile(rb"^cseq[ \t]*:[ \t]*([0-9]+)[ \t]+([^ \t\r\n]+)", re.IGNORECASE | re.MULTILINE)
_SDP = re.compile(rb"^(?:content-type|c)[ \t]*:[ \t]*application/sdp", re.IGNORECASE | re.MULTILINE)


def ladder(
    messages: Iterable[CapturedMessage],
    names: Mapping[Address, str] | None = None,
    order: Sequence[str] = (),
) -> str:
    """Draw messages as an ASCII ladder diagram.

    A message that was seen before, octet for octet, between the same parties is marked ``again``; one that was lost
    ends in an ``x``.

    Args:
        messages: in the order in which they were sent.
        names: what to call an address; others are called ``host:port``. Addresses of one name share a column.
        order: the names of the parties from left to right; others follow in the order of their appearance.

    Returns:
        The diagram, one line for each message after a line of names. Times are seconds since the first message.
    """
    drawn = list(messages)
    if not drawn:
        return "no messages\n"
    known = names or {}
    ends = [(_name(known, message.source), _name(known, message.destination)) for message in drawn]
    appearing = dict.fromkeys(name for pair in ends for name in pair)
    parties = [*(name for name in order if name in appearing), *(name for name in appearing if name not in order)]
    column = {name: _TIME_WIDTH + index * _SPACING for index, name in enumerate(parties)}
    lines = [_heading(parties)]
    seen: set[tuple[str, str, bytes]] = set()
    for message, (source, destination) in zip(drawn, ends, strict=True):
        again = (source, destination, message.data) in seen
        seen.add((source, destination, message.data))
        label = summary(message.data, _LABEL_WIDTH) + (" again" if again else "")
        at = f"{message.at - drawn[0].at:10.3f}"
        row = _row(list(column.values()), column[source], column[destination], label, lost=message.note == "lost")
        lines.append(f"{at}{row[len(at) :]}{_note(message)}")
    return "\n".join(lines) + "\n"


def summary(data: bytes, longest: int = 80) -> str:
    """Say in a few words what a message is: ``INVITE 1 sdp``, ``200 OK INVITE 1``.

    Args:
        data: its octets.
        longest: in characters; where there is no room for it the reason phrase is left out, then the end is cut.
    """
    first, _, rest = data.partition(b"\r\n")[0].decode("utf-8", "replace").partition(" ")
    cseq = _CSEQ.search(data)
    number = f" {cseq[1].decode()}" if cseq else ""
    sdp = " sdp" if _SDP.search(data) else ""
    texts = [f"{first}{number}{sdp}"]
    if first == "SIP/2.0":
        method = f" {cseq[2].decode('utf-8', 'replace')}" if cseq else ""
        texts = [f"{status}{method}{number}{sdp}" for status in (rest, rest[:3])]
    text = next((text for text in texts if len(text) <= longest), texts[-1][:longest])
    return "".join(character if character.isprintable() else "?" for character in text)


def _name(names: Mapping[Address, str], address: Address) -> str:
    return names.get(address) or f"{address[0]}:{address[1]}"


def _heading(parties: list[str]) -> str:
    line = ""
    for index, name in enumerate(parties):
        middle = _TIME_WIDTH + index * _SPACING
        line = line.ljust(max(middle - len(name) // 2, len(line) + 1)) + name
    return line


def _note(message: CapturedMessage) -> str:
    return f"  {message.note}" if message.note else ""


def _row(columns: list[int], start: int, end: int, label: str, *, lost: bool) -> str:
    """Draw one arrow between two columns; the lines of the parties pass through where it is not."""
    cells = [" "] * (max(columns) + 1)
    for position in columns:
        cells[position] = "|"
    if start == end:
        return "".join(cells) + f" {label} (to itself)"
    left, right = min(start, end) + 1, max(start, end) - 1
    shaft = f" {label} ".center(right - left, "-")
    head = "x" if lost else ">" if end > start else "<"
    cells[left : right + 1] = shaft + head if end > start else head + shaft
    return "".join(cells)
