"""Asks a peer without session timers whether it is still there: OPTIONS in the dialog (RFC 3261 section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sipd.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from sipd.ua.session import Session


class Pinging:
    """Pings the peer of one session every `AgentSettings.ping_interval` seconds, while it has no session timer.

    Whatever it answers shows that it is there; 408, 481 and silence end the session (section 12.2.1.2).
    """

    __slots__ = ("_session", "_timer")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Begin: the session is established."""
        interval = self._session.agent.settings.ping_interval
        if interval and not self._session.is_over:
            self._timer = self._session.agent.clock.callLater(interval, self._ping)

    def stop(self) -> None:
        """The session is over. Idempotent."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _ping(self) -> None:
        self._timer = None
        session = self._session
        if session.refreshing.interval is not None or session.is_changing:
            self.start()
            return
        # The next one goes out when this one is over, so that there is one at a time.
        session.request("OPTIONS").addErrback(self._unanswered).addCallback(lambda _: self.start())

    def _unanswered(self, failure: Failure) -> None:
        """Go on: if that means that the peer is gone, the session is over by now."""
        failure.trap(RemoteError, LocalError)
