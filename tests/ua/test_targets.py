"""Where an INVITE goes when a target fails, and when the next one is tried (RFC 3263 section 4.3, lesson 10)."""

from __future__ import annotations

from sipd.errors import TransportError
from sipd.testing import builders
from sipd.ua.events import Failed, Refused
from tests.ua.support import OTHER, THEM, AgentCase, Wire

GATEWAY = "sip:bob@gw.example.net"


class FailoverTests(AgentCase):
    """A name with several addresses."""

    def setUp(self) -> None:
        """Add a second place."""
        super().setUp()
        self.other = Wire(self.network, OTHER)
        self.said: list[str] = []
        self.agent.explanation = lambda session, text: self.said.append(text)

    def test_refusals_are_final(self) -> None:
        """Only 503 and silence move on: who refuses the call has spoken for all addresses."""
        self.network.names["gw.example.net"] = (THEM, OTHER)
        for status in (404, 486, 500, 603):
            self.calling(GATEWAY)
            self.answer(status)
            self.assertEqual(self.user.last(Refused).response.status, status)
        self.assertEqual(self.other.kinds(), [])
        self.settle()

    def test_last_503_is_final(self) -> None:
        """A 503 of the last address is the refusal."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        self.calling(GATEWAY)
        self.other.send(builders.response(self.other.request("INVITE"), 503))
        self.clock.advance(0.1)
        self.answer(503)
        self.assertEqual(self.user.last(Refused).response.status, 503)
        self.settle()

    def test_silence_of_all(self) -> None:
        """Each address gets its 64*T1; the explanation says when the next one is tried, and the last failure counts."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        self.calling(GATEWAY)
        self.clock.advance(33.0)
        self.assertIn("trying the next target", self.said[0])
        self.assertEqual(self.user.events, [])
        self.clock.advance(33.0)
        self.assertEqual(self.user.last(Failed).error.status, 408)
        self.settle()

    def test_no_next_target_after_a_cancel(self) -> None:
        """A call that was given up is not tried elsewhere, whether the first place is silent or overloaded."""
        self.network.names["gw.example.net"] = (THEM, OTHER)
        for status in (0, 503):
            call = self.calling(GATEWAY)
            if status:
                self.answer(180)
            call.hang_up()
            if status:
                self.answer(status)
            self.clock.advance(40.0)
            self.assertEqual(self.other.kinds(), [])
            self.settle()

    def test_address_that_cannot_be_spoken_to(self) -> None:
        """Without a listening point for its version of IP an address is passed over; alone, it fails the call."""
        self.network.names["gw.example.net"] = ("2001:db8::5", THEM)
        self.calling(GATEWAY)
        self.answer(486)
        self.user.last(Refused)
        self.calling("sip:bob@[2001:db8::5]")
        error = self.user.last(Failed).error
        self.assertIsInstance(error, TransportError)
        self.assertIn("IPv6", error.reason)
        self.settle()

    def test_no_room_for_a_transaction(self) -> None:
        """A transaction layer that is full fails the call at once, and nothing is sent."""
        self.transactions._max_transactions = 0
        call = self.calling()
        error = self.user.last(Failed).error
        self.assertIsInstance(error, TransportError)
        self.assertIn("transactions", error.reason)
        self.assertEqual((self.them.kinds(), call.is_over), ([], True))
        self.settle()

    def test_name_that_is_found_after_the_end(self) -> None:
        """A call that is given up while its name is looked up is never sent."""
        self.network.names["gw.example.net"] = (THEM,)
        call = self.ready(GATEWAY)
        call.start()
        call.hang_up()
        self.clock.advance(1.0)
        self.assertEqual((self.them.kinds(), self.user.events), ([], []))
        self.settle()
