"""Whatever a configuration file says, it is a configuration, or a list of lines that say what is wrong."""

from __future__ import annotations

import contextlib
import os
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from twisted.trial.unittest import SynchronousTestCase

from sipd.daemon.config import build
from sipd.daemon.sections import Config
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError

#: Anything that TOML can say, in the places where a configuration has something.
_scalars = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just("udp"))
_values = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("name", "transport", "address", "port", "to", "file"), inner)
        ),
    ),
    max_leaves=8,
)


#: Where something stands in a table: keys and positions.
Place = tuple[str | int, ...]


def _table(model: type[BaseModel]) -> dict[str, Any]:
    """Give a table with every option there is, each with a value of about its type."""
    return {name: _value(field.annotation) for name, field in model.model_fields.items()}


def _value(kind: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _table(kind)
    if origin is Annotated:
        return _value(arguments[0])
    if origin in (Union, types.UnionType):
        return _value(arguments[0])
    if origin is tuple:
        return [_value(arguments[0])]
    if arguments:
        return {"a": _value(arguments[-1])}
    return {bool: True, int: 5, float: 5.0}.get(kind, "x")


def _places(value: Any, here: Place = ()) -> Iterator[Place]:
    if here:
        yield here
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(inner, (*here, key))


def _put(table: Any, place: Place, value: Any) -> None:
    """Put a value there, unless that place went with what was put elsewhere."""
    *way, last = place
    with contextlib.suppress(KeyError, IndexError, TypeError):
        for key in way:
            table = table[key]
        table[last] = value


_PLACES = list(_places(_table(Config)))


class PropertyTests(SynchronousTestCase):
    """What holds for any table."""

    @settings(max_examples=150, deadline=None)
    @example({"users": [{"name": []}]})
    @example({"listen": [{"name": []}], "trunks": [{"name": "a"}]})
    @given(st.fixed_dictionaries({}, optional=dict.fromkeys((*Config.model_fields, "other"), _values)))
    def test_any_sections(self, table: dict[str, Any]) -> None:
        """Sections that may be anything."""
        self.check(table)

    @settings(max_examples=150, deadline=None)
    @example([(("users", 0, "ha1"), {}), (("authentication", "algorithms"), [{}])])
    @given(st.lists(st.tuples(st.deferred(lambda: st.sampled_from(_PLACES)), _values), min_size=1, max_size=5))
    def test_any_values(self, changes: list[tuple[Place, Any]]) -> None:
        """All options of all sections at once, some of which may be anything."""
        table = _table(Config)
        for place, value in changes:
            _put(table, place, value)
        self.check(table)

    def check(self, table: dict[str, Any]) -> None:
        """A table is either a configuration or a list of lines; nothing else is ever raised."""
        try:
            build(table, Surroundings(directory=Path(os.sep), environment={}))
        except ConfigurationError as error:
            self.assertTrue(error.problems)
            self.assertTrue(all(line.startswith("configuration: ") for line in error.problems))
