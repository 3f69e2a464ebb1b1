"""From what pydantic found to one line per mistake: where it is, and what was expected.

``str(ValidationError)`` is never used: it shows the input, and the input may be a secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from sipd.daemon.values import shown, type_name

KeyPath = tuple[str | int, ...]

#: What a value of the wrong type should have been. The value itself is not shown: only its type is.
_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}

#: What a value of the right type should have been. These are numbers, and words of a fixed set.
_RANGES = {
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:.12g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:.12g} or less",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
}

_LENGTHS = {
    "too_short": "at least {min_length} entry",
    "string_too_short": "at least {min_length} character",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": 'text without spaces or any of the characters " < > @ : ; ,',
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: the key path, and what was expected there."""

    path: KeyPath
    text: str

    def line(self, file: str) -> str:
        """Give it as ``sipd.toml: listen[0].port: 65535 or less expected (got 70000)``."""
        return f"{file}: {print_path(self.path)}: {self.text}" if self.path else f"{file}: {self.text}"


def print_path(path: KeyPath) -> str:
    """Give a key path as a person writes it: ``users[1].password``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Give every mistake that pydantic found in a table for that model."""
    found = [(details["type"], _problem(details, model)) for details in error.errors(include_url=False)]
    # A list whose entries are wrong counts as empty for pydantic; one complaint is enough.
    parents = {problem.path[:length] for _, problem in found for length in range(len(problem.path))}
    return [problem for kind, problem in found if kind != "too_short" or problem.path not in parents]


def unknown_key(key: str, known: Sequence[str]) -> str:
    """Say that a key is unknown, and which one may have been meant."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {shown(close[0])}?"
    return f"unknown key; known here: {', '.join(known)}"


def _problem(details: Mapping[str, Any], model: type[BaseModel]) -> Problem:
    path: KeyPath = tuple(step for step in details["loc"] if step != "[key]")
    kind: str = details["type"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind == "missing":
        return Problem(path, "required, and missing")
    if kind == "extra_forbidden":
        return Problem(path, unknown_key(str(path[-1]), _keys_at(model, path[:-1])))
    if kind in _TYPES:
        return Problem(path, f"{_TYPES[kind]} expected (got {type_name(details['input'])})")
    if kind in _RANGES:
        expected = _RANGES[kind].format(**context).replace("'", '"')
        return Problem(path, f"{expected} expected{_got(details['input'])}")
    if kind in _LENGTHS:
        return Problem(path, f"{_LENGTHS[kind].format(**context)} expected")
    return Problem(path, details["msg"])


def _got(value: object) -> str:
    return f" (got {shown(value)})" if isinstance(value, str | int | float) else f" (got {type_name(value)})"


def _keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """Give the keys that the table at a path may have."""
    for step in path:
        if isinstance(step, str):
            model = model_in(_field_type(model, step)) or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _field_type(model: type[BaseModel], key: str) -> object:
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            return field.annotation
    return None


def model_in(annotation: object) -> type[BaseModel] | None:
    """Find the model in ``Model``, ``Model | None`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (model_in(argument) for argument in get_args(annotation))
    return next((model for model in found if model is not None), None)
