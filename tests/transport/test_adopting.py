"""Tests of sockets that the transport layer did not make, and of who is shown what cannot be read."""

from __future__ import annotations

import socket

from sipd.errors import ConfigurationError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import IFlow, ListeningPoint
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from sipd.transport.layer import TransportLayer
from tests.transport.support import TCP, UDP, LoopbackTestCase, point, request_octets, response_octets

#: A point that says what the socket says.
PLAIN = ListeningPoint(name="given", transport=UDP, host="", port=0, advertised_host="", advertised_port=0)


class AdoptTests(LoopbackTestCase):
    """Listening on a socket that is there already."""

    def made(
        self, kind: int = socket.SOCK_DGRAM, family: int = socket.AF_INET, host: str = "127.0.0.1"
    ) -> socket.socket:
        """Make a socket, and bind it."""
        made = socket.socket(family, kind)
        self.addCleanup(made.close)
        made.bind((host, 0))
        return made

    async def test_serves_on_it(self) -> None:
        """What comes to a socket that was bound elsewhere is received and answered; its first owner may close it."""
        layer, receiver = self.layer()
        receiver.answer(layer)
        made = self.made()
        opened = layer.adopt(made, PLAIN)
        self.assertEqual((opened.host, opened.port), made.getsockname())
        self.assertEqual(opened.sent_by, f"127.0.0.1:{opened.port}")
        made.close()
        peer = self.datagrams()
        peer.send(request_octets(), opened)
        await self.until(lambda: peer.received)
        self.assertTrue(peer.received[0][0].startswith(b"SIP/2.0 200 "))
        self.assertEqual(peer.received[0][1], ("127.0.0.1", opened.port))
        self.assertEqual(list(layer.points), [opened])

    async def test_ipv6(self) -> None:
        """The same over IPv6, and another address may be advertised."""
        layer, receiver = self.layer()
        receiver.answer(layer)
        made = self.made(family=socket.AF_INET6, host="::1")
        opened = layer.adopt(made, point(UDP, host="", advertised_host="2001:db8::1", advertised_port=5070))
        self.assertEqual((opened.host, opened.sent_by), ("::1", "[2001:db8::1]:5070"))
        peer = self.datagrams("::1")
        peer.send(request_octets(), opened)
        await self.until(lambda: peer.received)

    async def test_close_releases_it(self) -> None:
        """The port is free when the layer is closed and its first owner has closed his own."""
        layer, _ = self.layer()
        made = self.made()
        opened = layer.adopt(made, PLAIN)
        made.close()
        await layer.close()
        again = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(again.close)
        again.bind((opened.host, opened.port))

    def test_others_are_refused(self) -> None:
        """A socket of another kind, one that is closed, and a reactor that takes none are configuration errors."""
        layer, _ = self.layer()
        closed = self.made()
        closed.close()
        for made, wanted in (
            (self.made(socket.SOCK_STREAM), PLAIN),
            (self.made(), point(TCP)),
            (closed, PLAIN),
        ):
            self.assertRaises(ConfigurationError, layer.adopt, made, wanted)
        host = Network(SimulatedClock(), 1).host("192.0.2.1")
        simulated = TransportLayer(reactor=host)  # type: ignore[arg-type]
        self.assertRaises(ConfigurationError, simulated.adopt, self.made(), PLAIN)
        self.assertEqual((list(layer.points), list(simulated.points)), ([], []))


class ParseObserverTests(LoopbackTestCase):
    """Who is shown what cannot be read."""

    async def test_sees_what_cannot_be_read(self) -> None:
        """It is shown noise, defective requests and responses that match nothing, and what is wrong; nothing else."""
        layer, receiver, udp = await self.endpoint(UDP)
        seen: list[tuple[bytes, RemoteError]] = []
        layer.parse_observer = lambda data, flow, error: seen.append((data, error))
        peer = self.datagrams()
        messages = [
            b"hello\r\n\r\n",
            request_octets(without="Call-ID"),
            response_octets(udp.sent_by).replace(b"CSeq: 1 OPTIONS", b"CSeq: x"),
            request_octets(),
        ]
        for message in messages:
            peer.send(message, udp)
        await self.until(lambda: receiver.has(1))
        self.assertEqual([data for data, _ in seen], messages[:3])
        self.assertEqual([type(error) for _, error in seen], [ParseError, RequestRefusedError, ParseError])

    async def test_sees_the_head_of_what_has_no_end(self) -> None:
        """On a connection it is shown the head of a message whose length nobody can tell."""
        layer, _, tcp = await self.endpoint(TCP)
        seen: list[bytes] = []
        layer.parse_observer = lambda data, flow, error: seen.append(data)
        peer = await self.connect(tcp)
        peer.wire.write(request_octets().replace(b"Content-Length: 0", b"Content-Length: x"))
        await self.until(lambda: peer.is_lost)
        self.assertTrue(seen[0].startswith(b"OPTIONS "))

    async def test_disturbs_nobody(self) -> None:
        """One that fails is logged; the request is refused all the same."""
        layer, _, udp = await self.endpoint(UDP)

        def fail(data: bytes, flow: IFlow, error: RemoteError) -> None:
            raise RuntimeError("seen too much")

        layer.parse_observer = fail
        peer = self.datagrams()
        peer.send(request_octets(without="Call-ID"), udp)
        await self.until(lambda: peer.received)
        self.assertTrue(peer.received[0][0].startswith(b"SIP/2.0 400 "))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(layer.incidents.counts["bug"], 1)
