"""What can be done in a call: hold, digits, requests, recordings, raw packets."""

from __future__ import annotations

from pathlib import Path

from sipd.errors import CallFailedError, InvalidStateError, LocalError, RemoteError
from sipd.media.endpoint.settings import EndpointSettings
from sipd.media.endpoint.sinks import Detecting
from sipd.phone.call import Call
from sipd.phone.incoming import IncomingCall
from sipd.rtp.detection import SilenceDetector, ToneDetector
from sipd.rtp.g711 import tone_level
from sipd.rtp.wave import parse_wave
from sipd.sdp.description import Direction
from sipd.sip.message import Request
from tests.phone.support import ALICE, BOB, Ear, PhoneCase, answering, forever


class TalkingCase(PhoneCase):
    """Two phones with a call between them."""

    audio = EndpointSettings(rtcp_interval=0.0)

    def setUp(self) -> None:
        """Let one call the other."""
        super().setUp()
        self.alice, self.bob = self.phone(ALICE, "alice", audio=self.audio), self.phone(BOB, "bob", audio=self.audio)
        taken = answering(self.bob)
        dialling = self.alice.dial(f"bob@{BOB}")
        self.clock.advance(1.0)
        self.caller: Call = self.successResultOf(dialling)
        self.callee: IncomingCall = taken[0]


class ChangeTests(TalkingCase):
    """What is agreed on is changed by either side."""

    def test_hold(self) -> None:
        """Who is on hold sends nothing, and hears what is played; afterwards all is as it was."""
        changes: list[Call] = []
        self.callee.on_media = changes.append
        ear, other = Ear(), Ear()
        self.caller.connect(None, ear)
        self.callee.connect(None, other)
        forever(self.caller.play("tone:de:dial", times=None))
        forever(self.callee.play("tone:us:dial", times=None))
        holding = self.caller.hold()
        self.clock.advance(1.0)
        self.successResultOf(holding)
        self.assertTrue(self.caller.is_held)
        self.assertTrue(self.callee.audio.is_held)
        self.assertEqual(len(changes), 1)
        heard = len(ear.samples)
        self.clock.advance(1.0)
        self.assertFalse(ear.hears(440))
        self.assertTrue(other.hears(425))
        del heard
        resuming = self.caller.resume()
        self.clock.advance(1.0)
        self.successResultOf(resuming)
        self.clock.advance(1.0)
        self.assertTrue(ear.hears(440))
        self.assertFalse(self.callee.audio.is_held)

    def test_both_hold(self) -> None:
        """When both hold nothing flows; when both resume all does (RFC 3264 section 8.4)."""
        for change in (self.caller.hold, self.callee.hold):
            changing = change()
            self.clock.advance(1.0)
            self.successResultOf(changing)
        self.assertFalse(self.caller.audio.is_sending or self.callee.audio.is_sending)
        for change in (self.callee.resume, self.caller.resume):
            changing = change()
            self.clock.advance(1.0)
            self.successResultOf(changing)
        self.assertTrue(self.caller.audio.is_sending and self.callee.audio.is_sending)

    def test_at_the_same_time(self) -> None:
        """Two changes that cross both come true (RFC 3261 section 14.1)."""
        changes = [self.caller.hold(), self.callee.hold()]
        self.clock.advance(15.0)
        for changing in changes:
            self.successResultOf(changing)
        self.assertTrue(self.caller.is_held and self.callee.is_held)
        self.assertFalse(self.caller.audio.is_sending or self.callee.audio.is_sending)

    def test_in_turn(self) -> None:
        """Changes of one side come one after the other."""
        changes = [self.caller.hold(), self.caller.resume(), self.caller.hold()]
        self.clock.advance(5.0)
        for changing in changes:
            self.successResultOf(changing)
        self.assertTrue(self.caller.is_held)

    def test_by_update(self) -> None:
        """UPDATE does the same where both understand it (RFC 3311)."""
        sent = len(self.network.log)
        changing = self.caller.renegotiate(Direction.SENDONLY, by_update=True)
        self.clock.advance(1.0)
        self.successResultOf(changing)
        self.assertTrue(self.callee.audio.is_held)
        self.assertTrue(any(event.data.startswith(b"UPDATE ") for event in list(self.network.log)[sent:]))

    def test_ended_meanwhile(self) -> None:
        """A change fails with the call, and there is none after it."""
        self.network.partition([BOB])
        changing = self.caller.hold()
        self.clock.advance(1.0)
        self.caller.hang_up()
        self.failureResultOf(changing, CallFailedError)
        self.network.heal()
        self.clock.advance(40.0)
        self.failureResultOf(self.caller.hold(), InvalidStateError)


