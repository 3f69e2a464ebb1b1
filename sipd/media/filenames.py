"""Names of files out of what a call is called: nothing that a caller sends leads out of the directory."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from string import Formatter

from sipd.errors import ConfigurationError

#: What stays as it is in a value; everything else becomes an underscore.
_UNSAFE = re.compile(r"[^A-Za-z0-9.@+=-]")
_VALUE_LIMIT = 64
#: File systems take 255 octets; a number, a suffix and ``.part`` are added.
_PART_LIMIT_OCTETS = 220
_MISSING = "unknown"


class FileNames:
    """Makes names from a template.

    Args:
        template: a relative path with fields in braces, such as ``{date}/{call_id}``; a field is replaced by what is
            safe of its value, at most 64 characters. A part of the path that gets too long is cut at 220 octets.
        fields: the names that may stand in braces.

    Raises:
        ConfigurationError: the template is empty, absolute, leads upwards, or has another field.
    """

    def __init__(self, template: str, fields: Collection[str]) -> None:
        self._template = template
        self._fields = tuple(fields)
        problem = self._problem()
        if problem:
            raise ConfigurationError([f"file name template {template!r}: {problem}"])

    def make(self, values: Mapping[str, str]) -> PurePosixPath:
        """Give the name for these values: a relative path without ``..``, and without a part that begins with a dot."""
        safe = {field: _safe(values.get(field, "")) for field in self._fields}
        path = PurePosixPath(self._template.format(**safe))
        return PurePosixPath(*(_shorten(part) for part in path.parts))

    def _problem(self) -> str:
        """Say what is wrong with the template; nothing if it is right."""
        try:
            pieces = list(Formatter().parse(self._template))
        except ValueError as error:
            return str(error)
        for _, field, form, conversion in pieces:
            if field is not None and field not in self._fields:
                return f"unknown field {{{field}}}; known are {', '.join(self._fields)}"
            if form or conversion:
                return "a field is written without format and conversion"
        literal = "".join(text + ("" if field is None else "x") for text, field, _, _ in pieces)
        path = PurePosixPath(literal)
        if not path.parts or path.is_absolute() or literal.endswith("/"):
            return "not a relative path of a file"
        if "\0" in literal or any(part.startswith(".") for part in path.parts):
            return "no part may begin with a dot"
        return ""


def _safe(value: str) -> str:
    """Give what is safe of a value: no separator, no control character, no dot at the beginning."""
    return _UNSAFE.sub("_", value[:_VALUE_LIMIT]).lstrip(".") or _MISSING


def _shorten(part: str) -> str:
    return part.encode("utf-8", "replace")[:_PART_LIMIT_OCTETS].decode("utf-8", "ignore")
