"""The examples with a phone in them, as programs of their own: through sipd to baresip and SIPp, and at Kamailio."""

from __future__ import annotations

import re
from typing import ClassVar

from sipd.rtp.wave import parse_wave
from tests.interop.baresip import Account, Phone
from tests.interop.calls import TALK, assert_heard
from tests.interop.kamailio import DOMAIN, PASSWORD, USER, Kamailio
from tests.interop.programs import Program
from tests.interop.server import USERS, Server
from tests.interop.sipp import Sipp
from tests.interop.test_examples_calls import ExampleCase
from tests.interop.tones import best_share
from tests.ports import HOST

ALICE_HZ, BOB_HZ = 440.0, 1000.0
#: The dial tone of `tone:de:dial`.
_DIAL_TONE_HZ = 425.0


class ThroughSipdTests(ExampleCase):
    """Alice's baresip is registered at sipd, which has a way to the example."""

    programs: ClassVar = ("baresip", "sipp")

    async def serve(self, example: str, *arguments: str, user: str = "") -> tuple[Server, Phone, Program]:
        """Start an example that is called, sipd with a way to it, and alice."""
        server, port = Server(self), self.ports.take()
        server.add_route(example, user or example, port)
        await server.start()
        program = self.example(example, *arguments, f"udp:{HOST}:{port}")
        await self.listening(port)
        alice = await self.registered(server, "alice", ALICE_HZ)
        return server, alice, program

    async def registered(self, server: Server, user: str, tone_hz: float) -> Phone:
        """Start a baresip, and let it register."""
        phone = Phone(self, Account(user=user, server=f"{HOST}:{server.port}", password=USERS[user]), tone_hz)
        await phone.start()
        await phone.registered()
        return phone

    async def call(self, alice: Phone, user: str, duration: float = TALK) -> None:
        """Let alice call, talk for so long, and hang up."""
        alice.send("dial", f"sip:{user}@{HOST}")
        await alice.event("CALL_ESTABLISHED")
        await self.pause(duration)
        alice.send("hangup")
        await alice.event("CALL_CLOSED")
        await self.pause(0.3)

    async def test_echo(self) -> None:
        """Alice hears herself."""
        server, alice, program = await self.serve("echo")
        await self.call(alice, "echo", 2.0)
        share = best_share(alice.take_recording()[-8000:-400], ALICE_HZ)
        self.assertGreater(share, 0.9, self.explain())
        await program.says(f"echo for sip:alice@{HOST} until BYE")
        await alice.stop()
        (record,) = await server.finish()
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def test_recorder(self) -> None:
        """What alice says is on the left of the file."""
        server, alice, program = await self.serve("recorder", "recordings")
        await self.call(alice, "recorder", 3.0)
        await program.says("has 3.[0-9] s")
        (path,) = (self.directory / "recordings").iterdir()
        wave = parse_wave(path.read_bytes())
        self.assertGreater(best_share(wave.samples()[::2][-8000:-800], ALICE_HZ), 0.9)
        await alice.stop()
        await server.finish()

    async def test_ivr(self) -> None:
        """Alice presses a digit, and talks with bob."""
        server, port = Server(self), self.ports.take()
        bob = Phone(self, Account(user="bob"), BOB_HZ)
        server.add_route("ivr", "menu", port)
        # The menu is nobody that sipd knows: where it sends callers to has to be open to all.
        server.add_route("bob", "bob", bob.port)
        await server.start()
        await bob.start()
        alice = await self.registered(server, "alice", ALICE_HZ)
        program = self.example("ivr", f"udp:{HOST}:{port}", f"1=sip:bob@{HOST}:{server.port}")
        await self.listening(port)
        alice.send("dial", f"sip:menu@{HOST}")
        await alice.event("CALL_ESTABLISHED")
        await self.pause(2.0)
        alice.send("sndcode", "1")
        await program.says(f"sip:alice@{HOST} chooses 1")
        await bob.event("CALL_INCOMING")
        bob.send("accept")
        await bob.event("CALL_ESTABLISHED")
        await self.pause(TALK)
        bob.send("hangup")
        await bob.event("CALL_CLOSED")
        await self.pause(0.3)
        assert_heard(self, bob, ALICE_HZ)
        for phone in (alice, bob):
            await phone.stop()
        await server.finish()

    async def test_dial(self) -> None:
        """Bob, to whom sipd lets everybody through, hears the tone; then the call ends, and the figures are shown."""
        server = Server(self)
        bob = Phone(self, Account(user="bob"), BOB_HZ)
        server.add_route("bob", "bob", bob.port)
        await server.start()
        await bob.start()
        program = self.example("dial", f"sip:bob@{HOST}:{server.port}", "tone:de:dial", f"udp:{HOST}:0")
        await bob.event("CALL_INCOMING", limit=20.0)
        bob.send("accept")
        await bob.event("CALL_CLOSED")
        self.assertEqual(await program.ends(10.0), 0, program.explain())
        await self.pause(0.3)
        assert_heard(self, bob, _DIAL_TONE_HZ)
        self.assertRegex(program.output.decode(), r"(?s)invited .*established .*pcmu/8000")
        await server.finish()

    async def test_load(self) -> None:
        """Each of the calls goes through sipd to SIPp, and is there in its records."""
        server, port = Server(self), self.ports.take()
        server.add_route("sipp", "callee", port)
        await server.start()
        await Sipp(self, "uas_answers", port=port, calls=20).listens()
        address = f"sip:callee@{HOST}:{server.port}"
        program = self.example("load", address, "20", "20", "0.5", f"udp:{HOST}:0")
        self.assertEqual(await program.ends(30.0), 0, program.explain())
        self.assertEqual(program.output.decode().splitlines(), ["20 answered"])
        records = await server.finish()
        self.assertEqual([(record["status"], record["ended_by"]) for record in records], [(200, "caller")] * 20)

    async def test_load_on_a_phone(self) -> None:
        """Baresip, which answers by itself, has one call after the other."""
        bob = Phone(self, Account(user="bob", parameters=";answermode=auto"), BOB_HZ)
        await bob.start()
        program = self.example("load", f"sip:bob@{HOST}:{bob.port}", "3", "1", "0.5", f"udp:{HOST}:0")
        for _ in range(3):
            await bob.event("CALL_ESTABLISHED")
            await bob.event("CALL_CLOSED")
        self.assertEqual(await program.ends(15.0), 0, program.explain())
        self.assertEqual(program.output.decode().splitlines(), ["3 answered"])
        await bob.stop()

    async def test_register(self) -> None:
        """It registers at sipd; bob calls it, and hears its tone; Ctrl-C unregisters it."""
        server = Server(self)
        await server.start()
        bob = await self.registered(server, "bob", BOB_HZ)
        await self.answered_by_register(bob, f"sip:alice@{HOST}", f"{HOST}:{server.port}", USERS["alice"])
        await bob.stop()
        await server.finish()
        log = server.program.output.decode()
        self.assertRegex(log, r"alice registered .*\n(.*\n)*.*alice unregistered")

    async def answered_by_register(self, caller: Phone, uri: str, proxy: str, password: str, target: str = "") -> None:
        """Let the example register, and somebody call it."""
        program = self.example("register", uri, proxy, f"udp:{HOST}:0", PASSWORD=password)
        await program.says(f"registered {re.escape(uri)}")
        caller.send("dial", target or uri)
        await caller.event("CALL_ESTABLISHED")
        await self.pause(TALK)
        caller.send("hangup")
        await caller.event("CALL_CLOSED")
        await program.says("was here for [12] s")
        await self.pause(0.3)
        assert_heard(self, caller, _DIAL_TONE_HZ)
        program.send_signal("INT")
        await program.ends(10.0)

    async def test_watcher(self) -> None:
        """It sees that bob's baresip is there, which sipd asks."""
        server = Server(self)
        await server.start()
        bob = Phone(
            self,
            Account(user="bob", server=f"{HOST}:{server.port}", password=USERS["bob"]),
            BOB_HZ,
            modules=("contact", "presence"),
        )
        await bob.start()
        await bob.registered()
        program = self.example("watcher", f"sip:alice@{HOST}", f"{HOST}:{server.port}", "bob", PASSWORD=USERS["alice"])
        await program.says("bob is (there|away)")
        await bob.stop()
        await server.finish()


class KamailioTests(ExampleCase):
    """Examples with an account at Kamailio."""

    programs: ClassVar = ("baresip",)

    async def test_register(self) -> None:
        """It registers with digest, is called by the registrar, and unregisters at Ctrl-C."""
        kamailio = Kamailio(self, self.ports.take())
        await kamailio.start()
        bob = Phone(self, Account(user="bob"), BOB_HZ)
        await bob.start()
        address = f"{HOST}:{kamailio.port}"
        await ThroughSipdTests.answered_by_register(
            self,  # type: ignore[arg-type]  # it is an ExampleCase, too
            bob,
            f"sip:{USER}@{DOMAIN}",
            address,
            PASSWORD,
            f"sip:{USER}@{address}",
        )
        await self.pause(0.5)
        self.assertIn(" expires=0 ", kamailio.lines("register saved")[-1])
