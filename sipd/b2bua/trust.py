"""Who is believed, and what is told to those who are not: the settings of identity (RFC 3325 sections 3 and 5)."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field

from sipd.policies import HistoryForStrangers, IdentityForm
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import escape
from sipd.sip.uri import SipUri, Uri

__all__ = ["HistoryForStrangers", "IdentityForm", "IdentityPolicy", "Network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityPolicy:
    """What is done about identity. By default nobody is believed, and nobody is told anything.

    Args:
        trust: networks of the trust domain: what comes from there is believed, what goes there is told everything.
        domains: of our users; the first is that of a user who does not call from another one of them.
        owned: further addresses of users by their names, such as telephone numbers.
        form: how identities are told.
        anonymises: whether a caller who asks for privacy is made anonymous (RFC 3323 section 5.3).
        tells_strangers: whether those outside of the trust domain are told an identity that nobody asks to hide.
        history: what of History-Info and Diversion they are told.
        relays_media: whether media goes through here, so that an address in it says nothing (section 5.2).
    """

    trust: tuple[Network, ...] = ()
    domains: tuple[str, ...] = ()
    owned: Mapping[str, tuple[Uri, ...]] = field(default_factory=dict)
    form: IdentityForm = IdentityForm.PAI
    anonymises: bool = True
    tells_strangers: bool = False
    history: HistoryForStrangers = HistoryForStrangers.REMOVE
    relays_media: bool = False

    def trusts(self, host: str) -> bool:
        """Say whether a numeric address is in the trust domain; a name is in none."""
        if not self.trust:
            return False
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self.trust)

    def address_of(self, user: str, address: Uri) -> SipUri | None:
        """Give the address of record of a user: in the domain of an address that names the user, or the first one."""
        if not self.domains:
            return None
        host = address.host if isinstance(address, SipUri) and address.host in self.domains else self.domains[0]
        return SipUri(host, escape(user))

    def owns(self, user: str, address: SipUri) -> bool:
        """Say whether an address in a domain of ours is one of a user's further ones."""
        aor = address.address_of_record()
        return any(isinstance(one, SipUri) and one.address_of_record() == aor for one in self.owned.get(user, ()))

    def assert_user(self, user: str, address: Uri, preferred: tuple[NameAddr, ...]) -> tuple[NameAddr, ...]:
        """Give the identity of a user who has proved to be one (RFC 3325 section 5), without a display name.

        Args:
            user: the name.
            address: that the user calls from, or is called at: says of which domain.
            preferred: by the user's P-Preferred-Identity; counts as far as it is the user's own.
        """
        own = (*[SipUri(host, escape(user)) for host in self.domains], *self.owned.get(user, ()))
        chosen = tuple([NameAddr(one.uri) for one in preferred if one.uri in own])
        is_own = isinstance(address, SipUri) and self.owns(user, address)
        known = address if is_own else self.address_of(user, address)
        return chosen if chosen or known is None else (NameAddr(known),)
