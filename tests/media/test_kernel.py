"""Tests of `sipd.media.kernel.program`: what becomes of packets, in network namespaces with veth pairs between them."""

from __future__ import annotations

import fcntl
import socket
import struct
import time
from array import array

from twisted.trial.unittest import SkipTest

from sipd.media.kernel.entries import FlowCounters
from tests.media.kernel_support import ETH_P_IP, ETH_P_IPV6, KernelTestCase, name
from tests.media.packets import check_packet, datagram, packet, rtp
from tests.namespaces import Namespace

RTCP = struct.pack("!BBHII", 0x80, 201, 2, 1, 2)
STUN = struct.pack("!HHI", 1, 0, 0x2112A442) + bytes(12)
DTLS = b"\x16\xfe\xfd" + bytes(40)

#: Linux has names for these that Python lacks.
SO_NO_CHECK = 11
UDP_SEGMENT = 103
IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
ETH_P_8021Q = 0x8100
SIOCETHTOOL, ETHTOOL_STXCSUM = 0x8946, 0x17


class ForwardingTests(KernelTestCase):
    """Packets that the kernel forwards."""

    def test_forwards(self) -> None:
        """What Alice sends reaches Bob from our other socket, and user space sees none of it."""
        self.add()
        for sequence in range(5):
            self.check_forwarded(rtp(sequence))
        self.check_nothing_up()
        self.assertEqual((self.counters().packets, self.counters().size_octets), (5, 5 * 172))

    def test_both_directions(self) -> None:
        """Two flows make a call."""
        there = self.add()
        back = self.add(
            source=there.new_destination,
            destination=there.new_source,
            new_source=there.destination,
            new_destination=there.source,
        )
        self.bob.sendto(rtp(1), back.destination)
        self.expect(self.alice, rtp(1), there.destination)
        self.alice.sendto(rtp(2), there.destination)
        self.expect(self.bob, rtp(2), there.new_source)
        self.assertEqual(len(self.forwarder), 2)
        self.check_nothing_up()

    def test_out_where_it_came_in(self) -> None:
        """Both parties may be behind one interface."""
        other = self.bind(self.crossing.left, self.flow.source[0], 5002)
        self.add(new_source=(self.flow.destination[0], 7002), new_destination=name(other))
        self.send(rtp())
        self.expect(other, rtp(), self.flow.new_source)

    def test_checksums_are_right(self) -> None:
        """A packet whose checksums nobody else corrects leaves with right ones, and with one hop less to live."""
        self.add()
        capture = self.capture()
        source, destination = self.flow.source, self.flow.destination
        for payload in (rtp(1), rtp(2, size=161), rtp(3, ssrc=0xFFFFFFFF, timestamp=0xFFFFFFFF)):
            self.send_packet(packet(source[0], destination[0], datagram(source, destination, payload), hops=33))
            self.expect(self.bob, payload, name(self.outer))
            *hosts, hops, body = check_packet(self.captured(capture))
            self.assertEqual(hosts, [self.flow.new_source[0], self.flow.new_destination[0]])
            self.assertEqual(hops, 32)
            self.assertEqual(struct.unpack("!HH", body[:4]), (8000, 6000))
            self.assertNotEqual(body[6:8], b"\0\0")
            self.assertEqual(body[8:], payload)

    def test_a_checksum_that_is_to_be_completed(self) -> None:
        """What an interface would complete, where it cannot the kernel does, and rightly."""
        have_software_complete(self.crossing.middle, "right")
        self.add()
        capture = self.capture()
        self.check_forwarded(rtp(1))
        *_, body = check_packet(self.captured(capture))
        self.assertNotEqual(body[6:8], b"\0\0")

    def test_checksums_of_zero(self) -> None:
        """A checksum that comes to 0 before or after is FFFF in the packet, since 0 would mean that there is none."""
        flow = self.add()
        capture = self.capture()
        for source, destination in ((flow.source, flow.destination), (flow.new_source, flow.new_destination)):
            # With the checksum itself as timestamp the sum is all ones.
            rest = datagram(source, destination, rtp())[6:8]
            payload = rtp(timestamp=int.from_bytes(rest, "big"))
            self.assertEqual(datagram(source, destination, payload)[6:8], b"\xff\xff")
            self.send_packet(packet(flow.source[0], flow.destination[0], datagram(*flow.key, payload)))
            self.expect(self.bob, payload, name(self.outer))
            *_, body = check_packet(self.captured(capture))
            self.assertNotEqual(body[6:8], b"\0\0")

    def test_a_wrong_checksum_stays_wrong(self) -> None:
        """What was damaged on its way is not made to look whole: Bob's kernel drops it."""
        self.add()
        source, destination = self.flow.source, self.flow.destination
        damaged = datagram(source, destination, rtp(1))[:-1] + b"\x01"
        self.send_packet(packet(source[0], destination[0], damaged))
        self.check_forwarded(rtp(2))
        self.assertEqual(self.counters().packets, 2)

    def test_the_least_packet(self) -> None:
        """A header of RTP without a payload is forwarded."""
        self.add()
        self.check_forwarded(rtp(size=0))

    def test_rtcp_where_it_may(self) -> None:
        """Multiplexed RTCP is forwarded if the flow says so, and counted apart."""
        self.add(forwards_rtcp=True)
        self.check_forwarded(RTCP)
        counters = self.counters()
        self.assertEqual((counters.rtcp_packets, counters.packets, counters.last_seen), (1, 0, None))

    def test_a_removed_flow(self) -> None:
        """Its packets come up again, and its counters are given one last time."""
        self.add()
        self.check_forwarded(rtp())
        counters = self.forwarder.remove(self.flow.key)
        assert counters is not None
        self.assertEqual(counters.packets, 1)
        self.send(rtp(1))
        self.expect(self.inner, rtp(1), self.flow.source)
        self.assertIsNone(self.forwarder.remove(self.flow.key))
        self.assertIsNone(self.forwarder.counters(self.flow.key))

    def test_a_replaced_flow(self) -> None:
        """The other party moves: packets follow, and counting begins anew."""
        self.add()
        self.check_forwarded(rtp())
        moved = self.bind(self.crossing.right, self.flow.new_destination[0], 6002)
        self.add(new_destination=name(moved))
        self.send(rtp(1))
        self.expect(moved, rtp(1), name(self.outer))
        self.assertEqual((len(self.forwarder), self.counters().packets), (1, 1))

    def test_a_closed_forwarder(self) -> None:
        """Everything comes up."""
        self.add()
        self.check_forwarded(rtp())
        self.forwarder.close()
        self.send(rtp(1))
        self.expect(self.inner, rtp(1), self.flow.source)


