"""`sipd phone` with ALSA's programs: what comes from a microphone, and what arrives at a loudspeaker.

There is no sound card: ALSA's own plugins stand for one, in a configuration of the test. The loudspeaker is a file, the
microphone a pipe into which the test writes a tone, as fast as a sound card would give it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from array import array
from pathlib import Path

from twisted.internet.task import LoopingCall

from tests.interop.programs import Program
from tests.interop.test_phone_command import TONES_HZ, CommandCase
from tests.interop.tones import best_share, read_wave, samples_of_tone
from tests.ports import HOST

_START = 20.0
_LIMIT = 25.0
_BEAT = 0.02
_FRAME_OCTETS = 320
_CONFIGURATION = """
pcm.nothing { type null }
pcm.out { type file slave.pcm "nothing" file "%(directory)s/out.raw" format "raw" }
pcm.in { type file slave.pcm "nothing" file "/dev/null" infile "%(directory)s/in.fifo" format "raw" }
"""


class SoundDeviceTests(CommandCase):
    """Calls between two telephones of the command line, one of which has a sound card."""

    programs = ("arecord", "aplay")

    def setUp(self) -> None:
        """Make the sound card."""
        super().setUp()
        path = self.directory / "asound.conf"
        path.write_text(_CONFIGURATION % {"directory": self.directory})
        self.patch(os, "environ", {**os.environ, "ALSA_CONFIG_PATH": str(path)})

    async def answering(self, *words: str) -> str:
        """Let a telephone answer one call; give its address."""
        port = self.ports.take()
        program = self.run_phone("answer", "--listen", f"udp:{HOST}:{port}", "--once", *words)
        await program.says("waiting for calls", _START)
        return f"sip:{HOST}:{port}"

    def tone(self) -> None:
        """Let a tone come from the microphone, from when somebody listens."""
        path = self.directory / "in.fifo"
        os.mkfifo(path)
        tone = array("h", samples_of_tone(TONES_HZ["alice"], 10.0)).tobytes()
        descriptors: list[int] = []
        place = 0

        def write(count: int) -> None:
            nonlocal place
            with contextlib.suppress(OSError):  # nobody listens yet, or not any more
                if not descriptors:
                    descriptors.append(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                    return
                for _ in range(count):
                    os.write(descriptors[0], tone[place : place + _FRAME_OCTETS])
                    place += _FRAME_OCTETS

        def stop() -> None:
            writing.stop()
            for descriptor in descriptors:
                os.close(descriptor)

        writing = LoopingCall.withCount(write)
        writing.clock = self.reactor
        writing.start(_BEAT)
        self.addCleanup(stop)

    def heard(self, path: Path) -> list[int]:
        """Give what the loudspeaker played."""
        data = path.read_bytes()
        return array("h", data[: len(data) & -2]).tolist()

    async def interrupt(self, program: Program) -> None:
        """Send what Ctrl-C sends: SIGINT to a program and to the two that it has started, once they are there."""
        assert program.transport is not None
        pid = program.transport.pid
        while len(children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()) < 2:
            await self.pause(_BEAT)
        for number in (pid, *map(int, children)):
            # A terminal tells all at once; here the first one may have ended the others meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGINT)

    async def test_microphone(self) -> None:
        """What the microphone gives is heard, and recorded, at the other side."""
        self.tone()
        address = await self.answering("--record", "heard.wav")
        dialling = self.run_phone("dial", address, "--microphone", "in", "--hangup-after", "3")
        lines = await self.finish(dialling)
        self.assertRegex(lines[-2], r"^microphone: \d\.\d\d s dropped, \d+ times too little$")
        await self.finish(self.started[0])
        self.assertGreater(len(read_wave(self.directory / "heard.wav")), 2 * 8000)
        self.hears("heard.wav", TONES_HZ["alice"])

    async def test_loudspeaker(self) -> None:
        """What the other side plays arrives at the loudspeaker, while what the microphone gives is heard there."""
        self.tone()
        address = await self.answering("--play", f"tone:{TONES_HZ['bob']:g}", "--record", "heard.wav")
        words = ["--microphone", "in", "--speaker", "out", "--hangup-after", "3"]
        lines = await self.finish(self.run_phone("dial", address, *words))
        self.assertRegex(lines[-2], r"^microphone: .*; speaker: \d\.\d\d s dropped$")
        played = self.heard(self.directory / "out.raw")
        self.assertGreater(len(played), 2 * 8000)
        self.assertGreater(best_share(played, TONES_HZ["bob"]), 0.9)
        await self.finish(self.started[0])
        self.hears("heard.wav", TONES_HZ["alice"])

    async def test_no_device(self) -> None:
        """A device that is not there is a line with what ALSA says of it, and status 1; the call goes on in silence."""
        address = await self.answering()
        dialling = self.run_phone("dial", address, "--sound", "nonsense", "--hangup-after", "1")
        lines = await self.finish(dialling, 1)
        for name, program in (("microphone", "arecord"), ("speaker", "aplay")):
            expected = f"^{name}: {program} has ended with status 1: .*nonsense.*audio open error: No such file"
            self.assertTrue(any(re.match(expected, line) for line in lines), self.explain())
        self.assertRegex(lines[-1], r"^ended by this side after 1\.\d s")

    async def test_without_measure(self) -> None:
        """A device that gives and takes at once whatever there is, as ALSA's null does, is not read all the time."""
        address = await self.answering("--record", "heard.wav")
        lines = await self.finish(self.run_phone("dial", address, "--sound", "nothing", "--hangup-after", "2"))
        match = re.fullmatch(r"microphone: (\d+\.\d\d) s dropped, .*; speaker: 0\.00 s dropped", lines[-2])
        assert match is not None, lines
        # At most half a second at each beat.
        self.assertTrue(1 < float(match[1]) < 0.5 * 50 * 4, lines)
        self.assertRegex(lines[-1], r"^ended by this side after 2\.\d s.* 0 lost")
        await self.finish(self.started[0])

    async def test_interrupted(self) -> None:
        """Ctrl-C, of which a terminal tells the programs as well, is status 130, and nothing of theirs is said."""
        address = await self.answering()
        dialling = self.run_phone("dial", address, "--sound", "nothing")
        await dialling.says("answered with 200", _START)
        await self.interrupt(dialling)
        lines = await self.finish(dialling, 130)
        self.assertFalse([line for line in lines if "has ended" in line or "signal" in line], lines)
