"""The gate that each call passes: load first, then how many there are, then how many a second, then fraud.

A call that a limit stops takes nothing from any other one: all are looked at before any is counted. Emergency calls (as
the route says) pass all of them but the last step of overload, and count as calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.errors import RequestRefusedError
from sipd.guards import refusals
from sipd.guards.buckets import BucketTable, Rate
from sipd.guards.counts import Key, LiveCalls
from sipd.guards.fraud import Alert, FraudGuard
from sipd.guards.limits import CallLimits, TrunkLimits
from sipd.guards.networks import source_of
from sipd.guards.numbers import called_number, number_of
from sipd.guards.overload import OverloadControl, Weight
from sipd.guards.security import SecurityLog
from sipd.interfaces import IGate

if TYPE_CHECKING:
    from sipd.interfaces import Attempt, Route, RoutingRequest
    from sipd.sip.message import Request

#: Kinds of keys.
USER, SOURCE, CALLEE, TRUNK_IN, TRUNK_OUT = "user", "source", "callee", "trunk-in", "trunk-out"
_ALL = Key("all", "")
#: What all emergency services have in common (RFC 5031).
_EMERGENCY_SERVICE = "urn:service:sos"


@dataclass(frozen=True, slots=True)
class _Bound:
    """A bound that a call would be beyond: what it is called in counters, and the refusal."""

    limit: str
    refusal: RequestRefusedError


@implementer(IGate)
class Gate:
    """Decides whether calls are taken.

    Args:
        seconds: tells the time.
        limits: of calls; may be replaced while calls go on.
        overload: says what can be taken.
        fraud: keeps what accounts spend.
        security: told of what looks like fraud.
        salt: makes the lottery of overload one that nobody can foresee.
        trusts: says of an address that no limit of sources is about it.
        max_calls_of: gives the bound of a user's calls; ``None`` for that of all.
        emergency_numbers: as they are dialled; not refused before it is known where they lead.

    Attributes:
        refused: how many calls and attempts each limit has refused, by its name.
    """

    def __init__(
        self,
        *,
        seconds: Callable[[], float],
        limits: CallLimits,
        overload: OverloadControl,
        fraud: FraudGuard,
        security: SecurityLog,
        salt: bytes,
        trusts: Callable[[str], bool] = lambda host: False,
        max_calls_of: Callable[[str], int | None] = lambda user: None,
        emergency_numbers: frozenset[str] = frozenset(),
    ) -> None:
        self.limits = limits
        self.emergency_numbers = emergency_numbers
        self.max_calls_of = max_calls_of
        self.refused: Counter[str] = Counter()
        self._seconds = seconds
        self._overload = overload
        self._fraud = fraud
        self._security = security
        self._salt = salt[:64]
        self._trusts = trusts
        self._calls = LiveCalls()
        self._attempts = LiveCalls()
        #: The legs of each call that were let pass, and under which names they are counted.
        self._legs: dict[str, list[tuple[Attempt, str]]] = {}
        self._emergencies: set[str] = set()
        self._buckets = BucketTable()
        self._legs_begun = 0

    def __len__(self) -> int:
        """How many calls there are."""
        return len(self._calls)

    def count(self, kind: str, name: str) -> int:
        """Say how many calls a user, a source, a callee or a trunk has."""
        live = self._attempts if kind == TRUNK_OUT else self._calls
        return live.count(Key(kind, name))

    def counts(self, kind: str) -> dict[str, int]:
        """Give for each name of a kind how many calls it has: for metrics."""
        return (self._attempts if kind == TRUNK_OUT else self._calls).counts(kind)

    # --- IGate -----------------------------------------------------------------------------------------------

    def is_urgent(self, request: Request) -> bool:
        """See `IGate`."""
        return self._claims_emergency(request)

    def call_offered(self, asked: RoutingRequest) -> None:
        """See `IGate`. Nothing is counted yet: the same call comes again with a password."""
        if self._claims_emergency(asked.request):
            self._weigh(asked, Weight.EMERGENCY)
            return
        self._weigh(asked, Weight.CALL)
        for bound in self._crowds(asked):
            self._refuse(bound)

    def call_routed(self, call: str, asked: RoutingRequest, route: Route) -> Route:
        """See `IGate`."""
        if getattr(route, "is_emergency", False):
            self._weigh(asked, Weight.EMERGENCY)
            self._calls.begin(call, self._keys(asked, route))
            self._emergencies.add(call)
            return route
        if self._claims_emergency(asked.request):
            self._weigh(asked, Weight.CALL)  # which it was spared for what it said
        rates = list(self._rates(asked))
        for bound in self._bounds(asked, route, rates):
            self._refuse(bound)
        account, numbers = _account(asked), self._numbers(asked, route)
        self._look_for_fraud(asked, account, numbers)
        for key, rate in rates:
            self._buckets.take(key, rate, self._seconds())
        self._calls.begin(call, self._keys(asked, route))
        left = self._fraud.begin(call, account, numbers)
        bounds = [bound for bound in (route.duration, self.limits.duration or None, left) if bound is not None]
        return replace(route, duration=min(bounds)) if bounds else route

    def attempt(self, call: str, attempt: Attempt) -> str:
        """See `IGate`."""
        trunk = attempt.trunk
        if trunk is None:
            return ""
        now, limits, key = self._seconds(), self.limits.of_trunk(trunk), Key(TRUNK_OUT, trunk)
        rate = Rate.of(limits.per_second_out)
        if not self._is_emergency(call):
            why = self._trunk_is_full(trunk, limits, limits.calls_out, key)
            if not why and rate is not None and self._buckets.wait(key, rate, now):
                why = f"{limits.per_second_out:g} calls a second to trunk {trunk}"
            if why:
                self.refused[TRUNK_OUT] += 1
                return f"no more than {why}"
        if rate is not None:
            self._buckets.take(key, rate, now)
        self._legs_begun += 1
        name = f"{call}#{self._legs_begun}"
        self._legs.setdefault(call, []).append((attempt, name))
        self._attempts.begin(name, (key,))
        return ""

    def attempt_ended(self, call: str, attempt: Attempt) -> None:
        """See `IGate`. Idempotent."""
        legs = self._legs.get(call, [])
        for index, (known, name) in enumerate(legs):
            if known is attempt:
                self._attempts.end(name)
                del legs[index]
                break
        if not legs:
            self._legs.pop(call, None)

    def call_ended(self, call: str) -> None:
        """See `IGate`. Idempotent; legs that are left end with it."""
        for _, name in self._legs.pop(call, ()):
            self._attempts.end(name)
        self._calls.end(call)
        self._emergencies.discard(call)
        self._fraud.end(call)

    # --- what is asked of a call -------------------------------------------------------------------------------

    def _weigh(self, asked: RoutingRequest, weight: Weight) -> None:
        """Let it pass by the load; the same call has the same luck when it comes again with a password."""
        if not self._overload.is_overloaded:
            return
        call_id = asked.request.headers.get("Call-ID") or ""
        digest = blake2b(call_id.encode("utf-8", "surrogateescape"), key=self._salt, digest_size=5).digest()
        if not self._overload.admits(weight, int.from_bytes(digest[:4], "big") / (1 << 32)):
            # Not all come again in the same second.
            rest = self.limits.retry_after * (1 + digest[4] / 256)
            self._refuse(_Bound("overload", refusals.server_refusal(f"Overloaded: {self._overload.explain()}", rest)))

    def _bounds(self, asked: RoutingRequest, route: Route, rates: list[tuple[Key, Rate]]) -> Iterator[_Bound]:
        """Give the bounds that a call would be beyond, the most general first."""
        yield from self._crowds(asked)
        limits = self.limits
        if asked.user is not None:
            bound = self.max_calls_of(asked.user)
            most = limits.calls_per_user if bound is None else bound
            if (bound is not None or most) and self.count(USER, asked.user) >= most:
                text = f"No More Than {most} Calls Of User {refusals.shown(asked.user)}"
                yield _Bound(USER, refusals.caller_refusal(text, limits.retry_after))
        most = limits.calls_per_callee
        if route.aor is not None and most and self.count(CALLEE, route.aor) >= most:
            yield _Bound(CALLEE, refusals.callee_refusal(f"No More Than {most} Calls For {refusals.shown(route.aor)}"))
        for key, rate in rates:
            wait = self._buckets.wait(key, rate, self._seconds())
            if wait:
                yield _Bound(f"{key.kind}-rate", _rate_refusal(key, rate, wait))

    def _crowds(self, asked: RoutingRequest) -> Iterator[_Bound]:
        """Give those that are known before anybody is asked who it is."""
        limits = self.limits
        if limits.calls and len(self._calls) >= limits.calls:
            text = f"No More Than {limits.calls} Calls"
            yield _Bound("calls", refusals.server_refusal(text, limits.retry_after))
        if asked.trunk is not None:
            trunk = limits.of_trunk(asked.trunk)
            why = self._trunk_is_full(asked.trunk, trunk, trunk.calls_in, Key(TRUNK_IN, asked.trunk))
            if why:
                yield _Bound(TRUNK_IN, refusals.trunk_refusal(f"No More Than {why}"))
        elif limits.calls_per_source and not self._trusts(asked.source.host):
            source = source_of(asked.source.host)
            if self.count(SOURCE, source) >= limits.calls_per_source:
                text = f"No More Than {limits.calls_per_source} Calls From {source}"
                yield _Bound(SOURCE, refusals.caller_refusal(text, limits.retry_after))

    def _trunk_is_full(self, trunk: str, limits: TrunkLimits, most: int, key: Key) -> str:
        if most and self.count(*key) >= most:
            return f"{most} calls {'to' if key.kind == TRUNK_OUT else 'from'} trunk {refusals.shown(trunk)}"
        both = self.count(TRUNK_IN, trunk) + self.count(TRUNK_OUT, trunk)
        if limits.calls and both >= limits.calls:
            return f"{limits.calls} calls from and to trunk {refusals.shown(trunk)}"
        return ""

    def _rates(self, asked: RoutingRequest) -> Iterator[tuple[Key, Rate]]:
        """Give what bounds the calls a second: of what, and how many."""
        limits = self.limits
        if limits.per_second:
            yield from _rate(_ALL, limits.per_second)
        if asked.trunk is not None:
            yield from _rate(Key(TRUNK_IN, asked.trunk), limits.of_trunk(asked.trunk).per_second_in)
        elif limits.per_second_source and not self._trusts(asked.source.host):
            yield from _rate(Key(SOURCE, source_of(asked.source.host)), limits.per_second_source)
        if asked.user is not None and limits.per_second_user:
            yield from _rate(Key(USER, asked.user), limits.per_second_user)

    def _look_for_fraud(self, asked: RoutingRequest, account: str, numbers: tuple[str, ...]) -> None:
        refused = None
        for alert in self._fraud.check(account, numbers):
            if alert.is_first:
                self._tell(asked, alert, numbers)
            if alert.is_refused and refused is None:
                text = f"Budget {refusals.shown(alert.rule)} Of {refusals.shown(account)}: {alert.text}"
                refused = _Bound("fraud", refusals.fraud_refusal(text))
        if refused is not None:
            self._refuse(refused)

    def _tell(self, asked: RoutingRequest, alert: Alert, numbers: tuple[str, ...]) -> None:
        """Write the line on what looks like fraud."""
        self._security.note(
            "fraud",
            asked.source.host,
            asked.source.port,
            topic=f"{alert.rule} {alert.account}",
            account=alert.account,
            rule=alert.rule,
            number=numbers[0] if numbers else "",
            reason=alert.text,
            refused="yes" if alert.is_refused else "no",
        )

    def _refuse(self, bound: _Bound) -> None:
        self.refused[bound.limit] += 1
        raise bound.refusal

    def _claims_emergency(self, request: Request) -> bool:
        if request.uri_text[: len(_EMERGENCY_SERVICE)].lower() == _EMERGENCY_SERVICE:
            return True
        return bool(self.emergency_numbers) and called_number(request.uri) in self.emergency_numbers

    def _is_emergency(self, call: str) -> bool:
        """Say whether a call, or a part of it that counts as one, is an emergency."""
        return any(name.partition("/")[0] == call for name in self._emergencies)

    def _keys(self, asked: RoutingRequest, route: Route) -> list[Key]:
        keys = [Key(SOURCE, source_of(asked.source.host))] if asked.trunk is None else [Key(TRUNK_IN, asked.trunk)]
        if asked.user is not None:
            keys.append(Key(USER, asked.user))
        if route.aor is not None:
            keys.append(Key(CALLEE, route.aor))
        return keys

    def _numbers(self, asked: RoutingRequest, route: Route) -> tuple[str, ...]:
        """Give what a call that leads elsewhere calls: as dialled, by the dial plan, and as others are asked for it."""
        outside = [attempt for attempts in route.rounds for attempt in attempts if attempt.user is None]
        if not outside:
            return ()
        prefixes = self._fraud.settings.international_prefixes
        uris = [asked.request.uri, *(attempt.uri for attempt in outside)]
        found = [called_number(uri, prefixes) for uri in uris]
        found += [number_of(attempt.called, prefixes) for attempt in outside if attempt.called]
        return tuple(dict.fromkeys(found))


def _account(asked: RoutingRequest) -> str:
    """Give who pays: the user, else the trunk, else the source."""
    if asked.user is not None:
        return asked.user
    return f"trunk:{asked.trunk}" if asked.trunk is not None else f"source:{source_of(asked.source.host)}"


def _rate(key: Key, per_second: float) -> Iterator[tuple[Key, Rate]]:
    rate = Rate.of(per_second)
    if rate is not None:
        yield key, rate


def _rate_refusal(key: Key, rate: Rate, wait: float) -> RequestRefusedError:
    text = f"No More Than {rate.per_second:g} Calls A Second"
    name = refusals.shown(key.name)
    if key.kind == TRUNK_IN:
        return refusals.trunk_refusal(f"{text} From Trunk {name}")
    if key == _ALL:
        return refusals.server_refusal(text, wait)
    return refusals.caller_refusal(f"{text} {'Of User' if key.kind == USER else 'From'} {name}", wait)
