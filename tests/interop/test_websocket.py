"""SIP over WebSocket with others (RFC 7118): Kamailio as a server."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SkipTest

from sipd.phone.account import Account
from sipd.phone.phone import Phone
from tests.interop.case import InteropTestCase
from tests.interop.ports import HOST
from tests.interop.programs import REQUIRED_VARIABLE, MissingProgramError, find_program

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
