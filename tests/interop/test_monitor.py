"""`sipd monitor` watches real phones on the loopback interface, by the kernel's own filter."""

from __future__ import annotations

import json
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SkipTest

from tests.interop.baresip import Account, Phone
from tests.interop.calls import talk
from tests.interop.case import InteropTestCase
from tests.interop.programs import Program
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp
from tests.ports import HOST

_ROOT = Path(__file__).resolve().parents[2]
_LIMIT = 30.0
#: Several that start at the same time may take so long.
_START = 40.0
#: What was said before is on its way through pipes for so many seconds.
_MOMENT = 0.5
#: Before it knows where a phone's media comes from, sipd may send some elsewhere.
_SOME_PACKETS = 20


class MonitorCase(InteropTestCase):
    """Skipped where nobody may watch interfaces."""

    programs: ClassVar[tuple[str, ...]] = ("sipp",)
    timeout = 120

    def setUp(self) -> None:
        """Ask whether there is the right to watch."""
        super().setUp()
        try:
            socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
        except (AttributeError, OSError) as error:
            raise SkipTest(f"interfaces cannot be watched without root or CAP_NET_RAW: {error}") from None

    def begin(self, *options: str) -> Program:
        """Start it."""
        words = ("-m", "sipd", "monitor", *options)
        return self.start(sys.executable, *words, label="monitor", environment={"PYTHONPATH": str(_ROOT)})

    async def watch(self, *options: str) -> Program:
        """Start it, and wait until it watches."""
        program = self.begin(*options)
        await program.says("watching ", _LIMIT)
        return program

    async def lines(self, program: Program, signal: str = "INT") -> list[str]:
        """End it, well; give what it wrote."""
        await self.pause(_MOMENT)
        program.send_signal(signal)
        self.assertEqual(await program.ends(_LIMIT), 0, program.explain())
        found = program.output.decode().splitlines()
        return [line for line in found if not line.startswith("watching ")]

    async def objects(self, program: Program) -> list[dict[str, Any]]:
        """The same of one that writes JSON."""
        return [json.loads(line) for line in await self.lines(program)]

    async def read(self, file: Path, port: int, *arguments: str) -> list[list[str]]:
        """Run tshark on a capture, where that port is SIP's; give its output as lines of fields."""
        program = self.start("tshark", "-r", str(file), "-Q", "-d", f"udp.port=={port},sip", *arguments)
        self.assertEqual(await program.ends(_LIMIT), 0, program.explain())
        lines = program.output.decode().splitlines()
        return [line.split("\t") for line in lines if not line.startswith("Running as user")]


def kind(one: dict[str, Any]) -> tuple[Any, ...]:
    """Say which message that is, as tshark does."""
    return one["call_id"], one["method"] if one["kind"] == "request" else str(one["status"]), str(one["cseq"])


