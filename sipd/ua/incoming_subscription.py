"""The dialog of a subscription of a peer's: SUBSCRIBE comes in, NOTIFY goes out (RFC 6665 section 4.2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from zope.interface import implementer

from sipd.errors import LocalError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import Credentials, IFlow, IServerTransaction
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.headers import Fields, Headers
from sipd.sip.identifiers import new_tag
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Request, Response
from sipd.sip.notifier import Effects, Event, Gone, Notifier, Notify
from sipd.sip.refer import EventValue, SubscriptionState
from sipd.sip.subscriber import ENDING
from sipd.timers import Timers
from sipd.ua.flows import is_behind_nat
from sipd.ua.interfaces import IDialogUser, IIncomingSubscriptionUser

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.ua.core import UserAgent


@dataclass(slots=True)
class Notification:
    """What a NOTIFY says.

    Args:
        state: of the subscription; where an active one does not say how long it lives that is filled in.
        headers: more header fields, those of the body among them.
        body: octets.
    """

    state: SubscriptionState
    headers: Fields = ()
    body: bytes = b""


@implementer(IDialogUser)
class IncomingSubscription:
    """One subscription of a peer's, from the SUBSCRIBE that asks for it. Performs the effects of a `Notifier`.

    Args:
        agent: the user agent that it belongs to.
        transaction: that of the SUBSCRIBE.
        user: who owns it.
        interval: seconds between two NOTIFY.

    Attributes:
        event: which subscription it is.
        dialog: it ends with the subscription.
        flow, is_natted, credentials, nonce_counts: see `IDialogUser`.

    Raises:
        ParseError: the SUBSCRIBE makes no dialog, or has no Event that can be read.
    """

    def __init__(
        self,
        agent: UserAgent,
        transaction: IServerTransaction,
        user: IIncomingSubscriptionUser,
        *,
        interval: float = 0.0,
    ) -> None:
        request = transaction.request
        self.agent = agent
        self.event = EventValue.parse(request.headers.get("Event") or "")
        contact = agent.contact(transaction.flow, request.to.uri, request)
        self.dialog = Dialog.of_callee(request, new_tag(agent.entropy), contact)
        self.flow: IFlow | None = None
        self.is_natted = False
        self.credentials: Credentials | None = None
        self.nonce_counts: dict[str, int] = {}
        self._user = user
        self._expires_at = 0.0
        self._end = ""
        self._machine = Notifier(interval)
        self._timers = Timers(agent.clock, self._feed)
        self._take_flow(transaction)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is told, but for what is under way."""
        return self._machine.is_over

    # --- for the user ---------------------------------------------------------------------------------------

    def accept(self, transaction: IServerTransaction, seconds: int, headers: Fields = ()) -> None:
        """Answer a SUBSCRIBE with 200, for so many seconds. What follows from it is said by another call."""
        fields = Headers([("Contact", self.dialog.contact), ("Expires", str(seconds))])
        self._expires_at = self.agent.clock.seconds() + seconds
        if self.dialog.state is DialogState.EARLY:
            self.dialog.state = DialogState.CONFIRMED
            self.agent.hold_dialog(self.dialog, self)
            fields.copy_lines(transaction.request.headers, "Record-Route")
        fields.extend(headers)
        self.respond(transaction, 200, None, fields)

    def respond(
        self,
        transaction: IServerTransaction,
        status: int,
        reason: str | None = None,
        headers: Fields = (),
        body: bytes = b"",
    ) -> None:
        """Answer a request of the dialog."""
        tag = self.dialog.local.tag
        transaction.respond(transaction.request.response(status, reason, to_tag=tag, headers=headers, body=body))

    def begin(self, seconds: float) -> None:
        """Let it live for so many seconds; the state is told when there is `news`."""
        self._feed(Event.ACCEPT, seconds)

    def news(self) -> None:
        """Tell the state as it is now, as soon as that may be done."""
        self._feed(Event.NEWS)

    def refresh(self, seconds: float) -> None:
        """Let it live for so many seconds from now, and tell the state."""
        self._feed(Event.REFRESH, seconds)

    def extend(self, seconds: float) -> None:
        """Let it live for so many seconds from now."""
        self._feed(Event.EXTEND, seconds)

    def end(self, reason: str, text: str) -> None:
        """End it with a last NOTIFY. Idempotent.

        Args:
            reason: as in Subscription-State.
            text: for a person.
        """
        if not self._machine.is_over:
            self._end = text
            self._feed(Event.END, reason)

    def close(self) -> None:
        """Forget it at once, without a word to anybody."""
        self._feed(Event.CLOSE)
        self._release()

    # --- for the user agent ---------------------------------------------------------------------------------

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IDialogUser`."""
        request = transaction.request
        try:
            self.dialog.check_sequence(request)
            if request.method == "OPTIONS":
                self.agent.answer_options(transaction)
            elif request.method != "SUBSCRIBE":
                self.respond(transaction, 481)
            else:
                self._subscribe_received(transaction)
        except RequestRefusedError as error:
            self.respond(transaction, error.status, error.reason, error.headers)
        except ParseError as error:
            self.respond(transaction, 400, error.reason)

    def ack_received(self, ack: Request) -> None:
        """See `IDialogUser`: there is nothing to acknowledge."""

    def _subscribe_received(self, transaction: IServerTransaction) -> None:
        request = transaction.request
        if self._machine.is_over:
            raise RequestRefusedError("The Subscription Is Over", status=481)
        if EventValue.parse(request.headers.get("Event") or "") != self.event:
            # Several subscriptions in a dialog are deprecated (section 4.5.2).
            raise RequestRefusedError("One Subscription In A Dialog", status=403)
        self.dialog.refresh_target(request)
        self._take_flow(transaction)
        self._user.subscribe_received(self, transaction)

    def _take_flow(self, transaction: IServerTransaction) -> None:
        """Reach the subscriber from now on where its SUBSCRIBE came from."""
        self.flow = transaction.flow
        self.is_natted = not self.dialog.route_set and is_behind_nat(
            self.dialog.remote_target, transaction.request.via, transaction.flow
        )

    # --- what the machine wants -----------------------------------------------------------------------------

    def _feed(self, event: Enum, argument: object = None) -> None:
        self._perform(self._machine.feed(event, argument))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case StartTimer(event, duration):
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case Notify(reason):
                    self._notify(reason)
                case Gone():
                    self._over()

    def _notify(self, reason: str) -> None:
        notification = self._user.notification(self, reason)
        state = notification.state
        is_last = state.is_terminated
        if is_last:
            self._end = self._end or state.reason
            self._feed(Event.CLOSE)
        elif state.expires is None:
            left = max(0, round(self._expires_at - self.agent.clock.seconds()))
            state = replace(state, expires=left)
        fields = Headers([("Event", str(self.event)), ("Subscription-State", str(state))])
        if self.agent.settings.name:
            fields.add("User-Agent", self.agent.settings.name)
        fields.extend(notification.headers)
        request = self.dialog.request("NOTIFY", fields, notification.body)
        sending = self.agent.request_in_dialog(self, self.dialog, request)
        sending.addCallbacks(self._answered, self._failed, (is_last,), errbackArgs=(is_last,))

    def _answered(self, response: Response, is_last: bool) -> None:
        text = f"NOTIFY: {response.status} {response.reason}"
        self._told(response, "" if response.status not in ENDING else text, is_last)

    def _failed(self, failure: Failure, is_last: bool) -> None:
        failure.trap(RemoteError, LocalError)
        self._told(None, f"NOTIFY: {failure.getErrorMessage()}", is_last)

    def _told(self, response: Response | None, refused: str, is_last: bool) -> None:
        self._user.notification_answered(self, response)
        if is_last:
            self._over()
        elif refused:
            self._end = refused
            self._feed(Event.REFUSED)
        else:
            self._perform(self._machine.answered())

    def _over(self) -> None:
        self._release()
        self._user.incoming_over(self, self._end)

    def _release(self) -> None:
        self.dialog.state = DialogState.TERMINATED
        self.agent.release_dialog(self.dialog, self)
