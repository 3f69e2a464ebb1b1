"""Connections of a simulated host: octets in order, none lost, until an end closes or a partition lasts too long."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, TCPTimedOutError
from twisted.internet.interfaces import IConsumer, IProducer, IProtocol, IPushProducer, ITCPTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.testing.links import Address, Fate
from sipd.testing.sockets import twisted_address

if TYPE_CHECKING:
    from sipd.testing.clock import SimulatedCall
    from sipd.testing.network import Host

#: Octets of a connection that travel together: an Ethernet frame's worth.
_SEGMENT_OCTETS = 1460
#: Octets on the way, or held by a peer that does not read, at which a producer is told to pause.
_WINDOW_OCTETS = 65536
#: Seconds between the attempts of a connection to pass a partition, and after which it breaks.
_STALL_INTERVAL, _STALL_LIMIT = 1.0, 60.0


class ConnectionOwner(Protocol):
    """What made a connection, at the client's end: its connector."""

    def connection_lost(self, reason: Failure) -> None:
        """Take note that the connection ended."""


class _Control(Enum):
    """What travels on a connection besides octets."""

    FIN = "fin"
    RESET = "reset"


@implementer(ITCPTransport, IConsumer, IPushProducer)
class SimulatedConnection:
    """One end of a connection: octets arrive in order, and none is lost while it lives.

    Args:
        host: whose end it is.
        local: its address there.
        remote: the other end as seen from here.
        source: this end as seen from there: translated, behind NAT.
        connector: that made it, at the client's end.
    """

    def __init__(
        self, host: Host, local: Address, remote: Address, source: Address, connector: ConnectionOwner | None
    ) -> None:
        self.host = host
        self.other: SimulatedConnection | None = None
        self.is_open = False
        self._local = local
        self._remote = remote
        self._source = source
        self._connector = connector
        self._protocol: IProtocol | None = None
        self._queue: deque[tuple[float, bytes | _Control]] = deque()
        self._queued_octets = 0
        self._pump: SimulatedCall | None = None
        self._stalled_at: float | None = None
        self._reading = True
        self._finishing = False
        self._producer: Any = None
        self._producer_paused = False
        self._no_delay = self._keep_alive = False

    def start(self, protocol: IProtocol) -> None:
        """Give the connection to its protocol: it is made."""
        self.is_open = True
        self.host.connections.append(self)
        self._protocol = protocol
        self.host.network.record(Fate.CONNECTED, "TCP", self._source, self._remote)
        protocol.makeConnection(self)

    def hold(self, delay: float) -> None:
        """Let nothing arrive at the other end before it knows that the connection is made."""
        self._queue.append((self.host.seconds() + delay, b""))
        self._schedule()

    # --- ITCPTransport

    def write(self, data: bytes) -> None:
        """See ``ITransport``."""
        if not self.is_open or self._finishing:
            return
        for start in range(0, len(data), _SEGMENT_OCTETS):
            self._enqueue(data[start : start + _SEGMENT_OCTETS])
        if self._producer is not None and not self._producer_paused and self._queued_octets > _WINDOW_OCTETS:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See ``ITransport``."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """See ``ITransport``: what was written arrives first."""
        if self.is_open and not self._finishing:
            self._finishing = True
            if self._producer is None:
                self._finish()

    def loseWriteConnection(self) -> None:
        """See ``ITCPTransport``. There are no half-open connections here: it closes both ways."""
        self.loseConnection()

    def abortConnection(self) -> None:
        """See ``ITCPTransport``: what was written and has not arrived is lost."""
        if not self.is_open:
            return
        self.break_off()
        self.host.callLater(0.0, self._lost, ConnectionAborted())

    def break_off(self) -> None:
        """Reset the connection towards the other end only."""
        self._queue.clear()
        self._queued_octets = 0
        self._finishing = True
        self._enqueue(_Control.RESET)

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See ``ITCPTransport``."""
        return twisted_address("TCP", self._remote)

    def getHost(self) -> IPv4Address | IPv6Address:
        """See ``ITCPTransport``."""
        return twisted_address("TCP", self._local)

    def getTcpNoDelay(self) -> bool:
        """See ``ITCPTransport``."""
        return self._no_delay

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See ``ITCPTransport``. Remembered only."""
        self._no_delay = enabled

    def getTcpKeepAlive(self) -> bool:
        """See ``ITCPTransport``."""
        return self._keep_alive

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See ``ITCPTransport``. Remembered only."""
        self._keep_alive = enabled

    # --- IConsumer, IPushProducer

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """See ``IConsumer``."""
        self._producer = producer
        while not streaming and self._producer is not None:
            self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """See ``IConsumer``."""
        self._producer = None
        self._producer_paused = False
        if self._finishing and self.is_open:
            self._finish()

    def pauseProducing(self) -> None:
        """See ``IPushProducer``: stop reading; what the other end writes waits."""
        self._reading = False

    def resumeProducing(self) -> None:
        """See ``IPushProducer``."""
        self._reading = True
        if self.other is not None:
            self.other._schedule()

    def stopProducing(self) -> None:
        """See ``IPushProducer``."""
        self.loseConnection()

    # --- the way to the other end

    def _finish(self) -> None:
        self._enqueue(_Control.FIN)
        self.host.callLater(0.0, self._lost, ConnectionDone())

    def _enqueue(self, item: bytes | _Control) -> None:
        network = self.host.network
        arrival = self.host.seconds() + network.delay(self._source, self._remote)
        if isinstance(item, bytes):
            network.record(Fate.SENT, "TCP", self._source, self._remote, item)
            self._queued_octets += len(item)
        self._queue.append((arrival, item))
        self._schedule()

    def _schedule(self) -> None:
        """See that the head of the queue is looked at when it is due."""
        if self._queue and self._pump is None:
            self._pump = self.host.callLater(max(0.0, self._queue[0][0] - self.host.seconds()), self._deliver)

    def _deliver(self) -> None:
        """Pass the head of the queue to the other end, unless that does not read or cannot be reached."""
        self._pump = None
        other = self.other
        if other is None or not self._queue or (other.is_open and not other._reading):
            return
        if self.host.network.is_cut(self._source[0], self._remote[0]):
            self._stall(other)
            return
        self._stalled_at = None
        _, item = self._queue.popleft()
        self._schedule()
        if isinstance(item, _Control):
            fin = item is _Control.FIN
            other._lost(ConnectionDone() if fin else ConnectionLost("connection reset by peer"))
        elif item:
            self._queued_octets -= len(item)
            other._received(item, self._source, self._remote)
            self._resume_producer()

    def _stall(self, other: SimulatedConnection) -> None:
        now = self.host.seconds()
        if self._stalled_at is None:
            self._stalled_at = now
        if now - self._stalled_at < _STALL_LIMIT:
            self._pump = self.host.callLater(_STALL_INTERVAL, self._deliver)
            return
        self._queue.clear()
        for end in (self, other):
            end._lost(TCPTimedOutError())

    def _resume_producer(self) -> None:
        if self._producer_paused and self._queued_octets < _WINDOW_OCTETS // 2:
            self._producer_paused = False
            self._producer.resumeProducing()

    def _received(self, data: bytes, source: Address, destination: Address) -> None:
        if self.is_open and self._protocol is not None:
            self.host.network.record(Fate.DELIVERED, "TCP", source, destination, data)
            self._protocol.dataReceived(data)

    def _lost(self, error: Exception) -> None:
        """End here, once."""
        if not self.is_open or self._protocol is None:
            return
        self.is_open = False
        self.host.connections.remove(self)
        fate = Fate.CLOSED if isinstance(error, ConnectionDone) else Fate.RESET
        self.host.network.record(fate, "TCP", self._source, self._remote)
        protocol, self._protocol = self._protocol, None
        self._producer = None
        reason = Failure(error)
        protocol.connectionLost(reason)
        if self._connector is not None:
            self._connector.connection_lost(reason)
