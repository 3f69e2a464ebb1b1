"""A store of accounts in a database, asked by a few threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from sipd.accounts.interfaces import IAccountStore, StoredAccount, StoreUnavailableError
from sipd.accounts.reading import Reader

if TYPE_CHECKING:
    from sipd.accounts.database import AccountDatabase

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """Where accounts are.

    Args:
        url: as SQLAlchemy writes them; may hold a password.
        subscribers: the name of a table as Kamailio's scripts make it; empty for the table of sipd's own.
        realm: that hashes are good for. In a ``subscriber`` table they are good for the domain of the row.
        domains: of which a ``subscriber`` table's users are ours, the first before the next; the realm is one of them.
        connections: at the same time.
        timeout: seconds after which the database ends a question by itself, where it can.
    """

    url: str = field(repr=False)
    subscribers: str = ""
    realm: str = ""
    domains: tuple[str, ...] = ()
    connections: int = 4
    timeout: float = 3.0


class Workers(Protocol):
    """Run blocking functions elsewhere, a few at a time."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Give what the function returns, or its failure."""

    def stop(self) -> None:
        """End, once nothing runs any more."""


class DatabaseThreads:
    """The threads in which a database is asked. They end with the reactor, if nobody stopped them before.

    Args:
        reactor: takes the results back.
        count: of threads.
    """

    def __init__(self, reactor: ReactorBase, count: int) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=count, name="sipd-accounts")
        self._pool.start()
        self._trigger = reactor.addSystemEventTrigger("during", "shutdown", self._pool.stop)

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """See `Workers`."""
        return deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)

    def stop(self) -> None:
        """See `Workers`."""
        self._reactor.removeSystemEventTrigger(self._trigger)
        self._pool.stop()


@implementer(IAccountStore)
class SqlStore:
    """Asks a database; it is opened by the first question, and by the next if that failed.

    A question that is given up is not asked any more if its turn has not come. A thread in which one hangs is lost to
    the others until the driver gives up; so the questions that threads have, given up or not, are bounded, too.

    Args:
        settings: which database.
        reader: makes accounts of rows.
        workers: ask; the store owns them and stops them.
        max_waiting: questions that the threads may have; one more fails at once.
    """

    def __init__(
        self, settings: DatabaseSettings, *, reader: Reader, workers: Workers, max_waiting: int = 1000
    ) -> None:
        self._settings = settings
        self._reader = reader
        self._workers = workers
        self._max_waiting = max_waiting
        self._waiting = 0
        self._opened: list[AccountDatabase] = []

    def find(self, name: str) -> Deferred[StoredAccount | None]:
        """See `IAccountStore`."""
        if self._waiting >= self._max_waiting:
            return fail(StoreUnavailableError(f"all threads are busy, and {self._waiting} questions wait for them"))
        is_given_up = Event()
        question: Deferred[StoredAccount | None] = Deferred(lambda _: is_given_up.set())
        self._waiting += 1
        self._workers.run(self._ask, name, is_given_up).addBoth(self._answer, question)
        return question

    def close(self) -> Deferred[None]:
        """See `IAccountStore`."""
        return self._workers.run(self._close).addBoth(lambda _: self._workers.stop())

    def _answer(self, result: StoredAccount | Failure | None, question: Deferred[StoredAccount | None]) -> None:
        self._waiting -= 1
        if question.called:
            return  # nobody waits for it any more
        if isinstance(result, Failure):
            question.errback(result)
        else:
            question.callback(result)

    # --- in a thread ------------------------------------------------------------------------------------------

    def _ask(self, name: str, is_given_up: Event) -> StoredAccount | None:
        if is_given_up.is_set():
            return None
        values = self._database().find(name)
        return None if values is None else self._reader.read(name, values)

    def _database(self) -> AccountDatabase:
        """Give the database. Two threads that open it at the same time make two engines, of which one is let go."""
        from sipd.accounts.database import AccountDatabase

        if not self._opened:
            self._opened.append(AccountDatabase(self._settings))
        return self._opened[0]

    def _close(self) -> None:
        for database in self._opened:
            database.close()
