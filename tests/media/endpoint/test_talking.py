"""Two endpoints talk on a simulated network: `sipd.media.endpoint.endpoint`."""

from __future__ import annotations

from itertools import pairwise

from zope.interface.verify import verifyObject

from sipd.errors import MissingCodecError, SoundError
from sipd.interfaces import IMediaEndpoint
from sipd.media.endpoint.settings import EndpointSettings
from sipd.media.endpoint.sources import ToneSource
from sipd.rtp.packet import RtpPacket, parse_packet
from sipd.rtp.tones import TonePattern, ToneStep
from sipd.sdp.description import Direction
from sipd.testing.links import Fate
from tests.media.endpoint.support import ALICE, BOB, EndpointTestCase, describe

TONE = "tone:440"


def endless(frequency: int) -> TonePattern:
    """Give a pattern without an end."""
    return TonePattern(steps=(ToneStep(frequencies=(frequency,), duration=1.0),))


class SpeakingTests(EndpointTestCase):
    """What one says the other hears."""

    def test_is_a_media_endpoint(self) -> None:
        """It has what user agents want of an endpoint."""
        self.assertTrue(verifyObject(IMediaEndpoint, self.endpoint()))

    def test_tones_both_ways(self) -> None:
        """Each side hears the tone of the other one, and not its own."""
        alice, bob = self.pair()
        at_alice, at_bob = self.ear(alice), self.ear(bob)
        alice.play(TONE, times=None)
        bob.play("tone:1000", times=None)
        self.run_for(1.0)
        self.assertTone(at_alice, 1000)
        self.assertTone(at_bob, 440)
        self.assertEqual(alice.codec, "pcmu/8000")
        self.assertEqual(alice.remote, bob.local)

    def test_each_codec(self) -> None:
        """Every codec carries a tone, at its own clock."""
        for name, codec in (("pcma", "pcma/8000"), ("g722", "g722/8000"), ("opus", "opus/48000/2")):
            with self.subTest(name):
                try:
                    alice, bob = self.pair(EndpointSettings(codecs=(name,)))
                except MissingCodecError as error:
                    self.skipTest(str(error))
                ear = self.ear(bob)
                alice.play(TONE, times=None)
                self.run_for(1.0)
                self.assertEqual(bob.codec, codec)
                self.assertTone(ear, 440)
                self.assertLess(bob.statistics.jitter or 0, 0.001)
                self.finish()

    def test_over_ipv6(self) -> None:
        """Addresses may be of IPv6."""
        alice, bob = self.endpoint("2001:db8::1"), self.endpoint("2001:db8::2")
        self.agree(alice, bob)
        ear = self.ear(bob)
        alice.play(TONE, times=None)
        self.run_for(0.6)
        self.assertTone(ear, 440)

    def test_packets_follow_each_other(self) -> None:
        """Sequence numbers and timestamps go on by one and 160; the first packet alone is marked (RFC 3550, 5.1)."""
        alice, _ = self.pair()
        alice.play(TONE, times=None)
        self.run_for(1.0)
        packets = self.sent(alice.local)
        self.assertGreater(len(packets), 45)
        self.assertEqual([packet.marker for packet in packets], [True] + [False] * (len(packets) - 1))
        for before, packet in pairwise(packets):
            self.assertEqual((packet.sequence - before.sequence) & 0xFFFF, 1)
            self.assertEqual((packet.timestamp - before.timestamp) & 0xFFFFFFFF, 160)
            self.assertEqual(packet.ssrc, before.ssrc)

    def test_silence_is_sent_too(self) -> None:
        """An endpoint with nothing to say sends silence, so that nobody takes the call for dead."""
        _, bob = self.pair()
        ear = self.ear(bob)
        self.run_for(1.0)
        self.assertGreater(bob.statistics.packets_received, 45)
        self.assertSilent(ear)

    def test_mute(self) -> None:
        """Muted, silence is sent instead of what is played."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        alice.play(TONE, times=None)
        alice.is_muted = True
        self.run_for(0.6)
        self.assertSilent(ear)
        alice.is_muted = False
        self.run_for(0.6)
        self.assertTone(ear, 440)

    def test_echo(self) -> None:
        """What comes is sent back until that is stopped."""
        alice, bob = self.pair()
        ear = self.ear(alice)
        bob.echo()
        alice.play(TONE, times=None)
        self.run_for(0.8)
        self.assertTone(ear, 440)
        bob.stop_playing()
        self.run_for(0.6)
        self.assertSilent(ear)

    def test_source_and_what_is_played(self) -> None:
        """What is played goes before what a source gives, which is heard again afterwards."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        alice.connect(ToneSource(endless(1000)), None)
        self.run_for(0.6)
        self.assertTone(ear, 1000)
        playing = alice.play(TONE)
        self.run_for(0.6)
        self.assertTone(ear, 440)
        self.run_for(1.0)
        self.successResultOf(playing)
        self.assertTone(ear, 1000)

    def test_larger_packets_where_they_are_wanted(self) -> None:
        """A peer that asks for 40 ms gets packets of 40 ms."""
        alice = self.endpoint()
        stream = ("m=audio 4000 RTP/AVP 0", "a=ptime:40")
        alice.answer_offer(describe(stream))
        self.run_for(1.0)
        packets = self.sent(alice.local)
        self.assertEqual({len(packet.payload) for packet in packets}, {320})
        self.assertEqual((packets[1].timestamp - packets[0].timestamp) & 0xFFFFFFFF, 320)

    def sent(self, source: tuple[str, int] | None) -> list[RtpPacket]:
        """Give the RTP packets that left an address."""
        return [
            parse_packet(event.data) for event in self.network.log if event.fate is Fate.SENT and event.source == source
        ]


