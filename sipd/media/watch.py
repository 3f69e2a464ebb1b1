"""What a relay learns of a stream while it relays: what comes, how well, and what the parties report of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.errors import ParseError
from sipd.rtp.dtmf import DigitReceiver
from sipd.rtp.emodel import equipment_of, estimate_mos
from sipd.rtp.packet import parse_packet
from sipd.rtp.quality import StreamQuality
from sipd.rtp.roundtrip import RoundTrip
from sipd.rtp.rtcp import parse_compound

if TYPE_CHECKING:
    from sipd.media.stream import RelayStream
    from sipd.media.terms import Payloads

#: What a `StreamQuality` counts, as `StreamStatistics` calls it.
_COUNTED = ("lost", "late", "duplicates", "bursts", "ssrc_changes")

_SSRC_CHANGES = _COUNTED.index("ssrc_changes")

#: Reports of a stream are read this far apart, in seconds, or they would be a way to keep the relay busy.
_REPORT_PAUSE = 0.1

#: More digits than that within a second are not told of: nobody can press them, and each is work for others.
_DIGITS_PER_SECOND = 50


class StreamWatch:
    """Watches one stream of one leg.

    Args:
        stream: the stream.

    Attributes:
        payload_type: that of the last packet; `look_at` has to be told before `packet` is when it is another one. It
            is none while telephone events come: each of them is looked at.
        is_event: whether the last one was a telephone event.
        round_trips: between this leg and the one that it is connected with; ``None`` if nobody measures.
    """

    __slots__ = (
        "_base",
        "_digits",
        "_heard",
        "_heard_since",
        "_is_offloaded",
        "_is_renumbering",
        "_last_report",
        "_payloads",
        "_quality",
        "_stream",
        "is_event",
        "payload_type",
        "risen",
        "round_trips",
    )  # fmt: skip

    def __init__(self, stream: RelayStream) -> None:
        self._stream = stream
        self.payload_type = -1
        self.is_event = False
        self.round_trips: RoundTrip | None = None
        #: Packets that came here although somebody else forwards and counts.
        self.risen = 0
        self._is_offloaded = False
        self._last_report = -_REPORT_PAUSE
        self._payloads: Payloads | None = None
        #: Begun with the first telephone event; it outlives new terms, since an event may.
        self._digits: DigitReceiver | None = None
        #: How many digits were told of in the second that began then.
        self._heard = 0
        self._heard_since = 0.0
        self._is_renumbering = False
        #: Begun with the first packet.
        self._quality: StreamQuality | None = None
        #: What the statistics had counted before that.
        self._base: tuple[int, ...] = ()

    @property
    def ssrc_changes(self) -> int:
        """How often another source took over, as far as that is counted by now."""
        if self._quality is None:
            return self._stream.statistics.ssrc_changes
        return self._base[_SSRC_CHANGES] + self._quality.ssrc_changes

    def packet(self, second_octet: int, sequence: int, timestamp: int, ssrc: int, arrival: float) -> None:
        """Take an RTP packet of `payload_type`, or one that was looked at; see `StreamQuality.packet`."""
        quality = self._quality
        if quality is not None:
            quality.packet(second_octet, sequence, timestamp, ssrc, arrival)
        elif self._is_offloaded:
            # It came up here though somebody else forwards the stream.
            self.risen += 1

    def restart(self) -> None:
        """Take note that something else is agreed on: what is known so far is counted."""
        self.count()
        self._quality = None
        self.payload_type = -1

    def offload(self, is_so: bool) -> None:
        """Take note that somebody else forwards and counts; what comes here all the same is the rest."""
        self._is_offloaded = is_so
        self.risen = 0
        self.restart()

    def look_at(self, payload_type: int, packet: bytes | memoryview, now: float) -> int:
        """Take note of a packet whose payload type is not the last one's, or that is a telephone event.

        Whoever is told of a digit may change anything, even end the call.

        Returns:
            What the other leg calls that payload type.
        """
        stream, payloads = self._stream, self._payloads
        assert stream.terms is not None
        if payloads is None or (self._quality is None and not self._is_offloaded):
            payloads = self._payloads = stream.terms.payloads
        if self._quality is None and not self._is_offloaded:
            self._base = tuple(getattr(stream.statistics, name) for name in _COUNTED)
            self._quality = StreamQuality(payloads.rates)
        self.is_event = payload_type in payloads.events
        if self.is_event:
            self.payload_type = -1
            number = payloads.renumbered.get(payload_type, payload_type)
            if number != payload_type and not self._is_renumbering:
                self._is_renumbering = True
                stream.report(
                    "payload-type",
                    f"{stream.leg}/{stream.index} sends telephone events as {payload_type}; passed on as {number}",
                )
            self._hear(packet, now)
            return number
        self.payload_type = stream.statistics.payload_type = payload_type
        if payload_type not in payloads.encodings:
            # The next one is looked at again, and counted.
            self.payload_type = -1
            stream.statistics.unexpected += 1
        return payload_type

    def report(self, octets: bytes, now: float) -> None:
        """Take RTCP that the leg sends and that is passed on to the other one at this moment."""
        if self.round_trips is None or not now - self._last_report >= _REPORT_PAUSE:
            return
        self._last_report = now
        try:
            self.round_trips.take(self._stream.leg, parse_compound(octets), now)
        except ParseError:
            return  # encrypted, or rubbish: it is passed on all the same

    def count(self) -> None:
        """Bring the statistics of the stream up to date."""
        statistics = self._stream.statistics
        trips = self.round_trips
        if trips is not None:
            said = trips.report(self._stream.leg)
            statistics.round_trip = said.round_trip or 0.0
            statistics.reported_lost = -1.0 if said.fraction_lost is None else said.fraction_lost
        if self._quality is not None:
            known = self._quality.snapshot()
            counts = (known.lost, known.reordered, known.duplicates, known.bursts, known.ssrc_changes)
            for name, before, now in zip(_COUNTED, self._base, counts, strict=True):
                setattr(statistics, name, before + now)
            statistics.ssrc = known.ssrc or 0
            statistics.jitter = known.jitter or 0.0
            statistics.jitter_max = max(statistics.jitter_max, known.jitter_maximum or 0.0)
            statistics.burst_length = known.burst_length
            self._estimate(known.burst_ratio)
        elif self._is_offloaded:
            self._estimate(1.0)

    def _hear(self, packet: bytes | memoryview, now: float) -> None:
        """Tell of the digit that begins with a packet, if one does. Explanations must not contain it: it is secret."""
        if self._digits is None:
            self._digits = DigitReceiver()
        try:
            digit = self._digits.feed(parse_packet(bytes(packet)))
        except ParseError:
            return
        if digit is None:
            return
        if not 0.0 <= now - self._heard_since < 1.0:
            self._heard, self._heard_since = 0, now
        self._heard += 1
        if self._heard <= _DIGITS_PER_SECOND:
            self._stream.report("digit", f"{self._stream.leg} {digit}")

    def _estimate(self, burst_ratio: float) -> None:
        """Estimate what the other party thinks of what it hears."""
        statistics, payloads, trips = self._stream.statistics, self._payloads, self.round_trips
        expected = statistics.packets + statistics.lost
        if statistics.media != "audio" or payloads is None or not expected:
            return
        encoding = payloads.encodings.get(statistics.payload_type, "")
        statistics.mos = round(
            estimate_mos(
                equipment_of(encoding.partition("/")[0]),
                loss=min(1.0, max(0.0, statistics.lost / expected)),
                burst_ratio=burst_ratio,
                round_trip=(trips.between if trips is not None else None) or 0.0,
                jitter=statistics.jitter,
            ),
            2,
        )
