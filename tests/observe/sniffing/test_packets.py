"""Packets of all links down to UDP and TCP, and fragments."""

from __future__ import annotations

import struct
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.sniffing.errors import PacketError
from sipd.observe.sniffing.fragments import Reassembler
from sipd.observe.sniffing.packets import UDP, Fragment, IpPacket, Link, parse_packet
from sipd.observe.sniffing.segments import parse_datagram, parse_segment
from tests.observe.sniffing.wires import ALICE, ALICE_6, BOB, BOB_6, SYN, ethernet, ipv4, ipv6, tcp, udp

_DATAGRAM = udp(b"hello")
_IPV4, _IPV6 = ipv4(_DATAGRAM), ipv6(_DATAGRAM)


class LinkTests(SynchronousTestCase):
    """What stands before IP."""

    def test_links(self) -> None:
        """Behind the header of each link is the same packet, of either version."""
        for packet, kind in ((_IPV4, 0x0800), (_IPV6, 0x86DD)):
            inner = struct.pack(">H", kind)
            for link, data in (
                (Link.RAW, packet),
                (Link.BSD_LOOPBACK, b"\x02\0\0\0" + packet),
                (Link.OPENBSD_LOOPBACK, b"\0\0\0\x18" + packet),
                (Link.ETHERNET, ethernet(packet)),
                (Link.ETHERNET, ethernet(packet) + b"\0" * 18),
                (Link.ETHERNET, ethernet(packet, 0x8100)),
                (Link.ETHERNET, ethernet(packet, 0x88A8, 0x8100)),
                (Link.COOKED, b"\0" * 14 + inner + packet),
                (Link.COOKED, b"\0" * 14 + b"\x81\0\0\x2a" + inner + packet),
                (Link.COOKED_2, inner + b"\0" * 18 + packet),
            ):
                found = parse_packet(link, data)
                assert found is not None
                self.assertEqual(parse_datagram(found.payload).payload, b"hello", link)
                self.assertEqual(found.protocol, UDP)

    def test_addresses(self) -> None:
        """Addresses are the numeric ones."""
        for packet, source, destination in ((_IPV4, ALICE, BOB), (_IPV6, ALICE_6, BOB_6)):
            found = parse_packet(Link.RAW, packet)
            assert found is not None
            self.assertEqual((found.source, found.destination), (source[0], destination[0]))

    def test_no_ip(self) -> None:
        """What is no IP, such as ARP, is nothing; so is a loopback packet of another family."""
        self.assertIsNone(parse_packet(Link.ETHERNET, b"\0" * 12 + b"\x08\x06" + b"\0" * 28))
        self.assertIsNone(parse_packet(Link.BSD_LOOPBACK, b"\x07\0\0\0\x01hello"))

    def test_faults(self) -> None:
        """A packet that ends too soon, or is impossible, is refused."""
        for link, data in (
            (Link.RAW, b""),
            (Link.RAW, b"\x75" + bytes(40)),
            (Link.RAW, _IPV4[:19]),
            (Link.RAW, b"\x43" + _IPV4[1:]),
            (Link.RAW, b"\x4f" + _IPV4[1:]),
            (Link.RAW, _IPV6[:39]),
            (Link.RAW, ipv6(b"\x11\0\0", 0)),
            (Link.ETHERNET, ethernet(_IPV4)[:13]),
            (Link.ETHERNET, ethernet(_IPV4, 0x8100)[:16]),
            (Link.COOKED, b"\0" * 15),
            (Link.COOKED_2, b"\0" * 19),
        ):
            self.assertRaises(PacketError, parse_packet, link, data)


class IpTests(SynchronousTestCase):
    """IP headers."""

    def test_options_and_padding(self) -> None:
        """Options are passed over, and what the link adds behind the packet."""
        found = parse_packet(Link.RAW, ipv4(_DATAGRAM, options=3) + b"padding")
        assert found is not None
        self.assertEqual(found.payload, _DATAGRAM)

    def test_no_length_yet(self) -> None:
        """Where the card writes the length, the packet is what is there."""
        found = parse_packet(Link.RAW, _IPV4[:2] + b"\0\0" + _IPV4[4:])
        assert found is not None
        self.assertEqual(found.payload, _DATAGRAM)

    def test_extension_headers(self) -> None:
        """Hop-by-hop options, routing, authentication and destination options are passed over."""
        options = b"\x2b\0" + bytes(6)  # hop by hop, then routing
        routing = b"\x33\x01" + bytes(14)  # two units of eight, then authentication
        authentication = b"\x3c\x04" + bytes(22)  # six words, then destination options
        destination = b"\x11\0" + bytes(6)
        found = parse_packet(Link.RAW, ipv6(options + routing + authentication + destination + _DATAGRAM, 0))
        assert found is not None
        self.assertEqual((found.protocol, found.payload), (UDP, _DATAGRAM))

    def test_atomic_fragment(self) -> None:
        """A fragment header on a whole datagram is passed over."""
        found = parse_packet(Link.RAW, ipv6(b"\x11\0\0\0\0\0\0\x05" + _DATAGRAM, 44))
        assert found is not None
        self.assertEqual((found.fragment, found.payload), (None, _DATAGRAM))

    def test_fragments(self) -> None:
        """Which part of a datagram it is can be told in both versions."""
        found = parse_packet(Link.RAW, ipv4(b"x" * 16, place=0x2003, identification=9))
        assert found is not None
        self.assertEqual(found.fragment, Fragment(identification=9, offset=24, is_last=False))
        found = parse_packet(Link.RAW, ipv6(struct.pack(">BBHI", 17, 0, 24, 9) + b"x", 44))
        assert found is not None
        self.assertEqual(found.fragment, Fragment(identification=9, offset=24, is_last=True))


