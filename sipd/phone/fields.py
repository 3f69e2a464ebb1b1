"""Header fields as applications write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from sipd.errors import ParseError
from sipd.sip.headers import Headers

#: A mapping of names to values, pairs where a name comes several times, or the fields of a message.
HeaderFields: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]] | Headers


#: Methods that are never sent as requests of their own: what sends them is a call.
RESERVED = frozenset(("ACK", "BYE", "CANCEL", "INVITE", "PRACK"))


def pairs(fields: HeaderFields) -> list[tuple[str, str]]:
    """Give fields as pairs, in order."""
    return list(fields.items() if isinstance(fields, Mapping | Headers) else fields)


def printable(fields: HeaderFields, reason: str | None = None) -> list[tuple[str, str]]:
    """Give fields as pairs that can be printed.

    Args:
        fields: header fields.
        reason: a phrase that goes with them.

    Raises:
        ParseError: a name or a value is none, or the phrase has a line break.
    """
    checked = pairs(fields)
    Headers(checked)
    if reason is not None and not reason.isprintable():
        raise ParseError("A reason phrase that is not one line")
    return checked


def final_status(status: int) -> int:
    """Give a status that an application has chosen.

    Raises:
        ValueError: it is none of 200 to 699.
    """
    return status_in(status, 200, 699)


def status_in(status: int, lowest: int, highest: int) -> int:
    """Give a status that an application has chosen.

    Raises:
        ValueError: it is out of that range.
    """
    if not lowest <= status <= highest:
        raise ValueError(f"a status from {lowest} to {highest} expected (got {status})")
    return status
