"""One stream of one leg: its pair of ports, and what it is connected with."""

from __future__ import annotations

from sipd.interfaces import StreamStatistics
from sipd.media.datagrams import RelayContext, RtcpSocket, RtpSocket
from sipd.media.latch import Address, Latch
from sipd.media.ports import MediaAddress, PortPair
from sipd.media.rewrite import SignalledStream, StreamPlace


class RelayStream:
    """One stream of one leg.

    Args:
        leg: name of the leg.
        index: of the media line, from 0.
        address: that the pair is bound on.
        pair: for this stream alone.
        statistics: to count in.
        context: of the session.

    Attributes:
        is_in_force: whether its leg uses it; until then it is only planned with.
    """

    __slots__ = ("_context", "_is_muxed", "_peer", "_rtcp", "_rtp", "address", "index", "is_in_force", "leg", "pair")

    def __init__(
        self,
        *,
        leg: str,
        index: int,
        address: MediaAddress,
        pair: PortPair,
        statistics: StreamStatistics,
        context: RelayContext,
    ) -> None:
        self.leg = leg
        self.index = index
        self.address = address
        self.pair = pair
        self.is_in_force = False
        self._context = context
        self._peer: RelayStream | None = None
        self._is_muxed = False
        latch = Latch()
        self._rtp = RtpSocket(pair.rtp, latch, statistics, context)
        self._rtcp = RtcpSocket(pair.rtcp, Latch(latch), statistics, context)

    def __str__(self) -> str:
        port = self.pair.port
        return f"{self.leg}/{self.index} {port}-{port + 1}"

    @property
    def place(self) -> StreamPlace:
        """What descriptions say of it."""
        return StreamPlace(self.address.advertised_host, self.pair.port)

    @property
    def statistics(self) -> StreamStatistics:
        """Where it counts."""
        return self._rtp.statistics

    def count_in(self, statistics: StreamStatistics) -> None:
        """Count there from now on: the media line may come to mean another kind of media."""
        self._rtp.statistics = statistics
        self._rtcp.statistics = statistics

    def signal(self, signalled: SignalledStream, closes_at: float) -> None:
        """Take note of where the party wants its media.

        Args:
            signalled: by the offer or answer that comes into force.
            closes_at: when the window for latching ends.
        """
        rtp, rtcp = self._reachable(signalled.rtp), self._reachable(signalled.rtcp)
        if rtp is None and signalled.rtp is not None:
            self._context.event(
                "unreachable",
                f"{self.leg}/{self.index} wants media at {signalled.rtp[0]}, which {self.address.host} cannot reach",
            )
        self._rtp.signal(rtp, closes_at)
        self._rtcp.signal(rtcp, closes_at)

    def connect_to(self, other: RelayStream) -> None:
        """Relay between the two, and between either and a third no more."""
        for stream in (self, other):
            if stream._peer is not None:
                stream.disconnect()
        self._peer, other._peer = other, self
        self._direct(other)
        other._direct(self)

    def disconnect(self) -> None:
        """Relay nothing, until connected again."""
        peer = self._peer
        if peer is not None:
            self._peer = peer._peer = None
            for stream in (self, peer):
                stream._rtp.connect_to(None)
                stream._rtcp.connect_to(None)

    def multiplex(self, is_muxed: bool) -> None:
        """Say whether RTP and RTCP share a port on this leg (RFC 5761). Takes effect with the next `connect_to`."""
        self._is_muxed = is_muxed

    def close(self) -> None:
        """Relay nothing any more. The pair can be released after this."""
        self.disconnect()
        self._rtp.close()
        self._rtcp.close()

    def _direct(self, other: RelayStream) -> None:
        """Send what comes from this party to that one."""
        reports = other._rtp if other._is_muxed else other._rtcp
        self._rtp.connect_to(other._rtp, reports if self._is_muxed else None)
        self._rtcp.connect_to(reports)

    def _reachable(self, address: Address | None) -> Address | None:
        """Give the address if these sockets can send to its version of IP."""
        return address if address is not None and (":" in address[0]) is (":" in self.address.host) else None
