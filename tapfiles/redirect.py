"""A redirect server with a table: says where users are, and forwards nothing.

python tapfiles/redirect.py udp:127.0.0.1:5060,tcp:127.0.0.1:5060 bob=sip:bob@127.0.0.1:5070 bob=sip:bob@127.0.0.1:5080
"""

import secrets
import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import react

from sipd.interfaces import IFlow
from sipd.proxy.redirect import RedirectServer
from sipd.sip.fields import NameAddr
from sipd.sip.message import Request
from sipd.sip.uri import SipUri, parse_uri
from sipd.ua.stack import open_layers


def main(reactor: Any, listen: str, *table: str) -> Deferred[None]:
    """Run until Ctrl-C. A user may stand in the table more than once."""
    contacts: dict[str | None, list[NameAddr]] = {}
    for entry in table:
        user, _, uri = entry.partition("=")
        contacts.setdefault(user, []).append(NameAddr(parse_uri(uri)))

    def find(request: Request, flow: IFlow) -> Deferred[Sequence[NameAddr]]:
        user = request.uri.user if isinstance(request.uri, SipUri) else None
        return succeed(contacts.get(user, ()))

    layers = open_layers(reactor, listen.split(","))
    server = layers.transactions.core = RedirectServer(find, clock=reactor, entropy=secrets.token_bytes)
    reactor.addSystemEventTrigger("before", "shutdown", server.close)
    reactor.addSystemEventTrigger("before", "shutdown", layers.close)
    sys.stdout.write("".join(f"redirects at {point.transport.value} {point.sent_by}\n" for point in layers.points))
    sys.stdout.flush()
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
