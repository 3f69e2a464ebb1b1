"""A gateway of SIPp that asks who calls, again and again, and checks the digest of every request by itself."""

from __future__ import annotations

from tests.interop.pairs import TALK, PairCase
from tests.interop.script import Caller
from tests.interop.server import Server
from tests.interop.sipp import Sipp

_ROUTE = """
[[routes]]
name = "gateway"
user = "guarded"
to = "sip:{{0}}@127.0.0.1:{port}"
authenticate = false
credentials = {{ username = "office", password = "third", realm = "gateway" }}
"""


class ChallengeTests(PairCase):
    """The route to it has credentials."""

    async def test_every_request(self) -> None:
        """INVITE, INFO, re-INVITE and BYE carry right digests, each nonce with its count; the caller sees nothing."""
        server = Server(self)
        port = self.ports.take()
        server.configure(_ROUTE.format(port=port))
        gateway = Sipp(self, "uas_guarded", port=port)
        await server.start()
        await gateway.listens()
        script = Caller("asks-for-much")
        script.call(TALK)
        script.ask("INFO", "Signal=5\nDuration=160\n", "Content-Type: application/dtmf-relay")
        script.get(200)
        script.reinvite(TALK)
        script.hang_up()
        caller = Sipp(self, script, port=self.ports.take(), target=server.address, service="guarded")
        await self.all_succeed(caller, gateway)
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"], record["route"]), (200, "caller", "gateway"))
