"""Offers in a 2xx that nobody wants any more: the ACK answers them all the same (RFC 3261 section 13.2.2.4)."""

from __future__ import annotations

from sipd.sdp.description import parse_description
from sipd.sip.message import Request
from sipd.testing import builders
from tests.ua.support import THEM, AgentCase


class DecliningTests(AgentCase):
    """An INVITE without an offer, whose 2xx makes one."""

    def test_crosses_the_cancel(self) -> None:
        """The 200 that crosses the CANCEL is answered with all streams refused, each time the same, and ended."""
        call = self.calling()
        invite = self.them.request("INVITE")
        self.them.send(builders.response(invite, 180, to_tag="t1", contact=f"<sip:bob@{THEM}>"))
        self.clock.advance(0.1)
        call.hang_up()
        self.clock.advance(0.1)
        ok = builders.response(
            invite, 200, to_tag="t1", contact=f"<sip:bob@{THEM}>", body=builders.sdp(media=("audio", "video"))
        )
        for _ in range(2):
            self.them.send(ok)
            self.clock.advance(0.1)
        acks = [one for one in self.them.messages if isinstance(one, Request) and one.method == "ACK"]
        self.assertEqual(len({ack.body for ack in acks}), 1)
        self.assertEqual(acks[0].content_type, "application/sdp")
        answer = parse_description(acks[0].body)
        self.assertEqual([(media.media, media.port) for media in answer.media], [("audio", 0), ("video", 0)])
        self.them.send(builders.response(self.them.request("BYE"), 200))
        self.settle()

    def test_goes_on_from_what_was_said(self) -> None:
        """In a session that this side has described the origin is the same, one version on (RFC 3264 section 8)."""
        for origin, expected in (("- 77 4 IN IP4 192.0.2.1", "- 77 5 IN IP4 192.0.2.1"), ("- 77 x IN IP4 h", None)):
            self.setUp()
            call = self.calling(body=b"v=0\r\no=" + origin.encode() + b"\r\ns=-\r\nt=0 0\r\n")
            self.answer(200, body=builders.sdp())
            call.acknowledge()
            call.reinvite()
            self.clock.advance(0.1)
            self.answer(200, body=builders.sdp())
            call.hang_up()
            self.clock.advance(0.1)
            answer = parse_description(self.them.request("ACK").body)
            self.assertEqual([media.port for media in answer.media], [0])
            self.assertTrue(answer.origin == expected if expected else not (answer.origin or "").startswith("- 77 "))
            self.them.send(builders.response(self.them.request("BYE"), 200))
            self.settle()

    def test_what_is_no_offer(self) -> None:
        """A body that nobody can read, or of another type, gets a plain ACK."""
        for body, kind in ((b"v=0\r\nm=oops", "application/sdp"), (b"hello", "text/plain")):
            call = self.calling()
            invite = self.them.request("INVITE")
            ok = builders.response(
                invite, 200, to_tag="t1", contact=f"<sip:bob@{THEM}>", body=body, headers=[("Content-Type", kind)]
            )
            self.them.send(ok)
            self.clock.advance(0.1)
            call.hang_up()
            self.clock.advance(0.1)
            self.assertEqual(self.them.request("ACK").body, b"")
            self.them.send(builders.response(self.them.request("BYE"), 200))
            self.settle()
