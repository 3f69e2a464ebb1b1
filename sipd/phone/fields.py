"""Header fields as applications write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from sipd.sip.headers import Headers

#: A mapping of names to values, pairs where a name comes several times, or the fields of a message.
HeaderFields: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | Headers


def pairs(fields: HeaderFields) -> list[tuple[str, str]]:
    """Give fields as pairs, in order."""
    return list(fields.items() if isinstance(fields, Mapping | Headers) else fields)
