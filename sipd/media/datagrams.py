"""The two sockets of a stream, and how a datagram goes from one leg to the other.

A socket begins unconnected: each datagram comes with its source, and the `Latch` decides. Once the latch is settled the
socket is connected to the source, which does two things: the kernel drops what comes from elsewhere before it costs us
anything, and neither reading nor sending handles addresses any more, which is a fifth of the processor time. The price
is that foreign datagrams are seen, counted and reported only until then. When signalling names another address, the
socket is disconnected and the latch decides again.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sipd.media.latch import Address, Latch, Verdict
from sipd.media.poller import MediaReactor, Poller
from sipd.rtp.quality import StreamQuality
from sipd.rtp.rtcp import FIRST_RTCP_OCTET, LAST_RTCP_OCTET

if TYPE_CHECKING:
    from sipd.interfaces import StreamStatistics
    from sipd.media.stream import RelayStream
    from sipd.media.terms import Payloads

#: The fixed part of the header of an RTP packet (RFC 3550 section 5.1).
_read_header = struct.Struct("!BBHII").unpack_from
_HEADER_SIZE = 12

#: More than the receive queue of a socket holds.
_QUEUE_LIMIT = 4096

#: Foreign sources that one socket reports; it counts all of them.
_REPORT_LIMIT = 8


#: What a `StreamQuality` counts, as `StreamStatistics` calls it.
_COUNTED = ("lost", "late", "duplicates", "bursts", "ssrc_changes")


class DatagramBuffer:
    """Where datagrams are while they are relayed: one at a time, so all sockets share it."""

    __slots__ = ("octets", "view")

    def __init__(self) -> None:
        self.octets = bytearray(65536)
        self.view = memoryview(self.octets)


@dataclass(slots=True)
class RelayContext:
    """What all sockets of an engine share.

    Args:
        reactor: for the time.
        poller: says when there is something to read.
        buffer: for the datagram at hand.
        offload: forwards streams below these sockets, if there is anything that can.
    """

    reactor: MediaReactor
    poller: Poller
    buffer: DatagramBuffer
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
        context: of the engine.
    """

    __slots__ = (
        "_buffer",
        "_context",
        "_foreign",
        "_is_connected",
        "_poller",
        "_socket",
        "_stream",
        "latch",
        "peer",
        "statistics",
    )  # fmt: skip

    #: What it carries, for events.
    kind: str

    def __init__(self, bound: socket.socket, stream: RelayStream, latch: Latch, context: RelayContext) -> None:
        self._socket = bound
        self._stream = stream
        self._context = context
        self._poller = context.poller
        self._buffer = context.buffer
        self._is_connected = False
        #: Foreign sources that were reported.
        self._foreign: set[Address] | None = None
        self.latch = latch
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
        """Choose where datagrams go from now on; `None` for nowhere."""
        self.peer = peer

    def adapt(self) -> None:
        """Take note that the stream has something else agreed on."""
        self.statistics = self._stream.statistics

    def close(self) -> None:
        """Relay nothing any more."""
        self._poller.remove(self)
        self.connect_to(None)

    def receive(self) -> None:
        """Take one datagram.

        On a connected socket the kernel has looked at its source. There an error is news of an earlier datagram
        (ECONNREFUSED: the party does not listen yet, or no more), or that there was nothing to read.
        """
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

    def transmit(self, data: memoryview) -> None:
        """Send to the party behind this socket, where it is believed to be.

        Raises:
            OSError: nobody is there (ECONNREFUSED), there is no room, or no route.
        """
        if self._is_connected:
            self._socket.send(data)
        elif (remote := self.latch.remote) is not None:
            self._socket.sendto(data, remote)

    @abstractmethod
    def _forward(self, size: int) -> None:
        """Count the datagram in the buffer and pass it on. One that cannot be sent is lost, as datagrams are."""

    def _send(self, peer: RelaySocket, size: int) -> None:
        """Pass the datagram in the buffer on."""
        try:
            peer.transmit(self._buffer.view[:size])
        except BlockingIOError:
            return  # no room
        except OSError:
            peer.statistics.unreachable += 1  # nobody there (ECONNREFUSED), no route

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

        Connecting to an address of family AF_UNSPEC dissolves the association (POSIX connect(3)); the `socket` module
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
        remote = self.latch.remote
        expected = "unknown" if remote is None else print_address(remote)
        self._stream.report("foreign-source", f"{self} from {print_address(source)} dropped, expected from {expected}")

    def _report_latch(self, source: Address) -> None:
        """Say where the media comes from."""
        signalled = self.latch.signalled
        note = (
            " as signalled" if source == signalled else f", signalled {print_address(signalled)}" if signalled else ""
        )
        self._stream.report("latched", f"{self} comes from {print_address(source)}{note}")