class PlayingTests(EndpointTestCase):
    """When what is played is over."""

    def test_fires_at_the_end(self) -> None:
        """A second of tone takes a second."""
        alice, _ = self.pair()
        playing = self.outcome(alice.play(TONE))
        self.run_for(0.97)
        self.assertFalse(playing.is_there)
        self.run_for(0.1)
        self.assertIsNone(playing.value)

    def test_times(self) -> None:
        """Twice two seconds of silence take four seconds."""
        alice, _ = self.pair()
        playing = self.outcome(alice.play("silence:2.0", times=2))
        self.run_for(3.9)
        self.assertFalse(playing.is_there)
        self.run_for(0.2)
        self.assertIsNone(playing.value)

    def test_a_source(self) -> None:
        """A source is played until it is over, louder or less loud."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        playing = self.outcome(alice.play(ToneSource(endless(700), duration=0.5), gain=-6.0))
        self.run_for(0.4)
        self.assertTone(ear, 700)
        self.run_for(0.2)
        self.assertIsNone(playing.value)
        self.assertRaises(ValueError, alice.play, TONE, times=0)

    def test_beats_that_are_left_out(self) -> None:
        """When the process was held up, what is played pauses, and the timestamps tell for how long."""
        alice, bob = self.pair()
        alice.play(TONE, times=None)
        self.run_for(0.2)
        packets: list[RtpPacket] = []
        alice.on_rtp = lambda packet, sent: packets.append(packet) if sent else None
        self.run_for(0.02)
        alice.skip(10)
        self.run_for(0.02)
        first, second = packets
        self.assertEqual((second.timestamp - first.timestamp) & 0xFFFFFFFF, 11 * 160)
        self.assertTrue(second.marker)
        self.assertEqual(bob.statistics.malformed, 0)

    def test_another_one_ends_the_first(self) -> None:
        """What is played is replaced by the next, and its Deferred fires."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        first = self.outcome(alice.play(TONE, times=None))
        self.run_for(0.5)
        alice.play("tone:1000", times=None)
        self.assertIsNone(first.value)
        self.run_for(0.5)
        self.assertTone(ear, 1000)

    def test_cancelling_stops(self) -> None:
        """To cancel the Deferred is to stop."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        playing = alice.play(TONE, times=None)
        playing.addErrback(lambda _: None)
        self.run_for(0.5)
        playing.cancel()
        self.run_for(0.6)
        self.assertSilent(ear)

    def test_waits_for_a_codec(self) -> None:
        """What is played before the answer is there begins with it."""
        alice, bob = self.endpoint(ALICE), self.endpoint(BOB)
        playing = self.outcome(alice.play(TONE))
        self.run_for(2.0)
        self.agree(alice, bob)
        ear = self.ear(bob)
        self.run_for(0.6)
        self.assertFalse(playing.is_there)
        self.assertTone(ear, 440)

    def test_what_cannot_be_played(self) -> None:
        """A file that is not there, and a tone that nobody knows, are `SoundError`s."""
        alice, _ = self.pair()
        for what in ("/nowhere/nothing.wav", "tone:xx:ringback", "tone:zero", "tone:9000", "silence:-1"):
            with self.subTest(what):
                playing = alice.play(what)
                self.run_for(0.1)
                self.failureResultOf(playing, SoundError)

    def test_a_tone_of_ones_own(self) -> None:
        """A cadence may be written out."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        playing = self.outcome(alice.play("tone:440+480 400/400"))
        self.run_for(0.4)
        self.assertTone(ear, 440, 480)
        self.run_for(0.35)
        self.assertSilent(ear, 0.1)
        self.run_for(0.2)
        self.assertTrue(playing.is_there)

    def test_goes_on_with_another_codec(self) -> None:
        """A re-offer that changes the codec does not begin the sound anew."""
        alice = self.endpoint(ALICE)
        bob = self.endpoint(BOB, EndpointSettings(codecs=("pcma",)))
        alice.answer_offer(describe(("m=audio 4000 RTP/AVP 0",)))
        playing = self.outcome(alice.play("tone:440 1000/1000"))
        self.run_for(1.0)
        self.agree(bob, alice)
        ear = self.ear(bob)
        self.run_for(0.5)
        self.assertEqual(alice.codec, "pcma/8000")
        self.assertSilent(ear)
        self.run_for(0.6)
        self.assertTrue(playing.is_there)


