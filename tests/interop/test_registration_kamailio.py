"""sipd registers at a Kamailio, and calls go both ways by that trunk."""

from __future__ import annotations

from tests.interop.case import InteropTestCase
from tests.interop.kamailio import DOMAIN, EXPIRES, PASSWORD, USER, Kamailio
from tests.interop.server import Server
from tests.interop.sipp import Sipp
from tests.ports import HOST

#: Not the address of the registrar: what comes from there is the trunk's.
CALLER = "127.0.0.2"

_TRUNK = """
[[trunks]]
name = "carrier"
credentials = {{ username = "{user}", password = "{password}" }}
[trunks.registration]
aor = "sip:{user}@{domain}"
registrars = ["sip:{host}:{port}{parameters}"]
retry = 0.5
retry_limit = 1.0
empty_lines = 1.0
[trunks.health]
interval = 1.0
failures = 2
successes = 1
"""

_ROUTES = """
[[routes]]
name = "in"
from_trunks = ["carrier"]
to = "sip:callee@sipp.invalid"
next_hop = "sip:{host}:{callee_port}"

[[routes]]
name = "out"
sources = ["{caller}"]
authenticate = false
user = "callee"
trunks = ["carrier"]
"""


class KamailioCase(InteropTestCase):
    """A Kamailio, and an sipd with a trunk to it."""

    programs = ("sipp",)
    timeout = 90

    async def begin(self, *, transport: str = "udp", password: str = PASSWORD) -> tuple[Kamailio, Server]:
        """Start both; sipd begins to register."""
        self.callee_port = self.ports.take()
        kamailio, server = Kamailio(self, self.callee_port), Server(self)
        parameters = "" if transport == "udp" else f";transport={transport}"
        server.configure(
            _TRUNK.format(
                user=USER,
                password=password,
                domain=DOMAIN,
                host=HOST,
                port=kamailio.port,
                parameters=parameters,
            )
            + _ROUTES.format(host=HOST, caller=CALLER, callee_port=self.callee_port)
        )
        await kamailio.start()
        await server.start()
        return kamailio, server


class RegistrationTests(KamailioCase):
    """The registration."""

    async def life(self, transport: str) -> None:
        """Register, refresh, lose the registrar, find it again, unregister."""
        kamailio, server = await self.begin(transport=transport)
        log = server.program
        await log.says(rf"trunk carrier: registered at sip:{HOST}:{kamailio.port}\S* for {EXPIRES} s")
        lines = await kamailio.saved(4)
        self.assertEqual(len({line.partition("call=")[2].split(" ")[0] for line in lines}), 1, lines)
        numbers = [int(line.partition("cseq=")[2].split(" ")[0]) for line in lines]
        self.assertEqual(numbers, sorted(set(numbers)), lines)
        contacts = {line.partition("contact=")[2] for line in lines}
        self.assertEqual(len(contacts), 1, contacts)
        # The nonce grows old between two refreshes, so that each is challenged anew, and answers by itself.
        self.assertGreaterEqual(len(kamailio.lines("register challenged")), 3)

        await kamailio.stop()
        await log.says(r"trunk carrier: not registered at \S+: ", 20.0)
        await log.says("trunk carrier: the registration has expired", 20.0)
        await log.says(r"trunk carrier: sip:\S+ is down: ", 20.0)
        before = len(log.output)
        await kamailio.start()
        await kamailio.saved(2)
        self.assertIn(b"trunk carrier: registered at", log.output[before:])
        self.assertIn(b" is up: it answers", log.output[before:])

        await server.finish()
        self.assertIn(b"trunk carrier: unregistered\n", log.output)
        last = kamailio.lines("register saved")[-1]
        self.assertIn(" expires=0 ", last)

    async def test_over_udp(self) -> None:
        """Registered with digest, refreshed with stale nonces, anew after a restart of the registrar, unregistered."""
        await self.life("udp")

    async def test_over_tcp(self) -> None:
        """The same on a connection, which ends with the registrar and is made again."""
        await self.life("tcp")

    async def test_wrong_password(self) -> None:
        """It is said once, and not tried without end."""
        kamailio, server = await self.begin(password="misremembered")
        await server.program.says(
            r"trunk carrier: not registered at \S+: 401 Unauthorized, with these credentials; tried again in 1 s"
        )
        await server.finish()
        self.assertEqual(kamailio.lines("register saved"), [])
        self.assertNotIn(b"misremembered", server.program.output)


class CallTests(KamailioCase):
    """Calls."""

    async def come_in(self, transport: str) -> None:
        """Let a call come in: it is known to be the trunk's, and goes on."""
        kamailio, server = await self.begin(transport=transport)
        await kamailio.saved(1)
        called = Sipp(self, "uas_answers", port=self.callee_port)
        await called.listens()
        target = f"{HOST}:{kamailio.port}"
        calling = Sipp(self, "uac_answered", port=self.ports.take(), target=target, service=USER)
        await calling.succeeds()
        await called.succeeds()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["trunk"], record["route"]), (200, "carrier", "in"))

    async def test_calls_come_in_over_udp(self) -> None:
        """A call to the account reaches sipd by the contact that it has registered."""
        await self.come_in("udp")

    async def test_calls_come_in_over_tcp(self) -> None:
        """The same over TCP."""
        await self.come_in("tcp")

    async def test_calls_go_out_by_the_service_route(self) -> None:
        """A call by the trunk takes the Service-Route, is challenged, and reaches the callee beyond the carrier."""
        kamailio, server = await self.begin()
        await kamailio.saved(1)
        called = Sipp(self, "uas_answers", port=self.callee_port)
        await called.listens()
        port = self.ports.take(CALLER)
        calling = Sipp(self, "uac_answered", port=port, host=CALLER, target=server.address)
        await calling.succeeds()
        await called.succeeds()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["route"]), (200, "out"))
        self.assertEqual([attempt["trunk"] for attempt in record["attempts"]], ["carrier"])
        invites = kamailio.lines("invite callee route=")
        self.assertEqual(set(invites), {f"<sip:{HOST}:{kamailio.port};lr;edge=1>"})
