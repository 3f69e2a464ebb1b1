"""One subscription that is carried from its watcher to whom it is for: a dialog on each side (RFC 6665, RFC 7092).

What one side says the other one hears, and its answer goes back: SUBSCRIBE to the target, NOTIFY to the watcher, one
after the other. So the target decides about everything, and a watcher that is gone is known to it at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sipd.b2bua.delivery import Delivery
from sipd.b2bua.errand import Errand
from sipd.b2bua.headers import body_fields, crossing
from sipd.b2bua.outside import content_of, status_of
from sipd.b2bua.refusals import Refusal
from sipd.errors import LocalError, RemoteError, RequestRefusedError
from sipd.interfaces import Attempt, IServerTransaction
from sipd.sip.headers import Headers
from sipd.sip.message import Request, Response
from sipd.sip.refer import SubscriptionState
from sipd.ua.incoming_subscription import IncomingSubscription, Notification
from sipd.ua.interfaces import IIncomingSubscriptionUser, IOutgoingSubscriptionUser
from sipd.ua.outgoing_subscription import OutgoingSubscription

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.b2bua.identity import Identities
    from sipd.watching.subscriptions import Story, Subscriptions

#: How many NOTIFY of one target may wait for the watcher; further ones are refused for now.
MAX_WAITING = 8
#: What stays on its leg in a call, but is said of the subscription here: what the watcher can read, and for how long.
_OF_THE_SUBSCRIPTION = frozenset(("expires", "accept", "accept-encoding"))
_WHAT_IT_READS = frozenset(("accept", "accept-encoding"))
#: What each leg says for itself.
_OF_THE_LEG = ("Event", "Subscription-State")


@implementer(IIncomingSubscriptionUser, IOutgoingSubscriptionUser)
class Carried:
    """A watcher's subscription and our own to the target, and what crosses between them.

    Args:
        subscriptions: holds it.
        transaction: that of the SUBSCRIBE.
        story: what will be said of it.
        seconds: that are asked for.
        identities: what the target is told of the watcher.
    """

    _log = Logger()

    def __init__(
        self,
        subscriptions: Subscriptions,
        transaction: IServerTransaction,
        story: Story,
        seconds: int,
        identities: Identities,
    ) -> None:
        agent = subscriptions.b2bua.agent
        self.story = story
        story.how = "carried"
        self._subscriptions = subscriptions
        self._agent = agent
        self._transaction = transaction
        self._seconds = seconds
        self._watcher = IncomingSubscription(agent, transaction, self)
        self._errand = Errand(agent, transaction.request, identities, _OF_THE_SUBSCRIPTION, has_contact=True)
        self._errand.request.headers.set("Expires", str(seconds))
        self._target = OutgoingSubscription(agent, self._errand.request, self)
        self._delivery = Delivery(agent)
        #: NOTIFY of the target that the watcher has not got yet, and the one that it is getting.
        self._waiting: deque[tuple[IServerTransaction, SubscriptionState]] = deque()
        self._telling: IServerTransaction | None = None
        self._last: SubscriptionState | None = None
        self._is_accepted = False

    async def begin(self, rounds: Iterable[Iterable[Attempt]]) -> None:
        """Ask the target, and answer the watcher."""
        self._subscriptions.hold(self)
        self._target.begin()
        text = "it broke"
        try:
            outcome = await self._delivery.run(self._errand, rounds)
            self.story.steps += self._delivery.notes
            text = "{} {}".format(*status_of(outcome))
            self._take(outcome)
        finally:
            if not self._is_accepted:
                self._target.close()
                self._subscriptions.ended(self, text)

    def stop(self, state: SubscriptionState, text: str) -> None:
        """End it, and tell both sides."""
        if self._is_accepted:
            self._last = state
            self._watcher.end(state.reason, text)
        else:
            self._delivery.stop()

    def close(self) -> None:
        """Forget it without a word."""
        self._watcher.close()
        self._target.close()

    # --- of the watcher -------------------------------------------------------------------------------------

    def subscribe_received(self, subscription: IncomingSubscription, transaction: IServerTransaction) -> None:
        """See `IIncomingSubscriptionUser`."""
        seconds = self._subscriptions.settings.expiry.of(transaction.request)
        if self._target.is_established:
            refreshing = Deferred.fromCoroutine(self._refresh(transaction, seconds))
            refreshing.addErrback(self._broke, transaction)
        elif self._target.is_over:
            raise RequestRefusedError("The Subscription Is Over", status=481)
        elif seconds:
            raise RequestRefusedError("Not Notified Yet", status=500, headers=(("Retry-After", "2"),))
        else:
            subscription.accept(transaction, 0)
            subscription.end("timeout", "the watcher has ended it")

    def notification(self, subscription: IncomingSubscription, reason: str) -> Notification:
        """See `IIncomingSubscriptionUser`: the next one of the target, or that it is over."""
        self.story.notifications += 1
        if reason:
            return Notification(self._last or SubscriptionState(state="terminated", reason=reason))
        self._telling, state = self._waiting.popleft()
        if self._waiting:
            subscription.news()
        request = self._telling.request
        return Notification(state, _fields(request, body=True), request.body)

    def notification_answered(self, subscription: IncomingSubscription, response: Response | None) -> None:
        """See `IIncomingSubscriptionUser`: the target is told the same."""
        transaction, self._telling = self._telling, None
        if transaction is None:
            return
        if response is None:
            self._target.answer(transaction, 481)
            return
        outcome = response if response.is_success else Refusal.of_response(response)
        headers, body = content_of(outcome)
        self._target.answer(transaction, outcome.status, outcome.reason, headers, body)

    def incoming_over(self, subscription: IncomingSubscription, text: str) -> None:
        """See `IIncomingSubscriptionUser`: nobody wants to hear of the target any more."""
        while self._waiting:
            self._target.answer(self._waiting.popleft()[0], 481)
        self._target.leave()
        self._subscriptions.ended(self, text)

    # --- of the target --------------------------------------------------------------------------------------

    def notify_received(
        self, subscription: OutgoingSubscription, transaction: IServerTransaction, state: SubscriptionState
    ) -> None:
        """See `IOutgoingSubscriptionUser`."""
        if self._watcher.is_over:
            subscription.answer(transaction, 200 if state.is_terminated else 481)
        elif len(self._waiting) >= MAX_WAITING and not state.is_terminated:
            subscription.answer(transaction, 500, "Too Many Notifications", (("Retry-After", "2"),))
        else:
            self._waiting.append((transaction, state))
            if self._is_accepted:
                self._watcher.news()

    def outgoing_over(self, subscription: OutgoingSubscription, text: str, reason: str) -> None:
        """See `IOutgoingSubscriptionUser`."""
        self._watcher.end(reason, text)

    # --- SUBSCRIBE ------------------------------------------------------------------------------------------

    def _take(self, outcome: Response | Refusal) -> None:
        """Take what came of the first one."""
        if isinstance(outcome, Response) and outcome.is_success:
            taker = self._delivery.taker
            self._target.credentials = taker.credentials if taker is not None else None
            self._target.accepted(outcome)
            self._accept(self._transaction, outcome)
        elif self._waiting:
            # A NOTIFY says as much as the 2xx that is lost (RFC 6665 section 4.1.2.4).
            self._accept(self._transaction, None)
        else:
            self._refuse(self._transaction, outcome)
            return
        self._is_accepted = True
        if self._waiting:
            self._watcher.news()

    async def _refresh(self, transaction: IServerTransaction, seconds: int) -> None:
        """Carry a SUBSCRIBE inside of the dialog across."""
        request = transaction.request
        fields = _fields(request, body=True)
        fields.copy_only(request.headers, _WHAT_IT_READS)
        fields.set("Expires", str(seconds))
        outcome: Response | Refusal
        try:
            response = await self._target.refresh(fields, request.body)
            outcome = response if response.is_success else Refusal.of_response(response)
        except (RemoteError, LocalError) as error:
            outcome = Refusal.of_error(error)
        if transaction.is_answered:
            return
        if isinstance(outcome, Response):
            self._seconds = seconds
            self._accept(transaction, outcome)
        else:
            self._refuse(transaction, outcome)

    def _accept(self, transaction: IServerTransaction, response: Response | None) -> None:
        """Give the watcher what the target has given, and the target time to say itself that it is over."""
        granted, headers = self._seconds, Headers()
        if response is not None:
            granted = min(granted, response.expires if response.expires is not None else granted)
            headers = _fields(response, body=False)
        seconds = granted + self._agent.settings.timers.timeout
        self._watcher.accept(transaction, granted, headers)
        if self._is_accepted:
            self._watcher.extend(seconds)
        else:
            self._watcher.begin(seconds)

    def _refuse(self, transaction: IServerTransaction, outcome: Response | Refusal) -> None:
        status, reason = status_of(outcome)
        headers, body = content_of(outcome)
        self._watcher.respond(transaction, status, reason, headers, body)

    def _broke(self, failure: Failure, transaction: IServerTransaction) -> None:
        """A bug: the refresh is answered, and the subscription goes on."""
        self._log.failure("the refresh of a subscription broke", failure)
        if not transaction.is_answered:
            self._watcher.respond(transaction, 500)


def _fields(message: Request | Response, *, body: bool) -> Headers:
    """Give the header fields that cross, and those of the body if it crosses, too."""
    fields = crossing(message.headers)
    for name in _OF_THE_LEG:
        fields.remove(name)
    if body:
        fields.extend(body_fields(message.headers))
    return fields
