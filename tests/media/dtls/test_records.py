"""Tests of `sipd.media.dtls.records`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.media.dtls.records import is_dtls, pack_records, split_records


def record(kind: int = 22, body: bytes = b"body", version: bytes = b"\xfe\xfd") -> bytes:
    """Make a record of epoch 0."""
    return bytes([kind]) + version + bytes(8) + len(body).to_bytes(2, "big") + body


bodies = st.lists(st.binary(max_size=400), max_size=12)


class SplittingTests(SynchronousTestCase):
    """Where records end."""

    @given(bodies)
    def test_all_found(self, parts: list[bytes]) -> None:
        """Each record of a datagram is found."""
        records = [record(body=part) for part in parts]
        self.assertEqual(split_records(b"".join(records)), records)

    def test_rest_is_left_out(self) -> None:
        """What is cut off, of no known type or version, or too long, is left out with all that follows it."""
        good = record()
        for bad in (
            good[:-1],
            good[:12],
            record(kind=24),
            record(kind=0),
            record(version=b"\x03\x03"),
            record(version=b"\xfe\xfc"),
            record(body=bytes(18433)),
        ):
            self.assertEqual(split_records(good + bad), [good])
            self.assertEqual(split_records(bad + good)[1:], [])

    @given(st.binary(max_size=100))
    def test_any_octets(self, data: bytes) -> None:
        """Any octets give records that are their beginning."""
        self.assertTrue(data.startswith(b"".join(split_records(data))))

    def test_is_dtls(self) -> None:
        """The first octet tells DTLS from STUN, RTP and TURN."""
        self.assertEqual([number for number in range(256) if is_dtls(bytes([number]))], list(range(20, 64)))
        self.assertFalse(is_dtls(b""))


class PackingTests(SynchronousTestCase):
    """Records as datagrams."""

    @given(bodies)
    def test_borders(self, parts: list[bytes]) -> None:
        """Nothing is lost, no datagram is larger than it may be, and each ends where a record ends."""
        records = [record(body=part) for part in parts]
        datagrams = pack_records(records, 500)
        self.assertEqual(b"".join(datagrams), b"".join(records))
        self.assertEqual([each for datagram in datagrams for each in split_records(datagram)], records)
        self.assertLessEqual(max(map(len, datagrams), default=0), 500)

    def test_large_record_alone(self) -> None:
        """A record that is larger than a datagram may be goes alone."""
        small, large = record(), record(body=bytes(600))
        self.assertEqual(pack_records([small, large, small, small], 500), [small, large, small + small])
