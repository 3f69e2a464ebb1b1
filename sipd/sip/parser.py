"""Octets to messages (RFC 3261 sections 7 and 18.3). Tolerant: it never raises anything but `ParseError`.

What is wrong inside a header field shows when the field is read; `sipd.sip.validation` reads those that every message
needs, and says how a faulty request is to be answered.
"""

from __future__ import annotations

import re

from sipd.errors import ParseError
from sipd.sip.grammar import USUAL_METHODS, WHITESPACE, is_token
from sipd.sip.headers import Headers
from sipd.sip.message import VERSION, Request, Response

#: A message with more header lines than this is refused; RFC 4475 "longreq" has about 60.
MAX_HEADER_LINES = 512
#: The longest head, start line and header fields together, in octets.
MAX_HEAD_OCTETS = 65536

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(r"SIP/2\.0[ \t]+([0-9]{3})(?:[ \t]+(.*))?\Z", re.IGNORECASE | re.ASCII)
_VERSION = re.compile(r"SIP/[0-9]+\.[0-9]+\Z", re.IGNORECASE | re.ASCII)


class _LoneLineEndError(ParseError):
    """A CR or LF stands alone in what should have CRLF line ends."""


def is_keep_alive(data: bytes) -> bool:
    """Say whether a datagram is noise to be dropped silently: line ends, white space, NULs (RFC 5626, S1.9)."""
    return len(data) < 5 or not data.strip(b"\r\n\t \0")


def parse_datagram(data: bytes) -> Request | Response:
    """Parse one datagram as one message. Line ends may be CRLF or bare LF.

    Args:
        data: the whole payload; at most 65535 octets.

    Returns:
        The message. Its header fields are not parsed further until asked for.

    Raises:
        ParseError: the start line or a header line breaks the grammar, or there are too many of them.

    RFC 3261 section 18.3: what follows the body is thrown away, and without a Content-Length the body ends where the
    datagram ends. A Content-Length that is no number, or larger than what is there, is left to validation.
    """
    data = data.lstrip(b"\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    try:
        message = parse_head(head)
    except _LoneLineEndError:
        head, body = _cut_at_line_feeds(data)
        message = parse_head(head)
    if body:
        length = message.headers.get("Content-Length")
        if length is not None and length.isascii() and length.isdigit() and len(length) < 20:
            body = body[: int(length)]
        message.body = body
    return message


def parse_message(data: bytes) -> Request | Response:
    """Parse exactly one message as a `StreamFramer` cuts it: CRLF line ends, body to the end.

    Raises:
        ParseError: the start line or a header line breaks the grammar.
    """
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        raise ParseError("A message without an end of its head")
    message = parse_head(head)
    message.body = body
    return message


def parse_head(head: bytes) -> Request | Response:
    """Parse start line and header fields, without the empty line after them. Line ends are CRLF.

    Raises:
        ParseError: as for `parse_datagram`, or a CR or LF stands alone.
    """
    if len(head) > MAX_HEAD_OCTETS:
        raise ParseError("The message head is too large", status=513)
    text = head.decode("utf-8", "surrogateescape")
    lines = text.split("\r\n")
    between = "".join(lines)
    if "\r" in between or "\n" in between:
        raise _LoneLineEndError("A bare CR or LF in the message head")
    if len(lines) > MAX_HEADER_LINES:
        raise ParseError("Too many header lines", status=513)
    start_line = lines.pop(0)
    if lines and not lines[-1]:
        lines.pop()
    if start_line[3:4] == "/":  # no method has a slash
        return _response(start_line, lines)
    return _request(start_line, lines)


def _request(start_line: str, lines: list[str]) -> Request:
    method, _, rest = start_line.partition(" ")
    uri, _, version = rest.rstrip(WHITESPACE).rpartition(" ")
    if version != VERSION and not _VERSION.match(version):
        raise ParseError("Malformed request line")
    if not uri or not (method in USUAL_METHODS or is_token(method)):
        raise ParseError("Malformed request line")
    return Request(method, uri, Headers.from_lines(lines), b"", version)


def _response(start_line: str, lines: list[str]) -> Response:
    match = _STATUS_LINE.match(start_line)
    if match is None:
        raise ParseError("Malformed status line")
    status = int(match[1])
    if not 100 <= status <= 699:
        raise ParseError("A status out of range")
    return Response(status, match[2] or "", Headers.from_lines(lines))


def _cut_at_line_feeds(data: bytes) -> tuple[bytes, bytes]:
    """Cut head and body of a datagram apart where some lines end in a bare LF; give the head with CRLF."""
    match = _BLANK_LINE.search(data)
    end, start = match.span() if match is not None else (len(data), len(data))
    return data[:end].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), data[start:]
