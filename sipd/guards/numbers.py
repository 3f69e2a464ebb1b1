"""Numbers that are called, in the one form that prefixes are compared with."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sipd.sip.grammar import unescape
from sipd.sip.uri import SipUri, TelUri, Uri

_SEPARATORS = str.maketrans("", "", "-.() ")
_NUMBER = re.compile(r"[+0-9*#][0-9*#A-Da-d]*")

#: Country codes of one and of two digits (ITU-T E.164); all others have three.
_ONE_DIGIT = ("1", "7")
_TWO_DIGITS = frozenset(
    first + second
    for first, seconds in {
        "2": "07",
        "3": "0123469",
        "4": "013456789",
        "5": "12345678",
        "6": "0123456",
        "8": "1246",
        "9": "0123458",
    }.items()
    for second in seconds
)


def called_number(uri: Uri, international_prefixes: Iterable[str] = ()) -> str:
    """Give the number that a URI calls, without visual separators and parameters; empty if it calls none.

    What follows a number is left out: whoever dials it may do so, too.

    Args:
        uri: of sip, sips or tel.
        international_prefixes: what stands for ``+`` at the beginning of a number, such as ``00``.
    """
    if isinstance(uri, TelUri):
        text = uri.number
    elif isinstance(uri, SipUri):
        text = unescape(uri.user or "").partition(";")[0]
    else:
        return ""
    return number_of(text, international_prefixes)


def number_of(text: str, international_prefixes: Iterable[str] = ()) -> str:
    """Give the number that a text begins with, in the same form; empty if it begins with none."""
    found = _NUMBER.match(text.translate(_SEPARATORS))
    if found is None:
        return ""
    number = found[0]
    for prefix in international_prefixes:
        if number.startswith(prefix):
            return f"+{number.removeprefix(prefix)}"
    return number


def country_code(number: str) -> str:
    """Give the country code of a number that begins with ``+``, with the ``+``; empty for any other number."""
    digits = number[1:]
    if not number.startswith("+") or not digits[:1].isdigit():
        return ""
    if digits.startswith(_ONE_DIGIT):
        return f"+{digits[0]}"
    return f"+{digits[:2]}" if digits[:2] in _TWO_DIGITS else f"+{digits[:3]}"
