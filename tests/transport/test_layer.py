"""Tests of `sipd.transport.layer` over real sockets: UDP, TCP, Via, responses, refusals."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from sipd.errors import ConfigurationError, ConnectionRefused, TransportError
from sipd.interfaces import IFlow, IMessageObserver, IMessageReceiver, ITransportLayer, ListeningPoint
from sipd.sip.locate import Target
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from tests.ports import Ports
from tests.transport.support import (
    TCP,
    TLS,
    UDP,
    Datagram,
    LoopbackTestCase,
    Observer,
    Receiver,
    point,
    request_octets,
    response_octets,
    target,
)


class InterfaceTests(LoopbackTestCase):
    """The joints."""

    async def test_provides_the_interfaces(self) -> None:
        """The layer, its flows and the fakes of these tests provide what they say."""
        layer, _, udp = await self.endpoint(UDP)
        await layer.listen(point(TCP))
        verifyObject(ITransportLayer, layer)
        verifyObject(IMessageReceiver, Receiver())
        verifyObject(IMessageObserver, Observer())
        verifyObject(IFlow, layer.flow_to(target(udp)))
        verifyObject(IFlow, layer.flow_to(target(self.server()[1])))


class ListenTests(LoopbackTestCase):
    """Opening and closing of listening points."""

    async def test_port_zero(self) -> None:
        """A point on port 0 gets a real port, advertised too unless another one is."""
        layer, _ = self.layer()
        udp = await layer.listen(point(UDP))
        tcp = await layer.listen(point(TCP, advertised_host="sip.example.com", advertised_port=5060))
        self.assertGreater(udp.port, 0)
        self.assertEqual(udp.advertised_port, udp.port)
        self.assertEqual(tcp.sent_by, "sip.example.com:5060")
        self.assertEqual(list(layer.points), [udp, tcp])

    async def test_address_in_use(self) -> None:
        """An address that is taken is a configuration error that says which."""
        _, _, taken = await self.endpoint(TCP)
        layer, _ = self.layer()
        error = await self.refused(layer.listen(point(TCP, port=taken.port)))
        self.assertIn(f"tcp: cannot listen on TCP 127.0.0.1 port {taken.port}", error.problems[0])
        self.assertEqual(list(layer.points), [])

    async def test_what_cannot_be_listened_on(self) -> None:
        """TLS without a certificate is a configuration error, inside of WebSocket, too."""
        layer, _ = self.layer()
        for transport in (TLS, type(TLS).WSS):
            error = await self.refused(layer.listen(point(transport)))
            self.assertIn(f"{transport.value} needs a certificate", error.problems[0])

    async def test_ipv6_and_ipv4_on_one_port(self) -> None:
        """All IPv6 addresses and all IPv4 addresses can be listened on with the same port (RFC 3493 section 5.3)."""
        for transport in (UDP, TCP):
            layer, receiver = self.layer()
            six = await layer.listen(point(transport, "::", Ports().take(), advertised_host="::1"))
            four = await layer.listen(point(transport, host="0.0.0.0", port=six.port, advertised_host="127.0.0.1"))
            self.assertEqual(six.port, four.port)
            for host in ("::1", "127.0.0.1"):
                layer.flow_to(Target(transport=transport, host=host, port=six.port)).send(request_octets())
            await self.until(partial(receiver.has, 2))
            self.assertEqual({flow.host for _, flow in receiver.messages}, {"::1", "127.0.0.1"})

    async def test_close_releases_everything(self) -> None:
        """After `close` nothing is listened on, no connection is left, and flows are refused."""
        layer, receiver = self.layer()
        tcp, udp = [await layer.listen(point(transport, port=Ports().take())) for transport in (TCP, UDP)]
        udp_flow = layer.flow_to(target(udp))
        peer = await self.connect(tcp)
        server, listening = self.server()
        flow = layer.flow_to(target(listening))
        await self.until(lambda: server.peers and layer.connection_count == 2)
        await layer.close()
        self.assertEqual((layer.connection_count, list(layer.points), flow.is_open), (0, [], False))
        self.assertEqual(len(receiver.failures), 2)
        self.assertRaises(TransportError, layer.flow_to, target(udp))
        self.assertIs(layer.find_flow(target(udp)), None)
        udp_flow.send(request_octets())
        await self.until(lambda: peer.is_lost)
        await layer.close()
        again, _ = self.layer()
        await again.listen(tcp)
        await again.listen(udp)

    async def refused(self, listening: Deferred[ListeningPoint]) -> ConfigurationError:
        """Give what is wrong with a point that cannot be opened."""
        with self.assertRaises(ConfigurationError) as caught:
            await listening
        problem: ConfigurationError = caught.exception
        return problem


class UdpTests(LoopbackTestCase):
    """Datagrams in and out."""

    async def test_request_arrives_with_its_source(self) -> None:
        """A request is delivered with received and rport in its Via, on a flow back to its sender."""
        _, receiver, at = await self.endpoint(UDP)
        client = self.datagrams()
        client.send(request_octets(), at)
        await self.until(lambda: receiver.messages)
        request, flow = receiver.messages[0]
        self.assertEqual((request.via.received, request.via.rport), ("127.0.0.1", str(client.port)))
        self.assertEqual((flow.host, flow.port, flow.point, flow.is_open), ("127.0.0.1", client.port, at, True))
        flow.send(b"answer")
        await self.until(lambda: client.received)
        self.assertEqual(client.received, [(b"answer", ("127.0.0.1", at.port))])

    async def test_ipv6(self) -> None:
        """The same over IPv6."""
        layer, receiver = self.layer()
        at = await layer.listen(point(UDP, host="::1"))
        client = self.datagrams("::1")
        client.send(request_octets(), at)
        await self.until(lambda: receiver.messages)
        request, flow = receiver.messages[0]
        self.assertEqual((request.via.received, flow.host), ("::1", "::1"))
        flow.send(b"answer")
        await self.until(lambda: client.received)
        self.assertEqual(at.sent_by, f"[::1]:{at.port}")

    async def test_same_peer_same_flow(self) -> None:
        """One peer is one flow; when it was forgotten a new one is equal to it."""
        layer, _, at = await self.endpoint(UDP, max_udp_flows=2)
        flows = [layer.flow_to(Target(transport=UDP, host="127.0.0.1", port=port)) for port in (1, 1, 2, 3, 1)]
        self.assertIs(flows[0], flows[1])
        self.assertIsNot(flows[0], flows[4])
        self.assertEqual(flows[0], flows[4])
        self.assertEqual(hash(flows[0]), hash(flows[4]))
        self.assertNotEqual(flows[0], flows[2])
        other = await layer.listen(point(UDP))
        self.assertNotEqual(layer.flow_to(target(at)), layer.flow_to(target(other)))

    async def test_noise_is_dropped(self) -> None:
        """Keep-alives and noise are neither answered nor delivered nor counted as faults (S1.9)."""
        layer, receiver, at = await self.endpoint(UDP)
        client = self.datagrams()
        noise = (b"", b"\r\n\r\n", b"\0", b"  \t \r\n", b"\0\0\0\0", b"hej")
        for datagram in noise:
            client.send(datagram, at)
        client.send(request_octets(), at)
        await self.until(lambda: receiver.messages)
        self.assertEqual((len(receiver.messages), client.received), (1, []))
        self.assertEqual(layer.counters.keep_alives, len(noise))
        self.assertEqual(layer.incidents.counts, {})

    async def test_malformed_is_counted_and_dropped(self) -> None:
        """What is no SIP is counted and dropped without an answer and without a traceback."""
        layer, receiver, at = await self.endpoint(UDP)
        client = self.datagrams()
        for datagram in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\xff" * 200,
            b"SIP/2.0 99 x\r\n\r\n",
            request_octets(without="Via"),
        ):
            client.send(datagram, at)
        client.send(request_octets(), at)
        await self.until(lambda: receiver.messages)
        self.assertEqual((len(receiver.messages), client.received), (1, []))
        self.assertEqual(layer.incidents.counts["malformed"], 4)

    async def test_largest_datagram(self) -> None:
        """A datagram of 65,507 octets arrives whole; one of a million header lines' beginning is refused or dropped."""
        layer, receiver, at = await self.endpoint(UDP)
        client = self.datagrams()
        empty = request_octets(extra=("Content-Type: text/plain",), body=b"x" * 10000)
        large = request_octets(extra=("Content-Type: text/plain",), body=b"x" * (65507 - len(empty) + 10000))
        self.assertEqual(len(large), 65507)
        client.send(large, at)
        await self.until(lambda: receiver.messages)
        self.assertEqual(len(receiver.requests[0].body), 65507 - len(empty) + 10000)
        client.send(request_octets(extra=("A: b",) * 10000), at)
        await self.until(lambda: layer.incidents.counts["malformed"])
        self.assertEqual(len(receiver.messages), 1)

    async def test_what_does_not_fit_fails(self) -> None:
        """A message that fits into no datagram fails later, and not from within `send`."""
        layer, receiver, at = await self.endpoint(UDP)
        flow = layer.flow_to(target(at))
        flow.send(b"x" * 70000)
        self.assertEqual(receiver.failures, [])
        await self.until(lambda: receiver.failures)
        self.assertIs(receiver.failures[0][0], flow)
        self.assertIn("Message too long", receiver.failures[0][1].reason)
        self.assertTrue(flow.is_open)


