"""Requests inside of a session that its user answers: INFO and MESSAGE (RFC 6086 section 4, RFC 3428 section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.errors import RemoteError
from sipd.interfaces import IServerTransaction, IServerTransactionUser
from sipd.sip.headers import Fields
from sipd.ua.events import Requested

if TYPE_CHECKING:
    from sipd.ua.session import Session

#: What the user of a session is told of, and answers.
USER_METHODS = frozenset(("INFO", "MESSAGE"))
#: How many of one session may wait for their answers; further ones are refused.
MAX_PENDING = 32


@implementer(IServerTransactionUser)
class Requesting:
    """One request inside of a dialog that waits for its answer, as `Answering` is one INVITE. There is no ACK.

    Attributes:
        request: as it was received.
        is_answered: whether a final response was given, or would come too late.
    """

    __slots__ = ("_transaction", "is_answered", "request")

    def __init__(self, transaction: IServerTransaction) -> None:
        self.request = transaction.request
        self.is_answered = False
        self._transaction = transaction
        transaction.user = self

    def answer(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a final response, 200 to 699. Absorbed after another one."""
        if not self.is_answered:
            self.is_answered = True
            self._transaction.respond(self.request.response(status, reason, headers=headers, body=body))

    def transaction_failed(self, error: RemoteError) -> None:
        """See `IServerTransactionUser`: it is too late for an answer."""
        self.is_answered = True


class Requests:
    """Takes the requests of one session's peer that are for the user."""

    __slots__ = ("_pending", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending: tuple[Requesting, ...] = ()

    def received(self, transaction: IServerTransaction) -> None:
        """Take one: `Requested` tells the user.

        Raises:
            RequestRefusedError: the INVITE has no answer yet, or `MAX_PENDING` wait already.
        """
        session = self._session
        if not session.is_established:
            raise session.too_early("The call is not answered yet")
        pending = tuple([one for one in self._pending if not one.is_answered])
        if len(pending) >= MAX_PENDING:
            session.agent.explain(
                session, f"{transaction.request.method} refused: {MAX_PENDING} wait for their answers"
            )
            raise session.too_early("Too many requests wait for their answers")
        requesting = Requesting(transaction)
        self._pending = (*pending, requesting)
        session.tell(Requested(requesting))

    def end(self) -> None:
        """The session is over: those that wait get 487, as an INVITE would (RFC 3261 section 15.1.2)."""
        pending, self._pending = self._pending, ()
        for requesting in pending:
            requesting.answer(487)
