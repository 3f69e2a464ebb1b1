"""Where a call has been before: History-Info and Diversion across the bridge (RFC 7044 sections 9 and 10, RFC 5806)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sipd.b2bua.trust import HistoryForStrangers
from sipd.errors import ParseError
from sipd.sip.headers import Headers
from sipd.sip.identity import Diversion, HistoryEntry, Privacy

_Value = TypeVar("_Value", HistoryEntry, Diversion)

HISTORY, DIVERSION = "History-Info", "Diversion"


def copy_history(fields: Headers, headers: Headers) -> None:
    """Put what a trusted sender says of the past into what a trusted receiver gets, octet for octet."""
    fields.copy_lines(headers, HISTORY)
    fields.copy_lines(headers, DIVERSION)


def copy_history_for_strangers(
    fields: Headers, headers: Headers, privacy: Privacy, policy: HistoryForStrangers
) -> None:
    """Put what of it may leave the trust domain.

    Args:
        fields: of the message that leaves.
        headers: of the message that came.
        privacy: what its sender asks for.
        policy: what is told to strangers.

    What nobody can read stays here.
    """
    if policy is HistoryForStrangers.REMOVE:
        return
    is_hidden = policy is HistoryForStrangers.ANONYMISE or privacy.asks_for("history", "header", "user")
    for entry in _values(headers, HISTORY, HistoryEntry.parse):
        is_told = privacy.is_refused or not (is_hidden or entry.is_private)
        fields.add(HISTORY, str(entry if is_told else entry.anonymous()))
    for diversion in _values(headers, DIVERSION, Diversion.parse):
        is_told = privacy.is_refused or not (is_hidden or diversion.is_private)
        fields.add(DIVERSION, str(diversion if is_told else diversion.anonymous()))


def _values(headers: Headers, name: str, parse: Callable[[str], _Value]) -> list[_Value]:
    try:
        texts = headers.values(name)
    except ParseError:
        return []
    values = []
    for text in texts:
        try:
            values.append(parse(text))
        except ParseError:
            continue
    return values
