"""Accounts in a real SQLite file: sipd's table and Kamailio's; then the threads that ask."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from twisted.internet import reactor  # noqa: TID251 (real threads need a real reactor)
from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from sipd.accounts.database import AccountDatabase, _limits
from sipd.accounts.interfaces import IAccountStore, MalformedAccountError, StoredAccount, StoreUnavailableError
from sipd.accounts.reading import AccountReader
from sipd.accounts.sql import DatabaseSettings, DatabaseThreads, SqlStore
from sipd.registrar.database import Database
from sipd.sip.digest import compute_ha1
from tests.accounts.fakes import DirectWorkers
from tests.accounts.kamailio import schema

P = ParamSpec("P")
T = TypeVar("T")

MD5 = compute_ha1("MD5", "alice", "example.com", "wonderland")
MD5_OF_ADDRESS = compute_ha1("MD5", "alice@example.com", "example.com", "wonderland")


class SqliteCase(SynchronousTestCase):
    """A new SQLite file for each test."""

    def setUp(self) -> None:
        """Make it."""
        self.path = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.path}"

    def open(self, **settings: Any) -> AccountDatabase:
        """Open the database, and close it after the test."""
        database = AccountDatabase(DatabaseSettings(**{"url": self.url, **settings}))
        self.addCleanup(database.close)
        return database

    def execute(self, statement: str, *values: object) -> None:
        """Change the file behind our back."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, values)

    def account(self, database: AccountDatabase, name: str) -> StoredAccount | None:
        """Read an account."""
        values = database.find(name)
        return None if values is None else AccountReader().read(name, values)


