"""Who knows names: name servers and this host's own file, or the reactor alone."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import UnresolvableError
from sipd.sip.locate import is_numeric
from sipd.sip.services import NamingPointer, ServiceRecord
from sipd.transport.cache import NameCache
from sipd.transport.hostfiles import HostsFile, ResolvConf
from sipd.transport.interfaces import IDomainNames

#: More addresses than this of one name are not tried.
MAX_ADDRESSES = 16


@implementer(IDomainNames)
class DomainNames:
    """What name servers say, and before them this host's own file of names.

    Args:
        cache: asks the servers, and remembers.
        hosts: names that no server is asked about.
        resolv_conf: domains in which short names are looked for; ``None`` for no such names.
        versions: the versions of IP that are wanted, in the order of preference (RFC 7984 section 3).
    """

    def __init__(
        self,
        cache: NameCache,
        *,
        hosts: HostsFile | None = None,
        resolv_conf: ResolvConf | None = None,
        versions: Sequence[int] = (6, 4),
    ) -> None:
        self.cache = cache
        self._hosts = hosts
        self._resolv_conf = resolv_conf
        self._kinds = [dns.AAAA if version == 6 else dns.A for version in versions]

    def is_local(self, name: str) -> bool:
        """See `IDomainNames`."""
        return self._hosts is not None and bool(self._hosts.addresses(name))

    def find_pointers(self, name: str) -> Deferred[Sequence[NamingPointer]]:
        """See `IDomainNames`."""
        return self.cache.find(name, dns.NAPTR)

    def find_services(self, name: str) -> Deferred[Sequence[ServiceRecord]]:
        """See `IDomainNames`."""
        return self.cache.find(name, dns.SRV)

    def find_addresses(self, name: str) -> Deferred[Sequence[str]]:
        """See `IDomainNames`. A name that is not found as it is may be a short one."""
        own = self._hosts.addresses(name) if self._hosts is not None else ()
        if own:
            return succeed(sorted(own, key=self._place))
        return Deferred.fromCoroutine(self._find(name))

    def close(self) -> None:
        """See `IDomainNames`."""
        self.cache.close()

    async def _find(self, name: str) -> Sequence[str]:
        found: Sequence[str] = ()
        for candidate in self._candidates(name):
            found = await self._ask(candidate)
            if found:
                break
        return found

    def _candidates(self, name: str) -> list[str]:
        suffixes = self._resolv_conf.suffixes() if self._resolv_conf is not None else ()
        longer = [f"{name}.{suffix}" for suffix in suffixes]
        return [name, *longer] if "." in name else [*longer, name]

    async def _ask(self, name: str) -> list[str]:
        """Ask for all versions at once. One that cannot be had does not matter where the other can."""
        lookups = [self.cache.find(name, kind).addErrback(_keep_error) for kind in self._kinds]
        found: list[str] = []
        errors: list[UnresolvableError] = []
        for outcome in await gatherResults(lookups, consumeErrors=True):
            if isinstance(outcome, UnresolvableError):
                errors.append(outcome)
            else:
                found += outcome[:MAX_ADDRESSES]
        if errors and not found:
            raise errors[0]
        return found

    def _place(self, address: str) -> int:
        kind = dns.AAAA if ":" in address else dns.A
        return self._kinds.index(kind) if kind in self._kinds else len(self._kinds)


def _keep_error(failure: Failure) -> UnresolvableError:
    failure.trap(UnresolvableError)
    error = failure.value
    assert isinstance(error, UnresolvableError)
    return error


@implementer(IDomainNames)
class SystemNames:
    """What the reactor's name resolver says, in its order: addresses alone, remembered by nobody here."""

    def __init__(self, reactor: IReactorPluggableNameResolver) -> None:
        self._reactor = reactor

    def is_local(self, name: str) -> bool:
        """See `IDomainNames`. Nothing but addresses can be asked for."""
        return True

    def find_pointers(self, name: str) -> Deferred[Sequence[NamingPointer]]:
        """See `IDomainNames`."""
        return succeed(())

    def find_services(self, name: str) -> Deferred[Sequence[ServiceRecord]]:
        """See `IDomainNames`."""
        return succeed(())

    def find_addresses(self, name: str) -> Deferred[Sequence[str]]:
        """See `IDomainNames`."""
        receiver = _Addresses()
        self._reactor.nameResolver.resolveHostName(receiver, name)
        return receiver.found

    def close(self) -> None:
        """See `IDomainNames`."""


@implementer(IResolutionReceiver)
class _Addresses:
    """Collects the addresses of one name. After a time-out it collects for nobody."""

    def __init__(self) -> None:
        self.found: Deferred[Sequence[str]] = Deferred()
        self._hosts: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See ``IResolutionReceiver``."""

    def addressResolved(self, address: IAddress) -> None:
        """See ``IResolutionReceiver``."""
        host = getattr(address, "host", "")
        if is_numeric(host) and host not in self._hosts and len(self._hosts) < MAX_ADDRESSES:
            self._hosts.append(host)

    def resolutionComplete(self) -> None:
        """See ``IResolutionReceiver``."""
        if not self.found.called:
            self.found.callback(self._hosts)
