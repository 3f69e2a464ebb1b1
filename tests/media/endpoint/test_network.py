"""Two endpoints on bad and good networks, encrypted or not, and their packets as they are."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from sipd.errors import ConfigurationError, InvalidStateError, LocalError
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.settings import EndpointSettings, Security
from sipd.rtp.packet import RtpPacket
from sipd.testing.links import Link
from tests.media.endpoint.support import ALICE, BOB, EndpointTestCase

TONE = "tone:440"


class NetworkTests(EndpointTestCase):
    """What happens to packets on their way."""

    def test_loss_and_jitter(self) -> None:
        """With loss and jitter the tone is still there, and both sides know of the loss."""
        alice, bob = self.pair(EndpointSettings(rtcp_interval=2.0))
        self.network.set_link(ALICE, BOB, Link(delay=0.05, jitter=0.03, loss=0.05))
        ear = self.ear(bob)
        alice.play(TONE, times=None)
        self.run_for(20.0)
        self.assertGreater(ear.level(440, 2.0), 0.75)
        heard = bob.statistics
        self.assertGreater(heard.lost, 10)
        self.assertGreater(heard.jitter or 0, 0.002)
        self.assertLess(heard.mos or 5, 4.3)
        said = alice.statistics
        self.assertGreater(said.remote_lost or 0, 10)
        self.assertApproximates(said.remote_jitter or 0, heard.jitter or 0, 0.01)
        self.assertEqual(alice.statistics.lost, 0)

    def test_round_trip(self) -> None:
        """Reports tell the round trip: 40 ms there and 20 ms back."""
        alice, bob = self.pair(EndpointSettings(rtcp_interval=2.0))
        self.network.set_link(ALICE, BOB, Link(delay=0.04))
        self.network.set_link(BOB, ALICE, Link(delay=0.02))
        self.run_for(10.0)
        self.assertApproximates(alice.statistics.round_trip or 0, 0.06, 0.001)
        self.assertApproximates(bob.statistics.round_trip or 0, 0.06, 0.001)
        self.assertEqual(bob.statistics.remote_loss, 0.0)

    def test_encrypted(self) -> None:
        """With SRTP a tone and digits come through, and nothing of it can be read on the way."""
        alice, bob = self.pair(EndpointSettings(security=Security.OFFERED), EndpointSettings())
        self.assertTrue(alice.statistics.is_secure and bob.statistics.is_secure)
        ear = self.ear(bob)
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        alice.play(TONE, times=None)
        alice.send_digits("7")
        self.run_for(6.0)
        self.assertTone(ear, 440)
        self.assertEqual(digits, ["7"])
        self.assertEqual(bob.statistics.refused, 0)
        self.assertIsNotNone(alice.statistics.round_trip)
        # A re-offer of the one who would offer plain keeps what holds.
        offer, _ = self.agree(bob, alice)
        self.assertEqual(offer.media[0].protocol, "RTP/SAVP")
        self.run_for(0.6)
        self.assertTone(ear, 440)
        self.assertEqual(bob.statistics.refused, 0)

    def test_where_it_is_advertised(self) -> None:
        """The advertised address and port are in the description."""
        alice = self.endpoint(settings=EndpointSettings(advertised_port=10000), advertised_host="198.51.100.9")
        offer = alice.make_offer()
        self.assertEqual(offer.media[0].port, 10000)
        self.assertEqual(str(offer.connection), "IN IP4 198.51.100.9")

    def test_addresses_that_cannot_be(self) -> None:
        """A name, another version of IP, and an address that is none, are refused."""
        for host, advertised in ((BOB, "example.com"), (BOB, "2001:db8::1"), ("0.0.0.0", ""), ("::", "")):
            with self.subTest(host=host, advertised=advertised), self.assertRaises(ConfigurationError):
                AudioEndpoint(
                    self.host(BOB),  # type: ignore[arg-type]
                    host=host,
                    advertised_host=advertised,
                    pacer=self.pacer,
                    sounds=self.sounds,
                    entropy=self.network.entropy,
                )

    def test_ports_of_a_range(self) -> None:
        """Ports are an even one of the range and the next; when all are taken, that is said."""
        settings = EndpointSettings(ports=(5001, 5005))
        first, second, third = (self.endpoint(settings=settings) for _ in range(3))
        ports = {endpoint.make_offer().media[0].port for endpoint in (first, second)}
        self.assertEqual(ports, {5002, 5004})
        with self.assertRaises(LocalError):
            third.make_offer()


class RawTests(EndpointTestCase):
    """Packets as they are."""

    def test_raw_packets(self) -> None:
        """What is written raw arrives as it is, and nothing else is sent meanwhile."""
        alice, bob = self.pair()
        self.run_for(0.1)
        alice.write_rtp(RtpPacket(payload_type=0, sequence=1, timestamp=2, ssrc=3, payload=b"\xff" * 160))
        self.run_for(0.1)
        reading = bob.read_rtp()
        reading.cancel()
        self.failureResultOf(reading, CancelledError)
        packet = RtpPacket(payload_type=8, sequence=7, timestamp=8, ssrc=9, payload=b"abcd", marker=True)
        alice.write_rtp(packet)
        self.run_for(0.1)
        self.assertEqual(self.successResultOf(bob.read_rtp()), packet)
        received = bob.statistics.packets_received
        self.run_for(0.5)
        self.assertEqual(bob.statistics.packets_received, received)
        alice.stop_playing()
        self.run_for(0.5)
        self.assertGreater(bob.statistics.packets_received, received)

    def test_who_looks_on(self) -> None:
        """Every packet that comes or goes is shown; who looks on may fail."""
        alice, bob = self.pair()
        seen: list[tuple[int, bool]] = []
        alice.on_rtp = lambda packet, sent: seen.append((packet.ssrc, sent))
        bob.on_rtp = lambda packet, sent: [][0]
        self.run_for(1.0)
        self.assertEqual(len(set(seen)), 2)
        self.assertEqual(len(seen), alice.statistics.packets_sent + alice.statistics.packets_received)
        self.assertGreater(bob.statistics.packets_received, 40)
        self.assertGreater(len(self.flushLoggedErrors(IndexError)), 80)

    def test_the_queue_is_bounded(self) -> None:
        """Of packets that nobody reads a hundred are kept, the last ones."""
        _, bob = self.pair()
        self.run_for(0.5)
        first = bob.read_rtp()
        self.run_for(5.0)
        self.assertEqual(self.successResultOf(first).payload_type, 0)
        for _ in range(100):
            self.successResultOf(bob.read_rtp())
        following = bob.read_rtp()
        self.assertNoResult(following)
        self.finish()
        self.failureResultOf(following, InvalidStateError)

    def test_raw_reports(self) -> None:
        """RTCP is read and written as it is, and told to who looks on."""
        alice, bob = self.pair()
        seen: list[bool] = []
        bob.on_rtcp = lambda packets, sent: seen.append(sent)
        reading = bob.read_rtcp()
        self.run_for(8.0)
        (first, *_) = self.successResultOf(reading)
        self.assertEqual(type(first).__name__, "SenderReport")
        self.assertIn(False, seen)
        self.assertIn(True, seen)
        alice.write_rtcp((first,))
        self.assertRaises(ValueError, alice.write_rtcp, ())

    def test_nobody_there(self) -> None:
        """Before an agreement nothing can be written."""
        packet = RtpPacket(payload_type=0, sequence=1, timestamp=2, ssrc=3, payload=b"")
        self.assertRaises(InvalidStateError, self.endpoint().write_rtp, packet)

    def test_media_are_waited_for(self) -> None:
        """The wait is over with the first packet, and later at once."""
        alice, bob = self.endpoint(ALICE), self.endpoint(BOB)
        waiting = self.outcome(alice.wait_for_media())
        self.agree(alice, bob)
        self.assertFalse(waiting.is_there)
        self.run_for(0.5)
        self.assertTrue(waiting.is_there)
        self.successResultOf(alice.wait_for_media())
