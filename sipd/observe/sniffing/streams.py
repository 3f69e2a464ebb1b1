"""TCP segments to messages (RFC 9293 section 3.10.7.4): in order, once, and from the middle of a connection.

Whoever watches cannot ask for what was lost: after a while the stream goes on behind the gap, at the next message that
can be told to be one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sipd.errors import ParseError
from sipd.observe.sniffing.segments import Segment
from sipd.sip.framing import KeepAlive, StreamFramer

Address = tuple[str, int]
_Key = tuple[Address, Address]

#: Where a message begins.
_START = re.compile(
    rb"(?<![A-Za-z])(?:[A-Z]{2,32} [^\s]{1,2048} SIP/2\.0|SIP/2\.0 [1-6][0-9]{2}(?: [^\r\n]{0,256})?)\r\n"
)
#: How many octets may be kept of what is searched for a start, since it may be cut.
_MAX_TAIL_OCTETS = 2400
#: A TLS record: handshake, application data and so on, of a version that there is (RFC 8446 section 5.1).
_TLS = re.compile(rb"[\x14-\x17]\x03[\x00-\x04]")
_NUMBERS = 1 << 32
#: What is further away than this belongs to another connection between the same ports.
_FAR_OCTETS = 1 << 24


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A connection that is TLS: what is in it cannot be read. Told once for each."""


StreamEvent = bytes | Encrypted


