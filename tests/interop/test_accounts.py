"""Users that PostgreSQL, Kamailio's table and FreeRADIUS have, real ones, which go away in the middle and come back."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import psycopg
from twisted.internet.threads import deferToThread

from sipd.daemon.importing import Imported, destination_at, import_kamailio
from sipd.sip.digest import compute_ha1
from tests.accounts.kamailio import schema
from tests.interop.asking import Asking
from tests.interop.baresip import Account, Phone
from tests.interop.case import InteropTestCase
from tests.interop.server import USERS, Server
from tests.interop.servers import PostgresServer, RadiusServer
from tests.interop.sipp import Sipp
from tests.ports import HOST

_SQL = """
[[accounts.stores]]
name = "staff"
type = "sql"
url = "{url}"
timeout = 5.0
ttl = 1.0
negative_ttl = 1.0
{more}
"""
_RADIUS = """
[[accounts.stores]]
name = "aaa"
type = "radius"
servers = ["{host}:{port}"]
secret = "{secret}"
timeout = 1.0
"""
#: Without the Message-Authenticator, answers would not be believed; FreeRADIUS gives it where it is told to.
_RADIUS_USERS = """\
dora Cleartext-Password := "explorer"
    Message-Authenticator := 0x00
erik Cleartext-Password := "viking"
    Message-Authenticator := 0x00
DEFAULT Auth-Type := Reject
    Message-Authenticator := 0x00
