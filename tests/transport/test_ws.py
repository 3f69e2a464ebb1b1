"""Tests of `sipd.transport.ws`: the server on a simulated network, with peers that are good, odd and hostile."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sipd.errors import TransportError
from sipd.sip.locate import Target
from sipd.transport.upgrade import WebSocketSettings
from sipd.transport.ws import MAX_FRAMES_PER_TURN
from tests.transport.support import RawPeer
from tests.transport.websockets import (
    BINARY,
    CLIENT,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    SERVER,
    WS,
    Frame,
    SimulatedWebSockets,
    frame,
    read_frames,
    upgrade_request,
)


def close_code(frames: list[Frame]) -> int:
    """Give the code of the close frame that came last."""
    opcode, _, payload, _ = frames[-1]
    assert opcode == CLOSE
    return int(struct.unpack("!H", payload[:2])[0])


class UpgradeTests(SimulatedWebSockets):
    """From HTTP to a WebSocket with SIP (RFC 6455 section 4.2, RFC 7118 section 4)."""

    def test_browser(self) -> None:
        """The subprotocol is `sip` whatever else is offered, and no extension is taken."""
        self.serve()
        peer = self.connect()
        answer = self.send(peer, upgrade_request()).lower()
        self.assertTrue(answer.startswith(b"http/1.1 101 "))
        self.assertIn(b"\r\nsec-websocket-protocol: sip\r\n", answer)
        self.assertNotIn(b"extensions", answer)

    def test_every_border(self) -> None:
        """A request and the frames behind it may be split anywhere."""
        self.serve()
        whole = upgrade_request() + frame(self.request())
        for border in range(1, len(whole)):
            peer = self.connect()
            self.send(peer, whole[:border], 0.01)
            self.send(peer, whole[border:], 0.01)
            peer.wire.abortConnection()
            self.clock.advance(0.01)
        self.assertEqual(len(self.receiver.requests), len(whole) - 1)

    def test_octet_by_octet(self) -> None:
        """They may even come in single octets."""
        self.serve()
        peer = self.connect()
        for octet in upgrade_request() + frame(self.request()):
            self.send(peer, bytes([octet]), 0.001)
        self.clock.advance(0.1)
        self.assertEqual(len(self.receiver.requests), 1)

    def refused(self, request: bytes) -> str:
        """Give the status with which a request is refused; the connection is closed then, and nothing comes up."""
        peer = self.connect()
        answer = self.send(peer, request).decode()
        self.assertTrue(peer.is_lost, request)
        self.assertIn("\r\nConnection: close\r\n", answer)
        self.assertEqual(self.layer.connection_count, 0)
        return answer.split(" ")[1]

    def test_refusals(self) -> None:
        """What asks for something else is told so."""
        self.serve(WebSocketSettings(path="/sip", origins=("https://phone.example.com",)))
        for status, request in (
            ("426", upgrade_request(Upgrade=None, Connection=None)),
            ("426", upgrade_request(Upgrade="h2c")),
            ("426", upgrade_request(Connection="keep-alive")),
            ("426", upgrade_request(Sec_WebSocket_Version="8")),
            ("426", upgrade_request(Sec_WebSocket_Version=None)),
            ("400", upgrade_request(Sec_WebSocket_Protocol=None)),
            ("400", upgrade_request(Sec_WebSocket_Protocol="chat")),
            ("400", upgrade_request(Sec_WebSocket_Protocol="s\xefp")),
            ("400", upgrade_request(Sec_WebSocket_Key=None)),
            ("400", upgrade_request(Sec_WebSocket_Key="c2hvcnQ=")),
            ("400", upgrade_request(Sec_WebSocket_Key="\xff!")),
            ("400", upgrade_request(Host=None)),
            ("400", upgrade_request(Host="xn--\xff")),
            ("400", upgrade_request(Content_Length="5") + b"hello"),
            ("400", upgrade_request(Transfer_Encoding="chunked")),
            ("403", upgrade_request(Origin="https://evil.example.com")),
            ("403", upgrade_request(Origin="null")),
            ("403", upgrade_request(Origin="https://phone.example.com, https://evil.example.com")),
            ("404", upgrade_request("GET / HTTP/1.1")),
            ("404", upgrade_request("GET /sip/x?/sip HTTP/1.1")),
            ("405", upgrade_request("POST /sip HTTP/1.1", Content_Length="0")),
            ("400", self.request()),
            ("400", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
            ("400", b"GET\r\n\r\n"),
            ("431", upgrade_request(Cookie="x" * 20000)[:-2]),
        ):
            self.assertEqual(self.refused(request), status, request[:300])
        self.assertEqual(self.layer.incidents.counts["websocket"], 25)
        self.assertEqual(self.receiver.messages, [])

    def test_what_is_taken_with_settings(self) -> None:
        """The path may have a query, origins are compared in any case, and who is no browser has none."""
        self.serve(WebSocketSettings(path="/sip", origins=("https://Phone.example.com/",)))
        for request in (
            upgrade_request("GET /sip?token=1 HTTP/1.1"),
            upgrade_request(Origin="HTTPS://phone.EXAMPLE.com"),
            upgrade_request(Origin=None),
        ):
            self.assertTrue(self.send(self.connect(), request).startswith(b"HTTP/1.1 101 "))

    def test_slow_loris(self) -> None:
        """Who has not asked within `handshake_timeout` is disconnected, however busily it writes."""
        self.serve(handshake_timeout=5.0)
        silent, slow = self.connect(), self.connect()
        for octet in upgrade_request()[:60]:
            if not slow.is_lost:
                self.send(slow, bytes([octet]), 0.1)
        self.assertTrue(silent.is_lost and slow.is_lost)
        self.assertEqual(self.layer.incidents.counts["handshake-timeout"], 2)

    def test_bounds_of_connections(self) -> None:
        """Connections that are not upgraded yet count for the bound of their source."""
        self.serve(max_connections_per_source=2)
        peers = [self.connect() for _ in range(3)]
        self.assertEqual([peer.is_lost for peer in peers], [False, False, True])

    @settings(max_examples=200, deadline=None)
    @given(st.integers(0, 400), st.binary(max_size=4), st.integers(0, 3))
    def test_mangled(self, place: int, junk: bytes, cut: int) -> None:
        """Whatever a request looks like, it is answered, or waited for; nothing else happens."""
        self.setUp()
        self.serve()
        request = upgrade_request()
        peer = self.connect()
        self.send(peer, request[:place] + junk + request[place + cut :])
        self.assertIn(peer.data[:9], (b"", b"HTTP/1.1 "))
        self.check_nothing_is_left()
        self.layers = []


class MessageTests(SimulatedWebSockets):
    """One SIP message in each WebSocket message (RFC 7118 section 5)."""

    def setUp(self) -> None:
        """Serve, and open a WebSocket."""
        super().setUp()
        self.serve(max_head_octets=4096, max_body_octets=4096, message_timeout=30.0, idle_timeout=100.0)
        self.peer = self.upgraded()

    def exchange(self, data: bytes, seconds: float = 0.1) -> list[Frame]:
        """Send octets, and give the frames that come back."""
        return read_frames(self.send(self.peer, data, seconds))

    def test_request_and_response(self) -> None:
        """A request says where it came from, and its response goes back as text, unmasked."""
        self.receiver.answer(self.layer)
        ((opcode, fin, payload, masked),) = self.exchange(frame(self.request()))
        self.assertEqual((opcode, fin, masked), (1, True, False))
        self.assertTrue(payload.startswith(b"SIP/2.0 200 OK\r\n"))
        (request,) = self.receiver.requests
        self.assertEqual((request.via.transport, request.via.host), ("WS", "df7jal23ls0d.invalid"))
        self.assertEqual(request.via.received, CLIENT)

    def test_binary(self) -> None:
        """A message may come in a binary frame, and goes in one where it is no UTF-8."""
        self.receiver.answer(self.layer)
        self.assertEqual(self.exchange(frame(self.request(), BINARY))[0][0], 1)
        self.receiver.messages[0][1].send(b"OPTIONS sip:\xff SIP/2.0\r\n\r\n")
        self.clock.advance(0.1)
        self.assertEqual(
            read_frames(self.peer.data.partition(b"\r\n\r\n")[2])[-1][:3:2], (2, b"OPTIONS sip:\xff SIP/2.0\r\n\r\n")
        )

    def test_fragments(self) -> None:
        """Fragments are put together, with control frames between them, split anywhere, also within a character."""
        message = self.request(extra=('Subject: "\u00e4\u00f6\u00fc"',))
        border = message.index("\u00e4".encode()) + 1
        self.exchange(frame(message[:border], fin=False))
        self.assertEqual(self.exchange(frame(b"?", PING)), [(PONG, True, b"?", False)])
        self.exchange(frame(b"", CONTINUATION, fin=False))
        self.assertEqual(self.receiver.messages, [])
        self.exchange(frame(message[border:], CONTINUATION))
        self.assertEqual(self.receiver.requests[0].headers.get("Subject"), '"\u00e4\u00f6\u00fc"')

    def test_several_at_once(self) -> None:
        """Frames that come together are taken one after the other."""
        self.exchange(frame(self.request()) * 3 + frame(b"x" * 125, PING))
        self.assertEqual(len(self.receiver.requests), 3)

    def test_without_content_length(self) -> None:
        """The end of the message is the end of its body; what Content-Length leaves over is thrown away."""
        self.exchange(
            frame(self.request(method="MESSAGE", extra=("Content-Type: text/plain",), without="Content-L") + b"hi")
        )
        self.exchange(frame(self.request(method="MESSAGE", extra=("Content-Type: text/plain",), body=b"hi") + b"junk"))
        self.assertEqual([request.body for request in self.receiver.requests], [b"hi", b"hi"])

    def test_keep_alives(self) -> None:
        """CRLFCRLF is answered with CRLF, a lone CRLF and a pong with nothing, a ping with its pong."""
        self.assertEqual(self.exchange(frame(b"\r\n\r\n")), [(1, True, b"\r\n", False)])
        self.assertEqual(self.exchange(frame(b"\r\n") + frame(b"", PONG)), [])
        self.assertEqual(self.exchange(frame(b"a", PING) + frame(b"b", PING)), [(PONG, True, b"b", False)])
        self.assertEqual(self.receiver.messages, [])
        self.assertEqual(self.layer.counters.keep_alives, 3)

    def test_ping_of_ours(self) -> None:
        """What the layers above send as CRLFCRLF goes out as a ping, which every browser answers by itself."""
        self.exchange(frame(self.request()))
        before = len(self.peer.data)
        self.receiver.messages[0][1].send(b"\r\n\r\n")
        self.clock.advance(0.1)
        self.assertEqual(read_frames(self.peer.data[before:]), [(PING, True, b"", False)])

    def test_defects_are_answered(self) -> None:
        """A message that cannot be handled gets its response, and costs the connection nothing."""
        ((_, _, payload, _),) = self.exchange(frame(self.request(without="Call-ID")))
        self.assertTrue(payload.startswith(b"SIP/2.0 400 "))
        self.assertEqual(self.exchange(frame(b"junk, and more junk")), [])
        self.exchange(frame(self.request()))
        self.assertEqual(len(self.receiver.requests), 1)

    def test_idle_and_slow(self) -> None:
        """A peer that is silent, or does not come to the end of a message, is disconnected; pings change nothing."""
        slow, other = self.upgraded(), self.upgraded()
        for peer in (slow, other):
            self.send(peer, frame(self.request()))
        self.send(slow, frame(self.request()[:50], fin=False))
        for _ in range(4):
            self.send(slow, frame(b"", PING), 8.0)
        self.assertTrue(slow.is_lost)
        self.assertEqual(self.layer.incidents.counts["slow-message"], 2)
        self.clock.advance(60.0)
        self.assertFalse(other.is_lost)
        self.clock.advance(20.0)
        self.assertTrue(other.is_lost)

    def test_header_that_never_ends(self) -> None:
        """The header of a frame has to be whole as soon as a message has."""
        self.exchange(frame(self.request()))
        self.exchange(frame(b"x" * 200)[:3])
        self.clock.advance(31.0)
        self.assertEqual(self.layer.incidents.counts["slow-message"], 1)
        self.assertTrue(self.peer.is_lost)


class BrokenRulesTests(SimulatedWebSockets):
    """Who breaks the rules of RFC 6455 is told which, and disconnected."""

    def broken(self, data: bytes, **limits: Any) -> list[Frame]:
        """Give the frames with which a WebSocket ends."""
        self.serve(**limits)
        peer = self.upgraded()
        answer = self.send(peer, data)
        self.assertTrue(peer.is_lost)
        self.assertEqual(self.layer.connection_count, 0)
        self.assertEqual(self.layer.incidents.counts["framing"], 1)
        self.successResultOf(self.layer.close())
        return read_frames(answer)

    def test_framing(self) -> None:
        """Each error has its code (section 7.4.1)."""
        for code, data in (
            (1002, frame(self.request(), mask=b"")),
            (1002, frame(b"x", rsv=0x40)),
            (1002, frame(b"x", 3)),
            (1002, frame(b"x", 11)),
            (1002, frame(b"x", CONTINUATION)),
            (1002, frame(b"x", fin=False) + frame(b"y")),
            (1002, frame(b"x", PING, fin=False)),
            (1002, frame(b"x" * 126, PING)),
            (1002, frame(b"x", CLOSE)),
            (1002, frame(b"\x03\xed", CLOSE)),
            (1002, b"\x81\xfe\x00\x01\0\0\0\0x"),
            (1002, b"\x81\xff" + b"\xff" * 8),
            (1007, frame(b"\xff\xfe")),
            (1007, frame(b"\x03\xe8\xff", CLOSE)),
        ):
            self.assertEqual(close_code(self.broken(data)), code, data[:20])

    def test_too_many_frames_at_once(self) -> None:
        """Pings and empty fragments, which cost more to read than to send, are not read without end."""
        fragments = frame(b"", fin=False) + frame(b"", CONTINUATION, fin=False) * MAX_FRAMES_PER_TURN
        self.serve()
        for data in (frame(b"", PING) * (MAX_FRAMES_PER_TURN + 1), fragments):
            peer = self.upgraded()
            before = len(peer.data)
            (connection,) = self.server_host.connections
            connection._received(data, (CLIENT, 1), (SERVER, 80))
            self.clock.advance(0.1)
            self.assertEqual(close_code(read_frames(peer.data[before:])), 1008)
            self.assertTrue(peer.is_lost)

    def test_too_large(self) -> None:
        """Head and body have the bounds of the layer; where the head is there, it is answered first."""
        limits = {"max_head_octets": 1000, "max_body_octets": 1000}
        kind = ("Content-Type: text/plain",)
        frames = self.broken(frame(self.request(method="MESSAGE", extra=kind, body=b"x" * 1001)), **limits)
        self.assertTrue(frames[0][2].startswith(b"SIP/2.0 513 "))
        self.assertEqual(close_code(frames), 1009)
        for data in (
            frame(self.request(extra=("Subject: " + "x" * 1000,))),
            frame(b"x" * 1001),
            frame(b"x" * 1500, fin=False) + frame(b"x" * 501, CONTINUATION, fin=False),
            b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0" + b"x" * 2001,
        ):
            frames = self.broken(data, **limits)
            self.assertEqual((len(frames), close_code(frames)), (1, 1009))
        body = self.request(method="MESSAGE", extra=kind, body=b"x" * 3000)
        frames = self.broken(frame(body, fin=False), **limits)
        self.assertTrue(frames[0][2].startswith(b"SIP/2.0 513 "))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.binary(max_size=40), max_size=10))
    def test_noise(self, pieces: list[bytes]) -> None:
        """Whatever comes, it is read as frames or ends the connection; nothing else happens."""
        self.setUp()
        self.serve()
        peer = self.upgraded()
        for piece in pieces:
            if not peer.is_lost:
                self.send(peer, piece, 0.01)
        self.check_nothing_is_left()
        self.layers = []


class EndTests(SimulatedWebSockets):
    """How a WebSocket ends (RFC 6455 section 7)."""

    def setUp(self) -> None:
        """Serve, open a WebSocket, and get its flow."""
        super().setUp()
        self.serve(close_timeout=2.0, max_queue_octets=100_000, stall_timeout=30.0)
        self.peer = self.upgraded()
        self.send(self.peer, frame(self.request()))
        self.flow = self.receiver.messages[0][1]

    def frames(self, peer: RawPeer) -> list[Frame]:
        """Give the frames that came behind the HTTP response."""
        return read_frames(peer.data.partition(b"\r\n\r\n")[2])

    def test_peer_closes(self) -> None:
        """The close frame is answered, the connection ends, and what is sent from then on fails."""
        self.peer.wire.write(frame(b"\x03\xe8bye", CLOSE) + frame(self.request()))
        self.clock.advance(0.1)
        self.assertEqual(close_code(self.frames(self.peer)), 1000)
        self.assertTrue(self.peer.is_lost)
        self.assertFalse(self.flow.is_open)
        ((flow, error),) = self.receiver.failures
        self.assertIs(flow, self.flow)
        self.assertIn("the peer closed the connection", str(error))
        self.assertEqual(len(self.receiver.messages), 1)

    def test_we_close(self) -> None:
        """The connection ends with the peer's close frame; messages before that are not looked at any more."""
        self.flow.close()
        self.clock.advance(0.1)
        self.assertEqual(close_code(self.frames(self.peer)), 1001)
        self.assertFalse(self.peer.is_lost)
        self.send(self.peer, frame(self.request()) + frame(b"", PING))
        self.assertFalse(self.peer.is_lost)
        self.send(self.peer, frame(b"\x03\xe9", CLOSE))
        self.assertTrue(self.peer.is_lost)
        self.assertEqual(len(self.receiver.messages), 1)
        self.assertEqual(self.layer.incidents.counts["close-timeout"], 0)

    def test_peer_does_not_answer(self) -> None:
        """It has `close_timeout` for it."""
        self.flow.close()
        self.clock.advance(3.0)
        self.assertTrue(self.peer.is_lost)
        self.assertEqual(self.layer.incidents.counts["close-timeout"], 1)

    def test_peer_that_vanishes(self) -> None:
        """Without a close frame it ends as well."""
        self.peer.wire.abortConnection()
        self.clock.advance(0.1)
        self.assertEqual(len(self.receiver.failures), 1)
        self.assertEqual(self.layer.connection_count, 0)

    def test_peer_that_does_not_read(self) -> None:
        """What waits for it is bounded; pings of its are not answered meanwhile."""
        self.peer.wire.pauseProducing()
        self.flow.send(b"OPTIONS sip:a@example.com SIP/2.0\r\n\r\n" + b"x" * 70_000)
        self.clock.advance(0.1)
        for _ in range(10):
            self.peer.wire.write(frame(b"x" * 100, PING) * 1000)
            self.clock.advance(0.1)
        self.assertLess(sum(end._queued_octets for end in self.server_host.connections), 80_000)
        self.flow.send(b"x" * 100_001)
        self.clock.advance(0.1)
        self.assertEqual(self.layer.incidents.counts["queue-full"], 1)
        self.assertFalse(self.flow.is_open)
        self.peer.wire.resumeProducing()

    def test_client_cannot_be_connected_to(self) -> None:
        """A response whose connection is gone is lost, and so is a request; nobody is connected to (RFC 7118 5)."""
        (request,) = self.receiver.requests
        self.peer.wire.abortConnection()
        self.clock.advance(0.1)
        self.layer.send_response(request.response(200), self.flow)
        self.clock.advance(0.1)
        self.assertIn("cannot be connected to", str(self.receiver.failures[-1][1]))
        self.assertEqual(self.layer.connection_count, 0)

    def test_found_by_its_address(self) -> None:
        """While it lasts, the connection is where the layers above find it: by the address that it came from."""
        target = Target(transport=WS, host=CLIENT, port=self.flow.port)
        self.assertIs(self.layer.find_flow(target), self.flow)
        self.assertIs(self.layer.flow_to(target), self.flow)
        self.assertEqual(str(self.flow), f"WS {CLIENT}:{self.flow.port}")
        self.assertRaises(TransportError, self.layer.flow_to, Target(transport=WS, host="2001:db8::1", port=80))
        self.assertEqual(self.layer.points[0].sent_by, f"{SERVER}:80")
