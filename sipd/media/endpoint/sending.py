"""What an endpoint sends: the numbers of its packets (RFC 3550 section 5.1, RFC 7160 where the clock changes)."""

from __future__ import annotations

from collections.abc import Callable

from sipd.interfaces import Entropy
from sipd.rtp.packet import RtpPacket

_SEQUENCES = 0xFFFF
_TIMESTAMPS = 0xFFFFFFFF
#: Frames of 20 ms in a second.
_FRAMES_A_SECOND = 50


class RtpSender:
    """One source: its numbers go on whatever is sent, and also while nothing is.

    Args:
        entropy: for the first numbers.
        send: takes each packet; says whether it left.

    Attributes:
        ssrc: of the packets.
        timestamp: of the frame that comes next.
        packets: of the source, that left.
        octets: of their payloads.
    """

    __slots__ = (
        "_clock_rate",
        "_entropy",
        "_frames",
        "_is_marked",
        "_joined",
        "_joined_timestamp",
        "_payload_type",
        "_send",
        "_step",
        "octets",
        "packets",
        "sequence",
        "ssrc",
        "timestamp",
    )

    def __init__(self, entropy: Entropy, send: Callable[[RtpPacket], bool]) -> None:
        self._entropy = entropy
        self._send = send
        self._clock_rate = 0
        self._payload_type = 0
        self._frames = 1
        self._step = 0
        self._is_marked = True
        self._joined: list[bytes] = []
        self._joined_timestamp = 0
        self.ssrc = 0
        self.sequence = 0
        self.timestamp = 0
        self.packets = 0
        self.octets = 0

    def use(self, *, payload_type: int, clock_rate: int, frames: int) -> None:
        """Say what is sent from now on; another clock makes another source (RFC 7160 section 4.2).

        Args:
            payload_type: of the frames.
            clock_rate: of their timestamps.
            frames: in each packet.
        """
        if (payload_type, frames) != (self._payload_type, self._frames):
            self._joined.clear()
        self._payload_type = payload_type
        self._frames = frames
        if clock_rate != self._clock_rate:
            numbers = self._entropy(10)
            self.ssrc = int.from_bytes(numbers[:4], "big")
            self.timestamp = int.from_bytes(numbers[4:8], "big")
            # In the lower half: a receiver of SRTP may miss the first packets (RFC 3711 section 3.3.1).
            self.sequence = int.from_bytes(numbers[8:], "big") & 0x7FFF
            self._clock_rate = clock_rate
            self._step = clock_rate // _FRAMES_A_SECOND
            self._is_marked = True
            self._joined.clear()
            # What reports say is of this source alone (RFC 3550 section 6.4.1).
            self.packets = self.octets = 0

    def frame(self, payload: bytes | None) -> None:
        """Send 20 ms, or let them pass in silence if that is ``None``: the packet after it is marked."""
        if payload is None:
            self._flush()
            self._is_marked = True
        else:
            if not self._joined:
                self._joined_timestamp = self.timestamp
            self._joined.append(payload)
            if len(self._joined) >= self._frames:
                self._flush()
        self.timestamp = (self.timestamp + self._step) & _TIMESTAMPS

    def event(self, payload_type: int, timestamp: int, payload: bytes, *, is_first: bool) -> None:
        """Send a packet of a telephone event instead of 20 ms of sound (RFC 4733 section 2.5)."""
        self._flush()
        self._send_one(payload_type, timestamp, payload, marker=is_first)
        self._is_marked = True
        self.timestamp = (self.timestamp + self._step) & _TIMESTAMPS

    def skip(self, count: int) -> None:
        """Take note that so many times 20 ms have passed with nothing sent."""
        if count > 0:
            self._flush()
            self._is_marked = True
            self.timestamp = (self.timestamp + count * self._step) & _TIMESTAMPS

    def _flush(self) -> None:
        """Send the frames that wait for others."""
        if self._joined:
            payload = self._joined[0] if len(self._joined) == 1 else b"".join(self._joined)
            self._joined.clear()
            self._send_one(self._payload_type, self._joined_timestamp, payload, marker=self._is_marked)
            self._is_marked = False

    def _send_one(self, payload_type: int, timestamp: int, payload: bytes, *, marker: bool) -> None:
        packet = RtpPacket(
            payload_type=payload_type,
            sequence=self.sequence,
            timestamp=timestamp,
            ssrc=self.ssrc,
            payload=payload,
            marker=marker,
        )
        self.sequence = (self.sequence + 1) & _SEQUENCES
        if self._send(packet):
            self.packets += 1
            self.octets += len(payload)
