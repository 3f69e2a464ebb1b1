"""A simulated network: hosts whose sockets are Twisted's, links that lose and reorder, and one log of it all.

A `Host` is shaped like a reactor (``IReactorTime``, ``IReactorUDP``, ``IReactorTCP``), so whatever is written for
Twisted runs on it unchanged. Everything random comes from the seed: one seed gives one log, equal to the octet.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from twisted.internet.interfaces import (
    IHostnameResolver,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
)
from twisted.internet.protocol import ClientFactory, DatagramProtocol, ServerFactory
from zope.interface import implementer

from sipd.testing.clock import SimulatedCall, SimulatedClock
from sipd.testing.connections import SimulatedConnection
from sipd.testing.links import Address, Fate, Link, NetworkEvent
from sipd.testing.names import SimulatedNames
from sipd.testing.nat import Nat
from sipd.testing.sockets import SimulatedPort
from sipd.testing.streams import SimulatedConnector, SimulatedListener

#: The first port given to a socket that asks for none (RFC 6335 section 6).
_FIRST_EPHEMERAL_PORT = 49152


class Network:
    """Hosts, and the links between them.

    Args:
        clock: moves everything.
        seed: of all randomness.
        link: between any two addresses for which `set_link` said nothing else.

    Attributes:
        log: everything that happened, in order.
        names: what hosts find in the DNS: names in lower case to addresses.
        tells_refusals: whether a host says by ICMP that nobody takes a datagram. Off, as behind most firewalls.
        meddler: asked about each datagram, as (source, destination, octets), if set: for how many seconds it is held
            back, or ``None`` to lose it. So a test can pick one message.
    """

    def __init__(self, clock: SimulatedClock, seed: int, *, link: Link | None = None) -> None:
        self.clock = clock
        self.seed = seed
        self.log: list[NetworkEvent] = []
        self.names: dict[str, Sequence[str]] = {}
        self.tells_refusals = False
        self.meddler: Callable[[Address, Address, bytes], float | None] | None = None
        self._link = link or Link()
        self._random = random.Random(f"network {seed}")
        self._entropy = random.Random(f"entropy {seed}")
        self._links: dict[tuple[str, str], Link] = {}
        self._hosts: dict[str, Host] = {}
        self._inner_hosts: dict[tuple[str, str], Host] = {}
        self._nats: dict[str, Nat] = {}
        self._islands: list[frozenset[str]] = []

    # --- the shape of the network

    def host(self, *addresses: str) -> Host:
        """Add a host with these public addresses; the first of a family is the one it sends from."""
        host = Host(self, addresses, None)
        for address in addresses:
            self._claim(address)
            self._hosts[address] = host
        return host

    def host_behind(self, nat: Nat, address: str) -> Host:
        """Add a host with one private address. The same address may exist behind another NAT."""
        if self._nats.get(nat.address) is not nat:
            self._claim(nat.address)
            self._nats[nat.address] = nat
        if (nat.address, address) in self._inner_hosts:
            raise ValueError(f"{address} is taken behind {nat.address}")
        host = Host(self, (address,), nat)
        self._inner_hosts[nat.address, address] = host
        return host

    def set_link(self, source: str, destination: str, link: Link) -> None:
        """Set the link from one public address to another; the way back is a link of its own."""
        self._links[source, destination] = link

    def set_links(self, address: str, other: str, link: Link) -> None:
        """Set the link between two public addresses, both ways."""
        self._links[address, other] = self._links[other, address] = link

    def partition(self, addresses: Iterable[str]) -> None:
        """Cut these public addresses off from all others, until `heal`. Connections stall, and then break."""
        self._islands.append(frozenset(addresses))

    def heal(self) -> None:
        """Undo every `partition`."""
        self._islands.clear()

    def entropy(self, size_octets: int) -> bytes:
        """Give octets that look random and depend on the seed and the earlier calls only."""
        return self._entropy.randbytes(size_octets)

    def transcript(self) -> bytes:
        """Give the whole log as octets: equal for equal seeds."""
        return b"".join(map(bytes, self.log))

    # --- what sockets use

    def record(self, fate: Fate, transport: str, source: Address, destination: Address, data: bytes = b"") -> None:
        """Write one line of the log."""
        self.log.append(
            NetworkEvent(
                at=self.clock.seconds(),
                fate=fate,
                transport=transport,
                source=source,
                destination=destination,
                data=data,
            )
        )

    def send_datagram(self, host: Host, source: Address, destination: Address, data: bytes) -> None:
        """Carry one datagram, or not, as the link has it."""
        inner = self._neighbour(host, destination[0])
        if inner is None and host.nat is not None:
            source = host.nat.outbound(source, destination)
        if self.is_cut(source[0], destination[0]):
            self.record(Fate.PARTITIONED, "UDP", source, destination, data)
            return
        link = self._links.get((source[0], destination[0]), self._link)
        draw = self._random.random
        held = 0.0 if self.meddler is None else self.meddler(source, destination, data)
        if held is None or draw() < link.loss:
            self.record(Fate.LOST, "UDP", source, destination, data)
            return
        copies = 2 if draw() < link.duplication else 1
        self.record(Fate.SENT if copies == 1 else Fate.DUPLICATED, "UDP", source, destination, data)
        for _ in range(copies):
            self.clock.callLater(held + self._transit(link), self._arrive, inner, source, destination, data)

    def delay(self, source: Address, destination: Address) -> float:
        """Draw how long a segment of a connection takes."""
        link = self._links.get((source[0], destination[0]), self._link)
        return link.delay + self._random.random() * link.jitter

    def is_cut(self, address: str, other: str) -> bool:
        """Say whether a partition lies between two public addresses."""
        return any((address in island) is not (other in island) for island in self._islands)

    def find_listener(self, host: Host, destination: Address) -> SimulatedListener | None:
        """Give what takes connections at an address, seen from a host. Nothing is reached through a NAT."""
        target = self._neighbour(host, destination[0]) or self._hosts.get(destination[0])
        return None if target is None else target.listeners.get(destination)

    def public_source(self, host: Host, source: Address, destination: Address) -> Address:
        """Give the address from which a new connection seems to come."""
        if host.nat is None or self._neighbour(host, destination[0]) is not None:
            return source
        return (host.nat.address, host.nat.take_port())

    def has_address(self, host: Host, address: str) -> bool:
        """Say whether anything is at an address, seen from a host."""
        return address in self._hosts or address in self._nats or self._neighbour(host, address) is not None

    def _neighbour(self, host: Host, address: str) -> Host | None:
        """Give the host at a private address behind the same NAT."""
        return None if host.nat is None else self._inner_hosts.get((host.nat.address, address))

    def _transit(self, link: Link) -> float:
        draw = self._random.random
        held = link.holdback if draw() < link.reordering else 0.0
        return link.delay + draw() * link.jitter + held

    def _arrive(self, inner: Host | None, source: Address, destination: Address, data: bytes) -> None:
        host, local = inner or self._hosts.get(destination[0]), destination
        nat = self._nats.get(destination[0]) if host is None else None
        if nat is not None:
            translated = nat.inbound(destination[1], source)
            if translated is None:
                self.record(Fate.FILTERED, "UDP", source, destination, data)
                return
            host, local = self._inner_hosts.get((nat.address, translated[0])), translated
        port = None if host is None else host.ports.get(local)
        if port is None:
            self.record(Fate.UNREACHABLE, "UDP", source, destination, data)
            if host is not None and self.tells_refusals:
                way_back = self._links.get((destination[0], source[0]), self._link)
                self.clock.callLater(way_back.delay, self._tell_refusal, source, destination)
            return
        self.record(Fate.DELIVERED, "UDP", source, destination, data)
        port.deliver(data, source)

    def _tell_refusal(self, source: Address, destination: Address) -> None:
        """Tell the socket that sent a datagram, if it is there still, that nobody took it."""
        host = self._hosts.get(source[0])
        port = host.ports.get(source) if host is not None else None
        if port is not None:
            port.refused(destination)

    def _claim(self, address: str) -> None:
        if address in self._hosts or address in self._nats:
            raise ValueError(f"{address} is taken")


@implementer(IReactorTime, IReactorUDP, IReactorTCP, IReactorPluggableNameResolver)
class Host:
    """One machine on the network, shaped like a reactor. Made by `Network.host`.

    Args:
        network: that it is on.
        addresses: its numeric addresses.
        nat: what it is behind.
    """

    def __init__(self, network: Network, addresses: Sequence[str], nat: Nat | None) -> None:
        self.network = network
        self.addresses = tuple(addresses)
        self.nat = nat
        self.ports: dict[Address, SimulatedPort] = {}
        self.listeners: dict[Address, SimulatedListener] = {}
        self.connections: list[SimulatedConnection] = []
        self.nameResolver: IHostnameResolver = SimulatedNames(network.clock.callLater, network.names)
        self._next_port = _FIRST_EPHEMERAL_PORT

    @property
    def address(self) -> str:
        """The first address."""
        return self.addresses[0]

    def seconds(self) -> float:
        """See ``IReactorTime``."""
        return self.network.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kwargs: object) -> SimulatedCall:
        """See ``IReactorTime``."""
        return self.network.clock.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> list[SimulatedCall]:
        """See ``IReactorTime``: the calls of the whole network."""
        return self.network.clock.getDelayedCalls()

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,  # noqa: N803 (the interface's name)
    ) -> SimulatedPort:
        """See ``IReactorUDP``. An empty interface is every address of the host; longer datagrams are cut."""
        listening = SimulatedPort(self, port, protocol, interface, maxPacketSize)
        listening.startListening()
        return listening

    def listenTCP(self, port: int, factory: ServerFactory, backlog: int = 50, interface: str = "") -> SimulatedListener:
        """See ``IReactorTCP``. The backlog is without limit."""
        listener = SimulatedListener(self, port, factory, interface)
        listener.startListening()
        return listener

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory[Any],
        timeout: float = 30.0,
        bindAddress: tuple[str, int] | None = None,  # noqa: N803 (the interface's name)
    ) -> SimulatedConnector:
        """See ``IReactorTCP``. The host must be numeric."""
        connector = SimulatedConnector(self, (host, port), factory, timeout, bindAddress)
        connector.connect()
        return connector

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:  # noqa: N802 (the interface's name)
        """See ``IReactorPluggableNameResolver``."""
        previous, self.nameResolver = self.nameResolver, resolver
        return previous

    def addresses_for(self, interface: str) -> Iterator[str]:
        """Give the addresses that an interface argument of Twisted's stands for."""
        if interface in ("", "0.0.0.0"):
            yield from (address for address in self.addresses if ":" not in address)
        elif interface == "::":
            yield from (address for address in self.addresses if ":" in address)
        elif interface in self.addresses:
            yield interface

    def source_for(self, destination: str) -> str | None:
        """Give the address to send from, of the same family as the destination's."""
        return next((address for address in self.addresses if (":" in address) is (":" in destination)), None)

    def take_port(self) -> int:
        """Give a port that no socket of this host has."""
        self._next_port += 1
        return self._next_port - 1
