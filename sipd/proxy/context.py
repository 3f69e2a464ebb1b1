"""The response context: one request, its targets, and the one final response that goes back (RFC 3261 section 16.7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import ParseError, RemoteError, RequestRefusedError, TransactionTimeoutError
from sipd.interfaces import IServerTransaction, IServerTransactionUser
from sipd.proxy.branch import Branch
from sipd.proxy.forwarding import Received
from sipd.proxy.interfaces import ProxyTarget
from sipd.proxy.responses import choose_best
from sipd.sip.grammar import parse_number
from sipd.sip.identifiers import new_tag
from sipd.sip.message import Response

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.proxy.stateful import StatefulProxy

#: To how many elements a request may go at a time that says nothing about it (RFC 5393 section 5.3.3).
_MAX_BREADTH = 60
#: Tells the phones that rang in vain that no call was missed (RFC 3326).
_ELSEWHERE = (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)


@implementer(IServerTransactionUser)
class ResponseContext:
    """One request that is being forwarded.

    It is over when a final response went back and no branch waits for one any more. A 2xx to INVITE that comes after
    that is forwarded still.

    Args:
        proxy: whose it is.
        transaction: of the request.
        received: the request.

    Raises:
        RequestRefusedError: 400, the Max-Breadth is malformed.
    """

    _log = Logger()

    def __init__(self, proxy: StatefulProxy, transaction: IServerTransaction, received: Received) -> None:
        self.proxy = proxy
        self.received = received
        self._transaction = transaction
        self._is_invite = received.request.method == "INVITE"
        self._breadth = _read_breadth(received)
        self._routing: Deferred[Sequence[Sequence[ProxyTarget]]] | None = None
        self._rounds: deque[list[ProxyTarget]] = deque()
        self._branches: dict[Branch, None] = {}
        self._responses: list[Response] = []
        self._status = 0
        self._is_starting = False
        self._is_over = False

    def start(self) -> None:
        """Find the targets, and begin with the first round."""
        if self._is_invite:
            self._transaction.respond(self._transaction.request.response(100))
        own = self.received.own_target
        if own is not None:
            self._routed(((own,),))
            return
        asking = self.proxy.ask_router(self.received)
        self._routing = asking
        asking.addCallbacks(self._routed, self._not_routed).addErrback(self._broke)

    def cancel(self, headers: Sequence[tuple[str, str]]) -> None:
        """Cancel every branch, and begin no other (section 16.10).

        Args:
            headers: of the CANCELs.
        """
        self._rounds.clear()
        if self._routing is not None:
            self._answer(self.local_response(487))
            self._end()
        else:
            self._cancel_branches(headers)

    def close(self) -> None:
        """Forget everything at once, and say nothing."""
        self._end()

    def local_response(self, status: int, reason: str | None = None) -> Response:
        """Make a response of this proxy's own."""
        return self._transaction.request.response(status, reason, to_tag=new_tag(self.proxy.entropy))

    def transaction_failed(self, error: RemoteError) -> None:
        """See `IServerTransactionUser`. A lost connection is no reason to give up: the sender may make another one."""
        if isinstance(error, TransactionTimeoutError):
            self._end()

    # --- what branches tell, of each response without the Via of this proxy

    def progressed(self, response: Response) -> None:
        """Take a provisional response, other than 100: it is forwarded at once."""
        if not self._status and self._is_invite:
            self._transaction.respond(response)

    def succeeded(self, response: Response) -> None:
        """Take a 2xx: it is forwarded at once, to an INVITE each one, and the other branches are cancelled."""
        user: object = self._transaction.user
        if not self._status:
            self._answer(response)
        elif not self._is_invite:
            return
        elif self._status < 300 and user is self:
            self._transaction.respond(response)
        else:
            self.proxy.transport.send_response(response, self._transaction.flow)
        self._rounds.clear()
        self._cancel_branches(_ELSEWHERE)
        self._go_on()

    def branch_finished(self, branch: Branch, response: Response | None) -> None:
        """Take the end of a branch: its final response, or ``None`` for a 2xx, which comes by itself."""
        self._branches.pop(branch, None)
        if response is None:
            return
        self._responses.append(response)
        if response.status >= 600:
            self._rounds.clear()
            self._cancel_branches(())
        self._go_on()

    # --- rounds

    def _routed(self, rounds: Sequence[Sequence[ProxyTarget]]) -> None:
        self._routing = None
        if self._is_over:
            return
        known: set[ProxyTarget] = set()
        for targets in rounds:
            chosen = []
            for target in targets:
                if target not in known and len(known) < self.proxy.settings.max_targets:
                    known.add(target)
                    chosen.append(target)
            if chosen:
                self._rounds.append(chosen)
        if not self._rounds:
            self._responses.append(self.local_response(480))
        self._go_on()

    def _not_routed(self, failure: Failure) -> Failure | None:
        self._routing = None
        if self._is_over:
            return None
        error = failure.value
        if not isinstance(error, RemoteError):
            return failure
        response = self.local_response(error.status, error.reason)
        if isinstance(error, RequestRefusedError):
            response.headers.extend(error.headers)
        self._answer(response)
        self._end()
        return None

    def _broke(self, failure: Failure) -> None:
        if not self._is_over:
            self._log.failure("{request} could not be forwarded", failure, request=self.received.request)
            if not self._status:
                self._answer(self.local_response(500))
            self._end()

    def _go_on(self) -> None:
        """When the present round is over begin the next one, or end with the best response."""
        if self._is_starting or self._is_over:
            return
        while not self._branches and self._rounds:
            self._start_round(self._rounds.popleft())
        if not self._branches:
            if not self._status:
                self._answer_best()
            self._end()

    def _start_round(self, targets: list[ProxyTarget]) -> None:
        if len(targets) > self._breadth:
            self._rounds.clear()
            self._responses.append(self.local_response(440))
            return
        for number, target in enumerate(targets):
            try:
                outgoing = self.proxy.forwarding.forward(self.received, target)
            except RemoteError as error:
                self._responses.append(self.local_response(error.status, error.reason))
                continue
            if len(targets) > 1 or "Max-Breadth" in outgoing.request.headers:
                # RFC 5393 section 5.3.3.1: what goes out together shares what came in.
                share = (self._breadth + number) // len(targets)
                outgoing.request.headers.set("Max-Breadth", str(share))
            self._branches[Branch(self, outgoing)] = None
        self._is_starting = True
        for branch in list(self._branches):
            branch.start()
        self._is_starting = False

    def _cancel_branches(self, headers: Sequence[tuple[str, str]]) -> None:
        for branch in list(self._branches):
            if self._is_invite:
                branch.cancel(headers)
            else:
                # A request other than INVITE cannot be cancelled: what it is answered does not count any more.
                branch.abandon()
                self._branches.pop(branch, None)

    # --- answers

    def _answer_best(self) -> None:
        best = choose_best(self._responses)
        # Section 16.7, step 6: a 503 would keep the sender from asking for anything else.
        self._answer(best if best.status != 503 else self.local_response(500))

    def _answer(self, response: Response) -> None:
        self._status = response.status
        self._transaction.respond(response)

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        routing, self._routing = self._routing, None
        if routing is not None:
            routing.cancel()
        branches, self._branches = self._branches, {}
        for branch in branches:
            branch.abandon()
        self._rounds.clear()
        self.proxy.context_ended(self._transaction)


def _read_breadth(received: Received) -> int:
    text = received.request.headers.get("Max-Breadth")
    if text is None:
        return _MAX_BREADTH
    try:
        return parse_number(text, "Max-Breadth", 2**31)
    except ParseError as error:
        raise RequestRefusedError(error.reason, status=400) from error
