"""All limits and guards of one sipd, joined: what the transport layer, the B2BUA and the registrar are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sipd.guards.answers import AnswerWatch
from sipd.guards.authenticator import WatchedAuthenticator
from sipd.guards.bans import Bans, BanSettings
from sipd.guards.door import Door, DoorSettings, ScannerAction
from sipd.guards.fraud import FraudGuard, FraudSettings
from sipd.guards.gate import Gate
from sipd.guards.handler import WeighedHandler
from sipd.guards.limits import CallLimits
from sipd.guards.networks import AccessList, Network, NetworkTable
from sipd.guards.overload import LoadMeter, OverloadControl, OverloadSettings
from sipd.guards.scanners import ScannerNames, Suspects, SuspicionSettings
from sipd.guards.security import SecurityLog
from sipd.interfaces import IAuthenticator, IRequestHandler

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from sipd.interfaces import Entropy
    from sipd.sip.message import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """What is guarded, and how.

    Args:
        trust: networks that are always listened to, and never banned; no limit of sources is about them.
        allow, deny: see `AccessList`.
        messages_per_second: see `DoorSettings`.
        scanners: what is done about them.
        scanner_names: see `ScannerNames`.
        suspicion, bans, overload, fraud, limits: see there.
        emergency_numbers: that are not refused before it is known where they lead.
    """

    trust: tuple[Network, ...] = ()
    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    messages_per_second: int = 0
    scanners: ScannerAction = ScannerAction.DROP
    scanner_names: tuple[str, ...] = ()
    suspicion: SuspicionSettings = field(default_factory=SuspicionSettings)
    bans: BanSettings = field(default_factory=BanSettings)
    overload: OverloadSettings = field(default_factory=OverloadSettings)
    fraud: FraudSettings = field(default_factory=FraudSettings)
    limits: CallLimits = field(default_factory=CallLimits)
    emergency_numbers: frozenset[str] = frozenset()


class Guards:
    """All of them.

    Args:
        clock: the reactor: its seconds are those of the wall clock.
        processor_time: gives the seconds of processor time that this process has used.
        entropy: for lotteries and tags.
        settings: what is guarded.

    Attributes:
        door: for `TransportLayer.guard`.
        gate: for the B2BUA.
        answers: to be among those who watch calls.
        bans, overload, fraud, security, suspects: the parts.
        handlers: what `weigh` has made, by method.
        trusts_also: says of further addresses that they are trusted, such as those of trunks.
    """

    def __init__(
        self,
        *,
        clock: IReactorTime,
        processor_time: Callable[[], float],
        entropy: Entropy,
        settings: GuardSettings,
    ) -> None:
        seconds = clock.seconds
        self.settings = settings
        self.trusts_also: Callable[[str], bool] = lambda host: False
        self.handlers: dict[str, WeighedHandler] = {}
        self._entropy = entropy
        self._seconds = seconds
        self._trusted = NetworkTable((network, True) for network in settings.trust)
        self.security = SecurityLog(seconds)
        self.bans = Bans(seconds, settings.bans, self.trusts)
        self.suspects = Suspects(settings.suspicion)
        self.door = Door(seconds, _door_settings(settings), self.bans, self.trusts, self.security)
        self.overload = OverloadControl(settings.overload)
        self.fraud = FraudGuard(seconds, settings.fraud)
        self.answers = AnswerWatch(self.fraud)
        self.gate = Gate(
            seconds=seconds,
            limits=settings.limits,
            overload=self.overload,
            fraud=self.fraud,
            security=self.security,
            salt=entropy(16),
            trusts=self.trusts,
            emergency_numbers=settings.emergency_numbers,
        )
        self._meter = LoadMeter(clock, processor_time, self.overload)

    def start(self) -> None:
        """Begin to measure the load. Idempotent."""
        self._meter.start()

    def stop(self) -> None:
        """Measure no more. Idempotent."""
        self._meter.stop()

    def apply(self, settings: GuardSettings) -> None:
        """Go on with other settings. Calls in progress, bans and what was spent stay as they are."""
        self.settings = settings
        self._trusted = NetworkTable((network, True) for network in settings.trust)
        self.bans.settings = settings.bans
        self.suspects.settings = settings.suspicion
        self.door.settings = _door_settings(settings)
        self.overload.settings = settings.overload
        self.fraud.settings = settings.fraud
        self.gate.limits = settings.limits
        self.gate.emergency_numbers = settings.emergency_numbers

    def trusts(self, host: str) -> bool:
        """Say whether an address is trusted."""
        return self._trusted.find(host) is not None or self.trusts_also(host)

    def watch(self, authenticator: IAuthenticator) -> WatchedAuthenticator:
        """Give an authenticator that does the same, and is watched."""
        return WatchedAuthenticator(authenticator, self.suspects, self.door, self._seconds)

    def weigh(
        self,
        handlers: MutableMapping[str, IRequestHandler],
        methods: Iterable[str],
        is_refresh: Callable[[Request], bool],
    ) -> None:
        """Put a handler that weighs requests before those of some methods.

        Args:
            handlers: of all methods; changed in place.
            methods: of those to weigh; what has no handler has none.
            is_refresh: says of a request that it refreshes what there is.
        """
        for method in methods:
            inner = handlers.get(method)
            if inner is not None:
                self.handlers[method] = handlers[method] = WeighedHandler(
                    inner,
                    self.overload,
                    is_refresh=is_refresh,
                    retry_after=lambda: self.gate.limits.retry_after,
                    entropy=self._entropy,
                )


def _door_settings(settings: GuardSettings) -> DoorSettings:
    return DoorSettings(
        access=AccessList(settings.allow, settings.deny),
        names=ScannerNames(settings.scanner_names),
        action=settings.scanners,
        messages_per_second=settings.messages_per_second,
    )
