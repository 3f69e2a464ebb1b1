"""Reads a configuration file: TOML, checked whole, every mistake in one run (the sections: `sipd.daemon.sections`)."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from sipd.daemon.checks import find_conflicts
from sipd.daemon.problems import Problem, problems_of
from sipd.daemon.sections import Config
from sipd.daemon.values import Surroundings, Table
from sipd.errors import ConfigurationError

_SIZE_LIMIT_OCTETS = 16 * 1024 * 1024
_TOML_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)\Z")


def load(path: str | Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Read a configuration file.

    Args:
        path: of the file; stands in every message as it is given here.
        environment: the variables that secrets may come from.

    Returns:
        The configuration, its paths absolute and its secrets read.

    Raises:
        ConfigurationError: the file cannot be read or used; one line for each mistake.
    """
    name = str(path)
    table = _parse(_read(Path(path)), name)
    surroundings = Surroundings(directory=Path(path).resolve().parent, environment=environment)
    return build(table, surroundings, name)


def build(table: Table, surroundings: Surroundings, name: str = "configuration") -> Config:
    """Make a configuration of a table: what TOML gives, or a program writes.

    Args:
        table: keys and values as in the file.
        surroundings: where relative paths begin, and the environment.
        name: stands in front of each message.

    Raises:
        ConfigurationError: one line for each mistake.
    """
    problems = list(find_conflicts(table))
    config = None
    try:
        config = Config.model_validate(table, context=replace(surroundings, trunks=_trunks(table)))
    except ValidationError as error:
        problems = [*problems_of(error, Config), *problems]
    if config is None or problems:
        raise ConfigurationError(_lines(problems, name)) from None
    return config


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_SIZE_LIMIT_OCTETS + 1)
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from None
    if len(data) > _SIZE_LIMIT_OCTETS:
        raise ConfigurationError([f"{path}: larger than {_SIZE_LIMIT_OCTETS} octets"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError([f"{path}:{line}: not UTF-8 text"]) from None


def _parse(text: str, name: str) -> Table:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _TOML_PLACE.search(message)
        what = _TOML_PLACE.sub("", message)
        if place is None or place[1] is None:
            line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
        else:
            line, column = int(place[1]), int(place[2])
        raise ConfigurationError([f"{name}:{line}:{column}: not TOML: {what}"]) from None
    except RecursionError:
        raise ConfigurationError([f"{name}: not TOML: nested too deeply"]) from None


def _trunks(table: Table) -> frozenset[str]:
    """Give the names of trunks, which files of prefixes have to know."""
    trunks = table.get("trunks")
    entries = [entry for entry in trunks if isinstance(entry, dict)] if isinstance(trunks, list) else []
    return frozenset(name for entry in entries if isinstance(name := entry.get("name"), str))


def _lines(problems: list[Problem], name: str) -> list[str]:
    """Sort by section, then as found; one line for each path and text."""
    return list(dict.fromkeys(problem.line(name) for problem in sorted(problems, key=lambda item: _order(item))))


def _order(problem: Problem) -> tuple[int, int]:
    known = list(Config.model_fields)
    section = problem.path[0] if problem.path else ""
    index = problem.path[1] if len(problem.path) > 1 and isinstance(problem.path[1], int) else -1
    return (known.index(section) if section in known else len(known), index)
