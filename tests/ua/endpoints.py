"""An endpoint on a simulated network, and a wire whose other end is held by the test."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from sipd.ua.endpoint import Endpoint
from tests.ua.support import THEM, US, Wire


class EndpointCase(SynchronousTestCase):
    """An endpoint at `US`, and a wire at `THEM`."""

    def setUp(self) -> None:
        """Make both."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        self.endpoint = self.make(US)
        self.them = Wire(self.network, THEM)
        self.addCleanup(self.check_nothing_is_left)

    def make(self, host_address: str, /, **options: Any) -> Endpoint:
        """Make an endpoint on a new host."""
        host = self.network.host(host_address)
        listen = ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"]
        return Endpoint(host, listen, entropy=self.network.entropy, **options)

    def check_nothing_is_left(self) -> None:
        """See that closing leaves nothing."""
        closing = self.endpoint.close()
        self.clock.advance(300.0)
        self.successResultOf(closing)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.endpoint.layers.transactions), 0)

    def receive(self, method: str = "OPTIONS", **options: Any) -> Request:
        """Let a request come in, and give it."""
        options.setdefault("branch", f"z9hG4bK{method}")
        request = builders.request(method, f"sip:bob@{US}", via=f"{THEM}:5060", **options)
        self.them.send(request)
        self.clock.advance(0.1)
        return request

    def ask(self, method: str = "OPTIONS", uri: str = f"sip:bob@{THEM}", **options: Any) -> Deferred[Response]:
        """Send a request that has nothing but a method and a URI."""
        asked = self.endpoint.request(Request(method, uri), **options)
        self.clock.advance(0.1)
        return asked

    def answer(self, status: int = 200, method: str = "OPTIONS", **options: Any) -> Response:
        """Let the other end answer what it got last."""
        response = builders.response(self.them.request(method), status, to_tag="t1", **options)
        self.them.send(response)
        self.clock.advance(0.1)
        return response
