"""A subscription of our own, kept up (RFC 6665 section 4.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred, succeed
from zope.interface import implementer

from sipd.errors import LocalError, RemoteError, SubscriptionError
from sipd.interfaces import IServerTransaction
from sipd.sip import resubscriber
from sipd.sip.message import Response
from sipd.sip.refer import EventValue, SubscriptionState
from sipd.sip.registrant import Bound, Effect, Event, Failure, Register, State
from sipd.sip.registrant import Failed as InVain
from sipd.sip.resubscriber import Resubscriber, wait_after
from sipd.ua.fetching import fetch
from sipd.ua.interfaces import IOutgoingSubscriptionUser
from sipd.ua.lease import Failed, Lease
from sipd.ua.notices import (
    Ended,
    Lapsed,
    Notices,
    NotificationIterator,
    Notified,
    Resubscribed,
    Subscribed,
    SubscriptionEvent,
    Watcher,
)
from sipd.ua.outgoing_subscription import OutgoingSubscription
from sipd.ua.outside import Place
from sipd.ua.registering import read_failure
from sipd.ua.subscription_settings import SubscriptionSettings, granted_expires

if TYPE_CHECKING:
    from twisted.python import failure

    from sipd.ua.core import UserAgent

#: The event package is not known there: nothing that is done here changes that (section 4.1.2.2).
_BAD_EVENT = 489
#: Seconds by which a NOTIFY may say less than the 2xx and mean the same.
_TOLERANCE = 2.0


@implementer(IOutgoingSubscriptionUser)
class Subscription(Lease[SubscriptionEvent]):
    """Keeps one subscription up until it is stopped, or the notifier ends it for good.

    Performs the effects of a `Resubscriber`, which knows when to ask; each SUBSCRIBE that is not a refresh makes an
    `OutgoingSubscription`, which knows the dialog. Every failure is told, and nothing of it has to be handled.

    ``async for notified in subscription`` reads the notifications: see `NotificationIterator`.

    Args:
        agent: sends the requests.
        settings: what to subscribe to.
        watch: told of each event; returns soon and does not raise.

    Attributes:
        failure: why the last SUBSCRIBE failed; ``None`` after one that did not.

    Raises:
        ParseError: the event is no event package.
    """

    def __init__(self, agent: UserAgent, settings: SubscriptionSettings, watch: Watcher | None = None) -> None:
        EventValue.parse(settings.event)
        super().__init__(agent, Resubscriber(replace(settings.timing, expires=settings.expires), agent.entropy), watch)
        self.settings = settings
        self._notices = Notices(settings.kept)
        self._nonce_counts: dict[str, int] = {}
        self._outgoing: OutgoingSubscription | None = None
        self._is_refresh = False
        #: How it ended while a SUBSCRIBE was under way, and why, for a person.
        self._early_end: tuple[SubscriptionState, str] | None = None
        self._told_until: float | None = None
        self._text = ""
        self._error: SubscriptionError | None = None

    # --- for the application --------------------------------------------------------------------------------

    @property
    def is_active(self) -> bool:
        """Whether the notifier has accepted it."""
        return self._is_held

    @property
    def newest(self) -> Notified | None:
        """The last notification, or ``None``."""
        return self._notices.newest

    def __aiter__(self) -> NotificationIterator:
        return self._notices.read()

    def fetch(self) -> Deferred[Notified]:
        """Ask for the state once, beside the subscription that is kept up: see `sipd.ua.fetching.fetch`."""
        return fetch(self._agent, self.settings)

    def when_active(self) -> Deferred[None]:
        """Give a Deferred that fires when the notifier has accepted it, which may be now.

        Fails with `SubscriptionError` if it is refused in a way that does not pass by itself, or is over. (After a
        refusal it is tried on, and may be asked for again.) Cancelling it changes nothing else.
        """
        if self.is_active:
            return succeed(None)
        return self._await()

    # --- what comes -----------------------------------------------------------------------------------------

    def notify_received(
        self, subscription: OutgoingSubscription, transaction: IServerTransaction, state: SubscriptionState
    ) -> None:
        """See `IOutgoingSubscriptionUser`."""
        request = transaction.request
        status = self.settings.refusal_of(request)
        accept = (("Accept", ", ".join(self.settings.accept)),) if status == 415 else ()
        subscription.answer(transaction, status or 200, None, accept)
        if status is None:
            notified = Notified(
                body=request.body, content_type=request.content_type or "", state=state, request=request
            )
            self._notices.put(notified)
            self._tell(notified)
        if subscription is not self._outgoing:
            return
        if state.is_terminated:
            self._outgoing = None
            self._is_confirmed = True
            self._ended_there(state, f"the notifier has ended it: {state.reason or 'no reason given'}")
        elif state.expires is not None:
            self._limit(state.expires)

    def outgoing_over(self, subscription: OutgoingSubscription, text: str, reason: str) -> None:
        """See `IOutgoingSubscriptionUser`."""
        if subscription is not self._outgoing:
            return
        self._outgoing = None
        # Before it is accepted the answer says what there is to be said.
        if self._asking is None or self._is_refresh:
            self._ended_there(SubscriptionState(state="terminated"), text)

    def _limit(self, seconds: int) -> None:
        """Take what a NOTIFY says about the time: it may be shorter than before, not longer (section 4.2.1.1)."""
        now = self._agent.clock.seconds()
        self._told_until = now + seconds
        if self._asking is None and self.is_active and self._told_until < self._lasts_until - _TOLERANCE:
            self._lasts_until = self._told_until
            self._feed(resubscriber.Event.SHORTENED, float(seconds))

    def _ended_there(self, state: SubscriptionState, text: str) -> None:
        """It is over, by the notifier or since it is silent."""
        if self._asking is not None:
            self._early_end = state, text
            return
        if self.state is State.LEAVING:
            self._feed(Event.GONE)
            return
        wait = wait_after(state)
        self._text = text
        if wait is None:
            self._error = SubscriptionError(text)
            self._feed(resubscriber.Event.FINISHED)
        else:
            self._feed(resubscriber.Event.ENDED, wait)

    # --- what the machine wants -----------------------------------------------------------------------------

    def _perform(self, effect: Effect | resubscriber.Ended) -> None:
        if isinstance(effect, resubscriber.Ended):
            self._drop()
            self._tell(Lapsed(text=self._text, next_try=effect.wait))
        else:
            super()._perform(effect)

    def _ask(self, effect: Register) -> None:
        expires = effect.expires
        self._told_until = None
        outgoing = self._outgoing
        self._is_refresh = outgoing is not None and outgoing.is_established
        if outgoing is not None and self._is_refresh:
            asking = outgoing.refresh(self.settings.fields(expires), self.settings.body)
        else:
            self._drop()
            asking = Deferred.fromCoroutine(self._subscribe(expires))
        self._asking = asking
        asking.addCallbacks(self._answered, self._unanswered, (expires,), errbackArgs=(expires,))

    async def _subscribe(self, expires: int) -> Response:
        """Send a SUBSCRIBE that makes a dialog, and give its final response.

        Raises:
            RemoteError: there is none.
        """
        settings = self.settings
        place = Place(self._agent, settings.way, settings.target)
        place.nonce_counts = self._nonce_counts
        fields = settings.fields(expires)
        fields.set("Event", settings.event)
        request = place.request("SUBSCRIBE", fields, settings.body)
        outgoing = self._outgoing = OutgoingSubscription(self._agent, request, self)
        outgoing.credentials, outgoing.nonce_counts = settings.credentials, self._nonce_counts
        outgoing.begin()
        response = await place.ask(request, has_contact=True)
        if response.is_success and not outgoing.is_over:
            outgoing.accepted(response)
        return response

    def _answered(self, response: Response, asked: int) -> None:
        self._asking = None
        early, self._early_end = self._early_end, None
        if early is not None:
            self._ended_there(*early)
        elif response.is_success:
            self._granted(granted_expires(response, asked))
        elif response.status == _BAD_EVENT:
            self._error = SubscriptionError(f"{response.status} {response.reason}", status=response.status)
            self._feed(resubscriber.Event.FINISHED)
        else:
            has_credentials = self.settings.credentials is not None
            self._fail(read_failure(response, has_credentials=has_credentials))

    def _unanswered(self, reason: failure.Failure, asked: int) -> None:
        reason.trap(RemoteError, LocalError, CancelledError)
        self._asking = None
        early, self._early_end = self._early_end, None
        if early is not None:
            self._ended_there(*early)
        elif self._told_until is not None and self._outgoing is not None and self._outgoing.is_established:
            # A NOTIFY says as much as the 2xx that is lost (section 4.1.2.4).
            self._granted(asked)
        else:
            self._fail(Failure(status=0, text=reason.getErrorMessage()))

    def _granted(self, seconds: int) -> None:
        now = self._agent.clock.seconds()
        granted = float(seconds)
        if self._told_until is not None:
            granted = min(granted, self._told_until - now)
        if granted <= 0 or self._outgoing is None:
            self._fail(Failure(status=0, text="no time is granted" if granted <= 0 else "no NOTIFY came"))
            return
        self.failure = None
        self._lasts_until = now + granted
        self._feed(Event.GRANTED, granted)

    def _fail(self, reason: Failure) -> None:
        outgoing = self._outgoing
        if outgoing is not None and not outgoing.is_established:
            self._drop()
        self._feed(Event.FAILED, reason)

    def _bound(self, effect: Bound) -> None:
        kind = Subscribed if effect.is_new else Resubscribed
        self._tell(kind(expires=effect.expires))
        self._satisfy()

    def _refused(self, effect: InVain) -> None:
        reason = self.failure = effect.failure
        self._tell(Failed(status=reason.status, text=reason.text, next_try=effect.wait))
        if effect.is_refusal:
            self._disappoint(SubscriptionError(reason.text, status=reason.status))

    def _lost(self) -> None:
        self._drop()
        self._tell(Lapsed(text="it was not refreshed in time", next_try=0.0))

    def _leave(self) -> None:
        outgoing = self._outgoing
        self._is_confirmed = outgoing is None
        if outgoing is None or not outgoing.is_established:
            # Without a dialog there is nobody to be told; the first NOTIFY will find nobody.
            self._feed(Event.GONE)
            return
        self._leaving = outgoing.refresh(self.settings.fields(0))
        self._leaving.addCallbacks(self._left, self._not_left)

    def _left(self, response: Response) -> None:
        """The last NOTIFY comes after it, or has come."""
        self._leaving = None
        self._is_confirmed = response.is_success
        if not response.is_success or self._outgoing is None:
            self._feed(Event.GONE)

    def _drop(self) -> None:
        """Forget the present dialog: what comes in it is answered with 481, which ends it there."""
        outgoing, self._outgoing = self._outgoing, None
        if outgoing is not None:
            outgoing.close()

    def _over(self) -> None:
        self._tell(Ended(is_confirmed=self._is_confirmed, error=self._error))

    def _forget(self) -> None:
        self._drop()
        self._early_end = None
        self._notices.end(self._error)

    def _end_error(self) -> SubscriptionError:
        return self._error or SubscriptionError("The subscription has been stopped")
