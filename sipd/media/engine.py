"""What an engine is: it carries the datagrams of streams, while the session knows which streams there are.

The sockets of a stream belong to the session, and stay open when another engine takes over. Whatever comes meanwhile
waits in them: nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sipd.media.latch import Address

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.media.stream import RelayStream


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What an engine of sipd's own does beside forwarding.

    Args:
        flood_limit: datagrams that a socket of RTP takes in a second at most; those above it are not read.
        rtcp_flood_limit: the same for a socket of RTCP.
        keepalive: seconds after which a leg of RTP that was sent nothing is sent an empty datagram, so that the
            bindings of NATs on the way stay (RFC 6263); 0 for never. Less than 10 may be sent needlessly to a leg whose
            media the kernel forwards.
    """

    flood_limit: int = 2000
    rtcp_flood_limit: int = 200
    keepalive: float = 15.0


#: What an engine does if nobody says otherwise.
DEFAULT_ENGINE_SETTINGS = EngineSettings()


class Forwarder(Protocol):
    """An engine's part in one stream of one leg."""

    def signal(self, rtp: Address | None, rtcp: Address | None, window: float) -> None:
        """Take note of where the leg wants its media, by an offer or answer that has come into force.

        Args:
            rtp: where RTP is to go, as a numeric address; ``None`` if it named none.
            rtcp: the same for RTCP.
            window: seconds in which a source may be latched on to.
        """

    def connect_to(self, other: Forwarder | None) -> None:
        """Forward what comes from the leg to another one's forwarder of this engine; nowhere if ``None``."""

    def adapt(self) -> None:
        """Take note that the stream's media are of another kind now, or are to be treated in another way."""

    def treat(self) -> None:
        """Take note that the packets of this stream, or of the other one, are to be treated in another way."""

    def inject(self, packet: bytes) -> None:
        """Send a packet of RTP to the leg."""

    def count(self) -> None:
        """Bring the stream's statistics up to date, as far as they are known."""

    def close(self) -> None:
        """Forward nothing any more. Leaves the sockets open."""


class Engine(Protocol):
    """Carries datagrams.

    Attributes:
        name: in configurations, records and explanations.
        treats: whether it can do with packets what a `Treatment` says; another one may only pass them on.
    """

    name: str
    treats: bool

    def forward(self, stream: RelayStream) -> Forwarder:
        """Begin with a stream: its sockets, its latches as they are.

        Raises:
            MediaEngineError: this engine cannot take it.
        """

    def settle(self) -> Deferred[None]:
        """Fire when all that was asked for so far is done, and all counters asked for are known. Never fails."""

    def close(self) -> None:
        """Free what the engine holds. Idempotent."""


#: Tells what a call's explanation should say: a short fixed word, and a line for a person.
Report = Callable[[str, str], None]