"""
#: Longer than an account is taken as it was given, and than a store rests after its first failure.
_OUTLIVES = 1.2


class PostgresTests(InteropTestCase):
    """Users in PostgreSQL, beside those in the configuration."""

    timeout = 90

    async def begin(self) -> Server:
        """Start both, and put dora and erik into the table that sipd has made."""
        self.postgres = PostgresServer(self)
        await self.postgres.start()
        server = Server(self)
        server.configure(_SQL.format(url=self.postgres.url, more=""))
        await server.start()
        # The first question makes the table.
        self.assertEqual((await Asking(self, server.port, "dora", "explorer").register()).status, 401)
        self.postgres.query("INSERT INTO accounts (name, password) VALUES ('dora', 'explorer'), ('erik', 'viking')")
        await self.pause(_OUTLIVES)
        return server

    async def status(self, server: Server, user: str, password: str) -> int:
        """Register, and give the status."""
        return (await Asking(self, server.port, user, password).register()).status

    async def status_when_back(self, server: Server, user: str, password: str) -> int:
        """The same once the database answers again; on a machine with other work that takes its time."""
        status = 503
        for _ in range(15):
            await self.pause(_OUTLIVES * 3)
            status = await self.status(server, user, password)
            if status != 503:
                break
        return status

    async def test_registers_and_calls(self) -> None:
        """A phone registers with a user from PostgreSQL, and calls one of the configuration, and vice versa."""
        server = await self.begin()
        phones = {}
        for name, password in (("dora", "explorer"), ("alice", USERS["alice"])):
            account = Account(user=name, server=server.address, password=password)
            phones[name] = phone = Phone(self, account, 600.0)
            await phone.start()
            await phone.registered()
        for caller, callee in (("dora", "alice"), ("alice", "dora")):
            phones[caller].send("dial", f"sip:{callee}@{HOST}")
            await phones[callee].event("CALL_INCOMING")
            phones[callee].send("accept")
            await phones[caller].event("CALL_ESTABLISHED")
            if caller == "alice":
                # Nothing of a call that goes on depends on the database.
                await self.postgres.kill()
            phones[caller].send("hangup")
            await phones[callee].event("CALL_CLOSED")
        for phone in phones.values():
            await phone.stop()
        records = await server.finish(expected="staff cannot be asked")
        self.assertEqual([(record["user"], record["status"]) for record in records], [("dora", 200), ("alice", 200)])

    async def test_who_exists(self) -> None:
        """Who is in the table and not registered is 480, who is not there is 404, who is disabled is not there."""
        server = await self.begin()
        dora = Asking(self, server.port, "dora", "explorer")
        self.assertEqual(await self.status(server, "dora", "wrong"), 401)
        self.assertEqual((await dora.register()).status, 200)
        self.assertEqual((await dora.call("erik")).status, 480)
        self.assertEqual((await dora.call("nobody")).status, 404)
        self.postgres.query("UPDATE accounts SET enabled = false WHERE name IN ('dora', 'erik')")
        await self.pause(_OUTLIVES)
        self.assertEqual((await Asking(self, server.port, "alice", USERS["alice"]).call("dora")).status, 404)
        self.assertEqual((await dora.register()).status, 401)
        await server.finish()

    async def test_goes_away(self) -> None:
        """While PostgreSQL is gone, users that are remembered go on, others get 503, and nobody passes unasked."""
        server = await self.begin()
        self.assertEqual(await self.status(server, "dora", "explorer"), 200)
        await self.postgres.kill()
        await self.pause(_OUTLIVES)
        self.assertEqual(await self.status(server, "dora", "explorer"), 200)
        self.assertEqual(await self.status(server, "dora", "wrong"), 401)
        refused = await Asking(self, server.port, "erik", "viking").register()
        self.assertEqual((refused.status, refused.reason), (503, "User Database Out Of Reach"))
        self.assertEqual(refused.headers.get("Retry-After"), "10")
        self.assertEqual(await self.status(server, "alice", USERS["alice"]), 200)
        # Who may exist is not called "not found".
        alice = Asking(self, server.port, "alice", USERS["alice"])
        self.assertEqual((await alice.call("erik")).status, 503)
        await self.postgres.start()
        self.assertEqual(await self.status_when_back(server, "erik", "viking"), 200)
        (record,) = await server.finish(expected="staff cannot be asked")
        self.assertEqual((record["status"], record["reason"]), (503, "User Database Out Of Reach"))
        self.assertIn(b"staff answers again", server.program.output)

    async def test_hangs(self) -> None:
        """A database that takes questions and does not answer is one that is away, within the time limit."""
        server = await self.begin()
        with psycopg.connect(
            host=HOST, port=self.postgres.port, user="sipd", password=self.postgres.password, dbname="sipd"
        ) as lock:
            lock.execute("LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE")
            begun = time.monotonic()
            self.assertEqual(await self.status(server, "erik", "viking"), 503)
            self.assertLess(time.monotonic() - begun, 7.0)
        self.assertEqual(await self.status_when_back(server, "erik", "viking"), 200)
        await server.finish(expected="staff cannot be asked")


class KamailioTests(InteropTestCase):
    """Kamailio's tables in PostgreSQL, as its scripts make them."""

    timeout = 90

    async def begin(self) -> None:
        """Make them, with dora by hashes and erik by a password."""
        self.postgres = PostgresServer(self)
        await self.postgres.start()
        for statement in schema("postgresql"):
            self.postgres.query(statement)
        self.postgres.query(
            "INSERT INTO subscriber (username, domain, ha1, ha1b) VALUES ('dora', %s, %s, %s)",
            HOST,
            compute_ha1("MD5", "dora", HOST, "explorer"),
            compute_ha1("MD5", f"dora@{HOST}", HOST, "explorer"),
        )
        self.postgres.query("INSERT INTO subscriber (username, domain, password) VALUES ('erik', %s, 'viking')", HOST)

    async def test_as_it_is(self) -> None:
        """Subscribers register by hash and by password, under their name and under their address."""
        await self.begin()
        server = Server(self)
        server.configure(_SQL.format(url=self.postgres.url, more='layout = "kamailio"'))
        await server.start()
        for user, password, username in (
            ("dora", "explorer", "dora"),
            ("dora", "explorer", f"dora@{HOST}"),
            ("erik", "viking", "erik"),
            ("erik", "viking", f"erik@{HOST}"),
        ):
            phone = Asking(self, server.port, user, password, username=username)
            self.assertEqual((await phone.register()).status, 200, username)
        for user, username in (("dora", "dora"), ("dora", "dora@evil.example"), ("erik", "dora")):
            phone = Asking(self, server.port, user, "wrong", username=username)
            self.assertEqual((await phone.register()).status, 401, username)
        impostor = Asking(self, server.port, "erik", "explorer", username="dora")
        self.assertEqual((await impostor.register()).status, 403)
        await server.finish()
        tables = self.postgres.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        self.assertEqual(tables, [("location",), ("subscriber",)])

    async def test_imported(self) -> None:
        """What is imported is there for the next sipd: users can prove who they are, contacts are called."""
        await self.begin()
        port = self.ports.take()
        expires = datetime.now(UTC).replace(tzinfo=None) + timedelta(minutes=10)
        self.postgres.query(
            "INSERT INTO location (username, domain, contact, expires, q, callid, cseq, user_agent) "
            "VALUES ('dora', NULL, %s, %s, -1, 'c', 7, 'phone'), ('erik', NULL, 'nonsense', %s, 1, 'd', 1, '')",
            f"sip:dora@{HOST}:{port}",
            expires,
            expires,
        )
        server = Server(self)
        store = '[[accounts.stores]]\nname = "own"\ntype = "sql"\n'
        server.configure(f'[registrar]\ndatabase = "{self.postgres.url}"\n{store}')
        destination = destination_at(self.postgres.url, (HOST,), HOST, UTC)

        def take(*, is_rehearsal: bool) -> Imported:
            return import_kamailio(self.postgres.url, destination, now=time.time(), is_rehearsal=is_rehearsal)

        rehearsed = await deferToThread(take, is_rehearsal=True)
        self.assertEqual(self.postgres.query("SELECT count(*) FROM pg_tables WHERE tablename = 'accounts'"), [(0,)])
        outcome = await deferToThread(take, is_rehearsal=False)
        again = await deferToThread(take, is_rehearsal=False)
        for one, new, same in ((rehearsed, 2, 0), (outcome, 2, 0), (again, 0, 2)):
            self.assertEqual((one.users.new, one.users.same), (new, same))
            self.assertEqual((one.contacts.new, one.contacts.same), (new // 2, same // 2))
            self.assertEqual(
                one.contacts.not_taken, ["location 2 (erik): its contact is no URI: A URI without a scheme"]
            )
        await server.start()
        self.assertEqual((await Asking(self, server.port, "erik", "viking").register()).status, 200)
        called = Sipp(self, "uas_answers", port=port)
        await called.listens()
        calling = Sipp(
            self,
            "uac_authenticated",
            port=self.ports.take(),
            target=server.address,
            service="dora",
            caller="erik",
            credentials=("erik", "viking"),
            digest_uri=f"dora@{HOST}:{server.port}",
        )
        await calling.succeeds()
        await called.succeeds()
        (record,) = await server.finish()
        self.assertEqual((record["user"], record["status"]), ("erik", 200))


class RadiusTests(InteropTestCase):
    """Users whose passwords only FreeRADIUS knows."""

    timeout = 90

    async def begin(self) -> Server:
        """Start both."""
        self.radius = RadiusServer(self, users=_RADIUS_USERS)
        await self.radius.start()
        server = Server(self)
        server.configure(
            _RADIUS.format(host=self.radius.host, port=self.radius.authentication_port, secret=self.radius.secret)
        )
        await server.start()
        return server

    async def status(self, server: Server, user: str, password: str) -> int:
        """Register, and give the status."""
        return (await Asking(self, server.port, user, password).register()).status

    async def test_registers_and_calls(self) -> None:
        """A phone proves to FreeRADIUS who it is, registers, and calls a user of the configuration."""
        server = await self.begin()
        phones = {}
        for name, password in (("dora", "explorer"), ("alice", USERS["alice"])):
            account = Account(user=name, server=server.address, password=password)
            phones[name] = phone = Phone(self, account, 600.0)
            await phone.start()
            await phone.registered()
        phones["dora"].send("dial", f"sip:alice@{HOST}")
        await phones["alice"].event("CALL_INCOMING")
        phones["alice"].send("accept")
        await phones["dora"].event("CALL_ESTABLISHED")
        phones["alice"].send("hangup")
        await phones["dora"].event("CALL_CLOSED")
        for phone in phones.values():
            await phone.stop()
        (record,) = await server.finish()
        self.assertEqual((record["user"], record["status"]), ("dora", 200))

    async def test_who_is_who(self) -> None:
        """FreeRADIUS decides: right and wrong passwords, strangers, and names that are somebody else's."""
        server = await self.begin()
        dora = Asking(self, server.port, "dora", "explorer")
        self.assertEqual((await dora.register()).status, 200)
        for user, password, expected in (
            ("dora", "wrong", 401),
            ("nobody", "x", 401),
            ("alice", USERS["alice"], 200),
        ):
            self.assertEqual(await self.status(server, user, password), expected, user)
        # Who has proved to be a user is one, registered or not; FreeRADIUS does not say who else is.
        await dora.register(0)
        alice = Asking(self, server.port, "alice", USERS["alice"])
        self.assertEqual((await alice.call("dora")).status, 480)
        self.assertEqual((await alice.call("erik")).status, 404)
        await server.finish()

    async def test_goes_away(self) -> None:
        """Silent or gone, FreeRADIUS is a 503 with Retry-After, and nobody passes; back, it is asked at once."""
        server = await self.begin()
        self.assertEqual(await self.status(server, "dora", "explorer"), 200)
        self.radius.freeze()
        refused = await Asking(self, server.port, "dora", "explorer").register()
        self.assertEqual((refused.status, refused.reason), (503, "RADIUS Out Of Reach"))
        self.assertEqual(refused.headers.get("Retry-After"), "10")
        self.assertEqual(await self.status(server, "alice", USERS["alice"]), 200)
        self.radius.thaw()
        await self.pause(0.5)
        self.assertEqual(await self.status(server, "dora", "explorer"), 200)
        await self.radius.kill()
        self.assertEqual(await self.status(server, "dora", "explorer"), 503)
        await self.radius.start()
        self.assertEqual(await self.status(server, "dora", "explorer"), 200)
        self.assertEqual(await self.status(server, "dora", "wrong"), 401)
        await server.finish(expected="no RADIUS server answers")
        self.assertEqual(server.program.output.count(b"RADIUS answers again"), 2)
