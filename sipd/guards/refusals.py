"""What a caller is answered whom a limit stops, and why that (RFC 3261 section 21).

* What concerns this server as a whole, its number of calls and its load, is **503 with Retry-After**: the caller's
  proxy takes another server, and leaves this one alone for that time (section 21.5.4).
* What concerns a trunk is **503 without Retry-After**: that peer takes another way for this call, and goes on to send
  us the others; with Retry-After it would stop all of them, those included that are not beyond any limit.
* What concerns a user, or the address that a stranger calls from, is **480 with Retry-After**: it is over when one of
  their calls is, and no other server would take the call (a 503 would have every server of ours tried). 403 would say
  that there is no use in trying again, 486 that it is the callee who talks, and 429 is another thing in SIP (RFC 3892).
* What concerns whom the call is for is **486**: they have as many calls as they may have.
* What looks like fraud is **403**: it is not to be tried again.

The phrase says which limit it is, of whom, and its value: it stands in the call's explanation, and the other side need
not guess.
"""

from __future__ import annotations

from math import ceil

from sipd.errors import RequestRefusedError
from sipd.sip.grammar import printable

#: Characters of a name that are shown.
_SHOWN = 64


def server_refusal(text: str, retry_after: float) -> RequestRefusedError:
    """Refuse what this server cannot take now."""
    return _refusal(503, text, retry_after)


def trunk_refusal(text: str) -> RequestRefusedError:
    """Refuse a call that comes from a trunk which has its share."""
    return _refusal(503, text)


def caller_refusal(text: str, retry_after: float) -> RequestRefusedError:
    """Refuse a caller who has as many calls as they may have."""
    return _refusal(480, text, retry_after)


def callee_refusal(text: str) -> RequestRefusedError:
    """Refuse a call for who has as many calls as they may have."""
    return _refusal(486, text)


def fraud_refusal(text: str) -> RequestRefusedError:
    """Refuse what looks like fraud."""
    return _refusal(403, text)


def shown(name: str) -> str:
    """Give a name as it may stand in a phrase."""
    return printable(name, _SHOWN)


def _refusal(status: int, text: str, retry_after: float | None = None) -> RequestRefusedError:
    headers = () if retry_after is None else (("Retry-After", str(max(1, ceil(retry_after)))),)
    return RequestRefusedError(text, status=status, headers=headers)
