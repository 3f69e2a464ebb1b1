"""Asking for a state once: SUBSCRIBE for 0 seconds, and the NOTIFY that answers it (RFC 6665 section 4.4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from sipd.errors import LocalError, RemoteError, SubscriptionError
from sipd.interfaces import IServerTransaction
from sipd.sip.message import Response
from sipd.sip.refer import SubscriptionState
from sipd.ua.interfaces import IOutgoingSubscriptionUser
from sipd.ua.notices import Notified
from sipd.ua.outgoing_subscription import OutgoingSubscription
from sipd.ua.outside import Place
from sipd.ua.subscription_settings import SubscriptionSettings

if TYPE_CHECKING:
    from twisted.python import failure

    from sipd.ua.core import UserAgent


def fetch(agent: UserAgent, settings: SubscriptionSettings) -> Deferred[Notified]:
    """Ask for a state once; a Deferred of the notification.

    Args:
        agent: sends the request.
        settings: what to ask for; its time and its timing are not looked at.

    Fails with `SubscriptionError` if that is refused, or 64*T1 pass without a NOTIFY; with another `RemoteError` if
    there is no response. Cancelling it forgets the question: a NOTIFY that comes finds nobody.

    Raises:
        ParseError: the event is no event package.
    """
    return _Fetch(agent, settings).begin()


@implementer(IOutgoingSubscriptionUser)
class _Fetch:
    """One question."""

    def __init__(self, agent: UserAgent, settings: SubscriptionSettings) -> None:
        self._settings = settings
        self._place = Place(agent, settings.way, settings.target)
        fields = settings.fields(0)
        fields.set("Event", settings.event)
        self._request = self._place.request("SUBSCRIBE", fields, settings.body)
        self._outgoing = OutgoingSubscription(agent, self._request, self)
        self._outgoing.credentials = settings.credentials
        self._outgoing.nonce_counts = self._place.nonce_counts
        self._notified: Deferred[Notified] = Deferred(self._cancelled)
        self._asking: Deferred[Response] | None = None

    def begin(self) -> Deferred[Notified]:
        """Ask."""
        notified = self._notified
        self._outgoing.begin()
        self._asking = asking = Deferred.fromCoroutine(self._place.ask(self._request, has_contact=True))
        asking.addCallbacks(self._answered).addErrback(self._failed)
        return notified

    def notify_received(
        self, subscription: OutgoingSubscription, transaction: IServerTransaction, state: SubscriptionState
    ) -> None:
        """See `IOutgoingSubscriptionUser`."""
        request = transaction.request
        status = self._settings.refusal_of(request)
        subscription.answer(transaction, status or 200)
        if self._notified.called:
            return
        subscription.close()
        if status is not None:
            self._notified.errback(SubscriptionError("A state that cannot be read", status=status))
            return
        content_type = request.content_type or ""
        self._notified.callback(Notified(body=request.body, content_type=content_type, state=state, request=request))

    def outgoing_over(self, subscription: OutgoingSubscription, text: str, reason: str) -> None:
        """See `IOutgoingSubscriptionUser`."""
        if not self._notified.called:
            self._notified.errback(SubscriptionError(text))

    def _answered(self, response: Response) -> None:
        self._asking = None
        if response.is_success:
            if not self._outgoing.is_over:
                self._outgoing.accepted(response)
            return
        self._outgoing.close()
        if not self._notified.called:
            text = f"{response.status} {response.reason}".strip()
            self._notified.errback(SubscriptionError(text, status=response.status))

    def _failed(self, reason: failure.Failure) -> None:
        reason.trap(RemoteError, LocalError, CancelledError)
        self._asking = None
        self._outgoing.close()
        if not self._notified.called:
            self._notified.errback(reason)

    def _cancelled(self, notified: Deferred[Notified]) -> None:
        self._outgoing.close()
        asking, self._asking = self._asking, None
        if asking is not None:
            notified.errback(CancelledError())
            asking.cancel()
