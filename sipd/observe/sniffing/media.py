"""RTP streams as their packets tell (RFC 3550): who sends what to whom, how many packets, how many are missing."""

from __future__ import annotations

from dataclasses import dataclass

from sipd.errors import ParseError
from sipd.observe.sniffing.lines import host_port, moment
from sipd.observe.sniffing.sightings import Address, MediaSeen
from sipd.rtp.packet import parse_packet
from sipd.rtp.rtcp import is_rtcp

_Key = tuple[Address, Address, int]
_NUMBERS = 1 << 16
#: What is further away than this is no loss, but another beginning.
_MAX_GAP = 3000


@dataclass(slots=True, kw_only=True)
class RtpStream:
    """What one source sends to one address.

    Args:
        source: where from.
        destination: where to.
        ssrc: the source, 32 bits.
        payload_type: of its first packet.
        at: when that passed, seconds since 1970.
        last_at: when its last one did.
        highest: the highest sequence number, counted on beyond 65535.
        expected: so many packets there should be.
        packets: so many there were, each counted as often as it came.
    """

    source: Address
    destination: Address
    ssrc: int
    payload_type: int
    at: float
    last_at: float
    highest: int
    expected: int = 1
    packets: int = 1

    @property
    def lost(self) -> int:
        """How many are missing, repeated ones counted against them."""
        return max(0, self.expected - self.packets)

    def take(self, at: float, sequence: int) -> None:
        """Take the next packet."""
        self.last_at = at
        self.packets += 1
        ahead = (sequence - self.highest + _NUMBERS // 2) % _NUMBERS - _NUMBERS // 2
        if 0 < ahead <= _MAX_GAP:
            self.expected += ahead
            self.highest += ahead
        elif abs(ahead) > _MAX_GAP:
            self.expected += 1
            self.highest = sequence

    def line(self, at: float, event: str) -> str:
        """Say in one line that it begins or ends."""
        return f"{moment(at)} {host_port(self.source)} -> {host_port(self.destination)} RTP {event}: {self.describe()}"

    def describe(self) -> str:
        """Say what it is, and how it went so far."""
        text = f"payload type {self.payload_type}, source {self.ssrc:08x}"
        if self.packets > 1:
            text += f", {self.packets} packets in {self.last_at - self.at:.1f} s, {self.lost} lost"
        return text


class RtpStreams:
    """Tells streams apart. The time is that of the packets.

    Args:
        max_streams: at the same time; the packets of others are passed over.
        silence: in seconds; a stream that was silent for so long is over.
    """

    def __init__(self, *, max_streams: int = 4096, silence: float = 5.0) -> None:
        self._max_streams = max_streams
        self._silence = silence
        self._streams: dict[_Key, RtpStream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def take(self, seen: MediaSeen) -> RtpStream | None:
        """Take the next packet; give its stream if it is the first one. What is no RTP is passed over."""
        if is_rtcp(seen.data):
            return None
        try:
            packet = parse_packet(seen.data)
        except ParseError:
            return None
        key = (seen.source, seen.destination, packet.ssrc)
        stream = self._streams.pop(key, None)
        if stream is not None:
            stream.take(seen.at, packet.sequence)
            self._streams[key] = stream
            return None
        if len(self._streams) >= self._max_streams:
            return None
        stream = self._streams[key] = RtpStream(
            source=seen.source,
            destination=seen.destination,
            ssrc=packet.ssrc,
            payload_type=packet.payload_type,
            at=seen.at,
            last_at=seen.at,
            highest=packet.sequence,
        )
        return stream

    def take_ended(self, now: float) -> list[RtpStream]:
        """Give the streams that are over; forget them."""
        ended = []
        for key, stream in list(self._streams.items()):
            if now - stream.last_at < self._silence:
                break
            ended.append(self._streams.pop(key))
        return ended

    def finish(self) -> list[RtpStream]:
        """Give all that are left; forget them."""
        left = list(self._streams.values())
        self._streams.clear()
        return left
