"""What a receiver learns of one RTP stream: RFC 3550 appendices A.1, A.3 and A.8, RFC 3611 section 4.7.2.

All of it is taken from the header and the time of arrival, so a relay can tell it of media that it does not understand.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass

#: RFC 3550 appendix A.1: what is further ahead, or further behind, belongs to another run of numbers.
_MAXIMUM_DROPOUT = 3000
_MAXIMUM_MISORDER = 100

#: The last places of which is known what came: enough for any reordering that a jitter buffer makes good.
_WINDOW = 64
_WINDOW_MASK = (1 << _WINDOW) - 1

#: RFC 3611 section 4.7.2: so many packets received in a row end a burst.
_MINIMUM_GAP = 16

#: Timestamps that are further apart, as a part of a second, have silence between them: no packet is as long.
_TALKSPURT_PARTS = 4

#: Comfort noise (RFC 3389 section 4), and the number that was used for it before.
_COMFORT_NOISE = (13, 19)

_CYCLE = 1 << 16
_SEQUENCES = _CYCLE - 1
_TIMESTAMPS = (1 << 32) - 1
_PAST = 1 << 31
_MARKER = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What is known of a stream at one moment, all its sources together. Times are seconds.

    Args:
        ssrc: of the source at the moment; ``None`` if nothing came.
        payload_type: of the last packet in order; ``None`` if nothing came.
        received: distinct packets.
        expected: by the sequence numbers.
        lost: expected and not received.
        duplicates: received once more.
        reordered: received after a later one.
        strays: left out of all other counts: too late to tell what they are, or alone of their source or sequence.
        ssrc_changes: how often another source took over.
        restarts: how often the numbers of a source began anew.
        jitter: interarrival jitter (RFC 3550 section 6.4.1); ``None`` if there was nothing that it could be told from.
        jitter_maximum: the highest that it was.
        bursts: periods with losses that less than 16 packets in a row lie between, two losses at least.
        burst_length: packets that a burst has on average, lost or not; 0.0 without a burst.
        burst_density: fraction of the packets within bursts that is lost.
        gap_density: fraction of the packets outside of bursts that is lost.
        loss_runs: how often one or more packets in a row were lost.
        longest_interruption: longest time between packets in order, less the silence that the sender announced.
        first_arrival: of the first packet; ``None`` if nothing came.
        last_arrival: of the last packet in order.
    """

    ssrc: int | None
    payload_type: int | None
    received: int
    expected: int
    lost: int
    duplicates: int
    reordered: int
    strays: int
    ssrc_changes: int
    restarts: int
    jitter: float | None
    jitter_maximum: float | None
    bursts: int
    burst_length: float
    burst_density: float
    gap_density: float
    loss_runs: int
    longest_interruption: float
    first_arrival: float | None
    last_arrival: float | None

    @property
    def loss(self) -> float:
        """The fraction that is lost, 0.0 to 1.0."""
        return self.lost / self.expected if self.expected else 0.0

    @property
    def burst_ratio(self) -> float:
        """How much longer runs of losses are than if the same loss were random (ITU-T G.107 section 7.5); 1.0 is that.

        Less than that is taken as random.
        """
        return max(1.0, self.lost / self.loss_runs * (1.0 - self.loss)) if self.loss_runs else 1.0


