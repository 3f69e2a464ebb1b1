"""The way of packets in and out of an endpoint: sockets, encryption, whose packets are taken, reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime, IReactorUDP
from twisted.logger import Logger

from sipd.errors import ParseError
from sipd.interfaces import Entropy
from sipd.media.audio import all_decoders
from sipd.media.endpoint.agreement import Agreement
from sipd.media.endpoint.describing import Outcome
from sipd.media.endpoint.protection import Protection
from sipd.media.endpoint.queues import DroppingQueue
from sipd.media.endpoint.receiving import RtpReceiver
from sipd.media.endpoint.reports import Reporter, compose
from sipd.media.endpoint.sending import RtpSender
from sipd.media.endpoint.settings import EndpointSettings
from sipd.media.endpoint.sockets import SocketPair
from sipd.media.latch import Address, Verdict
from sipd.rtp.packet import RtpPacket
from sipd.rtp.rtcp import RtcpPacket, is_rtcp, parse_compound

#: Packets that are kept for who reads them raw: two seconds; the oldest are dropped.
_RAW_LIMIT = 100


class EndpointReactor(IReactorUDP, IReactorTime):
    """What an endpoint needs of a reactor."""


T = TypeVar("T")


class Wire:
    """Sockets, and what is done with their datagrams.

    Args:
        reactor: has them.
        host: the numeric address to bind.
        settings: of the endpoint.
        entropy: for ports and reports.
        canonical_name: for reports.
        heard: called with each RTP packet of the peer.

    Attributes:
        receiver: takes what comes.
        protection: encrypts and decrypts.
        reporter: makes reports.
        on_rtp: see `AudioEndpoint`.
        on_rtcp: see `AudioEndpoint`.
        packets_sent: RTP packets that left.
        octets_sent: of their payloads.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: EndpointReactor,
        *,
        host: str,
        settings: EndpointSettings,
        entropy: Entropy,
        canonical_name: str,
        heard: Callable[[RtpPacket], object],
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._settings = settings
        self._entropy = entropy
        self._heard: Callable[[RtpPacket], object] | None = heard
        self._sockets: SocketPair | None = None
        self._agreement: Agreement | None = None
        self._rtp: DroppingQueue[RtpPacket] | None = None
        self._rtcp: DroppingQueue[tuple[RtcpPacket, ...]] | None = None
        self._malformed = 0
        self._is_closed = False
        self._sent_at = reactor.seconds()
        self.packets_sent = 0
        self.octets_sent = 0
        self.protection = Protection(reactor.seconds)
        self.receiver = RtpReceiver(
            seconds=reactor.seconds,
            protection=self.protection,
            decoders=all_decoders(),
            latching=settings.latching,
        )
        self.reporter = Reporter(
            interval=settings.rtcp_interval,
            canonical_name=canonical_name,
            entropy=entropy,
            seconds=reactor.seconds,
        )
        self.on_rtp: Callable[[RtpPacket, bool], object] | None = None
        self.on_rtcp: Callable[[tuple[RtcpPacket, ...], bool], object] | None = None

    @property
    def local(self) -> Address | None:
        """Where RTP comes in; ``None`` before the sockets are open."""
        return None if self._sockets is None else (self._host, self._sockets.port)

    @property
    def remote(self) -> Address | None:
        """Where RTP goes; ``None`` if nobody knows."""
        return None if self._agreement is None else self.receiver.latch.remote

    @property
    def unsent(self) -> int:
        """Datagrams that the system refused."""
        return 0 if self._sockets is None else self._sockets.rtp.unsent + self._sockets.rtcp.unsent

    @property
    def malformed(self) -> int:
        """Datagrams that were nothing that was expected."""
        return self._malformed + self.receiver.malformed

    def port(self) -> int:
        """Give the port that descriptions name; the first time, the sockets are opened.

        Raises:
            ResourcesExhaustedError: there are none.
        """
        if self._sockets is None:
            sockets = SocketPair(self._reactor, self._host, self._settings.ports, self._entropy)
            sockets.rtp.begin(self._rtp_came)
            sockets.rtcp.begin(self._rtcp_came)
            self._sockets = sockets
        return self._settings.advertised_port or self._sockets.port

    def agreed(self, outcome: Outcome) -> None:
        """Take note of what holds from now on.

        Raises:
            MediaEngineError: there is no context for the keys.
        """
        self.protection.use(outcome.keys)
        self._agreement = outcome.agreement
        self.receiver.agreed(outcome.agreement)

    def send_rtp(self, packet: RtpPacket) -> bool:
        """Send a packet; say whether it left.

        Raises:
            ValueError: a field of it does not fit.
        """
        remote = self.remote
        data = packet.to_bytes()
        if remote is None or self._sockets is None or self._is_closed:
            return False
        protected = self.protection.protect(data)
        if protected is None or not self._sockets.rtp.send(protected, remote):
            return False
        self.packets_sent += 1
        self.octets_sent += len(packet.payload)
        self._sent_at = self._reactor.seconds()
        self._tell(self.on_rtp, packet, was_sent=True)
        return True

    def send_rtcp(self, packets: tuple[RtcpPacket, ...]) -> None:
        """Send packets as one datagram.

        Raises:
            ValueError: a field of one does not fit.
        """
        data = compose(packets)
        agreement, sockets = self._agreement, self._sockets
        if agreement is None or sockets is None or self._is_closed:
            return
        socket, latch = sockets.rtcp, self.receiver.rtcp_latch
        if agreement.has_mux:
            socket, latch = sockets.rtp, self.receiver.latch
        protected = self.protection.protect_rtcp(data)
        if latch.remote is None or protected is None or not socket.send(protected, latch.remote):
            return
        self._tell(self.on_rtcp, packets, was_sent=True)

    def keep_alive(self, now: float) -> None:
        """Send an empty datagram if nothing else was sent for long (RFC 6263 section 4.1)."""
        if now < self._sent_at + self._settings.keep_alive or not self._settings.keep_alive or self._is_closed:
            return
        self._sent_at = now
        if self.remote is not None and self._sockets is not None:
            self._sockets.rtp.send(b"", self.remote)

    def report(self, sender: RtpSender, now: float) -> None:
        """Send a report if one is due."""
        if not self._is_closed and self.reporter.due(now):
            self.send_rtcp(self.reporter.report(sender, self.receiver))

    def read_rtp(self) -> Deferred[RtpPacket]:
        """See `AudioEndpoint.read_rtp`."""
        if self._rtp is None:
            self._rtp = DroppingQueue(_RAW_LIMIT)
            if self._is_closed:
                self._rtp.end()
        return self._rtp.get()

    def read_rtcp(self) -> Deferred[tuple[RtcpPacket, ...]]:
        """See `AudioEndpoint.read_rtcp`."""
        if self._rtcp is None:
            self._rtcp = DroppingQueue(_RAW_LIMIT)
            if self._is_closed:
                self._rtcp.end()
        return self._rtcp.get()

    def close(self, sender: RtpSender) -> Deferred[None]:
        """Say goodbye, and close the sockets; gives when that is done."""
        if self._agreement is not None and self._settings.rtcp_interval:
            self.send_rtcp(self.reporter.goodbye(sender, self.receiver))
        self._is_closed = True
        self._heard = self.on_rtp = self.on_rtcp = None
        self.receiver.close()
        self.protection.close()
        for queue in (self._rtp, self._rtcp):
            if queue is not None:
                queue.end()
        return succeed(None) if self._sockets is None else self._sockets.close()

    def _rtp_came(self, data: bytes, source: Address) -> None:
        """Take a datagram on the port of RTP."""
        agreement = self._agreement
        if agreement is None or self._heard is None or not data:
            return
        if is_rtcp(data):
            if agreement.has_mux:
                self._take_rtcp(data, source)
            else:
                self._malformed += 1
            return
        packet = self.receiver.open(data, source)
        if packet is None:
            return
        self._tell(self.on_rtp, packet, was_sent=False)
        if self._rtp is not None:
            self._rtp.put(packet)
        if self._heard is not None:  # nobody has closed the endpoint meanwhile
            self._heard(packet)

    def _rtcp_came(self, data: bytes, source: Address) -> None:
        """Take a datagram on the port of RTCP."""
        if self._agreement is not None and self._heard is not None:
            self._take_rtcp(data, source)

    def _tell(self, hook: Callable[[T, bool], object] | None, what: T, *, was_sent: bool) -> None:
        """Tell who looks on; what he raises is his."""
        if hook is not None:
            with self._log.failureHandler("who looks on at RTP or RTCP failed"):
                hook(what, was_sent)

    def _take_rtcp(self, data: bytes, source: Address) -> None:
        receiver = self.receiver
        latch = receiver.latch if self._agreement is not None and self._agreement.has_mux else receiver.rtcp_latch
        now = self._reactor.seconds()
        if latch.is_settled(now) and source != latch.source:
            receiver.foreign += 1
            return
        plain = self.protection.unprotect_rtcp(data)
        if plain is None:
            return
        try:
            packets = parse_compound(plain)
        except ParseError:
            self._malformed += 1
            return
        if latch.accept(source, now) is Verdict.DROP:
            receiver.foreign += 1
            return
        self.reporter.take(packets)
        self._tell(self.on_rtcp, packets, was_sent=False)
        if self._rtcp is not None:
            self._rtcp.put(packets)
