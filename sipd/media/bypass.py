"""The engine that is none: media go directly between the parties."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.interfaces import IMediaRelay, IMediaSession, IMediaStudio, MediaPolicy, StreamStatistics
from sipd.media.unheard import UnheardDigits
from sipd.sdp.description import AddressType, SessionDescription
from sipd.sdp.streams import Slots


@implementer(IMediaSession)
class BypassSession(UnheardDigits):
    """See `IMediaSession`. Descriptions cross as they are; nothing is held, nothing is counted."""

    studio: IMediaStudio | None = None

    def prefer_family(self, leg: str, family: AddressType) -> None:
        """See `IMediaSession`. The parties have to share a version of IP."""

    def set_policy(self, leg: str, policy: MediaPolicy) -> None:
        """See `IMediaSession`."""

    def offer(
        self, sender: str, receiver: str, description: SessionDescription, slots: Slots | None = None
    ) -> Deferred[SessionDescription]:
        """See `IMediaSession`."""
        return succeed(description)

    def answer(self, sender: str, receiver: str, description: SessionDescription) -> Deferred[SessionDescription]:
        """See `IMediaSession`."""
        return succeed(description)

    def offer_rejected(self, sender: str, receiver: str) -> None:
        """See `IMediaSession`."""

    def leg_ended(self, leg: str) -> None:
        """See `IMediaSession`."""

    def statistics(self) -> Sequence[StreamStatistics]:
        """See `IMediaSession`."""
        return ()

    def established(self) -> None:
        """See `IMediaSession`."""

    def close(self) -> Deferred[Sequence[StreamStatistics]]:
        """See `IMediaSession`."""
        return succeed(())


@implementer(IMediaRelay)
class Bypass:
    """See `IMediaRelay`. Each party sees the media address of the other."""

    def __init__(self) -> None:
        self._session = BypassSession()

    def open_session(self, call_id: str, event: Callable[[str, str], None]) -> IMediaSession:
        """See `IMediaRelay`."""
        return self._session

    def close(self) -> None:
        """Free everything: nothing."""