class _Losses:
    """What is lost for good, place by place in ascending order, as bursts and gaps (RFC 3611 section 4.7.2)."""

    __slots__ = ("_cluster", "_first", "_last", "burst_length", "burst_lost", "bursts", "lost", "runs")

    def __init__(self) -> None:
        self.lost = self.runs = self.bursts = self.burst_length = self.burst_lost = 0
        #: Losses so near to each other that they are one burst if there are two: first and last place, how many.
        self._first = self._last = self._cluster = 0

    def mark(self, bits: int, newest: int) -> None:
        """Take losses: bit 0 is the place ``newest``, bit 1 the one before it."""
        while bits:
            oldest = bits.bit_length()
            after = (bits ^ ((1 << oldest) - 1)).bit_length()
            self._lose(newest - oldest + 1, oldest - after)
            bits &= (1 << after) - 1

    def close(self) -> None:
        """Take note that what was before has nothing to do with what follows."""
        if self._cluster > 1:
            self.bursts += 1
            self.burst_length += self._last - self._first + 1
            self.burst_lost += self._cluster
        self._cluster = 0

    def _lose(self, place: int, count: int) -> None:
        """Take a run of losses."""
        if not self._cluster or place > self._last + _MINIMUM_GAP:
            self.close()
            self._first = place
            self.runs += 1
        elif place > self._last + 1:
            self.runs += 1
        self._last = place + count - 1
        self._cluster += count
        self.lost += count


