"""One call of a phone: who may say what at the moment, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from sipd.sip.message import Request, Response
from sipd.testing.exchanges import ClientExchange, Reply
from tests.phones.dialog import Asked, Change, Dialog
from tests.phones.early import Sending, Taking
from tests.phones.media import Understanding, Wish

if TYPE_CHECKING:
    from tests.phones.phone import Phone


class State(Enum):
    """How far a call is."""

    CALLING = "calling"
    EARLY = "early"
    UP = "up"
    OVER = "over"

    __hash__ = object.__hash__


class Line(Dialog):
    """One dialog of a phone. Made by `Phone`.

    Attributes:
        state: how far it is.
        understanding: what was agreed on.
        wish: what the owner wants.
        status: of the first INVITE, the final one; 0 before.
        ended_by: `us` or `them`.
        next_prack: what is to be different, and is offered in the next PRACK.
        notified: what NOTIFYs said of a transfer.
    """

    def __init__(
        self, phone: Phone, call_id: str, local_tag: str, understanding: Understanding, wish: Wish, *, is_caller: bool
    ) -> None:
        super().__init__(phone, call_id, local_tag, is_caller=is_caller)
        self.understanding = understanding
        self.wish = wish
        self.state = State.CALLING
        self.status = 0
        self.ended_by = ""
        self.next_prack: dict[str, Any] | None = None
        self.notified: list[str] = []
        self._remote_sequence = 0
        self._first: ClientExchange | None = None
        self._is_cancelling = False
        #: What this side has asked for, and got no final response to.
        self._asking: ClientExchange | None = None
        self._asked: Asked | None = None
        #: The UPDATE with an offer that it has not answered yet.
        self._updated: Asked | None = None
        self._sending = Sending(phone.host, self._never_acknowledged)
        self._taking = Taking()
        self._wants_to_answer = False
        #: The change that is asked for again in a while: all others wait for it.
        self._later: Change | None = None
        #: The INVITE of the other side whose 2xx waits for its ACK, and whether that carries an answer.
        self._unacknowledged: Request | None = None
        self._owes_answer = False
        self._waiting: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<line of {self.phone.user}: {self.state.value} {self.status}>"

    @property
    def is_up(self) -> bool:
        """Whether it is answered and not over."""
        return self.state is State.UP

    @property
    def is_busy(self) -> bool:
        """Whether an offer, an INVITE or an ACK is under way."""
        return (
            self._asking is not None
            or self._asked is not None
            or self._updated is not None
            or self._unacknowledged is not None
            or not self.understanding.is_stable
            or self._later is not None
            or bool(self._waiting)
        )

    @property
    def remote_ports(self) -> list[int]:
        """Where its media go."""
        remote = self.understanding.remote
        return [stream.port for stream in remote.streams if stream.is_live] if remote is not None else []

    @property
    def has_media(self) -> bool:
        """Whether any stream is up."""
        local = self.understanding.local
        return bool(self.remote_ports) and local is not None and any(stream.is_live for stream in local.streams)

    # --- the caller's part

    def start(self, invite: Request) -> None:
        """Send the INVITE. `Phone.call` does this."""
        self.invite = invite
        self._sequence = invite.cseq.number
        self._first = self.phone.exchanges.ask(invite, self.phone.proxy, self._first_responded)

    def cancel(self) -> None:
        """Give up; if a 2xx comes nevertheless, the call is hung up."""
        if self.state is State.UP:
            self.bye()
        elif self._first is not None and not self._first.is_final and not self._is_cancelling:
            self._is_cancelling = True
            if self._first.is_provisional:
                self.phone.exchanges.cancel(self._first)

    # --- the callee's part

    def invited(self, invite: Request, reply: Reply) -> None:
        """Take the first INVITE."""
        self.invite = invite
        self.remote_tag = invite.from_.tag or ""
        self._remote_sequence = invite.cseq.number
        self._remote_target = str(invite.contacts[0].uri)
        self._asked = Asked(invite, reply)
        if invite.body:
            self._hear(self.understanding.take_offer, invite.body)

    def ring(self, status: int = 180, *, has_media: bool = False, is_reliable: bool = False) -> None:
        """Send a provisional response, with a description or without; a reliable one waits for its PRACK."""
        asked = self._asked
        if asked is None or self.state not in (State.CALLING, State.EARLY) or self._sending.is_waiting:
            return
        self.state = State.EARLY
        if not is_reliable:
            body = self.understanding.preview(self.wish) if has_media and self.understanding.asked else b""
            self._answer(asked, status, body=body)
            return
        has_offer = has_media and not asked.request.body and self.understanding.local is None
        body = b""
        if has_offer:
            body = self.understanding.offer(self.wish)
        elif has_media and self.understanding.asked is not None:
            body = self.understanding.answer(self.wish)
        fields = [*self._sending.fields(), *self.phone.fields()]
        self._sending.start(lambda: self._answer(asked, status, headers=fields, body=body), has_offer=has_offer)

    def answer(self) -> None:
        """Take the call, once what it said before is acknowledged."""
        if self._asked is None or self.state not in (State.CALLING, State.EARLY):
            return
        is_settled = self.understanding.local is not None
        if self._sending.is_waiting or (is_settled and not self.understanding.is_stable) or self._updated is not None:
            self._wants_to_answer = True
        elif self.understanding.asked is not None and not self.understanding.would_take(self.wish):
            self.refuse(488)
        else:
            self.state = State.UP
            self.status = 200
            self._accept(self._asked)

    def refuse(self, status: int = 486) -> None:
        """Refuse the call."""
        if self._asked is not None and self.state in (State.CALLING, State.EARLY):
            asked, self._asked = self._asked, None
            self._answer(asked, status)
            self._end("us", status)

    # --- both

    def bye(self) -> None:
        """Hang up: a callee waits for the ACK (section 15); a caller may do so before the answer, too."""
        if self.state is State.UP and self._unacknowledged is not None and not self.is_caller:
            self._waiting.append(self.bye)
        elif self.state is State.UP or (self.state is State.EARLY and self.is_caller):
            open_requests = self._take_open()
            self._send("BYE")
            self._end("us")
            for asked in open_requests:
                self._answer(asked, 487)

    def change(self, method: str = "INVITE", **wish: object) -> None:
        """Ask for another session, as soon as that is allowed, and again after 491 and 500."""
        self._change(Change(method, wish))

    def ask_for_offer(self) -> None:
        """Send an INVITE without an offer: the other side makes one."""
        self._change(Change("INVITE", None))

    def insist(self, method: str, told: Callable[[str], object], **wish: object) -> None:
        """Send an INVITE or UPDATE with an offer that may not be sent now, as a careless phone would.

        Args:
            method: which one.
            told: of its final status, as `UPDATE 500`.
            wish: what is to be different.
        """
        offered = Understanding("insisting")
        request = self._request(method, body=offered.offer(replace(self.wish, **wish)))  # type: ignore[arg-type]

        def responded(response: Response | None) -> None:
            if response is None or not response.is_provisional:
                told(f"{method} {response.status if response is not None else 0}")
            if response is None or not response.is_success:
                return
            offered.take_answer(response.body)
            self.understanding = offered
            if method == "INVITE":
                self._acknowledge(request, response, b"")

        self.phone.exchanges.ask(request, self._next_hop(), responded)

    def withdraw(self) -> None:
        """Cancel the INVITE that asks for a change."""
        asking = self._asking
        if asking is not None and asking.request.method == "INVITE" and not asking.is_final:
            asking.is_cancelled = True
            if asking.is_provisional:
                self.phone.exchanges.cancel(asking)

    def info(self) -> None:
        """Send something that is not about the session."""
        if self.state is State.UP:
            self._send("INFO", body=b"Signal=5\r\n", headers=[("Content-Type", "application/dtmf-relay")])

    def refer(self, user: str, *, replaces: Line | None = None) -> None:
        """Ask that the other party talk with somebody else.

        Args:
            user: whom.
            replaces: a call of this phone with that one, whose place the other party is to take (RFC 3891).
        """
        uri = f"sip:{user}@{self.phone.proxy[0]}"
        if replaces is not None:
            uri += f"?Replaces={replaces.call_id}%3Bto-tag%3D{replaces.remote_tag}%3Bfrom-tag%3D{replaces.local_tag}"
        if self.state is State.UP:
            self._send("REFER", headers=[("Refer-To", f"<{uri}>")], again=lambda: self.refer(user, replaces=replaces))

    # --- what comes

    def requested(self, request: Request, reply: Reply) -> None:
        """Take a request of this dialog."""
        if request.method == "ACK":
            self._acknowledged(request)
            return
        asked = Asked(request, reply)
        if request.cseq.number <= self._remote_sequence:
            self._answer(asked, 500)
            return
        self._remote_sequence = request.cseq.number
        if request.method == "BYE":
            self._answer(asked, 200)
            self._bye_came()
        elif self.state is State.OVER:
            self._answer(asked, 481)
        elif request.method == "INVITE":
            self._take_invite(asked)
        elif request.method == "UPDATE" and self.phone.has_update:
            self._take_update(asked)
        elif request.method == "PRACK":
            self._take_prack(asked)
        elif request.method == "NOTIFY":
            self.notified.append(request.body.decode().strip())
            self._answer(asked, 200)
        else:
            self._answer(asked, 200 if request.method in ("INFO", "OPTIONS") else 405)

    def is_cancelled_by(self, cancel: Request) -> bool:
        """Say whether a CANCEL is for the INVITE that is answered at the moment, or was answered last."""
        invites = [self._asked.request] if self._asked is not None else []
        if not self.is_caller and self.invite is not None:
            invites.append(self.invite)
        if self._unacknowledged is not None:
            invites.append(self._unacknowledged)
        return any(one.method == "INVITE" and one.via.branch == cancel.via.branch for one in invites)

    def cancelled(self) -> None:
        """Take note of a CANCEL: whatever was answered stays answered."""
        asked = self._asked
        if asked is None or asked.request.method != "INVITE":
            return
        self._answer(asked, 487)
        self.understanding.drop()
        self._asked = None
        if self.state is not State.UP:
            self._end("them", 487)
        self._go_on()

    def unacknowledged(self, invite: Request) -> None:
        """Take note that the ACK of a 2xx never came: hang up (section 13.3.1.4)."""
        if self._unacknowledged is invite and self.state is State.UP:
            self.phone.complain(self, f"{invite.cseq} was never acknowledged")
            self._unacknowledged = None
            self._send("BYE")
            self._end("us")

    def _bye_came(self) -> None:
        if self.state is State.OVER:
            return
        if self.is_caller and self.state is not State.UP:
            self.phone.complain(self, "BYE before the answer")
        was_up = self.state is State.UP
        open_requests = self._take_open()
        self._end("them", None if was_up else 487)
        for asked in open_requests:
            self._answer(asked, 487)

    def _take_open(self) -> list[Asked]:
        """Give what the other side still waits for, and what is not decided about any more."""
        open_requests = [asked for asked in (self._asked, self._updated) if asked is not None]
        self._asked = self._updated = None
        return open_requests

    def _acknowledged(self, ack: Request) -> None:
        invite = self._unacknowledged
        if invite is None or invite.cseq.number != ack.cseq.number:
            return
        self._unacknowledged = None
        if self._owes_answer:
            self._owes_answer = False
            if ack.body and self.state is not State.OVER:
                self._hear(self.understanding.take_answer, ack.body)
            elif not ack.body:
                self.phone.complain(self, "an ACK without the answer to an offer in the 2xx")
        self._go_on()

    # --- changes of the other side

    def _take_invite(self, asked: Asked) -> None:
        if self._asked is not None or self._updated is not None:
            self._answer(asked, 500, headers=[("Retry-After", "1")])
        elif self._owes_answer or self._asking is not None:
            self._answer(asked, 491)
        else:
            self._unacknowledged = None  # a later request stands for the ACK (RFC 5407 section 3.1.4)
            self._asked = self._consider(asked)

    def _take_update(self, asked: Asked) -> None:
        if not asked.request.body:
            self._answer(asked, 200)
        elif self.understanding.asked is not None or (self._asked is not None and self.state is State.UP):
            self._answer(asked, 500, headers=[("Retry-After", "1")])
        elif self._owes_answer or self._asking is not None or self.understanding.offered is not None:
            self._answer(asked, 491)
        else:
            self._updated = self._consider(asked)

    def _consider(self, asked: Asked) -> Asked | None:
        """Hear an offer, and decide about it in a while."""
        if asked.request.body and not self._hear(self.understanding.take_offer, asked.request.body):
            self._answer(asked, 488)
            return None
        self.phone.host.callLater(self.phone.thinks, self._decide, asked)
        return asked

    def _decide(self, asked: Asked) -> None:
        if asked not in (self._asked, self._updated):
            return
        if contacts := asked.request.contacts:
            self._remote_target = str(contacts[0].uri)
        if self.phone.takes_changes and (not asked.request.body or self.understanding.would_take(self.wish)):
            self._accept(asked)
        else:
            self._answer(asked, 488)
            self._forget(asked)
            self.understanding.drop()
        self._go_on()

    def _forget(self, asked: Asked) -> None:
        if self._asked is asked:
            self._asked = None
        else:
            self._updated = None

    def _take_prack(self, asked: Asked) -> None:
        """Take a PRACK, and the answer or the offer in it (RFC 3262 section 5)."""
        request, understanding = asked.request, self.understanding
        if not self._sending.acknowledged(request):
            self._answer(asked, 481)
            return
        body = b""
        if self._sending.has_offer:
            if not request.body:
                self.phone.complain(self, "a PRACK without the answer to an offer")
            else:
                self._hear(understanding.take_answer, request.body)
        elif request.body and self._hear(understanding.take_offer, request.body):
            body = understanding.answer(self.wish)
        self._answer(asked, 200, body=body)
        self._go_on()

    def _never_acknowledged(self) -> None:
        """Refuse a call whose provisional response was never acknowledged (RFC 3262 section 3)."""
        self.refuse(504)

    def _accept(self, asked: Asked) -> None:
        """Send a 2xx with an answer, or with an offer where there was none, or with nothing where all is agreed on."""
        request, understanding = asked.request, self.understanding
        is_settled = request is self.invite and understanding.local is not None
        self._forget(asked)
        if request.method == "INVITE":
            self._sending.stop()
            self._unacknowledged = request
            self._owes_answer = not request.body and not is_settled
        if understanding.asked is not None:
            body = understanding.answer(self.wish)
        else:
            body = b"" if is_settled else understanding.offer(self.wish)
        self._answer(asked, 200, headers=self.phone.fields(), body=body)

    # --- changes of this side

    def _change(self, change: Change) -> None:
        if self.state is State.OVER:
            return
        is_turn = self._later in (None, change)
        if self._later is change:
            self._later = None
        if not is_turn or not self._may_ask(change.method):
            self._waiting.append(lambda: self._change(change))
            return
        body = b"" if change.wish is None else self.understanding.offer(replace(self.wish, **change.wish))
        request = self._request(change.method, body=body, headers=self.phone.fields())

        def responded(response: Response | None) -> None:
            self._change_answered(change, request, response)

        self._asking = self.phone.exchanges.ask(request, self._next_hop(), responded)

    def _may_ask(self, method: str) -> bool:
        if self._asking is not None or self._updated is not None or not self.understanding.is_stable:
            return False
        if self.state is not State.UP:
            # In an early dialog there is UPDATE, once something was agreed on there (RFC 3311 section 5.1).
            is_settled = self.understanding.local is not None and not self._sending.is_waiting
            return method == "UPDATE" and self.state is State.EARLY and is_settled
        return self._asked is None and (method == "UPDATE" or self._unacknowledged is None)

    def _change_answered(self, change: Change, request: Request, response: Response | None) -> None:
        asking = self._asking
        if response is not None and response.is_provisional:
            if asking is not None and asking.is_cancelled:
                self.phone.exchanges.cancel(asking)
            return
        is_new = asking is not None and asking.request is request
        if is_new:
            self._asking = None
            self._note(self.results, request, response)
        if response is not None and response.is_success:
            if is_new and self.state is not State.OVER:
                self._take_target(response)
            if request.method == "INVITE":
                self._acknowledge(request, response, self._body_of_ack(change, response) if is_new else b"")
            is_taken = is_new and change.wish is not None and self.state is not State.OVER
            if is_taken and self._hear(self.understanding.take_answer, response.body):
                self.wish = replace(self.wish, **(change.wish or {}))
        elif is_new:
            self.understanding.drop()
            self._refused(change, response)
        self._go_on()

    def _body_of_ack(self, change: Change, response: Response) -> bytes:
        """Answer an offer that came in a 2xx."""
        if change.wish is not None or self.state is State.OVER:
            return b""
        self._hear(self.understanding.take_offer, response.body)
        return self.understanding.answer(self.wish) if self.understanding.asked is not None else b""

    def _refused(self, change: Change, response: Response | None) -> None:
        """Ask again after 491 (section 14.1) and 500; a dialog that is not known any more is over."""
        status = response.status if response is not None else 408
        if self.state is State.OVER:
            return
        if status in (408, 481):
            self.bye()
        elif status == 491 and change.again:
            delay = self.phone.random(2.1, 4.0) if self.is_caller else self.phone.random(0.0, 2.0)
            self._again(change, delay)
        elif status == 500 and response is not None and "Retry-After" in response.headers and change.again:
            self._again(change, float(response.headers.get("Retry-After") or 0))

    def _again(self, change: Change, delay: float) -> None:
        self._later = again = replace(change, again=change.again - 1)
        self.phone.host.callLater(delay, self._change, again)

    # --- the first INVITE

    def _first_responded(self, response: Response | None) -> None:
        if response is None:
            self._end("them", 408)
        elif response.is_provisional:
            self._progressed(response)
        elif response.is_success:
            self._answered(response)
        elif self.state is not State.OVER or self.status == 0:
            self.understanding.drop()
            self._end("us" if self._is_cancelling else "them", response.status)
            self.status = response.status

    def _progressed(self, response: Response) -> None:
        if self._is_cancelling and self._first is not None and not self._first.is_cancelled:
            self.phone.exchanges.cancel(self._first)
        if response.status > 100 and self.state is State.CALLING:
            self.state = State.EARLY
            self._take_dialog(response)
        if self.status or self.state is State.OVER:
            return
        if self._taking.is_next(response):
            self._prack(response)
        elif response.body and "RSeq" not in response.headers:
            self._hear(self.understanding.glance, response.body)

    def _prack(self, response: Response) -> None:
        """Acknowledge a provisional response, and the description in it."""
        understanding, body = self.understanding, b""
        if response.body and understanding.offered is not None:
            self._hear(understanding.take_answer, response.body)
        elif response.body and understanding.local is None and self._hear(understanding.take_offer, response.body):
            body = understanding.answer(self.wish)
        wish, self.next_prack = self.next_prack, None
        if wish is not None and understanding.is_stable and understanding.local is not None:
            body = understanding.offer(replace(self.wish, **wish))
        rack = f"{response.headers.get('RSeq')} {response.cseq}"
        request = self._request("PRACK", headers=[("RAck", rack)], body=body)

        def responded(answer: Response | None) -> None:
            if answer is not None and answer.is_provisional:
                return
            self._note(self.results, request, answer)
            if wish is not None and answer is not None and answer.is_success and self.state is not State.OVER:
                if self._hear(understanding.take_answer, answer.body):
                    self.wish = replace(self.wish, **wish)
            elif wish is not None:
                understanding.drop()
            self._go_on()

        self.phone.exchanges.ask(request, self._next_hop(), responded)

    def _answered(self, response: Response) -> None:
        assert self.invite is not None
        if response.to.tag != self.remote_tag and self.remote_tag:
            self.phone.complain(self, "a response of another dialog")
        is_new, self.status = self.status == 0, response.status
        if not is_new:
            self._acknowledge(self.invite, response, b"")
            return
        self._take_dialog(response)
        is_over = self.state is State.OVER
        body = b""
        if is_over:
            self.understanding.drop()
        else:
            self.state = State.UP
            if self.understanding.local is not None:
                pass  # a reliable provisional response has settled it
            elif self.invite.body:
                self._hear(self.understanding.take_answer, response.body)
            elif self._hear(self.understanding.take_offer, response.body):
                body = self.understanding.answer(self.wish)
        if not self.invite.body and response.body and not body and is_over:
            heard = Understanding("0")
            heard.take_offer(response.body)
            body = heard.answer(self.wish)
        self._acknowledge(self.invite, response, body)
        if self._is_cancelling and not is_over:
            self.bye()
        self._go_on()

    # --- what follows from it

    def _end(self, by: str, status: int | None = None) -> None:
        if self.state is State.OVER:
            return
        self.state = State.OVER
        self.ended_by = by
        if status is not None and not self.status:
            self.status = status
        self.understanding.drop()
        self._sending.stop()
        self._waiting.clear()
        for exchange in (self._first, self._asking):
            if exchange is not None and not exchange.is_final:
                exchange.limit()  # nobody may answer it any more

    def _go_on(self) -> None:
        """Do what had to wait, in order."""
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()
        if self._wants_to_answer:
            self._wants_to_answer = False
            self.answer()
