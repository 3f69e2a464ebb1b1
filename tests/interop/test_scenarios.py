"""The SIPp scenarios against each other: proves them before sipd stands between."""

from twisted.internet.interfaces import IReactorUDP

from tests.interop.case import InteropTestCase
from tests.interop.programs import ProgramError
from tests.interop.script import Callee, Caller, Script, audio, has, sdp
from tests.interop.sipp import Sipp
from tests.interop.wire import LossyWire
from tests.ports import HOST


class ScenarioTests(InteropTestCase):
    """Each scenario that calls meets one that is called."""

    programs = ("sipp",)

    async def meet(
        self, caller: str | Script, callee: str | Script, *, status: int = 0, loss: float = 0.0, calls: int = 1
    ) -> None:
        """Run both; each must see what its scenario says."""
        port = self.ports.take()
        called = Sipp(self, callee, port=port, calls=calls, linger=8 if loss else 0.1, limit=40)
        await called.listens()
        wire = LossyWire(IReactorUDP(self.reactor), self.ports.take(), port, loss, seed=1)
        self.addCleanup(wire.close)
        calling = Sipp(
            self,
            caller,
            port=self.ports.take(),
            target=f"{HOST}:{wire.port}",
            calls=calls,
            rate=20,
            credentials=("alice", "secret"),
            digest_uri="callee@sipp.invalid",
            status=status,
            limit=30,
        )
        await calling.succeeds()
        await called.succeeds()
        self.assertEqual(wire.lost > 0, loss > 0)

    async def test_answered(self) -> None:
        """A call is answered and ended by the caller."""
        await self.meet("uac_answered", "uas_answers")

    async def test_busy(self) -> None:
        """A call is refused with 486."""
        await self.meet("uac_refused", "uas_busy", status=486)

    async def test_digits(self) -> None:
        """Each side says a digit in the call."""
        await self.meet("uac_dials", "uas_is_dialled")

    async def test_wrong_refusal(self) -> None:
        """A call that is refused otherwise than expected fails the test."""
        with self.assertRaises(ProgramError) as caught:
            await self.meet("uac_refused", "uas_busy", status=404)
        self.assertIn("486 Busy Here", str(caught.exception))

    async def test_cancelled(self) -> None:
        """A ringing call is cancelled."""
        await self.meet("uac_cancels", "uas_cancelled")

    async def test_authenticated(self) -> None:
        """A challenged call is made again with credentials."""
        await self.meet("uac_authenticated", "uas_challenges")

    async def test_script(self) -> None:
        """What is written as a script is a scenario: two scripts hold and resume a call."""
        await self.meet(*self.holding("recvonly"))

    async def test_script_that_is_not_followed(self) -> None:
        """A script fails where a message is not as it says."""
        with self.assertRaises(ProgramError) as caught:
            await self.meet(*self.holding("inactive"))
        self.assertIn("Failed regexp match", str(caught.exception))

    def holding(self, direction: str) -> tuple[Caller, Callee]:
        """Give one who puts the other on hold, and expects that answer."""
        caller, callee = Caller("holds"), Callee("held")
        caller.call(sdp(audio()))
        callee.pick_up(sdp(audio()))
        caller.reinvite(sdp(audio("sendonly")), has(f"a={direction}"))
        callee.take(sdp(audio("recvonly")), has("a=sendonly"))
        caller.reinvite(sdp(audio()))
        callee.take(sdp(audio()))
        caller.hang_up()
        callee.end()
        return caller, callee

    async def test_loss(self) -> None:
        """A hundred calls outlive the loss of every twentieth message."""
        await self.meet("uac_answered", "uas_answers", loss=0.05, calls=100)
