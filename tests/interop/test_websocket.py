"""SIP over WebSocket with others (RFC 7118): JsSIP as a client, Kamailio as a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

from twisted.internet.interfaces import IProcessTransport
from twisted.trial.unittest import SkipTest

from sipd.phone.account import Account
from sipd.phone.phone import Phone
from tests.interop.case import InteropTestCase
from tests.interop.ports import HOST
from tests.interop.programs import REQUIRED_VARIABLE, MissingProgramError, Program, find_program
from tests.interop.server import USERS, Server

_CONFIGURATION = """\
debug=2
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
tcp_accept_no_cl=yes
listen=tcp:{host}:{port}
alias="kamailio.test"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "nathelper.so"
loadmodule "xhttp.so"
loadmodule "websocket.so"
modparam("nathelper|registrar", "received_avp", "$avp(RECEIVED)")

event_route[core:worker-one-init] {{
    xlog("L_NOTICE", "ready to serve\\n");
}}

event_route[xhttp:request] {{
    set_reply_close();
    set_reply_no_connect();
    if ($hu == "/sip" && ws_handle_handshake()) exit;
    xhttp_reply("404", "Not Found", "", "");
}}

event_route[websocket:closed] {{
    xlog("L_NOTICE", "closed by $si\\n");
}}

request_route {{
    force_rport();
    if (is_method("REGISTER")) {{
        fix_nated_register();
        save("location");
        xlog("L_NOTICE", "saved $tU over $proto\\n");
        exit;
    }}
    if (is_method("INVITE")) {{
        add_contact_alias();
        record_route();
    }}
    if (has_totag()) {{
        loose_route();
        handle_ruri_alias();
    }} else if (!lookup("location")) {{
        sl_send_reply("404", "Not Found");
        exit;
    }}
    t_on_reply("1");
    t_relay();
}}

onreply_route[1] {{
    add_contact_alias();
}}
"""

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


class KamailioTests(InteropTestCase):
    """Phones of ours that register at Kamailio over WebSocket."""

    def setUp(self) -> None:
        """Find Kamailio, which may be in a folder for administrators, and its module."""
        super().setUp()
        environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"}
        self.paths["kamailio"] = find_program("kamailio", environment)
        if not list(Path("/usr/lib").glob("*/kamailio/modules/websocket.so")):
            advice = "Kamailio has no WebSocket (Debian package kamailio-websocket-modules)"
            if environment.get(REQUIRED_VARIABLE) == "1":
                raise MissingProgramError(advice)
            raise SkipTest(advice)

    def phone(self, user: str, port: int) -> Phone:
        """Start a phone that speaks WebSocket alone."""
        account = Account(f"sip:{user}@kamailio.test", proxy=f"sip:{HOST}:{port};transport=ws", register=True)
        phone = Phone(self.reactor, listen=f"ws:{HOST}:{self.ports.take()}:path=/sip", account=account)
        phone.startService()
        self.addCleanup(phone.stopService)
        return phone

    async def test_call(self) -> None:
        """They register, and one calls the other one through it; the one that is called hangs up."""
        port = self.ports.take()
        file = self.directory / "kamailio.cfg"
        file.write_text(_CONFIGURATION.format(host=HOST, port=port))
        kamailio = self.start(
            "kamailio", "-f", str(file), "-DD", "-E", "-m", "32", "-M", "4", "-Y", str(self.directory)
        )
        await kamailio.says("ready to serve", 40.0)
        alice, bob = self.phone("alice", port), self.phone("bob", port)
        await alice.when_ready()
        await bob.when_ready()
        await kamailio.says("saved bob over ws")
        calling = alice.dial("bob")
        incoming = await anext(bob.incoming())
        await incoming.answer()
        call = await calling
        incoming.hang_up()
        await call.ended
