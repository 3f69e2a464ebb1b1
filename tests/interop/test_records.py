"""Call records with servers that go away in the middle: a PostgreSQL, a FreeRADIUS, a web server; and with sipd killed.

Calls are SIPp's, through sipd as an operator runs it. Whatever happens meanwhile, each place has each call in the end.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import Site

from tests.interop.case import InteropTestCase
from tests.interop.programs import ProgramError
from tests.interop.server import Server
from tests.interop.servers import PostgresServer, RadiusServer
from tests.interop.sipp import Sipp
from tests.ports import HOST

SECRET = "billing secret"
#: Seconds until every place has every record, once all of them are up.
_CATCH_UP = 40.0
_LOOK = 0.1
#: How long a disk that has much to do may take to say that it has a record.
_TO_DISK = 2.0
_TERMINATED = -15
#: What the log may say of places that are away.
_EXPECTED = ("call records cannot be brought to", "RADIUS accounting of calls that go on")

_SINKS = """
[[cdr.sinks]]
name = "warehouse"
type = "sql"
database = "{database}"
records = ["call", "attempt"]
first_retry = 0.2
last_retry = 0.5

[[cdr.sinks]]
name = "accounting"
type = "radius"
servers = ["{radius}"]
secret = "{radius_secret}"
retransmit = 0.3
tries = 2
interim = 0.2
first_retry = 0.2
last_retry = 0.5

[[cdr.sinks]]
name = "billing"
type = "http"
url = "http://{web}/records"
secret = "{secret}"
timeout = 2.0
batch = 7
first_retry = 0.2
last_retry = 0.5
"""


class Receiver(Resource):
    """Takes signed records.

    Attributes:
        ids: of those that came.
        code: what it answers.
        forged: how many requests were not signed as they should be.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.code = 200
        self.forged = 0

    def render_POST(self, request: Any) -> bytes:
        """Take a batch."""
        body = request.content.read()
        header = request.getHeader(b"Sipd-Signature").decode()
        stamp, digest = (part.partition("=")[2] for part in header.split(","))
        expected = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        self.forged += not hmac.compare_digest(expected, digest)
        request.setResponseCode(self.code)
        if self.code < 300:
            self.ids += [record["id"] for record in json.loads(body)["records"]]
        return b""


