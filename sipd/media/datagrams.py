"""The two sockets of a stream, and how a datagram goes from one leg to the other.

A socket begins unconnected: each datagram comes with its source, and the `Latch` decides. Once the latch is settled the
socket is connected to the source, which does two things: the kernel drops what comes from elsewhere before it costs us
anything, and neither reading nor sending handles addresses any more, which is a fifth of the processor time. The price
is that foreign datagrams are seen, counted and reported only until then. When signalling names another address, the
socket is disconnected and the latch decides again.

Every second each socket is looked after. A socket that was given more than its limit is not read for the rest of the
second: what comes then fills the kernel's buffer and is lost there, which costs nothing here. A leg that was sent
nothing for a while is sent an empty datagram, which keeps the bindings of NATs alive (RFC 6263 section 4.1). One that
comes from a party has done that for the way to here, so it goes no further; it does tell where the party is.
"""

from __future__ import annotations

import ctypes
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sipd.media.express import DatagramBuffer
from sipd.media.latch import Address, Latch, Verdict
from sipd.media.poller import MediaReactor, Poller

if TYPE_CHECKING:
    from sipd.interfaces import StreamStatistics
    from sipd.media.engine import EngineSettings
    from sipd.media.rtp_socket import RtpSocket
    from sipd.media.stream import RelayStream
    from sipd.media.ticker import Ticker
    from sipd.media.watch import StreamWatch

#: More than the receive queue of a socket holds.
_QUEUE_LIMIT = 4096

#: Foreign sources that one socket reports; it counts all of them.
_REPORT_LIMIT = 8


@dataclass(slots=True)
class RelayContext:
    """What all sockets of an engine share.

    Args:
        reactor: for the time.
        poller: says when there is something to read.
        buffer: for the datagram at hand.
        ticker: says when a second is over.
        settings: bounds and times.
        offload: forwards streams below these sockets, if there is anything that can.
    """

    reactor: MediaReactor
    poller: Poller
    buffer: DatagramBuffer
    ticker: Ticker
    settings: EngineSettings
    offload: Offload | None = None


class Offload(Protocol):
    """Forwards what would come to sockets before it comes there: the kernel."""

    def begin(self, socket: RtpSocket) -> None:
        """Take note that the source of a socket is settled."""

    def end(self, socket: RtpSocket) -> None:
        """Take note that something about a socket is about to change."""

    def count(self, socket: RtpSocket) -> None:
        """Add what was counted there to the socket's statistics."""

    def close(self) -> None:
        """Forward nothing any more."""


