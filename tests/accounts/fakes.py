"""What the tests of accounts have in common: a store that behaves, and workers that work at once."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute, succeed
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from sipd.accounts.interfaces import IAccountStore, StoredAccount
from sipd.accounts.reading import AccountReader

P = ParamSpec("P")
T = TypeVar("T")


def stored(name: str = "alice", **values: object) -> StoredAccount:
    """Make an account with a password."""
    return AccountReader().read(name, {"password": "wonderland", **values})


def seeded(seed: int = 1) -> Callable[[int], bytes]:
    """Give a source of randomness that is the same in each run."""
    return random.Random(seed).randbytes


@implementer(IAccountStore)
class FakeStore:
    """Answers when the test says so, or at once with what it has.

    Attributes:
        has: what it has, by name; anything else it has not.
        asked: the names that it was asked for.
        error: what it fails with, if set.
        is_slow: whether questions wait in `open`.
        given_up: the names of questions that were cancelled.
    """

    def __init__(self, *accounts: StoredAccount) -> None:
        self.has = {one.account.name: one for one in accounts}
        self.asked: list[str] = []
        self.open: list[tuple[str, Deferred[StoredAccount | None]]] = []
        self.error: Exception | None = None
        self.is_slow = False
        self.is_closed = False
        self.given_up: list[str] = []

    def find(self, name: str) -> Deferred[StoredAccount | None]:
        """See `IAccountStore`."""
        self.asked.append(name)
        question: Deferred[StoredAccount | None] = Deferred(lambda _: self.given_up.append(name))
        self.open.append((name, question))
        if not self.is_slow:
            self.answer()
        return question

    def answer(self) -> None:
        """Answer the questions that wait."""
        waiting, self.open = self.open, []
        for name, question in waiting:
            if question.called:
                continue
            if self.error is not None:
                question.errback(self.error)
            else:
                question.callback(self.has.get(name))

    def close(self) -> Deferred[None]:
        """See `IAccountStore`."""
        self.is_closed = True
        return succeed(None)


class DirectWorkers:
    """Works at once, in the thread of the test."""

    def __init__(self) -> None:
        self.is_stopped = False

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """See `Workers`."""
        return execute(function, *args, **kwargs)

    def stop(self) -> None:
        """See `Workers`."""
        self.is_stopped = True


@implementer(ILogObserver)
class LogLines:
    """Keeps what is logged while a test runs."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self)
        case.addCleanup(globalLogPublisher.removeObserver, self)

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`."""
        self.events.append(event)

    @property
    def lines(self) -> list[str]:
        """The text of each event."""
        return [formatEvent(event) for event in self.events]
