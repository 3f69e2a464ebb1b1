"""The transaction layer: owns the transactions, matches messages to them, performs their effects (RFC 3261 section 17).

Effects wait in one queue and are performed in order: a user that calls back in, from wherever it is told something,
only appends to the queue. So a machine is never entered twice, and a response never overtakes the request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import blake2s
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import classImplements

from sipd.errors import (
    InvalidStateError,
    LocalError,
    RemoteError,
    RequestRefusedError,
    ResourcesExhaustedError,
    TransactionTimeoutError,
    TransportError,
)
from sipd.interfaces import (
    Entropy,
    IClientTransaction,
    IFlow,
    IMessageReceiver,
    IServerTransaction,
    ITransactionCore,
    ITransactionLayer,
    ITransactionUser,
    ITransportLayer,
)
from sipd.lanes import with_lanes
from sipd.sip.effects import (
    Deliver,
    Effects,
    Fail,
    Offer,
    Respond,
    Send,
    StartCancel,
    StartTimer,
    StopTimers,
    Terminate,
)
from sipd.sip.identifiers import new_branch
from sipd.sip.matching import TransactionKey, client_key, server_key
from sipd.sip.message import Request, Response
from sipd.sip.timers import Timer, TimerValues
from sipd.sip.transaction import (
    ClientTransaction,
    Event,
    InviteClientTransaction,
    InviteServerTransaction,
    NonInviteClientTransaction,
    NonInviteServerTransaction,
    State,
)
from sipd.transaction.live import AnyTransaction, LiveClientTransaction, LiveServerTransaction
from sipd.transaction.table import TransactionTable
from sipd.transaction.waiter import Waiter

#: Live transactions, client and server together. A call leaves four, and three of them stay for 32 s: this is enough
#: for 2,000 calls a second. One costs about 4 kB, most of it its messages.
MAX_TRANSACTIONS = 200_000
#: What a refused client is asked to wait, in seconds.
RETRY_AFTER = 10


class TransactionLayer:
    """RFC 3261 section 17.

    Three nets keep a mistake where it was made, and log it with its traceback: a message that cannot be handled is
    dropped; a user that raises is answered for with 500; a transaction whose step fails is ended and its user told.

    Args:
        clock: for all timers.
        transport: sends; its ``receiver`` has to be set to this layer.
        entropy: gives branches.
        timers: T1, T2 and T4.
        max_transactions: at so many live transactions a new request is answered with 503 and Retry-After without
            a transaction, and `start` raises `ResourcesExhaustedError`. A CANCEL that meets its INVITE passes, in
            both directions: it ends what fills the table.

    Attributes:
        core: what stands above; set once, before anything is received.
        retransmissions: messages that were sent again since nothing came in time (timers A, E and G).
        repetitions: requests that came again.
    """

    #: Named here, since compiled code has no frame that could tell.
    _log = Logger(namespace=__name__)

    core: ITransactionCore

    def __init__(
        self,
        *,
        clock: IReactorTime,
        transport: ITransportLayer,
        entropy: Entropy,
        timers: TimerValues | None = None,
        max_transactions: int = MAX_TRANSACTIONS,
    ) -> None:
        self._transport = transport
        self._entropy = entropy
        self._values = timers if timers is not None else TimerValues()
        self._max_transactions = max_transactions
        self._table = TransactionTable()
        self._clock = with_lanes(clock)
        self._queue: deque[tuple[AnyTransaction, Effects]] = deque()
        self._is_performing = False
        self._performers: dict[type, Callable[[Any, Any], None]] = {
            Send: self._send,
            Respond: self._respond,
            Deliver: self._deliver,
            Offer: self._offer,
            Fail: self._fail,
            StartTimer: self._start_timer,
            StopTimers: self._stop_timers,
            StartCancel: self._start_cancel,
            Terminate: self._terminate,
        }
        self._tag_key = entropy(16)
        self._is_closed = False
        self._is_full = False
        self.retransmissions = 0
        self.repetitions = 0

    def __len__(self) -> int:
        """Count the live transactions."""
        return len(self._table)

    @property
    def client_count(self) -> int:
        """How many of them are client transactions."""
        return self._table.client_count

    # --- for the core -------------------------------------------------------------------------------------

    def start(self, request: Request, flow: IFlow, user: ITransactionUser) -> LiveClientTransaction:
        """See `ITransactionLayer`. The request is changed and belongs to the transaction from now on.

        To try the same request elsewhere, copy it before (or remove the topmost Via of the copy).

        Raises:
            ResourcesExhaustedError: the bound of live transactions is reached.
            InvalidStateError: the layer is closed.
        """
        if self._is_closed:
            raise InvalidStateError("the transaction layer is closed")
        if len(self._table) >= self._max_transactions:
            raise ResourcesExhaustedError(f"{self._max_transactions} SIP transactions are live")
        branch = self._add_via(request, flow)
        request.to_bytes()
        kind = InviteClientTransaction if request.method == "INVITE" else NonInviteClientTransaction
        machine = kind(request, self._values, reliable=flow.transport.is_reliable)
        return self._begin_client(machine, branch, flow, user)

    def request(
        self, request: Request, flow: IFlow, provisional: Callable[[Response], None] | None = None
    ) -> Deferred[Response]:
        """See `ITransactionLayer`. Also fails with what `start` raises.

        Cancelling it sends CANCEL for an INVITE; another request is forgotten, and its transaction ends by itself.
        A 2xx to INVITE that nobody waits for goes to the core as a response without a transaction.
        """
        waiter = Waiter(provisional, self._orphaned)
        deferred = waiter.wait()
        try:
            waiter.transaction = self.start(request, flow, waiter)
        except LocalError as error:
            return fail(error)
        return deferred

    def send_ack(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionLayer`. An ACK that was sent before goes out again as it is, for a repeated 2xx."""
        if "Via" not in ack.headers:
            self._add_via(ack, flow)
        flow.send(ack.to_bytes())

    def drop(self, transaction: IClientTransaction | IServerTransaction) -> None:
        """See `ITransactionLayer`."""
        if isinstance(transaction, LiveClientTransaction | LiveServerTransaction):
            transaction.user = None
            self._enqueue(transaction, (Terminate(),))

    def is_merged(self, transaction: IServerTransaction) -> bool:
        """Say whether its request came before on another path, or was sent from here: a case for 482 (section 8.2.2.2).

        Both are looked for among live transactions. Without the second, contacts that lead back to this server would
        multiply with each round, as with forking proxies (RFC 5393 section 3).
        """
        return self._table.is_merged(transaction) or self._table.has_sent(transaction.request)

    def find_invite(self, request: Request, flow: IFlow) -> LiveServerTransaction | None:
        """Give the server transaction of the INVITE that a CANCEL (section 9.2) or ACK from that flow is for."""
        return self._table.find_invite(request, flow)

    def close(self) -> None:
        """End everything at once: client transactions fail, server transactions are forgotten, no timer is left.

        From now on nothing is received, and nothing can be started. Idempotent.
        """
        self._is_closed = True
        error = TransportError("The SIP stack is shutting down")
        for transaction in self._table.everything():
            if isinstance(transaction, LiveClientTransaction):
                self.feed(transaction, Event.TRANSPORT_ERROR, error)
            self._enqueue(transaction, (Terminate(),))

    # --- from the transport -------------------------------------------------------------------------------

    def message_received(self, message: Request | Response, flow: IFlow) -> None:
        """See `IMessageReceiver`."""
        if self._is_closed:
            return
        try:
            if flow.transport.is_reliable:
                self._table.heard_from(flow)
            if isinstance(message, Request):
                self._request_received(message, flow)
            else:
                self._response_received(message, flow)
        except Exception:
            self._log.failure("a message from {peer} is dropped", peer=flow.host)

    def flow_failed(self, flow: IFlow, error: TransportError) -> None:
        """See `IMessageReceiver`. Clients fail; users of servers are told (section 17.2.4, RFC 6026 section 8.8).

        When a datagram could not be sent, the requests to that address that nothing is heard of yet fail.
        """
        is_connection = flow.transport.is_reliable
        for transaction in self._table.on_flow(flow):
            if is_connection or (isinstance(transaction, LiveClientTransaction) and transaction.machine.is_unheard):
                self.feed(transaction, Event.TRANSPORT_ERROR, error)

    def _response_received(self, response: Response, flow: IFlow) -> None:
        transaction = self._table.find_client(response)
        if transaction is not None:
            self.feed(transaction, transaction.machine.event_of(response), response)
        else:
            self._orphaned(response, flow)

    def _orphaned(self, response: Response, flow: IFlow) -> None:
        self._call(self.core.response_received, response, flow)

    def _request_received(self, request: Request, flow: IFlow) -> None:
        if request.method == "ACK":
            invite = self._table.find_invite(request, flow)
            if invite is not None:
                self.feed(invite, Event.ACK, request)
            else:
                self._call(self.core.ack_received, request, flow)
            return
        key = server_key(request)
        transaction = self._table.find_server(key)
        if transaction is not None:
            self.repetitions += 1
            self.feed(transaction, Event.REQUEST, request)
        elif len(self._table) >= self._max_transactions and not self._ends_another(request, flow):
            self._refuse(request, flow)
        else:
            self._begin_server(request, key, flow)

    def _ends_another(self, request: Request, flow: IFlow) -> bool:
        return request.method == "CANCEL" and self._table.find_invite(request, flow) is not None

    def _refuse(self, request: Request, flow: IFlow) -> None:
        """Answer without a transaction (section 8.2.7); log it once until there is room again."""
        if not self._is_full:
            self._is_full = True
            self._log.warn("{limit} SIP transactions are live: new requests get 503", limit=self._max_transactions)
        headers = (("Retry-After", str(RETRY_AFTER)),)
        response = request.response(503, to_tag=self._stateless_tag(request), headers=headers)
        self._transport.send_response(response, flow)

    def _stateless_tag(self, request: Request) -> str:
        """Make a To tag that is the same each time the same request comes."""
        name = f"{request.call_id} {request.via.branch}".encode("utf-8", "surrogateescape")
        return blake2s(name, key=self._tag_key, digest_size=8).hexdigest()

    # --- beginning and end of a transaction ---------------------------------------------------------------

    def _add_via(self, request: Request, flow: IFlow) -> str:
        """Put a Via with a new branch on top (sections 8.1.1.7 and 18.1.1, RFC 3581), and give the branch."""
        branch = new_branch(self._entropy)
        request.headers.prepend("Via", f"SIP/2.0/{flow.transport.value} {flow.point.sent_by};branch={branch};rport")
        return branch

    def _begin_client(
        self, machine: ClientTransaction, branch: str, flow: IFlow, user: ITransactionUser | None
    ) -> LiveClientTransaction:
        key = client_key(branch, machine.request.method)
        transaction = LiveClientTransaction(self, key, machine, flow, user)
        self._table.add_client(transaction)
        self.feed(transaction, Event.START)
        return transaction

    def _begin_server(self, request: Request, key: TransactionKey, flow: IFlow) -> None:
        self._is_full = False
        kind = InviteServerTransaction if request.method == "INVITE" else NonInviteServerTransaction
        machine = kind(request, self._values, reliable=flow.transport.is_reliable)
        transaction = LiveServerTransaction(self, key, machine, flow)
        self._table.add_server(transaction)
        self.feed(transaction, Event.START)

    def _forget(self, transaction: AnyTransaction) -> None:
        """Leave nothing of a transaction behind; who still holds it can do nothing with it."""
        transaction.machine.state = State.TERMINATED
        transaction.stop_timers()
        transaction.user = None
        self._table.remove(transaction)

    # --- steps and effects --------------------------------------------------------------------------------

    def feed(self, transaction: AnyTransaction, event: Event | Timer, argument: object = None) -> None:
        """Give an event to a transaction; what it asks for is done after all that was asked for before."""
        try:
            effects = transaction.machine.feed(event, argument)
        except Exception:
            self._break(transaction)
            return
        if effects:
            self._enqueue(transaction, effects)

    def _timer_fired(self, transaction: AnyTransaction, timer: Timer) -> None:
        if timer is Timer.A or timer is Timer.E or timer is Timer.G:
            self.retransmissions += 1
        self.feed(transaction, timer)

    def _enqueue(self, transaction: AnyTransaction, effects: Effects) -> None:
        self._queue.append((transaction, effects))
        if not self._is_performing:
            self._perform()

    def _perform(self) -> None:
        self._is_performing = True
        queue, performers = self._queue, self._performers
        while queue:
            transaction, effects = queue.popleft()
            try:
                for effect in effects:
                    performers[type(effect)](transaction, effect)
            except Exception:
                self._break(transaction)
        self._is_performing = False

    def _break(self, transaction: AnyTransaction) -> None:
        """End a transaction whose step failed: a mistake of ours, or of whoever made the message."""
        self._log.failure("a transaction is ended: {request}", request=transaction.request)
        self._fail(transaction, Fail(RemoteError("Internal error")))
        self._forget(transaction)

    def _send(self, transaction: LiveClientTransaction, effect: Send) -> None:
        transaction.flow.send(effect.request.to_bytes())

    def _respond(self, transaction: LiveServerTransaction, effect: Respond) -> None:
        self._transport.send_response(effect.response, transaction.flow)

    def _deliver(self, transaction: LiveClientTransaction, effect: Deliver) -> None:
        if transaction.user is not None:
            self._call(transaction.user.response_received, effect.response)

    def _offer(self, transaction: LiveServerTransaction, effect: Offer) -> None:
        request = effect.request
        if request.method == "ACK":
            self._call(self.core.ack_received, request, transaction.flow)
            return
        if request.method == "CANCEL":
            self._answer_cancel(request, transaction)
            return
        try:
            self.core.request_received(transaction)
        except RemoteError as error:
            headers = error.headers if isinstance(error, RequestRefusedError) else ()
            self._answer(transaction, error.status, error.reason, headers)
        except Exception:
            self._log.failure("the core failed on {request}", request=request)
            self._answer(transaction, 500)

    def _answer(
        self,
        transaction: LiveServerTransaction,
        status: int,
        reason: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        request = transaction.request
        tag = self._stateless_tag(request)
        transaction.respond(request.response(status, reason, to_tag=tag, headers=headers))

    def _answer_cancel(self, cancel: Request, transaction: LiveServerTransaction) -> None:
        """Answer a CANCEL (section 9.2). The To tag is that of the responses to the INVITE, if there is one yet."""
        invite = self._table.find_invite(cancel, transaction.flow)
        if invite is None:
            self._answer(transaction, 481)
            return
        transaction.respond(cancel.response(200, to_tag=invite.machine.to_tag or self._stateless_tag(cancel)))
        if not invite.is_answered:
            self._call(self.core.cancel_received, cancel, invite)

    def _fail(self, transaction: AnyTransaction, effect: Fail) -> None:
        if isinstance(transaction, LiveClientTransaction) and isinstance(effect.error, TransactionTimeoutError):
            self._check_connection(transaction)
        user, transaction.user = transaction.user, None
        if user is not None:
            self._call(user.transaction_failed, effect.error)

    def _check_connection(self, transaction: LiveClientTransaction) -> None:
        """Close a connection that took a request and then gave no sign of life for all its time (lesson 21).

        Or else each further request would go into the same grave until the kernel gives the connection up.
        """
        if self._table.is_flow_silent(transaction):
            transaction.flow.close()

    def _start_timer(self, transaction: AnyTransaction, effect: StartTimer) -> None:
        if transaction.machine.state is not State.TERMINATED:
            started = self._clock.callLater(effect.duration, self._timer_fired, transaction, effect.timer)
            transaction.running.append(started)

    def _stop_timers(self, transaction: AnyTransaction, _: StopTimers) -> None:
        transaction.stop_timers()

    def _start_cancel(self, transaction: AnyTransaction, effect: StartCancel) -> None:
        machine = NonInviteClientTransaction(effect.cancel, self._values, reliable=transaction.machine.reliable)
        self._begin_client(machine, effect.cancel.via.branch, transaction.flow, None)

    def _terminate(self, transaction: AnyTransaction, _: Terminate) -> None:
        self._forget(transaction)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        """Call a user. What it raises is its own mistake, and disturbs nobody else."""
        try:
            function(*arguments)
        except Exception:
            self._log.failure("{function} failed", function=function)


classImplements(TransactionLayer, IMessageReceiver, ITransactionLayer)