class PhoneTests(MonitorCase):
    """A call between two phones, one on UDP and one on TCP, while it is watched."""

    programs = ("baresip", "tshark")

    async def test_call(self) -> None:
        """Every message of registrations and call is seen once, as tshark sees it; so are four streams of RTP."""
        server = Server(self)
        await server.start()
        media = f"{server.media_ports[0]}-{server.media_ports[-1]}"
        options = ["--json", "--summary", "--interface", "lo", "--port", str(server.port), "--rtp", media]
        watching = await self.watch(*options, "--pcap", str(self.directory / "shown.pcap"))
        phones = []
        for user, transport, tone in (("alice", "udp", 440.0), ("bob", "tcp", 1000.0)):
            account = Account(user=user, server=server.address, transport=transport, password=USERS[user])
            phones.append(Phone(self, account, tone))
            await phones[-1].start()
            await phones[-1].registered()
        alice, bob = phones
        await talk(self, alice, bob, f"sip:bob@{HOST}", hangs_up=alice)
        for phone in phones:
            await phone.stop()
        *seen, summary = await self.objects(watching)
        await server.finish()

        messages = [one for one in seen if one["kind"] in ("request", "response")]
        self.assertEqual({one["transport"] for one in messages}, {"UDP", "TCP"})
        self.assertEqual({one["kind"] for one in seen}, {"request", "response", "rtp"})
        repeated = Counter((*kind(one), one["source"], one["method"]) for one in messages)
        self.assertEqual(set(repeated.values()), {1}, repeated)
        fields = ["sip.Call-ID", "sip.Method", "sip.Status-Code", "sip.CSeq.seq"]
        columns = [word for field in fields for word in ("-e", field)]
        shown = self.directory / "shown.pcap"
        for file in (server.capture, shown):
            found = await self.read(file, server.port, "-Y", "sip", "-T", "fields", *columns)
            rows = Counter((row[0], row[1] or row[2], row[3]) for row in found)
            self.assertEqual(rows, Counter(kind(one) for one in messages), file)
        self.assertEqual(await self.read(shown, server.port, "-Y", "_ws.malformed || _ws.expert.severity == error"), [])
        streams = [one for one in seen if one["kind"] == "rtp" and one["packets"] > _SOME_PACKETS]
        self.assertEqual(len({(one["source"], one["destination"]) for one in streams}), 4, streams)
        legs = [call for call in summary["calls"] if call["ended_after"] is not None]
        self.assertEqual({(call["caller"], call["callee"], call["status"]) for call in legs}, {("alice", "bob", 200)})
        self.assertEqual(len(legs), 2)
        states = {one["user"].partition("@")[0]: one["state"] for one in summary["registrations"]}
        self.assertEqual(set(states), {"alice", "bob"})

    async def test_tls(self) -> None:
        """A TLS connection is named as what cannot be read, once for each direction."""
        server = Server(self)
        await server.start()
        watching = await self.watch("--port", str(server.tls_port))
        account = Account(
            user="alice",
            server=f"{HOST}:{server.tls_port}",
            transport="tls",
            password=USERS["alice"],
            authority=server.certificate,
        )
        phone = Phone(self, account, 440.0)
        await phone.start()
        await phone.registered()
        lines = await self.lines(watching)
        self.assertEqual([line.partition("TLS")[2] for line in lines], [": cannot be read"] * 2)
        await phone.stop()
        await server.finish()


