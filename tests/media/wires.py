"""A worker in the process of the test: AMP and descriptors go over wires that move when the reactor is pumped."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable

from twisted.internet.address import UNIXAddress
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IUNIXTransport
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.media.engine import DEFAULT_ENGINE_SETTINGS, EngineSettings
from sipd.media.reactor import ReactorEngine
from sipd.media.worker.child import WorkerLife
from sipd.media.worker.engine import WorkerEngine
from sipd.media.worker.streams import HeldStreams
from tests.media.support import PumpedReactor, RelayTestCase


@implementer(IUNIXTransport)
class Wire:
    """One end of a connection."""

    def __init__(self, protocol: amp.AMP) -> None:
        self.protocol = protocol
        self.other: Wire
        self.is_open = True
        self._queue: deque[bytes | int] = deque()

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if self.is_open:
            self._queue.append(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    def sendFileDescriptor(self, descriptor: int) -> None:  # noqa: N802
        """See `IUNIXTransport`. The other end gets a copy, as from the kernel."""
        self._queue.append(os.dup(descriptor))

    def loseConnection(self) -> None:
        """See `ITransport`. What was written before is still delivered."""
        self.pump()
        self.cut()

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        self.cut()

    def cut(self) -> None:
        """Break the connection."""
        for wire in (self, self.other):
            for item in wire._queue:
                if isinstance(item, int):
                    os.close(item)
            wire._queue.clear()
            if wire.is_open:
                wire.is_open = False
                wire.protocol.connectionLost(Failure(ConnectionDone()))

    def getPeer(self) -> UNIXAddress:
        """See `ITransport`."""
        return UNIXAddress(b"wire")

    def getHost(self) -> UNIXAddress:
        """See `ITransport`."""
        return UNIXAddress(b"wire")

    def pump(self) -> bool:
        """Let everything arrive; say whether there was anything."""
        moved = False
        while self._queue:
            moved = True
            item = self._queue.popleft()
            if isinstance(item, int):
                self.other.protocol.fileDescriptorReceived(item)
            else:
                self.other.protocol.dataReceived(item)
        return moved


class WiredReactor(PumpedReactor):
    """Lets what goes over wires arrive, too, when it is pumped."""

    def __init__(self) -> None:
        super().__init__()
        self.wires: list[Wire] = []

    def read_all(self) -> None:
        """See `PumpedReactor`."""
        self.settle()
        super().read_all()
        self.settle()

    def settle(self) -> None:
        """Let everything arrive that is on its way."""
        while True:
            self.advance(0)
            moved = [wire.pump() for wire in self.wires]
            if not any(moved):
                return


class LocalWorker:
    """A worker, and the engine that controls it, in one process.

    Args:
        reactor: of both.
        settings: of the worker's engine.

    Attributes:
        engine: the controller's side.
        streams: what the worker holds.
        is_stopped: whether it wants to end.
        lost: how often the engine said that the worker is gone.
    """

    def __init__(self, reactor: WiredReactor, settings: EngineSettings = DEFAULT_ENGINE_SETTINGS) -> None:
        self.reactor = reactor
        self.is_stopped = False
        self.lost: list[WorkerEngine] = []
        self.streams = HeldStreams(ReactorEngine(reactor, pause=0, settings=settings), reactor)
        self.life = WorkerLife(self.streams, reactor, orphan_timeout=300.0, stop=self._stop)
        self.engine = self.connect()

    def connect(self) -> WorkerEngine:
        """Connect one more controller."""
        engine = WorkerEngine(self.reactor, self.lost.append)
        controlled = self.life.factory().buildProtocol(None)
        assert isinstance(controlled, amp.AMP)
        here, there = Wire(engine), Wire(controlled)
        here.other, there.other = there, here
        self.reactor.wires += [here, there]
        there.protocol.makeConnection(there)
        here.protocol.makeConnection(here)
        return engine

    def kill(self) -> None:
        """End it at once, as by a signal."""
        self.streams.close()
        self.reactor.wires[0].cut()

    def hang(self) -> None:
        """Let it do nothing any more."""
        self.streams.close()
        self.reactor.wires.clear()

    def _stop(self) -> None:
        self.is_stopped = True


class BesideWorker(RelayTestCase):
    """Mixed into other tests: a worker would forward; what it cannot do is done in this process."""

    def make_reactor(self) -> WiredReactor:
        """See `RelayTestCase`."""
        return WiredReactor()

    def setUp(self) -> None:
        super().setUp()
        assert isinstance(self.reactor, WiredReactor)
        worker = LocalWorker(self.reactor)
        self.addCleanup(self.reactor.settle)
        self.addCleanup(worker.engine.close)
        self.relay.choose = lambda: worker.engine
        self.session = self.open_session()
        self.addCleanup(lambda: self.session.close())
