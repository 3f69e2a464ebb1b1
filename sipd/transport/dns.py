"""Asks name servers (RFC 1035): by UDP, and by TCP what did not fit into a datagram.

Twisted has the protocol; what is here is which server is asked, for how long, and that nothing stays behind. Each
question has a socket of its own: who wants to forge an answer has to guess its port, too (RFC 5452 section 9.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError, ConnectError, ConnectionLost
from twisted.internet.interfaces import IReactorTCP, IReactorTime, IReactorUDP, ITCPTransport
from twisted.names import dns
from zope.interface import implementer

from sipd.errors import UnresolvableError
from sipd.transport.interfaces import INameClient

#: Host and port of a name server.
ServerAddress = tuple[str, int]

#: Seconds that each server is given, in each round.
TIMEOUTS = (0.5, 1.0, 2.0)
#: Seconds for which a server that did not answer is asked after the others.
_REST = 30.0
_MAX_DATAGRAM_OCTETS = 4096


class ClientReactor(IReactorUDP, IReactorTCP, IReactorTime):
    """The parts of a reactor that questions need."""


@implementer(INameClient)
class NameClient:
    """Asks one of several name servers that look everything up by themselves.

    Args:
        reactor: gives sockets and time.
        servers: gives the servers to ask, in the order of preference.
        timeouts: seconds that each server is given; one round over all servers for each.
    """

    def __init__(
        self,
        reactor: ClientReactor,
        servers: Callable[[], Sequence[ServerAddress]],
        *,
        timeouts: Sequence[float] = TIMEOUTS,
    ) -> None:
        self._reactor = reactor
        self._servers = servers
        self._timeouts = tuple(timeouts)
        self._resting: dict[ServerAddress, float] = {}

    def ask(self, name: str, kind: int) -> Deferred[dns.Message]:
        """See `INameClient`."""
        return Deferred.fromCoroutine(self._ask(name, kind))

    async def _ask(self, name: str, kind: int) -> dns.Message:
        if not is_domain_name(name):
            raise UnresolvableError(f"{name[:40]} is no host name")
        query = dns.Query(name.encode("ascii"), kind, dns.IN)
        servers = self._in_order()
        problem = "no name server is known"
        for timeout in self._timeouts:
            for server in tuple(servers):
                try:
                    message = await self._ask_server(server, query, timeout)
                except (dns.DNSQueryTimeoutError, CannotListenError, ConnectError, ConnectionLost, OSError):
                    self._resting[server] = self._reactor.seconds() + _REST
                    problem = "no name server answers"
                    continue
                if message.rCode in (dns.OK, dns.ENAME):
                    return message
                problem = f"{server[0]} answers with error {message.rCode}"
                servers.remove(server)
        raise UnresolvableError(f"{name} cannot be looked up: {problem}")

    def _in_order(self) -> list[ServerAddress]:
        """Give the servers to ask: those that did not answer a while ago come last."""
        servers = list(dict.fromkeys(self._servers()))
        now = self._reactor.seconds()
        self._resting = {server: end for server, end in self._resting.items() if end > now and server in servers}
        return sorted(servers, key=self._resting.__contains__)

    async def _ask_server(self, server: ServerAddress, query: dns.Query, timeout: float) -> dns.Message:
        protocol = dns.DNSDatagramProtocol(_Nobody(), reactor=self._reactor)
        interface = "::" if ":" in server[0] else ""
        listening = self._reactor.listenUDP(0, protocol, interface=interface, maxPacketSize=_MAX_DATAGRAM_OCTETS)
        try:
            message = await protocol.query(server, [query], timeout)
        finally:
            _forget(protocol)
            listening.stopListening()
        if message.trunc:
            message = await self._ask_by_tcp(server, query, timeout)
        return message

    async def _ask_by_tcp(self, server: ServerAddress, query: dns.Query, timeout: float) -> dns.Message:
        host, port = server
        endpoint = (TCP6ClientEndpoint if ":" in host else TCP4ClientEndpoint)(self._reactor, host, port, timeout)
        protocol: dns.DNSProtocol = await connectProtocol(endpoint, dns.DNSProtocol(_Nobody(), reactor=self._reactor))
        try:
            return await protocol.query([query], timeout)
        finally:
            _forget(protocol)
            cast(ITCPTransport, protocol.transport).abortConnection()


def is_domain_name(name: str) -> bool:
    """Say whether a name fits into a question (RFC 1035 section 2.3.4)."""
    return name.isascii() and len(name) <= 253 and all(0 < len(label) <= 63 for label in name.split("."))


class _Nobody:
    """What Twisted's protocols tell of besides the answer to a question: nobody needs it."""

    def connectionMade(self, protocol: dns.DNSProtocol) -> None:
        """See ``dns.DNSProtocol``."""

    def connectionLost(self, protocol: dns.DNSProtocol) -> None:
        """See ``dns.DNSProtocol``: there will be no answer."""
        waiting = [deferred for deferred, _ in protocol.liveMessages.values()]
        _forget(protocol)
        for deferred in waiting:
            deferred.errback(ConnectionLost())

    def messageReceived(  # noqa: N802 (Twisted's name)
        self, message: dns.Message, protocol: object, address: object = None
    ) -> None:
        """See ``dns.DNSMixin``: an answer to nothing that was asked."""


def _forget(protocol: dns.DNSDatagramProtocol | dns.DNSProtocol) -> None:
    """Stop the timers of the questions that still wait."""
    for _, timer in protocol.liveMessages.values():
        timer.cancel()
    protocol.liveMessages.clear()
