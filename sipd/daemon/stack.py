"""All layers of one sipd, made from a configuration and joined on top of a transport layer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.b2bua.clicking import ClickToDial
from sipd.b2bua.messages import Messages
from sipd.b2bua.service import B2bua
from sipd.daemon import layers
from sipd.daemon.accounts import AccountStores
from sipd.daemon.capture import CaptureFile
from sipd.daemon.certificates import CertificateFiles, ensure_self_signed
from sipd.daemon.guards import WEIGHED, is_refresh_of, make_guards
from sipd.daemon.media import MediaPlane
from sipd.daemon.parts import CurrentCredentials, Parts, make_parts
from sipd.daemon.records import Records
from sipd.daemon.routing_http import make_service
from sipd.daemon.sections import Config
from sipd.errors import ConfigurationError
from sipd.interfaces import Entropy, ICallObserver, IMessageObserver, IRegistrationObserver
from sipd.media.kernel.forwarder import KernelForwarder
from sipd.observe.console import CallConsole
from sipd.observe.explain import ExplainLog
from sipd.observe.ledger import ResourceLedger
from sipd.observe.observers import CallObservers
from sipd.registrar.authentication import DigestAuthenticator
from sipd.registrar.keepalive import KeepAlive
from sipd.registrar.location import LocationService
from sipd.registrar.log import RegistrationLog
from sipd.registrar.observers import RegistrationObservers
from sipd.registrar.registrar import Registrar
from sipd.registrar.store import DatabaseStore, DatabaseThread
from sipd.routing.deciding import Decider
from sipd.transaction.layer import TransactionLayer
from sipd.transport.layer import TransportLayer
from sipd.trunks.interfaces import ITrunkObserver
from sipd.trunks.log import TrunkLog
from sipd.trunks.trunks import Trunks
from sipd.ua.core import UserAgent
from sipd.watching.lamps import Lamps
from sipd.watching.packages import user_of
from sipd.watching.service import Watching

_log = Logger()


class Stack:
    """The layers, bottom to top. The transport's receiver is left as it is: nothing is served yet.

    Args:
        config: what to make them from.
        reactor: gives sockets, threads and time.
        transport: what they stand on.
        entropy: for tags, branches, Call-IDs and nonces.
        call_observers: watch calls, beside those that are always there.
        message_observers: see every message.
        registration_observers: watch registrations, beside the log.
        trunk_observers: watch trunks, beside the log.
        decider: asks the application where calls go; ``None`` where the dial plan alone decides.

    Attributes:
        config: what holds for new calls; calls that go on have begun with another one, perhaps.
        parts: what was made of it.

    Raises:
        LocalError: something in the configuration cannot be had on this machine.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        transport: TransportLayer,
        *,
        entropy: Entropy,
        forwarder: KernelForwarder | None = None,
        call_observers: Sequence[ICallObserver] = (),
        message_observers: Sequence[IMessageObserver] = (),
        registration_observers: Sequence[IRegistrationObserver] = (),
        trunk_observers: Sequence[ITrunkObserver] = (),
        decider: Decider | None = None,
    ) -> None:
        make_state_directory(config)
        registrations = RegistrationObservers((RegistrationLog(), *registration_observers))
        self.location = LocationService(
            clock=reactor,
            store=DatabaseStore(config.database.text, clock=reactor, worker=DatabaseThread(reactor)),
            observer=registrations,
        )
        self.routing_service = make_service(config, reactor)
        self.account_stores = AccountStores(config, reactor, entropy)
        self.transport = transport
        self.transactions = TransactionLayer(
            clock=reactor,
            transport=self.transport,
            entropy=entropy,
            timers=layers.timer_values(config),
            max_transactions=config.limits.transactions,
        )
        self.resolver = layers.resolver(config, reactor, self.transport, entropy)
        self.transport.locate_sender = self.resolver.locate_sender
        self.agent = UserAgent(
            clock=reactor,
            transport=self.transport,
            transactions=self.transactions,
            resolver=self.resolver,
            entropy=entropy,
            settings=layers.agent_settings(config),
        )
        self.transactions.core = self.agent

        self.trunks = Trunks(self.agent, observers=(TrunkLog(), *trunk_observers))
        self.decider = decider
        self.parts = parts = self.make_parts(config)
        self.trunks.configure(parts.trunks, parts.write_number)

        self.guards = make_guards(parts.guards, reactor, entropy)
        self.guards.trusts_also = self.trunks.has_address
        self.gate = self.guards.gate
        self.gate.max_calls_of = self._max_calls_of
        self.transport.guard = self.guards.door

        self._credentials = CurrentCredentials(parts.accounts)
        digest = DigestAuthenticator(
            self._credentials,
            clock=reactor,
            entropy=entropy,
            algorithms=parts.algorithms,
            nonce_lifetime=config.authentication.nonce_lifetime,
            verifier=self.account_stores.verifier,
        )
        authenticator = self.guards.watch(digest)
        self.agent.handlers["REGISTER"] = self._registrar = Registrar(
            domains=config.domains,
            realm=config.realm,
            authenticator=authenticator,
            location=self.location,
            settings=parts.registrar,
            clock=reactor,
            entropy=entropy,
            observer=registrations,
        )

        kept_alive = layers.keep_alive_settings(config)
        self.keep_alive: KeepAlive | None = None
        if kept_alive is not None:
            self.keep_alive = KeepAlive(
                clock=reactor,
                location=self.location,
                transport=self.transport,
                transactions=self.transactions,
                entropy=entropy,
                host=config.domains[0],
                settings=kept_alive,
            )

        self.media = MediaPlane(config, reactor, entropy=entropy, forwarder=forwarder)

        self.records = Records(config, reactor)
        self.explanations = ExplainLog()
        self.ledger = ResourceLedger()
        lamps = Lamps(domains=parts.b2bua.domains, is_user=self._is_user, permits=self._may_watch)
        self.observers = CallObservers(
            (
                CallConsole(),
                self.ledger,
                self.explanations,
                *self.records.observers,
                lamps,
                self.guards.answers,
                *call_observers,
            )
        )

        self.capture: CaptureFile | None = None
        if config.capture is not None:
            self.capture = CaptureFile(
                config.capture.file, size_octets=config.capture.size_octets, seconds=reactor.seconds
            )
        self.transport.observers = (*((self.capture,) if self.capture is not None else ()), *message_observers)

        self.b2bua = B2bua(
            agent=self.agent,
            router=parts.router,
            authenticator=authenticator,
            media=self.media.relay,
            observer=self.observers,
            now=reactor.seconds,
            settings=parts.b2bua,
            trunks=self.trunks,
            gate=self.gate,
        )
        self.messages = Messages(self.b2bua, max_pending=config.limits.messages)
        self.agent.handlers["MESSAGE"] = self.messages
        self.watching = Watching(self.b2bua, lamps, parts.watching)
        self._clicking = ClickToDial(self.b2bua)
        self._take_referrals()
        self.guards.weigh(self.agent.handlers, WEIGHED, is_refresh_of(self.location))

    @property
    def config(self) -> Config:
        """What the parts were made from."""
        return self.parts.config

    def make_parts(self, config: Config) -> Parts:
        """Make the parts of a configuration, to be used by these layers. Nothing that runs is touched.

        Raises:
            ConfigurationError: as for `sipd.daemon.parts.make_parts`.
        """
        return make_parts(
            config,
            self.location,
            self.routing_service,
            self.account_stores,
            self.trunks,
            self.decider,
        )

    def replace(self, parts: Parts) -> None:
        """Let other parts hold for all that begins from now on. Calls that go on keep what they began with.

        Users who are none any more are unregistered.
        """
        gone = self.parts.users - parts.users
        self.parts = parts
        self.account_stores.configure(parts.config)
        self._credentials.current = parts.accounts
        self._registrar.settings = parts.registrar
        self.transport.limits = parts.transport
        self.agent.settings = parts.agent
        self._take_referrals()
        self.b2bua.settings = parts.b2bua
        self.b2bua.router = parts.router
        self.messages.max_pending = parts.config.limits.messages
        self.watching.configure(parts.watching)
        self.guards.apply(parts.guards)
        self.trunks.configure(parts.trunks, parts.write_number)
        for aor in list(self.location.addresses_of_record()):
            if user_of(aor) in gone:
                self.location.forget(aor)

    def _take_referrals(self) -> None:
        if self.parts.agent.takes_referrals:
            self.agent.handlers["REFER"] = self._clicking
        else:
            self.agent.handlers.pop("REFER", None)

    def _is_user(self, name: str) -> bool:
        return self.parts.accounts.may_be_user(name)

    def _max_calls_of(self, user: str) -> int | None:
        account = self.parts.accounts.known(user)
        return None if account is None else account.max_calls

    def _may_watch(self, watcher: str, user: str) -> bool:
        return self.parts.watching.may_watch(watcher, user)


