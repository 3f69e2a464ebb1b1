"""Brings records to a place for certain: into a spool, from there to the place, out of the spool when it has them.

A record is delivered at least once. A place that is away, a crash and a restart cost time, not records; what may be
lost all the same is said in `SpooledRecords`, and is logged. Disk and network are never waited for here: the spool is
used in a thread, and the place says by a Deferred when it is done.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.cdr.interfaces import IRecordSink, IRecordTaker, RecordsRefusedError, SinkError, Worker
from sipd.cdr.record import CALL, Record, to_json
from sipd.cdr.spool import Position, Spool, SpoolFullError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Records that are put into the spool at once.
_PUT_RECORDS = 200
#: Octets of them that have to fit below the bound of the spool together.
_PUT_OCTETS = 64 * 1024
#: A place that wants to be left alone for longer is asked after that many seconds.
_MAX_PATIENCE = 3600.0


class FullPolicy(Enum):
    """Which records are given up when the spool is at its bound."""

    OLDEST = "drop-oldest"
    NEWEST = "drop-newest"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How records are brought to a place.

    Args:
        batch: so many are given to it at once, at most.
        first_retry: seconds until it is tried again; doubled each time.
        last_retry: the longest of these.
        spool_retry: seconds until a disk that failed is tried again.
        when_full: what is given up when the spool is at its bound.
        max_waiting: records that may wait in memory for the disk. The oldest are given up beyond that.
        farewell: seconds that a stop waits for the place, and for the disk.
    """

    batch: int = 100
    first_retry: float = 1.0
    last_retry: float = 60.0
    spool_retry: float = 5.0
    when_full: FullPolicy = FullPolicy.OLDEST
    max_waiting: int = 10_000
    farewell: float = 5.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """What was read of the spool."""

    records: tuple[Record, ...]
    end: Position
    spoiled: int


