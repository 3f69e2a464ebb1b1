"""Listeners and connectors of a simulated host, with the interfaces of Twisted's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionRefusedError,
    NotConnectingError,
    TCPTimedOutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IListeningPort
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import InvalidStateError
from sipd.testing.connections import SimulatedConnection
from sipd.testing.links import Address, Fate
from sipd.testing.sockets import BoundSocket, twisted_address

if TYPE_CHECKING:
    from sipd.testing.clock import SimulatedCall
    from sipd.testing.network import Host


@implementer(IListeningPort)
class SimulatedListener(BoundSocket):
    """A socket that takes connections. Made by `Host.listenTCP`."""

    def __init__(self, host: Host, port: int, factory: ServerFactory, interface: str) -> None:
        super().__init__(host, port, interface)
        self.factory = factory

    def startListening(self) -> None:
        """See ``IListeningPort``."""
        self._bind(self.host.listeners)
        self.factory.doStart()

    def stopListening(self) -> Deferred[None]:
        """See ``IListeningPort``. Connections that were taken live on."""
        if self._addresses:
            self._unbind(self.host.listeners)
            self.factory.doStop()
        return succeed(None)

    def getHost(self) -> IPv4Address | IPv6Address:
        """See ``IListeningPort``."""
        return twisted_address("TCP", self._local_address())

    def accept(self, connection: SimulatedConnection) -> bool:
        """Give a new connection a protocol; false if the factory does not want it."""
        protocol = self.factory.buildProtocol(connection.getPeer())
        if protocol is None:
            return False
        connection.start(protocol)
        return True


@implementer(IConnector)
class SimulatedConnector:
    """A connection attempt and what comes of it. Made by `Host.connectTCP`."""

    def __init__(
        self, host: Host, destination: Address, factory: ClientFactory[Any], timeout: float, bind: Address | None
    ) -> None:
        self.host = host
        self.state = "disconnected"
        self._destination = destination
        self._factory = factory
        self._timeout = timeout
        self._bind = bind
        self._connection: SimulatedConnection | None = None
        self._half_open: SimulatedConnection | None = None
        self._next_step: SimulatedCall | None = None

    def connect(self) -> None:
        """See ``IConnector``."""
        if self.state != "disconnected":
            raise InvalidStateError(f"cannot connect: {self.state}")
        self.state = "connecting"
        self._factory.doStart()
        self._factory.startedConnecting(self)
        address = self._bind[0] if self._bind and self._bind[0] else self.host.source_for(self._destination[0])
        if address is None:
            self._later(0.0, self._fail, ConnectError(string="no address of that family"))
            return
        local = (address, (self._bind[1] if self._bind else 0) or self.host.take_port())
        network = self.host.network
        source = network.public_source(self.host, local, self._destination)
        if network.is_cut(source[0], self._destination[0]) or not network.has_address(self.host, self._destination[0]):
            self._later(self._timeout, self._fail, TCPTimedOutError())
        else:
            self._later(network.delay(source, self._destination), self._reach, local, source)

    def stopConnecting(self) -> None:  # noqa: N802 (the interface's name)
        """See ``IConnector``."""
        if self.state != "connecting":
            raise NotConnectingError("we're not trying to connect")
        if self._next_step is not None:
            self._next_step.cancel()
        if self._half_open is not None:
            self._half_open.break_off()
        self._fail(UserError())

    def disconnect(self) -> None:
        """See ``IConnector``."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self._connection is not None:
            self._connection.loseConnection()

    def getDestination(self) -> IPv4Address | IPv6Address:  # noqa: N802 (the interface's name)
        """See ``IConnector``."""
        return twisted_address("TCP", self._destination)

    def connection_lost(self, reason: Failure) -> None:
        """Take note that the connection ended."""
        self.state = "disconnected"
        self._connection = None
        self._factory.clientConnectionLost(self, reason)
        if self.state == "disconnected":
            self._factory.doStop()

    def _later(self, delay: float, step: Any, *args: object) -> None:
        self._next_step = self.host.callLater(delay, step, *args)

    def _reach(self, local: Address, source: Address) -> None:
        """Arrive at the other host; what it says takes as long to come back."""
        network = self.host.network
        back = network.delay(self._destination, source)
        listener = network.find_listener(self.host, self._destination)
        if listener is not None:
            here = SimulatedConnection(self.host, local, self._destination, source, self)
            there = SimulatedConnection(listener.host, self._destination, source, self._destination, None)
            here.other, there.other = there, here
            there.hold(back)
            if listener.accept(there):
                self._half_open = here
                self._later(back, self._open, here)
                return
        network.record(Fate.REFUSED, "TCP", source, self._destination)
        self._later(back, self._fail, ConnectionRefusedError())

    def _open(self, connection: SimulatedConnection) -> None:
        self._next_step = self._half_open = None
        protocol = self._factory.buildProtocol(connection.getPeer())
        if protocol is None:
            connection.break_off()
            self._fail(ConnectionAborted())
            return
        self.state = "connected"
        self._connection = connection
        connection.start(protocol)

    def _fail(self, error: Exception) -> None:
        self._next_step = None
        self.state = "disconnected"
        self._factory.clientConnectionFailed(self, Failure(error))
        if self.state == "disconnected":
            self._factory.doStop()
