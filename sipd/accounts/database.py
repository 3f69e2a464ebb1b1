"""Accounts in a database: a table of sipd's own, or Kamailio's ``subscriber`` as it is. SQLAlchemy Core, and alembic.

Everything here blocks, and runs in the threads of `sipd.accounts.sql`, which imports this module there: that takes a
fifth of a second.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.engine import URL, make_url

from sipd.accounts.interfaces import MalformedAccountError, StoreUnavailableError
from sipd.accounts.sql import DatabaseSettings
from sipd.sip.digest import compute_ha1

#: One account as `sipd.accounts.reading` takes it.
Values = dict[str, object]

#: As the migrations make it; lengths and collations are theirs alone.
accounts_table = sa.Table(
    "accounts",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("password", sa.Text),
    sa.Column("ha1_md5", sa.Text),
    sa.Column("ha1_sha256", sa.Text),
    sa.Column("ha1_sha512_256", sa.Text),
    sa.Column("ha1b_md5", sa.Text),
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("display_name", sa.Text),
    sa.Column("identities", sa.Text),
    sa.Column("policy", sa.Text),
    sa.Column("max_calls", sa.Integer),
    sa.Column("srtp", sa.Text),
    sa.Column("record", sa.Text),
    sa.Column("hold_music", sa.Text),
)

#: Columns of hashes: algorithm, and whether it is of the address (ha1b).
_HASHES = {
    "ha1_md5": ("MD5", False),
    "ha1_sha256": ("SHA-256", False),
    "ha1_sha512_256": ("SHA-512-256", False),
    "ha1b_md5": ("MD5", True),
    "ha1": ("MD5", False),
    "ha1b": ("MD5", True),
    "ha1_sha512t256": ("SHA-512-256", False),
}
#: Columns of a ``subscriber`` table that are of use; only the first two need to be there.
_OF_SUBSCRIBER = ("username", "domain", "password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256")


class AccountDatabase:
    """One database. May be used by several threads.

    Raises:
        StoreUnavailableError: the URL is malformed, its driver is not installed, the database cannot be reached or is
            none, its schema is of a later version of sipd, or it has no such table.
    """

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        try:
            parsed = make_url(settings.url)
            if "@" in (parsed.host or ""):  # the end of a password with an @ that is not escaped
                raise ValueError
        except (sa.exc.ArgumentError, ValueError):  # the latter shows what it takes for a port: of a password, perhaps
            raise StoreUnavailableError("The database URL is malformed; expected such as sqlite:////path") from None
        self._name = parsed.render_as_string(hide_password=True)
        with self._explained():
            self.engine = sa.create_engine(
                parsed,
                pool_pre_ping=True,
                connect_args=_limits(parsed, settings.timeout),
                **_pool(parsed, settings),
            )
        self._lock = threading.Lock()
        self._table: sa.Table | None = None

    def find(self, name: str) -> Values | None:
        """Give an account; ``None`` if there is none.

        Raises:
            StoreUnavailableError: it failed.
            MalformedAccountError: there are several.
        """
        table = self._prepared()
        with self._explained(), self.engine.connect() as connection:
            if self._settings.subscribers:
                return self._subscriber(connection, table, name)
            row = connection.execute(sa.select(table).where(table.c.name == name)).mappings().one_or_none()
            # Some databases find Alice for alice.
            return None if row is None or row["name"] != name else _of_row(row)

    def write(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Put accounts in the place of those of the same names, only the given columns, in one transaction.

        Raises:
            StoreUnavailableError: it failed, and nothing was written.
        """
        table = self._prepared()
        with self._explained(), self.engine.begin() as connection:
            for row in rows:
                found = connection.execute(
                    sa.update(table).where(table.c.name == row["name"]).values(dict(row))
                ).rowcount
                if not found:
                    connection.execute(sa.insert(table).values({"enabled": True, **row}))

    def rows(self) -> dict[str, Mapping[str, object]]:
        """Give all accounts as they are in sipd's own table, by their names.

        Raises:
            StoreUnavailableError: it failed.
        """
        table = self._prepared()
        with self._explained(), self.engine.connect() as connection:
            return {row["name"]: dict(row) for row in connection.execute(sa.select(table)).mappings()}

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _prepared(self) -> sa.Table:
        """Give the table; the first time, bring the schema up to date, or see which columns there are."""
        with self._lock:
            if self._table is None:
                with self._explained(), self.engine.begin() as connection:
                    if self._settings.subscribers:
                        self._table = _reflected(connection, self._settings.subscribers)
                    else:
                        upgrade(connection)
                        self._table = accounts_table
            return self._table

    def _subscriber(self, connection: sa.Connection, table: sa.Table, name: str) -> Values | None:
        settings = self._settings
        rows = {
            (row["domain"] or "").lower(): row
            for row in connection.execute(sa.select(table).where(table.c.username == name)).mappings()
            if row["username"] == name
        }
        realm = settings.realm.lower()
        for domain in dict.fromkeys((realm, *settings.domains, "")):
            if domain in rows:
                values = _of_row(rows[domain])
                if domain not in ("", realm):
                    # Hashes of another realm prove nothing in this one.
                    values["ha1"], values["ha1_of_address"] = {}, {}
                elif not _fits(name, settings.realm, values.get("password"), rows[domain].get("ha1")):
                    values["password"] = None
                return values
        return None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the libraries raise into one line for the operator."""
        try:
            yield
        except sa.exc.MultipleResultsFound:
            raise MalformedAccountError(f"Database {self._name}: several accounts of one name") from None
        except sa.exc.DBAPIError as error:
            raise StoreUnavailableError(f"Database {self._name}: {_one_line(error.orig)}") from error
        except (sa.exc.SQLAlchemyError, CommandError, ImportError) as error:
            raise StoreUnavailableError(f"Database {self._name}: {_one_line(error)}") from error


def upgrade(connection: sa.Connection) -> None:
    """Make sipd's own table, or bring it up to date. Its version has a table beside that of the bindings' version."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _reflected(connection: sa.Connection, name: str) -> sa.Table:
    """Give the columns of a ``subscriber`` table that are of use: old versions have fewer."""
    found = {column["name"] for column in sa.inspect(connection).get_columns(name)}
    missing = [column for column in _OF_SUBSCRIBER[:2] if column not in found]
    if missing:
        raise StoreUnavailableError(f"Table {name} has no column {' and no column '.join(missing)}")
    columns = [sa.Column(column, sa.Text) for column in _OF_SUBSCRIBER if column in found]
    return sa.Table(name, sa.MetaData(), *columns)