class SegmentTests(SynchronousTestCase):
    """UDP and TCP headers."""

    def test_datagram(self) -> None:
        """Padding is not payload; of a datagram that the capture cut there is what is there."""
        found = parse_datagram(_DATAGRAM + b"padding")
        self.assertEqual((found.source_port, found.destination_port, found.payload), (5062, 5060, b"hello"))
        self.assertEqual(parse_datagram(_DATAGRAM[:-1]).payload, b"hell")

    def test_segment(self) -> None:
        """Options are passed over; a SYN is known."""
        found = parse_segment(tcp(b"hello", 5, options=2))
        self.assertEqual((found.sequence, found.opens, found.payload), (5, False, b"hello"))
        self.assertTrue(parse_segment(tcp(b"", 5, SYN)).opens)

    def test_faults(self) -> None:
        """Headers that are cut off, or impossible, are refused."""
        for data in (b"", _DATAGRAM[:7], _DATAGRAM[:4] + b"\0\x07" + _DATAGRAM[6:]):
            self.assertRaises(PacketError, parse_datagram, data)
        segment = tcp(b"", 1)
        for data in (segment[:19], segment[:12] + b"\x40" + segment[13:], segment[:12] + b"\xf0" + segment[13:]):
            self.assertRaises(PacketError, parse_segment, data)

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(Link), st.sampled_from([b"", _IPV4, _IPV6, ethernet(_IPV4, 0x8100)]), st.binary(), st.data())
    def test_any_octets(self, link: Link, start: bytes, rest: bytes, data: st.DataObject) -> None:
        """Whatever the octets, there is a packet, nothing, or the one error."""
        octets = bytearray(start + rest)
        for _ in range(data.draw(st.integers(0, 3)) if octets else 0):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        try:
            found = parse_packet(link, bytes(octets))
        except PacketError:
            return
        for parse in (parse_datagram, parse_segment):
            try:
                parse(found.payload if found is not None else b"")
            except PacketError:
                continue


def fragments(payload: bytes, *cuts: int, identification: int = 1) -> list[IpPacket]:
    """Cut a datagram at these places."""
    borders = [0, *cuts, len(payload)]
    return [
        IpPacket(
            source=ALICE[0],
            destination=BOB[0],
            protocol=UDP,
            payload=payload[start:end],
            fragment=Fragment(identification=identification, offset=start, is_last=end == len(payload)),
        )
        for start, end in pairwise(borders)
    ]


class ReassemblerTests(SynchronousTestCase):
    """Fragments put together."""

    def test_any_order(self) -> None:
        """The last one to come makes it whole, whichever that is; repeated ones change nothing."""
        parts = fragments(bytes(range(40)), 16, 24)
        for order in ((0, 1, 2), (2, 1, 0), (1, 1, 2, 0), (2, 0, 0, 1)):
            reassembler = Reassembler()
            found = [reassembler.feed(0.0, parts[place]) for place in order]
            self.assertEqual(found[:-1], [None] * (len(order) - 1))
            assert found[-1] is not None
            self.assertEqual((found[-1].payload, found[-1].fragment), (bytes(range(40)), None))
            self.assertEqual(len(reassembler), 0)

    def test_whole_ones_pass(self) -> None:
        """A packet that is whole is given back as it is."""
        packet = IpPacket(source=ALICE[0], destination=BOB[0], protocol=UDP, payload=b"x")
        self.assertIs(Reassembler().feed(0.0, packet), packet)

    def test_bounds(self) -> None:
        """Too many datagrams, too many fragments, too many octets, and too much time: given up."""
        reassembler = Reassembler(max_datagrams=2, max_fragments=2, max_octets=64, timeout=10.0)
        for identification in range(5):
            reassembler.feed(0.0, fragments(b"x" * 16, 8, identification=identification)[0])
        self.assertEqual(len(reassembler), 2)
        reassembler.feed(11.0, fragments(b"x" * 16, 8, identification=9)[0])
        self.assertEqual(len(reassembler), 1)
        for part in fragments(b"x" * 32, 8, 16, 24, identification=9)[1:]:
            self.assertIsNone(reassembler.feed(11.0, part))
        self.assertIsNone(reassembler.feed(11.0, fragments(b"x" * 100, 80)[1]))

    def test_overlap(self) -> None:
        """Where two fragments overlap there is one datagram of the right length still."""
        parts = fragments(b"A" * 16 + b"B" * 16, 16)
        wide = fragments(b"C" * 24, 8)[1]
        reassembler = Reassembler()
        found = [reassembler.feed(0.0, part) for part in (parts[1], parts[0], wide)]
        assert found[1] is not None
        self.assertEqual(found[1].payload, b"A" * 16 + b"B" * 16)
