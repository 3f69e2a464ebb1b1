"""The media relay: it opens the sessions, and chooses which engine forwards.

It relays any kind of media, since it looks no further than the address. Which source it believes: `sipd.media.latch`.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence

from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import ConfigurationError
from sipd.interfaces import Entropy, IMediaRelay
from sipd.media.announcement import Announcer
from sipd.media.engine import Engine
from sipd.media.legs import RelaySettings
from sipd.media.monitor import Monitor
from sipd.media.pacer import Pacer
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.recording import Recorder
from sipd.media.session import RelaySession


@implementer(IMediaRelay)
class MediaRelay:
    """Relays.

    Args:
        engine: forwards what no other engine does; it is always there.
        addresses: where media comes in: one for each version of IP that is served. The first is taken where neither a
            leg's own address nor its signalling says which.
        ports: gives pairs of ports on those addresses; may be shared with other users of the range.
        latch_window: seconds after an offer or answer in which a source may be latched on to.
        stream_limit: streams that one description may have; an offer of more fails with `SdpError`.
        monitor: looks after the media of answered calls; nobody does without it.
        entropy: for keys of SRTP.
        seconds: the time.
        recorder: makes recordings; nothing is recorded without it.
        announcer: plays to legs; nothing is played without it.
        pacer: for telephone events; none can be sent without it.

    Attributes:
        choose: gives the engine for a new session, or ``None`` for the one that is always there.

    Raises:
        ConfigurationError: there is no address, or there are two of one version of IP.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        engine: Engine,
        addresses: Sequence[MediaAddress],
        ports: PortAllocator,
        latch_window: float = 5.0,
        stream_limit: int = 16,
        monitor: Monitor | None = None,
        entropy: Entropy = os.urandom,
        seconds: Callable[[], float] = time.monotonic,
        recorder: Recorder | None = None,
        announcer: Announcer | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        by_type = {address.address_type: address for address in addresses}
        if not addresses or len(by_type) < len(addresses):
            raise ConfigurationError(["media addresses: needed is one, or one each for IPv4 and IPv6"])
        self._settings = RelaySettings(
            addresses=by_type,
            ports=ports,
            latch_window=latch_window,
            stream_limit=stream_limit,
            home=engine,
            entropy=entropy,
            seconds=seconds,
            recorder=recorder,
            announcer=announcer,
            pacer=pacer,
        )
        self._engine = engine
        self._monitor = monitor
        self.choose: Callable[[], Engine | None] = _nobody
        self._sessions: dict[RelaySession, str] = {}
        self._forget = self._sessions.pop

    def __len__(self) -> int:
        """Count the sessions that are open."""
        return len(self._sessions)

    def sessions_by_engine(self) -> Counter[str]:
        """Count the sessions that are open, by the name of the engine that forwards."""
        return Counter(session.engine.name for session in self._sessions)

    def open_session(self, call_id: str, event: Callable[[str, str], None]) -> RelaySession:
        """See `IMediaRelay`."""
        chosen = self.choose()
        engine = self._engine if chosen is None else chosen
        session = RelaySession(call_id, self._settings, engine, event, self._forget, self._monitor)
        self._sessions[session] = call_id
        return session

    def engine_lost(self, engine: Engine) -> None:
        """Let the sessions of an engine that is gone go on with the one that is always there."""
        sessions = [session for session in self._sessions if session.engine is engine]
        for session in sessions:
            session.move(self._engine)
        if sessions:
            self._log.warn(
                "{count} calls were moved to the engine {engine}", count=len(sessions), engine=self._engine.name
            )

    def close(self) -> None:
        """Close all sessions, and the engine. Idempotent."""
        for session in list(self._sessions):
            session.close()
        self._engine.close()


def _nobody() -> None:
    return None
