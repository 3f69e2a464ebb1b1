"""A real SQLite file: what is written comes back, and what fails says so."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import LocalError
from sipd.registrar.database import Database, DatabaseError, bindings_table
from tests.registrar.fakes import binding

ALICE = "sip:alice@example.com"
BOB = "sip:bob@example.com"


class DatabaseCase(SynchronousTestCase):
    """A new SQLite file for each test."""

    def setUp(self) -> None:
        """Make it."""
        self.path = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.path}"

    def open(self, url: str = "") -> Database:
        """Open the database, and close it after the test."""
        database = Database(url or self.url)
        self.addCleanup(database.close)
        return database

    def error(self, url: str = "") -> str:
        """Give what opening it fails with."""
        error: LocalError = self.assertRaises(DatabaseError, Database, url or self.url)
        self.assertIsInstance(error, LocalError)
        return str(error)

    def execute(self, statement: str) -> None:
        """Change the file behind our back."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)


class KeepTests(DatabaseCase):
    """What is saved comes back."""

    def test_round_trip(self) -> None:
        """Every field of a binding comes back as it was, the bindings of an AOR in their order."""
        bindings = (
            binding(
                '"\u00c4lice" <sip:alice@[2001:db8::1]:5060;transport=tcp>;q=0.5;+sip.instance="<urn:uuid:1>"',
                q=0.5,
                expires_at=1234567890.123456,
                cseq=2**32 - 1,
                path=("<sip:p1;lr>", '"a, b" <sip:p2;lr>'),
                user_agent="phone/1 (x; y)",
            ),
            binding("<tel:+1900555>", source=None, point=""),
        )
        self.open().save([(ALICE, bindings), (BOB, [])])
        loaded, unreadable = self.open().load(0.0)
        self.assertEqual((loaded, unreadable), (list(bindings), 0))
        assert loaded[0].source is not None
        self.assertEqual(loaded[0].source.point, "udp")

    @given(st.text(alphabet=st.characters(exclude_categories=()), max_size=30))
    @settings(deadline=None, max_examples=100)
    def test_any_text(self, text: str) -> None:
        """Text that no database takes as it is, foreign octets and zeros, comes back all the same."""
        database = Database(self.url)
        self.assertEqual(self.saved(database, text), text)
        database.close()

    def saved(self, database: Database, text: str) -> str:
        """Write and read a User-Agent."""
        database.save([(ALICE, [binding(user_agent=text)])])
        ((found,), malformed) = database.load(0.0)
        self.assertEqual(malformed, 0)
        return found.user_agent

    def test_replaced(self) -> None:
        """Saving an AOR replaces all of its bindings, and those of no other."""
        database = self.open()
        database.save([(ALICE, [binding("<sip:a@1>"), binding("<sip:a@2>")]), (BOB, [binding(aor=BOB)])])
        database.save([(ALICE, [binding("<sip:a@3>")])])
        self.assertEqual([one.contact for one in database.load(0.0)[0]], ["<sip:a@3>", binding().contact])
        database.save([(ALICE, []), (BOB, [])])
        self.assertEqual(database.load(0.0), ([], 0))

    def test_case_of_users(self) -> None:
        """Alice is not alice."""
        database = self.open()
        database.save([(ALICE, [binding()])])
        database.save([("sip:Alice@example.com", [])])
        self.assertEqual(len(database.load(0.0)[0]), 1)

    def test_expired(self) -> None:
        """What has expired is not loaded, and is gone from the file."""
        database = self.open()
        database.save([(ALICE, [binding("<sip:a@1>", expires_at=10.0), binding("<sip:a@2>", expires_at=20.0)])])
        self.assertEqual([one.contact for one in database.load(10.0)[0]], ["<sip:a@2>"])
        self.assertEqual(len(database.load(0.0)[0]), 1)

    def test_row_that_nobody_understands(self) -> None:
        """A row that was tampered with is counted and passed over; the others are loaded."""
        self.open().save([(ALICE, [binding("<sip:a@1>"), binding("<sip:a@2>"), binding("<sip:a@3>")])])
        self.execute("UPDATE bindings SET contact = 'nonsense' WHERE position = 0")
        self.execute("UPDATE bindings SET transport = 'PIGEON' WHERE position = 2")
        bindings, malformed = self.open().load(0.0)
        self.assertEqual(([one.contact for one in bindings], malformed), (["<sip:a@2>"], 2))

    def test_parameters_with_names(self) -> None:
        """A driver that wants values by name, as that of PostgreSQL does, gets them so."""
        database = self.open()
        by_name = sqlite.dialect(paramstyle="named")
        database._insert = sa.insert(bindings_table).compile(dialect=by_name)
        self.assertFalse(database._insert.positional)
        kept = (binding("<sip:a@1>", aor=ALICE), binding("<sip:a@2>", aor=ALICE))
        database.save([(ALICE, kept)])
        self.assertEqual(database.load(0.0), (list(kept), 0))

    def test_nothing_is_half_written(self) -> None:
        """A batch that fails in the middle changes nothing."""
        database = self.open()
        database.save([(ALICE, [binding()])])
        twice = [binding("<sip:a@9>"), binding("<sip:a@9>", cseq=None)]
        self.assertRaises(DatabaseError, database.save, [(ALICE, twice)])
        self.assertEqual(database.load(0.0), ([binding()], 0))


