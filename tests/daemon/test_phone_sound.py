"""A microphone and a loudspeaker at `sipd phone`: their options, and calls that have them."""

from __future__ import annotations

import os
from array import array
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from zope.interface.verify import verifyObject

from sipd.daemon.commands.phone import Answer, Dial
from sipd.daemon.telephone.answerer import AnswerWanted, answer
from sipd.daemon.telephone.handset import Handset
from sipd.daemon.telephone.settings import Talk
from sipd.media.endpoint.devices import alsa_loudspeaker, alsa_microphone
from sipd.media.endpoint.interfaces import IEndingSink, ISink, ISource
from tests.daemon.telephones import CAROL, LISTEN, Station, TelephoneCase
from tests.daemon.test_phone_options import OptionCase
from tests.media.endpoint.processes import NAME, FakeProcess, Processes, octets

_TO = "sip:bob@192.0.2.2"
_FRAME = 160
_MICROPHONE = (NAME, "in")
_LOUDSPEAKER = (NAME, "out")


class OptionTests(OptionCase):
    """What is understood, and what is not."""

    def setUp(self) -> None:
        super().setUp()
        # A place with programs of that name, whether they are installed or not.
        for name in ("arecord", "aplay", "sox"):
            path = self.directory / "bin" / name
            path.parent.mkdir(exist_ok=True)
            path.touch(0o755)
        self.patch(os, "environ", {**os.environ, "PATH": str(self.directory / "bin")})

    def commands(self, *words: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give the commands of microphone and loudspeaker, which are the same for both commands."""
        talk = self.parsed(Dial(), *words, _TO).talk()
        self.assertEqual(self.parsed(Answer(), *words).talk(), talk)
        return talk.microphone, talk.loudspeaker

    def test_devices(self) -> None:
        """`--sound` is for both; each can be said by itself, as a device of ALSA or as a command; else none is."""
        both = alsa_microphone("default"), alsa_loudspeaker("default")
        self.assertEqual(self.commands(), ((), ()))
        self.assertEqual(self.commands("--sound", "default"), both)
        self.assertEqual(self.commands("--microphone", "plughw:1,0"), (alsa_microphone("plughw:1,0"), ()))
        self.assertEqual(self.commands("--speaker", "x"), ((), alsa_loudspeaker("x")))
        self.assertEqual(self.commands("--sound", "default", "--speaker", "x"), (both[0], alsa_loudspeaker("x")))
        words = ("--microphone", "|sox -d 'two words' -", "--speaker", "default")
        self.assertEqual(self.commands(*words), (("sox", "-d", "two words", "-"), both[1]))

    def test_with_others(self) -> None:
        """A file may be played before one talks, and what is heard is recorded or sent back as well as given."""
        file = self.directory / "a.wav"
        file.touch()
        for words in (
            ["--sound", "default", "--play", str(file), "--record", "x.wav", "--record-both", "--dtmf", "1"],
            ["--speaker", "default", "--play", "tone:440"],
            ["--speaker", "default", "--echo"],
        ):
            self.assertTrue(self.commands(*words)[1])

    def test_misuse(self) -> None:
        """What cannot be is status 2, with a line that says what, before anybody is called."""
        file = self.directory / "a.wav"
        file.touch()
        for expected, words in (
            ("either --echo or --microphone", ["--microphone", "default", "--echo"]),
            ("either --echo or --microphone", ["--sound", "default", "--echo"]),
            ("--play has no end here", ["--microphone", "default", "--play", "tone:440"]),
            ("--play has no end here", ["--sound", "default", "--play", str(file), "--loop"]),
            ("--speaker: there is no program pacat", ["--sound", "default", "--speaker", "|pacat --raw"]),
            ("--microphone: a device, or | and a command", ["--microphone", "|"]),
            ("--sound: a device, or | and a command", ["--sound", ""]),
            ("--microphone: No closing quotation", ["--microphone", "|sox '"]),
        ):
            self.assert_misused(expected, "dial", _TO, *words)
            self.assert_misused(expected, "answer", *words)
        self.patch(os, "environ", {**os.environ, "PATH": "/nowhere"})
        expected = "--sound: there is no program arecord (Debian package alsa-utils)"
        self.assert_misused(expected, "dial", _TO, "--sound", "default")


class SoundCase(TelephoneCase):
    """Stations whose host has processes."""

    def equip(self, station: Station) -> Processes:
        """Let a station have processes, of which none may be left."""
        processes = Processes()
        host: Any = station.host
        host.spawnProcess = processes.spawnProcess

        def check() -> None:
            self.assertEqual([process.command for process in processes.made if not process.has_exited], [])
            self.assertEqual(processes.getDelayedCalls(), [])

        self.addCleanup(check)
        return processes

    def talking(self, microphone: FakeProcess, loudspeaker: FakeProcess, seconds: float) -> array[int]:
        """Let time pass in which somebody says something at one end; give what is heard at the other."""
        heard = bytearray()
        for _ in range(round(seconds * 50)):
            if not microphone.has_exited:
                microphone.say(octets(*[8000] * _FRAME))
            self.clock.advance(0.02)
            heard += loudspeaker.takes()
        return array("h", bytes(heard))

    def end_all(self, processes: Processes) -> None:
        """Let programs that were told to end do so."""
        for process in processes.made:
            if not process.has_exited:
                process.exit(signal=15)
        self.clock.advance(0.1)


class CallTests(SoundCase):
    """Calls with devices."""

    def test_call(self) -> None:
        """What one says is heard by the other; the programs are ended with the call, and the end has how they fared."""
        at_alice, at_bob = self.equip(self.alice), self.equip(self.bob)
        answered = self.answering(talk=Talk(loudspeaker=_LOUDSPEAKER))
        dialled = self.dialling(seconds=0.2, talk=Talk(microphone=_MICROPHONE, hangup_after=2.0))
        (microphone,), (loudspeaker,) = at_alice.made, at_bob.made
        self.assertEqual((microphone.command, loudspeaker.command), (list(_MICROPHONE), list(_LOUDSPEAKER)))
        heard = self.talking(microphone, loudspeaker, 1.0)
        self.assertGreater(sum(sample > 7000 for sample in heard), 40 * _FRAME)
        self.clock.advance(2.0)
        self.assertEqual(microphone.signals, ["TERM"])
        self.assertNoResult(dialled)
        self.assertEqual(os.read(loudspeaker.input, 10**6)[-2:], b"\0\0")
        self.assertEqual(os.read(loudspeaker.input, 10**6), b"")
        self.end_all(at_alice)
        self.end_all(at_bob)
        self.clock.advance(5.0)
        self.assertEqual((self.successResultOf(dialled), self.successResultOf(answered)), (0, 0))
        self.assertRegex(self.alice.lines[-2], r"^microphone: 0\.00 s dropped, \d+ times too little$")
        self.assertRegex(self.bob.lines[-2], r"^speaker: \d\.\d\d s dropped$")
        self.assertRegex(self.alice.lines[-1], "^ended by this side ")

    def test_file_first(self) -> None:
        """What is played goes before what the microphone hears, which is not late afterwards."""
        at_alice, at_bob = self.equip(self.alice), self.equip(self.bob)
        self.answering(talk=Talk(loudspeaker=_LOUDSPEAKER))
        dialled = self.dialling(seconds=0.2, talk=Talk(play="silence:0.5", microphone=_MICROPHONE, hangup_after=2.0))
        (microphone,), (loudspeaker,) = at_alice.made, at_bob.made
        self.assertEqual(max(self.talking(microphone, loudspeaker, 0.3)), 0)
        self.assertGreater(min(self.talking(microphone, loudspeaker, 1.0)[-_FRAME:]), 7000)
        self.clock.advance(2.0)
        self.end_all(at_alice)
        self.end_all(at_bob)
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(dialled), 0)

    def test_fails(self) -> None:
        """A device that cannot be used is a line for each, and status 1; the call goes on as long as was wanted."""
        processes = self.equip(self.alice)
        self.answering()
        talk = Talk(microphone=_MICROPHONE, loudspeaker=("no-such-program",), hangup_after=2.0)
        dialled = self.dialling(seconds=0.2, talk=talk)
        processes.made[0].say(b"audio open error: No such device\n", 2)
        processes.made[0].exit(1)
        self.clock.advance(1.0)
        self.assertNoResult(dialled)
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(dialled), 1)
        self.assertEqual(
            self.alice.complaints,
            [
                "speaker: there is no program no-such-program",
                f"microphone: {NAME} has ended with status 1: audio open error: No such device",
            ],
        )
        self.assertRegex(self.alice.lines[-1], r"^ended by this side after 2\.\d s")

    def test_interrupted(self) -> None:
        """Ctrl-C, which the programs get as well, is no failure of theirs."""
        processes = self.equip(self.alice)
        self.answering()
        self.dialling(seconds=0.5, talk=Talk(microphone=_MICROPHONE, loudspeaker=_LOUDSPEAKER))
        self.alice.running.cancel()
        self.end_all(processes)
        self.clock.advance(10.0)
        self.failureResultOf(self.alice.running, CancelledError)
        self.assertEqual(self.alice.complaints, [])

    def test_stubborn(self) -> None:
        """A program that takes no notice of SIGTERM gets SIGKILL, and is waited for."""
        processes = self.equip(self.alice)
        self.answering()
        dialled = self.dialling(seconds=5.0, talk=Talk(microphone=_MICROPHONE, hangup_after=1.0))
        self.assertEqual(processes.made[0].signals, ["TERM", "KILL"])
        self.assertNoResult(dialled)
        self.end_all(processes)
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(dialled), 0)

    def test_transferred(self) -> None:
        """Who is sent on to somebody else goes on with the same programs there, until that call is over, too."""
        carol = Station(self, CAROL)
        processes, at_carol = self.equip(self.bob), self.equip(carol)
        carol.run(
            answer,
            AnswerWanted(line=self.line(listen=LISTEN), is_once=True, talk=Talk(loudspeaker=_LOUDSPEAKER)),
        )
        talk = Talk(microphone=_MICROPHONE, loudspeaker=_LOUDSPEAKER, follows=True, hangup_after=4.0)
        answered = self.answering(talk=talk)
        self.dialling(seconds=3.0, talk=Talk(transfer_to=f"sip:carol@{CAROL}", transfer_after=1.0))
        microphone, loudspeaker = processes.made
        self.assertEqual((microphone.signals, loudspeaker.signals), ([], []))
        heard = self.talking(microphone, at_carol.made[0], 1.0)
        self.assertGreater(max(heard, default=0), 7000)
        self.assertGreater(len(loudspeaker.takes()), 0)
        self.clock.advance(10.0)
        self.assertEqual(len(processes.made), 2)
        self.assertIn("TERM", microphone.signals)
        self.end_all(processes)
        self.end_all(at_carol)
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(answered), 0)


class HandsetTests(SoundCase):
    """A handset, and calls that are none."""

    def test_one_call_at_a_time(self) -> None:
        """The call that had it before has it no longer, since two that read one microphone would each get a half."""
        processes = self.equip(self.alice)
        handset = Handset(
            self.alice.host,
            microphone=_MICROPHONE,
            loudspeaker=_LOUDSPEAKER,
            screen=self.alice.screen,
            failed=self.alice.complaints.append,
        )
        first, second = AudioCall(), AudioCall()
        for call in (first, second):
            handset.connect(cast(Any, call))
        self.assertEqual((first.source, first.sink), (None, None))
        self.assertTrue(verifyObject(ISource, second.source))
        self.assertTrue(verifyObject(ISink, second.sink))
        self.assertFalse(IEndingSink.providedBy(second.sink))
        closing = Deferred.fromCoroutine(handset.close())
        self.end_all(processes)
        self.successResultOf(closing)


class AudioCall:
    """As much of a call as a handset sees."""

    def __init__(self) -> None:
        self.source: object = None
        self.sink: object = None

    def connect(self, source: object, sink: object) -> None:
        """See `Call`."""
        self.source, self.sink = source, sink
