"""The store: batches, retries and bounds on a clock; then once more with a real thread."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import cast

from twisted.internet import reactor  # noqa: TID251 (a real thread needs a real reactor)
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from sipd.errors import LocalError
from sipd.interfaces import Binding
from sipd.registrar.bindings import RegistrarSettings, read_registration
from sipd.registrar.database import Database
from sipd.registrar.interfaces import IBindingStore
from sipd.registrar.location import LocationService
from sipd.registrar.store import BATCH_DELAY, BATCH_SIZE, FIRST_RETRY, LAST_RETRY, DatabaseStore, DatabaseThread
from tests.registrar.fakes import DirectWorker, LogLines, SlowWorker, binding, request


class StoreCase(SynchronousTestCase):
    """A store on a clock whose work is done at once."""

    def setUp(self) -> None:
        """Make a store on a new file, and listen to the log."""
        self.path = Path(self.mktemp()).absolute()
        self.url = f"sqlite:///{self.path}"
        self.clock = Clock()
        self.worker = self.make_worker()
        self.store = self.make()
        self.assertEqual(self.successResultOf(self.store.load(0.0)), [])
        self.runs = self.worker.runs
        self.log = LogLines(self)

    def tearDown(self) -> None:
        """Close; nothing is pending afterwards."""
        self.successResultOf(self.store.close())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertTrue(self.worker.is_stopped)

    def make_worker(self) -> DirectWorker:
        """Make what the store works with."""
        return DirectWorker()

    def make(self) -> DatabaseStore:
        """Make a store."""
        return DatabaseStore(self.url, clock=self.clock, worker=self.worker, max_waiting=2000)

    def save(self, user: str, *contacts: str) -> None:
        """Save the contacts of a user."""
        aor = f"sip:{user}@example.com"
        self.store.save(aor, [binding(contact, aor=aor) for contact in contacts])

    def written(self) -> list[tuple[str, str]]:
        """Give (AOR, contact) of what is in the file."""
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute("SELECT aor, contact FROM bindings ORDER BY aor, position").fetchall()

    def break_database(self) -> None:
        """Make every write fail."""
        self.execute("ALTER TABLE bindings RENAME TO away")

    def repair_database(self) -> None:
        """Let writes succeed again."""
        self.execute("ALTER TABLE away RENAME TO bindings")

    def execute(self, statement: str) -> None:
        """Change the file behind the store's back."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement)


