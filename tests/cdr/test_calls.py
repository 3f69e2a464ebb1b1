"""Calls of simulated phones, and what their records say of them."""

from __future__ import annotations

from sipd.cdr.record import Record, records_of
from sipd.testing.calls import PeerCall
from tests.b2bua.support import BridgeCase
from tests.b2bua.test_transfer import TransferCase


class CallTests(BridgeCase):
    """Alice calls Bob."""

    def records(self) -> list[Record]:
        """Let everything come to its end, and give the records of the only call."""
        return list(records_of(self.finish()))

    def test_answered(self) -> None:
        """A call between two users has times, codecs and both of them in its record, and in that of its attempt."""
        call, _ = self.established()
        self.clock.advance(10.0)
        call.hang_up()
        whole, attempt = self.records()
        self.assertEqual((whole["direction"], whole["aor"]), ("internal", "sip:bob@example.com"))
        self.assertEqual((whole["user"], whole["callee_user"], attempt["callee_user"]), ("alice", "bob", "bob"))
        self.assertEqual(whole["caller_identity"], "sip:alice@example.com")
        self.assertEqual((whole["callee_call_id"], whole["call_id"]), (attempt["call_id"], call.call_id))
        for one in (whole, attempt):
            self.assertIn("pcma/8000", one["codecs"])
            self.assertEqual(one["billable_seconds"], int(one["duration"]) + 1)
            self.assertEqual((one["hangup_cause"], one["hangup_reason"]), (16, "normal"))
        self.assertGreater(whole["post_dial_delay"], 0.0)
        self.assertLess(whole["post_dial_delay"], 1.1)

    def test_reason_of_the_hangup(self) -> None:
        """What a side says in the Reason of its BYE is the cause of the end (RFC 3326)."""
        _, answered = self.established()
        answered.hang_up(headers=[("Reason", 'Q.850;cause=31;text="Normal, unspecified"')])
        whole, attempt = self.records()
        for one in (whole, attempt):
            self.assertEqual((one["hangup_cause"], one["hangup_reason"]), (31, "normal"))
            self.assertEqual(one["hangup_text"], "Normal, unspecified")
        self.assertEqual(whole["reasons"], ['Q.850;cause=31;text="Normal, unspecified"'])
        self.assertEqual(whole["ended_by"], "callee")

    def test_refused(self) -> None:
        """What the callee's refusal says of the network behind it is the cause of the end."""
        call = self.alice.call("bob")
        self.clock.advance(0.5)
        self.bob.calls[-1].refuse(503, headers=[("Reason", 'Q.850;cause=34;text="No circuit"')])
        whole, attempt = self.records()
        self.assertEqual(call.status, 500)
        for one in (whole, attempt):
            self.assertEqual((one["hangup_cause"], one["hangup_reason"]), (34, "congestion"))
            self.assertEqual((one["cause"], one["codecs"]), ("sip:503", []))
        # The caller is told something else than what the callee has said (RFC 3261 section 16.7, step 6).
        self.assertEqual((whole["status"], attempt["status"]), (500, 503))

    def test_busy(self) -> None:
        """Without a Reason the status says it."""
        self.alice.call("bob")
        self.clock.advance(0.5)
        self.bob.calls[-1].refuse(486)
        for one in self.records():
            self.assertEqual((one["hangup_cause"], one["hangup_name"]), (17, "USER_BUSY"))

    def test_given_up(self) -> None:
        """A caller who gives up is the cause, for the call and for the attempt."""
        call = self.alice.call("bob")
        self.clock.advance(0.5)
        self.bob.calls[-1].ring()
        self.clock.advance(2.0)
        call.cancel()
        for one in self.records():
            self.assertEqual((one["hangup_name"], one["hangup_reason"]), ("ORIGINATOR_CANCEL", "cancelled"))
            self.assertTrue(0.3 < one["post_dial_delay"] < 0.7)


class TransferTests(TransferCase):
    """Calls that are transferred."""

    def test_blind(self) -> None:
        """A transfer is counted, and the new leg is an attempt with an answer of its own."""
        call, answered = self.established()
        self.refer(answered, "<sip:carol@example.com>")
        self.clock.advance(4.0)
        call.hang_up()
        whole, bob, carol = records_of(self.finish())
        self.assertEqual((whole["transfers"], whole["related"]), (1, []))
        self.assertEqual((bob["callee_user"], carol["callee_user"]), ("bob", "carol"))
        self.assertLess(bob["ended_at"], carol["ended_at"])
        self.assertEqual(carol["ended_at"], whole["ended_at"])

    def test_attended(self) -> None:
        """Two calls that become one know of each other."""
        _, answered = self.established()
        second = self.bob.call("carol")
        self.clock.advance(3.0)
        self.assertEqual(self.refer(answered, self.replaces(second)), 202)
        self.clock.advance(3.0)
        self.carol.calls[-1].hang_up()
        self.settle()
        first, other = sorted(self.server.records.records, key=lambda record: record.started_at)
        self.assertEqual((first.related, other.related), ([other.id], [first.id]))

    def replaces(self, call: PeerCall) -> str:
        """Give the Refer-To that names a call."""
        value = f"{call.call_id};to-tag={call.remote_tag};from-tag={call.local_tag}"
        escaped = value.replace(";", "%3B").replace("=", "%3D").replace("@", "%40")
        return f"<sip:carol@example.com?Replaces={escaped}>"
