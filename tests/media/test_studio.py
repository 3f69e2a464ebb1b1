"""What is recorded of a session, and what its legs hear that no leg says: verified by tones."""

from __future__ import annotations

import struct
from array import array
from dataclasses import replace
from pathlib import Path

from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, SoundError
from sipd.interfaces import IMediaStudio, MediaPolicy
from sipd.media.announcement import Announcer
from sipd.media.pacer import Pacer
from sipd.media.recording import Recorder, RecordingSettings
from sipd.media.relay import MediaRelay
from sipd.media.sounds import SoundLibrary
from sipd.rtp.g711 import decode_ulaw, encode_ulaw, tone, tone_level
from sipd.rtp.packet import parse_packet
from sipd.rtp.wave import parse_wave
from tests.media.recordings import WALL, StepWriter
from tests.media.support import Party, RelayTestCase, describe, place_of
from tests.media.test_announcement import OtherThread
from tests.media.wires import BesideWorker

_PACKET = 0.02


class Talker:
    """Somebody who whistles one note."""

    def __init__(self, party: Party, frequency: int, ssrc: int) -> None:
        self.party = party
        self.to = ("", 0)
        self._frequency = frequency
        self._ssrc = ssrc
        self._place = 0

    def talk(self) -> None:
        """Send 20 ms."""
        sound = encode_ulaw(tone(self._frequency, _PACKET, start=160 * self._place))
        self._place += 1
        header = struct.pack("!BBHII", 0x80, 0, self._place & 0xFFFF, 160 * self._place, self._ssrc)
        self.party.send(header + sound, self.to)

    def heard(self) -> array[int]:
        """Give all that came, in the order of arrival."""
        samples = array("h")
        for packet in self.party.received():
            samples += decode_ulaw(parse_packet(packet).payload)
        return samples


