"""`sipd import kamailio`: from Kamailio's tables in one SQLite file to ours in another."""

from __future__ import annotations

import io
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from sipd.accounts.database import AccountDatabase
from sipd.accounts.sql import DatabaseSettings
from sipd.daemon.cli import main
from sipd.daemon.importing import Imported, destination_of, import_kamailio
from sipd.interfaces import Binding
from sipd.registrar.database import Database
from sipd.sip.digest import compute_ha1
from tests.accounts.kamailio import schema
from tests.daemon.case import MINIMAL, ConfigCase

STORE = '[[accounts.stores]]\nname = "own"\ntype = "sql"\n'
NOW = 1_700_000_000.0
SUBSCRIBERS = (
    ("alice", "example.com", "", compute_ha1("MD5", "alice", "example.com", "wonderland")),
    ("bob", "example.com", "builder", ""),
    ("bob", "", "other", ""),
    ("carol", "evil.example", "x", ""),
    ("root", "example.com", "x", ""),
    ("da ve", "example.com", "x", ""),
)
LOCATIONS = (
    ("alice", "sip:alice@10.0.0.7:5062", NOW + 600, 0.5),
    ("alice", "sip:alice@10.0.0.8:5062", NOW + 900, -1.0),
    ("alice", "sip:alice@10.0.0.9:5062", NOW - 1, 1.0),
    ("bob", "sip:bob@10.0.0.10", NOW + 100, 1.0),
    ("nobody", "sip:nobody@10.0.0.11", NOW + 100, 1.0),
)


class ImportCase(ConfigCase):
    """A Kamailio with some users and contacts, and a configuration with none but root."""

    def setUp(self) -> None:
        """Make the tables."""
        super().setUp()
        self.kamailio = self.directory / "kamailio.sqlite"
        with closing(sqlite3.connect(self.kamailio)) as connection, connection:
            for statement in schema("sqlite"):
                connection.execute(statement)
            connection.executemany(
                "INSERT INTO subscriber (username, domain, password, ha1) VALUES (?, ?, ?, ?)", SUBSCRIBERS
            )
            for username, contact, expires, q in LOCATIONS:
                connection.execute(
                    "INSERT INTO location (username, domain, contact, expires, q, callid, cseq) "
                    "VALUES (?, 'example.com', ?, ?, ?, 'c', 3)",
                    (username, contact, expires / 86400 + 2440587.5, q),
                )
        self.config = self.load(MINIMAL + '[[users]]\nname = "root"\npassword = "toor"\n' + STORE)
        self.own = Path(self.config.state_directory) / "sipd.sqlite"

    def execute(self, statement: str, path: Path | None = None) -> None:
        """Change a database."""
        with closing(sqlite3.connect(path or self.kamailio)) as connection, connection:
            connection.execute(statement)

    def users(self) -> dict[str, object]:
        """Give the passwords and hashes that we have, by name."""
        database = AccountDatabase(DatabaseSettings(url=f"sqlite:///{self.own}"))
        self.addCleanup(database.close)
        return {name: row["password"] or row["ha1_md5"] for name, row in database.rows().items()}

    def contacts(self) -> list[Binding]:
        """Give the contacts that we have."""
        database = Database(f"sqlite:///{self.own}")
        self.addCleanup(database.close)
        return database.load(0.0)[0]


