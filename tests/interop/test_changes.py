"""Sessions change, with SIPp at both ends of sipd: hold, streams, codecs, targets, late offers, and what goes wrong."""

from __future__ import annotations

from tests.interop.pairs import Pair, PairCase
from tests.interop.script import Callee, Caller, Script, audio, has, lacks, sdp, video
from tests.interop.server import Server

TALK = sdp(audio())
#: What the one who holds says, and what the one who is held says to that: RFC 3264 section 8.4, and RFC 2543's way.
_DIALECTS = {
    "sendonly": (sdp(audio("sendonly")), sdp(audio("recvonly"))),
    "inactive": (sdp(audio("inactive")), sdp(audio("inactive"))),
    "zero": (sdp(audio(), address="0.0.0.0"), sdp(audio("recvonly"))),
}
_SILENT = "a=(sendonly|inactive)|c=IN IP4 0.0.0.0"
_LISTENS = "a=(recvonly|inactive)"
_A_MOMENT = 200


def talking(name: str) -> Pair:
    """Give a caller and a callee who have begun to talk."""
    pair = Pair(Caller(f"{name}-caller"), Callee(name))
    pair.caller.call(TALK, has("m=audio"))
    pair.callee.pick_up(TALK, has("m=audio"))
    return pair


def talking_both_ways(name: str) -> list[tuple[Pair, Script, Script]]:
    """Give two such pairs, with the one who begins and the other: in the first the caller begins, then the callee."""
    forth, back = talking(f"{name}-forth"), talking(f"{name}-back")
    return [(forth, forth.caller, forth.callee), (back, back.callee, back.caller)]


class ChangeTests(PairCase):
    """Each leg has its own dialog, and what the change means crosses (RFC 3261 section 14, RFC 3264 section 8)."""

    async def all_talk_to_the_end(self, *pairs: Pair) -> None:
        """Let each caller hang up after what is scripted; every call must be one that was answered and ended so."""
        for pair in pairs:
            pair.caller.pause(_A_MOMENT)
            pair.caller.hang_up()
            pair.callee.end()
        records = await self.converse(Server(self), *pairs)
        self.assertEqual([(one["status"], one["ended_by"]) for one in records], [(200, "caller")] * len(pairs))

    async def test_hold(self) -> None:
        """Either side holds and resumes, in every dialect: the other hears of both, and its answer comes back."""
        pairs = []
        for dialect, (hold, held) in _DIALECTS.items():
            for pair, holds, is_held in talking_both_ways(dialect):
                holds.pause(_A_MOMENT)
                holds.reinvite(hold, has(_LISTENS))
                is_held.take(held, has(_SILENT))
                holds.pause(_A_MOMENT)
                holds.reinvite(TALK, lacks(_SILENT), lacks(_LISTENS))
                is_held.take(TALK, lacks(_SILENT), lacks(_LISTENS))
                pairs.append(pair)
        await self.all_talk_to_the_end(*pairs)

    async def test_streams_and_codecs(self) -> None:
        """Either side adds video and takes it away again, and goes over to another codec."""
        pairs = []
        for pair, changes, follows in talking_both_ways("streams"):
            seen, ended = sdp(audio(), video()), sdp(audio(), video("0"))
            changes.pause(_A_MOMENT)
            changes.reinvite(seen, has("m=video [1-9]"))
            follows.take(seen, has("m=video [1-9]"))
            changes.pause(_A_MOMENT)
            changes.reinvite(ended, has("m=video 0"), has("m=audio [1-9]"))
            follows.take(ended, has("m=video 0"), has("m=audio [1-9]"))
            pairs.append(pair)
        for pair, changes, follows in talking_both_ways("refused-stream"):
            changes.pause(_A_MOMENT)
            changes.reinvite(sdp(audio(), video()), has("m=video 0"), has("m=audio [1-9]"))
            follows.take(sdp(audio(), video("0")), has("m=video [1-9]"))
            pairs.append(pair)
        for pair, changes, follows in talking_both_ways("codec"):
            other = sdp(audio(codec="8 PCMA/8000"))
            changes.pause(_A_MOMENT)
            changes.reinvite(other, has("m=audio [0-9]+ RTP/AVP 8"))
            follows.take(other, has("m=audio [0-9]+ RTP/AVP 8"), has("PCMA"))
            pairs.append(pair)
        await self.all_talk_to_the_end(*pairs)

    async def test_refusal(self) -> None:
        """A change that is refused with 488 leaves the call as it was, and another one goes through."""
        pairs = []
        for pair, changes, refuses in talking_both_ways("refused"):
            changes.pause(_A_MOMENT)
            changes.ask("INVITE", sdp(audio(codec="9 G722/8000")))
            refuses.expect("INVITE", has("G722"))
            refuses.answer(488)
            refuses.expect("ACK")
            changes.get(488)
            changes.acknowledge_refusal()
            changes.pause(_A_MOMENT)
            changes.reinvite(TALK, has("PCMU"))
            refuses.take(TALK, has("PCMU"))
            pairs.append(pair)
        await self.all_talk_to_the_end(*pairs)

    async def test_late_offer(self) -> None:
        """A re-INVITE without an offer gets the other side's, and the answer crosses in the ACK (RFC 3261 s. 14.1)."""
        pairs = []
        for pair, asks, offers in talking_both_ways("late"):
            asks.pause(_A_MOMENT)
            asks.reinvite("", has("m=audio [1-9]"), answer=sdp(audio("recvonly")))
            offers.take(TALK, answer=(has("a=recvonly"),))
            pairs.append(pair)
        await self.all_talk_to_the_end(*pairs)

    async def test_crossing(self) -> None:
        """Both sides ask at once and are told 491; each tries again after its time, and has its way (section 14.1)."""
        pairs = []
        for pair, first, second in talking_both_ways("crossing"):
            first.pause(_A_MOMENT)
            first.ask("INVITE", sdp(audio("sendonly")))
            first.get(491)
            first.acknowledge_refusal()
            first.take(sdp(audio(codec="8 PCMA/8000")), has("PCMA"))
            first.pause(2100)
            first.reinvite(sdp(audio("inactive")), has("a=inactive"))
            # To say nothing of what is here already is as good as not having it yet.
            theirs = second.expect("INVITE", has("a=sendonly"))
            second.ask("INVITE", sdp(audio(codec="8 PCMA/8000")))
            second.get(491)
            second.acknowledge_refusal()
            second.answer(491, to=theirs)
            second.expect("ACK")
            second.pause(500)
            second.reinvite(sdp(audio(codec="8 PCMA/8000")))
            second.take(sdp(audio("inactive")), has("a=inactive"))
            pairs.append(pair)
        await self.all_talk_to_the_end(*pairs)

    async def test_target_refresh(self) -> None:
        """Whoever says another Contact in a re-INVITE is reached there, and the other leg hears nothing of it."""
        pairs = []
        for pair, moves, stays in talking_both_ways("moving"):
            was = moves.contact
            moves.pause(_A_MOMENT)
            moves.contact = "elsewhere"
            moves.reinvite(sdp(audio("sendonly")))
            stays.take(sdp(audio("recvonly")), lacks("elsewhere", "message"))
            stays.pause(_A_MOMENT)
            stays.reinvite(TALK)
            moves.take(TALK, has("^INVITE sip:elsewhere@", "message"), lacks(f"^INVITE sip:{was}@", "message"))
            pairs.append(pair)
        await self.all_talk_to_the_end(*pairs)