class RtpSocket(RelaySocket):
    """The socket of RTP, and of RTCP if that is multiplexed on it (RFC 5761); of any other datagrams, too."""

    __slots__ = (
        "_base",
        "_is_offloaded",
        "_is_rtp",
        "_payload_type",
        "_payloads",
        "_quality",
        "_watch",
        "risen",
        "rtcp_peer",
    )

    kind = "RTP"

    def __init__(self, bound: socket.socket, stream: RelayStream, latch: Latch, context: RelayContext) -> None:
        #: Where multiplexed RTCP goes; `None` if the leg does not multiplex.
        self.rtcp_peer: RelaySocket | None = None
        self._is_rtp = stream.terms is not None and stream.terms.is_rtp
        self._is_offloaded = False
        #: Packets of RTP that came here although somebody else forwards.
        self.risen = 0
        self._payload_type = -1
        self._payloads: Payloads | None = None
        #: Begun with the first packet of RTP; `_watch` is its `packet`.
        self._quality: StreamQuality | None = None
        self._watch: Callable[[int, int, int, int, float], bool] = _ignore
        #: What `statistics` had counted before that.
        self._base: tuple[int, ...] = ()
        super().__init__(bound, stream, latch, context)

    @property
    def rtp_peer(self) -> RtpSocket | None:
        """Where datagrams go."""
        return self.peer if isinstance(self.peer, RtpSocket) else None

    @property
    def is_settled(self) -> bool:
        """Whether it is RTP, and comes from where nothing but signalling can change."""
        return self._is_rtp and self._is_connected

    @property
    def local(self) -> Address:
        """Where it is bound."""
        return self._stream.address.host, self._stream.pair.port

    @property
    def payloads(self) -> Payloads | None:
        """What was agreed on about payload types."""
        return None if self._stream.terms is None else self._stream.terms.payloads

    @property
    def payload_type(self) -> int:
        """The last one that came; -1 if none did."""
        return self._payload_type

    def report(self, kind: str, text: str) -> None:
        """Tell what the call's explanation should say."""
        self._stream.report(kind, text)

    def offloaded(self, is_so: bool) -> None:
        """Take note that somebody else forwards and counts; what comes here all the same is the rest."""
        self.count()
        self._is_offloaded = is_so
        self._quality = None
        self._watch = self._rise if is_so else _ignore
        self._payload_type = -1
        self.risen = 0

    def _rise(self, second_octet: int, sequence: int, timestamp: int, ssrc: int, arrival: float) -> bool:
        """Count what comes up here though somebody else forwards the stream."""
        self.risen += 1
        return True

    def connect_to(self, peer: RelaySocket | None, rtcp_peer: RelaySocket | None = None) -> None:
        """Choose where datagrams go from now on; those of RTCP to `rtcp_peer` if it is given."""
        self._end_offload()
        self.peer = peer
        self.rtcp_peer = rtcp_peer
        self._settled()

    def close(self) -> None:
        """See `RelaySocket`."""
        self._end_offload()
        super().close()

    def _settled(self) -> None:
        offload = self._context.offload
        if offload is not None and self._is_connected:
            offload.begin(self)

    def _disconnect(self) -> None:
        self._end_offload()
        super()._disconnect()

    def _end_offload(self) -> None:
        offload = self._context.offload
        if offload is not None:
            offload.end(self)

    def adapt(self) -> None:
        """See `RelaySocket`."""
        self._end_offload()
        self.count()
        super().adapt()
        terms = self._stream.terms
        self._is_rtp = terms is not None and terms.is_rtp
        self._payload_type = -1
        self._quality = None
        self._watch = _ignore
        self._settled()

    def count(self) -> None:
        """Bring the statistics up to date: what is known of the packets that came."""
        if self._is_offloaded and self._context.offload is not None:
            self._context.offload.count(self)
        if self._quality is None:
            return
        known, statistics = self._quality.snapshot(), self.statistics
        counts = (known.lost, known.reordered, known.duplicates, known.bursts, known.ssrc_changes)
        for name, before, now in zip(_COUNTED, self._base, counts, strict=True):
            setattr(statistics, name, before + now)
        statistics.ssrc = known.ssrc or 0
        statistics.jitter = known.jitter or 0.0
        statistics.jitter_max = max(statistics.jitter_max, known.jitter_maximum or 0.0)
        statistics.burst_length = known.burst_length

    def _forward(self, size: int) -> None:
        statistics = self.statistics
        peer = self.peer
        if peer is None:
            statistics.dropped += 1
            return
        if self._is_rtp and size >= _HEADER_SIZE:
            first, second, sequence, timestamp, ssrc = _read_header(self._buffer.octets)
            if self.rtcp_peer is not None and FIRST_RTCP_OCTET <= second <= LAST_RTCP_OCTET:
                statistics.rtcp_packets += 1
                self._send(self.rtcp_peer, size)
                return
            if second & 0x7F != self._payload_type:
                self._look_at(second & 0x7F)
            if first & 0xC0 == 0x80:
                self._watch(second, sequence, timestamp, ssrc, self._poller.now)
        statistics.packets += 1
        statistics.size_octets += size
        try:
            if peer._is_connected:
                peer._socket.send(self._buffer.view[:size])  # what `transmit` does, without a call for each packet
            else:
                peer.transmit(self._buffer.view[:size])
        except BlockingIOError:
            return  # no room
        except OSError:
            peer.statistics.unreachable += 1  # nobody there (ECONNREFUSED), no route

    def _look_at(self, payload_type: int) -> None:
        """Take note of a payload type that is not the last one's."""
        terms, payloads = self._stream.terms, self._payloads
        assert terms is not None
        if self._is_offloaded:
            payloads = self._payloads = terms.payloads
        elif self._quality is None or payloads is None:
            payloads = self._payloads = terms.payloads
            self._base = tuple(getattr(self.statistics, name) for name in _COUNTED)
            self._quality = StreamQuality(payloads.rates)
            self._watch = self._quality.packet
        self._payload_type = payload_type
        self.statistics.payload_type = payload_type
        if payload_type not in payloads.encodings:
            self.statistics.unexpected += 1

    def _report_latch(self, source: Address) -> None:
        self.statistics.source = print_address(source)
        super()._report_latch(source)


class RtcpSocket(RelaySocket):
    """The socket of RTCP that is not multiplexed."""

    __slots__ = ()

    kind = "RTCP"

    def _forward(self, size: int) -> None:
        if self.peer is None:
            self.statistics.dropped += 1
            return
        self.statistics.rtcp_packets += 1
        self._send(self.peer, size)


def _ignore(second_octet: int, sequence: int, timestamp: int, ssrc: int, arrival: float) -> bool:
    """Watch nothing."""
    return False


def print_address(address: Address) -> str:
    """Give `host:port` for people; an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
