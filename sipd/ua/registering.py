"""What a registration of our own is told, what it tells, and how it reads an answer (RFC 3261 section 10.2.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sipd.errors import ParseError, RegistrationError
from sipd.interfaces import Credentials
from sipd.sip.fields import NameAddr
from sipd.sip.glare import retry_after_of
from sipd.sip.headers import Fields
from sipd.sip.message import Request, Response
from sipd.sip.registrant import Failure, RegistrationTiming
from sipd.sip.uri import SipUri, Uri

#: Values of a Service-Route, and bindings of a response, that are looked at.
MAX_ROUTES = 16
MAX_BINDINGS = 100
#: Digits of a Min-Expires.
_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationSettings:
    """What to register, and where.

    Args:
        aor: the address of record.
        registrars: where to, the preferred one first; each is found by RFC 3263.
        credentials: for challenges, or ``None``.
        uri: the request URI; by default the domain of `aor`.
        contact_user: the user part of the Contact; by default 128 bits of chance, so that nobody else knows it.
        point: the listening point to register from; by default the one that reaches the registrar.
        timing: when.
        patience: seconds after which a registrar that has not answered is left for the next one, where there is one.
        keepalive: seconds between empty lines that keep the way open, of which up to a fifth is left out by chance;
            then a connection that has ended is found, and made anew. 0 for none.
        headers: more header fields of each REGISTER; an Allow here takes the place of the usual one.
    """

    aor: SipUri
    registrars: tuple[SipUri, ...]
    credentials: Credentials | None = field(default=None, repr=False)
    uri: SipUri | None = None
    contact_user: str = ""
    point: str = ""
    timing: RegistrationTiming = field(default_factory=RegistrationTiming)
    patience: float = 10.0
    keepalive: float = 25.0
    headers: Fields = ()


class RegistrationRefusedError(RegistrationError):
    """A registration of our own that is refused by a response.

    Args:
        reason: one line for a person.
        request: the REGISTER, without credentials that were added to it after a challenge.
        response: the last final response.
    """

    def __init__(self, reason: str, *, request: Request, response: Response) -> None:
        super().__init__(reason, status=response.status)
        self.request = request
        self.response = response


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The registrar has granted the binding, for the first time or anew.

    Args:
        registrar: that did.
        expires: seconds that it lasts.
        bindings: every contact of the address of record, ours included, as the registrar lists them.
        service_route: what calls out are to take (RFC 3608).
    """

    registrar: SipUri
    expires: float
    bindings: tuple[NameAddr, ...]
    service_route: tuple[str, ...]


class Refreshed(Registered):
    """The same while there was a binding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A registrar did not grant it.

    Args:
        registrar: that was asked.
        status: of its response, or 0 if there is none.
        text: why, for a person.
        next_try: in so many seconds; 0 where another registrar is asked now.
    """

    registrar: SipUri
    status: int
    text: str
    next_try: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """There is no binding any more, since nobody refreshed it in time. It is tried on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregistered:
    """It has been stopped; `is_confirmed` if every registrar that had a binding has said that it is gone."""

    is_confirmed: bool


RegistrationEvent = Registered | Refreshed | Failed | Expired | Unregistered
Watcher = Callable[[RegistrationEvent], None]


def granted_time(response: Response, own: Uri, user: str, asked: int) -> float:
    """Give the seconds that our binding lasts, as a 2xx has it (section 10.2.4).

    It is the contact that equals ours. Where none does, as behind those who write another address into it, it is the
    one with our user part; else it is not longer than any that is listed.

    Args:
        response: the 2xx.
        own: the URI of our contact.
        user: its user part.
        asked: the seconds that were asked for.
    """
    bindings = read_bindings(response)
    choices = (
        [one for one in bindings if one.uri == own],
        [one for one in bindings if isinstance(one.uri, SipUri) and one.uri.user == user],
        bindings,
    )
    found = next((ones for ones in choices if ones), ())
    otherwise = _expires(response, asked)
    return float(min((otherwise if one.expires is None else one.expires for one in found), default=otherwise))


def read_bindings(response: Response) -> tuple[NameAddr, ...]:
    """Give the contacts of a 2xx, `MAX_BINDINGS` at most; none if one cannot be read."""
    try:
        return response.contacts[:MAX_BINDINGS]
    except ParseError:
        return ()


def read_service_route(response: Response) -> tuple[str, ...]:
    """Give the Service-Route of a 2xx (RFC 3608 section 5); none if a value cannot be read, or there are too many."""
    values = tuple(response.headers.values("Service-Route"))
    try:
        is_good = all(isinstance(NameAddr.parse(value).uri, SipUri) for value in values)
    except ParseError:
        return ()
    return values if is_good and len(values) <= MAX_ROUTES else ()


def read_failure(response: Response, *, has_credentials: bool) -> Failure:
    """Give why a registrar grants nothing, from its final response."""
    text = f"{response.status} {response.reason}".strip()
    if response.is_success:
        text = "the registrar grants no time"
    elif response.status in (401, 407):
        text += ", with these credentials" if has_credentials else ", and there are no credentials"
    shortest = response.headers.get("Min-Expires") or ""
    is_number = shortest.isascii() and shortest.isdigit() and len(shortest) <= _MAX_DIGITS
    return Failure(
        status=response.status,
        text=text,
        retry_after=retry_after_of(response),
        min_expires=int(shortest) if is_number else None,
    )


def _expires(response: Response, asked: int) -> int:
    try:
        expires = response.expires
    except ParseError:
        return asked
    return asked if expires is None else expires
