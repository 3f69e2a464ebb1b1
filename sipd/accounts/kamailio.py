"""Reads the users and contacts of a Kamailio 5: the tables ``subscriber`` (auth_db) and ``location`` (usrloc).

The columns are those of Kamailio's documentation and scripts; old versions have fewer, and what is missing counts as
empty. Everything here blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from sipd.accounts.interfaces import MalformedAccountError
from sipd.accounts.reading import AccountReader, is_name
from sipd.errors import LocalError, ParseError
from sipd.interfaces import Binding, ListeningPoint
from sipd.sip.digest import compute_ha1
from sipd.sip.fields import NameAddr
from sipd.sip.grammar import escape, split_commas
from sipd.sip.locate import Target, Transport, is_numeric
from sipd.sip.uri import SipUri, parse_uri

#: One row by its columns.
Row = Mapping[str, Any]
#: A row of sipd's table ``accounts``.
Values = dict[str, object]

SUBSCRIBER_COLUMNS = ("username", "domain", "password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256")
LOCATION_COLUMNS = (
    "username",
    "domain",
    "contact",
    "received",
    "path",
    "expires",
    "q",
    "callid",
    "cseq",
    "user_agent",
    "socket",
    "instance",
    "reg_id",
)
_NEEDED = {"subscriber": ("username", "domain"), "location": ("username", "contact", "expires")}
#: Characters of an address of record, and of other text of a binding: what the registrar takes.
_MAX_AOR, _MAX_TEXT = 255, 4096
#: Kamailio writes time 0 for a contact that never expires; in any time zone that is this early.
_NEVER = 2 * 86400.0
#: Numbers between these are Julian days, as Kamailio writes points in time into SQLite; larger ones are Unix time.
_JULIAN = (2_400_000.0, 2_500_000.0)
_JULIAN_OF_EPOCH = 2440587.5
_LATEST = 1e11


class NotTakenError(Exception):
    """A row that cannot be taken. The text says why, and no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where rows are to be taken to.

    Args:
        domains: whose users these are, in lower case; the first is that of contacts without a domain.
        realm: of digest, for which hashes have to be good.
        zone: in which Kamailio wrote points in time; ``None`` for that of this machine.
        points: the listening points: a contact that came to the same socket of Kamailio's belongs to it.
    """

    domains: tuple[str, ...]
    realm: str
    zone: tzinfo | None = None
    points: tuple[ListeningPoint, ...] = ()


class KamailioDatabase:
    """A database of Kamailio's, only to be read.

    Args:
        url: as SQLAlchemy writes it.

    Raises:
        LocalError: it is malformed, or its driver is not installed.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            if "@" in (parsed.host or ""):  # the end of a password with an @ that is not escaped
                raise ValueError
        except (sa.exc.ArgumentError, ValueError):  # the latter shows what it takes for a port: of a password, perhaps
            raise LocalError("The database URL is malformed; expected such as mysql+pymysql://host/kamailio") from None
        self._name = parsed.render_as_string(hide_password=True)
        try:
            self._engine = sa.create_engine(parsed)
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise LocalError(f"Database {self._name}: {' '.join(str(error).split())}") from error

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Row]:
        """Give the rows of a table, in the order of their keys, with those of the columns that there are.

        Raises:
            LocalError: it cannot be read, or a column is missing that is needed.
        """
        try:
            with self._engine.connect() as connection:
                found = {column["name"] for column in sa.inspect(connection).get_columns(table)}
                missing = [column for column in _NEEDED[table] if column not in found]
                if missing:
                    raise LocalError(f"Database {self._name}: table {table} has no column {', '.join(missing)}")
                chosen: list[sa.ColumnElement[Any]] = [
                    sa.column(column) for column in ("id", *columns) if column in found
                ]
                statement = sa.select(*chosen).select_from(sa.table(table))
                if "id" in found:
                    statement = statement.order_by(sa.column("id"))
                for row in connection.execution_options(yield_per=1000).execute(statement).mappings():
                    yield dict(row)
        except sa.exc.DBAPIError as error:
            raise LocalError(f"Database {self._name}: {' '.join(str(error.orig).split())}") from error
        except sa.exc.SQLAlchemyError as error:
            raise LocalError(f"Database {self._name}: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


def shown(row: Row) -> str:
    """Name a row: its key and its address, in one line, whatever stands in it."""
    domain = _text(row, "domain")
    address = f"{_text(row, 'username')}@{domain}" if domain else _text(row, "username")
    return f"{row.get('id', '?')} ({ascii(address)[1:-1][:100]})"


def rank(row: Row, place: Place) -> int:
    """Say which rows are to be taken before others: those of the realm, then those of the domains in order."""
    order = (*dict.fromkeys((place.realm.lower(), *place.domains)), "")
    domain = _text(row, "domain").lower()
    return order.index(domain) if domain in order else len(order)


def read_subscriber(row: Row, place: Place) -> Values:
    """Give a row of ``accounts`` for one of ``subscriber``.

    A password that does not fit the hash beside it is left out: it is the hash that Kamailio checks by default.

    Raises:
        NotTakenError: it cannot be taken.
    """
    name, domain = _text(row, "username"), _text(row, "domain").lower()
    if not is_name(name):
        raise NotTakenError("no name that a user of sipd can have")
    if domain not in ("", place.realm.lower(), *place.domains):
        raise NotTakenError(f"{ascii(domain)[1:-1]} is no domain of ours")
    is_of_realm = domain in ("", place.realm.lower())
    hashes = {
        column: (_text(row, given).lower() or None) if is_of_realm else None
        for column, given in (
            ("ha1_md5", "ha1"),
            ("ha1_sha256", "ha1_sha256"),
            ("ha1_sha512_256", "ha1_sha512t256"),
            ("ha1b_md5", "ha1b"),
        )
    }
    password = row.get("password") or None
    if (
        isinstance(password, str)
        and hashes["ha1_md5"]
        and compute_ha1("MD5", name, place.realm, password) != hashes["ha1_md5"]
    ):
        password = None
    if password is None and not any(hashes.values()):
        raise NotTakenError(
            "neither a password nor a hash" if is_of_realm else f"no password, and its hash is not for {place.realm}"
        )
    try:
        AccountReader().read(
            name,
            {
                "password": password,
                "ha1": {
                    "MD5": hashes["ha1_md5"],
                    "SHA-256": hashes["ha1_sha256"],
                    "SHA-512-256": hashes["ha1_sha512_256"],
                },
                "ha1_of_address": {"MD5": hashes["ha1b_md5"]},
            },
        )
    except MalformedAccountError as error:
        raise NotTakenError(str(error).partition(": ")[2]) from None
    return {"name": name, "password": password, **hashes}


def read_location(row: Row, place: Place, now: float) -> Binding:
    """Give the binding for a row of ``location``.

    Args:
        row: the row.
        place: where it is to be taken to.
        now: Unix time.

    Raises:
        NotTakenError: it cannot be taken.
    """
    name, domain = _text(row, "username"), _text(row, "domain").lower()
    if not is_name(name):
        raise NotTakenError("no name that a user of sipd can have")
    if domain and domain not in place.domains:
        raise NotTakenError(f"{ascii(domain)[1:-1]} is no domain of ours")
    expires_at = _moment(row.get("expires"), place.zone)
    if expires_at < _NEVER:
        raise NotTakenError("it never expires; make it a route")
    if expires_at <= now:
        raise NotTakenError("it has expired")
    aor = SipUri(domain or place.domains[0], escape(name)).address_of_record()
    call_id, agent = _text(row, "callid"), _text(row, "user_agent")[:_MAX_TEXT]
    contact = _contact(row)
    path = _path(_text(row, "path"))
    if len(aor) > _MAX_AOR or any(len(text) > _MAX_TEXT for text in (str(contact), call_id, ", ".join(path))):
        raise NotTakenError("a text in it is too long")
    point = _point(_text(row, "socket"), place.points)
    return Binding(
        aor=aor,
        contact=str(contact),
        uri=contact.uri,
        q=contact.q,
        expires_at=expires_at,
        call_id=call_id,
        cseq=_number(row, "cseq"),
        path=path,
        source=_source(_text(row, "received"), point),
        point=point,
        user_agent=agent,
    )


def _text(row: Row, column: str) -> str:
    value = row.get(column)
    return value.strip() if isinstance(value, str) else ""


def _number(row: Row, column: str) -> int:
    value = row.get(column)
    return value if isinstance(value, int) and 0 <= value < 1 << 32 else 0


def _contact(row: Row) -> NameAddr:
    """Put together the Contact header value that Kamailio has in several columns."""
    try:
        uri = parse_uri(_text(row, "contact"))
    except ParseError as error:
        raise NotTakenError(f"its contact is no URI: {error.reason}") from None
    if not isinstance(uri, SipUri):
        raise NotTakenError("its contact is no sip or sips URI")
    if uri.transport in ("ws", "wss"):
        raise NotTakenError("it is bound to a connection to Kamailio (WebSocket)")
    parameters: dict[str, str | None] = {}
    q = row.get("q")
    if isinstance(q, int | float) and 0 <= q < 1:
        # There is a zero with a sign, too.
        parameters["q"] = f"{abs(round(float(q), 3)):g}"
    instance = _text(row, "instance").strip('"')
    if instance and instance.isprintable() and '"' not in instance and "\\" not in instance:
        parameters["+sip.instance"] = f'"{instance}"'
        if reg_id := _number(row, "reg_id"):
            parameters["reg-id"] = str(reg_id)
    try:
        # As it is read again when sipd starts.
        return NameAddr.parse(str(NameAddr(uri, "", parameters)))
    except ParseError as error:
        raise NotTakenError(f"its contact cannot be written: {error.reason}") from None


def _path(text: str) -> tuple[str, ...]:
    try:
        values = tuple(value for value in split_commas(text) if value)
        uris = [NameAddr.parse(value).uri for value in values]
    except ParseError as error:
        raise NotTakenError(f"its path makes no sense: {error.reason}") from None
    if not all(isinstance(uri, SipUri) for uri in uris):
        raise NotTakenError("its path has no sip or sips URI")
    return values


def _source(text: str, point: str) -> Target | None:
    """Give where the phone is behind its NAT."""
    if not text:
        return None
    try:
        uri = parse_uri(text)
        if not isinstance(uri, SipUri):
            raise NotTakenError("where it was received from is no sip URI")
        transport = Transport((uri.transport or "udp").upper())
    except (ParseError, ValueError):
        raise NotTakenError("where it was received from makes no sense") from None
    host = uri.host.strip("[]")
    if not is_numeric(host):
        raise NotTakenError("where it was received from is no address")
    return Target(transport=transport, host=host, port=uri.port or transport.default_port, point=point)


def _point(socket: str, points: Sequence[ListeningPoint]) -> str:
    """Give the name of the listening point with the address of a socket of Kamailio's, written ``udp:host:port``."""
    transport, _, place = socket.partition(":")
    host, _, port = place.rpartition(":")
    for point in points:
        hosts = (point.host, point.advertised_host)
        ports = (str(point.port), str(point.advertised_port))
        if transport.upper() == point.transport.value and host.strip("[]") in hosts and port in ports:
            return point.name
    return ""


def _moment(value: object, zone: tzinfo | None) -> float:
    """Give Unix time for what databases make of Kamailio's points in time."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise NotTakenError("when it expires is no point in time") from None
    if isinstance(value, datetime):
        try:
            return (value if value.tzinfo is not None or zone is None else value.replace(tzinfo=zone)).timestamp()
        except (OverflowError, ValueError, OSError):
            raise NotTakenError("when it expires is out of reach") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotTakenError("when it expires is no point in time")
    if not 0 <= value < _LATEST:
        raise NotTakenError("when it expires is out of reach")
    if _JULIAN[0] < value < _JULIAN[1]:
        return (float(value) - _JULIAN_OF_EPOCH) * 86400.0
    return float(value)
