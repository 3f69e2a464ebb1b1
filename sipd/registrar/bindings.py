"""The rules of registration as values and functions (RFC 3261 sections 10.2 and 10.3, RFC 3327): no clock, no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sipd.errors import LocalError, ParseError, RequestRefusedError
from sipd.interfaces import Binding
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import parse_number
from sipd.sip.locate import Target
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, Uri

#: What an expiry that is no number means (RFC 3261 section 10.2.1.1).
_MALFORMED_EXPIRES = 3600
_LARGEST = 2**32 - 1
#: Characters of one Contact line, of a whole Path and of a Call-ID: what every database takes, however it is escaped,
#: and what keeps the memory for a user small.
MAX_TEXT_LENGTH = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrarSettings:
    """The bounds of registration.

    Args:
        min_expires: seconds; a shorter expiry is refused with 423. At most 3600 (RFC 3261 section 10.3 step 7).
        max_expires: seconds; a longer expiry is shortened to it.
        default_expires: seconds; for a contact without an expiry.
        max_contacts: bindings of one AOR; a request that would make more is refused with 403.

    Raises:
        LocalError: the bounds contradict each other.
    """

    min_expires: int = 60
    max_expires: int = 7200
    default_expires: int = 3600
    max_contacts: int = 10

    def __post_init__(self) -> None:
        if not 0 < self.min_expires <= self.default_expires <= self.max_expires:
            raise LocalError("Expiry: 0 < minimum <= default <= maximum must hold")
        if self.min_expires > _MALFORMED_EXPIRES:
            raise LocalError("Expiry: the minimum must not exceed 3600 seconds")
        if self.max_contacts < 1:
            raise LocalError("At least one contact must be allowed")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedContact:
    """One Contact of a REGISTER.

    Args:
        text: display name, URI and parameters, without the `expires` parameter.
        uri: the URI in it.
        q: 0.0 to 1.0.
        expires: seconds, within the bounds; 0 removes the binding.
    """

    text: str
    uri: Uri
    q: float
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What one REGISTER asks for.

    Args:
        aor: canonical.
        contacts: to bind or to remove; empty for a query, and with `removes_all`.
        removes_all: the Contact is ``*``.
        call_id, cseq: they order the requests of one client.
        path: Path values in order (RFC 3327).
        source: where it came from.
        point: name of the listening point that it came to.
        user_agent: its User-Agent, or empty.
    """

    aor: str
    contacts: tuple[RequestedContact, ...]
    removes_all: bool
    call_id: str
    cseq: int
    path: tuple[str, ...] = ()
    source: Target | None = None
    point: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the bindings of an AOR.

    Args:
        bindings: all that are there now, highest q first, older before younger.
        made: those that are new.
        refreshed: those that replace one with an equal URI.
        removed: those that are gone because the request said so.
    """

    bindings: tuple[Binding, ...]
    made: tuple[Binding, ...] = ()
    refreshed: tuple[Binding, ...] = ()
    removed: tuple[Binding, ...] = ()


def read_registration(
    request: Request, *, aor: str, settings: RegistrarSettings, source: Target | None = None, point: str = ""
) -> Registration:
    """Read what a REGISTER asks for (section 10.3 steps 6 and 7, as far as they need no bindings).

    Raises:
        RequestRefusedError: 423 with Min-Expires, 403 for far too many contacts, or 400 for a misused ``*`` and for
            text of more than `MAX_TEXT_LENGTH` characters.
        ParseError: a header field breaks the grammar.
    """
    headers = request.headers
    path = headers.values("Path")
    for text in (*headers.get_all("Contact"), ", ".join(path), request.call_id):
        if len(text) > MAX_TEXT_LENGTH:
            raise RequestRefusedError("A Contact, Path or Call-ID is too long to be kept", status=400)
    expires_text = headers.get("Expires")
    removes_all = "*" in headers.values("Contact")
    contacts: tuple[RequestedContact, ...] = ()
    if removes_all:
        # Step 6: alone, and with an Expires header field of zero.
        if not request.contact_is_star or expires_text is None or _parse_expires(expires_text) != 0:
            raise RequestRefusedError("Contact * needs Expires 0 and no other Contact", status=400)
    else:
        contacts = _read_contacts(request, expires_text, settings)
    return Registration(
        aor=aor,
        contacts=contacts,
        removes_all=removes_all,
        call_id=request.call_id,
        cseq=request.cseq.number,
        path=_read_path(path),
        source=source,
        point=point,
        user_agent=(headers.get("User-Agent") or "")[:MAX_TEXT_LENGTH],
    )


def apply_registration(
    bindings: Sequence[Binding], registration: Registration, *, now: float, max_contacts: int
) -> Outcome:
    """Give the bindings as they are after a REGISTER; all of it is done, or nothing (section 10.3 step 7).

    Args:
        bindings: those of the AOR before; expired ones do not count.
        registration: what is asked for.
        now: seconds of the wall clock.
        max_contacts: how many bindings there may be afterwards.

    Raises:
        RequestRefusedError: 500 for a request that is older than a binding it would change, 403 at the bound.
    """
    alive = [binding for binding in bindings if binding.expires_at > now]
    if registration.removes_all:
        _check_order(alive, registration)
        return Outcome(bindings=(), removed=tuple(alive))
    positions = [_position(alive, contact.uri) for contact in registration.contacts]
    _check_order([alive[position] for position in positions if position is not None], registration)
    kept: list[Binding | None] = list(alive)
    made, refreshed, removed = [], [], []
    for contact, position in zip(registration.contacts, positions, strict=True):
        binding = _bind(contact, registration, now) if contact.expires else None
        if position is not None:
            kept[position] = binding
            if binding is None:
                removed.append(alive[position])
            else:
                refreshed.append(binding)
        elif binding is not None:
            made.append(binding)
    result = [binding for binding in kept if binding is not None] + made
    if len(result) > max(max_contacts, len(alive)):
        raise RequestRefusedError(f"More than {max_contacts} contacts", status=403)
    result.sort(key=_preference)
    return Outcome(bindings=tuple(result), made=tuple(made), refreshed=tuple(refreshed), removed=tuple(removed))


def print_contact(binding: Binding, now: float) -> str:
    """Print a binding as a Contact value of a 200, with the seconds that are left to it (section 10.3 step 8)."""
    return f"{binding.contact};expires={max(1, round(binding.expires_at - now))}"


def _read_contacts(
    request: Request, expires_text: str | None, settings: RegistrarSettings
) -> tuple[RequestedContact, ...]:
    """Read all contacts; of equal ones the last counts."""
    if len(request.contacts) > 2 * settings.max_contacts:  # enough to replace all by others
        raise RequestRefusedError(f"More than {settings.max_contacts} contacts", status=403)
    contacts = [_read_contact(contact, expires_text, settings) for contact in request.contacts]
    if len(contacts) < 2:
        return tuple(contacts)
    return tuple(
        contact
        for position, contact in enumerate(contacts, 1)
        if all(contact.uri != later.uri for later in contacts[position:])
    )


def _read_path(values: Sequence[str]) -> tuple[str, ...]:
    """See that each value can be a Route of the calls to come; they are kept as written (RFC 3327 section 5.3)."""
    for value in values:
        if not isinstance(NameAddr.parse(value).uri, SipUri):
            raise RequestRefusedError("A Path needs sip or sips URIs", status=400)
    return tuple(values)


def _read_contact(contact: NameAddr, expires_text: str | None, settings: RegistrarSettings) -> RequestedContact:
    own = contact.parameters.get("expires", expires_text)
    expires = settings.default_expires if own is None else _parse_expires(own)
    if 0 < expires < settings.min_expires:
        raise RequestRefusedError(
            "Interval Too Brief", status=423, headers=(("Min-Expires", str(settings.min_expires)),)
        )
    kept = contact.parameters
    if "expires" in kept:
        kept = {name: value for name, value in kept.items() if name != "expires"}
    return RequestedContact(
        text=str(NameAddr(contact.uri, contact.display_name, kept)),
        uri=contact.uri,
        q=contact.q,
        expires=min(expires, settings.max_expires),
    )


def _parse_expires(text: str) -> int:
    try:
        return parse_number(text, "expires", _LARGEST)
    except ParseError:
        return _MALFORMED_EXPIRES


def _check_order(touched: Sequence[Binding], registration: Registration) -> None:
    """Refuse a request that another of the same client has overtaken."""
    for binding in touched:
        if binding.call_id == registration.call_id and binding.cseq >= registration.cseq:
            raise RequestRefusedError("A later REGISTER of this Call-ID is already done", status=500)


def _bind(contact: RequestedContact, registration: Registration, now: float) -> Binding:
    return Binding(
        aor=registration.aor,
        contact=contact.text,
        uri=contact.uri,
        q=contact.q,
        expires_at=now + contact.expires,
        call_id=registration.call_id,
        cseq=registration.cseq,
        path=registration.path,
        source=registration.source,
        point=registration.point,
        user_agent=registration.user_agent,
    )


def _position(bindings: Sequence[Binding], uri: Uri) -> int | None:
    for position, binding in enumerate(bindings):
        # A refresh mostly has the very URI, since parsed ones are remembered; to compare two is a long way.
        if binding.uri is uri or binding.uri == uri:
            return position
    return None


def _preference(binding: Binding) -> float:
    return -binding.q
