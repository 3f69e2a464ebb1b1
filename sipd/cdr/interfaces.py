"""The joints of call records: between who makes them, who keeps them, and the places that they go to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, Protocol, TypeVar

from zope.interface import Attribute, Interface

from sipd.errors import LocalError

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.cdr.record import Record

P = ParamSpec("P")
T = TypeVar("T")


class SinkError(LocalError):
    """A place does not take records now: they are tried again. The text says why, without secrets.

    Args:
        reason: one line.
        retry_after: seconds that it wants to be left alone for, if it says so.
    """

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class RecordsRefusedError(LocalError):
    """A place will never take something in a batch, or not as large a batch: its records are tried one by one."""


class IRecordSink(Interface):
    """A place that records go to, and that says when it has them."""

    def deliver(records: Sequence[Record]) -> Deferred[None]:
        """Give it some records, oldest first; not called again before the Deferred has fired.

        That fires when they are safe there: what was given once must not be needed again. It fails with `SinkError` if
        all of them have to be given again, and with `RecordsRefusedError` if that would be of no use. A record may come
        twice, after a failure or a crash: its ``id`` says so.
        """

    def close() -> Deferred[None]:
        """Give back connections and threads. Nothing is delivered any more. Never fails."""


class IRecordTaker(Interface):
    """Who takes a record when there is one. Never blocks, and never raises."""

    kinds = Attribute("the kinds of records that it wants: a container of ``call``, ``attempt``")
    waiting = Attribute("how many records are in memory alone, since a disk does not take them")

    def take(record: Record) -> None:
        """Take one."""

    def reopen() -> None:
        """Files have been moved away: go on in new ones."""

    def close() -> Deferred[None]:
        """Bring what was taken as far as it gets in a short time, and stop. Never fails."""


class Worker(Protocol):
    """Runs blocking functions in a thread of its own, one after another."""

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Give what the function returns, or its failure."""

    def stop(self) -> None:
        """End, once nothing runs any more."""
