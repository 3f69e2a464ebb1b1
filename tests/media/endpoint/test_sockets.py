"""The two sockets of an endpoint, on the real reactor."""

from __future__ import annotations

import gc
import secrets
import socket
import warnings

from twisted.internet import reactor as real_reactor  # noqa: TID251 - real sockets
from twisted.internet.interfaces import IReactorUDP
from twisted.trial.unittest import TestCase

from sipd.errors import ResourcesExhaustedError
from sipd.media.endpoint.sockets import SocketPair

HOST = "127.0.0.1"


class SocketPairTests(TestCase):
    """What is bound, and what is left where it cannot be."""

    async def test_taken(self) -> None:
        """Where one port of the pair is taken nothing is bound, and no socket is left open."""
        for place in (0, 1):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
                low = self.bind_even(taken, place)
                with warnings.catch_warnings(record=True) as seen:
                    warnings.simplefilter("always")
                    with self.assertRaises(ResourcesExhaustedError):
                        SocketPair(IReactorUDP(real_reactor), HOST, (low, low + 1), secrets.token_bytes)
                    gc.collect()
                self.assertEqual([str(one.message) for one in seen], [])

    def bind_even(self, made: socket.socket, place: int) -> int:
        """Bind the even port of a pair, or the one after it; give the even one."""
        while True:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.bind((HOST, 0))
                low = probe.getsockname()[1] & ~1
            try:
                made.bind((HOST, low + place))
            except OSError:
                continue
            return int(low)
