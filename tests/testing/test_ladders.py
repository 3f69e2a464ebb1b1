"""Tests of `sipd.testing.ladders`: what a written ladder says of messages, and what is shown where it is wrong."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from sipd.observe.capture import CapturedMessage
from sipd.sip.message import Message
from sipd.testing import builders
from sipd.testing.clock import SimulatedClock
from sipd.testing.ladders import Messages, assertLadder, write_ladder
from sipd.testing.links import Link
from sipd.testing.network import Network
from sipd.testing.stack import SimulatedServer

ALICE, BOB, SERVER = ("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.100", 5060)
NAMES = {ALICE: "alice", BOB: "bob"}


def message(what: Message, *, back: bool = False, at: float = 0.0, note: str = "") -> CapturedMessage:
    """Make a message from alice to bob, or back."""
    local, remote = (BOB, ALICE) if back else (ALICE, BOB)
    return CapturedMessage(
        at=at, data=what.to_bytes(), sent=True, transport="UDP", local=local, remote=remote, note=note
    )


class LadderCase(SynchronousTestCase):
    """Has a call: INVITE, 180, 200, ACK, BYE, 200."""

    INVITE = builders.invite(body=builders.sdp("192.0.2.1"))
    CALL: ClassVar[list[CapturedMessage]] = [
        message(INVITE),
        message(builders.response(INVITE, 180), back=True),
        message(builders.response(INVITE, 200, body=builders.sdp("192.0.2.2")), back=True),
        message(builders.request("ACK")),
        message(builders.request("BYE", cseq=2)),
        message(builders.response(builders.request("BYE", cseq=2), 200), back=True),
    ]

    def holds(self, *lines: str, messages: Messages | None = None) -> None:
        """Say that a ladder is true."""
        assertLadder(self, self.CALL if messages is None else messages, "\n".join(lines), NAMES)

    def differs(self, *lines: str, messages: Messages | None = None) -> str:
        """Say that a ladder is not true; give what is said about that."""
        error = self.assertRaises(self.failureException, self.holds, *lines, messages=messages)
        return str(error)


class TrueTests(LadderCase):
    """What holds."""

    def test_every_message(self) -> None:
        """A line for each message, whoever stands on the left; comments and empty lines are nothing."""
        self.holds(
            "# a call",
            "",
            "alice -> bob    INVITE sdp",
            "  alice <- bob  180 Ringing     # he has heard it",
            "bob -> alice    200 OK INVITE 1 sdp",
            "bob<-alice      ACK no-sdp",
            "alice -> bob    BYE 2",
            "bob -> alice    2xx BYE no-sdp",
        )

    def test_optional(self) -> None:
        """A line with a question mark may be true or not."""
        self.holds(
            "alice -> bob    INVITE",
            "bob -> alice    100?",
            "bob -> alice    18x ?   ringing",
            "bob -> alice    183? sdp",
            "bob -> alice    200",
            "alice -> bob    ACK",
            "alice -> bob    BYE",
            "bob -> alice    200",
            "alice -> bob    NOTIFY?",
        )

    def test_gaps(self) -> None:
        """Three dots are any messages, or none, at each place."""
        self.holds("...")
        self.holds("...", "alice -> bob INVITE", "...", "alice -> bob BYE", "...", "bob -> alice 200", "...")
        self.holds("...", messages=[])
        self.holds("", messages=[])

    def test_any_message(self) -> None:
        """A star is any message, but exactly one, and the other words still count."""
        self.holds("alice -> bob *", "bob -> alice *", "bob -> alice * sdp", "alice -> bob *", "...")
        self.differs("alice -> bob *", "bob -> alice * sdp", "...")

    def test_repetitions(self) -> None:
        """What is sent again does not count, unless the ladder speaks of that."""
        again = [self.CALL[0], self.CALL[0], *self.CALL[1:]]
        self.holds("alice -> bob INVITE", "bob -> alice 180", "...", messages=again)
        self.holds("alice -> bob INVITE", "alice -> bob INVITE again", "bob -> alice 180", "...", messages=again)
        self.assertIn(
            "INVITE 1 sdp again", self.differs("alice -> bob INVITE", "bob -> alice 180 again", messages=again)
        )

    def test_media_is_not_looked_at(self) -> None:
        """What is no SIP does not count."""
        noise = [
            CapturedMessage(at=0.0, data=data, sent=True, transport="UDP", local=ALICE, remote=BOB)
            for data in (b"\x80\x00" + bytes(170), b"\r\n\r\n", b"")
        ]
        self.holds("alice -> bob INVITE", "...", messages=[*noise, *self.CALL])

    def test_names(self) -> None:
        """A name may be that of an address or of a host; without one it is called by its address."""
        assertLadder(self, self.CALL[:1], "alice -> 192.0.2.2:5060  INVITE", {"192.0.2.1": "alice"})
        assertLadder(self, self.CALL[:1], "192.0.2.1:5060 -> 192.0.2.2:5060  INVITE")


class FalseTests(LadderCase):
    """What does not hold, and what is shown then."""

    def test_another_message(self) -> None:
        """The first message that does not fit is named, with the lines that could have come, and the real ladder."""
        text = self.differs("alice -> bob INVITE", "bob -> alice 100?", "bob -> alice 486", "alice -> bob ACK")
        self.assertIn(
            "Message 2 is `bob -> alice    180 Ringing INVITE 1`, "
            "but expected was `bob -> alice 100?` (line 2) or `bob -> alice 486` (line 3).",
            text,
        )
        self.assertIn("|--------- INVITE 1 sdp --------->|", text)
        self.assertIn("alice -> bob    BYE 2\n", text)

    def test_after_a_gap(self) -> None:
        """Behind three dots it is still named where the ladder was followed furthest."""
        text = self.differs("...", "alice -> bob ACK", "alice -> bob UPDATE", "...")
        self.assertIn("Message 5 is `alice -> bob    BYE 2`, but expected was `alice -> bob UPDATE` (line 3).", text)

    def test_too_few(self) -> None:
        """Messages that did not come are named."""
        text = self.differs("...", "bob -> alice 200 BYE", "...", "alice -> bob MESSAGE")
        self.assertIn("After 6 messages there are no more, but expected was", text)
        self.assertIn("`...` (line 3) or `alice -> bob MESSAGE` (line 4)", text)
        self.assertIn("no messages", self.differs("alice -> bob INVITE", messages=[]))

    def test_too_many(self) -> None:
        """A message after the end of the ladder is one too many."""
        text = self.differs("alice -> bob INVITE", "bob -> alice 180")
        self.assertIn("Message 3 is `bob -> alice    200 OK INVITE 1 sdp`, but expected was the end.", text)

    def test_words(self) -> None:
        """Direction, session description, method and number of CSeq, and reason have to be as they are written."""
        for line in (
            "bob -> alice INVITE",
            "alice -> carol INVITE",
            "alice -> bob INVITE no-sdp",
            "alice -> bob INVITE 2",
            "alice -> bob UPDATE",
            "alice -> bob INVITE again",
            "alice -> bob INVITE lost",
        ):
            self.assertIn("Message 1", self.differs(line, "..."))
        for line in ("bob -> alice 180 Queued", "bob -> alice 181", "bob -> alice 2xx", "bob -> alice 180 BYE"):
            self.assertIn("Message 2", self.differs("alice -> bob INVITE", line, "..."))

    def test_unreadable(self) -> None:
        """A line that says nothing is a mistake of whoever wrote it, with its number."""
        for line in (
            "alice bob INVITE",
            "alice -> bob",
            "alice -> bob invite",
            "alice -> bob 1000",
            "alice => bob ACK",
        ):
            error = self.assertRaises(ValueError, self.holds, "...", line)
            self.assertTrue(str(error).startswith("line 2: "), error)


class SourceTests(SynchronousTestCase):
    """Where messages come from."""

    def setUp(self) -> None:
        """Let alice call bob."""
        clock = SimulatedClock()
        self.network = Network(clock, seed=1)
        server = self.server = SimulatedServer(self.network.host(SERVER[0]), {"alice": "secret", "bob": "hidden"})
        alice, bob = (server.peer(self.network.host(address[0]), user) for address, user in NAMES.items())
        for phone in (alice, bob):
            phone.register()
        clock.advance(1.0)
        self.network.log.clear()
        bob.auto_refuse(486)
        alice.call("bob")
        clock.advance(10.0)
        clock.run()

    def test_of_one_call(self) -> None:
        """The messages of a call at a server, both legs."""
        (record,) = self.server.records.records
        assertLadder(
            self,
            self.server.capture.messages_of(record.id),
            """
            alice -> sipd   INVITE sdp
            sipd -> alice   407
            alice -> sipd   ACK
            alice -> sipd   INVITE 2 sdp
            sipd -> alice   100?
            sipd -> bob     INVITE sdp
            bob -> sipd     486
            sipd -> bob     ACK
            sipd -> alice   486
            alice -> sipd   ACK
            """,
            {**NAMES, SERVER: "sipd"},
        )

    def test_of_a_capture(self) -> None:
        """All that a server has captured."""
        assertLadder(self, self.server.capture, "alice -> sipd REGISTER\n...", {**NAMES, SERVER: "sipd"})

    def test_of_a_network(self) -> None:
        """All that was sent on a network; what was lost says so."""
        names = {ALICE[0]: "alice", BOB[0]: "bob", SERVER[0]: "sipd"}
        assertLadder(self, self.network, "alice -> sipd INVITE\n...\nalice -> sipd ACK\n", names)

    def test_written(self) -> None:
        """What is written of messages is a ladder that they make true."""
        text = write_ladder(self.network, {**NAMES, SERVER: "sipd"})
        self.assertEqual(text.splitlines()[0], "alice -> sipd    INVITE 1 sdp")
        assertLadder(self, self.network, text, {**NAMES, SERVER: "sipd"})


class LossTests(SynchronousTestCase):
    """A network that loses everything."""

    def test_lost(self) -> None:
        """A message that was lost, and its repetition, are known as such."""
        clock = SimulatedClock()
        network = Network(clock, seed=1, link=Link(loss=1.0))
        server = SimulatedServer(network.host(SERVER[0]), {"alice": "secret"})
        server.peer(network.host(ALICE[0]), "alice").register()
        clock.advance(1.0)
        assertLadder(
            self,
            network,
            "alice -> sipd REGISTER lost\nalice -> sipd REGISTER again lost",
            {ALICE: "alice", SERVER: "sipd"},
        )
        clock.run()
