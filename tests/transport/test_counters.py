"""What is counted of messages, connections and names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import sipd.transport
from sipd.errors import UnresolvableError
from sipd.sip.message import Request
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import parse_uri
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from sipd.transport.layer import TransportLayer
from sipd.transport.limits import INCIDENTS, KINDS, TransportCounters
from sipd.transport.resolver import Resolver
from tests.transport.support import TCP, TLS, UDP, LoopbackTestCase, point, request_octets, target


class MessageTests(SynchronousTestCase):
    """Messages by kind."""

    def setUp(self) -> None:
        self.counters = TransportCounters()

    def counted(self, *, sent: bool) -> dict[str, int]:
        """Give what was counted over UDP, without what is 0."""
        counts = (self.counters.sent if sent else self.counters.received)[UDP]
        return {kind: count for kind, count in counts.items() if count}

    def test_every_method_and_class(self) -> None:
        """Each method and each class of responses has a count of its own, both ways."""
        for kind in KINDS[:-1]:
            request = request_octets(method="OPTIONS" if kind.endswith("xx") else kind)
            message = parse_datagram(request)
            assert isinstance(message, Request)
            if kind.endswith("xx"):
                response = message.response(int(kind[0]) * 100 + 80)
                self.counters.count_received(response.status // 100, UDP)
                self.counters.count_sent(response.to_bytes(), UDP)
            else:
                self.counters.count_received(message.method, UDP)
                self.counters.count_sent(request, UDP)
        self.assertEqual(self.counted(sent=False), dict.fromkeys(KINDS[:-1], 1))
        self.assertEqual(self.counted(sent=True), dict.fromkeys(KINDS[:-1], 1))
        self.assertEqual(self.counters.messages_sent, len(KINDS) - 1)

    def test_made_up_methods(self) -> None:
        """A method that nobody knows is `other`, even if it is called like a class, or nearly like a method."""
        for method in ("FOO", "2xx", "2", "other", "INVITEX", "invite", "SIP", ""):
            self.counters.count_received(method, UDP)
        for status in (0, 7, 999):
            self.counters.count_received(status, UDP)
        self.assertEqual(self.counted(sent=False), {"other": 11})
        for data in (b"FOO sip:x SIP/2.0", b"\r\n\r\n", b"SIP/2.0 700 What", b"SIP/3.0 200 OK", b""):
            self.counters.count_sent(data, UDP)
        self.assertEqual(self.counted(sent=True), {"other": 5})

    def test_transports(self) -> None:
        """Each transport has counts of its own."""
        self.counters.count_sent(request_octets(), TLS)
        self.assertEqual((self.counters.sent[TLS]["OPTIONS"], self.counters.sent[UDP]["OPTIONS"]), (1, 0))

    @settings(deadline=None, max_examples=200)
    @given(st.binary(max_size=40))
    def test_anything_is_counted(self, data: bytes) -> None:
        """Whatever is sent is counted once, and makes no new kind."""
        counters = TransportCounters()
        counters.count_sent(data, UDP)
        self.assertEqual(counters.messages_sent, 1)
        self.assertEqual(set(counters.sent[UDP]), set(KINDS))


class IncidentTests(SynchronousTestCase):
    """The words of incidents."""

    def test_all_are_known(self) -> None:
        """Every kind of incident that the code notes is one of the fixed words, and every word is used."""
        folder = Path(sipd.transport.__path__[0])
        code = "\n".join(path.read_text() for path in folder.glob("*.py"))
        noted = set(
            re.findall(r'(?:note|_abort)\("([a-z-]+)"|counts\["([a-z-]+)"\]|Phase\.[A-Z]+: \("([a-z-]+)"', code)
        )
        self.assertEqual({word for words in noted for word in words if word}, set(INCIDENTS))


class LayerTests(LoopbackTestCase):
    """What a layer counts over real sockets."""

    async def test_messages_and_connections(self) -> None:
        """What comes and cannot be read is an incident, no message; connections are counted by who made them."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        data = request_octets("SIP/2.0/TCP client.example.com;branch=z9hG4bK1", method="MESSAGE")
        peer.wire.write(data + request_octets(without="Call-ID"))
        await self.until(lambda: layer.counters.messages_received == 2 and layer.counters.messages_sent == 1)
        self.assertEqual(len(receiver.messages), 1)
        self.assertEqual(layer.counters.received[TCP]["MESSAGE"], 1)
        self.assertEqual(sum(layer.counters.received[TCP].values()), 1)
        self.assertEqual(layer.counters.sent[TCP]["4xx"], 1)
        self.assertEqual(layer.incidents.counts["refused"], 1)
        self.assertEqual(dict(layer.connection_counts()), {(TCP, True): 1})
        _, listening = self.server()
        layer.flow_to(target(listening))
        self.assertEqual(dict(layer.connection_counts()), {(TCP, True): 1, (TCP, False): 1})


class NameTests(SynchronousTestCase):
    """Lookups of names."""

    def test_failures(self) -> None:
        """A name that leads nowhere is a failure, one that is none as well; an address is not looked up."""
        clock = SimulatedClock()
        host: Any = Network(clock, seed=1).host("192.0.2.1")
        layer = TransportLayer(reactor=host)
        layer.listen(point(UDP, "192.0.2.1", 5060))
        resolver = Resolver(host, points=lambda: layer.points)
        self.successResultOf(resolver.locate(parse_uri("sip:bob@192.0.2.7")))
        self.assertEqual((resolver.lookups, resolver.failures), (0, 0))
        for uri in ("sip:bob@nowhere.example", "sip:bob@" + "x" * 64 + ".example"):
            locating = resolver.locate(parse_uri(uri))
            clock.advance(10)
            self.failureResultOf(locating, UnresolvableError)
        self.assertEqual((resolver.lookups, resolver.failures), (2, 2))
