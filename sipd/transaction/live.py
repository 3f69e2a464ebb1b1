"""Transactions while they live: a machine, its flow, its user, its timers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import classImplements

from sipd.interfaces import (
    IClientTransaction,
    IFlow,
    IServerTransaction,
    IServerTransactionUser,
    ITransactionUser,
)
from sipd.lanes import LaneCall
from sipd.sip.matching import TransactionKey
from sipd.sip.message import Request, Response
from sipd.sip.transaction import ClientTransaction, Event, ServerTransaction

if TYPE_CHECKING:
    from sipd.transaction.layer import TransactionLayer


class LiveTransaction:
    """What the layer keeps of a transaction, client or server."""

    __slots__ = ("_layer", "flow", "key", "request", "running")

    def __init__(self, layer: TransactionLayer, key: TransactionKey, request: Request, flow: IFlow) -> None:
        self._layer = layer
        self.key = key
        self.request = request
        self.flow = flow
        self.running: list[LaneCall] = []

    def stop_timers(self) -> None:
        """Stop all timers of this transaction."""
        for timer in self.running:
            if timer.active():
                timer.cancel()
        self.running.clear()


class LiveClientTransaction(LiveTransaction):
    """See `IClientTransaction`."""

    __slots__ = ("heard", "machine", "user")

    def __init__(
        self,
        layer: TransactionLayer,
        key: TransactionKey,
        machine: ClientTransaction,
        flow: IFlow,
        user: ITransactionUser | None,
    ) -> None:
        super().__init__(layer, key, machine.request, flow)
        self.machine = machine
        self.user = user
        #: How much had come on its flow when it began; the table sets it.
        self.heard = 0

    def cancel(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """See `IClientTransaction`."""
        self._layer.feed(self, Event.CANCEL, headers)


classImplements(LiveClientTransaction, IClientTransaction)


class LiveServerTransaction(LiveTransaction):
    """See `IServerTransaction`."""

    __slots__ = ("machine", "merge_key", "source_key", "standing", "user")

    def __init__(self, layer: TransactionLayer, key: TransactionKey, machine: ServerTransaction, flow: IFlow) -> None:
        super().__init__(layer, key, machine.request, flow)
        self.machine = machine
        self.user: IServerTransactionUser | None = None
        self.standing: Sequence[tuple[str, str]] = ()
        #: Other keys by which it is found; the table sets them.
        self.merge_key: TransactionKey | None = None
        self.source_key: TransactionKey | None = None

    @property
    def is_answered(self) -> bool:
        """See `IServerTransaction`. Also true once it is too late to answer."""
        return self.machine.is_answered

    def respond(self, response: Response) -> None:
        """See `IServerTransaction`."""
        for name, value in self.standing:
            if name not in response.headers:
                response.headers.add(name, value)
        self._layer.feed(self, self.machine.event_of(response), response)


classImplements(LiveServerTransaction, IServerTransaction)


AnyTransaction = LiveClientTransaction | LiveServerTransaction