class FilterTests(MonitorCase):
    """Several of them watch the same registration and call, each for something else."""

    async def test_filters(self) -> None:
        """Each shows what it is there for, on all interfaces."""
        server = Server(self)
        callee = self.ports.take()
        server.add_route("sipp", "callee", callee)
        await server.start()
        port = ("--port", str(server.port))
        wanted = {
            "registrations": ["--registrations"],
            "setup": ["--setup", "--user", "callee", "--host", HOST],
            "auth": ["--auth", "--verbose"],
            "text": ["--contains", "a=RTPMAP", "--count", "1"],
            "ladder": ["--ladder", "--method", "INVITE,ACK,BYE"],
            "nobody": ["--user", "nobody", "--summary"],
            "secrets": ["--contains", "authorization: digest", "--verbose"],
        }
        watching = {name: self.begin(*port, *options) for name, options in wanted.items()}
        for program in watching.values():
            await program.says("watching ", _START)
        credentials = ("bob", USERS["bob"])
        registering = Sipp(
            self,
            "register",
            port=self.ports.take(),
            target=server.address,
            service="bob",
            credentials=credentials,
            digest_uri=server.host,
        )
        await registering.succeeds()
        called = Sipp(self, "uas_answers", port=callee)
        await called.listens()
        await Sipp(self, "uac_answered", port=self.ports.take(), target=server.address).succeeds()
        await called.succeeds()
        await watching["ladder"].says("BYE", _LIMIT)
        self.assertEqual(await watching["text"].ends(_LIMIT), 0)
        found = {name: await self.lines(program) for name, program in watching.items() if name != "text"}
        await server.finish()

        words = {name: [line.split()[5] for line in lines if " UDP " in line] for name, lines in found.items()}
        self.assertEqual(words["registrations"], ["REGISTER", "401", "REGISTER", "200"])
        setup = [word for word in words["setup"] if word != "100"]
        self.assertEqual(sorted(setup), sorted(["INVITE", "180", "200", "ACK"] * 2))
        self.assertEqual(words["auth"], ["401"])
        self.assertTrue(any(line.startswith("WWW-Authenticate: ") for line in found["auth"]))
        self.assertEqual(watching["text"].output.count(b" UDP INVITE "), 1)
        drawing = "\n".join(found["ladder"])
        self.assertEqual(drawing.count("200 OK BYE 2"), 2, drawing)
        self.assertEqual(found["nobody"], ["messages: none"])
        secret = [line for line in found["secrets"] if line.startswith("Authorization: ")]
        self.assertRegex(secret[0], r'response="x{32}"')

    async def test_ipv6(self) -> None:
        """The same over IPv6, and from TCP connections; SIGTERM ends it as SIGINT does."""
        server = Server(self, "::1")
        callee = self.ports.take("::1")
        server.add_route("sipp", "callee", callee)
        await server.start()
        watching = await self.watch("--port", str(server.port), "--host", "::1", "--method", "INVITE")
        called = Sipp(self, "uas_answers", port=callee, host="::1")
        await called.listens()
        caller = Sipp(
            self, "uac_answered", port=self.ports.take("::1"), host="::1", target=server.address, transport="t1"
        )
        await caller.succeeds()
        await called.succeeds()
        lines = await self.lines(watching, "TERM")
        await server.finish()
        self.assertEqual(sum(" TCP INVITE " in line for line in lines), 1)
        self.assertEqual(sum(" UDP INVITE " in line for line in lines), 1)
        self.assertTrue(all(" [::1]:" in line for line in lines))


class EndTests(MonitorCase):
    """How it begins and ends."""

    programs = ("setpriv",)

    def send(self, port: int) -> None:
        """Send one message to a port of this machine."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"OPTIONS sip:x SIP/2.0\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n", (HOST, port))

    async def test_no_right(self) -> None:
        """Without CAP_NET_RAW there is one line that says so, and the status is 1."""
        words = ("--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "-m", "sipd", "monitor")
        program = self.start("setpriv", *words, label="monitor", environment={"PYTHONPATH": str(_ROOT)})
        self.assertEqual(await program.ends(_LIMIT), 1)
        self.assertRegex(program.output, rb"\A[^\n]*CAP_NET_RAW[^\n]*\n\Z")

    async def test_nobody_reads(self) -> None:
        """When the reader of its output is gone, it ends without a word."""
        port = self.ports.take()
        script = f'"{sys.executable}" -m sipd monitor --port {port} | head -n 1; echo "statuses ${{PIPESTATUS[*]}}"'
        program = self.start("bash", "-c", script, environment={"PYTHONPATH": str(_ROOT)})
        await program.says("watching ", _LIMIT)
        for _ in range(3):
            self.send(port)
            await self.pause(0.3)
        self.assertEqual(await program.ends(_LIMIT), 0, program.explain())
        self.assertRegex(program.output.decode(), r"\Awatching [^\n]*\n[^\n]* OPTIONS [^\n]*\nstatuses 0 0\n\Z")

    async def test_duration(self) -> None:
        """After its time it ends by itself; what other ports have is not shown."""
        port, other = self.ports.take(), self.ports.take()
        program = await self.watch("--duration", "1.5", "--port", str(port), "--interface", "lo")
        self.send(other)
        self.send(port)
        self.assertEqual(await program.ends(_LIMIT), 0)
        self.assertEqual(program.output.count(b" OPTIONS "), 1)
