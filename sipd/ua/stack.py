"""The layers of a SIP element joined in one call: listening points, transactions, a resolver (RFC 3261 section 5)."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import ConfigurationError, InvalidStateError, LocalError, RequestRefusedError
from sipd.interfaces import (
    Entropy,
    IFlow,
    IMessageObserver,
    IResolver,
    IServerTransaction,
    ITransactionCore,
    ListeningPoint,
)
from sipd.lanes import with_lanes
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.sip.timers import TimerValues
from sipd.transaction.layer import TransactionLayer
from sipd.transport.cache import NameCache
from sipd.transport.dns import NameClient
from sipd.transport.hostfiles import HostsFile, ResolvConf
from sipd.transport.layer import TransportLayer
from sipd.transport.limits import TransportLimits
from sipd.transport.names import DomainNames
from sipd.transport.resolver import Resolver
from sipd.transport.tcp import is_wildcard
from sipd.transport.tls import TlsSettings
from sipd.ua.core import UserAgent
from sipd.ua.listening import ListenSpec, find_local_address, parse_listen
from sipd.ua.settings import AgentSettings

__all__ = ["Layers", "Listen", "ListenSpec", "find_local_address", "make_agent", "open_layers", "parse_listen"]

#: What can be listened on.
Listen = str | ListenSpec | ListeningPoint | socket.socket


class Layers:
    """Transport, transactions and a resolver, joined. Made by `open_layers`.

    Attributes:
        transport: the listening points and connections.
        transactions: what stands on it; its ``core`` is the caller's to set, and answers everything with 480 until
            then.
        resolver: from URIs to targets.
        clock: of all of them.
        entropy: of all of them.
        timers: T1, T2 and T4 of the transactions.
        agent: the user agent that `make_agent` has put on top, if it has.
    """

    def __init__(
        self,
        *,
        transport: TransportLayer,
        transactions: TransactionLayer,
        resolver: IResolver,
        clock: IReactorTime,
        entropy: Entropy,
        timers: TimerValues,
    ) -> None:
        self.transport = transport
        self.transactions = transactions
        self.resolver = resolver
        self.clock = clock
        self.entropy = entropy
        self.timers = timers
        self.agent: UserAgent | None = None

    @property
    def points(self) -> Sequence[ListeningPoint]:
        """The listening points, with the ports that they really have."""
        return self.transport.points

    def close(self) -> Deferred[None]:
        """End everything at once: the agent's sessions without a word, transactions, look-ups, connections, sockets.

        A Deferred that fires when every socket is released, after `TransportLimits.close_timeout` at most.
        """
        if self.agent is not None:
            self.agent.close()
        self.transactions.close()
        if isinstance(self.resolver, Resolver):
            self.resolver.close()
        return self.transport.close()


def open_layers(
    reactor: Any,
    listen: Sequence[Listen],
    *,
    entropy: Entropy = secrets.token_bytes,
    timers: TimerValues | None = None,
    resolver: IResolver | None = None,
    tls: TlsSettings | None = None,
    observers: Sequence[IMessageObserver] = (),
    limits: TransportLimits | None = None,
    facing: str = "",
) -> Layers:
    """Open listening points, and join the layers above them. Everything is ready when this returns.

    A listening point on a wildcard address that advertises nothing else says one address in Via and Contact, to all
    peers: the one that faces the default route, or a peer that is named (`find_local_address`). On a host that has
    several networks without a way between them, have a listening point for each.

    Args:
        reactor: gives sockets and time; a host of a simulated network will do.
        listen: what to open: texts for `parse_listen`, points, or UDP sockets that are bound already
            (`TransportLayer.adopt`). What speaks first to a target is the first of them with its transport and version
            of IP.
        entropy: for branches, tags and Call-IDs.
        timers: T1, T2 and T4; those of RFC 3261 if it is not said.
        resolver: finds targets; without it RFC 3263 by the name servers of this host (on a simulated network, its
            names). A resolver of your own is yours to close.
        tls: for TLS and WSS listening points that name no certificate.
        observers: see every message.
        limits: the bounds of the transport layer.
        facing: a numeric address, such as that of a registrar: wildcards of its version of IP advertise what faces it.

    Raises:
        LocalError: there is no address to advertise.
        ConfigurationError: a text cannot be read, an address cannot be bound, or a file cannot be used. Sockets that
            were open by then are closed (a reactor does so in its next turn).
    """
    clock = with_lanes(reactor)
    specs = [parse_listen(one) if isinstance(one, str) else one for one in listen]
    transport = TransportLayer(reactor=reactor, limits=limits)
    transport.observers = tuple(observers)
    values = timers or TimerValues()
    transactions = TransactionLayer(clock=clock, transport=transport, entropy=entropy, timers=values)
    transactions.core = _Nobody()
    transport.receiver = transactions
    if resolver is None:
        resolver = own = _make_resolver(reactor, transport, entropy)
        transport.locate_sender = own.locate_sender
    layers = Layers(
        transport=transport,
        transactions=transactions,
        resolver=resolver,
        clock=clock,
        entropy=entropy,
        timers=values,
    )
    try:
        for spec in specs:
            _open(transport, spec, tls, _Advertiser(reactor, facing))
    except LocalError:
        layers.close()
        raise
    return layers


def make_agent(layers: Layers, settings: AgentSettings | None = None) -> UserAgent:
    """Put a user agent on top of the layers: their ``core``. It ends with them.

    Args:
        layers: that have none yet.
        settings: without them the agent has the timers of the layers, and defaults.

    Raises:
        InvalidStateError: the layers have one.
    """
    if layers.agent is not None:
        raise InvalidStateError("these layers have a user agent already")
    agent = UserAgent(
        clock=layers.clock,
        transport=layers.transport,
        transactions=layers.transactions,
        resolver=layers.resolver,
        entropy=layers.entropy,
        settings=settings if settings is not None else AgentSettings(timers=layers.timers),
    )
    layers.agent = layers.transactions.core = agent
    return agent


@implementer(ITransactionCore)
class _Nobody:
    """Stands above the transactions until somebody does."""

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        raise RequestRefusedError("Temporarily Unavailable", status=480)

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`."""

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`."""


def _make_resolver(reactor: Any, transport: TransportLayer, entropy: Entropy) -> Resolver:
    names = None
    has_sockets: bool = IReactorFDSet.providedBy(reactor)
    if has_sockets:
        resolv_conf = ResolvConf()
        cache = NameCache(NameClient(reactor, resolv_conf.servers), reactor)
        names = DomainNames(cache, hosts=HostsFile(), resolv_conf=resolv_conf)
    return Resolver(reactor, names=names, points=lambda: transport.points, entropy=entropy)


class _Advertiser:
    """Finds what stands for wildcards."""

    def __init__(self, reactor: object, facing: str) -> None:
        self._reactor = reactor
        self._facing = facing

    def address(self, host: str) -> str:
        """Give an address that others can use."""
        if not is_wildcard(host):
            return host
        is_of_its_kind = self._facing and (":" in self._facing) == (":" in host)
        return find_local_address(self._facing if is_of_its_kind else host, self._reactor)


def _open(
    transport: TransportLayer,
    listen: ListenSpec | ListeningPoint | socket.socket,
    tls: TlsSettings | None,
    advertiser: _Advertiser,
) -> None:
    """Open one listening point, with an address that others can use in place of a wildcard."""
    if isinstance(listen, socket.socket):
        host = _name_of(listen)
        point = ListeningPoint(
            name="socket",
            transport=Transport.UDP,
            host=host,
            port=0,
            advertised_host=advertiser.address(host),
            advertised_port=0,
        )
        transport.adopt(listen, point)
        return
    spec = ListenSpec(point=listen) if isinstance(listen, ListeningPoint) else listen
    point = replace(spec.point, advertised_host=advertiser.address(spec.point.advertised_host))
    failures: list[Failure] = []
    # Binding does not wait for anything: the Deferred has fired when it is here.
    transport.listen(point, spec.tls or tls, spec.websocket).addErrback(failures.append)
    for failure in failures:
        failure.raiseException()


def _name_of(made: socket.socket) -> str:
    try:
        return str(made.getsockname()[0])
    except OSError as error:
        raise ConfigurationError([f"socket: it cannot be used: {error.strerror}"]) from error
