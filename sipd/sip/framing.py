"""Octets of a stream to whole messages (RFC 3261 sections 7.5 and 18.3), and keep-alives between them (RFC 5626).

A stream has no borders but those that Content-Length draws, so that whatever makes its value doubtful ends the stream:
two readers that disagree about where a message ends can be made to see different messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from sipd.errors import ParseError

#: Between two messages: asks whether the other side is there, and what answers that (RFC 5626 section 4.4.1).
PING = b"\r\n\r\n"
PONG = b"\r\n"

_END_OF_HEAD = b"\r\n\r\n"
_BARE_LF = re.compile(rb"(?<!\r)\n")
_CONTENT_LENGTH = re.compile(rb"\n(?:content-length|l)[ \t]*:((?:[^\r]|\r(?!\n)|\r\n[ \t])*)", re.IGNORECASE)
_WHITESPACE = b" \t\r\n"
_MAX_DIGITS = 18


class KeepAlive(Enum):
    """What may stand between two messages and wants something done."""

    #: CRLFCRLF: to be answered with `PONG`. A lone CRLF, which answers a ping of ours, is not reported.
    PING = "CRLFCRLF"


class StreamFramer:
    """Cuts one stream into messages. The cost is linear in what comes in, however finely it is split.

    Args:
        max_head_octets: of start line and header fields with the empty line after them.
        max_body_octets: the largest Content-Length.
    """

    __slots__ = ("_buffer", "_line_ends", "_max_body_octets", "_max_head_octets", "_scanned", "_size", "rejected")

    def __init__(self, *, max_head_octets: int = 65536, max_body_octets: int = 65536) -> None:
        self._max_head_octets = max_head_octets
        self._max_body_octets = max_body_octets
        self._buffer = bytearray()
        self._scanned = 0  # octets of an unfinished head that need not be searched again
        self._size = 0  # of the message in the buffer, once its head is whole
        self._line_ends = 0  # CRLFs since the last message or ping
        #: The head that made `feed` raise, if it was whole: enough for an answer (section 18.3). Else empty.
        self.rejected = b""

    @property
    def is_between_messages(self) -> bool:
        """Whether nothing of an unfinished message is here."""
        return not self._buffer

    def feed(self, data: bytes) -> Iterator[bytes | KeepAlive]:
        """Take what the network gave.

        Args:
            data: any number of octets, at any border.

        Returns:
            The messages and pings that are now whole, in order; to be read to its end before the next call.

        Raises:
            ParseError: (on reading, after the messages before it) Content-Length is missing, repeated with another
                value, no number, or larger than allowed; the head is too large; a line ends in a bare LF. Nothing
                that follows on this stream can be told apart any more: it must be closed.
        """
        self._buffer += data
        return self._take()

    def _take(self) -> Iterator[bytes | KeepAlive]:
        buffer = self._buffer
        while buffer:
            if not self._size:
                if not self._scanned and buffer[0] in _WHITESPACE and self._is_line_end():
                    if self._line_ends == 2:
                        self._line_ends = 0
                        yield KeepAlive.PING
                    continue
                self._find_size()
            if not self._size or len(buffer) < self._size:
                return
            message = bytes(buffer[: self._size])
            del buffer[: self._size]
            self._size = self._scanned = self._line_ends = 0
            yield message

    def _is_line_end(self) -> bool:
        """Take a CRLF off the front of the buffer, if there is one."""
        if not self._buffer.startswith(PONG):
            return False
        del self._buffer[:2]
        self._line_ends += 1
        return True

    def _find_size(self) -> None:
        """Look for the end of the head, and set the size of the message if it is there."""
        buffer = self._buffer
        if buffer == b"\r":
            return
        end = buffer.find(_END_OF_HEAD, max(0, self._scanned - 3))
        if end < 0:
            if _BARE_LF.search(buffer, self._scanned):
                raise ParseError("A line on a stream ends in a bare LF")
            self._scanned = len(buffer)
            if self._scanned >= self._max_head_octets:
                raise ParseError(f"The message head is larger than {self._max_head_octets} octets", status=513)
            return
        size = end + 4
        if size > self._max_head_octets:
            raise ParseError(f"The message head is larger than {self._max_head_octets} octets", status=513)
        head = bytes(buffer[:size])
        if head.count(b"\n") != head.count(PONG):
            raise ParseError("A line on a stream ends in a bare LF")
        try:
            self._size = size + self._content_length(head)
        except ParseError:
            self.rejected = head
            raise

    def _content_length(self, head: bytes) -> int:
        values = _CONTENT_LENGTH.findall(head)
        if not values:
            raise ParseError("A message on a stream needs a Content-Length")
        length = _number(values[0])
        if len(values) > 1 and any(_number(value) != length for value in values):
            raise ParseError("Content-Length stands twice with different values")
        if length > self._max_body_octets:
            raise ParseError(f"Content-Length is larger than {self._max_body_octets} octets", status=513)
        return length


def _number(value: bytes) -> int:
    digits = value.strip(_WHITESPACE)
    if not digits.isdigit():
        raise ParseError("Content-Length is not a number")
    if len(digits) > _MAX_DIGITS:
        raise ParseError("Content-Length is too large", status=513)
    return int(digits)
