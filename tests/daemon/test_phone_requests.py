"""`sipd phone register`, `message` and `options` on a simulated network, and what is shown of messages."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from sipd.daemon.telephone.answerer import AnswerWanted, answer
from sipd.daemon.telephone.asking import AskWanted, ask_options, send_message
from sipd.daemon.telephone.desk import Desk
from sipd.daemon.telephone.registering import RegisterWanted, stay_registered
from sipd.daemon.telephone.screen import Screen
from sipd.daemon.telephone.settings import LineWanted, Talk
from sipd.daemon.telephone.tracing import Trace
from sipd.observe.sniffing.files import read_packets
from sipd.phone.account import Account
from sipd.testing.stack import SimulatedServer
from tests.daemon.telephones import ALICE, CAROL, SERVER, TO_BOB, Station, TelephoneCase


class RequestTests(TelephoneCase):
    """`message` and `options`."""

    def test_message(self) -> None:
        """A message arrives, and is shown."""
        self.answering(is_once=False)
        sent = self.alice.run(send_message, AskWanted(line=self.line(), recipient=TO_BOB, text="hello\x1b[2J"))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(sent), 0)
        self.assertRegex(self.alice.lines[0], r"^200 OK in \d+ ms$")
        self.assertEqual(self.bob.lines[-1], f"message of sip:phone@{ALICE}:49152: hello?[2J")
        self.end(self.bob)

    def test_options(self) -> None:
        """The answer to OPTIONS says what the other side can."""
        self.answering(is_once=False)
        asked = self.alice.run(ask_options, AskWanted(line=self.line(), recipient=TO_BOB))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(asked), 0)
        self.assertRegex("\n".join(self.alice.lines), r"(?m)^Allow: .*INVITE.*$")
        self.assertIn("User-Agent: sipd phone", self.alice.lines)
        self.end(self.bob)

    def test_nobody(self) -> None:
        """Where nobody is there, or answers in time, the exit status is 3; a refusal is 1."""
        self.network.tells_refusals = False
        asked = self.alice.run(ask_options, AskWanted(line=self.line(timeout=3.0), recipient=TO_BOB))
        self.clock.advance(10.0)
        self.assertEqual(self.successResultOf(asked), 3)
        self.assertEqual(self.alice.complaints, ["nobody has answered in 3 s"])
        asked = self.alice.run(ask_options, AskWanted(line=self.line(timeout=60.0), recipient=TO_BOB))
        self.clock.advance(40.0)
        self.assertEqual(self.successResultOf(asked), 3)
        self.answering(is_once=False)
        wanted = AskWanted(line=self.line(), recipient=TO_BOB, text="<x/>", content_type="text/strange")
        sent = self.alice.run(send_message, wanted)
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(sent), 1)
        self.assertRegex(self.alice.complaints[-1], "^415 ")
        self.end(self.bob)


class RegistrationTests(TelephoneCase):
    """`register`, and accounts at a server."""

    def setUp(self) -> None:
        super().setUp()
        self.server = SimulatedServer(self.network.host(SERVER), {"alice": "secret", "bob": "hidden"})
        self.addCleanup(self.end_server)

    def end_server(self) -> None:
        """End it, and see that nothing is left there."""
        self.clock.advance(4000.0)
        self.assertEqual(self.server.leftovers(), [])
        self.server.close()
        self.clock.advance(1.0)

    def account(self, user: str, password: str) -> LineWanted:
        """Give a line with an account."""
        return self.line(account=Account(f"sip:{user}@example.com", password, proxy=SERVER), timeout=10.0)

    def bindings(self, user: str) -> int:
        """Count the contacts of a user."""
        return len(self.server.location.lookup(f"sip:{user}@example.com"))

    def register(self, password: str, seconds: float = 2.0, **more: Any) -> Deferred[int]:
        """Let Alice register."""
        wanted = RegisterWanted(line=self.account("alice", password), **more)
        running = self.alice.run(stay_registered, wanted)
        self.clock.advance(seconds)
        return running

    def test_stays(self) -> None:
        """It stays registered until Ctrl-C, which unregisters."""
        self.assertNoResult(self.register("secret", seconds=4000.0))
        self.assertEqual(self.bindings("alice"), 1)
        self.assertRegex(self.alice.lines[0], r"^registered sip:alice@example\.com for 1800 s, 1 contacts$")
        self.end(self.alice)
        self.assertEqual(self.bindings("alice"), 0)

    def test_once(self) -> None:
        """Once means that it is known, and undone; so do `q`, and the removal of every contact."""
        self.assertEqual(self.successResultOf(self.register("secret", is_once=True)), 0)
        self.assertEqual(self.bindings("alice"), 0)
        staying = self.register("secret")
        other = self.bob.run(stay_registered, RegisterWanted(line=self.account("alice", "secret"), removes_all=True))
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(other), 0)
        self.assertEqual(self.bindings("alice"), 0)
        self.alice.desk.keys.typed("q")
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(staying), 0)

    def test_lost(self) -> None:
        """A registration that is lost for some time is said to be, and so is its return."""
        self.assertNoResult(self.register("secret"))
        self.network.tells_refusals = False
        self.network.partition([SERVER])
        self.clock.advance(2000.0)
        self.assertRegex(self.alice.complaints[0], "^still registered: ")
        self.assertRegex(self.alice.complaints[-1], "^not registered: ")
        self.network.heal()
        self.clock.advance(2000.0)
        self.assertEqual(self.alice.lines[1:], ["registered again"])
        self.end(self.alice)

    def test_refused(self) -> None:
        """A wrong password is exit status 1; a server that is not there is 3."""
        self.assertEqual(self.successResultOf(self.register("wrong", seconds=5.0)), 1)
        self.assertRegex(self.alice.complaints[0], r"^40[13] ")
        self.network.tells_refusals = False
        self.network.partition([SERVER])
        self.assertEqual(self.successResultOf(self.register("secret", seconds=20.0)), 3)
        self.assertRegex(self.alice.complaints[1], r"^not registered within 10 s: ")
        removing = self.register("secret", seconds=20.0, removes_all=True)
        self.assertEqual(self.successResultOf(removing), 3)

    def test_call(self) -> None:
        """One that answers registers before, and is called by its name at the server, with the caller's password."""
        wanted = AnswerWanted(line=self.account("bob", "hidden"), registers=True, is_once=True)
        answered = self.bob.run(answer, wanted)
        self.clock.advance(1.0)
        dialled = self.dialling(
            line=self.account("alice", "secret"), recipient="bob", talk=Talk(hangup_after=1.0), seconds=10.0
        )
        self.assertEqual((self.successResultOf(dialled), self.successResultOf(answered)), (0, 0))
        self.assertEqual(self.bindings("bob"), 0)

    def test_secrets(self) -> None:
        """A capture has every message, and no digest response in it."""
        path = self.directory / "wire.pcap"
        station = Station(self, CAROL, saved=path)
        running = station.run(stay_registered, RegisterWanted(line=self.account("alice", "secret"), is_once=True))
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(running), 0)
        station.trace.close()
        with path.open("rb") as file:
            packets = [packet.data for packet in read_packets(file)]
        self.assertEqual(len(packets), len(station.arrows))
        self.assertRegex(b"".join(packets), rb'response="x{32,}"')
        self.assertNotRegex(b"".join(packets), rb'response="[0-9a-f]{32}')

    def test_whole(self) -> None:
        """Whole messages are harmless for a terminal, and their secrets covered unless that is not wanted."""
        for address, shows_secrets in (("192.0.2.5", False), ("192.0.2.6", True)):
            station = Station(self, address, shows_whole=True, shows_secrets=shows_secrets)
            wanted = RegisterWanted(line=self.account("alice", "secret"), is_once=True)
            running = station.run(stay_registered, wanted)
            self.clock.advance(5.0)
            self.assertEqual(self.successResultOf(running), 0)
            text = "\n".join(station.arrows)
            self.assertIn("\n    REGISTER sip:example.com SIP/2.0\n", text)
            self.assertEqual('response="xxxxxxxx' in text, not shows_secrets)


