"""The dialog of a subscription of our own: SUBSCRIBE goes out, NOTIFY comes in (RFC 6665 section 4.1)."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.errors import InvalidStateError, LocalError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import Credentials, IFlow, IServerTransaction
from sipd.sip.dialog import Dialog, DialogState
from sipd.sip.fields import NameAddr
from sipd.sip.headers import Fields, Headers
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Request, Response
from sipd.sip.refer import EventValue, SubscriptionState
from sipd.sip.subscriber import ENDING, Effects, Event, Over, State, Subscriber, Unsubscribe
from sipd.timers import Timers
from sipd.ua.flows import is_behind_nat
from sipd.ua.interfaces import IDialogUser, IOutgoingSubscriptionUser

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.ua.core import UserAgent


@implementer(IDialogUser)
class OutgoingSubscription:
    """One subscription of our own, from its SUBSCRIBE on. Performs the effects of a `Subscriber`.

    Who makes it sends the SUBSCRIBE, to as many places as it likes, with the Call-ID and the From tag that are given
    here, and then says `accepted` or `close`. The first NOTIFY makes the dialog; other notifiers get 481, which ends
    their subscriptions (section 4.4.1).

    Args:
        agent: the user agent that it belongs to.
        subscribe: the SUBSCRIBE, without Via.
        user: who owns it.

    Attributes:
        dialog: before the first NOTIFY a dialog with nobody.
        flow, is_natted, credentials, nonce_counts: see `IDialogUser`.

    Raises:
        ParseError: the SUBSCRIBE has no Event that can be read.
    """

    def __init__(self, agent: UserAgent, subscribe: Request, user: IOutgoingSubscriptionUser) -> None:
        self.agent = agent
        self.flow: IFlow | None = None
        self.is_natted = False
        self.credentials: Credentials | None = None
        self.nonce_counts: dict[str, int] = {}
        self.dialog = _dialog_with_nobody(subscribe)
        self._event_text = subscribe.headers.get("Event") or ""
        self._event = EventValue.parse(self._event_text)
        self._user = user
        self._machine = Subscriber(agent.settings.timers)
        self._timers = Timers(agent.clock, self._feed)

    @property
    def is_established(self) -> bool:
        """Whether there is a dialog, and it goes on."""
        return self._machine.state is State.ACTIVE

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._machine.state is State.TERMINATED

    # --- for the user ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take NOTIFY from now on: the SUBSCRIBE leaves."""
        self.agent.hold_dialog(self.dialog, self)
        self._perform(self._machine.begin())

    def accepted(self, response: Response) -> None:
        """Take the 2xx of the SUBSCRIBE."""
        self.dialog.local_sequence = max(self.dialog.local_sequence, response.cseq.number)
        self._feed(Event.ACCEPTED, response.expires)

    def refresh(self, headers: Fields = (), body: bytes = b"") -> Deferred[Response]:
        """Send SUBSCRIBE inside the dialog; a Deferred of the final response. Fails with `RemoteError`.

        Args:
            headers: Expires, and what else is to be said.
            body: octets.

        Raises:
            InvalidStateError: there is no dialog yet, or no more.
        """
        if not self.is_established:
            raise InvalidStateError("There is no subscription")
        return self._subscribe(headers, body)

    def leave(self) -> None:
        """End it: SUBSCRIBE for 0 seconds, or 481 for the first NOTIFY if none has come. Idempotent."""
        self._feed(Event.LEAVE)

    def close(self) -> None:
        """Forget it at once; what still comes is answered with 481."""
        self._feed(Event.CLOSE)

    def answer(
        self,
        transaction: IServerTransaction,
        status: int,
        reason: str | None = None,
        headers: Fields = (),
        body: bytes = b"",
    ) -> None:
        """Answer a NOTIFY. With one of `sipd.sip.subscriber.ENDING` the subscription is over."""
        transaction.respond(transaction.request.response(status, reason, headers=headers, body=body))
        if status in ENDING and not self.is_over:
            self.close()

    # --- for the user agent ---------------------------------------------------------------------------------

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `IDialogUser`."""
        request = transaction.request
        try:
            if request.method == "NOTIFY":
                self._notify_received(transaction)
                return
            self.dialog.check_sequence(request)
            if request.method == "OPTIONS":
                self.agent.answer_options(transaction)
            else:
                transaction.respond(request.response(481))
        except RequestRefusedError as error:
            transaction.respond(request.response(error.status, error.reason, headers=error.headers))
        except ParseError as error:
            transaction.respond(request.response(400, error.reason))

    def ack_received(self, ack: Request) -> None:
        """See `IDialogUser`: there is nothing to acknowledge."""

    def _notify_received(self, transaction: IServerTransaction) -> None:
        request = transaction.request
        event = request.headers.get("Event")
        if event is None:
            raise RequestRefusedError("Bad Event", status=489)
        if EventValue.parse(event) != self._event:
            raise RequestRefusedError("No Such Subscription", status=481)
        state = SubscriptionState.parse(request.headers.get("Subscription-State") or "")
        if self.dialog.state is DialogState.EARLY:
            self._take_dialog(transaction)
        else:
            self.dialog.check_sequence(request)
            self.dialog.refresh_target(request)
        self.flow = transaction.flow
        self.is_natted = not self.dialog.route_set and is_behind_nat(
            self.dialog.remote_target, request.via, transaction.flow
        )
        is_wanted = self._machine.state is not State.LEAVING
        self._feed(Event.LAST_NOTIFY if state.is_terminated else Event.NOTIFY, state.expires)
        if is_wanted:
            self._user.notify_received(self, transaction, state)
        else:
            transaction.respond(request.response(200))

    def _take_dialog(self, transaction: IServerTransaction) -> None:
        """Let the first NOTIFY make the dialog; that of another notifier finds nobody any more (section 4.4.1)."""
        request = transaction.request
        contact = self.agent.contact(transaction.flow, self.dialog.local.uri, request)
        dialog = Dialog.of_callee(request, self.dialog.local.tag or "", contact)
        dialog.local_sequence = self.dialog.local_sequence
        dialog.state = DialogState.CONFIRMED
        self._release()
        self.dialog = dialog
        self.agent.hold_dialog(dialog, self)

    # --- what the machine wants -----------------------------------------------------------------------------

    def _feed(self, event: Enum, argument: object = None) -> None:
        self._perform(self._machine.feed(event, argument))
        if self.is_over:
            self._release()

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case StartTimer(event, duration):
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case Unsubscribe():
                    sending = self._subscribe((("Expires", "0"),), b"")
                    sending.addErrback(lambda failure: failure.trap(RemoteError, LocalError))
                case Over(text, reason):
                    self._user.outgoing_over(self, text, reason)

    def _subscribe(self, headers: Fields, body: bytes) -> Deferred[Response]:
        fields = Headers([("Event", self._event_text)])
        if self.agent.settings.name:
            fields.add("User-Agent", self.agent.settings.name)
        fields.extend(headers)
        request = self.dialog.request("SUBSCRIBE", fields, body)
        sending = self.agent.request_in_dialog(self, self.dialog, request)
        return sending.addCallbacks(self._answered, self._failed)

    def _answered(self, response: Response) -> Response:
        if response.is_success:
            try:
                self.dialog.refresh_target(response)
                self._feed(Event.ACCEPTED, response.expires)
            except ParseError as error:
                self._feed(Event.REFUSED, f"SUBSCRIBE: {error.reason}")
        elif response.status in ENDING:
            self._feed(Event.REFUSED, f"SUBSCRIBE: {response.status} {response.reason}")
        return response

    def _failed(self, failure: Failure) -> Failure:
        failure.trap(RemoteError, LocalError)
        self._feed(Event.REFUSED, f"SUBSCRIBE: {failure.getErrorMessage()}")
        return failure

    def _release(self) -> None:
        self.agent.release_dialog(self.dialog, self)


def _dialog_with_nobody(subscribe: Request) -> Dialog:
    """Make the dialog by which a NOTIFY of a notifier that is not known yet is found: the remote tag is empty."""
    return Dialog(
        call_id=subscribe.call_id,
        local=subscribe.from_,
        remote=NameAddr(subscribe.to.uri),
        local_sequence=subscribe.cseq.number,
        remote_sequence=None,
        remote_target=subscribe.uri,
        route_set=(),
        contact="",
        is_secure=False,
        state=DialogState.EARLY,
    )
