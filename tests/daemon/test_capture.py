"""Tests of `sipd.daemon.capture`: a file that is complete after every message, and bounded."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sipd.daemon.capture import CaptureFile
from sipd.errors import ConfigurationError
from sipd.interfaces import IFlow, IMessageObserver, ListeningPoint
from sipd.sip.locate import Transport

POINT = ListeningPoint(
    name="udp", transport=Transport.UDP, host="192.0.2.1", port=5060, advertised_host="192.0.2.1", advertised_port=5060
)


@implementer(IFlow)
@dataclass
class Flow:
    """A flow that takes what is sent."""

    transport: Transport = Transport.UDP
    point: ListeningPoint = POINT
    host: str = "192.0.2.9"
    port: int = 5070
    is_open: bool = True
    peer_names: tuple[str, ...] = ()

    def send(self, data: bytes) -> None:
        """See `IFlow`."""

    def close(self) -> None:
        """See `IFlow`."""


def records(data: bytes) -> list[bytes]:
    """Give the packets of a pcap file."""
    found, at = [], 24
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at + 8)
        found.append(data[at + 16 : at + 16 + size])
        at += 16 + size
    return found


class CaptureFileTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        verifyObject(IFlow, Flow())
        self.path = Path(self.mktemp())

    def capture(self, size_octets: int = 10_000) -> CaptureFile:
        """Give a capture at a fixed time."""
        capture = CaptureFile(self.path, size_octets=size_octets, seconds=lambda: 1.5)
        self.addCleanup(capture.close)
        return capture

    def test_is_an_observer(self) -> None:
        """It is what the transport layer tells of messages."""
        verifyObject(IMessageObserver, self.capture())

    def test_is_complete_after_every_message(self) -> None:
        """Each message is in the file when the call returns, from whom to whom it went."""
        capture = self.capture()
        self.assertEqual(records(self.path.read_bytes()), [])
        capture.message_seen(b"one", Flow(), sent=True)
        capture.message_seen(b"two", Flow(), sent=False)
        first, second = records(self.path.read_bytes())
        self.assertTrue(first.endswith(b"one"))
        self.assertEqual((first[12:16], first[16:20]), (bytes((192, 0, 2, 1)), bytes((192, 0, 2, 9))))
        self.assertTrue(second.endswith(b"two"))
        self.assertEqual((second[12:16], second[16:20]), (bytes((192, 0, 2, 9)), bytes((192, 0, 2, 1))))

    def test_is_its_owners_alone(self) -> None:
        """It replaces what was there, and nobody else can read it."""
        self.path.write_text("old")
        self.path.chmod(0o666)
        self.capture()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertNotIn(b"old", self.path.read_bytes())

    def test_bound(self) -> None:
        """At its bound it ends with a whole message."""
        capture = self.capture(1000)
        for _ in range(20):
            capture.message_seen(b"x" * 100, Flow(), sent=True)
        data = self.path.read_bytes()
        self.assertLessEqual(len(data), 1000)
        self.assertEqual([len(packet) for packet in records(data)], [128] * 6)

    def test_closed(self) -> None:
        """Closed, it takes no more, and may be closed again."""
        capture = self.capture()
        capture.close()
        capture.close()
        capture.message_seen(b"late", Flow(), sent=True)
        self.assertEqual(records(self.path.read_bytes()), [])

    def test_cannot_be_made(self) -> None:
        """A folder that is not there is one clear line."""
        self.path = self.path / "absent" / "file"
        error = self.assertRaises(ConfigurationError, self.capture)
        self.assertEqual(error.problems, [f"{self.path}: the capture cannot be written: No such file or directory"])
