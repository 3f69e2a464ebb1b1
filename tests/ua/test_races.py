"""Races inside of a session: BYE against ACK, re-INVITE, CANCEL and late answers (RFC 3261 section 15, RFC 5407)."""

from __future__ import annotations

from sipd.interfaces import Credentials
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.ua.events import Failed, Refused
from sipd.ua.outgoing import OutgoingCall
from tests.ua.support import THEM, US, AgentCase


class CalleeRaceTests(AgentCase):
    """A call that came in."""

    def test_bye_that_comes_instead_of_the_ack_ends_a_session_that_is_left(self) -> None:
        """This side hangs up and waits for the ACK; it is lost, and the peer's BYE is the end (section 15)."""
        self.offered().accept()
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.user.calls[0].hang_up()
        self.them.take()
        self.them.send(builders.bye(self.invite, ok))
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["200"])
        self.assertEqual(len(self.agent), 0)
        self.settle()
        self.assertEqual(self.them.kinds(), [])

    def test_byes_that_cross(self) -> None:
        """Each side's BYE gets its 200, and the session is forgotten once both are through (RFC 5407 3.2)."""
        self.offered().accept()
        self.clock.advance(0.1)
        ok = self.them.response(200)
        self.them.send(builders.ack(self.invite, ok))
        self.clock.advance(0.1)
        self.user.calls[0].hang_up()
        self.them.take()
        self.them.send(builders.bye(self.invite, ok))
        self.clock.advance(0.1)
        self.assertEqual(self.them.response(200).cseq.method, "BYE")
        self.them.send(builders.response(self.them.request("BYE"), 481))
        self.settle()


