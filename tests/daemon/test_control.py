"""Tests of `sipd.daemon.control` over a real socket."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from sipd.daemon.commands.running import ask
from sipd.daemon.control import MAX_QUESTION_OCTETS, Answer, ControlPort, Question
from sipd.errors import ConfigurationError, LocalError


class ControlTests(TestCase):
    """Questions and answers."""

    timeout = 30

    def setUp(self) -> None:
        # Not below this test's own directory: its path may be too long for a socket.
        self.directory = Path(tempfile.mkdtemp(prefix="sipd-control-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.path = self.directory / "control"
        self.port = self.open({"status": self.status, "reload": self.reload, "bug": self.bug})
        self.addCleanup(self.port.close)

    def open(self, commands: dict[str, Any]) -> ControlPort:
        """Listen."""
        port = ControlPort(real_reactor, self.path, commands)
        port.open()
        return port

    def status(self, question: Question) -> Deferred[Answer]:
        """Answer well."""
        return succeed({"ok": True, "calls": question.get("calls", 3)})

    def reload(self, question: Question) -> Deferred[Answer]:
        """Answer badly."""
        return fail(ConfigurationError(["a: b", "c: d"]))

    def bug(self, question: Question) -> Deferred[Answer]:
        """Break."""
        return fail(ZeroDivisionError())

    def ask(self, command: str, **more: Any) -> Deferred[dict[str, Any]]:
        """Ask as a command does."""
        return deferToThread(ask, self.path, command, **more)

    def send(self, data: bytes) -> bytes:
        """Send octets, and give all that comes back. Blocks."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(self.path))
            connection.sendall(data)
            answer = b""
            while more := connection.recv(4096):
                answer += more
            return answer

    async def test_for_its_owner_alone(self) -> None:
        """Only who owns the process may open the socket."""
        mode = os.stat(self.path).st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o600)

    async def test_answers(self) -> None:
        """A command is answered with what it gives, or with every problem."""
        self.assertEqual(await self.ask("status"), {"ok": True, "calls": 3})
        self.assertEqual(await self.ask("status", calls=5), {"ok": True, "calls": 5})
        self.assertEqual(await self.ask("reload"), {"ok": False, "problems": ["a: b", "c: d"]})

    async def test_unknown(self) -> None:
        """What is no command, or no question, is refused."""
        for line in (b'{"command": "stop"}', b'{"command": 7}', b"[]", b"{", b"\xff", b"[" * 4000):
            answer = json.loads(await deferToThread(self.send, line + b"\n"))
            self.assertFalse(answer["ok"])

    async def test_too_long(self) -> None:
        """A question that has no end is not waited for."""
        self.assertEqual(await deferToThread(self.send, b"x" * (MAX_QUESTION_OCTETS + 2)), b"")
        self.assertEqual(await self.ask("status"), {"ok": True, "calls": 3})

    async def test_only_one(self) -> None:
        """A connection is for one question."""
        answer = await deferToThread(self.send, b'{"command": "status"}\n' * 2)
        self.assertEqual(answer.count(b"\n") or answer.count(b"ok"), 1)

    async def test_a_bug(self) -> None:
        """A mistake of ours is answered, and logged with its traceback."""
        answer = await self.ask("bug")
        self.assertIn("mistake in sipd", answer["problems"][0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_nobody(self) -> None:
        """Where nobody listens, the command says so, and how else to reach it."""
        await self.port.close()
        self.assertFalse(self.path.exists())
        error = await self.assertFailure(self.ask("status"), LocalError)
        self.assertRegex(str(error), "no sipd can be reached at .*control: No such file.*SIGHUP")

    async def test_after_a_crash(self) -> None:
        """A socket that a process has left that is no more does not keep the next one from listening."""
        await self.port.close()
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.path))
        os.symlink("999999999", f"{self.path}.lock")
        port = self.open({"status": self.status})
        self.assertEqual(await self.ask("status"), {"ok": True, "calls": 3})
        await port.close()
        self.assertEqual(list(self.directory.iterdir()), [])

    async def test_two_of_them(self) -> None:
        """A second one in the same directory runs without, and leaves the first one its socket."""
        second = self.open({})
        self.assertEqual(await self.ask("status"), {"ok": True, "calls": 3})
        await second.close()
        self.assertEqual(await self.ask("status"), {"ok": True, "calls": 3})

    async def test_a_path_that_is_too_long(self) -> None:
        """A directory so deep that a socket cannot be there leaves nothing there."""
        deep = self.directory / ("x" * 120)
        deep.mkdir()
        port = ControlPort(real_reactor, deep / "control", {})
        port.open()
        await port.close()
        self.assertEqual(list(deep.iterdir()), [])
