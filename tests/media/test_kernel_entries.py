"""Tests of `sipd.media.kernel.entries`: what is written into the map, and what is read from it."""

from __future__ import annotations

import dataclasses
import struct

from twisted.trial.unittest import SynchronousTestCase

from sipd.media.kernel.entries import (
    KEY_SIZE,
    VALUE_SIZE,
    Field,
    Flow,
    KeyField,
    difference,
    pack_key,
    pack_value,
    unpack_counters,
)
from tests.media.packets import checksum

FLOW = Flow(
    source=("192.0.2.1", 0x1234),
    destination=("192.0.2.2", 0x5678),
    new_source=("198.51.100.1", 0x4000),
    new_destination=("198.51.100.2", 0x4002),
)


class KeyTests(SynchronousTestCase):
    """What a packet has to look like."""

    def test_ipv4_is_mapped(self) -> None:
        """Addresses take 16 octets, ports are as in the packet."""
        key = pack_key(FLOW.key)
        self.assertEqual(len(key), KEY_SIZE)
        self.assertEqual(key[KeyField.SOURCE : KeyField.DESTINATION], bytes(10) + b"\xff\xff\xc0\x00\x02\x01")
        self.assertEqual(key[KeyField.PORTS :], bytes.fromhex("1234 5678 04000000"))

    def test_ipv6(self) -> None:
        """However an address is written, the key is the same."""
        keys = {pack_key(((one, 1), ("2001:db8::2", 2))) for one in ("2001:db8::1", "2001:0DB8:0::0001")}
        self.assertEqual(len(keys), 1)
        self.assertEqual(keys.pop()[KeyField.VERSION], 6)

    def test_what_is_no_key(self) -> None:
        """Names, mixed versions, scopes, IPv4 in disguise and impossible ports are refused."""
        good = FLOW.destination
        for source in (("x.example", 1), ("::1", 1), ("192.0.2.1", 0), ("192.0.2.1", 65536), ("", 1)):
            self.assertRaises(ValueError, pack_key, (source, good))
        for host in ("fe80::1%lo", "::ffff:192.0.2.1"):
            self.assertRaises(ValueError, pack_key, ((host, 1), ("::1", 1)))


class ValueTests(SynchronousTestCase):
    """What becomes of a packet."""

    def test_replacement(self) -> None:
        """Addresses and ports stand as they are to stand in the packet."""
        value = pack_value(FLOW, interface=7, mtu=1500)
        self.assertEqual(len(value), VALUE_SIZE)
        self.assertEqual(value[:12], bytes.fromhex("c6336401 c6336402 4000 4002"))
        self.assertEqual(struct.unpack_from("<I", value, Field.INTERFACE), (7,))
        self.assertEqual(struct.unpack_from("<I", value, Field.MTU), (1500,))
        self.assertEqual(value[Field.UPWARD : Field.UPWARD + 6], b"\xff\xff\xff\xff\xff\x00")

    def test_payload_types(self) -> None:
        """Those of user space fill up with one that does not exist."""
        flow = dataclasses.replace(FLOW, upward_payload_types=(101, 13), payload_type=8, forwards_rtcp=True)
        value = pack_value(flow, interface=1, mtu=1500)
        self.assertEqual(value[Field.UPWARD : Field.UPWARD + 6], bytes([101, 13, 255, 255, 8, 1]))

    def test_differences(self) -> None:
        """A checksum that is changed by a difference is the checksum of what was changed."""
        old = bytes.fromhex("45000028 00004000 4011 0000 c0000201 c0000202")
        new = bytes.fromhex("45000028 00004000 3f11 0000 c6336401 c6336402")
        value = pack_value(FLOW, interface=1, mtu=1500)
        (change,) = struct.unpack_from("<I", value, Field.HEADER_DIFFERENCE)
        swapped = (change & 0xFF) << 8 | change >> 8
        total = (~checksum(old) & 0xFFFF) + swapped
        self.assertEqual(~(total % 0xFFFF) & 0xFFFF, checksum(new))

    def test_no_difference(self) -> None:
        """What stays the same changes no sum: in ones' complement that is all ones."""
        self.assertEqual(difference(b"\x12\x34\x56\x78", b"\x12\x34\x56\x78"), 0xFFFF)

    def test_what_is_no_flow(self) -> None:
        """Everything out of range is refused."""
        for wrong in (
            {"new_source": ("::1", 1)},
            {"new_destination": ("198.51.100.2", 0)},
            {"payload_type": 128},
            {"upward_payload_types": (1, 2, 3, 4, 5)},
            {"upward_payload_types": (-1,)},
            {"tick_nanoseconds": 1_000_001},
            {"tick_nanoseconds": -1},
        ):
            with self.assertRaises(ValueError, msg=str(wrong)):
                pack_value(dataclasses.replace(FLOW, **wrong), interface=1, mtu=1500)


class CounterTests(SynchronousTestCase):
    """What the program counted."""

    def test_a_flow_that_carried_nothing(self) -> None:
        """There is no source, and nothing was seen."""
        counters = unpack_counters(pack_value(FLOW, interface=1, mtu=1500))
        self.assertIsNone(counters.last_seen)
        self.assertIsNone(counters.ssrc)
        self.assertEqual(counters.packets, 0)

    def test_units(self) -> None:
        """Times are seconds."""
        value = bytearray(pack_value(FLOW, interface=1, mtu=1500))
        struct.pack_into("<QQ", value, Field.LAST_SEEN, 2_500_000_000, 16_000_000)
        struct.pack_into("<I", value, Field.SSRC, 77)
        counters = unpack_counters(bytes(value))
        self.assertEqual((counters.last_seen, counters.jitter, counters.ssrc), (2.5, 0.001, 77))
