"""The engine that lets rtpengine daemons relay, outside of this process."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.interfaces import Entropy, IMediaRelay
from sipd.media.rtpengine.client import ClientReactor
from sipd.media.rtpengine.pool import DaemonPool
from sipd.media.rtpengine.session import RtpengineSession
from sipd.media.rtpengine.settings import RtpengineSettings


@implementer(IMediaRelay)
class RtpengineRelay:
    """Lets daemons relay. `start` it first.

    Args:
        reactor: gives the time and the sockets.
        settings: where the daemons are, and what they are told.
        entropy: gives cookies and names of calls, and chooses among daemons.

    Raises:
        ConfigurationError: the settings cannot be used.
    """

    def __init__(self, *, reactor: ClientReactor, settings: RtpengineSettings, entropy: Entropy) -> None:
        self.settings = settings
        self.pool = DaemonPool(daemons=settings.daemons, settings=settings.client, reactor=reactor, entropy=entropy)
        self._entropy = entropy
        self._sessions: dict[RtpengineSession, str] = {}

    def __len__(self) -> int:
        """Count the sessions that are open, or on their way to be closed."""
        return len(self._sessions)

    def start(self) -> None:
        """Begin to speak with the daemons.

        Raises:
            CannotListenError: there is no socket.
        """
        self.pool.start()

    def open_session(self, call_id: str, event: Callable[[str, str], None]) -> RtpengineSession:
        """See `IMediaRelay`."""
        # Of other instances, and of this one before a restart, there may be calls of the same name.
        name = f"{call_id[:100]}-{self._entropy(8).hex()}"
        session = RtpengineSession(name, self.settings, self.pool, event, self._sessions.pop)
        self._sessions[session] = call_id
        return session

    async def _close(self) -> None:
        for session in list(self._sessions):
            await session.close()
        await self.pool.close()

    def close(self) -> Deferred[None]:
        """Close all sessions, then the sockets; fires when that is done. Idempotent."""
        for session in list(self._sessions):
            session.close()
        return Deferred.fromCoroutine(self._close())
