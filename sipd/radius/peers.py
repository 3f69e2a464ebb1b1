"""RADIUS servers that know the same: one after another is asked, those that did not answer of late last."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from sipd.radius.peer import MakeRequest, RadiusPeer, RadiusServer, RadiusSettings, RadiusUnavailableError


class RadiusPeers:
    """Asks one server after another, until one answers.

    Args:
        servers: in order.
        settings: how each is asked.
        reactor: gives time and sockets.
        first_identifier: see `RadiusPeer`.
    """

    def __init__(
        self,
        servers: Sequence[RadiusServer],
        settings: RadiusSettings,
        *,
        reactor: Any,
        first_identifier: int = 0,
    ) -> None:
        self._peers = [
            RadiusPeer(server, settings, reactor=reactor, first_identifier=first_identifier) for server in servers
        ]

    async def ask(self, make: MakeRequest, codes: Container[int]) -> int:
        """Give the code of the first answer.

        Args:
            make: makes the request, for each server another one; what that raises ends it all.
            codes: of packets that are answers to it.

        Raises:
            RadiusUnavailableError: no server answers. The text has the reason of each.
        """
        reasons = []
        for peer in sorted(self._peers, key=lambda peer: peer.is_resting):
            try:
                return await peer.ask(make, codes)
            except RadiusUnavailableError as error:
                if peer.is_closed:
                    raise
                reasons.append(str(error))
        raise RadiusUnavailableError(", ".join(reasons))

    def close(self) -> Deferred[None]:
        """Give up every request, and close the sockets. Idempotent."""
        return gatherResults([peer.close() for peer in self._peers]).addCallback(lambda _: None)
