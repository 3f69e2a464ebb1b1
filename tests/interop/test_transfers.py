"""Transfers that sipd carries out, with SIPp as every party (RFC 3515, RFC 3891, RFC 5589)."""

from __future__ import annotations

from tests.interop.capture import find_faults
from tests.interop.pairs import A_MOMENT, NO_UPDATE, TALK, Pair, PairCase, Talk, talking_both_ways
from tests.interop.script import CALLED, CREDENTIALS, Callee, Caller, audio, has, lacks, sdp
from tests.interop.server import Server
from tests.ports import HOST

_OFFER = has("m=audio [1-9]")
#: What of a dialog its Replaces value says.
_REPLACES = "[call_id];to-tag=[$remote_tag];from-tag=[pid]-[call_number]"


class TransferTests(PairCase):
    """The transferor is the caller, or the callee; nobody but it needs to know of transfers."""

    programs = ("sipp", "tshark")

    async def test_blind(self) -> None:
        """Whom the transferor names is called; where that fails the call goes on as before."""
        targets: list[Callee] = []
        talks = [*self.by_update(targets), *self.by_invite(targets), *self.failed(targets)]
        server = Server(self)
        records = await self.converse(server, *[pair for pair, _, _ in talks], others=targets)
        self.assertEqual([records[name]["ended_by"] for name in ("failed-forth", "failed-back")], ["caller", "callee"])
        self.assertEqual(await find_faults(self, server), [])

    def by_update(self, targets: list[Callee]) -> list[Talk]:
        """The transferee, whose phone knows UPDATE, is asked to talk with the target by one."""
        talks = talking_both_ways("blind")
        for pair, transferor, transferee in talks:
            target = self.target(pair)
            transferor.pause(A_MOMENT)
            transferor.refer(f"<sip:{target.name}@{HOST}>")
            transferor.hear("100", "200")
            transferor.end()
            transferee.take_update(TALK, _OFFER)
            transferee.pause(A_MOMENT)
            transferee.hang_up()
            targets.append(target)
        return talks

    def by_invite(self, targets: list[Callee]) -> list[Talk]:
        """The transferee, whose phone does not, gets a re-INVITE; and it is the target that hangs up."""
        talks = talking_both_ways("reinvited", NO_UPDATE)
        for pair, transferor, transferee in talks:
            target = self.target(pair, hangs_up_after=2 * A_MOMENT)
            transferor.pause(A_MOMENT)
            transferor.refer(f"<sip:{target.name}@{HOST}>")
            transferor.hear("100", "200")
            transferor.end()
            transferee.take(TALK, _OFFER, fields=(NO_UPDATE,))
            transferee.end()
            targets.append(target)
        return talks

    def target(self, pair: Pair, hangs_up_after: int = 0) -> Callee:
        """Give one that answers some moments after the INVITE, so that nobody's NOTIFYs meet."""
        target = Callee(f"target-of-{pair.callee.name}")
        target.expect("INVITE", _OFFER)
        target.pause(A_MOMENT)
        target.answer(200, TALK)
        target.expect("ACK")
        if hangs_up_after:
            target.pause(hangs_up_after)
            target.hang_up()
        else:
            target.end()
        return target

    def failed(self, targets: list[Callee]) -> list[Talk]:
        """Where the target is busy the transferor hears so, and goes on talking with the transferee."""
        talks = talking_both_ways("failed")
        for pair, transferor, transferee in talks:
            target = Callee(f"target-of-{pair.callee.name}")
            transferor.pause(A_MOMENT)
            transferor.refer(f"<sip:{target.name}@{HOST}>")
            transferor.hear("100", "486")
            target.expect("INVITE")
            target.pause(A_MOMENT)
            target.answer(486)
            target.expect("ACK")
            transferor.pause(A_MOMENT)
            transferor.reinvite(sdp(audio("sendonly")), has("a=recvonly"))
            transferee.take(sdp(audio("recvonly")), has("a=sendonly"))
            transferor.hang_up()
            transferee.end()
            targets.append(target)
        return talks

    async def test_attended(self) -> None:
        """A transferor with two calls joins the two others: both are asked to talk with each other, its legs end."""
        consulting = Pair(Caller("transferor"), Callee("target"))
        consulting.caller.call(TALK)
        consulting.caller.note(_REPLACES)
        consulting.caller.end()
        consulting.callee.pick_up(TALK)
        consulting.callee.take_update(TALK, _OFFER)
        consulting.callee.end()
        transferring = Pair(Caller("transferor"), Callee("transferee"))
        transferring.callee.pick_up(TALK, fields=(NO_UPDATE,))
        transferring.callee.take(TALK, _OFFER, fields=(NO_UPDATE,))
        transferring.callee.pause(A_MOMENT)
        transferring.callee.hang_up()
        server = Server(self)
        called = [self.wait(server, pair.callee) for pair in (consulting, transferring)]
        await server.start()
        for callee in called:
            await callee.listens()
        second = self.dial(server, consulting)
        replaces = quoted(await second.notes())
        transferring.caller.call(TALK)
        transferring.caller.pause(A_MOMENT)
        transferring.caller.refer(f"<sip:target@{HOST}?Replaces={replaces}>")
        transferring.caller.hear("100", "200")
        transferring.caller.end()
        await self.all_succeed(self.dial(server, transferring), second, *called)
        await server.finish()

    async def test_passed(self) -> None:
        """Where the policy is `pass` the transferee gets the REFER as it is, and its NOTIFYs come back."""
        talks = talking_both_ways("passed")
        for pair, transferor, transferee in talks:
            transferor.pause(A_MOMENT)
            transferor.refer("<sip:elsewhere@192.0.2.7>")
            transferor.hear("100 Trying", "200 OK")
            transferee.expect("REFER", has("<sip:elsewhere@192.0.2.7>", "Refer-To"))
            transferee.answer(202)
            transferee.tell("100 Trying", "active;expires=60")
            transferee.tell("200 OK", "terminated;reason=noresource")
            pair.caller.pause(A_MOMENT)
            pair.caller.hang_up()
            pair.callee.end()
        server = Server(self)
        server.configure('\n[transfer]\npolicy = "pass"\n')
        await self.converse(server, *[pair for pair, _, _ in talks])

    async def test_replaced(self) -> None:
        """An INVITE that names a call of sipd's takes the place of its caller there, after a challenge (RFC 3891)."""
        replaced = Pair(Caller("replaced"), Callee("kept"))
        replaced.caller.call(TALK)
        replaced.caller.note(_REPLACES)
        replaced.caller.end()
        replaced.callee.pick_up(TALK)
        replaced.callee.take_update(TALK, _OFFER)
        replaced.callee.end()
        server = Server(self)
        called = self.wait(server, replaced.callee)
        await server.start()
        await called.listens()
        first = self.dial(server, replaced)
        replaces = await first.notes()
        names = (f"Replaces: {replaces}", "Require: replaces")
        taking = Pair(Caller("alice"), replaced.callee)
        taking.caller.invite(TALK, *names)
        taking.caller.prove(TALK, *names)
        taking.caller.get(200, _OFFER)
        taking.caller.acknowledge()
        taking.caller.pause(A_MOMENT)
        taking.caller.hang_up()
        await self.all_succeed(self.dial(server, taking), first, called)
        await server.finish()

    async def test_click_to_dial(self) -> None:
        """A user asks by REFER outside of a dialog that two phones are called and connected (RFC 3725 section 4.4)."""
        asking, first, second = Caller("alice"), Callee("first"), Callee("second")
        refer_to = f"Refer-To: <sip:second@{HOST}>"
        asking.ask("REFER", "", refer_to, uri=CALLED)
        asking.be_challenged()
        asking.ask("REFER", "", refer_to, CREDENTIALS, uri=CALLED)
        asking.get(202)
        asking.hear("100", "200")
        first.pick_up(TALK, lacks("m=audio", "message"), answer=(has("c=IN IP4 0.0.0.0|a=inactive"),))
        second.expect("INVITE", _OFFER)
        second.pause(A_MOMENT)
        second.answer(200, TALK)
        second.expect("ACK")
        first.take_update(TALK, _OFFER, lacks("c=IN IP4 0.0.0.0|a=inactive"))
        first.pause(A_MOMENT)
        first.hang_up()
        second.end()
        await self.converse(Server(self), Pair(asking, first), others=[second])


def quoted(replaces: str) -> str:
    """Give a Replaces value as it stands in a URI."""
    return replaces.replace("@", "%40").replace(";", "%3B").replace("=", "%3D")
