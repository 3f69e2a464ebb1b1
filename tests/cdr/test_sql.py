"""Records in a database, here SQLite: rows, columns, and what comes twice."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.cdr.interfaces import IRecordSink, RecordsRefusedError, SinkError
from sipd.cdr.record import SCALARS, records_of
from sipd.cdr.sql import SqlSink
from sipd.errors import ConfigurationError
from tests.cdr.support import NOON, NoThread, call, record


class SqlSinkTests(SynchronousTestCase):
    """One database."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.worker = NoThread()
        self.sink = self.open(f"sqlite:///{self.path}")

    def open(self, url: str) -> SqlSink:
        """Make a sink for a database."""
        sink = SqlSink(url, worker=self.worker)
        self.addCleanup(sink.close)
        return sink

    def query(self, statement: str) -> list[Any]:
        """Ask the database."""
        connection = sqlite3.connect(self.path)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def test_rows(self) -> None:
        """A record is a row, whose columns have the names of its fields; lists are in the details."""
        verifyObject(IRecordSink, self.sink)
        one, *attempts = records_of(call("c1"))
        self.successResultOf(self.sink.deliver([one, *attempts]))
        columns = [row[1] for row in self.query("PRAGMA table_info(call_records)")]
        self.assertEqual(set(columns), {*(field.name for field in SCALARS), "details"})
        self.assertEqual(
            self.query("SELECT id, call, kind, caller, started_at, billable_seconds, hangup_cause FROM call_records"),
            [
                ("c1", "c1", "call", "sip:alice@example.com", NOON, 61, 16),
                ("c1/b1", "c1", "attempt", "sip:alice@example.com", NOON + 0.25, 0, 34),
                ("c1/b2", "c1", "attempt", "sip:alice@example.com", NOON + 0.5, 61, 16),
            ],
        )
        ((details,),) = self.query("SELECT details FROM call_records WHERE kind = 'call'")
        self.assertEqual(json.loads(details)["attempts"], one["attempts"])

    def test_every_scalar_survives(self) -> None:
        """What comes out of the columns is what went in."""
        for one in records_of(call("c1")):
            self.successResultOf(self.sink.deliver([one]))
            names = [field.name for field in SCALARS]
            quoted = ", ".join(f'"{name}"' for name in names)
            (row,) = self.query(f"SELECT {quoted} FROM call_records WHERE id = '{one['id']}'")
            self.assertEqual(dict(zip(names, row, strict=True)), {name: one.get(name) for name in names})

    def test_comes_twice(self) -> None:
        """A record that is there already stays as it is, and the others of its batch are written."""
        self.successResultOf(self.sink.deliver([record("1"), record("2")]))
        self.successResultOf(self.sink.deliver([record("2", reason="another"), record("3")]))
        self.assertEqual(
            self.query("SELECT id, reason FROM call_records ORDER BY id"), [("1", "OK"), ("2", "OK"), ("3", "OK")]
        )

    def test_hostile_text(self) -> None:
        """Characters that databases do not take, and whatever looks like SQL, are text."""
        name = "x'; DROP TABLE call_records; --\0"
        self.successResultOf(self.sink.deliver([record("1", caller_name=name, caller="sip:\udcff@x")]))
        self.assertEqual(
            self.query("SELECT caller_name, caller FROM call_records"),
            [("x'; DROP TABLE call_records; --\\x00", "sip:\\xff@x")],
        )

    def test_shares_a_database(self) -> None:
        """The table may be in the database of something else that has migrations, and a restart finds it."""
        connection = sqlite3.connect(self.path)
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('0042')")
        connection.commit()
        connection.close()
        for name in ("1", "2"):
            sink = self.open(f"sqlite:///{self.path}")
            self.successResultOf(sink.deliver([record(name)]))
            self.successResultOf(sink.close())
        self.assertEqual(self.query("SELECT version_num FROM alembic_version"), [("0042",)])
        self.assertEqual(self.query("SELECT count(*) FROM call_records"), [(2,)])

    def test_away(self) -> None:
        """A database that cannot be opened is away, and is opened when it is there."""
        directory = Path(self.mktemp()).absolute()
        sink = self.open(f"sqlite:///{directory}/records.sqlite")
        self.failureResultOf(sink.deliver([record("1")]), SinkError)
        directory.mkdir()
        self.successResultOf(sink.deliver([record("1")]))
        self.path = directory / "records.sqlite"
        self.assertEqual(self.query("SELECT id FROM call_records"), [("1",)])

    def test_locked(self) -> None:
        """A table that is gone is somebody's to mend: nothing is given up."""
        self.successResultOf(self.sink.deliver([record("1")]))
        connection = sqlite3.connect(self.path)
        connection.execute("ALTER TABLE call_records RENAME TO moved")
        connection.commit()
        self.failureResultOf(self.sink.deliver([record("2")]), SinkError)
        connection.execute("ALTER TABLE moved RENAME TO call_records")
        connection.commit()
        connection.close()
        self.successResultOf(self.sink.deliver([record("2")]))

    def test_refused(self) -> None:
        """A value that the table does not take is refused for good, and nothing of its batch is written."""
        bad = dict(record("2")) | {"kind": None}
        self.failureResultOf(self.sink.deliver([record("1"), bad]), RecordsRefusedError)
        self.assertEqual(self.query("SELECT id FROM call_records"), [])

    def test_urls(self) -> None:
        """A malformed URL is a mistake in the configuration; no message shows the password in one."""
        self.assertRaises(ConfigurationError, SqlSink, "nonsense", worker=self.worker)
        sink = self.open("postgresql+psycopg://sipd:hunter2@127.0.0.1:1/sipd")
        error = self.failureResultOf(sink.deliver([record()]), SinkError).value
        self.assertIn("127.0.0.1", str(error))
        self.assertNotIn("hunter2", str(error))
        for password in ("hunter1@hunter2:hunter2", "hunter1@hunter2"):
            malformed = self.open(f"postgresql+psycopg://sipd:{password}@127.0.0.1:1/sipd")
            self.assertIn("malformed", str(self.failureResultOf(malformed.deliver([record()]), SinkError).value))
        unknown = self.open("nodatabase://sipd:hunter2@x/y")
        self.assertNotIn("hunter2", str(self.failureResultOf(unknown.deliver([record()]), SinkError).value))

    def test_close(self) -> None:
        """A close gives back the thread, once."""
        self.successResultOf(self.sink.deliver([record("1")]))
        self.successResultOf(self.sink.close())
        self.assertTrue(self.worker.is_stopped)
        self.successResultOf(self.sink.close())
