"""What the tests of the dial plan share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.interfaces import Binding, Entropy, ILocationService, ITrunks, Route, RoutingRequest
from sipd.routing.rules import StaticRoute
from sipd.routing.table import RouteTable
from sipd.sip.locate import Target, Transport
from sipd.sip.uri import parse_uri
from sipd.testing import builders


@implementer(ILocationService)
class Location:
    """A location service that knows what it is told."""

    def __init__(self, *bindings: Binding) -> None:
        self._bindings = bindings

    def lookup(self, aor: str) -> Sequence[Binding]:
        """See `ILocationService`."""
        return sorted((one for one in self._bindings if one.aor == aor), key=lambda one: -one.q)


def binding(
    uri: str,
    *,
    aor: str = "sip:bob@example.com",
    q: float = 1.0,
    source: Target | None = None,
    path: tuple[str, ...] = (),
) -> Binding:
    """Make a contact, of bob if nothing else is said."""
    return Binding(
        aor=aor,
        contact=f"<{uri}>",
        uri=parse_uri(uri),
        q=q,
        expires_at=0,
        call_id="r",
        cseq=1,
        source=source,
        path=path,
    )


def asked(
    uri: str,
    *,
    source: str = "192.0.2.1",
    caller: str = builders.ALICE,
    user: str | None = None,
    trunk: str | None = None,
    at: float = 0.0,
    point: str = "udp",
    headers: Sequence[tuple[str, str]] = (),
) -> RoutingRequest:
    """Ask about a call."""
    return RoutingRequest(
        request=builders.invite(uri, caller=caller, headers=headers),
        user=user,
        source=Target(transport=Transport.UDP, host=source, port=5060),
        point=point,
        at=at,
        trunk=trunk,
    )


class PlanCase(SynchronousTestCase):
    """Asks dial plans about calls."""

    def table(
        self,
        *routes: StaticRoute,
        bindings: Sequence[Binding] = (),
        trunks: ITrunks | None = None,
        emergency: Sequence[str] = (),
        entropy: Entropy | None = None,
        is_user: Callable[[str], bool] = ("alice", "bob").__contains__,
    ) -> RouteTable:
        """Make a dial plan of these rules."""
        return RouteTable(
            domains=frozenset(("example.com",)),
            routes=routes,
            location=Location(*bindings),
            is_user=is_user,
            timeout=45,
            trunks=trunks,
            entropy=entropy or Random(1).randbytes,
            emergency=frozenset(emergency),
        )

    def route(self, table: RouteTable, request: RoutingRequest) -> Route:
        """Give where a call goes."""
        return self.successResultOf(table.route(request))

    def uris(self, route: Route) -> list[list[str]]:
        """Give whom it calls, round by round."""
        return [[str(attempt.uri) for attempt in attempts] for attempts in route.rounds]
