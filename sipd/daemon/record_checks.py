"""What must hold between two values of ``[cdr]``; called by `sipd.daemon.checks`."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from sipd.daemon.problems import KeyPath, Problem
from sipd.daemon.sections.records import RecordSink
from sipd.daemon.values import Table, shown

_FILES = frozenset(("file", "fsync", "interval"))
_SPOOLED = frozenset(("spool_size_octets", "when_full", "batch", "first_retry", "last_retry"))
#: The options of each type of place, beside ``name``, ``type`` and ``records``.
OPTIONS = {
    "jsonl": _FILES,
    "csv": _FILES | {"preset", "columns", "times", "header"},
    "http": _SPOOLED | {"url", "secret", "authorization", "ca", "timeout"},
    "sql": _SPOOLED | {"database"},
    "syslog": _SPOOLED | {"server", "transport", "socket", "facility", "message_size_octets"},
    "radius": _SPOOLED | {"servers", "secret", "nas_identifier", "retransmit", "tries", "start", "interim"},
}
#: What each of them cannot do without.
_REQUIRED = {
    "jsonl": ("file",),
    "csv": ("file",),
    "http": ("url",),
    "sql": ("database",),
    "syslog": (),
    "radius": ("servers", "secret"),
}
#: The package that it needs, and the extra that brings it.
_NEEDED = {"http": ("treq", "http"), "radius": ("pyrad", "radius")}
_KNOWN = frozenset[str]().union(*OPTIONS.values())


def find_record_conflicts(table: Table) -> Iterator[Problem]:
    """Give every mistake that lies in the relation of two values of ``[cdr]``."""
    cdr = table.get("cdr")
    sinks = cdr.get("sinks") if isinstance(cdr, dict) else None
    names: dict[str, int] = {}
    files: dict[str, str] = {}
    if isinstance(cdr, dict) and isinstance(cdr.get("file"), str):
        files[cdr["file"]] = "cdr.file"
    for index, sink in enumerate(sinks if isinstance(sinks, list) else ()):
        if not isinstance(sink, dict):
            continue
        path: KeyPath = ("cdr", "sinks", index)
        name, file = sink.get("name"), sink.get("file")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            text = f"a name of its own expected (cdr.sinks[{names[name]}] is {shown(name)} too)"
            yield Problem((*path, "name"), text)
        where = f"cdr.sinks[{index}].file"
        if isinstance(file, str) and files.setdefault(file, where) != where:
            yield Problem((*path, "file"), f"a file of its own expected ({files[file]} is the same)")
        kind = sink.get("type")
        if isinstance(kind, str) and kind in OPTIONS:
            yield from _options(path, sink, kind)
            yield from _of_type(path, sink, kind)


def _options(path: KeyPath, sink: Table, kind: str) -> Iterator[Problem]:
    for key in sink:
        if key in _KNOWN and key not in OPTIONS[kind]:
            kinds = " or ".join(f'"{one}"' for one, keys in OPTIONS.items() if key in keys)
            yield Problem((*path, key), f"for type = {kinds} only")
    for key in _REQUIRED[kind]:
        if not sink.get(key) and sink.get(key) is not False:
            yield Problem((*path, key), f'required for type = "{kind}", and missing')
    package, extra = _NEEDED.get(kind, ("", ""))
    if package and find_spec(package) is None:
        yield Problem((*path, "type"), f"needs the package {package}: pip install 'sipd[{extra}]'")


def _of_type(path: KeyPath, sink: Table, kind: str) -> Iterator[Problem]:
    if kind == "csv":
        if ("preset" in sink) == ("columns" in sink):
            text = "either preset or columns expected" + (", not both" if "preset" in sink else "")
            yield Problem((*path, "columns"), text)
        if "preset" in sink:
            for key in ("times", "header"):
                if key in sink:
                    yield Problem((*path, key), "not possible beside preset")
    if kind == "syslog":
        if ("server" in sink) == ("socket" in sink):
            text = "either server or socket expected" + (", not both" if "server" in sink else "")
            yield Problem((*path, "server"), text)
        if "socket" in sink and "transport" in sink:
            yield Problem((*path, "transport"), "not possible beside socket")
    defaults = RecordSink.model_fields
    first, last = (sink.get(key, defaults[key].default) for key in ("first_retry", "last_retry"))
    if _is_number(first) and _is_number(last) and first > last:
        key = "first_retry" if "first_retry" in sink else "last_retry"
        text = f"first_retry no greater than last_retry expected (got {first:g} and {last:g})"
        yield Problem((*path, key), text)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
