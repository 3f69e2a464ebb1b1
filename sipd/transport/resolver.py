"""From a URI to targets (RFC 3263 section 4): numeric hosts, and names by the reactor's name resolver."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IReactorPluggableNameResolver,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import UnresolvableError
from sipd.interfaces import IResolver
from sipd.sip.locate import Destination, Target, find_destination, is_numeric
from sipd.sip.uri import Uri

#: More addresses than this of one name are not tried: a call attempt has to end.
MAX_TARGETS = 16


class ResolverReactor(IReactorPluggableNameResolver, IReactorTime):
    """The parts of a reactor that the resolver uses."""


@implementer(IResolver)
class Resolver:
    """Finds the targets of a URI. The transport is what the URI says, UDP for `sip` or TLS for `sips`.

    Args:
        reactor: its name resolver is asked for IPv4 and IPv6 addresses.
        timeout: seconds after which a name counts as not resolvable.
    """

    def __init__(self, reactor: ResolverReactor, *, timeout: float = 5.0) -> None:
        self._reactor = reactor
        self._timeout = timeout

    def locate(self, uri: Uri) -> Deferred[Sequence[Target]]:
        """See `IResolver`. A numeric host is there at once."""
        try:
            destination = find_destination(uri)
        except UnresolvableError:
            return fail()
        if is_numeric(destination.host):
            # The kernel writes addresses like this, and flows are found by them.
            return succeed((destination.at(str(ipaddress.ip_address(destination.host))),))
        if not _is_name(destination.host):
            return fail(UnresolvableError(f"{destination.host[:40]} is no host name"))
        return self._look_up(destination)

    def _look_up(self, destination: Destination) -> Deferred[Sequence[Target]]:
        answer = _Answer()
        self._reactor.nameResolver.resolveHostName(answer, destination.host, destination.port)
        found: Deferred[Sequence[Target]] = answer.addresses.addCallback(_targets, destination)
        found.addTimeout(self._timeout, self._reactor, lambda _, timeout: _no_answer(destination.host, timeout))
        return found


@implementer(IResolutionReceiver)
class _Answer:
    """Collects the addresses of one name. After a time-out it collects for nobody."""

    def __init__(self) -> None:
        self.addresses: Deferred[list[str]] = Deferred()
        self._hosts: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: IAddress) -> None:
        """See `IResolutionReceiver`."""
        host = getattr(address, "host", "")
        if is_numeric(host) and host not in self._hosts and len(self._hosts) < MAX_TARGETS:
            self._hosts.append(host)

    def resolutionComplete(self) -> None:
        """See `IResolutionReceiver`."""
        if not self.addresses.called:
            self.addresses.callback(self._hosts)


def _targets(hosts: list[str], destination: Destination) -> Sequence[Target]:
    if not hosts:
        raise UnresolvableError(f"{destination.host} has no address")
    return tuple(destination.at(host) for host in hosts)


def _no_answer(host: str, timeout: float) -> Failure:
    return Failure(UnresolvableError(f"No answer about {host} from DNS within {timeout:g} s"))


def _is_name(host: str) -> bool:
    return 0 < len(host) <= 253 and all(0 < len(label) <= 63 for label in host.removesuffix(".").split("."))
