"""The harness without sipd between: what it reports of real programs is true."""

import sys

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.interop import programs
from tests.interop.baresip import Account, Phone
from tests.interop.calls import talk
from tests.interop.case import InteropTestCase
from tests.interop.programs import MissingProgramError, Program, ProgramError, find_program
from tests.ports import HOST, Ports


class FindProgramTests(SynchronousTestCase):
    """What becomes of a test whose program is missing."""

    def test_skip_names_the_package(self) -> None:
        """A missing program skips the test and says which package has it."""
        skip = self.assertRaises(SkipTest, find_program, "sipp", {"PATH": ""})
        self.assertIn("Debian package sip-tester", str(skip))

    def test_required(self) -> None:
        """Where interop is required a missing program is an error."""
        environment = {"PATH": "", "SIPD_REQUIRE_INTEROP": "1"}
        self.assertRaises(MissingProgramError, find_program, "baresip", environment)


class PortTests(SynchronousTestCase):
    """Free ports."""

    def test_range(self) -> None:
        """A range begins with an even port and has the length asked for."""
        ports = Ports().take_range(20)
        self.assertEqual((len(ports), ports[0] % 2), (20, 0))

    def test_given_once(self) -> None:
        """No port is given twice, even if nobody has bound it yet."""
        ports = Ports()
        self.assertEqual(len({ports.take() for _ in range(200)}), 200)


class ProgramTests(InteropTestCase):
    """Processes are watched and ended."""

    def python(self, code: str) -> Program:
        """Start a Python program."""
        return self.start(sys.executable, "-u", "-c", code)

    async def test_output_and_status(self) -> None:
        """Output can be waited for, and the exit status is known after the end."""
        program = self.python("import time; print('one'); time.sleep(0.1); print('two'); raise SystemExit(3)")
        await program.says("tw.")
        self.assertEqual(await program.ends(5), 3)

    async def test_ends_without_a_word(self) -> None:
        """Waiting for words of a program that ends without them fails and shows its output."""
        program = self.python("print('no idea')")
        with self.assertRaises(ProgramError) as caught:
            await program.says("listening")
        self.assertIn("no idea", str(caught.exception))

    async def test_limit(self) -> None:
        """A program that neither speaks nor ends in time fails the test, and is killed even if it ignores SIGTERM."""
        program = self.python(
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)"
        )
        await program.says("deaf")
        self.patch(programs, "_GRACE", 1.0)
        for waiting in (program.says("more", 0.1), program.ends(0.1)):
            with self.assertRaises(ProgramError):
                await waiting
        await program.stop()
        self.assertEqual(program.exit_status, -9)

    async def test_output_stays_open(self) -> None:
        """A program that has ended, but whose output somebody still holds open, is stopped without a complaint."""
        program = self.python(
            "import subprocess, sys\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3)'])\n"
            "print('ended')\n"
        )
        await program.says("ended")
        await self.pause(0.5)
        self.assertIsNone(program.exit_status)
        await program.stop()
        self.assertEqual(program.exit_status, 0)


class DirectCallTests(InteropTestCase):
    """Two phones without a server: proves the ears of the other tests."""

    programs = ("baresip",)

    async def test_tones_cross(self) -> None:
        """Each phone hears the tone of the other and not its own."""
        phones = []
        for user, tone_hz in (("alice", 440.0), ("bob", 1000.0)):
            port = self.ports.take()
            phones.append(Phone(self, Account(user=user), tone_hz, port))
            await phones[-1].start()
        alice, bob = phones
        await talk(self, alice, bob, f"sip:bob@{HOST}:{bob.port}", alice)
        await talk(self, bob, alice, f"sip:alice@{HOST}:{alice.port}", alice)

    async def test_silence_is_noticed(self) -> None:
        """A call in which one phone plays another tone than believed fails."""
        phones = []
        for user, tone_hz in (("alice", 440.0), ("bob", 1000.0)):
            port = self.ports.take()
            phones.append(Phone(self, Account(user=user), tone_hz, port))
            await phones[-1].start()
        alice, bob = phones
        bob.tone_hz = 1200.0
        with self.assertRaises(self.failureException):
            await talk(self, alice, bob, f"sip:bob@{HOST}:{bob.port}", bob)
