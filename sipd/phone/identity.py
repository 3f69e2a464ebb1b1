"""Who calls, and on whose behalf, as header fields say it (RFC 3323, RFC 3325, RFC 5806, RFC 7044, RFC 8224)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sipd.sip.fields import NameAddr


def identity_fields(
    asserted: str | Sequence[str],
    privacy: str | Sequence[str],
    history: Sequence[str],
    diversion: Sequence[str],
    identity: str,
) -> Iterator[tuple[str, str]]:
    """Give the header fields of a caller's identity.

    Args:
        asserted: one or two addresses for P-Asserted-Identity.
        privacy: values of Privacy.
        history: values of History-Info, in order.
        diversion: values of Diversion, the last one first.
        identity: a value of Identity.

    Raises:
        ParseError: an address is none.
    """
    for address in _several(asserted):
        parsed = NameAddr.parse(address)
        yield "P-Asserted-Identity", str(NameAddr(parsed.uri, parsed.display_name))
    values = _several(privacy)
    if values:
        yield "Privacy", ";".join(values)
    for entry in history:
        yield "History-Info", entry
    for entry in diversion:
        yield "Diversion", entry
    if identity:
        yield "Identity", identity


def _several(values: str | Sequence[str]) -> Sequence[str]:
    if isinstance(values, str):
        return [values] if values else []
    return values
