"""SIPp writes to SIPp through sipd."""

from __future__ import annotations

from tests.interop.case import InteropTestCase
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp


class RoutedMessageTests(InteropTestCase):
    """Messages by a static route that asks for no credentials."""

    programs = ("sipp",)

    async def write(self, status: int) -> None:
        """Send one message, which is answered like that."""
        server = Server(self)
        port = self.ports.take()
        server.add_route("sipp", "callee", port)
        await server.start()
        reading = Sipp(self, "uas_reads", port=port, status=status)
        await reading.listens()
        writing = Sipp(self, "uac_writes_openly", port=self.ports.take(), target=server.address, status=status)
        await writing.succeeds()
        await reading.succeeds()
        self.assertEqual(await server.finish(), [])

    async def test_taken(self) -> None:
        """Text, type and subject arrive as they were, and the 200 comes back."""
        await self.write(200)

    async def test_accepted(self) -> None:
        """A 202 comes back as one."""
        await self.write(202)

    async def test_refused(self) -> None:
        """A refusal comes back."""
        await self.write(488)

    async def test_long(self) -> None:
        """More than 1300 octets go on over TCP, although the route says nothing of it."""
        server = Server(self)
        port = self.ports.take()
        server.add_route("sipp", "callee", port)
        await server.start()
        reading = Sipp(self, "uas_reads", port=port, status=200, transport="t1")
        await reading.listens()
        writing = Sipp(
            self, "uac_writes_at_length", port=self.ports.take(), target=server.address, status=200, transport="t1"
        )
        await writing.succeeds()
        await reading.succeeds()
        self.assertEqual(await server.finish(), [])

    async def test_too_long(self) -> None:
        """Where only UDP is spoken the sender of as much is told 513, and nothing comes."""
        server = Server(self)
        port = self.ports.take()
        server.add_route("sipp", "callee", port)
        await server.start()
        reading = Sipp(self, "uas_reads", port=port, status=200)
        await reading.listens()
        writing = Sipp(
            self, "uac_writes_at_length", port=self.ports.take(), target=server.address, status=513, transport="t1"
        )
        await writing.succeeds()
        self.assertIsNone(reading.program.exit_status)
        self.assertEqual(await server.finish(), [])

    async def test_nobody_there(self) -> None:
        """Where nobody listens the sender is told 502 at once."""
        server = Server(self)
        server.add_route("nowhere", "callee", self.ports.take())
        await server.start()
        writing = Sipp(self, "uac_writes_openly", port=self.ports.take(), target=server.address, status=502)
        await writing.succeeds()
        self.assertEqual(await server.finish(), [])


class AuthenticatedMessageTests(InteropTestCase):
    """Messages between users."""

    programs = ("sipp",)

    async def test_to_a_registered_user(self) -> None:
        """A message to a registered user is challenged, and arrives with the right password."""
        server = Server(self)
        await server.start()
        port = self.ports.take()
        registering = Sipp(
            self,
            "register",
            port=port,
            target=server.address,
            service="bob",
            credentials=("bob", USERS["bob"]),
            digest_uri=server.host,
        )
        await registering.succeeds()
        reading = Sipp(self, "uas_reads", port=port, status=200)
        await reading.listens()
        await self.write(server, 200).succeeds()
        await reading.succeeds()
        self.assertEqual(await server.finish(), [])

    async def test_to_nobody(self) -> None:
        """A user without a phone gives 480."""
        server = Server(self)
        await server.start()
        await self.write(server, 480).succeeds()
        self.assertEqual(await server.finish(), [])

    def write(self, server: Server, status: int) -> Sipp:
        """Write to bob as alice."""
        return Sipp(
            self,
            "uac_writes",
            port=self.ports.take(),
            target=server.address,
            service="bob",
            caller="alice",
            credentials=("alice", USERS["alice"]),
            digest_uri=f"bob@{server.address}",
            status=status,
        )
