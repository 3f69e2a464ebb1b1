"""A whole registrar and B2BUA on a simulated host, with its observers, for tests from the wire to the bridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from sipd.b2bua.clicking import ClickToDial
from sipd.b2bua.messages import Messages
from sipd.b2bua.service import B2bua, B2buaSettings
from sipd.b2bua.transfer import TransferPolicy, TransferSettings
from sipd.b2bua.trust import IdentityPolicy
from sipd.guards.guards import Guards, GuardSettings
from sipd.interfaces import (
    CallObserver,
    CallRecord,
    Credentials,
    IAuthenticator,
    ICallObserver,
    IMediaRelay,
    ListeningPoint,
)
from sipd.lanes import with_lanes
from sipd.observe.capture import Capture, CapturedMessage
from sipd.observe.explain import ExplainLog
from sipd.observe.ladder import ladder
from sipd.observe.ledger import ResourceLedger
from sipd.observe.observers import CallObservers
from sipd.registrar.authentication import ConfiguredCredentials, DigestAuthenticator
from sipd.registrar.bindings import RegistrarSettings
from sipd.registrar.keepalive import KeepAlive, KeepAliveSettings
from sipd.registrar.location import LocationService
from sipd.registrar.registrar import Registrar
from sipd.routing.rules import StaticRoute
from sipd.routing.table import RouteTable
from sipd.sip.locate import Transport
from sipd.sip.timers import TimerValues
from sipd.testing.links import Address, Fate
from sipd.testing.media import FakeMediaRelay
from sipd.testing.network import Host, Network
from sipd.testing.peer import Peer
from sipd.transaction.layer import TransactionLayer
from sipd.transport.layer import TransportLayer
from sipd.transport.resolver import Resolver
from sipd.ua.core import UserAgent
from sipd.ua.settings import AgentSettings
from sipd.watching.lamps import Lamps
from sipd.watching.service import Watching, WatchingSettings


class RecordList(CallObserver):
    """Keeps the records of the calls that have ended.

    Attributes:
        records: in the order in which the calls ended.
    """

    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self.records.append(record)


class SimulatedServer:
    """A registrar and B2BUA that listens on every address of its host, over UDP and TCP.

    The layers are sipd's own; the sockets are the host's, and media are relayed by nobody.

    Args:
        host: of a simulated network.
        users: name to password.
        domain: that is served; also the realm.
        port: to listen on.
        routes: static routes, before registered users.
        timers: T1, T2 and T4.
        ring_timeout: seconds for which registered contacts ring.
        max_calls: further ones are refused with 503.
        max_messages: further ones that are pending are refused with 503.
        keep_alive: how contacts behind NAT are kept alive; ``None`` for not at all.
        observers: watch calls, beside those that are always there.
        watching: who may watch and publish, and how much.
        identity: who is trusted, and what others are told; nobody and nothing if it is left out.
        transfer: how calls are transferred.
        guards: what is too much, and who is not listened to; nothing and nobody if it is left out.
        media: relays media instead of `relay`, such as ``sipd.media.bypass.BypassRelay`` for phones that have some.

    Attributes:
        transport, transactions, agent, location, b2bua, messages, watching: the layers.
        relay: the fake media relay.
        ledger, explanations, capture, records: the observers that are always there.
        guards: what stands before all of them, or ``None``; they are not started.
    """

    def __init__(
        self,
        host: Host,
        users: Mapping[str, str],
        *,
        domain: str = "example.com",
        port: int = 5060,
        routes: Sequence[StaticRoute] = (),
        timers: TimerValues | None = None,
        ring_timeout: float = 60.0,
        max_calls: int = 2000,
        max_messages: int = 1000,
        keep_alive: KeepAliveSettings | None = None,
        observers: Sequence[ICallObserver] = (),
        watching: WatchingSettings | None = None,
        identity: IdentityPolicy | None = None,
        transfer: TransferSettings | None = None,
        guards: GuardSettings | None = None,
        media: IMediaRelay | None = None,
    ) -> None:
        self.host = host
        self.domain = domain
        self.port = port
        self._users = dict(users)
        reactor: Any = host
        clock = with_lanes(host)
        entropy = host.network.entropy
        values = timers or TimerValues()
        transfers = transfer or TransferSettings()
        self.transport = TransportLayer(reactor=reactor)
        self.transactions = TransactionLayer(clock=clock, transport=self.transport, entropy=entropy, timers=values)
        self.transport.receiver = self.transactions
        self.agent = UserAgent(
            clock=clock,
            transport=self.transport,
            transactions=self.transactions,
            resolver=Resolver(reactor),
            entropy=entropy,
            settings=AgentSettings(
                timers=values,
                supported=AgentSettings().supported | {"replaces"},
                takes_referrals=transfers.policy is not TransferPolicy.REFUSE,
            ),
        )
        self.transactions.core = self.agent

        store = ConfiguredCredentials(
            [Credentials(username=name, password=password) for name, password in users.items()]
        )
        authenticator: IAuthenticator = DigestAuthenticator(store, clock=host, entropy=entropy)
        self.guards: Guards | None = None
        if guards is not None:
            self.guards = Guards(clock=reactor, processor_time=host.seconds, entropy=entropy, settings=guards)
            self.transport.guard = self.guards.door
            authenticator = self.guards.watch(authenticator)
            observers = (*observers, self.guards.answers)
        self.location = LocationService(clock=host)
        self.agent.handlers["REGISTER"] = Registrar(
            domains=(domain,),
            realm=domain,
            authenticator=authenticator,
            location=self.location,
            settings=RegistrarSettings(),
            clock=host,
            entropy=entropy,
        )

        self.keep_alive: KeepAlive | None = None
        if keep_alive is not None:
            self.keep_alive = KeepAlive(
                clock=reactor,
                location=self.location,
                transport=self.transport,
                transactions=self.transactions,
                entropy=entropy,
                host=domain,
                settings=keep_alive,
            )
            self.keep_alive.start()

        self.relay = FakeMediaRelay()
        self.ledger = ResourceLedger()
        self.explanations = ExplainLog()
        self.capture = Capture(host.seconds)
        self.records = RecordList()
        self.transport.observers = (self.capture,)
        domains = frozenset((domain, *host.addresses))
        watched = watching or WatchingSettings()
        lamps = Lamps(domains=domains, is_user=self._users.__contains__, permits=watched.may_watch)
        self.b2bua = B2bua(
            agent=self.agent,
            router=RouteTable(
                domains=domains,
                routes=routes,
                location=self.location,
                is_user=self._users.__contains__,
                timeout=ring_timeout,
            ),
            authenticator=authenticator,
            media=media or self.relay,
            observer=CallObservers((self.ledger, self.explanations, self.capture, self.records, lamps, *observers)),
            now=host.seconds,
            settings=B2buaSettings(
                realm=domain,
                domains=domains,
                host=host.address,
                max_calls=max_calls,
                identity=identity or IdentityPolicy(domains=(domain,)),
                transfer=transfers,
            ),
            gate=None if self.guards is None else self.guards.gate,
        )
        self.messages = Messages(self.b2bua, max_pending=max_messages)
        self.agent.handlers["MESSAGE"] = self.messages
        if self.agent.settings.takes_referrals:
            self.agent.handlers["REFER"] = ClickToDial(self.b2bua)
        self.watching = Watching(self.b2bua, lamps, watched)
        for address in host.addresses:
            self._listen(address, Transport.UDP)
            self._listen(address, Transport.TCP)

    def peer(self, host: Host, user: str, *, port: int = 5060, transport: Transport = Transport.UDP) -> Peer:
        """Put a peer with a user's name and password on another host; this server is its proxy."""
        proxy = self.host.source_for(host.address)
        if proxy is None:
            raise ValueError(f"{host.address} cannot reach {self.host.addresses}")
        return Peer(
            host,
            user,
            host.address,
            port,
            proxy=(proxy, self.port),
            entropy=host.network.entropy,
            domain=self.domain,
            password=self._users.get(user),
            transport=transport,
        )

    def close(self) -> Deferred[None]:
        """Stop everything at once; the Deferred fires when all connections have ended."""
        self.b2bua.stop_calls("the test is over")
        self.watching.close()
        if self.keep_alive is not None:
            self.keep_alive.stop()
        self.agent.close()
        self.transactions.close()
        self.location.stop()
        return self.transport.close()

    def leftovers(self) -> list[str]:
        """Say what is still held, a line each: nothing, once the last call is over and all timers have run."""
        held = {
            "transactions": len(self.transactions),
            "sessions": len(self.agent),
            "calls": len(self.b2bua),
            "messages": len(self.messages),
            "subscriptions": len(self.watching.subscriptions),
            "calls in the ledger": len(self.ledger),
            "leaked resources": self.ledger.leaks,
            "calls at the gate": 0 if self.guards is None else len(self.guards.gate),
            "pairs of media ports": len(self.relay.taken),
            "media sessions": len(self.relay.sessions),
        }
        return [f"{count} {what}" for what, count in held.items() if count]

    def ladder(self, call: str, names: Mapping[Address, str] | None = None) -> str:
        """Draw a call, all legs, as this server saw it."""
        server = dict.fromkeys(((address, self.port) for address in self.host.addresses), "sipd")
        return ladder(self.capture.messages_of(call), {**server, **(names or {})})

    def _listen(self, address: str, transport: Transport) -> None:
        point = ListeningPoint(
            name=f"{transport.uri_parameter}-{address}",
            transport=transport,
            host=address,
            port=self.port,
            advertised_host=address,
            advertised_port=self.port,
        )
        failures: list[Any] = []
        self.transport.listen(point).addErrback(failures.append)
        for failure in failures:
            failure.raiseException()


def sent_messages(network: Network) -> list[CapturedMessage]:
    """Give every datagram of a network's log when it was sent, those that were lost included."""
    return [
        CapturedMessage(
            at=event.at,
            data=event.data,
            sent=True,
            transport=event.transport,
            local=event.source,
            remote=event.destination,
            note="" if event.fate is Fate.SENT else event.fate.value,
        )
        for event in network.log
        if event.fate.is_departure and event.data
    ]