class StudioTestCase(RelayTestCase):
    """Alice whistles at 440 Hz, Bob at 1000."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.writer = StepWriter()
        super().setUp()
        self.recorder = Recorder(
            RecordingSettings(directory=self.directory),
            writer=self.writer,
            seconds=self.reactor.seconds,
            wall=lambda: WALL + self.reactor.seconds(),
        )
        self.pacer = Pacer(self.reactor)
        library = SoundLibrary(in_thread=OtherThread())
        self.relay = MediaRelay(
            engine=self.relay._engine,
            addresses=self.addresses,
            ports=self.allocator,
            seconds=self.reactor.seconds,
            recorder=self.recorder,
            announcer=Announcer(library, self.pacer, lambda count: bytes(count)),
        )
        self.session = self.open_session()
        self.alice, self.bob = Talker(self.party(), 440, 7), Talker(self.party(), 1000, 8)

    def connect(self, *, alice: str = "sendrecv", bob: str = "sendrecv") -> None:
        """Negotiate."""
        offered = self.offer("a", "b1", describe(("audio", self.alice.party.port), extra=(f"a={alice}",)))
        answered = self.answer("b1", "a", describe(("audio", self.bob.party.port), extra=(f"a={bob}",)))
        self.alice.to, self.bob.to = place_of(answered), place_of(offered)

    def talk(self, seconds: float, *talkers: Talker) -> None:
        """Let time pass in which these whistle."""
        for _ in range(round(seconds / _PACKET)):
            for talker in talkers:
                talker.talk()
            self.reactor.advance(_PACKET)

    def check_tone(self, samples: array[int], frequency: int) -> None:
        """Check that it is that note and nothing else."""
        self.assertGreater(len(samples), 0)
        self.assertGreater(tone_level(samples, frequency), 0.9)

    def file(self) -> tuple[array[int], array[int]]:
        """Give what is in the two channels of the only file there is."""
        [path] = [path for path in self.directory.rglob("*") if path.is_file()]
        samples = parse_wave(path.read_bytes()).samples()
        return samples[::2], samples[1::2]

    def finish(self) -> None:
        """Close the session, and let the file be finished."""
        self.successResultOf(self.session.close())
        self.reactor.read_all()


class RecordingTests(StudioTestCase):
    """Files."""

    def test_interface(self) -> None:
        """The studio is what it says."""
        verifyObject(IMediaStudio, self.session.studio)

    def test_by_policy(self) -> None:
        """A call that is to be recorded is, from the answer to the end: the caller on the left."""
        self.session.set_policy("b1", MediaPolicy(record="wave"))
        self.connect()
        self.talk(1.0, self.alice, self.bob)
        self.session.established()
        self.assertTrue(self.session.studio.is_recording)
        self.talk(3.0, self.alice, self.bob)
        self.finish()
        left, right = self.file()
        self.check_tone(left[800:], 440)
        self.check_tone(right[800:], 1000)
        self.assertAlmostEqual(len(left) / 8000, 3.0, delta=0.1)
        self.check_tone(self.alice.heard(), 1000)

    def test_in_mid_call(self) -> None:
        """Somebody may ask for a recording, and end it, while the call goes on."""
        self.connect()
        self.talk(1.0, self.alice, self.bob)
        self.session.studio.record()
        self.talk(2.0, self.alice, self.bob)
        result = self.successResultOf(self.session.studio.stop_recording())
        self.assertAlmostEqual(result.duration, 2.0, delta=0.1)
        self.talk(1.0, self.alice, self.bob)
        self.check_tone(self.bob.heard(), 440)
        self.assertFalse(self.session.studio.is_recording)

    def test_new_leg(self) -> None:
        """Who comes in by a transfer is recorded in the channel of the one in whose place."""
        self.connect()
        self.session.studio.record()
        self.talk(1.0, self.alice, self.bob)
        carol = Talker(self.party(), 2000, 9)
        offered = self.offer("a", "b2", describe(("audio", self.alice.party.port)))
        answered = self.answer("b2", "a", describe(("audio", carol.party.port)))
        self.session.leg_ended("b1")
        self.alice.to, carol.to = place_of(answered), place_of(offered)
        self.talk(1.0, self.alice, carol)
        self.finish()
        left, right = self.file()
        self.check_tone(left[800:15000], 440)
        self.check_tone(right[800:7000], 1000)
        self.check_tone(right[8800:15000], 2000)

    def test_nowhere_to_record(self) -> None:
        """Without a directory nothing is recorded, and the call is none the worse."""
        self.relay._settings = replace(self.relay._settings, recorder=None)
        self.session = self.open_session()
        self.session.set_policy("a", MediaPolicy(record="wave"))
        self.connect()
        self.session.established()
        self.assertEqual(len(self.kinds("recording")), 1)
        with self.assertRaises(InvalidStateError):
            self.session.studio.record()
        self.talk(0.5, self.alice)
        self.check_tone(self.bob.heard(), 440)


class PlayingTests(StudioTestCase):
    """Announcements."""

    def test_instead_of_the_other_side(self) -> None:
        """One leg hears a tone and not the other leg, which hears it as before; then all is as it was."""
        self.connect()
        self.talk(0.5, self.alice, self.bob)
        self.alice.heard(), self.bob.heard()
        playing = self.session.studio.play("a", "tone:eu:ringback", duration=0.8)
        self.talk(0.7, self.alice, self.bob)
        self.check_tone(self.alice.heard(), 425)
        self.check_tone(self.bob.heard(), 440)
        self.talk(0.5, self.alice, self.bob)
        self.assertAlmostEqual(self.successResultOf(playing).duration, 0.8, delta=0.03)
        self.alice.heard()
        self.talk(0.5, self.alice, self.bob)
        self.check_tone(self.alice.heard(), 1000)

    def test_nothing_that_can_be_played(self) -> None:
        """A file that is not there is an error of that announcement; the legs hear each other again."""
        self.connect()
        playing = self.session.studio.play("a", str(self.directory / "nothing.wav"))
        self.failureResultOf(playing, SoundError)
        self.failureResultOf(self.session.studio.play("a", "tone:eu:nonsense"), InvalidStateError)
        self.failureResultOf(self.session.studio.play("c", "tone:eu:busy"), InvalidStateError)
        self.talk(0.5, self.bob)
        self.check_tone(self.alice.heard(), 1000)

    def test_hold_music(self) -> None:
        """Who is on hold hears what is set for that, until the call is resumed."""
        self.session.set_policy("b1", MediaPolicy(hold_music="tone:eu:dial"))
        self.connect()
        self.talk(0.5, self.alice, self.bob)
        self.connect(alice="sendonly", bob="recvonly")
        self.bob.heard()
        self.talk(2.0)
        self.check_tone(self.bob.heard(), 425)
        self.connect()
        self.talk(0.1)
        self.bob.heard()
        self.talk(0.5, self.alice, self.bob)
        self.check_tone(self.bob.heard(), 440)

    def test_end_of_the_call(self) -> None:
        """A call that ends while something is played leaves nothing behind."""
        self.connect()
        playing = self.session.studio.play("b1", "tone:eu:busy", times=None)
        self.talk(0.5)
        self.finish()
        self.assertFalse(self.successResultOf(playing).is_complete)

    def test_recorded(self) -> None:
        """What legs say is recorded while something is played to them."""
        self.connect()
        self.session.studio.record()
        self.session.studio.play("a", "tone:eu:busy", duration=1.0)
        self.talk(1.0, self.alice, self.bob)
        self.finish()
        left, right = self.file()
        self.check_tone(left[800:7000], 440)
        self.check_tone(right[800:7000], 1000)


class WorkerTests(BesideWorker, RecordingTests):
    """The same where a worker would forward: this process does, as soon as it has to listen."""
