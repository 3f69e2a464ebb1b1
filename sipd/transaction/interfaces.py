"""The joints of modules: what stands beside the core, or below the transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from sipd.errors import TransportError
    from sipd.interfaces import IFlow, IServerTransaction
    from sipd.sip.message import Request, Response


class IModule(Interface):
    """Stands above the transactions, beside the core. Each answer says whether it has taken what came."""

    priority: int = Attribute("Its place: lower numbers are asked first.")

    def request_received(transaction: IServerTransaction) -> bool:
        """Take a request, any method but ACK and CANCEL, or pass it on; whoever takes it must answer it.

        A `RemoteError` is what it is answered with.
        """

    def cancel_received(cancel: Request, transaction: IServerTransaction) -> bool:
        """Take note of a CANCEL for that INVITE, which is its own, or pass it on; the CANCEL is answered already."""

    def ack_received(ack: Request, flow: IFlow) -> bool:
        """Take an ACK that is for a 2xx, or a stray one, or pass it on."""

    def response_received(response: Response, flow: IFlow) -> bool:
        """Take a response without a client transaction, or pass it on."""


class IMessageModule(Interface):
    """Stands between the transport and the transactions: it sees each message, repetitions included."""

    priority: int = Attribute("Its place: lower numbers are asked first.")

    def message_received(message: Request | Response, flow: IFlow) -> bool:
        """Say whether it has taken the message; one that it takes has no transaction, and is its to answer."""

    def flow_failed(flow: IFlow, error: TransportError) -> None:
        """See `IMessageReceiver`. All modules are told."""
