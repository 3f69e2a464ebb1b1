"""Where an INVITE goes when a target fails, and when the next one is tried (RFC 3263 section 4.3, lesson 10)."""

from __future__ import annotations

from sipd.errors import ConnectionRefused, TransportError
from sipd.testing import builders
from sipd.ua.events import Answered, Failed, Refused
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
        """The last address gets its 64*T1, the others four seconds, and the last failure counts."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        self.calling(GATEWAY)
        self.clock.advance(3.8)
        self.assertEqual(self.them.kinds(), [])
        self.clock.advance(0.2)
        self.assertEqual(self.them.kinds(), ["INVITE"])
        self.clock.advance(31.5)
        self.assertEqual(self.user.events, [])
        self.clock.advance(1.0)
        self.assertEqual(self.user.last(Failed).error.status, 408)
        self.settle()

    def test_explanation(self) -> None:
        """It names the targets, which of them was left and why, and the next one."""
        self.network.names["gw.example.net"] = ("2001:db8::5", OTHER, THEM)
        self.calling(GATEWAY)
        self.clock.advance(4.0)
        self.assertEqual(
            self.said,
            [
                f"targets: UDP [2001:db8::5]:5060, UDP {OTHER}:5060, UDP {THEM}:5060",
                "UDP [2001:db8::5]:5060: No listening point speaks UDP over IPv6",
                f"UDP {OTHER}:5060: nothing heard within 4 s; trying the next target, UDP {THEM}:5060",
            ],
        )
        self.answer(486)
        self.settle()

    def test_sign_of_life(self) -> None:
        """A target that says anything, if only 100, is waited for."""
        self.network.names["gw.example.net"] = (THEM, OTHER)
        self.calling(GATEWAY)
        self.answer(100)
        self.clock.advance(40.0)
        self.assertEqual(self.other.kinds(), [])
        self.answer(200)
        self.user.last(Answered)
        self.agent.close()
        self.clock.advance(300.0)

    def test_target_that_wakes_up(self) -> None:
        """One that was left and rings after all gets a CANCEL, and what it answers then disturbs nothing."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        call = self.calling(GATEWAY)
        invite = self.other.request("INVITE")
        self.clock.advance(4.0)
        self.other.take()
        self.other.send(builders.response(invite, 180, to_tag="o1"))
        self.clock.advance(0.1)
        self.assertEqual(self.other.kinds(), ["CANCEL"])
        self.other.send(builders.response(invite, 487, to_tag="o1"))
        self.clock.advance(0.1)
        self.assertEqual((self.other.kinds(), self.user.events), (["ACK"], []))
        self.answer(486)
        self.assertEqual(self.user.last(Refused).response.status, 486)
        self.assertTrue(call.is_over)
        self.settle()

    def test_target_that_answers_too_late(self) -> None:
        """A 2xx of one that was left is acknowledged, each time that it comes, and ended once; the call goes on."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        call = self.calling(GATEWAY)
        invite = self.other.request("INVITE")
        self.clock.advance(4.0)
        self.answer(200)
        call.acknowledge()
        self.clock.advance(0.1)
        self.other.take()
        for kinds in (["ACK", "BYE"], ["ACK"]):
            self.other.send(builders.response(invite, 200, to_tag="o1", contact=f"<sip:bob@{OTHER}>"))
            self.clock.advance(0.1)
            self.assertEqual([kind for kind in self.other.kinds() if kind != "INVITE"], kinds)
        self.assertTrue(call.is_established)
        self.agent.close()
        self.clock.advance(300.0)

    def test_failed_target_rests(self) -> None:
        """The next call begins with the one that worked; after a minute the first has its turn again."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        for status in (503, 0):
            self.calling(GATEWAY)
            if status:
                self.other.send(builders.response(self.other.request("INVITE"), status))
                self.clock.advance(0.1)
            self.answer(486)
        self.assertEqual(self.other.kinds(), ["INVITE", "ACK"])
        self.clock.advance(60.0)
        self.calling(GATEWAY)
        self.assertEqual(self.other.kinds(), ["INVITE"])
        self.clock.advance(4.0)
        self.answer(486)
        self.settle()

    def test_wish_to_be_spared(self) -> None:
        """Retry-After says for how long, if it can be read (RFC 3261 section 20.33)."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        for wish, rests in (("120;duration=60", True), ("5 (soon)", False), ("soon", True), ("-1", True)):
            self.calling(GATEWAY)
            refusal = builders.response(self.other.request("INVITE"), 503, headers=[("Retry-After", wish)])
            self.other.send(refusal)
            self.clock.advance(0.1)
            self.answer(486)
            self.clock.advance(50.0)
            self.other.take()
            self.calling(GATEWAY)
            self.assertEqual(bool(self.other.kinds()), not rests, wish)
            self.clock.advance(4.0)
            self.answer(486)
            self.clock.advance(120.0)
            self.other.take()
            self.them.take()
        self.settle()

    def test_connection_refused(self) -> None:
        """Where nobody takes the connection the next address is tried at once."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        call = self.calling(GATEWAY + ";transport=tcp")
        self.clock.advance(1.0)
        self.assertIn("refused", self.said[1])
        self.assertIn("refused", self.user.last(Failed).error.reason)
        self.assertTrue(call.is_over)
        self.settle()

    def test_datagram_refused(self) -> None:
        """Where the network says that nobody listens the next address is tried at once; the last failure counts."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        self.network.tells_refusals = True
        self.other.close()
        self.calling(GATEWAY)
        self.answer(180)
        self.assertIn("Connection refused", self.said[1])
        self.answer(486)
        self.calling(f"sip:bob@{OTHER}")
        self.clock.advance(0.1)
        self.assertIsInstance(self.user.last(Failed).error, ConnectionRefused)
        self.settle()

    def test_closed_while_it_waits(self) -> None:
        """A user agent that is closed leaves no timer behind."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        self.calling(GATEWAY)
        self.agent.close()
        self.transactions.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(300.0)
        self.assertEqual(self.them.kinds(), [])

    def test_given_up_while_it_waits(self) -> None:
        """A call that is given up before anything was heard is not tried elsewhere."""
        self.network.names["gw.example.net"] = (OTHER, THEM)
        self.calling(GATEWAY).hang_up()
        self.clock.advance(10.0)
        self.assertEqual(self.them.kinds(), [])
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


