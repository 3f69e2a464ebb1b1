"""The example that calls two people and lets them talk."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from sipd.phone.ended import EndedBy
from sipd.phone.incoming import IncomingCall
from tests.examples.support import ExampleCase, load_example, said
from tests.phone.support import ALICE, BOB, CAROL, Ear, answering, forever

_ARGUMENTS = (f"alice@{ALICE}", f"bob@{BOB}")


class ClickToDialTests(ExampleCase):
    """Alice and bob are called from carol's address."""

    def setUp(self) -> None:
        """Let alice answer at once, and bob after two seconds."""
        super().setUp()
        self.alice, self.bob = self.phone(ALICE, "alice"), self.phone(BOB, "bob")
        self.of_alice = answering(self.alice)
        self.of_bob = answering(self.bob, after=2.0)

    def hear(self, call: IncomingCall) -> Ear:
        """Listen to a call."""
        ear = Ear()
        call.connect(None, ear)
        return ear

    def connect(self, seconds: float) -> Deferred[float]:
        """Connect the two by a phone of the test's own, and let that go on for so long."""
        carol = self.phones[2] if len(self.phones) > 2 else self.phone(CAROL, "carol")
        return self.begin(load_example("click_to_dial").connect(carol, *_ARGUMENTS), seconds)

    def test_two_people_talk(self) -> None:
        """The first one hears ringing, then both hear each other; when one hangs up, so does the program."""
        with said() as lines:
            running = self.run_example("click_to_dial", CAROL, *_ARGUMENTS, listen=f"udp:{CAROL}:5060")
            (first,) = self.of_alice
            at_alice = self.hear(first)
            self.clock.advance(0.8)
            self.assertTrue(at_alice.hears(440))
            self.clock.advance(1.0)
            (second,) = self.of_bob
            at_bob = self.hear(second)
            forever(first.play("tone:425", times=None))
            forever(second.play("tone:800", times=None))
            self.clock.advance(2.0)
            self.assertTrue(at_bob.hears(425))
            self.assertTrue(at_alice.hears(800))
            self.assertFalse(at_alice.hears(440))
            second.hang_up()
            self.clock.advance(2.0)
        self.assertIsNone(self.successResultOf(running))
        self.assertEqual(self.successResultOf(first.ended).by, EndedBy.THEM)
        self.assertEqual(lines, ["they talked for 3 s"])

    def test_the_first_one_hangs_up_early(self) -> None:
        """Nobody needs to be called any more: the second call is cancelled."""
        connecting = self.connect(1.0)
        self.of_alice[0].hang_up()
        self.clock.advance(0.5)
        self.assertEqual(self.successResultOf(connecting), 0.0)
        self.assertTrue(self.of_bob[0].is_over)

    def test_the_second_one_is_busy(self) -> None:
        """The first call ends, and the exit status says why."""
        self.bob.on_call = lambda call: call.reject(486)
        with said():
            running = self.run_example("click_to_dial", CAROL, *_ARGUMENTS, listen=f"udp:{CAROL}:5060", seconds=3.0)
        error = self.failureResultOf(running, SystemExit).value
        self.assertEqual(error.code, f"alice@{ALICE} and bob@{BOB}: 486 Busy Here")
        self.assertTrue(self.of_alice[0].is_over)

    def test_the_first_one_does_not_answer(self) -> None:
        """The second one is not called."""
        self.alice.on_call = lambda call: call.reject(603)
        with said():
            running = self.run_example("click_to_dial", CAROL, *_ARGUMENTS, listen=f"udp:{CAROL}:5060", seconds=3.0)
        self.failureResultOf(running, SystemExit)
        self.assertEqual(self.of_bob, [])

    def test_ended_early(self) -> None:
        """To cancel it ends both calls, while the second one rings and while they talk."""
        for seconds in (1.0, 4.0):
            connecting = self.connect(seconds)
            connecting.cancel()
            self.clock.advance(1.0)
            self.failureResultOf(connecting, CancelledError)
            self.assertTrue(self.of_alice[-1].is_over)
            self.assertTrue(self.of_bob[-1].is_over)

    def test_loads(self) -> None:
        """It can be imported, and does nothing then."""
        self.assertIn("sip:alice@", load_example("click_to_dial").__doc__)
