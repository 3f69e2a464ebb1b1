"""What must hold between two values of the sections about where calls go; called by `sipd.daemon.checks`."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Any

from sipd.daemon.problems import KeyPath, Problem
from sipd.daemon.values import Table, shown
from sipd.errors import ParseError
from sipd.sip.uri import OtherUri, parse_uri

#: Where a route leads, by the key that says so; a route has one of these.
_DESTINATIONS = ("to", "refuse", "registered", "trunks", "prefixes", "sippy", "next")
_BOUNDS = ("timeout", "response_timeout", "stops", "redirects", "setup_timeout", "duration", "warning", "warning_sound")
_OTHER_SIDE = ("early_media", "codecs", "srtp", "relay", "asymmetric", "record", "hold_music", "ringback", "dtmf")
_CHOICE = ("strategy", "hunt")
_ELSEWHERE = ("next_hop", "credentials")
#: What says nothing beside a destination.
_IDLE = {
    "to": _CHOICE,
    "refuse": (*_CHOICE, *_ELSEWHERE, *_BOUNDS, *_OTHER_SIDE, "trusted", "called", "calling", "caller_credentials",
               "caller_dtmf"),
    "registered": (*_CHOICE, *_ELSEWHERE, "trusted"),
    "trunks": _ELSEWHERE,
    "prefixes": _ELSEWHERE,
    "sippy": (*_CHOICE, *_ELSEWHERE, "trusted", "timeout", "response_timeout", "stops"),
    "next": (*_CHOICE, *_ELSEWHERE, *_BOUNDS, *_OTHER_SIDE, "trusted", "authenticate", "caller_credentials",
             "caller_dtmf"),
}  # fmt: skip
_STEPS = ("strip", "prepend", "match", "normalise", "write")


def find_routing_conflicts(table: Table) -> Iterator[Problem]:
    """Give every mistake that lies in the relation of two values of ``[routing]``, or of a route and anything else."""
    routing = _table(table.get("routing"))
    yield from _same_hours(routing)
    if "country_code" not in routing:
        for key in ("national_prefix", "international_prefixes", "area_code", "local_length"):
            if key in routing:
                yield Problem(("routing", key), "possible beside country_code only")
    for path, route in _entries(table.get("routes"), ("routes",)):
        yield from _destination(path, route)
        yield from _names(path, route, table)
        yield from _template(path, route)
        yield from _rewriting(path, route, routing)
        yield from _warning(path, route)
        if route.get("emergency") is True and not routing.get("emergency"):
            yield Problem((*path, "emergency"), "possible beside routing.emergency only: which numbers are meant?")
        if route.get("callers") and route.get("authenticate") is False:
            yield Problem((*path, "authenticate"), "not possible beside callers: they have to prove who they are")


def _table(value: object) -> Table:
    return value if isinstance(value, dict) else {}


def _entries(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, Table]]:
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        if isinstance(entry, dict):
            yield (*path, index), entry


def _texts(value: object) -> list[tuple[int, str]]:
    return [(index, one) for index, one in enumerate(value if isinstance(value, list) else ()) if isinstance(one, str)]


def _same_hours(routing: Table) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for path, hours in _entries(routing.get("opening_hours"), ("routing", "opening_hours")):
        index, name = path[-1], hours.get("name")
        if isinstance(name, str) and isinstance(index, int) and first.setdefault(name, index) != index:
            text = f"a name of its own expected (routing.opening_hours[{first[name]}] is {shown(name)} too)"
            yield Problem((*path, "name"), text)


def _is_given(route: Table, key: str) -> bool:
    return key in route and not (key in ("registered", "next") and route[key] is False)


def _destination(path: KeyPath, route: Table) -> Iterator[Problem]:
    given = [key for key in _DESTINATIONS if _is_given(route, key)]
    if not given:
        others = ", ".join(_DESTINATIONS[1:-1])
        yield Problem((*path, "to"), f"required (or {others} or {_DESTINATIONS[-1]}), and missing")
        return
    destination = "refuse" if "refuse" in given else given[0]
    for key in given:
        if key != destination:
            yield Problem((*path, key), f"not possible beside {destination}")
    for key in _IDLE[destination]:
        if key in route and key not in _DESTINATIONS:
            yield Problem((*path, key), f"not possible beside {destination}")
    if destination == "next" and not route.get("called") and not route.get("calling"):
        yield Problem((*path, "next"), "possible beside called or calling only: what is to be rewritten?")
    if destination == "trunks" and route.get("trunks") == []:
        yield Problem((*path, "trunks"), "at least 1 entry expected")


def _names(path: KeyPath, route: Table, table: Table) -> Iterator[Problem]:
    """What a route names has to be there: a name that nothing has would lead nowhere, or never match."""
    trunks = _named(table.get("trunks"))
    seen: set[str] = set()
    for index, trunk in enumerate(route["trunks"] if isinstance(route.get("trunks"), list) else ()):
        name = trunk.get("name") if isinstance(trunk, dict) else trunk
        if not isinstance(name, str):
            continue
        if name not in trunks:
            yield Problem((*path, "trunks", index), f"the name of a trunk expected (got {shown(name)})")
        elif name in seen:
            yield Problem((*path, "trunks", index), f"each trunk once expected (got {shown(name)} again)")
        seen.add(name)
    for index, name in _texts(route.get("from_trunks")):
        if name not in trunks:
            yield Problem((*path, "from_trunks", index), f"the name of a trunk expected (got {shown(name)})")
    points = _named(table.get("listen"))
    for index, name in _texts(route.get("points")):
        if name not in points:
            yield Problem((*path, "points", index), f"the name of a listening point expected (got {shown(name)})")
    hours = route.get("hours")
    if isinstance(hours, str) and hours not in _named(_table(table.get("routing")).get("opening_hours")):
        yield Problem((*path, "hours"), f"the name of routing.opening_hours expected (got {shown(hours)})")


def _named(value: object) -> set[Any]:
    return {name for _, entry in _entries(value, ()) if isinstance(name := entry.get("name"), str)}


def _template(path: KeyPath, route: Table) -> Iterator[Problem]:
    names = _captures(route.get("user"))
    if names is not None and "called" in names:
        yield Problem((*path, "user"), "a group of another name than called expected: that is the rewritten number")
    template = route.get("to")
    if isinstance(template, str):
        known = None if names is None else [*names, "called"]
        if text := _placeholder_fault(template, known, "user") or _uri_fault(template):
            yield Problem((*path, "to"), text)


def _captures(pattern: object) -> list[str] | None:
    """Give the names that a template may use; ``None`` if the pattern does not compile, which is reported elsewhere."""
    if not isinstance(pattern, str):
        return ["0"]
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return None
    return [str(number) for number in range(compiled.groups + 1)] + list(compiled.groupindex)


def _placeholder_fault(template: str, names: list[str] | None, pattern: str) -> str:
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        return f"a text with groups in braces expected: {error}"
    for name in fields:
        if names is not None and name not in names:
            return f"{{{name}}} is no group of this route's {pattern} pattern; there are: {', '.join(names)}"
    return ""


def _uri_fault(template: str) -> str:
    sample = re.sub(r"\{[^{}]*\}", "0", template)
    try:
        uri = parse_uri(sample)
    except ParseError as error:
        return f'a URI such as "sip:{{0}}@192.0.2.1" expected: {error.reason}'
    return f"a sip, sips or tel URI expected (got a {uri.scheme} URI)" if isinstance(uri, OtherUri) else ""


def _rewriting(path: KeyPath, route: Table, routing: Table) -> Iterator[Problem]:
    for key in ("called", "calling"):
        for place, step in _entries(route.get(key), (*path, key)):
            kinds = [kind for kind in _STEPS if kind in step]
            if len(kinds) != 1:
                yield Problem(place, f"one of {', '.join(_STEPS)} expected (got {' and '.join(kinds) or 'none'})")
            if ("match" in step) != ("to" in step):
                missing, there = ("to", "match") if "match" in step else ("match", "to")
                yield Problem((*place, missing), f"required beside {there}, and missing")
            template, names = step.get("to"), _captures(step.get("match"))
            if isinstance(template, str) and (text := _placeholder_fault(template, names, f"{key} match")):
                yield Problem((*place, "to"), text)
            for kind in ("normalise", "write"):
                if kind in step and "country_code" not in routing:
                    yield Problem((*place, kind), "possible beside routing.country_code only")


def _warning(path: KeyPath, route: Table) -> Iterator[Problem]:
    if "warning" in route and "warning_sound" not in route:
        yield Problem((*path, "warning_sound"), "required beside warning, and missing")
    if "warning_sound" in route and "warning" not in route:
        yield Problem((*path, "warning"), "required beside warning_sound, and missing")
    if "warning" in route and "duration" not in route and not _is_given(route, "sippy"):
        yield Problem((*path, "duration"), "required beside warning, and missing")
    warning, duration = route.get("warning"), route.get("duration")
    if isinstance(warning, int | float) and isinstance(duration, int | float) and warning >= duration:
        yield Problem((*path, "warning"), f"less than duration expected (got {warning} and {duration})")
