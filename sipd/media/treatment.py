"""What is done with the packets of a stream, other than passing them on: SRTP, listening in, playing something else.

A stream without a treatment is not slowed down by any of that. Keys and files are in this process, so a session that
needs treatment is forwarded by the engine of this process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sipd.media.numbering import Numbering
from sipd.media.securing import PLAIN, Keys
from sipd.media.srtp import InboundContext, OutboundContext

if TYPE_CHECKING:
    from sipd.media.events import EventSender

#: Hears each packet of RTP that a leg sends, in the clear, and when it came.
Tap = Callable[[bytes, float], None]


class Treatment:
    """The treatment of one stream of one leg.

    Args:
        seconds: the time.

    Attributes:
        taps: hear what the leg sends.
        is_muted: what the leg sends goes to nobody else.
        is_deaf: nothing of what the other leg sends goes to this one.
        takes_events: telephone events that the leg sends go to nobody else.
        numbering: of what goes to the leg, once something was put in between or left out; it stays, and so does the
            shift that it has come to.
        sender: sends telephone events to the leg.
    """

    __slots__ = (
        "_inbound",
        "_keys",
        "_outbound",
        "_seconds",
        "is_deaf",
        "is_muted",
        "numbering",
        "sender",
        "takes_events",
        "taps",
    )  # fmt: skip

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.taps: tuple[Tap, ...] = ()
        self.is_muted = False
        self.is_deaf = False
        self.takes_events = False
        self.numbering: Numbering | None = None
        self.sender: EventSender | None = None
        self._seconds = seconds
        self._keys: Keys = PLAIN
        #: Once made they stay, so that an unchanged key goes on where it is (RFC 3711 section 3.3.1).
        self._inbound: InboundContext | None = None
        self._outbound: OutboundContext | None = None

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to be done."""
        return bool(
            self._keys != PLAIN
            or self.taps
            or self.is_muted
            or self.is_deaf
            or self.takes_events
            or self.numbering is not None
        )

    @property
    def is_secure(self) -> bool:
        """Whether the leg encrypts."""
        return self._keys != PLAIN

    @property
    def failures(self) -> int:
        """How many packets of the leg could not be decrypted."""
        return 0 if self._inbound is None else sum(self._inbound.failures.values())

    def secure(self, keys: Keys) -> None:
        """Use these keys from now on.

        Raises:
            MediaEngineError: there is no SRTP here.
        """
        if keys.inbound is not None:
            self._inbound = self._inbound or InboundContext(self._seconds)
            self._inbound.use(keys.inbound)
        if keys.outbound is not None:
            self._outbound = self._outbound or OutboundContext()
            self._outbound.use(keys.outbound)
        self._keys = keys

    def take(self, packet: bytes) -> bytes | None:
        """Give a packet of RTP that came from the leg in the clear; ``None`` if it is to be dropped."""
        if self._keys.inbound is None:
            return packet
        assert self._inbound is not None
        return self._inbound.unprotect(packet)

    def give(self, packet: bytes) -> bytes | None:
        """Give a packet of RTP as it goes to the leg; ``None`` if it does not."""
        if self.numbering is not None:
            numbered = self.numbering.pass_on(packet)
            if numbered is None:
                return None
            packet = numbered
        if self._keys.outbound is None:
            return packet
        assert self._outbound is not None
        return self._outbound.protect(packet)

    def leave_out(self, packet: bytes) -> None:
        """Close the gap that a packet leaves which does not go to the leg, though others of its source do."""
        if self.numbering is not None:
            self.numbering.leave_out(packet)

    def take_reports(self, packet: bytes) -> bytes | None:
        """Give RTCP that came from the leg in the clear."""
        if self._keys.inbound is None:
            return packet
        assert self._inbound is not None
        return self._inbound.unprotect_rtcp(packet)

    def give_reports(self, packet: bytes) -> bytes | None:
        """Give RTCP as it goes to the leg."""
        if self._keys.outbound is None:
            return packet
        assert self._outbound is not None
        return self._outbound.protect_rtcp(packet)

    def close(self) -> None:
        """Forget the keys."""
        self._keys = PLAIN
        self.taps = ()
        sender, self.sender = self.sender, None
        if sender is not None:
            sender.close()
        for context in (self._inbound, self._outbound):
            if context is not None:
                context.close()
        self._inbound = self._outbound = None
