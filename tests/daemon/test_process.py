"""Tests of the commands as an operator runs them, `twistd sipd` and `python -m twisted sipd`: real processes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from random import Random
from typing import Any
from urllib.request import urlopen

from twisted.internet.threads import deferToThread

from sipd.testing.calls import PeerCall
from sipd.testing.peer import Peer
from tests.interop.case import InteropTestCase
from tests.interop.programs import Program
from tests.ports import HOST

ROOT = Path(__file__).resolve().parents[2]
#: Both are what `twistd` and `python -m twisted` run, by the interpreter of this test.
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
TWIST = (sys.executable, "-m", "twisted")
#: Seconds for a start on a busy machine.
START = 60.0


class ProcessCase(InteropTestCase):
    """Runs the commands with a checkout on the path, in a directory of the test's own."""

    def setUp(self) -> None:
        super().setUp()
        self.port = self.ports.take()
        self.config = self.directory / "sipd.toml"
        self.config.write_text(self.text())
        self.environment = {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}

    def text(self, more: str = "") -> str:
        """Give a configuration."""
        first = self.ports.take_range(40)[0]
        return f"""
domains = ["{HOST}"]
state_directory = "state"
[[listen]]
name = "udp"
transport = "udp"
address = "{HOST}"
port = {self.port}
[[users]]
name = "alice"
password = "wonderland"
[[users]]
name = "bob"
password = "builder"
[media]
first_port = {first}
last_port = {first + 39}
{more}
"""

    def run_twistd(self, *arguments: str) -> Program:
        """Start `twistd`."""
        return self.start(TWISTD[0], *TWISTD[1:], *arguments, label="twistd", environment=self.environment)

    def run_twist(self, *arguments: str) -> Program:
        """Start `python -m twisted`."""
        return self.start(TWIST[0], *TWIST[1:], *arguments, label="twist", environment=self.environment)

    def run_both(self, *arguments: str) -> tuple[Program, Program]:
        """Start both, the first in the foreground and with a file for its process identifier."""
        return self.run_twistd("-n", "--pidfile=twistd.pid", "sipd", *arguments), self.run_twist("sipd", *arguments)

    async def serves(self, program: Program) -> None:
        """Wait until it serves."""
        await program.says(f"listening on UDP {HOST}:{self.port}", START)
        await program.says("then call sip:bob@", START)

    def phone(self, user: str, password: str) -> Peer:
        """Give a phone; it goes when the test ends."""
        phone = Peer(
            self.reactor,
            user,
            HOST,
            self.ports.take(),
            proxy=(HOST, self.port),
            entropy=Random(user).randbytes,
            domain=HOST,
            password=password,
            media=(HOST, self.ports.take()),
        )
        self.addCleanup(phone.close)
        return phone

    async def call(self) -> PeerCall:
        """Let alice call bob; give her end of the answered call."""
        alice, bob = self.phone("alice", "wonderland"), self.phone("bob", "builder")
        for phone in (alice, bob):
            response = await phone.register()
            assert response is not None
            self.assertEqual(response.status, 200)
        bob.auto_answer(0.05)
        call = await alice.call("bob").when_answered()
        self.assertEqual(call.status, 200)
        return call

    def records(self) -> list[dict[str, Any]]:
        """Give the call records that were written."""
        return [json.loads(line) for line in (self.directory / "state" / "calls.jsonl").read_text().splitlines()]


