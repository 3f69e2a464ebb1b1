"""SRTP for both directions of a stream, or nothing where it is plain (RFC 3711)."""

from __future__ import annotations

from collections.abc import Callable

from sipd.media.securing import PLAIN, Keys
from sipd.media.srtp import InboundContext, OutboundContext


class Protection:
    """What is done to packets on their way in and out.

    Args:
        seconds: gives the time.

    Attributes:
        is_secure: whether packets are encrypted, or were until it was closed.
        is_waiting: whether there will be keys, and nothing may go out or come in before.
        refused: packets that came and were not protected as they should be.
    """

    __slots__ = ("_inbound", "_outbound", "_seconds", "is_secure", "is_waiting", "refused")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._inbound: InboundContext | None = None
        self._outbound: OutboundContext | None = None
        self.is_secure = False
        self.is_waiting = False
        self.refused = 0

    def wait(self) -> None:
        """Let nothing go out or come in until there are keys."""
        self.is_waiting = True

    def use(self, keys: Keys) -> None:
        """Use these keys from now on; those in use go on where they are.

        Raises:
            MediaEngineError: libsrtp gives no context.
        """
        self.is_waiting = False
        if keys == PLAIN or keys.inbound is None or keys.outbound is None:
            self.is_secure = False
            self.close()
            return
        self.is_secure = True
        if self._inbound is None or self._outbound is None:
            self._inbound, self._outbound = InboundContext(self._seconds), OutboundContext()
        self._inbound.use(keys.inbound)
        self._outbound.use(keys.outbound)

    def protect(self, packet: bytes) -> bytes | None:
        """Give what goes out for RTP."""
        if self._outbound is None:
            return None if self.is_waiting else packet
        return self._outbound.protect(packet)

    def protect_rtcp(self, packet: bytes) -> bytes | None:
        """Give what goes out for RTCP."""
        if self._outbound is None:
            return None if self.is_waiting else packet
        return self._outbound.protect_rtcp(packet)

    def unprotect(self, packet: bytes) -> bytes | None:
        """Give the RTP packet that came; ``None`` if it is not one of the peer's."""
        if self._inbound is None:
            return self._checked(None) if self.is_waiting else packet
        return self._checked(self._inbound.unprotect(packet))

    def unprotect_rtcp(self, packet: bytes) -> bytes | None:
        """Give the RTCP packet that came; ``None`` if it is not one of the peer's."""
        if self._inbound is None:
            return self._checked(None) if self.is_waiting else packet
        return self._checked(self._inbound.unprotect_rtcp(packet))

    def close(self) -> None:
        """Forget all keys."""
        for context in (self._inbound, self._outbound):
            if context is not None:
                context.close()
        self._inbound = self._outbound = None

    def _checked(self, packet: bytes | None) -> bytes | None:
        self.refused += packet is None
        return packet