class HoldTests(EndpointTestCase):
    """Who is held is not heard."""

    def test_hold_and_resume(self) -> None:
        """Held, alice sends nothing; resumed, she is heard again."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        alice.play(TONE, times=None)
        self.run_for(0.6)
        self.agree(bob, alice, Direction.SENDONLY)
        self.assertTrue(alice.is_held)
        self.assertEqual((alice.is_sending, alice.is_receiving), (False, True))
        self.assertEqual((bob.is_sending, bob.is_receiving, bob.is_held), (True, False, False))
        self.run_for(0.5)
        received = bob.statistics.packets_received
        self.run_for(0.5)
        self.assertEqual(bob.statistics.packets_received, received)
        self.assertSilent(ear)
        self.agree(bob, alice)
        self.assertFalse(alice.is_held)
        self.run_for(0.8)
        self.assertTone(ear, 440)

    def test_old_style_hold(self) -> None:
        """The address 0.0.0.0 is hold, too (RFC 3264 section 8.4)."""
        alice = self.endpoint()
        alice.answer_offer(describe(("m=audio 4000 RTP/AVP 0",)))
        self.assertTrue(alice.is_sending)
        alice.answer_offer(describe(("m=audio 4000 RTP/AVP 0",), address="0.0.0.0"))
        self.assertTrue(alice.is_held)
        self.assertFalse(alice.is_sending)

    def test_digits_wait(self) -> None:
        """Digits that are sent on hold come when that is over."""
        alice, bob = self.pair()
        digits: list[str] = []
        bob.on_digit.append(digits.append)
        self.agree(bob, alice, Direction.INACTIVE)
        sending = self.outcome(alice.send_digits("5"))
        self.run_for(1.0)
        self.assertEqual(digits, [])
        self.assertFalse(sending.is_there)
        self.agree(bob, alice)
        self.run_for(1.0)
        self.assertEqual(digits, ["5"])
        self.assertTrue(sending.is_there)

    def test_kept_alive(self) -> None:
        """Who may send nothing sends an empty datagram now and then, so that NAT stays open."""
        alice, bob = self.pair(EndpointSettings(keep_alive=15.0))
        self.agree(bob, alice, Direction.INACTIVE)
        self.run_for(1.0)
        before = len(self.network.log)
        self.run_for(40.0)
        empty = [event for event in self.network.log[before:] if event.fate is Fate.SENT and not event.data]
        self.assertEqual(sum(event.source == alice.local for event in empty), 2)
        self.assertEqual(alice.statistics.malformed, 0)

    def test_rejected_offer(self) -> None:
        """What held before an offer that is refused goes on."""
        alice, bob = self.pair()
        ear = self.ear(bob)
        alice.play(TONE, times=None)
        alice.make_offer(Direction.INACTIVE)
        alice.offer_rejected()
        self.run_for(0.6)
        self.assertTone(ear, 440)
