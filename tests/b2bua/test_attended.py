"""Attended transfers: the target is in a call with the transferor already (RFC 5589 section 7)."""

from __future__ import annotations

from sipd.sip.message import Request
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.exchanges import Reply
from tests.b2bua.test_transfer import TransferCase


class AttendedTests(TransferCase):
    """The transferor has called the target before."""

    def consult(self) -> tuple[PeerCall, PeerCall, PeerCall, PeerCall]:
        """Give both ends of Alice's call to Bob, and of Bob's to Carol."""
        call, answered = self.established()
        second = self.bob.call("carol")
        self.clock.advance(3.0)
        self.assertTrue(second.is_answered)
        return call, answered, second, self.carol.calls[-1]

    def replaces(self, call: PeerCall) -> str:
        """Give the Refer-To that names a call of the transferor's, as that knows it."""
        value = f"{call.call_id};to-tag={call.remote_tag};from-tag={call.local_tag}"
        escaped = value.replace(";", "%3B").replace("=", "%3D").replace("@", "%40")
        return f"<sip:carol@example.com?Replaces={escaped}>"

    def test_target_is_taken_over(self) -> None:
        """Alice talks with the Carol whom Bob talks with: no phone rings again, and both of Bob's calls end."""
        call, answered, second, third = self.consult()
        self.assertEqual(self.refer(answered, self.replaces(second)), 202)
        self.clock.advance(3.0)
        self.assertEqual(len(self.carol.calls), 1)
        self.assertEqual(self.outcomes(self.bob)[-1], "200 OK; terminated;reason=noresource")
        self.assertTrue(call.is_answered and third.is_answered)
        self.assertEqual((answered.ended_by, second.ended_by), ("them", "them"))
        self.assertEqual(self.connected(), [{"b2", "a"}])
        self.assertEqual(len(self.server.relay.taken), 2)
        third.hang_up()
        self.settle()
        self.assertFalse(call.is_answered)
        first, other = sorted(self.server.records.records, key=lambda record: record.started_at)
        self.assertEqual((first.ended_by, first.cause), ("callee", "bye"))
        self.assertEqual((other.ended_by, other.cause), ("sipd", "transferred"))

    def test_target_refuses(self) -> None:
        """If the target's phone does not agree both calls go on as they were."""
        call, answered, second, third = self.consult()
        self.carol.answers_reinvites = False
        self.assertEqual(self.refer(answered, self.replaces(second)), 202)
        self.clock.advance(3.0)
        self.assertEqual(self.outcomes(self.bob)[-1].partition(" ")[0], "488")
        self.assertTrue(all(one.is_answered for one in (call, answered, second, third)))
        self.carol.answers_reinvites = True
        change = second.reinvite()
        self.clock.advance(1.0)
        response = self.successResultOf(change)
        assert response is not None
        self.assertEqual(response.status, 200)
        call.hang_up()
        third.hang_up()
        self.settle()

    def test_transferee_refuses(self) -> None:
        """If the transferee's phone does not agree the target gets its call with the transferor back."""
        call, answered, second, third = self.consult()
        self.alice.answers_reinvites = False
        self.assertEqual(self.refer(answered, self.replaces(second)), 202)
        self.clock.advance(5.0)
        self.assertEqual(self.outcomes(self.bob)[-1].partition(" ")[0], "488")
        self.assertTrue(all(one.is_answered for one in (call, answered, second, third)))
        self.assertEqual(self.connected(), [{"a", "b1"}, {"a", "b1"}])
        second.hang_up()
        call.hang_up()
        self.settle()
        self.assertFalse(third.is_answered)

    def test_target_asks_for_something_meanwhile(self) -> None:
        """What the target asks for while it is being taken over is answered: silence would end its call."""
        call, answered, second, third = self.consult()
        reinvited = third._reinvited
        waiting = self.hold(third)
        self.assertEqual(self.refer(answered, self.replaces(second)), 202)
        info = third.request("INFO")
        refer = third.request("REFER", headers=(("Refer-To", "<sip:bob@example.com>"),))
        self.clock.advance(1.0)
        for asked, status in ((info, 480), (refer, 500)):
            response = self.successResultOf(asked)
            assert response is not None
            self.assertEqual(response.status, status)
        third._reinvited = reinvited  # type: ignore[method-assign]
        reinvited(*waiting[0])
        self.clock.advance(5.0)
        self.assertTrue(call.is_answered and third.is_answered)
        self.assertEqual(self.connected(), [{"a", "b2"}])
        call.hang_up()
        self.settle()

    def test_target_does_not_come_back(self) -> None:
        """A target that agreed, and refuses to be as before, has media where nobody is: its call is ended."""
        call, answered, second, third = self.consult()
        self.alice.answers_reinvites = False
        reinvited = third._reinvited

        def once(request: Request, reply: Reply) -> None:
            third._reinvited = refuse  # type: ignore[method-assign]
            reinvited(request, reply)

        def refuse(request: Request, reply: Reply) -> None:
            reply(builders.response(request, 488))

        third._reinvited = once  # type: ignore[method-assign]
        self.assertEqual(self.refer(answered, self.replaces(second)), 202)
        self.clock.advance(5.0)
        self.assertFalse(second.is_answered or third.is_answered)
        self.assertTrue(call.is_answered and answered.is_answered)
        self.assertEqual(self.connected(), [{"a", "b1"}])
        call.hang_up()
        self.settle()

    def test_anybody_leaves_meanwhile(self) -> None:
        """Whoever hangs up while the target is asked, in either call: what has nobody left ends, nothing is kept."""
        for index in range(4):
            self.server.records.records.clear()
            ends = self.consult()
            third = ends[3]
            reinvited = third._reinvited
            waiting = self.hold(third)
            self.refer(ends[1], self.replaces(ends[2]))
            ends[index].hang_up()
            self.clock.advance(1.0)
            third._reinvited = reinvited  # type: ignore[method-assign]
            if index != 3:
                reinvited(*waiting[0])
            self.clock.advance(5.0)
            for end in ends:
                end.hang_up()
                self.clock.advance(1.0)
            self.clock.advance(200.0)
            self.assertEqual((self.server.leftovers(), index), ([], index))
            self.assertEqual(len(self.server.records.records), 2, index)

    def test_call_of_somebody_else(self) -> None:
        """A dialog that is not the transferor's own is not given away, even to who knows its tags."""
        call, _, second, third = self.consult()
        self.assertEqual(self.refer(call, self.replaces(second)), 403)
        self.assertTrue(third.is_answered)
        for end in (call, second):
            end.hang_up()
        self.settle()

    def test_call_that_is_not_here(self) -> None:
        """A Replaces of a dialog that is unknown here is passed on to the target, who may know it."""
        call, answered = self.established()
        self.refer(answered, "<sip:carol@example.com?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2>")
        self.clock.advance(3.0)
        self.assertEqual(self.carol.calls[0].invite.headers.get("Replaces"), "x@y;to-tag=1;from-tag=2")
        call.hang_up()
        self.finish()
