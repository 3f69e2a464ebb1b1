"""Takes users and contacts of a Kamailio into sipd's own tables. Can be done again: what is there already stays.

Everything here blocks. It is for a sipd that does not run: one that runs has its contacts in memory, and writes them
over what it finds in the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from sipd.accounts.database import AccountDatabase
from sipd.accounts.kamailio import (
    LOCATION_COLUMNS,
    SUBSCRIBER_COLUMNS,
    KamailioDatabase,
    NotTakenError,
    Place,
    Row,
    Values,
    rank,
    read_location,
    read_subscriber,
    shown,
)
from sipd.accounts.sql import DatabaseSettings
from sipd.daemon import layers
from sipd.daemon.sections import Config
from sipd.daemon.sections.accounts import AccountStore
from sipd.errors import LocalError
from sipd.interfaces import Binding
from sipd.registrar.database import Database

#: AORs whose contacts are written in one transaction.
_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where users and contacts go.

    Args:
        place: domains, realm, and what else rows are read with.
        accounts: the database of users; may hold a password.
        bindings: that of contacts.
        taken: names that others have already: the users of the configuration.
        has_other_users: whether there may be users whom neither has.
        max_contacts: of one address of record.
    """

    place: Place
    accounts: str = field(repr=False)
    bindings: str = field(repr=False)
    taken: frozenset[str] = frozenset()
    has_other_users: bool = False
    max_contacts: int = 10


def own_store(config: Config) -> AccountStore | None:
    """Give the first store whose table is sipd's own."""
    return next((one for one in config.accounts.stores if one.type == "sql" and one.layout == "sipd"), None)


def destination_of(config: Config, zone: tzinfo | None) -> Destination:
    """Say where a configuration has its users and contacts: users in its first store of our own layout.

    Args:
        config: the configuration.
        zone: that Kamailio runs in; ``None`` for that of this machine.
    """
    own = own_store(config)
    return Destination(
        place=Place(
            domains=config.domains,
            realm=config.realm,
            zone=zone,
            points=tuple(layers.listening_point(listen) for listen in config.listen),
        ),
        accounts=((own.url if own is not None else None) or config.database).text,
        bindings=config.database.text,
        taken=frozenset(user.name for user in config.users),
        has_other_users=any(store is not own for store in config.accounts.stores),
        max_contacts=config.registrar.max_contacts,
    )


def destination_at(url: str, domains: tuple[str, ...], realm: str, zone: tzinfo | None) -> Destination:
    """Say that both are in one database."""
    place = Place(domains=domains, realm=realm, zone=zone)
    return Destination(place=place, accounts=url, bindings=url)