def _fits(name: str, realm: str, password: object, ha1: object) -> bool:
    """Say whether a password may be the one of the hash beside it, which is what Kamailio checks by default."""
    if not (isinstance(password, str) and password and isinstance(ha1, str) and ha1):
        return True
    return compute_ha1("MD5", name, realm, password) == ha1.lower()


def _of_row(row: Mapping[Any, Any]) -> Values:
    """Give the values of a row of either table."""
    hashes: dict[bool, dict[str, object]] = {False: {}, True: {}}
    values: Values = {}
    for column, value in row.items():
        if column in _HASHES:
            algorithm, is_of_address = _HASHES[column]
            hashes[is_of_address][algorithm] = value
        elif column == "identities":
            values[column] = (value or "").split()
        else:
            values[column] = value
    return values | {"ha1": hashes[False], "ha1_of_address": hashes[True]}


def _pool(url: URL, settings: DatabaseSettings) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        return {}
    return {"pool_size": settings.connections, "max_overflow": 0, "pool_timeout": settings.timeout}


def _limits(url: URL, timeout: float) -> dict[str, Any]:
    """Give what makes a driver give up; what the URL says itself is left alone."""
    milliseconds = max(1, math.ceil(timeout * 1000))
    seconds = max(1, math.ceil(timeout))
    limits: dict[str, Any] = {}
    match url.get_backend_name(), url.get_driver_name():
        case "postgresql", "psycopg" | "psycopg2":
            limits = {
                "connect_timeout": max(2, seconds),
                "tcp_user_timeout": milliseconds,
                "options": f"-c statement_timeout={milliseconds}",
            }
        case "mysql" | "mariadb", "mysqldb" | "pymysql":
            limits = dict.fromkeys(("connect_timeout", "read_timeout", "write_timeout"), seconds)
        case "sqlite", _:
            limits = {"timeout": timeout}
    return {key: value for key, value in limits.items() if key not in url.query}


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
