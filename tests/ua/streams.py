"""A registrar that is reached over TCP, and whose answers are the test's."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory

from sipd.sip.message import Request
from sipd.sip.parser import parse_message
from sipd.sip.uri import SipUri
from sipd.testing import builders
from sipd.testing.network import Network

#: Where it is.
STREAMS = SipUri("192.0.2.50", parameters={"transport": "tcp"})


class Streams(ServerFactory):
    """The registrar, at `STREAMS`."""

    def __init__(self, network: Network) -> None:
        self.connections: list[Any] = []
        self.received = b""
        network.host(STREAMS.host).listenTCP(5060, self)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        """Take a connection."""
        streams = self

        class Stream(Protocol):
            def connectionMade(self) -> None:
                streams.connections.append(self.transport)
                streams.received = b""

            def dataReceived(self, data: bytes) -> None:
                streams.received = data

        return Stream()

    def request(self) -> Request:
        """Give the request that came on the last connection."""
        request = parse_message(self.received)
        assert isinstance(request, Request)
        return request

    def grant(self, *, headers: builders.Fields = ()) -> None:
        """Grant it."""
        contact = f"{self.request().headers.get('Contact')};expires=600"
        response = builders.response(self.request(), 200, headers=[("Contact", contact), *headers])
        self.connections[-1].write(response.to_bytes())
