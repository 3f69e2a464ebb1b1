"""Kamailio as a presence server: digest, states that are published, and those who watch them, for short times."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.interop.case import InteropTestCase
from tests.interop.kamailio_program import KamailioProgram
from tests.ports import HOST

#: What everybody's password is.
PASSWORD = "servers-secret"
#: Seconds: the shortest and the longest time that is granted.
SHORTEST, LONGEST = 4, 8
#: The tables that it wants to find, empty, and what says which version each has.
_TABLES = Path("/usr/share/kamailio/dbtext/kamailio")
_NAMES = ("version", "presentity", "active_watchers", "watchers", "xcap")

_CONFIGURATION = """\
alias="{host}"
listen=udp:{host}:{port}
enable_tls=no

modparam("presence|presence_xml", "db_url", "text://{tables}")
modparam("presence_xml", "force_active", 1)
modparam("presence", "server_address", "sip:{host}:{port}")
modparam("presence", "min_expires", {shortest})
modparam("presence", "min_expires_action", 1)
modparam("presence", "max_expires", {longest})
modparam("presence", "clean_period", 2)
modparam("presence", "db_update_period", 2)

request_route {{
    if (has_totag()) {{
        if (is_method("SUBSCRIBE")) {{
            xlog("L_NOTICE", "refreshed $fU expires=$hdr(Expires)\\n");
            handle_subscribe();
            exit;
        }}
        if (loose_route()) t_relay();
        exit;
    }}
    if (!pv_proxy_authenticate("{host}", "{password}", "0")) {{
        proxy_challenge("{host}", "0");
        exit;
    }}
    consume_credentials();
    if (!t_newtran()) {{
        sl_reply_error();
        exit;
    }}
    if (is_method("PUBLISH")) {{
        xlog("L_NOTICE", "published $fU expires=$hdr(Expires) tag=$hdr(SIP-If-Match)\\n");
        handle_publish();
        exit;
    }}
    if (is_method("SUBSCRIBE")) {{
        xlog("L_NOTICE", "subscribed $fU expires=$hdr(Expires)\\n");
        handle_subscribe();
        exit;
    }}
    t_reply("405", "Method Not Allowed");
}}
"""


class KamailioPresence(KamailioProgram):
    """A presence server of one test, on UDP.

    Args:
        case: the test that it runs in; skipped where Kamailio, or its modules for presence, are not installed.
    """

    def __init__(self, case: InteropTestCase) -> None:
        super().__init__(case, ("auth", "db_text", "presence", "presence_xml"), "kamailio-presence-modules")
        tables = self.directory / "tables"
        tables.mkdir()
        for name in _NAMES:
            shutil.copy(_TABLES / name, tables)
        self.configure(
            _CONFIGURATION.format(
                host=HOST, port=self.port, tables=tables, shortest=SHORTEST, longest=LONGEST, password=PASSWORD
            )
        )
