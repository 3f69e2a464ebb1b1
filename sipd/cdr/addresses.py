"""The parts of addresses in a record that tables and RADIUS want apart."""

from __future__ import annotations

from sipd.errors import ParseError
from sipd.sip.grammar import unescape
from sipd.sip.uri import SipUri, TelUri, parse_uri


def number_of(text: str) -> str:
    """Give the number, or the user, of a URI; its host if it has no user, and all of it if it is none."""
    try:
        uri = parse_uri(text)
    except ParseError:
        return text
    if isinstance(uri, SipUri):
        return unescape(uri.user) if uri.user is not None else uri.host
    return uri.number if isinstance(uri, TelUri) else text


def host_of(text: str) -> str:
    """Give the host of a URI; empty if it has none."""
    try:
        uri = parse_uri(text)
    except ParseError:
        return ""
    return uri.host if isinstance(uri, SipUri) else ""