class ResponseTests(LoopbackTestCase):
    """Where responses go (RFC 3261 section 18.2.2, RFC 3581) and which are taken."""

    async def answered(self, via: str) -> tuple[list[Datagram], list[Datagram]]:
        """Send a request with that Via, in which PORT is a second socket's; give what both sockets then received."""
        layer, receiver, at = await self.endpoint(UDP)
        receiver.answer(layer)
        client, second = self.datagrams(), self.datagrams()
        client.send(request_octets(via.replace("PORT", str(second.port))), at)
        await self.until(lambda: client.received or second.received)
        for _, source in client.received + second.received:
            self.assertEqual(source, ("127.0.0.1", at.port))
        return client.received, second.received

    async def test_rport(self) -> None:
        """With rport a response goes to where the request came from, whatever sent-by says."""
        client, second = await self.answered("SIP/2.0/UDP 192.0.2.1:PORT;branch=z9hG4bK1;rport")
        self.assertEqual((len(client), len(second)), (1, 0))
        via = parse_datagram(client[0][0]).via
        self.assertEqual((via.host, via.received), ("192.0.2.1", "127.0.0.1"))

    async def test_forged_rport_and_received(self) -> None:
        """What a sender writes into received and rport itself does not move the response."""
        client, second = await self.answered("SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;received=192.0.2.7;rport=PORT")
        self.assertEqual((len(client), len(second)), (1, 0))

    async def test_sent_by_port(self) -> None:
        """Without rport it goes to the port in sent-by, at the address that the request came from."""
        client, second = await self.answered("SIP/2.0/UDP client.example.com:PORT;branch=z9hG4bK1")
        self.assertEqual((len(client), len(second)), (0, 1))

    async def test_maddr(self) -> None:
        """With maddr it goes to that address, at the port in sent-by."""
        client, second = await self.answered("SIP/2.0/UDP 192.0.2.1:PORT;branch=z9hG4bK1;maddr=127.0.0.1")
        self.assertEqual((len(client), len(second)), (0, 1))

    async def test_other_vias_stay(self) -> None:
        """Values behind the topmost one on the same line keep their order and their text."""
        client, _ = await self.answered('SIP/2.0/UDP a.example;rport , SIP/2.0/TCP b.example;branch=z9;x="a,b"')
        vias = [str(via) for via in parse_datagram(client[0][0]).vias]
        self.assertEqual(vias[1:], ['SIP/2.0/TCP b.example;branch=z9;x="a,b"'])

    async def test_stream_response_on_its_connection(self) -> None:
        """A response goes back on the connection of its request."""
        layer, receiver, at = await self.endpoint(TCP)
        receiver.answer(layer)
        peer = await self.connect(at)
        peer.wire.write(request_octets("SIP/2.0/TCP 192.0.2.1:1;branch=z9hG4bK1"))
        await self.until(lambda: peer.data)
        self.assertEqual(parse_datagram(peer.data).via.received, "127.0.0.1")

    async def test_stream_response_when_the_connection_is_gone(self) -> None:
        """Once the connection has ended, a new one to the port in sent-by takes the response."""
        layer, receiver, at = await self.endpoint(TCP)
        server, listening = self.server()
        peer = await self.connect(at)
        peer.wire.write(request_octets(f"SIP/2.0/TCP client.example.com:{target(listening).port};branch=z9hG4bK1"))
        await self.until(lambda: receiver.messages)
        peer.wire.loseConnection()
        await self.until(lambda: receiver.failures)
        request, flow = receiver.messages[0]
        assert isinstance(request, Request)
        layer.send_response(request.response(200), flow)
        await self.until(lambda: server.peers and server.peers[0].data)
        self.assertIsInstance(parse_datagram(server.peers[0].data), Response)

    async def test_response_that_cannot_be_sent(self) -> None:
        """If no new connection can be made for it either, its flow fails once more, later."""
        layer, receiver, at = await self.endpoint(TCP, max_connections=1)
        peer = await self.connect(at)
        peer.wire.write(request_octets())
        await self.until(lambda: receiver.messages)
        request, flow = receiver.messages[0]
        assert isinstance(request, Request)
        flow.close()
        await self.until(lambda: receiver.failures)
        await self.connect(at)
        await self.until(lambda: layer.connection_count == 1)
        layer.send_response(request.response(200), flow)
        self.assertEqual(len(receiver.failures), 1)
        await self.until(lambda: len(receiver.failures) == 2)
        self.assertIs(receiver.failures[1][0], flow)
        self.assertIn("1 are open", receiver.failures[1][1].reason)

    async def test_responses_to_others_are_dropped(self) -> None:
        """A response is taken if its sent-by is the bound or the advertised address, and dropped if not (18.1.2)."""
        layer, receiver = self.layer()
        at = await layer.listen(point(UDP, advertised_host="SIP.example.com", advertised_port=5060))
        client = self.datagrams()
        for sent_by in ("sip.example.com", "sip.example.com:5060", f"127.0.0.1:{at.port}"):
            client.send(response_octets(sent_by), at)
        for sent_by in ("192.0.2.1:5060", "sip.example.com:5061", "127.0.0.1"):
            client.send(response_octets(sent_by), at)
        await self.until(lambda: layer.incidents.counts["stray-response"] == 3)
        self.assertEqual(len(receiver.messages), 3)

    async def test_defective_response_is_dropped(self) -> None:
        """A response without Call-ID is dropped without an answer."""
        layer, receiver, at = await self.endpoint(UDP)
        client = self.datagrams()
        client.send(response_octets(at.sent_by).replace(b"Call-ID", b"X-Call-ID"), at)
        await self.until(lambda: layer.incidents.counts["malformed"])
        self.assertEqual((receiver.messages, client.received), ([], []))


