"""The kinds of values in the sections about trunks; the rest are in `sipd.daemon.values`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, PlainValidator

from sipd.daemon.values import fail, shown, text_of, type_name
from sipd.errors import ParseError
from sipd.sip.grammar import escape
from sipd.sip.uri import SipUri, parse_uri
from sipd.trunks.settings import TrunkServer

_MAX_WEIGHT = 1_000_000
_STATUSES = re.compile(r"[2-6]xx\Z", re.IGNORECASE)
_CONTACT_USER = re.compile(r"[A-Za-z0-9._~-]{1,64}\Z")
_CERTIFIED = re.compile(r"[A-Za-z0-9.:-]{1,253}\Z")


def _server_uri(value: object) -> SipUri:
    """Accept the URI of a place: without a user, a password or header fields."""
    expected = 'a server such as "sip:gw.example.com" or "sip:192.0.2.5:5070;transport=tcp"'
    text = text_of(value, expected)
    try:
        uri = parse_uri(text)
    except ParseError as error:
        fail(f"{expected} expected: {error.reason}")
    if not isinstance(uri, SipUri) or uri.user is not None or uri.password is not None or uri.headers:
        fail(f"{expected} expected, with no user in it")
    return uri


def _server(value: object) -> TrunkServer:
    """Accept a URI, or ``{ uri = "...", weight = 2 }``."""
    if isinstance(value, TrunkServer):
        return value
    if not isinstance(value, dict):
        return TrunkServer(_server_uri(value))
    if "uri" not in value or value.keys() - {"uri", "weight"}:
        fail('a URI, or { uri = "...", weight = 1 }, expected')
    weight = value.get("weight", 1)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= _MAX_WEIGHT:
        written = shown(weight) if isinstance(weight, int | float | str) else type_name(weight)
        fail(f"a weight from 0 to {_MAX_WEIGHT} expected (got {written})")
    return TrunkServer(_server_uri(value["uri"]), weight)


def _aor(value: object) -> SipUri:
    expected = 'an address such as "sip:4930123@carrier.example"'
    text = text_of(value, expected)
    try:
        uri = parse_uri(text)
    except ParseError as error:
        fail(f"{expected} expected: {error.reason}")
    if not isinstance(uri, SipUri) or uri.user is None or uri.password is not None or uri.headers:
        # What was given is not shown: there may be a password in it.
        fail(f"{expected} expected, with a user and no password in it")
    return uri


def _statuses(value: object) -> int | str:
    """Accept ``404`` or ``"4xx"``."""
    if isinstance(value, int) and not isinstance(value, bool) and 200 <= value <= 699:
        return value
    if isinstance(value, str) and _STATUSES.match(value):
        return value.lower()
    written = shown(value) if isinstance(value, int | float | str) else type_name(value)
    fail(f'a status from 200 to 699, or a class such as "4xx", expected (got {written})')


def all_statuses(values: Iterable[int | str]) -> frozenset[int]:
    """Give every status that is meant."""
    found: set[int] = set()
    for value in values:
        first = int(value[0]) * 100 if isinstance(value, str) else value
        found.update(range(first, first + 100) if isinstance(value, str) else (first,))
    return frozenset(found)


def _contact_user(value: object) -> str:
    text = text_of(value, "a name")
    return text if _CONTACT_USER.match(text) else fail("1 to 64 letters, digits, or any of . _ ~ - expected")


def _user_part(value: object) -> str:
    """Accept a user or number as people write it, and give it as it stands in a URI."""
    text = text_of(value, "a number or a user")
    if not text or len(text) > 64 or not text.isprintable() or any(character in ' "<>@:;' for character in text):
        fail(f'a number or a user such as "+4930123" expected (got {shown(text)})')
    return escape(text, _USER_CHARACTERS)


def _certified_name(value: object) -> str:
    text = text_of(value, "a name in a certificate").lower()
    return (
        text if _CERTIFIED.match(text) else fail(f'a name such as "sip.carrier.example" expected (got {shown(text)})')
    )


#: What needs no escape in a user part (RFC 3261 section 25.1).
_USER_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!~*'()&=+$,?/")

ServerUri = Annotated[SipUri, PlainValidator(_server_uri)]
ServerEntry = Annotated[TrunkServer, PlainValidator(_server)]
AddressOfRecord = Annotated[SipUri, PlainValidator(_aor)]
Statuses = Annotated[int | str, PlainValidator(_statuses)]
ContactUser = Annotated[str, PlainValidator(_contact_user)]
UserPart = Annotated[str, PlainValidator(_user_part)]
CertifiedName = Annotated[str, PlainValidator(_certified_name)]
Expiry = Annotated[int, Field(ge=30, le=7 * 86400)]