class OwnTableTests(SqliteCase):
    """The table that alembic makes."""

    def test_round_trip(self) -> None:
        """What stands in the columns is the account."""
        database = self.open()
        self.assertIsNone(database.find("alice"))
        self.execute(
            "INSERT INTO accounts (name, password, ha1_md5, ha1_sha256, ha1_sha512_256, ha1b_md5, display_name, "
            "identities, policy, max_calls, srtp, record, hold_music) VALUES "
            "('alice', 'wonderland', ?, ?, ?, ?, 'Alice', 'tel:+1 sip:sales@example.com', 'hide', 2, 'required', "
            "'wave', 'tone:eu:dial')",
            MD5,
            "a" * 64,
            "b" * 64,
            MD5_OF_ADDRESS,
        )
        found = self.account(database, "alice")
        assert found is not None
        self.assertEqual(found.password, "wonderland")
        self.assertEqual(found.ha1, {"MD5": MD5, "SHA-256": "a" * 64, "SHA-512-256": "b" * 64})
        self.assertEqual(found.ha1_of_address, {"MD5": MD5_OF_ADDRESS})
        account = found.account
        self.assertEqual((account.is_enabled, account.display_name, account.policy), (True, "Alice", "hide"))
        self.assertEqual([str(uri) for uri in account.identities], ["tel:+1", "sip:sales@example.com"])
        self.assertEqual(account.max_calls, 2)
        assert account.media is not None
        self.assertEqual((account.media.crypto.value, account.media.record), ("required", "wave"))

    def test_little(self) -> None:
        """A name and a password are enough."""
        database = self.open()
        self.assertIsNone(database.find("bob"))
        self.execute("INSERT INTO accounts (name, password) VALUES ('bob', 'builder')")
        found = self.account(database, "bob")
        assert found is not None
        self.assertEqual((found.password, found.account.is_enabled, found.account.identities), ("builder", True, ()))

    def test_disabled(self) -> None:
        """An account can be switched off."""
        database = self.open()
        database.find("bob")
        self.execute("INSERT INTO accounts (name, enabled) VALUES ('bob', 0)")
        found = self.account(database, "bob")
        assert found is not None
        self.assertFalse(found.account.is_enabled)

    def test_case(self) -> None:
        """Alice is not alice, and no pattern matches anybody."""
        database = self.open()
        database.write([{"name": "alice", "password": "x"}])
        for name in ("Alice", "ALICE", "%", "alic_", "alice'--", "' OR 1=1 --"):
            self.assertIsNone(database.find(name), name)

    def test_write(self) -> None:
        """Writing an account again changes the given columns only."""
        database = self.open()
        database.write([{"name": "alice", "password": "one"}, {"name": "bob", "password": "two"}])
        self.execute("UPDATE accounts SET max_calls = 3, enabled = 0 WHERE name = 'alice'")
        database.write([{"name": "alice", "password": "three"}])
        rows = database.rows()
        self.assertEqual(
            [(row["name"], row["password"], row["max_calls"], row["enabled"]) for row in rows.values()],
            [("alice", "three", 3, False), ("bob", "two", None, True)],
        )

    def test_beside_the_bindings(self) -> None:
        """Bindings and accounts can be in one database, whichever comes first, and each has a version of its own."""
        for order in ((Database, self.open), (self.open, Database)):
            self.setUp()
            for one in order:
                if one is Database:
                    database = Database(self.url)
                    database.load(0.0)
                    database.close()
                else:
                    self.open().find("alice")
            with closing(sqlite3.connect(self.path)) as connection:
                tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            self.assertEqual(tables, {"bindings", "alembic_version", "accounts", "accounts_version"})

    def test_later_version(self) -> None:
        """A schema of a later sipd is left alone."""
        self.open().find("alice")
        self.execute("UPDATE accounts_version SET version_num = '9999'")
        self.assertIn("9999", str(self.assertRaises(StoreUnavailableError, self.open().find, "alice")))

    def test_failures(self) -> None:
        """What is no database, or is not there, is a store that cannot be asked; passwords are not in the text."""
        for url, expected in (
            ("nonsense", "malformed"),
            ("postgresql+psycopg://alice:se@secret:cret@127.0.0.1/x", "malformed"),
            ("postgresql+psycopg://alice:se@secret@127.0.0.1:1/x", "malformed"),
            ("sqlite:////nowhere/at/all", "unable to open"),
            ("postgresql+nodriver://alice:secret@127.0.0.1/x", "nodriver"),
            ("postgresql+psycopg://alice:secret@127.0.0.1:1/x", "127.0.0.1"),
        ):
            with self.subTest(url):
                error = self.assertRaises(StoreUnavailableError, lambda url=url: self.open(url=url).find("a"))
                self.assertIn(expected, str(error))
                self.assertNotIn("secret", str(error))
                self.assertNotIn("\n", str(error))
        self.path.write_bytes(b"this is no database" * 100)
        self.assertIn("not a database", str(self.assertRaises(StoreUnavailableError, self.open().find, "a")))

    def test_recovers(self) -> None:
        """A database that fails once is asked again, with the schema it has then."""
        self.path.mkdir()
        database = self.open()
        self.assertRaises(StoreUnavailableError, database.find, "alice")
        self.path.rmdir()
        self.assertIsNone(database.find("alice"))


