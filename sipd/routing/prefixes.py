"""Which trunks lead to the numbers that begin so: tables of prefixes, and the files that they stand in.

A file has one line for each prefix and trunk, with commas between the columns:

    # Germany
    prefix,trunk,cost,weight
    +49,carrier-a carrier-b,0.012
    +4915,carrier-c,0.045,2

Empty lines and those that begin with ``#`` say nothing. The line with the names of the columns may be left out where
they stand in this order; ``cost`` and ``weight`` may be left out in each line, ``comment`` may be added. Several trunks
in one line have the same cost and weight. A prefix that stands in several lines has the trunks of all of them, in that
order.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from sipd.errors import ConfigurationError
from sipd.routing.choice import Candidate

Value = TypeVar("Value")

#: What is taken of a file at most: lines, characters of one, and mistakes that are named.
MAX_LINES = 1_000_000
MAX_LINE_LENGTH = 1000
MAX_PROBLEMS = 100

_COLUMNS = ("prefix", "trunk", "cost", "weight", "comment")
_PREFIX = re.compile(r"\+?[0-9]{1,32}\Z")
_MAX_WEIGHT = 1_000_000
#: Nearly all lines of a large file: read in one step, if the columns stand in their usual order.
_PLAIN = re.compile(r"(\+?[0-9]{1,32}),([^\s,\"]+)(?:,([0-9]{1,9}(?:\.[0-9]{1,9})?))?\Z")


class PrefixTable(Generic[Value]):
    """Prefixes to values; the longest that a number begins with decides.

    Args:
        entries: prefixes, each with its value; of one that comes twice the last counts.
    """

    __slots__ = ("_lengths", "_values")

    def __init__(self, entries: Iterable[tuple[str, Value]] = ()) -> None:
        self._values = dict(entries)
        self._lengths = sorted({len(prefix) for prefix in self._values}, reverse=True)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, PrefixTable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<PrefixTable of {len(self)}>"

    def find(self, number: str) -> tuple[str, Value] | None:
        """Give the longest prefix of a number with its value; ``None`` if it begins with none."""
        values = self._values
        for length in self._lengths:
            prefix = number[:length]
            # Of a number that is shorter than that, the slice is the number itself, which is looked up as such anyhow.
            if prefix in values:
                return prefix, values[prefix]
        return None


TrunkPrefixes = PrefixTable[tuple[Candidate, ...]]


def read_prefixes(text: str, name: str, trunks: Container[str] | None = None) -> TrunkPrefixes:
    """Read a file of prefixes.

    Args:
        text: what stands in it.
        name: of the file, for messages.
        trunks: the names that there are; ``None`` to take any.

    Raises:
        ConfigurationError: a line for each mistake, ``NAME:LINE: ...``; of very many, the first ones and how many more.
    """
    reading = _Reading(trunks)
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if number > MAX_LINES:
            reading.note(number, f"at most {MAX_LINES} lines expected")
            break
        if line and not line.isspace() and not line.lstrip().startswith("#"):
            reading.take(number, line)
    if reading.problems:
        lines = [f"{name}:{number}: {problem}" for number, problem in reading.problems]
        if reading.count > MAX_PROBLEMS:
            lines.append(f"{name}: {reading.count - MAX_PROBLEMS} more mistakes")
        raise ConfigurationError(lines)
    if not reading.found:
        raise ConfigurationError([f"{name}: at least one prefix expected"])
    return PrefixTable(reading.found.items())


class _Reading:
    """What has been read so far.

    Attributes:
        found: prefixes with their trunks.
        problems: numbers of lines, each with a mistake; the first ones.
        count: how many there are in all.
    """

    def __init__(self, trunks: Container[str] | None) -> None:
        self.found: dict[str, tuple[Candidate, ...]] = {}
        self.problems: list[tuple[int, str]] = []
        self.count = 0
        self._trunks = trunks
        self._columns: Sequence[str] = _COLUMNS
        self._is_first = True
        #: Most lines of a file say the same of the same trunk: one value serves them all.
        self._known: dict[tuple[str, int, float], tuple[Candidate]] = {}
        #: Prefix and trunk, with a space between them, to the line that has them.
        self._lines: dict[str, int] = {}

    def note(self, number: int, problem: str) -> None:
        """Note a mistake in a line."""
        self.count += 1
        if self.count <= MAX_PROBLEMS:
            self.problems.append((number, problem))

    def take(self, number: int, line: str) -> None:
        """Take one line that says something."""
        if self._columns is _COLUMNS and (match := _PLAIN.match(line)) is not None:
            prefix, trunk, cost = match.groups()
            is_good = len(line) <= MAX_LINE_LENGTH and (self._trunks is None or trunk in self._trunks)
            if is_good and self._lines.setdefault(f"{prefix} {trunk}", number) == number:
                self._is_first = False
                self._add(prefix, trunk, 1, float(cost or 0))
                return
        is_first, self._is_first = self._is_first, False
        try:
            cells = _cells(line)
            if is_first and any(cell.lower() in _COLUMNS for cell in cells):
                self._columns = _header(cells)
                return
            if len(cells) > len(self._columns):
                raise ValueError(f"at most {len(self._columns)} columns expected (got {len(cells)})")
        except ValueError as error:
            self.note(number, str(error))
            return
        row = dict(zip(self._columns, cells, strict=False))
        mistakes = list(self._faults(row, number))
        for mistake in mistakes:
            self.note(number, mistake)
        if mistakes:
            return
        for trunk in row["trunk"].split():
            self._add(row["prefix"], trunk, int(row.get("weight") or 1), float(row.get("cost") or 0))

    def _add(self, prefix: str, trunk: str, weight: int, cost: float) -> None:
        key = (trunk, weight, cost)
        one = self._known.get(key)
        if one is None:
            one = self._known[key] = (Candidate(trunk, weight, cost),)
        others = self.found.get(prefix)
        self.found[prefix] = one if others is None else others + one

    def _faults(self, row: dict[str, str], number: int) -> Iterator[str]:
        prefix, trunks = row.get("prefix", ""), row.get("trunk", "").split()
        is_prefix = _PREFIX.match(prefix) is not None
        if not is_prefix:
            yield f"a prefix of 1 to 32 digits, with + in front or without, expected (got {_shown(prefix)})"
        if not trunks:
            yield "the name of a trunk expected"
        for trunk in trunks:
            if self._trunks is not None and trunk not in self._trunks:
                yield f"the name of a trunk expected (got {_shown(trunk)})"
            first = self._lines.setdefault(f"{prefix} {trunk}", number) if is_prefix else number
            if first != number or trunks.count(trunk) > 1:
                yield f"{_shown(trunk)} once for {prefix} expected (line {first} has it, too)"
                break
        cost, weight = row.get("cost"), row.get("weight")
        if cost and not _is_cost(cost):
            yield f"a cost such as 0.012 expected (got {_shown(cost)})"
        if weight and not (weight.isascii() and weight.isdigit() and len(weight) < 8 and int(weight) <= _MAX_WEIGHT):
            yield f"a weight from 0 to {_MAX_WEIGHT} expected (got {_shown(weight)})"


def _cells(line: str) -> list[str]:
    if len(line) > MAX_LINE_LENGTH:
        raise ValueError(f"at most {MAX_LINE_LENGTH} characters expected (got {len(line)})")
    if '"' in line:
        try:
            cells = next(csv.reader([line], strict=True))
        except csv.Error:
            raise ValueError("quotes around whole columns expected") from None
    else:
        cells = line.split(",")
    return [cell.strip() for cell in cells]


def _header(cells: Sequence[str]) -> Sequence[str]:
    names = [cell.lower() for cell in cells]
    for name in names:
        if name not in _COLUMNS:
            raise ValueError(f"columns of {', '.join(_COLUMNS)} expected (got {_shown(name)})")
        if names.count(name) > 1:
            raise ValueError(f"the column {name} once expected")
    for name in ("prefix", "trunk"):
        if name not in names:
            raise ValueError(f"a column {name} expected")
    return names


def _is_cost(text: str) -> bool:
    try:
        value = float(text)
    except ValueError:
        return False
    return math.isfinite(value) and value >= 0


def _shown(text: str) -> str:
    text = "".join(character if character.isprintable() else "?" for character in text[:41])
    return f'"{text}"' if len(text) < 41 else f'"{text[:37]}..."'
