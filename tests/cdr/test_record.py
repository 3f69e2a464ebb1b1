"""A call as plain values: what each field says, which names there are, and that docs/records.md says the same."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.cdr.files import RecordFile
from sipd.cdr.record import ATTEMPT, CALL, FIELDS, direction_of, records_of, to_json
from sipd.cdr.recorder import CallRecorder
from sipd.interfaces import AttemptRecord, CallRecord, Decision, ICallObserver, StreamStatistics
from tests.cdr.support import NOON, Taker, call, record

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "records.md"


class RecordTests(SynchronousTestCase):
    """The fields."""

    def test_call(self) -> None:
        """The record of a call has its times, who was called in the end, and its attempts inside."""
        one = record("c1", media=[StreamStatistics(leg="a", stream=0, media="audio", packets=7)])
        expected = {
            "version": 1,
            "kind": "call",
            "id": "c1",
            "call": "c1",
            "direction": "outbound",
            "caller_name": "Alice",
            "callee_uri": "sip:5551234@two.example",
            "callee_trunk": "two",
            "callee_call_id": "c1-b2@192.0.2.9",
            "post_dial_delay": 1.5,
            "duration": 60.25,
            "billable_seconds": 61,
            "status": 200,
            "hangup_cause": 16,
            "hangup_name": "NORMAL_CLEARING",
            "hangup_reason": "normal",
            "codecs": ["pcma/8000"],
        }
        self.assertEqual({name: one[name] for name in expected}, expected)
        self.assertEqual([attempt["leg"] for attempt in one["attempts"]], ["b1", "b2"])
        self.assertEqual(one["media"][0]["packets"], 7)

    def test_attempts(self) -> None:
        """Each attempt has a record of its own, with the caller's fields, its own times and its own end."""
        _, failed, answered = records_of(call("c1"))
        self.assertEqual(
            (failed["kind"], failed["id"], failed["call"], failed["leg"]), ("attempt", "c1/b1", "c1", "b1")
        )
        self.assertEqual((failed["caller"], failed["user"]), ("sip:alice@example.com", "alice"))
        self.assertEqual((failed["status"], failed["cause"], failed["duration"]), (500, "sip:503", 0.0))
        self.assertEqual((failed["hangup_cause"], failed["hangup_reason"]), (34, "congestion"))
        self.assertEqual((failed["hangup_text"], failed["post_dial_delay"]), ("Circuits busy", None))
        self.assertEqual((answered["callee_trunk"], answered["post_dial_delay"]), ("two", 1.0))
        self.assertEqual((answered["cause"], answered["hangup_cause"], answered["billable_seconds"]), ("bye", 16, 61))

    def test_given_up_attempt(self) -> None:
        """An attempt that was cancelled from here, since another one was answered, says so."""
        given_up = AttemptRecord(leg="b3", started_at=NOON, ended_at=NOON + 1, reason="answered elsewhere")
        last = list(records_of(call(attempts=[given_up])))[-1]
        self.assertEqual(
            (last["status"], last["hangup_reason"], last["reason"]), (0, "cancelled", "answered elsewhere")
        )

    def test_failed_call(self) -> None:
        """A call that failed has no duration, and its end is that of the network behind the gateway if that is said."""
        one = record(status=503, answered_at=None, ringing_at=None, cause="sip:503", reasons=("Q.850;cause=42",))
        self.assertEqual((one["duration"], one["billable_seconds"], one["post_dial_delay"]), (0.0, 0, None))
        self.assertEqual((one["hangup_cause"], one["hangup_name"]), (42, "SWITCH_CONGESTION"))

    def test_call_without_attempts(self) -> None:
        """A call that was refused here has nobody who was called."""
        one = record(attempts=[], status=403, answered_at=None)
        self.assertEqual((one["callee_uri"], one["callee_user"], one["callee_trunk"]), ("", None, ""))

    def test_every_field(self) -> None:
        """Each record has exactly the fields of its kind, in the order of the list, and all of them are JSON."""
        for one in records_of(call()):
            self.assertEqual(list(one), [field.name for field in FIELDS if one["kind"] in field.kinds])
            self.assertEqual(json.loads(to_json(one)), one)

    def test_nothing_of_the_call_is_left_out(self) -> None:
        """Every field of a call that sipd keeps is in its record under its own name, so that nothing is forgotten."""
        self.assertLessEqual(set(CallRecord.__dataclass_fields__), {field.name for field in FIELDS})
        self.assertLessEqual(set(AttemptRecord.__dataclass_fields__), set(record()["attempts"][0]))

    def test_direction(self) -> None:
        """The direction is seen from our users: from one to another, out, in, or past them."""
        self.assertEqual(direction_of(ours=True, to_ours=True), "internal")
        self.assertEqual(direction_of(ours=True, to_ours=False), "outbound")
        self.assertEqual(direction_of(ours=False, to_ours=True), "inbound")
        self.assertEqual(direction_of(ours=False, to_ours=False), "transit")
        self.assertEqual(record(user=None, aor="sip:bob@example.com", attempts=[])["direction"], "inbound")

    def test_foreign_octets(self) -> None:
        """Octets of a message that are no text are shown, in ASCII that every reader of JSON takes."""
        one = record(caller="sip:\udcff@example.com", caller_name="J\u00fcrgen\n")
        self.assertEqual((one["caller"], one["caller_name"]), ("sip:\\xff@example.com", "J\u00fcrgen\n"))
        line = to_json(one)
        self.assertTrue(line.isascii())
        self.assertNotIn(b"\n", line)
        self.assertEqual(json.loads(line), one)

    def test_no_negative_times(self) -> None:
        """A clock that was set back makes no negative durations."""
        one = record(ended_at=NOON - 100, ringing_at=NOON - 50)
        self.assertEqual((one["duration"], one["billable_seconds"], one["post_dial_delay"]), (0.0, 0, 0.0))


