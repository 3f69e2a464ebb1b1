"""Tests of `sipd.transport.responses`: responses whose request's source is gone (RFC 3263 section 5)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import TransportError
from sipd.interfaces import IFlow
from sipd.sip.locate import Target
from sipd.sip.message import Request, Response
from sipd.testing.clock import SimulatedClock
from sipd.testing.nameserver import NameServer, address, service
from sipd.testing.network import Network
from sipd.transport.cache import NameCache
from sipd.transport.dns import NameClient
from sipd.transport.layer import TransportLayer
from sipd.transport.limits import TransportLimits
from sipd.transport.names import DomainNames
from sipd.transport.resolver import Resolver
from tests.transport.support import TCP, UDP, Receiver, point, request_octets

US, CLIENT, SPARE, DEAD, NAMES = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.53"


class RoutingTests(SynchronousTestCase):
    """A request came over a connection that is gone, from a host that takes no other."""

    def setUp(self) -> None:
        """Let a client and its spare know each other by name."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        self.names = NameServer(self.network.host(NAMES), NAMES)
        self.network.host(DEAD)
        host: Any = self.network.host(US)
        self.receiver = Receiver()
        self.us = TransportLayer(reactor=host, limits=TransportLimits(reroutings_per_second=2))
        self.us.receiver = self.receiver
        for transport in (UDP, TCP):
            self.successResultOf(self.us.listen(point(transport, US, 5060)))
        cache = NameCache(NameClient(host, lambda: [(NAMES, 53)]), host)
        self.resolver = Resolver(host, names=DomainNames(cache), entropy=self.network.entropy)
        self.us.locate_sender = self.resolver.locate_sender
        spare: Any = self.network.host(SPARE)
        self.spare_receiver = Receiver()
        self.spare = TransportLayer(reactor=spare)
        self.spare.receiver = self.spare_receiver
        for port in (5060, 5070):
            listening = point(TCP, SPARE, port, advertised_host="client.example.com")
            self.successResultOf(self.spare.listen(listening))
        self.client_host: Any = self.network.host(CLIENT)
        self.names.records["client.example.com"] = [address(CLIENT), address(DEAD), address(SPARE)]

    def tearDown(self) -> None:
        """Nothing may be left."""
        for layer in (self.us, self.spare):
            layer.close()
        self.names.close()
        self.clock.advance(60.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def lose(self, via: str) -> tuple[Request, IFlow]:
        """Let a request with that Via come in over a connection that is gone then."""
        client = TransportLayer(reactor=self.client_host)
        self.successResultOf(client.listen(point(TCP, CLIENT, 5099)))
        flow = client.flow_to(Target(transport=TCP, host=US, port=5060))
        flow.send(request_octets(via))
        self.clock.advance(0.5)
        client.close()
        self.clock.advance(5.0)
        request, came_on = self.receiver.messages[-1]
        assert isinstance(request, Request)
        self.assertFalse(came_on.is_open)
        return request, came_on

    def answer(self, via: str) -> list[Request | Response]:
        """Answer such a request; give what the spare got."""
        request, flow = self.lose(via)
        self.us.send_response(request.response(200), flow)
        self.clock.advance(5.0)
        return [message for message, _ in self.spare_receiver.messages]

    def test_addresses(self) -> None:
        """With a port in sent-by its addresses are tried in turn, but for the one that was just tried."""
        (response,) = self.answer("SIP/2.0/TCP client.example.com:5070;branch=z9hG4bK1")
        assert isinstance(response, Response)
        self.assertEqual(response.status, 200)
        refused = [event.destination for event in self.network.log if event.fate.value == "refused"]
        self.assertEqual(refused, [(CLIENT, 5070), (DEAD, 5070)])

    def test_services(self) -> None:
        """Without a port its SRV records for the transport of the request count."""
        self.names.records["_sip._tcp.client.example.com"] = [service("spare.example.com", 5070)]
        self.names.records["spare.example.com"] = [address(SPARE)]
        self.assertEqual(len(self.answer("SIP/2.0/TCP client.example.com;branch=z9hG4bK1")), 1)

    def test_nowhere(self) -> None:
        """A name that leads nowhere, or is none, costs the response and nothing else."""
        self.names.records["client.example.com"] = [address(DEAD)]
        self.assertEqual(self.answer("SIP/2.0/TCP client.example.com:5070;branch=z9hG4bK1"), [])
        self.clock.advance(5.0)
        self.assertEqual(self.answer("SIP/2.0/TCP nobody.example.com:5070;branch=z9hG4bK2"), [])

    def test_numeric(self) -> None:
        """An address in sent-by that is not where the request came from gets nothing: anybody can write one."""
        self.assertEqual(self.answer(f"SIP/2.0/TCP {SPARE}:5070;branch=z9hG4bK1"), [])
        self.assertEqual(self.names.asked, [])

    def test_bounded(self) -> None:
        """No more responses a second are looked after than is allowed."""
        request, flow = self.lose("SIP/2.0/TCP client.example.com:5070;branch=z9hG4bK1")
        for status in (180, 181, 182, 183, 200):
            self.us.send_response(request.response(status), flow)
        self.clock.advance(5.0)
        self.assertEqual(len(self.spare_receiver.messages), 2)

    def test_switched_off(self) -> None:
        """Without somebody who finds senders such a response is lost."""
        self.us.locate_sender = None
        self.assertEqual(self.answer("SIP/2.0/TCP client.example.com:5070;branch=z9hG4bK1"), [])

    def test_closed_meanwhile(self) -> None:
        """A transport layer that is closed while it looks sends nothing any more."""
        request, flow = self.lose("SIP/2.0/TCP client.example.com:5070;branch=z9hG4bK1")
        self.us.send_response(request.response(200), flow)
        self.clock.advance(0.025)
        self.us.close()
        self.clock.advance(5.0)
        self.assertEqual(self.spare_receiver.messages, [])

    def test_bug(self) -> None:
        """A mistake in finding the sender is logged with its traceback, and disturbs nobody."""

        def broken(*_: object) -> Deferred[Any]:
            return fail(ZeroDivisionError())

        self.us.locate_sender = broken
        self.assertEqual(self.answer("SIP/2.0/TCP client.example.com:5070;branch=z9hG4bK1"), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_requests(self) -> None:
        """A request that cannot be sent is its transaction's affair."""
        flow = self.us.flow_to(Target(transport=TCP, host=DEAD, port=5070))
        flow.send(request_octets("SIP/2.0/TCP client.example.com:5070;branch=z9hG4bK1"))
        self.clock.advance(5.0)
        self.assertEqual((self.names.asked, self.spare_receiver.messages), ([], []))
        self.assertIsInstance(self.receiver.failures[0][1], TransportError)
