"""Servers that sipd talks to beside SIP, real ones for one test: a PostgreSQL and a FreeRADIUS that may go away.

Each listens on a port of its own of the loopback address, has a directory of its own below the system's temporary one,
and runs as nobody where the tests run as root, since neither wants to be root. What is left of it goes with the test.

    class SomeTests(InteropTestCase):
        async def test_something(self) -> None:
            postgres = PostgresServer(self)         # skips the test where it is not installed
            await postgres.start()                  # makes the database the first time
            ... postgres.url ...                    # for SQLAlchemy: postgresql+psycopg://...
            postgres.query("SELECT ...")            # rows; blocks, so only when it is up
            await postgres.kill()                   # kill -9: open connections break, what was committed stays
            await postgres.start()                  # the same port, the same data
            await postgres.stop()                   # in good order; the end of the test does that by itself

            radius = RadiusServer(self, users='bob Cleartext-Password := "builder"')
            await radius.start()
            ... radius.host, radius.authentication_port, radius.accounting_port, radius.secret ...
            radius.accounting()                     # the accounting requests that it took, oldest first
            radius.freeze(); radius.thaw()          # there, but silent
            await radius.kill()

The users of a `RadiusServer` are lines of FreeRADIUS's users file. PAP, CHAP and digest (RFC 5090) are understood.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from tests.interop.case import InteropTestCase
from tests.interop.programs import Program, ProgramError, find_program
from tests.ports import HOST

#: Where Debian has servers, which is in the PATH of nobody.
_PLACES = "/usr/sbin:" + ":".join(sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True))
_NOBODY, _NOGROUP = 65534, 65534
_START_LIMIT = 40.0
_STOP_LIMIT = 20.0
#: Seconds that what a killed server leaves behind may take to go: processes of its own, ports, shared memory.
_LEFTOVERS_LIMIT = 20.0
_LOOK = 0.1


class OutsideServer:
    """What the servers have in common: a directory, a process that ends with the test, and ways to lose it.

    Args:
        case: the test that it runs in.
        label: for messages.
    """

    #: What it says when it takes requests.
    _ready = ""
    #: The signal that ends it in good order, without waiting for clients.
    _ending = signal.SIGTERM

    def __init__(self, case: InteropTestCase, label: str) -> None:
        self.host = HOST
        self.directory = Path(tempfile.mkdtemp(prefix=f"sipd-{label}-"))
        case.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        self._case = case
        self._label = label
        self._program: Program | None = None
        if os.getuid() == 0:
            os.chown(self.directory, _NOBODY, _NOGROUP)

    @property
    def program(self) -> Program:
        """Its process; to be asked for after `start`."""
        assert self._program is not None
        return self._program

    def _arguments(self) -> Sequence[str]:
        raise AssertionError("each server has its own")

    async def start(self) -> None:
        """Start it, the first time or again, and wait until it takes requests.

        Raises:
            ProgramError: it did not come up.
        """
        limit = self._case.reactor.seconds() + _LEFTOVERS_LIMIT
        while True:
            self._program = self._run(self._arguments())
            try:
                await self._program.says(self._ready, _START_LIMIT)
                return
            except ProgramError:
                # Of one that was killed, something may still hold the port or the data.
                if self._program.exit_status is None or self._case.reactor.seconds() > limit:
                    raise
            await deferLater(self._case.reactor, _LOOK)

    async def stop(self) -> None:
        """End it in good order. Idempotent."""
        if self._program is not None and self._program.exit_status is None:
            self._program.send_signal(signal.SIGCONT)
            self._program.send_signal(self._ending)
            await self._program.ends(_STOP_LIMIT)

    async def kill(self) -> None:
        """End it at once: SIGKILL."""
        self.program.send_signal(signal.SIGKILL)
        await self.program.ends(_STOP_LIMIT)

    def _run(self, arguments: Sequence[str]) -> Program:
        """Start a program as nobody, in the server's directory."""
        program = Program(self._label, self._case.reactor)
        self._case.started.append(program)
        drop = (find_program("setpriv"), f"--reuid={_NOBODY}", f"--regid={_NOGROUP}", "--clear-groups", "--")
        as_nobody = drop if os.getuid() == 0 else ()
        program.start(
            self._case.reactor, [*as_nobody, *arguments], directory=self.directory, environment={"LC_ALL": "C"}
        )
        self._case.addCleanup(lambda: Deferred.fromCoroutine(self._end(program)))
        return program

    async def _end(self, program: Program) -> None:
        if program is self._program:
            await self.stop()
        await program.stop()

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o644)
        return path