class _Direction:
    """What one side of a connection sends.

    Args:
        expected: the number of the octet that comes next.
        first: the number of the first one of the connection, where its beginning was seen.
    """

    __slots__ = (
        "expected",
        "first",
        "framer",
        "is_begun",
        "is_encrypted",
        "tail",
        "unfinished_octets",
        "waiting",
        "waits_since",
    )

    def __init__(self, expected: int, first: int | None = None) -> None:
        self.expected = expected
        self.first = first
        self.is_begun = first is not None
        self.is_encrypted = False
        self.framer: StreamFramer | None = None
        self.tail = b""
        self.unfinished_octets = 0
        self.waiting: dict[int, bytes] = {}
        self.waits_since = 0.0

    @property
    def size_octets(self) -> int:
        return self.unfinished_octets + len(self.tail) + sum(map(len, self.waiting.values()))

    def distance(self, sequence: int) -> int:
        """Say how far behind what is expected a number is; negative if it was there already."""
        return (sequence - self.expected + _NUMBERS // 2) % _NUMBERS - _NUMBERS // 2

    def take(self, data: bytes) -> list[StreamEvent]:
        """Take the octets that come next."""
        self.expected = (self.expected + len(data)) % _NUMBERS
        if self.is_encrypted:
            return []
        if self.framer is None and _TLS.match(data):
            # The first octets of the stream, or of a segment in the middle, which no message begins with.
            self.is_encrypted = True
            self.tail = b""
            return [Encrypted()]
        if self.framer is None:
            data = self._synchronise(data)
            if self.framer is None:
                return []
        self.unfinished_octets += len(data)
        events: list[StreamEvent] = []
        try:
            for event in self.framer.feed(data):
                if not isinstance(event, KeepAlive):
                    events.append(event)
        except ParseError:
            # What the framer had is lost. Whether a message follows, only a new search can tell.
            self.lose()
        else:
            if self.framer.is_between_messages:
                self.unfinished_octets = 0
        return events

    def lose(self) -> None:
        """Forget what is unfinished: the next message has to be looked for."""
        self.framer = None
        self.is_begun = False
        self.tail = b""
        self.unfinished_octets = 0

    def skip(self) -> None:
        """Go on behind the gap."""
        self.expected = min(self.waiting, key=self.distance)
        self.lose()

    def _synchronise(self, data: bytes) -> bytes:
        """Look for the start of a message; give what is to be framed, from there on."""
        data = self.tail + data
        start = 0
        if not self.is_begun:
            match = _START.search(data)
            if match is None:
                self.tail = data[-_MAX_TAIL_OCTETS:]
                return b""
            start = match.start()
        self.tail = b""
        self.framer = StreamFramer()
        return data[start:]


class TcpStreams:
    """Puts the segments of all connections in order and cuts them into messages. The time is that of the packets.

    Args:
        max_directions: sides of connections; beyond that, the one that was silent longest is forgotten.
        max_octets: of unfinished messages, and what waits for a gap to be filled, all together; the same.
        max_waiting: segments of one side that wait for a gap to be filled; beyond that, the gap is given up.
        patience: seconds after which a gap is given up.
    """

    def __init__(
        self,
        *,
        max_directions: int = 20_000,
        max_octets: int = 64 * 1024 * 1024,
        max_waiting: int = 256,
        patience: float = 2.0,
    ) -> None:
        self._max_directions = max_directions
        self._max_octets = max_octets
        self._max_waiting = max_waiting
        self._patience = patience
        self._directions: dict[_Key, _Direction] = {}
        self._size_octets = 0

    def __len__(self) -> int:
        return len(self._directions)

    def feed(self, at: float, source: Address, destination: Address, segment: Segment) -> list[StreamEvent]:
        """Take a segment; give what is whole now, in order.

        Args:
            at: when it came, in seconds.
            source: where from.
            destination: where to.
            segment: what came.
        """
        if not segment.payload and not segment.opens:
            return []
        key = (source, destination)
        direction = self._directions.pop(key, None)
        before = direction.size_octets if direction is not None else 0
        if segment.opens:
            first = (segment.sequence + 1) % _NUMBERS
            if direction is None or direction.first != first:
                direction = _Direction(first, first)
            sequence = first
        else:
            sequence = segment.sequence
            if direction is None or abs(direction.distance(sequence)) > _FAR_OCTETS:
                direction = _Direction(sequence)
        self._directions[key] = direction
        events = self._insert(direction, at, sequence, segment.payload) if segment.payload else []
        self._size_octets += direction.size_octets - before
        self._bound()
        return events

    def finish(self) -> list[tuple[Address, Address, list[StreamEvent]]]:
        """Give what is whole behind gaps that nothing fills any more, and forget everything."""
        found = []
        for (source, destination), direction in self._directions.items():
            events: list[StreamEvent] = []
            while direction.waiting:
                direction.skip()
                events += self._drain(direction)
            if events:
                found.append((source, destination, events))
        self._directions.clear()
        self._size_octets = 0
        return found

    def _insert(self, direction: _Direction, at: float, sequence: int, payload: bytes) -> list[StreamEvent]:
        distance = direction.distance(sequence)
        events: list[StreamEvent] = []
        if distance > 0:
            if not direction.waiting:
                direction.waits_since = at
            if len(payload) > len(direction.waiting.get(sequence, b"")):
                direction.waiting[sequence] = payload
        elif distance + len(payload) > 0:
            events += direction.take(payload[-distance:])
            events += self._drain(direction)
        while direction.waiting and (
            len(direction.waiting) > self._max_waiting or at - direction.waits_since > self._patience
        ):
            direction.skip()
            events += self._drain(direction)
        return events

    def _drain(self, direction: _Direction) -> list[StreamEvent]:
        """Take what waited and is next now."""
        events: list[StreamEvent] = []
        while direction.waiting:
            nearest = min(direction.waiting, key=direction.distance)
            distance = direction.distance(nearest)
            if distance > 0:
                break
            payload = direction.waiting.pop(nearest)
            if distance + len(payload) > 0:
                events += direction.take(payload[-distance:])
        return events

    def _bound(self) -> None:
        while len(self._directions) > self._max_directions or (
            self._size_octets > self._max_octets and len(self._directions) > 1
        ):
            oldest = next(iter(self._directions))
            self._size_octets -= self._directions.pop(oldest).size_octets
