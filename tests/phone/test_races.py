"""What crosses on the way, and peers that answer in ways of their own."""

from __future__ import annotations

from twisted.internet.defer import CancelledError

from sipd.errors import CallFailedError, InvalidStateError, ParseError
from sipd.phone.dialing import OutgoingCall
from sipd.phone.errors import DialError
from sipd.phone.progress import DialProgress
from sipd.sip.message import Request, Response
from sipd.testing import builders
from tests.phone.raw import RAW, RawCase

#: An answer that nobody who has offered G.711 can use.
UNUSABLE = builders.sdp(RAW, 40000).replace(b"RTP/AVP 0 8 101", b"RTP/AVP 18")


class EarlyMediaTests(RawCase):
    """Descriptions before the answer."""

    def test_bad_then_good(self) -> None:
        """Early media that cannot be used, however often, do not spoil the answer."""
        dialling = self.dial()
        invite = self.raw.last("INVITE")
        for _ in range(2):
            self.raw.respond(invite, 183, UNUSABLE)
            self.clock.advance(0.1)
        self.raw.respond(invite, 200, self.answer())
        self.clock.advance(0.1)
        call = self.successResultOf(dialling)
        self.assertFalse(call.has_early_media)
        self.assertEqual(call.audio.codec, "pcmu/8000")

    def test_then_an_answer_without(self) -> None:
        """Where the answer has no description, that of the same callee before it holds, not that of another one."""
        dialling = self.dial()
        invite = self.raw.last("INVITE")
        for tag, port in (("one", 40000), ("other", 50000)):
            self.raw.respond(invite, 183, self.answer(port), tag=tag)
            self.clock.advance(0.1)
        self.raw.respond(invite, 200, tag="one")
        self.clock.advance(0.1)
        self.assertEqual(self.successResultOf(dialling).audio.remote, (RAW, 40000))

    def test_of_somebody_else(self) -> None:
        """An answer without a description is none if only another callee has sent one."""
        dialling = self.dial()
        invite = self.raw.last("INVITE")
        self.raw.respond(invite, 183, self.answer(), tag="one")
        self.clock.advance(0.1)
        self.raw.respond(invite, 200, tag="other")
        self.clock.advance(0.1)
        self.failureResultOf(dialling, DialError)
        self.assertEqual((self.raw.count("ACK"), self.raw.count("BYE")), (1, 1))
        self.leave()

    def test_hung_up_by_who_is_told(self) -> None:
        """Who hangs up when it hears of early media gets no error, and the callee a CANCEL."""

        def progressed(step: DialProgress) -> None:
            if step.status == 183:
                for call in list(self.alice.calls):
                    call.hang_up()

        dialling = self.dial(on_progress=progressed)
        invite = self.raw.last("INVITE")
        self.raw.respond(invite, 183, self.answer())
        self.clock.advance(0.1)
        self.failureResultOf(dialling, DialError)
        self.raw.respond(self.raw.last("CANCEL"), 200)
        self.raw.respond(invite, 487)
        self.clock.advance(0.1)


