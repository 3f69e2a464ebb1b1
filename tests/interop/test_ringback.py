"""A phone hears a tone of ours while it rings: baresip, which records what it hears."""

from __future__ import annotations

from tests.interop.baresip import Account, Phone
from tests.interop.calls import TALK, assert_heard
from tests.interop.capture import find_faults
from tests.interop.case import InteropTestCase
from tests.interop.server import USERS, Server
from tests.interop.test_features import TONES_HZ, all_of
from tests.interop.tones import RATE_HZ, share_of_tone

#: Of the tone that is played, and what it is called.
_TONE_HZ = 425.0
_SOUND = "tone:eu:dial"


class RingbackTests(InteropTestCase):
    """Alice calls Bob, to whom a route with a tone leads; both are baresip."""

    programs = ("baresip", "tshark")

    async def ring(self) -> None:
        """Start all, and let it ring until Alice has heard enough of that."""
        self.server = Server(self)
        self.alice, self.bob = (
            Phone(
                self,
                Account(user="alice", server=self.server.address, password=USERS["alice"]),
                TONES_HZ["alice"],
            ),
            Phone(self, Account(user="bob"), TONES_HZ["bob"]),
        )
        self.server.add_route("rings", "bob", self.bob.port)
        self.server.configure(f'ringback = "{_SOUND}"\n')
        await self.server.start()
        await all_of(self.alice.start(), self.bob.start())
        await self.alice.registered()
        self.alice.send("dial", f"sip:bob@{self.server.host}")
        await self.bob.event("CALL_INCOMING")
        await self.alice.event("CALL_PROGRESS")
        await self.pause(TALK)

    async def finish(self) -> None:
        """End the phones and sipd."""
        await all_of(self.alice.stop(), self.bob.stop())
        await self.server.finish()
        self.assertEqual(await find_faults(self, self.server), [])

    async def test_no_answer(self) -> None:
        """The caller hears the tone until it gives up, and nothing else."""
        await self.ring()
        self.alice.send("hangup")
        for phone in (self.alice, self.bob):
            await phone.event("CALL_CLOSED")
        await self.pause(0.2)
        assert_heard(self, self.alice, _TONE_HZ)
        await self.finish()

    async def test_answer(self) -> None:
        """The caller hears the tone and then the callee, who hears the caller."""
        await self.ring()
        self.bob.send("accept")
        for phone in (self.alice, self.bob):
            await phone.event("CALL_ESTABLISHED")
        await self.pause(TALK)
        self.alice.send("hangup")
        for phone in (self.alice, self.bob):
            await phone.event("CALL_CLOSED")
        await self.pause(0.2)
        assert_heard(self, self.bob, self.alice.tone_hz)
        heard = self.alice.take_recording()
        least = round(TALK * RATE_HZ / 2)
        self.assertGreater(share_of_tone(heard[:least], _TONE_HZ), 0.9)
        self.assertGreater(share_of_tone(heard[-least:], self.bob.tone_hz), 0.9)
        await self.finish()
