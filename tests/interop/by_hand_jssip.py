"""JsSIP, a library for browsers, as a client of WebSocket (RFC 7118).

It comes by npm and is no part of what continuous integration installs: nothing runs this module but its name.

    npm install --prefix build/node jssip@3.13.8 ws@8
    SIPD_JSSIP=build/node .venv/bin/python -W error -b -m twisted.trial tests.interop.by_hand_jssip
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IProcessTransport
from twisted.trial.unittest import SkipTest

from sipd.phone.account import Account
from sipd.phone.phone import Phone
from tests.interop.case import InteropTestCase
from tests.interop.programs import REQUIRED_VARIABLE, MissingProgramError, Program
from tests.interop.server import USERS, Server
from tests.ports import HOST

#: Names the folder in which `npm install jssip ws` was run.
VARIABLE = "SIPD_JSSIP"
_SCRIPT = Path(__file__).with_name("browser.js")


class BrowserTests(InteropTestCase):
    """JsSIP under Node.js as bob, and a phone of UDP as alice; skipped where JsSIP is not said to be."""

    programs = ("node",)

    def setUp(self) -> None:
        """Find JsSIP."""
        folder = os.environ.get(VARIABLE, "")
        if not folder:
            missing = f"{VARIABLE} does not name a folder in which npm has installed jssip and ws"
            raise MissingProgramError(missing) if os.environ.get(REQUIRED_VARIABLE) == "1" else SkipTest(missing)
        self.modules = Path(folder).absolute() / "node_modules"
        super().setUp()

    async def start_all(self) -> tuple[Program, Phone]:
        """Start sipd, a browser's page and a phone, both registered."""
        server = Server(self)
        port = self.ports.take()
        server.configure(
            f'[[listen]]\nname = "ws"\ntransport = "ws"\naddress = "{HOST}"\nport = {port}\npath = "/sip"\n'
        )
        await server.start()
        bob = self.start(
            "node",
            str(_SCRIPT),
            f"ws://{HOST}:{port}/sip",
            "bob",
            USERS["bob"],
            HOST,
            environment={"NODE_PATH": str(self.modules)},
        )
        await bob.says("registered")
        account = Account(f"sip:alice@{HOST}", USERS["alice"], proxy=f"sip:{server.address}", register=True)
        alice = Phone(self.reactor, listen=f"udp:{HOST}:{self.ports.take()}", account=account)
        alice.startService()
        self.addCleanup(alice.stopService)
        await alice.when_ready()
        await server.program.says(r"bob registered sip:\S+\.invalid;transport=ws from \S+ over WS")
        return bob, alice

    def tell(self, browser: Program, words: str) -> None:
        """Let the page do something."""
        cast(IProcessTransport, browser.transport).write(f"{words}\n".encode())

    async def test_calls(self) -> None:
        """It is called, and calls; each side hangs up once, though its name leads nowhere."""
        bob, alice = await self.start_all()
        call = await alice.dial("bob")
        await bob.says("confirmed")
        call.hang_up()
        await bob.says("ended remote")
        self.tell(bob, f"call sip:alice@{HOST}")
        incoming = await anext(alice.incoming())
        await incoming.answer()
        await bob.says("(?s)confirmed.*confirmed")
        self.tell(bob, "hangup")
        await incoming.ended
        await bob.says("ended local")

    async def test_messages(self) -> None:
        """A MESSAGE reaches it on its connection, and one of its own is delivered."""
        bob, alice = await self.start_all()
        self.assertEqual((await alice.message("bob", "hello")).status, 200)
        await bob.says("message hello")
        await bob.says("delivered")
