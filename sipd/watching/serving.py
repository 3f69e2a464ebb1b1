"""One subscription to a state that is known here (RFC 6665 section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.interfaces import IServerTransaction
from sipd.sip.message import Response
from sipd.sip.refer import SubscriptionState
from sipd.ua.incoming_subscription import IncomingSubscription, Notification
from sipd.ua.interfaces import IIncomingSubscriptionUser

if TYPE_CHECKING:
    from sipd.watching.interfaces import IWatch
    from sipd.watching.subscriptions import Story, Subscriptions


@implementer(IIncomingSubscriptionUser)
class Served:
    """Tells one watcher of one state: at once, and at each change, as often as it may.

    Args:
        subscriptions: holds it.
        transaction: that of the SUBSCRIBE.
        story: what will be said of it.
    """

    _watch: IWatch

    def __init__(self, subscriptions: Subscriptions, transaction: IServerTransaction, story: Story) -> None:
        self.story = story
        story.how = "served"
        self._last: SubscriptionState | None = None
        self._subscriptions = subscriptions
        self._transaction = transaction
        self._watcher = IncomingSubscription(
            subscriptions.b2bua.agent, transaction, self, interval=subscriptions.settings.notify_interval
        )

    def changed(self) -> None:
        """Tell the watcher, as soon as that may be done."""
        self._watcher.news()

    def begin(self, watch: IWatch, seconds: int) -> None:
        """Accept it for so many seconds, and tell the state."""
        self._watch = watch
        self._subscriptions.hold(self)
        self._watcher.accept(self._transaction, seconds)
        if seconds:
            self._watcher.begin(seconds)
            self._watcher.news()
        else:
            # Asked for once, and told once (section 4.4.3).
            self._watcher.end("timeout", "asked for once")

    def stop(self, state: SubscriptionState, text: str) -> None:
        """End it, and tell the watcher."""
        self._last = state
        self._watcher.end(state.reason, text)

    def close(self) -> None:
        """Forget it without a word."""
        self._watch.stop()
        self._watcher.close()

    def subscribe_received(self, subscription: IncomingSubscription, transaction: IServerTransaction) -> None:
        """See `IIncomingSubscriptionUser`."""
        seconds = self._subscriptions.settings.expiry.of(transaction.request)
        subscription.accept(transaction, seconds)
        if seconds:
            subscription.refresh(seconds)
        else:
            subscription.end("timeout", "the watcher has ended it")

    def notification(self, subscription: IncomingSubscription, reason: str) -> Notification:
        """See `IIncomingSubscriptionUser`. The last one has the state, too (section 4.2.1.4)."""
        headers, body = self._watch.content()
        self.story.notifications += 1
        if not reason:
            state = SubscriptionState(state="active")
        else:
            state = self._last or SubscriptionState(state="terminated", reason=reason)
        return Notification(state, headers, body)

    def notification_answered(self, subscription: IncomingSubscription, response: Response | None) -> None:
        """See `IIncomingSubscriptionUser`."""

    def incoming_over(self, subscription: IncomingSubscription, text: str) -> None:
        """See `IIncomingSubscriptionUser`."""
        self._watch.stop()
        self._subscriptions.ended(self, text)