class StartTests(ProcessCase):
    """Starts that succeed."""

    async def test_both_commands(self) -> None:
        """Both commands start, say where they listen and for whom, and stop at SIGTERM without a traceback."""
        for run, *arguments in ((self.run_twistd, "-n", "sipd"), (self.run_twist, "sipd")):
            program = run(*arguments, "-c", "sipd.toml")
            await self.serves(program)
            text = program.output.decode()
            self.assertIn("users: alice, bob; domains: 127.0.0.1", text)
            self.assertIn(f"user alice, domain {HOST}, server {HOST}:{self.port} over UDP", text)
            self.assertNotIn("wonderland", text)
            program.send_signal("TERM")
            self.assertEqual(await program.ends(10), -signal.SIGTERM)
            self.assertNotIn(b"Traceback", program.output)
            self.assertIn(b"stopped", program.output)
        self.assertFalse((self.directory / "twistd.pid").exists())

    async def test_one_line_for_each_event(self) -> None:
        """A registration is a line, and so is a call: who called whom, and how it ended."""
        program = self.run_twistd("-n", "sipd", "-c", "sipd.toml")
        await self.serves(program)
        call = await self.call()
        call.hang_up()
        await program.says("alice registered sip:alice@", 5)
        await program.says("bob registered sip:bob@", 5)
        await program.says("call [0-9a-f]+ ended: .*alice.*bob", 5)

    async def test_log_file(self) -> None:
        """With a file and JSON configured, every line of the log is an object in that file."""
        self.config.write_text(self.text('[logging]\nfile = "sipd.log"\nformat = "json"'))
        log = self.directory / "sipd.log"
        program = self.run_twistd("-n", "sipd", "-c", "sipd.toml")
        while not log.exists() or "then call" not in log.read_text():
            await self.pause(0.05)
        program.send_signal("TERM")
        await program.ends(10)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        self.assertIn("stopped", [line["message"] for line in lines])
        self.assertNotIn(b"listening", program.output)

    async def test_rotation(self) -> None:
        """At SIGUSR1, log and call records go on in new files, where the old ones were moved away."""
        self.config.write_text(self.text('[logging]\nfile = "sipd.log"\n[cdr]\nfile = "calls"'))
        program = self.run_twistd("-n", "sipd", "-c", "sipd.toml")
        log, records = self.directory / "sipd.log", self.directory / "calls"
        while not log.exists() or "then call" not in log.read_text():
            await self.pause(0.05)
        for path in (log, records):
            path.rename(path.with_suffix(".old"))
        assert program.transport is not None
        program.transport.signalProcess(signal.SIGUSR1)
        while not (log.exists() and records.exists()):
            await self.pause(0.05)
        call = await self.call()
        call.hang_up()
        await call.when_ended()
        program.send_signal("TERM")
        await program.ends(10)
        self.assertIn("alice registered", log.read_text())
        self.assertIn('"status":200', records.read_text())
        self.assertNotIn(
            "alice", log.with_suffix(".old").read_text().replace("alice, bob", "").replace("user alice", "")
        )

    async def test_as_a_daemon(self) -> None:
        """Without -n it goes to the background, keeps its log where twistd's option says, and stops at SIGTERM."""
        program = self.run_twistd("--pidfile=daemon.pid", "--logfile=daemon.log", "sipd", "-c", "sipd.toml")
        self.assertEqual(await program.ends(START), 0)
        pid = int((self.directory / "daemon.pid").read_text())
        self.addCleanup(_kill, pid)
        call = await self.call()
        call.hang_up()
        await call.when_ended()
        os.kill(pid, signal.SIGTERM)
        while (self.directory / "daemon.pid").exists():
            await self.pause(0.05)
        self.assertIn("alice registered", (self.directory / "daemon.log").read_text())

    async def test_embedded(self) -> None:
        """The .tac runs sipd inside of another application, which sees its registrations and calls."""
        web = self.ports.take()
        text = (ROOT / "tapfiles" / "embedded.tac").read_text().replace("tcp:8080", f"tcp:{web}")
        (self.directory / "embedded.tac").write_text(text)
        program = self.run_twistd("-n", "-y", "embedded.tac")
        await program.says("then call sip:bob@", START)
        call = await self.call()
        call.hang_up()
        await call.when_ended()
        page = await deferToThread(_fetch, f"http://{HOST}:{web}/")
        self.assertIn(f"sip:alice@{HOST}", page)
        self.assertIn("routed", page)


