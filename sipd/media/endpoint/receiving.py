"""What an endpoint hears: whose packets are taken, and what their sound is at each beat."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.logger import Logger

from sipd.errors import MissingCodecError, ParseError
from sipd.media.audio import DecoderFactory
from sipd.media.endpoint.agreement import Agreement
from sipd.media.endpoint.codecs import CODECS, EVENT_NAME, clock_rate_of
from sipd.media.endpoint.protection import Protection
from sipd.media.latch import Address, Latch, Verdict
from sipd.rtp.jitter import JitterBuffer
from sipd.rtp.packet import RtpPacket, parse_packet
from sipd.rtp.playout import StreamFormat
from sipd.rtp.quality import Quality, StreamQuality

#: Comfort noise, which needs no ``a=rtpmap`` (RFC 3389).
_COMFORT_NOISE = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What a report says of what came (RFC 3550 section 6.4.1).

    Args:
        ssrc: of the source.
        fraction_lost: since this was asked for last.
        lost: since the beginning.
        highest_sequence: extended.
        jitter_units: in units of the timestamp.
    """

    ssrc: int
    fraction_lost: float
    lost: int
    highest_sequence: int
    jitter_units: int


class RtpReceiver:
    """Takes the packets of one stream.

    Args:
        seconds: tells the time.
        protection: decrypts.
        decoders: by the name of the encoding.
        latching: see `EndpointSettings.latching`.

    Attributes:
        latch: decides whose RTP is taken; `rtcp_latch` whose RTCP.
        packets: RTP packets that were taken.
        octets: of their payloads.
        foreign: datagrams from elsewhere.
        malformed: datagrams that are no RTP, or of no kind that was agreed on.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        seconds: Callable[[], float],
        protection: Protection,
        decoders: Mapping[str, DecoderFactory],
        latching: float,
    ) -> None:
        self._seconds = seconds
        self._protection = protection
        self._decoders = decoders
        self._latching = latching
        self._formats: dict[int, str] = {}
        self._events: frozenset[int] = frozenset()
        self._made: dict[str, StreamFormat] = {}
        # Fed with the usual payload types of codecs, whatever their numbers are now.
        self._quality = StreamQuality({codec.payload_type: codec.clock_rate for codec in CODECS.values()})
        self._jitter = JitterBuffer(formats=self._format)
        self._late = 0
        self._highest = 0
        self._ssrc: int | None = None
        self._reported = (0, 0)
        self.latch = Latch()
        self.rtcp_latch = Latch(self.latch)
        self.packets = 0
        self.octets = 0
        self.foreign = 0
        self.malformed = 0

    @property
    def late(self) -> int:
        """Packets that came too late to be heard."""
        return self._late + self._jitter.late

    def agreed(self, agreement: Agreement) -> None:
        """Take note of what holds from now on."""
        closes_at = self._seconds() + self._latching
        self.latch.signal(agreement.remote, closes_at)
        self.rtcp_latch.signal(agreement.remote if agreement.has_mux else agreement.remote_rtcp, closes_at)
        if not agreement.receives:
            self._quality.pause()
        formats = dict(agreement.received)
        if formats == self._formats:
            return
        self._formats = formats
        self._events = frozenset(number for number, name in formats.items() if name.startswith(EVENT_NAME))
        self._jitter.forget_formats()

    def open(self, data: bytes, source: Address) -> RtpPacket | None:
        """Take a datagram; give the packet in it if it is one of the peer's."""
        now = self._seconds()
        latch = self.latch
        if latch.is_settled(now) and source != latch.source:
            self.foreign += 1
            return None
        plain = self._protection.unprotect(data)
        if plain is None:
            return None
        try:
            packet = parse_packet(plain)
        except ParseError:
            self.malformed += 1
            return None
        if packet.payload_type not in self._formats and packet.payload_type != _COMFORT_NOISE:
            self.malformed += 1
            return None
        if latch.accept(source, now) is Verdict.DROP:
            self.foreign += 1
            return None
        self.packets += 1
        self.octets += len(packet.payload)
        self._count(packet, now)
        return packet

    def is_event(self, packet: RtpPacket) -> bool:
        """Say whether a packet is one of a telephone event."""
        return packet.payload_type in self._events

    def hear(self, packet: RtpPacket) -> None:
        """Let a packet be heard when its time comes."""
        self._jitter.feed(
            packet.payload_type, packet.sequence, packet.timestamp, packet.ssrc, packet.payload, self._seconds()
        )

    def take(self) -> array[int] | None:
        """Give the next 20 ms; ``None`` if there is silence."""
        return self._jitter.take(self._seconds())

    def quality(self) -> Quality:
        """Say how it goes."""
        return self._quality.snapshot()

    def interval(self) -> Received | None:
        """Give what a report is to say; ``None`` if nothing came."""
        quality = self._quality.snapshot()
        if quality.ssrc is None:
            return None
        expected, lost = quality.expected - self._reported[0], quality.lost - self._reported[1]
        self._reported = (quality.expected, quality.lost)
        rate = next((codec.clock_rate for codec in CODECS.values() if codec.payload_type == quality.payload_type), 8000)
        return Received(
            ssrc=quality.ssrc,
            fraction_lost=max(0.0, min(1.0, lost / expected)) if expected > 0 else 0.0,
            lost=quality.lost,
            highest_sequence=self._highest & 0xFFFFFFFF,
            jitter_units=round((quality.jitter or 0.0) * rate),
        )

    def _count(self, packet: RtpPacket, now: float) -> None:
        codec = CODECS.get(self._formats.get(packet.payload_type, "").partition("/")[0])
        second_octet = packet.marker << 7 | (_COMFORT_NOISE if codec is None else codec.payload_type)
        self._quality.packet(second_octet, packet.sequence, packet.timestamp, packet.ssrc, now)
        if packet.ssrc != self._ssrc:
            self._ssrc, self._highest = packet.ssrc, packet.sequence
        ahead = (packet.sequence - self._highest) & 0xFFFF
        if ahead < 0x8000:
            self._highest += ahead

    def _format(self, payload_type: int) -> StreamFormat:
        """Give the format of a payload type; decoders are made when their first packet comes."""
        encoding = self._formats.get(payload_type, "")
        name = encoding.partition("/")[0]
        codec = CODECS.get(name)
        if codec is None:
            return StreamFormat(clock_rate=clock_rate_of(encoding))
        made = self._made.get(name)
        if made is None:
            try:
                decode = self._decoders[name]()
            except (KeyError, MissingCodecError) as error:
                self._log.warn("{encoding} cannot be heard: {error}", encoding=encoding, error=error)
                return StreamFormat(clock_rate=codec.clock_rate)
            made = StreamFormat(clock_rate=codec.clock_rate, decode=decode, is_octet_wise=codec.is_octet_wise)
            self._made[name] = made
        return made

    def close(self) -> None:
        """Forget everything but what was counted."""
        self._late += self._jitter.late
        self._jitter = JitterBuffer(formats=_nothing)
        self._made.clear()


def _nothing(payload_type: int) -> StreamFormat:
    """Nothing is heard."""
    return StreamFormat()
