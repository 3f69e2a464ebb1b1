"""Tests of `sipd.transport.ws` as a client, and of both sides with TLS on real sockets."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ConfigurationError, TransportError
from sipd.interfaces import IFlow, ListeningPoint
from sipd.sip.locate import Target
from sipd.transport.tls import ClientVerification, TlsSettings
from sipd.transport.upgrade import Refusal, WebSocketSettings, find_refusal
from tests.transport.certificates import Authority
from tests.transport.support import TLS, LoopbackTestCase, RawClient, RawPeer, RawServer, point, reactor, request_octets
from tests.transport.websockets import (
    CLIENT,
    CLOSE,
    PING,
    PONG,
    SERVER,
    WS,
    WSS,
    SimulatedWebSockets,
    frame,
    read_frames,
    upgrade_request,
    upgrade_response,
)

MESSAGE = request_octets(f"SIP/2.0/WS {CLIENT}:5066;branch=z9hG4bK1;rport")


class ClientTests(SimulatedWebSockets):
    """A layer that connects to a server written by hand."""

    def setUp(self) -> None:
        """Listen on both hosts."""
        super().setUp()
        self.servers = RawServer()
        self.server_host.listenTCP(80, self.servers, interface=SERVER)

    def client(self, settings: WebSocketSettings | None = None, **limits: Any) -> IFlow:
        """Give a flow to the server, on which a message waits to be sent."""
        self.layer, self.receiver = self.make_layer(self.client_host, **limits)
        self.successResultOf(self.layer.listen(point(WS, CLIENT, 5066), websocket=settings))
        flow = self.layer.flow_to(Target(transport=WS, host=SERVER, port=80, server_name="sip.example.com"))
        flow.send(MESSAGE)
        self.clock.advance(0.1)
        return flow

    @property
    def peer(self) -> RawPeer:
        """The server's end of the latest connection."""
        return self.servers.peers[-1]

    def test_request(self) -> None:
        """It asks for SIP at the path and host that it was told."""
        self.client(WebSocketSettings(path="/sip"))
        lines = self.peer.data.split(b"\r\n")
        self.assertEqual(lines[0], b"GET /sip HTTP/1.1")
        for line in (b"Host: sip.example.com", b"Sec-WebSocket-Protocol: sip", b"Upgrade: websocket"):
            self.assertIn(line.lower(), [one.lower() for one in lines])
        self.assertNotIn(b"extensions", self.peer.data.lower())

    def test_messages(self) -> None:
        """What waited is sent, masked with a key of its own each; frames that come with the answer are read."""
        flow = self.client()
        self.assertTrue(self.peer.data.startswith(b"GET / HTTP/1.1\r\n"))
        head = self.peer.data
        self.send(self.peer, upgrade_response(head) + frame(request_octets("SIP/2.0/WS x;branch=1"), mask=b""))
        self.assertEqual(len(self.receiver.requests), 1)
        flow.send(MESSAGE)
        self.clock.advance(0.1)
        octets = self.peer.data[len(head) :]
        self.assertEqual(read_frames(octets), [(1, True, MESSAGE, True)] * 2)
        self.assertNotEqual(octets[4:8], octets[len(octets) // 2 + 4 : len(octets) // 2 + 8])
        self.assertEqual(read_frames(self.send(self.peer, frame(b"a", PING, mask=b""))), [(PONG, True, b"a", True)])
        self.assertIs(self.layer.flow_to(Target(transport=WS, host=SERVER, port=80)), flow)

    def test_every_border(self) -> None:
        """The answer and the frames behind it may be split anywhere."""
        self.client()
        answer = upgrade_response(self.peer.data)
        for border in range(1, len(answer)):
            self.layer.flow_to(Target(transport=WS, host=SERVER, port=80)).send(MESSAGE)
            self.clock.advance(0.1)
            answer = upgrade_response(self.peer.data) + frame(request_octets("SIP/2.0/WS x;branch=1"), mask=b"")
            self.send(self.peer, answer[:border], 0.01)
            self.send(self.peer, answer[border:], 0.01)
            self.peer.wire.abortConnection()
            self.clock.advance(0.01)
        self.assertEqual(len(self.receiver.requests), border)

    def failed(self, answer: bytes) -> str:
        """Give why there is no WebSocket after that answer."""
        self.client()
        self.send(self.peer, answer.replace(b"KEY", self.peer.data))
        (failure,) = self.receiver.failures
        self.assertIsInstance(failure[1], TransportError)
        self.assertFalse(failure[0].is_open)
        self.assertTrue(self.peer.is_lost)
        self.successResultOf(self.layer.close())
        return failure[1].reason

    def test_refused(self) -> None:
        """What is no WebSocket with SIP is an error of the transport, at once."""
        for answer, reason in (
            (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nbye!", "refused the WebSocket: 403"),
            (b"HTTP/1.1 503 x\r\n\r\n", "refused the WebSocket: 503"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", "refused the WebSocket: 100"),
            (b"SIP/2.0 400 Bad Request\r\n\r\n", "is no WebSocket"),
            (b"\0\1\2\r\n\r\n", "is no WebSocket"),
            (b"x" * 20000, "is no WebSocket"),
            (upgrade_response(upgrade_request()), "is no WebSocket: Bad accept token"),
        ):
            self.assertIn(reason, self.failed(answer))
        for changes, reason in (
            ({"protocol": None}, "does not speak SIP"),
            ({"protocol": "chat"}, "is no WebSocket"),
            ({"protocol": "s\u00efp"}, "is no WebSocket"),
            ({"Upgrade": "h2c"}, "is no WebSocket"),
            ({"Connection": "close"}, "is no WebSocket"),
            ({"Sec_WebSocket_Extensions": "permessage-deflate"}, "is no WebSocket"),
        ):
            self.client()
            self.send(self.peer, upgrade_response(self.peer.data, **changes))
            self.assertIn(reason, self.receiver.failures[0][1].reason)
            self.assertTrue(self.peer.is_lost)
            self.successResultOf(self.layer.close())

    def test_name_that_cannot_be_asked_for(self) -> None:
        """A host that HTTP cannot say is an error of the transport, too."""
        self.layer, self.receiver = self.make_layer(self.client_host)
        self.successResultOf(self.layer.listen(point(WS, CLIENT, 5066)))
        self.layer.flow_to(Target(transport=WS, host=SERVER, port=80, server_name="a..b")).send(MESSAGE)
        self.clock.advance(0.1)
        self.assertIn("cannot be asked for", self.receiver.failures[0][1].reason)

    def test_silence(self) -> None:
        """A server that does not answer has `connect_timeout`."""
        self.client(connect_timeout=4.0)
        self.clock.advance(5.0)
        self.assertIn("no WebSocket in time", self.receiver.failures[0][1].reason)

    def test_we_close(self) -> None:
        """A client closes with 1000, and the connection ends with the server's close frame."""
        flow = self.client()
        head = self.peer.data
        self.send(self.peer, upgrade_response(head))
        flow.close()
        self.clock.advance(0.1)
        self.assertEqual(read_frames(self.peer.data[len(head) :])[-1], (CLOSE, True, b"\x03\xe8", True))
        self.send(self.peer, frame(b"\x03\xe8", CLOSE, mask=b""))
        self.assertTrue(self.peer.is_lost)

    def test_masked_frames(self) -> None:
        """A server does not mask: a frame that is masked ends the WebSocket."""
        self.client()
        head = self.peer.data
        self.send(self.peer, upgrade_response(head))
        self.send(self.peer, frame(MESSAGE))
        self.assertEqual(read_frames(self.peer.data[len(head) :])[-1][:3], (CLOSE, True, b"\x03\xea"))
        self.assertTrue(self.peer.is_lost)


class SettingsTests(SynchronousTestCase):
    """What a listening point for WebSocket is told."""

    def test_mistakes(self) -> None:
        """All that is wrong is named."""
        error = self.assertRaises(
            ConfigurationError, WebSocketSettings, path="sip", origins=("example.com", "https://a")
        )
        self.assertEqual(len(error.problems), 2)

    def test_first_reason(self) -> None:
        """The method comes first; nothing is asked of who may come."""
        refusal = find_refusal(WebSocketSettings(), b"PUT", b"/", [])
        assert isinstance(refusal, Refusal)
        self.assertIn(b"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n", refusal.to_bytes())


class LoopbackTests(LoopbackTestCase):
    """Two layers over real sockets."""

    def setUp(self) -> None:
        """Make an authority, and settings for a server."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.authority = Authority(folder)
        self.trust = (self.authority.path,)

    def tls(self, *names: str, **changes: Any) -> TlsSettings:
        """Give settings with a certificate for these names."""
        certificate, key = self.authority.sign(names)
        return TlsSettings(certificate=certificate, key=key, authorities=self.trust, **changes)

    def target(self, at: ListeningPoint, name: str) -> Target:
        """Give the target that leads to a listening point by a name."""
        return Target(transport=at.transport, host=at.host, port=at.port, server_name=name)

    async def test_plain(self) -> None:
        """Requests and responses of any size, in both directions over one connection."""
        _, theirs, at = await self.endpoint(WS)
        layer, receiver, _ = await self.endpoint(WS)
        flow = layer.flow_to(self.target(at, "sip.example.com"))
        body = b"x" * 60_000
        kind = ("Content-Type: text/plain",)
        for _ in range(10):
            flow.send(request_octets("SIP/2.0/WS a.invalid;branch=1", method="MESSAGE", extra=kind, body=body))
        await self.until(lambda: theirs.has(10))
        self.assertEqual({request.body for request in theirs.requests}, {body})
        theirs.messages[0][1].send(request_octets("SIP/2.0/WS b.invalid;branch=1"))
        await self.until(lambda: receiver.has(1))
        await layer.close()
        await self.until(lambda: theirs.failures)
        self.assertIn("the peer closed the connection", str(theirs.failures[0][1]))

    async def test_secure(self) -> None:
        """The certificate has to be for the host of the URI; the names of a client that shows one are known."""
        server = self.tls("sip.example.com", client_verification=ClientVerification.REQUIRED)
        _, theirs, at = await self.endpoint(WSS, server)
        layer, receiver, _ = await self.endpoint(WSS, self.tls("client.example.com"))
        flow = layer.flow_to(self.target(at, "sip.example.com"))
        flow.send(request_octets("SIP/2.0/WSS a.invalid;branch=1"))
        await self.until(lambda: theirs.has(1))
        self.assertTrue(theirs.messages[0][1].transport.is_secure)
        self.assertEqual(getattr(theirs.messages[0][1], "peer_names"), ("client.example.com",))  # noqa: B009
        other = layer.flow_to(self.target(at, "other.example.com"))
        self.assertIsNot(other, flow)
        other.send(request_octets())
        await self.until(lambda: receiver.failures)
        self.assertIn("not for other.example.com", str(receiver.failures[0][1]))

    async def test_no_http_inside_of_tls(self) -> None:
        """A client of TLS that asks for no WebSocket is refused, and its connection ends."""
        layer, _, at = await self.endpoint(WSS, self.tls("sip.example.com"))
        client, receiver = self.layer()
        tls = await client.listen(point(TLS), self.tls("a.example.com"))
        self.assertTrue(tls.port)
        wrong = Target(transport=tls.transport, host=at.host, port=at.port, server_name="sip.example.com")
        client.flow_to(wrong).send(request_octets())
        await self.until(lambda: receiver.failures)
        self.assertEqual(layer.incidents.counts["websocket"], 1)

    async def test_slow_handshake(self) -> None:
        """Who connects and says nothing is disconnected in time, TLS or not."""
        for transport in (WS, WSS):
            tls = self.tls("sip.example.com") if transport is WSS else None
            layer, _, at = await self.endpoint(transport, tls, handshake_timeout=0.05)
            factory = RawClient()
            reactor.connectTCP(at.host, at.port, factory)
            await self.until(partial(getattr, factory.peer, "is_lost"))
            self.assertEqual(layer.incidents.counts["handshake-timeout"], 1)

    async def test_without_wsproto(self) -> None:
        """Where the package is missing, the listening point says which."""
        from sipd.transport import ws

        package = sys.modules["sipd.transport"]
        self.addCleanup(setattr, package, "ws", ws)
        for name in ("wsproto", "sipd.transport.ws"):
            self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
        del sys.modules["sipd.transport.ws"], package.ws
        sys.modules["wsproto"] = None  # type: ignore[assignment]
        layer, _ = self.layer()
        with self.assertRaises(ConfigurationError) as caught:
            await layer.listen(point(WS))
        self.assertEqual(caught.exception.problems, ["ws: WS needs the package wsproto: pip install 'sipd[ws]'"])
