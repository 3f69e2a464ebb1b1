"""The engine whose streams are in another process; this one keeps the sockets, too, and can go on any time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure

from sipd.errors import MediaEngineError
from sipd.media.counting import Share
from sipd.media.engine import Forwarder
from sipd.media.latch import Address
from sipd.media.poller import MediaReactor
from sipd.media.reactor import ReactorEngine
from sipd.media.stream import RelayStream
from sipd.media.terms import export_terms
from sipd.media.worker.commands import MAX_OPERATIONS, Do, Happened, Open
from sipd.media.worker.streams import export_stream

#: Seconds after which a worker that answers nothing is taken for one that never will.
PATIENCE = 5.0
#: Into how many parts that is divided.
_LOOKS = 5


class WorkerEngine(amp.AMP):
    """Lets a worker forward. It is an `Engine`, and the connection to that worker.

    What is asked for in one turn of the reactor goes out together. A worker that owes an answer for `PATIENCE` is let
    go of as if it had ended: calls must not wait for it, and their media does not flow meanwhile.

    Args:
        reactor: for the time.
        lost: called once when the worker is gone; each stream has to be moved to another engine then.
    """

    name = "worker"
    treats = False
    _log = Logger()

    def __init__(self, reactor: MediaReactor, lost: Callable[[WorkerEngine], object]) -> None:
        super().__init__()
        self._reactor = reactor
        self._lost = lost
        self._is_lost = False
        self._forwarders: dict[int, RemoteForwarder] = {}
        #: Those that are closed, and whose counters are still to come.
        self._closing: dict[int, RemoteForwarder] = {}
        self._next_number = 1
        self._operations: list[list[object]] = []
        self._flushing: IDelayedCall | None = None
        self._asked = 0
        self._answered = 0
        self._waiting: list[tuple[int, Deferred[None]]] = []
        self._overdue: IDelayedCall | None = None
        self._is_stuck = False

    def __len__(self) -> int:
        """Count the streams."""
        return len(self._forwarders)

    @property
    def is_lost(self) -> bool:
        """Whether the worker is gone."""
        return self._is_lost

    @property
    def is_stuck(self) -> bool:
        """Whether it was let go of since it did not answer."""
        return self._is_stuck

    def forward(self, stream: RelayStream) -> RemoteForwarder:
        """See `Engine`."""
        if self._is_lost:
            raise MediaEngineError("the media worker is gone")
        number = self._next_number
        self._next_number += 1
        state = export_stream(stream, self._reactor.seconds())
        # The stream may be closed before these have left.
        rtp, rtcp = os.dup(stream.pair.rtp.fileno()), os.dup(stream.pair.rtcp.fileno())
        opening = self.callRemote(Open, number=number, rtp=rtp, rtcp=rtcp, state=state)
        opening.addBoth(_close_both, rtp, rtcp).addErrback(self._failed)
        stream.statistics.engine = self.name
        forwarder = self._forwarders[number] = RemoteForwarder(self, number, stream, self._reactor)
        return forwarder

    def settle(self) -> Deferred[None]:
        """See `Engine`."""
        self._flush()
        if self._is_lost or self._answered == self._asked:
            return succeed(None)
        settled: Deferred[None] = Deferred()
        self._waiting.append((self._asked, settled))
        return settled

    def close(self) -> None:
        """See `Engine`. The worker ends when it has nothing left to do."""
        self.settle().addCallback(self._disconnect)

    def do(self, *operation: object) -> None:
        """Ask for an operation, with all else that is asked for in this turn of the reactor."""
        if self._is_lost:
            return
        self._operations.append(list(operation))
        if len(self._operations) >= MAX_OPERATIONS:
            self._flush()
        elif self._flushing is None:
            self._flushing = self._reactor.callLater(0, self._flush)

    def drop(self, forwarder: RemoteForwarder) -> None:
        """Forget a stream; its last counters come with the answer."""
        if self._forwarders.pop(forwarder.number, None) is not None and not self._is_lost:
            self._closing[forwarder.number] = forwarder
            self.do("close", forwarder.number)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See ``twisted.internet.protocol.Protocol``."""
        self._is_lost = True
        super().connectionLost(reason)
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        self._watch(again=False)
        self._operations.clear()
        self._forwarders.clear()
        self._closing.clear()
        self._lost(self)
        waiting, self._waiting = self._waiting, []
        for _, settled in waiting:
            settled.callback(None)

    @Happened.responder
    def happened(self, number: int, kind: str, text: str, sources: list[Any]) -> dict[str, Any]:
        """See `Happened`."""
        forwarder = self._forwarders.get(number)
        if forwarder is not None:
            forwarder.take_sources(sources)
            try:
                forwarder.report(kind, text)
            except Exception:
                self._log.failure("what a media worker told could not be passed on")
        return {}

    def _flush(self) -> None:
        """Send what is asked for."""
        flushing, self._flushing = self._flushing, None
        if flushing is not None and flushing.active():
            flushing.cancel()
        operations, self._operations = self._operations, []
        if operations and not self._is_lost:
            self._asked += 1
            self.callRemote(Do, operations=operations).addCallback(self._done).addErrback(self._failed)
            if self._overdue is None:
                self._watch(again=True)

    def _done(self, answer: dict[str, Any]) -> None:
        for number, counters, sources, engine in answer["results"]:
            forwarder = self._forwarders.get(number) or self._closing.pop(number, None)
            if forwarder is not None:
                forwarder.take_sources(sources)
                forwarder.take_counters(counters, engine)
        self._answered += 1
        self._watch(again=self._answered < self._asked)
        ready = [settled for asked, settled in self._waiting if asked <= self._answered]
        self._waiting = [(asked, settled) for asked, settled in self._waiting if asked > self._answered]
        for settled in ready:
            settled.callback(None)

    def _watch(self, *, again: bool) -> None:
        """End the present wait for an answer, and begin the next one if one is owed."""
        if self._overdue is not None:
            self._overdue.cancel()
        self._overdue = None
        if again:
            self._wait(_LOOKS)

    def _wait(self, looks: int) -> None:
        """Wait part by part. If it was this process that stood still, only one part is over, and an answer is there."""
        if looks:
            self._overdue = self._reactor.callLater(PATIENCE / _LOOKS, self._wait, looks - 1)
        else:
            # After what has come was read.
            self._overdue = self._reactor.callLater(0, self._give_up)

    def _give_up(self) -> None:
        self._overdue = None
        self._is_stuck = True
        self._log.error("a media worker has not answered for {patience:g} s", patience=PATIENCE)
        if self.transport is not None:
            # What it has not read would keep a connection open that is closed in order.
            cast(ITCPTransport, self.transport).abortConnection()

    def _failed(self, failure: Failure) -> None:
        """A worker that does not do what it is asked is of no use: let go of it, and go on without."""
        if not self._is_lost:
            self._log.failure("the media worker failed", failure)
            self._disconnect()

    def _disconnect(self, _: object = None) -> None:
        if self.transport is not None and not self._is_lost:
            self.transport.loseConnection()


