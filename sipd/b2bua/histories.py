"""Where a call has been before: History-Info and Diversion across the bridge (RFC 7044 sections 9 and 10, RFC 5806)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from sipd.b2bua.trust import HistoryForStrangers
from sipd.errors import ParseError
from sipd.sip.headers import Headers
from sipd.sip.identity import Diversion, HistoryEntry, Privacy
from sipd.sip.message import Request
from sipd.sip.uri import SipUri

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Somewhere that a request was sent to, or is about to be.

    Args:
        uri: of that place.
        number: 1 for the first place that the call is tried at, and so on.
        user: whose contact it is, if it is one.
        status: why the call did not end there; 0 for the place where it goes now.
    """

    uri: SipUri
    number: int
    user: SipUri | None = None
    status: int = 0


def extend_history(fields: Headers, request: Request, places: Iterable[Place]) -> None:
    """Add where the request goes now, and before that where it came to, if that is missing (RFC 7044 section 9).

    Args:
        fields: of the request that goes out; holds the history so far.
        request: that came in.
        places: where it was sent before without success, and where it goes now.
    """
    uri = request.uri
    if not isinstance(uri, SipUri):
        return  # a tel URI has no place in a history
    past = _values(fields, HISTORY, HistoryEntry.parse)
    last = past[-1] if past else None
    if last is None:
        last = HistoryEntry.first(uri)
        fields.add(HISTORY, str(last))
    elif not _is_place(last, uri):
        # Somebody on the way has sent it on without a word: nobody knows how it came here.
        last = last.next(uri, 1)
        fields.add(HISTORY, str(last))
    own = uri.address_of_record()
    others: dict[str, HistoryEntry] = {own: last}
    for place in places:
        from_ = last
        if place.user is not None:
            aor = place.user.address_of_record()
            if aor not in others:
                others[aor] = last.next(place.user, len(others), "mp")
                fields.add(HISTORY, str(others[aor]))
            from_ = others[aor]
        kind = "rc" if place.user is not None else "np" if place.uri == uri else "mp"
        entry = from_.next(place.uri, place.number, kind)
        fields.add(HISTORY, str(entry.failed(f"SIP;cause={place.status}") if place.status else entry))


def _is_place(entry: HistoryEntry, uri: SipUri) -> bool:
    place = entry.address.uri
    return isinstance(place, SipUri) and place.without_headers() == uri


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
