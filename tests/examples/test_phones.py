"""The examples with a phone in them."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred

from sipd.phone.account import Account
from sipd.phone.dialing import OutgoingCall
from sipd.phone.ended import EndedBy
from sipd.rtp.g711 import tone_level
from sipd.rtp.wave import parse_wave
from sipd.sip.presence_documents import PIDF, Presence
from sipd.testing.stack import SimulatedServer
from tests.examples.support import ExampleCase, said
from tests.phone.support import ALICE, BOB, CAROL, SERVER, Ear, answering, forever


class DirectTests(ExampleCase):
    """Examples that need nobody between."""

    def established(self, dialling: Deferred[OutgoingCall], seconds: float = 1.0) -> OutgoingCall:
        """Let a call be answered."""
        self.clock.advance(seconds)
        return self.successResultOf(dialling)

    def test_echo(self) -> None:
        """Whoever calls hears itself."""
        with said() as lines:
            self.run_example("echo", BOB, f"udp:{BOB}:5060")
            alice = self.phone(ALICE, "alice")
            call = self.established(alice.dial(f"bob@{BOB}"))
            ear = Ear()
            call.connect(None, ear)
            forever(call.play("tone:de:dial", times=None))
            self.clock.advance(1.0)
            self.assertTrue(ear.hears(425))
            call.hang_up()
            self.clock.advance(1.0)
        self.assertEqual(lines, [f"echo for sip:alice@{ALICE} until BYE"])

    def test_dial(self) -> None:
        """The callee hears the tone; then the call ends, and its figures are shown."""
        bob = self.phone(BOB, "bob")
        taken = answering(bob)
        ear = Ear()
        with said() as lines:
            self.run_example("dial", ALICE, f"bob@{BOB}", listen=f"udp:{ALICE}:5060")
            taken[0].connect(None, ear)
            self.clock.advance(1.5)
            self.assertTrue(ear.hears(440))
            self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(taken[0].ended).by, EndedBy.THEM)
        self.assertEqual(
            lines[:3],
            [f"invited sip:bob@{BOB}", f"provisional sip:bob@{BOB}: 180 Ringing", f"established sip:bob@{BOB}: 200 OK"],
        )
        self.assertIn("pcmu/8000", lines[3])

    def test_dial_in_vain(self) -> None:
        """A refusal is one line, and the exit status says it."""
        bob = self.phone(BOB, "bob")
        bob.on_call = lambda call: call.reject(486)
        with said():
            running = self.run_example("dial", ALICE, f"bob@{BOB}", listen=f"udp:{ALICE}:5060")
        error = self.failureResultOf(running, SystemExit).value
        self.assertEqual(error.code, f"bob@{BOB}: 486 Busy Here")

    def test_ivr(self) -> None:
        """A caller that presses a digit is sent where it leads; one that presses another one is asked again."""
        carol = self.phone(CAROL, "carol")
        taken = answering(carol)
        alice = self.phone(ALICE, "alice")
        alice.on_refer = lambda referred: True
        with said() as lines:
            self.run_example("ivr", BOB, f"udp:{BOB}:5060", f"1=sip:carol@{CAROL}")
            call = self.established(alice.dial(f"menu@{BOB}"), 3.0)
            call.send_digits("7")
            self.clock.advance(6.0)
            call.send_digits("1")
            self.clock.advance(5.0)
        self.assertEqual(lines, [f"sip:alice@{ALICE} chooses 7", f"sip:alice@{ALICE} chooses 1"])
        self.assertTrue(taken[0].is_established)
        self.assertTrue(call.is_over)

    def test_recorder(self) -> None:
        """What the caller says is on the left of the file, and what it hears on the right."""
        directory = Path(self.mktemp())
        with said() as lines:
            self.run_example("recorder", BOB, str(directory), f"udp:{BOB}:5060")
            call = self.established(self.phone(ALICE, "alice").dial(f"bob@{BOB}"))
            forever(call.play("tone:de:dial", times=None))
            self.clock.advance(3.0)
            call.hang_up()
            self.clock.advance(1.0)
        (path,) = directory.iterdir()
        samples = parse_wave(path.read_bytes()).samples()
        self.assertGreater(tone_level(samples[::2][-8000:-400], 425), 0.8)
        self.assertEqual(lines, [f"{path} has {len(samples) / 16000:.1f} s"])

    def test_load(self) -> None:
        """So many calls are made, so many of them refused, and that is said."""
        bob = self.phone(BOB, "bob")
        bob.max_calls = 10
        answering(bob)
        with said() as lines:
            running = self.run_example("load", ALICE, f"bob@{BOB}", "15", "20", "2", listen=f"udp:{ALICE}:5060")
            self.clock.advance(10.0)
        self.assertEqual(self.successResultOf(running), {"answered": 10, "486 Busy Here": 5})
        self.assertEqual(lines, ["10 answered", "5 486 Busy Here"])


class AccountTests(ExampleCase):
    """Examples that have an account at sipd."""

    def setUp(self) -> None:
        """Make the server."""
        super().setUp()
        self.server = SimulatedServer(self.network.host(SERVER), {"alice": "secret", "bob": "hidden"})
        self.patch_environment("secret")
        self.addCleanup(self.end_server)

    def patch_environment(self, password: str) -> None:
        """Let the examples find a password."""
        import os

        self.patch(os, "environ", {**os.environ, "PASSWORD": password})

    def end_server(self) -> None:
        """Nothing is left there."""
        self.end_examples()
        for phone in self.phones:
            phone.stopService()
        self.clock.advance(4000.0)
        self.assertEqual(self.server.leftovers(), [])
        self.server.close()
        self.clock.advance(1.0)

    def test_register(self) -> None:
        """It registers, answers one call after the other, and unregisters at its end."""
        bob = self.phone(BOB, "bob", account=Account("sip:bob@example.com", "hidden", proxy=SERVER))
        with said() as lines:
            running = self.run_example("register", ALICE, "sip:alice@example.com", SERVER, listen=f"udp:{ALICE}:5060")
            for _ in range(2):
                dialling = bob.dial("alice")
                self.clock.advance(3.0)
                self.successResultOf(dialling).hang_up()
                self.clock.advance(2.0)
        self.assertEqual(lines[0], "registered sip:alice@example.com")
        self.assertEqual(lines[1:], ["sip:bob@example.com was here for 3 s"] * 2)
        self.assertEqual(len(self.server.location.lookup("sip:alice@example.com")), 1)
        running.cancel()
        self.clock.advance(2.0)
        self.assertEqual(len(self.server.location.lookup("sip:alice@example.com")), 0)

    def test_watcher(self) -> None:
        """It says who is there, and who is not any more."""
        bob = self.phone(BOB, "bob", account=Account("sip:bob@example.com", "hidden", proxy=SERVER))
        document = Presence.of_status("sip:bob@example.com", is_open=True).to_bytes()
        publication = bob.publish("presence", PIDF, document)
        self.clock.advance(1.0)
        with said() as lines:
            self.run_example("watcher", ALICE, "sip:alice@example.com", SERVER, "bob", listen=f"udp:{ALICE}:5060")
            self.clock.advance(5.0)
            bob.end(publication)
            self.clock.advance(10.0)
        self.assertEqual(lines, ["bob is there", "bob is away"])
