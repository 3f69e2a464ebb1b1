"""The kinds of values in the sections about where calls go; the rest are in `sipd.daemon.values`."""

from __future__ import annotations

import math
import re
import zoneinfo
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import Field, PlainValidator, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from sipd.daemon.values import Surroundings, fail, pattern, readable_file, secret, shown, text_of, type_name
from sipd.errors import ConfigurationError
from sipd.routing.choice import Candidate
from sipd.routing.hours import Day, Times
from sipd.routing.prefixes import TrunkPrefixes, read_prefixes
from sipd.routing.sippy import SippyError, SippyRoute, parse_routing
from sipd.sip.grammar import is_token

_MAX_FILE_OCTETS = 64 * 1024 * 1024
_MAX_WEIGHT = 1_000_000
_DIAL_TEXT = re.compile(r"\+?[0-9*#]{1,32}\Z")
_DIGITS = re.compile(r"[0-9]{1,8}\Z")
_NAME = re.compile(r"[^\s\"<>@:;,]{1,64}\Z")

Parsed = TypeVar("Parsed")


def _fail_often(problems: list[str]) -> NoReturn:
    """Refuse a value, with several phrases, each of which becomes a line."""
    details = [
        InitErrorDetails(type=PydanticCustomError("sipd", "{text}", {"text": problem}), loc=(), input=None)
        for problem in problems
    ]
    raise ValidationError.from_exception_data("value", details)


def _prefix_file(value: object, info: ValidationInfo) -> TrunkPrefixes:
    path = readable_file(value, info)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_OCTETS + 1)
    except OSError as error:
        fail(f"a file that can be read expected: {error.strerror} (got {shown(str(path))})")
    if len(data) > _MAX_FILE_OCTETS:
        fail(f"a file of at most {_MAX_FILE_OCTETS} octets expected (got {shown(str(path))})")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        fail(f"UTF-8 text expected ({shown(str(path))}, line {line})")
    try:
        return read_prefixes(text, _name_of(path, info), Surroundings.of(info).trunks)
    except ConfigurationError as error:
        _fail_often(error.problems)


def _name_of(path: Path, info: ValidationInfo) -> str:
    """Give the name of a file as short as it can be found by."""
    directory = Surroundings.of(info).directory
    return str(path.relative_to(directory) if path.is_relative_to(directory) else path)


def _sippy(value: object, info: ValidationInfo) -> tuple[SippyRoute, ...]:
    try:
        return parse_routing(secret(value, info).text)
    except SippyError as error:
        _fail_often(error.problems)


def _trunk_choice(value: object) -> Candidate:
    """Accept ``"name"`` or ``{ name = "name", weight = 1, cost = 0.0 }``."""
    expected = 'the name of a trunk, or { name = "...", weight = 1, cost = 0.0 }, expected'
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict):
        fail(f"{expected} (got {type_name(value)})")
    unknown = sorted(str(key) for key in table.keys() - {"name", "weight", "cost"})
    name, weight, cost = table.get("name"), table.get("weight", 1), table.get("cost", 0.0)
    problems = [f"{expected} (got the key {shown(key)})" for key in unknown]
    if not isinstance(name, str) or not _NAME.match(name):
        problems.append(expected)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= _MAX_WEIGHT:
        problems.append(f"a weight from 0 to {_MAX_WEIGHT} expected (got {shown(weight)})")
    if not isinstance(cost, int | float) or isinstance(cost, bool) or not math.isfinite(cost) or cost < 0:
        problems.append(f"a cost of 0 or more expected (got {shown(cost)})")
    if problems:
        _fail_often(problems)
    return Candidate(str(name), int(weight), float(cost))


def _header_patterns(value: object) -> Mapping[str, re.Pattern[str]]:
    if not isinstance(value, dict):
        fail(f"a table of header field names and expressions expected (got {type_name(value)})")
    problems = []
    patterns = {}
    for name, text in value.items():
        if not is_token(name):
            problems.append(f"the name of a header field expected (got {shown(name)})")
        try:
            patterns[name] = pattern(text)
        except PydanticCustomError as error:
            problems.append(f"{shown(name)}: {error.message()}")
    if problems:
        _fail_often(problems)
    return MappingProxyType(patterns)


def _strip(value: object) -> int | str:
    expected = 'a count of digits from 1 to 32, or what to take away such as "0", expected'
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 32:
        return value
    if isinstance(value, str) and (value == "+" or _DIAL_TEXT.match(value)):
        return value
    fail(f"{expected} (got {shown(value) if isinstance(value, str | int | float) else type_name(value)})")


def _matching(expression: re.Pattern[str], expected: str) -> Callable[[object], str]:
    def validate(value: object) -> str:
        text = text_of(value, expected)
        return text if expression.match(text) else fail(f"{expected} expected (got {shown(text)})")

    return validate


def _local_length(value: object) -> tuple[int, int]:
    written = value if isinstance(value, list | tuple) else [value, value]
    bounds = [bound for bound in written if isinstance(bound, int) and not isinstance(bound, bool)]
    if len(written) != 2 or len(bounds) != 2 or not 0 <= bounds[0] <= bounds[1] <= 15:
        fail("a count of digits up to 15, or the least and the most such as [3, 8], expected")
    return bounds[0], bounds[1]


def _zone(value: object) -> zoneinfo.ZoneInfo:
    expected = 'a time zone such as "Europe/Berlin"'
    if isinstance(value, zoneinfo.ZoneInfo):
        return value
    text = text_of(value, expected)
    try:
        return zoneinfo.ZoneInfo(text)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        fail(f"{expected} that this system knows expected (got {shown(text)})")


def _parsed(parse: Callable[[str], Parsed], expected: str) -> Callable[[object], Parsed]:
    def validate(value: object) -> Parsed:
        text = text_of(value, expected)
        try:
            return parse(text)
        except ValueError as error:
            fail(f"{error} (got {shown(text)})")

    return validate


def _times(value: Any) -> Times:
    return _parsed(Times.parse, "times")(value)


def _holiday(value: Any) -> Day:
    return _parsed(Day.parse, "a date")(value)


PrefixFile = Annotated[TrunkPrefixes, PlainValidator(_prefix_file)]
SippyText = Annotated[tuple[SippyRoute, ...], PlainValidator(_sippy)]
TrunkChoice = Annotated[Candidate, PlainValidator(_trunk_choice)]
HeaderPatterns = Annotated[Mapping[str, re.Pattern[str]], PlainValidator(_header_patterns)]
Strip = Annotated[int | str, PlainValidator(_strip)]
DialText = Annotated[str, PlainValidator(_matching(_DIAL_TEXT, "digits, *, # and a leading +"))]
DialPrefix = Annotated[str, PlainValidator(_matching(_DIGITS, "1 to 8 digits"))]
AreaCode = Annotated[str, PlainValidator(_matching(re.compile(r"[0-9]{0,8}\Z"), "up to 8 digits"))]
CountryCode = Annotated[str, PlainValidator(_matching(re.compile(r"[1-9][0-9]{0,2}\Z"), 'a country code such as "49"'))]
LocalLength = Annotated[tuple[int, int], PlainValidator(_local_length)]
Zone = Annotated[zoneinfo.ZoneInfo, PlainValidator(_zone)]
TimesText = Annotated[Times, PlainValidator(_times)]
HolidayText = Annotated[Day, PlainValidator(_holiday)]
Status = Annotated[int, Field(ge=300, le=699)]
