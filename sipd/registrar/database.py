"""Bindings in a database: SQLite, PostgreSQL or MariaDB, through SQLAlchemy Core; its schema is alembic's.

Everything here blocks and runs in the one thread of `sipd.registrar.store`, which imports this module there: it takes
a fifth of a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.engine import URL, make_url

from sipd.errors import LocalError, ParseError
from sipd.interfaces import Binding
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import split_commas
from sipd.sip.locate import Target, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.sql.compiler import SQLCompiler

#: The values of one execution of a statement, in its order.
Row = tuple[object, ...]

_TO_ESCAPE = re.compile("[\\\\\0\ud800-\udfff]")
_ESCAPED = re.compile(r"\\([0-9a-f]{4})")


class DatabaseError(LocalError):
    """The database cannot be opened, read or written. The text says which one and why, without its password."""


#: As the migrations make it; lengths and collations are theirs alone. Text from a message is in it as `_escape` has it.
bindings_table = sa.Table(
    "bindings",
    sa.MetaData(),
    sa.Column("aor", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("contact", sa.Text, nullable=False),
    sa.Column("q", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("call_id", sa.Text, nullable=False),
    sa.Column("cseq", sa.BigInteger, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("transport", sa.String(8)),
    sa.Column("host", sa.String(64)),
    sa.Column("port", sa.Integer),
    sa.Column("point", sa.Text, nullable=False),
    sa.Column("user_agent", sa.Text, nullable=False),
)


class Database:
    """One database with an up-to-date schema.

    Args:
        url: as SQLAlchemy writes them: ``sqlite:////var/lib/sipd/sipd.sqlite``,
            ``postgresql+psycopg://user:pw@host/name``.

    Raises:
        DatabaseError: the URL is malformed, its driver is not installed, the database cannot be reached or is none, or
            its schema is of a later version of sipd.
    """

    def __init__(self, url: str) -> None:
        parsed = _parse_url(url)
        self._name = parsed.render_as_string(hide_password=True)
        with self._explained():
            self._engine = sa.create_engine(parsed, pool_pre_ping=True)
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", _prepare_sqlite)
        try:
            with self._explained(), self._engine.begin() as connection:
                _upgrade(connection)
        except DatabaseError:
            self._engine.dispose()
            raise
        self._delete = _DELETE.compile(dialect=self._engine.dialect)
        self._insert = _INSERT.compile(dialect=self._engine.dialect)

    def load(self, now: float) -> tuple[list[Binding], int]:
        """Drop what has expired and give the rest.

        Returns:
            The bindings, those of one AOR in order, and how many rows could not be understood and were passed over.

        Raises:
            DatabaseError: it failed.
        """
        table = bindings_table
        with self._explained(), self._engine.begin() as connection:
            connection.execute(sa.delete(table).where(table.c.expires_at <= now))
            rows = connection.execute(sa.select(table).order_by(table.c.aor, table.c.position)).all()
        bindings = [binding for binding in map(_from_row, rows) if binding is not None]
        return bindings, len(rows) - len(bindings)

    def save(self, batch: Iterable[tuple[str, Sequence[Binding]]]) -> None:
        """Replace the bindings of some AORs, in one transaction.

        Raises:
            DatabaseError: it failed, and nothing was written.
        """
        keys: list[Row] = []
        rows: list[Row] = []
        for aor, bindings in batch:
            keys.append((_escape(aor),))
            rows += [_to_row(position, binding) for position, binding in enumerate(bindings)]
        with self._explained(), self._engine.begin() as connection:
            _execute(connection, self._delete, keys)
            if rows:
                _execute(connection, self._insert, rows)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the libraries raise into one line for the operator."""
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise DatabaseError(f"Database {self._name}: {_one_line(error.orig)}") from error
        except (sa.exc.SQLAlchemyError, CommandError, ImportError) as error:
            raise DatabaseError(f"Database {self._name}: {_one_line(error)}") from error


_DELETE = sa.delete(bindings_table).where(bindings_table.c.aor == sa.bindparam("key"))
_INSERT = sa.insert(bindings_table)


def _execute(connection: sa.Connection, statement: SQLCompiler, rows: list[Row]) -> None:
    """Execute a statement once for each row, by the driver alone.

    SQLAlchemy would look at each value again, for more than twice the time, in which the reactor cannot run.
    """
    if statement.positional:
        connection.exec_driver_sql(statement.string, rows)
    else:
        connection.exec_driver_sql(statement.string, [dict(zip(statement.binds, row, strict=True)) for row in rows])


def _parse_url(url: str) -> URL:
    try:
        parsed = make_url(url)
        if "@" in (parsed.host or ""):  # the end of a password with an @ that is not escaped
            raise ValueError
        return parsed
    except (sa.exc.ArgumentError, ValueError):  # the latter shows what it takes for a port: of a password, perhaps
        raise DatabaseError("The database URL is malformed; expected such as sqlite:////path/to/file") from None


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Write ahead, so that a commit is one append; it survives a crash of the program."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _escape(text: str) -> str:
    """Make text from a message, which may hold octets that are no UTF-8, fit for a database that takes only UTF-8.

    A backslash, a zero and what stands for a foreign octet are written as a backslash and four hexadecimal digits.
    """
    return _TO_ESCAPE.sub(lambda match: f"\\{ord(match[0]):04x}", text)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def _to_row(position: int, binding: Binding) -> Row:
    """Give the values of the columns, in their order."""
    source = binding.source
    return (
        _escape(binding.aor),
        position,
        _escape(binding.contact),
        binding.q,
        binding.expires_at,
        _escape(binding.call_id),
        binding.cseq,
        _escape(", ".join(binding.path)),
        source and source.transport.value,
        source and source.host,
        source and source.port,
        _escape(binding.point),
        _escape(binding.user_agent),
    )


def _from_row(row: sa.Row[Any]) -> Binding | None:
    try:
        source = None
        if row.transport is not None:
            source = Target(
                transport=Transport(row.transport), host=row.host, port=row.port, point=_unescape(row.point)
            )
        contact = _unescape(row.contact)
        return Binding(
            aor=_unescape(row.aor),
            contact=contact,
            uri=NameAddr.parse(contact).uri,
            q=row.q,
            expires_at=row.expires_at,
            call_id=_unescape(row.call_id),
            cseq=row.cseq,
            path=tuple(value for value in split_commas(_unescape(row.path)) if value),
            source=source,
            point=_unescape(row.point),
            user_agent=_unescape(row.user_agent),
        )
    except (ParseError, ValueError):
        return None


def _one_line(error: object) -> str:
    return " ".join(str(error).split())
