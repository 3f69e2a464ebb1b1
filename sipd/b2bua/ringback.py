"""What the caller hears while it rings and nobody else is heard: a tone or a file, as early media (RFC 3960).

The caller is given an answer of our own. In a response that is not reliable that is a preview, which the 2xx replaces.
In a reliable one it counts (RFC 3262 section 5), so the caller is told of the real session after the 2xx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.errors import LocalError, SdpError
from sipd.sdp.negotiation import Carrier
from sipd.sip.reliable import Reliability

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.b2bua.bridge import Bridge
    from sipd.b2bua.leg import Leg
    from sipd.sdp.description import SessionDescription


class Ringback:
    """What one caller hears until somebody answers.

    Args:
        bridge: the call.
        offer: the caller's; without one it hears nothing.
        wish: what the caller wants of provisional responses.
    """

    __slots__ = ("_answer", "_bridge", "_leg", "_offer", "_said", "_wish")

    def __init__(self, bridge: Bridge, offer: SessionDescription | None, wish: Reliability) -> None:
        self._bridge = bridge
        self._leg = bridge.caller
        self._offer = offer
        self._wish = wish
        #: The answer of our own while it is in force, and what the caller was told of it last.
        self._answer: SessionDescription | None = None
        self._said: SessionDescription | None = None

    @property
    def is_heard(self) -> bool:
        """Whether the caller hears it, or would if the sound were loaded."""
        return self._answer is not None

    @property
    def is_believed(self) -> bool:
        """Whether the last thing that the caller was told, and that counts, is the answer of our own."""
        local = self._leg.negotiation.local
        return local is not None and local is self._said

    async def begin(self, callee: Leg) -> SessionDescription | None:
        """Let the caller hear what is set for a callee that rings, if anything is, until `stop`.

        Args:
            callee: it rings, and says nothing else.

        Returns:
            What to tell the caller; ``None`` if it knows, or hears nothing.
        """
        if self._answer is None:
            await self._greet(self._bridge.media_policy(callee).ringback)
        if self._answer is None:
            return None
        carrier = Carrier.PROVISIONAL if self._wish is Reliability.NONE else Carrier.RELIABLE
        said = self._leg.negotiation.send(carrier, self._answer)
        self._said = said or self._said
        return said

    def stop(self) -> None:
        """Let the caller hear nothing of it any more. Idempotent."""
        if self._answer is not None:
            self._answer = None
            media = self._bridge.media
            if media.studio is not None:
                media.studio.stop_playing(self._leg.name)
            media.leg_ended(f"~{self._leg.name}")

    async def _greet(self, sound: str) -> None:
        studio = self._bridge.media.studio if sound and self._offer is not None else None
        if studio is None or self._offer is None or not (self._leg.negotiation.local is None or self.is_believed):
            return
        try:
            self._answer = await studio.greet(self._leg.name, self._offer)
        except (SdpError, LocalError) as error:
            self._bridge.explain("ringback", f"cannot be heard: {error}", self._leg.name)
            return
        studio.play(self._leg.name, sound, times=None).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        """It cannot be played: the call goes on without."""
        failure.trap(LocalError)
        self._bridge.explain("ringback", f"cannot be heard: {failure.getErrorMessage()}", self._leg.name)
        self.stop()
