"""The metrics of a running sipd: what its observers have added up, and what its layers say when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from sipd.daemon.sections.metrics import Metrics
from sipd.errors import ConfigurationError
from sipd.media.verdict import Cause
from sipd.observe.exposition import Exposition, Pages
from sipd.observe.lag import ReactorLag
from sipd.observe.metrics import CallMetrics, RegistrationMetrics
from sipd.sip.locate import Transport
from sipd.transport.limits import INCIDENTS

if TYPE_CHECKING:
    from sipd.daemon.stack import Stack

#: What calls hold, as the ledger calls it.
_RESOURCES = ("leg", "ports", "timer")


class MetricsService:
    """Collects, and tells. Everything is its own: two in one process do not know of each other.

    Args:
        section: where it listens, and who may ask.
        reactor: gives sockets and time.
        state: says what sipd does: ``starting``, ``serving``, ``draining`` or ``failed``.

    Attributes:
        calls: to be told of calls.
        registrations: to be told of registrations.
    """

    _log = Logger()

    def __init__(self, section: Metrics, reactor: Any, state: Callable[[], str]) -> None:
        self.calls = CallMetrics(verdicts=tuple(Cause))
        self.registrations = RegistrationMetrics()
        self._section = section
        self._reactor = reactor
        self._lag = ReactorLag(reactor)
        self._layers = LayerMetrics(state)
        self._registry = CollectorRegistry()
        for collector in (self._layers, self.calls, self.registrations, self._lag):
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._exposition = Exposition(Pages(self._registry, reactor, state), reactor, section.allowed)
        self._listening: IListeningPort | None = None

    @property
    def port(self) -> int:
        """Where it listens; 0 if it does not."""
        return 0 if self._listening is None else int(getattr(self._listening.getHost(), "port", 0))

    def start(self) -> None:
        """Listen.

        Raises:
            ConfigurationError: the address cannot be bound.
        """
        section = self._section
        try:
            self._listening = self._reactor.listenTCP(section.port, self._exposition, interface=section.address)
        except CannotListenError as error:
            where = f"{section.address} port {section.port}"
            raise ConfigurationError([f"metrics: cannot listen on TCP {where}: {error.socketError}"]) from error
        self._lag.start()
        host = f"[{section.address}]" if ":" in section.address else section.address
        self._log.info("metrics are at http://{host}:{port}/metrics", host=host, port=self.port)

    def watch(self, stack: Stack) -> None:
        """Ask these layers from now on."""
        self._layers.stack = stack

    async def stop(self) -> None:
        """Tell nothing more, and forget the layers. Idempotent."""
        self._lag.stop()
        listening, self._listening = self._listening, None
        if listening is not None:
            stopped: Deferred[Any] = maybeDeferred(listening.stopListening)
            await stopped
            await self._exposition.close()
        self._layers.stack = None


class LayerMetrics:
    """Reads what the layers hold and have counted, at the moment in which somebody asks.

    Args:
        state: says what sipd does.

    Attributes:
        stack: the layers; ``None`` while there are none.
    """

    def __init__(self, state: Callable[[], str]) -> None:
        self.stack: Stack | None = None
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        is_serving = self._state() == "serving"
        yield _gauge("sipd_serving", "1 if new calls are taken, 0 while it starts or drains.", is_serving)
        if self.stack is not None:
            yield from _calls(self.stack)
            yield from _messages(self.stack)
            yield from _transport(self.stack)
            yield from _media(self.stack)


def _calls(stack: Stack) -> Iterator[Metric]:
    limits = stack.config.limits
    yield _gauge("sipd_calls_limit", "Calls that there may be at a time.", limits.calls)
    yield _gauge("sipd_sessions", "Legs with a session, those that are being ended included.", len(stack.agent))
    yield _gauge("sipd_dialogs", "Dialogs, early ones and those of subscriptions included.", stack.agent.dialog_count)
    held = stack.ledger.counts()
    resources: dict[tuple[str, ...], float] = {
        (kind,): held.get(kind, 0) for kind in (*_RESOURCES, *sorted(held.keys() - {*_RESOURCES}))
    }
    yield _gauges("sipd_call_resources", "What all calls hold together.", ("kind",), resources)
    yield _counter("sipd_call_resource_leaks", "What calls did not give back: a bug.", stack.ledger.leaks)
    yield _gauge("sipd_call_records_waiting", "Call records that could not be written yet.", stack.records.waiting)
    yield _gauge("sipd_messages_waiting", "MESSAGE requests that are not answered yet.", len(stack.messages))
    yield _gauge("sipd_subscriptions", "Subscriptions of phones.", len(stack.watching.subscriptions))
    yield _gauge("sipd_addresses_of_record", "Users with at least one contact, per domain.", len(stack.location))
    yield _gauge("sipd_bindings", "Contacts that are bound.", stack.location.binding_count)


def _messages(stack: Stack) -> Iterator[Metric]:
    counters = stack.transport.counters
    for direction, counts in (("received", counters.received), ("sent", counters.sent)):
        yield _counters(
            f"sipd_messages_{direction}",
            f"SIP messages that were {direction}, by method or class of status.",
            ("transport", "kind"),
            {(one.value.lower(), kind): n for one in Transport for kind, n in counts[one].items()},
        )
    yield _counter("sipd_keepalives_received", "Keep-alives without content.", counters.keep_alives)
    incidents = stack.transport.incidents.counts
    yield _counters(
        "sipd_transport_incidents",
        "What went wrong on the wire, by kind.",
        ("kind",),
        {(kind,): incidents[kind] for kind in INCIDENTS},
    )
    transactions = stack.transactions
    yield _gauges(
        "sipd_transactions",
        "Transactions that are alive.",
        ("side",),
        {("client",): transactions.client_count, ("server",): len(transactions) - transactions.client_count},
    )
    yield _gauge(
        "sipd_transactions_limit", "Transactions that there may be at a time.", stack.config.limits.transactions
    )
    yield _counter(
        "sipd_retransmissions_sent",
        "Messages that a transaction sent again since nothing came in time.",
        transactions.retransmissions,
    )
    yield _counter("sipd_retransmissions_received", "Requests that came again.", transactions.repetitions)


def _transport(stack: Stack) -> Iterator[Metric]:
    connections = stack.transport.connection_counts()
    yield _gauges(
        "sipd_connections",
        "Connections, open or on their way, by who made them.",
        ("transport", "made_by"),
        {
            (one.value.lower(), "peer" if is_inbound else "sipd"): connections[one, is_inbound]
            for one in Transport
            if one.is_reliable
            for is_inbound in (True, False)
        },
    )
    yield _gauge("sipd_connections_limit", "Connections that there may be.", stack.transport.limits.max_connections)
    resolver = stack.resolver
    yield _counter("sipd_name_lookups", "Host names that were looked up for a request.", resolver.lookups)
    yield _counter("sipd_name_lookup_failures", "Those of them that led nowhere.", resolver.failures)
    yield _gauge("sipd_targets_resting", "Servers that failed and are tried after others.", len(resolver.resting))


def _media(stack: Stack) -> Iterator[Metric]:
    usage = stack.media.usage()
    yield _gauges(
        "sipd_media_sessions",
        "Calls whose media is relayed, by engine.",
        ("engine",),
        {(engine,): count for engine, count in usage.sessions.items()},
    )
    yield _gauge("sipd_media_port_pairs", "Pairs of media ports in use.", usage.port_pairs)
    yield _gauge("sipd_media_port_pairs_limit", "Pairs of media ports that there are.", usage.port_pairs_limit)
    yield _gauge("sipd_media_workers", "Media workers that run.", usage.workers)
    yield _gauge("sipd_media_workers_wanted", "Media workers that should run.", usage.workers_wanted)
    yield _gauge("sipd_recordings", "Recordings that are not finished.", usage.recordings)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)


def _gauges(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counters(
    name: str, text: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
