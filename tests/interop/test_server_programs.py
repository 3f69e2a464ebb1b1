"""The servers that tests use beside SIP: they come up, go away, and come back with what they had."""

from __future__ import annotations

import os
import socket

from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket

from tests.interop.case import InteropTestCase
from tests.interop.servers import PostgresServer, RadiusServer

_DICTIONARY = "/usr/share/freeradius/dictionary.rfc2866"


class PostgresServerTests(InteropTestCase):
    """PostgreSQL."""

    async def test_keeps_what_was_committed(self) -> None:
        """Killed or stopped, it comes back on the same port with what was committed; its directory is its own."""
        server = PostgresServer(self)
        await server.start()
        server.query("CREATE TABLE kept (name text)")
        for name, lose in (("a", server.kill), ("b", server.stop)):
            server.query("INSERT INTO kept VALUES (%s)", name)
            await lose()
            await server.start()
        self.assertEqual(server.query("SELECT name FROM kept ORDER BY name"), [("a",), ("b",)])
        self.assertEqual(os.stat(server.directory / "data").st_mode & 0o077, 0)


class RadiusServerTests(InteropTestCase):
    """FreeRADIUS."""

    async def test_accounts(self) -> None:
        """It answers an accounting request and writes it down; frozen and killed it answers nothing."""
        server = RadiusServer(self)
        await server.start()
        self.assertTrue(await self.account(server, "one"))
        server.freeze()
        self.assertFalse(await self.account(server, "two"))
        server.thaw()
        await server.kill()
        self.assertFalse(await self.account(server, "three"))
        await server.start()
        self.assertTrue(await self.account(server, "four"))
        sessions = [request["Acct-Session-Id"][0] for request in server.accounting()]
        self.assertEqual((sessions[0], sessions[-1]), ("one", "four"))
        self.assertNotIn("three", sessions)

    async def account(self, server: RadiusServer, session: str) -> bool:
        """Send one accounting request; say whether it was answered."""
        packet = AcctPacket(secret=server.secret.encode(), dict=Dictionary(_DICTIONARY))
        packet["Acct-Status-Type"] = "Start"
        packet["Acct-Session-Id"] = session
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.connect((server.host, server.accounting_port))
            sender.send(packet.RequestPacket())
            for _ in range(20):
                await self.pause(0.05)
                try:
                    return sender.recv(4096)[0] == 5
                except BlockingIOError:
                    continue
                except ConnectionRefusedError:
                    return False
        return False
