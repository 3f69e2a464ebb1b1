"""REFER inside of a session, and outside of dialogs: what is asked for, and how it is told of (RFC 3515 section 2.4).

The subscription that a REFER makes is a use of its dialog beside the session, and outlives it (RFC 5057 section 5.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sipd.errors import ParseError, RequestRefusedError
from sipd.interfaces import Credentials, IServerTransaction
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.headers import Fields
from sipd.sip.identifiers import new_tag
from sipd.sip.message import Request
from sipd.sip.refer import (
    EventValue,
    Fragment,
    ReferredBy,
    SubscriptionState,
    SubscriptionWish,
    refer_to_of,
    subscription_wish,
)
from sipd.sip.subscription import Event
from sipd.ua.flows import is_behind_nat
from sipd.ua.interfaces import IDialogUser
from sipd.ua.notifying import Notifications
from sipd.ua.referral import Referral
from sipd.ua.requesting import Requesting

if TYPE_CHECKING:
    from sipd.sip.message import Response
    from sipd.ua.core import UserAgent

#: The event package.
PACKAGE = "refer"
#: Option tags that a REFER may require (RFC 4488 section 4, RFC 7614).
REFER_EXTENSIONS = frozenset(("norefersub", "nosub"))
#: How many of one dialog, in each direction, may be open: not answered, or with a subscription.
MAX_OPEN = 8


class Referring(Requesting):
    """One REFER of the peer. Refuse it, or pass an answer on, by `answer`; or `accept` it, and tell how it fares.

    Attributes:
        refer_to: what to contact.
        referred_by: who asks for it, as it says itself, or ``None``.
        wish: what it wants to hear.

    Raises:
        ParseError: it has not exactly one Refer-To, or something in it is malformed: 400.
    """

    __slots__ = ("_notifications", "_referrals", "event", "number", "refer_to", "referred_by", "wish")

    def __init__(self, referrals: Referrals, transaction: IServerTransaction, event: EventValue) -> None:
        request = transaction.request
        self.refer_to = refer_to_of(request)
        self.referred_by = _referred_by(request)
        self.wish = subscription_wish(request)
        self.event = event
        self.number = request.cseq.number
        self._referrals = referrals
        self._notifications: Notifications | None = None
        super().__init__(transaction)

    @property
    def is_open(self) -> bool:
        """Whether it waits for its answer, or for the end of its subscription."""
        return not self.is_answered or self.is_subscribed

    @property
    def is_subscribed(self) -> bool:
        """Whether the peer is told how it fares."""
        return self._notifications is not None and not self._notifications.is_over

    def answer(self, status: int, reason: str | None = None, headers: Fields = (), body: bytes = b"") -> None:
        """Send a final response, 200 to 699, without a subscription. Absorbed after another one."""
        if not self.is_answered:
            self.is_answered = True
            tag = self._referrals.dialog.local.tag
            response = self.request.response(status, reason, to_tag=tag, headers=headers, body=body)
            if response.is_success and "Contact" not in response.headers:
                response.headers.extend(self._referrals.response_fields(self.request))
            self._transaction.respond(response)

    def accept(self) -> None:
        """Send 202, and the first NOTIFY at once, if any is wanted. Absorbed after a final response."""
        if self.is_answered:
            return
        if self.wish is SubscriptionWish.NONE:
            self.answer(202, headers=(("Refer-Sub", "false"),))
            return
        self.answer(202)
        self._notifications = Notifications(self._referrals, self.event)
        self._notifications.begin()

    def progress(self, status: int, reason: str) -> None:
        """Tell of a provisional response to the referred request, unless there is a later one to tell of by then."""
        self.feed(Event.PROGRESS, Fragment(status=status, reason=reason))

    def finish(self, status: int, reason: str) -> None:
        """Tell of its outcome, which ends the subscription."""
        self.feed(Event.FINAL, Fragment(status=status, reason=reason))

    def when_told(self) -> Deferred[None]:
        """Give a Deferred that fires when the peer has answered the last NOTIFY, or gets none any more."""
        return succeed(None) if self._notifications is None else self._notifications.when_over()

    def feed(self, event: Event, argument: object = None) -> None:
        """Let something happen to the subscription, while there is one."""
        if self._notifications is not None:
            self._notifications.feed(event, argument)


class Referrals:
    """The REFERs of one dialog, of both sides, and their subscriptions.

    Args:
        agent: the user agent.
        user: who uses the dialog; it stays the one as long as there are subscriptions.
        dialog: the dialog.
    """

    __slots__ = ("_received", "_received_count", "_sent", "_sent_count", "agent", "dialog", "user")

    def __init__(self, agent: UserAgent, user: IDialogUser, dialog: Dialog) -> None:
        self.agent = agent
        self.user = user
        self.dialog = dialog
        self._received: list[Referring] = []
        self._received_count = 0
        self._sent: list[Referral] = []
        self._sent_count = 0

    @property
    def is_subscribed(self) -> bool:
        """Whether something is still to be told, to the peer or by it."""
        return any(one.is_subscribed for one in self._received) or any(one.is_waiting for one in self._sent)

    @property
    def is_full(self) -> bool:
        """Whether `MAX_OPEN` REFERs of the peer are open."""
        return sum(one.is_open for one in self._received) >= MAX_OPEN

    def take(self, transaction: IServerTransaction) -> Referring:
        """Take a REFER of the peer.

        Raises:
            ParseError: see `Referring`.
        """
        # The second of a dialog, and each later one, names itself (section 2.4.6).
        number = str(transaction.request.cseq.number)
        event = EventValue(package=PACKAGE, id=number if self._received_count else None)
        referring = Referring(self, transaction, event)
        self._received_count += 1
        self._received = [*(one for one in self._received if one.is_open), referring]
        return referring

    def send(self, sending: Deferred[Response], number: int) -> Referral:
        """Watch over a REFER of this side, which has just left with that CSeq number."""
        referral = Referral(self, sending, number, is_first=not self._sent_count)
        self._sent_count += 1
        self._sent = [*(one for one in self._sent if one.is_open), referral]
        return referral

    @property
    def may_send(self) -> bool:
        """Whether another REFER of this side may leave: one waits for its answer at a time, `MAX_OPEN` are open."""
        waiting = [one for one in self._sent if one.is_open]
        return len(waiting) < MAX_OPEN and all(one.is_answered for one in waiting)

    def subscribe_received(self, transaction: IServerTransaction) -> None:
        """Take a SUBSCRIBE: it prolongs a subscription of the peer, or ends it (RFC 6665 section 4.2.1).

        Raises:
            RequestRefusedError: 489, another event package; 481, there is no such subscription.
            ParseError: it is malformed.
        """
        request = transaction.request
        event = EventValue.parse(request.headers.get("Event") or "")
        if event.package != PACKAGE:
            raise RequestRefusedError("Bad Event", status=489, headers=(("Allow-Events", PACKAGE),))
        referring = next((one for one in self._received if one.is_subscribed and _matches(one, event)), None)
        if referring is None:
            raise RequestRefusedError("Subscription Does Not Exist", status=481)
        longest = int(self.agent.settings.refer_duration)
        seconds = longest if request.expires is None else min(request.expires, longest)
        self.dialog.refresh_target(request)
        headers = (*self.response_fields(request), ("Expires", str(seconds)))
        transaction.respond(request.response(200, headers=headers))
        referring.feed(Event.REFRESH if seconds else Event.UNSUBSCRIBE, float(seconds))

    def notify_received(self, transaction: IServerTransaction, event: EventValue) -> bool:
        """Take a NOTIFY; say whether it is of a subscription of this side, and so answered.

        Raises:
            ParseError: it is malformed.
        """
        referral = self._find_sent(event)
        if referral is None:
            return False
        request = transaction.request
        state = SubscriptionState.parse(request.headers.get("Subscription-State") or "")
        self.dialog.refresh_target(request)
        transaction.respond(request.response(200, headers=self.response_fields(request)))
        referral.notified(state, _fragment(request.body))
        return True

    def response_fields(self, request: Request) -> tuple[tuple[str, str], ...]:
        """Give what a 2xx says about the dialog, which it may make: Record-Route and Contact."""
        routes = [("Record-Route", value) for value in request.headers.get_all("Record-Route")]
        return (*routes, ("Contact", self.dialog.contact))

    def begin(self) -> None:
        """Keep the dialog: a subscription begins."""
        self.agent.hold_dialog(self.dialog, self.user)

    def over(self) -> None:
        """Let the dialog go where the last subscription has ended and nothing else uses it."""
        if not self.is_subscribed and self.user not in self.agent:
            self.agent.release_dialog(self.dialog, self.user)

    def end(self) -> None:
        """The session is over: REFERs that wait get 487, as an INVITE would; subscriptions go on."""
        for referring in self._received:
            referring.answer(487)

    def close(self) -> None:
        """End the subscriptions without a word."""
        for referring in self._received:
            referring.feed(Event.CLOSE)
        for referral in self._sent:
            referral.feed(Event.CLOSE)

    def _find_sent(self, event: EventValue) -> Referral | None:
        waiting = [one for one in self._sent if one.is_open]
        for referral in waiting:
            if event.id == str(referral.number) or (event.id is None and (referral.is_first or len(waiting) == 1)):
                return referral
        # A NOTIFY may overtake the 202, and its REFER may have been sent again with credentials.
        return next((one for one in waiting if not one.is_answered), None) if event.id is not None else None


def referring_of(agent: UserAgent, transaction: IServerTransaction) -> Referring:
    """Take a REFER outside of dialogs. When it is accepted it makes one, for the NOTIFYs (RFC 3515 section 2.4.4).

    Raises:
        ParseError: it has no Contact, or see `Referring`: 400.
    """
    return _OutOfDialog(agent, transaction).referrals.take(transaction)


@implementer(IDialogUser)
class _OutOfDialog:
    """Uses the dialog that a REFER has made."""

    def __init__(self, agent: UserAgent, transaction: IServerTransaction) -> None:
        request, flow = transaction.request, transaction.flow
        dialog = Dialog.of_callee(request, new_tag(agent.entropy), agent.contact(flow, request.to.uri, request))
        dialog.state = DialogState.CONFIRMED
        self.flow = flow
        self.is_natted = not dialog.route_set and is_behind_nat(dialog.remote_target, request.via, flow)
        self.credentials: Credentials | None = None
        self.nonce_counts: dict[str, int] = {}
        self.referrals = Referrals(agent, self, dialog)

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IDialogUser`. Nothing but the subscription can be meant."""
        request = transaction.request
        self.referrals.dialog.check_sequence(request)
        if request.method != "SUBSCRIBE":
            raise RequestRefusedError("There is only a subscription here", status=481)
        self.flow = transaction.flow
        self.referrals.subscribe_received(transaction)

    def ack_received(self, ack: Request) -> None:
        """See `IDialogUser`. There is no INVITE that it could be for."""

    def close(self) -> None:
        """See `IDialogUser`."""
        self.referrals.close()


def _matches(referring: Referring, event: EventValue) -> bool:
    return event.id in (referring.event.id, str(referring.number))


def _referred_by(request: Request) -> ReferredBy | None:
    values = request.headers.get_all("Referred-By")
    if len(values) > 1:
        raise ParseError("REFER with several Referred-By")
    return ReferredBy.parse(values[0]) if values else None


def _fragment(body: bytes) -> Fragment | None:
    try:
        return Fragment.parse(body)
    except ParseError:
        return None
