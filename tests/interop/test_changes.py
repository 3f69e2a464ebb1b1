"""Sessions change, with SIPp at both ends of sipd: hold, streams, codecs, targets, late offers, and what goes wrong."""

from __future__ import annotations

from tests.interop.capture import find_faults
from tests.interop.pairs import A_MOMENT, TALK, PairCase, Talk, talking_both_ways
from tests.interop.script import audio, has, lacks, sdp, video
from tests.interop.server import Server

#: What the one who holds says, and what the one who is held says to that: RFC 3264 section 8.4, and RFC 2543's way.
_DIALECTS = {
    "sendonly": (sdp(audio("sendonly")), sdp(audio("recvonly"))),
    "inactive": (sdp(audio("inactive")), sdp(audio("inactive"))),
    "zero": (sdp(audio(), address="0.0.0.0"), sdp(audio("recvonly"))),
}
_SILENT = "a=(sendonly|inactive)|c=IN IP4 0.0.0.0"
_LISTENS = "a=(recvonly|inactive)"
_OTHER_CODEC = sdp(audio(codec="8 PCMA/8000"))


class ChangeTests(PairCase):
    """Each leg has its own dialog, and what the change means crosses (RFC 3261 section 14, RFC 3264 section 8).

    Every flow is there twice: the caller begins it, and the callee.
    """

    programs = ("sipp", "tshark")

    async def test_agreed(self) -> None:
        """Hold in every dialect, video that comes and goes, codecs, late offers, and peers that move."""
        talks = [*self.hold(), *self.streams(), *self.codec(), *self.late_offer(), *self.target_refresh()]
        await self.all_talk_to_the_end(talks)

    async def test_not_agreed(self) -> None:
        """A change that is refused, in part or as a whole, or crosses another one, leaves the call as it was."""
        await self.all_talk_to_the_end([*self.refused_stream(), *self.refused(), *self.crossing()])

    async def all_talk_to_the_end(self, talks: list[Talk]) -> None:
        """Let each caller hang up after what is scripted; every call must be one that was answered and ended so."""
        for pair, _, _ in talks:
            pair.caller.pause(A_MOMENT)
            pair.caller.hang_up()
            pair.callee.end()
        server = Server(self)
        records = await self.converse(server, *[pair for pair, _, _ in talks])
        self.assertEqual({(one["status"], one["ended_by"]) for one in records.values()}, {(200, "caller")})
        self.assertEqual(await find_faults(self, server), [])

    def hold(self) -> list[Talk]:
        """One side holds and resumes: the other hears of both, and its answer comes back."""
        talks = []
        for dialect, (hold, held) in _DIALECTS.items():
            for pair, holds, is_held in talking_both_ways(dialect):
                holds.pause(A_MOMENT)
                holds.reinvite(hold, has(_LISTENS))
                is_held.take(held, has(_SILENT))
                holds.pause(A_MOMENT)
                holds.reinvite(TALK, lacks(_SILENT), lacks(_LISTENS))
                is_held.take(TALK, lacks(_SILENT), lacks(_LISTENS))
                talks.append((pair, holds, is_held))
        return talks

    def streams(self) -> list[Talk]:
        """One side adds video, and takes it away again."""
        talks = talking_both_ways("streams")
        for _, changes, follows in talks:
            seen, ended = sdp(audio(), video()), sdp(audio(), video("0"))
            changes.pause(A_MOMENT)
            changes.reinvite(seen, has("m=video [1-9]"))
            follows.take(seen, has("m=video [1-9]"))
            changes.pause(A_MOMENT)
            changes.reinvite(ended, has("m=video 0"), has("m=audio [1-9]"))
            follows.take(ended, has("m=video 0"), has("m=audio [1-9]"))
        return talks

    def refused_stream(self) -> list[Talk]:
        """The video that one side adds is refused by the other, and the audio goes on."""
        talks = talking_both_ways("refused-stream")
        for _, changes, follows in talks:
            changes.pause(A_MOMENT)
            changes.reinvite(sdp(audio(), video()), has("m=video 0"), has("m=audio [1-9]"))
            follows.take(sdp(audio(), video("0")), has("m=video [1-9]"))
        return talks

    def codec(self) -> list[Talk]:
        """One side goes over to another codec."""
        talks = talking_both_ways("codec")
        for _, changes, follows in talks:
            changes.pause(A_MOMENT)
            changes.reinvite(_OTHER_CODEC, has("m=audio [0-9]+ RTP/AVP 8"))
            follows.take(_OTHER_CODEC, has("m=audio [0-9]+ RTP/AVP 8"), has("PCMA"))
        return talks

    def refused(self) -> list[Talk]:
        """A codec that is refused with 488 changes nothing, and the next change goes through."""
        talks = talking_both_ways("refused")
        for _, changes, refuses in talks:
            changes.pause(A_MOMENT)
            changes.ask("INVITE", sdp(audio(codec="9 G722/8000")))
            refuses.expect("INVITE", has("G722"))
            refuses.answer(488)
            refuses.expect("ACK")
            changes.get(488)
            changes.acknowledge_refusal()
            changes.pause(A_MOMENT)
            changes.reinvite(_OTHER_CODEC, has("PCMA"))
            refuses.take(_OTHER_CODEC, has("PCMA"))
        return talks

    def late_offer(self) -> list[Talk]:
        """A re-INVITE without an offer gets the other side's, and the answer crosses in the ACK (section 14.1)."""
        talks = talking_both_ways("late")
        for _, asks, offers in talks:
            asks.pause(A_MOMENT)
            asks.reinvite("", has("m=audio [1-9]"), answer=sdp(audio("recvonly")))
            offers.take(TALK, answer=(has("a=recvonly"),))
        return talks

    def crossing(self) -> list[Talk]:
        """Both ask at once and are told 491; each tries again after its time, and has its way (section 14.1)."""
        talks = talking_both_ways("crossing")
        for _, first, second in talks:
            first.pause(A_MOMENT)
            first.ask("INVITE", sdp(audio("sendonly")))
            first.get(491)
            first.acknowledge_refusal()
            first.take(_OTHER_CODEC, has("PCMA"))
            first.pause(2100)
            first.reinvite(sdp(audio("inactive")), has("a=inactive"))
            # To say nothing of what is here already is as good as not having it yet.
            theirs = second.expect("INVITE", has("a=sendonly"))
            second.ask("INVITE", _OTHER_CODEC)
            second.get(491)
            second.acknowledge_refusal()
            second.answer(491, to=theirs)
            second.expect("ACK")
            second.pause(500)
            second.reinvite(_OTHER_CODEC)
            second.take(sdp(audio("inactive")), has("a=inactive"))
        return talks

    def target_refresh(self) -> list[Talk]:
        """Whoever says another Contact in a re-INVITE is reached there, and the other leg hears nothing of it."""
        talks = talking_both_ways("moving")
        for _, moves, stays in talks:
            was = moves.contact
            moves.pause(A_MOMENT)
            moves.contact = "elsewhere"
            moves.reinvite(sdp(audio("sendonly")))
            stays.take(sdp(audio("recvonly")), lacks("elsewhere", "message"))
            stays.pause(A_MOMENT)
            stays.reinvite(TALK)
            moves.take(TALK, has("^INVITE sip:elsewhere@", "message"), lacks(f"^INVITE sip:{was}@", "message"))
        return talks