class RefusalTests(LoopbackTestCase):
    """Requests that cannot be handled are answered without a transaction."""

    async def test_answers(self) -> None:
        """Each fault has its status, a phrase, and a To tag that is the same for each copy."""
        layer, receiver, at = await self.endpoint(UDP)
        client = self.datagrams()
        good = request_octets()
        for data, start in (
            (request_octets(without="Call-ID"), b"SIP/2.0 400 Call-ID is missing"),
            (request_octets(without="To"), b"SIP/2.0 400 To is missing"),
            (good.replace(b"CSeq: 1 OPTIONS", b"CSeq: 1 INVITE"), b"SIP/2.0 400 CSeq names another method"),
            (good.replace(b" SIP/2.0\r\nVia", b" SIP/7.0\r\nVia"), b"SIP/2.0 505 "),
        ):
            client.received.clear()
            client.send(data, at)
            client.send(data, at)
            await self.until(lambda: len(client.received) == 2)
            self.assertEqual(client.received[0], client.received[1])
            self.assertTrue(client.received[0][0].startswith(start), client.received[0][0])
            response = parse_datagram(client.received[0][0])
            if b"\r\nTo:" in data:
                self.assertTrue(response.to.tag)
        self.assertEqual(receiver.messages, [])
        self.assertEqual(layer.incidents.counts["refused"], 8)

    async def test_ack_is_never_answered(self) -> None:
        """A defective ACK is dropped."""
        layer, _, at = await self.endpoint(UDP)
        client = self.datagrams()
        client.send(request_octets(method="ACK", without="Call-ID"), at)
        await self.until(lambda: layer.incidents.counts["refused"])
        client.send(request_octets(without="Call-ID"), at)
        await self.until(lambda: client.received)
        self.assertEqual(len(client.received), 1)

    async def test_bounded_rate(self) -> None:
        """Beyond the bound defective requests are dropped, not answered."""
        layer, _, at = await self.endpoint(UDP, refusals_per_second=3)
        client = self.datagrams()
        for _ in range(30):
            client.send(request_octets(without="Call-ID"), at)
        await self.until(lambda: layer.incidents.counts["refused"] == 30)
        self.assertLess(len(client.received), 6)


