"""Ways in which a call begins, with SIPp at both ends of sipd: late offer, early media, redirection."""

from __future__ import annotations

from tests.interop.pairs import Pair, PairCase
from tests.interop.script import Callee, Caller, audio, has, lacks, sdp
from tests.interop.server import Server

TALK = sdp(audio())


class BeginningTests(PairCase):
    """The first INVITE and what comes of it."""

    async def test_late_offer(self) -> None:
        """An INVITE without an offer crosses as one: the callee's offer comes in the 200, the answer in the ACK."""
        caller, callee = Caller("late-caller"), Callee("late")
        caller.invite()
        caller.get_if_any(180)
        caller.get(200, has("m=audio [1-9]"), has("a=sendonly"))
        caller.acknowledge(sdp(audio("recvonly")))
        caller.pause(200)
        caller.hang_up()
        callee.pick_up(sdp(audio("sendonly")), lacks("m=audio", "message"), answer=(has("a=recvonly"),))
        callee.end()
        (record,) = await self.converse(Server(self), Pair(caller, callee))
        self.assertEqual((record["status"], record["ended_by"]), (200, "caller"))

    async def test_early_media(self) -> None:
        """A 183 with a description gives the caller something to hear before there is an answer, reliably or not."""
        pairs = []
        for name, fields in (("early", ()), ("early-reliable", ("Require: 100rel", "RSeq: 7"))):
            caller, callee = Caller(f"{name}-caller"), Callee(name)
            is_reliable = bool(fields)
            caller.invite(TALK, *(("Require: 100rel",) if is_reliable else ()))
            caller.get(183, has("m=audio [1-9]"), *((has("[0-9]+", "RSeq"),) if is_reliable else ()))
            callee.expect("INVITE", has("m=audio [1-9]"))
            callee.answer(183, TALK, *fields)
            if is_reliable:
                caller.acknowledge_progress()
                callee.expect("PRACK", has("^ *7 [0-9]+ INVITE", "RAck"))
                callee.answer()
                callee.pause(200)
            # What was said reliably is the answer: it is not said again (RFC 3261 section 13.2.1).
            callee.answer(200, "" if is_reliable else TALK, to=1)
            callee.expect("ACK")
            caller.get(200, *(() if is_reliable else (has("m=audio [1-9]"),)), cseq=1)
            caller.acknowledge(cseq=1)
            caller.pause(200)
            caller.hang_up()
            callee.end()
            pairs.append(Pair(caller, callee))
        records = await self.converse(Server(self), *pairs)
        self.assertEqual([record["status"] for record in records], [200, 200])

    async def test_redirection(self) -> None:
        """A 302 reaches the caller with the Contact that the callee gave, and is not followed (section 8.3)."""
        caller, callee = Caller("moved-caller"), Callee("moved")
        caller.invite(TALK)
        caller.get(302, has("sip:there@192.0.2.7", "Contact"))
        caller.acknowledge_refusal()
        callee.expect("INVITE")
        callee.answer(302, "", "Contact: <sip:there@192.0.2.7>")
        callee.expect("ACK")
        (record,) = await self.converse(Server(self), Pair(caller, callee))
        self.assertEqual((record["status"], record["answered_at"]), (302, None))
