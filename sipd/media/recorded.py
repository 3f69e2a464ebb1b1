"""What goes into the file of a recording: the sound of two legs, or all their packets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from sipd.errors import MissingCodecError, ParseError
from sipd.media.audio import DecoderFactory
from sipd.media.latch import Address
from sipd.rtp import pcap
from sipd.rtp.g711 import SAMPLE_RATE
from sipd.rtp.playout import Playout, StreamFormat
from sipd.rtp.rtcp import is_rtcp
from sipd.rtp.samples import interleave
from sipd.rtp.wave import WaveFormat, little_endian

#: Encodings that need no ``a=rtpmap``, for a leg that was described without them (RFC 3551 section 6).
_STATIC = {0: "pcmu/8000", 8: "pcma/8000", 9: "g722/8000", 13: "cn/8000"}
#: Encodings that are silent by their nature.
_SOUNDLESS = frozenset(("cn", "telephone-event"))
_OCTET_WISE = frozenset(("pcmu", "pcma"))
_CLOCK_RATES = range(1000, 192001)
#: Reasons for silence that one recording reports.
_REPORT_LIMIT = 8

_STEREO = WaveFormat(channels=2, sample_rate=SAMPLE_RATE)
_FRAME_OCTETS = _STEREO.frame_octets

_PCAP_BLOCK_OCTETS = 16384

Event = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedLeg:
    """What a recording has to know of a leg.

    Args:
        channel: 0 for left, 1 for right.
        encodings: by payload type what it sends, in lower case (``opus/48000/2``), as `sipd.sdp.codecs.encodings`
            gives.
        remote: where its RTP comes from; for pcap only, as are the others.
        local: where it comes to.
        remote_rtcp: where its RTCP comes from; ``None`` if that is where RTP comes from.
        local_rtcp: where it comes to; the same.

    Raises:
        ValueError: there is no such channel.
    """

    channel: int
    encodings: Mapping[int, str] = field(default_factory=dict)
    remote: Address = ("0.0.0.0", 0)
    local: Address = ("0.0.0.0", 0)
    remote_rtcp: Address | None = None
    local_rtcp: Address | None = None

    def __post_init__(self) -> None:
        if self.channel not in (0, 1):
            raise ValueError(f"channel {self.channel} of a recording of two")


class Content(Protocol):
    """What is collected until it is written."""

    @property
    def is_full(self) -> bool:
        """Whether it should be written now."""

    @property
    def size_octets(self) -> int:
        """What the file would have by now, without what was dropped."""

    def longest(self, size_octets: int) -> float:
        """Give the seconds after which a file cannot but be larger than that."""

    def header(self, size_octets: int | None) -> bytes:
        """Give what stands at the beginning of the file; see `WaveFormat.header`."""

    def describe(self, leg: str, description: RecordedLeg) -> None:
        """See `Recording.describe`."""

    def take(self, leg: str, data: bytes, arrival: float) -> None:
        """Take a datagram."""

    def blocks(self, until: float) -> Iterator[tuple[int, bytes]]:
        """Give what came before that time, and is not given yet: octets of zero, and then data."""

    def dropped(self, zeros: int, data: bytes) -> None:
        """Take note that a block, the last that was given, cannot be written."""

    def rest(self) -> int:
        """Give the octets of zero that end the file."""


class Sound:
    """Two legs as the two channels of 16-bit PCM at 8000 Hz.

    Args:
        start: the time of the first frame.
        decoders: by the name of the encoding.
        event: called with ``recording-silent`` when a leg sends what cannot be decoded.
    """

    def __init__(self, start: float, decoders: Mapping[str, DecoderFactory], event: Event) -> None:
        self._start = start
        self._decoders = decoders
        self._event = event
        self._playouts = tuple(Playout(start=start, formats=partial(self._format, channel)) for channel in (0, 1))
        self._legs: list[tuple[str, RecordedLeg] | None] = [None, None]
        self._channels: dict[str, Playout] = {}
        #: Frames that were given or owed, and those that are owed.
        self._place = 0
        self._silence = 0
        self._reported: set[str] = set()

    @property
    def is_full(self) -> bool:
        """See `Content`. It is written by time alone."""
        return False

    @property
    def size_octets(self) -> int:
        """See `Content`."""
        return self._place * _FRAME_OCTETS + _STEREO.header_octets

    def longest(self, size_octets: int) -> float:
        """See `Content`."""
        return min(size_octets, _STEREO.size_limit_octets) / (_FRAME_OCTETS * SAMPLE_RATE)

    def header(self, size_octets: int | None) -> bytes:
        """See `Content`."""
        return _STEREO.header(None if size_octets is None else size_octets - size_octets % _FRAME_OCTETS)

    def describe(self, leg: str, description: RecordedLeg) -> None:
        """See `Recording.describe`."""
        self._legs = [None if known is not None and known[0] == leg else known for known in self._legs]
        self._legs[description.channel] = (leg, description)
        self._channels = {
            known[0]: playout for known, playout in zip(self._legs, self._playouts, strict=True) if known is not None
        }
        self._playouts[description.channel].forget_formats()

    def take(self, leg: str, data: bytes, arrival: float) -> None:
        """See `Content`. Only RTP is heard."""
        playout = self._channels.get(leg)
        if playout is None or is_rtcp(data):
            return
        try:
            playout.feed_datagram(data, arrival)
        except ParseError:
            return  # DTLS, STUN, or nothing known

    def blocks(self, until: float) -> Iterator[tuple[int, bytes]]:
        """See `Content`."""
        place = round((until - self._start) * SAMPLE_RATE)
        count = place - self._place
        if count <= 0:
            return
        self._place = place
        left, right = (playout.take(place) for playout in self._playouts)
        frames = interleave(left, right)
        silence, self._silence = self._silence, count - len(frames) // 2
        if frames:
            yield silence * _FRAME_OCTETS, little_endian(frames).tobytes()
        else:
            self._silence += silence

    def dropped(self, zeros: int, data: bytes) -> None:
        """See `Content`. There is silence instead: the rest keeps its place."""
        self._silence += (zeros + len(data)) // _FRAME_OCTETS

    def rest(self) -> int:
        """See `Content`."""
        silence, self._silence = self._silence, 0
        return silence * _FRAME_OCTETS

    def _format(self, channel: int, payload_type: int) -> StreamFormat:
        """Find out what a payload type is in a channel, and report it if it cannot be heard."""
        known = self._legs[channel]
        if known is None:
            return StreamFormat()
        leg, description = known
        encoding = description.encodings.get(payload_type) or _STATIC.get(payload_type, "")
        name, _, parameters = encoding.partition("/")
        clock, _, _ = parameters.partition("/")
        clock_rate = int(clock) if clock.isdecimal() and int(clock) in _CLOCK_RATES else SAMPLE_RATE
        if name in _SOUNDLESS:
            return StreamFormat()
        factory = self._decoders.get(name)
        if factory is None:
            self._report(leg, f"no decoder for {encoding or f'payload type {payload_type}'}")
            return StreamFormat()
        try:
            return StreamFormat(clock_rate=clock_rate, decode=factory(), is_octet_wise=name in _OCTET_WISE)
        except MissingCodecError as error:
            self._report(leg, f"{encoding}: {error}")
            return StreamFormat()

    def _report(self, leg: str, reason: str) -> None:
        text = f"leg {leg} is silent in the recording: {reason}"
        if text not in self._reported and len(self._reported) < _REPORT_LIMIT:
            self._reported.add(text)
            self._event("recording-silent", text)


class PacketLog:
    """All datagrams as a pcap file.

    Args:
        offset: what is added to a time of arrival to get the seconds since 1970.
    """

    def __init__(self, offset: float) -> None:
        self._offset = offset
        self._legs: dict[str, RecordedLeg] = {}
        self._records: list[bytes] = []
        self._waiting_octets = 0
        self._size_octets = len(pcap.FILE_HEADER)

    @property
    def is_full(self) -> bool:
        """See `Content`."""
        return self._waiting_octets >= _PCAP_BLOCK_OCTETS

    @property
    def size_octets(self) -> int:
        """See `Content`."""
        return self._size_octets

    def longest(self, size_octets: int) -> float:
        """See `Content`. Silence takes no room here."""
        return float("inf")

    def header(self, size_octets: int | None) -> bytes:
        """See `Content`."""
        return pcap.FILE_HEADER

    def describe(self, leg: str, description: RecordedLeg) -> None:
        """See `Recording.describe`."""
        self._legs[leg] = description

    def take(self, leg: str, data: bytes, arrival: float) -> None:
        """See `Content`."""
        known = self._legs.get(leg)
        if known is None:
            return
        source, destination = known.remote, known.local
        if is_rtcp(data):
            source, destination = known.remote_rtcp or source, known.local_rtcp or destination
        record = pcap.datagram_record(arrival + self._offset, source, destination, data)
        self._records.append(record)
        self._waiting_octets += len(record)
        self._size_octets += len(record)

    def blocks(self, until: float) -> Iterator[tuple[int, bytes]]:
        """See `Content`. Nothing is held back: the order is that of arrival."""
        if self._records:
            data = b"".join(self._records)
            self._records.clear()
            self._waiting_octets = 0
            yield 0, data

    def dropped(self, zeros: int, data: bytes) -> None:
        """See `Content`. They are not in the file."""
        self._size_octets -= len(data)

    def rest(self) -> int:
        """See `Content`."""
        return 0
