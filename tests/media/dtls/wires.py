"""Two handshakes and the network between them, which is as bad as a test wants it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from sipd.media.dtls.handshake import DEFAULT_LIMITS, DtlsHandshake, DtlsLimits
from sipd.media.dtls.identity import DtlsIdentity
from sipd.sdp.fingerprints import Fingerprint
from sipd.testing.clock import SimulatedClock

#: Seconds that a datagram is on its way.
DELAY = 0.02

#: Gives the seconds after which a datagram arrives, once for each time that it does.
Fate = Callable[[bytes], Sequence[float]]


def good(_: bytes) -> Sequence[float]:
    """Let every datagram arrive."""
    return (DELAY,)


def bad(random: Random, *, loss: float, doubling: float = 0.1) -> Fate:
    """Let datagrams be lost, doubled and overtaken by others.

    Args:
        random: decides.
        loss: the share that is lost.
        doubling: the share of others that arrives twice.
    """

    def fate(_: bytes) -> Sequence[float]:
        if random.random() < loss:
            return ()
        times = 2 if random.random() < doubling else 1
        return [random.uniform(0.1, 3) * DELAY for _ in range(times)]

    return fate


class Wire:
    """A client and a server, and what each has sent.

    Args:
        client: its identity.
        server: its identity.
        fate: of datagrams.
        expected_by_client: instead of the fingerprint of the server.
        expected_by_server: instead of the fingerprint of the client.
        limits: of both.
    """

    def __init__(
        self,
        client: DtlsIdentity,
        server: DtlsIdentity,
        *,
        fate: Fate = good,
        expected_by_client: Sequence[Fingerprint] = (),
        expected_by_server: Sequence[Fingerprint] = (),
        limits: DtlsLimits = DEFAULT_LIMITS,
    ) -> None:
        self.clock = SimulatedClock()
        self.fate = fate
        self.said_by_client: list[bytes] = []
        self.said_by_server: list[bytes] = []
        self.client = DtlsHandshake(
            client,
            is_client=True,
            expected=expected_by_client or [server.fingerprint],
            send=lambda data: self._carry(data, self.said_by_client, self.server),
            clock=self.clock,
            limits=limits,
        )
        self.server = DtlsHandshake(
            server,
            is_client=False,
            expected=expected_by_server or [client.fingerprint],
            send=lambda data: self._carry(data, self.said_by_server, self.client),
            clock=self.clock,
            limits=limits,
        )

    def run(self, duration: float = 30.0) -> None:
        """Begin, and let time pass."""
        self.server.start()
        self.client.start()
        self.clock.advance(duration)

    def _carry(self, data: bytes, said: list[bytes], receiver: DtlsHandshake) -> None:
        said.append(data)
        for delay in self.fate(data):
            self.clock.callLater(delay, receiver.datagram_received, data)
