"""Registrations as REGISTER requests and their responses tell (RFC 3261 section 10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sipd.errors import ParseError
from sipd.observe.sniffing.sightings import Sighting
from sipd.sip.message import Message, Request
from sipd.sip.uri import SipUri

_CHALLENGES = (401, 407)
#: Contacts of one user that are listed.
_MAX_CONTACTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """How the registration of one address of record stands.

    Args:
        user: the address of record, ``user@domain``.
        state: ``asked``, ``challenged``, ``registered``, ``unregistered`` or ``refused``.
        at: since when, or when that was last confirmed; seconds since 1970.
        status: the last response, or ``None``.
        contacts: the URIs that are registered, 10 at most.
        expires: seconds until the first of them expires, counted from `at`; ``None`` where nothing says so.
    """

    user: str
    state: str
    at: float
    status: int | None = None
    contacts: tuple[str, ...] = ()
    expires: int | None = None


class Registrations:
    """Follows registrations by their messages.

    Args:
        max_users: beyond that, the one of which nothing was heard longest is forgotten.
    """

    def __init__(self, *, max_users: int = 10_000) -> None:
        self._max_users = max_users
        self._users: dict[str, Registration] = {}

    def __iter__(self) -> Iterator[Registration]:
        return iter(sorted(self._users.values(), key=lambda one: one.user))

    def take(self, sighting: Sighting) -> None:
        """Take the next message; what is about something else is passed over."""
        if sighting.method != "REGISTER" or sighting.callee is None or sighting.message is None:
            return
        uri = sighting.callee.uri
        user = uri.address_of_record().partition(":")[2] if isinstance(uri, SipUri) else str(uri)
        known = self._users.pop(user, None)
        self._users[user] = _next(known, user, sighting.at, sighting.status, sighting.message)
        if len(self._users) > self._max_users:
            del self._users[next(iter(self._users))]


def _next(known: Registration | None, user: str, at: float, status: int | None, message: Message) -> Registration:
    if isinstance(message, Request):
        return known or Registration(user=user, state="asked", at=at)
    if status is None or status < 200:
        return known or Registration(user=user, state="asked", at=at)
    if status < 300:
        contacts, expires = _contacts(message)
        state = "registered" if contacts else "unregistered"
        return Registration(user=user, state=state, at=at, status=status, contacts=contacts, expires=expires)
    if status in _CHALLENGES:
        # A refresh that is challenged ends nothing.
        if known is not None and known.state == "registered":
            return known
        return Registration(user=user, state="challenged", at=at, status=status)
    return Registration(user=user, state="refused", at=at, status=status)


def _contacts(message: Message) -> tuple[tuple[str, ...], int | None]:
    try:
        bound = [(str(contact.uri), contact.expires) for contact in message.contacts]
        general = message.expires
    except ParseError:
        return (), None
    times = [expires if expires is not None else general for _, expires in bound]
    known = [expires for expires in times if expires is not None]
    live = tuple(uri for (uri, _), expires in zip(bound, times, strict=True) if expires != 0)
    return live[:_MAX_CONTACTS], min(known, default=None) if live else None
