"""WebSockets by hand, for tests: requests, frames, and a server on a simulated network with a raw peer."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from sipd.interfaces import ListeningPoint
from sipd.sip.locate import Transport
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Host, Network
from sipd.transport.layer import TransportLayer, TransportReactor
from sipd.transport.limits import TransportLimits
from sipd.transport.upgrade import WebSocketSettings
from tests.transport.support import RawClient, RawPeer, Receiver, point, request_octets

WS, WSS = Transport.WS, Transport.WSS
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
SERVER, CLIENT = "192.0.2.1", "192.0.2.2"
_KEY = base64.b64encode(bytes(range(16))).decode()
#: What a browser's page writes into Via (RFC 7118 section 5.2.1).
VIA = "SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1"

#: A frame: opcode, whether it is the last of its message, payload, whether it was masked.
Frame = tuple[int, bool, bytes, bool]


def upgrade_request(start: str = "GET /sip HTTP/1.1", **changes: str | None) -> bytes:
    """Print what a browser sends; a changed field that is `None` is left off, and new ones are added."""
    fields: dict[str, str | None] = {
        "Host": "sip.example.com",
        "Upgrade": "websocket",
        "Connection": "keep-alive, Upgrade",
        "Origin": "https://phone.example.com",
        "Sec-WebSocket-Key": _KEY,
        "Sec-WebSocket-Protocol": "chat, sip",
        "Sec-WebSocket-Extensions": "permessage-deflate",
        "Sec-WebSocket-Version": "13",
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


def upgrade_response(request: bytes, protocol: str | None = "sip", **changes: str) -> bytes:
    """Print a server's answer to that request."""
    (key,) = (line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    digest = hashlib.sha1(key.partition(b":")[2].strip() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    fields = {"Upgrade": "websocket", "Connection": "Upgrade"}
    fields["Sec-WebSocket-Accept"] = base64.b64encode(digest).decode()
    if protocol is not None:
        fields["Sec-WebSocket-Protocol"] = protocol
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join(["HTTP/1.1 101 Switching Protocols", *lines, "", ""]).encode()


def frame(
    payload: bytes = b"", opcode: int = TEXT, *, fin: bool = True, mask: bytes = b"\1\2\3\4", rsv: int = 0
) -> bytes:
    """Print one frame; an empty mask is none."""
    size = len(payload)
    flag = 0x80 if mask else 0
    if size < 126:
        length = bytes([flag | size])
    elif size < 65536:
        length = bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([flag | 127]) + size.to_bytes(8, "big")
    masked = bytes(octet ^ mask[index % 4] for index, octet in enumerate(payload)) if mask else payload
    return bytes([(0x80 if fin else 0) | rsv | opcode]) + length + mask + masked


def read_frames(data: bytes) -> list[Frame]:
    """Read all frames; nothing is left over."""
    frames: list[Frame] = []
    while data:
        size, start = data[1] & 0x7F, 2
        if size > 125:
            octets = 2 if size == 126 else 8
            size, start = int.from_bytes(data[2 : 2 + octets], "big"), 2 + octets
        is_masked = bool(data[1] & 0x80)
        mask = data[start : start + 4] if is_masked else bytes(4)
        start += 4 if is_masked else 0
        payload = bytes(octet ^ mask[index % 4] for index, octet in enumerate(data[start : start + size]))
        frames.append((data[0] & 0x0F, bool(data[0] & 0x80), payload, is_masked))
        data = data[start + size :]
    return frames


def after_head(data: bytes) -> bytes:
    """Give what follows the head of an HTTP message."""
    return data.partition(b"\r\n\r\n")[2]


class SimulatedWebSockets(SynchronousTestCase):
    """A layer at `SERVER` that listens, and raw peers at `CLIENT`."""

    def setUp(self) -> None:
        """Make the network."""
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1)
        self.server_host = self.network.host(SERVER)
        self.client_host = self.network.host(CLIENT)
        self.layers: list[TransportLayer] = []
        self.addCleanup(self.check_nothing_is_left)

    def make_layer(self, host: Host, **limits: Any) -> tuple[TransportLayer, Receiver]:
        """Make a layer, and its receiver."""
        layer = TransportLayer(reactor=cast(TransportReactor, host), limits=TransportLimits(**limits))
        receiver = layer.receiver = Receiver()
        self.layers.append(layer)
        return layer, receiver

    def serve(self, settings: WebSocketSettings | None = None, **limits: Any) -> ListeningPoint:
        """Listen at `SERVER`."""
        self.layer, self.receiver = self.make_layer(self.server_host, **limits)
        listening = self.layer.listen(point(WS, SERVER, 80), websocket=settings)
        return self.successResultOf(listening)

    def check_nothing_is_left(self) -> None:
        """See that closing leaves nothing."""
        closing = [layer.close() for layer in self.layers]
        self.clock.advance(100.0)
        for one in closing:
            self.successResultOf(one)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.server_host.connections + self.client_host.connections, [])
        self.assertEqual([layer.incidents.counts["bug"] for layer in self.layers], [0] * len(self.layers))
        self.assertEqual(self.flushLoggedErrors(), [])

    def connect(self) -> RawPeer:
        """Connect to the server over TCP."""
        factory = RawClient()
        self.client_host.connectTCP(SERVER, 80, factory)
        self.clock.advance(0.1)
        return factory.peer

    def send(self, peer: RawPeer, data: bytes, seconds: float = 0.1) -> bytes:
        """Send octets, and give what came back within some time."""
        before = len(peer.data)
        peer.wire.write(data)
        self.clock.advance(seconds)
        return peer.data[before:]

    def upgraded(self) -> RawPeer:
        """Give a peer whose WebSocket is open."""
        peer = self.connect()
        self.assertTrue(self.send(peer, upgrade_request()).startswith(b"HTTP/1.1 101 "))
        return peer

    def request(self, **options: Any) -> bytes:
        """Print a request of a browser's page."""
        return request_octets(VIA, **options)
