"""The engine that is always there: sockets in the reactor of this process."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from sipd.media.datagrams import Offload, RelayContext, RtcpSocket
from sipd.media.engine import DEFAULT_ENGINE_SETTINGS, EngineSettings, Forwarder
from sipd.media.express import DatagramBuffer
from sipd.media.latch import Address
from sipd.media.poller import MediaReactor, make_poller
from sipd.media.rtp_socket import RtpSocket
from sipd.media.stream import RelayStream
from sipd.media.ticker import Ticker
from sipd.media.timer import FineTimer
from sipd.media.watch import StreamWatch
from sipd.rtp.roundtrip import RoundTrip

#: Ticks after which is asked what somebody else has forwarded.
_COUNTING = 5

#: Changes of the source of RTP that one stream reports; all of them are counted.
_REPORT_LIMIT = 8


class ReactorEngine:
    """Forwards in the thread of the reactor.

    Args:
        reactor: which waits for datagrams and gives the time.
        pause: seconds for which datagrams are gathered at most before they are relayed together; 0 for no delay and
            more processor time.
        sleep: how to rest in between, for a process that does nothing else; see `EpollPoller`.
        timer: for pauses that are no whole milliseconds; it is the engine's from now on.
        offload: forwards what it can before it comes to the sockets; it is the engine's from now on.
        settings: bounds and times.
    """

    name = "reactor"
    treats = True

    def __init__(
        self,
        reactor: MediaReactor,
        *,
        pause: float = 0.002,
        sleep: Callable[[float], object] | None = None,
        timer: FineTimer | None = None,
        offload: Offload | None = None,
        settings: EngineSettings = DEFAULT_ENGINE_SETTINGS,
    ) -> None:
        buffer = DatagramBuffer()
        poller = make_poller(reactor, buffer, pause=pause, sleep=sleep, later=timer)
        self._timer = timer
        self._context = RelayContext(reactor, poller, buffer, Ticker(reactor), settings, offload)

    def forward(self, stream: RelayStream) -> SocketForwarder:
        """See `Engine`."""
        return SocketForwarder(stream, self._context, self.name)

    def settle(self) -> Deferred[None]:
        """See `Engine`. It does everything at once."""
        return succeed(None)

    def close(self) -> None:
        """See `Engine`. Without sockets there is nothing else to free."""
        if self._context.offload is not None:
            self._context.offload.close()
        if self._timer is not None:
            self._timer.close()


class SocketForwarder:
    """The two sockets of a stream. See `Forwarder`."""

    __slots__ = ("_context", "_engine", "_reports", "_ssrc_changes", "_stream", "_ticks", "_watch", "rtcp", "rtp")

    def __init__(self, stream: RelayStream, context: RelayContext, engine: str) -> None:
        self._stream = stream
        self._context = context
        self._engine = stream.statistics.engine = engine
        self._watch = StreamWatch(stream)
        self.rtp = RtpSocket(stream.pair.rtp, stream, stream.latch, self._watch, context)
        self.rtcp = RtcpSocket(stream.pair.rtcp, stream, stream.rtcp_latch, self._watch, context)
        #: Of different streams, these are different: not all of them do everything in the same tick.
        self._ticks = stream.pair.port // 2
        self._ssrc_changes = stream.statistics.ssrc_changes
        self._reports = 0
        context.ticker.add(self)

    def signal(self, rtp: Address | None, rtcp: Address | None, window: float) -> None:
        """See `Forwarder`."""
        closes_at = self._context.reactor.seconds() + window
        self.rtp.signal(rtp, closes_at)
        self.rtcp.signal(rtcp, closes_at)

    def connect_to(self, other: Forwarder | None) -> None:
        """See `Forwarder`."""
        if other is None:
            self.rtp.connect_to(None)
            self.rtcp.connect_to(None)
            return
        assert isinstance(other, SocketForwarder)
        if other._watch.round_trips is None or other._watch.round_trips is not self._watch.round_trips:
            self._watch.round_trips = other._watch.round_trips = RoundTrip(self._stream.leg, other._stream.leg)
        reports = other.rtp if other._stream.is_muxed else other.rtcp
        self.rtp.connect_to(other.rtp, reports if self._stream.is_muxed else None)
        self.rtcp.connect_to(reports)

    def adapt(self) -> None:
        """See `Forwarder`."""
        statistics = self._stream.statistics
        statistics.engine = self._engine
        self._watch.restart()
        if self.rtp.statistics is not statistics:
            self._ssrc_changes = statistics.ssrc_changes
        self.rtp.adapt()
        self.rtcp.adapt()

    def treat(self) -> None:
        """See `Forwarder`."""
        self.rtp.treat()

    def inject(self, packet: bytes) -> None:
        """See `Forwarder`."""
        self.rtp.inject(packet)

    def count(self) -> None:
        """See `Forwarder`."""
        self.rtp.count()
        self._watch.count()

    def tick(self, now: float) -> None:
        """See `Ticked`."""
        self._ticks += 1
        if self._ticks % _COUNTING == 0:
            self.rtp.count()
        self.rtp.tick(now)
        self.rtcp.tick(now)
        changes = self._watch.ssrc_changes
        if changes != self._ssrc_changes:
            more, self._ssrc_changes = changes - self._ssrc_changes, changes
            self._report_source(more)

    def close(self) -> None:
        """See `Forwarder`."""
        self._context.ticker.remove(self)
        self.rtp.close()
        self.rtcp.close()

    def _report_source(self, changes: int) -> None:
        """Say that the source of RTP has changed, so many times since it was looked at."""
        if self._reports >= _REPORT_LIMIT:
            return
        self._reports += 1
        self._watch.count()
        times = "" if changes == 1 else f", the last of {changes} changes"
        self._stream.report("ssrc", f"{self.rtp} has another source now, SSRC {self._stream.statistics.ssrc}{times}")
