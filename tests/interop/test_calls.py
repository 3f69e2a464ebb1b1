"""Ways in which a call begins, with SIPp at both ends of sipd: late offer, early media, redirection, 422."""

from __future__ import annotations

from tests.interop.pairs import A_MOMENT, TALK, Pair, PairCase
from tests.interop.script import Callee, Caller, audio, has, lacks, sdp
from tests.interop.server import Server


class BeginningTests(PairCase):
    """The first INVITE, and what comes of it."""

    async def test_beginnings(self) -> None:
        """Each call begins as its phones want it, and ends as the record says."""
        early = [self.early_media(), self.reliable_media(), self.early_update(), self.late_early_offer(), self.forked()]
        records = await self.converse(Server(self), *early, self.late_offer(), self.redirection(), self.too_short())
        moved = records.pop("moved")
        self.assertEqual((moved["status"], moved["answered_at"]), (302, None))
        self.assertEqual(sorted(records), ["asked", "early", "forked", "late", "leisurely", "reliable", "updated"])
        self.assertEqual({(one["status"], one["ended_by"]) for one in records.values()}, {(200, "caller")})

    def late_offer(self) -> Pair:
        """An INVITE without an offer crosses as one: the callee's offer comes in the 200, the answer in the ACK."""
        caller, callee = Caller("late-caller"), Callee("late")
        caller.invite()
        caller.get_if_any(180)
        caller.get(200, has("m=audio [1-9]"), has("a=sendonly"))
        caller.acknowledge(sdp(audio("recvonly")))
        callee.pick_up(sdp(audio("sendonly")), lacks("m=audio", "message"), answer=(has("a=recvonly"),))
        return self.ended(caller, callee)

    def early_media(self) -> Pair:
        """A 183 with a description gives the caller something to hear before there is an answer."""
        caller, callee = Caller("early-caller"), Callee("early")
        caller.invite(TALK)
        caller.get(183, has("m=audio [1-9]"))
        caller.get(200, has("m=audio [1-9]"))
        caller.acknowledge()
        callee.expect("INVITE", has("m=audio [1-9]"))
        callee.answer(183, TALK)
        callee.pause(A_MOMENT)
        callee.answer(200, TALK)
        callee.expect("ACK")
        return self.ended(caller, callee)

    def reliable_media(self) -> Pair:
        """The same where the caller insists on 100rel: what is said so is the answer (RFC 3261 section 13.2.1)."""
        caller, callee = Caller("reliable-caller"), Callee("reliable")
        caller.invite(TALK, "Require: 100rel")
        caller.get(183, has("m=audio [1-9]"), has("[0-9]+", "RSeq"))
        caller.acknowledge_progress()
        caller.get(200, cseq=1)
        caller.acknowledge(cseq=1)
        callee.expect("INVITE", has("m=audio [1-9]"))
        callee.answer(183, TALK, "Require: 100rel", "RSeq: 7")
        callee.expect("PRACK", has("^ *7 [0-9]+ INVITE", "RAck"))
        callee.answer()
        # SIPp as the caller takes the answer to its PRACK first.
        callee.pause(A_MOMENT)
        callee.answer(200, to=1)
        callee.expect("ACK")
        return self.ended(caller, callee)

    def early_update(self) -> Pair:
        """A caller that has its answer reliably changes it by UPDATE while nobody has answered yet (RFC 3311)."""
        caller, callee = Caller("updated-caller"), Callee("updated")
        caller.invite(TALK, "Require: 100rel")
        caller.get(183, has("m=audio [1-9]"))
        caller.acknowledge_progress()
        caller.ask("UPDATE", sdp(audio("sendonly")))
        caller.get(200, has("a=recvonly"))
        caller.get(200, cseq=1)
        caller.acknowledge(cseq=1)
        callee.expect("INVITE")
        callee.answer(183, TALK, "Require: 100rel", "RSeq: 7")
        callee.expect("PRACK")
        callee.answer()
        callee.take_update(sdp(audio("recvonly")), has("a=sendonly"))
        callee.pause(A_MOMENT)
        callee.answer(200, to=1)
        callee.expect("ACK")
        return self.ended(caller, callee)

    def late_early_offer(self) -> Pair:
        """An INVITE without an offer: the callee makes one in a reliable 183, and the PRACK answers it (RFC 3262)."""
        caller, callee = Caller("asking-caller"), Callee("asked")
        caller.invite("", "Require: 100rel")
        caller.get(183, has("a=sendonly"))
        caller.acknowledge_progress(sdp(audio("recvonly")))
        caller.get(200, cseq=1)
        caller.acknowledge(cseq=1)
        callee.expect("INVITE", lacks("m=audio", "message"))
        callee.answer(183, sdp(audio("sendonly")), "Require: 100rel", "RSeq: 7")
        callee.expect("PRACK", has("a=recvonly"))
        callee.answer()
        callee.pause(A_MOMENT)
        callee.answer(200, to=1)
        callee.expect("ACK")
        return self.ended(caller, callee)

    def forked(self) -> Pair:
        """Two phones behind one callee ring: one answers, and so does the other, too late: it gets ACK and BYE."""
        caller, callee = Caller("forked-caller"), Callee("forked")
        caller.invite(TALK)
        caller.get(180)
        caller.get(183, has("m=audio [1-9]"))
        caller.get(200, has("m=audio [1-9]"))
        caller.acknowledge()
        caller.pause(5 * A_MOMENT)
        callee.expect("INVITE")
        callee.answer(180, fork="late")
        callee.answer(183, TALK)
        callee.pause(A_MOMENT)
        callee.answer(200, TALK)
        callee.expect("ACK", lacks("late", "To"))
        callee.answer(200, TALK, to=1, fork="late")
        for method in ("ACK", "BYE"):
            callee.expect(method, has("late", "To"))
        callee.answer()
        return self.ended(caller, callee)

    def redirection(self) -> Pair:
        """A 302 reaches the caller with the Contact that the callee gave, and is not followed (section 8.3)."""
        caller, callee = Caller("moved-caller"), Callee("moved")
        caller.invite(TALK)
        caller.get(302, has("sip:there@192.0.2.7", "Contact"))
        caller.acknowledge_refusal()
        callee.expect("INVITE")
        callee.answer(302, "", "Contact: <sip:there@192.0.2.7>")
        callee.expect("ACK")
        return Pair(caller, callee)

    def too_short(self) -> Pair:
        """An interval that is too short for sipd, or for the callee, is asked for again with the Min-SE of the 422."""
        caller, callee = Caller("hasty"), Callee("leisurely")
        caller.invite(TALK, "Session-Expires: 60")
        caller.get(422, has("^ *90", "Min-SE"))
        caller.acknowledge_refusal()
        caller.invite(TALK, "Session-Expires: 90", "Min-SE: 90")
        caller.get_if_any(180)
        caller.get(200, has("^ *90;refresher=", "Session-Expires"))
        caller.acknowledge()
        callee.expect("INVITE", has("^ *1800", "Session-Expires"))
        callee.answer(422, "", "Min-SE: 3600")
        callee.expect("ACK")
        callee.pick_up(TALK, has("^ *3600", "Session-Expires"), has("^ *3600", "Min-SE"))
        return self.ended(caller, callee)

    def ended(self, caller: Caller, callee: Callee) -> Pair:
        """Let the caller hang up a moment later."""
        caller.pause(A_MOMENT)
        caller.hang_up()
        callee.end()
        return Pair(caller, callee)
