"""SIP over WebSocket with others (RFC 7118): Kamailio as a server."""

from __future__ import annotations

from sipd.phone.account import Account
from sipd.phone.phone import Phone
from tests.interop.case import InteropTestCase
from tests.interop.kamailio_program import KamailioProgram
from tests.ports import HOST

_CONFIGURATION = """\
tcp_accept_no_cl=yes
listen=tcp:{host}:{port}
alias="kamailio.test"
modparam("nathelper|registrar", "received_avp", "$avp(RECEIVED)")

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

    def phone(self, user: str, port: int) -> Phone:
        """Start a phone that speaks WebSocket alone."""
        account = Account(f"sip:{user}@kamailio.test", proxy=f"sip:{HOST}:{port};transport=ws", register=True)
        phone = Phone(self.reactor, listen=f"ws:{HOST}:{self.ports.take()}:path=/sip", account=account)
        phone.startService()
        self.addCleanup(phone.stopService)
        return phone

    async def test_call(self) -> None:
        """They register, and one calls the other one through it; the one that is called hangs up."""
        modules = ("usrloc", "registrar", "nathelper", "xhttp", "websocket")
        kamailio = KamailioProgram(self, modules, "kamailio-websocket-modules")
        port = kamailio.port
        kamailio.configure(_CONFIGURATION.format(host=HOST, port=port))
        await kamailio.start()
        assert kamailio.program is not None
        alice, bob = self.phone("alice", port), self.phone("bob", port)
        await alice.when_ready()
        await bob.when_ready()
        await kamailio.program.says("saved bob over ws")
        calling = alice.dial("bob")
        incoming = await anext(bob.incoming())
        await incoming.answer()
        call = await calling
        incoming.hang_up()
        await call.ended
