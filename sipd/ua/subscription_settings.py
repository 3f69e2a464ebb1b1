"""What a subscription of our own is told, and how it reads what comes (RFC 6665 section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sipd.errors import ParseError
from sipd.interfaces import Credentials
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Fields, Headers
from sipd.sip.message import Request, Response
from sipd.sip.registrant import RegistrationTiming
from sipd.sip.uri import Uri
from sipd.ua.outside import Way


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSettings:
    """What to subscribe to.

    Args:
        target: the URI of what is watched.
        event: the event package, such as ``presence``, with its ``id`` if it has one.
        from_: who asks; without a tag.
        expires: seconds for which it is asked for each time.
        accept: types of state that can be read; others are answered with 415. Empty for what the package says.
        headers: more header fields of each SUBSCRIBE, those of its body among them.
        body: of each SUBSCRIBE, such as a filter.
        credentials: for challenges, or ``None``.
        next_hop: where the SUBSCRIBE is sent to; by default to its first Route, or to `target`.
        route: values of its Route, topmost first.
        timing: when it is asked for; its own `expires` is not looked at.
        kept: notifications that are kept for who reads them; the oldest are missed.
        max_size_octets: of a state; a larger one is answered with 413.
    """

    target: Uri
    event: str
    from_: NameAddr
    expires: int = 3600
    accept: tuple[str, ...] = ()
    headers: Fields = ()
    body: bytes = b""
    credentials: Credentials | None = field(default=None, repr=False)
    next_hop: Uri | None = None
    route: tuple[str, ...] = ()
    timing: RegistrationTiming = field(default_factory=RegistrationTiming)
    kept: int = 32
    max_size_octets: int = 65536

    @property
    def way(self) -> Way:
        """Who asks, and which way a SUBSCRIBE outside of a dialog takes."""
        return Way(from_=self.from_, credentials=self.credentials, next_hop=self.next_hop, route=self.route)

    def fields(self, expires: int) -> Headers:
        """Give the header fields of a SUBSCRIBE, but for the Event."""
        fields = Headers([("Expires", str(expires))])
        if self.accept:
            fields.add("Accept", ", ".join(self.accept))
        fields.extend(self.headers)
        return fields

    def refusal_of(self, notify: Request) -> int | None:
        """Give the status by which a NOTIFY is refused, or ``None`` (RFC 3261 section 8.2.3)."""
        if len(notify.body) > self.max_size_octets:
            return 413
        if self.accept and notify.body and notify.content_type not in {one.lower() for one in self.accept}:
            return 415
        return None


def granted_expires(response: Response, asked: int) -> int:
    """Give the seconds that a 2xx grants: what was asked for where it does not say, or nobody can read it."""
    try:
        expires = response.expires
    except ParseError:
        return asked
    return asked if expires is None else expires
