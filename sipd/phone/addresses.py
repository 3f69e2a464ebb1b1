"""Makes a whole address of what a person types: ``bob``, ``bob@example.org``, ``192.0.2.7:5070``, ``+49 30 1234``."""

from __future__ import annotations

import re

from sipd.errors import ParseError
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import UNRESERVED, escape
from sipd.sip.uri import SipUri, TelUri, parse_uri

_SCHEME = re.compile(r"(?:sips?|tel):", re.IGNORECASE)
#: What separates the digits of a number that is written for people (RFC 3966 section 3, and spaces).
_SEPARATORS = str.maketrans("", "", " -.()/")
_NUMBER = re.compile(r"\+?[0-9*#]+\Z")
#: A host, with a port and parameters perhaps: in brackets, with four numbers, or a name that ends with a letter.
_HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[0-9]+(?:\.[0-9]+){3}|localhost|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z][A-Za-z0-9-]*\.?)"
    r"(?::[0-9]+)?(?:;.*)?\Z"
)
#: What may stand in the user part without an escape (RFC 3261 section 25.1).
_USER = UNRESERVED | frozenset("&=+$,;?/")


def complete(text: str, domain: SipUri | None = None) -> NameAddr:
    """Make a whole address of what may be a part of one.

    Args:
        text: a URI or a name-addr, which are taken as they are; ``user@host``; a host with a dot, a port or in
            brackets, or ``localhost``; else the name or the number of somebody in ``domain``, whose separators are left
            off a number.
        domain: whose host, port, scheme and parameters a lonely name gets, such as an address of record.

    Raises:
        ParseError: nothing can be made of it.
    """
    text = text.strip()
    if "<" in text:
        return NameAddr.parse(text)
    if _SCHEME.match(text):
        return NameAddr(parse_uri(text))
    if "@" in text or _HOST.match(text):
        return NameAddr(parse_uri(f"sip:{text}"))
    number = text.translate(_SEPARATORS)
    is_number = _NUMBER.match(number) is not None
    if domain is None:
        if is_number and number.startswith("+"):
            return NameAddr(TelUri(number))
        raise ParseError(f"An address such as sip:bob@example.org expected (got {text[:60]!r})")
    user = number if is_number else text
    if not user:
        raise ParseError("An address such as sip:bob@example.org expected (got nothing)")
    return NameAddr(domain.replace(user=escape(user, _USER), password=None, headers=()))
