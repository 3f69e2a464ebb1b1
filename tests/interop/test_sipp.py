"""SIPp calls SIPp through sipd: every way a call can go."""

from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from tests.interop.case import InteropTestCase
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp
from tests.interop.wire import LossyWire
from tests.ports import HOST

LOSS = 0.05


class RoutedCallTests(InteropTestCase):
    """Calls by a static route that asks for no credentials."""

    programs = ("sipp",)
    timeout = 90

    async def call(
        self, caller: str, callee: str, *, status: int = 0, host: str = HOST, timeout: float = 30.0
    ) -> dict[str, object]:
        """Make one call; both ends must see what their scenarios say. Give its record."""
        server = Server(self, host)
        port = self.ports.take(host)
        server.add_route("sipp", "callee", port, timeout=timeout)
        await server.start()
        called = Sipp(self, callee, port=port, host=host)
        await called.listens()
        calling = Sipp(self, caller, port=self.ports.take(host), host=host, target=server.address, status=status)
        await calling.succeeds()
        await called.succeeds()
        (record,) = await server.finish()
        return record

    async def test_answered(self) -> None:
        """A call is answered, and ended by the caller."""
        record = await self.call("uac_answered", "uas_answers")
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def test_callee_hangs_up(self) -> None:
        """A call is answered, and ended by the callee."""
        record = await self.call("uac_is_hung_up_on", "uas_hangs_up")
        self.assertEqual((record["status"], record["ended_by"]), (200, "callee"))

    async def test_ipv6(self) -> None:
        """The same over IPv6."""
        record = await self.call("uac_answered", "uas_answers", host="::1")
        self.assertEqual(record["status"], 200)

    async def test_busy(self) -> None:
        """A busy callee's 486 reaches the caller."""
        record = await self.call("uac_refused", "uas_busy", status=486)
        self.assertEqual(record["status"], 486)

    async def test_cancelled(self) -> None:
        """A caller that gives up while it rings gets its 487, and the callee a CANCEL."""
        record = await self.call("uac_cancels", "uas_cancelled")
        self.assertEqual(record["status"], 487)

    async def test_no_answer(self) -> None:
        """A callee that rings too long is cancelled, and the caller told 480."""
        record = await self.call("uac_refused", "uas_cancelled", status=480, timeout=2.0)
        self.assertEqual(record["status"], 480)

    async def test_digits(self) -> None:
        """Digits that either side says by INFO reach the other as they are, and each is answered."""
        record = await self.call("uac_dials", "uas_is_dialled")
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def test_reliable_and_refreshed(self) -> None:
        """PRACK, UPDATE and session timers, each leg by itself: RSeq and intervals differ, the hold crosses."""
        record = await self.call("uac_insists", "uas_is_sure")
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def test_unreachable(self) -> None:
        """Where nobody listens the caller is told so at once: 502."""
        server = Server(self)
        server.add_route("nowhere", "callee", self.ports.take())
        await server.start()
        calling = Sipp(self, "uac_refused", port=self.ports.take(), target=server.address, status=502)
        await calling.succeeds()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["cause"]), (502, "ConnectionRefused"))

    async def test_silent(self) -> None:
        """A callee that says nothing: the caller is told 408 when the attempt is over."""
        server = Server(self)
        port = self.ports.take()
        silent = IReactorUDP(self.reactor).listenUDP(port, DatagramProtocol(), HOST, 8192)
        self.addCleanup(silent.stopListening)
        server.add_route("nowhere", "callee", port, timeout=1.0)
        await server.start()
        calling = Sipp(self, "uac_refused", port=self.ports.take(), target=server.address, status=408)
        await calling.succeeds()
        (record,) = await server.finish()
        self.assertEqual(record["status"], 408)

    async def test_loss(self) -> None:
        """Of a hundred calls at 20 a second none fails when both legs lose every twentieth message."""
        await self.lossy("uac_answered", "uas_answers")

    async def test_loss_of_what_is_reliable(self) -> None:
        """The same with PRACK and UPDATE on both legs."""
        await self.lossy("uac_insists", "uas_is_sure")

    async def lossy(self, caller: str, callee: str) -> None:
        """Make a hundred calls, both legs of which lose messages."""
        server = Server(self)
        port, caller_port = self.ports.take(), self.ports.take()
        callee_wire = LossyWire(IReactorUDP(self.reactor), self.ports.take(), port, LOSS, seed=1)
        caller_wire = LossyWire(IReactorUDP(self.reactor), self.ports.take(), server.port, LOSS, seed=2)
        server.add_route("sipp", "callee", callee_wire.port)
        await server.start()
        for wire in (callee_wire, caller_wire):
            self.addCleanup(wire.close)
        called = Sipp(self, callee, port=port, contact_port=callee_wire.port, calls=100, linger=8, limit=60)
        await called.listens()
        target = f"{HOST}:{caller_wire.port}"
        calling = Sipp(self, caller, port=caller_port, target=target, calls=100, rate=20, limit=60)
        await calling.succeeds()
        await called.succeeds()
        for wire in (callee_wire, caller_wire):
            self.assertGreater(wire.lost, 0)
        self.assertEqual([record["status"] for record in await server.finish()], [200] * 100)


class AuthenticatedCallTests(InteropTestCase):
    """Calls to a registered user, by users who must prove who they are."""

    programs = ("sipp",)

    async def prepare(self, calls: int = 1) -> tuple[Server, Sipp]:
        """Start sipd, register SIPp as bob, and let it wait there."""
        server = Server(self)
        await server.start()
        port = self.ports.take()
        credentials = ("bob", USERS["bob"])
        registering = Sipp(
            self,
            "register",
            port=port,
            target=server.address,
            service="bob",
            credentials=credentials,
            digest_uri=HOST,
        )
        await registering.succeeds()
        called = Sipp(self, "uas_answers", port=port, calls=calls)
        await called.listens()
        return server, called

    def dial(self, server: Server, password: str, scenario: str = "uac_authenticated") -> Sipp:
        """Call bob as alice."""
        port, credentials = self.ports.take(), ("alice", password)
        return Sipp(
            self,
            scenario,
            port=port,
            target=server.address,
            service="bob",
            caller="alice",
            credentials=credentials,
            digest_uri=f"bob@{server.address}",
        )

    async def test_challenged(self) -> None:
        """A call to a registered user is challenged, and goes through with the right password."""
        server, called = await self.prepare()
        await self.dial(server, USERS["alice"]).succeeds()
        await called.succeeds()
        (record,) = [record for record in await server.finish() if record["answered_at"]]
        self.assertEqual((record["user"], record["status"]), ("alice", 200))

    async def test_wrong_password(self) -> None:
        """With a wrong password the caller is challenged again, and nobody's phone rings."""
        server, called = await self.prepare()
        await self.dial(server, "guess", "uac_wrong_password").succeeds()
        self.assertIsNone(called.program.exit_status)
        self.assertEqual([record for record in await server.finish() if record["answered_at"]], [])
