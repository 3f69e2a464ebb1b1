"""Call records in a file: every one once, whatever happens to the file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.cdr.files import RecordFile, SyncPolicy, print_json
from sipd.cdr.interfaces import IRecordTaker
from sipd.errors import ConfigurationError
from tests.cdr.support import record

FULL = "/dev/full"


class RecordFileTests(SynchronousTestCase):
    """The file."""

    def setUp(self) -> None:
        """Make a clock, a path, and a thread that is none; listen to the log."""
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.synced = 0
        self.sync_error: OSError | None = None
        self.events: list[LogEvent] = []
        listen = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(listen)
        self.addCleanup(globalLogPublisher.removeObserver, listen)

    def in_thread(self, work: Callable[[], None]) -> Deferred[None]:
        """Do it at once."""

        def counted() -> None:
            self.synced += 1
            work()
            if self.sync_error is not None:
                raise self.sync_error

        return maybeDeferred(counted)

    def open(self, path: str | Path | None = None, **options: Any) -> RecordFile:
        """Open records; close them at the end of the test."""
        records = RecordFile(
            str(path or self.path),
            reactor=self.clock,
            in_thread=self.in_thread,
            **options,
        )
        self.addCleanup(records.close)
        return records

    def lines(self) -> list[str]:
        """Give the ids in the file."""
        return [json.loads(line)["id"] for line in self.path.read_text().splitlines()]

    def logged(self, level: str) -> list[str]:
        """Give what was logged at a level."""
        return [formatEvent(event) for event in self.events if event["log_level"].name == level]

    def test_interface(self) -> None:
        """A file takes records, and is empty before it has one."""
        verifyObject(IRecordTaker, self.open())
        self.assertEqual(self.path.read_bytes(), b"")

    def test_header(self) -> None:
        """A new file begins with the header, one that goes on does not get another, and a rotated one does."""
        records = self.open(header=b"# head\n", print_record=lambda one: one["id"].encode() + b"\n")
        records.take(record("1"))
        self.open(header=b"# head\n")
        self.assertEqual(self.path.read_bytes(), b"# head\n1\n")
        self.path.rename(self.path.with_suffix(".1"))
        records.reopen()
        self.assertEqual(self.path.read_bytes(), b"# head\n")

    def test_one_line_for_each_call(self) -> None:
        """Each call that ends is one line, there at once, also when it failed; the file is not for everybody."""
        records = self.open()
        records.take(record("1", status=486, reason="Busy Here", ended_at=1001.0))
        records.take(record("2", answered_at=1002.0, ended_at=1012.5))
        self.assertEqual(self.lines(), ["1", "2"])
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode) & 0o007, 0)

    def test_appends(self) -> None:
        """What the file holds already stays."""
        self.open().take(record("1"))
        self.open().take(record("2"))
        self.assertEqual(self.lines(), ["1", "2"])

    def test_repairs_a_cut_line(self) -> None:
        """A last line without its end, left by a crash, is ended, so that the next record stands by itself."""
        self.path.write_bytes(print_json(record("1")) + b'{"id": "2", "cal')
        self.open().take(record("3"))
        lines = self.path.read_text().splitlines()
        self.assertEqual(
            [json.loads(lines[0])["id"], lines[1], json.loads(lines[2])["id"]], ["1", '{"id": "2", "cal', "3"]
        )

    def test_cannot_open(self) -> None:
        """A path that cannot be opened is a mistake in the configuration, and named."""
        error = self.assertRaises(ConfigurationError, self.open, self.path / "missing" / "file")
        self.assertIn("No such file or directory", error.problems[0])

    def test_interval(self) -> None:
        """With `INTERVAL` the disk is forced once for all that was written in it, and not at all without."""
        records = self.open(interval=1.0)
        for name in ("1", "2", "3"):
            records.take(record(name))
        self.assertEqual(self.synced, 0)
        self.clock.advance(1.0)
        self.assertEqual(self.synced, 1)
        self.clock.advance(10.0)
        self.assertEqual((self.synced, self.clock.getDelayedCalls()), (1, []))

    def test_always_and_never(self) -> None:
        """With `ALWAYS` and `NEVER` no timer runs and no thread is used."""
        for policy in (SyncPolicy.ALWAYS, SyncPolicy.NEVER):
            self.open(sync=policy).take(record("1"))
            self.assertEqual((self.synced, self.clock.getDelayedCalls()), (0, []))
        self.assertEqual(self.lines(), ["1", "1"])

    def test_failed_sync_is_logged(self) -> None:
        """A disk that cannot be forced is a logged error; writing goes on."""
        records = self.open()
        self.sync_error = OSError(5, "Input/output error")
        records.take(record("1"))
        self.clock.advance(1.0)
        self.assertIn("Input/output error", self.logged("error")[0])
        records.take(record("2"))
        self.assertEqual(self.lines(), ["1", "2"])

    def test_close_is_final_and_idempotent(self) -> None:
        """A close leaves no timer and no descriptor; what ends afterwards goes to the log, whole."""
        before = len(os.listdir("/proc/self/fd"))
        records = self.open()
        records.take(record("1"))
        records.close()
        records.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(os.listdir("/proc/self/fd")), before)
        records.take(record("2"))
        self.assertEqual(self.lines(), ["1"])
        self.assertIn('"id":"2"', self.logged("error")[0])

    def test_rotation(self) -> None:
        """After `reopen` records go to the new file; the old one keeps its own."""
        records = self.open()
        records.take(record("1"))
        rotated = self.path.rename(self.path.with_suffix(".1"))
        records.take(record("2"))
        records.reopen()
        records.take(record("3"))
        self.assertEqual([json.loads(line)["id"] for line in rotated.read_text().splitlines()], ["1", "2"])
        self.assertEqual(self.lines(), ["3"])

    def full(self, **options: Any) -> RecordFile:
        """Open records on a disk that is always full: a link that can be pointed elsewhere."""
        if not os.path.exists(FULL):
            raise SkipTest(f"needs {FULL} (Linux)")
        self.path.symlink_to(FULL)
        return self.open(**options)

    def test_full_disk(self) -> None:
        """What a full disk refuses waits, with one log line, and is written in order when there is room."""
        records = self.full(retry=5.0)
        for name in ("1", "2", "3"):
            records.take(record(name))
        self.clock.pump([5.0, 5.0])
        self.assertEqual(records.waiting, 3)
        self.assertEqual(len(self.logged("error")), 1)
        self.path.unlink()
        records.reopen()
        self.assertEqual((self.lines(), records.waiting), (["1", "2", "3"], 0))
        self.assertIn("0 were lost", self.logged("info")[-1])
        self.clock.advance(60.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_retries_by_itself(self) -> None:
        """When the directory of a rotated file comes back, the next attempt writes what waits."""
        directory = Path(self.mktemp())
        directory.mkdir()
        records = self.open(directory / "cdr")
        directory.rename(moved := directory.with_suffix(".away"))
        records.reopen()
        records.take(record("1"))
        self.clock.advance(5.0)
        self.assertEqual(records.waiting, 1)
        moved.rename(directory)
        self.clock.advance(5.0)
        self.assertEqual(records.waiting, 0)
        self.assertEqual(len((directory / "cdr").read_text().splitlines()), 1)

    def test_waiting_is_bounded(self) -> None:
        """Beyond the bound the oldest are dropped, and their number is logged in the end."""
        records = self.full(max_waiting=2)
        for name in ("1", "2", "3", "4"):
            records.take(record(name))
        self.path.unlink()
        records.reopen()
        self.assertEqual(self.lines(), ["3", "4"])
        self.assertIn("2 were lost", self.logged("info")[-1])

    def test_close_with_a_full_disk(self) -> None:
        """What cannot be written at the end goes to the log, whole, and no timer is left."""
        records = self.full()
        records.take(record("1"))
        records.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(records.waiting, 0)
        self.assertIn('"id":"1"', self.logged("error")[-1])