class Ipv6ForwardingTests(ForwardingTests):
    """The same with IPv6."""

    networks = ("fd09::", "fd09:1::")


class UpwardTests(KernelTestCase):
    """Packets that the kernel leaves to user space, as they are."""

    def test_what_is_no_rtp(self) -> None:
        """STUN, DTLS, RTCP, other versions, and what is too short."""
        self.add()
        for data in (STUN, DTLS, RTCP, b"\x40" + rtp()[1:], b"\xc0" + rtp()[1:], rtp()[:11], b"\x80", b""):
            self.send(data)
            self.check_only_up(data)
        # Those that are too short to have a header of RTP are not looked up.
        self.assertEqual(self.counters().passed_up, 5)

    def test_payload_types_for_user_space(self) -> None:
        """Those that the flow names go up, with and without the marker; others do not."""
        self.add(upward_payload_types=(101, 13, 96, 0))
        for payload_type in (101, 13, 96, 0, 101 | 0x80):
            self.send(rtp(payload_type=payload_type))
            self.check_only_up(rtp(payload_type=payload_type), marker=rtp(payload_type=8))
        self.check_forwarded(rtp(payload_type=102))

    def test_unexpected_payload_type(self) -> None:
        """Where a flow has one payload type, the others go up."""
        self.add(payload_type=0)
        self.send(rtp(payload_type=8))
        self.check_only_up(rtp(payload_type=8))
        self.check_forwarded(rtp(payload_type=0x80))

    def test_another_source(self) -> None:
        """What comes from elsewhere goes up: the port and the address both count."""
        self.add()
        for host, port in ((self.flow.source[0], 5002), (self.networks[0] + "3", 5000)):
            if host != self.flow.source[0]:
                self.crossing.left.configure(f"addr add {host} dev out {'nodad' if ':' in host else ''}")
            with self.bind(self.crossing.left, host, port) as stranger:
                stranger.sendto(rtp(7), self.flow.destination)
                self.expect(self.inner, rtp(7), (host, port))
        self.check_forwarded(rtp())
        self.assertEqual(self.counters().passed_up, 0)

    def test_fragments(self) -> None:
        """A datagram in fragments comes up in one piece."""
        self.add()
        self.allow_fragments()
        self.send(rtp(size=3000))
        self.check_only_up(rtp(size=3000))

    def allow_fragments(self) -> None:
        """Let Alice send what has to be fragmented."""
        self.alice.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)

    def test_headers_between(self) -> None:
        """A packet with options, or an extension header, goes up."""
        self.add()
        self.set_options(True)
        self.send(rtp(5))
        self.expect(self.inner, rtp(5), self.flow.source)
        self.set_options(False)
        self.check_forwarded(rtp(6))

    def set_options(self, there: bool) -> None:
        """Have Alice send four times "no operation", or not."""
        self.alice.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\x01\x01\x01\x01" if there else b"")

    def test_several_in_one(self) -> None:
        """What left the sender's socket as one piece, to be cut up later, goes up, and is cut up there."""
        self.add()
        self.alice.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 172)
        self.send(rtp(1) + rtp(2))
        self.alice.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
        self.expect(self.inner, rtp(1), self.flow.source)
        self.check_only_up(rtp(2))
        self.assertEqual(self.counters().packets, 1)

    def test_too_large_for_the_way_out(self) -> None:
        """A packet that only fits the way in goes up, where it can be fragmented."""
        self.crossing.middle.configure("link set right mtu 1300")
        self.add()
        self.send(rtp(size=1280))
        self.check_only_up(rtp(size=1280))
        self.assertEqual(self.counters().passed_up, 1)

    def test_at_the_end_of_its_life(self) -> None:
        """A packet that a router would not pass on goes up."""
        source, destination = self.flow.source, self.flow.destination
        self.add()
        self.send_packet(packet(source[0], destination[0], datagram(source, destination, rtp(1)), hops=1))
        self.check_only_up(rtp(1))
        self.send_packet(packet(source[0], destination[0], datagram(source, destination, rtp(2)), hops=2))
        self.expect(self.bob, rtp(2), name(self.outer))

    def test_wrong_lengths(self) -> None:
        """Where the lengths of IP and UDP differ the packet goes up, and the kernel judges it as ever."""
        source, destination = self.flow.source, self.flow.destination
        self.add()
        for length in (0, 7, 20, 179, 181, 65535):
            wrong = datagram(source, destination, rtp(), length=length)
            self.send_packet(packet(source[0], destination[0], wrong))
        self.check_forwarded(rtp(3))
        self.assertEqual((self.counters().packets, self.counters().passed_up), (1, 6))

    def test_another_network_on_the_same_wire(self) -> None:
        """A tagged frame is of another interface, whatever the addresses in it."""
        source, destination = self.flow.source, self.flow.destination
        self.add()
        octets = packet(source[0], destination[0], datagram(source, destination, rtp(1)))
        with self.crossing.middle.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as theirs:
            theirs.bind(("left", 0))
            hardware = theirs.getsockname()[4]
        with self.crossing.left.open_socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
            wire.bind(("out", 0))
            protocol = ETH_P_IPV6 if ":" in source[0] else ETH_P_IP
            for tag in (struct.pack("!HH", ETH_P_8021Q, 5), b""):
                wire.send(hardware + bytes(6) + tag + struct.pack("!H", protocol) + octets)
        self.expect(self.bob, rtp(1), name(self.outer))
        self.assertEqual((self.counters().packets, self.counters().passed_up), (1, 0))


