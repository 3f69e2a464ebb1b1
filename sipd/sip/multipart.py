"""Bodies of several parts (RFC 5621, RFC 2046 section 5.1): finding one part and putting another in its place.

All octets outside of the part that is replaced stay as they are.
"""

from __future__ import annotations

import re
from itertools import pairwise

from sipd.errors import ParseError
from sipd.sip.fields import media_type
from sipd.sip.grammar import parse_parameters, unquote

_HEAD_END = re.compile(rb"\A\r?\n|\r?\n\r?\n")
_CONTENT_TYPE = re.compile(rb"(?:\A|\n)(?:content-type|c)[ \t]*:[ \t]*([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)", re.IGNORECASE)


def find_part(body: bytes, content_type: str, wanted: str) -> tuple[int, int] | None:
    """Give where the first part of a media type stands in a multipart body.

    Args:
        body: the whole body.
        content_type: the Content-Type value, which names the boundary.
        wanted: ``type/subtype`` in lower case.

    Returns:
        Start and end of the part's content in ``body``, or ``None`` if there is no such part.

    Raises:
        ParseError: no boundary is named, or the body has no such boundary.
    """
    parameters = parse_parameters(content_type[len(content_type.partition(";")[0]) :])
    boundary = unquote(parameters.get("boundary") or "")
    if not boundary:
        raise ParseError("A multipart body without a boundary")
    line = re.compile(
        rb"(?:\A|\r?\n)--" + re.escape(boundary.encode("utf-8", "surrogateescape")) + rb"(--)?[ \t]*(?=\r?\n|\Z)"
    )
    borders = list(line.finditer(body))
    if not borders:
        raise ParseError("A multipart body without its boundary")
    for border, following in pairwise(borders):
        start = body.find(b"\n", border.end(), following.start() + 2) + 1
        if border[1] or not 0 < start <= following.start():
            continue
        end_of_head = _HEAD_END.search(body[start : following.start()])
        if end_of_head is None:
            continue
        head = body[start : start + end_of_head.start()]
        if _content_type(head) == wanted:
            return start + end_of_head.end(), following.start()
    return None


def _content_type(head: bytes) -> str:
    """Give the media type of a part from its header fields; plain text where it says none (RFC 2046 section 5.2).

    One that cannot be read is empty: a type that nobody wants.
    """
    field = _CONTENT_TYPE.search(head)
    if field is None:
        return "text/plain"
    try:
        return media_type(" ".join(field[1].decode("utf-8", "surrogateescape").split()))
    except ParseError:
        return ""
