"""From a URI to targets (RFC 3263 section 4, RFC 7984): NAPTR, SRV with weights, addresses of both versions of IP."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IReactorPluggableNameResolver, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import UnresolvableError
from sipd.interfaces import Entropy, IResolver, ListeningPoint
from sipd.sip.fields import Via
from sipd.sip.locate import Destination, Lookup, Target, Transport, find_destination
from sipd.sip.services import ServiceRecord, choose_pointers, order_services, service_name
from sipd.sip.uri import Uri
from sipd.transport.dns import is_domain_name
from sipd.transport.interfaces import IDomainNames
from sipd.transport.names import SystemNames
from sipd.transport.resting import RestingTargets
from sipd.transport.tcp import is_loopback, is_wildcard

#: More than this are not tried: a call attempt has to end.
MAX_TARGETS = 16
#: Of servers and of NAPTR records, so many are looked up.
_MAX_SERVERS = 8
_MAX_POINTERS = 4
#: What is looked for where the domain has no NAPTR records, in this order.
_BY_DEFAULT = (Transport.UDP, Transport.TCP)

T = TypeVar("T")


class ResolverReactor(IReactorPluggableNameResolver, IReactorTime):
    """The parts of a reactor that the resolver uses."""


@implementer(IResolver)
class Resolver:
    """Finds the targets of a URI.

    Args:
        reactor: gives time, and names where `names` is not given.
        names: who knows names; without it the reactor's own name resolver, which knows addresses alone.
        points: gives the listening points: only what can be spoken by one of them is a target. Without it, everything.
        entropy: for the choice among servers of equal priority.
        timeout: seconds after which a name counts as not resolvable, all of its lookups together.
        resting: targets that failed.

    Attributes:
        lookups: how many names were looked up.
        failures: how many of them in vain.
    """

    def __init__(
        self,
        reactor: ResolverReactor,
        *,
        names: IDomainNames | None = None,
        points: Callable[[], Sequence[ListeningPoint]] | None = None,
        entropy: Entropy = os.urandom,
        timeout: float = 5.0,
        resting: RestingTargets | None = None,
    ) -> None:
        self.names: IDomainNames = names if names is not None else SystemNames(reactor)
        self.resting = resting if resting is not None else RestingTargets(reactor)
        self._reactor = reactor
        self._points = points
        self._entropy = entropy
        self._timeout = timeout
        self.lookups = 0
        self.failures = 0

    def locate(self, uri: Uri) -> Deferred[Sequence[Target]]:
        """See `IResolver`. A numeric host is there at once."""
        try:
            destination = find_destination(uri)
        except UnresolvableError:
            return fail()
        if destination.lookup is Lookup.NOTHING:
            # The kernel writes addresses like this, and flows are found by them.
            return succeed((destination.at(str(ipaddress.ip_address(destination.host))),))
        return self.locate_destination(destination)

    def locate_destination(self, destination: Destination) -> Deferred[Sequence[Target]]:
        """Give the targets of a destination whose host is a name, as `locate` does."""
        name = destination.host.removesuffix(".")
        self.lookups += 1
        if not is_domain_name(name):
            self.failures += 1
            return fail(UnresolvableError(f"{destination.host[:40]} is no host name"))
        search = _Search(self.names, name, destination, self._points, self._pick)
        found: Deferred[Sequence[Target]] = Deferred.fromCoroutine(search.run()).addCallback(self.resting.put_last)
        found.addTimeout(self._timeout, self._reactor, lambda _, timeout: _no_answer(destination.host, timeout))
        return found.addErrback(self._failed)

    def locate_sender(self, via: Via, transport: Transport) -> Deferred[Sequence[Target]]:
        """Give the servers of a Via's sent-by, for a response whose source cannot be reached (RFC 3263 section 5)."""
        return self.locate_destination(
            Destination(
                transport=transport,
                host=via.host.lower(),
                port=transport.default_port if via.port is None else via.port,
                server_name=via.host,
                lookup=Lookup.SERVICES if via.port is None else Lookup.ADDRESSES,
            )
        )

    def target_failed(self, target: Target, rest: float | None = None) -> None:
        """See `IResolver`."""
        self.resting.add(target, rest)

    def close(self) -> None:
        """Give up what is being looked up."""
        self.names.close()

    def _failed(self, failure: Failure) -> Failure:
        if failure.check(UnresolvableError):
            self.failures += 1
        return failure

    def _pick(self, largest: int) -> int:
        return int.from_bytes(self._entropy(8), "big") % (largest + 1)


#: A server before its addresses are known: transport, host name, port.
_Server = tuple[Transport, str, int]


