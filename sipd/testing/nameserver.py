"""A name server for tests (RFC 1035), on a simulated host or on a real reactor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, ITCPTransport
from twisted.internet.protocol import ServerFactory
from twisted.names import dns

#: Anything of `twisted.names.dns` called `Record_...`.
Record = Any

_AUTHORITY = dns.Record_SOA(mname=b"ns.invalid", rname=b"nobody.invalid", minimum=60, ttl=60)


class NameServer:
    """Answers from a table, which may change, over UDP and TCP.

    Args:
        reactor: gives sockets: a `Host`, or the real one.
        host: where to listen.
        port: where to listen; 0 for any.
        records: name in lower case to its records, all of them. A name that is not in it does not exist.

    Attributes:
        records: the table.
        asked: every question that came: name and type of records, ``TCP`` before the name where it came that way.
        errors: name and type of records to the error that such a question is answered with, such as ``dns.ESERVER``.
        is_silent: it takes questions, and says nothing.
        follows_aliases: it gives the records of the name that a name is an alias of.
        is_helpful: it adds the records that the answer leads to (RFC 2782).
        says_for_how_long: it says for how long it holds that there is nothing (RFC 2308): one minute.
    """

    def __init__(
        self, reactor: Any, host: str, port: int = dns.PORT, records: Mapping[str, Sequence[Record]] | None = None
    ) -> None:
        self.records: dict[str, Sequence[Record]] = dict(records or {})
        self.asked: list[tuple[str, int]] = []
        self.errors: dict[tuple[str, int], int] = {}
        self.is_silent = False
        self.follows_aliases = True
        self.is_helpful = False
        self.says_for_how_long = True
        self._connections: list[dns.DNSProtocol] = []
        datagrams = dns.DNSDatagramProtocol(self, reactor=reactor)
        listening: IListeningPort = reactor.listenUDP(port, datagrams, interface=host)
        self.port: int = cast(Any, listening.getHost()).port
        streams: IListeningPort = reactor.listenTCP(self.port, _Streams(self, reactor), interface=host)
        self._listening = [listening, streams]

    def close(self) -> Deferred[None]:
        """Stop listening."""
        for protocol in self._connections:
            cast(ITCPTransport, protocol.transport).abortConnection()
        ending = [maybeDeferred(listening.stopListening) for listening in self._listening]
        return gatherResults(ending).addCallback(lambda _: None)

    # --- what Twisted's protocols call ---------------------------------------------------------------------

    def connectionMade(self, protocol: dns.DNSProtocol) -> None:
        """See ``dns.DNSProtocol``."""
        self._connections.append(protocol)

    def connectionLost(self, protocol: dns.DNSProtocol) -> None:
        """See ``dns.DNSProtocol``."""
        self._connections.remove(protocol)

    def messageReceived(  # noqa: N802 (Twisted's name)
        self, message: dns.Message, protocol: Any, address: tuple[str, int] | None = None
    ) -> None:
        """See ``dns.DNSMixin``: a question."""
        query = message.queries[0]
        name = query.name.name.decode().lower()
        self.asked.append((name if address is not None else f"TCP {name}", query.type))
        if self.is_silent:
            return
        reply = dns.Message(message.id, answer=1, recDes=1, recAv=1, maxSize=0 if address is None else 512)
        reply.queries = [query]
        self._fill(reply, name, query.type)
        protocol.writeMessage(*((reply,) if address is None else (reply, address)))

    def _fill(self, reply: dns.Message, name: str, kind: int) -> None:
        if (name, kind) in self.errors:
            reply.rCode = self.errors[name, kind]
            return
        reply.answers = self._find(name, kind)
        if name not in self.records:
            reply.rCode = dns.ENAME
        if self.is_helpful:
            for answer in reply.answers:
                reply.additional += self._lead(answer.payload)
        if not reply.answers and self.says_for_how_long:
            reply.authority = [dns.RRHeader(b"invalid", dns.SOA, dns.IN, 60, _AUTHORITY)]

    def _find(self, name: str, kind: int) -> list[dns.RRHeader]:
        """Give the records of a name, aliases followed."""
        records = self.records.get(name, ())
        found = [record for record in records if record.TYPE in (kind, dns.CNAME)]
        headers = [dns.RRHeader(name.encode(), one.TYPE, dns.IN, one.ttl or 0, one) for one in found]
        for record in found:
            if record.TYPE == dns.CNAME and kind != dns.CNAME and self.follows_aliases:
                headers += self._find(record.name.name.decode().lower(), kind)
        return headers

    def _lead(self, payload: Any) -> list[dns.RRHeader]:
        """Give the records that a record leads to."""
        if isinstance(payload, dns.Record_NAPTR):
            services = self._find(payload.replacement.name.decode().lower(), dns.SRV)
            return services + [header for service in services for header in self._lead(service.payload)]
        if isinstance(payload, dns.Record_SRV):
            host = payload.target.name.decode().lower()
            return self._find(host, dns.A) + self._find(host, dns.AAAA)
        return []


class _Streams(ServerFactory):
    """Takes questions that come by TCP."""

    noisy = False

    def __init__(self, server: NameServer, reactor: Any) -> None:
        self._server = server
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> dns.DNSProtocol:
        """See ``ServerFactory``."""
        return dns.DNSProtocol(self._server, reactor=self._reactor)


def address(text: str, ttl: int = 300) -> Record:
    """Give an A or AAAA record."""
    return dns.Record_AAAA(text, ttl=ttl) if ":" in text else dns.Record_A(text, ttl=ttl)


def service(host: str, port: int, *, priority: int = 1, weight: int = 0, ttl: int = 300) -> Record:
    """Give an SRV record."""
    return dns.Record_SRV(priority, weight, port, host.encode(), ttl=ttl)


def pointer(kind: str, replacement: str, *, order: int = 1, preference: int = 1, ttl: int = 300) -> Record:
    """Give a NAPTR record of a service such as ``SIP+D2U``."""
    return dns.Record_NAPTR(order, preference, b"s", kind.encode(), b"", replacement.encode(), ttl=ttl)


def alias(name: str, ttl: int = 300) -> Record:
    """Give a CNAME record."""
    return dns.Record_CNAME(name.encode(), ttl=ttl)
