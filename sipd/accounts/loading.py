"""A router before which the accounts are loaded that it, and what follows it, has to know."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.accounts.directory import AccountDirectory
from sipd.accounts.interfaces import AccountNotLoadedError
from sipd.errors import RequestRefusedError
from sipd.interfaces import Attempt, IRouter, Route, RoutingRequest
from sipd.sip.grammar import unescape

#: Users that a router may ask for, one after another, for one decision.
MAX_LOADS = 10


@implementer(IRouter)
class LoadingRouter:
    """Asks a router, and asks again once the account is there that it lacked.

    The accounts of those whom the route leads to are loaded, too, and an attempt at a user who is not enabled is left
    out. A store that cannot be asked is a 503, not a guess.

    Args:
        behind: the router; its ``is_user`` is ``directory.is_user``.
        directory: who the users are.
    """

    def __init__(self, behind: IRouter, directory: AccountDirectory) -> None:
        self.behind = behind
        self._directory = directory

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        return self.behind.needs_authentication(routing_request)

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        return Deferred.fromCoroutine(self._route(routing_request))

    async def _route(self, routing_request: RoutingRequest) -> Route:
        for _ in range(MAX_LOADS):
            try:
                route = await self.behind.route(routing_request)
            except AccountNotLoadedError as error:
                await self._directory.account(error.name)
            else:
                return await self._without_disabled(route)
        raise RequestRefusedError("Too Many Users In One Route", status=503)

    async def _without_disabled(self, route: Route) -> Route:
        users = {attempt.user: None for attempts in route.rounds for attempt in attempts if attempt.user is not None}
        disabled: set[str | None] = set()
        for user in users:
            account = await self._directory.account(unescape(user))
            if account is not None and not account.is_enabled:
                disabled.add(user)
        if not disabled:
            return route
        rounds: list[tuple[Attempt, ...]] = []
        for attempts in route.rounds:
            left = tuple([attempt for attempt in attempts if attempt.user not in disabled])
            if left:
                rounds.append(left)
        considered = (*route.considered, *(f"account of {user}: not enabled" for user in users if user in disabled))
        if rounds:
            return replace(route, rounds=tuple(rounds), considered=considered)
        return replace(route, rounds=(), considered=considered, refusal=(404, "No Such User"), aor=None)
