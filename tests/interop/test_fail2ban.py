"""fail2ban reads the log of a running sipd by the filter that the operator's guide has."""

from __future__ import annotations

import re
from pathlib import Path

from tests.interop.case import InteropTestCase
from tests.interop.server import Server
from tests.interop.sipp import Sipp

OPERATOR = Path(__file__).resolve().parents[2] / "docs" / "operator.md"


class FilterTests(InteropTestCase):
    """The filter in docs/operator.md."""

    programs = ("fail2ban-regex", "sipp")

    async def check(self, form: str) -> None:
        """Let a phone give a wrong password; each attempt has to be one match."""
        (filter_,) = re.findall(r"(\[Definition\]\nfailregex = .*?)```", OPERATOR.read_text(), re.DOTALL)
        (self.directory / "filter.conf").write_text(filter_)
        server = Server(self)
        server.configure(f'[logging]\nformat = "{form}"\n')
        await server.start()
        target, port = server.address, self.ports.take()
        wrong = Sipp(
            self,
            "uac_wrong_password",
            port=port,
            target=target,
            service="bob",
            caller="alice",
            credentials=("alice", "looking-glass"),
            digest_uri=f"bob@{target}",
        )
        await wrong.succeeds()
        await server.finish()
        log = self.directory / "sipd.log"
        log.write_bytes(server.program.output)
        reading = self.start("fail2ban-regex", str(log), str(self.directory / "filter.conf"))
        await reading.ends(20)
        expected = server.program.output.count(b"security: auth-failed src=127.0.0.1 ")
        self.assertGreater(expected, 0, self.explain())
        await reading.says(f"Failregex: {expected} total")

    async def test_text(self) -> None:
        """In lines for people each attempt is found, once."""
        await self.check("text")

    async def test_json(self) -> None:
        """In lines of JSON, too."""
        await self.check("json")