class BatchTests(StoreCase):
    """When things are written."""

    def test_interface(self) -> None:
        """The store is what it says."""
        verifyObject(IBindingStore, self.store)

    def test_together(self) -> None:
        """What changes within 10 ms is written in one go."""
        for number in range(10):
            self.save(f"u{number}", "<sip:a@1>")
        self.assertEqual(self.written(), [])
        self.clock.advance(BATCH_DELAY)
        self.assertEqual((len(self.written()), self.worker.runs - self.runs), (10, 1))

    def test_same_address(self) -> None:
        """Of several changes of an AOR the last is written."""
        for contacts in (["<sip:a@1>"], ["<sip:a@1>", "<sip:a@2>"], ["<sip:a@3>"]):
            self.save("a", *contacts)
        self.clock.advance(BATCH_DELAY)
        self.assertEqual(self.written(), [("sip:a@example.com", "<sip:a@3>")])
        self.save("a")
        self.clock.advance(BATCH_DELAY)
        self.assertEqual(self.written(), [])

    def test_full_batch(self) -> None:
        """When a batch is full it is written at once, the rest soon after."""
        for number in range(BATCH_SIZE + 1):
            self.save(f"u{number}", "<sip:a@1>")
        self.clock.advance(0)
        self.assertEqual(len(self.written()), BATCH_SIZE)
        self.clock.advance(BATCH_DELAY)
        self.assertEqual(len(self.written()), BATCH_SIZE + 1)

    def test_nothing_to_do(self) -> None:
        """Without changes there is no timer."""
        self.save("a", "<sip:a@1>")
        self.clock.advance(BATCH_DELAY)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_writes(self) -> None:
        """Closing writes what waits, several batches of it, without waiting for the timer."""
        for number in range(3 * BATCH_SIZE):
            self.save(f"u{number}", "<sip:a@1>")
        self.successResultOf(self.store.close())
        self.assertEqual(len(self.written()), 3 * BATCH_SIZE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_twice(self) -> None:
        """Closing again does nothing; what is saved afterwards is not taken."""
        self.successResultOf(self.store.close())
        self.successResultOf(self.store.close())
        self.save("late", "<sip:a@1>")
        self.assertEqual((self.written(), self.clock.getDelayedCalls()), ([], []))

    def test_unused(self) -> None:
        """A store that was never loaded can be closed."""
        worker = DirectWorker()
        self.successResultOf(DatabaseStore(self.url, clock=self.clock, worker=worker).close())
        self.assertTrue(worker.is_stopped)


class SlowTests(StoreCase):
    """What happens while something is being written."""

    def setUp(self) -> None:
        """Begin a write, which does not come to its end."""
        super().setUp()
        self.slow.is_slow = True
        self.save("a", "<sip:a@1>")
        self.clock.advance(BATCH_DELAY)

    def make_worker(self) -> DirectWorker:
        """See `StoreCase`."""
        self.slow = SlowWorker()
        return self.slow

    def tearDown(self) -> None:
        """Let everything through."""
        self.slow.is_slow = False
        self.slow.go_on()
        super().tearDown()

    def test_one_at_a_time(self) -> None:
        """A change during a write waits for its end, and is then written."""
        self.save("a", "<sip:a@2>")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.slow.waiting), 1)
        self.slow.go_on()
        self.assertEqual(self.written(), [("sip:a@example.com", "<sip:a@1>")])
        self.clock.advance(BATCH_DELAY)
        self.slow.go_on()
        self.assertEqual(self.written(), [("sip:a@example.com", "<sip:a@2>")])

    def test_close_during_a_write(self) -> None:
        """Closing waits for the write that runs, and then writes the rest."""
        self.save("b", "<sip:b@1>")
        closed = self.store.close()
        self.assertNoResult(closed)
        for _ in range(3):
            self.assertNoResult(closed)
            self.slow.go_on()
        self.successResultOf(closed)
        self.assertEqual(len(self.written()), 2)
        self.assertTrue(self.slow.is_stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure_does_not_undo_a_newer_change(self) -> None:
        """What failed is not written over what was saved meanwhile."""
        self.save("a", "<sip:a@2>")
        self.break_database()
        self.slow.go_on()
        self.repair_database()
        self.clock.advance(FIRST_RETRY)
        self.slow.go_on()
        self.assertEqual(self.written(), [("sip:a@example.com", "<sip:a@2>")])


class FailureTests(StoreCase):
    """A database that fails."""

    def test_one_line(self) -> None:
        """However often it fails, there is one line, and one when it is back; nothing is lost."""
        self.break_database()
        self.save("a", "<sip:a@1>")
        self.clock.advance(BATCH_DELAY)
        for _ in range(5):
            self.save("b", "<sip:b@1>")
            self.clock.pump([1.0] * 10)
        self.assertEqual(len(self.log.lines), 1)
        self.assertIn("no such table: bindings", self.log.lines[0])
        self.repair_database()
        self.clock.advance(LAST_RETRY)
        self.assertEqual([aor for aor, _ in self.written()], ["sip:a@example.com", "sip:b@example.com"])
        self.assertEqual(self.log.lines[1:], ["Bindings are written to the database again; 0 were given up"])
        self.save("c", "<sip:c@1>")
        self.clock.advance(BATCH_DELAY)
        self.assertEqual(len(self.written()), 3)

    def test_back_off(self) -> None:
        """Tries become rarer: after 1, 2, 4 ... seconds, at most a minute."""
        self.break_database()
        self.save("a", "<sip:a@1>")
        self.clock.advance(BATCH_DELAY)
        delays = []
        for _ in range(9):
            (timer,) = self.clock.getDelayedCalls()
            delays.append(round(timer.getTime() - self.clock.seconds(), 6))
            self.clock.advance(delays[-1])
        self.assertEqual(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.assertEqual(len(self.log.lines), 1)

    def test_many_changes_do_not_hasten(self) -> None:
        """While it fails, a full batch does not make it try earlier."""
        self.break_database()
        self.save("a", "<sip:a@1>")
        self.clock.advance(BATCH_DELAY)
        runs = self.worker.runs
        for number in range(BATCH_SIZE + 10):
            self.save(f"u{number}", "<sip:a@1>")
        self.clock.advance(FIRST_RETRY / 2)
        self.assertEqual(self.worker.runs, runs)

    def test_bound(self) -> None:
        """At the bound the change that waits longest is given up, and counted."""
        self.store._max_waiting = 3
        self.break_database()
        for number in range(5):
            self.save(f"u{number}", "<sip:a@1>")
        self.clock.advance(BATCH_DELAY)
        self.repair_database()
        self.clock.advance(FIRST_RETRY)
        self.assertEqual([aor for aor, _ in self.written()], [f"sip:u{number}@example.com" for number in (2, 3, 4)])
        self.assertEqual(self.log.lines[-1], "Bindings are written to the database again; 2 were given up")

    def test_closed_while_it_fails(self) -> None:
        """Closing tries once more, says what was not written, and ends."""
        self.break_database()
        self.save("a", "<sip:a@1>")
        self.save("b", "<sip:a@1>")
        self.successResultOf(self.store.close())
        self.assertEqual(self.log.lines[-1], "The bindings of 2 AORs were not written")

    def test_bug(self) -> None:
        """What is no failure of the database is a traceback in the log, and does not stop later writes."""
        self.store.save("sip:x@example.com", [None])  # type: ignore[list-item]
        self.clock.advance(BATCH_DELAY)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.save("a", "<sip:a@1>")
        self.clock.advance(BATCH_DELAY)
        self.assertEqual(len(self.written()), 1)


class LoadTests(SynchronousTestCase):
    """The start."""

    def test_corrupted_file(self) -> None:
        """A file that is no database fails with a LocalError that names it, and ends the worker."""
        path = Path(self.mktemp()).absolute()
        path.write_bytes(b"nonsense" * 1000)
        worker = DirectWorker()
        store = DatabaseStore(f"sqlite:///{path}", clock=Clock(), worker=worker)
        failure = self.failureResultOf(store.load(0.0), LocalError)
        self.assertEqual(str(failure.value), f"Database sqlite:///{path}: file is not a database")
        self.assertTrue(worker.is_stopped)

    def test_row_that_nobody_understands(self) -> None:
        """Rows that cannot be read are one line in the log."""
        url = f"sqlite:///{Path(self.mktemp()).absolute()}"
        database = Database(url)
        database.save([("sip:a@b", [binding(), replace(binding(), contact="nonsense")])])
        database.close()
        log = LogLines(self)
        store = DatabaseStore(url, clock=Clock(), worker=DirectWorker())
        self.assertEqual(len(self.successResultOf(store.load(0.0))), 1)
        self.successResultOf(store.close())
        self.assertEqual(log.lines, ["1 bindings in the database cannot be read"])


class ThreadTests(TestCase):
    """The same in a real thread, with the real reactor."""

    def setUp(self) -> None:
        """Choose a file."""
        self.url = f"sqlite:///{Path(self.mktemp()).absolute()}"

    def make(self, url: str = "") -> LocationService:
        """Make a location service with a store of its own."""
        store = DatabaseStore(url or self.url, clock=reactor, worker=DatabaseThread(cast(ReactorBase, reactor)))
        return LocationService(clock=reactor, store=store)

    def test_restart(self) -> Deferred[None]:
        """Bindings that were made, refreshed and removed are the same after a restart, whatever was still waiting."""
        return ensureDeferred(self.restart())

    async def restart(self) -> None:
        """Run twice on the same file."""
        first = self.make()
        await first.start()
        settings = RegistrarSettings()
        for cseq in (1, 2):
            for number in range(700):
                aor = f"sip:u{number}@example.com"
                message = request(f"<sip:u{number}@10.0.0.{cseq}>", cseq=cseq, headers=[("Expires", str(60 * cseq))])
                first.register(read_registration(message, aor=aor, settings=settings), max_contacts=2)
        gone = request("*", cseq=3, headers=[("Expires", "0")])
        first.register(read_registration(gone, aor="sip:u7@example.com", settings=settings), max_contacts=2)
        before = {aor: tuple(first.lookup(aor)) for aor in first.addresses_of_record()}
        self.assertEqual(len(before), 699)
        await first.stop()
        second = self.make()
        await second.start()
        after: dict[str, tuple[Binding, ...]] = {aor: tuple(second.lookup(aor)) for aor in second.addresses_of_record()}
        await second.stop()
        self.assertEqual(after, before)

    def test_start_fails(self) -> Deferred[None]:
        """A start that fails leaves no thread behind."""
        return ensureDeferred(self.start_in_vain())

    async def start_in_vain(self) -> None:
        """Start on a file that cannot be made."""
        with self.assertRaises(LocalError):
            await self.make("sqlite:////no/such/directory/file").start()
        self.assertEqual([one.name for one in threading.enumerate() if "sipd-database" in one.name], [])
