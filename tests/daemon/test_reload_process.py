"""Tests of SIGHUP, `sipd reload` and `sipd status` with a real daemon that has a call."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from twisted.internet.threads import deferToThread

from sipd.daemon.commands.running import ask
from tests.daemon.test_process import START, ProcessCase
from tests.interop.programs import Program

_CAROL = '[[users]]\nname = "carol"\npassword = "third"\n'
_TRUNK = '[[trunks]]\nname = "carrier"\nservers = ["sip:127.0.0.1:5999"]\n[trunks.health]\ninterval = 0\n'


class ReloadProcessTests(ProcessCase):
    """A daemon whose configuration changes."""

    def setUp(self) -> None:
        super().setUp()
        # The path of a socket must be short, and that of a test's own directory may not be.
        self.state = Path(tempfile.mkdtemp(prefix="sipd-reload-"))
        self.addCleanup(shutil.rmtree, self.state)
        self.plain = self.text().replace('"state"', json.dumps(str(self.state)))
        self.config.write_text(self.plain)

    def run_sipd(self, *arguments: str) -> Program:
        """Start the command `sipd`."""
        return self.start(sys.executable, "-m", "sipd", *arguments, label="sipd", environment=self.environment)

    async def run_daemon(self) -> Program:
        """Start the daemon."""
        program = self.run_twistd("-n", "sipd", "-c", "sipd.toml")
        await self.serves(program)
        return program

    async def hang_up(self, program: Program) -> None:
        """Send SIGHUP."""
        assert program.transport is not None
        program.transport.signalProcess(signal.SIGHUP)

    async def test_sighup_in_the_middle_of_a_call(self) -> None:
        """SIGHUP keeps the call, lets a new user register, and says what changed; a broken file changes nothing."""
        program = await self.run_daemon()
        call = await self.call()

        self.config.write_text(self.plain + _CAROL + "[limits]\ncalls = 0\n")
        await self.hang_up(program)
        await program.says(r"error configuration not changed: .*sipd\.toml: limits\.calls: 1 or more expected", 10)
        carol = self.phone("carol", "third")
        response = await carol.register()
        assert response is not None
        self.assertEqual(response.status, 401)

        self.config.write_text(self.plain.replace(f"port = {self.port}", "port = 5998") + _CAROL)
        await self.hang_up(program)
        await program.says("changed: users.carol: added", 10)
        await program.says(rf"needs a restart: listen\.udp\.port: {self.port} -> 5998", 10)
        response = await carol.register()
        assert response is not None
        self.assertEqual(response.status, 200)

        self.assertEqual(call.state.name, "ANSWERED")
        call.hang_up()
        await call.when_ended()
        program.send_signal("TERM")
        await program.ends(10)
        (record,) = [json.loads(line) for line in (self.state / "calls.jsonl").read_text().splitlines()]
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))
        self.assertNotIn(b"Traceback", program.output)
        self.assertNotIn(b"third", program.output)
        self.assertFalse((self.state / "control").exists())

    async def test_the_log_follows(self) -> None:
        """The level and the format of the log change while it runs."""
        program = await self.run_daemon()
        self.config.write_text(self.plain + '[logging]\nformat = "json"\n')
        await self.hang_up(program)
        await program.says(r'"message": "changed: logging.format: \\"text\\" -> \\"json\\""', 10)

    async def test_commands(self) -> None:
        """The commands show what changed and how the daemon does, and fail where there is a mistake, or no daemon."""
        nobody = self.run_sipd("status", "--config", "sipd.toml")
        self.assertEqual(await nobody.ends(START), 1)
        self.assertIn(b"no sipd can be reached", nobody.output)
        program = await self.run_daemon()

        self.config.write_text(self.plain + _CAROL)
        reload = self.run_sipd("reload", "--config", "sipd.toml")
        self.assertEqual(await reload.ends(START), 0)
        self.assertIn(b"changed: users.carol: added", reload.output)

        status = self.run_sipd("status", "--json", "--state-directory", str(self.state))
        self.assertEqual(await status.ends(START), 0)
        values = json.loads(status.output)
        self.assertEqual((values["state"], values["calls"], values["needs_restart"]), ("serving", 0, []))
        self.assertEqual(values["listening"], [f"UDP 127.0.0.1:{self.port}"])

        self.config.write_text(self.plain + "pause = 7\n[limits]\ncalls = 0\n")
        broken = self.run_sipd("reload", "--config", "sipd.toml")
        self.assertEqual(await broken.ends(START), 1)
        lines = broken.output.decode().splitlines()
        self.assertEqual(len(lines), 2, lines)
        self.assertRegex(lines[0], r"sipd\.toml: media\.pause: .* expected")
        await program.says("configuration not changed: .*limits.calls", 5)

        self.config.write_text(self.plain + "[media\n")
        broken = self.run_sipd("reload", "--config", "sipd.toml")
        self.assertEqual(await broken.ends(START), 1)
        self.assertRegex(broken.output.decode(), r"^[^\n]*sipd\.toml:[0-9]+:[0-9]+: not TOML: [^\n]*\n$")

    async def test_trunks(self) -> None:
        """An operator sees how a trunk is, takes it out of service and back; who asks for another one is told so."""
        self.config.write_text(self.plain + _TRUNK)
        await self.run_daemon()

        shown = self.run_sipd("trunks", "--config", "sipd.toml")
        self.assertEqual(await shown.ends(START), 0)
        self.assertEqual(
            shown.output.decode().splitlines(),
            ["carrier: up, calls can go out", "  sip:127.0.0.1:5999: up, 0 calls"],
        )
        for state, obstacle in (("drain", True), ("down", True), ("up", False)):
            answer = await deferToThread(ask, self.state / "control", "trunks", trunk="carrier", state=state)
            (trunk,) = answer["trunks"]
            self.assertEqual((trunk["state"], bool(trunk["obstacle"])), (state, obstacle))
        answer = await deferToThread(ask, self.state / "control", "trunks", trunk="carrier", state="away")
        self.assertEqual(answer, {"ok": False, "problems": ["up, drain, down expected as the state of a trunk"]})
        refused = self.run_sipd("trunks", "nobody", "up", "--config", "sipd.toml")
        self.assertEqual(await refused.ends(START), 1)
        self.assertIn(b"there is no trunk nobody", refused.output)