class SubscriberTests(SqliteCase):
    """Kamailio's table as it is."""

    def setUp(self) -> None:
        """Make the table."""
        super().setUp()
        for statement in schema("sqlite"):
            self.execute(statement)

    def add(self, username: str, domain: str, password: str = "", ha1: str = "", ha1b: str = "") -> None:
        """Add a subscriber."""
        self.execute(
            "INSERT INTO subscriber (username, domain, password, ha1, ha1b) VALUES (?, ?, ?, ?, ?)",
            username,
            domain,
            password,
            ha1,
            ha1b,
        )

    def find(self, name: str, **settings: Any) -> StoredAccount | None:
        """Read a subscriber of example.com or example.org; the realm is the former."""
        values = {"subscribers": "subscriber", "realm": "example.com", "domains": ("example.com", "example.org")}
        return self.account(self.open(**{**values, **settings}), name)

    def test_hashes(self) -> None:
        """Kamailio's ha1 and ha1b are the hashes of the name and of the address."""
        self.add("alice", "example.com", "", MD5, MD5_OF_ADDRESS)
        found = self.find("alice")
        assert found is not None
        self.assertEqual(
            (found.password, found.ha1, found.ha1_of_address), (None, {"MD5": MD5}, {"MD5": MD5_OF_ADDRESS})
        )
        self.assertIsNone(self.find("bob"))

    def test_domain(self) -> None:
        """The row of the realm counts first, then that of another domain, then that without; others are not ours."""
        self.add("alice", "evil.example", "stolen")
        self.assertIsNone(self.find("alice"))
        for domain, password in (("", "none"), ("Example.ORG", "org"), ("example.com", "com")):
            self.add("alice", domain, password)
            found = self.find("alice")
            assert found is not None
            self.assertEqual(found.password, password)

    def test_hash_of_another_realm(self) -> None:
        """A hash that was made for another domain proves nothing; a password does."""
        self.add("alice", "example.org", "", MD5, MD5_OF_ADDRESS)
        self.add("bob", "example.org", "builder", MD5, MD5_OF_ADDRESS)
        found, bob = self.find("alice"), self.find("bob")
        assert found is not None and bob is not None
        self.assertFalse(found.is_secret)
        self.assertEqual((bob.password, bob.ha1), ("builder", {}))

    def test_password_beside_a_hash(self) -> None:
        """A password that does not fit the hash beside it is none: it may be the same word in every row."""
        for number, (password, expected) in enumerate((("-", None), ("wonderland", "wonderland"))):
            self.execute("DELETE FROM subscriber")
            self.add("alice", ("example.com", "")[number], password, MD5.upper())
            found = self.find("alice")
            assert found is not None
            self.assertEqual((found.password, found.ha1), (expected, {"MD5": MD5}))

    def test_realm_in_capitals(self) -> None:
        """A hash is good for its realm, however that is written in the domain of the row."""
        self.add("alice", "Example.com", "", MD5)
        found = self.find("alice", realm="Example.COM")
        assert found is not None
        self.assertEqual(found.ha1, {"MD5": MD5})

    def test_newer_columns(self) -> None:
        """Hashes of better algorithms are taken where the table has them."""
        self.execute("ALTER TABLE subscriber ADD COLUMN ha1_sha256 VARCHAR(64) DEFAULT ''")
        self.execute("ALTER TABLE subscriber ADD COLUMN ha1_sha512t256 VARCHAR(64) DEFAULT ''")
        self.add("alice", "example.com", "", MD5)
        self.execute("UPDATE subscriber SET ha1_sha256 = ?, ha1_sha512t256 = ?", "a" * 64, "b" * 64)
        found = self.find("alice")
        assert found is not None
        self.assertEqual(found.ha1, {"MD5": MD5, "SHA-256": "a" * 64, "SHA-512-256": "b" * 64})

    def test_nothing_is_changed(self) -> None:
        """No table and no column is added to a database of Kamailio's."""
        with closing(sqlite3.connect(self.path)) as connection:
            before = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
        self.add("alice", "example.com", "x")
        self.find("alice")
        with closing(sqlite3.connect(self.path)) as connection:
            self.assertEqual(connection.execute("SELECT name, sql FROM sqlite_master").fetchall(), before)

    def test_wrong_table(self) -> None:
        """A table that is not there, or has no names, is a store that cannot be asked."""
        self.execute("CREATE TABLE other (id INTEGER)")
        for table, expected in (("nowhere", "nowhere"), ("other", "no column username and no column domain")):
            error = self.assertRaises(StoreUnavailableError, self.find, "alice", subscribers=table)
            self.assertIn(expected, str(error))

    def test_old_hash_column(self) -> None:
        """A hash that is none is a mistake in that account, and shows nothing of it."""
        self.add("alice", "example.com", "", "secret")
        error = self.assertRaises(MalformedAccountError, self.find, "alice")
        self.assertEqual(str(error), "the account of alice: ha1: 32 hexadecimal digits for MD5 expected")


class LimitTests(SynchronousTestCase):
    """What makes a driver give up."""

    def test_drivers(self) -> None:
        """Each driver that is known is told how long it may take, unless the URL says it."""
        for url, expected in (
            (
                "postgresql+psycopg://h/d",
                {"connect_timeout": 2, "tcp_user_timeout": 1500, "options": "-c statement_timeout=1500"},
            ),
            (
                "postgresql+psycopg://h/d?connect_timeout=7",
                {"tcp_user_timeout": 1500, "options": "-c statement_timeout=1500"},
            ),
            ("mysql+pymysql://h/d", {"connect_timeout": 2, "read_timeout": 2, "write_timeout": 2}),
            ("sqlite:///x", {"timeout": 1.5}),
            ("oracle+oracledb://h/d", {}),
        ):
            self.assertEqual(_limits(make_url(url), 1.5), expected)


