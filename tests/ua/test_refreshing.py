"""Session timers of a session, on both sides and in both roles (RFC 4028)."""

from __future__ import annotations

from sipd.sip.message import Request
from sipd.sip.session_timer import SessionTimerPolicy
from sipd.testing import builders
from sipd.ua.events import Answered, Ended, EndedBy, Failed
from sipd.ua.incoming import IncomingCall
from sipd.ua.outgoing import OutgoingCall
from sipd.ua.settings import AgentSettings
from tests.ua.support import THEM, US, AgentCase

TIMER = ("Supported", "timer")


class RefreshingCase(AgentCase):
    """Sessions with timers."""

    def setUp(self) -> None:
        """Ask for 600 s."""
        super().setUp()
        self.agent.settings = AgentSettings(session_timer=SessionTimerPolicy(interval=600))

    def outgoing(self, *headers: tuple[str, str], body: bytes = b"") -> OutgoingCall:
        """Give a call that goes out, answered with those fields."""
        call = self.calling(body=body)
        self.first = self.them.request("INVITE")
        self.answer(200, headers=headers)
        call.acknowledge()
        self.clock.advance(0.1)
        self.them.take()
        return call

    def incoming(self, *headers: tuple[str, str]) -> IncomingCall:
        """Give a call that comes in with those fields, and that is acknowledged."""
        call = self.offered(headers=headers)
        call.accept((("Content-Type", "application/sdp"),), builders.sdp(US))
        self.clock.advance(0.1)
        self.ok = self.them.response(200)
        self.them.send(builders.ack(self.invite, self.ok))
        self.clock.advance(0.1)
        self.them.take()
        return call

    def update(self, *headers: tuple[str, str], cseq: int = 2) -> None:
        """Let the caller refresh."""
        self.them.send(
            builders.request(
                "UPDATE",
                f"sip:bob@{US}",
                call_id=self.invite.call_id,
                from_tag=self.invite.from_.tag or "",
                to_tag=self.ok.to.tag,
                cseq=cseq,
                branch=f"z9hG4bK-u{cseq}",
                via=f"{THEM}:5060",
                contact=f"<sip:alice@{THEM}>",
                headers=headers,
            )
        )
        self.clock.advance(0.1)

    def reply(self, method: str, status: int, *headers: tuple[str, str], body: bytes = b"") -> Request:
        """Let the other end answer the last request of a method."""
        request = self.them.request(method)
        self.them.take()
        self.them.send(builders.response(request, status, contact=f"<sip:bob@{THEM}>", headers=headers, body=body))
        self.clock.advance(0.1)
        return request

    def hung_up(self, call: OutgoingCall | IncomingCall) -> None:
        """Hang up; no timer is left."""
        call.hang_up()
        self.clock.advance(0.1)
        self.reply("BYE", 200)
        self.settle()

    def expired(self, text: str) -> None:
        """Check that the session has just ended for want of a refresh, and that the peer is told why."""
        ended = self.user.last(Ended)
        self.assertEqual((ended.by, ended.text), (EndedBy.FAILURE, text))
        self.clock.advance(0.1)
        bye = self.reply("BYE", 200)
        self.assertEqual(bye.headers.get("Reason"), f'SIP;cause=408;text="{text}"')
        self.settle()