class CallerRaceTests(AgentCase):
    """A call that goes out."""

    def established(self, credentials: Credentials | None = None) -> OutgoingCall:
        """Give a call that is answered and acknowledged."""
        call = self.calling(credentials=credentials)
        self.ok = self.answer(200)
        call.acknowledge()
        self.clock.advance(0.1)
        self.them.take()
        return call

    def test_hang_up_during_a_change(self) -> None:
        """A re-INVITE that rings for ever does not outlive the BYE: its transaction is given up in the end."""
        call = self.established()
        call.reinvite([("Content-Type", "application/sdp")], builders.sdp())
        self.clock.advance(0.1)
        self.answer(180)
        events = len(self.user.events)
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()
        self.assertEqual(len(self.user.events), events)

    def test_bye_of_the_peer_during_a_change(self) -> None:
        """The peer ends the dialog and never answers the re-INVITE in it: nothing is left of it here."""
        call = self.established()
        call.reinvite([("Content-Type", "application/sdp")], builders.sdp())
        self.clock.advance(0.1)
        reinvite = self.them.request("INVITE")
        self.answer(180)
        self.them.send(self._bye(reinvite))
        self.settle()

    def test_answer_to_a_change_that_crosses_the_bye(self) -> None:
        """The 2xx is acknowledged all the same, and no second BYE is sent."""
        call = self.established()
        call.reinvite()
        self.clock.advance(0.1)
        call.hang_up()
        self.answer(200)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()
        self.assertEqual(self.them.kinds(), ["INVITE", "BYE", "ACK"])

    def test_answer_to_a_change_that_was_given_up(self) -> None:
        """A 2xx that comes after the session was ended for want of it is acknowledged; the BYE was sent already."""
        call = self.established()
        call.reinvite()
        self.clock.advance(32.5)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.clock.advance(1.0)
        self.them.messages = [self.them.request("INVITE")]
        ok = self.answer(200)
        self.them.send(ok)
        self.clock.advance(1.0)
        self.assertEqual([str(one.cseq) for one in self.them.messages[1:]], ["2 ACK", "2 ACK"])
        self.settle()

    def test_refusal_of_a_change_that_crosses_the_bye(self) -> None:
        """The 487 is acknowledged, and the user, who has hung up, hears nothing of it."""
        call = self.established()
        call.reinvite()
        self.clock.advance(0.1)
        call.hang_up()
        events = len(self.user.events)
        self.answer(487)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()
        self.assertEqual(self.them.kinds(), ["INVITE", "BYE", "ACK"])
        self.assertEqual(len(self.user.events), events)

    def test_late_name_for_a_change_of_a_session_that_is_over(self) -> None:
        """The lookup for a re-INVITE ends after the session did: it is not sent."""
        call = self.calling()
        self.answer(200, contact="<sip:bob@gw.example.net>")
        self.network.names["gw.example.net"] = (THEM,)
        call.acknowledge()
        self.clock.advance(1.0)
        self.them.take()
        call.reinvite()
        call.hang_up()
        self.clock.advance(0.4)
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.clock.advance(1.0)
        self.assertEqual(self.them.kinds(), ["BYE"])
        self.settle()

    def test_change_that_is_withdrawn_before_it_was_sent(self) -> None:
        """It is never sent, the user hears that it failed, and the session is as it was."""
        call = self.calling()
        self.answer(200, contact="<sip:bob@gw.example.net>")
        self.network.names["gw.example.net"] = (THEM,)
        call.acknowledge()
        self.clock.advance(1.0)
        self.them.take()
        call.reinvite()
        call.withdraw()
        self.assertEqual(self.user.last(Failed).error.status, 487)
        self.clock.advance(1.0)
        self.assertEqual(self.them.kinds(), [])
        self.assertTrue(call.is_established)
        call.hang_up()
        self.settle()

    def test_withdrawn_change(self) -> None:
        """CANCEL goes out with its header fields; the 487 is told, and the session is as it was (section 14.1)."""
        call = self.established()
        call.reinvite()
        self.clock.advance(0.1)
        self.answer(180)
        call.withdraw([("Reason", "SIP;cause=487")])
        call.withdraw()
        self.assertTrue(call.is_changing)
        self.clock.advance(0.1)
        cancel = self.them.request("CANCEL")
        self.assertEqual(cancel.headers.get_all("Reason"), ["SIP;cause=487"])
        self.them.send(builders.response(cancel, 200))
        self.answer(487)
        self.assertEqual(self.user.last(Refused).response.status, 487)
        self.assertEqual(self.them.kinds(), ["INVITE", "CANCEL", "ACK"])
        self.assertTrue(call.is_established)
        self.assertFalse(call.is_changing)
        call.hang_up()
        self.settle()

    def test_nothing_to_withdraw(self) -> None:
        """A session that is not being changed, or is not established, is not disturbed."""
        call = self.calling()
        call.withdraw()
        self.answer(180)
        self.assertEqual(self.them.kinds()[1:], [])
        self.them.messages = [call.invite]
        call.hang_up()
        self.settle()

    def test_challenged_bye_after_a_crossing_cancel(self) -> None:
        """The BYE of a dialog that nobody wanted counts on: its repetition has a number of its own (22.2)."""
        call = self.calling(credentials=Credentials(username="us", password="secret"))
        self.answer(180)
        call.hang_up()
        self.answer(200)
        first = self.them.request("BYE")
        challenge = [("Proxy-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]
        self.them.send(builders.response(first, 407, headers=challenge))
        self.clock.advance(0.1)
        second = self.them.request("BYE")
        self.assertEqual((first.cseq.number, second.cseq.number), (2, 3))
        self.settle()

    def test_nonce_is_counted_through_the_session(self) -> None:
        """A nonce that the INVITE was answered with has its next count in the BYE (RFC 7616 section 3.4)."""
        call = self.calling(credentials=Credentials(username="us", password="secret"))
        challenge = [("Proxy-Authenticate", 'Digest realm="r", nonce="n", qop="auth"')]
        self.answer(407, headers=challenge)
        self.assertIn("nc=00000001", self.them.request("INVITE").headers.get("Proxy-Authorization") or "")
        self.answer(200)
        call.acknowledge()
        call.hang_up()
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("BYE"), 407, headers=challenge))
        self.clock.advance(0.1)
        self.assertIn("nc=00000002", self.them.request("BYE").headers.get("Proxy-Authorization") or "")
        self.settle()

    def _bye(self, invite: Request) -> Request:
        return builders.request(
            "BYE", f"sip:alice@{US}", from_tag="t1", to_tag=invite.from_.tag, call_id=invite.call_id, via=f"{THEM}:5060"
        )
