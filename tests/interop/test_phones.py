"""Two baresip phones register at sipd and call each other: over each transport, with sound in both directions."""

from tests.interop.baresip import Account, Phone
from tests.interop.calls import talk_as_each
from tests.interop.case import InteropTestCase
from tests.interop.programs import ProgramError
from tests.interop.server import USERS, Server
from tests.ports import HOST

TONES_HZ = {"alice": 440.0, "bob": 1000.0}


class PhoneTests(InteropTestCase):
    """Digest, registration, two calls, each ended by another side, and one record for each."""

    programs = ("baresip",)

    async def phone(self, server: Server, user: str, transport: str, password: str = "") -> Phone:
        """Start a phone and let it register."""
        port = server.tls_port if transport == "tls" else server.port
        account = Account(
            user=user,
            server=f"{HOST}:{port}",
            transport=transport,
            password=password or USERS[user],
            authority=server.certificate if transport == "tls" else None,
        )
        phone = Phone(self, account, TONES_HZ[user])
        await phone.start()
        return phone

    async def two_calls(self, caller_transport: str, callee_transport: str) -> None:
        """Let alice call bob and hang up, then bob call alice and alice hang up."""
        server = Server(self)
        await server.start()
        alice = await self.phone(server, "alice", caller_transport)
        bob = await self.phone(server, "bob", callee_transport)
        records = await talk_as_each(self, server, alice, bob)
        for record in records:
            self.assertTrue(all(stream["packets"] for stream in record["media"]), record)

    async def test_udp(self) -> None:
        """Both phones on UDP."""
        await self.two_calls("udp", "udp")

    async def test_tcp(self) -> None:
        """Both phones on TCP."""
        await self.two_calls("tcp", "tcp")

    async def test_tls(self) -> None:
        """Both phones on TLS, with the server's certificate as the one that they trust."""
        await self.two_calls("tls", "tls")

    async def test_udp_to_tls(self) -> None:
        """One phone on UDP, the other on TLS."""
        await self.two_calls("udp", "tls")

    async def test_wrong_password(self) -> None:
        """A phone with a wrong password does not register."""
        server = Server(self)
        await server.start()
        alice = await self.phone(server, "alice", "udp", password="guess")
        await alice.says("401 Unauthorized")
        with self.assertRaises(ProgramError):
            await alice.registered(limit=2)

    async def test_busy(self) -> None:
        """A callee that declines: the caller is told why, and nothing is left."""
        server = Server(self)
        await server.start()
        alice, bob = [await self.phone(server, user, "udp") for user in ("alice", "bob")]
        for phone in (alice, bob):
            await phone.registered()
        alice.send("dial", f"sip:bob@{HOST}")
        await bob.event("CALL_INCOMING")
        bob.send("hangup")
        closed = await alice.event("CALL_CLOSED")
        self.assertIn("486", closed["param"])
        for phone in (alice, bob):
            await phone.stop()
        self.assertEqual([record["status"] for record in await server.finish()], [486])
