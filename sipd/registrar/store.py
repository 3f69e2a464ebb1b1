"""Keeps bindings in a database without ever waiting for it: memory takes them, one thread writes them in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from sipd.errors import LocalError
from sipd.interfaces import Binding
from sipd.registrar.interfaces import IBindingStore

if TYPE_CHECKING:
    from sipd.registrar.database import Database

P = ParamSpec("P")
T = TypeVar("T")

#: Seconds that a change waits for others, to be written with them.
BATCH_DELAY = 0.010
#: AORs that are written in one transaction; when so many wait, they are written at once.
BATCH_SIZE = 500
#: Seconds between two tries while the database fails: the first, doubled each time, up to the last.
FIRST_RETRY = 1.0
LAST_RETRY = 60.0


class Worker(Protocol):
    """Runs blocking functions elsewhere, one after another."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Give what the function returns, or its failure."""

    def stop(self) -> None:
        """End, once nothing runs any more."""


class DatabaseThread:
    """The one thread in which the database is used. It ends with the reactor, if nobody stopped it before.

    Args:
        reactor: takes the results back.
    """

    def __init__(self, reactor: ReactorBase) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=1, name="sipd-database")
        self._pool.start()
        self._trigger = reactor.addSystemEventTrigger("during", "shutdown", self._pool.stop)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """See `Worker`."""
        return deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)

    def stop(self) -> None:
        """See `Worker`."""
        self._reactor.removeSystemEventTrigger(self._trigger)
        self._pool.stop()


@implementer(IBindingStore)
class DatabaseStore:
    """Writes the bindings of whole AORs, those that changed, in batches.

    A database that fails stops nobody from registering: what changes waits in memory, one entry for each AOR, and is
    written when the database is back. There is one line in the log when it fails and one when it is back.

    Args:
        url: see `Database`.
        clock: for the delays.
        worker: where the database is used; the store owns it and stops it.
        max_waiting: AORs that may wait. At the bound the one that waits longest is given up: after a restart its
            bindings are as they were written last, until the next refresh.
    """

    _log = Logger()

    def __init__(self, url: str, *, clock: IReactorTime, worker: Worker, max_waiting: int = 200_000) -> None:
        self._url = url
        self._clock = clock
        self._worker = worker
        self._max_waiting = max_waiting
        self._database: Database | None = None
        self._waiting: dict[str, Sequence[Binding]] = {}
        self._timer: IDelayedCall | None = None
        self._lock = DeferredLock()
        #: Seconds to the next try while the database fails, else 0.
        self._retry = 0.0
        self._given_up = 0
        self._is_closed = False

    def load(self, now: float) -> Deferred[Sequence[Binding]]:
        """See `IBindingStore`. Makes the schema, or brings it up to date, first. If it fails, the store is closed."""
        return Deferred.fromCoroutine(self._load(now))

    def save(self, aor: str, bindings: Sequence[Binding]) -> None:
        """See `IBindingStore`."""
        self._waiting[aor] = bindings
        if len(self._waiting) > self._max_waiting:
            del self._waiting[next(iter(self._waiting))]
            self._given_up += 1
        self._schedule()

    def close(self) -> Deferred[None]:
        """See `IBindingStore`. A database that fails is tried once more."""
        return Deferred.fromCoroutine(self._close())

    async def _load(self, now: float) -> Sequence[Binding]:
        try:
            database = await self._open()
            bindings, malformed = await self._worker.run(database.load, now)
        except LocalError:
            await self._close()
            raise
        if malformed:
            self._log.error("{malformed} bindings in the database cannot be read", malformed=malformed)
        return bindings

    async def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        async with self._lock:
            while self._waiting and await self._write_batch():
                pass
            if self._waiting:
                self._log.error("The bindings of {count} AORs were not written", count=len(self._waiting))
            if self._database is not None:
                await self._worker.run(self._database.close)
            self._worker.stop()

    async def _open(self) -> Database:
        if self._database is None:
            self._database = await self._worker.run(_open_database, self._url)
        return self._database

    def _schedule(self) -> None:
        """See to it that what waits is written: soon, at once when there is enough for a batch, or at the next try."""
        if self._is_closed or not self._waiting or self._lock.locked:
            return
        is_full = len(self._waiting) >= BATCH_SIZE and not self._retry
        if self._timer is None:
            self._timer = self._clock.callLater(0.0 if is_full else self._retry or BATCH_DELAY, self._start)
        elif is_full and len(self._waiting) == BATCH_SIZE:
            self._timer.reset(0.0)

    def _start(self) -> None:
        self._timer = None
        Deferred.fromCoroutine(self._write()).addErrback(self._fail)

    async def _write(self) -> None:
        async with self._lock:
            await self._write_batch()
        self._schedule()

    async def _write_batch(self) -> bool:
        """Write some of what waits; what cannot be written waits again, behind the rest, unless it changed meanwhile.

        Returns:
            Whether it was written.
        """
        batch = dict(islice(self._waiting.items(), BATCH_SIZE))
        for aor in batch:
            del self._waiting[aor]
        try:
            database = await self._open()
            await self._worker.run(database.save, tuple(batch.items()))
        except LocalError as error:
            for aor, bindings in batch.items():
                self._waiting.setdefault(aor, bindings)
            if not self._retry:
                self._log.error("{error}; bindings are kept in memory until it is back", error=error)
            self._retry = min(max(FIRST_RETRY, 2 * self._retry), LAST_RETRY)
            return False
        if self._retry:
            self._log.info("Bindings are written to the database again; {count} were given up", count=self._given_up)
            self._retry, self._given_up = 0.0, 0
        return True

    def _fail(self, failure: Failure) -> None:
        self._log.failure("Writing bindings failed", failure)


def _open_database(url: str) -> Database:
    """Import and open: only in the worker, since both take their time."""
    from sipd.registrar.database import Database

    return Database(url)
