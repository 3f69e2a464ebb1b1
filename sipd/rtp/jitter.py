"""Makes an even stream of sound out of packets that come unevenly: what a phone does before it plays them.

Packets have a place on a time line, by their timestamps, and a delay after which they are played. What delays a packet
can only make it late, so the least delayed one of the last seconds says when the others should have come, and the most
delayed one how long to wait for them. The delay grows at once when that is too short: a frame is made up. It shrinks in
pauses of the speaker, or frame by frame. Clocks that run at different speeds make the delay wander, and are followed in
the same way.

What is missing is made up from what was played last, fading out (RFC 3550 leaves that to the receiver).
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Callable

from sipd.errors import ParseError
from sipd.rtp.g711 import SAMPLE_RATE
from sipd.rtp.playout import BELIEVED, StreamFormat
from sipd.rtp.samples import Decoder

#: Samples over which what is made up fades out: 60 ms.
_FADE = 480
#: Packets that may wait; of more, the oldest is dropped.
_WAITING_LIMIT = 256
#: Octets of one payload: more than 120 ms of anything that is spoken.
_PAYLOAD_LIMIT = 8000

#: Samples that are waited beyond the most delayed packet: 5 ms.
_MARGIN = 40
#: Seconds for which delays are remembered, at least, and twice that at most; and how many packets that takes.
_SPAN = 4.0
_SPAN_PACKETS = 10
#: Seconds for which the delay has to be too long before a frame is left out: of silence, and of sound.
_PATIENCE_IN_SILENCE = 0.2
_PATIENCE_IN_SOUND = 1.0
#: A frame without a sample beyond this is silence: about -39 dBm0.
_QUIET = 256
#: Samples beyond the longest delay at which everything older is dropped at once: 200 ms.
_FAR_TOO_LONG = 1600

#: Sequence numbers that are further ahead (RFC 3550 appendix A.1), or behind, belong to another run of numbers.
_AHEAD_LIMIT = 3000
_BEHIND_LIMIT = 1000
_SEEN_MASK = (1 << _BEHIND_LIMIT) - 1
#: Timestamps are compared with one that is at most so far away.
_FAR = 1 << 30

_BELIEVED = round(BELIEVED * SAMPLE_RATE)

#: A packet that waits: its place, its number, its payload, its decoder.
_Waiting = tuple[int, int, bytes, Decoder]
#: One that fits nowhere: source, sequence number, timestamp, arrival in samples, clock rate, payload, decoder.
_Misfit = tuple[int, int, int, int, int, bytes, Decoder]


class JitterBuffer:
    """Takes the packets of one stream as they come, and gives a frame of sound each time it is asked.

    Who plays asks at even times, ``frame_samples`` apart; each call of `take` advances what is played by one frame. A
    few milliseconds more or less do no harm, and calls that were left out are made good: what is too old is skipped.

    Packets are put in order; what is missing is made up. A pause of the speaker is known by sequence numbers that go
    on, or by a packet without sound (comfort noise, a telephone event) in between. Timestamps that do not fit, and
    another source (SSRC), are believed at once when there is nothing else to be played, and else with the second
    packet; then it goes on where the first one arrived. At most 256 packets of at most 8000 octets wait: of more, the
    oldest is dropped.

    Args:
        formats: gives the format of a payload type; asked once for each.
        frame_samples: of one frame, 1 to 8000.
        least: seconds by which the least delayed packet is held back, at least.
        most: seconds, at most; what is later than that is not played.

    Each packet with sound is one of `packets`, `late`, `duplicates` and `dropped`.

    Attributes:
        packets: that came in time.
        late: that came after later ones had been played, or after ``most``, or that fitted nowhere.
        duplicates: that came once more.
        lost: whose turn passed, and that have not come by now.
        concealed: frames that were made up, at least in part, because a packet was missing.
        inserted: frames that were made up to make the delay longer.
        skipped: frames, or packets, that were left out to make the delay shorter.
        dropped: packets that were too many, too large, or not decodable.
        restarts: how often the timestamps were not believed any more; the first packet does not count.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        *,
        formats: Callable[[int], StreamFormat],
        frame_samples: int = 160,
        least: float = 0.02,
        most: float = 0.2,
    ) -> None:
        if not 1 <= frame_samples <= SAMPLE_RATE:
            raise ValueError(f"a frame of {frame_samples} samples, not of 1 to {SAMPLE_RATE}")
        if not 0 <= least <= most <= BELIEVED / 2:
            raise ValueError(f"a delay of {least} to {most} seconds, not between 0 and {BELIEVED / 2}")
        self._ask = formats
        self._formats: dict[int, StreamFormat] = {}
        self._size = frame_samples
        self._least = round(least * SAMPLE_RATE)
        self._most = round(most * SAMPLE_RATE)
        #: Sorted by place.
        self._waiting: list[_Waiting] = []
        self._delays = _Delays()
        #: What is decoded and not yet played begins at the position.
        self._line = array("h")
        self._position = 0
        #: Nothing is played: before the first packet, and in pauses.
        self._is_idle = True
        self._last_frame = array("h")
        self._faded = 0
        self._delay = 0
        self._too_long_since: float | None = None
        #: The source; the clock rate is 0 before the first packet.
        self._ssrc = 0
        self._clock_rate = 0
        self._anchor_timestamp = 0
        self._anchor_place = 0
        #: Sequence numbers without their wrap: the highest of this run, the lowest, and the last that was played.
        #: Of `_seen` bit 0 is the highest one, and those before it follow.
        self._highest = 0
        self._lowest = 0
        self._played = -1
        self._seen = 0
        self._misfit: _Misfit | None = None
        self.packets = 0
        self.late = 0
        self.duplicates = 0
        self.lost = 0
        self.concealed = 0
        self.inserted = 0
        self.skipped = 0
        self.dropped = 0
        self.restarts = 0

    @property
    def delay(self) -> float:
        """Seconds by which the least delayed packet is held back at the moment; 0 before anything was played."""
        return self._delay / SAMPLE_RATE

    def forget_formats(self) -> None:
        """Ask for all formats anew: something else was agreed on."""
        self._formats.clear()

    def feed(self, payload_type: int, sequence: int, timestamp: int, ssrc: int, payload: bytes, arrival: float) -> None:
        """Take a packet.

        Args:
            payload_type: as `StreamFormat` is asked for.
            sequence: 16 bits.
            timestamp: 32 bits.
            ssrc: 32 bits.
            payload: without padding.
            arrival: seconds, by the same clock as what `take` is told.
        """
        format_ = self._formats.get(payload_type)
        if format_ is None:
            format_ = self._formats[payload_type] = self._ask(payload_type)
        decode = format_.decode
        number = self._number(sequence) if ssrc == self._ssrc and self._clock_rate else None
        is_newest = False
        if number is not None:
            is_newest = number > self._highest
            if not is_newest and not self._note(number):
                self.duplicates += 1
                return
        if decode is None or not payload:
            if number is not None and is_newest:
                self._note(number)
            return
        if len(payload) > _PAYLOAD_LIMIT:
            self.dropped += 1
            return
        arrived = int(arrival * SAMPLE_RATE)
        if number is not None and format_.clock_rate == self._clock_rate:
            place = self._place(timestamp)
            lead = place - arrived
            if -_BELIEVED <= self._delays.best - lead <= self._most:
                if is_newest:
                    self._note(number)
                self._delays.add(lead, arrival)
                if self._misfit is not None:
                    self._misfit = None
                    self.late += 1
                self._accept(place, number, payload, decode)
                return
        else:
            is_newest = True
        misfit = (ssrc, sequence, timestamp, arrived, format_.clock_rate, payload, decode)
        self._take_misfit(misfit, arrival, is_newest)

    def take(self, now: float) -> array[int] | None:
        """Give the next frame.

        Args:
            now: seconds.

        Returns:
            So many samples as a frame has; ``None`` where there is nothing to play: before the first packet, in a pause
            of the speaker, or when what was made up has faded out.
        """
        edge = int(now * SAMPLE_RATE) + self._delays.best
        self._drop_old(edge)
        target = min(max(self._delays.spread + _MARGIN, self._least), self._most)
        if self._is_idle:
            if not self._line:
                entry = self._next()
                if entry is None:
                    return None
                self._position = entry[0]
            if edge - self._position < target:
                return None
            self._is_idle = False
        elif edge - self._position < target - _MARGIN:
            if self._faded >= _FADE or not self._last_frame:
                self._is_idle = True
                return None
            self.inserted += 1
            return self._make_up(self._size)
        frame = self._frame()
        if frame is None or self._is_idle:
            return frame
        self._delay = edge - self._position + self._size
        if self._delay - target < self._size * 3 // 2 or self._faded:
            self._too_long_since = None
            return frame
        return self._shorten(frame, now)

    def _number(self, sequence: int) -> int | None:
        """Give a sequence number without its wrap, if it is near the highest one."""
        ahead = (sequence - self._highest) & 0xFFFF
        if ahead < _AHEAD_LIMIT:
            return self._highest + ahead
        if ahead > 0x10000 - _BEHIND_LIMIT:
            return self._highest + ahead - 0x10000
        return None

    def _note(self, number: int) -> bool:
        """Take note that a packet came; tell whether it is the first of its number."""
        ahead = number - self._highest
        if ahead > 0:
            self._seen = (self._seen << ahead | 1) & _SEEN_MASK
            self._highest = number
            return True
        bit = 1 << -ahead
        if self._seen & bit:
            return False
        self._seen |= bit
        if self._lowest < number < self._played:
            self.lost -= 1
        return True

    def _has_come(self, number: int) -> bool:
        """Tell whether a packet of this run came, with sound or without."""
        return self._lowest <= number <= self._highest and bool(self._seen >> (self._highest - number) & 1)

    def _place(self, timestamp: int) -> int:
        """Give the place of a timestamp, relative to the anchor."""
        advance = (timestamp - self._anchor_timestamp) & 0xFFFFFFFF
        if advance >= 0x80000000:
            advance -= 0x100000000
        if advance > _FAR:
            seconds = advance // self._clock_rate
            self._anchor_timestamp += seconds * self._clock_rate
            self._anchor_place += seconds * SAMPLE_RATE
            advance -= seconds * self._clock_rate
        return self._anchor_place + advance * SAMPLE_RATE // self._clock_rate

    def _accept(self, place: int, number: int, payload: bytes, decode: Decoder) -> None:
        """Let a packet wait for its turn, unless that has passed."""
        if number < self._played:
            self.late += 1
            return
        self._lowest = min(self._lowest, number)
        self.packets += 1
        waiting = self._waiting
        entry = (place, number, payload, decode)
        if not waiting or place > waiting[-1][0]:
            waiting.append(entry)
        else:
            insort(waiting, entry)
        if len(waiting) > _WAITING_LIMIT:
            self._drop(1)
            self._pass(waiting.pop(0)[1])

    def _drop(self, count: int) -> None:
        """Count packets that had been accepted as dropped."""
        self.packets -= count
        self.dropped += count

    def _take_misfit(self, misfit: _Misfit, arrival: float, is_newest: bool) -> None:
        """Take a packet that cannot be put where its timestamp says."""
        last, self._misfit = self._misfit, None
        if last is not None and _follows(last, misfit) and misfit[3] - last[3] <= self._most:
            self._restart(last, arrival)
            _, sequence, timestamp, _, _, payload, decode = misfit
            number = self._number(sequence)
            if number is not None and self._note(number):
                self._accept(self._place(timestamp), number, payload, decode)
            return
        if last is not None:
            self.late += 1
        if (is_newest and self._is_idle and not self._waiting) or (last is not None and _follows(last, misfit)):
            self._restart(misfit, arrival)
        else:
            self._misfit = misfit

    def _restart(self, misfit: _Misfit, arrival: float) -> None:
        """Put a packet where it arrived, and what follows relative to it."""
        self._ssrc, sequence, timestamp, arrived, clock_rate, payload, decode = misfit
        if self._clock_rate:
            self.restarts += 1
        self._clock_rate = clock_rate
        place = arrived + self._delays.best
        self._anchor_timestamp, self._anchor_place = timestamp, place
        self._delays.begin(arrival)
        number = self._highest - (self._highest & 0xFFFF) + 0x20000 + sequence
        self._highest = self._lowest = number
        self._seen = 1
        beyond = bisect_left(self._waiting, (place,))
        self._drop(len(self._waiting) - beyond)
        del self._waiting[beyond:]
        self._accept(place, number, payload, decode)

    def _next(self) -> _Waiting | None:
        """Give the packet whose turn is next, and leave it where it is."""
        waiting = self._waiting
        while waiting:
            entry = waiting[0]
            if entry[1] > self._played:
                return entry
            # Its timestamp is later than that of a packet with a later number.
            del waiting[0]
            self.packets -= 1
            self.late += 1
        return None

    def _pass(self, number: int) -> None:
        """Take note that it was a packet's turn; what is missing before it is lost."""
        missing = number - self._played - 1
        if self._played < self._lowest:
            self._lowest = max(self._lowest, number)
        elif missing:
            came = self._seen >> (self._highest - number + 1) & ((1 << missing) - 1)
            self.lost += missing - came.bit_count()
        self._played = number

    def _drop_old(self, edge: int) -> None:
        """Leave out everything that is far too old: nobody took it in time."""
        oldest = edge - self._most - _FAR_TOO_LONG
        waiting = self._waiting
        if self._position < oldest:
            self.skipped += len(self._line) // self._size
            self._line = array("h")
            self._is_idle = True
        if not waiting or waiting[0][0] >= oldest:
            return
        count = bisect_left(waiting, (edge - self._most,))
        self.skipped += count
        for entry in waiting[:count]:
            if entry[1] > self._played:
                self._pass(entry[1])
        del waiting[:count]

    def _frame(self) -> array[int] | None:
        """Give the frame at the position, with what is missing made up."""
        size = self._size
        self._load()
        line = self._line
        count = len(line)
        if count >= size:
            self._position += size
            self._line = line[size:]
            del line[size:]
            self._last_frame = line[:]
            self._faded = 0
            return line
        self._line = array("h")
        if self._faded >= _FADE or self._has_come(self._played + 1):
            self._is_idle = True
            if not count:
                return None
            line.frombytes(bytes(2 * (size - count)))
            self._last_frame = line[:]
            return line
        self._position += size
        self.concealed += 1
        return self._make_up(size, line)

    def _load(self) -> None:
        """Decode into the line what belongs into the next frame."""
        line = self._line
        while len(line) < self._size:
            entry = self._next()
            if entry is None or entry[0] >= self._position + self._size:
                return
            place, number, payload, decode = entry
            if not line and place < self._position:
                self._position = place  # it was late: what was made up instead makes the delay longer
            gap = place - self._position - len(line)
            if gap > 0:
                if number == self._played + 1 or self._has_come(self._played + 1):
                    line.frombytes(bytes(2 * gap))
                else:
                    self.concealed += 1
                    self._line = line = self._make_up(len(line) + gap, line)
            del self._waiting[0]
            try:
                samples = decode(payload)
            except ParseError:
                self._drop(1)
                self._seen &= ~(1 << (self._highest - number))
                continue
            self._pass(number)
            # Where two packets overlap, the second one is right.
            offset = place - self._position
            if offset < 0:
                del samples[:-offset]
                offset = 0
            if samples:
                del line[offset:]
                line.extend(samples)
                self._faded = 0

    def _make_up(self, size: int, beginning: array[int] | None = None) -> array[int]:
        """Give samples that go on like the last ones, fading out; what there is of them is the beginning."""
        frame = array("h") if beginning is None else beginning
        source = (self._last_frame + frame)[-self._size :] if frame else self._last_frame
        missing = size - len(frame)
        if frame:
            self._last_frame = source
        faded = self._faded
        self._faded = min(faded + missing, _FADE)
        if not source:
            frame.frombytes(bytes(2 * missing))
            return frame
        length = len(source)
        count = min(missing, _FADE - faded)
        frame.extend([source[place % length] * (_FADE - place) // _FADE for place in range(faded, faded + count)])
        frame.frombytes(bytes(2 * (missing - count)))
        return frame

    def _shorten(self, frame: array[int], now: float) -> array[int]:
        """Leave out a frame if the delay has been too long for some time, rather one of silence."""
        if self._too_long_since is None:
            self._too_long_since = now
            return frame
        patience = _PATIENCE_IN_SOUND
        is_quiet = max(frame) <= _QUIET and min(frame) >= -_QUIET
        if is_quiet or self._delay > self._most + self._size:
            patience = _PATIENCE_IN_SILENCE
        if now - self._too_long_since < patience:
            return frame
        self._load()
        if len(self._line) < self._size:
            return frame
        following = self._frame()
        if following is None:
            return frame
        self.skipped += 1
        self._delay -= self._size
        if is_quiet:
            return following
        self._too_long_since = now
        size = self._size
        return array(
            "h",
            [
                (old * (size - place) + new * place) // size
                for place, (old, new) in enumerate(zip(frame, following, strict=True))
            ],
        )


class _Delays:
    """How far the packets of the last seconds were ahead of their arrival on the time line, in samples.

    Attributes:
        best: of the least delayed one, or rather of the second of two in a row: one that is far ahead is an error.
        spread: by how much the most delayed one was later.
    """

    __slots__ = ("_end", "_highest", "_last", "_lowest", "_old_highest", "_old_lowest", "_packets", "best", "spread")

    def __init__(self) -> None:
        self.best = 0
        self.begin(0.0)

    def begin(self, arrival: float) -> None:
        """Forget all, with a packet that was as far ahead as the best one."""
        self._highest = self._old_highest = self._lowest = self._old_lowest = self._last = self.best
        self.spread = 0
        self._packets = 0
        self._end = arrival + _SPAN

    def add(self, lead: int, arrival: float) -> None:
        """Take a packet."""
        if arrival >= self._end and self._packets >= _SPAN_PACKETS:
            self._old_highest, self._old_lowest = self._highest, self._lowest
            self._highest = min(lead, self._last)
            self._lowest = lead
            self._packets = 0
            self._end = arrival + _SPAN
        self._packets += 1
        self._highest = max(self._highest, min(lead, self._last))
        self._lowest = min(self._lowest, lead)
        self._last = lead
        self.best = max(self._highest, self._old_highest)
        self.spread = self.best - min(self._lowest, self._old_lowest)


def _follows(first: _Misfit, second: _Misfit) -> bool:
    """Tell whether two packets are from one source, and their timestamps and arrivals from one clock."""
    if first[0] != second[0] or first[4] != second[4] or not 0 < (second[1] - first[1]) & 0xFFFF <= 100:
        return False
    elapsed = (second[2] - first[2]) & 0xFFFFFFFF
    return elapsed < 0x80000000 and abs(elapsed * SAMPLE_RATE // first[4] - second[3] + first[3]) <= _BELIEVED