class SchemaTests(DatabaseCase):
    """Migrations make what the code expects."""

    def test_columns(self) -> None:
        """The table has the columns of the code, and no others."""
        self.open()
        engine = sa.create_engine(self.url)
        self.addCleanup(engine.dispose)
        inspector = sa.inspect(engine)
        found = {column["name"]: column["nullable"] for column in inspector.get_columns("bindings")}
        self.assertEqual(found, {column.name: column.nullable for column in bindings_table.columns})
        self.assertEqual(inspector.get_pk_constraint("bindings")["constrained_columns"], ["aor", "position"])

    def test_write_ahead(self) -> None:
        """SQLite writes ahead."""
        self.open()
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(connection.execute("PRAGMA journal_mode").fetchone(), ("wal",))

    def test_opened_again(self) -> None:
        """A database that is up to date is opened as it is."""
        self.open().save([(ALICE, [binding()])])
        self.assertEqual(len(self.open().load(0.0)[0]), 1)

    def test_path_with_a_percent_sign(self) -> None:
        """The path of the database is no template."""
        self.assertEqual(self.open(f"sqlite:///{self.path}%(x)s").load(0.0), ([], 0))

    def test_later_version(self) -> None:
        """A database of a later version is refused, and not touched."""
        self.open()
        self.execute("UPDATE alembic_version SET version_num = '9999'")
        self.assertIn("9999", self.error())


class FailureTests(DatabaseCase):
    """Each failure is one clear line."""

    def test_corrupted(self) -> None:
        """A file that is no database is said to be none."""
        self.path.write_bytes(b"not a database " * 1000)
        self.assertEqual(self.error(), f"Database {self.url}: file is not a database")

    def test_damaged(self) -> None:
        """A database whose pages are overwritten fails when it is read, in one line."""
        database = self.open()
        database.save([(ALICE, [binding(f"<sip:a@{number}>") for number in range(500)])])
        database.close()
        octets = self.path.read_bytes()
        self.path.write_bytes(octets[:4096] + b"\xff" * (len(octets) - 4096))
        with self.assertRaises(DatabaseError) as caught:
            self.open().load(0.0)
        self.assertIn("malformed", str(caught.exception))
        self.assertNotIn("\n", str(caught.exception))

    def test_no_directory(self) -> None:
        """A file that cannot be made is said to be so."""
        self.assertIn("unable to open database file", self.error(f"sqlite:///{self.path}/no/such"))

    def test_malformed_url(self) -> None:
        """A URL that is none is not printed: it may hold a password."""
        start = "postgresql+psycopg://sipd:se@secret"
        for url in ("secret", f"{start}:secret@127.0.0.1/sipd", f"{start}@127.0.0.1:1/sipd"):
            message = self.error(url)
            self.assertIn("malformed", message)
            self.assertNotIn("secret", message)

    def test_missing_driver(self) -> None:
        """A database without its driver, or of an unknown kind, names it and hides the password."""
        for url, name in (
            ("mssql+pymssql://user:secret@host/name", "pymssql"),
            ("nothing://user:secret@host/name", "nothing"),
        ):
            message = self.error(url)
            self.assertIn(name, message)
            self.assertNotIn("secret", message)
