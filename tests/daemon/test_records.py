"""`[cdr]`: which options fit which place, and what is made of them."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from sipd.daemon.config import build
from sipd.daemon.records import Records
from sipd.daemon.sections import Config
from sipd.daemon.values import Surroundings
from sipd.errors import ConfigurationError
from tests.cdr.support import LogKeeper, call
from tests.daemon.case import HIDDEN, MINIMAL, ConfigCase


class SectionTests(ConfigCase):
    """What is accepted."""

    def sink(self, text: str) -> str:
        """Give a configuration with one place."""
        return MINIMAL + f'[[cdr.sinks]]\nname = "x"\n{text}'

    def test_each_type(self) -> None:
        """Each type needs little: the defaults are good for the rest."""
        for text in (
            'type = "jsonl"\nfile = "a"',
            'type = "csv"\nfile = "a"\npreset = "freeswitch"',
            'type = "csv"\nfile = "a"\ncolumns = ["id", "attempts"]\nheader = false\ntimes = "iso"',
            'type = "http"\nurl = "http://127.0.0.1:8080/x"',
            'type = "sql"\ndatabase = "sqlite:////x"',
            'type = "syslog"\nserver = "[::1]:601"\ntransport = "tcp"',
            'type = "syslog"\nsocket = "/dev/log"',
            'type = "radius"\nservers = ["::1", "192.0.2.1:1813"]\nsecret = "x"\ninterim = 60.0',
        ):
            with self.subTest(text):
                self.assertEqual(len(self.load(self.sink(text)).cdr.sinks), 1)

    def test_spool(self) -> None:
        """Spools are below the state directory, or where that is wanted."""
        self.assertEqual(self.load(MINIMAL).cdr_spool, self.directory / "state" / "records")
        self.assertEqual(self.load(MINIMAL + '[cdr]\nspool = "s"').cdr_spool, self.directory / "s")

    def test_every_mistake(self) -> None:
        """One run names each option that does not fit its type, each that is missing, and each value that is wrong."""
        text = (
            self.sink('type = "jsonl"\nurl = "http://x/"\nbatch = 5')
            + '\n[[cdr.sinks]]\nname = "x"\ntype = "csv"\nfile = "f"\npreset = "asterisk"\ncolumns = ["id"]'
            + "\nheader = true"
            + '\n[[cdr.sinks]]\nname = "a/b"\ntype = "csv"\nfile = "f"\ncolumns = ["durations"]'
            + '\n[[cdr.sinks]]\nname = "c"\ntype = "radius"\nservers = ["radius.example.com"]'
            + '\n[[cdr.sinks]]\nname = "d"\ntype = "syslog"'
            + '\n[[cdr.sinks]]\nname = "e"\ntype = "http"\nurl = "ftp://x/"\nfirst_retry = 90.0\nspool_size_octets = 5'
            + '\n[[cdr.sinks]]\nname = "f"\ntype = "email"'
            + f'\n[[cdr.sinks]]\nname = "g"\ntype = "syslog"\nsocket = "/{"x" * 107}"'
        )
        problems = self.problems(text)
        for expected in (
            'cdr.sinks[0].url: for type = "http" only',
            'cdr.sinks[0].batch: for type = "http" or "sql" or "syslog" or "radius" only',
            'cdr.sinks[0].file: required for type = "jsonl", and missing',
            'cdr.sinks[1].name: a name of its own expected (cdr.sinks[0] is "x" too)',
            "cdr.sinks[1].columns: either preset or columns expected, not both",
            "cdr.sinks[1].header: not possible beside preset",
            "cdr.sinks[2].file: a file of its own expected (cdr.sinks[1].file is the same)",
            'cdr.sinks[2].columns[0]: the name of a field expected: did you mean "duration"?',
            'cdr.sinks[3].servers[0]: an address such as "192.0.2.7" or "[2001:db8::7]:1813" expected '
            '(got "radius.example.com")',
            'cdr.sinks[3].secret: required for type = "radius", and missing',
            "cdr.sinks[4].server: either server or socket expected",
            'cdr.sinks[5].url: a URL such as "https://billing.example.com/records" expected',
            "cdr.sinks[5].first_retry: first_retry no greater than last_retry expected (got 90 and 60)",
            "cdr.sinks[5].spool_size_octets: 1048576 or more expected (got 5)",
            'cdr.sinks[6].type: "jsonl", "csv", "http", "sql", "syslog" or "radius" expected (got "email")',
        ):
            self.assertIn(expected, problems)
        deep = "cdr.sinks[7].socket: a path of at most 107 octets expected: a socket has no longer one"
        self.assertTrue(any(line.startswith(deep) for line in problems))
        self.assertTrue(any(line.startswith("cdr.sinks[2].name") for line in problems))

    def test_secrets(self) -> None:
        """Secrets may come from files and the environment, and are never shown; a URL has none in it."""
        config = self.load(self.sink('type = "http"\nurl = "https://x/"\nsecret = { env = "S" }'), S=HIDDEN)
        self.assertNotIn(HIDDEN, repr(config))
        for url in (f"https://user:{HIDDEN}@x/", f"https://x:{HIDDEN}/", f"{HIDDEN}"):
            self.assertEqual(len(self.problems(self.sink(f'type = "http"\nurl = "{url}"'))), 1)
        self.assertEqual(len(self.problems(self.sink(f'type = "sql"\ndatabase = {{ no = "{HIDDEN}" }}'))), 1)


class RecordsTests(TestCase):
    """What is made of it, on the real reactor."""

    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor  # noqa: TID251 - real threads

        self.reactor = reactor
        self.log = LogKeeper(self)
        # That of a test may be too deep for a socket.
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.directory = Path(place.name)
        (self.directory / "state").mkdir()

    def config(self, *sinks: dict[str, Any]) -> Config:
        """Give a configuration with these places."""
        table = {
            "domains": ["example.com"],
            "state_directory": "state",
            "listen": [{"name": "udp", "transport": "udp", "address": "127.0.0.1"}],
            "cdr": {"sinks": list(sinks)},
        }
        return build(table, Surroundings(directory=self.directory, environment={}))

    def open(self, *sinks: dict[str, Any]) -> Records:
        """Make what takes records; it is closed with the test."""
        records = Records(self.config(*sinks), self.reactor)
        self.addCleanup(lambda: Deferred.fromCoroutine(records.close()))
        records.start()
        return records

    def end_call(self, records: Records, name: str) -> None:
        """Let a call end."""
        for observer in records.observers:
            observer.call_ended(name, call(name))

    async def test_files(self) -> None:
        """The first file is always there; others have what they are to have, each in its form, at once."""
        records = self.open(
            {"name": "all", "type": "jsonl", "file": "all", "records": ["call", "attempt"]},
            {"name": "master", "type": "csv", "file": "Master.csv", "preset": "asterisk"},
            {"name": "free", "type": "csv", "file": "free.csv", "columns": ["id", "status"], "records": ["attempt"]},
        )
        self.end_call(records, "c1")
        first = (self.directory / "state" / "calls.jsonl").read_text().splitlines()
        self.assertEqual([json.loads(line)["id"] for line in first], ["c1"])
        lines = (self.directory / "all").read_text().splitlines()
        self.assertEqual([json.loads(line)["id"] for line in lines], ["c1", "c1/b1", "c1/b2"])
        self.assertTrue((self.directory / "Master.csv").read_text().startswith('"alice","alice","5551234",'))
        self.assertEqual((self.directory / "free.csv").read_text(), '"id","status"\n"c1/b1",500\n"c1/b2",200\n')
        (self.directory / "free.csv").unlink()
        records.reopen()
        self.assertEqual((self.directory / "free.csv").read_text(), '"id","status"\n')
        self.assertEqual((records.waiting, records.spooled_octets), (0, {}))

    def listen(self) -> socket.socket:
        """Be the log. What is not there when it is asked for fails the test."""
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.addCleanup(receiver.close)
        receiver.bind(str(self.directory / "log"))
        return receiver

    async def test_database_and_log(self) -> None:
        """What goes to a database and a socket is there when all is closed, in order, without a spool left over."""
        receiver = self.listen()
        records = Records(
            self.config(
                {"name": "db", "type": "sql", "database": f"sqlite:///{self.directory}/records.sqlite"},
                {"name": "log", "type": "syslog", "socket": "log"},
            ),
            self.reactor,
        )
        records.start()
        for number in range(5):
            self.end_call(records, f"c{number}")
        await records.close()
        self.assertEqual(self.log.at("error"), [])
        import sqlite3

        connection = sqlite3.connect(self.directory / "records.sqlite")
        self.addCleanup(connection.close)
        rows = connection.execute("SELECT id FROM call_records ORDER BY id").fetchall()
        self.assertEqual(rows, [(f"c{number}",) for number in range(5)])
        got = [json.loads(receiver.recv(9000).partition(b" - ")[2])["id"] for _ in range(5)]
        self.assertEqual(got, [f"c{number}" for number in range(5)])
        await records.close()

    async def test_nobody_there(self) -> None:
        """With a place that is away sipd starts, takes records and stops; a start later they are delivered."""
        sink = {"name": "log", "type": "syslog", "socket": "log"}
        records = Records(self.config(sink), self.reactor)
        records.start()
        self.end_call(records, "c1")
        await records.close()
        self.assertIn("they wait", self.log.at("error")[0])
        receiver = self.listen()
        again = Records(self.config(sink), self.reactor)
        again.start()
        await again.close()
        self.assertIn(b'"id":"c1"', receiver.recv(9000))

    async def test_leftovers(self) -> None:
        """A spool of a place that is not configured any more is named in the log, and left alone."""
        records = Records(self.config({"name": "log", "type": "syslog", "socket": "log"}), self.reactor)
        self.end_call(records, "c1")
        await records.close()
        await self.open().close()
        self.assertIn("records/log holds call records", self.log.at("warn")[0])

    def test_bad_files(self) -> None:
        """A file or a spool that cannot be used is a mistake in the configuration; what was opened before is closed."""
        before = len(os.listdir("/proc/self/fd"))
        sink = {"name": "log", "type": "syslog", "socket": "log"}
        self.assertRaises(ConfigurationError, self.open, sink, {"name": "x", "type": "jsonl", "file": "no/such/file"})
        (self.directory / "state" / "records").joinpath("db").write_text("a file")
        database = {"name": "db", "type": "sql", "database": "sqlite:////x"}
        self.assertRaises(ConfigurationError, self.open, sink, database)
        self.assertLessEqual(len(os.listdir("/proc/self/fd")), before + 1)

    async def test_radius(self) -> None:
        """RADIUS is told of the end by the spool, and of what goes on by an observer, where that is wanted."""
        sink = {"name": "r", "type": "radius", "servers": ["127.0.0.1:9"], "secret": "s"}
        self.assertEqual(len(self.open(sink).observers), 2)
        self.assertEqual(len(self.open(sink | {"name": "q", "start": False}).observers), 1)
        self.assertEqual(len(self.open(sink | {"name": "p", "start": False, "interim": 60.0}).observers), 2)