class FailingTests(ProcessCase):
    """Starts that fail: the reason, status 1, no traceback."""

    async def assert_fails(self, programs: tuple[Program, ...], pattern: str) -> None:
        """Say that each ends with status 1 and one line like that."""
        for program in programs:
            status = await program.ends(START)
            text = program.output.decode()
            self.assertEqual(status, 1, text)
            self.assertRegex(text, pattern)
            self.assertNotIn("Traceback", text)
            self.assertEqual(len(text.splitlines()), 1, text)

    async def test_mistakes_in_the_configuration(self) -> None:
        """A mistake is one line with file, key path and what was expected."""
        self.config.write_text(self.text("[limits]\ncalls = 0"))
        pattern = r"^sipd\.toml: limits\.calls: 1 or more expected \(got 0\)\n$"
        await self.assert_fails(self.run_both("--config", "sipd.toml"), pattern)
        await self.assert_fails(self.run_both("--check", "--config", "sipd.toml"), pattern)

    async def test_no_such_file(self) -> None:
        """A file that is not there is one line."""
        await self.assert_fails(self.run_both("-c", "absent.toml"), "^absent.toml: cannot be read: No such file")

    async def test_port_in_use(self) -> None:
        """A port that another program has is one line, and no file with a process identifier stays."""
        first = self.run_twistd("-n", "--pidfile=", "sipd", "-c", "sipd.toml")
        await self.serves(first)
        await self.assert_fails(
            self.run_both("-c", "sipd.toml"),
            f"sipd cannot start: udp: cannot listen on UDP {HOST} port {self.port}: .*Address already in use",
        )
        self.assertFalse((self.directory / "twistd.pid").exists())

    async def test_log_that_cannot_be_written(self) -> None:
        """A log in a folder that is not there is one line."""
        self.config.write_text(self.text('[logging]\nfile = "absent/sipd.log"'))
        pattern = "absent/sipd.log: the log cannot be written: No such file or directory"
        await self.assert_fails(self.run_both("-c", "sipd.toml"), pattern)

    async def test_database_out_of_reach(self) -> None:
        """A database that cannot be opened is one line that does not show its password."""
        for url, expected in (
            ("sqlite:////absent/sipd.sqlite", "unable to open database file"),
            ("mysql+absent://sipd:hunter2@db/sipd", "Can't load plugin"),
        ):
            self.config.write_text(self.text(f'[registrar]\ndatabase = "{url}"'))
            programs = self.run_both("-c", "sipd.toml")
            await self.assert_fails(programs, f"sipd cannot start: .*{expected}")
            for program in programs:
                self.assertNotIn(b"hunter2", program.output)

    async def test_check(self) -> None:
        """A good file passes the check of both commands with status 0, and nothing is made."""
        for program in self.run_both("--check", "-c", "sipd.toml"):
            self.assertEqual(await program.ends(START), 0)
            self.assertEqual(program.output, b"sipd.toml: good\n")
        self.assertFalse((self.directory / "state").exists())

    async def test_help(self) -> None:
        """The help explains the command; the list of commands has it."""
        for program in self.run_both("--help"):
            self.assertEqual(await program.ends(START), 0)
            self.assertIn(b"--config", program.output)
            self.assertIn(b"registrar and back-to-back user agent", program.output)
        listing = self.run_twistd("--help")
        await listing.ends(START)
        self.assertRegex(listing.output.decode(), r"\bsipd +A SIP registrar and back-to-back user agent")


class SignalTests(ProcessCase):
    """SIGTERM, once and twice, with a call."""

    async def test_the_first_drains(self) -> None:
        """After SIGTERM the call goes on, a new one gets 503; when it has ended, so does the process."""
        program = self.run_twistd("-n", "sipd", "-c", "sipd.toml")
        await self.serves(program)
        call = await self.call()
        program.send_signal("TERM")
        await program.says(r"no new calls; 1 have 30 s to end", 5)
        refused = await call.peer.call("bob").when_ended()
        self.assertEqual(refused.status, 503)
        self.assertIsNone(program.exit_status)
        call.hang_up()
        self.assertEqual(await program.ends(10), -signal.SIGTERM)
        self.assertEqual(sorted(record["status"] for record in self.records()), [200, 503])

    async def test_the_second_ends_at_once(self) -> None:
        """Under both commands a second SIGTERM ends calls, writes their records and ends the process, not later."""
        for run, *arguments in ((self.run_twistd, "-n", "sipd"), (self.run_twist, "sipd")):
            program = run(*arguments, "-c", "sipd.toml")
            await self.serves(program)
            call = await self.call()
            before = len(self.records()) if (self.directory / "state" / "calls.jsonl").exists() else 0
            program.send_signal("TERM")
            await program.says("no new calls", 5)
            program.send_signal("TERM")
            self.assertEqual(await program.ends(5), -signal.SIGTERM)
            await call.when_ended()
            self.assertEqual(call.ended_by, "them")
            self.assertEqual([record["ended_by"] for record in self.records()[before:]], ["sipd"])
            self.assertNotIn(b"Traceback", program.output)


def _fetch(url: str) -> str:
    """Get a page. Blocks."""
    with urlopen(url, timeout=10) as response:
        page: bytes = response.read()
    return page.decode()


def _kill(pid: int) -> None:
    """End a daemon that a failed test has left."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
