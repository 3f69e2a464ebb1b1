"""Tests of `sipd.rtp.pcap`."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.capture import CapturedMessage
from sipd.observe.pcap import pcap
from sipd.rtp.pcap import FILE_HEADER, Address, datagram_record

HOSTS = ("192.0.2.1", "198.51.100.7", "2001:db8::1", "fe80::1%eth0", "::ffff:192.0.2.1", "localhost", "")


def other_record(at: float, source: Address, destination: Address, data: bytes) -> bytes:
    """Give what `sipd.observe.pcap` writes, without the checksum of UDP where IPv4 allows that."""
    message = CapturedMessage(at=at, data=data, sent=True, transport="UDP", local=source, remote=destination)
    record = pcap([message])[len(FILE_HEADER) :]
    return record[:42] + bytes(2) + record[44:] if record[16] == 0x45 else record


class RecordTests(SynchronousTestCase):
    """Datagrams in packets that were made for them."""

    @given(
        st.integers(0, 2**31).map(lambda number: number / 8),
        st.tuples(st.sampled_from(HOSTS), st.integers(0, 65535)),
        st.tuples(st.sampled_from(HOSTS), st.integers(0, 65535)),
        st.binary(max_size=100),
    )
    def test_as_for_messages(self, at: float, source: Address, destination: Address, data: bytes) -> None:
        """A datagram looks as a captured SIP message does."""
        self.assertEqual(datagram_record(at, source, destination, data), other_record(at, source, destination, data))

    def test_too_long(self) -> None:
        """A datagram that no IPv4 packet can hold is cut, and the lengths are true."""
        record = datagram_record(1.0, ("192.0.2.1", 1), ("192.0.2.2", 2), bytes(70000))
        self.assertEqual(struct.unpack_from("<II", record, 8), (65535, 65535))
        self.assertEqual(struct.unpack_from(">H", record, 18), (65535,))
        self.assertEqual(len(record), 16 + 65535)