class CallerTests(RefreshingCase):
    """This side made the call."""

    def test_asks(self) -> None:
        """The INVITE says how long, and names no refresher (section 7.1); the ACK says nothing."""
        call = self.outgoing()
        self.assertEqual(self.first.headers.get("Session-Expires"), "600")
        self.assertIn("timer", self.first.headers.get("Supported") or "")
        self.clock.advance(3600.0)
        self.assertEqual(self.them.kinds(), [])
        self.hung_up(call)

    def test_refreshes_by_update(self) -> None:
        """At half of the interval, again and again, where the peer has UPDATE (section 7.4)."""
        agreed = ("Session-Expires", "600;refresher=uac")
        call = self.outgoing(agreed, ("Require", "timer"), ("Allow", "INVITE, ACK, BYE, UPDATE"))
        for _ in range(3):
            self.clock.advance(299.7)
            self.assertEqual(self.them.kinds(), [])
            self.clock.advance(0.3)
            refresh = self.reply("UPDATE", 200, agreed)
            self.assertEqual(refresh.headers.get("Session-Expires"), "600;refresher=uac")
            self.assertEqual((refresh.body, len(refresh.contacts)), (b"", 1))
        self.assertFalse(any(isinstance(event, Ended) for event in self.user.events))
        self.hung_up(call)

    def test_refreshes_by_invite(self) -> None:
        """Where the peer has no UPDATE it gets the same offer again; the user hears nothing, and the ACK is sent."""
        offer = builders.sdp(US)
        call = self.outgoing(("Session-Expires", "600;refresher=uac"), ("Allow", "INVITE, ACK, BYE"), body=offer)
        events = len(self.user.events)
        self.clock.advance(300.0)
        self.assertEqual(self.reply("INVITE", 200, ("Session-Expires", "600;refresher=uac")).body, offer)
        self.assertEqual(self.them.kinds(), ["ACK"])
        self.assertEqual(len(self.user.events), events)
        self.clock.advance(300.0)
        self.assertEqual(self.them.kinds(), ["INVITE"])
        call.hang_up()
        self.clock.advance(100.0)
        self.settle()

    def test_refresh_that_is_refused(self) -> None:
        """A refusal leaves the session until its time is over; 491 is tried again."""
        self.outgoing(("Session-Expires", "600;refresher=uac"), ("Allow", "UPDATE"))
        self.clock.advance(300.0)
        self.reply("UPDATE", 491)
        self.clock.advance(4.0)
        self.reply("UPDATE", 500)
        self.clock.advance(200.0)
        self.assertEqual(self.them.kinds(), [])
        self.clock.advance(64.0)
        self.expired("The session timer expired")

    def test_refresh_into_the_void(self) -> None:
        """A refresh that nobody answers ends the session (section 10)."""
        self.outgoing(("Session-Expires", "600;refresher=uac"), ("Allow", "UPDATE"))
        self.clock.advance(332.5)
        self.expired("The session refresh failed: No final response")

    def test_refresh_while_a_change_is_under_way(self) -> None:
        """It waits; the change refreshes the session, too."""
        agreed = ("Session-Expires", "600;refresher=uac")
        call = self.outgoing(agreed, ("Allow", "UPDATE"))
        self.clock.advance(299.0)
        call.reinvite((("Content-Type", "application/sdp"),), builders.sdp(US))
        self.clock.advance(1.5)
        self.assertEqual(set(self.them.kinds()), {"INVITE"})
        self.assertTrue(call.is_changing)
        self.clock.advance(1.0)
        self.reply("INVITE", 200, agreed)
        call.acknowledge()
        self.clock.advance(200.0)
        self.assertEqual(self.them.kinds(), ["ACK"])
        self.hung_up(call)

    def test_peer_that_never_refreshes(self) -> None:
        """Where the peer is to refresh and does not, the session ends so early that the BYE arrives in time."""
        self.outgoing(("Session-Expires", "600;refresher=uas"))
        self.clock.advance(567.8)
        self.assertEqual(self.them.kinds(), [])
        self.clock.advance(0.3)
        self.expired("The session timer expired")

    def test_interval_too_small(self) -> None:
        """422 is answered with another INVITE, as long as the callee wants it; too many are a refusal (section 7.3)."""
        call = self.calling()
        self.answer(422, headers=[("Min-SE", "900")])
        self.clock.advance(0.1)
        again = self.them.request("INVITE")
        self.assertEqual((again.headers.get("Session-Expires"), again.headers.get("Min-SE")), ("900", "900"))
        self.assertEqual((again.cseq.number, again.headers.get_all("Max-Forwards")), (2, ["70"]))
        self.answer(200, headers=[("Session-Expires", "900;refresher=uac")])
        self.user.last(Answered)
        call.acknowledge()
        self.clock.advance(0.1)
        self.hung_up(call)


