"""The socket of RTP: what is done with each packet, which is what the relay spends its time with."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from sipd.media.datagrams import RelayContext, RelaySocket, print_address
from sipd.media.express import HEADER_SIZE, Path, read_header
from sipd.media.latch import Address, Latch
from sipd.media.watch import StreamWatch
from sipd.rtp.rtcp import FIRST_RTCP_OCTET, LAST_RTCP_OCTET

if TYPE_CHECKING:
    from sipd.media.stream import RelayStream
    from sipd.media.terms import Payloads


#: More than the receive queue of a socket holds.
_QUEUE_LIMIT = 4096


class RtpSocket(RelaySocket):
    """The socket of RTP, and of RTCP if that is multiplexed on it (RFC 5761); of any other datagrams, too."""

    __slots__ = ("_is_rtp", "_is_treated", "rtcp_peer")

    kind = "RTP"

    def __init__(
        self, bound: socket.socket, stream: RelayStream, latch: Latch, watch: StreamWatch, context: RelayContext
    ) -> None:
        #: Where multiplexed RTCP goes; ``None`` if the leg does not multiplex.
        self.rtcp_peer: RelaySocket | None = None
        self._is_rtp = stream.terms is not None and stream.terms.is_rtp
        self._is_treated = False
        super().__init__(bound, stream, latch, watch, context, flood_limit=context.settings.flood_limit)

    @property
    def rtp_peer(self) -> RtpSocket | None:
        """Where datagrams go."""
        return self.peer if isinstance(self.peer, RtpSocket) else None

    @property
    def is_settled(self) -> bool:
        """Whether it is RTP that comes from where nothing but signalling can change, and needs no treatment."""
        return self._is_rtp and self._is_connected and not self._is_treated

    @property
    def local(self) -> Address:
        """Where it is bound."""
        return self._stream.address.host, self._stream.pair.port

    @property
    def payloads(self) -> Payloads | None:
        """What was agreed on about payload types."""
        return None if self._stream.terms is None else self._stream.terms.payloads

    def report(self, kind: str, text: str) -> None:
        """Tell what the call's explanation should say."""
        self._stream.report(kind, text)

    def connect_to(self, peer: RelaySocket | None, rtcp_peer: RelaySocket | None = None) -> None:
        """Choose where datagrams go from now on; those of RTCP to `rtcp_peer` if it is given."""
        self._end_offload()
        before, self.peer = self.rtp_peer, peer
        self.rtcp_peer = rtcp_peer
        if before is not None:
            before._lay_path()
        self.treat()

    def treat(self) -> None:
        """Take note that this stream, or the one it is connected with, may need another treatment than before."""
        peer = self.rtp_peer
        treatments = (self._stream.treatment, None if peer is None else peer._stream.treatment)
        self._is_treated = any(treatment is not None and treatment.is_needed for treatment in treatments)
        if self._is_treated:
            self._end_offload()
            self._lay_paths()
        else:
            self._settled()

    def adapt(self) -> None:
        """See `RelaySocket`."""
        self._end_offload()
        super().adapt()
        terms = self._stream.terms
        self._is_rtp = terms is not None and terms.is_rtp
        self.treat()

    def count(self) -> None:
        """Bring the statistics up to date: what somebody else has forwarded."""
        if self._context.offload is not None:
            self._context.offload.count(self)

    def tick(self, now: float) -> None:
        """See `RelaySocket`."""
        super().tick(now)
        self._lay_path()

    def close(self) -> None:
        """See `RelaySocket`."""
        self._end_offload()
        self._poller.paths.pop(self.fileno(), None)
        super().close()

    @property
    def _is_kept_alive(self) -> bool:
        return self._is_rtp

    def _count_sent(self) -> int:
        # What is treated does not always go out, but it is counted where it does.
        peer = self.rtp_peer
        return self._sent if peer is None or self._is_treated else self._sent + peer.statistics.packets

    def _lay_paths(self) -> None:
        """Let packets from here and to here go the short way, if they may by now."""
        self._lay_path()
        peer = self.rtp_peer
        if peer is not None:
            peer._lay_path()

    def _lay_path(self) -> None:
        peer = self.rtp_peer
        paths, descriptor = self._poller.paths, self.fileno()
        if peer is None or not (self.is_settled and peer._is_connected):
            paths.pop(descriptor, None)
            return
        statistics = self.statistics
        paths[descriptor] = Path(
            self._socket.recv_into,
            peer._socket.send,
            self.watch,
            statistics,
            peer.statistics,
            statistics.packets + self._flood_limit,
            self,
        )

    def _settled(self) -> None:
        self._lay_paths()
        offload = self._context.offload
        if offload is not None and self._is_connected:
            offload.begin(self)

    def _disconnect(self) -> None:
        self._end_offload()
        super()._disconnect()
        self._lay_paths()

    def _end_offload(self) -> None:
        offload = self._context.offload
        if offload is not None:
            offload.end(self)

    def _forward(self, size: int) -> None:
        statistics = self.statistics
        peer = self.peer
        if peer is None:
            statistics.dropped += 1
            return
        if size < HEADER_SIZE and self._is_rtp and self._take_short(size):
            return
        if self._is_treated:
            self._treat(peer, size)
            return
        if self._is_rtp and size >= HEADER_SIZE:
            first, second, sequence, timestamp, ssrc = read_header(self._buffer.octets)
            watch = self.watch
            if self.rtcp_peer is not None and FIRST_RTCP_OCTET <= second <= LAST_RTCP_OCTET:
                self._pass_reports(self.rtcp_peer, size)
                return
            if first & 0xC0 == 0x80:
                if second & 0x7F != watch.payload_type and not self._look_at(peer, second, size):
                    return
                watch.packet(second, sequence, timestamp, ssrc, self._poller.now)
        statistics.packets += 1
        statistics.size_octets += size
        try:
            if peer._is_connected:
                peer._socket.send(self._buffer.beginning(size))  # what `transmit` does, without a call for each packet
            else:
                peer.transmit(self._buffer.beginning(size))
        except BlockingIOError:
            return  # no room
        except OSError:
            peer.statistics.unreachable += 1  # nobody there (ECONNREFUSED), no route

    def drain(self) -> None:
        """Forward what waits; the source is settled."""
        for _ in range(_QUEUE_LIMIT):
            try:
                size = self._socket.recv_into(self._buffer.octets)
            except BlockingIOError:
                return
            except OSError:
                self.statistics.unreachable += 1
                continue
            self._forward(size)

    def forward(self, size: int) -> None:
        """Take a datagram that came on the short way, and cannot go on on it."""
        path = self._poller.paths.get(self.fileno())
        self._left -= 1
        if self._left < 0 or (path is not None and self.statistics.packets >= path.limit):
            self.statistics.dropped += 1
            self._pause()
            return
        self._forward(size)

    def _look_at(self, peer: RelaySocket, second: int, size: int) -> bool:
        """Look into the packet in the buffer, and give it the payload type that the other leg knows.

        Returns:
            Whether it still goes there: who was told of a digit may have changed that.
        """
        buffer = self._buffer
        number = self.watch.look_at(second & 0x7F, buffer.beginning(size), self._poller.now)
        buffer.octets[1] = second & 0x80 | number
        if self.peer is peer:
            return True
        self.statistics.dropped += 1
        return False

    def _take_short(self, size: int) -> bool:
        """Take a datagram that is too short for RTP if it is a keep-alive or a report; say whether it was."""
        if not size:
            return True
        reports = self.rtcp_peer
        if reports is None or size == 1 or not FIRST_RTCP_OCTET <= self._buffer.octets[1] <= LAST_RTCP_OCTET:
            return False
        self._pass_reports(reports, size)
        return True

    def _treat(self, peer: RelaySocket, size: int) -> None:
        """Do with a datagram what has to be done before it is passed on, and after."""
        statistics, now = self.statistics, self._poller.now
        own, theirs = self._stream.treatment, peer._stream.treatment
        packet: bytes | None = bytes(self._buffer.beginning(size))
        assert packet is not None
        is_muxed = self._is_rtp and self.rtcp_peer is not None and size > 1
        if is_muxed and FIRST_RTCP_OCTET <= packet[1] <= LAST_RTCP_OCTET:
            assert self.rtcp_peer is not None
            self._pass_reports(self.rtcp_peer, size)
            return
        statistics.packets += 1
        statistics.size_octets += size
        if own is not None and self._is_rtp:
            packet = own.take(packet)
            statistics.failures = own.failures
            if packet is None:
                return
        if self._is_rtp and len(packet) >= HEADER_SIZE:
            first, second, sequence, timestamp, ssrc = read_header(packet)
            if first & 0xC0 == 0x80:
                number = second & 0x7F
                if number != self.watch.payload_type:
                    number = self.watch.look_at(number, packet, now)
                    if self.peer is not peer:
                        return  # who was told of a digit has changed that
                self.watch.packet(second, sequence, timestamp, ssrc, now)
                for tap in () if own is None else own.taps:
                    tap(packet, now)
                if self.watch.is_event and own is not None and own.takes_events:
                    if theirs is not None:
                        theirs.leave_out(packet)
                    return
                if number != second & 0x7F:
                    packet = packet[:1] + bytes((second & 0x80 | number,)) + packet[2:]
        if (own is not None and own.is_muted) or (theirs is not None and theirs.is_deaf):
            return
        peer.inject(packet)

    def inject(self, packet: bytes) -> None:
        """Send a packet in the clear to the party behind this socket."""
        treatment = self._stream.treatment
        given = treatment.give(packet) if treatment is not None and self._is_rtp else packet
        if given is not None:
            self._send_octets(self, memoryview(given))

    def _report_latch(self, source: Address) -> None:
        self.statistics.source = print_address(source)
        super()._report_latch(source)
