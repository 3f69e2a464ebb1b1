"""The messages of a scripted peer on the wire: sent again until they are answered, and answered again when repeated.

This knows as little of SIP as it can (RFC 3261 sections 17 and 18, in a simple way), and nothing of sipd's own
transactions, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from sipd.errors import ParseError
from sipd.interfaces import Entropy
from sipd.sip.identifiers import new_branch
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.links import Address
from sipd.testing.wire import DatagramWire, StreamWire

T1, T2 = 0.5, 4.0
TIMEOUT = 64 * T1

#: Answers the request that came with it.
Reply = Callable[[Response], None]


class ClientExchange:
    """One request that was sent, and what came back.

    Args:
        exchanges: that it is one of.
        request: as it is sent.
        destination: where to.
        responded: called with each response, or with ``None`` if there is no final one in time.
    """

    def __init__(
        self,
        exchanges: Exchanges,
        request: Request,
        destination: Address,
        responded: Callable[[Response | None], None],
    ) -> None:
        self.request = request
        self.destination = destination
        self.is_provisional = False
        self.is_final = False
        self.is_cancelled = False
        self._exchanges = exchanges
        self._responded = responded
        self._ack: Request | None = None
        self._interval = T1
        self._end: IDelayedCall = exchanges.reactor.callLater(TIMEOUT, self._give_up)
        self._again: IDelayedCall | None = None
        if not exchanges.transport.is_reliable:
            self._again = exchanges.reactor.callLater(T1, self._repeat)
        exchanges.send(request, destination)

    def received(self, response: Response) -> None:
        """Take a response. A refusal of an INVITE is acknowledged each time it comes (section 17.1.1.3)."""
        is_invite = self.request.method == "INVITE"
        if response.is_provisional:
            self.is_provisional = True
            if is_invite and not self.is_final:
                self.stop()  # whoever rings may ring for long
        elif not self.is_final:
            self.is_final = True
            self.limit()
            _cancel(self._again)
        elif not (is_invite and response.is_success):
            self._acknowledge(response)
            return
        self._acknowledge(response)
        self._responded(response)

    def limit(self) -> None:
        """Be forgotten after the usual time from now; without a final response by then there will be none."""
        _cancel(self._end)
        self._end = self._exchanges.reactor.callLater(TIMEOUT, self._give_up)

    def stop(self) -> None:
        """Stop all timers."""
        _cancel(self._again)
        _cancel(self._end)

    def _acknowledge(self, response: Response) -> None:
        if self.request.method == "INVITE" and response.status >= 300:
            self._exchanges.send(builders.ack(self.request, response), self.destination)

    def _repeat(self) -> None:
        self._exchanges.send(self.request, self.destination)
        self._interval *= 2
        if self.request.method != "INVITE":
            self._interval = T2 if self.is_provisional else min(self._interval, T2)
        self._again = self._exchanges.reactor.callLater(self._interval, self._repeat)

    def _give_up(self) -> None:
        self.stop()
        self._exchanges.forget_client(self)
        if not self.is_final:
            self.is_final = True
            self._responded(None)


class ServerExchange:
    """One request that came, and how it was answered.

    Args:
        exchanges: that it is one of.
        request: as it came.
        source: where from; answers go there.

    Attributes:
        answer: the response that was sent last.
    """

    def __init__(self, exchanges: Exchanges, request: Request, source: Address) -> None:
        self.request = request
        self.answer: Response | None = None
        self.is_acknowledged = False
        self._exchanges = exchanges
        self._source = source
        self._interval = T1
        self._again: IDelayedCall | None = None
        self._end: IDelayedCall | None = None

    def reply(self, response: Response) -> None:
        """Send a response; a final one to an INVITE is repeated until it is acknowledged (17.2.1, 13.3.1.4).

        After a final one there is no other.
        """
        if self._end is not None:
            return
        self.answer = response
        self._exchanges.send(response, self._source)
        if response.is_provisional:
            return
        self._end = self._exchanges.reactor.callLater(TIMEOUT, self._forget)
        if self.request.method == "INVITE" and (response.is_success or not self._exchanges.transport.is_reliable):
            self._again = self._exchanges.reactor.callLater(T1, self._repeat)

    def repeated(self) -> None:
        """Answer the same request again."""
        if self.answer is not None:
            self._exchanges.send(self.answer, self._source)

    def acknowledged(self) -> None:
        """Stop repeating."""
        self.is_acknowledged = True
        _cancel(self._again)

    def stop(self) -> None:
        """Stop all timers."""
        _cancel(self._again)
        _cancel(self._end)

    def _repeat(self) -> None:
        self.repeated()
        self._interval = min(self._interval * 2, T2)
        self._again = self._exchanges.reactor.callLater(self._interval, self._repeat)

    def _forget(self) -> None:
        self.stop()
        self._exchanges.forget_server(self)


class Exchanges:
    """What a peer has asked and was asked.

    Args:
        reactor: a `Host` of a simulated network, or a real reactor.
        local: the numeric address and port of the peer: bound for UDP, and what Via says.
        transport: `UDP`; or `TCP`: one connection to the proxy, for everything.
        proxy: where a connection goes.
        entropy: gives branches.
        requested: called with each new request, and what answers it; an ACK is not answered.
        unacknowledged: called with an INVITE whose 2xx was never acknowledged.

    Attributes:
        seen: called with each message that came, repeated ones included, if set.
    """

    def __init__(
        self,
        reactor: Any,
        local: Address,
        transport: Transport,
        proxy: Address,
        entropy: Entropy,
        requested: Callable[[Request, Reply], None],
        unacknowledged: Callable[[Request], None],
    ) -> None:
        self.reactor = reactor
        self.local = local
        self.transport = transport
        self.seen: Callable[[Request | Response], None] | None = None
        self._entropy = entropy
        self._requested = requested
        self._unacknowledged = unacknowledged
        self._clients: dict[tuple[str, str], ClientExchange] = {}
        self._servers: dict[tuple[str, str, str], ServerExchange] = {}
        self._wire: DatagramWire | StreamWire
        if transport.is_reliable:
            self._wire = StreamWire(reactor, proxy, self._received)
        else:
            self._wire = DatagramWire(reactor, local, self._received)

    def __len__(self) -> int:
        """How many exchanges are not forgotten yet."""
        return len(self._clients) + len(self._servers)

    def ask(
        self, request: Request, destination: Address, responded: Callable[[Response | None], None]
    ) -> ClientExchange:
        """Send a request in a new exchange; adds the Via.

        Args:
            request: belongs to the exchange from now on.
            destination: where it goes.
            responded: called with each response, or with ``None`` if there is no final one in time.
        """
        branch = self.add_via(request)
        exchange = ClientExchange(self, request, destination, responded)
        self._clients[branch, request.method] = exchange
        return exchange

    def cancel(self, exchange: ClientExchange) -> None:
        """Send the CANCEL of an INVITE (section 9.1). The INVITE still gets its final response."""
        exchange.is_cancelled = True
        cancel = builders.cancel(exchange.request)
        self._clients[cancel.via.branch, "CANCEL"] = ClientExchange(self, cancel, exchange.destination, _ignore)
        exchange.limit()

    def add_via(self, request: Request) -> str:
        """Put a Via with a new branch on top; give the branch."""
        branch = new_branch(self._entropy)
        host = f"[{self.local[0]}]" if ":" in self.local[0] else self.local[0]
        via = f"SIP/2.0/{self.transport.value} {host}:{self.local[1]};branch={branch};rport"
        request.headers.prepend("Via", via)
        return branch

    def send(self, message: Request | Response, destination: Address) -> None:
        """Send a message once: an ACK to a 2xx, or anything that a test wants to see on the wire."""
        self._wire.send(message, destination)

    def close(self) -> None:
        """Forget everything, and close the port or the connection."""
        for asked in self._clients.values():
            asked.stop()
        for answered in self._servers.values():
            answered.stop()
        self._clients.clear()
        self._servers.clear()
        self._wire.close()

    def forget_client(self, exchange: ClientExchange) -> None:
        """Drop a client exchange that is over."""
        self._clients.pop((exchange.request.via.branch, exchange.request.method), None)

    def forget_server(self, exchange: ServerExchange) -> None:
        """Drop a server exchange that is over."""
        del self._servers[_server_key(exchange.request)]
        answer = exchange.answer
        if exchange.request.method == "INVITE" and not exchange.is_acknowledged and answer and answer.is_success:
            self._unacknowledged(exchange.request)

    def _received(self, message: Request | Response, source: Address) -> None:
        try:
            if isinstance(message, Response):
                self._response_received(message)
            else:
                self._request_received(message, source)
        except ParseError:
            return

    def _response_received(self, response: Response) -> None:
        exchange = self._clients.get((response.via.branch, response.cseq.method))
        if self.seen is not None:
            self.seen(response)
        if exchange is not None:
            exchange.received(response)

    def _request_received(self, request: Request, source: Address) -> None:
        key = _server_key(request)
        if self.seen is not None:
            self.seen(request)
        if request.method == "ACK":
            self._acknowledge(request)
            return
        exchange = self._servers.get(key)
        if exchange is not None:
            exchange.repeated()
            return
        exchange = self._servers[key] = ServerExchange(self, request, source)
        self._requested(request, exchange.reply)

    def _acknowledge(self, ack: Request) -> None:
        """Find what an ACK is for by Call-ID and number, which the ACKs of all responses have in common."""
        for exchange in self._servers.values():
            invite = exchange.request
            if invite.method == "INVITE" and (invite.call_id, invite.cseq.number) == (ack.call_id, ack.cseq.number):
                if not exchange.is_acknowledged:
                    exchange.acknowledged()
                    self._requested(ack, _ignore)
                return


def _server_key(request: Request) -> tuple[str, str, str]:
    return (request.via.branch, request.via.sent_by, request.method)


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()


def _ignore(response: Response | None) -> None:
    pass
