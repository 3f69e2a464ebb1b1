"""Tests of `sipd.media.endpoint.conference`: who hears whom."""

from __future__ import annotations

from array import array
from pathlib import Path

from sipd.errors import InvalidStateError, ResourcesExhaustedError, SoundError
from sipd.media.endpoint.conference import Conference
from sipd.media.endpoint.endpoint import AudioEndpoint
from sipd.media.endpoint.sources import ToneSource
from sipd.rtp.g711 import tone_level
from sipd.rtp.tones import TonePattern, ToneStep
from sipd.rtp.wave import parse_wave
from tests.media.endpoint.support import Ear, EndpointTestCase

_FREQUENCIES = (440, 700, 1000)


class ConferenceTests(EndpointTestCase):
    """Three callers in a room."""

    def setUp(self) -> None:
        super().setUp()
        self.conference = Conference(self.pacer, sounds=self.sounds, writer=self.writer, limit=4)
        self.ears: list[Ear] = []
        self.members: list[AudioEndpoint] = []
        for number, frequency in enumerate(_FREQUENCIES):
            caller, member = self.endpoint(f"192.0.2.{number + 10}"), self.endpoint(f"192.0.2.{number + 20}")
            self.agree(caller, member)
            self.ears.append(self.ear(caller))
            caller.play(f"tone:{frequency}", times=None)
            self.members.append(member)
            self.conference.add(member)

    def finish(self) -> None:
        """Close the room before its members."""
        self.successResultOf(self.conference.close())
        super().finish()

    def test_each_hears_all_others(self) -> None:
        """Everybody hears the tones of the two others and not his own."""
        self.run_for(1.0)
        for number, ear in enumerate(self.ears):
            self.assertTone(ear, *(other for place, other in enumerate(_FREQUENCIES) if place != number))
            self.assertLess(ear.level(_FREQUENCIES[number]), 0.02)

    def test_who_leaves_is_not_heard(self) -> None:
        """After one has left, the others hear each other alone, and he hears nothing."""
        self.run_for(0.5)
        self.conference.remove(self.members[0])
        self.conference.remove(self.members[0])
        self.assertEqual(self.conference.participants, tuple(self.members[1:]))
        self.run_for(0.6)
        self.assertSilent(self.ears[0])
        self.assertTone(self.ears[1], 1000)

    def test_who_is_closed_leaves(self) -> None:
        """An endpoint that is closed, or connected to something else, takes part no more."""
        self.members[0].close()
        self.assertEqual(len(self.conference), 2)
        self.members[1].connect(None, None)
        self.assertEqual(len(self.conference), 1)

    def test_a_source_and_a_sink(self) -> None:
        """Anything that speaks and listens can take part."""
        ear = Ear()
        source = ToneSource(TonePattern(steps=(ToneStep(frequencies=(1500,), duration=1.0),)), duration=1.0)
        self.conference.add((source, ear))
        self.run_for(0.8)
        self.assertGreater(self.ears[0].level(1500), 0.28)
        self.assertTone(ear, *_FREQUENCIES)
        self.run_for(1.0)
        self.assertTone(self.ears[0], 700, 1000)

    def test_announcement_and_recording(self) -> None:
        """Everybody hears an announcement, and the recording has all of it."""
        recording = self.conference.record(Path(self.mktemp()) / "room.wav")
        playing = self.outcome(self.conference.play("tone:1500", gain=6.0))
        self.run_for(0.8)
        for ear in self.ears:
            self.assertGreater(ear.level(1500), 0.4)
        self.run_for(1.0)
        self.assertTrue(playing.is_there)
        self.assertLess(self.ears[0].level(1500), 0.02)
        duration = self.successResultOf(recording.stop())
        self.assertApproximates(duration, 1.8, 0.05)
        samples = parse_wave(recording.path.read_bytes()).samples()
        self.assertEqual(len(samples), round(duration * 8000))
        for frequency in (*_FREQUENCIES, 1500):
            self.assertGreater(tone_level(samples[4000:8000], frequency), 0.1)

    def test_what_cannot_be_played(self) -> None:
        """A tone that nobody knows is a `SoundError`."""
        self.failureResultOf(self.conference.play("tone:nowhere:busy"), SoundError)

    def test_gets_beats_while_it_needs_them(self) -> None:
        """An empty room without a recording does not keep the time."""
        for member in self.members:
            self.conference.remove(member)
        paced = len(self.pacer)
        recording = self.conference.record(Path(self.mktemp()) / "room.wav")
        self.assertEqual(len(self.pacer), paced + 1)
        self.run_for(0.5)
        recording.stop()
        self.run_for(0.1)
        self.assertEqual(len(self.pacer), paced)
        first = self.outcome(self.conference.play("silence:1"))
        self.conference.play("silence:0.2")
        self.assertTrue(first.is_there)
        self.run_for(0.5)
        self.assertEqual(len(self.pacer), paced)

    def test_members_that_fail(self) -> None:
        """A source or sink that raises is not asked again, and all others are heard."""

        class Broken:
            def read(self, count: int) -> array[int] | None:
                raise ZeroDivisionError

            def write(self, samples: array[int]) -> None:
                raise ZeroDivisionError

        self.conference.add((Broken(), Broken()))  # type: ignore[arg-type]
        self.run_for(1.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertTone(self.ears[0], 700, 1000)

    def test_is_bounded(self) -> None:
        """There are so many places, and none once it is closed."""
        self.conference.add(self.members[0])
        self.conference.add((None, None))
        with self.assertRaises(ResourcesExhaustedError):
            self.conference.add((None, Ear()))
        self.conference.close()
        with self.assertRaises(InvalidStateError):
            self.conference.add((None, Ear()))
        self.failureResultOf(self.conference.play("silence:1"), InvalidStateError)