class PostgresServer(OutsideServer):
    """A PostgreSQL with one role and one database, both `sipd`.

    Args:
        case: the test that it runs in; skipped where PostgreSQL is not installed.

    Attributes:
        port: where it listens, on `host`.
    """

    _ready = "database system is ready to accept connections"
    #: The one of SIGTERM waits until the last client has gone.
    _ending = signal.SIGINT
    password = "open sesame"

    def __init__(self, case: InteropTestCase) -> None:
        self._server = _find("postgres")
        self._initdb = _find("initdb")
        super().__init__(case, "postgres")
        self.port = case.ports.take()
        self._data = self.directory / "data"

    @property
    def url(self) -> str:
        """The database as SQLAlchemy writes it."""
        return f"postgresql+psycopg://sipd:{self.password.replace(' ', '%20')}@{self.host}:{self.port}/sipd"

    async def start(self) -> None:
        """See `OutsideServer`. The first time it makes the database."""
        is_new = not self._data.exists()
        if is_new:
            secret = self._write("password", self.password + "\n")
            making = self._run(
                (
                    self._initdb,
                    f"--pgdata={self._data}",
                    "--username=sipd",
                    f"--pwfile={secret}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                )
            )
            if await making.ends(_START_LIMIT) != 0:
                raise ProgramError(making.explain())
        await super().start()
        if is_new:
            self.query("CREATE DATABASE sipd", database="postgres")

    def _arguments(self) -> Sequence[str]:
        settings = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": self.directory,
            # What was committed outlives the process, though not the machine.
            "fsync": "off",
            "shared_buffers": "16MB",
            "max_connections": 20,
        }
        given = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [self._server, "-D", str(self._data), *given]

    def query(self, statement: str, *values: object, database: str = "sipd") -> list[tuple[Any, ...]]:
        """Run one statement, with `%s` for each of the values, and give its rows. Blocks for as long as that takes."""
        import psycopg

        with psycopg.connect(
            host=self.host,
            port=self.port,
            user="sipd",
            password=self.password,
            dbname=database,
            connect_timeout=5,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []


class RadiusServer(OutsideServer):
    """A FreeRADIUS that knows some users, and writes down what is accounted.

    Args:
        case: the test that it runs in; skipped where FreeRADIUS is not installed.
        users: lines of its users file.

    Attributes:
        authentication_port, accounting_port: where it listens, on `host`.
    """

    _ready = "Ready to process requests"
    secret = "testing 123"

    def __init__(self, case: InteropTestCase, users: str = "") -> None:
        self._server = _find("freeradius")
        super().__init__(case, "freeradius")
        self.authentication_port = case.ports.take()
        self.accounting_port = case.ports.take()
        self._detail = self.directory / "detail"
        self._write("dictionary", "$INCLUDE /usr/share/freeradius/dictionary\n")
        self._write("users", users + "\n")
        self._write(
            "radiusd.conf",
            _RADIUSD.format(
                directory=self.directory,
                detail=self._detail,
                host=self.host,
                secret=self.secret,
                authentication_port=self.authentication_port,
                accounting_port=self.accounting_port,
            ),
        )

    def _arguments(self) -> Sequence[str]:
        return [self._server, "-f", "-l", "stdout", "-xx", "-d", str(self.directory)]

    def freeze(self) -> None:
        """Let it be there, and answer nothing: SIGSTOP."""
        self.program.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, with what came meanwhile."""
        self.program.send_signal(signal.SIGCONT)

    def accounting(self) -> list[dict[str, list[str]]]:
        """Give the accounting requests that it took: values by attribute, without quotes."""
        if not self._detail.exists():
            return []
        requests: list[dict[str, list[str]]] = []
        for paragraph in self._detail.read_text().split("\n\n"):
            request: dict[str, list[str]] = {}
            for name, value in re.findall(r"^\t(\S+) = (.*)$", paragraph, re.MULTILINE):
                request.setdefault(name, []).append(value[1:-1] if value.startswith('"') else value)
            if request:
                requests.append(request)
        return requests


def _find(name: str) -> str:
    return find_program(name, {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{_PLACES}"})


_RADIUSD = """\
prefix = /usr
raddbdir = {directory}
libdir = /usr/lib/freeradius
logdir = {directory}
run_dir = {directory}
max_request_time = 30
cleanup_delay = 5
max_requests = 4096
hostname_lookups = no
log {{
    destination = stdout
}}
security {{
    allow_core_dumps = no
    max_attributes = 200
    reject_delay = 0
    status_server = yes
}}
thread pool {{
    start_servers = 2
    max_servers = 4
    min_spare_servers = 1
    max_spare_servers = 4
    max_requests_per_server = 0
}}
client test {{
    ipaddr = {host}
    secret = "{secret}"
    require_message_authenticator = no
}}
modules {{
    pap {{
    }}
    chap {{
    }}
    digest {{
    }}
    files {{
        usersfile = {directory}/users
    }}
    detail {{
        filename = {detail}
        permissions = 0644
        locking = no
    }}
    always ok {{
        rcode = ok
    }}
}}
server default {{
    listen {{
        type = auth
        ipaddr = {host}
        port = {authentication_port}
    }}
    listen {{
        type = acct
        ipaddr = {host}
        port = {accounting_port}
    }}
    authorize {{
        chap
        digest
        files
        pap
    }}
    authenticate {{
        Auth-Type PAP {{
            pap
        }}
        Auth-Type CHAP {{
            chap
        }}
        digest
    }}
    accounting {{
        detail
        ok
    }}
}}
"""
