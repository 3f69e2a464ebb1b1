"""From a call that ended to a place that has its record: batches, failures, restarts, bounds, and the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sipd.cdr.delivery import DeliverySettings, FullPolicy, SpooledRecords
from sipd.cdr.interfaces import IRecordSink, IRecordTaker, RecordsRefusedError, SinkError
from sipd.cdr.spool import MAX_REFUSED_OCTETS, Spool
from tests.cdr.support import LogKeeper, NoThread, Place, record


class BrokenSpool(Spool):
    """A spool on a disk that can be full."""

    is_full = False

    def put(self, records: Any) -> None:
        """See `Spool`."""
        if self.is_full:
            raise OSError(28, "No space left on device")
        super().put(records)


class DeliveryCase(SynchronousTestCase):
    """One place, a clock, and a spool."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.place = Place()
        self.worker = NoThread()
        self.log = LogKeeper(self)
        self.directory = Path(self.mktemp()).absolute()
        self.crashed: list[SpooledRecords] = []

    def open(self, max_octets: int = 10_000_000, segment_octets: int = 1_000_000, **more: Any) -> SpooledRecords:
        """Open the spool, as after a start."""
        self.spool = BrokenSpool(self.directory, max_octets=max_octets, segment_octets=segment_octets)
        settings = DeliverySettings(**{"batch": 10, **more})
        records = SpooledRecords(
            "place", self.place, self.spool, clock=self.clock, worker=self.worker, settings=settings
        )
        self.addCleanup(self.end, records)
        records.start()
        return records

    def end(self, records: SpooledRecords) -> None:
        """Close it, and see that nothing is left."""
        if records in self.crashed:
            return
        self.worker.release()
        while self.place.pending:
            self.place.answer()
        done = records.close()
        self.clock.advance(30)
        self.successResultOf(done)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def crash(self, records: SpooledRecords) -> None:
        """Leave the spool as it is, as a kill does: another one can open it, at another time."""
        self.spool.close()
        self.crashed.append(records)
        self.place.pending.clear()
        self.clock = Clock()