@implementer(IRecordTaker)
class SpooledRecords:
    """One place, and its spool.

    While the disk does not take records they wait in memory, and those go to the place from there when the spool has no
    older ones. Lost, each with a line in the log: what is beyond `max_waiting` then; what is beyond the bound of the
    spool; and, by a crash, what has ended in the moment before, until the disk has it. A stop logs, whole, what is
    still in memory. What the place will never take is kept beside the spool.

    Args:
        name: of the place, for the log.
        sink: the place; closed with this.
        spool: for it alone; closed with this.
        clock: for the delays.
        worker: the thread that uses the disk; several may share it.
        kinds: of the records that go there.
        settings: delays and bounds.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        sink: IRecordSink,
        spool: Spool,
        *,
        clock: IReactorTime,
        worker: Worker,
        kinds: Collection[str] = (CALL,),
        settings: DeliverySettings | None = None,
    ) -> None:
        self.kinds = frozenset(kinds)
        self.name = name
        self._sink = sink
        self._spool = spool
        self._clock = clock
        self._worker = worker
        self._settings = settings or DeliverySettings()
        self._waiting: deque[bytes] = deque()
        #: What is on its way to the disk, or past it.
        self._picked: list[bytes] = []
        self._putting = DeferredLock()
        self._delivering = DeferredLock()
        self._put_timer: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None
        #: Seconds to the next try while the place does not take records, else 0.
        self._delay = 0.0
        self._is_disk_failing = False
        self._lost = 0
        #: Of these, what the thread has given up and the log was not told of yet.
        self._given_up = 0
        self._is_closed = False
        #: Whether something was put into the spool since it was last found empty.
        self._has_more = True

    @property
    def spooled_octets(self) -> int:
        """The size of the spool; what was delivered may be in it for a while."""
        return self._spool.size_octets

    @property
    def waiting(self) -> int:
        """How many records are in memory alone."""
        return len(self._waiting) + len(self._picked)

    def start(self) -> None:
        """Begin with what an earlier run has left in the spool."""
        self._deliver()

    def abandon(self) -> None:
        """Close it before it was started: nothing was taken."""
        self._is_closed = True
        self._sink.close()
        self._spool.close()

    def take(self, record: Record) -> None:
        """See `IRecordTaker`."""
        self._waiting.append(to_json(record))
        if self._is_closed:
            self._log_waiting()
            return
        if len(self._waiting) > self._settings.max_waiting:
            self._waiting.popleft()
            self._lose(1, "too many wait for the disk")
        self._put()
        if self._is_disk_failing:
            self._deliver()

    def reopen(self) -> None:
        """See `IRecordTaker`. There is no file of an operator's here."""

    def close(self) -> Deferred[None]:
        """See `IRecordTaker`. The place is tried once more."""
        if self._is_closed:
            return succeed(None)
        return Deferred.fromCoroutine(self._close()).addErrback(self._broke)

    # --- into the spool ---------------------------------------------------------------------------------------

    def _put(self) -> None:
        if self._waiting and not self._putting.locked and self._put_timer is None:
            Deferred.fromCoroutine(self._put_all()).addErrback(self._put_broke).addBoth(self._put_ended)

    def _put_ended(self, _: object) -> None:
        if self._is_closed:
            return
        if not self._is_disk_failing:
            self._put()
        self._put_later()
        self._deliver()

    def _put_later(self) -> None:
        """See to it that what waits for a disk that fails does not wait for ever."""
        if self._is_disk_failing and self._waiting and self._put_timer is None and not self._putting.locked:
            self._put_timer = self._clock.callLater(self._settings.spool_retry, self._put_again)

    def _put_again(self) -> None:
        self._put_timer = None
        self._put()

    def _put_broke(self, failure: Failure) -> None:
        self._is_disk_failing = True
        self._broke(failure)

    async def _put_all(self) -> None:
        async with self._putting:
            while self._waiting and await self._put_batch():
                pass

    async def _put_batch(self) -> bool:
        """Put what waits longest into the spool; say whether that was possible."""
        try:
            await self._worker.run(self._put_into_spool, self._pick(_PUT_RECORDS))
            self._picked = []
        except OSError as error:
            if not self._is_disk_failing:
                text = "call records for {name} cannot be spooled in {path}: {error}; they wait in memory"
                self._log.error(text, name=self.name, path=str(self._spool.directory), error=error)
            self._is_disk_failing = True
            return False
        finally:
            self._put_back()
            lost, self._given_up = self._given_up, 0
            if lost:
                self._lose(lost, "the spool is full")
        self._has_more = True
        if self._is_disk_failing:
            self._is_disk_failing = False
            self._log.info("call records for {name} are spooled again", name=self.name)
        if self._lost and not lost:
            self._log.info("{count} call records for {name} were lost", count=self._lost, name=self.name)
            self._lost = 0
        return True

    def _pick(self, number: int) -> list[bytes]:
        """Take some of what waits longest out of the queue; who does has the lock."""
        self._picked = [self._waiting.popleft() for _ in range(min(number, len(self._waiting)))]
        return self._picked

    def _put_back(self) -> None:
        """Let what is not elsewhere wait again."""
        self._waiting.extendleft(reversed(self._picked))
        self._picked = []

    def _put_into_spool(self, records: Sequence[bytes]) -> None:
        """Put records in, and make room as far as that is wanted; in the thread. Count what is given up for it."""
        for chunk in _chunks(records):
            while True:
                try:
                    self._spool.put(chunk)
                except SpoolFullError:
                    if self._settings.when_full is FullPolicy.NEWEST or not self._spool.size_octets:
                        self._given_up += len(chunk)
                        break
                    self._given_up += self._spool.drop_oldest()
                else:
                    break

    def _lose(self, count: int, why: str) -> None:
        if not self._lost:
            self._log.error("call records for {name} are lost: {why}", name=self.name, why=why)
        self._lost += count

    # --- out of the spool -------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        has_more = self._has_more or (self._is_disk_failing and self._waiting)
        if has_more and not self._delivering.locked and self._timer is None and not self._is_closed:
            Deferred.fromCoroutine(self._deliver_all()).addErrback(self._deliver_broke).addBoth(self._deliver_ended)

    def _deliver_ended(self, _: object) -> None:
        if self._is_closed:
            return
        self._put_later()
        if not self._delay:
            self._deliver()
        elif self._timer is None:
            self._timer = self._clock.callLater(self._delay, self._deliver_again)

    def _deliver_again(self) -> None:
        self._timer = None
        self._has_more = True
        self._deliver()

    def _deliver_broke(self, failure: Failure) -> None:
        self._broke(failure)
        self._back_off(SinkError("that failed"))

    async def _deliver_all(self) -> None:
        try:
            async with self._delivering:
                while await self._deliver_batch():
                    if self._delay:
                        self._log.info("call records go to {name} again", name=self.name)
                        self._delay = 0.0
        except SinkError as error:
            self._back_off(error)
        except OSError as error:
            self._back_off(SinkError(f"the spool {self._spool.directory} cannot be read: {error}"))

    async def _deliver_batch(self) -> bool:
        """Bring the oldest records to the place; say whether there were any."""
        self._has_more = False
        batch = await self._worker.run(self._read_spool)
        if batch.spoiled:
            text = "{count} lines in the spool {path} of call records are spoiled, and passed over"
            self._log.error(text, count=batch.spoiled, path=str(self._spool.directory))
        if batch.records:
            await self._hand_over(batch.records)
        elif not batch.spoiled:
            # What was put in meanwhile is older than what is in memory.
            return not self._has_more and await self._deliver_from_memory()
        try:
            await self._worker.run(self._spool.take, batch.end)
        except OSError as error:
            # They are taken all the same; after a crash they would come again.
            self._log.debug("{path}: {error}", path=str(self._spool.directory), error=error)
        return True

    async def _deliver_from_memory(self) -> bool:
        """Bring what the disk does not take to the place without it; say whether there was anything."""
        if not self._is_disk_failing or not self._waiting or self._putting.locked:
            return False
        async with self._putting:
            try:
                await self._hand_over([json.loads(one) for one in self._pick(self._settings.batch)])
                self._picked = []
            finally:
                self._put_back()
        return True

    async def _hand_over(self, records: Sequence[Record]) -> None:
        """Give the place some records; what it refuses is kept beside the spool.

        Raises:
            SinkError: it takes none now.
        """
        try:
            await self._sink.deliver(records)
        except RecordsRefusedError as error:
            if len(records) > 1:
                half = len(records) // 2
                await self._hand_over(records[:half])
                await self._hand_over(records[half:])
                return
            line = to_json(records[0])
            if await self._worker.run(self._spool.refuse, [line]):
                path = str(self._spool.directory / "refused.records")
                text = "{name} refuses call record {id}: {error}; it is kept in {path}"
                self._log.error(text, name=self.name, id=records[0].get("id"), error=error, path=path)
            else:
                text = "{name} refuses a call record, perhaps kept nowhere else: {error}: {record}"
                self._log.error(text, name=self.name, error=error, record=line.decode())

    def _read_spool(self) -> _Batch:
        batch = self._spool.read(self._settings.batch)
        return _Batch(tuple([json.loads(record) for record in batch.records]), batch.end, batch.spoiled)

    def _back_off(self, error: SinkError) -> None:
        settings = self._settings
        if not self._delay:
            self._log.error("call records cannot be brought to {name}: {error}; they wait", name=self.name, error=error)
        self._delay = min(max(settings.first_retry, 2 * self._delay), settings.last_retry)
        if error.retry_after is not None:
            self._delay = max(self._delay, min(error.retry_after, _MAX_PATIENCE))

    # --- the end ----------------------------------------------------------------------------------------------

    async def _close(self) -> None:
        self._is_closed = True
        for timer in (self._put_timer, self._timer):
            if timer is not None:
                timer.cancel()
        self._put_timer = self._timer = None
        await self._within(self._put_all())
        await self._within(self._deliver_all())
        self._log_waiting()
        await self._within(self._close_place())

    async def _close_place(self) -> None:
        await self._sink.close()
        await self._worker.run(self._spool.close)

    def _within(self, work: Coroutine[Deferred[None], object, None]) -> Deferred[None]:
        """Do something, but not for longer than the farewell."""

        def too_late(_: object, __: float) -> None:
            return None

        done = Deferred.fromCoroutine(work).addTimeout(self._settings.farewell, self._clock, too_late)
        return done.addErrback(self._broke)

    def _log_waiting(self) -> None:
        self._put_back()
        while self._waiting:
            record = self._waiting.popleft().decode()
            self._log.error(
                "call record for {name}, perhaps kept nowhere else: {record}", name=self.name, record=record
            )

    def _broke(self, failure: Failure) -> None:
        """A bug: the traceback says where to look."""
        self._log.failure("bringing call records to {name} failed", failure, name=self.name)


def _chunks(records: Sequence[bytes]) -> list[list[bytes]]:
    """Divide records so that the octets of each part are not many; a large record is a part by itself."""
    parts: list[list[bytes]] = []
    size = _PUT_OCTETS
    for record in records:
        if size + len(record) > _PUT_OCTETS:
            parts.append([])
            size = 0
        parts[-1].append(record)
        size += len(record)
    return parts
