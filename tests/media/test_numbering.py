"""Tests of `sipd.media.numbering`."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from sipd.media.numbering import Numbering

_HEADER = struct.Struct("!BBHII")


def packet(sequence: int, *, ssrc: int = 7, payload_type: int = 0) -> bytes:
    """Make a packet whose timestamp says what its number was."""
    return _HEADER.pack(0x80, payload_type, sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, ssrc) + b"sound"


class NumberingTests(SynchronousTestCase):
    """What goes to a leg."""

    def setUp(self) -> None:
        self.now = 0.0
        self.numbering = Numbering(lambda: self.now)
        self.inserted: list[bytes] = []

    def numbers(self, *sequences: int, ssrc: int = 7) -> list[int | None]:
        """Let packets pass; give the numbers that they have then, and check that nothing else has changed."""
        found: list[int | None] = []
        for sequence in sequences:
            before = packet(sequence, ssrc=ssrc)
            after = self.numbering.pass_on(before)
            found.append(None if after is None else _HEADER.unpack_from(after)[2])
            if after is not None:
                self.assertEqual((after[:2], after[4:]), (before[:2], before[4:]))
        return found

    def insert(self) -> int:
        """Put a packet in; give its number."""
        source = self.numbering.source
        assert source is not None
        self.numbering.insert(source, 101, 5, b"event", self._send)
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(self.inserted[-1])
        self.assertEqual((first, second, timestamp, ssrc), (0x80, 101, 5, source.ssrc))
        assert isinstance(sequence, int)
        return sequence

    def _send(self, inserted: bytes) -> None:
        self.assertIs(self.numbering.pass_on(inserted), inserted)
        self.inserted.append(inserted)

    def test_nothing_to_do(self) -> None:
        """Without anything put in or left out packets are what they were, late and repeated ones too."""
        for sequence in (10, 11, 13, 12, 11, 14):
            before = packet(sequence)
            self.assertIs(self.numbering.pass_on(before), before)

    def test_put_in(self) -> None:
        """What is put in has the next numbers, and what follows is shifted for good, also where numbers wrap."""
        self.assertEqual(self.numbers(65533, 65534), [65533, 65534])
        self.assertEqual([self.insert(), self.insert(), self.insert()], [65535, 0, 1])
        self.assertEqual(self.numbers(65535, 0, 1), [2, 3, 4])
        self.assertEqual(self.insert(), 5)
        self.assertEqual(self.numbers(2, 3), [6, 7])

    def test_left_out(self) -> None:
        """What is left out leaves no gap, but what is lost does."""
        self.numbers(10, 11)
        for sequence in (12, 13):
            self.numbering.leave_out(packet(sequence, payload_type=101))
        self.assertEqual(self.numbers(14, 16, 15), [12, 14, 13])

    def test_silence(self) -> None:
        """While it is silent nothing passes, and what is put in takes the place of it."""
        self.numbers(10)
        self.numbering.is_silent = True
        self.assertEqual(self.insert(), 11)
        self.assertEqual(self.numbers(11), [None])
        self.assertEqual(self.insert(), 12)
        self.assertEqual(self.numbers(12, 13), [None, None])
        self.numbering.is_silent = False
        self.assertEqual(self.numbers(14), [13])

    def test_late(self) -> None:
        """A packet that belongs before what was put in would have a number twice: it is dropped. Later ones are not."""
        self.numbers(10, 12)
        self.insert()
        self.assertEqual(self.numbers(11, 14, 13, 12), [None, 15, 14, None])

    def test_late_and_left_out(self) -> None:
        """A late or repeated packet that is left out changes nothing: its gap was closed or is a loss."""
        self.numbers(10)
        for sequence in (12, 12, 11):
            self.numbering.leave_out(packet(sequence))
        self.assertEqual(self.numbers(13), [12])

    def test_new_numbers(self) -> None:
        """A source that begins with other numbers goes on from there."""
        self.numbers(40000)
        self.insert()
        self.assertEqual(self.numbers(5000, 5001), [5001, 5002])
        self.assertEqual(self.insert(), 5003)

    def test_sources_are_apart(self) -> None:
        """Each source has numbers of its own; what is put in goes into the one that came last."""
        self.numbers(10)
        self.insert()
        self.assertEqual(self.numbers(500, ssrc=8), [500])
        self.assertEqual(self.numbers(11), [12])
        self.assertEqual(self.insert(), 13)
        self.assertEqual(self.numbers(501, ssrc=8), [501])

    def test_many_sources(self) -> None:
        """Of more sources than are kept the first is forgotten."""
        for ssrc in range(100):
            self.numbers(10, ssrc=ssrc)
        self.assertEqual(len(self.numbering._sources), 8)

    def test_own_source(self) -> None:
        """Where nothing has come there is a source of our own, with a number in the lower half."""
        source = self.numbering.begin(lambda count: b"\xff" * count)
        self.assertEqual((source.ssrc, source.highest), (0xFFFFFFFF, 0x7FFF))
        self.assertEqual(self.insert(), 0x8000)

    def test_timestamps(self) -> None:
        """What begins now has the timestamp that its source would give, and an event's packets do not hold it back."""
        self.numbers(10)
        source = self.numbering.source
        assert source is not None
        self.now = 0.5
        self.assertEqual(self.numbering.timestamp(source, 8000), 1600 + 4000)
        for sequence in (11, 12):
            self.numbering.pass_on(_HEADER.pack(0x80, 101, sequence, 1600, 7))
        self.assertEqual(self.numbering.timestamp(source, 8000), 1600 + 4000)

    def test_no_packets(self) -> None:
        """What is no RTP passes as it is."""
        for octets in (b"", b"\x80", b"\0\1" + bytes(20)):
            self.assertIs(self.numbering.pass_on(octets), octets)
        self.assertIsNone(self.numbering.source)