class StreamQuality:
    """Watches the packets of one stream, whose source may change. Memory is bounded, whatever comes.

    A packet of another source, or of numbers far from the last ones, is on probation: only if the next one follows it
    and none of the present source comes between them, the two begin a new source (or a new run of numbers). So neither
    one forged packet nor a second source beside the first changes what is known.

    Jitter is taken from packets in order of one talkspurt, lost ones between them or not. Left out is what says nothing
    about the network: the first packet with a marker, of another payload type or after more than a quarter of a second
    of timestamps; a timestamp that does not go on (telephone-events, packets of one video frame); comfort noise; what
    comes late or twice; payload types whose clock rate is not known. The next packet is compared with it again.

    For the longest interruption the silence that timestamps tell of in these places is not counted. Where the clock
    rate is not known, silence is believed to be as long as it took.

    Args:
        clock_rates: of each payload type, in hertz; 0 or none if it is not known. Payload types of telephone-events and
            of comfort noise are better left out.
    """

    __slots__ = (
        "_anchor", "_arrival", "_base", "_candidate_head", "_candidate_sequence", "_candidate_ssrc",
        "_clock_rates", "_cycle", "_duplicates", "_expected", "_first_arrival", "_interruption", "_is_paused",
        "_jitter", "_jitter_maximum", "_limit", "_losses", "_missing", "_next", "_payload_type", "_period",
        "_reordered", "_restarts", "_ssrc", "_ssrc_changes", "_strays", "_timestamp",
    )  # fmt: skip

    def __init__(self, clock_rates: Mapping[int, int]) -> None:
        self._clock_rates = dict(clock_rates)
        self._ssrc = -1
        self._payload_type = -1
        self._timestamp = 0
        self._arrival = 0.0
        self._first_arrival: float | None = None
        #: The sequence number that is in order, without its wrap: 65536 after 65535. With `_cycle` added it is the
        #: place of the next packet in this run; `_base` is that of the first.
        self._next = -1
        self._cycle = 0
        self._base = 0
        #: Places that were not received: bit 0 is the one before `_anchor`. Packets in order do not touch it.
        self._missing = 0
        self._anchor = 0
        self._losses = _Losses()
        #: Of the sources and runs before this one.
        self._expected = 0
        self._duplicates = self._reordered = self._strays = self._ssrc_changes = self._restarts = 0
        self._candidate_ssrc = self._candidate_sequence = self._candidate_head = -1
        #: Seconds in one unit of the timestamp, and units that packets of one talkspurt are apart at most; 0 if the
        #: clock rate is not known.
        self._period = 0.0
        self._limit = 0
        self._jitter = 0.0
        self._jitter_maximum = -1.0
        self._interruption = 0.0
        self._is_paused = False

    def packet(self, second_octet: int, sequence: int, timestamp: int, ssrc: int, arrival: float) -> bool:
        """Take note of a packet.

        Args:
            second_octet: marker and payload type.
            sequence: 0 to 65535.
            timestamp: 32 bits.
            ssrc: 32 bits.
            arrival: the time, on a clock that does not go back.

        Returns:
            Whether it is one of the present source that did not come before.
        """
        if sequence == self._next and second_octet == self._payload_type and ssrc == self._ssrc:
            elapsed = timestamp - self._timestamp
            if 0 < elapsed <= self._limit:
                waited = arrival - self._arrival
                if waited > self._interruption:
                    self._interruption = waited
                difference = waited - elapsed * self._period
                jitter = self._jitter
                if difference < 0.0:
                    jitter -= (difference + jitter) * 0.0625
                else:
                    jitter += (difference - jitter) * 0.0625
                self._jitter = jitter
                if jitter > self._jitter_maximum:
                    self._jitter_maximum = jitter
                self._next = sequence + 1
                self._timestamp = timestamp
                self._arrival = arrival
                return True
        return self._take(second_octet, sequence, timestamp, ssrc, arrival)

    def pause(self) -> None:
        """Take note that the sender may stop for a while, as on hold: what it takes to come back is no interruption."""
        self._is_paused = True
        self._limit = 0

    @property
    def ssrc_changes(self) -> int:
        """How often another source took over; without the price of a `snapshot`."""
        return self._ssrc_changes

    def snapshot(self) -> Quality:
        """Say what is known by now."""
        has_begun = self._first_arrival is not None
        losses = copy(self._losses)
        losses.mark(self._missing, self._anchor - 1)
        losses.close()
        expected = self._expected + self._cycle + self._next - self._base if has_begun else 0
        outside = expected - losses.burst_length
        has_jitter = self._jitter_maximum >= 0.0
        return Quality(
            ssrc=self._ssrc if has_begun else None,
            payload_type=self._payload_type if has_begun else None,
            received=expected - losses.lost,
            expected=expected,
            lost=losses.lost,
            duplicates=self._duplicates,
            reordered=self._reordered,
            strays=self._strays,
            ssrc_changes=self._ssrc_changes,
            restarts=self._restarts,
            jitter=self._jitter if has_jitter else None,
            jitter_maximum=self._jitter_maximum if has_jitter else None,
            bursts=losses.bursts,
            burst_length=losses.burst_length / losses.bursts if losses.bursts else 0.0,
            burst_density=losses.burst_lost / losses.burst_length if losses.burst_length else 0.0,
            gap_density=(losses.lost - losses.burst_lost) / outside if outside else 0.0,
            loss_runs=losses.runs,
            longest_interruption=self._interruption,
            first_arrival=self._first_arrival,
            last_arrival=self._arrival if has_begun else None,
        )

    def _take(self, second_octet: int, sequence: int, timestamp: int, ssrc: int, arrival: float) -> bool:
        """Take any packet: what is not simply the next one of a talkspurt, and that too."""
        if self._first_arrival is None:
            self._first_arrival = arrival
            self._begin(second_octet, sequence, timestamp, ssrc, arrival, base=sequence)
            return True
        ahead = (sequence - self._next) & _SEQUENCES
        if ssrc != self._ssrc or _MAXIMUM_DROPOUT <= ahead < _CYCLE - _MAXIMUM_MISORDER:
            return self._try(second_octet, sequence, timestamp, ssrc, arrival)
        if ahead >= _MAXIMUM_DROPOUT:
            return self._take_late(_CYCLE - ahead)
        if ahead:
            self._skip(ahead)
        self._advance(second_octet, timestamp, arrival, ahead + 1)
        following = self._next + ahead + 1
        if following > _CYCLE:
            self._cycle += _CYCLE
            following -= _CYCLE
        self._next = following
        return True

    def _begin(self, second_octet: int, sequence: int, timestamp: int, ssrc: int, arrival: float, *, base: int) -> None:
        """Begin a source or a run of numbers with this packet, or with the one at ``base`` before it."""
        self._ssrc = ssrc
        self._base = base
        self._cycle = 0
        self._next = self._anchor = sequence + 1
        self._missing = 0
        self._candidate_ssrc = -1
        self._jitter = 0.0
        self._use(second_octet & ~_MARKER)
        self._timestamp, self._arrival = timestamp, arrival
        self._is_paused = False

    def _try(self, second_octet: int, sequence: int, timestamp: int, ssrc: int, arrival: float) -> bool:
        """Take a packet that fits nowhere: the second one in a row begins something new."""
        head = self._cycle + self._next
        if (ssrc, sequence, head) != (self._candidate_ssrc, self._candidate_sequence, self._candidate_head):
            self._candidate_ssrc, self._candidate_head = ssrc, head
            self._candidate_sequence = (sequence + 1) & _SEQUENCES
            self._strays += 1
            return False
        if ssrc == self._ssrc:
            self._restarts += 1
        else:
            self._ssrc_changes += 1
        self._strays -= 1
        self._losses.mark(self._missing, self._anchor - 1)
        self._losses.close()
        self._expected += head - self._base
        if not self._is_paused:
            self._interruption = max(self._interruption, arrival - self._arrival)
        self._begin(second_octet, sequence, timestamp, ssrc, arrival, base=sequence - 1)
        return True

    def _take_late(self, behind: int) -> bool:
        """Take a packet that is that many places behind the next one."""
        if behind > _WINDOW:
            self._strays += 1
            return False
        self._align()
        place = self._anchor - behind
        bit = 1 << (behind - 1)
        if place < self._base:
            # The first that came was not the first that was sent; those between the two may still come.
            self._missing |= bit - (1 << (self._anchor - self._base))
            self._base = place
        elif self._missing & bit:
            self._missing ^= bit
        else:
            self._duplicates += 1
            return False
        self._reordered += 1
        return True

    def _skip(self, count: int) -> None:
        """Take note that so many packets are missing now, before the one that came."""
        self._align()
        missing = self._missing << (count + 1) | ((1 << count) - 1) << 1
        self._anchor += count + 1
        self._losses.mark(missing >> _WINDOW, self._anchor - 1 - _WINDOW)
        self._missing = missing & _WINDOW_MASK

    def _align(self) -> None:
        """Move the window on past the packets that came in order."""
        anchor = self._anchor
        self._anchor = self._cycle + self._next
        passed = self._anchor - anchor
        if passed >= _WINDOW:
            self._losses.mark(self._missing, anchor - 1)
            self._missing = 0
        else:
            missing = self._missing << passed
            self._losses.mark(missing >> _WINDOW, self._anchor - 1 - _WINDOW)
            self._missing = missing & _WINDOW_MASK

    def _advance(self, second_octet: int, timestamp: int, arrival: float, packets: int) -> None:
        """Measure the time to a packet that is so many places after the one before; compare with it from now on."""
        payload_type = second_octet & ~_MARKER
        elapsed = (timestamp - self._timestamp) & _TIMESTAMPS
        waited = arrival - self._arrival
        begins_talkspurt = (
            second_octet != self._payload_type or payload_type in _COMFORT_NOISE or elapsed > self._limit * packets > 0
        )
        if self._is_paused or (begins_talkspurt and not self._period):
            waited = 0.0
        elif begins_talkspurt and elapsed < _PAST:
            waited -= elapsed * self._period
        elif self._limit and 0 < elapsed < _PAST:
            self._jitter += (abs(waited - elapsed * self._period) - self._jitter) / 16
            self._jitter_maximum = max(self._jitter_maximum, self._jitter)
        self._interruption = max(self._interruption, waited)
        if self._is_paused or payload_type != self._payload_type:
            self._use(payload_type)
            self._is_paused = False
        self._timestamp, self._arrival = timestamp, arrival

    def _use(self, payload_type: int) -> None:
        """Count time by the clock of that payload type."""
        self._payload_type = payload_type
        rate = self._clock_rates.get(payload_type, 0)
        self._limit = 0 if payload_type in _COMFORT_NOISE else max(0, rate // _TALKSPURT_PARTS)
        if rate > 0:
            self._period = 1 / rate
