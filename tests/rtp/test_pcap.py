"""Tests of `sipd.rtp.pcap`."""

from __future__ import annotations

import struct

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.rtp.pcap import Address, datagram_record
from tests.media.packets import check_packet

#: What a host is shown as, alone and beside one of the newer version of IP.
HOSTS = {
    "192.0.2.1": ("192.0.2.1", "::ffff:c000:201"),
    "198.51.100.7": ("198.51.100.7", "::ffff:c633:6407"),
    "2001:db8::1": ("", "2001:db8::1"),
    "fe80::1%eth0": ("", "fe80::1"),
    "::ffff:192.0.2.1": ("", "::ffff:c000:201"),
    "localhost": ("0.0.0.0", "::ffff:0:0"),
    "": ("0.0.0.0", "::ffff:0:0"),
}


class RecordTests(SynchronousTestCase):
    """Datagrams in packets that were made for them."""

    @given(
        st.integers(0, 2**31).map(lambda number: number / 8),
        st.tuples(st.sampled_from(sorted(HOSTS)), st.integers(0, 65535)),
        st.tuples(st.sampled_from(sorted(HOSTS)), st.integers(0, 65535)),
        st.binary(max_size=100),
    )
    @example(0.0, ("", 0), ("", 0), b"")
    @example(0.0, ("", 0), ("", 0), b"\xff\xde")
    def test_packet(self, at: float, source: Address, destination: Address, data: bytes) -> None:
        """Time, addresses, ports and data are there, lengths and checksums are right; one of UDP is always there."""
        record = datagram_record(at, source, destination, data)
        seconds, fraction, captured, length = struct.unpack_from("<IIII", record)
        self.assertEqual((seconds, fraction), (int(at), round(at % 1 * 1_000_000)))
        self.assertEqual((captured, length), (len(record) - 16, len(record) - 16))
        shown, to, _, datagram = check_packet(record[16:])
        is_older = all(HOSTS[host][0] for host in (source[0], destination[0]))
        self.assertEqual(record[16] >> 4, 4 if is_older else 6)
        names = [HOSTS[host][0 if is_older else 1] for host in (source[0], destination[0])]
        self.assertEqual([shown, to], names)
        self.assertEqual(struct.unpack_from(">HH", datagram), (source[1], destination[1]))
        self.assertNotEqual(datagram[6:8], bytes(2))
        self.assertEqual(datagram[8:], data)

    def test_too_long(self) -> None:
        """A datagram that no IPv4 packet can hold is cut, and the lengths are true."""
        record = datagram_record(1.0, ("192.0.2.1", 1), ("192.0.2.2", 2), bytes(70000))
        self.assertEqual(struct.unpack_from("<II", record, 8), (65535, 65535))
        self.assertEqual(struct.unpack_from(">H", record, 18), (65535,))
        self.assertEqual(len(record), 16 + 65535)
