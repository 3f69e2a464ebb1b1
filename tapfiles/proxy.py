"""A stateful proxy: all that comes goes to one next hop, which is trusted and may send to anybody.

python tapfiles/proxy.py udp:127.0.0.1:5060,tcp:127.0.0.1:5060 sip:127.0.0.1:5070

The router below is all that there is to write. A proxy relays to strangers only if its router says so; here, what the
next hop sends. Requests within a dialog that began here go where the dialog says, and nobody asks the router.
"""

import secrets
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import react
from zope.interface import implementer

from sipd.interfaces import IFlow
from sipd.proxy.interfaces import IProxyRouter, ProxyTarget
from sipd.proxy.stateful import StatefulProxy
from sipd.sip.message import Request
from sipd.sip.uri import parse_sip_uri
from sipd.ua.stack import open_layers


@implementer(IProxyRouter)
class NextHop:
    """Sends every request to one place, its Request-URI as it came; and what comes from there to its Request-URI."""

    def __init__(self, uri: str) -> None:
        self.uri = parse_sip_uri(uri)

    def targets(self, request: Request, flow: IFlow) -> Deferred[Sequence[Sequence[ProxyTarget]]]:
        """See `IProxyRouter`: rounds of targets."""
        if (flow.host, flow.port) == (self.uri.host, self.uri.port or 5060):
            return succeed([[ProxyTarget(uri=request.uri, follows_routes=True)]])
        return succeed([[ProxyTarget(uri=request.uri, next_hop=self.uri)]])


def main(reactor: Any, listen: str, next_hop: str) -> Deferred[None]:
    """Run until Ctrl-C."""
    layers = open_layers(reactor, listen.split(","))
    proxy = layers.transactions.core = StatefulProxy(
        clock=reactor,
        transport=layers.transport,
        transactions=layers.transactions,
        resolver=layers.resolver,
        entropy=secrets.token_bytes,
        router=NextHop(next_hop),
    )
    reactor.addSystemEventTrigger("before", "shutdown", proxy.close)
    reactor.addSystemEventTrigger("before", "shutdown", layers.close)
    sys.stdout.write("".join(f"proxy at {point.transport.value} {point.sent_by}\n" for point in layers.points))
    sys.stdout.flush()
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