class DrawingTests(TelephoneCase):
    """The arrows."""

    def test_again(self) -> None:
        """A message that comes again is marked, and the arrow says when, which way and by what."""
        self.network.tells_refusals = False
        asked = self.alice.run(ask_options, AskWanted(line=self.line(timeout=2.0), recipient=TO_BOB))
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(asked), 3)
        self.assertEqual(self.alice.messages(), ["> OPTIONS 1", "> OPTIONS 1 again", "> OPTIONS 1 again"])
        self.assertEqual(
            self.alice.arrows[1], "00:00:00.500 |------------- OPTIONS 1 again ------------->| UDP 192.0.2.2:5060"
        )

    def test_json(self) -> None:
        """As JSON a message is an object, with all of it if that is wanted."""
        lines: list[str] = []
        screen = Screen(lines.append, lines.append, as_json=True, seconds=self.clock.seconds)
        self.alice.trace = Trace(screen, shows_whole=True)
        desk = Desk(
            self.alice.host,
            screen,
            observers=[self.alice.trace],
            entropy=self.network.entropy,
            look_up=lambda name: "",
        )
        asked = Deferred.fromCoroutine(ask_options(desk, AskWanted(line=self.line(timeout=1.0), recipient=TO_BOB)))
        self.clock.advance(5.0)
        self.assertEqual(self.successResultOf(asked), 3)
        first, second = json.loads(lines[0]), json.loads(lines[1])
        self.assertEqual((first["event"], first["sent"], first["again"]), ("sip", True, False))
        self.assertEqual((first["remote"], first["summary"]), ("192.0.2.2:5060", "OPTIONS 1"))
        self.assertTrue(first["message"].startswith("OPTIONS sip:bob@192.0.2.2 SIP/2.0\r\n"))
        self.assertEqual((second["event"], second["reason"]), ("failed", "UDP 192.0.2.2:5060: Connection refused"))
        self.assertEqual(lines[2], second["reason"])

    def test_quiet(self) -> None:
        """A quiet one says what goes wrong, and nothing else."""
        lines: list[str] = []
        complaints: list[str] = []
        screen = Screen(lines.append, complaints.append, is_quiet=True)
        screen.show("x", "shown")
        screen.draw("drawn")
        screen.fail("failed\n\x1b[2J")
        self.assertEqual((lines, complaints), ([], ["failed??[2J"]))
