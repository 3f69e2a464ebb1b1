"""What the tests of forwarding by the kernel share: two parties, and a forwarder between them."""

from __future__ import annotations

import dataclasses
import socket
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from sipd.media.kernel import forwarder
from sipd.media.kernel.entries import Address, Flow, FlowCounters
from sipd.media.kernel.forwarder import KernelForwarder
from tests import namespaces
from tests.media.packets import rtp
from tests.namespaces import Crossing, Namespace

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
PACKET_OUTGOING = 4


class KernelTestCase(SynchronousTestCase):
    """Alice on the left sends to `inner`; the flow is to make that come from `outer`, to Bob on the right."""

    networks = ("10.9.0.", "10.9.1.")

    def setUp(self) -> None:
        if (reason := namespaces.explain_unavailable() or forwarder.explain_unavailable()) is not None:
            raise SkipTest(reason)
        self.crossing = Crossing()
        self.addCleanup(self.crossing.close)
        left, right = self.networks
        self.alice = self.bind(self.crossing.left, left + "2", 5000)
        self.inner = self.bind(self.crossing.middle, left + "1", 7000)
        self.outer = self.bind(self.crossing.middle, right + "1", 8000)
        self.bob = self.bind(self.crossing.right, right + "2", 6000)
        self.flow = Flow(
            source=name(self.alice),
            destination=name(self.inner),
            new_source=name(self.outer),
            new_destination=name(self.bob),
        )
        with self.crossing.middle.entered():
            self.forwarder = KernelForwarder()
            self.addCleanup(self.forwarder.close)
            for interface in ("left", "right", "lo"):
                self.forwarder.attach(interface)

    def bind(self, namespace: Namespace, host: str, port: int) -> socket.socket:
        """Open a socket that is closed at the end."""
        bound = namespace.open_socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(bound.close)
        bound.bind((host, port))
        return bound

    def add(self, **changes: Any) -> Flow:
        """Add the flow, with changes."""
        self.flow = dataclasses.replace(self.flow, **changes)
        with self.crossing.middle.entered():
            self.forwarder.add(self.flow)
        return self.flow

    def counters(self) -> FlowCounters:
        """Give the counters of the flow."""
        counters = self.forwarder.counters(self.flow.key)
        assert counters is not None
        return counters

    def send(self, data: bytes) -> None:
        """Send from Alice."""
        self.alice.sendto(data, self.flow.destination)

    def send_packet(self, octets: bytes) -> None:
        """Send a whole IP packet from the left."""
        family = socket.AF_INET6 if ":" in self.flow.source[0] else socket.AF_INET
        with self.crossing.left.open_socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            raw.sendto(octets, (self.flow.destination[0], 0))

    def expect(self, receiver: socket.socket, data: bytes, source: Address) -> None:
        """Check what comes next to a socket."""
        got, origin = receiver.recvfrom(65536)
        self.assertEqual((got, origin[:2]), (data, source))

    def check_forwarded(self, data: bytes) -> None:
        """Check that this reaches Bob."""
        self.send(data)
        self.expect(self.bob, data, name(self.outer))

    def check_only_up(self, data: bytes, marker: bytes = rtp(999)) -> None:
        """Check that what was sent goes up, and not to Bob: what is sent after it is the next that he gets."""
        self.expect(self.inner, data, self.flow.source)
        self.check_forwarded(marker)

    def check_nothing_up(self) -> None:
        """Check that nothing waits on our sockets."""
        for ours in (self.inner, self.outer):
            ours.setblocking(False)
            self.assertRaises(BlockingIOError, ours.recv, 1)
            ours.settimeout(namespaces.PATIENCE)

    def capture(self) -> socket.socket:
        """Open a socket that gets whole frames on the right."""
        protocol = ETH_P_IPV6 if ":" in self.flow.source[0] else ETH_P_IP
        capture = self.crossing.right.open_socket(socket.AF_PACKET, socket.SOCK_RAW)
        self.addCleanup(capture.close)
        capture.bind(("out", protocol))
        return capture

    def captured(self, capture: socket.socket) -> bytes:
        """Give the next IP packet that came in on the right, checked."""
        while True:
            frame, place = capture.recvfrom(65536)
            if place[2] != PACKET_OUTGOING and len(frame) > 100:
                return frame[14:]


def name(bound: socket.socket) -> Address:
    """Give the address of a socket."""
    host, port = bound.getsockname()[:2]
    return host, port