class _Search:
    """One URI's way through the DNS."""

    def __init__(
        self,
        names: IDomainNames,
        name: str,
        destination: Destination,
        points: Callable[[], Sequence[ListeningPoint]] | None,
        pick: Callable[[int], int],
    ) -> None:
        self._names = names
        self._name = name
        self._destination = destination
        self._points = None if points is None else points()
        self._pick = pick
        self._error: UnresolvableError | None = None

    async def run(self) -> Sequence[Target]:
        """Give the targets, those of the first server first."""
        servers = await self._find_servers()
        hosts = list(dict.fromkeys(host for _, host, _ in servers))
        lookups = [self._attempt(self._names.find_addresses(host)) for host in hosts]
        lists: list[Sequence[str]] = await gatherResults(lookups, consumeErrors=True)
        addresses = dict(zip(hosts, lists, strict=True))
        targets: dict[Target, None] = {}
        for transport, host, port in servers:
            for address in self._within_reach(addresses[host], transport):
                name = self._destination.server_name
                targets[Target(transport=transport, host=address, port=port, server_name=name)] = None
        if not targets:
            raise self._failure(any(lists))
        return tuple(targets)[:MAX_TARGETS]

    async def _find_servers(self) -> Sequence[_Server]:
        """Give the servers by SRV, or else the host itself (section 4.2)."""
        destination = self._destination
        itself = (destination.transport, self._name, destination.port)
        if destination.lookup is Lookup.ADDRESSES or self._names.is_local(self._name):
            return (itself,)
        services = await self._find_services()
        lookups = [self._attempt(self._names.find_services(name)) for _, name in services]
        found: list[_Server] = []
        lists: list[Sequence[ServiceRecord]] = await gatherResults(lookups, consumeErrors=True)
        declined = False
        for (transport, _), records in zip(services, lists, strict=True):
            offered = [record for record in records if record.host]
            declined = declined or len(offered) < len(records)
            found += ((transport, record.host, record.port) for record in self._order(offered))
        if not found and declined:
            raise UnresolvableError(f"{self._name} offers no SIP service, or none over {destination.transport.value}")
        return found[:_MAX_SERVERS] or (itself,)

    async def _find_services(self) -> Sequence[tuple[Transport, str]]:
        """Give transports and the names of their SRV records (section 4.1)."""
        destination = self._destination
        if destination.lookup is Lookup.SERVICES:
            return ((destination.transport, service_name(destination.transport, self._name)),)
        spoken = self._spoken()
        pointers = await self._attempt(self._names.find_pointers(self._name))
        chosen = choose_pointers(pointers, spoken=spoken, is_secure=destination.is_secure)
        if chosen:
            return chosen[:_MAX_POINTERS]
        usual = (Transport.TLS,) if destination.is_secure else _BY_DEFAULT
        return [(transport, service_name(transport, self._name)) for transport in usual if transport in spoken]

    def _order(self, records: Sequence[ServiceRecord]) -> list[ServiceRecord]:
        return order_services(records, self._pick)

    def _spoken(self) -> set[Transport]:
        """Give the transports in which a connection can be made, or a datagram sent."""
        possible = set(Transport)
        return possible if self._points is None else possible & {point.transport for point in self._points}

    def _within_reach(self, addresses: Sequence[str], transport: Transport) -> list[str]:
        """Give the addresses whose version of IP a listening point speaks, those that it can surely reach first."""
        if self._points is None:
            return list(addresses)
        points = [point for point in self._points if point.transport is transport]
        reachable = [address for address in addresses if any(_reaches(point, address) for point in points)]
        versions = {":" in point.host for point in points}
        others = [address for address in addresses if address not in reachable and (":" in address) in versions]
        return reachable + others

    def _attempt(self, lookup: Deferred[Sequence[T]]) -> Deferred[Sequence[T]]:
        """Give what is found. A lookup that fails finds nothing, and is the reason if nothing else is found."""
        return lookup.addErrback(self._note)

    def _note(self, failure: Failure) -> Sequence[T]:
        failure.trap(UnresolvableError)
        if self._error is None and isinstance(failure.value, UnresolvableError):
            self._error = failure.value
        return ()

    def _failure(self, has_addresses: bool) -> UnresolvableError:
        if has_addresses:
            return UnresolvableError(f"No listening point can reach an address of {self._name}")
        return self._error or UnresolvableError(f"{self._name} has no address")


def _reaches(point: ListeningPoint, address: str) -> bool:
    is_same_version = (":" in point.host) == (":" in address)
    return is_same_version and (is_wildcard(point.host) or is_loopback(point.host) == is_loopback(address))


def _no_answer(host: str, timeout: float) -> Failure:
    return Failure(UnresolvableError(f"No answer about {host} from DNS within {timeout:g} s"))
