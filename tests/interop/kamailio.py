"""Kamailio as the registrar and proxy of a carrier: digest, short bindings, calls to whoever is registered."""

from __future__ import annotations

from tests.interop.case import InteropTestCase
from tests.interop.kamailio_program import KamailioProgram
from tests.ports import HOST

#: The domain that it serves, and the account that everybody has.
DOMAIN, USER, PASSWORD = "carrier.test", "4930123", "carriers-secret"
#: Seconds that a binding lasts, and a nonce: it grows old between refreshes.
EXPIRES, NONCE_EXPIRES = 4, 1

_CONFIGURATION = """\
alias="{domain}"
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
enable_tls=no

modparam("usrloc", "db_mode", 0)
modparam("usrloc", "timer_interval", 1)
modparam("registrar", "max_expires", {expires})
modparam("registrar", "min_expires", 2)
modparam("registrar", "default_expires", {expires})
modparam("auth", "nonce_expire", {nonce_expires})

request_route {{
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    if (has_totag()) {{
        if (loose_route() || is_method("ACK")) t_relay();
        exit;
    }}
    if (is_method("OPTIONS")) {{
        sl_send_reply("200", "OK");
        exit;
    }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("$td", "{password}", "0")) {{
            xlog("L_NOTICE", "register challenged cseq=$cs call=$ci has=$hdr(Authorization)\\n");
            www_challenge("$td", "0");
            exit;
        }}
        append_to_reply("Service-Route: <sip:{host}:{port};lr;edge=1>\r\n");
        if (!save("location")) exit;
        xlog("L_NOTICE", "register saved cseq=$cs call=$ci expires=$hdr(Expires) contact=$ct\\n");
        exit;
    }}
    # A call of whoever is registered comes with the Service-Route that it was told.
    if (is_method("INVITE")) xlog("L_NOTICE", "invite $rU route=$hdr(Route)\\n");
    loose_route();
    if (is_method("INVITE")) record_route();
    if ($rU == "{user}") {{
        if (!lookup("location")) {{
            sl_send_reply("404", "Not Found");
            exit;
        }}
        t_relay();
        exit;
    }}
    # What comes from whoever is registered goes to the callee.
    if (!pv_proxy_authenticate("{domain}", "{password}", "0")) {{
        proxy_challenge("{domain}", "0");
        exit;
    }}
    consume_credentials();
    xlog("L_NOTICE", "called $rU from $fU\\n");
    $du = "sip:{host}:{callee_port}";
    t_relay();
}}
"""


class Kamailio(KamailioProgram):
    """A Kamailio of one test, on UDP and TCP. Its bindings are in memory: a restart forgets them.

    Args:
        case: the test that it runs in.
        callee_port: where calls go that are for nobody who is registered.
    """

    def __init__(self, case: InteropTestCase, callee_port: int = 9) -> None:
        super().__init__(case, ("usrloc", "registrar", "auth"))
        self.configure(
            _CONFIGURATION.format(
                host=HOST,
                port=self.port,
                domain=DOMAIN,
                user=USER,
                password=PASSWORD,
                expires=EXPIRES,
                nonce_expires=NONCE_EXPIRES,
                callee_port=callee_port,
            )
        )

    async def saved(self, count: int, limit: float = 20.0) -> list[str]:
        """Wait until it has saved so many bindings, or removals, since its start; give a line of each.

        Raises:
            ProgramError: it does not.
        """
        assert self.program is not None
        await self.program.says(rf"(?s)(register saved.*?){{{count}}}\n", limit)
        return self.lines("register saved")
