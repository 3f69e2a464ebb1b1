"""The media relay inside the process: sockets in the reactor, datagrams from leg to leg as they are.

It relays any kind of media, since it looks no further than the address. Which source it believes: `sipd.media.latch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zope.interface import implementer

from sipd.errors import ConfigurationError
from sipd.interfaces import IMediaRelay
from sipd.media.poller import MediaReactor
from sipd.media.ports import MediaAddress, PortAllocator
from sipd.media.reactor import ReactorEngine
from sipd.media.session import RelaySession, RelaySettings


@implementer(IMediaRelay)
class ReactorRelay:
    """Relays in the thread of the reactor.

    Args:
        reactor: which waits for datagrams and gives the time.
        addresses: where media comes in: one for each version of IP that is served. The first is taken where neither a
            leg's own address nor its signalling says which.
        ports: gives pairs of ports on those addresses; may be shared with other users of the range.
        latch_window: seconds after an offer or answer in which a source may be latched on to.
        stream_limit: streams that one description may have; an offer of more fails with `SdpError`.
        pause: seconds for which datagrams are gathered at most before they are relayed together; 0 for no delay and
            more processor time.

    Raises:
        ConfigurationError: there is no address, or there are two of one version of IP.
    """

    def __init__(
        self,
        *,
        reactor: MediaReactor,
        addresses: Sequence[MediaAddress],
        ports: PortAllocator,
        latch_window: float = 5.0,
        stream_limit: int = 16,
        pause: float = 0.002,
    ) -> None:
        by_type = {address.address_type: address for address in addresses}
        if not addresses or len(by_type) < len(addresses):
            raise ConfigurationError(["media addresses: needed is one, or one each for IPv4 and IPv6"])
        self._settings = RelaySettings(
            addresses=by_type, ports=ports, latch_window=latch_window, stream_limit=stream_limit
        )
        self._engine = ReactorEngine(reactor, pause=pause)
        self._sessions: dict[RelaySession, str] = {}
        self._forget = self._sessions.pop

    def __len__(self) -> int:
        """Count the sessions that are open."""
        return len(self._sessions)

    def open_session(self, call_id: str, event: Callable[[str, str], None]) -> RelaySession:
        """See `IMediaRelay`."""
        session = RelaySession(self._settings, self._engine, event, self._forget)
        self._sessions[session] = call_id
        return session

    def close(self) -> None:
        """Close all sessions. Idempotent."""
        for session in list(self._sessions):
            session.close()