class DocumentTests(SynchronousTestCase):
    """docs/records.md."""

    def test_table(self) -> None:
        """The table of fields names each field, with its type and its kinds, in order."""
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]+) \|", DOCUMENT.read_text(), re.MULTILINE)
        both = "call, attempt"
        expected = [
            (field.name, field.type.value, both if len(field.kinds) == 2 else field.kinds[0]) for field in FIELDS
        ]
        self.assertEqual(rows, expected)

    def test_entries(self) -> None:
        """What is said of the entries of `attempts` and `media` names each of their fields, and no others."""
        for name, kind in (("attempts", AttemptRecord), ("media", StreamStatistics)):
            text = DOCUMENT.read_text()
            paragraph = re.search(
                rf"^An entry of `{name}` has (.*?)(?:, as above|\n\n)", text, re.MULTILINE | re.DOTALL
            )
            assert paragraph is not None
            self.assertEqual(sorted(re.findall(r"`(\w+)`", paragraph[1])), sorted(kind.__dataclass_fields__))


class RecorderTests(SynchronousTestCase):
    """From the end of a call to those who want its records."""

    def test_kinds(self) -> None:
        """Each taker gets the kinds that it wants, of each call once, when it is over."""
        calls, both = Taker(CALL), Taker(CALL, ATTEMPT)
        recorder = CallRecorder([calls, both])
        verifyObject(ICallObserver, recorder)
        one = call("c1")
        recorder.call_started("c1", one)
        recorder.call_decided("c1", Decision(at=NOON, kind="routed", text="x"))
        recorder.call_resource_taken("c1", "leg", "a")
        recorder.call_resource_released("c1", "leg", "a")
        self.assertEqual((calls.ids, both.ids), ([], []))
        recorder.call_ended("c1", one)
        self.assertEqual((calls.ids, both.ids), (["c1"], ["c1", "c1/b1", "c1/b2"]))

    def test_passes_on(self) -> None:
        """Rotation and the end reach every taker; the end is over when all are."""
        first, second = Taker(CALL), Taker(CALL)
        recorder = CallRecorder([first, second])
        recorder.reopen()
        done = recorder.close()
        first.closed.callback(None)
        self.assertNoResult(done)
        second.closed.callback(None)
        self.successResultOf(done)
        self.assertEqual((first.reopened, second.reopened), (1, 1))

    def test_files_take_records(self) -> None:
        """A file is such a taker; its default is calls alone, which have their attempts inside."""
        self.assertTrue(hasattr(RecordFile, "take"))
