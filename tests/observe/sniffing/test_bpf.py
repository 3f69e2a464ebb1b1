"""The filter for the kernel, run by a small machine of our own; a real kernel: `tests.interop.test_monitor`."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.sniffing.bpf import NOTHING, port_filter
from sipd.observe.sniffing.ports import MAX_RANGES, Ports, parse_range, parse_ranges
from tests.observe.sniffing.wires import ALICE, BOB, ipv4, ipv6, tcp, udp

_HOST, _OUTGOING = 0, 4
_ETHERNET, _LOOPBACK = 1, 772


class _OutsideError(Exception):
    """A load from where nothing is: the kernel drops the packet."""


class Machine:
    """What the kernel does with such a filter, as far as ours goes.

    Args:
        packet: from its IP header on.
        packet_type: how it came.
        hardware: what kind of interface it passes.
    """

    def __init__(self, packet: bytes, packet_type: int, hardware: int) -> None:
        self._packet = packet
        self._outside = {0xFFFFF004: packet_type, 0xFFFFF01C: hardware}

    def run(self, program: bytes) -> bool:
        """Say whether the packet passes."""
        try:
            return bool(self._run(list(struct.iter_unpack("=HBBI", program))))
        except _OutsideError:
            return False

    def _load(self, place: int, size: int) -> int:
        if place in self._outside:
            return self._outside[place]
        if place + size > len(self._packet):
            raise _OutsideError
        return int.from_bytes(self._packet[place : place + size], "big")

    def _run(self, program: list[tuple[int, int, int, int]]) -> int:
        accumulator = index = place = 0
        while True:
            code, if_so, if_not, value = program[place]
            place += 1
            match code:
                case 0x20 | 0x28 | 0x30:
                    accumulator = self._load(value, {0x20: 4, 0x28: 2, 0x30: 1}[code])
                case 0x48:
                    accumulator = self._load(index + value, 2)
                case 0x01:
                    index = value
                case 0xB1:
                    index = 4 * (self._load(value, 1) & 0x0F)
                case 0x54:
                    accumulator &= value
                case 0x05:
                    place += value
                case 0x15 | 0x25 | 0x35 | 0x45:
                    tests = {
                        0x15: accumulator == value,
                        0x25: accumulator > value,
                        0x35: accumulator >= value,
                        0x45: bool(accumulator & value),
                    }
                    place += if_so if tests[code] else if_not
                case 0x06:
                    return value
                case _:
                    raise AssertionError(f"unknown instruction {code:#x}")


def passes(ports: Ports, packet: bytes, packet_type: int = _HOST, hardware: int = _ETHERNET) -> bool:
    """Say whether a packet passes the filter for these ports."""
    return Machine(packet, packet_type, hardware).run(port_filter(ports))


def between(one: int, other: int) -> tuple[bytes, bytes]:
    """Make what goes between these ports, UDP and TCP."""
    return udp(b"x", (ALICE[0], one), (BOB[0], other)), tcp(
        b"x", 1, source=(ALICE[0], one), destination=(BOB[0], other)
    )


class FilterTests(SynchronousTestCase):
    """What passes and what does not."""

    ports = Ports(sip=((5060, 5060), (5080, 5090)), rtp=(10000, 20000))

    def test_ports(self) -> None:
        """One of the two ports has to be among those that are watched; those of RTP count for UDP."""
        for one, other, is_udp, is_tcp in (
            (5060, 1, True, True),
            (1, 5060, True, True),
            (5090, 1, True, True),
            (1, 5080, True, True),
            (1, 10000, True, False),
            (20000, 1, True, False),
            (5061, 5079, False, False),
            (9999, 20001, False, False),
        ):
            for payload, protocol, expected in zip(between(one, other), (17, 6), (is_udp, is_tcp), strict=True):
                for packet in (ipv4(payload, protocol), ipv4(payload, protocol, options=5), ipv6(payload, protocol)):
                    self.assertEqual(passes(self.ports, packet), expected, (one, other, protocol))

    def test_no_rtp(self) -> None:
        """Where no RTP is watched, its ports are as any others."""
        self.assertFalse(passes(Ports(), ipv4(between(10000, 10000)[0])))
        self.assertTrue(passes(Ports(), ipv4(between(5060, 10000)[0])))

    def test_loopback(self) -> None:
        """On the loopback interface a packet passes when it arrives; on others also when it leaves."""
        packet = ipv4(udp(b"x"))
        self.assertFalse(passes(self.ports, packet, _OUTGOING, _LOOPBACK))
        self.assertTrue(passes(self.ports, packet, _HOST, _LOOPBACK))
        self.assertTrue(passes(self.ports, packet, _OUTGOING, _ETHERNET))

    def test_fragments(self) -> None:
        """Parts of UDP and TCP that have no ports pass, and IPv6 with extension headers; other protocols do not."""
        self.assertTrue(passes(self.ports, ipv4(b"x" * 8, place=3)))
        self.assertFalse(passes(self.ports, ipv4(b"x" * 8, 1, place=3)))
        self.assertFalse(passes(self.ports, ipv4(between(1, 2)[0], place=0x2000)))
        self.assertTrue(passes(self.ports, ipv6(b"x" * 8, 44)))
        self.assertFalse(passes(self.ports, ipv6(b"x" * 8, 58)))

    def test_nothing(self) -> None:
        """What is no IP does not pass, nor what ends too soon; there is a filter that nothing passes."""
        for packet in (b"", b"\0" * 40, ipv4(udp(b"x"))[:21]):
            self.assertFalse(passes(self.ports, packet))
        self.assertFalse(Machine(ipv4(udp(b"x")), _HOST, _ETHERNET).run(NOTHING))

    def test_largest(self) -> None:
        """As many ranges as there may be have room, and the last one counts."""
        ports = Ports(sip=tuple((1000 + 2 * n, 1000 + 2 * n) for n in range(MAX_RANGES)), rtp=(20000, 30000))
        last = 1000 + 2 * (MAX_RANGES - 1)
        for payload, protocol in zip(between(1, last), (17, 6), strict=True):
            self.assertTrue(passes(ports, ipv4(payload, protocol)))
        self.assertFalse(passes(ports, ipv4(between(1, last + 1)[0])))

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=80), st.sampled_from([b"", ipv4(udp(b"x")), ipv6(udp(b"x"))]))
    def test_any_octets(self, octets: bytes, start: bytes) -> None:
        """Whatever the packet, the filter comes to an end."""
        passes(self.ports, start + octets)


class PortsTests(SynchronousTestCase):
    """How ports are written."""

    def test_read(self) -> None:
        """Ports and ranges, with commas between them."""
        self.assertEqual(parse_ranges("5060, 5080-5090"), ((5060, 5060), (5080, 5090)))

    def test_faults(self) -> None:
        """What is no port, or a range the wrong way round, or too many of them, is refused."""
        for text in ("", "x", "0", "65536", "2-1", "-5", "5-", "1-2-3"):
            self.assertRaises(ValueError, parse_range, text)
        self.assertRaises(ValueError, parse_ranges, ",".join(map(str, range(1, MAX_RANGES + 2))))
