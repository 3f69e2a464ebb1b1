"""Call records in a database: SQLite, PostgreSQL or MariaDB, through SQLAlchemy Core; the table is alembic's.

Each field that is one value has a column of its name; the lists (attempts, media, codecs, ...) are in ``details``, as
JSON. A record that is there already is left as it is: so a batch may come twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.cdr.interfaces import IRecordSink, RecordsRefusedError, SinkError, Worker
from sipd.cdr.record import SCALARS, Record
from sipd.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

#: Seconds that a connection may take to come up, and that a server may take to acknowledge what it was sent.
_TIMEOUT = 10
_SCALARS = tuple(field.name for field in SCALARS)
_WIDTHS = {"id": 64, "call": 64, "kind": 16, "direction": 16}


@implementer(IRecordSink)
class SqlSink:
    """Writes records into the table ``call_records``, a batch in one transaction.

    Args:
        url: as SQLAlchemy writes them: ``postgresql+psycopg://user:pw@host/name``.
        worker: where the database is used, by nobody else; the sink owns it and stops it.

    Raises:
        ConfigurationError: the URL is malformed.
    """

    def __init__(self, url: str, *, worker: Worker) -> None:
        if "://" not in url:
            raise ConfigurationError(
                ["the database URL of call records is malformed; expected sqlite:////path/to/file"]
            )
        self._url = url
        self._worker = worker
        self._table: RecordTable | None = None
        self._is_closed = False

    def deliver(self, records: Sequence[Record]) -> Deferred[None]:
        """See `IRecordSink`."""
        return self._worker.run(self._insert, tuple(records))

    def close(self) -> Deferred[None]:
        """See `IRecordSink`."""
        if not self._is_closed:
            self._is_closed = True
            return self._worker.run(self._close).addBoth(lambda _: self._worker.stop())
        return succeed(None)

    def _insert(self, records: Sequence[Record]) -> None:
        if self._table is None:
            self._table = RecordTable(self._url)
        self._table.insert(records)

    def _close(self) -> None:
        if self._table is not None:
            self._table.close()


class RecordTable:
    """The table, up to date. Everything here blocks; SQLAlchemy is imported here, since that takes a fifth of a second.

    Args:
        url: see `SqlSink`.

    Raises:
        SinkError: the database cannot be reached, its driver is not installed, or its table is of a later version.
    """

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa
        from sqlalchemy.engine import make_url

        try:
            parsed = make_url(url)
            if "@" in (parsed.host or ""):  # the end of a password with an @ that is not escaped
                raise ValueError
        except (sa.exc.ArgumentError, ValueError):  # the latter shows what it takes for a port: of a password, perhaps
            raise SinkError("the database URL is malformed") from None
        self._name = parsed.render_as_string(hide_password=True)
        with self._explained():
            self._engine = sa.create_engine(
                parsed, pool_pre_ping=True, connect_args=_CONNECT.get(parsed.get_driver_name(), {})
            )
        try:
            with self._explained(), self._engine.begin() as connection:
                _upgrade(connection)
        except SinkError:
            self._engine.dispose()
            raise
        self._insert = _insert_once(sa.table("call_records", *map(sa.column, (*_SCALARS, "details"))), self._engine)

    def insert(self, records: Sequence[Record]) -> None:
        """Write records in one transaction, but for those that are there already.

        Raises:
            SinkError: the database is away; nothing was written.
            RecordsRefusedError: it does not take something in them; nothing was written.
        """
        with self._explained(), self._engine.begin() as connection:
            connection.execute(self._insert, [_row(record) for record in records])

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the libraries raise into one line for the operator."""
        import sqlalchemy as sa
        from alembic.util import CommandError

        try:
            yield
        except (sa.exc.DataError, sa.exc.IntegrityError) as error:
            raise RecordsRefusedError(f"{self._name}: {_one_line(error.orig)}") from None
        except sa.exc.DBAPIError as error:
            raise SinkError(f"{self._name}: {_one_line(error.orig)}") from None
        except (sa.exc.SQLAlchemyError, CommandError, ImportError) as error:
            raise SinkError(f"{self._name}: {_one_line(error)}") from None


#: By driver, what keeps a server that is silent from holding the thread.
_CONNECT: dict[str, dict[str, Any]] = {
    "psycopg": {
        "connect_timeout": _TIMEOUT,
        "tcp_user_timeout": _TIMEOUT * 1000,
        "options": "-c statement_timeout=30s",
    },
    "psycopg2": {"connect_timeout": _TIMEOUT},
    "mysqldb": {"connect_timeout": _TIMEOUT, "read_timeout": 30, "write_timeout": 30},
    "pymysql": {"connect_timeout": _TIMEOUT, "read_timeout": 30, "write_timeout": 30},
}


def _insert_once(table: sa.TableClause, engine: sa.Engine) -> Any:
    """Give the statement that leaves a row alone that is there already, as each database writes it."""
    if engine.dialect.name in ("mysql", "mariadb"):
        from sqlalchemy.dialects import mysql

        return mysql.insert(table).on_duplicate_key_update(id=table.c.id)
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table).on_conflict_do_nothing(index_elements=["id"])
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table).on_conflict_do_nothing(index_elements=["id"])


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _row(record: Record) -> dict[str, Any]:
    row = {name: _value(name, record.get(name)) for name in _SCALARS}
    rest = {name: value for name, value in record.items() if name not in row}
    row["details"] = json.dumps(rest, separators=(",", ":"))
    return row


def _value(name: str, value: Any) -> Any:
    """Make text fit for a database, which knows no character 0; what has a width is cut to it."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\\x00")[: _WIDTHS.get(name)]


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
