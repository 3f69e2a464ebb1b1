"""Telephone events that are sent from here to one leg, in the stream that it hears anyway (RFC 4733 section 2.5.1)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from sipd.interfaces import Entropy
from sipd.media.numbering import Numbering, Source
from sipd.media.pacer import INTERVAL, Pacer
from sipd.rtp.dtmf import DIGITS, TelephoneEvent

if TYPE_CHECKING:
    from sipd.media.stream import RelayStream

#: Digits that may wait for their turn.
QUEUE_LIMIT = 32
#: How often the end of an event is sent (section 2.5.1.4).
_ENDS = 3
#: Beats between two events, so that it takes two key presses to make them.
_PAUSE = 4
#: Beats for which the first event waits for media whose stream it could go into.
_PATIENCE = 5
#: The shortest event, in beats: receivers ignore what is no more than a click.
_SHORTEST = 2
_LONGEST = 0xFFFF


class EventSender:
    """Sends digits to a leg, one after the other.

    Args:
        stream: of the leg.
        numbering: of what goes to it.
        pacer: gives the beats: one packet each.
        entropy: for a stream of our own, if there is no other.
    """

    __slots__ = (
        "_beats",
        "_beats_left",
        "_digit",
        "_entropy",
        "_floor",
        "_is_marked",
        "_is_running",
        "_numbering",
        "_pacer",
        "_patience",
        "_pause",
        "_payload_type",
        "_queue",
        "_source",
        "_step",
        "_stream",
        "_timestamp",
    )  # fmt: skip

    def __init__(self, stream: RelayStream, numbering: Numbering, pacer: Pacer, entropy: Entropy) -> None:
        self._stream = stream
        self._numbering = numbering
        self._pacer = pacer
        self._entropy = entropy
        self._queue: deque[tuple[str, float]] = deque()
        self._is_running = False
        self._patience = _PATIENCE
        self._pause = 0
        #: The digit that is being sent, if one is, and how far.
        self._digit: str | None = None
        self._source: Source | None = None
        self._payload_type = 0
        self._timestamp = 0
        self._step = 0
        self._beats = 0
        self._beats_left = 0
        self._is_marked = True
        #: The source of the last event, and the timestamp at which it ended: none begins before that.
        self._floor: tuple[Source, int] | None = None

    def send(self, digit: str, duration: float) -> bool:
        """Send a digit when those before it are sent; ``False`` if too many wait.

        Raises:
            ValueError: it is none.
        """
        if digit.upper() not in DIGITS or len(digit) != 1:
            raise ValueError("not a digit")
        if len(self._queue) >= QUEUE_LIMIT:
            return False
        self._queue.append((digit.upper(), duration))
        if not self._is_running:
            self._is_running = True
            self._pacer.add(self)
        return True

    def beat(self) -> None:
        """See `Paced`."""
        if self._pause:
            self._pause -= 1
        elif self._digit is not None or self._begin():
            self._send_one()

    def skip(self, count: int) -> None:
        """See `Paced`: an event goes on meanwhile."""
        if self._digit is not None:
            passed = min(count, max(0, self._beats_left - _ENDS))
            self._beats += passed
            self._beats_left -= passed

    def close(self) -> None:
        """Send nothing any more."""
        self._queue.clear()
        self._end()
        self._stop()

    def _begin(self) -> bool:
        """Begin with the next digit; say whether there is one whose time has come."""
        while self._queue:
            source = self._numbering.source
            if source is None and self._patience:
                self._patience -= 1
                return False
            digit, duration = self._queue.popleft()
            found = self._choose(source)
            if found is None:
                continue  # something else was agreed on meanwhile
            self._payload_type, rate = found
            source = source or self._numbering.begin(self._entropy)
            timestamp = self._numbering.timestamp(source, rate)
            if self._floor is not None and self._floor[0] is source:
                ahead = (self._floor[1] - timestamp) & 0xFFFFFFFF
                timestamp = self._floor[1] if ahead < 0x80000000 else timestamp
            self._source, self._timestamp, self._digit = source, timestamp, digit
            self._step = max(1, round(rate * INTERVAL))
            beats = max(_SHORTEST, min(round(duration / INTERVAL), _LONGEST // self._step))
            self._beats, self._beats_left = 0, beats + _ENDS - 1
            self._is_marked = self._numbering.is_silent = True
            return True
        self._stop()
        return False

    def _choose(self, source: Source | None) -> tuple[int, int] | None:
        """Give payload type and clock rate: that of the media if it can be had (RFC 4733 section 2.1)."""
        terms = self._stream.terms
        if terms is None or not self._stream.is_in_force:
            return None
        payloads = terms.payloads
        rate = payloads.rates.get(source.payload_type) if source is not None else None
        wanted = sorted(payloads.wanted.items(), key=lambda each: each[1] != rate)
        return wanted[0] if wanted else None

    def _send_one(self) -> None:
        """Send a packet of the event that is under way."""
        source, digit = self._source, self._digit
        assert source is not None and digit is not None
        is_end = self._beats_left <= _ENDS
        if self._beats_left >= _ENDS:
            self._beats += 1
        self._beats_left -= 1
        duration = self._beats * self._step
        event = TelephoneEvent.of_digit(digit, duration=duration, is_end=is_end)
        second_octet = self._is_marked << 7 | self._payload_type
        self._is_marked = False
        self._numbering.insert(source, second_octet, self._timestamp, event.to_bytes(), self._stream.inject)
        if not self._beats_left:
            self._floor = (source, (self._timestamp + duration + self._step) & 0xFFFFFFFF)
            self._pause = _PAUSE
            self._end()

    def _stop(self) -> None:
        self._is_running = False
        self._pacer.remove(self)

    def _end(self) -> None:
        self._digit = self._source = None
        self._numbering.is_silent = False
