"""The joints between the user agent and what is built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from sipd.errors import TransportError
    from sipd.interfaces import IFlow, IServerTransaction
    from sipd.sip.message import Request, Response
    from sipd.sip.refer import SubscriptionState
    from sipd.ua.events import SessionEvent
    from sipd.ua.incoming import IncomingCall
    from sipd.ua.incoming_subscription import IncomingSubscription, Notification
    from sipd.ua.outgoing_subscription import OutgoingSubscription
    from sipd.ua.session import Session


class IDialogUser(Interface):
    """What uses a dialog: a session, or a subscription (RFC 5057). `UserAgent.hold_dialog` makes it known."""

    flow = Attribute("what the dialog's messages travel on (`IFlow`), or ``None`` while that is not known")
    is_natted = Attribute("whether the peer's Contact is not where it is reached")
    credentials = Attribute("for challenges of the peer (`Credentials`), or ``None``")
    nonce_counts = Attribute("how often each nonce of the peer's was used: ``dict[str, int]``")

    def request_received(transaction: IServerTransaction) -> None:
        """Take a request inside the dialog, other than ACK and CANCEL; it has to be answered, now or later.

        Raises:
            RequestRefusedError: the user agent is to refuse it so.
            ParseError: it is malformed: 400.
        """

    def ack_received(ack: Request) -> None:
        """Take an ACK inside the dialog."""

    def close() -> None:
        """Stop all timers; neither anybody here nor the peer hears anything."""


class ISessionUser(Interface):
    """What owns a session: one leg of a call."""

    def session_event(session: Session, event: SessionEvent) -> None:
        """Take note of what happened. Called from within the stack: return soon, and do not raise."""


class ICallHandler(Interface):
    """Takes the calls that come to a user agent."""

    def call_offered(call: IncomingCall) -> None:
        """Take a call: set ``call.user``, and ring, accept or reject it now or later."""


class IIncomingSubscriptionUser(Interface):
    """What owns a subscription of a peer's."""

    def subscribe_received(subscription: IncomingSubscription, transaction: IServerTransaction) -> None:
        """Take a SUBSCRIBE inside the dialog; it has to be answered, by ``accept`` or ``respond``."""

    def notification(subscription: IncomingSubscription, reason: str) -> Notification:
        """Give what is to be told now. With a ``reason`` it is the last time, and why: the state is terminated."""

    def notification_answered(subscription: IncomingSubscription, response: Response | None) -> None:
        """Take the final response to a NOTIFY, or note that there is none."""

    def incoming_over(subscription: IncomingSubscription, text: str) -> None:
        """Take note that nothing more will happen. Not told of after `close`; ``text`` says why."""


class IOutgoingSubscriptionUser(Interface):
    """What owns a subscription of our own."""

    def notify_received(
        subscription: OutgoingSubscription, transaction: IServerTransaction, state: SubscriptionState
    ) -> None:
        """Take a NOTIFY; it has to be answered, by `OutgoingSubscription.answer`. A terminated state is the end."""

    def outgoing_over(subscription: OutgoingSubscription, text: str, reason: str) -> None:
        """Take note that it is over without a NOTIFY that says so. Not told of after ``leave`` or `close`.

        Args:
            subscription: that is over.
            text: why, for a person.
            reason: why, as in Subscription-State.
        """


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
