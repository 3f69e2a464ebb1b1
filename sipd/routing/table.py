"""The dial plan as a whole: rules in order, then the registered users of the domains served."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.errors import ParseError
from sipd.interfaces import Attempt, Entropy, ILocationService, IRouter, ITrunks, Route, RoutingRequest
from sipd.routing.choice import put_in_order
from sipd.routing.numbers import rewrite
from sipd.routing.registered import RegisteredUsers
from sipd.routing.rules import Call, Hunt, Match, StaticRoute, is_emergency, match, match_user
from sipd.routing.sippy import least_duration
from sipd.sip.identity import is_anonymous

#: Seconds that a caller is told to wait when no trunk can be used.
RETRY_AFTER = 30
_NO_TRUNK = (503, "No Trunk Available")


def _no_chance(count: int) -> bytes:
    return bytes(count)


@implementer(IRouter)
class RouteTable:
    """Rules in order, then registered users.

    Args:
        domains: the hosts whose users are ours, in lower case; the addresses of the listening points belong to them.
        routes: tried in order; for emergency numbers those first that are meant for them.
        location: who is registered where.
        is_user: says whether a user of that name exists: the difference between 480 and 404.
        timeout: seconds for which registered contacts ring.
        trunks: the peers that rules name; ``None`` if there are none.
        entropy: decides between trunks by their weights.
        emergency: emergency numbers, as they are dialled.
    """

    def __init__(
        self,
        *,
        domains: frozenset[str],
        routes: Sequence[StaticRoute],
        location: ILocationService,
        is_user: Callable[[str], bool],
        timeout: float = 60.0,
        trunks: ITrunks | None = None,
        entropy: Entropy = _no_chance,
        emergency: frozenset[str] = frozenset(),
    ) -> None:
        self._routes = tuple(route for route in routes if not route.is_emergency)
        self._emergency_routes = tuple(route for route in routes if route.is_emergency)
        self._users = RegisteredUsers(domains=domains, location=location, is_user=is_user, timeout=timeout)
        self._trunks = trunks
        self._entropy = entropy
        self._emergency = emergency

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`. Only a rule can say no; one for some users needs to know who calls before it applies.

        What comes from a trunk has proved that already; `route` sees to it that no rule is open to it that is not meant
        for it.
        """
        if routing_request.trunk is not None:
            return False
        call, _, rules = self._begin(routing_request)
        for rule in rules:
            found = match(rule, call)
            if isinstance(found, str):
                continue
            if rule.users and routing_request.user is None and routing_request.trunk is None:
                return True
            if match_user(rule, routing_request):
                continue
            if not rule.goes_on:
                return rule.authenticate
            try:
                call = _rewritten(rule, call, [])
            except ParseError:
                return True
        return True

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        call, is_urgent, rules = self._begin(routing_request)
        considered: list[str] = []
        route = self._first(call, is_urgent, rules, considered)
        if considered or is_urgent:
            route = replace(route, considered=(*considered, *route.considered), is_emergency=is_urgent)
        return succeed(route)

    def _begin(self, asked: RoutingRequest) -> tuple[Call, bool, Sequence[StaticRoute]]:
        """Give the call, whether it is for help, and the rules for it."""
        call = Call(asked, asked.request.uri)
        is_urgent = is_emergency(call.uri, self._emergency)
        return call, is_urgent, (*self._emergency_routes, *self._routes) if is_urgent else self._routes

    def _first(self, call: Call, is_urgent: bool, rules: Sequence[StaticRoute], considered: list[str]) -> Route:
        """Give where the first rule leads that applies, or the registered user."""
        asked = call.asked
        passed_over: Route | None = None
        was_open = False
        for rule in rules:
            found = match(rule, call)
            why = found if isinstance(found, str) else match_user(rule, asked)
            if not why and was_open and rule.authenticate and asked.user is None:
                why = "the caller has not proved who it is"
            if not why and isinstance(found, Match) and asked.trunk is not None and self._is_closed(rule, found, call):
                why = f"trunk {asked.trunk} is none of its from_trunks"
            if isinstance(found, str) or why:
                considered.append(f"route {rule.name}: {why}")
                continue
            considered.append(f"route {rule.name}: {'taken, and the next ones' if rule.goes_on else 'taken'}")
            try:
                rewritten = _rewritten(rule, call, considered)
                if rule.goes_on:
                    call = rewritten
                    continue
                route = self._taken(rule, found, rewritten, considered)
            except ParseError as error:
                considered.append(f"route {rule.name} makes no usable URI: {error.reason}")
                return Route(name=rule.name, rounds=(), refusal=(484, "Address Incomplete"))
            if not is_urgent or route.refusal != _NO_TRUNK:
                return route
            # Who needs help gets it by any way that is left; but one that is closed is not opened by it.
            passed_over = passed_over or route
            was_open = was_open or not rule.authenticate
        if passed_over is not None:
            return passed_over
        return _from(self._users.route(call.uri), call)

    def _is_closed(self, rule: StaticRoute, found: Match, call: Call) -> bool:
        """Say whether a rule leads elsewhere, for callers who prove who they are: no trunk is a way to another one."""
        if rule.from_trunks or not rule.authenticate or rule.goes_on or rule.is_registered or rule.refusal is not None:
            return False
        if rule.to is None or rule.next_hop is not None:
            return True
        try:
            return not self._users.has(found.fill(rule.to, call))
        except ParseError:
            return True

    def _taken(self, rule: StaticRoute, found: Match, call: Call, considered: list[str]) -> Route:
        """Give where a rule leads.

        Raises:
            ParseError: it makes no URI.
        """
        if rule.refusal is not None:
            return rule.bound(Route(name=rule.name, rounds=(), refusal=rule.refusal))
        if found.candidates or rule.prefixes is not None:
            return rule.bound(self._by_trunks(rule, found, call, considered))
        if rule.sippy:
            number = call.with_called(call.called)
            label = f"route {rule.name}"
            rounds = tuple((rule.treat(one.attempt(number.user, label)),) for one in rule.sippy)
            route = rule.bound(_from(Route(name=rule.name, rounds=rounds), call))
            bounds = [bound for bound in (route.duration, least_duration(rule.sippy)) if bound is not None]
            return replace(route, duration=min(bounds, default=None))
        uri = call.uri if rule.to is None else found.fill(rule.to, call)
        if rule.is_registered or (rule.to is not None and rule.next_hop is None and self._users.has(uri)):
            route = self._users.route(uri)
            treated = tuple(tuple(map(rule.treat, attempts)) for attempts in route.rounds)
            return rule.bound(_from(replace(route, rounds=treated), call))
        attempt = Attempt(
            uri=uri,
            label=f"route {rule.name}",
            next_hop=rule.next_hop,
            credentials=rule.credentials,
            trusted=rule.trusted,
        )
        return rule.bound(_from(Route(name=rule.name, rounds=((rule.treat(attempt),),)), call))

    def _by_trunks(self, rule: StaticRoute, found: Match, call: Call, considered: list[str]) -> Route:
        if found.prefix:
            names = ", ".join(one.trunk for one in found.candidates)
            considered.append(f"route {rule.name}: {call.called} begins with {found.prefix}, which leads to {names}")
        attempts = []
        for candidate in put_in_order(found.candidates, rule.strategy, self._entropy):
            attempt = self._by_trunk(candidate.trunk, call)
            if isinstance(attempt, str):
                considered.append(f"route {rule.name}: trunk {candidate.trunk} passed over: {attempt}")
                continue
            attempts.append(rule.treat(replace(attempt, trusted=attempt.trusted or rule.trusted)))
        if not attempts:
            considered.append(f"route {rule.name}: no trunk is left")
            return Route(name=rule.name, rounds=(), refusal=_NO_TRUNK, retry_after=RETRY_AFTER)
        if len(attempts) > 1:
            order = ", ".join(attempt.trunk or attempt.label for attempt in attempts)
            considered.append(f"route {rule.name}: {rule.strategy.value} gives {order}, {rule.hunt.value}")
        groups = [attempts] if rule.hunt is Hunt.PARALLEL else [[attempt] for attempt in attempts]
        rounds = tuple(map(tuple, groups))
        return _from(Route(name=rule.name, rounds=rounds), call)

    def _by_trunk(self, name: str, call: Call) -> Attempt | str:
        if self._trunks is None:
            return "there are no trunks"
        try:
            attempt = self._trunks.attempt(name, call.with_called(call.called).user, call.asked)
        except KeyError:
            return "there is no such trunk"
        return attempt if isinstance(attempt, str) else replace(attempt, called=call.called)


def _rewritten(rule: StaticRoute, call: Call, considered: list[str]) -> Call:
    """Give a call with the numbers that a rule makes.

    Raises:
        ParseError: no URI can be made of the called one.
    """
    if rule.called:
        before, called = call.called, rewrite(call.called, rule.called)
        if called != before:
            considered.append(f"route {rule.name}: called {before} becomes {called}")
            call = call.with_called(called)
    if not rule.calling:
        return call
    if is_anonymous(call.asked.request):
        considered.append(f"route {rule.name}: the caller stays anonymous")
        return call
    before, calling = call.calling, rewrite(call.calling, rule.calling)
    if calling != before:
        considered.append(f"route {rule.name}: calling {before} becomes {calling}")
        call = call.with_calling(calling)
    return call


def _from(route: Route, call: Call) -> Route:
    """Give a route whose attempts say who calls, where rules have rewritten that and nobody nearer to it says else."""
    if call.caller is None:
        return route

    def said(attempts: Sequence[Attempt]) -> Iterator[Attempt]:
        for attempt in attempts:
            yield attempt if attempt.caller is not None else replace(attempt, caller=call.caller)

    return replace(route, rounds=tuple(tuple(said(attempts)) for attempts in route.rounds))
