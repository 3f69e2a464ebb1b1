"""The socket that packets come from, on interfaces of network namespaces of the test's own."""

from __future__ import annotations

import select
import socket
import struct
import time

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.observe.sniffing.errors import SniffingError
from sipd.observe.sniffing.packets import Link
from sipd.observe.sniffing.ports import Ports
from sipd.observe.sniffing.sightings import Seen, Sighting
from sipd.observe.sniffing.sniffer import Sniffer
from sipd.observe.sniffing.wire import ANY, Wire
from tests.namespaces import PATIENCE, Crossing, Namespace, explain_unavailable
from tests.observe.sniffing.wires import ALICE, ethernet, ipv4, request, udp

_LEFT, _RIGHT = "10.9.0.2", "10.9.0.1"
_SIP = 5060
_IPV4 = 4


class WireTests(SynchronousTestCase):
    """What a socket gives. Skipped where no namespaces can be made, which needs the same rights."""

    def setUp(self) -> None:
        reason = explain_unavailable()
        if reason is not None:
            raise SkipTest(reason)
        self.crossing = Crossing()
        self.addCleanup(self.crossing.close)
        self.seen: list[Seen] = []
        self.packets: list[bytes] = []
        self.errors: list[SniffingError] = []
        self.sniffer = Sniffer(Ports())

    def watch(self, namespace: Namespace, interface: str = ANY) -> Wire:
        """Watch an interface of a namespace."""
        with namespace.entered():
            wire = Wire(interface, Ports(), seconds=lambda: 0.0, receive=self._receive, ended=self.errors.append)
        self.addCleanup(wire.close)
        reactor = SelectReactor()
        self.addCleanup(reactor.disconnectAll)
        wire.start(reactor)
        return wire

    def _receive(self, at: float, link: Link, data: bytes) -> None:
        self.packets.append(data)
        self.seen += self.sniffer.feed(at, link, data)

    def read(self, wire: Wire, count: int) -> list[Sighting]:
        """Wait until so many messages are there, and for all that is there then; give them."""
        deadline = time.monotonic() + PATIENCE
        while len(self.seen) < count and time.monotonic() < deadline and not self.errors:
            select.select([wire], [], [], PATIENCE)
            wire.doRead()
        wire.doRead()
        return [one for one in self.seen if isinstance(one, Sighting)]

    def send(self, data: bytes, address: tuple[str, int] = (_RIGHT, _SIP), namespace: Namespace | None = None) -> None:
        """Send a datagram, from the left unless told otherwise."""
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with (namespace or self.crossing.left).open_socket(family, socket.SOCK_DGRAM) as sender:
            sender.sendto(data, address)

    def test_interface(self) -> None:
        """It is what a reactor reads, and has the time of the kernel."""
        wire = self.watch(self.crossing.middle, "left")
        self.assertTrue(verifyObject(IReadDescriptor, wire))
        self.send(request())
        (found,) = self.read(wire, 1)
        self.assertEqual((found.source[0], found.destination, found.data), (_LEFT, (_RIGHT, _SIP), request()))
        self.assertLess(abs(found.at - time.time()), PATIENCE)

    def test_kernel_filter(self) -> None:
        """What other ports have does not even come here."""
        wire = self.watch(self.crossing.middle)
        for port in (5059, 5061, 53):
            self.send(b"something else", (_RIGHT, port))
        self.send(request())
        self.assertEqual(len(self.read(wire, 1)), 1)
        # The port that nobody has is answered by ICMP, which has a port of SIP only inside. What the kernel itself
        # says now and then of IPv6 groups has an extension header, and so is let pass.
        self.assertEqual([data[28:] for data in self.packets if data[0] >> 4 == _IPV4], [request()])

    def test_one_interface_only(self) -> None:
        """What passes another interface is not seen."""
        wire = self.watch(self.crossing.middle, "right")
        self.send(request(call_id="left"))
        self.send(request(call_id="right"), ("10.9.1.1", _SIP), self.crossing.right)
        self.assertEqual([one.call_id for one in self.read(wire, 1)], ["right"])

    def test_loopback(self) -> None:
        """On the loopback interface a packet is seen once, in either version of IP."""
        wire = self.watch(self.crossing.middle)
        for host in ("127.0.0.1", "::1"):
            self.send(request(), (host, _SIP), self.crossing.middle)
        found = self.read(wire, 2)
        self.assertEqual([one.destination for one in found], [("127.0.0.1", _SIP), ("::1", _SIP)])

    def test_fragments(self) -> None:
        """A message in IP fragments is one, where it leaves and where it arrives, in either version of IP."""
        data = request(body="x" * 5000)
        for namespace in (self.crossing.left, self.crossing.middle):
            wire = self.watch(namespace)
            self.seen.clear()
            self.packets.clear()
            for host in (_RIGHT, "fd09:0::1"):
                self.send(data, (host, _SIP))
            found = self.read(wire, 2)
            self.assertEqual([one.data for one in found], [data, data])
            self.assertGreaterEqual(len(self.packets), 8)
            wire.close()

    def test_vlan(self) -> None:
        """A message with a VLAN tag is seen where it arrives."""
        frame = b"\xff" * 6 + ethernet(ipv4(udp(request())), 0x8100)[6:]
        wire = self.watch(self.crossing.middle, "left")
        with self.crossing.left.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            with self.crossing.left.entered():
                sender.bind(("out", 0))
            sender.send(frame)
        self.assertEqual([one.source for one in self.read(wire, 1)], [ALICE])

    def test_connection(self) -> None:
        """Messages on a connection are seen, however large the segments are that the kernel makes."""
        data = request(body="x" * 60000) + request("BYE", cseq=2)
        wire = self.watch(self.crossing.left)
        with self.crossing.middle.open_socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind((_RIGHT, _SIP))
            listener.listen()
            with self.crossing.left.open_socket(socket.AF_INET, socket.SOCK_STREAM) as sender:
                sender.connect((_RIGHT, _SIP))
                with listener.accept()[0]:
                    sender.sendall(data)
                    found = self.read(wire, 2)
        self.assertEqual(b"".join(one.data for one in found), data)

    def test_errors(self) -> None:
        """An interface that is not there, or goes away, is told; nothing is left open."""
        self.assertRaises(SniffingError, self.watch, self.crossing.middle, "nosuch0")
        self.assertRaises(SniffingError, self.watch, self.crossing.middle, "x" * 99)
        wire = self.watch(self.crossing.middle, "left")
        self.assertEqual(wire.lost(), 0)
        self.crossing.middle.configure("link set left down")
        self.read(wire, 1)
        (error,) = self.errors
        self.assertIn("left", str(error))
        self.assertEqual(wire.fileno(), -1)
        wire.close()
        self.assertEqual(wire.lost(), 0)

    def test_reactor(self) -> None:
        """Where what takes the packets fails, that is told; where the reactor ends, nothing is."""
        for failure, count in ((Failure(ConnectionLost()), 0), (Failure(ValueError("bug")), 1)):
            wire = self.watch(self.crossing.middle)
            wire.connectionLost(failure)
            self.assertEqual(len(self.errors), count)
            wire.close()

    def test_lost(self) -> None:
        """Packets that have no room are counted."""
        wire = self.watch(self.crossing.middle, "left")
        with self.crossing.middle.entered():
            found = socket.socket(fileno=socket.dup(wire.fileno()))
        with found:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, struct.calcsize("Q"))
        for _ in range(200):
            self.send(request(body="x" * 1000))
        self.assertGreater(wire.lost(), 0)
        self.assertEqual(wire.lost(), 0)