@dataclass(slots=True)
class Tally:
    """What became of the rows of one table.

    Args:
        what: they are, for a person.
    """

    what: str
    new: int = 0
    changed: int = 0
    same: int = 0
    not_taken: list[str] = field(default_factory=list)

    def line(self, *, is_rehearsed: bool) -> str:
        """Give one line for a person."""
        would = "would be " if is_rehearsed else ""
        return (
            f"{self.what}: {self.new} {would}new, {self.changed} {would}changed, {self.same} there already, "
            f"{len(self.not_taken)} not taken"
        )

    def refuse(self, table: str, row: Row, reason: object) -> None:
        """Take note of a row that is not taken."""
        self.not_taken.append(f"{table} {shown(row)}: {reason}")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of all rows."""

    users: Tally
    contacts: Tally
    is_rehearsed: bool

    def lines(self) -> Iterator[str]:
        """Give it to a person: each row that was not taken, then the sums."""
        for tally in (self.users, self.contacts):
            yield from tally.not_taken
        for tally in (self.users, self.contacts):
            yield tally.line(is_rehearsed=self.is_rehearsed)


def import_kamailio(source: str, destination: Destination, *, now: float, is_rehearsal: bool) -> Imported:
    """Take the users and contacts of a Kamailio.

    Args:
        source: its database, as an SQLAlchemy URL; it is only read.
        destination: where they go.
        now: Unix time.
        is_rehearsal: whether nothing is to be written.

    Raises:
        LocalError: a database cannot be read or written. What was written before that is whole, and can be completed by
            doing it again.
    """
    kamailio = KamailioDatabase(source)
    try:
        subscribers = list(kamailio.rows("subscriber", SUBSCRIBER_COLUMNS))
        locations = list(kamailio.rows("location", LOCATION_COLUMNS))
    finally:
        kamailio.close()
    users, contacts = Tally("users"), Tally("contacts")
    known = _take_users(subscribers, destination, users, is_rehearsal=is_rehearsal)
    _take_contacts(locations, destination, contacts, known | destination.taken, now=now, is_rehearsal=is_rehearsal)
    return Imported(users, contacts, is_rehearsal)


def _take_users(rows: Sequence[Row], destination: Destination, tally: Tally, *, is_rehearsal: bool) -> frozenset[str]:
    """Take users; give the names of all that there are then."""
    place = destination.place
    wanted: dict[str, Values] = {}
    for row in sorted(rows, key=lambda row: rank(row, place)):
        try:
            values = read_subscriber(row, place)
        except NotTakenError as reason:
            tally.refuse("subscriber", row, reason)
            continue
        name = str(values["name"])
        if name in destination.taken:
            tally.refuse("subscriber", row, "the configuration has a user of that name, who comes first")
        elif name in wanted:
            tally.refuse("subscriber", row, "a user of another domain has the name, and sipd has one of each")
        else:
            wanted[name] = values
    if is_rehearsal and not _has_table(destination.accounts, "accounts"):
        tally.new = len(wanted)
        return frozenset(wanted)
    database = AccountDatabase(DatabaseSettings(url=destination.accounts, timeout=30.0))
    try:
        there = database.rows()
        _write_users(database, there, wanted, tally, is_rehearsal=is_rehearsal)
    finally:
        database.close()
    return frozenset(wanted) | frozenset(there)


def _write_users(
    database: AccountDatabase,
    there: Mapping[str, Mapping[str, object]],
    wanted: Mapping[str, Values],
    tally: Tally,
    *,
    is_rehearsal: bool,
) -> None:
    rows = []
    for name, values in wanted.items():
        before = there.get(name)
        if before is None:
            tally.new += 1
        elif all((before[column] or None) == value for column, value in values.items()):
            tally.same += 1
            continue
        else:
            tally.changed += 1
        rows.append(values)
    if rows and not is_rehearsal:
        database.write(rows)


def _take_contacts(
    rows: Sequence[Row],
    destination: Destination,
    tally: Tally,
    users: frozenset[str],
    *,
    now: float,
    is_rehearsal: bool,
) -> None:
    if is_rehearsal and not _has_table(destination.bindings, "bindings"):
        _merge(rows, destination, tally, users, {}, now)
        return
    database = Database(destination.bindings)
    try:
        by_aor: dict[str, list[Binding]] = {}
        # Nothing has expired at the beginning of time, so nothing is deleted.
        for binding in database.load(0.0)[0]:
            by_aor.setdefault(binding.aor, []).append(binding)
        changed = _merge(rows, destination, tally, users, by_aor, now)
        batches = list(changed.items())
        for first in range(0, 0 if is_rehearsal else len(batches), _BATCH):
            database.save(batches[first : first + _BATCH])
    finally:
        database.close()


def _merge(
    rows: Sequence[Row],
    destination: Destination,
    tally: Tally,
    users: frozenset[str],
    there: Mapping[str, Sequence[Binding]],
    now: float,
) -> dict[str, list[Binding]]:
    """Give the contacts of each AOR that are different afterwards, highest q first.

    Of equal contacts the one counts that lives longest: it is the newest.
    """
    changed: dict[str, list[Binding]] = {}
    for row in rows:
        try:
            binding = read_location(row, destination.place, now)
        except NotTakenError as reason:
            tally.refuse("location", row, reason)
            continue
        if not destination.has_other_users and str(row["username"]).strip() not in users:
            tally.refuse("location", row, "there is no such user")
            continue
        alive = changed.get(binding.aor)
        if alive is None:
            alive = [one for one in there.get(binding.aor, ()) if one.expires_at > now]
        equal = next((one for one in alive if one.uri == binding.uri), None)
        if equal is not None and equal.expires_at >= binding.expires_at:
            tally.same += 1
            continue
        if equal is None and len(alive) >= destination.max_contacts:
            tally.refuse("location", row, f"the user has {len(alive)} contacts already")
            continue
        if equal is None:
            tally.new += 1
        else:
            tally.changed += 1
        kept = [one for one in alive if one is not equal]
        changed[binding.aor] = sorted([*kept, binding], key=lambda one: -one.q)
    return changed


def _has_table(url: str, name: str) -> bool:
    """Say whether a database has a table, without making either.

    Raises:
        LocalError: it cannot be reached.
    """
    try:
        parsed = make_url(url)
        if "@" in (parsed.host or ""):  # the end of a password with an @ that is not escaped
            raise ValueError
        path = parsed.database
        if parsed.get_backend_name() == "sqlite" and (not path or not Path(path).exists()):
            return False
        engine = sa.create_engine(parsed)
    except ValueError:  # it shows what it takes for a port: of a password, perhaps
        raise LocalError("The database URL is malformed") from None
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise LocalError(f"The database cannot be used: {' '.join(str(error).split())}") from None
    try:
        return sa.inspect(engine).has_table(name)
    except sa.exc.DBAPIError as error:
        shown_url = parsed.render_as_string(hide_password=True)
        raise LocalError(f"Database {shown_url}: {' '.join(str(error.orig).split())}") from error
    finally:
        engine.dispose()
