"""A session that is dropped without a word, in every state it can be in."""

from __future__ import annotations

from sipd.sip.headers import Headers
from sipd.sip.message import Request
from sipd.testing import builders
from sipd.ua.incoming import IncomingCall
from sipd.ua.outgoing import OutgoingCall
from tests.ua.support import THEM, US, AgentCase

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"


class DroppingTests(AgentCase):
    """What `Session.drop` says to the other side: nothing."""

    def incoming(self) -> IncomingCall:
        """Give a call that came in and is acknowledged."""
        call = self.offered()
        call.accept()
        self.clock.advance(0.1)
        self.them.send(builders.ack(self.invite, self.them.response(200)))
        self.clock.advance(0.1)
        return call

    def outgoing(self) -> OutgoingCall:
        """Give a call that went out and is acknowledged."""
        call = self.calling()
        self.answer(200)
        call.acknowledge()
        self.clock.advance(0.1)
        return call

    def check_silence(self, call: IncomingCall | OutgoingCall) -> None:
        """Drop a call; from then on nothing is sent, nothing is told, and nothing is left."""
        events = len(self.user.events)
        self.them.take()
        call.drop()
        self.assertTrue(call.is_over)
        self.assertNotIn(call, self.agent)
        call.drop()
        call.hang_up()
        self.settle()
        self.assertEqual((self.them.kinds(), len(self.user.events)), ([], events))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_talking(self) -> None:
        """Calls of both directions end without BYE; a later request of the peer in the dialog gets 481."""
        self.check_silence(self.outgoing())
        call = self.incoming()
        ok = self.them.response(200)
        self.check_silence(call)
        self.them.send(builders.bye(self.invite, ok))
        self.clock.advance(0.1)
        self.assertEqual(self.them.kinds(), ["481"])

    def test_ringing(self) -> None:
        """An offered call is forgotten with its transaction; who still accepts it is heard by nobody."""
        call = self.offered()
        call.ring()
        self.clock.advance(0.1)
        self.check_silence(call)
        call.accept()
        self.settle()
        self.assertEqual(self.them.kinds(), [])

    def test_awaiting_an_ack(self) -> None:
        """The 2xx is not repeated any more."""
        call = self.offered()
        call.accept()
        self.clock.advance(0.1)
        self.check_silence(call)

    def test_calling(self) -> None:
        """The INVITE is not repeated, nor cancelled when a 180 comes; a late 200 is neither acknowledged nor ended."""
        call = self.calling()
        invite = self.them.request("INVITE")
        self.check_silence(call)
        for status in (180, 200):
            self.them.send(builders.response(invite, status, to_tag="t1", contact=f"<sip:bob@{THEM}>"))
            self.clock.advance(0.1)
        self.settle()
        self.assertEqual(self.them.kinds(), [])

    def test_early(self) -> None:
        """The same after a provisional response."""
        call = self.calling()
        self.answer(183)
        self.check_silence(call)

    def test_answered(self) -> None:
        """A 200 that was not acknowledged yet stays so, however often it comes."""
        call = self.calling()
        response = self.answer(200)
        self.check_silence(call)
        self.them.send(response)
        self.settle()
        self.assertEqual(self.them.kinds(), [])

    def test_changing(self) -> None:
        """INVITEs within the dialog, of either side, are forgotten as well."""
        ours = self.outgoing()
        ours.reinvite((("Content-Type", "application/sdp"),), SDP)
        self.clock.advance(0.1)
        self.check_silence(ours)
        theirs = self.incoming()
        headers = Headers(
            [
                ("Via", f"SIP/2.0/UDP {THEM}:5060;branch=z9hG4bKagain;rport"),
                ("From", self.invite.headers.get("From") or ""),
                ("To", f"<sip:bob@{US}>;tag={theirs.local_tag}"),
                ("Call-ID", self.invite.call_id),
                ("CSeq", "2 INVITE"),
                ("Contact", f"<sip:alice@{THEM}>"),
                ("Max-Forwards", "70"),
            ]
        )
        self.them.send(Request("INVITE", f"sip:bob@{US}", headers))
        self.clock.advance(0.05)
        self.check_silence(theirs)

    def test_not_started(self) -> None:
        """A call that never left, or whose targets are still being looked for, leaves nothing."""
        call = self.ready()
        call.drop()
        call.start()
        looking = self.ready("sip:bob@nowhere.example.com")
        looking.start()
        self.check_silence(looking)

    def test_transactions_of_others(self) -> None:
        """Only what belongs to the session is forgotten."""
        other = self.offered()
        self.calling().drop()
        self.assertEqual(len(self.transactions), 1)
        other.reject(486)
        self.settle()
