"""Kamailio as a presence server: digest, states that are published, and those who watch them, for short times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.interop.case import InteropTestCase
from tests.interop.ports import HOST
from tests.interop.programs import REQUIRED_VARIABLE, MissingProgramError, Program, find_program

#: What everybody's password is.
PASSWORD = "servers-secret"
#: Seconds: the shortest and the longest time that is granted.
SHORTEST, LONGEST = 4, 8
_START_LIMIT = 40.0
_STOP_LIMIT = 10.0
#: The tables that it wants to find, empty, and what says which version each has.
_TABLES = Path("/usr/share/kamailio/dbtext/kamailio")
_NAMES = ("version", "presentity", "active_watchers", "watchers", "xcap")

_CONFIGURATION = """\
debug=2
log_stderror=yes
children=2
auto_aliases=no
alias="{host}"
listen=udp:{host}:{port}
enable_tls=no

loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "auth.so"
loadmodule "db_text.so"
loadmodule "presence.so"
loadmodule "presence_xml.so"

modparam("presence|presence_xml", "db_url", "text://{tables}")
modparam("presence_xml", "force_active", 1)
modparam("presence", "server_address", "sip:{host}:{port}")
modparam("presence", "min_expires", {shortest})
modparam("presence", "min_expires_action", 1)
modparam("presence", "max_expires", {longest})
modparam("presence", "clean_period", 2)
modparam("presence", "db_update_period", 2)

event_route[core:worker-one-init] {{
    xlog("L_NOTICE", "ready to serve\\n");
}}

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


class KamailioPresence:
    """A presence server of one test, on UDP.

    Args:
        case: the test that it runs in; skipped where Kamailio, or its modules for presence, are not installed.
    """

    def __init__(self, case: InteropTestCase) -> None:
        self.port = case.ports.take()
        self._case = case
        self._path = find_program("kamailio", {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"})
        _find_modules()
        self._directory = case.directory / "kamailio"
        tables = self._directory / "tables"
        tables.mkdir(parents=True)
        for name in _NAMES:
            shutil.copy(_TABLES / name, tables)
        self._file = self._directory / "kamailio.cfg"
        self._file.write_text(
            _CONFIGURATION.format(
                host=HOST, port=self.port, tables=tables, shortest=SHORTEST, longest=LONGEST, password=PASSWORD
            )
        )
        self.program: Program | None = None

    async def start(self) -> None:
        """Start it, and wait until it serves."""
        self.program = self._case.start(
            self._path, "-f", str(self._file), "-DD", "-E", "-m", "32", "-M", "4", "-Y", str(self._directory)
        )
        await self.program.says("ready to serve", _START_LIMIT)

    async def stop(self) -> None:
        """Stop it."""
        assert self.program is not None
        self.program.send_signal("TERM")
        await self.program.ends(_STOP_LIMIT)

    def lines(self, words: str) -> list[str]:
        """Give what follows these words in each line of its log that has them."""
        assert self.program is not None
        lines = self.program.output.decode(errors="replace").splitlines()
        return [line.partition(words)[2].strip() for line in lines if words in line]


def _find_modules() -> None:
    """Look for the modules, as `find_program` does for a program."""
    if any(Path("/usr/lib").glob("*/kamailio/modules/presence_xml.so")):
        return
    advice = "Kamailio's presence is not installed (Debian package kamailio-presence-modules)"
    if os.environ.get(REQUIRED_VARIABLE) == "1":
        raise MissingProgramError(f"{advice}, and {REQUIRED_VARIABLE}=1 says that it must be")
    raise SkipTest(advice)
