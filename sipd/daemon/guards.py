"""From the sections on limits and guards to the guards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sipd.daemon.sections import Config
from sipd.daemon.sections.guards import GuardRules
from sipd.guards.bans import BanSettings
from sipd.guards.door import ScannerAction
from sipd.guards.fraud import Action, Budget, CountrySettings, FraudSettings
from sipd.guards.guards import Guards, GuardSettings
from sipd.guards.limits import CallLimits, TrunkLimits
from sipd.guards.overload import OverloadSettings
from sipd.guards.scanners import SuspicionSettings
from sipd.interfaces import Entropy, ILocationService
from sipd.sip.uri import SipUri

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from sipd.sip.message import Request

#: Requests outside of calls that are weighed when there is too much to do.
WEIGHED = ("REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH")


def guard_settings(config: Config, trunks: Mapping[str, TrunkLimits] | None = None) -> GuardSettings:
    """Give what is guarded, and how.

    Args:
        config: says so.
        trunks: bounds of trunks that have their own, by name.
    """
    guards = config.guards
    scanners = guards.scanners
    return GuardSettings(
        trust=(*guards.trust, *config.identity.trust),
        allow=guards.allow,
        deny=guards.deny,
        messages_per_second=guards.messages_per_second,
        scanners=ScannerAction(scanners.action),
        scanner_names=scanners.agents,
        suspicion=SuspicionSettings(
            window=scanners.window,
            failures=scanners.failures,
            challenges=scanners.challenges,
            users=scanners.names,
        ),
        bans=BanSettings(duration=guards.bans.duration, factor=guards.bans.factor, maximum=guards.bans.longest),
        overload=OverloadSettings(lag=guards.overload.lag, cpu=guards.overload.cpu, last_lag=guards.overload.last_lag),
        fraud=_fraud(guards, config.routing.international_prefixes),
        limits=_limits(config, trunks or {}),
        emergency_numbers=frozenset(config.routing.emergency),
    )


def make_guards(settings: GuardSettings, reactor: IReactorTime, entropy: Entropy) -> Guards:
    """Make the guards of this process. Nothing is measured until they are started."""
    return Guards(clock=reactor, processor_time=time.process_time, entropy=entropy, settings=settings)


def is_refresh_of(location: ILocationService) -> Callable[[Request], bool]:
    """Give what says of a request that it is a REGISTER of somebody who is registered."""

    def is_refresh(request: Request) -> bool:
        uri = request.to.uri
        if request.method != "REGISTER" or not isinstance(uri, SipUri):
            return False
        return bool(location.lookup(uri.address_of_record()))

    return is_refresh


def _limits(config: Config, trunks: Mapping[str, TrunkLimits]) -> CallLimits:
    limits = config.limits
    return CallLimits(
        calls=limits.calls,
        per_second=limits.calls_per_second,
        calls_per_user=limits.calls_per_user,
        per_second_user=limits.calls_per_second_per_user,
        calls_per_source=limits.calls_per_source,
        per_second_source=limits.calls_per_second_per_source,
        calls_per_callee=limits.calls_per_callee,
        trunks=trunks,
        duration=limits.call_duration,
        retry_after=limits.retry_after,
    )


def _fraud(guards: GuardRules, international_prefixes: tuple[str, ...]) -> FraudSettings:
    countries = guards.countries
    return FraudSettings(
        budgets=tuple(
            Budget(
                name=rule.name,
                prefixes=rule.prefixes,
                accounts=frozenset(rule.accounts),
                window=rule.window,
                seconds=rule.seconds,
                attempts=rule.attempts,
                parallel=rule.parallel,
                action=Action(rule.action),
            )
            for rule in guards.budgets
        ),
        countries=CountrySettings(
            action=Action(countries.action), known=frozenset(countries.known), learning=countries.learning
        ),
        international_prefixes=international_prefixes,
        max_accounts=guards.max_accounts,
    )
