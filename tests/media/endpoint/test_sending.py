"""Tests of `sipd.media.endpoint.sending` and `sockets`: the numbers of packets, and the pair of ports."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import ResourcesExhaustedError
from sipd.media.endpoint.sending import RtpSender
from sipd.media.endpoint.sockets import MediaSocket, SocketPair
from sipd.rtp.packet import RtpPacket
from sipd.testing.clock import SimulatedClock
from sipd.testing.network import Network
from tests.media.endpoint.support import ALICE


class SenderTests(SynchronousTestCase):
    """What the packets are numbered."""

    def setUp(self) -> None:
        self.sent: list[RtpPacket] = []
        self.leaves = True
        self.sender = RtpSender(lambda size: b"\xff" * size, self.take)
        self.sender.use(payload_type=0, clock_rate=8000, frames=1)

    def take(self, packet: RtpPacket) -> bool:
        """Take a packet, or not."""
        self.sent.append(packet)
        return self.leaves

    def test_wraps(self) -> None:
        """Timestamps and sequence numbers begin anew after the largest; the first sequence number is below 32768."""
        self.assertEqual(self.sender.sequence, 0x7FFF)
        self.sender.frame(b"a")
        self.sender.frame(b"b")
        self.assertEqual([packet.timestamp for packet in self.sent], [0xFFFFFFFF, 159])
        self.sender.sequence = 0xFFFF
        self.sender.frame(b"c")
        self.sender.frame(b"d")
        self.assertEqual([packet.sequence for packet in self.sent], [0x7FFF, 0x8000, 0xFFFF, 0])

    def test_after_silence(self) -> None:
        """What follows silence, or beats that were left out, is marked and later by as much."""
        self.sender.frame(b"a")
        self.sender.frame(None)
        self.sender.frame(b"b")
        self.sender.skip(3)
        self.sender.frame(b"c")
        self.sender.frame(b"d")
        self.assertEqual([packet.marker for packet in self.sent], [True, True, True, False])
        start = self.sent[0].timestamp
        self.assertEqual([(packet.timestamp - start) & 0xFFFFFFFF for packet in self.sent], [0, 320, 960, 1120])

    def test_frames_that_are_joined(self) -> None:
        """Frames wait for each other, but not for what is something else."""
        self.sender.use(payload_type=8, clock_rate=8000, frames=2)
        for payload in (b"a", b"b", b"c"):
            self.sender.frame(payload)
        self.sender.event(101, 5, b"event", is_first=True)
        self.assertEqual([packet.payload for packet in self.sent], [b"ab", b"c", b"event"])
        self.assertEqual([packet.payload_type for packet in self.sent], [8, 8, 101])
        self.assertEqual(self.sent[2].timestamp, 5)

    def test_another_clock(self) -> None:
        """Another clock rate makes another source, of which reports count anew (RFC 7160 section 4.2)."""
        self.sender.frame(b"a")
        self.assertEqual((self.sender.packets, self.sender.octets), (1, 1))
        self.sender.use(payload_type=8, clock_rate=8000, frames=1)
        self.assertEqual(self.sender.packets, 1)
        self.sender.use(payload_type=96, clock_rate=48000, frames=1)
        self.assertEqual(self.sender.packets, 0)
        before = self.sender.timestamp
        self.sender.frame(b"a")
        self.assertEqual((self.sender.timestamp - before) & 0xFFFFFFFF, 960)

    def test_what_does_not_leave(self) -> None:
        """It has its number, but is not counted."""
        self.leaves = False
        self.sender.frame(b"a")
        self.assertEqual((self.sender.packets, self.sender.sequence), (0, 0x8000))


class SocketTests(SynchronousTestCase):
    """The pair of ports."""

    def setUp(self) -> None:
        self.network = Network(SimulatedClock(), seed=1)
        self.host = self.network.host(ALICE)

    def pair(self, ports: tuple[int, int] = (0, 0), host: str = ALICE) -> SocketPair:
        """Open one."""
        reactor: Any = self.host
        return SocketPair(reactor, host, ports, self.network.entropy)

    def test_even_and_next(self) -> None:
        """The port of RTP is even, that of RTCP follows, whatever the system gives."""
        self.host.take_port()
        for _ in range(3):
            pair = self.pair()
            self.assertEqual(pair.port % 2, 0)
            self.assertEqual(
                {port for _, port in self.host.ports} & {pair.port, pair.port + 1}, {pair.port, pair.port + 1}
            )

    def test_whole_or_not_at_all(self) -> None:
        """A pair of which one port is taken is left alone, and nothing stays bound (lesson 42)."""
        taken = self.host.listenUDP(5001, MediaSocket(), interface=ALICE)
        with self.assertRaises(ResourcesExhaustedError):
            self.pair((5000, 5001))
        self.assertEqual(list(self.host.ports), [(ALICE, 5001)])
        self.assertEqual(self.pair((5000, 5003)).port, 5002)
        taken.stopListening()

    def test_not_this_host(self) -> None:
        """An address of somebody else cannot be bound."""
        with self.assertRaises(ResourcesExhaustedError):
            self.pair(host="192.0.2.99")
        self.assertRaises(CannotListenError, self.host.listenUDP, 5000, MediaSocket(), interface="192.0.2.99")

    def test_what_cannot_be_sent(self) -> None:
        """What the system refuses is counted; after the end nothing is sent or received."""
        pair = self.pair()
        came: list[bytes] = []
        pair.rtp.begin(lambda data, source: came.append(data))
        self.assertTrue(pair.rtp.send(b"x", (ALICE, pair.port)))
        self.assertFalse(pair.rtp.send(bytes(70000), (ALICE, pair.port)))
        self.assertEqual(pair.rtp.unsent, 1)
        self.network.clock.run()
        self.assertEqual(came, [b"x"])
        self.assertTrue(pair.rtp.send(b"y", (ALICE, pair.port)))
        self.successResultOf(pair.close())
        self.network.clock.run()
        self.assertFalse(pair.rtp.send(b"z", (ALICE, pair.port)))
        self.assertEqual(came, [b"x"])
        self.assertEqual(self.host.ports, {})
