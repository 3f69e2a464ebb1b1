"""What is different between two configurations, by key path. Secrets are never shown: only that they changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from pydantic import BaseModel

from sipd.daemon.values import Secret, shown

#: The keys that lead to a value. An entry of a list of tables is called by its name, where it has one.
Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is different.

    Args:
        path: where.
        text: in what: ``added``, ``removed``, ``changed``, or ``2000 -> 3000``.
    """

    path: Keys
    text: str

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.text}"


def compare(old: BaseModel, new: BaseModel, path: Keys = ()) -> Iterator[Difference]:
    """Give what is different, in the order of the sections.

    Args:
        old: a configuration, or a section of one.
        new: another one of the same type.
        path: of both.
    """
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield from _compare((*path, field.alias or name), before, after)


def _compare(path: Keys, before: Any, after: Any) -> Iterator[Difference]:
    if isinstance(before, BaseModel) and type(before) is type(after):
        yield from compare(before, after, path)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _compare_entries(path, dict(before), dict(after))
    elif _are_tables(before) and _are_tables(after):
        named_before, named_after = _by_name(before), _by_name(after)
        yield from _compare_entries(path, named_before, named_after)
        kept = [name for name in named_before if name in named_after]
        if kept != [name for name in named_after if name in named_before]:
            yield Difference(path, "in another order")
    else:
        yield Difference(path, _change(before, after))


def _compare_entries(path: Keys, before: dict[str, Any], after: dict[str, Any]) -> Iterator[Difference]:
    for name in before | after:
        if name not in after:
            yield Difference((*path, name), "removed")
        elif name not in before:
            yield Difference((*path, name), "added")
        elif before[name] != after[name]:
            yield from _compare((*path, name), before[name], after[name])


def _are_tables(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(entry, BaseModel) for entry in value)


def _by_name(tables: tuple[BaseModel, ...]) -> dict[str, BaseModel]:
    return {str(getattr(table, "name", number)): table for number, table in enumerate(tables)}


def _change(before: Any, after: Any) -> str:
    if before is None or after is None:
        present = after if before is None else before
        if isinstance(present, BaseModel) or _is_secret(present):
            return "added" if before is None else "removed"
    if _is_secret(before) or _is_secret(after):
        return "changed"
    return f"{_print(before)} -> {_print(after)}"


def _is_secret(value: Any) -> bool:
    """Say whether a secret is in there; a table that is not looked into may hold one."""
    if isinstance(value, Mapping):
        return any(_is_secret(entry) for entry in value.values())
    if isinstance(value, tuple | list | frozenset):
        return any(_is_secret(entry) for entry in value)
    return isinstance(value, Secret | BaseModel)


def _print(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, re.Pattern):
        return shown(value.pattern)
    if isinstance(value, Enum):
        return shown(value.value)
    if isinstance(value, tuple | list):
        return shown(", ".join(str(entry) for entry in value)) if value else "nothing"
    return shown(value if isinstance(value, bool | int | float) else str(value))
