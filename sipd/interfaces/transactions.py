"""Joints of the transaction layer and of the core (RFC 3261 sections 17 and 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from sipd.errors import RemoteError
    from sipd.interfaces.transport import IFlow
    from sipd.sip.message import Request, Response


class ITransactionUser(Interface):
    """What owns a client transaction; RFC 3261 section 5 calls it the TU."""

    def response_received(response: Response) -> None:
        """Take a response. 2xx to an INVITE may come more than once (forking, lost ACK)."""

    def transaction_failed(error: RemoteError) -> None:
        """Take note that no final response will come. Called at most once, and never after a final response."""


class IClientTransaction(Interface):
    """A client transaction as its user sees it."""

    request: Request = Attribute("The request as sent, Via included.")
    flow: IFlow = Attribute("What it was sent on.")
    user: ITransactionUser | None = Attribute("Told what becomes of it; may be another one from now on.")

    def cancel(headers: Sequence[tuple[str, str]] = ()) -> None:
        """Send CANCEL (RFC 3261 section 9.1): at once if a 1xx came, else when it comes. Idempotent.

        Does nothing once a final response is here, or for a request that is not INVITE. ``headers`` go into the
        CANCEL (Reason, RFC 3326). A 2xx may still come.
        """


class IServerTransactionUser(Interface):
    """What owns a server transaction, from the first moment it wants to know of failures."""

    def transaction_failed(error: RemoteError) -> None:
        """Take note that a final response was not acknowledged (timer H), or could not be sent."""


class IServerTransaction(Interface):
    """A server transaction as the core sees it."""

    request: Request = Attribute("The request as received.")
    flow: IFlow = Attribute("What it came on.")
    user: IServerTransactionUser | None = Attribute("Told of failures; set by whoever takes the request.")
    is_answered: bool = Attribute("Whether a final response was given.")
    standing: Sequence[tuple[str, str]] = Attribute("Header fields of each response that has none of that name.")

    def respond(response: Response) -> None:
        """Send a response. After a final one others are absorbed, except 2xx to INVITE again (RFC 6026)."""


class ITransactionCore(Interface):
    """What stands above the transaction layer: the user agent core."""

    def request_received(transaction: IServerTransaction) -> None:
        """Take a new request, any method but ACK and CANCEL."""

    def cancel_received(cancel: Request, transaction: IServerTransaction) -> None:
        """Take note of a CANCEL for that INVITE; the CANCEL itself is already answered (section 9.2)."""

    def ack_received(ack: Request, flow: IFlow) -> None:
        """Take an ACK that is not a server transaction's own: one for a 2xx, or a stray one."""

    def response_received(response: Response, flow: IFlow) -> None:
        """Take a response without a client transaction: a late 2xx to INVITE, or a stray one."""


class ITransactionLayer(Interface):
    """RFC 3261 section 17 as the core uses it."""

    def start(request: Request, flow: IFlow, user: ITransactionUser) -> IClientTransaction:
        """Send a request in a new client transaction. Adds the Via, with a new branch, on top.

        ACK is not for this: see `send_ack`. A response never arrives before this returns.
        """

    def request(
        request: Request, flow: IFlow, provisional: Callable[[Response], None] | None = None
    ) -> Deferred[Response]:
        """The same as a Deferred of the final response, whatever its status.

        Fails with `TransactionTimeoutError` or `TransportError`. Cancelling it cancels the request the SIP way.
        """

    def send_ack(ack: Request, flow: IFlow) -> None:
        """Send the ACK of a 2xx: no transaction, a branch of its own (section 13.2.2.4)."""

    def drop(transaction: IClientTransaction | IServerTransaction) -> None:
        """Forget a transaction at once: nothing more is sent in it, and its user is told nothing. Idempotent.

        What comes for it later is as if it had never been: a response goes to the core, a request begins anew.
        """

    def is_merged(transaction: IServerTransaction) -> bool:
        """Say whether the same request came before on another path, or was sent from here: 482 (section 8.2.2.2)."""


class IRequestHandler(Interface):
    """Answers the out-of-dialog requests of a method, such as REGISTER."""

    extensions: frozenset[str] = Attribute(
        "Option tags that a Require may name beside the user agent's own, lower case."
    )

    def request_received(transaction: IServerTransaction) -> None:
        """Answer it, now or later; must give one final response."""
