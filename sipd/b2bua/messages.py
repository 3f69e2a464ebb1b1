"""Messages outside of calls: a user's MESSAGE goes to whom it is for, and the answer comes back (RFC 3428).

Who may send, and where to, is decided as for calls. Nothing is stored: who is not there does not get it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger
from zope.interface import implementer

from sipd.b2bua.delivery import Delivery
from sipd.b2bua.outside import OutsideRequests, answer_of, peer_of, status_of
from sipd.b2bua.page import Page
from sipd.b2bua.refusals import Refusal
from sipd.errors import RemoteError, RequestRefusedError
from sipd.interfaces import IRequestHandler, IServerTransaction
from sipd.sip.grammar import printable
from sipd.sip.headers import Fields

if TYPE_CHECKING:
    from sipd.b2bua.service import B2bua


@implementer(IRequestHandler)
class Messages(OutsideRequests):
    """Carries each MESSAGE that comes from outside of a dialog to where the router sends it.

    Args:
        b2bua: whose user agent, router and authenticator serve messages, too.
        max_pending: messages at a time that are not answered yet; further ones are answered with 503.
    """

    _log = Logger()

    what = "message"

    def __init__(self, b2bua: B2bua, *, max_pending: int = 1000) -> None:
        super().__init__(b2bua, max_pending=max_pending)
        self._deliveries: set[Delivery] = set()

    def stop(self) -> None:
        """Answer every message that waits for a contact with 503."""
        for delivery in list(self._deliveries):
            delivery.stop()

    async def take(self, transaction: IServerTransaction) -> None:
        """See `OutsideRequests`."""
        delivery = Delivery(self.b2bua.agent)
        self._deliveries.add(delivery)
        try:
            await self._carry(transaction, delivery)
        finally:
            self._deliveries.discard(delivery)

    async def _carry(self, transaction: IServerTransaction, delivery: Delivery) -> None:
        request = transaction.request
        considered: tuple[str, ...] = ()
        headers: Fields = ()
        body = b""
        user = None
        try:
            user = await self.identify(transaction)
            route = await self.route(transaction, user)
            considered = route.considered
            route.check()
            identities = self.identities(transaction, user, route)
            outcome = await delivery.run(Page(self.b2bua.agent, request, identities), route.rounds)
            status, reason, headers, body = answer_of(outcome, identities.caller.policy)
        except RequestRefusedError as error:
            status, reason, headers = error.status, error.reason, error.headers
        except RemoteError as error:
            status, reason = status_of(Refusal.of_own(error))
        self.respond(transaction, status, reason, headers, body)
        if status not in (401, 407):
            self._explain(transaction, user, f"{status} {reason}", (*considered, *delivery.notes))

    def _explain(self, transaction: IServerTransaction, user: str | None, outcome: str, steps: tuple[str, ...]) -> None:
        """Say in one line of the log who wrote to whom, how long it is, what came of it and why; not what it says."""
        request = transaction.request
        self._log.info(
            "message from {caller} to {callee}, {size_octets} octets: {description}",
            caller=printable(str(request.from_.uri)),
            callee=printable(request.uri_text),
            size_octets=len(request.body),
            description=printable("; ".join((outcome, *steps)), 500),
            call_id=request.call_id,
            user=user,
            peer=peer_of(transaction),
        )
