"""A stateless proxy: stands on the transport layer, without transactions (RFC 3261 section 16.11)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import RemoteError, RequestRefusedError, TransportError
from sipd.interfaces import IFlow, IMessageReceiver, IResolver, ITransportLayer
from sipd.proxy.computed import ComputedBranches, second_via
from sipd.proxy.forwarding import Forwarding, Outgoing, Received
from sipd.proxy.interfaces import IStatelessRouter
from sipd.proxy.responses import pop_via, send_by_via
from sipd.proxy.settings import ProxySettings
from sipd.sip.locate import Lookup, Target, find_destination
from sipd.sip.message import Request, Response
from sipd.sip.uri import Uri
from sipd.transport.via import build_refusal


@implementer(IMessageReceiver)
class StatelessProxy:
    """Forwards each message by itself: a request to one place, a response to where its Via says.

    Nothing is remembered, sent again or waited for. The branch of a request is a keyed hash of its sender's, so that a
    request that comes again, its CANCEL and the ACK of its refusal get the same one; and a response is forwarded only
    if its two topmost Via values belong together, so that nobody can have something sent to others from here.

    It is no open relay, by the same rules as `sipd.proxy.stateful.StatefulProxy`. Requests that are refused here are
    answered without a transaction, by a response that is the same each time.

    A next hop is best numeric. The servers of a name are asked for each time, without regard to their order: always the
    same one of the same servers takes a transaction, and the transactions are spread over all of them. Neither the size
    of a request nor a server that fails changes where it goes: that would need a memory.

    Args:
        transport: the layer below; its ``receiver`` has to be set to this.
        router: decides where requests go.
        key: 16 to 32 octets for the hashes. Of several such proxies behind one address all need the same one.
        settings: names, Record-Routing and Proxy-Require; of the bounds only ``max_contexts`` counts, for requests
            whose next hop is being looked for: at so many a further one is dropped.
        resolver: finds the servers of names; without one a next hop that is a name is answered with 502.

    Raises:
        ValueError: the key is too short or too long.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        transport: ITransportLayer,
        router: IStatelessRouter,
        key: bytes,
        settings: ProxySettings | None = None,
        resolver: IResolver | None = None,
    ) -> None:
        self.transport = transport
        self.router = router
        self.resolver = resolver
        self.settings = settings if settings is not None else ProxySettings()
        self.forwarding = Forwarding(transport, self.settings, key)
        self._branches = ComputedBranches(key)
        self._locating: set[Deferred[None]] = set()

    def __len__(self) -> int:
        """How many requests wait for the name of their next hop; nothing else is ever held."""
        return len(self._locating)

    def close(self) -> None:
        """Drop those. Idempotent."""
        while self._locating:
            self._locating.pop().cancel()

    def message_received(self, message: Request | Response, flow: IFlow) -> None:
        """See `IMessageReceiver`."""
        if isinstance(message, Response):
            self._response_received(message)
            return
        try:
            received, outgoing, leaves_on = self._route(message, flow)
            servers = None if leaves_on is not None else self._locate(outgoing.next_hop)
        except RemoteError as error:
            self._refuse(message, error, flow)
            return
        if leaves_on is not None:
            self._send(received, outgoing, leaves_on)
        elif servers is not None and len(self) < self.settings.max_contexts:
            self._send_when_located(received, outgoing, servers)

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `IMessageReceiver`. Nothing waits on it."""

    # --- requests

    def _route(self, request: Request, flow: IFlow) -> tuple[Received, Outgoing, IFlow | None]:
        received = self.forwarding.receive(request, flow)
        if self._branches.has_looped(request, received.loop_key):
            raise RequestRefusedError("Loop Detected", status=482)
        target = received.own_target or self.router.target(received.request, flow)
        if target is None:
            raise RequestRefusedError("Not Found", status=404)
        leaves_on = target.flow if target.flow is not None and target.flow.is_open else None
        return received, self.forwarding.forward(received, target), leaves_on

    def _locate(self, next_hop: Uri) -> Deferred[Sequence[Target]]:
        destination = find_destination(next_hop)
        if destination.lookup is Lookup.NOTHING:
            return succeed((destination.at(destination.host),))
        if self.resolver is None:
            raise RequestRefusedError("The next hop is a name", status=502)
        return self.resolver.locate(next_hop)

    def _send_when_located(self, received: Received, outgoing: Outgoing, servers: Deferred[Sequence[Target]]) -> None:
        def located(targets: Sequence[Target]) -> None:
            branch = self._branches.make(received.original, received.loop_key)
            self._send(received, outgoing, self.transport.flow_to(self._branches.choose(branch, targets)))

        def failed(failure: Failure) -> None:
            if sending in self._locating:
                self._not_sent(failure, received)

        sending = servers.addCallback(located)
        self._locating.add(sending)
        sending.addErrback(failed).addBoth(lambda _: self._locating.discard(sending))

    def _send(self, received: Received, outgoing: Outgoing, leaves_on: IFlow) -> None:
        request = outgoing.request
        self.forwarding.record(request, received, leaves_on, outgoing.target)
        branch = self._branches.make(received.original, received.loop_key)
        via = f"SIP/2.0/{leaves_on.transport.value} {leaves_on.point.sent_by};branch={branch};rport"
        request.headers.prepend("Via", via)
        leaves_on.send(request.to_bytes())

    def _not_sent(self, failure: Failure, received: Received) -> None:
        if failure.check(RemoteError):
            self._refuse(received.original, RemoteError("The next hop cannot be reached", status=502), received.flow)
            return
        self._log.failure("{request} could not be forwarded", failure, request=received.request)

    def _refuse(self, request: Request, error: RemoteError, flow: IFlow) -> None:
        response = build_refusal(request, error)
        if response is not None:
            self.transport.send_response(response, flow)

    # --- responses

    def _response_received(self, response: Response) -> None:
        below = second_via(response)
        if below is None or not self._branches.is_own(response, response.via, below):
            return
        response = response.copy()
        via = pop_via(response)
        if via is not None:
            send_by_via(self.transport, response, via)