class DeliveryTests(DeliveryCase):
    """A place that takes what comes, sooner or later."""

    def test_interfaces(self) -> None:
        """Who takes records is what the recorder expects; the fake place is what is expected of places."""
        verifyObject(IRecordTaker, self.open())
        verifyObject(IRecordSink, self.place)

    def test_at_once(self) -> None:
        """A record goes to the place at once, and the spool is empty then."""
        records = self.open()
        for name in ("1", "2"):
            records.take(record(name))
        self.assertEqual((self.place.batches, records.waiting, self.spool.is_empty), ([["1"], ["2"]], 0, True))
        self.assertEqual(self.log.at("error"), [])

    def test_batches(self) -> None:
        """What comes while the place is busy goes to it together, in order, and never more than it should get."""
        records = self.open(batch=3)
        self.place.is_slow = True
        for number in range(8):
            records.take(record(str(number)))
        while self.place.pending:
            self.place.answer()
        self.assertEqual(self.place.batches, [["0"], ["1", "2", "3"], ["4", "5", "6"], ["7"]])

    def test_reactor_never_waits_for_the_disk(self) -> None:
        """While the thread is busy with the disk, records come; they go there together when it is not."""
        records = self.open()
        self.worker.is_held = True
        for number in range(5):
            records.take(record(str(number)))
        self.assertEqual((self.place.ids, records.waiting), ([], 5))
        self.worker.release()
        self.assertEqual(self.place.ids, ["0", "1", "2", "3", "4"])

    def test_spooled_before_delivered(self) -> None:
        """What the place is given is on the disk already."""
        records = self.open()
        self.place.is_slow = True
        records.take(record("1"))
        self.crash(records)
        self.assertEqual(len(Spool(self.directory, max_octets=1000).read(9).records), 1)

    def test_back_off(self) -> None:
        """A place that fails is tried after 1, 2, 4, 8, 8 ... seconds; one line says so, one that it is back."""
        records = self.open(last_retry=8.0)
        self.place.error = SinkError("no route to host")
        records.take(record("1"))
        tried: list[int] = []
        for second in range(32):
            if len(self.place.batches) > len(tried):
                tried.append(second)
            self.clock.advance(1.0)
        self.assertEqual(tried, [0, 1, 3, 7, 15, 23, 31])
        records.take(record("2"))
        self.place.error = None
        self.clock.advance(8.0)
        self.assertEqual((self.place.ids, self.log.at("error")[1:]), (["1", "2"], []))
        self.assertIn("no route to host", self.log.at("error")[0])
        self.assertEqual(self.log.at("info"), ["call records go to place again"])
        records.take(record("3"))
        self.assertEqual(self.place.ids, ["1", "2", "3"])

    def test_retry_after(self) -> None:
        """A place that says how long it wants to be left alone is, though not for ever."""
        records = self.open()
        self.place.error = SinkError("busy", retry_after=90.0)
        records.take(record("1"))
        self.clock.advance(89.0)
        self.assertEqual(len(self.place.batches), 1)
        self.place.error = SinkError("busy", retry_after=1e9)
        self.clock.advance(1.0)
        self.assertEqual(len(self.place.batches), 2)
        self.place.error = None
        self.clock.advance(3600.0)
        self.assertEqual(self.place.ids, ["1"])

    def test_crash_while_the_place_is_away(self) -> None:
        """What was not taken before a crash is delivered after it, in order, before what comes then."""
        records = self.open()
        self.place.error = SinkError("away")
        for number in range(25):
            records.take(record(str(number)))
        self.crash(records)
        self.place.error = None
        self.open().take(record("new"))
        self.assertEqual(self.place.ids, [*map(str, range(25)), "new"])

    def test_crash_before_the_answer(self) -> None:
        """A record that the place had when sipd crashed, which nobody knows, comes again under the same id."""
        records = self.open()
        self.place.is_slow = True
        records.take(record("1"))
        self.crash(records)
        self.place.is_slow = False
        self.open()
        self.assertEqual(self.place.ids, ["1"])
        self.assertEqual(self.place.batches, [["1"], ["1"]])

    def test_refused(self) -> None:
        """One record that a place never takes does not keep back the others; it is kept beside them, and logged."""
        records = self.open()
        self.place.error = SinkError("away")
        for number in range(9):
            records.take(record(str(number)))
        self.place.error = None
        self.place.refused = {"4": RecordsRefusedError("no such column")}
        self.clock.advance(1.0)
        self.assertEqual(self.place.ids, ["0", "1", "2", "3", "5", "6", "7", "8"])
        self.assertIn("no such column", self.log.at("error")[-1])
        self.assertIn(b'"id":"4"', (self.directory / "refused.records").read_bytes())
        self.assertTrue(self.spool.is_empty)

    def test_refused_too_often(self) -> None:
        """Where too many were refused before, the log has the record that is refused, and says so."""
        self.directory.mkdir()
        (self.directory / "refused.records").write_bytes(b"x" * MAX_REFUSED_OCTETS)
        self.place.refused = {"4": RecordsRefusedError("no such column")}
        self.open().take(record("4"))
        (line,) = self.log.at("error")
        self.assertIn('"id":"4"', line)
        self.assertNotIn("is kept in", line)

    def test_fails_among_refusals(self) -> None:
        """A place that goes away while it is asked one by one gets all of them again."""
        records = self.open()
        self.place.error = SinkError("away")
        for number in range(4):
            records.take(record(str(number)))
        self.place.error = None
        self.place.refused = {"3": RecordsRefusedError("no"), "2": SinkError("away")}
        self.clock.advance(1.0)
        self.place.refused = {}
        self.clock.advance(2.0)
        self.assertEqual(self.place.ids[-4:], ["0", "1", "2", "3"])

    def test_bug_in_a_place(self) -> None:
        """A place that raises what it must not is a traceback, and is tried again all the same."""
        records = self.open()
        self.place.error = ZeroDivisionError("oops")
        records.take(record("1"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.place.error = None
        self.clock.advance(1.0)
        self.assertEqual(self.place.ids, ["1"])

    def test_spoiled_lines(self) -> None:
        """A line that the disk has spoiled is logged and passed over."""
        self.place.error = SinkError("away")
        records = self.open()
        records.take(record("1"))
        records.take(record("2"))
        self.crash(records)
        segment = next(path for path in self.directory.glob("0*.records"))
        segment.write_bytes(segment.read_bytes().replace(b'"id":"1"', b'"id":"7"'))
        self.place.error = None
        self.open()
        self.assertEqual(self.place.ids, ["2"])
        self.assertIn("1 lines in the spool", self.log.at("error")[-1])


class BoundTests(DeliveryCase):
    """Where there is no room."""

    def test_full_disk(self) -> None:
        """What a full disk does not take goes to the place from memory, in order, and the log says both."""
        records = self.open()
        self.spool.is_full = True
        for name in ("1", "2"):
            records.take(record(name))
        self.assertEqual((self.place.ids, records.waiting), (["1", "2"], 0))
        self.assertIn("No space left on device", self.log.at("error")[0])
        self.spool.is_full = False
        records.take(record("3"))
        self.clock.advance(5.0)
        records.take(record("4"))
        self.assertEqual((self.place.ids, len(self.log.at("error"))), (["1", "2", "3", "4"], 1))
        self.assertIn("spooled again", self.log.at("info")[-1])

    def test_no_room_for_the_note(self) -> None:
        """Where it cannot be noted what the place has, it goes on, and gives nothing twice."""
        records = self.open()
        (self.directory / "taken.new").mkdir()
        for name in ("1", "2", "3"):
            records.take(record(name))
        self.assertEqual((self.place.ids, self.log.at("error")), (["1", "2", "3"], []))
        (self.directory / "taken.new").rmdir()

    def test_full_disk_and_no_place(self) -> None:
        """With neither, records wait in memory up to the bound, and go on in order when there is room."""
        records = self.open(max_waiting=3)
        self.place.error = SinkError("away")
        self.spool.is_full = True
        for number in range(5):
            records.take(record(str(number)))
        self.assertEqual(records.waiting, 3)
        self.spool.is_full = False
        self.clock.advance(5.0)
        self.assertEqual(records.waiting, 0)
        self.place.error = None
        self.clock.advance(60.0)
        self.assertEqual(self.place.ids, ["2", "3", "4"])
        self.assertIn("too many wait", "".join(self.log.at("error")))
        self.assertIn("2 call records for place were lost", self.log.at("info"))

    def fill(self, policy: FullPolicy) -> list[int]:
        """Fill a small spool while the place is away; give what it gets in the end."""
        records = self.open(max_octets=20_000, segment_octets=1, when_full=policy)
        self.place.error = SinkError("away")
        for number in range(100):
            records.take(record(str(number)))
        self.assertLessEqual(self.spool.size_octets, 20_000)
        self.assertIn("the spool is full", "".join(self.log.at("error")))
        self.place.error = None
        self.clock.advance(60.0)
        return [int(name) for name in self.place.ids]

    def test_drop_oldest(self) -> None:
        """By default the oldest are given up at the bound: what the place gets are the last ones, in order."""
        got = self.fill(FullPolicy.OLDEST)
        self.assertEqual(got, list(range(got[0], 100)))
        self.assertGreater(got[0], 50)

    def test_drop_oldest_before_the_disk_fails(self) -> None:
        """Records that were given up for others are told of, also if the disk then does not take those."""
        self.place.error = SinkError("away")
        records = self.open(max_octets=20_000, segment_octets=4000)
        for number in range(20):
            records.take(record(str(number), reason="x" * 500))
        self.log.events.clear()
        give_up = self.spool.drop_oldest

        def drop_oldest() -> int:
            self.spool.is_full = True
            return give_up()

        self.patch(self.spool, "drop_oldest", drop_oldest)
        while not self.spool.is_full:
            records.take(record("more", reason="x" * 500))
        self.assertTrue(any("are lost: the spool is full" in line for line in self.log.at("error")))
        self.spool.is_full = False

    def test_drop_newest(self) -> None:
        """Or the newest: what the place gets are the first ones."""
        got = self.fill(FullPolicy.NEWEST)
        self.assertEqual(got, list(range(len(got))))

    def test_larger_than_the_spool(self) -> None:
        """A record that is larger than the whole spool is lost, and nothing else is."""
        records = self.open(max_octets=6_000)
        records.take(record("1", reason="x" * 7_000))
        records.take(record("2"))
        self.assertEqual(self.place.ids, ["2"])


class CloseTests(DeliveryCase):
    """The end."""

    def close(self, records: SpooledRecords) -> list[float]:
        """Close it, and give the second in which that was done."""
        done = records.close()
        ended: list[float] = []
        done.addCallback(lambda _: ended.append(self.clock.seconds()))
        self.clock.pump([0.5] * 60)
        return ended

    def test_waits_for_the_place(self) -> None:
        """What the place has not answered yet is waited for; then all is closed."""
        records = self.open()
        self.place.is_slow = True
        records.take(record("1"))
        done = records.close()
        self.assertNoResult(done)
        self.place.answer()
        self.successResultOf(done)
        self.assertTrue(self.place.is_closed)
        self.assertTrue(self.spool.is_empty)
        self.successResultOf(records.close())

    def test_not_for_ever(self) -> None:
        """A place that never answers is waited for five seconds; its records are there after the next start."""
        records = self.open()
        self.place.is_slow = True
        records.take(record("1"))
        self.assertEqual(self.close(records), [5.0])
        self.place.is_slow = False
        self.place.pending.clear()
        self.open()
        self.assertEqual(self.place.ids, ["1"])

    def test_disk_that_hangs(self) -> None:
        """What a disk that hangs does not take is in the log, whole, when sipd stops."""
        records = self.open()
        self.worker.is_held = True
        records.take(record("1"))
        records.take(record("2"))
        self.assertEqual(len(self.close(records)), 1)
        lines = [line for line in self.log.at("error") if "kept nowhere else:" in line]
        self.assertEqual([f'"id":"{name}"' in line for name, line in zip("12", lines, strict=True)], [True, True])
        self.worker.release()

    def test_after_the_end(self) -> None:
        """A record that comes after the end is in the log, whole."""
        records = self.open()
        self.close(records)
        records.take(record("late"))
        self.assertIn('"id":"late"', self.log.at("error")[-1])
