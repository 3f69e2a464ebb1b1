"""What `twistd -n -y wishing.py` runs: sipd, where callees of a route called `info` or `rtp` want digits so."""

from __future__ import annotations

from dataclasses import replace

from twisted.application.service import Application
from twisted.internet.defer import Deferred

from sipd.b2bua.routing import RouteTable
from sipd.daemon import stack
from sipd.daemon.config import load
from sipd.daemon.process import Process
from sipd.interfaces import Dtmf, Route, RoutingRequest

_WISHES = {"info": Dtmf.INFO, "rtp": Dtmf.RTP}


class WishingTable(RouteTable):
    """Says what callees want."""

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        return super().route(routing_request).addCallback(_wish)


def _wish(route: Route) -> Route:
    dtmf = _WISHES.get(route.name, Dtmf.PASS)
    return replace(
        route, rounds=tuple(tuple(replace(attempt, dtmf=dtmf) for attempt in attempts) for attempts in route.rounds)
    )


def make_application() -> object:
    """Make the application of the configuration in the working directory."""
    from twisted.internet import reactor  # noqa: TID251 - as in sipd.daemon.tap

    vars(stack)["RouteTable"] = WishingTable
    sipd = Application("sipd")
    Process(load("sipd.toml"), {"nodaemon": True}, reactor).setServiceParent(sipd)
    return sipd


if __name__ == "builtins":  # so twistd calls the file that it runs
    application = make_application()
