"""The live transactions, and every way to find one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from sipd.interfaces import IFlow, IServerTransaction
from sipd.sip.matching import TransactionKey, cancelled_key, client_key, merge_key, response_key, source_key
from sipd.sip.message import Request, Response
from sipd.transaction.live import AnyTransaction, LiveClientTransaction, LiveServerTransaction

T = TypeVar("T", LiveClientTransaction, LiveServerTransaction)


class _Flow:
    """The transactions that fail with a flow, in order, and how much came from it meanwhile."""

    __slots__ = ("heard", "transactions")

    def __init__(self) -> None:
        self.transactions: dict[AnyTransaction, None] = {}
        self.heard = 0


class TransactionTable:
    """Holds each live transaction until it is removed."""

    def __init__(self) -> None:
        self._clients: dict[TransactionKey, LiveClientTransaction] = {}
        self._servers: dict[TransactionKey, LiveServerTransaction] = {}
        # The first of those that could be merged, and INVITEs by branch and source: see `sipd.sip.matching`.
        self._merges: dict[TransactionKey, LiveServerTransaction] = {}
        self._sources: dict[TransactionKey, LiveServerTransaction] = {}
        # All clients, and the servers of connections: what a datagram's failure says of a request is not known.
        self._flows: dict[IFlow, _Flow] = {}

    def __len__(self) -> int:
        """Count the live transactions."""
        return len(self._clients) + len(self._servers)

    @property
    def client_count(self) -> int:
        """How many of them are client transactions."""
        return len(self._clients)

    def everything(self) -> list[AnyTransaction]:
        """Give all live transactions, clients first."""
        return [*self._clients.values(), *self._servers.values()]

    def find_client(self, response: Response) -> LiveClientTransaction | None:
        """Give the client transaction that a response is for (RFC 3261 section 17.1.3)."""
        return self._clients.get(response_key(response))

    def find_server(self, key: TransactionKey) -> LiveServerTransaction | None:
        """Give the server transaction with that key (section 17.2.3)."""
        return self._servers.get(key)

    def find_invite(self, request: Request, flow: IFlow) -> LiveServerTransaction | None:
        """Give the server transaction of the INVITE that a CANCEL or an ACK from that flow is for."""
        transaction = self._servers.get(cancelled_key(request))
        if transaction is None:
            key = source_key(request, flow.host)
            transaction = self._sources.get(key) if key is not None else None
        return transaction

    def is_merged(self, transaction: IServerTransaction) -> bool:
        """Say whether another live transaction has the same request, come on another path (section 8.2.2.2)."""
        key = merge_key(transaction.request)
        return key is not None and self._merges.get(key, transaction) is not transaction

    def has_sent(self, request: Request) -> bool:
        """Say whether a live client transaction sent that very request: its topmost Via is ours."""
        return client_key(request.via.branch, request.method) in self._clients

    def on_flow(self, flow: IFlow) -> Iterable[AnyTransaction]:
        """Give the transactions that a failure of that flow concerns: client ones, and for a connection all."""
        entry = self._flows.get(flow)
        return tuple(entry.transactions) if entry is not None else ()

    def heard_from(self, flow: IFlow) -> None:
        """Take note that a message came on a connection."""
        entry = self._flows.get(flow)
        if entry is not None:
            entry.heard += 1

    def is_flow_silent(self, transaction: LiveClientTransaction) -> bool:
        """Say whether nothing at all came on the connection of a live client transaction since it began."""
        entry = self._flows.get(transaction.flow)
        return entry is not None and transaction.machine.reliable and entry.heard == transaction.heard

    def add_client(self, transaction: LiveClientTransaction) -> None:
        """Add a transaction with a key of its own."""
        self._clients[transaction.key] = transaction
        transaction.heard = self._add_to_flow(transaction)

    def add_server(self, transaction: LiveServerTransaction) -> None:
        """Add a transaction with a key of its own."""
        self._servers[transaction.key] = transaction
        if transaction.machine.reliable:
            self._add_to_flow(transaction)
        request = transaction.request
        if request.method == "INVITE":
            transaction.source_key = source_key(request, transaction.flow.host)
            if transaction.source_key is not None:
                self._sources.setdefault(transaction.source_key, transaction)
        transaction.merge_key = merge_key(request)
        if transaction.merge_key is not None:
            self._merges.setdefault(transaction.merge_key, transaction)

    def remove(self, transaction: AnyTransaction) -> None:
        """Remove a transaction. Does nothing if it is not there."""
        if isinstance(transaction, LiveClientTransaction):
            self._remove_from_flow(transaction)
            _remove(self._clients, transaction.key, transaction)
            return
        if transaction.machine.reliable:
            self._remove_from_flow(transaction)
        _remove(self._servers, transaction.key, transaction)
        if transaction.merge_key is not None:
            _remove(self._merges, transaction.merge_key, transaction)
        if transaction.source_key is not None:
            _remove(self._sources, transaction.source_key, transaction)

    def _add_to_flow(self, transaction: AnyTransaction) -> int:
        """Add a transaction to its flow; give what was heard from the flow so far."""
        entry = self._flows.get(transaction.flow)
        if entry is None:
            entry = self._flows[transaction.flow] = _Flow()
        entry.transactions[transaction] = None
        return entry.heard

    def _remove_from_flow(self, transaction: AnyTransaction) -> None:
        entry = self._flows.get(transaction.flow)
        if entry is not None:
            entry.transactions.pop(transaction, None)
            if not entry.transactions:
                del self._flows[transaction.flow]


def _remove(table: dict[TransactionKey, T], key: TransactionKey, transaction: T) -> None:
    if table.get(key) is transaction:
        del table[key]