class Ipv4UpwardTests(KernelTestCase):
    """What there is only in IPv4."""

    def test_no_checksum(self) -> None:
        """A datagram without a checksum is forwarded, and has none then."""
        self.add()
        capture = self.capture()
        self.alice.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
        self.check_forwarded(rtp())
        *_, body = check_packet(self.captured(capture))
        self.assertEqual(body[6:8], b"\0\0")


class Ipv6UpwardTests(UpwardTests):
    """The same with IPv6."""

    networks = ("fd09::", "fd09:1::")

    def allow_fragments(self) -> None:
        """See `UpwardTests`: a sender may always fragment."""

    def set_options(self, there: bool) -> None:
        """Have Alice send a header of destination options with nothing but padding, or not."""
        padding = b"\0\0\x01\x04\0\0\0\0" if there else b""
        self.alice.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, padding)

    def test_no_checksum(self) -> None:
        """A datagram without a checksum goes up, where the kernel drops it (RFC 8200 section 8.1)."""
        self.add()
        wrong = datagram(*self.flow.key, rtp(1), total=0)
        self.send_packet(packet(self.flow.source[0], self.flow.destination[0], wrong))
        self.check_forwarded(rtp(2))
        self.assertEqual(self.counters().packets, 1)


class CounterTests(KernelTestCase):
    """What the kernel counts."""

    def setUp(self) -> None:
        super().setUp()
        self.add(tick_nanoseconds=125_000)

    def stream(self, *sequences: int, **fields: int) -> FlowCounters:
        """Send packets with these sequence numbers; give what is counted then."""
        for sequence in sequences:
            self.check_forwarded(rtp(sequence, **fields))
        return self.counters()

    def test_nothing_yet(self) -> None:
        """A new flow has seen nothing."""
        counters = self.counters()
        self.assertEqual((counters.packets, counters.last_seen, counters.ssrc, counters.jitter), (0, None, None, 0))

    def test_last_seen(self) -> None:
        """It is on the clock of `time.monotonic`."""
        before = time.monotonic()
        last_seen = self.stream(1).last_seen
        assert last_seen is not None
        self.assertTrue(before <= last_seen <= time.monotonic())

    def test_no_loss(self) -> None:
        """Numbers that follow each other, also over the end of their range."""
        counters = self.stream(65534, 65535, 0, 1)
        self.assertEqual((counters.lost, counters.late, counters.ssrc), (0, 0, 0x5EED))

    def test_loss(self) -> None:
        """Numbers that are left out are lost."""
        self.assertEqual(self.stream(65533, 65535, 3).lost, 1 + 3)

    def test_late_and_duplicate(self) -> None:
        """What comes after its successor, or twice, is late; the loss counted before stays counted."""
        counters = self.stream(10, 12, 11, 12, 13)
        self.assertEqual((counters.lost, counters.late, counters.packets), (1, 2, 5))

    def test_a_sequence_that_begins_anew(self) -> None:
        """A jump is no loss (RFC 3550 appendix A.1)."""
        counters = self.stream(10, 11, 10000, 10001, 2000, 2001)
        self.assertEqual((counters.lost, counters.late), (0, 0))
        self.assertEqual(self.stream(2001 + 3000).lost, 2999)

    def test_a_new_source(self) -> None:
        """Another SSRC is counted, and nothing is compared across it."""
        self.stream(10, 11)
        counters = self.stream(500, 501, ssrc=0xFFFFFFFE)
        self.assertEqual((counters.ssrc_changes, counters.ssrc, counters.lost), (1, 0xFFFFFFFE, 0))
        self.assertEqual(self.stream(12).ssrc_changes, 2)

    def test_jitter(self) -> None:
        """Ten seconds of difference in one packet are ten sixteenths of jitter, whichever comes first."""
        for timestamp, expected in ((0, 0.0), (80000, 0.625), (80000, 0.625 * 15 / 16), (0, 0.625 * 225 / 256 + 0.625)):
            self.check_forwarded(rtp(timestamp=timestamp + 0xFFFFFF00))
            self.assertApproximates(self.counters().jitter, expected, 0.1)

    def test_no_tick(self) -> None:
        """Without the rate of the clock there is no jitter."""
        self.add(tick_nanoseconds=0)
        self.stream(1)
        self.assertEqual(self.stream(2, timestamp=80000).jitter, 0)


