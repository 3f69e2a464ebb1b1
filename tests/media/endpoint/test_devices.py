"""Tests of `sipd.media.endpoint.devices` and `programs`."""

from __future__ import annotations

import os
import sys
from array import array
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.task import LoopingCall
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from sipd.errors import InvalidStateError, LocalError
from sipd.media.endpoint.devices import Loudspeaker, Microphone, SoundDevice, alsa_loudspeaker, alsa_microphone
from sipd.media.endpoint.interfaces import IEndingSink, ISource
from sipd.media.endpoint.programs import SoundDeviceError, SoundProgram
from tests.media.endpoint.processes import NAME, FakeProcess, Processes, octets
from tests.media.endpoint.support import EndpointTestCase


class DeviceCase(SynchronousTestCase):
    """Has a reactor with fake processes; in the end there are none, and no timers and no descriptors."""

    def setUp(self) -> None:
        self.reactor = Processes()
        self.failures: list[str] = []
        self.open = sorted(os.listdir("/proc/self/fd"))
        self.addCleanup(self.finish)

    def finish(self) -> None:
        """Check that nothing is left."""
        for process in self.reactor.made:
            if not process.has_exited:
                process.exit(signal=15)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(sorted(os.listdir("/proc/self/fd")), self.open)

    def failed(self, error: SoundDeviceError) -> None:
        """Take note of a failure."""
        self.assertIsInstance(error, LocalError)
        self.failures.append(str(error))

    def started(self, device: SoundDevice) -> FakeProcess:
        """Start a device, and give its process."""
        device.start()
        return self.reactor.made[-1]

    def microphone(self, **more: Any) -> tuple[Microphone, FakeProcess]:
        """Give a microphone that runs."""
        made = Microphone(cast(Any, self.reactor), (NAME, "-in"), on_failure=self.failed, **more)
        return made, self.started(made)

    def loudspeaker(self, **more: Any) -> tuple[Loudspeaker, FakeProcess]:
        """Give a loudspeaker that runs."""
        made = Loudspeaker(cast(Any, self.reactor), (NAME, "-out"), on_failure=self.failed, **more)
        return made, self.started(made)


class MicrophoneTests(DeviceCase):
    """What is read."""

    def test_interfaces(self) -> None:
        """They are a source and a sink, and ALSA's programs are asked for the samples of telephony."""
        microphone, loudspeaker = Microphone(cast(Any, self.reactor)), Loudspeaker(cast(Any, self.reactor))
        self.assertTrue(verifyObject(ISource, microphone))
        self.assertTrue(verifyObject(IEndingSink, loudspeaker))
        self.assertTrue(verifyObject(IReactorProcess, self.reactor))
        form = ["-q", "-t", "raw", "-f", "S16_LE", "-r", "8000", "-c", "1", "-B", "100000", "-F", "20000", "-D"]
        self.assertEqual(microphone.command, ("arecord", *form, "default"))
        self.assertEqual(alsa_loudspeaker("hw:1"), ("aplay", *form, "hw:1"))
        self.assertEqual(alsa_microphone(), microphone.command)

    def test_samples(self) -> None:
        """What the program writes is read in order, wherever its pieces are cut; after a little has gathered."""
        microphone, process = self.microphone()
        said = octets(*range(-400, 400))
        process.say(said[:321])
        self.assertEqual((microphone.read(160), microphone.starved), (array("h"), 1))
        process.say(said[321:])
        pieces = [microphone.read(160) for _ in range(5)]
        self.assertEqual([value for piece in pieces for value in piece or ()], list(range(-400, 400)))
        self.assertEqual((microphone.starved, microphone.dropped, microphone.backlog), (1, 0, 0.0))

    def test_too_little(self) -> None:
        """Where too little comes there is silence, which is counted, until there is enough for two beats again."""
        microphone, process = self.microphone()
        process.say(octets(*[1] * 400))
        self.assertEqual([len(microphone.read(160) or ()) for _ in range(4)], [160, 160, 80, 0])
        self.assertEqual(microphone.starved, 2)
        process.say(octets(*[2] * 300))
        self.assertEqual((microphone.read(160), microphone.starved), (array("h"), 3))
        process.say(octets(*[2] * 20))
        self.assertEqual((microphone.read(160), microphone.starved), (array("h", [2] * 160), 3))

    def test_too_much(self) -> None:
        """Of what nobody reads the oldest is dropped, and counted; what is left is the newest, and whole samples."""
        microphone, process = self.microphone()
        said = octets(*range(1700))
        process.say(said[:3001])
        self.assertEqual((microphone.dropped, microphone.backlog), (0, 1500 / 8000))
        process.say(said[3001:3201])
        self.assertEqual((microphone.dropped, microphone.backlog), (1200, 400 / 8000))
        process.say(said[3201:])
        self.assertEqual(microphone.read(3), array("h", [1200, 1201, 1202]))
        self.assertEqual(microphone.dropped + 3 + round(microphone.backlog * 8000), 1700)

    def test_flood(self) -> None:
        """A program that gives without measure is not read between two beats."""
        microphone, process = self.microphone()
        for _ in range(2):
            process.say(bytes(3200))
        self.assertFalse(process.is_paused)
        process.say(bytes(2))
        self.assertTrue(process.is_paused)
        microphone.read(160)
        self.assertFalse(process.is_paused)
        process.say(bytes(8192))
        self.assertTrue(process.is_paused)
        microphone.close()
        self.assertFalse(process.is_paused)

    def test_limit(self) -> None:
        """The bound can be another one, and is 40 ms at least."""
        microphone, process = self.microphone(limit=1.0)
        process.say(bytes(16000))
        self.assertEqual((microphone.dropped, microphone.backlog), (0, 1.0))
        for limit in (0.0, float("nan")):
            self.assertRaises(ValueError, Microphone, self.reactor, limit=limit)


