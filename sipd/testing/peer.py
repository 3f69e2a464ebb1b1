"""A scripted user agent, to test against: it registers, calls, and does with calls what it was told to do.

It works on plain messages, by a simple reading of RFC 3261, and shares nothing with sipd's own dialogs and
transactions but the parser and the printer: so it does not share their mistakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred, succeed

from sipd.interfaces import Entropy
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.locate import Transport
from sipd.sip.message import Request, Response
from sipd.testing import builders
from sipd.testing.calls import PeerCall
from sipd.testing.credentials import authorize
from sipd.testing.exchanges import Exchanges, Reply
from sipd.testing.links import Address

#: How often a request is sent again because of a challenge: once, and once more for a nonce that grew old.
_MAX_CHALLENGES = 2


class ExpectationError(AssertionError):
    """What a peer was expected to receive did not come. The text says what did."""


@dataclass(slots=True)
class _Expectation:
    what: str | int
    waiting: Deferred[Request | Response]


class Peer:
    """A user agent at one address.

    Requests outside of a dialog go to its proxy, those within one to where the dialog says.

    Args:
        reactor: a `Host` of a simulated network, or a real reactor.
        user: its name; its address of record is ``sip:user@domain``.
        host: the numeric address that it is at.
        port: that it is bound to.
        proxy: numeric address and port of the registrar and proxy.
        entropy: gives branches, tags and Call-IDs: `Network.entropy`.
        domain: of its address of record.
        password: for digest challenges; without one they are taken as refusals.
        transport: `UDP`, or `TCP`: one connection to the proxy.
        media: the numeric address and the first port in its session descriptions.

    Attributes:
        calls: all calls, in and out, in order.
        on_call: what is done with an incoming call; at first it is left alone.
        messages: every MESSAGE that came from outside of a dialog, in order.
        on_message: gives the answer to one of these, or ``None`` for none; at first 200.
        infos: every INFO, MESSAGE, NOTIFY and REFER that came inside of a call, in order.
        on_info: gives the answer to one of these, now, later or never; at first 200 at once.
        on_other: is asked first about any other request outside of calls, and says whether it takes it; at first none.
        answers_reinvites: whether it takes a re-INVITE, or an offer in an UPDATE; otherwise it refuses it with 488.
        fields: more header fields of each INVITE, UPDATE and 2xx to one: what it can do (``Allow``, ``Supported``). It
            takes an UPDATE if it says so in an ``Allow`` here.
        seen: every message that came, repeated ones included.
    """

    def __init__(
        self,
        reactor: Any,
        user: str,
        host: str,
        port: int = 5060,
        *,
        proxy: Address,
        entropy: Entropy,
        domain: str = "example.com",
        password: str | None = None,
        transport: Transport = Transport.UDP,
        media: Address | None = None,
    ) -> None:
        self.reactor = reactor
        self.user = user
        self.domain = domain
        self.aor = f"sip:{user}@{domain}"
        self.proxy = proxy
        self.entropy = entropy
        self.media = media or (host, 40000)
        self.calls: list[PeerCall] = []
        self.on_call: Callable[[PeerCall], None] = _leave_alone
        self.messages: list[Request] = []
        self.on_message: Callable[[Request], Response | None] = _take_note
        self.infos: list[Request] = []
        self.on_info: Callable[[Request, Reply], None] = _agree
        self.on_other: Callable[[Request, Reply], bool] = _leave_to_the_peer
        self.answers_reinvites = True
        self.fields: tuple[tuple[str, str], ...] = ()
        self.seen: list[Request | Response] = []
        self.exchanges = Exchanges(
            reactor, (host, port), transport, proxy, entropy, self._requested, self._unacknowledged
        )
        self.exchanges.seen = self._saw
        written = f"[{host}]" if ":" in host else host
        parameter = "" if transport is Transport.UDP else f";transport={transport.uri_parameter}"
        self.contact = f"<sip:{user}@{written}:{port}{parameter}>"
        self._password = password
        self._registration = new_call_id(entropy)
        self._registrations = 0
        self._inbox: list[Request | Response] = []
        self._expectations: list[_Expectation] = []

    def close(self) -> None:
        """Leave the network without a word."""
        self.exchanges.close()

    # --- what it does

    def register(self, expires: int = 3600) -> Deferred[Response | None]:
        """Register its contact; a Deferred of the final response, or of ``None`` if there is none."""
        self._registrations += 1
        request = builders.register(
            self.aor,
            self.contact,
            registrar=f"sip:{self.domain}",
            expires=expires,
            from_tag=new_tag(self.entropy),
            call_id=self._registration,
            cseq=self._registrations,
            via=None,
        )
        return self.ask(request)

    def unregister(self) -> Deferred[Response | None]:
        """Remove its contact."""
        return self.register(0)

    def call(self, uri: str, *, body: bytes | None = None, headers: builders.Fields = ()) -> PeerCall:
        """Call somebody.

        Args:
            uri: whom; an AOR, or a user's name in the own domain.
            body: the offer; by default one audio stream, ``b""`` for a late offer.
            headers: more header fields of the INVITE.
        """
        target = uri if ":" in uri else f"sip:{uri}@{self.domain}"
        invite = builders.invite(
            target,
            caller=self.aor,
            callee=target,
            from_tag=new_tag(self.entropy),
            call_id=new_call_id(self.entropy),
            via=None,
            contact=self.contact,
            headers=(*self.fields, *headers),
            body=builders.sdp(*self.media) if body is None else body,
        )
        call = PeerCall.outgoing(self, invite)
        self.calls.append(call)
        call.start()
        return call

    def message(
        self, uri: str, body: bytes = b"hello", *, content_type: str = "text/plain", headers: builders.Fields = ()
    ) -> Deferred[Response | None]:
        """Send a message (RFC 3428); a Deferred of its final response, or of ``None`` if there is none.

        Args:
            uri: whom to; an AOR, or a user's name in the own domain.
            body: what it says.
            content_type: of the body.
            headers: more header fields.
        """
        target = uri if ":" in uri else f"sip:{uri}@{self.domain}"
        request = builders.request(
            "MESSAGE",
            target,
            caller=self.aor,
            callee=target,
            from_tag=new_tag(self.entropy),
            call_id=new_call_id(self.entropy),
            via=None,
            contact=None,
            headers=headers,
            body=body,
            content_type=content_type,
        )
        return self.ask(request)

    def ask(self, request: Request, destination: Address | None = None) -> Deferred[Response | None]:
        """Send any request but INVITE and ACK, without a Via; a Deferred of its final response.

        Challenges are answered. The result is ``None`` if there is no final response in time.
        """
        waiting: Deferred[Response | None] = Deferred()
        self._ask(request, destination or self.proxy, waiting, _MAX_CHALLENGES)
        return waiting

    def renewed(self, request: Request, refusal: Response) -> Request | None:
        """Give a request with credentials for that challenge, to be sent again; ``None`` if there are none."""
        if refusal.status not in (401, 407) or self._password is None:
            return None
        again = request.copy()
        again.headers.remove("Via")
        if not authorize(again, refusal, self.user, self._password, new_tag(self.entropy)):
            return None
        again.headers.set("CSeq", f"{request.cseq.number + 1} {request.method}")
        return again

    # --- what it does with incoming calls

    def auto_answer(self, after: float = 1.0, *, ring_after: float | None = 0.1) -> None:
        """Ring and answer every call, so many seconds after its INVITE; without ringing where that would come later."""

        def take(call: PeerCall) -> None:
            if ring_after is not None and ring_after < after:
                call.later(ring_after, call.ring)
            call.later(after, call.answer)

        self.on_call = take

    def auto_refuse(self, status: int = 486, after: float = 0.1) -> None:
        """Refuse every call."""
        self.on_call = lambda call: call.later(after, call.refuse, status)

    def auto_ring(self, after: float = 0.1) -> None:
        """Ring for every call, and never answer."""
        self.on_call = lambda call: call.later(after, call.ring)

    # --- what it expects

    def expect(self, what: str | int, *, within: float = 10.0) -> Deferred[Any]:
        """Give the next message of a kind that was not expected before; it may be here already.

        Args:
            what: the method of a request, or the status of a response.
            within: seconds to wait.

        Returns:
            A Deferred of the message. Fails with `ExpectationError` after ``within``.
        """
        for message in self._inbox:
            if _kind(message) == what:
                self._inbox.remove(message)
                return succeed(message)
        expectation = _Expectation(what, Deferred())
        self._expectations.append(expectation)
        timer = self.reactor.callLater(within, self._disappointed, expectation)
        expectation.waiting.addBoth(_cancelling(timer))
        return expectation.waiting

    def _disappointed(self, expectation: _Expectation) -> None:
        self._expectations.remove(expectation)
        came = ", ".join(str(_kind(message)) for message in self.seen) or "nothing"
        text = f"{self.user} expected {expectation.what}; there came: {came}"
        expectation.waiting.errback(ExpectationError(text))

    def _saw(self, message: Request | Response) -> None:
        self.seen.append(message)
        for expectation in self._expectations:
            if expectation.what == _kind(message):
                self._expectations.remove(expectation)
                expectation.waiting.callback(message)
                return
        self._inbox.append(message)

    # --- what comes

    def _ask(self, request: Request, destination: Address, waiting: Deferred[Response | None], challenges: int) -> None:
        def responded(response: Response | None) -> None:
            if response is not None and response.is_provisional:
                return
            again = self.renewed(request, response) if response is not None and challenges else None
            if again is not None:
                if request.method == "REGISTER":
                    self._registrations += 1
                self._ask(again, destination, waiting, challenges - 1)
            elif not waiting.called:
                waiting.callback(response)

        self.exchanges.ask(request, destination, responded)

    def _requested(self, request: Request, reply: Reply) -> None:
        method = request.method
        if method == "CANCEL":
            self._cancelled(request, reply)
            return
        call = self._call_of(request)
        if call is not None:
            call.requested(request, reply)
        elif method == "ACK" or self.on_other(request, reply):
            return
        elif request.to.tag is not None:
            reply(builders.response(request, 481))
        elif method == "INVITE":
            call = PeerCall.incoming(self, request, reply)
            self.calls.append(call)
            self.on_call(call)
        elif method == "MESSAGE":
            self.messages.append(request)
            answer = self.on_message(request)
            if answer is not None:
                reply(answer)
        elif method == "OPTIONS":
            reply(builders.response(request, 200, to_tag=new_tag(self.entropy)))
        else:
            reply(builders.response(request, 405, headers=(("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS"),)))

    def _cancelled(self, cancel: Request, reply: Reply) -> None:
        """Answer a CANCEL, which has the branch of its INVITE (section 9.2)."""
        for call in self.calls:
            if call.is_cancelled_by(cancel):
                reply(builders.response(cancel, 200, to_tag=call.local_tag))
                call.cancelled()
                return
        reply(builders.response(cancel, 481))

    def _unacknowledged(self, invite: Request) -> None:
        call = self._call_of(invite) or next((call for call in self.calls if call.call_id == invite.call_id), None)
        if call is not None:
            call.unacknowledged()

    def _call_of(self, request: Request) -> PeerCall | None:
        tag = request.to.tag
        if tag is None:
            return None
        return next((call for call in self.calls if (call.call_id, call.local_tag) == (request.call_id, tag)), None)


def _kind(message: Request | Response) -> str | int:
    return message.method if isinstance(message, Request) else message.status


def _cancelling(timer: Any) -> Callable[[Any], Any]:
    def cancel(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        return result

    return cancel


def _take_note(message: Request) -> Response:
    return builders.response(message, 200)


def _agree(request: Request, reply: Reply) -> None:
    reply(builders.response(request, 200))


def _leave_to_the_peer(request: Request, reply: Reply) -> bool:
    return False


def _leave_alone(call: PeerCall) -> None:
    pass
