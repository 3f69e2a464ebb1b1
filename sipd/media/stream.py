"""One stream of one leg: its pair of ports, where its media come from and go to, and what they are."""

from __future__ import annotations

from sipd.interfaces import StreamStatistics
from sipd.media.engine import Engine, Forwarder, Report
from sipd.media.latch import Address, Latch
from sipd.media.ports import MediaAddress, PortPair
from sipd.media.rewrite import SignalledStream, StreamPlace
from sipd.media.terms import StreamTerms
from sipd.media.treatment import Treatment


class RelayStream:
    """One stream of one leg.

    Args:
        call_id: of the call, for logs.
        leg: name of the leg.
        index: of the media line, from 0.
        address: that the pair is bound on.
        pair: for this stream alone.
        statistics: to count in.
        engine: forwards what comes.
        report: for the call's explanation.
        latch: begun, or that of a stream that comes from another process.
        rtcp_latch, terms: those of a stream that comes from another process.

    Attributes:
        latch: decides where RTP comes from; `rtcp_latch` the same for RTCP.
        terms: what was agreed on last.
        treatment: what is done with its packets other than passing them on; ``None`` if nothing is.
        is_in_force: whether its leg uses it; until then it is only planned with.
        is_muxed: whether RTP and RTCP share a port on this leg (RFC 5761).
        peer: with which it is connected.
    """

    __slots__ = (
        "_forwarder",
        "address",
        "call_id",
        "index",
        "is_in_force",
        "is_muxed",
        "latch",
        "leg",
        "pair",
        "peer",
        "report",
        "rtcp_latch",
        "statistics",
        "terms",
        "treatment",
    )  # fmt: skip

    def __init__(
        self,
        *,
        call_id: str,
        leg: str,
        index: int,
        address: MediaAddress,
        pair: PortPair,
        statistics: StreamStatistics,
        engine: Engine,
        report: Report,
        latch: Latch | None = None,
        rtcp_latch: Latch | None = None,
        terms: StreamTerms | None = None,
    ) -> None:
        self.call_id = call_id
        self.leg = leg
        self.index = index
        self.address = address
        self.pair = pair
        self.statistics = statistics
        self.report = report
        self.latch = latch or Latch()
        self.rtcp_latch = rtcp_latch or Latch(self.latch)
        self.terms = terms
        self.is_in_force = False
        self.is_muxed = False
        self.peer: RelayStream | None = None
        self.treatment: Treatment | None = None
        self._forwarder: Forwarder = engine.forward(self)

    def __str__(self) -> str:
        port = self.pair.port
        return f"{self.leg}/{self.index} {port}-{port + 1}"

    @property
    def forwarder(self) -> Forwarder:
        """The engine's part in it."""
        return self._forwarder

    @property
    def place(self) -> StreamPlace:
        """What descriptions say of it."""
        return StreamPlace(self.address.advertised_host, self.pair.port)

    def adapt(self, statistics: StreamStatistics, terms: StreamTerms, *, is_muxed: bool) -> None:
        """Take note of what was agreed on. Whether ports are shared takes effect with the next `connect_to`.

        Args:
            statistics: where to count from now on: the media line may come to mean another kind of media.
            terms: what was agreed on.
            is_muxed: whether RTP and RTCP share a port on this leg.
        """
        self.is_muxed = is_muxed
        self.terms = terms
        if statistics is not self.statistics:
            self._forwarder.count()
            self.statistics = statistics
        self._forwarder.adapt()

    def signal(self, signalled: SignalledStream, window: float) -> None:
        """Take note of where the party wants its media.

        Args:
            signalled: by the offer or answer that comes into force.
            window: seconds for latching.
        """
        rtp, rtcp = self._reachable(signalled.rtp), self._reachable(signalled.rtcp)
        if rtp is None and signalled.rtp is not None:
            self.report(
                "unreachable",
                f"{self.leg}/{self.index} wants media at {signalled.rtp[0]}, which {self.address.host} cannot reach",
            )
        self._forwarder.signal(rtp, rtcp, window)

    def connect_to(self, other: RelayStream) -> None:
        """Relay between the two, and between either and a third no more."""
        for stream in (self, other):
            if stream.peer is not None:
                stream.disconnect()
        self.peer, other.peer = other, self
        self._forwarder.connect_to(other._forwarder)
        other._forwarder.connect_to(self._forwarder)

    def disconnect(self) -> None:
        """Relay nothing, until connected again."""
        peer = self.peer
        if peer is not None:
            self.peer = peer.peer = None
            self._forwarder.connect_to(None)
            peer._forwarder.connect_to(None)

    def move(self, engine: Engine) -> None:
        """Let another engine forward; `reconnect` has to follow when all streams of the session are moved.

        Raises:
            MediaEngineError: it cannot; nothing is changed.
        """
        before = self._forwarder
        before.count()
        self._forwarder = engine.forward(self)
        before.close()
        self._forwarder.adapt()

    def reconnect(self) -> None:
        """Forward again to the one that it is connected with."""
        if self.peer is not None:
            self._forwarder.connect_to(self.peer._forwarder)

    def treat(self) -> None:
        """Take note that its treatment says something else than before."""
        for stream in (self, self.peer):
            if stream is not None:
                stream._forwarder.treat()

    def inject(self, packet: bytes) -> None:
        """Send a packet of RTP to the leg that does not come from the other one."""
        self._forwarder.inject(packet)

    def count(self) -> None:
        """Bring the statistics up to date, as far as they are known."""
        self._forwarder.count()

    def close(self) -> None:
        """Relay nothing any more. The pair can be released after this."""
        self.disconnect()
        self._forwarder.count()
        self._forwarder.close()
        if self.treatment is not None:
            self.treatment.close()
        # It knows this stream: without a cycle all of it is gone at once.
        del self._forwarder

    def _reachable(self, address: Address | None) -> Address | None:
        """Give the address if these sockets can send to its version of IP."""
        return address if address is not None and (":" in address[0]) is (":" in self.address.host) else None