class StreamTests(LoopbackTestCase):
    """TCP connections, both ways."""

    async def test_messages_and_keep_alives(self) -> None:
        """Messages split anywhere arrive on one flow, and CRLFCRLF is answered with CRLF (lessons 19, 20)."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        data = request_octets("SIP/2.0/TCP client.example.com;branch=z9hG4bK1")
        stream = b"\r\n\r\n" + data + b"\r\n" + data + b"\r\n\r\n"
        for start in range(0, len(stream), 50):
            peer.wire.write(stream[start : start + 50])
        await self.until(lambda: len(receiver.messages) == 2 and peer.data == b"\r\n\r\n")
        self.assertIs(receiver.messages[0][1], receiver.messages[1][1])
        self.assertEqual(layer.counters.keep_alives, 2)
        self.assertEqual(receiver.requests[0].via.received, "127.0.0.1")

    async def test_connects_by_itself(self) -> None:
        """What is sent on a flow that still connects arrives, in order, and the answer comes back on it."""
        layer, receiver, at = await self.endpoint(TCP)
        server, listening = self.server()
        flow = layer.flow_to(target(listening))
        self.assertTrue(flow.is_open)
        flow.send(b"one")
        flow.send(b"two")
        self.assertEqual(layer.counters.messages_sent, 0)
        await self.until(lambda: server.peers and server.peers[0].data == b"onetwo")
        self.assertEqual(layer.counters.messages_sent, 2)
        server.peers[0].wire.write(response_octets(at.sent_by, TCP))
        await self.until(lambda: receiver.messages)
        self.assertIs(receiver.messages[0][1], flow)
        self.assertEqual((flow.host, flow.port, flow.point), ("127.0.0.1", target(listening).port, at))

    async def test_connection_is_reused(self) -> None:
        """One address has one connection; when it has ended the next flow is a new one (RFC 5923, lesson 21)."""
        layer, receiver, _ = await self.endpoint(TCP)
        server, listening = self.server()
        flow = layer.flow_to(target(listening))
        self.assertIs(layer.flow_to(target(listening, name="other.example.com")), flow)
        self.assertIs(layer.find_flow(target(listening)), flow)
        await self.until(lambda: server.peers)
        server.peers[0].wire.loseConnection()
        await self.until(lambda: receiver.failures)
        self.assertFalse(flow.is_open)
        self.assertIn("the peer closed the connection", receiver.failures[0][1].reason)
        self.assertIs(layer.find_flow(target(listening)), None)
        self.assertIsNot(layer.flow_to(target(listening)), flow)

    async def test_accepted_connection_is_found(self) -> None:
        """A connection that came in is found, and reused, by the address and port of its peer."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        peer.wire.write(request_octets())
        await self.until(lambda: receiver.messages)
        flow = receiver.messages[0][1]
        back = Target(transport=TCP, host=flow.host, port=flow.port, server_name="phone.example.com")
        self.assertIs(layer.find_flow(back), flow)
        self.assertIs(layer.flow_to(back), flow)
        self.assertIs(layer.find_flow(Target(transport=TLS, host=flow.host, port=flow.port)), None)

    async def test_refused(self) -> None:
        """A refused connection is told once, later, as that; what is sent on the dead flow fails again."""
        layer, receiver, _ = await self.endpoint(TCP)
        flow = layer.flow_to(Target(transport=TCP, host="127.0.0.1", port=Ports().take()))
        flow.send(b"lost")
        self.assertEqual(receiver.failures, [])
        await self.until(lambda: receiver.failures)
        self.assertIsInstance(receiver.failures[0][1], ConnectionRefused)
        self.assertEqual((len(receiver.failures), flow.is_open, layer.connection_count), (1, False, 0))
        flow.send(b"lost too")
        self.assertEqual(len(receiver.failures), 1)
        await self.until(lambda: len(receiver.failures) == 2)
        self.assertIs(receiver.failures[1][0], flow)

    async def test_framing_lost(self) -> None:
        """A request whose length is in doubt is answered with 400, and the connection is closed."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        peer.wire.write(request_octets() + request_octets(without="Content-Length"))
        await self.until(lambda: peer.is_lost)
        self.assertEqual(len(receiver.messages), 1)
        self.assertTrue(peer.data.startswith(b"SIP/2.0 400 A message on a stream needs a Content-Length\r\n"))
        self.assertEqual(layer.incidents.counts["framing"], 1)
        await self.until(lambda: not layer.connection_count)

    async def test_framing_lost_in_a_response(self) -> None:
        """A response whose length is in doubt has no answer; the connection is closed all the same."""
        layer, receiver, at = await self.endpoint(TCP)
        peer = await self.connect(at)
        peer.wire.write(response_octets(at.sent_by, TCP).replace(b"Content-Length: 0", b"Content-Length: x"))
        await self.until(lambda: peer.is_lost)
        self.assertEqual((peer.data, receiver.messages, layer.incidents.counts["framing"]), (b"", [], 1))

    async def test_close(self) -> None:
        """`close` lets what is written arrive, and tells the receiver that the flow has ended."""
        layer, receiver, _ = await self.endpoint(TCP)
        server, listening = self.server()
        flow = layer.flow_to(target(listening))
        await self.until(lambda: server.peers)
        flow.send(b"x" * 500000)
        flow.close()
        flow.close()
        self.assertFalse(flow.is_open)
        await self.until(lambda: server.peers[0].is_lost)
        self.assertEqual(len(server.peers[0].data), 500000)
        self.assertIn("closed by this side", receiver.failures[0][1].reason)


class ChoiceTests(LoopbackTestCase):
    """Which listening point speaks for a target."""

    async def test_by_transport_and_family(self) -> None:
        """The point has the transport and the address family of the target; without one the reason says what lacks."""
        layer, _ = self.layer()
        points = [await layer.listen(point(t, host=h)) for t in (UDP, TCP) for h in ("127.0.0.1", "::1")]
        for at in points:
            self.assertEqual(layer.flow_to(target(at)).point, at)
        with self.assertRaises(TransportError) as caught:
            layer.flow_to(target(points[0], TLS))
        self.assertIn("No listening point speaks TLS over IPv4", caught.exception.reason)

    async def test_loopback(self) -> None:
        """A loopback target is reached from a loopback point, another one from a point that can reach it."""
        layer, _ = self.layer()
        loopback = await layer.listen(point(UDP))
        wildcard = await layer.listen(point(UDP, host="0.0.0.0", advertised_host="192.0.2.1"))
        outside = Target(transport=UDP, host="192.0.2.99", port=5060)
        self.assertEqual(layer.flow_to(target(loopback)).point, loopback)
        self.assertEqual(layer.flow_to(outside).point, wildcard)

    async def test_last_resort(self) -> None:
        """Where no point can reach the target the first of its kind is tried, and fails as a flow does."""
        layer, receiver, loopback = await self.endpoint(UDP)
        flow = layer.flow_to(Target(transport=UDP, host="192.0.2.99", port=5060))
        self.assertEqual(flow.point, loopback)
        flow.send(request_octets())
        await self.until(lambda: receiver.failures)
        self.assertEqual(receiver.failures[0][0], flow)
        self.assertIn("UDP 192.0.2.99:5060: ", receiver.failures[0][1].reason)

    async def test_source_address(self) -> None:
        """A connection leaves from the address of its listening point, and from an ephemeral port."""
        layer, _ = self.layer()
        at = await layer.listen(point(TCP, host="127.0.0.2"))
        server, listening = self.server()
        layer.flow_to(target(listening))
        await self.until(lambda: server.peers)
        source = server.peers[0].wire.getPeer()
        self.assertEqual(source.host, "127.0.0.2")
        self.assertNotEqual(source.port, at.port)


class ObserverTests(LoopbackTestCase):
    """The tap, and the nets."""

    async def test_observers_see_both_ways(self) -> None:
        """Each message is seen as it is on the wire, received and sent, also what is malformed; noise is not."""
        for transport in (UDP, TCP):
            layer, receiver, at = await self.endpoint(transport)
            observer = Observer()
            layer.observers = (observer,)
            receiver.answer(layer)
            other, answers, _ = await self.endpoint(transport)
            flow = other.flow_to(target(at))
            data = request_octets(f"SIP/2.0/{transport.value} {flow.point.sent_by};branch=z9hG4bK1")
            flow.send(data)
            await self.until(partial(answers.has, 1))
            self.assertEqual(
                [(seen[0][:7], seen[2]) for seen in observer.seen], [(b"OPTIONS", False), (b"SIP/2.0", True)]
            )
            self.assertEqual(observer.seen[0][0], data)
            self.assertEqual(observer.seen[1][0], answers.messages[0][0].to_bytes())

    async def test_bugs_above_are_caught(self) -> None:
        """A receiver or an observer that raises is logged; the next message is handled."""
        layer, receiver, at = await self.endpoint(UDP)

        class Broken(Observer):
            def message_seen(self, data: bytes, flow: IFlow, *, sent: bool) -> None:
                raise ZeroDivisionError

        def break_down(message: object, flow: IFlow) -> None:
            raise ZeroDivisionError

        layer.observers = (Broken(),)
        receiver.reaction = break_down
        client = self.datagrams()
        client.send(request_octets(), at)
        client.send(request_octets(), at)
        await self.until(lambda: len(receiver.messages) == 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 4)
        self.assertEqual(layer.incidents.counts["bug"], 4)

    async def test_bug_in_handling_a_failure(self) -> None:
        """A receiver that raises when a flow fails is logged, and the connection is forgotten all the same."""
        layer, receiver, at = await self.endpoint(TCP)

        class Broken(Receiver):
            def flow_failed(self, flow: IFlow, error: TransportError) -> None:
                raise ZeroDivisionError

        layer.receiver = Broken()
        peer = await self.connect(at)
        await self.until(lambda: layer.connection_count)
        peer.wire.loseConnection()
        await self.until(lambda: not layer.connection_count)
        self.assertEqual((len(self.flushLoggedErrors(ZeroDivisionError)), receiver.failures), (1, []))