class DialogTests(AgentCase):
    """Requests inside a dialog whose peer has a name with two addresses."""

    def setUp(self) -> None:
        """Let a call be up, and the first address be silent from now on."""
        super().setUp()
        self.other = Wire(self.network, OTHER)
        self.network.names["gw.example.net"] = (THEM,)
        self.call = self.calling(GATEWAY)
        self.answer(200, contact="<sip:bob@gw.example.net>")
        self.call.acknowledge()
        self.clock.advance(0.1)
        self.them.take()
        self.network.names["gw.example.net"] = (OTHER, THEM)

    def end(self) -> None:
        """Hang up."""
        self.them.take()
        self.call.hang_up()
        self.clock.advance(5.0)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_bye(self) -> None:
        """A BYE that nobody hears goes to the next address: the same request, with a branch of its own."""
        self.call.hang_up()
        self.clock.advance(3.9)
        self.assertEqual(self.them.kinds(), [])
        self.clock.advance(0.5)
        first, second = self.other.request("BYE"), self.them.request("BYE")
        self.assertEqual((first.cseq.number, len(first.vias)), (second.cseq.number, len(second.vias)))
        self.assertNotEqual(first.via.branch, second.via.branch)
        self.them.send(builders.response(second, 200))
        self.clock.advance(0.1)
        self.settle()

    def test_overload_everywhere(self) -> None:
        """The 503 of the last address is the answer; the session goes on."""
        asking = self.call.request("INFO")
        for wire in (self.other, self.them):
            self.clock.advance(0.1)
            wire.send(builders.response(wire.request("INFO"), 503))
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(asking).status, 503)
        self.assertTrue(self.call.is_established)
        self.end()

    def test_change(self) -> None:
        """A later INVITE goes on after 503, but waits where nothing is heard: it never has two ways at once."""
        self.call.reinvite()
        self.clock.advance(10.0)
        self.assertEqual(self.them.kinds(), [])
        self.other.send(builders.response(self.other.request("INVITE"), 503))
        self.clock.advance(0.1)
        invite = self.them.request("INVITE")
        self.assertEqual((invite.cseq.number, invite.to.tag), (2, "t1"))
        self.answer(488, tag="t1")
        self.assertEqual(self.user.last(Refused).response.status, 488)
        self.end()
