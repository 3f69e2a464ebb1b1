"""Captured packets to what is seen in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sipd.observe.capture import redact
from sipd.observe.sniffing.errors import PacketError
from sipd.observe.sniffing.fragments import Reassembler
from sipd.observe.sniffing.packets import TCP, UDP, IpPacket, Link, parse_packet
from sipd.observe.sniffing.ports import Ports
from sipd.observe.sniffing.segments import parse_datagram, parse_segment
from sipd.observe.sniffing.sightings import Address, MediaSeen, Seen, Unreadable, sight
from sipd.observe.sniffing.streams import Encrypted, StreamEvent, TcpStreams
from sipd.rtp.rtcp import is_rtcp
from sipd.sip.parser import is_keep_alive

#: An RTP header without contributors.
_MIN_RTP_OCTETS = 12


@dataclass(slots=True)
class Rest:
    """What nothing is seen of, counted.

    Args:
        keep_alives: datagrams of line ends, on the ports of SIP.
        others: whatever else is no SIP there.
        broken: packets that break off, or are impossible.
    """

    keep_alives: int = 0
    others: int = 0
    broken: int = 0


class Sniffer:
    """Finds SIP, and RTP where it is asked for. Bounded as `Reassembler` and `TcpStreams` are.

    Args:
        ports: where to look.
        hide: covers the secrets in a message.
    """

    def __init__(self, ports: Ports, hide: Callable[[bytes], bytes] = redact) -> None:
        self._ports = ports
        self._hide = hide
        self._fragments = Reassembler()
        self._streams = TcpStreams()
        self._last_at = 0.0
        self.rest = Rest()

    def feed(self, at: float, link: Link, data: bytes) -> list[Seen]:
        """Take a captured packet; give what is whole now.

        Args:
            at: when it passed, seconds since 1970.
            link: what it begins with.
            data: its octets.
        """
        self._last_at = at
        try:
            packet = parse_packet(link, data)
            if packet is None or packet.protocol not in (UDP, TCP):
                return []
            whole = self._fragments.feed(at, packet)
            if whole is None:
                return []
            return self._datagram(at, whole) if whole.protocol == UDP else self._segment(at, whole)
        except PacketError:
            self.rest.broken += 1
            return []

    def finish(self) -> list[Seen]:
        """Give what was not seen before because something was missing."""
        return [
            seen
            for source, destination, events in self._streams.finish()
            for event in events
            for seen in self._from_stream(self._last_at, source, destination, event)
        ]

    def _datagram(self, at: float, packet: IpPacket) -> list[Seen]:
        datagram = parse_datagram(packet.payload)
        ports = datagram.source_port, datagram.destination_port
        source, destination = (packet.source, ports[0]), (packet.destination, ports[1])
        data = datagram.payload
        if self._ports.are_sip(*ports):
            if is_keep_alive(data):
                self.rest.keep_alives += 1
                return []
            return self._message(data, at, source, destination, "UDP")
        if self._ports.are_rtp(*ports) and (is_rtcp(data) or (len(data) >= _MIN_RTP_OCTETS and data[0] >> 6 == 2)):
            return [MediaSeen(at=at, source=source, destination=destination, data=data)]
        return []

    def _segment(self, at: float, packet: IpPacket) -> list[Seen]:
        segment = parse_segment(packet.payload)
        if not self._ports.are_sip(segment.source_port, segment.destination_port):
            return []
        source = packet.source, segment.source_port
        destination = packet.destination, segment.destination_port
        return [
            seen
            for event in self._streams.feed(at, source, destination, segment)
            for seen in self._from_stream(at, source, destination, event)
        ]

    def _from_stream(self, at: float, source: Address, destination: Address, event: StreamEvent) -> list[Seen]:
        if isinstance(event, Encrypted):
            return [Unreadable(at=at, source=source, destination=destination, reason="TLS: cannot be read")]
        return self._message(event, at, source, destination, "TCP")

    def _message(self, data: bytes, at: float, source: Address, destination: Address, transport: str) -> list[Seen]:
        sighting = sight(data, at=at, source=source, destination=destination, transport=transport, hide=self._hide)
        if sighting is None:
            self.rest.others += 1
            return []
        return [sighting]