def make_state_directory(config: Config) -> None:
    """Make the state directory, for its owner only, if it is not there.

    Raises:
        ConfigurationError: it cannot be made.
    """
    directory = config.state_directory
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError([f"{directory}: cannot be made: {error.strerror}"]) from error


def open_listening_points(config: Config, transport: TransportLayer, now: float) -> CertificateFiles | None:
    """Open them all.

    Args:
        config: says which.
        transport: what opens them.
        now: seconds of the wall clock.

    Returns:
        The self-signed certificate, if there is one.

    Raises:
        ConfigurationError: a point that is required cannot be opened, or none at all could.
    """
    self_signed = _self_signed(config, now)
    for listen in config.listen:
        tls = None
        if listen.transport.is_secure:
            tls = layers.tls_settings(listen, config.tls, self_signed)
        failures: list[Failure] = []
        # Binding does not wait for anything: the Deferred has fired when it is here.
        opening = transport.listen(layers.listening_point(listen), tls, layers.websocket_settings(listen))
        opening.addErrback(failures.append)
        for failure in failures:
            if listen.required or not failure.check(ConfigurationError):
                failure.raiseException()
            _log.warn("{reason}; going on without it", reason=failure.getErrorMessage())
    if not transport.points:
        raise ConfigurationError(["no listening point could be opened"])
    return self_signed


def _self_signed(config: Config, now: float) -> CertificateFiles | None:
    """Make the certificate that listening points without one share, if there are such."""
    points = [listen for listen in config.listen if listen.self_signed]
    if not points:
        return None
    make_state_directory(config)
    names = [*config.domains, "localhost"]
    for listen in points:
        names += filter(None, (listen.advertised_address, listen.address))
    directory = config.state_directory / "tls"
    try:
        return ensure_self_signed(directory, tuple(dict.fromkeys(names)), datetime.fromtimestamp(now, UTC))
    except OSError as error:
        raise ConfigurationError([f"{directory}: no certificate can be made there: {error.strerror}"]) from error
