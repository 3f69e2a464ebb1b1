"""By which addresses a socket can be reached: its own, those that STUN servers see, those of TURN servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from sipd.errors import ConfigurationError, RemoteError, ResourcesExhaustedError
from sipd.ice.candidates import Gathering, LocalCandidate, canonical
from sipd.ice.requests import Credentials
from sipd.interfaces import Entropy
from sipd.media.endpoint.path import Way
from sipd.media.endpoint.settings import IceServer
from sipd.media.latch import Address
from sipd.media.traversal.gathering import Gatherer, RelayedAddress
from sipd.media.traversal.servers import ServerKind, TraversalServer, find_address

#: Seconds for which servers are waited for; the call is to begin all the same.
PATIENCE = 3.0
#: Servers that are asked.
_LIMIT = 8


class Reachability:
    """The addresses of one socket.

    Args:
        reactor: gives time, and resolves names of servers.
        send: sends from the socket.
        base: where the socket is.
        component: that it is for.
        advertised: what leads there from outside; the same address where nothing is between.
        entropy: for requests.
        relayed: called with each datagram that comes through a relay, its source, and the relayed address.

    Attributes:
        ways: what sends from each base.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        send: Way,
        *,
        base: Address,
        component: int,
        advertised: Address,
        entropy: Entropy,
        relayed: Callable[[bytes, Address, Address], object],
    ) -> None:
        base = canonical(base)
        self.ways: dict[Address, Way] = {base: send}
        self._reactor = reactor
        self._base = base
        self._component = component
        self._relayed = relayed
        self._gathering = Gathering()
        self._gathering.add_host(base, self._component)
        if canonical(advertised) != base:
            # What leads here from outside is as good as what a server has seen.
            self._gathering.add_server_reflexive(canonical(advertised), self._component, base=base, server="")
        self._gatherer = Gatherer(reactor, send, entropy=entropy)
        self._relays: dict[Address, RelayedAddress] = {}

    @property
    def candidates(self) -> tuple[LocalCandidate, ...]:
        """What is known by now."""
        return self._gathering.candidates

    def ask(self, servers: tuple[IceServer, ...]) -> Deferred[None]:
        """Ask servers; fires when all have answered or nobody waits for them any more. Never fails."""
        asking = [Deferred.fromCoroutine(self._ask(server)) for server in servers[:_LIMIT]]
        everybody: Deferred[Any] = DeferredList(asking, consumeErrors=True)
        return everybody.addCallback(lambda _: None)

    def datagram_received(self, data: bytes, source: Address) -> bool:
        """Take a datagram; say whether it was of a server."""
        return self._gatherer.datagram_received(data, source)

    def admit(self, hosts: Iterable[str]) -> None:
        """Have each relay let these hosts send, before they are sent to (RFC 8445 section 7.2.2, RFC 8656 section 9).

        A peer checks the way by the relay as soon as it knows of it, and there are peers that send nothing before each
        check has come to an end. What is no address, or no address that a relay can reach, is passed over.
        """
        for host in hosts:
            for relay in self._relays.values():
                if not relay.is_open:
                    continue
                try:
                    relay.permit(host)
                except (ResourcesExhaustedError, ValueError) as error:
                    self._log.debug("{host} is not let through: {error}", host=host, error=error)

    def settle(self, base: Address, remote: Address) -> None:
        """Make the way from a base to a peer cheap: media go there from now on."""
        relay = self._relays.get(base)
        if relay is not None and relay.is_open:
            try:
                relay.bind(remote)
            except ResourcesExhaustedError as error:
                self._log.info("no channel to {remote}: {error}", remote=remote, error=error)

    def close(self) -> Deferred[None]:
        """Give relayed addresses back; fires when that is done. The socket can be closed then."""
        closing: Deferred[Any] = DeferredList([relay.close() for relay in self._relays.values()], consumeErrors=True)
        return closing.addBoth(lambda _: self._gatherer.close())

    async def _ask(self, server: IceServer) -> None:
        try:
            found = TraversalServer.parse(server.uri)
            version = 6 if ":" in self._base[0] else 4
            address = await find_address(self._reactor, found, version=version)
            if found.kind is ServerKind.STUN:
                mapped = await self._gatherer.ask_address(address, timeout=PATIENCE)
                self._gathering.add_server_reflexive(mapped, self._component, base=self._base, server=address[0])
            else:
                await self._allocate(address, Credentials(server.user, server.password))
        except (ConfigurationError, RemoteError, ResourcesExhaustedError) as error:
            self._log.warn("{server} gives no address for media: {error}", server=server.uri, error=error)

    async def _allocate(self, server: Address, credentials: Credentials) -> None:
        relay = await self._gatherer.allocate(server, credentials, timeout=PATIENCE)
        base = canonical(relay.relayed)
        self._relays[base] = relay
        relay.on_data = lambda data, peer: self._relayed(data, peer, base)
        self.ways[base] = lambda data, to: _through(relay, data, to)
        self._gathering.add_relayed(base, self._component, mapped=relay.mapped, server=server[0])
        if relay.mapped is not None:
            self._gathering.add_server_reflexive(relay.mapped, self._component, base=self._base, server=server[0])


def _through(relay: RelayedAddress, data: bytes, to: Address) -> bool:
    """Send by a relay; say whether it was taken."""
    if not relay.is_open:
        return False
    relay.send(data, to)
    return True
