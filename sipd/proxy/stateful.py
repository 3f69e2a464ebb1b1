"""A stateful proxy: the core that stands on the transaction layer (RFC 3261 section 16)."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import LocalError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import (
    Entropy,
    IFlow,
    IResolver,
    IServerTransaction,
    ITransactionCore,
    ITransactionLayer,
    ITransportLayer,
)
from sipd.proxy.computed import ComputedBranches
from sipd.proxy.context import ResponseContext
from sipd.proxy.forwarding import Forwarding, Received
from sipd.proxy.interfaces import IProxyRouter, ProxyTarget
from sipd.proxy.responses import pop_via, send_by_via
from sipd.proxy.settings import ProxySettings
from sipd.sip.message import Request, Response

#: What a refused client is asked to wait, in seconds.
_RETRY_AFTER = 10


@implementer(ITransactionCore)
class StatefulProxy:
    """Forwards requests to where its router says, in parallel and in turn, and the best response back.

    It is no open relay: where a request goes is asked of the router, whatever host its Request-URI names, and the Route
    that it brings along is followed only if the router says so. The exception are requests within a dialog that carry a
    Record-Route of this proxy's for that dialog: they go where Route and Request-URI say, without a question. (With
    `ProxySettings.record_routes` off there are none.) What the router lets through is the router's to know.

    * A 3xx goes back as it is. A 503 goes back as 500, and the next server of the same target is tried before.
    * Loops are answered with 482: a request that comes back while it is being forwarded, with the same Request-URI and
      Route. With another one it is a spiral, which is forwarded.
    * An ACK of a 2xx is forwarded without a transaction, to one place. A 2xx that no transaction waits for any more is
      sent on by its Via if its Record-Route proves that its INVITE went this way; every other such response is dropped
      (RFC 6026 section 7).
    * A CANCEL that no INVITE is known for is answered with 481 by the transaction layer.

    Args:
        clock: for timer C.
        transport: gives flows.
        transactions: the layer below; its ``core`` has to be set to this.
        resolver: finds the servers of targets.
        entropy: for tags, and for the key where there is none.
        router: decides where requests go.
        settings: names and bounds.
        key: 16 to 32 octets that Record-Routes are signed with; if it stays the same, and secret, dialogs outlive a
            restart. A new one each time if it is left out.

    Raises:
        ValueError: the key is too short or too long.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        transport: ITransportLayer,
        transactions: ITransactionLayer,
        resolver: IResolver,
        entropy: Entropy,
        router: IProxyRouter,
        settings: ProxySettings | None = None,
        key: bytes | None = None,
    ) -> None:
        self.clock = clock
        self.transport = transport
        self.transactions = transactions
        self.resolver = resolver
        self.entropy = entropy
        self.router = router
        self.settings = settings if settings is not None else ProxySettings()
        key = key if key is not None else entropy(32)
        self.forwarding = Forwarding(transport, self.settings, key)
        self._computed = ComputedBranches(key)
        self._contexts: dict[IServerTransaction, ResponseContext] = {}
        # The branches of the copies that are out, with the loop keys of their requests.
        self._sent: dict[str, str] = {}
        self._acks: set[Deferred[None]] = set()
        self._is_full = False
        self._is_closed = False

    def __len__(self) -> int:
        """How many requests are being forwarded, ACKs whose way is being looked for included."""
        return len(self._contexts) + len(self._acks)

    @property
    def branch_count(self) -> int:
        """How many copies wait for an answer."""
        return len(self._sent)

    def close(self) -> None:
        """Forget everything at once, without a word to anybody; nothing is forwarded from now on. Idempotent."""
        self._is_closed = True
        for context in list(self._contexts.values()):
            context.close()
        while self._acks:
            self._acks.pop().cancel()
        self._sent.clear()

    # --- ITransactionCore

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        if self._is_closed:
            raise RequestRefusedError("Service Unavailable", status=503)
        if len(self) >= self.settings.max_contexts:
            raise self._full()
        self._is_full = False
        received = self.forwarding.receive(transaction.request, transaction.flow)
        if self._has_looped(received):
            raise RequestRefusedError("Loop Detected", status=482)
        context = ResponseContext(self, transaction, received)
        self._contexts[transaction] = context
        transaction.user = context
        context.start()

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`. The reasons that the CANCEL gives are handed on (RFC 3326)."""
        context = self._contexts.get(transaction)
        if context is not None:
            context.cancel([("Reason", value) for value in cancel.headers.get_all("Reason")])

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`. At the bound of requests the ACK is lost, as on the way; it comes again."""
        if self._is_closed or len(self) >= self.settings.max_contexts:
            return
        forwarding = Deferred.fromCoroutine(self._forward_ack(ack, flow))
        self._acks.add(forwarding)
        forwarding.addErrback(lambda failure: self._ack_lost(failure, ack) if forwarding in self._acks else None)
        forwarding.addBoth(lambda _: self._acks.discard(forwarding))

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        try:
            if self._is_closed or not self._is_late_success(response):
                return
            response = response.copy()
            via = pop_via(response)
        except ParseError:
            return
        if via is not None:
            send_by_via(self.transport, response, via)

    # --- for contexts and branches

    def ask_router(self, received: Received) -> Deferred[Sequence[Sequence[ProxyTarget]]]:
        """Ask the router for the targets of a request. Fails with `RequestRefusedError` (504) if it takes too long."""
        asking = maybeDeferred(self.router.targets, received.request, received.flow)
        return asking.addTimeout(self.settings.router_timeout, self.clock, _too_slow)

    def context_ended(self, transaction: IServerTransaction) -> None:
        """Forget a request that is over."""
        self._contexts.pop(transaction, None)

    def branch_began(self, via_branch: str, loop_key: str) -> None:
        """Take note of a copy that is out."""
        self._sent[via_branch.lower()] = loop_key

    def branch_ended(self, via_branch: str) -> None:
        """Take note that a copy has a final response, or will have none. Idempotent."""
        self._sent.pop(via_branch.lower(), None)

    # --- inside

    def _has_looped(self, received: Received) -> bool:
        """Section 16.3, step 4: while a loop goes round, the copies that made it wait for their answers."""
        request = received.original
        if request.headers.count("Via") == 1 and "," not in (request.headers.get("Via") or ""):
            return False
        return any(self._sent.get(via.branch.lower()) == received.loop_key for via in request.vias)

    def _is_late_success(self, response: Response) -> bool:
        if not response.is_success or response.cseq.method != "INVITE":
            return False
        is_recorded = self.forwarding.record_routes.is_recorded
        return any(is_recorded(response.call_id, response.from_.tag, one.uri) for one in response.record_routes)

    async def _forward_ack(self, ack: Request, flow: IFlow) -> None:
        received = self.forwarding.receive(ack, flow)
        target = received.own_target or await self._choose(received)
        if target is None:
            return
        outgoing = self.forwarding.forward(received, target)
        leaves_on = target.flow
        if leaves_on is None or not leaves_on.is_open:
            servers = await self.resolver.locate(outgoing.next_hop)
            leaves_on = self.transport.flow_to(servers[0])
        branch = self._computed.make(ack, received.loop_key)
        via = f"SIP/2.0/{leaves_on.transport.value} {leaves_on.point.sent_by};branch={branch};rport"
        outgoing.request.headers.prepend("Via", via)
        leaves_on.send(outgoing.request.to_bytes())

    async def _choose(self, received: Received) -> ProxyTarget | None:
        rounds = await self.ask_router(received)
        return next((target for targets in rounds for target in targets), None)

    def _ack_lost(self, failure: Failure, ack: Request) -> None:
        if not failure.check(RemoteError, LocalError):
            self._log.failure("{request} could not be forwarded", failure, request=ack)

    def _full(self) -> RequestRefusedError:
        """Refuse a request; log it once until there is room again."""
        if not self._is_full:
            self._is_full = True
            self._log.warn("{limit} requests are being forwarded: new ones get 503", limit=self.settings.max_contexts)
        return RequestRefusedError("Service Unavailable", status=503, headers=(("Retry-After", str(_RETRY_AFTER)),))


def _too_slow(_: object, __: float) -> Failure:
    return Failure(RequestRefusedError("Server Time-out", status=504))