class RemoteForwarder:
    """A stream's part in a worker. See `Forwarder`.

    Args:
        engine: whose it is.
        number: of the stream there.
        stream: the stream here.
        reactor: for the time.
    """

    __slots__ = ("_engine", "_reactor", "_share", "_stream", "number")

    def __init__(self, engine: WorkerEngine, number: int, stream: RelayStream, reactor: MediaReactor) -> None:
        self.number = number
        self._engine = engine
        self._stream = stream
        self._reactor = reactor
        self._share = Share(stream.statistics)

    def signal(self, rtp: Address | None, rtcp: Address | None, window: float) -> None:
        """See `Forwarder`. The latches here know the same, for when another engine takes over."""
        closes_at = self._reactor.seconds() + window
        self._stream.latch.signal(rtp, closes_at)
        self._stream.rtcp_latch.signal(rtcp, closes_at)
        self._engine.do("signal", self.number, rtp, rtcp, window)

    def connect_to(self, other: Forwarder | None) -> None:
        """See `Forwarder`."""
        assert other is None or isinstance(other, RemoteForwarder)
        self._engine.do("connect", self.number, None if other is None else other.number)

    def adapt(self) -> None:
        """See `Forwarder`."""
        stream = self._stream
        if not self._share.is_in(stream.statistics):
            # What is counted before the worker knows belongs to what was before.
            self.count()
            self._engine.settle().addCallback(lambda _: self._share.count_in(stream.statistics))
        stream.statistics.engine = self._engine.name
        if stream.terms is not None:
            self._engine.do("adapt", self.number, stream.is_muxed, export_terms(stream.terms))

    def treat(self) -> None:
        """See `Forwarder`. A session that needs treatment is moved to another engine before."""

    def inject(self, packet: bytes) -> None:
        """See `Forwarder`. The same holds for this."""

    def count(self) -> None:
        """See `Forwarder`. The counters come with the answer."""
        self._engine.do("count", self.number)

    def close(self) -> None:
        """See `Forwarder`."""
        self._engine.drop(self)

    def report(self, kind: str, text: str) -> None:
        """Pass on what happened."""
        self._stream.report(kind, text)

    def take_sources(self, sources: list[Any]) -> None:
        """Know where the media comes from by now."""
        for latch, source in zip((self._stream.latch, self._stream.rtcp_latch), sources, strict=True):
            if source is not None:
                latch.source = (source[0], source[1])

    def take_counters(self, counters: list[Any], engine: str) -> None:
        """Know what was counted, and who forwards there."""
        self._share.update(counters)
        if engine != ReactorEngine.name:
            self._stream.statistics.engine = engine


def _close_both(result: object, rtp: int, rtcp: int) -> object:
    os.close(rtp)
    os.close(rtcp)
    return result
