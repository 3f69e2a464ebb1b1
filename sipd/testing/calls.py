"""A call as a scripted peer sees it: a dialog in plain texts, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from sipd.errors import InvalidStateError
from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_tag
from sipd.sip.locate import is_numeric
from sipd.sip.message import Request, Response
from sipd.sip.uri import SipUri, Uri
from sipd.testing import builders
from sipd.testing.exchanges import ClientExchange, Reply
from sipd.testing.links import Address

if TYPE_CHECKING:
    from sipd.testing.peer import Peer

_MAX_CHALLENGES = 2


class CallState(Enum):
    """How far a call is."""

    TRYING = "trying"
    RINGING = "ringing"
    ANSWERED = "answered"
    ENDED = "ended"

    __hash__ = object.__hash__


class Outcome(Enum):
    """What became of a call, as one end sees it; both ends of one call should see the same."""

    #: Not over yet.
    OPEN = "open"
    #: It was answered, and somebody hung up.
    ANSWERED = "answered"
    #: The caller gave up before it was answered.
    CANCELLED = "cancelled"
    #: It was refused, or nobody answered.
    REFUSED = "refused"
    #: It was answered, but something in it was never heard of again.
    LOST = "lost"

    __hash__ = object.__hash__


class PeerCall:
    """One call of a `Peer`. Made by `Peer.call`, or by an INVITE that comes.

    Attributes:
        state: how far it is.
        outcome: what became of it.
        status: the final status of the INVITE; 0 before, and 408 where none came.
        ended_by: who hung up, cancelled or refused: ``us``, ``them``, or empty.
        remote_body: the last session description from the other side.
        log: (time, what happened), for a person.
    """

    def __init__(self, peer: Peer, invite: Request, *, call_id: str, local_tag: str, remote_tag: str) -> None:
        self.peer = peer
        self.invite = invite
        self.call_id = call_id
        self.local_tag = local_tag
        self.remote_tag = remote_tag
        self.state = CallState.TRYING
        self.outcome = Outcome.OPEN
        self.status = 0
        self.ended_by = ""
        self.remote_body = b""
        self.log: list[tuple[float, str]] = []
        self.is_acknowledged = False
        self._remote_target = ""
        self._route_set: list[str] = []
        self._sequence = 0
        self._remote_sequence = 0
        self._version = 1
        self._is_cancelling = False
        self._challenges = _MAX_CHALLENGES
        self._exchange: ClientExchange | None = None
        self._reply: Reply | None = None
        self._acks: dict[tuple[int, str], tuple[Request, Address]] = {}
        self._timers: list[IDelayedCall] = []
        self._waiting: list[Callable[[], None]] = []
        self._answered: list[Deferred[PeerCall]] = []
        self._ended: list[Deferred[PeerCall]] = []

    @classmethod
    def outgoing(cls, peer: Peer, invite: Request) -> PeerCall:
        """Make the caller's end."""
        call = cls(peer, invite, call_id=invite.call_id, local_tag=invite.from_.tag or "", remote_tag="")
        call._sequence = invite.cseq.number
        return call

    @classmethod
    def incoming(cls, peer: Peer, invite: Request, reply: Reply) -> PeerCall:
        """Make the callee's end."""
        tag = new_tag(peer.entropy)
        call = cls(peer, invite, call_id=invite.call_id, local_tag=tag, remote_tag=invite.from_.tag or "")
        call._reply = reply
        call._remote_target = str(invite.contacts[0].uri) if invite.contacts else ""
        call._route_set = [str(route) for route in invite.record_routes]
        call._remote_sequence = invite.cseq.number
        call.remote_body = invite.body
        call._note(f"INVITE from {invite.from_.uri}")
        return call

    @property
    def is_outgoing(self) -> bool:
        """Whether this end called."""
        return self._reply is None

    @property
    def is_answered(self) -> bool:
        """Whether it is answered and not over."""
        return self.state is CallState.ANSWERED

    def __repr__(self) -> str:
        way = "to" if self.is_outgoing else "from"
        other = self.invite.to.uri if self.is_outgoing else self.invite.from_.uri
        return f"<call of {self.peer.user} {way} {other}: {self.state.value}, {self.outcome.value} {self.status}>"

    def when_answered(self) -> Deferred[PeerCall]:
        """Give a Deferred that fires when the call is answered, or has ended without."""
        return self._when(self._answered, self.state in (CallState.ANSWERED, CallState.ENDED))

    def when_ended(self) -> Deferred[PeerCall]:
        """Give a Deferred that fires when the call has ended."""
        return self._when(self._ended, self.state is CallState.ENDED)

    def later(self, delay: float, action: Callable[..., object], *args: object) -> None:
        """Do something later, unless the call has ended by then."""

        def act() -> None:
            self._timers.remove(timer)
            action(*args)

        timer = self.peer.reactor.callLater(delay, act)
        self._timers.append(timer)

    # --- the callee's part

    def ring(self, status: int = 180, *, body: bytes = b"") -> None:
        """Send a provisional response; with a body it is early media."""
        if self.state in (CallState.TRYING, CallState.RINGING):
            self.state = CallState.RINGING
            self._respond(status, body=body)

    def answer(self, *, body: bytes | None = None) -> None:
        """Take the call, with an answer to its offer, or an offer of its own if there was none."""
        if self.state not in (CallState.TRYING, CallState.RINGING):
            return
        if body is None:
            offer = self.invite.body
            body = builders.sdp_answer(offer, *self.peer.media) if offer else builders.sdp(*self.peer.media)
        self._accept(200)
        self._respond(200, headers=self.peer.fields, body=body)

    def refuse(self, status: int = 486, reason: str | None = None, *, headers: builders.Fields = ()) -> None:
        """Refuse the call."""
        if self.state in (CallState.TRYING, CallState.RINGING):
            self._respond(status, reason, headers=headers)
            self._end(Outcome.REFUSED, "us", status)

    # --- the caller's part

    def start(self) -> None:
        """Send the INVITE. `Peer.call` does this."""
        self._exchange = self.peer.exchanges.ask(self.invite, self.peer.proxy, self._responded)

    def cancel(self) -> None:
        """Give up: CANCEL when it may be sent (section 9.1). If a 2xx comes nevertheless, the call is hung up."""
        if self._exchange is None or self._exchange.is_final or self._is_cancelling:
            return
        self._is_cancelling = True
        self._note("cancel")
        if self._exchange.is_provisional:
            self.peer.exchanges.cancel(self._exchange)

    # --- both

    def hang_up(self, *, headers: builders.Fields = ()) -> None:
        """End the call: BYE if it is answered, CANCEL or refusal before. A callee waits for the ACK (section 15)."""
        if self.state is CallState.ANSWERED:
            self._when_acknowledged(lambda: self._hang_up(headers))
        elif self.is_outgoing:
            self.cancel()
        else:
            self.refuse(480)

    def reinvite(self, body: bytes | None = None) -> Deferred[Response | None]:
        """Change the session; a Deferred of the final response, which is acknowledged. A callee waits for the ACK."""
        done: Deferred[Response | None] = Deferred()
        self._when_acknowledged(lambda: self._reinvite(body, done))
        return done

    def request(self, method: str, *, headers: builders.Fields = (), body: bytes = b"") -> Deferred[Response | None]:
        """Send any other request within the dialog; a Deferred of its final response."""
        return self.peer.ask(self._request(method, headers=headers, body=body), self._next_hop())

    # --- what comes

    def requested(self, request: Request, reply: Reply) -> None:
        """Take a request of this dialog."""
        if request.method == "ACK":
            if request.cseq.number == self.invite.cseq.number:
                self.is_acknowledged = True
            self._take_description(request.body)
            self._do_what_waits()
            return
        if request.cseq.number <= self._remote_sequence:
            reply(builders.response(request, 500, "Out of order"))
            return
        self._remote_sequence = request.cseq.number
        if self.state is CallState.ENDED:
            reply(builders.response(request, 481))
        elif request.method == "BYE" and self.is_outgoing and self.state is not CallState.ANSWERED:
            self._note("BYE before the answer")
            reply(builders.response(request, 481))
        elif request.method == "BYE":
            reply(builders.response(request, 200))
            self.cancelled()
            self._end(Outcome.ANSWERED, "them")
        elif request.method == "INVITE" or (request.method == "UPDATE" and self._knows_update):
            self._reinvited(request, reply)
        elif request.method in ("INFO", "MESSAGE", "NOTIFY", "REFER"):
            self.peer.infos.append(request)
            self.peer.on_info(request, reply)
        else:
            reply(builders.response(request, 200 if request.method == "OPTIONS" else 405))

    def is_cancelled_by(self, cancel: Request) -> bool:
        """Say whether a CANCEL is for the INVITE of this call."""
        return not self.is_outgoing and cancel.via.branch == self.invite.via.branch

    def cancelled(self) -> None:
        """Take note that the caller gave up, by CANCEL or by an early BYE."""
        if not self.is_outgoing and self.state in (CallState.TRYING, CallState.RINGING):
            self._respond(487)
            self._end(Outcome.CANCELLED, "them", 487)

    def unacknowledged(self) -> None:
        """Take note that the ACK never came: hang up (section 13.3.1.4)."""
        if self.state is CallState.ANSWERED and not self.is_acknowledged:
            self._say_bye(())
            self._end(Outcome.LOST, "us")

    def _responded(self, response: Response | None) -> None:
        if response is None:
            self._end(Outcome.CANCELLED if self._is_cancelling else Outcome.REFUSED, "", 408)
        elif response.is_provisional:
            self._progressed(response)
        elif response.is_success:
            self._accepted(response)
        else:
            self._refused(response)

    def _progressed(self, response: Response) -> None:
        if self.state is CallState.TRYING and response.status > 100:
            self.state = CallState.RINGING
            self._note(str(response.status))
        if response.body:
            self._take_description(response.body)
        if self._is_cancelling and self._exchange is not None and not self._exchange.is_cancelled:
            self.peer.exchanges.cancel(self._exchange)

    def _accepted(self, response: Response) -> None:
        tag = response.to.tag or ""
        if self.remote_tag in ("", tag):
            is_new = self.state in (CallState.TRYING, CallState.RINGING)
            if is_new:
                self.remote_tag = tag
                self._remote_target = str(response.contacts[0].uri) if response.contacts else ""
                self._route_set = [str(route) for route in reversed(response.record_routes)]
                self._take_description(response.body)
            self._acknowledge(self.invite, response)
            if is_new:
                self._accept(response.status)
                if self._is_cancelling:
                    self._say_bye(())
                    self._end(Outcome.ANSWERED, "us")
            return
        # Another callee took the same call: it is sent away (section 13.2.2.4).
        fork = PeerCall.outgoing(self.peer, self.invite)
        fork._accepted(response)
        fork.hang_up()

    def _refused(self, response: Response) -> None:
        again = self.peer.renewed(self.invite, response) if self._challenges and not self._is_cancelling else None
        if again is not None:
            self._challenges -= 1
            self.invite = again
            self._sequence = again.cseq.number
            self.start()
            return
        outcome = Outcome.CANCELLED if self._is_cancelling and response.status == 487 else Outcome.REFUSED
        self._end(outcome, "us" if outcome is Outcome.CANCELLED else "them", response.status)

    @property
    def _knows_update(self) -> bool:
        return any(name == "Allow" and "UPDATE" in value for name, value in self.peer.fields)

    def _reinvited(self, request: Request, reply: Reply) -> None:
        if not self.peer.answers_reinvites:
            reply(builders.response(request, 488))
            return
        if request.method == "UPDATE" and not request.body:
            reply(builders.response(request, 200, contact=self.peer.contact, headers=self.peer.fields))
            return
        self._take_description(request.body)
        self._version += 1
        body = (
            builders.sdp_answer(request.body, *self.peer.media, version=self._version)
            if request.body
            else builders.sdp(*self.peer.media, version=self._version)
        )
        if request.contacts:
            self._remote_target = str(request.contacts[0].uri)
        reply(builders.response(request, 200, contact=self.peer.contact, headers=self.peer.fields, body=body))

    # --- how it is said

    def _accept(self, status: int) -> None:
        self.state = CallState.ANSWERED
        self.status = status
        self._note(f"answered {status}")
        _fire(self._answered, self)

    def _end(self, outcome: Outcome, by: str, status: int | None = None) -> None:
        if self.state is CallState.ENDED:
            return
        self.state = CallState.ENDED
        self.outcome = outcome
        self.ended_by = by
        if status is not None:
            self.status = status
        self._note(f"{outcome.value} by {by or 'nobody'}, {self.status}")
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._do_what_waits()
        _fire(self._answered, self)
        _fire(self._ended, self)

    def _hang_up(self, headers: builders.Fields) -> None:
        if self.state is CallState.ANSWERED:
            self._say_bye(headers)
            self._end(Outcome.ANSWERED, "us")

    def _reinvite(self, body: bytes | None, done: Deferred[Response | None]) -> None:
        if self.state is not CallState.ANSWERED:
            done.callback(None)
            return
        self._version += 1
        offer = builders.sdp(*self.peer.media, version=self._version) if body is None else body
        invite = self._request("INVITE", body=offer)

        def responded(response: Response | None) -> None:
            if response is not None and response.is_provisional:
                return
            if response is not None and response.is_success:
                self._take_description(response.body)
                self._acknowledge(invite, response)
            if not done.called:
                done.callback(response)

        self.peer.exchanges.ask(invite, self._next_hop(), responded)

    def _when_acknowledged(self, action: Callable[[], None]) -> None:
        if self.is_outgoing or self.is_acknowledged:
            action()
        else:
            self._waiting.append(action)

    def _do_what_waits(self) -> None:
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()

    def _say_bye(self, headers: builders.Fields) -> None:
        self.peer.ask(self._request("BYE", headers=headers), self._next_hop())

    def _respond(
        self, status: int, reason: str | None = None, *, headers: builders.Fields = (), body: bytes = b""
    ) -> None:
        if self._reply is None:
            raise InvalidStateError("only the callee answers a call")
        self._note(f"send {status}")
        self._reply(
            builders.response(
                self.invite,
                status,
                reason,
                to_tag=self.local_tag,
                contact=self.peer.contact,
                headers=headers,
                body=body,
            )
        )

    def _request(self, method: str, *, headers: builders.Fields = (), body: bytes = b"") -> Request:
        """Build the next request of the dialog (section 12.2.1.1)."""
        self._sequence += 1
        fields = Headers()
        fields.add("Max-Forwards", "70")
        local, remote = ("From", "To") if self.is_outgoing else ("To", "From")
        fields.add("From", f"<{self._uri_in(local)}>;tag={self.local_tag}")
        fields.add("To", f"<{self._uri_in(remote)}>;tag={self.remote_tag}")
        fields.add("Call-ID", self.call_id)
        fields.add("CSeq", f"{self._sequence} {method}")
        for route in self._route_set:
            fields.add("Route", route)
        if method in ("INVITE", "UPDATE"):
            fields.add("Contact", self.peer.contact)
            fields.extend(self.peer.fields)
        for name, value in headers:
            fields.add(name, value)
        if body and "Content-Type" not in fields:
            fields.add("Content-Type", "application/sdp")
        return Request(method, self._remote_target or str(self._uri_in(remote)), fields, body)

    def _acknowledge(self, invite: Request, response: Response) -> None:
        """Send the ACK of a 2xx: the same one for the same 2xx. A late offer is answered in it."""
        key = (invite.cseq.number, response.to.tag or "")
        if key not in self._acks:
            ack = builders.ack(invite, response)
            ack.headers.remove("Via")
            self.peer.exchanges.add_via(ack)
            if not invite.body and response.body:
                ack.headers.add("Content-Type", "application/sdp")
                ack.body = builders.sdp_answer(response.body, *self.peer.media)
            self._acks[key] = (ack, self._next_hop())
        ack, destination = self._acks[key]
        self.peer.exchanges.send(ack, destination)

    def _uri_in(self, name: str) -> Uri:
        return self.invite.from_.uri if name == "From" else self.invite.to.uri

    def _next_hop(self) -> Address:
        """Say where a request of the dialog goes: to its first route or remote target, or else to the proxy."""
        text = self._route_set[0] if self._route_set else self._remote_target
        uri = Request("X", text.strip("<>").partition(">")[0]).uri if text else None
        if isinstance(uri, SipUri) and is_numeric(uri.host):
            return (uri.host, uri.port or 5060)
        return self.peer.proxy

    def _take_description(self, body: bytes) -> None:
        if body:
            self.remote_body = body

    def _note(self, text: str) -> None:
        self.log.append((self.peer.reactor.seconds(), text))

    def _when(self, waiting: list[Deferred[PeerCall]], happened: object) -> Deferred[PeerCall]:
        deferred: Deferred[PeerCall] = Deferred()
        if happened:
            deferred.callback(self)
        else:
            waiting.append(deferred)
        return deferred


def _fire(waiting: list[Deferred[Any]], result: object) -> None:
    fired, waiting[:] = list(waiting), []
    for deferred in fired:
        deferred.callback(result)
