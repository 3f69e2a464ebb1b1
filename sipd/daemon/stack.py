"""All layers of one sipd, made from a configuration and joined on top of a transport layer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.b2bua.clicking import ClickToDial
from sipd.b2bua.messages import Messages
from sipd.b2bua.records import JsonLinesRecords, SyncPolicy
from sipd.b2bua.routing import RouteTable
from sipd.b2bua.service import B2bua, B2buaSettings
from sipd.daemon import layers
from sipd.daemon.capture import CaptureFile
from sipd.daemon.certificates import CertificateFiles, ensure_self_signed
from sipd.daemon.media import MediaPlane
from sipd.daemon.sections import Config
from sipd.errors import ConfigurationError
from sipd.interfaces import Entropy, ICallObserver, IMessageObserver
from sipd.media.kernel.forwarder import KernelForwarder
from sipd.observe.console import CallConsole
from sipd.observe.explain import ExplainLog
from sipd.observe.ledger import ResourceLedger
from sipd.observe.observers import CallObservers
from sipd.registrar.authentication import ConfiguredCredentials, DigestAuthenticator
from sipd.registrar.keepalive import KeepAlive
from sipd.registrar.location import LocationService
from sipd.registrar.log import RegistrationLog
from sipd.registrar.registrar import Registrar
from sipd.registrar.store import DatabaseStore, DatabaseThread
from sipd.sip.digest import available_algorithms
from sipd.sip.locate import Transport
from sipd.transaction.layer import TransactionLayer
from sipd.transport.layer import TransportLayer
from sipd.ua.core import UserAgent
from sipd.watching.lamps import Lamps
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
    ) -> None:
        self.config = config
        make_state_directory(config)
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

        authenticator = DigestAuthenticator(
            ConfiguredCredentials([layers.credentials_of(user) for user in config.users]),
            clock=reactor,
            entropy=entropy,
            algorithms=self._algorithms(),
            nonce_lifetime=config.authentication.nonce_lifetime,
        )
        registrations = RegistrationLog()
        self.location = LocationService(
            clock=reactor,
            store=DatabaseStore(config.database.text, clock=reactor, worker=DatabaseThread(reactor)),
            observer=registrations,
        )
        self.agent.handlers["REGISTER"] = Registrar(
            domains=config.domains,
            realm=config.realm,
            authenticator=authenticator,
            location=self.location,
            settings=layers.registrar_settings(config),
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

        self.records = JsonLinesRecords(
            str(config.cdr_file),
            reactor=reactor,
            in_thread=deferToThread,
            sync=SyncPolicy(config.cdr.fsync),
            interval=config.cdr.interval,
        )
        self.explanations = ExplainLog()
        self.ledger = ResourceLedger()
        users = frozenset(user.name for user in config.users)
        domains = self._domains()
        watching = layers.watching_settings(config)
        lamps = Lamps(domains=domains, is_user=users.__contains__, permits=watching.may_watch)
        self.observers = CallObservers(
            (CallConsole(), self.ledger, self.explanations, self.records, lamps, *call_observers)
        )

        self.capture: CaptureFile | None = None
        if config.capture is not None:
            self.capture = CaptureFile(
                config.capture.file, size_octets=config.capture.size_octets, seconds=reactor.seconds
            )
        self.transport.observers = (*((self.capture,) if self.capture is not None else ()), *message_observers)

        self.b2bua = B2bua(
            agent=self.agent,
            router=RouteTable(
                domains=domains,
                routes=[layers.static_route(rule, config.media) for rule in config.routes],
                location=self.location,
                is_user=users.__contains__,
                timeout=config.timers.ring,
            ),
            authenticator=authenticator,
            media=self.media.relay,
            observer=self.observers,
            now=reactor.seconds,
            settings=B2buaSettings(
                realm=config.realm,
                domains=domains,
                host=layers.media_addresses(config)[0].advertised_host,
                max_calls=config.limits.calls,
                identity=layers.identity_policy(config),
                transfer=layers.transfer_settings(config),
                media=layers.media_policy(config),
                user_media=layers.user_media(config),
            ),
        )
        self.messages = Messages(self.b2bua, max_pending=config.limits.messages)
        self.agent.handlers["MESSAGE"] = self.messages
        if self.agent.settings.takes_referrals:
            self.agent.handlers["REFER"] = ClickToDial(self.b2bua)
        self.watching = Watching(self.b2bua, lamps, watching)

    def _domains(self) -> frozenset[str]:
        """Give every host that means us in a request URI: the domains, and the addresses of the listening points."""
        hosts = set(self.config.domains)
        for listen in self.config.listen:
            hosts.add(listen.address)
            if listen.advertised_address is not None:
                hosts.add(listen.advertised_address)
        return frozenset(hosts)

    def _algorithms(self) -> Sequence[str]:
        """Give the algorithms to offer: those that were asked for by name have to be there, of the default any."""
        authentication = self.config.authentication
        if "algorithms" in authentication.model_fields_set:
            return authentication.algorithms
        return [algorithm for algorithm in authentication.algorithms if algorithm in available_algorithms()]


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
        if listen.transport is Transport.TLS:
            tls = layers.tls_settings(listen, config.tls, self_signed)
        failures: list[Failure] = []
        # Binding does not wait for anything: the Deferred has fired when it is here.
        transport.listen(layers.listening_point(listen), tls).addErrback(failures.append)
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