class LoopbackTests(KernelTestCase):
    """Parties on this machine, as in tests and with another server beside us."""

    hosts = "127.0.0.1"

    def test_on_the_loopback_interface(self) -> None:
        """Both parties are here."""
        middle = self.crossing.middle
        one, other = self.bind(middle, self.hosts, 5100), self.bind(middle, self.hosts, 6100)
        ours = self.bind(middle, self.hosts, 7100)
        self.add(source=name(one), destination=name(ours), new_source=(self.hosts, 8100), new_destination=name(other))
        one.sendto(rtp(), name(ours))
        self.expect(other, rtp(), (self.hosts, 8100))
        one.sendto(STUN, name(ours))
        self.expect(ours, STUN, name(one))
        self.assertEqual(self.counters().passed_up, 1)

    def test_from_outside_to_here(self) -> None:
        """The party to send to is on this machine."""
        for host in (self.hosts, self.flow.new_source[0]):
            here = self.bind(self.crossing.middle, host, 6100)
            self.add(new_source=(host, 8100), new_destination=name(here))
            self.send(rtp())
            self.expect(here, rtp(), (host, 8100))

    def test_from_here_to_outside(self) -> None:
        """The party that sends is on this machine: its packets come in on the loopback interface."""
        here = self.bind(self.crossing.middle, self.flow.new_source[0], 5100)
        self.add(source=name(here))
        here.sendto(rtp(), self.flow.destination)
        self.expect(self.bob, rtp(), name(self.outer))

    def test_twice_through_here(self) -> None:
        """Where the other party is a socket of ours again, its flow follows."""
        again = (self.flow.new_source[0], 8200)
        self.add(new_source=(self.flow.new_source[0], 8300), new_destination=again)
        self.add(
            source=self.flow.new_source, destination=again, new_source=name(self.outer), new_destination=name(self.bob)
        )
        self.alice.sendto(rtp(), name(self.inner))
        self.expect(self.bob, rtp(), name(self.outer))

    def test_round_and_round(self) -> None:
        """Flows that lead to each other end with the time to live, and the packet comes up."""
        one, other = (self.bind(self.crossing.middle, self.hosts, port) for port in (7100, 7200))
        for source, destination in ((one, other), (other, one)):
            self.add(
                source=name(source),
                destination=name(destination),
                new_source=name(destination),
                new_destination=name(source),
            )
        if ":" in self.hosts:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 10)
        else:
            one.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 10)
        one.sendto(rtp(), name(other))
        self.expect(one, rtp(), name(other))
        self.assertEqual((self.counters().packets, self.counters().passed_up), (4, 1))


