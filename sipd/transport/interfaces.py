"""The joints of looking names up: who asks name servers, and who knows what they said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.names import dns

    from sipd.sip.services import NamingPointer, ServiceRecord


class INameClient(Interface):
    """Asks name servers."""

    def ask(name: str, kind: int) -> Deferred[dns.Message]:
        """Ask for the records of one kind (``dns.A``, ...) that a name in ASCII has.

        The answer says that there are some, or that there are none. Fails with `UnresolvableError` if no server gives
        either. Cancelling it leaves nothing behind.
        """


class IDomainNames(Interface):
    """What the resolver wants to know of a name. Each fails with `UnresolvableError` if nobody can tell."""

    def is_local(name: str) -> bool:
        """Say whether this host itself gives the name its addresses, so that no server is to be asked about it."""

    def find_pointers(name: str) -> Deferred[Sequence[NamingPointer]]:
        """Give its NAPTR records."""

    def find_services(name: str) -> Deferred[Sequence[ServiceRecord]]:
        """Give its SRV records, each once."""

    def find_addresses(name: str) -> Deferred[Sequence[str]]:
        """Give its IPv4 and IPv6 addresses, numeric, each once, in the order in which they are to be tried."""

    def close() -> None:
        """Give up what is being looked up."""
