"""The engine that is always there: sockets in the reactor of this process."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from sipd.media.datagrams import DatagramBuffer, Offload, RelayContext, RtcpSocket
from sipd.media.engine import Forwarder
from sipd.media.latch import Address
from sipd.media.poller import MediaReactor, make_poller
from sipd.media.rtp_socket import RtpSocket
from sipd.media.stream import RelayStream
from sipd.media.watch import StreamWatch
from sipd.rtp.roundtrip import RoundTrip


class ReactorEngine:
    """Forwards in the thread of the reactor.

    Args:
        reactor: which waits for datagrams and gives the time.
        pause: seconds for which datagrams are gathered at most before they are relayed together; 0 for no delay and
            more processor time.
        offload: forwards what it can before it comes to the sockets; it is the engine's from now on.
    """

    name = "reactor"
    treats = True

    def __init__(self, reactor: MediaReactor, *, pause: float = 0.002, offload: Offload | None = None) -> None:
        self._context = RelayContext(reactor, make_poller(reactor, pause=pause), DatagramBuffer(), offload)

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


class SocketForwarder:
    """The two sockets of a stream. See `Forwarder`."""

    __slots__ = ("_context", "_engine", "_stream", "_watch", "rtcp", "rtp")

    def __init__(self, stream: RelayStream, context: RelayContext, engine: str) -> None:
        self._stream = stream
        self._context = context
        self._engine = stream.statistics.engine = engine
        self._watch = StreamWatch(stream)
        self.rtp = RtpSocket(stream.pair.rtp, stream, stream.latch, self._watch, context)
        self.rtcp = RtcpSocket(stream.pair.rtcp, stream, stream.rtcp_latch, self._watch, context)

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
        self._stream.statistics.engine = self._engine
        self._watch.restart()
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

    def close(self) -> None:
        """See `Forwarder`."""
        self.rtp.close()
        self.rtcp.close()