class RecordsTests(InteropTestCase):
    """Calls, and what becomes of their records."""

    programs = ("sipp",)
    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.postgres = PostgresServer(self)
        self.radius = RadiusServer(self)
        self.receiver = Receiver()
        self.web_port = self.ports.take()
        self.web: Any = None
        self.addCleanup(self.close_web)

    def open_web(self) -> None:
        """Let the web server be there."""
        factory: Any = Site(self.receiver)
        self.web = self.reactor.listenTCP(self.web_port, factory, interface=HOST)

    def close_web(self) -> Deferred[None] | None:
        """Let it be gone, with its connections."""
        web, self.web = self.web, None
        if web is None:
            return None
        readers: list[Any] = list(self.reactor.getReaders())
        for reader in readers:
            if getattr(reader, "server", None) is web:
                reader.abortConnection()
        closing: Deferred[None] | None = web.stopListening()
        return closing

    async def open_servers(self) -> None:
        """Let all of them be there."""
        await self.postgres.start()
        await self.radius.start()
        self.open_web()

    def server(self) -> Server:
        """Give a sipd that tells all of them, and sends calls for `callee` to SIPp."""
        server = Server(self)
        self.callee_port = self.ports.take()
        server.add_route("sipp", "callee", self.callee_port)
        server.configure(
            _SINKS.format(
                database=self.postgres.url,
                radius=f"{HOST}:{self.radius.accounting_port}",
                radius_secret=self.radius.secret,
                web=f"{HOST}:{self.web_port}",
                secret=SECRET,
            )
        )
        return server

    async def call(self, server: Server, calls: int, rate: int = 10) -> tuple[Sipp, Sipp]:
        """Begin some calls."""
        called = Sipp(self, "uas_answers", port=self.callee_port, calls=calls, limit=60)
        await called.listens()
        calling = Sipp(
            self, "uac_answered", port=self.ports.take(), target=server.address, calls=calls, rate=rate, limit=60
        )
        return called, calling

    def in_database(self) -> list[str]:
        """Give the ids of the calls in the database, which sipd makes its table in when it finds it."""
        if self.postgres.query("SELECT to_regclass('call_records')") == [(None,)]:
            return []
        return [row[0] for row in self.postgres.query("SELECT id FROM call_records WHERE kind = 'call'")]

    def in_radius(self) -> list[str]:
        """Give the ids of the calls that RADIUS knows the end of."""
        stops = [one for one in self.radius.accounting() if one["Acct-Status-Type"] == ["Stop"]]
        return [one["Acct-Multi-Session-Id"][0] for one in stops]

    async def has_all(self, wanted: Collection[str], found: Callable[[], list[str]], place: str) -> None:
        """Wait until a place has them all, and nothing else."""
        for _ in range(int(_CATCH_UP / _LOOK)):
            if set(wanted) <= set(found()):
                break
            await self.pause(_LOOK)
        missing, foreign = set(wanted) - set(found()), set(found()) - set(wanted)
        self.assertEqual((missing, foreign), (set(), set()), place + self.explain())

    async def all_have(self, wanted: Collection[str]) -> None:
        """Wait until every place has them all."""
        await self.has_all(wanted, self.in_database, "PostgreSQL")
        await self.has_all(wanted, self.in_radius, "FreeRADIUS")
        await self.has_all(wanted, lambda: self.receiver.ids, "HTTP")
        self.assertEqual(self.receiver.forged, 0)
        rows = self.in_database()
        self.assertEqual(len(rows), len(set(rows)))

    async def stop(self, server: Server) -> None:
        """End sipd in good order; of errors its log has only what was to be expected."""
        server.program.send_signal("TERM")
        status = await server.program.ends(20)
        lines = server.program.output.decode(errors="replace").splitlines()
        errors = [line for line in lines if " error " in line and not any(text in line for text in _EXPECTED)]
        if status != _TERMINATED or errors or b"Traceback" in server.program.output:
            said = "\n".join([f"status {status}", *errors])
            raise ProgramError(f"sipd did not end well: {said}\n{server.program.explain()}")

    async def test_all_go_away(self) -> None:
        """Database and RADIUS are killed, the web server fails and is gone, in the middle of calls: none is lost."""
        await self.open_servers()
        server = self.server()
        await server.start()
        called, calling = await self.call(server, 60)
        await self.pause(1.5)
        self.receiver.code = 503
        await self.postgres.kill()
        self.radius.freeze()
        await self.pause(1.0)
        await self.radius.kill()
        closing = self.close_web()
        if closing is not None:
            await closing
        await self.pause(1.0)
        self.receiver.code = 200
        self.open_web()
        await self.radius.start()
        await self.postgres.start()
        await calling.succeeds()
        await called.succeeds()
        await self.pause(0.5)
        ids = [record["id"] for record in server.records()]
        self.assertEqual(len(ids), 60)
        await self.all_have(ids)
        await self.stop(server)
        kinds = {one["Acct-Status-Type"][0] for one in self.radius.accounting()}
        self.assertEqual(kinds, {"Start", "Interim-Update", "Stop"})
        attempts = self.postgres.query("SELECT count(*) FROM call_records WHERE kind = 'attempt'")
        self.assertEqual(attempts, [(60,)])
        self.assertEqual(self.left_over(server), 0)

    async def test_sipd_is_killed(self) -> None:
        """With every place away sipd is killed in the middle of calls; started again it delivers all that had ended."""
        server = self.server()
        await server.start()
        called, calling = await self.call(server, 60)
        while sum(one["ended_at"] < self.reactor.seconds() - _TO_DISK for one in server.records()) <= 10:
            await self.pause(_LOOK)
        killed_at = self.reactor.seconds()
        server.program.send_signal("KILL")
        await server.program.ends(5)
        for sipp in (called, calling):
            await sipp.program.stop()
        records = server.records()
        before = [record["id"] for record in records if record["ended_at"] < killed_at - _TO_DISK]
        self.assertGreater(len(before), 10)
        await self.open_servers()
        await server.start()
        for place in (self.in_database, self.in_radius, lambda: self.receiver.ids):
            for _ in range(int(_CATCH_UP / _LOOK)):
                if set(before) <= set(place()):
                    break
                await self.pause(_LOOK)
            self.assertEqual(set(before) - set(place()), set(), self.explain())
            # Of the last moment some may be there, and nothing that never was.
            self.assertEqual(set(place()) - {record["id"] for record in records}, set())
        await self.stop(server)

    async def test_sipd_is_stopped(self) -> None:
        """Places that are away do not keep sipd from stopping soon, and have everything after the next start."""
        server = self.server()
        await server.start()
        called, calling = await self.call(server, 10)
        await calling.succeeds()
        await called.succeeds()
        await self.stop(server)
        ids = [record["id"] for record in server.records()]
        self.assertEqual(len(ids), 10)
        await self.open_servers()
        await server.start()
        await self.all_have(ids)
        await self.stop(server)

    def left_over(self, server: Server) -> int:
        """Give the number of records that are still in a spool after the end."""
        from sipd.cdr.spool import Spool

        left = 0
        for directory in (server.state / "records").iterdir():
            spool = Spool(directory, max_octets=10**9)
            left += len(spool.read(1000).records)
            spool.close()
        return left
