"""What people do with a phone in a call: hold, resume, digits. Whether the sound follows is heard after each step."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from tests.interop.baresip import Account, Phone
from tests.interop.calls import connect
from tests.interop.capture import find_faults, read_capture
from tests.interop.case import InteropTestCase
from tests.interop.ears import ADVERTISED, Ears
from tests.interop.script import Caller, audio, sdp
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp
from tests.ports import HOST

#: What identifies a dialog, as arguments of tshark.
_DIALOG = ("-T", "fields", "-e", "sip.Call-ID", "-e", "sip.from.tag", "-e", "sip.to.tag")
TONES_HZ = {"alice": 440.0, "bob": 1000.0, "carol": 1700.0}


class FeatureTests(InteropTestCase):
    """Two baresip phones."""

    programs = ("baresip", "sipp", "tshark")

    async def begin(self, *users: str) -> tuple[Server, list[Phone]]:
        """Start sipd, with ears in front of it, and a phone for each of these users."""
        server = Server(self, media_host=ADVERTISED, media_ports=40)
        self.ears = Ears(self, server.media_ports)
        await server.start()
        return server, await all_of(*[self.phone(server, user) for user in users])

    async def phone(self, server: Server, user: str) -> Phone:
        """Start a phone and let it register."""
        phone = Phone(self, Account(user=user, server=server.address, password=USERS[user]), TONES_HZ[user])
        await phone.start()
        await phone.registered()
        return phone

    async def test_hold_and_digits(self) -> None:
        """Whoever is held, caller or callee, hears nothing until the call is resumed; digits arrive as dialled."""
        server, (alice, bob) = await self.begin("alice", "bob")
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.both_hear(alice, bob)
        for holds in (alice, bob):
            holds.send("hold")
            await all_of(*[self.ears.hear_nothing(phone) for phone in (alice, bob)])
            holds.send("resume")
            await self.both_hear(alice, bob)
        for dials, hears in ((alice, bob), (bob, alice)):
            dials.send("sndcode", "7#")
            self.assertEqual([(await hears.event("CALL_DTMF_START"))["param"] for _ in range(2)], ["7", "#"])
        await self.both_hear(alice, bob)
        await self.hang_up(bob, alice)
        (record,) = await self.finish(server, alice, bob)
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
        (record,) = await self.finish(server, bob)
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def test_blind_transfer(self) -> None:
        """Alice gives Bob to Carol: Carol's phone rings, Bob and she hear each other, and Alice's call is over."""
        server, (alice, bob, carol) = await self.begin("alice", "bob", "carol")
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.both_hear(alice, bob)
        alice.send("transfer", f"sip:carol@{HOST}")
        await carol.event("CALL_INCOMING")
        carol.send("accept")
        await carol.event("CALL_ESTABLISHED")
        await alice.event("CALL_CLOSED")
        await self.both_hear(bob, carol)
        await self.hang_up(carol, bob)
        await self.finish(server, alice, bob, carol)
        self.assertEqual(await find_faults(self, server), [])

    async def test_attended_transfer(self) -> None:
        """Alice holds Bob, asks Carol, and joins the two: they hear each other, and both calls of hers are over."""
        server, (alice, bob, carol) = await self.begin("alice", "bob", "carol")
        await connect(alice, bob, f"sip:bob@{HOST}")
        await self.both_hear(alice, bob)
        alice.send("hold")
        await self.ears.hear_nothing(bob)
        await connect(alice, carol, f"sip:carol@{HOST}")
        await self.both_hear(alice, carol)
        # Baresip 1.0 knows nothing of Replaces, but says what it is told to.
        *_, (call_id, local_tag, remote_tag) = await read_capture(
            self, server, "-Y", f"sip.Method == ACK && sip.to.user == bob && udp.srcport == {alice.port}", *_DIALOG
        )
        replaces = f"{call_id}%3Bto-tag%3D{remote_tag}%3Bfrom-tag%3D{local_tag}"
        alice.send("transfer", f"<sip:bob@{HOST}?Replaces={replaces}>")
        for _ in range(2):
            await alice.event("CALL_CLOSED")
        await self.both_hear(bob, carol)
        await self.hang_up(bob, carol)
        await self.finish(server, alice, bob, carol)
        self.assertEqual(await find_faults(self, server), [])

    async def finish(self, server: Server, *phones: Phone) -> list[dict[str, Any]]:
        """End the phones, then sipd; give the records of its calls."""
        await all_of(*[phone.stop() for phone in phones])
        return await server.finish()

    async def hang_up(self, one: Phone, other: Phone) -> None:
        """Let one phone hang up; the other must hear of it."""
        one.send("hangup")
        for phone in (one, other):
            await phone.event("CALL_CLOSED")

    async def both_hear(self, one: Phone, other: Phone) -> None:
        """Check that two phones hear each other."""
        await all_of(self.ears.hear(one, other.tone_hz), self.ears.hear(other, one.tone_hz))


async def all_of(*waiting: Coroutine[Any, Any, Any]) -> list[Any]:
    """Wait for all at the same time."""
    return await gatherResults([Deferred.fromCoroutine(one) for one in waiting], consumeErrors=True)
