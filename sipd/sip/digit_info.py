"""Digits that INFO says: ``application/dtmf-relay`` and ``application/dtmf``, as phones and gateways do (RFC 6086)."""

from __future__ import annotations

import re

from sipd.sip.message import Request

RELAY, SIMPLE = "application/dtmf-relay", "application/dtmf"
#: What an event lasts that says nothing of it, in milliseconds: its end is not waited for.
_DURATION = 160
_LONGEST = 5000
_SIZE_LIMIT = 256
_SIGNAL = re.compile(rb"^[ \t]*Signal[ \t]*=[ \t]*([0-9A-D*#]|1[0-5])[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_LASTS = re.compile(rb"^[ \t]*Duration[ \t]*=[ \t]*([0-9]{1,6})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
#: What follows 9 where a signal is the number of an event (RFC 4733 section 3.2).
_NUMBERED = "*#ABCD"


def read_digit(request: Request) -> tuple[str, float] | None:
    """Give the digit that an INFO says, and for how many seconds it is to be heard; ``None`` if it says none."""
    if request.method != "INFO" or len(request.body) > _SIZE_LIMIT:
        return None
    kind = request.content_type
    signal = request.body.strip()
    if kind == RELAY or (kind == SIMPLE and b"=" in signal):
        found = _SIGNAL.search(signal)
        if found is None:
            return None
        signal = found[1]
    elif kind != SIMPLE or not re.fullmatch(rb"[0-9A-Da-d*#]", signal):
        return None
    digit = signal.decode("ascii").upper()
    lasts = _LASTS.search(request.body)
    duration = min(int(lasts[1]) if lasts else _DURATION, _LONGEST)
    return digit if len(digit) == 1 else _NUMBERED[int(digit) - 10], duration / 1000


def write_digit(digit: str, duration: float = _DURATION / 1000) -> bytes:
    """Give the body of type `RELAY` that says a digit.

    Args:
        digit: one of ``0123456789*#ABCD``.
        duration: seconds.
    """
    return f"Signal={digit}\r\nDuration={round(duration * 1000)}\r\n".encode("ascii")
