"""Sends one INVITE, the first of a session or a later one (RFC 3261 sections 13.2 and 14.1).

Goes on to the next target where one fails (RFC 3263 section 4.3), and answers challenges (section 22).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from sipd.errors import LocalError, ParseError, RemoteError, TransportError
from sipd.interfaces import IClientTransaction, IFlow, ITransactionUser
from sipd.sip import invite
from sipd.sip.dialog import Dialog
from sipd.sip.digest import set_credentials
from sipd.sip.glare import retry_after_of
from sipd.sip.headers import Fields
from sipd.sip.invite import CallMachine, Event, State
from sipd.sip.message import Request, Response
from sipd.ua.declining import answer_of_nothing
from sipd.ua.early import EarlyDialog
from sipd.ua.events import Answered, Failed, Progressed, Refused
from sipd.ua.flows import stays_on
from sipd.ua.renewing import renew
from sipd.ua.updating import Updates

if TYPE_CHECKING:
    from sipd.sip.locate import Target
    from sipd.ua.session import Session

#: Shared by all that refuse nobody, which are nearly all.
_NO_TAGS: frozenset[str] = frozenset()


@implementer(ITransactionUser)
class Calling:
    """One INVITE on its way to an answer.

    Performs the effects of a `CallMachine`, and keeps what the later 2xx need.

    Args:
        session: whose INVITE it is.
        request: the INVITE without Via.
        is_refresh: it is to change nothing; the user hears nothing of it.
        takes_offer: it has no offer, and the user answers the one of a reliable provisional response.

    Attributes:
        request: the INVITE as it was sent last.
        early: the early dialogs by the callee's tag (section 12.1.2).
    """

    def __init__(
        self, session: Session, request: Request, *, is_refresh: bool = False, takes_offer: bool = False
    ) -> None:
        self.request = request
        self.is_refresh = is_refresh
        self.early: dict[str, EarlyDialog] = {}
        self._takes_offer = takes_offer
        self._session = session
        self._machine = CallMachine()
        self._template = request
        self._targets: list[Target] = []
        self._target: Target | None = None
        self._patience: IDelayedCall | None = None
        self._transaction: IClientTransaction | None = None
        self._cancel_headers: tuple[tuple[str, str], ...] = ()
        self._tag: str | None = None
        self._refused = _NO_TAGS
        #: The 2xx by the callee's tag whose offer has to be answered in the ACK.
        self._offers: dict[str, Response] = {}
        self._acks: dict[str, tuple[Request, IFlow]] = {}

    @property
    def is_over(self) -> bool:
        """Whether a final response, or the lack of one, is known."""
        return self._machine.state not in (State.CALLING, State.CANCELLING, State.WITHDRAWN)

    @property
    def awaits_ack(self) -> bool:
        """Whether a 2xx came that is not acknowledged yet."""
        return self._machine.state is State.ACCEPTED

    def start(self, flow: IFlow) -> None:
        """Send the INVITE on a flow."""
        if self._machine.state is not State.CALLING:
            return
        request = self._template.copy()
        self._session.prepare(request, flow)
        self.request = request
        self._transaction = None
        try:
            self._transaction = self._session.agent.transactions.start(request, flow, self)
        except LocalError as error:
            self._feed(Event.LOST, TransportError(str(error)))

    def start_at(self, targets: Sequence[Target]) -> None:
        """Send the INVITE to the first of these targets that works, in order."""
        self._targets = list(targets)
        if len(targets) > 1:
            self._explain(f"targets: {', '.join(map(str, targets))}")
        self._try_next()

    def start_within(self, dialog: Dialog, flow: IFlow) -> None:
        """Send the INVITE on the flow that its dialog has, or to the first target of its next hop that works."""
        if stays_on(flow, dialog.next_hop, behind_nat=self._session.is_natted):
            self.start(flow)
            return
        located = self._session.agent.resolver.locate(dialog.next_hop)
        located.addCallbacks(self.start_at, lambda failure: self.fail(failure.value))

    def fail(self, error: BaseException) -> None:
        """Take note that the INVITE cannot be sent at all."""
        self._feed(Event.LOST, error if isinstance(error, RemoteError) else RemoteError(str(error)))

    def cancel(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Cancel the INVITE; a 2xx that comes all the same is acknowledged and ended."""
        self._cancel_headers = tuple(headers)
        self._feed(Event.CANCEL)

    def acknowledge(self, dialog: Dialog, headers: Fields = (), body: bytes = b"") -> None:
        """Send the ACK of the 2xx, once; it is repeated for each repetition of the 2xx."""
        if self._machine.state is not State.ACCEPTED:
            return
        self._feed(Event.ACK)
        self._send_ack(dialog, headers, body)

    def acknowledge_progress(self, response: Response, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Send the PRACK of a provisional response that made an offer. Absorbed where it is not due any more."""
        early = self.early.get(response.to.tag or "")
        if early is not None and not self.is_over:
            early.acknowledge(response, headers, body)

    def withdraw(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Cancel an INVITE that was sent within a dialog; a 2xx that comes all the same is an answer to it."""
        self._cancel_headers = tuple(headers)
        self._feed(Event.WITHDRAW)

    def close(self) -> None:
        """Stop the timer; what is under way goes its way."""
        self._wait()

    def drop(self) -> None:
        """Forget the INVITE: nothing more is sent for it, whatever comes."""
        self._wait()
        self._targets = []
        transaction, self._transaction = self._transaction, None
        if transaction is not None:
            self._session.agent.transactions.drop(transaction)
        if not self.is_over:
            self._feed(Event.LOST, RemoteError("Dropped"))

    def response_received(self, response: Response) -> None:
        """See `ITransactionUser`."""
        if self._patience is not None:
            self._wait()
        if response.is_provisional:
            if response.status > 100:
                early = self._early_of(response)
                if early is not None:
                    early.updates.learn(response)
                if "RSeq" not in response.headers or (early is not None and early.is_news(response)):
                    self._feed(Event.PROVISIONAL, response)
        elif response.is_success:
            self._take_success(response)
        elif self._machine.state is State.CALLING and response.status in (401, 407, 422) and self._answer(response):
            return
        elif self._machine.state is State.CALLING and response.status == 503 and self._target is not None:
            self._leave(f"503 {response.reason}", retry_after_of(response))
            if not self._go_on():
                self._feed(Event.FAILURE, response)
        else:
            self._feed(Event.FAILURE, response)

    def transaction_failed(self, error: RemoteError) -> None:
        """See `ITransactionUser`."""
        if self._patience is not None:
            self._wait()
        if self._machine.state is State.CALLING and self._target is not None:
            self._leave(error.reason)
            if self._go_on():
                return
        self._feed(Event.LOST, error)

    def _try_next(self) -> None:
        agent = self._session.agent
        error = TransportError("No target to send to")
        while self._targets:
            target = self._targets.pop(0)
            try:
                flow = agent.transport.flow_to(target)
            except TransportError as failure:
                error = failure
                if self._targets:
                    self._explain(f"{target}: {error.reason}")
                continue
            if self._target is not None:
                # A nonce is the business of the server that gave it: this one asks for itself.
                set_credentials(self._template, ())
            self._target = target
            self.start(flow)
            if self._targets and not self.is_over and self._session.dialog is None:
                self._patience = agent.clock.callLater(agent.settings.target_timeout, self._lose_patience)
            return
        self._feed(Event.LOST, error)

    def _go_on(self) -> bool:
        """Try the next target; say whether there is one."""
        if not self._targets:
            return False
        self._try_next()
        return True

    def _leave(self, reason: str, rest: float | None = None) -> None:
        """Take note that the present target did not take the INVITE (RFC 3263 section 4.3)."""
        assert self._target is not None
        self._session.agent.resolver.target_failed(self._target, rest)
        if self._targets:
            self._explain(f"{self._target}: {reason}; trying the next target, {self._targets[0]}")

    def _lose_patience(self) -> None:
        """Leave a target that says nothing. Should it wake up, its INVITE is cancelled.

        Not within a dialog: a peer that gets one INVITE on two ways would have to take the second for a mistake.
        """
        self._patience = None
        transaction = self._transaction
        if self._machine.state is not State.CALLING or transaction is None:
            return
        transaction.user = _Left(self, transaction)
        transaction.cancel()
        self._leave(f"nothing heard within {self._session.agent.settings.target_timeout:g} s")
        self._try_next()

    def _wait(self) -> None:
        """Wait for as long as it takes: the target is there, or nothing is waited for any more."""
        patience, self._patience = self._patience, None
        if patience is not None and patience.active():
            patience.cancel()

    def _explain(self, text: str) -> None:
        self._session.agent.explain(self._session, text)

    def _answer(self, response: Response) -> bool:
        """Send the INVITE again with credentials, or for as long as the peer wants; say whether that can be done."""
        assert self._transaction is not None
        renewed = renew(self._session, self.request, response)
        if renewed is None:
            return False
        self._template = renewed
        self.start(self._transaction.flow)
        return True

    def _early_of(self, response: Response) -> EarlyDialog | None:
        """Give the early dialog that a provisional response belongs to; it may be the first one of it."""
        tag = response.to.tag
        early = self.early.get(tag) if tag else None
        if early is not None or not tag or len(self.early) >= self._session.agent.settings.max_early_dialogs:
            return early
        try:
            dialog = self._session.dialog or Dialog.of_caller(self.request, response)
        except ParseError:
            return None  # Without a Contact that can be read it makes no dialog; the 2xx will.
        self.early[tag] = early = EarlyDialog(self._session, dialog, takes_offer=self._takes_offer)
        if self._session.dialog is None:
            # What the callee says in it may overtake its 2xx.
            self._session.agent.add_early_dialog(self._session, dialog)
        return early

    def _take_success(self, response: Response) -> None:
        tag = response.to.tag or ""
        if self._tag is None:
            self._tag = tag
            # There is no other target that it would have to be sent to.
            self._template = self.request
            self._note_offer(response, self.request)
            self._feed(Event.SUCCESS, response)
        elif tag == self._tag or tag in self._refused:
            self._feed(Event.SUCCESS_AGAIN, response)
        elif len(self._refused) < self._session.agent.settings.max_early_dialogs:
            self._refused |= {tag}
            self._feed(Event.SUCCESS_OTHER, response)

    def _note_offer(self, response: Response, request: Request) -> None:
        """Take note that the ACK of a 2xx has to carry an answer."""
        if response.body and not request.body:
            self._offers[response.to.tag or ""] = response

    def _feed(self, event: Event, argument: object = None) -> None:
        for effect in self._machine.feed(event, argument):
            match effect:
                case invite.Progress(response):
                    early = self.early.get(response.to.tag or "")
                    self._session.tell(Progressed(response, early is not None and early.owes_prack(response)))
                case invite.Answered(response) if response.is_success:
                    self._session.calling_answered(self, Answered(response))
                case invite.Answered(response):
                    self._session.calling_refused(self, Refused(response))
                case invite.Failed(error):
                    if self._transaction is not None:
                        self._session.agent.give_up(self)
                    self._session.calling_failed(self, Failed(error))
                case invite.SendCancel():
                    self._send_cancel()
                case invite.RepeatAck(response):
                    self._repeat_ack(response.to.tag or "")
                case invite.Refuse(response):
                    self._refuse(response)

    def _send_cancel(self) -> None:
        self._wait()
        if self._transaction is not None:
            self._transaction.cancel(self._cancel_headers)
        else:
            # Nothing is sent yet: there is nothing to cancel (the targets are still being looked for).
            self._feed(Event.LOST, RemoteError("Cancelled before it was sent", status=487))

    def _send_ack(self, dialog: Dialog, headers: Fields = (), body: bytes = b"") -> None:
        self._acknowledge(dialog, self.request, self._flow(), headers, body)

    def _acknowledge(
        self, dialog: Dialog, request: Request, flow: IFlow, headers: Fields = (), body: bytes = b""
    ) -> None:
        tag = dialog.remote.tag or ""
        updates = self._updates_in(dialog, tag)
        offer = self._offers.pop(tag, None)
        if offer is not None and not body:
            said = updates.description[1] if updates is not None and updates.description is not None else b""
            host = flow.point.advertised_host
            headers, body = answer_of_nothing(offer, said, host, self._session.agent.entropy)
        ack = dialog.ack(request, headers, body)
        if updates is not None:
            updates.said(ack)
        self._session.agent.flow_for(dialog, flow, self._session.is_natted).addCallbacks(
            self._ack_flow_found, self._ack_lost, callbackArgs=(ack, tag)
        )

    def _updates_in(self, dialog: Dialog, tag: str) -> Updates | None:
        if dialog is self._session.dialog:
            return self._session.updates
        early = self.early.get(tag)
        return early.updates if early is not None and early.dialog is dialog else None

    def _ack_flow_found(self, flow: IFlow, ack: Request, tag: str) -> None:
        self._session.agent.transactions.send_ack(ack, flow)
        self._acks[tag] = (ack, flow)

    def _ack_lost(self, failure: object) -> None:
        self._explain(f"the ACK could not be sent: {failure}")

    def _repeat_ack(self, tag: str) -> None:
        sent = self._acks.get(tag)
        if sent is not None:
            ack, flow = sent
            flow.send(ack.to_bytes())

    def _refuse(self, response: Response) -> None:
        if self.request.to.tag is None:
            self._end_answered(response, self.request, self._flow())
        elif self._session.dialog is not None:
            # A change that was given up, and its session with it: the BYE is under way, or was answered.
            self._send_ack(self._session.dialog)

    def left_answered(self, response: Response, transaction: IClientTransaction) -> None:
        """End what a target answered that was left for the next one; its 2xx may come several times."""
        tag = response.to.tag or ""
        if tag in self._refused:
            self._repeat_ack(tag)
        elif len(self._refused) < self._session.agent.settings.max_early_dialogs:
            self._refused |= {tag}
            self._end_answered(response, transaction.request, transaction.flow)

    def _end_answered(self, response: Response, request: Request, flow: IFlow) -> None:
        try:
            early = self.early.get(response.to.tag or "")
            is_own = early is None or early.dialog is self._session.dialog
            dialog = Dialog.of_caller(request, response) if early is None or is_own else early.dialog
            dialog.confirm(response)
        except ParseError as error:
            self._explain(f"a 2xx that cannot be ended: {error.reason}")
            return
        self._note_offer(response, request)
        self._acknowledge(dialog, request, flow)
        self._session.agent.end_dialog(dialog, flow, self._session)

    def _flow(self) -> IFlow:
        assert self._transaction is not None
        return self._transaction.flow


@implementer(ITransactionUser)
class _Left:
    """Takes what comes of an INVITE to a target that was left for the next one."""

    def __init__(self, calling: Calling, transaction: IClientTransaction) -> None:
        self._calling = calling
        self._transaction = transaction

    def response_received(self, response: Response) -> None:
        """See `ITransactionUser`. A provisional response has its CANCEL by now."""
        if response.is_success:
            self._calling.left_answered(response, self._transaction)

    def transaction_failed(self, error: RemoteError) -> None:
        """See `ITransactionUser`: nothing else was expected."""
