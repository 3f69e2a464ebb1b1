"""What sipd says of a call whose media is missing, and what it does about it: SIPp, which sends none, calls baresip."""

from __future__ import annotations

from tests.interop.baresip import Account, Phone
from tests.interop.case import InteropTestCase
from tests.interop.media import TONES_HZ
from tests.interop.script import Caller, audio, sdp
from tests.interop.server import Server
from tests.interop.sipp import Sipp

_LIMIT = 30.0


class SilentCallerTests(InteropTestCase):
    """A caller who answers everything, and says nothing."""

    programs = ("sipp", "baresip")

    async def begin(self, caller: Caller, media: str) -> tuple[Server, Phone, Sipp]:
        """Start sipd with more lines of `[media]`, a phone, and the caller; the phone answers."""
        server = Server(self, media=media)
        bob = Phone(self, Account(user="bob"), TONES_HZ["bob"])
        server.add_route("bob", "bob", bob.port)
        await server.start()
        await bob.start()
        calling = Sipp(self, caller, port=self.ports.take(), target=server.address, service="bob", limit=_LIMIT)
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        await bob.event("CALL_ESTABLISHED")
        return server, bob, calling

    async def test_is_named(self) -> None:
        """The record says that nothing comes from one side; what the other side sends is counted."""
        caller = Caller("silent")
        caller.call(sdp(audio()))
        caller.pause(6000)
        caller.hang_up()
        server, bob, calling = await self.begin(caller, "")
        await calling.succeeds()
        await bob.event("CALL_CLOSED")
        await bob.stop()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"], record["cause"]), (200, "caller", "bye"))
        self.assertEqual(record["media_verdict"], "nothing-from", record)
        silent, loud = record["media"]
        self.assertEqual((silent["leg"], silent["packets"], silent["source"]), ("a", 0, ""), record)
        self.assertEqual(loud["leg"], "b1")
        self.assertGreater(loud["packets"], 250, record)

    async def test_is_ended(self) -> None:
        """Where it is to end such calls sipd hangs up at both ends, and says why (RFC 3326)."""
        caller = Caller("silent")
        caller.call(sdp(audio()))
        caller.end()
        server, bob, calling = await self.begin(caller, 'no_media = 5.0\nno_media_action = "end"')
        begun = self.reactor.seconds()
        await bob.event("CALL_CLOSED", _LIMIT)
        await calling.succeeds()
        self.assertGreater(self.reactor.seconds() - begun, 4.0)
        await bob.stop()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"], record["cause"]), (200, "sipd", "media-lost"))
        self.assertEqual(record["media_verdict"], "nothing-from", record)

    async def test_held_is_not_ended(self) -> None:
        """A side that is not to send, by what was agreed on, is not missed."""
        caller = Caller("listening")
        caller.call(sdp(audio("recvonly")))
        caller.pause(8000)
        caller.hang_up()
        server, bob, calling = await self.begin(caller, 'no_media = 3.0\nno_media_action = "end"')
        await calling.succeeds()
        await bob.event("CALL_CLOSED")
        await bob.stop()
        (record,) = await server.finish()
        self.assertEqual((record["ended_by"], record["media_verdict"]), ("caller", "ok"), record)