class RelaySocket(ABC):
    """One socket of one stream of one leg.

    Args:
        bound: bound and non-blocking; whoever bound it closes it, after `close`.
        stream: whose it is.
        latch: decides about sources.
        watch: of the stream.
        context: of the engine.
        flood_limit: datagrams that are read in a second at most.
    """

    __slots__ = (
        "_buffer",
        "_context",
        "_flood_limit",
        "_foreign",
        "_is_connected",
        "_is_flood_reported",
        "_is_paused",
        "_left",
        "_poller",
        "_sent",
        "_sent_at",
        "_sent_before",
        "_socket",
        "_stream",
        "latch",
        "peer",
        "statistics",
        "watch",
    )  # fmt: skip

    #: What it carries, for events.
    kind: str

    def __init__(
        self,
        bound: socket.socket,
        stream: RelayStream,
        latch: Latch,
        watch: StreamWatch,
        context: RelayContext,
        *,
        flood_limit: int,
    ) -> None:
        self._socket = bound
        self._stream = stream
        self._context = context
        self._poller = context.poller
        self._buffer = context.buffer
        self._is_connected = False
        #: Foreign sources that were reported.
        self._foreign: set[Address] | None = None
        #: Datagrams that may be read until the next tick.
        self._left = self._flood_limit = flood_limit
        self._is_paused = False
        self._is_flood_reported = False
        #: Datagrams that were sent to the party, but for those that `RtpSocket` counts for its peer. What was known of
        #: it at the last tick, and when it was last another number than at the tick before.
        self._sent = 0
        self._sent_before = 0
        self._sent_at = context.reactor.seconds()
        self.latch = latch
        self.watch = watch
        self.statistics: StreamStatistics = stream.statistics
        #: Where datagrams go; nowhere while the leg is not connected with another.
        self.peer: RelaySocket | None = None
        if latch.source is not None:
            # Another engine had it, and may have left it connected.
            self._disconnect()
        context.poller.add(self)

    def __str__(self) -> str:
        return f"{self.statistics.leg}/{self.statistics.stream} {self.kind}"

    def fileno(self) -> int:
        """Give the descriptor."""
        return self._socket.fileno()

    def signal(self, address: Address | None, closes_at: float) -> None:
        """See `Latch.signal`."""
        if self.latch.signal(address, closes_at) and self._is_connected:
            self._disconnect()

    def connect_to(self, peer: RelaySocket | None) -> None:
        """Choose where datagrams go from now on; ``None`` for nowhere."""
        self.peer = peer

    def adapt(self) -> None:
        """Take note that the stream has something else agreed on."""
        self.statistics = self._stream.statistics

    def close(self) -> None:
        """Relay nothing any more."""
        self._is_paused = False
        self._poller.remove(self)
        self.connect_to(None)

    def receive(self) -> None:
        """Take one datagram.

        On a connected socket the kernel has looked at its source. There an error is news of an earlier datagram
        (ECONNREFUSED: the party does not listen yet, or no more), or that there was nothing to read.
        """
        self._left -= 1
        if self._left < 0:
            self._pause()
            return
        if not self._is_connected:
            self._receive_checked()
            return
        try:
            size = self._socket.recv_into(self._buffer.octets)
        except BlockingIOError:
            return
        except OSError:
            self.statistics.unreachable += 1
            return
        self._forward(size)

    def tick(self, now: float) -> None:
        """Look after it, every second: read again, and keep its path alive."""
        self._left = self._flood_limit
        if self._is_paused:
            self._is_paused = False
            self._poller.add(self)
        sent = self._count_sent()
        keepalive = self._context.settings.keepalive
        if sent != self._sent_before or self.peer is None or not keepalive:
            self._sent_before = sent
            self._sent_at = now
        elif now - self._sent_at >= keepalive and self._is_kept_alive:
            self._sent_at = now
            self._keep_alive()
            self._sent_before = self._count_sent()

    def transmit(self, data: memoryview | bytes) -> None:
        """Send to the party behind this socket, where it is believed to be.

        Raises:
            OSError: nobody is there (ECONNREFUSED), there is no room, or no route.
        """
        self._sent += 1
        if self._is_connected:
            self._socket.send(data)
        elif (remote := self.latch.remote) is not None:
            self._socket.sendto(data, remote)

    @property
    @abstractmethod
    def _is_kept_alive(self) -> bool:
        """Whether the path to the party is used, and nothing else keeps it alive."""

    def _count_sent(self) -> int:
        """Give a number that is another one when something was sent to the party."""
        return self._sent

    def _keep_alive(self) -> None:
        try:
            self.transmit(b"")
        except OSError:
            return  # nobody there, no route: as much of a reason to go on as any

    def _pause(self) -> None:
        """Read no more in this second, and say so once."""
        self._is_paused = True
        self._poller.remove(self)
        if self._is_flood_reported:
            return
        self._is_flood_reported = True
        try:
            _, origin = self._socket.recvfrom_into(self._buffer.octets)
        except OSError:
            place = "the last one an error"
        else:
            self.statistics.dropped += 1
            place = f"the last one from {print_address(origin[:2])}"
        text = f"{self} gets more than {self._flood_limit} datagrams a second, {place}: the others are not read"
        self._stream.report("flood", text)

    @abstractmethod
    def _forward(self, size: int) -> None:
        """Count the datagram in the buffer and pass it on. One that cannot be sent is lost, as datagrams are."""

    def _send(self, peer: RelaySocket, size: int) -> None:
        """Pass the datagram in the buffer on."""
        self._send_octets(peer, self._buffer.beginning(size))

    @staticmethod
    def _send_octets(peer: RelaySocket, octets: memoryview) -> None:
        try:
            peer.transmit(octets)
        except BlockingIOError:
            return  # no room
        except OSError:
            peer.statistics.unreachable += 1  # nobody there (ECONNREFUSED), no route

    def inject(self, packet: bytes) -> None:
        """Send a packet to the party behind this socket."""
        self._send_octets(self, memoryview(packet))

    def _pass_reports(self, peer: RelaySocket, size: int) -> None:
        """Pass the RTCP in the buffer on."""
        self.statistics.rtcp_packets += 1
        packet: bytes | None = bytes(self._buffer.beginning(size))
        assert packet is not None
        own, theirs = self._stream.treatment, peer._stream.treatment
        if own is not None:
            packet = own.take_reports(packet)
            self.statistics.failures = own.failures
            if packet is None:
                return
        self.watch.report(packet, self._poller.now)
        if theirs is not None:
            if theirs.is_deaf:
                return
            packet = theirs.give_reports(packet)
        if packet is not None:
            self._send_octets(peer, memoryview(packet))

    def _receive_checked(self) -> None:
        """Take one datagram whose source is not certain yet."""
        try:
            size, origin = self._socket.recvfrom_into(self._buffer.octets)
        except OSError:
            return
        source = origin[:2]
        now = self._poller.now
        verdict = Verdict.DROP if self.peer is None else self.latch.accept(source, now)
        if verdict is Verdict.DROP:
            self._drop(source)
            return
        self._forward(size)
        if self.latch.is_settled(now):
            self._connect(source)
        if verdict is Verdict.LATCHED:
            self._report_latch(source)

    def _connect(self, source: Address) -> None:
        """Leave it to the kernel to check sources. What was queued before is still checked here."""
        try:
            self._socket.connect(source)
        except OSError:
            return  # as unreachable as before: go on without
        for _ in range(_QUEUE_LIMIT):
            try:
                size, origin = self._socket.recvfrom_into(self._buffer.octets)
            except BlockingIOError:
                break
            except OSError:
                continue
            if origin[:2] == source:
                self._forward(size)
            else:
                self.statistics.dropped += 1
        self._is_connected = True
        self._settled()

    def _settled(self) -> None:
        """Take note that the source is settled, which means nothing to most sockets."""
        return

    def _disconnect(self) -> None:
        """Take datagrams from everywhere again, and check them here.

        Connecting to an address of family AF_UNSPEC dissolves the association (POSIX connect(3)); the ``socket`` module
        cannot say that. The port stays, since it was bound by its number. Some systems report an error and do it.
        """
        unspecified = bytes(16)
        ctypes.CDLL(None).connect(self._socket.fileno(), unspecified, len(unspecified))
        self._is_connected = False

    def _drop(self, source: Address) -> None:
        """Count a datagram that is not passed on, and report its source once."""
        self.statistics.dropped += 1
        foreign = self._foreign
        if foreign is None:
            foreign = self._foreign = set()
        if self.peer is None or source in foreign or len(foreign) >= _REPORT_LIMIT:
            return
        foreign.add(source)
        self.statistics.foreign_source = self.statistics.foreign_source or print_address(source)
        believed = self.latch.source or self.latch.signalled
        expected = "unknown" if believed is None else print_address(believed)
        self._stream.report("foreign-source", f"{self} from {print_address(source)} dropped, expected from {expected}")

    def _report_latch(self, source: Address) -> None:
        """Say where the media comes from."""
        signalled = self.latch.signalled
        note = (
            " as signalled" if source == signalled else f", signalled {print_address(signalled)}" if signalled else ""
        )
        self._stream.report("latched", f"{self} comes from {print_address(source)}{note}")


class RtcpSocket(RelaySocket):
    """The socket of RTCP that is not multiplexed."""

    __slots__ = ()

    kind = "RTCP"

    def __init__(
        self, bound: socket.socket, stream: RelayStream, latch: Latch, watch: StreamWatch, context: RelayContext
    ) -> None:
        super().__init__(bound, stream, latch, watch, context, flood_limit=context.settings.rtcp_flood_limit)

    @property
    def _is_kept_alive(self) -> bool:
        terms = self._stream.terms
        return terms is not None and terms.is_rtp and not self._stream.is_muxed

    def _forward(self, size: int) -> None:
        if self.peer is None:
            self.statistics.dropped += 1
            return
        if not size:
            return  # a keep-alive
        self._pass_reports(self.peer, size)


def print_address(address: Address) -> str:
    """Give ``host:port`` for people; an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
