"""A UDP path that loses datagrams, for programs on both sides that know nothing of it.

SIPp has an option `-lost`, but with it SIPp forgets what it answered, and fails calls for no fault of the other side.
"""

import random
from collections.abc import Callable

from twisted.internet.interfaces import IReactorUDP
from twisted.internet.protocol import DatagramProtocol

from tests.ports import HOST

Address = tuple[str, int]


class End(DatagramProtocol):
    """One socket of the path."""

    def __init__(self, received: Callable[[bytes, Address], None]) -> None:
        self._received = received

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Hand it to the path."""
        self._received(datagram, addr)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram."""
        assert self.transport is not None
        self.transport.write(datagram, address)


class LossyWire:
    """Carries datagrams between whoever sends to `port` and the server behind it, and loses some, both ways.

    Args:
        reactor: opens the sockets.
        port: where the client sends to.
        server_port: where the server listens.
        loss: the share that is lost, 0 to 1.
        seed: of the dice.
    """

    def __init__(self, reactor: IReactorUDP, port: int, server_port: int, loss: float, seed: int) -> None:
        self.port = port
        self.carried = self.lost = 0
        self._loss = loss
        self._dice = random.Random(seed)
        self._client: Address | None = None
        self._server = (HOST, server_port)
        self._front = End(self._from_client)
        self._back = End(self._from_server)
        self._ports = [
            reactor.listenUDP(port, self._front, HOST, maxPacketSize=65536),
            reactor.listenUDP(0, self._back, HOST, maxPacketSize=65536),
        ]

    def _from_client(self, datagram: bytes, address: Address) -> None:
        self._client = address
        self._carry(self._back, datagram, self._server)

    def _from_server(self, datagram: bytes, _: Address) -> None:
        if self._client is not None:
            self._carry(self._front, datagram, self._client)

    def _carry(self, end: End, datagram: bytes, address: Address) -> None:
        if self._dice.random() < self._loss:
            self.lost += 1
            return
        self.carried += 1
        end.send(datagram, address)

    def close(self) -> None:
        """Close both sockets."""
        for port in self._ports:
            port.stopListening()