class FunctionTests(ImportCase):
    """What is taken."""

    def take(self, *, is_rehearsal: bool = False, now: float = NOW) -> Imported:
        """Take it."""
        self.own.parent.mkdir(exist_ok=True)
        destination = destination_of(self.config, None)
        return import_kamailio(f"sqlite:///{self.kamailio}", destination, now=now, is_rehearsal=is_rehearsal)

    def test_taken(self) -> None:
        """What can be taken is there afterwards, and every other row has its reason."""
        outcome = self.take()
        self.assertEqual(
            list(outcome.lines()),
            [
                "subscriber 5 (root@example.com): the configuration has a user of that name, who comes first",
                "subscriber 6 (da ve@example.com): no name that a user of sipd can have",
                "subscriber 3 (bob): a user of another domain has the name, and sipd has one of each",
                "subscriber 4 (carol@evil.example): evil.example is no domain of ours",
                "location 3 (alice@example.com): it has expired",
                "location 5 (nobody@example.com): there is no such user",
                "users: 2 new, 0 changed, 0 there already, 4 not taken",
                "contacts: 3 new, 0 changed, 0 there already, 2 not taken",
            ],
        )
        self.assertEqual(self.users(), {"alice": SUBSCRIBERS[0][3], "bob": "builder"})
        contacts = self.contacts()
        self.assertEqual(
            [(one.aor, one.contact, one.q, round(one.expires_at - NOW)) for one in contacts],
            [
                ("sip:alice@example.com", "<sip:alice@10.0.0.8:5062>", 1.0, 900),
                ("sip:alice@example.com", "<sip:alice@10.0.0.7:5062>;q=0.5", 0.5, 600),
                ("sip:bob@example.com", "<sip:bob@10.0.0.10>", 1.0, 100),
            ],
        )
        self.assertEqual({(one.call_id, one.cseq) for one in contacts}, {("c", 3)})

    def test_again(self) -> None:
        """Done again, nothing is different."""
        self.take()
        users, contacts = self.users(), self.contacts()
        outcome = self.take()
        self.assertEqual((outcome.users.new, outcome.users.changed, outcome.users.same), (0, 0, 2))
        self.assertEqual((outcome.contacts.new, outcome.contacts.changed, outcome.contacts.same), (0, 0, 3))
        self.assertEqual((self.users(), self.contacts()), (users, contacts))

    def test_changed(self) -> None:
        """What is new in Kamailio is taken, what is ours beside it stays, and what is newer here stays, too."""
        self.take()
        self.execute("UPDATE accounts SET max_calls = 2, password = 'old' WHERE name = 'bob'", self.own)
        self.execute(f"UPDATE location SET expires = {(NOW + 700) / 86400 + 2440587.5} WHERE id = 1")
        self.execute("UPDATE bindings SET expires_at = 1800000000 WHERE aor = 'sip:bob@example.com'", self.own)
        outcome = self.take()
        self.assertEqual((outcome.users.changed, outcome.users.same), (1, 1))
        self.assertEqual((outcome.contacts.changed, outcome.contacts.same), (1, 2))
        database = AccountDatabase(DatabaseSettings(url=f"sqlite:///{self.own}"))
        row = database.rows()["bob"]
        database.close()
        self.assertEqual((row["password"], row["max_calls"]), ("builder", 2))
        self.assertEqual(
            [round(one.expires_at - NOW) for one in self.contacts()], [900, 700, 1_800_000_000 - round(NOW)]
        )

    def test_rehearsal(self) -> None:
        """A dry run says the same and leaves no trace, before and after."""
        outcome = self.take(is_rehearsal=True)
        self.assertEqual((outcome.users.new, outcome.contacts.new), (2, 3))
        self.assertIn("users: 2 would be new", list(outcome.lines())[-2])
        self.assertFalse(self.own.exists())
        self.take()
        self.execute("DELETE FROM accounts WHERE name = 'bob'", self.own)
        outcome = self.take(is_rehearsal=True)
        self.assertEqual((outcome.users.new, outcome.users.same, outcome.contacts.same), (1, 1, 3))
        self.assertEqual(set(self.users()), {"alice"})

    def test_expired_here(self) -> None:
        """What has expired here does not stand in the way, and is not counted."""
        self.take(now=NOW)
        outcome = self.take(now=NOW + 650)
        self.assertEqual((outcome.contacts.same, len(outcome.contacts.not_taken)), (1, 4))

    def test_bound(self) -> None:
        """A user has no more contacts than may register."""
        for number in range(12):
            self.execute(
                "INSERT INTO location (username, domain, contact, expires) "
                f"VALUES ('bob', 'example.com', 'sip:bob@10.1.0.{number}', {int(NOW) + 50})"
            )
        outcome = self.take()
        self.assertIn("location 16 (bob@example.com): the user has 10 contacts already", outcome.contacts.not_taken)
        self.assertEqual(sum(one.aor == "sip:bob@example.com" for one in self.contacts()), 10)

    def test_secrets(self) -> None:
        """No password is in anything that is printed."""
        self.execute("UPDATE subscriber SET ha1 = 'hunter2', password = 'hunter2' WHERE username = 'alice'")
        outcome = self.take()
        self.assertNotIn("hunter2", "\n".join(outcome.lines()))
        self.assertNotIn("sqlite", repr(destination_of(self.config, None)))


