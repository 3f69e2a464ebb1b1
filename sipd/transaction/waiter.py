"""A client transaction as a Deferred."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from zope.interface import classImplements

from sipd.errors import RemoteError
from sipd.interfaces import IClientTransaction, IFlow, ITransactionUser
from sipd.sip.message import Response


class Waiter:
    """Waits for the final response of a client transaction.

    Cancelling the Deferred cancels an INVITE (RFC 3261 section 9.1); another request is left to end by itself.

    Args:
        provisional: told of each provisional response while the Deferred waits.
        orphaned: given each 2xx to INVITE that comes when nobody waits any more: after the first one (forking), or
            after the Deferred was cancelled. It has to be acknowledged and its session ended.
    """

    def __init__(
        self, provisional: Callable[[Response], None] | None, orphaned: Callable[[Response, IFlow], None]
    ) -> None:
        self._provisional = provisional
        self._orphaned = orphaned
        self._waiting: Deferred[Response] | None = None
        #: What is waited for; set by whoever starts it.
        self.transaction: IClientTransaction | None = None

    def wait(self) -> Deferred[Response]:
        """Give the Deferred of the final response."""
        self._waiting = Deferred(self._cancelled)
        return self._waiting

    def response_received(self, response: Response) -> None:
        """See `ITransactionUser`."""
        if response.status < 200:
            if self._waiting is not None and self._provisional is not None:
                self._provisional(response)
            return
        deferred, self._waiting = self._waiting, None
        if deferred is not None:
            deferred.callback(response)
        elif response.status < 300 and self.transaction is not None and self.transaction.request.method == "INVITE":
            self._orphaned(response, self.transaction.flow)

    def transaction_failed(self, error: RemoteError) -> None:
        """See `ITransactionUser`."""
        deferred, self._waiting = self._waiting, None
        if deferred is not None:
            deferred.errback(error)

    def _cancelled(self, _: Deferred[Response]) -> None:
        self._waiting = None
        if self.transaction is not None:
            self.transaction.cancel()


classImplements(Waiter, ITransactionUser)
