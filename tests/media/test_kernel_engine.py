"""The relay with the kernel forwarding below it: the same behaviour, on the loopback interface of a namespace."""

from __future__ import annotations

import struct

from sipd.media.engine import Engine
from sipd.media.kernel.forwarder import explain_unavailable
from sipd.media.kernel.offload import KernelOffload, make_offload
from sipd.media.reactor import ReactorEngine
from tests import namespaces
from tests.media import test_datagrams, test_looking_after, test_session
from tests.media.support import IP4, IP6, RelayTestCase, describe, place_of


def _rtp(sequence: int, payload_type: int = 0, ssrc: int = 7) -> bytes:
    return struct.pack("!BBHII", 0x80, payload_type, sequence, 160 * sequence, ssrc) + bytes(160)


class KernelTestCase(RelayTestCase):
    """Lets the kernel forward what it can."""

    skip = explain_unavailable() or namespaces.explain_unavailable()
    offload: KernelOffload

    def setUp(self) -> None:
        namespace = namespaces.Namespace()
        self.addCleanup(namespace.close)
        entered = namespace.entered()
        entered.__enter__()
        self.addCleanup(entered.__exit__, None, None, None)
        super().setUp()

    def make_engine(self) -> Engine:
        """See `RelayTestCase`."""
        self.offload = make_offload((IP4, IP6), max_flows=1024)
        return ReactorEngine(self.reactor, pause=0, offload=self.offload, settings=self.engine_settings)


class RelayingTests(test_datagrams.RelayingTests, KernelTestCase):
    """See `tests.media.test_datagrams`."""


class SourceTests(test_datagrams.SourceTests, KernelTestCase):
    """See `tests.media.test_datagrams`."""


class RtcpTests(test_datagrams.RtcpTests, KernelTestCase):
    """See `tests.media.test_datagrams`."""


class MuxTests(test_datagrams.MuxTests, KernelTestCase):
    """See `tests.media.test_datagrams`."""


class FloodTests(test_looking_after.FloodTests, KernelTestCase):
    """See `tests.media.test_looking_after`."""


class KeepaliveTests(test_looking_after.KeepaliveTests, KernelTestCase):
    """See `tests.media.test_looking_after`."""


class ReportsTests(test_looking_after.ReportsTests, KernelTestCase):
    """See `tests.media.test_looking_after`."""


class AsymmetricTests(test_looking_after.AsymmetricTests, KernelTestCase):
    """See `tests.media.test_looking_after`."""


class RtpSourceTests(test_looking_after.RtpSourceTests, KernelTestCase):
    """See `tests.media.test_looking_after`."""


class NegotiationTests(test_session.NegotiationTests, KernelTestCase):
    """See `tests.media.test_session`."""


class ForkTests(test_session.ForkTests, KernelTestCase):
    """See `tests.media.test_session`."""


class FamilyTests(test_session.FamilyTests, KernelTestCase):
    """See `tests.media.test_session`."""


