"""One target of a request: its servers are tried in turn until it has one final response (RFC 3261 section 16.6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import maybeDeferred
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import LocalError, RemoteError, TransactionTimeoutError, TransportError
from sipd.interfaces import IClientTransaction, IFlow, ITransactionUser
from sipd.proxy.forwarding import Outgoing
from sipd.proxy.responses import return_to
from sipd.sip.glare import retry_after_of
from sipd.sip.locate import Target, targets_for_size
from sipd.sip.message import Response

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from sipd.proxy.context import ResponseContext

#: What Via and Record-Route add to a copy, at most, for the choice between UDP and TCP (section 18.1.1).
_ADDED_OCTETS = 300


@implementer(ITransactionUser)
class _Attempt:
    """A copy of the request on its way to one server."""

    def __init__(self, branch: Branch, server: Target | None) -> None:
        self._branch = branch
        self.server = server
        self.transaction: IClientTransaction | None = None
        self.via_branch = ""
        self.is_heard = False

    def response_received(self, response: Response) -> None:
        """See `ITransactionUser`."""
        self._branch.response_received(self, response)

    def transaction_failed(self, error: RemoteError) -> None:
        """See `ITransactionUser`."""
        self._branch.attempt_failed(self, error)


class Branch:
    """One target of a request.

    It ends once, with a final response: that of the last server that was tried, or one that is made here where there is
    none (503 for a failure of the transport, 408 for silence). A 2xx to INVITE may come at any time, from a server that
    was left for another one, too.

    Args:
        context: that it belongs to.
        outgoing: the copy for the target.
    """

    _log = Logger()

    def __init__(self, context: ResponseContext, outgoing: Outgoing) -> None:
        self._context = context
        self._proxy = context.proxy
        self._outgoing = outgoing
        self._servers: deque[Target] = deque()
        self._locating: Deferred[Sequence[Target]] | None = None
        self._current: _Attempt | None = None
        self._is_done = False
        self._is_cancelled = False
        self._has_expired = False
        self._failed: Response | None = None
        self._timer_c: IDelayedCall | None = None
        self._patience: IDelayedCall | None = None

    def start(self) -> None:
        """Find the servers, and try the first one."""
        if self._is_done:
            return
        flow = self._outgoing.target.flow
        if flow is not None and flow.is_open:
            if not self._send(flow, None):
                self._try_next()
            return
        locating = maybeDeferred(self._proxy.resolver.locate, self._outgoing.next_hop)
        self._locating = locating
        locating.addCallbacks(self._located, self._not_located)
        locating.addErrback(self._broke)

    def cancel(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Try no other server, and cancel the request at the present one (section 16.10). Idempotent.

        Args:
            headers: of the CANCEL.
        """
        if self._is_done:
            return
        self._is_cancelled = True
        self._servers.clear()
        if self._current is not None and self._current.transaction is not None:
            self._stop_patience()
            self._current.transaction.cancel(headers)
        else:
            self._finish(self._context.local_response(487))

    def abandon(self) -> None:
        """Nothing that comes from now on counts, but for a 2xx to INVITE. Idempotent."""
        self._is_done = True
        self._stop()

    # --- servers

    def _located(self, servers: Sequence[Target]) -> None:
        self._locating = None
        if self._is_done:
            return
        size_octets = len(self._outgoing.request.to_bytes()) + _ADDED_OCTETS
        self._servers.extend(targets_for_size(servers, size_octets)[: self._proxy.settings.max_servers])
        self._try_next()

    def _not_located(self, failure: Failure) -> None:
        self._locating = None
        if self._is_done:
            return
        failure.trap(RemoteError, LocalError)
        error = failure.value
        status = error.status if isinstance(error, RemoteError) else 503
        self._finish(self._context.local_response(status))

    def _broke(self, failure: Failure) -> None:
        if not self._is_done:
            self._log.failure("a target of {request} failed", failure, request=self._outgoing.request)
            self._finish(self._context.local_response(500))

    def _try_next(self) -> None:
        while self._servers:
            server = self._servers.popleft()
            try:
                flow = self._proxy.transport.flow_to(server)
            except TransportError:
                continue
            if self._send(flow, server):
                return
        self._current = None
        self._finish(self._failed or self._context.local_response(503))

    def _send(self, flow: IFlow, server: Target | None) -> bool:
        """Send the copy on a flow. Say whether it left."""
        proxy = self._proxy
        if proxy.branch_count >= proxy.settings.max_branches:
            return False
        request = self._outgoing.request.copy()
        received = self._context.received
        proxy.forwarding.record(request, received, flow, self._outgoing.target)
        attempt = _Attempt(self, server)
        try:
            attempt.transaction = proxy.transactions.start(request, flow, attempt)
        except (LocalError, RemoteError):
            return False
        attempt.via_branch = request.via.branch
        proxy.branch_began(attempt.via_branch, received.loop_key)
        self._current = attempt
        if self._servers:
            self._patience = proxy.clock.callLater(proxy.settings.target_timeout, self._lose_patience)
        self._start_timer_c()
        return True

    def _lose_patience(self) -> None:
        """Leave a silent server for the next one (RFC 3263 section 4.3)."""
        self._patience = None
        attempt = self._current
        if attempt is not None:
            self._rest(attempt)
            self._failed = self._context.local_response(408)
            if attempt.transaction is not None:
                attempt.transaction.cancel()
            self._try_next()

    def _rest(self, attempt: _Attempt, duration: float | None = None) -> None:
        if attempt.server is not None:
            self._proxy.resolver.target_failed(attempt.server, duration)

    # --- what comes back

    def response_received(self, attempt: _Attempt, response: Response) -> None:
        """Take a response to an attempt, which may be one that was left."""
        response = response.copy()
        return_to(response, self._context.received.original)
        if response.is_provisional:
            self._progressed(attempt, response)
            return
        self._proxy.branch_ended(attempt.via_branch)
        if response.is_success:
            if attempt is self._current and not self._is_done:
                self._finish(None)
            self._context.succeeded(response)
        elif attempt is self._current and not self._is_done:
            self._refused(attempt, response)

    def attempt_failed(self, attempt: _Attempt, error: RemoteError) -> None:
        """Take note that there is no final response to an attempt."""
        self._proxy.branch_ended(attempt.via_branch)
        if attempt is not self._current or self._is_done:
            return
        if self._is_cancelled:
            self._finish(self._context.local_response(487))
            return
        is_silent = isinstance(error, TransactionTimeoutError)
        self._failed = self._context.local_response(408 if is_silent else error.status)
        if is_silent and attempt.is_heard:
            self._finish(self._failed)
            return
        self._rest(attempt)
        self._stop()
        self._try_next()

    def _progressed(self, attempt: _Attempt, response: Response) -> None:
        attempt.is_heard = True
        if attempt is not self._current or self._is_done:
            return
        self._stop_patience()
        if response.status > 100:
            self._start_timer_c()
            self._context.progressed(response)

    def _refused(self, attempt: _Attempt, response: Response) -> None:
        if response.status == 503:
            self._rest(attempt, retry_after_of(response))
            if self._servers:
                self._failed = response
                self._stop()
                self._try_next()
                return
        if self._has_expired and response.status == 487:
            response = self._context.local_response(408)
        self._finish(response)

    def _finish(self, response: Response | None) -> None:
        if self._is_done:
            return
        self.abandon()
        self._context.branch_finished(self, response)

    # --- timers

    def _start_timer_c(self) -> None:
        """Start timer C, or start it again (section 16.6, step 11, and section 16.7, step 2)."""
        if self._outgoing.request.method != "INVITE" or self._has_expired:
            return
        duration = self._proxy.settings.timer_c
        if self._timer_c is not None:
            self._timer_c.reset(duration)
        else:
            self._timer_c = self._proxy.clock.callLater(duration, self._expire)

    def _expire(self) -> None:
        """Section 16.8: it has rung for too long."""
        self._timer_c = None
        self._has_expired = True
        if self._current is not None and self._current.transaction is not None:
            self._current.transaction.cancel()

    def _stop_patience(self) -> None:
        timer, self._patience = self._patience, None
        if timer is not None:
            timer.cancel()

    def _stop(self) -> None:
        self._stop_patience()
        timer, self._timer_c = self._timer_c, None
        if timer is not None:
            timer.cancel()
        locating, self._locating = self._locating, None
        if locating is not None:
            locating.cancel()
