"""The joints between the user agent and what is built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from sipd.interfaces import IServerTransaction
    from sipd.sip.message import Request
    from sipd.ua.events import SessionEvent
    from sipd.ua.incoming import IncomingCall
    from sipd.ua.session import Session


class IDialogUser(Interface):
    """What uses a dialog: a session, or a subscription (RFC 5057). `UserAgent.hold_dialog` makes it known."""

    flow = Attribute("what the dialog's messages travel on (`IFlow`), or `None` while that is not known")
    is_natted = Attribute("whether the peer's Contact is not where it is reached")
    credentials = Attribute("for challenges of the peer (`Credentials`), or `None`")
    nonce_counts = Attribute("how often each nonce of the peer's was used: `dict[str, int]`")

    def request_received(transaction: IServerTransaction) -> None:
        """Take a request inside the dialog, other than ACK and CANCEL; it has to be answered."""

    def ack_received(ack: Request) -> None:
        """Take an ACK inside the dialog."""


class ISessionUser(Interface):
    """What owns a session: one leg of a call."""

    def session_event(session: Session, event: SessionEvent) -> None:
        """Take note of what happened. Called from within the stack: return soon, and do not raise."""


class ICallHandler(Interface):
    """Takes the calls that come to a user agent."""

    def call_offered(call: IncomingCall) -> None:
        """Take a call: set `call.user`, and ring, accept or reject it now or later."""