class StoreTests(SqliteCase):
    """The store before the database."""

    def store(self, workers: Any = None, **settings: Any) -> SqlStore:
        """Make one that works at once."""
        return SqlStore(
            DatabaseSettings(url=self.url), reader=AccountReader(), workers=workers or DirectWorkers(), **settings
        )

    def test_find(self) -> None:
        """It gives accounts, and the schema is made by the first question."""
        workers = DirectWorkers()
        store = self.store(workers)
        verifyObject(IAccountStore, store)
        self.assertFalse(self.path.exists())
        self.assertIsNone(self.successResultOf(store.find("alice")))
        self.execute("INSERT INTO accounts (name, password) VALUES ('alice', 'wonderland')")
        found = self.successResultOf(store.find("alice"))
        assert found is not None
        self.assertEqual(found.password, "wonderland")
        self.successResultOf(store.close())
        self.assertTrue(workers.is_stopped)

    def test_failure(self) -> None:
        """A database that is away is a failure of the store, and the next question tries again."""
        store = self.store()
        self.path.mkdir()
        self.failureResultOf(store.find("alice"), StoreUnavailableError)
        self.path.rmdir()
        self.assertIsNone(self.successResultOf(store.find("alice")))
        self.successResultOf(store.close())

    def test_malformed(self) -> None:
        """A row that makes no sense is a malformed account."""
        store = self.store()
        self.successResultOf(store.find("alice"))
        self.execute("INSERT INTO accounts (name, srtp) VALUES ('alice', 'nonsense')")
        self.failureResultOf(store.find("alice"), MalformedAccountError)
        self.successResultOf(store.close())

    def test_bound(self) -> None:
        """Beyond what threads may have waiting, a question fails at once; what was given up counts until it is done."""
        workers = SlowWorkers()
        store = self.store(workers, max_waiting=2)
        first, second = store.find("a"), store.find("b")
        for question in (first, second):
            question.cancel()
            self.failureResultOf(question, CancelledError)
        self.failureResultOf(store.find("c"), StoreUnavailableError)
        workers.work()
        self.assertFalse(self.path.exists())  # what was given up was not asked
        third = store.find("c")
        workers.work()
        self.assertIsNone(self.successResultOf(third))
        closing = store.close()
        workers.work()
        self.successResultOf(closing)


class SlowWorkers(DirectWorkers):
    """Works when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[Callable[[], None]] = []

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """See `Workers`."""
        result: Deferred[T] = Deferred()
        self._waiting.append(lambda: result.callback(function(*args, **kwargs)))
        return result

    def work(self) -> None:
        """Do what waits."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one()


class ThreadTests(TestCase):
    """With real threads."""

    async def _ask(self) -> None:
        path = Path(self.mktemp()).absolute()
        names = [f"user{number}" for number in range(50)]
        threads = DatabaseThreads(cast(ReactorBase, reactor), 4)
        store = SqlStore(DatabaseSettings(url=f"sqlite:///{path}"), reader=AccountReader(), workers=threads)
        self.assertIsNone(await store.find("nobody"))
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executemany("INSERT INTO accounts (name, password) VALUES (?, 'x')", [(name,) for name in names])
        found = [await question for question in [store.find(name) for name in names]]
        self.assertEqual([one.account.name for one in found if one is not None], names)
        await store.close()
        self.assertEqual([one.name for one in threading.enumerate() if "accounts" in one.name], [])

    def test_together(self) -> None:
        """Questions are asked by several threads, and at the end there is no thread left."""
        return ensureDeferred(self._ask())  # type: ignore[return-value]

    def test_schema_by_two(self) -> None:
        """Two that open a new database at the same moment make one schema."""
        path = Path(self.mktemp()).absolute()
        database = AccountDatabase(DatabaseSettings(url=f"sqlite:///{path}"))
        failures: list[Exception] = []

        def ask() -> None:
            try:
                database.find("alice")
            except StoreUnavailableError as error:
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        database.close()
        self.assertEqual(failures, [])
        self.assertIn("accounts", sa.inspect(sa.create_engine(f"sqlite:///{path}")).get_table_names())