class CommandTests(ImportCase):
    """The command line."""

    def run_sipd(self, *arguments: str) -> tuple[int, str, str]:
        """Run it; give the exit status and what it wrote."""
        out, err = io.StringIO(), io.StringIO()
        self.patch(sys, "stdout", out)
        self.patch(sys, "stderr", err)
        status = main(["import", *arguments])
        return status, out.getvalue(), err.getvalue()

    def setUp(self) -> None:
        """Let the contacts be of this hour."""
        super().setUp()
        shift = (time.time() - NOW) / 86400
        self.execute(f"UPDATE location SET expires = expires + {shift}")
        self.source = f"sqlite:///{self.kamailio}"

    def test_configuration(self) -> None:
        """To a configuration: its store gets the users, its database the contacts."""
        status, out, _ = self.run_sipd("kamailio", "--from", self.source, "--to", str(self.file))
        self.assertEqual(status, 0)
        self.assertIn("users: 2 new", out)
        self.assertNotIn("count once", out)
        self.assertEqual((len(self.users()), len(self.contacts())), (2, 3))

    def test_without_a_store(self) -> None:
        """If the configuration has no store for them, that is said."""
        self.load(MINIMAL)
        status, out, _ = self.run_sipd("kamailio", "--from", self.source, "--to", str(self.file), "--dry-run")
        self.assertEqual(status, 0)
        self.assertIn("the users count once [[accounts.stores]]", out)
        self.assertFalse(self.own.parent.exists())

    def test_url(self) -> None:
        """To a URL, with domains, which may come from the environment."""
        self.own.parent.mkdir()
        self.patch(__import__("os"), "environ", {"KAMAILIO": self.source})
        status, out, _ = self.run_sipd(
            "kamailio", "--from", "env:KAMAILIO", "--to", f"sqlite:///{self.own}", "--domain", "example.com"
        )
        self.assertEqual(status, 0)
        self.assertIn("users: 3 new", out)  # root, too

    def test_misused(self) -> None:
        """What is not understood is said on standard error, with status 2."""
        url = "sqlite:////tmp/x"
        for arguments, expected in (
            ((), "sipd import kamailio --from"),
            (("opensips",), "sipd import kamailio --from"),
            (("kamailio",), "--from is required"),
            (("kamailio", "--from", url), "--to is required"),
            (("kamailio", "--from", url, "--to", url), "--domain is required"),
            (("kamailio", "--from", url, "--to", "x.toml", "--realm", "r"), "go with --to URL only"),
            (("kamailio", "--from", "env:NOTHING_THERE", "--to", url), "NOTHING_THERE is not set"),
            (("kamailio", "--from", url, "--to", "x.toml", "--timezone", "Mars/Olympus"), "no time zone Mars/Olympus"),
        ):
            with self.subTest(arguments):
                status, _, err = self.run_sipd(*arguments)
                self.assertEqual(status, 2)
                self.assertIn(expected, err)

    def test_failures(self) -> None:
        """What cannot be done is one line on standard error, with status 1."""
        for source, to, expected in (
            ("sqlite:////nowhere/at/all", str(self.file), "unable to open"),
            (self.source, "/nowhere/sipd.toml", "cannot be read"),
            ("nonsense", str(self.file), "malformed"),
        ):
            status, _, err = self.run_sipd("kamailio", "--from", source, "--to", to)
            self.assertEqual(status, 1)
            self.assertIn(expected, err)
