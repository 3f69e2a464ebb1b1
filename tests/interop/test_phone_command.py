"""`sipd phone` as an operator runs it: with sipd, with baresip, and with itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, ClassVar

from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from tests.interop.baresip import Account, Phone
from tests.interop.calls import assert_tone
from tests.interop.case import InteropTestCase
from tests.interop.programs import Program
from tests.interop.server import USERS, Server
from tests.interop.tones import RATE_HZ, best_share, read_wave
from tests.namespaces import Namespace
from tests.ports import HOST

_ROOT = Path(__file__).resolve().parents[2]
_START = 20.0
_LIMIT = 25.0
TONES_HZ = {"alice": 440.0, "bob": 1000.0}


class CommandCase(InteropTestCase):
    """Starts telephones of the command line."""

    programs: ClassVar[tuple[str, ...]] = ()
    timeout = 120

    def run_phone(self, *words: str, password: str = "", namespace: Namespace | None = None) -> Program:
        """Start a command of `sipd phone`."""
        environment = {"PYTHONPATH": str(_ROOT), **({"SIPD_PASSWORD": password} if password else {})}
        arguments = ("-m", "sipd", "phone", *words)
        label = f"sipd phone {words[0]}"
        return self.start(sys.executable, *arguments, label=label, environment=environment, namespace=namespace)

    def run_user(self, server: Server, user: str, command: str, *words: str, password: str = "") -> Program:
        """The same with an account at a server."""
        account = ("--account", f"sip:{user}@{HOST}", "--proxy", server.address)
        return self.run_phone(command, *account, *words, password=password or USERS[user])

    async def finish(self, program: Program, status: int = 0) -> list[str]:
        """Wait for its end, which has to be with that status; give its lines."""
        self.assertEqual(await program.ends(_LIMIT), status, self.explain())
        self.assertNotIn(b"Traceback", program.output, self.explain())
        return program.output.decode().splitlines()

    async def objects(self, program: Program, status: int = 0) -> list[dict[str, Any]]:
        """The same of one that writes JSON."""
        return [json.loads(line) for line in await self.finish(program, status)]

    async def server(self) -> Server:
        """Start sipd."""
        server = Server(self)
        await server.start()
        return server

    def type_in(self, program: Program, line: str) -> None:
        """Type a line."""
        assert program.transport is not None
        program.transport.write(f"{line}\n".encode())

    def hears(self, name: str, tone_hz: float, least: float = 1.0) -> None:
        """Check that a recording has that tone until its end, and nothing else but the silence before and after it."""
        samples = read_wave(self.directory / name)
        self.assertGreater(len(samples) / RATE_HZ, least)
        assert_tone(self, samples, tone_hz, least / 2, name)
        assert_tone(self, samples[-RATE_HZ // 2 :], tone_hz, 0.25, f"the end of {name}")


class BaresipTests(CommandCase):
    """Calls between it and baresip, by way of sipd."""

    programs = ("baresip",)

    async def phone(self, server: Server, user: str) -> Phone:
        """Start a baresip, and let it register."""
        phone = Phone(self, Account(user=user, server=server.address, password=USERS[user]), TONES_HZ[user])
        await phone.start()
        await phone.registered()
        return phone

    async def test_dial(self) -> None:
        """A tone goes one way, another one comes back and is recorded; the end has the figures."""
        server = await self.server()
        bob = await self.phone(server, "bob")
        words = ["--play", "tone:440", "--record", "heard.wav", "--hangup-after", "3", "--json", "--pcap", "sip.pcap"]
        dialling = self.run_user(server, "alice", "dial", "bob", *words)
        await bob.event("CALL_INCOMING", _START)
        bob.send("accept")
        await bob.event("CALL_ESTABLISHED")
        await bob.event("CALL_CLOSED", _LIMIT)
        events = await self.objects(dialling)
        self.hears("heard.wav", TONES_HZ["bob"])
        self.assertGreater(best_share(bob.take_recording()[-8000:], TONES_HZ["alice"]), 0.9)
        steps = [event["step"] for event in events if event["event"] == "progress"]
        self.assertEqual((steps[0], steps[-1]), ("invited", "established"))
        end = events[-1]
        self.assertEqual((end["event"], end["by"], end["media"]["codec"]), ("end", "us", "pcmu/8000"))
        self.assertGreater(end["media"]["packets_received"], 100)
        self.assertGreater(end["media"]["mos"], 3.5)
        self.assertGreater((self.directory / "sip.pcap").stat().st_size, 1000)
        await bob.stop()
        (record,) = await server.finish()
        self.assertEqual((record["user"], record["status"], record["ended_by"]), ("alice", 200, "caller"))

    async def test_answer(self) -> None:
        """It registers, rings, answers and echoes: the caller hears itself; the first call is the last one."""
        server = await self.server()
        answering = self.run_user(server, "bob", "answer", "--register", "--echo", "--once", "--ring-time", "0.5")
        await answering.says("waiting for calls", _START)
        alice = await self.phone(server, "alice")
        alice.send("dial", f"sip:bob@{HOST}")
        await alice.event("CALL_RINGING", _LIMIT)
        await alice.event("CALL_ESTABLISHED", _LIMIT)
        await self.pause(2.0)
        alice.send("hangup")
        await alice.event("CALL_CLOSED")
        lines = await self.finish(answering)
        self.assertRegex(lines[-1], r"^ended by the other side after \d\.\d s: pcmu/8000, \d+ packets sent, ")
        await self.pause(0.2)
        self.assertGreater(best_share(alice.take_recording()[-8000:], TONES_HZ["alice"]), 0.9)
        await alice.stop()
        await server.finish()

    async def test_refused(self) -> None:
        """One that declines: one line with status and reason, and exit status 1."""
        server = await self.server()
        bob = await self.phone(server, "bob")
        dialling = self.run_user(server, "alice", "dial", "bob")
        await bob.event("CALL_INCOMING", _START)
        bob.send("hangup")
        self.assertRegex((await self.finish(dialling, 1))[-1], "^486 ")
        await bob.stop()
        await server.finish()

    async def test_interrupted(self) -> None:
        """Ctrl-C and SIGTERM hang up, while they talk and while it rings; the statuses are 130 and 143."""
        server = await self.server()
        bob = await self.phone(server, "bob")
        for signal, status, is_answered in (("INT", 130, True), ("TERM", 143, True), ("INT", 130, False)):
            dialling = self.run_user(server, "alice", "dial", "bob", "--ladder")
            await bob.event("CALL_INCOMING", _START)
            if is_answered:
                bob.send("accept")
                await dialling.says("answered with 200")
            else:
                await dialling.says("180 Ringing")
            dialling.send_signal(signal)
            await bob.event("CALL_CLOSED")
            lines = await self.finish(dialling, status)
            last = "200 OK BYE" if is_answered else "487 Request Terminated INVITE"
            self.assertTrue(any(f" {last} " in line for line in lines), self.explain())
        await bob.stop()
        await server.finish()


class OwnTests(CommandCase):
    """It with sipd, and with itself."""

    async def test_register(self) -> None:
        """It stays registered until Ctrl-C, and is not afterwards; wrong passwords and empty places have a status."""
        server = await self.server()
        staying = self.run_user(server, "alice", "register", "--ladder")
        await staying.says("registered sip:alice@", _START)
        staying.send_signal("INT")
        lines = await self.finish(staying, 130)
        arrows = [line.split("|")[1].strip("-<> ") for line in lines if "|" in line]
        self.assertEqual([arrow for arrow in arrows if arrow.startswith("REGISTER")][:2], ["REGISTER 1", "REGISTER 2"])
        self.assertGreaterEqual(sum(arrow.startswith("200 OK REGISTER") for arrow in arrows), 2)
        running = {
            1: self.run_user(server, "alice", "register", "--once", password="guess"),
            0: self.run_user(server, "alice", "register", "--once"),
            3: self.run_phone("options", f"sip:{HOST}:{self.ports.take()}", "--timeout", "2"),
            2: self.run_phone("dial"),
        }
        for status, program in running.items():
            await self.finish(program, status)
        self.assertRegex(running[1].output, rb"40[13] ")
        await self.finish(self.run_user(server, "alice", "register", "--unregister-all"))
        await server.finish()

    async def test_requests(self) -> None:
        """A message goes through sipd from one to the other, over TLS at one side; OPTIONS are answered."""
        server = await self.server()
        answering = self.run_user(server, "bob", "answer", "--register", "--json")
        await answering.says('"listening"', _START)
        proxy = f"{HOST}:{server.tls_port}"
        tls = ["--proxy", proxy, "--transport", "tls", "--tls-ca", str(server.certificate)]
        sent = self.run_phone(
            "message", "bob", "hello there", "--account", f"sip:alice@{HOST}", *tls, password=USERS["alice"]
        )
        asked = self.run_phone("options", f"sip:{server.address}", "-t", "tcp", "--verbose")
        self.assertRegex((await self.finish(sent))[-1], "^20[02] ")
        self.assertTrue(any(line.startswith("Allow: ") for line in await self.finish(asked)), self.explain())
        await answering.says('"message"', _LIMIT)
        answering.send_signal("TERM")
        events = await self.objects(answering, 143)
        (message,) = [event for event in events if event["event"] == "message"]
        self.assertEqual((message["sender"], message["text"]), (f"sip:alice@{HOST}", "hello there"))
        await server.finish()

    async def test_each_other(self) -> None:
        """Two of them without a server, encrypted: digits and commands that are typed, and an echo that is recorded."""
        port = self.ports.take()
        answering = self.run_phone("answer", "--listen", f"udp:{HOST}:{port}", "--echo", "--once")
        await answering.says("waiting for calls", _START)
        words = ["--srtp", "--play", "tone:440", "--record", "echo.wav", "--codec", "pcma"]
        dialling = self.run_phone("dial", f"sip:echo@{HOST}:{port}", *words)
        await dialling.says("answered with 200", _START)
        await self.pause(1.5)
        self.type_in(dialling, "i")
        await dialling.says(r"\d s: pcma/8000 encrypted, ")
        self.type_in(dialling, "h")
        await self.finish(dialling)
        self.hears("echo.wav", TONES_HZ["alice"])
        lines = await self.finish(answering)
        self.assertRegex(lines[-1], "^ended by the other side after ")

    async def test_typed_digits(self) -> None:
        """Digits that are typed are heard, and `q` ends a telephone that answers."""
        port = self.ports.take()
        answering = self.run_phone("answer", "--listen", f"udp:{HOST}:{port}")
        await answering.says("waiting for calls", _START)
        dialling = self.run_phone("dial", f"sip:{HOST}:{port}")
        await dialling.says("answered with 200", _START)
        self.type_in(dialling, "d42#")
        await answering.says("heard digit #", _LIMIT)
        self.type_in(answering, "q")
        await self.finish(answering)
        self.assertRegex((await self.finish(dialling))[-1], "^ended by the other side after ")
        self.assertRegex(answering.output.decode(), "heard digit 4\nheard digit 2\nheard digit #\n")

    async def test_second_signal(self) -> None:
        """A second signal ends it at once, whatever there is to be waited for."""
        dialling = self.run_phone("dial", f"sip:{HOST}:{self.deaf_port()}")
        await dialling.says("calling ", _START)
        for _ in range(2):
            dialling.send_signal("INT")
            await self.pause(0.2)
        await self.finish(dialling, 130)

    def deaf_port(self) -> int:
        """Give a port where somebody is, and says nothing."""
        listening: Any = IReactorUDP(self.reactor).listenUDP(0, DatagramProtocol(), HOST, 8192)
        self.addCleanup(listening.stopListening)
        port: int = listening.getHost().port
        return port
