"""Telephone events: RFC 4733 section 2, with the digits of section 3.2. One event in a packet, as everybody sends."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sipd.errors import ParseError
from sipd.rtp.packet import RtpPacket

_PAYLOAD = struct.Struct("!BBH")

#: The digits by the number of their event.
DIGITS = "0123456789*#ABCD"

_LONGEST = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class TelephoneEvent:
    """The payload of one packet (RFC 4733 section 2.3).

    Args:
        event: 0 to 255; those below 16 are digits.
        duration: since the event began, in units of the RTP timestamp, 16 bits.
        is_end: whether the event is over.
        volume: in dBm0 without its minus sign, 0 to 63.
    """

    event: int
    duration: int
    is_end: bool = False
    volume: int = 10

    @classmethod
    def parse(cls, payload: bytes) -> TelephoneEvent:
        """Parse a payload; of several events packed into one (section 2.5.1.5), the first.

        Raises:
            ParseError: it is too short.
        """
        if len(payload) < _PAYLOAD.size:
            raise ParseError("telephone event shorter than four octets")
        event, flags, duration = _PAYLOAD.unpack_from(payload)
        return cls(event=event, duration=duration, is_end=flags > 0x7F, volume=flags & 0x3F)

    @classmethod
    def of_digit(cls, digit: str, *, duration: int, is_end: bool = False) -> TelephoneEvent:
        """Make the event of a digit.

        Raises:
            ValueError: `digit` is not one of `DIGITS`.
        """
        return cls(event=DIGITS.index(digit.upper()), duration=duration, is_end=is_end)

    @property
    def digit(self) -> str | None:
        """The digit, or ``None`` if the event is something else."""
        return DIGITS[self.event] if self.event < len(DIGITS) else None

    def to_bytes(self) -> bytes:
        """Print the payload."""
        return _PAYLOAD.pack(self.event, self.is_end << 7 | self.volume, self.duration)


class DigitReceiver:
    """Gives each digit once, whatever is repeated or lost on the way.

    All packets of an event have one timestamp (RFC 4733 section 2.5.1.2), so a digit is new when its timestamp is
    later; it is given with the first of its packets that comes. An event that is longer than its duration field can say
    goes on with another timestamp (section 2.5.1.3).

    Args:
        payload_type: that ``a=rtpmap`` calls ``telephone-event``; ``None`` if nothing but events is fed.
    """

    __slots__ = ("_event", "_payload_type", "_ssrc", "_timestamp")

    def __init__(self, payload_type: int | None = None) -> None:
        self._payload_type = payload_type
        self._ssrc = 0
        self._timestamp = 0
        self._event: TelephoneEvent | None = None

    def feed(self, packet: RtpPacket) -> str | None:
        """Take any packet of the stream, in the order of arrival; give the digit that begins with it.

        Raises:
            ParseError: it should be an event and is not.
        """
        if packet.payload_type != self._payload_type and self._payload_type is not None:
            return None
        event = TelephoneEvent.parse(packet.payload)
        last = self._event
        later = (packet.timestamp - self._timestamp) & 0xFFFFFFFF
        if last is not None and packet.ssrc == self._ssrc:
            if later >= 0x80000000:
                return None
            if later == 0:
                self._event = event
                return None
            if later == _LONGEST and event.event == last.event and not last.is_end:
                self._timestamp, self._event = packet.timestamp, event
                return None
        self._ssrc, self._timestamp, self._event = packet.ssrc, packet.timestamp, event
        return event.digit
