"""`sipd monitor` in this process: its options, what it says, saved captures; live: `tests.interop.test_monitor`."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import stat
import sys

from twisted.trial.unittest import SkipTest

from sipd.daemon.cli import main
from sipd.daemon.monitoring import Output
from sipd.observe.sniffing.files import read_packets
from tests.daemon.test_cli_commands import CommandCase
from tests.observe.sniffing.wires import ALICE, BOB, ipv4, pcap, register, registered, request, response, rtp, udp

_SECRET = 'Authorization: Digest username="alice", realm="x", nonce="n", uri="sip:x", response="deadbeef"\r\n'


def _there(at: float, data: bytes) -> tuple[float, bytes]:
    return at, ipv4(udp(data))


def _back(at: float, data: bytes) -> tuple[float, bytes]:
    return at, ipv4(udp(data, BOB, ALICE), source=BOB[0], destination=ALICE[0])


_REGISTRATION = [
    _there(0.0, register()),
    _back(0.1, registered(status=401)),
    _there(0.2, register(fields=_SECRET)),
    _back(0.3, registered(fields="Contact: <sip:alice@192.0.2.1>;expires=60\r\n")),
]
_CALL = [
    _there(1.0, request()),
    _back(1.5, response(180, reason="Ringing")),
    _back(2.0, response(200)),
    _there(2.1, request("ACK")),
    *((2.2 + n / 50, ipv4(udp(rtp(n), (ALICE[0], 10000), (BOB[0], 12000)))) for n in range(20)),
    _there(5.0, request("BYE", cseq=2)),
    _back(5.1, response(200, "BYE", cseq=2)),
]


class MonitorCase(CommandCase):
    """Reads a capture of a registration and a call."""

    def setUp(self) -> None:
        super().setUp()
        self.capture = self.directory / "wire.pcap"
        self.capture.write_bytes(pcap(_REGISTRATION + _CALL))

    def monitor(self, *options: str) -> list[str]:
        """Read it; give the lines."""
        status, output, errors = self.run_sipd("monitor", "--read", str(self.capture), *options)
        self.assertEqual((status, errors), (0, ""))
        return output.splitlines()

    def shown(self, *options: str) -> list[str]:
        """Read it; give method or status of each line."""
        return [line.split()[5] for line in self.monitor(*options)]


class ReadTests(MonitorCase):
    """What is shown of a saved capture."""

    def test_lines(self) -> None:
        """Each message is a line."""
        self.assertEqual(
            self.shown(), ["REGISTER", "401", "REGISTER", "200", "INVITE", "180", "200", "ACK", "BYE", "200"]
        )
        self.assertEqual(
            self.monitor()[4],
            "1970-01-01T00:00:01.000Z 192.0.2.1:5062 -> 192.0.2.9:5060 UDP INVITE sip:bob@example.com "
            "from alice to bob a1",
        )

    def test_filters(self) -> None:
        """Each filter shows what it says; of several, what all of them say."""
        everything = 10
        for options, expected in (
            (["--method", "bye"], ["BYE", "200"]),
            (["-m", "INVITE,ACK"], ["INVITE", "180", "200", "ACK"]),
            (["--status", "2xx"], ["200", "200", "200"]),
            (["--status", "100-199,401"], ["401", "180"]),
            (["--user", "bob", "--status", "2xx"], ["200", "200"]),
            (["--user", "car*"], []),
            (["--call", "r1", "--method", "REGISTER", "--status", "401"], ["401"]),
            (["--contains", "EXPIRES=60"], ["200"]),
            (["--registrations"], ["REGISTER", "401", "REGISTER", "200"]),
            (["--setup"], ["INVITE", "180", "200", "ACK"]),
            (["--setup", "--registrations", "--status", "1xx,4xx"], ["401", "180"]),
            (["--auth"], ["401"]),
            (["--auth", "--status", "180"], ["401", "180"]),
            (["--count", "2"], ["REGISTER", "401"]),
            (["--duration", "0.15"], ["REGISTER", "401"]),
            (["--host", "192.0.2.0/24", "--count", "1"], ["REGISTER"]),
            (["--host", "192.0.2.77,2001:db8::1"], []),
            (["--host", "localhost"], []),
            (["--port", "5070"], []),
            (["--port", "5061,5062-5064", "-n", "1"], ["REGISTER"]),
        ):
            self.assertEqual(self.shown(*options), expected, options)
        self.assertEqual(len(self.shown("--host", BOB[0])), everything)

    def test_verbose(self) -> None:
        """Whole messages have covered secrets, unless it is asked for them."""
        text = "\n".join(self.monitor("--verbose"))
        self.assertIn("\nMax-Forwards: 70\n", text)
        self.assertIn('response="xxxxxxxx"', text)
        self.assertNotIn("deadbeef", text)
        self.assertIn('response="deadbeef"', "\n".join(self.monitor("--verbose", "--show-secrets")))

    def test_ladder(self) -> None:
        """Calls and registrations are drawn instead of lines."""
        text = "\n".join(self.monitor("--ladder"))
        self.assertEqual(text.count("192.0.2.1:5062"), 2)
        self.assertRegex(text, r"\n +0\.000 +\|-+ INVITE 1 -+>\|\n +0\.500 +\|<-+ 180 Ringing INVITE 1 -+\|\n")
        both = "\n".join(self.monitor("--ladder", "--verbose", "--count", "1"))
        self.assertRegex(both, r"(?s)\nCSeq: 1 REGISTER\n.* REGISTER 1 -+>\|")

    def test_summary(self) -> None:
        """At the end there are counts, registrations and calls; with --quiet nothing else."""
        self.assertEqual(
            self.monitor("--summary", "--quiet"),
            [
                "messages: 10 in 5.100 s (UDP 10)",
                "requests: REGISTER 2, INVITE 1, ACK 1, BYE 1",
                "responses: 200 3, 401 1, 180 1",
                "users: alice 10, bob 6",
                "registrations:",
                "  alice@example.com registered at sip:alice@192.0.2.1 for 60 s, 1970-01-01T00:00:00.300Z",
                "calls:",
                "  1970-01-01T00:00:01.000Z alice -> bob a1: rang after 0.500 s, answered after 1.000 s, "
                "acknowledged after 1.100 s, ended after 4.100 s",
            ],
        )

    def test_json(self) -> None:
        """Each line is one object."""
        found = [json.loads(line) for line in self.monitor("--json", "--summary", "--method", "INVITE")]
        self.assertEqual([one["kind"] for one in found], ["request", "response", "response", "summary"])
        self.assertEqual((found[1]["status"], found[1]["method"], found[1]["from_user"]), (180, "INVITE", "alice"))

    def test_media(self) -> None:
        """RTP is shown if it is asked for, on usual ports or on those that are named."""
        for options in (["--rtp"], ["--rtp", "12000-12001"], ["--rtp=12000"], ["--rtp", "--quiet", "--json"]):
            lines = [line for line in self.monitor(*options) if " RTP " in line]
            self.assertEqual(len(lines), 0 if "--quiet" in options else 2, options)
        self.assertIn("RTP begins: payload type 8, source 00000007", self.monitor("--rtp")[8])
        self.assertEqual([line for line in self.monitor("--rtp", "13000-14000") if " RTP " in line], [])

    def test_file(self) -> None:
        """What is shown is written, and can be read again; secrets are covered there, too."""
        file = self.directory / "shown.pcap"
        self.monitor("--pcap", str(file), "--rtp", "--method", "REGISTER")
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        data = file.read_bytes()
        self.assertEqual(len(list(read_packets(io.BytesIO(data)))), 24)
        self.assertNotIn(b"deadbeef", data)
        self.capture = file
        self.assertEqual(self.shown("--count", "9"), ["REGISTER", "401", "REGISTER", "200"])

    def test_standard_input(self) -> None:
        """A capture may come through a pipe."""
        self.patch(sys, "stdin", io.TextIOWrapper(io.BytesIO(self.capture.read_bytes())))
        status, output, _ = self.run_sipd("monitor", "--read", "-", "--auth")
        self.assertEqual((status, output.count("\n")), (0, 1))

    def test_damaged(self) -> None:
        """What stands before the damage is shown, summed up, and the damage is named; the status is 1."""
        self.capture.write_bytes(self.capture.read_bytes()[:-3])
        status, output, errors = self.run_sipd("monitor", "--read", str(self.capture), "--summary")
        self.assertEqual((status, errors), (1, f"{self.capture}: cut off in the middle of a packet\n"))
        self.assertIn("\nmessages: 9 in 5.000 s", output)

    def test_files_that_cannot_be_used(self) -> None:
        """A capture that is not there, or is none, and a file that cannot be written: status 1 and one line."""
        absent = str(self.directory / "absent" / "x")
        for options, text in (
            (["--read", absent], "cannot be read"),
            (["--read", str(self.directory)], "cannot be read"),
            (["--read", str(self.capture), "--pcap", absent], "cannot be written"),
        ):
            status, _, errors = self.run_sipd("monitor", *options)
            self.assertEqual((status, errors.count("\n")), (1, 1))
            self.assertIn(text, errors)
        self.capture.write_text("[no capture]")
        self.assertIn("neither pcap nor pcapng", self.run_sipd("monitor", "-r", str(self.capture))[2])


class _Interrupted(io.BytesIO):
    """Gives what it has, and then a signal comes."""

    def __init__(self, data: bytes, number: signal.Signals) -> None:
        super().__init__(data)
        self._number = number

    def read(self, size: int | None = -1) -> bytes:
        """See `io.BytesIO`."""
        data = super().read(size)
        if not data:
            signal.raise_signal(self._number)
        return data


class EndTests(MonitorCase):
    """How it ends."""

    def test_nobody_reads(self) -> None:
        """When the reader of its output goes away, that is the end: no error, and status 0."""
        reading, writing = os.pipe()
        os.close(reading)
        errors = io.StringIO()
        with os.fdopen(writing, "w") as output:
            self.patch(sys, "stdout", output)
            self.patch(sys, "stderr", errors)
            self.assertEqual(main(["monitor", "--read", str(self.capture), "--summary"]), 0)
        self.assertEqual(errors.getvalue(), "")

    def test_no_room(self) -> None:
        """Where standard output cannot be written, that is an error with a name."""
        if not os.path.exists("/dev/full"):
            raise SkipTest("there is no /dev/full here")
        errors = io.StringIO()
        with contextlib.suppress(OSError), open("/dev/full", "w") as output:
            self.patch(sys, "stdout", output)
            self.patch(sys, "stderr", errors)
            self.assertEqual(main(["monitor", "--read", str(self.capture), "--summary"]), 1)
        self.assertEqual(errors.getvalue(), "standard output: No space left on device\n")

    def test_interrupted(self) -> None:
        """SIGINT and SIGTERM end the reading of a capture as its end does; the handlers are as before after it."""
        before = signal.getsignal(signal.SIGTERM)
        at_keyboard = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, at_keyboard)
        for number in (signal.SIGTERM, signal.SIGINT):
            pipe = _Interrupted(self.capture.read_bytes(), number)
            self.patch(sys, "stdin", io.TextIOWrapper(pipe))
            status, text, errors = self.run_sipd("monitor", "--read", "-", "--summary", "--quiet")
            self.assertEqual((status, errors), (0, ""))
            self.assertIn("messages: 10 in", text)
        self.assertEqual(signal.getsignal(signal.SIGTERM), before)

    def test_odd_letters(self) -> None:
        """Where the terminal has no such letters, they are escaped."""
        raw = io.BytesIO()
        self.patch(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
        Output().write("Jürgen")
        self.assertEqual(raw.getvalue(), b"J\\xfcrgen\n")


class OptionTests(CommandCase):
    """What it takes, and what it refuses."""

    def test_faults(self) -> None:
        """Each mistake is named with its option, and the status is 2."""
        for options, text in (
            (["--port", "x"], "--port: 'x' is no port"),
            (["--port", "70000"], "--port: "),
            (["--rtp", "20000-10000"], "--rtp: "),
            (["--method", "IN VITE"], "--method: 'IN VITE' is no method"),
            (["--status", "abc"], "--status: 'abc' is no status"),
            (["--host", "no.such.name.invalid"], "--host: 'no.such.name.invalid' is no address"),
            (["--count", "0"], "--count: "),
            (["--duration", "-1"], "--duration: "),
            (["--duration", "nan"], "--duration: "),
            (["--json", "--ladder"], "either --json or --ladder"),
            (["--quiet", "--verbose"], "either --quiet or --verbose"),
            (["--read", "x", "--interface", "lo"], "either --read or --interface"),
            (["surplus"], "Wrong number of arguments"),
            (["--frobnicate"], "--frobnicate"),
        ):
            status, output, errors = self.run_sipd("monitor", *options)
            self.assertEqual((status, output), (2, ""), options)
            self.assertIn(text, errors)

    def test_the_same_file(self) -> None:
        """A file that is read is not replaced."""
        file = self.directory / "x.pcap"
        file.write_bytes(pcap([]))
        status, _, errors = self.run_sipd("monitor", "--read", str(file), "--pcap", str(file))
        self.assertEqual(status, 2)
        self.assertIn("would replace", errors)
        self.assertTrue(file.stat().st_size)

    def test_interface(self) -> None:
        """An interface that is not there is named, or the right that is missing; the status is 1."""
        if not sys.platform.startswith("linux"):
            raise SkipTest("only Linux has such sockets")
        status, output, errors = self.run_sipd("monitor", "--interface", "nosuch0", "--summary")
        self.assertEqual((status, output, errors.count("\n")), (1, "", 1))
        self.assertRegex(errors, "there is no interface nosuch0|CAP_NET_RAW")