class SayingTests(TalkingCase):
    """What is said beside sound."""

    def test_digits(self) -> None:
        """Digits are said and collected, as events and by INFO."""
        for send in (self.caller.send_digits, self.caller.send_digits_by_info):
            collecting = self.callee.collect(4, timeout=20.0)
            sending = send("12#")
            self.clock.advance(10.0)
            self.successResultOf(sending)
            self.assertEqual(self.successResultOf(collecting), "12")
        self.failureResultOf(self.caller.send_digits("1x"), LocalError)

    def test_requests(self) -> None:
        """INFO and MESSAGE are answered by the application, or else taken note of."""
        seen: list[tuple[str, bytes]] = []

        async def take(call: Call, request: Request) -> int | None:
            await self.sleep(0.1)
            seen.append((request.method, request.body))
            return 403 if request.body == b"no" else None

        for hook, expected in ((None, (200, 200)), (take, (200, 403, 200))):
            self.callee.on_request = hook
            asking = [self.caller.message("grüß dich"), self.caller.info("text/plain", b"no")]
            if hook is not None:
                asking.append(self.caller.notify("x", "text/plain", b"tea"))
            self.clock.advance(1.0)
            self.assertEqual(tuple(self.successResultOf(one).status for one in asking), expected)
        self.assertEqual(seen, [("MESSAGE", "grüß dich".encode()), ("INFO", b"no"), ("NOTIFY", b"tea")])

    def test_application_that_fails(self) -> None:
        """A request on which the application fails is answered with 500."""

        def fails(call: Call, request: Request) -> None:
            raise ZeroDivisionError

        self.callee.on_request = fails
        asking = self.caller.message("hello")
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(asking).status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_digits_refused(self) -> None:
        """A digit by INFO that is refused is told."""
        self.callee.drop()
        sending = self.caller.send_digits_by_info("1")
        self.clock.advance(1.0)
        self.assertEqual(self.failureResultOf(sending, RemoteError).value.status, 481)
        self.clock.advance(40.0)


class HearingTests(TalkingCase):
    """What is done with sound."""

    def test_echo_and_record(self) -> None:
        """What is said comes back from an echo, and is recorded with what was said."""
        path = Path(self.mktemp())
        self.callee.echo()
        recording = self.caller.record(path, both=True)
        forever(self.caller.play("tone:de:dial", times=None))
        self.clock.advance(2.0)
        self.assertAlmostEqual(self.successResultOf(recording.stop()), 2.0, delta=0.1)
        samples = parse_wave(path.read_bytes()).samples()
        for channel in (0, 1):
            self.assertGreater(tone_level(samples[channel::2][-8000:], 425), 0.8)

    def test_recording_of_a_call_that_ends(self) -> None:
        """A recording that nobody ends is complete when the call is over."""
        path = Path(self.mktemp())
        recording = self.caller.record(path)
        forever(self.callee.play("tone:us:dial", times=None))
        self.clock.advance(2.0)
        self.caller.hang_up()
        self.clock.advance(1.0)
        self.successResultOf(recording.stop())
        self.assertGreater(tone_level(parse_wave(path.read_bytes()).samples()[-8000:-400], 440), 0.4)

    def test_muted(self) -> None:
        """Who is muted is not heard, until it is not any more."""
        ear = Ear()
        self.callee.connect(None, ear)
        forever(self.caller.play("tone:de:dial", times=None))
        self.caller.mute()
        self.clock.advance(1.0)
        self.assertFalse(ear.hears(425))
        self.caller.unmute()
        self.clock.advance(1.0)
        self.assertTrue(ear.hears(425))

    def test_detectors(self) -> None:
        """A tone, and silence, are found in what is heard."""
        tones: list[bool] = []
        silences: list[bool] = []
        self.callee.connect(None, Detecting(ToneDetector((425,), tones.append), SilenceDetector(silences.append)))
        self.clock.advance(1.0)
        playing = self.caller.play("tone:de:dial", times=2)
        self.clock.advance(4.0)
        self.successResultOf(playing)
        self.assertEqual(tones, [True, False])
        self.assertEqual(silences, [True, False, True])

    def test_statistics(self) -> None:
        """How the media fare is known during the call and after it."""
        self.clock.advance(2.0)
        during = self.caller.statistics
        self.caller.hang_up()
        self.clock.advance(1.0)
        self.assertEqual(self.caller.statistics.codec, "pcmu/8000")
        self.assertGreater(self.caller.statistics.packets_received, 90)
        self.assertGreaterEqual(self.caller.statistics.packets_received, during.packets_received)
