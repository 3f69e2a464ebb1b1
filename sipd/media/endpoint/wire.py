"""The way of packets in and out of an endpoint: sockets, encryption, whose packets are taken, reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime, IReactorUDP
from twisted.logger import Logger

from sipd.errors import MediaEngineError, ParseError
from sipd.interfaces import Entropy
from sipd.media.audio import all_decoders
from sipd.media.dtls.identity import DtlsIdentity
from sipd.media.endpoint.agreement import Agreement
from sipd.media.endpoint.describing import Outcome
from sipd.media.endpoint.gathering import Reachability
from sipd.media.endpoint.path import RTCP, RTP, Path, PathTerms
from sipd.media.endpoint.protection import Protection
from sipd.media.endpoint.queues import DroppingQueue
from sipd.media.endpoint.receiving import RtpReceiver
from sipd.media.endpoint.reports import Reporter, compose
from sipd.media.endpoint.sending import RtpSender
from sipd.media.endpoint.settings import EndpointSettings, Ice
from sipd.media.endpoint.sockets import SocketPair
from sipd.media.latch import Address, Verdict
from sipd.media.securing import Keys
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
        advertised_host: the one that descriptions name.
        settings: of the endpoint.
        entropy: for ports and reports.
        canonical_name: for reports.
        heard: called with each RTP packet of the peer.
        lost: called once if ICE or DTLS fails, or ends; with why.
        identity: gives what is shown in DTLS.

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
        advertised_host: str,
        settings: EndpointSettings,
        entropy: Entropy,
        canonical_name: str,
        heard: Callable[[RtpPacket], object],
        lost: Callable[[str], object],
        identity: Callable[[], DtlsIdentity],
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._advertised_host = advertised_host
        #: Where the sockets are, as ICE has it: a candidate is one address, never all of a host (RFC 8445 5.1.1.1).
        self._base_host = advertised_host if ip_address(host).is_unspecified else host
        self._lost: Callable[[str], object] | None = lost
        self._identity = identity
        self._path: Path | None = None
        #: Of the sockets of RTP and RTCP, where ICE is spoken.
        self._reachable: tuple[Reachability, Reachability] | None = None
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
        if self._path is not None and self._path.has_ice:
            way = self._path.way()
            return None if way is None else way[1]
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

    def prepare(self) -> Deferred[None]:
        """Open the sockets, and ask who can say how they are reached; fires when that is done. Can be cancelled.

        Raises:
            ResourcesExhaustedError: there are no ports.
        """
        if self._settings.ice is Ice.NONE or not self._settings.ice_servers or self._path is not None:
            return succeed(None)
        asking = DeferredList([one.ask(self._settings.ice_servers) for one in self._reach()])

        def give_up(waiting: Deferred[None]) -> None:
            waiting.errback(CancelledError())
            asking.cancel()

        prepared: Deferred[None] = Deferred(give_up)
        asking.addCallback(lambda _: None if prepared.called else prepared.callback(None))
        return prepared

    def path(self) -> Path:
        """Give the way of the stream, ready to be described; the first time it takes all addresses that are known.

        Raises:
            ResourcesExhaustedError: there are no ports.
        """
        if self._path is None:
            self._path = Path(
                self._reactor,
                self._entropy,
                latching=self._settings.latching,
                send=self._send_directly,
                identity=self._identity,
                keyed=self._keyed,
                moved=self._moved,
                lost=self._lose,
            )
            if self._settings.ice is not Ice.NONE:
                rtp, rtcp = self._reach()
                is_lite = self._settings.ice is Ice.LITE
                self._path.use_ice((*rtp.candidates, *rtcp.candidates), {**rtp.ways, **rtcp.ways}, is_lite=is_lite)
        return self._path

    def agreed(self, outcome: Outcome) -> None:
        """Take note of what holds from now on.

        Raises:
            MediaEngineError: there is no context for the keys, or no DTLS here.
        """
        has_dtls = bool(outcome.path.fingerprints)
        if not has_dtls:
            self.protection.use(outcome.keys)
        elif not self.protection.is_secure:
            self.protection.wait()
        self._agreement = outcome.agreement
        self.receiver.agreed(outcome.agreement)
        if self._path is not None:
            self._admit(outcome.path)
            self._path.agreed(outcome.path, outcome.agreement.remote)

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
        if protected is None or not self._send(protected, remote):
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
        remote = self.remote if agreement.has_mux else self.receiver.rtcp_latch.remote
        protected = self.protection.protect_rtcp(data)
        if remote is None or protected is None:
            return
        if agreement.has_mux:
            has_left = self._send(protected, remote)
        elif self._path is not None and self._path.way(RTCP) is not None:
            has_left = self._path.send(protected, RTCP)
        else:
            has_left = sockets.rtcp.send(protected, remote)
        if not has_left:
            return
        self._tell(self.on_rtcp, packets, was_sent=True)

    def keep_alive(self, now: float) -> None:
        """Send an empty datagram if nothing else was sent for long (RFC 6263 section 4.1)."""
        if now < self._sent_at + self._settings.keep_alive or not self._settings.keep_alive or self._is_closed:
            return
        self._sent_at = now
        if self.remote is not None and self._sockets is not None:
            self._send(b"", self.remote)

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
        self._lost = None
        path, self._path = self._path, None
        if path is not None:
            path.close()
        if self._reachable is not None:
            leaving = DeferredList([one.close() for one in self._reachable])
            return leaving.addCallback(lambda _: self._close_sockets())
        return self._close_sockets()

    def _close_sockets(self) -> Deferred[None]:
        self._reachable = None
        return succeed(None) if self._sockets is None else self._sockets.close()

    def _reach(self) -> tuple[Reachability, Reachability]:
        """Give what is known of how the sockets are reached."""
        if self._reachable is None:
            port = self.port()
            sockets = self._sockets
            assert sockets is not None
            rtp, rtcp = [
                Reachability(
                    self._reactor,
                    socket.send,
                    base=self._base(offset),
                    component=component,
                    advertised=(self._advertised_host, port + offset),
                    entropy=self._entropy,
                    relayed=take,
                )
                for component, offset, socket, take in (
                    (RTP, 0, sockets.rtp, self._take),
                    (RTCP, 1, sockets.rtcp, self._take_control),
                )
            ]
            self._reachable = rtp, rtcp
        return self._reachable

    def _send(self, data: bytes, remote: Address) -> bool:
        """Send a datagram of media."""
        if self._path is not None and self._path.has_ice:
            return self._path.send(data)
        return self._send_directly(data, remote)

    def _send_directly(self, data: bytes, to: Address) -> bool:
        return self._sockets is not None and self._sockets.rtp.send(data, to)

    def _keyed(self, keys: Keys) -> None:
        """Take the keys that DTLS gave."""
        try:
            self.protection.use(keys)
        except MediaEngineError as error:
            self._lose(str(error))

    def _lose(self, why: str) -> None:
        if self._lost is not None:
            self._lost(why)

    def _admit(self, terms: PathTerms) -> None:
        """Have relays let the peer through, wherever it says that it may be."""
        if terms.ice is None:
            return
        for component, one in enumerate(self._reachable or (), RTP):
            if component == RTP or not terms.has_mux:
                one.admit(dict.fromkeys([each.host for each in terms.ice.candidates if each.component == component]))

    def _moved(self, component: int, base: Address, remote: Address) -> None:
        """Take packets from where ICE, or DTLS, says that the peer is."""
        for one in self._reachable or ():
            one.settle(base, remote)
        agreement = self._agreement
        if agreement is not None:
            is_rtp = component == RTP
            moved = replace(agreement, remote=remote) if is_rtp else replace(agreement, remote_rtcp=remote)
            self._agreement = moved
            self.receiver.agreed(moved)

    def _base(self, offset: int = 0) -> Address:
        return self._base_host, 0 if self._sockets is None else self._sockets.port + offset

    def _by_ice(self, source: Address, component: int) -> Address | None:
        """Give whom a datagram of media counts as one of, where ICE says who may send; ``None`` if he may not.

        Of the ways that work the peer may choose another one than we.
        """
        path = self._path
        if path is None or not path.has_ice:
            return source
        way = path.way(component)
        if way is None:
            # A peer that knows nothing of a second component sends RTCP as ever.
            return source if component == RTCP else None
        return way[1] if path.accepts(source, component) else None

    def _rtp_came(self, data: bytes, source: Address) -> None:
        """Take a datagram on the port of RTP."""
        if self._reachable is None or not self._reachable[0].datagram_received(data, source):
            self._take(data, source, self._base())

    def _rtcp_came(self, data: bytes, source: Address) -> None:
        """Take a datagram on the port of RTCP."""
        if self._reachable is None or not self._reachable[1].datagram_received(data, source):
            self._take_control(data, source, self._base(1))

    def _take_control(self, data: bytes, source: Address, base: Address) -> None:
        """Take a datagram that came to the port of RTCP, or by a relay."""
        if self._path is not None and self._path.takes(data):
            self._path.datagram_received(data, source, base)
            return
        peer = self._by_ice(source, RTCP)
        if peer is None:
            self.receiver.foreign += 1
        elif self._agreement is not None and self._heard is not None:
            self._take_rtcp(data, peer)

    def _take(self, data: bytes, source: Address, base: Address) -> None:
        """Take a datagram that came to the port of RTP, or by a relay."""
        if self._path is not None and self._path.takes(data):
            self._path.datagram_received(data, source, base)
            return
        peer = self._by_ice(source, RTP)
        if peer is None:
            self.receiver.foreign += 1
            return
        source = peer
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
