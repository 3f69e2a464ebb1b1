"""What SUBSCRIBE and PUBLISH have in common: an event package, a type of state, and a time to live.

RFC 6665 section 4.2.1, RFC 3903 section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

from sipd.errors import RequestRefusedError
from sipd.sip.message import Request
from sipd.sip.refer import EventValue


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryBounds:
    """How long subscriptions and publications live, in seconds.

    Args:
        minimum: a shorter wish is refused with 423; not more than 3600 (RFC 6665 section 4.2.1.1).
        default: for those that do not say.
        maximum: a longer wish is shortened.
    """

    minimum: int = 60
    default: int = 3600
    maximum: int = 7200

    def of(self, request: Request) -> int:
        """Give the seconds that a SUBSCRIBE or PUBLISH gets; 0 for one that wants an end.

        Raises:
            RequestRefusedError: 423 with Min-Expires.
        """
        wish = request.expires
        if wish is None:
            return self.default
        if 0 < wish < self.minimum:
            headers = (("Min-Expires", str(self.minimum)),)
            raise RequestRefusedError("Interval Too Brief", status=423, headers=headers)
        return min(wish, self.maximum)


def event_of(request: Request, known: str) -> EventValue:
    """Give the Event of a SUBSCRIBE or PUBLISH.

    Args:
        request: it.
        known: what Allow-Events says where there is none.

    Raises:
        RequestRefusedError: 489, there is none.
        ParseError: it is malformed.
    """
    text = request.headers.get("Event")
    if text is None:
        raise RequestRefusedError("Bad Event", status=489, headers=(("Allow-Events", known),))
    return EventValue.parse(text)


def accepts(subscribe: Request, content_type: str) -> bool:
    """Say whether a subscriber can read a type of body (RFC 3261 section 20.1); without an Accept it can."""
    if "Accept" not in subscribe.headers:
        return True
    ranges = {value.partition(";")[0].strip().lower() for value in subscribe.headers.values("Accept")}
    return not ranges.isdisjoint((content_type, f"{content_type.partition('/')[0]}/*", "*/*"))