class Ipv6LoopbackTests(LoopbackTests):
    """The same with IPv6."""

    networks = ("fd09::", "fd09:1::")
    hosts = "::1"


class TunnelTests(KernelTestCase):
    """Packets whose sum the kernel has made on their way in, as where a tunnel ends."""

    inside = ("10.77.0.2", "10.77.0.1")

    def test_the_sum_of_a_tunnel(self) -> None:
        """The receiver, which is on this machine, does not drop packets for a sum that was made before."""
        far, near = self.inside
        self.lay_tunnel()
        alice, inner = self.bind(self.crossing.left, far, 5100), self.bind(self.crossing.middle, near, 7100)
        flow = self.add(source=name(alice), destination=name(inner))
        for sequence in range(3):
            self.send_packet(packet(far, near, datagram(*flow.key, rtp(sequence, size=400))))
            self.expect(self.bob, rtp(sequence, size=400), name(self.outer))
        self.assertEqual(self.counters().packets, 3)

    def lay_tunnel(self) -> None:
        """Have packets between both ends verified as a whole, and by software."""
        have_software_complete(self.crossing.left, "out")
        for namespace, interface, own, other, host in (
            (self.crossing.left, "out", "10.9.0.2", "10.9.0.1", self.inside[0]),
            (self.crossing.middle, "left", "10.9.0.1", "10.9.0.2", self.inside[1]),
        ):
            way = f"local {own} remote {other} dstport 4789 dev {interface}"
            try:
                namespace.configure(f"link add tunnel type vxlan id 7 {way} udpcsum")
            except AssertionError as error:
                raise SkipTest(f"no VXLAN here: {error}") from error
            namespace.configure(
                "link set tunnel addrgenmode none",
                f"addr add {host}/{'64' if ':' in host else '24'} dev tunnel" + (" nodad" if ":" in host else ""),
                "link set tunnel up",
            )
        with self.crossing.middle.entered():
            self.forwarder.attach("tunnel")


class Ipv6TunnelTests(TunnelTests):
    """The same with IPv6 in the tunnel."""

    networks = ("fd09::", "fd09:1::")
    inside = ("fd77::2", "fd77::1")


def have_software_complete(namespace: Namespace, interface: str) -> None:
    """Take from an interface that it completes checksums, as `ethtool -K ... tx off` does."""
    command = array("B", struct.pack("=II", ETHTOOL_STXCSUM, 0))
    with namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        fcntl.ioctl(asked, SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), command.buffer_info()[0]))
