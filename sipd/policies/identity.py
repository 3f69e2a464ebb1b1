"""How a leg is told who calls: in which form, how much of it, and how the address is written.

RFC 3323, RFC 3325, RFC 3261 section 19.1.6, RFC 3966.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from sipd.policies.text import MAX_MATCHED, Template, groups_in, groups_of
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import UNRESERVED, escape, unescape
from sipd.sip.uri import SipUri, TelUri, Uri

#: What the user part of a URI may have without an escape (RFC 3261 section 25.1, ``user-unreserved``).
_USER = UNRESERVED | frozenset("&=+$,;?/")
_NUMBER = re.compile(r"\+?[0-9*#][0-9*#\-.()]*\Z")
_GLOBAL = re.compile(r"\+[0-9]+\Z")
_SEPARATORS = str.maketrans("", "", "-.() ")


class IdentityForm(Enum):
    """How an identity is asserted."""

    PAI = "pai"
    RPID = "rpid"
    BOTH = "both"

    __hash__ = object.__hash__


class HistoryForStrangers(Enum):
    """What becomes of History-Info and Diversion where a request leaves the trust domain (RFC 7044 section 10)."""

    REMOVE = "remove"
    #: Every place without its name.
    ANONYMISE = "anonymise"
    #: Those without their name for which somebody has asked for that.
    PASS = "pass"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRule:
    """How some numbers are written.

    Args:
        pattern: has to match the whole user part, of a number without ``-``, ``.`` and brackets.
        value: what is written instead, with ``{0}`` for what matched, ``{1}`` and ``{name}`` for its groups.

    Raises:
        ValueError: the value names a group that there is not.
    """

    pattern: re.Pattern[str]
    value: Template

    def __post_init__(self) -> None:
        """Check the rule."""
        self.value.check(groups_of(self.pattern))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """How addresses are written towards a leg: in From, P-Asserted-Identity and Remote-Party-ID.

    An anonymous address stays as it is.

    Args:
        numbers: the first rule that matches is used; a user part that none matches stays.
        is_phone: whether ``user=phone`` says of a number that it is one.
        domain: the host to write in the place of any other; empty for none. A ``tel`` URI becomes a ``sip`` URI with
            it.
        has_own_domain: the same with the first domain that is served, where there is one and `domain` is empty.
        has_name: whether display names are told.
        hides_from: whether From is anonymous where the caller asks for privacy, also for a leg that is trusted and so
            told who it is in other fields.
        to_is_target: whether To is the request URI, as it is written for that leg, and not what the caller has dialled.
    """

    numbers: tuple[NumberRule, ...] = ()
    is_phone: bool = False
    domain: str = ""
    has_own_domain: bool = False
    has_name: bool = True
    hides_from: bool = False
    to_is_target: bool = False

    def at(self, domain: str) -> AddressPolicy:
        """Give the same for where that domain is the first that is served."""
        return replace(self, domain=domain) if self.has_own_domain and not self.domain else self

    def write(self, address: NameAddr) -> NameAddr:
        """Give an address, without parameters of its field, as that leg gets it."""
        uri = address.uri
        if isinstance(uri, SipUri):
            if uri.host.endswith(".invalid"):
                return address
            written: SipUri | TelUri = self._sip(uri)
        elif isinstance(uri, TelUri):
            written = self._tel(uri)
        else:
            return address
        name = address.display_name if self.has_name else ""
        if written is uri and name == address.display_name:
            return address
        return NameAddr(written, name)

    @staticmethod
    def target(uri: Uri) -> NameAddr:
        """Give To for a request URI: without what concerns its way."""
        if not isinstance(uri, SipUri):
            return NameAddr(uri)
        kept = {name: value for name, value in uri.parameters.items() if name == "user"}
        return NameAddr(SipUri(uri.host, uri.user, parameters=kept, scheme=uri.scheme))

    def _sip(self, uri: SipUri) -> SipUri:
        user = None if uri.user is None else self._number(uri.user)
        parameters = uri.parameters
        if self.is_phone and user is not None and _NUMBER.match(unescape(user)):
            parameters = {**parameters, "user": "phone"}
        host, port = (self.domain, None) if self.domain else (uri.host, uri.port)
        if (user, host, port) == (uri.user, uri.host, uri.port) and parameters == uri.parameters:
            return uri
        return uri.replace(user=user, host=host, port=port, parameters=parameters, password=None)

    def _tel(self, uri: TelUri) -> SipUri | TelUri:
        number = self._number(uri.digits)
        if self.domain:
            return SipUri(self.domain, number, parameters={"user": "phone"})
        # A local number needs its phone-context, which another number would not fit (RFC 3966 section 5.1.5).
        return TelUri(number) if number != uri.digits and _GLOBAL.match(number) else uri

    def _number(self, user: str) -> str:
        """Give a user part, escaped, by the first rule that matches."""
        text = unescape(user)
        if len(text) > MAX_MATCHED:
            return user
        if _NUMBER.match(text):
            text = text.translate(_SEPARATORS)
        for rule in self.numbers:
            match = rule.pattern.fullmatch(text)
            if match is not None:
                return escape(rule.value.fill(groups_in(match)), _USER) or user
        return user
