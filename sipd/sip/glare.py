"""How long to wait before trying again: RFC 3261 sections 14.1, 14.2 and 20.33. Chance is an argument."""

from __future__ import annotations

import re
from collections.abc import Callable

from sipd.sip.message import Response

_RETRY_AFTER = re.compile(r"[ \t]*([0-9]{1,10})[ \t]*(?:[;(].*)?\Z", re.DOTALL)


def owner_delay(entropy: Callable[[int], bytes]) -> float:
    """Choose how long the owner of the Call-ID waits after 491: 2.1 to 4 s in steps of 10 ms.

    That is who sent the first INVITE. Of two requests that have crossed the other party's comes first.
    """
    return (210 + _number(entropy) % 191) / 100


def other_delay(entropy: Callable[[int], bytes]) -> float:
    """Choose how long the other party waits after 491: 0 to 2 s in steps of 10 ms."""
    return _number(entropy) % 201 / 100


def retry_after(entropy: Callable[[int], bytes]) -> int:
    """Choose the Retry-After of a 500 for a request that comes while another is being answered: 0 to 10 s."""
    return _number(entropy) % 11


def retry_after_of(response: Response) -> float | None:
    """Give the seconds that a Retry-After asks for, or ``None`` if it is absent or nobody can read it."""
    match = _RETRY_AFTER.match(response.headers.get("Retry-After") or "")
    return None if match is None else float(match[1])


def _number(entropy: Callable[[int], bytes]) -> int:
    return int.from_bytes(entropy(4), "big")
