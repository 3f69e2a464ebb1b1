"""A stateless proxy: all that comes goes to one next hop, message by message, and nothing is remembered.

python tapfiles/stateless.py udp:127.0.0.1:5060,tcp:127.0.0.1:5060 sip:127.0.0.1:5070

It stands on the transport layer alone. With the same key for all of them any number may stand behind one address.
"""

import secrets
import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from zope.interface import implementer

from sipd.interfaces import IFlow
from sipd.proxy.interfaces import IStatelessRouter, ProxyTarget
from sipd.proxy.stateless import StatelessProxy
from sipd.sip.message import Request
from sipd.sip.uri import parse_uri
from sipd.ua.stack import open_layers


@implementer(IStatelessRouter)
class NextHop:
    """Sends every request to one place, its Request-URI as it came."""

    def __init__(self, uri: str) -> None:
        self.uri = parse_uri(uri)

    def target(self, request: Request, flow: IFlow) -> ProxyTarget:
        """See `IStatelessRouter`."""
        return ProxyTarget(uri=request.uri, next_hop=self.uri)


def main(reactor: Any, listen: str, next_hop: str) -> Deferred[None]:
    """Run until Ctrl-C."""
    layers = open_layers(reactor, listen.split(","))
    proxy = layers.transport.receiver = StatelessProxy(
        transport=layers.transport,
        router=NextHop(next_hop),
        key=secrets.token_bytes(32),
        resolver=layers.resolver,
    )
    reactor.addSystemEventTrigger("before", "shutdown", proxy.close)
    reactor.addSystemEventTrigger("before", "shutdown", layers.close)
    sys.stdout.write("".join(f"stateless at {point.transport.value} {point.sent_by}\n" for point in layers.points))
    sys.stdout.flush()
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