class LoudspeakerTests(DeviceCase):
    """What is written."""

    def test_samples(self) -> None:
        """What is heard goes to the program at once; the caller's samples stay as they are."""
        loudspeaker, process = self.loudspeaker()
        frame = array("h", range(160))
        loudspeaker.write(frame)
        self.assertEqual(process.takes(), octets(*range(160)))
        self.assertEqual((frame, loudspeaker.dropped, loudspeaker.backlog), (array("h", range(160)), 0, 0.0))

    def test_too_slow(self) -> None:
        """A program that takes nothing has 200 ms in its pipe; what comes then is dropped, until it has taken most."""
        loudspeaker, process = self.loudspeaker()
        for number in range(15):
            loudspeaker.write(array("h", [number] * 160))
        self.assertEqual((loudspeaker.backlog, loudspeaker.dropped), (0.2, 5 * 160))
        os.read(process.input, 2000)
        loudspeaker.write(array("h", [77] * 160))
        self.assertEqual(loudspeaker.dropped, 6 * 160)
        os.read(process.input, 500)
        loudspeaker.write(array("h", [88] * 160))
        self.assertEqual(loudspeaker.dropped, 6 * 160)
        left = process.takes()
        self.assertEqual((len(left), left[-320:]), (3200 - 2500 + 320, octets(*[88] * 160)))

    def test_larger_than_a_pipe(self) -> None:
        """What a pipe does not hold is dropped, too: nothing waits, and nothing is cut within a sample."""
        loudspeaker, process = self.loudspeaker(limit=60.0)
        loudspeaker.write(array("h", [5] * 80000))
        waits = len(process.takes())
        self.assertEqual((loudspeaker.dropped, waits % 2), (80000 - waits // 2, 0))
        self.assertGreater(loudspeaker.dropped, 0)

    def test_end(self) -> None:
        """The end of the call closes it: it may play what it has for a second, and then gets SIGTERM."""
        loudspeaker, process = self.loudspeaker()
        loudspeaker.write(array("h", [1] * 160))
        loudspeaker.end()
        self.assertEqual([len(os.read(process.input, 1000)) for _ in range(2)], [320, 0])
        self.reactor.advance(0.9)
        self.assertEqual(process.signals, [])
        self.reactor.advance(0.1)
        self.assertEqual(process.signals, ["TERM"])
        loudspeaker.write(array("h", [1] * 160))
        process.exit(signal=15)
        self.assertEqual(self.failures, [])


class ProgramTests(DeviceCase):
    """How programs begin and end."""

    def test_close(self) -> None:
        """It gets SIGTERM, and SIGKILL two seconds later; whoever waits is told of its end."""
        microphone, process = self.microphone()
        self.assertTrue(microphone.is_running)
        waiting, again, cancelled = microphone.close(), microphone.close(), microphone.close()
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertFalse(microphone.is_running)
        process.say(octets(1, 2))
        self.assertIsNone(microphone.read(160))
        self.assertEqual(process.signals, ["TERM"])
        self.reactor.advance(2.0)
        self.assertEqual(process.signals, ["TERM", "KILL"])
        self.assertNoResult(waiting)
        process.exit(signal=9)
        self.successResultOf(waiting)
        self.successResultOf(again)
        self.successResultOf(microphone.close())
        self.assertEqual(self.failures, [])
        self.assertRaises(InvalidStateError, microphone.start)

    def test_never_started(self) -> None:
        """What was never started gives nothing, takes nothing, and can be closed."""
        microphone, loudspeaker = Microphone(cast(Any, self.reactor)), Loudspeaker(cast(Any, self.reactor))
        self.assertEqual((microphone.read(160), microphone.starved), (array("h"), 0))
        loudspeaker.write(array("h", [1]))
        for device in (microphone, loudspeaker):
            self.assertFalse(device.is_running)
            self.successResultOf(device.close())
            self.assertRaises(InvalidStateError, device.start)
        self.assertEqual(self.reactor.made, [])

    def test_dies(self) -> None:
        """A program that ends by itself is a failure, told once, with the end of what it said; silence follows."""
        for status, signal, how in ((1, None, "has ended with status 1"), (0, 11, "was ended by signal 11")):
            microphone, process = self.microphone()
            process.say(octets(*[1] * 400))
            process.say(b"x" * 5000 + b"\nALSA\x1b lib\n\naudio open error: No such device\n", 2)
            process.exit(status, signal)
            (text,) = self.failures
            self.assertTrue(text.startswith(f"{NAME} {how}: xxx"), text)
            self.assertTrue(text.endswith("xxx; ALSA? lib; audio open error: No such device"), text)
            self.assertLess(len(text), 500)
            self.assertIsNone(microphone.read(160))
            self.assertEqual((microphone.is_running, microphone.backlog), (False, 0.0))
            self.successResultOf(microphone.close())
            self.failures.clear()
        loudspeaker, process = self.loudspeaker()
        process.say(b"no card")
        process.exit()
        loudspeaker.write(array("h", [1] * 160))
        self.assertEqual(self.failures, [f"{NAME} has ended: no card"])

    def test_closes_its_output(self) -> None:
        """A program that gives no more sound is ended; that of a loudspeaker may close its output."""
        _, process = self.microphone()
        process.close_output()
        self.reactor.advance(0.5)
        self.assertEqual(process.signals, ["TERM"])
        process.exit(signal=15)
        self.assertEqual(self.failures, [f"{NAME} has closed its output"])
        loudspeaker, process = self.loudspeaker()
        process.close_output()
        self.reactor.advance(0.5)
        self.assertTrue(loudspeaker.is_running)

    def test_leaves_a_pipe_open(self) -> None:
        """Something that a program has left behind with its pipes is waited for half a second, and read no longer."""
        microphone, process = self.microphone()
        closed = microphone.close()
        process.exit(closes=False)
        self.assertNoResult(closed)
        self.reactor.advance(0.5)
        self.successResultOf(closed)
        self.assertEqual(process.pipes, set())

    def test_cannot_be_ended(self) -> None:
        """A program that not even SIGKILL ends is left alone, and that is logged."""
        microphone, process = self.microphone()
        closed = microphone.close()
        self.reactor.advance(2.0)
        self.reactor.advance(2.0)
        self.successResultOf(closed)
        self.assertEqual((process.signals, process.pipes), (["TERM", "KILL"], set()))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_cannot_be_started(self) -> None:
        """A missing program, and a machine without room for a process, are errors that say so."""
        for command, expected in (
            (("no-such-program",), "there is no program no-such-program"),
            ((NAME,), f"{NAME} cannot be started: no room"),
        ):
            self.reactor.error = OSError(11, "no room")
            for kind in (Microphone, Loudspeaker):
                device = kind(cast(Any, self.reactor), command)
                error = self.assertRaises(SoundDeviceError, device.start)
                self.assertEqual(str(error), expected)
                self.assertFalse(device.is_running)
                self.successResultOf(device.close())
        self.patch(os, "environ", {**os.environ, "PATH": "/nowhere"})
        error = self.assertRaises(SoundDeviceError, Microphone(cast(Any, self.reactor)).start)
        self.assertEqual(str(error), "there is no program arecord (Debian package alsa-utils)")
        for wrong in ((), ("",), ("a\0b",)):
            self.assertRaises(ValueError, Loudspeaker, self.reactor, wrong)

    def test_bug_of_who_is_told(self) -> None:
        """A bug of who is told of a failure is logged, and keeps nobody from hearing of the end."""

        def failed(error: SoundDeviceError) -> None:
            raise RuntimeError("a bug")

        microphone, process = self.microphone()
        microphone.on_failure = failed
        process.exit()
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.successResultOf(microphone.close())


class CallTests(EndpointTestCase):
    """In a call."""

    def test_both_ways(self) -> None:
        """What one side's microphone hears comes out of the other side's loudspeaker; its end ends the program."""
        reactor = Processes()
        alice, bob = self.pair()
        microphone, loudspeaker = Microphone(cast(Any, reactor), (NAME,)), Loudspeaker(cast(Any, reactor), (NAME,))
        microphone.start()
        loudspeaker.start()
        recording, playing = reactor.made
        alice.connect(microphone, None)
        bob.connect(None, loudspeaker)
        heard = bytearray()
        for _ in range(50):
            recording.say(octets(*[8000] * 160))
            self.run_for(0.02)
            heard += playing.takes()
        samples = array("h", bytes(heard))
        self.assertGreater(sum(sample > 7000 for sample in samples), 40 * 160)
        self.assertEqual((microphone.dropped, loudspeaker.dropped), (0, 0))
        recording.exit(1)
        self.run_for(0.5)
        self.assertIn(0, array("h", playing.takes()[-2:]))
        self.successResultOf(bob.close())
        self.assertFalse(loudspeaker.is_running)
        playing.exit()
        self.assertEqual(reactor.getDelayedCalls(), [])


_WRITES = """
import sys, time
while True:
    sys.stdout.buffer.write(bytes([1, 2]) * 160)
    sys.stdout.buffer.flush()
    time.sleep(float(sys.argv[1]))
"""
_KEEPS = """
import sys
with open(sys.argv[1], "wb") as file:
    while data := sys.stdin.buffer.read(320):
        file.write(data)
"""
_STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
sys.stdout.buffer.write(bytes(640))
sys.stdout.flush()
time.sleep(600)
"""


class RealProcessTests(TestCase):
    """With real processes, and so with real time."""

    timeout = 60

    def setUp(self) -> None:
        """Take the reactor of the tests."""
        from twisted.internet import reactor  # noqa: TID251 - real processes

        self.reactor: Any = reactor

    def run_script(self, kind: type[Microphone] | type[Loudspeaker], text: str, *words: str) -> Any:
        """Start a device with a program of the test."""
        command = (sys.executable, "-c", text, *words)
        failed: Deferred[SoundDeviceError] = Deferred()
        device = kind(self.reactor, command, on_failure=failed.callback)
        device.start()
        self.addCleanup(device.close)
        return device, failed

    async def read_until_sound(self, microphone: Microphone) -> array[int]:
        """Read at beats until there is something."""
        found: Deferred[array[int]] = Deferred()

        def read() -> None:
            samples = microphone.read(160)
            if samples and not found.called:
                found.callback(samples)

        beats = LoopingCall(read)
        running = beats.start(0.02)
        try:
            return await found
        finally:
            beats.stop()
            await running

    async def test_microphone(self) -> None:
        """A program that writes is heard, also one that writes without measure; closing ends it."""
        for pause in ("0.02", "0"):
            microphone, failed = self.run_script(Microphone, _WRITES, pause)
            self.assertEqual(await self.read_until_sound(microphone), array("h", bytes([1, 2]) * 160))
            await microphone.close()
            self.assertNotIn(True, [failed.called, microphone.is_running])

    async def test_loudspeaker(self) -> None:
        """What a program is given, it has taken by the time that closing is done, up to the last sample."""
        path = Path(self.mktemp()).absolute()
        loudspeaker, failed = self.run_script(Loudspeaker, _KEEPS, str(path))
        for number in range(8):
            loudspeaker.write(array("h", [number] * 160))
        await loudspeaker.close()
        self.assertEqual(path.read_bytes(), b"".join(octets(*[number] * 160) for number in range(8)))
        self.assertEqual((failed.called, loudspeaker.dropped), (False, 0))

    async def test_stubborn(self) -> None:
        """A program that takes no notice of SIGTERM is gone all the same."""
        microphone, failed = self.run_script(Microphone, _STUBBORN)
        await self.read_until_sound(microphone)
        await microphone.close()
        self.assertFalse(failed.called)

    async def test_refuses(self) -> None:
        """A program that cannot is told of, with what it said."""
        text = "import sys; print('sound/0: audio open error: busy', file=sys.stderr); sys.exit(3)"
        for kind in (Microphone, Loudspeaker):
            device, failed = self.run_script(kind, text)
            error = await failed
            self.assertEqual(str(error), f"{sys.executable} has ended with status 3: sound/0: audio open error: busy")
            await device.close()

    async def test_no_text(self) -> None:
        """A command that is a file, but no program, is an error of some kind, and leaves nothing."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"\0\1\2")
        path.chmod(0o755)
        failed: Deferred[SoundDeviceError] = Deferred()
        microphone = Microphone(self.reactor, (str(path),), on_failure=failed.callback)
        try:
            microphone.start()
        except SoundDeviceError as error:
            failed.callback(error)
        self.assertIn(str(path), str(await failed))


class SoundProgramTests(DeviceCase):
    """What its users do not do."""

    def test_stopped_twice(self) -> None:
        """Stopping it again, or after its end, does nothing."""
        told: list[str] = []
        program = SoundProgram(cast(Any, self.reactor), (NAME,), heard=None, ended=told.append)
        program.stop(0.0)
        with open(os.devnull, "rb") as nothing:
            program.start(nothing.fileno())
        (process,) = self.reactor.made
        process.say(b"words")
        program.stop(1.0)
        program.stop(0.0)
        self.assertEqual(process.signals, [])
        process.exit(2)
        program.stop(0.0)
        self.assertEqual(told, [f"{NAME} has ended with status 2: words"])