class ChangeTests(RawCase):
    """Changes that the peer answers badly, late, or crosses."""

    def give_up_holding(self) -> tuple[OutgoingCall, Request]:
        """Give a call that was to be held, and the INVITE for it, which was cancelled before its answer."""
        call = self.established()
        holding = call.hold()
        self.clock.advance(0.1)
        invite = self.raw.last("INVITE")
        self.raw.respond(invite, 100)
        self.clock.advance(0.1)
        holding.cancel()
        self.failureResultOf(holding, CancelledError)
        self.clock.advance(0.1)
        self.raw.respond(self.raw.last("CANCEL"), 200)
        return call, invite

    def test_answer_without_a_description(self) -> None:
        """A change that is answered without a description has failed, and the next one is tried."""
        call = self.established()
        for body in (b"", UNUSABLE):
            holding = call.hold()
            self.clock.advance(0.1)
            self.raw.respond(self.raw.last("INVITE"), 200, body, tag="")
            self.clock.advance(0.1)
            self.failureResultOf(holding, ParseError)
        holding = call.hold()
        self.clock.advance(0.1)
        self.raw.respond(self.raw.last("INVITE"), 200, self.answer().replace(b"sendrecv", b"recvonly"))
        self.clock.advance(0.1)
        self.successResultOf(holding)
        self.assertTrue(call.is_held)
        call.hang_up()
        self.leave()

    def test_cancelled(self) -> None:
        """A change that nobody waits for any more is cancelled; what the peer has agreed to before that holds."""
        call, invite = self.give_up_holding()
        self.raw.respond(invite, 200, self.answer().replace(b"sendrecv", b"recvonly"))
        self.clock.advance(0.1)
        self.assertEqual(self.raw.last("ACK").cseq.number, invite.cseq.number)
        self.assertTrue(call.is_held)
        self.assertFalse(call.audio.is_receiving)
        resuming = call.resume()
        self.clock.advance(0.1)
        self.raw.respond(self.raw.last("INVITE"), 200, self.answer())
        self.clock.advance(0.1)
        self.successResultOf(resuming)
        call.hang_up()
        self.leave()

    def test_cancelled_in_time(self) -> None:
        """A change that is cancelled in time changes nothing."""
        call, invite = self.give_up_holding()
        self.raw.respond(invite, 487)
        self.clock.advance(0.1)
        self.assertFalse(call.is_held)
        self.assertTrue(call.is_established)
        call.hang_up()
        self.leave()

    def test_stopped_meanwhile(self) -> None:
        """A change that waits for its next attempt ends with the call, and leaves no timer."""
        call = self.established()
        changes = [call.hold(), call.resume()]
        self.clock.advance(0.1)
        self.raw.respond(self.raw.last("INVITE"), 491)
        self.clock.advance(0.1)
        stopping = self.alice.stopService()
        self.leave()
        self.clock.advance(0.1)
        self.successResultOf(stopping)
        self.failureResultOf(changes[0], CallFailedError)
        self.failureResultOf(changes[1], InvalidStateError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_storm(self) -> None:
        """A peer whose changes always cross ours is not asked for ever; the call goes on."""
        call = self.established()
        holding = call.hold()
        for _ in range(40):
            self.clock.advance(0.5)
            if holding.called:
                break
            invite = self.raw.last("INVITE")
            if invite.to.tag:
                self.raw.respond(invite, 491)
        self.assertEqual(self.failureResultOf(holding, CallFailedError).value.status, 491)
        self.assertTrue(call.is_established)
        call.hang_up()
        self.leave()

    def test_number_of_streams(self) -> None:
        """An answer with another number of streams than the offer has changes nothing."""
        call = self.established()
        renegotiating = call.renegotiate()
        self.clock.advance(0.1)
        self.raw.respond(self.raw.last("INVITE"), 200, builders.sdp(RAW, 40000, media=("audio", "video")))
        self.clock.advance(0.1)
        self.failureResultOf(renegotiating, ParseError)
        self.assertEqual(call.audio.remote, (RAW, 40000))
        call.hang_up()
        self.leave()


class PeerChangeTests(RawCase):
    """Changes that the peer asks for, and refreshes."""

    def ask(self, call: OutgoingCall, body: bytes, content_type: str = "application/sdp") -> Response:
        """Let the peer send an INVITE inside the call; give its last response."""
        invite = self.raw.ask_in_call("INVITE", body=body, content_type=content_type)
        self.clock.advance(0.1)
        response = self.raw.responses[-1]
        self.raw.send(builders.ack(invite, response))
        self.clock.advance(0.1)
        return response

    def test_places_and_codecs(self) -> None:
        """The peer may change its address, its port and its codec in the middle of a call."""
        call = self.established()
        offer = builders.sdp("192.0.2.51", 50000, version=2).replace(b"AVP 0 8", b"AVP 8")
        self.assertEqual(self.ask(call, offer).status, 200)
        self.assertEqual((call.audio.remote, call.audio.codec), (("192.0.2.51", 50000), "pcma/8000"))
        call.hang_up()
        self.leave()

    def test_streams_come_and_go(self) -> None:
        """A stream that is new is refused, and the one that is there goes on; 488 where none can be used."""
        call = self.established()
        response = self.ask(call, builders.sdp(RAW, 40000, media=("audio", "video"), version=2))
        lines = [line for line in response.body.split(b"\r\n") if line.startswith(b"m=")]
        self.assertEqual([line.split()[1] == b"0" for line in lines], [False, True])
        self.assertEqual(self.ask(call, UNUSABLE).status, 488)
        self.assertEqual(call.audio.codec, "pcmu/8000")
        self.assertTrue(call.is_established)
        call.hang_up()
        self.leave()

    def test_several_parts(self) -> None:
        """A description may be one part of several (RFC 5621)."""
        call = self.established()
        parts = (
            b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
            b"--x\r\nContent-Type: application/sdp\r\n\r\n" + builders.sdp(RAW, 44000, version=2) + b"\r\n--x--\r\n"
        )
        self.assertEqual(self.ask(call, parts, "multipart/mixed;boundary=x").status, 200)
        self.assertEqual(call.audio.remote, (RAW, 44000))
        call.hang_up()
        self.leave()

    def test_refresh_on_hold(self) -> None:
        """A refresh of a session that is held says so still (RFC 4028 section 7.4)."""
        dialling = self.dial()
        timer = (("Session-Expires", "90;refresher=uac"), ("Require", "timer"))
        self.raw.respond(self.raw.last("INVITE"), 200, self.answer(), headers=timer)
        self.clock.advance(0.1)
        call = self.successResultOf(dialling)
        holding = call.hold()
        self.clock.advance(0.1)
        held = self.raw.last("INVITE")
        self.raw.respond(held, 200, self.answer().replace(b"sendrecv", b"recvonly"), headers=timer)
        self.clock.advance(0.1)
        self.successResultOf(holding)
        self.clock.advance(46.0)
        refresh = self.raw.last("INVITE")
        self.assertGreater(refresh.cseq.number, held.cseq.number)
        self.assertEqual(refresh.body, held.body)
        self.assertIn(b"a=sendonly", refresh.body)
        self.raw.respond(refresh, 200, self.answer().replace(b"sendrecv", b"recvonly"), headers=timer)
        self.clock.advance(0.1)
        self.assertTrue(call.is_held)
        call.hang_up()
        self.leave()
