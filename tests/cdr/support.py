"""What tests of call records share: records of calls, places that behave, and a thread that is none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from sipd.cdr.interfaces import IRecordSink, IRecordTaker
from sipd.cdr.record import Record, records_of
from sipd.interfaces import AttemptRecord, CallRecord

P = ParamSpec("P")
T = TypeVar("T")

#: Sunday, 22 November 2026, 12:00:00 UTC.
NOON = 1_795_348_800.0


def call(name: str = "c1", **changes: object) -> CallRecord:
    """Make the record of a call that was answered after 3 s, by the second that was tried, and talked 60.25 s."""
    values: dict[str, object] = {
        "id": name,
        "call_id": f"{name}@192.0.2.1",
        "caller": "sip:alice@example.com",
        "caller_name": "Alice",
        "callee": "sip:5551234@example.com",
        "user": "alice",
        "source": "udp:192.0.2.1:5060",
        "point": "udp",
        "route": "abroad",
        "started_at": NOON,
        "ringing_at": NOON + 1.5,
        "answered_at": NOON + 3.0,
        "ended_at": NOON + 63.25,
        "status": 200,
        "reason": "OK",
        "ended_by": "caller",
        "cause": "bye",
        "codecs": ("pcma/8000",),
        "attempts": [
            AttemptRecord(
                leg="b1",
                label="trunk one",
                call_id=f"{name}-b1@192.0.2.9",
                uri="sip:5551234@one.example",
                trunk="one",
                started_at=NOON + 0.25,
                ended_at=NOON + 0.5,
                status=500,
                reason="Service Unavailable",
                cause="sip:503",
                reasons=('Q.850;cause=34;text="Circuits busy"',),
            ),
            AttemptRecord(
                leg="b2",
                label="trunk two",
                call_id=f"{name}-b2@192.0.2.9",
                uri="sip:5551234@two.example",
                trunk="two",
                started_at=NOON + 0.5,
                ringing_at=NOON + 1.5,
                answered_at=NOON + 3.0,
                ended_at=NOON + 63.25,
                status=200,
                reason="OK",
                codecs=("pcma/8000",),
            ),
        ],
    }
    return CallRecord(**{**values, **changes})  # type: ignore[arg-type]


def record(name: str = "c1", **changes: object) -> Record:
    """Make the record of a call as plain values."""
    return next(records_of(call(name, **changes)))


class NoThread:
    """A worker that does at once what it is asked, or when it is told to.

    Attributes:
        is_held: keep what comes, for `release`.
        is_stopped: it was stopped.
    """

    def __init__(self) -> None:
        self.is_held = False
        self.is_stopped = False
        self._held: list[Callable[[], None]] = []

    def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """See `sipd.cdr.interfaces.Worker`."""
        if not self.is_held:
            return cast(Deferred[T], maybeDeferred(function, *args, **kwargs))
        result: Deferred[T] = Deferred()

        def work() -> None:
            done = cast(Deferred[T], maybeDeferred(function, *args, **kwargs))
            if not result.called:
                done.chainDeferred(result)

        self._held.append(work)
        return result

    def release(self) -> None:
        """Do what was kept, and what comes of it."""
        self.is_held = False
        held, self._held = self._held, []
        for work in held:
            work()

    def stop(self) -> None:
        """See `sipd.cdr.interfaces.Worker`."""
        self.is_stopped = True


@implementer(IRecordSink)
class Place:
    """A place that takes records, or does not, as it is told.

    Attributes:
        batches: the ids of what it was given, whether it took it or not.
        ids: of what it took.
        error: what it answers next, and from then on; `None` to take what comes.
        refused: ids that it never takes, alone or among others.
        is_slow: it answers when `answer` is called.
        is_closed: it was closed.
    """

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.ids: list[str] = []
        self.error: Exception | None = None
        self.refused: dict[str, Exception] = {}
        self.is_slow = False
        self.is_closed = False
        self.pending: list[Deferred[None]] = []

    def deliver(self, records: Sequence[Record]) -> Deferred[None]:
        """See `IRecordSink`."""
        ids = [one["id"] for one in records]
        self.batches.append(ids)
        done: Deferred[None] = Deferred()
        done.addCallback(lambda _: self._take(ids))
        if self.is_slow:
            self.pending.append(done)
        else:
            done.callback(None)
        return done

    def _take(self, ids: list[str]) -> None:
        if self.error is not None:
            raise self.error
        for name in ids:
            if name in self.refused:
                raise self.refused[name]
        self.ids += ids

    def answer(self) -> None:
        """Answer what waits longest."""
        self.pending.pop(0).callback(None)

    def close(self) -> Deferred[None]:
        """See `IRecordSink`."""
        self.is_closed = True
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done


class LogKeeper:
    """Keeps what is logged while a test runs.

    Args:
        case: the test.
    """

    def __init__(self, case: SynchronousTestCase | TestCase) -> None:
        self.events: list[LogEvent] = []
        listen = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(listen)
        case.addCleanup(globalLogPublisher.removeObserver, listen)

    def at(self, level: str) -> list[str]:
        """Give what was logged at a level."""
        return [formatEvent(event) for event in self.events if event["log_level"].name == level]


@implementer(IRecordTaker)
class Taker:
    """Takes records, and keeps their ids.

    Args:
        kinds: that it wants.

    Attributes:
        waiting: what it says that it has in memory.
        reopened: how often it was told to.
        closed: to be fired when its close is over.
    """

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds
        self.ids: list[str] = []
        self.waiting = 0
        self.reopened = 0
        self.closed: Deferred[None] = Deferred()

    def take(self, record: Record) -> None:
        """See `IRecordTaker`."""
        self.ids.append(record["id"])

    def reopen(self) -> None:
        """See `IRecordTaker`."""
        self.reopened += 1

    def close(self) -> Deferred[None]:
        """See `IRecordTaker`."""
        return self.closed
