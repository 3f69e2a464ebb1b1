"""The lexical ground of SIP: tokens, quoted strings, escapes, lists and parameters (RFC 3261 sections 25.1 and 7.3)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from sipd.errors import ParseError

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"\Z', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BREAKS = {",": re.compile(r'[",<>]'), ";": re.compile(r'[";<>]')}
_USUAL_PARAMETERS = frozenset(("branch", "rport", "received", "tag", "expires", "q", "lr", "transport"))

#: What no parameter value may contain unless it is quoted; semicolons are left to who splits at them.
DELICATE = re.compile(r'[\x00-\x20",<>\x7f]')
#: Methods that are known for tokens without a look at each character.
USUAL_METHODS = frozenset(("INVITE", "ACK", "BYE", "CANCEL", "REGISTER", "OPTIONS", "PRACK", "UPDATE", "INFO"))
#: White space inside a header field value, once folding is undone.
WHITESPACE = " \t"
#: What never needs an escape in a URI (RFC 3261 section 25.1, ``unreserved``).
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()")


def is_token(text: str) -> bool:
    """Say whether the whole text is a ``token``: a method, a parameter name, a transport, ..."""
    return _TOKEN.match(text) is not None


def quote(text: str) -> str:
    """Make a ``quoted-string`` of any text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquote(text: str) -> str:
    """Give what a ``quoted-string`` says; text that is not one is given back as it is."""
    if len(text) >= 2 and text[0] == '"' and text[-1] == '"':
        inner = text[1:-1]
        return _PAIR.sub(r"\1", inner) if "\\" in inner else inner
    return text


def is_quoted(text: str) -> bool:
    """Say whether the whole text is one well-formed ``quoted-string``."""
    return _QUOTED.match(text) is not None


def printable(text: str, length: int = 200) -> str:
    """Make text that a peer chose harmless for a log: one line of bounded length for any terminal and file."""
    start = text[:length]
    if start.isprintable():
        return start
    return "".join([character if character.isprintable() else "?" for character in start])


def escape(text: str, safe: frozenset[str] = UNRESERVED) -> str:
    """Replace each character outside ``safe`` by the ``%HH`` of its UTF-8 octets (RFC 3261 section 19.1.2)."""
    if all(character in safe for character in text):
        return text
    return "".join(
        character if character in safe else "".join(f"%{octet:02X}" for octet in _octets(character))
        for character in text
    )


def unescape(text: str) -> str:
    """Undo ``%HH`` once. Octets that are no UTF-8 survive as surrogates, so that printing gives them back."""
    if "%" not in text:
        return text
    octets = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), _octets(text))
    return octets.decode("utf-8", "surrogateescape")


def has_bad_escape(text: str) -> bool:
    """Say whether a ``%`` stands without its two hexadecimal digits."""
    return "%" in text and _BAD_ESCAPE.search(text) is not None


def split_commas(text: str) -> list[str]:
    """Split a header field value at its top-level commas: not those in quotes or angle brackets.

    Raises:
        ParseError: a quote or a bracket is left open, so nobody can tell where the values end.
    """
    if "," not in text:
        return [text.strip(WHITESPACE)]
    if '"' not in text and "<" not in text:
        return [part.strip(WHITESPACE) for part in text.split(",")]
    return _split(text, ",")


def split_semicolons(text: str) -> list[str]:
    """Split at semicolons outside of quotes and angle brackets; the parts are stripped."""
    if '"' not in text and "<" not in text:
        return [part.strip(WHITESPACE) for part in text.split(";")]
    return _split(text, ";")


def parse_parameters(text: str) -> dict[str, str | None]:
    """Parse ``a=1;b;c="x y"``: names in lower case, values as written (a quoted one keeps its quotes).

    Raises:
        ParseError: a name or a value is no token, quoted string or host, or a name stands twice.
    """
    parameters: dict[str, str | None] = {}
    for part in text.split(";") if '"' not in text else split_semicolons(text):
        name, equals, value = part.partition("=")
        if name not in _USUAL_PARAMETERS:
            name = name.strip(WHITESPACE)
            if not name and not equals:
                continue
            if not is_token(name):
                raise ParseError(f"Malformed parameter name {name[:40]!r}")
            name = name.lower()
        if name in parameters:
            raise ParseError(f"Parameter {name[:40]} stands twice")
        if value.isalnum():
            parameters[name] = value
        else:
            parameters[name] = _parameter_value(value, name) if equals else None
    return parameters


def print_parameters(parameters: Mapping[str, str | None]) -> str:
    """Print ``;name=value`` for each parameter, in order."""
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in parameters.items()])


def parse_number(text: str, name: str, maximum: int = 2**32 - 1) -> int:
    """Parse ``1*DIGIT`` with an upper bound.

    Raises:
        ParseError: not only digits, or larger than ``maximum``; the text names the field.
    """
    if not (text.isascii() and text.isdigit()):
        raise ParseError(f"{name} is not a number")
    if len(text) > 20 or int(text) > maximum:
        raise ParseError(f"{name} is too large")
    return int(text)


def end_of_quoted(text: str, start: int) -> int:
    """Give the index of the quote that closes the one at ``start``.

    Raises:
        ParseError: there is none.
    """
    index = start + 1
    while True:
        index = text.find('"', index)
        if index < 0:
            raise ParseError("Unbalanced quote")
        backslashes = index - 1
        while text[backslashes] == "\\":
            backslashes -= 1
        if (index - backslashes) % 2:
            return index
        index += 1


def _parameter_value(text: str, name: str) -> str:
    value = text.strip(WHITESPACE)
    if DELICATE.search(value) and not is_quoted(value):
        raise ParseError(f"Malformed value of parameter {name[:40]}")
    return value


def _octets(character: str) -> bytes:
    return character.encode("utf-8", "surrogateescape")


def _split(text: str, separator: str) -> list[str]:
    find = _BREAKS[separator].search
    parts = []
    start = 0
    in_angle = False
    match = find(text)
    while match is not None:
        index = match.start()
        character = match[0]
        if character == '"':
            index = end_of_quoted(text, index)
        elif character != separator:
            in_angle = character == "<"
        elif not in_angle:
            parts.append(text[start:index].strip(WHITESPACE))
            start = index + 1
        match = find(text, index + 1)
    if in_angle:
        raise ParseError("Unbalanced angle bracket")
    parts.append(text[start:].strip(WHITESPACE))
    return parts