class CalleeTests(RefreshingCase):
    """The peer made the call."""

    def test_agrees(self) -> None:
        """The 2xx says how long, and who refreshes (section 9); the caller does, and nothing ends."""
        call = self.incoming(TIMER, ("Session-Expires", "400;refresher=uac"))
        self.assertEqual(self.ok.headers.get("Session-Expires"), "400;refresher=uac")
        self.assertEqual(self.ok.headers.get("Require"), "timer")
        for number in range(2, 6):
            self.clock.advance(200.0)
            self.update(TIMER, ("Session-Expires", "400;refresher=uac"), cseq=number)
            self.assertEqual(self.them.response(200).headers.get("Session-Expires"), "400;refresher=uac")
        self.assertFalse(any(isinstance(event, Ended | Failed) for event in self.user.events))
        self.hung_up(call)

    def test_expires(self) -> None:
        """A caller that stops refreshing is hung up on."""
        self.incoming(TIMER, ("Session-Expires", "400;refresher=uac"))
        self.clock.advance(367.6)
        self.assertEqual(self.them.kinds(), [])
        self.clock.advance(0.5)
        self.expired("The session timer expired")

    def test_refreshes(self) -> None:
        """Where the caller leaves it open, this side refreshes: with its answer, if the caller has no UPDATE."""
        call = self.incoming(TIMER, ("Session-Expires", "1800"))
        self.assertEqual(self.ok.headers.get("Session-Expires"), "600;refresher=uas")
        self.clock.advance(300.0)
        refresh = self.reply("INVITE", 200, ("Session-Expires", "600;refresher=uac"))
        self.assertEqual(refresh.headers.get("Session-Expires"), "600;refresher=uac")
        self.assertEqual(refresh.body, self.ok.body)
        self.hung_up(call)

    def test_caller_without_timers(self) -> None:
        """Nothing is asked of it."""
        call = self.incoming()
        self.assertNotIn("Session-Expires", self.ok.headers)
        self.clock.advance(7200.0)
        self.assertEqual(self.them.kinds(), [])
        self.hung_up(call)

    def test_interval_too_small(self) -> None:
        """A call with an interval below the minimum gets 422 with Min-SE, and nobody hears of it."""
        self.invite = builders.invite(
            f"sip:bob@{US}", via=f"{THEM}:5060", contact=f"<sip:alice@{THEM}>",
            headers=[TIMER, ("Session-Expires", "30")],
        )  # fmt: skip
        self.them.send(self.invite)
        self.clock.advance(0.1)
        refusal = self.them.response(422)
        self.assertEqual(refusal.headers.get("Min-SE"), "90")
        self.them.send(builders.ack(self.invite, refusal))
        self.assertEqual(self.user.calls, [])
        self.settle()


class PingTests(RefreshingCase):
    """A peer that knows no session timers is asked whether it is there."""

    def setUp(self) -> None:
        """Ask every minute."""
        super().setUp()
        self.agent.settings = AgentSettings(ping_interval=60.0)

    def test_is_there(self) -> None:
        """Any answer will do, on either side; the next question comes a minute after it."""
        for make in (self.incoming, self.outgoing):
            call = make()
            for status in (200, 405, 500):
                self.clock.advance(60.0)
                self.reply("OPTIONS", status)
                self.assertEqual(self.them.kinds(), [])
            self.assertTrue(call.is_established)
            call.hang_up()
            self.clock.advance(0.1)
            self.reply("BYE", 200)
        self.settle()

    def test_is_gone(self) -> None:
        """481 and silence end the session."""
        for status in (481, 0):
            call = self.outgoing()
            self.clock.advance(60.0)
            if status:
                self.reply("OPTIONS", status)
            else:
                self.clock.advance(33.0)
            self.assertEqual(self.user.last(Ended).by, EndedBy.FAILURE)
            self.assertTrue(call.is_over)
            self.clock.advance(0.1)
            self.reply("BYE", 200)
        self.settle()

    def test_has_timers(self) -> None:
        """A peer with a session timer is not asked besides."""
        call = self.outgoing(("Session-Expires", "600;refresher=uas"))
        self.clock.advance(500.0)
        self.assertEqual(self.them.kinds(), [])
        self.hung_up(call)

    def test_is_changing(self) -> None:
        """Nor is one that is busy with a change: the answer to that will tell."""
        call = self.outgoing()
        call.reinvite((("Content-Type", "application/sdp"),), builders.sdp(US))
        self.clock.advance(0.1)
        self.them.send(builders.response(self.them.request("INVITE"), 180))
        self.them.take()
        self.clock.advance(100.0)
        self.assertNotIn("OPTIONS", self.them.kinds())
        call.hang_up()
        self.clock.advance(100.0)
        self.settle()