class OffloadTests(test_datagrams.CallTestCase, KernelTestCase):
    """What comes to the kernel, and back."""

    alice_says = bob_says = ("a=rtpmap:101 telephone-event/8000",)

    def connect(self, alice: int, bob: int, address: str = "127.0.0.1") -> None:
        """See `CallTestCase`: with telephone events."""
        media = (f"m=audio {alice} RTP/AVP 0 101", f"m=audio {bob} RTP/AVP 0 101")
        self.offered = self.offer("a", "b1", describe(media[0], address=address, extra=self.alice_says))
        self.answered = self.answer("b1", "a", describe(media[1], extra=self.bob_says))
        self.to_bob, self.to_alice = place_of(self.answered), place_of(self.offered)

    def stream(self, first: int, count: int) -> None:
        """Let both talk; nobody here has to read anything for that when the kernel forwards."""
        for sequence in range(first, first + count):
            self.alice.send(_rtp(sequence), self.to_bob)
            self.bob.send(_rtp(sequence, ssrc=8), self.to_alice)
        self.assertEqual(self.bob.received(), [_rtp(sequence) for sequence in range(first, first + count)])
        self.assertEqual(self.alice.received(), [_rtp(sequence, ssrc=8) for sequence in range(first, first + count)])

    def talk(self) -> None:
        """Let the sources be settled by RTP."""
        self.stream(1, 3)
        self.reactor.advance(6.0)
        self.stream(4, 2)
        self.assertEqual(len(self.offload), 2)

    def forwards_alone(self) -> None:
        """Check that datagrams arrive though nobody reads from the sockets here."""
        self.alice.send_unseen(_rtp(100), self.to_bob)
        self.assertEqual(self.bob.waiting(), [_rtp(100)])

    def test_settled_streams(self) -> None:
        """Once both sources are settled the kernel forwards, and its counters are the call's."""
        self.talk()
        self.forwards_alone()
        self.stream(6, 10)
        packets = {entry.leg: (entry.packets, entry.ssrc) for entry in self.statistics()}
        self.assertEqual(packets, {"a": (16, 7), "b1": (15, 8)})

    def test_events_come_up(self) -> None:
        """Telephone events are forwarded by user space, and do not count as lost for that."""
        self.talk()
        self.alice.send_unseen(_rtp(6, 101), self.to_bob)
        self.assertEqual(self.bob.waiting(), [])
        self.reactor.read_all()
        self.assertEqual(self.bob.received(), [_rtp(6, 101)])
        self.stream(7, 3)
        self.assertEqual([entry.lost for entry in self.statistics()], [0, 1])

    def test_no_keepalive(self) -> None:
        """What the kernel forwards keeps the path alive; when it stops, empty datagrams do."""
        self.talk()
        for second in range(60):
            self.stream(6 + second, 1)
            self.reactor.advance(1.0)
        self.assertEqual((self.alice.received(), self.bob.received()), ([], []))
        self.reactor.pump([1.0] * 25)
        self.assertEqual((self.alice.received(), self.bob.received()), ([b""], [b""]))

    def test_asymmetric(self) -> None:
        """A leg that is sent to elsewhere than it comes from stays here, and so does the other one."""
        self.session = self.open_session()
        self.session.set_asymmetric("a")
        self.bob, ear = self.party(), self.party()
        self.connect(ear.port, self.bob.port)
        for sequence in range(1, 20):
            self.alice.send(_rtp(sequence), self.to_bob)
            self.bob.expect(_rtp(sequence))
            self.bob.send(_rtp(sequence, ssrc=8), self.to_alice)
            ear.expect(_rtp(sequence, ssrc=8))
            self.reactor.advance(1.0)
        self.assertEqual(len(self.offload), 0)

    def test_new_address(self) -> None:
        """A re-INVITE with new ports takes the stream back from the kernel; when it is settled it goes there again."""
        self.talk()
        self.alice = self.party()
        self.connect(self.alice.port, self.bob.port)
        self.assertEqual(len(self.offload), 0)
        self.talk()
        self.forwards_alone()

    def test_other_engine(self) -> None:
        """Another engine takes a call over whose media the kernel forwards, and gives it back, without a loss."""
        self.talk()
        here, there = self.session.engine, ReactorEngine(self.reactor, pause=0)
        self.session.move(there)
        self.assertEqual(len(self.offload), 0)
        self.stream(6, 5)
        self.session.move(here)
        self.stream(11, 5)
        self.assertEqual(len(self.offload), 2)
        counted = [(entry.packets, entry.lost) for entry in self.statistics()]
        self.assertEqual(counted, [(15, 0), (15, 0)])

    def test_two_hundred_calls(self) -> None:
        """After 200 calls no flow is left."""
        for _ in range(200):
            session = self.session = self.open_session()
            self.alice, self.bob = self.party(), self.party()
            self.connect(self.alice.port, self.bob.port)
            self.talk()
            session.close()
            self.assertEqual(len(self.offload), 0)
            self.alice.close()
            self.bob.close()
            self.reactor.advance(31.0)
