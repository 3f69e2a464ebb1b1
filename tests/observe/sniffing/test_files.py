"""Saved captures, read and written."""

from __future__ import annotations

import io
import os
import stat
import struct
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.sniffing.errors import CaptureFileError
from sipd.observe.sniffing.files import SavedCapture, SavedPacket, read_packets
from sipd.observe.sniffing.packets import Link, parse_packet
from sipd.observe.sniffing.segments import parse_datagram
from tests.observe.sniffing.wires import ALICE, ALICE_6, BOB, BOB_6, ethernet, ipv4, pcap, pcapng, pcapng_block, udp

_PACKETS = [(1000.25, ipv4(udp(b"one"))), (1000.5, ipv4(udp(b"two!!")))]
_FRAMES = [(at, ethernet(packet)) for at, packet in _PACKETS]


def read(data: bytes) -> list[SavedPacket]:
    """Read a capture."""
    return list(read_packets(io.BytesIO(data)))


class ReadTests(SynchronousTestCase):
    """What other programs wrote."""

    def test_pcap(self) -> None:
        """Both byte orders, microseconds and nanoseconds, any known link type."""
        for order in "<>":
            for nanoseconds in (False, True):
                for number, link in ((101, Link.RAW), (12, Link.RAW), (1, Link.ETHERNET), (276, Link.COOKED_2)):
                    found = read(pcap(_PACKETS, number, order, nanoseconds))
                    self.assertEqual([(one.at, one.data) for one in found], _PACKETS)
                    self.assertEqual({one.link for one in found}, {link})

    def test_pcapng(self) -> None:
        """Both byte orders, any resolution, several sections; blocks that are not known are passed over."""
        for order in "<>":
            for resolution in (3, 6, 9):
                data = pcapng(_FRAMES, order=order, resolution=resolution)
                found = read(data + data)
                self.assertEqual([(one.at, one.data) for one in found], _FRAMES * 2)
                self.assertEqual({one.link for one in found}, {Link.ETHERNET})

    def test_pcapng_simple_packets(self) -> None:
        """A packet without a time is at 0; one of a link that is not known is passed over."""
        simple = pcapng_block(3, struct.pack("<I", 7) + b"1234567")
        self.assertEqual(read(pcapng([]) + simple), [SavedPacket(at=0.0, link=Link.ETHERNET, data=b"1234567")])
        self.assertEqual(read(pcapng(_FRAMES, link=147)), [])

    def test_faults(self) -> None:
        """What is no capture, or damaged, or of an unknown link, says so."""
        for data, text in (
            (b"", "empty"),
            (b"INVITE sip:bob", "neither pcap nor pcapng"),
            (pcap([], link=147), "link type 147"),
            (pcap([])[:20], "cut off"),
            (pcap([]) + struct.pack("<IIII", 0, 0, 2**31, 0), "impossible length"),
            (pcapng([]) + pcapng_block(6, b"short"), "without its header"),
            (pcapng([]) + pcapng_block(6, struct.pack("<IIIII", 9, 0, 0, 0, 0)), "of no interface"),
            (pcapng([]) + pcapng_block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99)), "impossible length"),
            (pcapng([]) + pcapng_block(1, b"x"), "says nothing"),
            (pcapng([]) + struct.pack("<II", 6, 9), "impossible length"),
            (pcapng([])[:8] + b"none", "without a byte order"),
            (pcapng([])[:4] + b"\x08\0\0\0" + pcapng([])[8:], "impossible length"),
        ):
            self.assertRegex(str(self.assertRaises(CaptureFileError, read, data)), text)

    def test_cut_off(self) -> None:
        """What stands before the place where a capture ends too soon is read."""
        for data in (pcap(_PACKETS), pcapng(_FRAMES)):
            packets = read_packets(io.BytesIO(data[:-3]))
            self.assertEqual(next(packets).at, 1000.25)
            self.assertRegex(str(self.assertRaises(CaptureFileError, next, packets)), "cut off")

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from([b"", pcap(_PACKETS), pcapng(_FRAMES), pcap([]), pcapng([])]), st.binary(), st.data())
    def test_any_octets(self, start: bytes, rest: bytes, data: st.DataObject) -> None:
        """Whatever the octets, there are packets, or the one error."""
        octets = bytearray(start + rest)
        for _ in range(data.draw(st.integers(0, 3)) if octets else 0):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        try:
            read(bytes(octets))
        except CaptureFileError:
            return


class WriteTests(SynchronousTestCase):
    """What we write. That tshark reads it is shown in `tests.interop.test_monitor`."""

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.path = directory / "shown.pcap"

    def test_written_and_read(self) -> None:
        """Each message is a datagram with its addresses and its time, and only the owner can read the file."""
        self.path.write_text("something else")
        saved = SavedCapture(self.path, size_octets=10_000)
        saved.add(1000.25, ALICE, BOB, b"one")
        saved.add(1000.5, ALICE_6, BOB_6, b"two")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        found = read(self.path.read_bytes())
        self.assertEqual([one.at for one in found], [1000.25, 1000.5])
        for one, source, data in zip(found, (ALICE, ALICE_6), (b"one", b"two"), strict=True):
            packet = parse_packet(one.link, one.data)
            assert packet is not None
            datagram = parse_datagram(packet.payload)
            self.assertEqual((packet.source, datagram.source_port, datagram.payload), (*source, data))
        saved.close()
        saved.close()

    def test_full(self) -> None:
        """At its bound the file ends with a whole message; that is told once."""
        saved = SavedCapture(self.path, size_octets=100)
        saved.add(0.0, ALICE, BOB, b"one")
        self.assertRegex(str(self.assertRaises(CaptureFileError, saved.add, 0.0, ALICE, BOB, b"x" * 30)), "full")
        saved.add(0.0, ALICE, BOB, b"")
        self.assertEqual(len(read(self.path.read_bytes())), 1)

    def test_nowhere(self) -> None:
        """Where it cannot be made, there is an error that names it."""
        for path in (self.path / "x" / "y", Path(os.devnull) / "x"):
            error = self.assertRaises(CaptureFileError, SavedCapture, path, size_octets=100)
            self.assertIn(str(path), str(error))
