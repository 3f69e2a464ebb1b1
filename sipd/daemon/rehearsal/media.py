"""Media that never flow: descriptions are rewritten as the relay does it, with ports that nobody binds."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from sipd.daemon import layers
from sipd.daemon.sections import Config
from sipd.interfaces import Entropy, IMediaRelay
from sipd.media.bypass import Bypass
from sipd.media.latch import Address
from sipd.media.ports import PortAllocator, PortPair
from sipd.media.relay import MediaRelay

if TYPE_CHECKING:
    from sipd.media.engine import Forwarder
    from sipd.media.stream import RelayStream


def rehearsed_media(config: Config, clock: IReactorTime, entropy: Entropy) -> IMediaRelay:
    """Give a relay. What rtpengine relays gets ports of ours here: which those are, it alone would know."""
    media = config.media
    if not media.relay:
        return Bypass()
    return MediaRelay(
        engine=_Engine(),
        addresses=layers.media_addresses(config),
        ports=_Ports(clock=clock, low=media.first_port, high=media.last_port),
        entropy=entropy,
        seconds=clock.seconds,
    )


class _Ports(PortAllocator):
    """Gives pairs one after another, and binds none."""

    def __init__(self, *, clock: IReactorTime, low: int, high: int) -> None:
        super().__init__(clock=clock, low=low, high=high)
        self._given = 0

    def take(self, host: str) -> PortPair:
        """See `PortAllocator`."""
        port = self._evens[self._given % len(self._evens)]
        self._given += 1
        nothing = cast(socket.socket, None)  # the engine below looks at no socket
        return PortPair(host, port, nothing, nothing)

    def release(self, pair: PortPair) -> None:
        """See `PortAllocator`."""


class _Engine:
    """See `Engine`. Forwards nothing."""

    name = "rehearsal"
    treats = True

    def forward(self, stream: RelayStream) -> Forwarder:
        return _Forwarder()

    def settle(self) -> Deferred[None]:
        return succeed(None)

    def close(self) -> None:
        pass


class _Forwarder:
    """See `Forwarder`."""

    def signal(self, rtp: Address | None, rtcp: Address | None, window: float) -> None:
        pass

    def connect_to(self, other: Any) -> None:
        pass

    def adapt(self) -> None:
        pass

    def treat(self) -> None:
        pass

    def inject(self, packet: bytes) -> None:
        pass

    def count(self) -> None:
        pass

    def close(self) -> None:
        pass
