"""Several rtpengine daemons, each with its share of the calls."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from twisted.internet.defer import Deferred, gatherResults

from sipd.errors import ConfigurationError, ResourcesExhaustedError
from sipd.interfaces import Entropy
from sipd.media.rtpengine.client import ClientReactor, NgClient
from sipd.media.rtpengine.settings import ClientSettings, DaemonAddress


class DaemonPool:
    """Chooses a daemon for each new call; the call stays with it.

    Args:
        daemons: their addresses and weights; at least one, each once.
        settings: how they are spoken to.
        reactor: gives the time and the sockets.
        entropy: gives cookies, and chooses.

    Raises:
        ConfigurationError: an address, a weight or a setting cannot be used.
    """

    def __init__(
        self, *, daemons: Sequence[DaemonAddress], settings: ClientSettings, reactor: ClientReactor, entropy: Entropy
    ) -> None:
        settings.check(daemons)
        if not daemons:
            raise ConfigurationError(["rtpengine: there must be a daemon"])
        if len({daemon.place for daemon in daemons}) < len(daemons):
            raise ConfigurationError(["rtpengine: each daemon may be named once"])
        self._entropy = entropy
        self.clients = tuple(
            [NgClient(address=daemon, settings=settings, reactor=reactor, entropy=entropy) for daemon in daemons]
        )

    def start(self) -> None:
        """Open the sockets, and begin to ask whether the daemons are there.

        Raises:
            CannotListenError: there is no socket.
        """
        for client in self.clients:
            client.start()

    def choose(self, tried: Collection[NgClient] = ()) -> NgClient:
        """Give a daemon for a new call: at random, each as often as its weight says, among those that are alive.

        Args:
            tried: those that do not take this call.

        Raises:
            ResourcesExhaustedError: there is none left.
        """
        candidates = [
            client for client in self.clients if client.is_alive and client.address.weight and client not in tried
        ]
        total = sum(client.address.weight for client in candidates)
        if not total:
            raise ResourcesExhaustedError(f"no rtpengine daemon takes this call: {self._explain(tried)}")
        point = int.from_bytes(self._entropy(8), "big") * total >> 64
        for client in candidates:
            point -= client.address.weight
            if point < 0:
                return client
        raise AssertionError("the weights do not add up")

    def close(self) -> Deferred[None]:
        """Close the sockets. Idempotent."""
        return gatherResults([client.close() for client in self.clients]).addCallback(lambda _: None)

    def _explain(self, tried: Collection[NgClient]) -> str:
        """Say what is the matter with each."""
        return ", ".join(
            f"{client} "
            + (
                "has failed it"
                if client in tried
                else "does not answer"
                if not client.is_alive
                else "is to take no new calls"
            )
            for client in self.clients
        )
