"""What a transaction asks of the layer that owns it.

A machine touches nothing: it returns effects, and the layer performs them in this order. Effects are made once and
thrown away on every message, so they are plain slots objects.
"""

from __future__ import annotations

from dataclasses import dataclass

from sipd.errors import RemoteError
from sipd.sip.message import Request, Response
from sipd.sip.timers import Timer


@dataclass(slots=True)
class Send:
    """Send a request on the transaction's flow."""

    request: Request


@dataclass(slots=True)
class Respond:
    """Send a response to where section 18.2.2 says."""

    response: Response


@dataclass(slots=True)
class Deliver:
    """Give a response to the user of a client transaction."""

    response: Response


@dataclass(slots=True)
class Offer:
    """Give the core a request: the new one, or an ACK that comes while the INVITE is Accepted."""

    request: Request


@dataclass(slots=True)
class Fail:
    """Tell the user that the transaction failed."""

    error: RemoteError


@dataclass(slots=True)
class StartTimer:
    """Start a timer, to fire in `duration` seconds; never zero."""

    timer: Timer
    duration: float


@dataclass(slots=True)
class StopTimers:
    """Stop all timers of the transaction."""


@dataclass(slots=True)
class StartCancel:
    """Send this CANCEL in a client transaction of its own, on the same flow, with the Via that it has."""

    cancel: Request


@dataclass(slots=True)
class Terminate:
    """Forget the transaction and stop its timers. Nothing follows."""


Effect = Send | Respond | Deliver | Offer | Fail | StartTimer | StopTimers | StartCancel | Terminate
Effects = tuple[Effect, ...]
