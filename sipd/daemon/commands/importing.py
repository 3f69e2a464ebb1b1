"""``sipd import kamailio``: takes the users and contacts of a Kamailio."""

from __future__ import annotations

import os
import time
from datetime import tzinfo
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from twisted.python import usage

from sipd.daemon.commands.base import DONE, Command, Parameters, say
from sipd.daemon.config import load

_ENVIRONMENT = "env:"


class Import(Command):
    """Reads a database of another server, and writes ours."""

    name = "import"
    synopsis = "kamailio --from URL --to FILE|URL [options]"
    longdesc = (
        "Takes the users (table subscriber) and contacts (table location) of a Kamailio 5 into the database of a "
        "configuration file, or of a URL. Each row that cannot be taken is named with its reason; what is there "
        "already stays as it is, so it can be done again. Kamailio's database is only read. Stop sipd before: it has "
        "its contacts in memory. URLs are SQLAlchemy's, such as mysql+pymysql://user:password@host/kamailio; env:NAME "
        "takes one from an environment variable, where nobody else sees it."
    )
    optParameters: ClassVar[Parameters] = (
        ("from", "f", None, "Kamailio's database: a URL. Required."),
        ("to", "t", None, "A configuration file of sipd, or the URL of its database. Required."),
        ("realm", "r", None, "The realm of digest, with --to URL. Not given: the first domain."),
        ("timezone", "z", None, "Where Kamailio runs (Europe/Berlin): it writes local time. Not given: that of here."),
    )
    optFlags = (("dry-run", "n", "Only say what would be done."),)

    def __init__(self) -> None:
        super().__init__()
        self._domains: list[str] = []

    def opt_domain(self, name: str) -> None:
        """Take users of that domain, with --to URL; several may be given, the first is that of contacts without one."""
        self._domains.append(name.lower())

    def parseArgs(self, *kinds: str) -> None:
        """See ``usage.Options``."""
        if kinds != ("kamailio",):
            raise usage.UsageError("sipd import kamailio --from URL --to FILE|URL expected")

    def postOptions(self) -> None:
        """See ``usage.Options``."""
        for option in ("from", "to"):
            if not self[option]:
                raise usage.UsageError(f"--{option} is required")
        self._source, self._to = _resolved(self["from"]), _resolved(self["to"])
        self._zone = _zone(self["timezone"])
        self._is_url = "://" in self._to
        if self._is_url and not self._domains:
            raise usage.UsageError("--domain is required where --to is a URL: whose users are to be taken?")
        if not self._is_url and (self._domains or self["realm"]):
            raise usage.UsageError("--domain and --realm go with --to URL only: the configuration has them")

    def run(self) -> int:
        """See `Command`."""
        # The other commands need no database, and this takes a while to import.
        from sipd.daemon import importing
        from sipd.daemon.stack import make_state_directory

        is_rehearsal = bool(self["dry-run"])
        has_store = True
        if self._is_url:
            domains = tuple(self._domains)
            destination = importing.destination_at(self._to, domains, self["realm"] or domains[0], self._zone)
        else:
            config = load(self._to)
            if not is_rehearsal:
                make_state_directory(config)
            destination = importing.destination_of(config, self._zone)
            has_store = importing.own_store(config) is not None
        outcome = importing.import_kamailio(self._source, destination, now=time.time(), is_rehearsal=is_rehearsal)
        say(*outcome.lines())
        if not has_store:
            say('the users count once [[accounts.stores]] of type = "sql" names this database')
        return DONE


def _resolved(value: str) -> str:
    """Take ``env:NAME`` from the environment."""
    if not value.startswith(_ENVIRONMENT):
        return value
    found = os.environ.get(value.removeprefix(_ENVIRONMENT))
    if not found:
        raise usage.UsageError(f"the environment variable {value.removeprefix(_ENVIRONMENT)} is not set")
    return found


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise usage.UsageError(f"there is no time zone {name}") from None
