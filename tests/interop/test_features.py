"""What people do with a phone in a call: hold, resume, digits. Whether the sound follows is heard after each step."""

from __future__ import annotations

from tests.interop.baresip import Account, Phone
from tests.interop.calls import connect
from tests.interop.case import InteropTestCase
from tests.interop.ears import ADVERTISED, Ears
from tests.interop.ports import HOST
from tests.interop.script import Caller, audio, sdp
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp

TONES_HZ = {"alice": 440.0, "bob": 1000.0, "carol": 1700.0}


class FeatureTests(InteropTestCase):
    """Two baresip phones."""

    programs = ("baresip", "sipp")

    async def phone(self, server: Server, user: str) -> Phone:
        """Start a phone and let it register."""
        phone = Phone(self, Account(user=user, server=server.address, password=USERS[user]), TONES_HZ[user])
        await phone.start()
        await phone.registered()
        return phone

    async def test_hold_and_digits(self) -> None:
        """Whoever is held, caller or callee, hears nothing until the call is resumed; digits arrive as dialled."""
        server = Server(self, media_host=ADVERTISED, media_ports=20)
        self.ears = Ears(self, server.media_ports)
        await server.start()
        alice, bob = await self.phone(server, "alice"), await self.phone(server, "bob")
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.both_hear(alice, bob)
        for holds in (alice, bob):
            holds.send("hold")
            for phone in (alice, bob):
                await self.ears.hear_nothing(phone)
            holds.send("resume")
            await self.both_hear(alice, bob)
        for dials, hears in ((alice, bob), (bob, alice)):
            dials.send("sndcode", "7#")
            self.assertEqual([(await hears.event("CALL_DTMF_START"))["param"] for _ in range(2)], ["7", "#"])
        await self.both_hear(alice, bob)
        bob.send("hangup")
        for phone in (alice, bob):
            await phone.event("CALL_CLOSED")
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "callee"))

    async def test_digits_by_info(self) -> None:
        """A digit that SIPp says by INFO is understood by baresip, which itself sends events in the audio only."""
        server = Server(self)
        bob = Phone(self, Account(user="bob"), TONES_HZ["bob"])
        server.add_route("bob", "bob", bob.port)
        await server.start()
        await bob.start()
        dialling = Caller("dialling")
        dialling.call(sdp(audio()))
        dialling.ask("INFO", "Signal=5\nDuration=160\n", "Content-Type: application/dtmf-relay")
        dialling.get(200)
        dialling.hang_up()
        calling = Sipp(self, dialling, port=self.ports.take(), target=server.address, service="bob")
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        await bob.says("received DTMF: '5'")
        await calling.succeeds()
        await bob.event("CALL_CLOSED")
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def both_hear(self, one: Phone, other: Phone) -> None:
        """Check that two phones hear each other."""
        await self.ears.hear(one, other.tone_hz)
        await self.ears.hear(other, one.tone_hz)
