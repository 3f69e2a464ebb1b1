"""Puts the packets of one stream on to a time line, for a recorder: late, lost and silent ones included.

A place on the time line is a number of samples since its beginning. The first packet of a source is put where it
arrived, and the others where their timestamps say, relative to the first: so jitter does no harm. Lost packets, pauses
of the speaker (no packets, or comfort noise) and telephone events leave silence. Two streams on time lines that begin
together are aligned as they arrived.

When the timestamps cannot be believed, the next packet is put where it arrived: another source (SSRC), timestamps that
jump while no time passes, or that stand still. Over hours the clock of the sender runs away from the clock here: it is
followed in steps, of which each is a cut or a pause as long as the tolerance. What delays packets can only make them
late, so the least delayed one of two seconds says how far the two clocks are apart (RFC 3550 section 6.4.1 has
the same reasoning for jitter).
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable
from dataclasses import dataclass

from sipd.errors import ParseError
from sipd.rtp.packet import parse_packet
from sipd.rtp.samples import Decoder

#: Seconds by which a packet may be ahead of its arrival, or behind, before its timestamp is not believed any more. What
#: lies further back than that is complete.
BELIEVED = 1.0
#: Seconds over which the least delayed packet is looked for, and how many packets have to be seen.
_SPAN = 2.0
_SPAN_PACKETS = 20
#: Packets that may wait; more are dropped.
_WAITING_LIMIT = 1000
#: Octets of one payload: more than a second of anything that is spoken.
_PAYLOAD_LIMIT = 16000
#: Timestamps are compared with one that is at most so far away.
_FAR = 1 << 30

_HEADER = struct.Struct("!BBHII")


@dataclass(slots=True, kw_only=True)
class StreamFormat:
    """What the packets of one payload type are.

    Args:
        clock_rate: units of the timestamp in a second.
        decode: gives samples at the rate of the time line; ``None`` for what is no sound, or cannot be decoded.
        is_octet_wise: each octet is one sample of the time line, whatever came before, and one unit of the timestamp.
    """

    clock_rate: int = 8000
    decode: Decoder | None = None
    is_octet_wise: bool = False


#: A packet on the time line: its place, the number of its arrival, its sequence number, its payload, its decoder, and
#: whether that is octet-wise.
_Waiting = tuple[int, int, int, bytes, Decoder, bool]


class Playout:
    """The time line of one stream.

    Give it packets as they come, and take the samples from time to time, at least each second, up to `BELIEVED` seconds
    ago. At most 1000 packets wait; what is beyond is dropped.

    Args:
        start: when the time line begins, by the clock that tells the arrival of packets.
        formats: gives the format of a payload type; asked once for each.
        sample_rate: of the time line.
        tolerance: seconds by which the sender's clock may be off before it is corrected.

    Attributes:
        packets: that were put on the time line.
        late: that came when their place had been taken already.
        dropped: that were too many, too large, or not decodable.
        restarts: how often a packet was put where it arrived, the first one included.
        corrections: how often the sender's clock was corrected.
    """

    def __init__(
        self,
        *,
        start: float,
        formats: Callable[[int], StreamFormat],
        sample_rate: int = 8000,
        tolerance: float = 0.06,
    ) -> None:
        self._start = start
        self._ask = formats
        self._formats: dict[int, StreamFormat] = {}
        self._rate = sample_rate
        self._tolerance = round(tolerance * sample_rate)
        self._believed = round(BELIEVED * sample_rate)
        #: Sorted.
        self._waiting: list[_Waiting] = []
        #: How far samples were taken, and those behind that are decoded already.
        self._taken = 0
        self._line = array("h")
        self._ssrc = -1
        self._clock_rate = 0
        self._anchor_timestamp = 0
        self._anchor_place = 0
        self._highest = 0
        #: The sequence number that would make the second of two packets that do not fit.
        self._next_misfit = -1
        #: The least delayed packet of the present span: how far it is ahead, in samples.
        self._lead = 0
        self._span_end = 0.0
        self._span_packets = 0
        self.packets = 0
        self.late = 0
        self.dropped = 0
        self.restarts = 0
        self.corrections = 0

    def forget_formats(self) -> None:
        """Ask for all formats anew: something else was agreed on."""
        self._formats.clear()

    def feed_datagram(self, data: bytes, arrival: float) -> None:
        """Take an RTP packet as it came; see `feed`.

        Raises:
            ParseError: it is none.
        """
        if len(data) > 12 and data[0] == 0x80:
            _, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
            self.feed(second & 0x7F, sequence, timestamp, ssrc, data[12:], arrival)
            return
        packet = parse_packet(data)
        self.feed(packet.payload_type, packet.sequence, packet.timestamp, packet.ssrc, packet.payload, arrival)

    def feed(self, payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, arrival: float) -> None:
        """Take a packet.

        Args:
            payload_type: as `StreamFormat` is asked for.
            sequence: 16 bits.
            timestamp: 32 bits.
            ssrc: 32 bits.
            payload: without padding.
            arrival: seconds, by the same clock as ``start``.
        """
        format_ = self._formats.get(payload_type)
        if format_ is None:
            format_ = self._formats[payload_type] = self._ask(payload_type)
        decode = format_.decode
        if decode is None or not payload:
            return
        if len(self._waiting) >= _WAITING_LIMIT or len(payload) > _PAYLOAD_LIMIT:
            self.dropped += 1
            return
        arrived = int((arrival - self._start) * self._rate)
        if ssrc != self._ssrc or format_.clock_rate != self._clock_rate:
            self._ssrc, self._clock_rate = ssrc, format_.clock_rate
            place = self._restart(timestamp, arrived, arrival, sequence)
        else:
            place = self._place(timestamp)
            lead = place - arrived
            newer = (sequence - self._highest) & 0xFFFF
            if not -self._believed <= lead <= self._believed:
                if newer >= 0x8000 and sequence != self._next_misfit:
                    self._next_misfit = (sequence + 1) & 0xFFFF
                    self.late += 1
                    return
                place = self._restart(timestamp, arrived, arrival, sequence)
            else:
                if newer < 0x8000:
                    self._highest = sequence
                self._span_packets += 1
                if lead > self._lead:
                    self._lead = lead
                if arrival >= self._span_end and self._span_packets >= _SPAN_PACKETS:
                    self._end_span(arrival)
        # How long other codecs' payloads are is known when they are decoded.
        length = len(payload) if format_.is_octet_wise else self._rate
        if place + length <= self._taken:
            self.late += 1
            return
        self.packets += 1
        entry = (place, self.packets, sequence, payload, decode, format_.is_octet_wise)
        waiting = self._waiting
        if not waiting or place >= waiting[-1][0]:
            waiting.append(entry)
        else:
            insort(waiting, entry)

    def take(self, until: int) -> array[int]:
        """Give the samples from where they were taken up to before, up to another place.

        Returns:
            At most so many samples as there are between the two places; where there are less, silence follows.
        """
        count = until - self._taken
        if count <= 0:
            return array("h")
        ready = bisect_left(self._waiting, (until,))
        if ready:
            self._decode(self._waiting[:ready])
            del self._waiting[:ready]
        line = self._line
        self._taken = until
        if len(line) <= count:
            self._line = array("h")
            return line
        self._line = line[count:]
        del line[count:]
        return line

    def _place(self, timestamp: int) -> int:
        """Give the place of a timestamp, relative to the anchor."""
        advance = (timestamp - self._anchor_timestamp) & 0xFFFFFFFF
        if advance >= 0x80000000:
            advance -= 0x100000000
        if advance > _FAR:
            seconds = advance // self._clock_rate
            self._anchor_timestamp += seconds * self._clock_rate
            self._anchor_place += seconds * self._rate
            advance -= seconds * self._clock_rate
        return self._anchor_place + advance * self._rate // self._clock_rate

    def _restart(self, timestamp: int, arrived: int, arrival: float, sequence: int) -> int:
        """Put a packet where it arrived, and what follows relative to it."""
        self._anchor_timestamp, self._anchor_place = timestamp, arrived
        self._highest = sequence
        self._next_misfit = -1
        self._begin_span(arrival)
        self.restarts += 1
        return arrived

    def _end_span(self, arrival: float) -> None:
        """Correct the clock by the least delayed packet of a span, and begin the next one."""
        if not -self._tolerance <= self._lead <= self._tolerance:
            self._anchor_place -= self._lead
            self.corrections += 1
        self._begin_span(arrival)

    def _begin_span(self, arrival: float) -> None:
        self._lead = -self._believed
        self._span_end = arrival + _SPAN
        self._span_packets = 0

    def _decode(self, ready: list[_Waiting]) -> None:
        """Decode packets, in order, into the line. Packets of octets that follow each other are decoded together."""
        run: list[bytes] = []
        run_decode: Decoder | None = None
        run_place = run_end = 0
        last: tuple[int, int] | None = None
        for place, _, sequence, payload, decode, is_octet_wise in ready:
            if last == (place, sequence):
                self.packets -= 1  # a duplicate
                continue
            last = (place, sequence)
            if decode is run_decode and place == run_end:
                run.append(payload)
                run_end += len(payload)
                continue
            if run_decode is not None:
                self._put(run_place, run_decode, run)
                run_decode = None
            if is_octet_wise:
                run, run_decode, run_place, run_end = [payload], decode, place, place + len(payload)
            else:
                self._put(place, decode, [payload])
        if run_decode is not None:
            self._put(run_place, run_decode, run)

    def _put(self, place: int, decode: Decoder, payloads: list[bytes]) -> None:
        """Decode payloads that follow each other into the line; they replace what was there."""
        try:
            samples = decode(payloads[0] if len(payloads) == 1 else b"".join(payloads))
        except ParseError:
            self.dropped += len(payloads)
            return
        offset = place - self._taken
        if offset < 0:
            if offset + len(samples) <= 0:
                self.late += len(payloads)
                return
            del samples[:-offset]
            offset = 0
        line = self._line
        missing = offset - len(line)
        if missing > 0:
            line.frombytes(bytes(2 * missing))
        elif missing < 0:
            del line[offset:]
        line.extend(samples)
