"""The numbers of the packets that go to a leg, where some are put in and some are left out (RFC 3550 section 5.1).

To the receiver it has to be one stream: numbers that go on without a gap, none of them used twice. So what comes later
is shifted by as much as was put in or left out before it. What comes so late that it belongs before such a place is
dropped, since its number may be that of another packet by now.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from sipd.interfaces import Entropy

_HEADER = struct.Struct("!BBHII")
#: A packet that is later than by so many is not late: its source has begun with other numbers.
_LATEST = 100
#: Sources of one stream that are known; what is known of the one that came first is forgotten for another.
_SOURCE_LIMIT = 8


class Source:
    """One source of packets (SSRC) that go to the leg.

    Args:
        ssrc: its name.
        highest: the last number that it used, in order.
        timestamp: of that packet.
        arrived: when that was, in seconds.
        payload_type: of that packet; -1 for none.
    """

    __slots__ = ("_boundary", "_shift", "arrived", "highest", "payload_type", "ssrc", "timestamp")

    def __init__(self, ssrc: int, highest: int, timestamp: int, arrived: float, payload_type: int = -1) -> None:
        self.ssrc = ssrc
        self.highest = highest
        self.timestamp = timestamp
        self.arrived = arrived
        self.payload_type = payload_type
        self._shift = 0
        #: What has this number, or one before, was there before the shift became what it is.
        self._boundary: int | None = None

    def goes_on(self, sequence: int) -> bool:
        """Take a number of the source; say whether it is later than all before."""
        step = (sequence - self.highest) & 0xFFFF
        if step >= 0x10000 - _LATEST or not step:
            return False
        if step >= 0x8000:
            self._boundary = None
        self.highest = sequence
        return True

    def number(self, sequence: int) -> int | None:
        """Give the number under which a packet goes to the leg; ``None`` if that could be another one's."""
        if self._boundary is not None and not 0 < (sequence - self._boundary) & 0xFFFF < 0x8000:
            return None
        return (sequence + self._shift) & 0xFFFF

    def leave_out(self) -> None:
        """The last one in order does not go to the leg."""
        self._shift -= 1
        self._boundary = self.highest

    def put_in(self) -> int:
        """Give the number of a packet that comes from here, after the last one."""
        self._shift += 1
        self._boundary = self.highest
        return (self.highest + self._shift) & 0xFFFF


class Numbering:
    """Numbers what goes to one leg.

    Args:
        seconds: the time.

    Attributes:
        source: what went to the leg last, or would have; ``None`` if nothing did.
        is_silent: what the other leg sends is left out.
    """

    __slots__ = ("_inserted", "_seconds", "_sources", "is_silent", "source")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.source: Source | None = None
        self.is_silent = False
        self._seconds = seconds
        self._sources: dict[int, Source] = {}
        #: The packet from here that is on its way to `pass_on` at the moment.
        self._inserted: bytes | None = None

    def pass_on(self, packet: bytes) -> bytes | None:
        """Give a packet as it goes to the leg; ``None`` if it does not."""
        if packet is self._inserted or len(packet) < _HEADER.size or packet[0] & 0xC0 != 0x80:
            return packet
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(packet)
        source = self._find(ssrc, sequence)
        is_next = source.goes_on(sequence)
        if is_next:
            self.source = source
            if timestamp != source.timestamp or source.payload_type < 0:
                source.timestamp, source.arrived = timestamp, self._seconds()
            source.payload_type = second & 0x7F
        if self.is_silent:
            if is_next:
                source.leave_out()
            return None
        number = source.number(sequence)
        if number is None or number == sequence:
            return None if number is None else packet
        return _HEADER.pack(first, second, number, timestamp, ssrc) + packet[_HEADER.size :]

    def leave_out(self, packet: bytes) -> None:
        """Close the gap of a packet that does not go to the leg, and is no media."""
        _, _, sequence, _, ssrc = _HEADER.unpack_from(packet)
        source = self._find(ssrc, sequence)
        if source.goes_on(sequence):
            source.leave_out()

    def begin(self, entropy: Entropy) -> Source:
        """Give a source of our own: nothing has gone to the leg yet."""
        numbers = entropy(10)
        # A number in the lower half: see RFC 3711 section 3.3.1 about its first packets.
        source = Source(
            int.from_bytes(numbers[:4], "big"),
            int.from_bytes(numbers[4:6], "big") & 0x7FFF,
            int.from_bytes(numbers[6:], "big"),
            self._seconds(),
        )
        self._add(source)
        self.source = source
        return source

    def timestamp(self, source: Source, rate: int) -> int:
        """Give the timestamp of something that begins now, at that clock rate in hertz."""
        return (source.timestamp + round(max(0.0, self._seconds() - source.arrived) * rate)) & 0xFFFFFFFF

    def insert(
        self, source: Source, second_octet: int, timestamp: int, payload: bytes, send: Callable[[bytes], object]
    ) -> None:
        """Send a packet of our own in the stream of a source, after all that has gone to the leg so far."""
        self._inserted = _HEADER.pack(0x80, second_octet, source.put_in(), timestamp, source.ssrc) + payload
        try:
            send(self._inserted)
        finally:
            self._inserted = None

    def _find(self, ssrc: int, sequence: int) -> Source:
        source = self._sources.get(ssrc)
        if source is None:
            # The number is one that `goes_on` has not seen yet.
            source = Source(ssrc, (sequence - 1) & 0xFFFF, 0, 0.0)
            self._add(source)
        return source

    def _add(self, source: Source) -> None:
        if len(self._sources) >= _SOURCE_LIMIT:
            del self._sources[next(iter(self._sources))]
        self._sources[source.ssrc] = source
