"""The user agent core (RFC 3261 section 8): inspects requests, finds dialogs, offers calls, sends requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import LocalError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import (
    Credentials,
    Entropy,
    IFlow,
    IRequestHandler,
    IResolver,
    IServerTransaction,
    ITransactionCore,
    ITransactionLayer,
    ITransportLayer,
)
from sipd.lanes import with_lanes
from sipd.sip.dialog import Dialog, DialogKey, DialogState
from sipd.sip.digest import answer_challenges, proven_credentials, repeat_credentials, set_credentials
from sipd.sip.headers import Headers
from sipd.sip.identifiers import new_call_id, new_tag
from sipd.sip.locate import Transport, targets_for_size
from sipd.sip.message import Request, Response
from sipd.sip.reliable import EXTENSION
from sipd.sip.uri import SipUri, Uri
from sipd.sip.validation import find_unsupported_body, find_unsupported_extension, find_unsupported_scheme
from sipd.ua.answering import Answering
from sipd.ua.calling import Calling
from sipd.ua.failover import ask_in_turn
from sipd.ua.flows import is_secured, stays_on
from sipd.ua.incoming import IncomingCall
from sipd.ua.interfaces import ICallHandler, IDialogUser
from sipd.ua.outgoing import CallRequest, OutgoingCall
from sipd.ua.referring import REFER_EXTENSIONS
from sipd.ua.session import Session
from sipd.ua.settings import KNOWN_METHODS, NO_CREDENTIALS, AgentSettings

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

#: What sessions and the core understand by themselves.
_METHODS = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "PRACK", "UPDATE", "INFO", "MESSAGE")
#: How often one request is sent again for a challenge; every proxy on the way may ask once, and once more when stale.
MAX_CHALLENGES = 5
#: Seconds for which a late answer to an INVITE that was given up is waited for, and how many such INVITEs are known.
GIVEN_UP = 180.0
MAX_GIVEN_UP = 10_000


@implementer(ITransactionCore)
class UserAgent:
    """A user agent: any number of calls, in and out, over any number of listening points.

    Args:
        clock: for the timers of sessions.
        transport: for the choice of flows.
        transactions: the layer below; its ``core`` must be set to this.
        resolver: for the targets of requests.
        entropy: for tags and Call-IDs.
        settings: its name and its bounds.

    Attributes:
        call_handler: who takes incoming calls; without one they are answered with 480.
        handlers: method to who answers requests outside of dialogs.
        explanation: told what a session's user may want to know but need not act upon.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        transport: ITransportLayer,
        transactions: ITransactionLayer,
        resolver: IResolver,
        entropy: Entropy,
        settings: AgentSettings | None = None,
    ) -> None:
        self.clock = with_lanes(clock)
        self.transport = transport
        self.transactions = transactions
        self.resolver = resolver
        self.entropy = entropy
        self.settings = settings if settings is not None else AgentSettings()
        self.call_handler: ICallHandler | None = None
        self.handlers: dict[str, IRequestHandler] = {}
        self.explanation: Callable[[Session, str], None] | None = None
        self._sessions: set[Session] = set()
        self._dialogs: dict[DialogKey, IDialogUser] = {}
        self._given_up: dict[tuple[str, str], Calling] = {}
        self._timers: dict[tuple[str, str], IDelayedCall] = {}
        self._awaited: dict[Session, Deferred[None]] = {}
        #: How many BYEs of each session are under way.
        self._leaving: dict[Session, int] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """How many sessions there are, those that are being ended included."""
        return len(self._sessions)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Those that there are, those that are being ended included."""
        return tuple({*self._sessions, *self._leaving})

    @property
    def dialog_count(self) -> int:
        """How many dialogs there are, early ones and those of subscriptions included."""
        return len(self._dialogs)

    def __contains__(self, user: object) -> bool:
        """Whether that is a session that is not forgotten."""
        return user in self._sessions

    # --- for applications -----------------------------------------------------------------------------------

    def call(self, call: CallRequest) -> OutgoingCall:
        """Make a call. Set its ``user``, then ``start`` it.

        Events come to the user: `Progressed`, then one of `Answered`, `Refused` and `sipd.ua.events.Failed`.
        """
        call_id = call.call_id or new_call_id(self.entropy)
        session = OutgoingCall(self, call, call_id=call_id, local_tag=new_tag(self.entropy))
        self._sessions.add(session)
        return session

    def request(self, request: Request, credentials: Credentials | None = None) -> Deferred[Response]:
        """Send a request outside of any dialog, such as OPTIONS; a Deferred of the final response.

        Goes to the first target of its topmost Route, or of its URI, that works; answers challenges.

        Args:
            request: with From, To, Call-ID, CSeq and Max-Forwards; Via, and Contact if it lacks one, are added.
            credentials: for challenges, or ``None``.

        Fails with `RemoteError` if there is no final response.
        """
        return Deferred.fromCoroutine(self._request(request, credentials))

    def when_forgotten(self, session: Session) -> Deferred[None]:
        """Give a Deferred that fires when nothing of a session is under way any more: its BYE, too, has its outcome.

        Cancelling it changes nothing else.
        """
        if session not in self._sessions and session not in self._leaving:
            return succeed(None)
        fired: Deferred[None] = Deferred()
        self._awaited.setdefault(session, Deferred()).addCallback(self._tell_forgotten, fired)
        return fired

    def close(self) -> None:
        """Forget every session at once, without a word to anybody, and stop every timer."""
        self._is_closed = True
        for user in {*self._sessions, *self._dialogs.values()}:
            user.close()
        self._sessions.clear()
        self._dialogs.clear()
        awaited, self._awaited = self._awaited, {}
        for forgotten in awaited.values():
            forgotten.callback(None)
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._given_up.clear()

    # --- for the transaction layer --------------------------------------------------------------------------

    def request_received(self, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        request = transaction.request
        try:
            if request.to.tag is not None:
                self._request_in_dialog_received(transaction)
            else:
                self._inspect(transaction)
                self._dispatch(transaction)
        except RequestRefusedError as error:
            self._respond(transaction, error.status, error.reason, error.headers)
        except ParseError as error:
            self._respond(transaction, 400, error.reason)

    def cancel_received(self, cancel: Request, transaction: IServerTransaction) -> None:
        """See `ITransactionCore`."""
        user: object = transaction.user
        if isinstance(user, Answering):
            user.cancel_received(cancel)

    def ack_received(self, ack: Request, flow: IFlow) -> None:
        """See `ITransactionCore`."""
        user = self._find(ack)
        if user is not None:
            user.ack_received(ack)

    def response_received(self, response: Response, flow: IFlow) -> None:
        """See `ITransactionCore`. A 2xx to an INVITE that was given up is ended; others are dropped (lesson 26)."""
        if response.is_success and response.cseq.method == "INVITE":
            calling = self._given_up.get((response.call_id, response.from_.tag or ""))
            if calling is not None:
                calling.response_received(response)

    # --- for sessions ---------------------------------------------------------------------------------------

    def contact(self, flow: IFlow, user: Uri, request: Request | None = None) -> str:
        """Give the Contact value for a flow.

        Args:
            flow: whose listening point is the address.
            user: a URI whose user part it has.
            request: that it stands in, or answers. It is a ``sips`` URI if that is to be kept secure all the way, and
                leaves or came securely (RFC 3261 sections 8.1.1.8 and 12.1.1); else a ``sip`` one.
        """
        name = f"{user.user}@" if isinstance(user, SipUri) and user.user else ""
        transport = flow.transport
        is_secure = request is not None and transport.is_secure and is_secured(request)
        scheme = "sips" if is_secure else "sip"
        is_plain = transport is Transport.UDP or (is_secure and transport is Transport.TLS)
        parameter = "" if is_plain else f";transport={(Transport.WS if is_secure else transport).uri_parameter}"
        return f"<{scheme}:{name}{flow.point.sent_by}{parameter}>"

    def add_capabilities(
        self, headers: Headers, settings: AgentSettings | None = None, *, has_offer: bool = True
    ) -> None:
        """Add Allow, Supported, and who this is.

        Args:
            headers: of a message of this side.
            settings: of a session; ``None`` for the agent's own.
            has_offer: not so of an INVITE that asks for one: it must not come in a reliable provisional response, since
                the answer would be due in the PRACK, and nobody would be asked for it in time.
        """
        settings = settings or self.settings
        headers.add("Allow", self._allow())
        supported = settings.supported if has_offer else settings.supported - {EXTENSION}
        if supported or self.settings.takes_referrals:
            headers.add("Supported", _listed(supported, self.settings.takes_referrals))
        if settings.name:
            headers.add("User-Agent", settings.name)

    def add_session(self, session: Session) -> None:
        """Find the session by its dialog from now on."""
        assert session.dialog is not None
        self._sessions.add(session)
        self.hold_dialog(session.dialog, session)

    def add_early_dialog(self, session: Session, dialog: Dialog) -> None:
        """Find the session by a dialog, too, that its INVITE has made so far with one callee."""
        if dialog.key not in self._dialogs:
            self.hold_dialog(dialog, session)
            session.early_dialogs.append(dialog)

    def hold_dialog(self, dialog: Dialog, user: IDialogUser) -> None:
        """Give what comes inside of a dialog to its user from now on."""
        self._dialogs[dialog.key] = user

    def release_dialog(self, dialog: Dialog, user: IDialogUser) -> None:
        """End that; what comes is answered with 481. Idempotent."""
        if self._dialogs.get(dialog.key) is user:
            del self._dialogs[dialog.key]

    def find_dialog(self, key: DialogKey) -> IDialogUser | None:
        """Give who uses a dialog, or ``None``."""
        return self._dialogs.get(key)

    def forget(self, session: Session) -> None:
        """Nothing is to happen to that session any more; subscriptions in its dialog go on. Idempotent."""
        self._sessions.discard(session)
        self._tell_awaiting(session)
        if session.dialog is not None and not session.is_subscribed:
            self.release_dialog(session.dialog, session)
        for dialog in session.early_dialogs:
            self.release_dialog(dialog, session)
        session.early_dialogs.clear()

    def give_up(self, calling: Calling) -> None:
        """Watch for a 2xx to an INVITE whose CANCEL, or timer, had no answer: the callee may come back and take it."""
        key = calling.request.call_id, calling.request.from_.tag or ""
        if len(self._given_up) < MAX_GIVEN_UP and not self._is_closed:
            self._given_up[key] = calling
            self._timers[key] = self.clock.callLater(GIVEN_UP, self._forget_given_up, key)

    def flow_for(self, dialog: Dialog, flow: IFlow, behind_nat: bool) -> Deferred[IFlow]:
        """Give the flow for the next request of a dialog: the one it has, or one to its next hop (lesson 1)."""
        next_hop = dialog.next_hop
        if stays_on(flow, next_hop, behind_nat=behind_nat):
            return succeed(flow)
        return self.resolver.locate(next_hop).addCallback(lambda targets: self.transport.flow_to(targets[0]))

    def request_in_dialog(self, user: IDialogUser, dialog: Dialog, request: Request) -> Deferred[Response]:
        """Send a request that the dialog has built, other than INVITE; answers challenges."""
        return Deferred.fromCoroutine(self._request_in_dialog(user, dialog, request))

    async def ask(
        self,
        request: Request,
        flow: IFlow,
        credentials: Credentials | None,
        nonce_counts: dict[str, int],
        dialog: Dialog | None,
        heard: Callable[[Response], None] | None,
    ) -> Response:
        """Give the final response to a request on a flow; answer challenges (section 22).

        Args:
            request: without Via; it is used up.
            flow: what it leaves on.
            credentials: for challenges, or ``None``.
            nonce_counts: how often each nonce was used.
            dialog: that it is in: gives the next CSeq number after a challenge, and keeps what the peer took for the
                next request, which carries it ahead of a challenge (section 22.3); ``None`` outside of dialogs.
            heard: told of provisional responses.

        Raises:
            RemoteError: there is none.
        """
        known = self.known_credentials(credentials)
        if not known:
            return await self.transactions.request(request, flow, heard)
        if dialog is not None and dialog.authorizations:
            ahead = repeat_credentials(dialog.authorizations, request, known, self.entropy, nonce_counts)
            set_credentials(request, ahead)
        for attempts_left in reversed(range(MAX_CHALLENGES)):
            plain = request.copy()
            response = await self.transactions.request(request, flow, heard)
            if dialog is not None:
                dialog.authorizations = proven_credentials(plain, response)
            if response.status not in (401, 407) or not attempts_left:
                return response
            answers = answer_challenges(response, plain, known, self.entropy, nonce_counts)
            if not answers:
                return response
            request = plain
            number = plain.cseq.number + 1 if dialog is None else dialog.next_number()
            request.headers.set("CSeq", f"{number} {plain.method}")
            set_credentials(request, answers)
        raise AssertionError("the last attempt returns")

    def known_credentials(self, own: Credentials | None) -> tuple[Credentials, ...]:
        """Give what answers challenges of a request: its own credentials, and those for all; or really none."""
        if own is NO_CREDENTIALS:
            return ()
        return self.settings.credentials if own is None else (own, *self.settings.credentials)

    def end_dialog(
        self, dialog: Dialog, flow: IFlow, session: Session, headers: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Send BYE in a dialog, which may be one that the session never took (section 13.2.2.4)."""
        dialog.state = DialogState.TERMINATED
        session.flow = session.flow or flow
        sending = Deferred.fromCoroutine(self._say_bye(dialog, session, headers))
        sending.addErrback(self._bye_failed, session)
        self._leaving[session] = self._leaving.get(session, 0) + 1
        sending.addBoth(self._left, session)
        if session.dialog is dialog:
            sending.addBoth(lambda _: session.dialog_ended())

    def answer_options(self, transaction: IServerTransaction) -> None:
        """Answer OPTIONS with what an INVITE would find here (section 11.2)."""
        headers = Headers()
        self.add_capabilities(headers)
        headers.add("Accept", ", ".join(sorted(self.settings.accepted)))
        self._respond(transaction, 200, None, tuple(headers.items()))

    def refuse_method(self, transaction: IServerTransaction) -> None:
        """Refuse a method: 405 if the protocol knows it, else 501 (section 8.2.1)."""
        if transaction.request.method in KNOWN_METHODS:
            self._respond(transaction, 405, None, (("Allow", self._allow()),))
        else:
            self._respond(transaction, 501, None, (("Allow", self._allow()),))

    def explain(self, session: Session, text: str) -> None:
        """Say something that belongs to the explanation of a call."""
        if self.explanation is not None:
            self.explanation(session, text)

    def _forget_given_up(self, key: tuple[str, str]) -> None:
        del self._given_up[key], self._timers[key]

    # --- requests that come in ------------------------------------------------------------------------------

    def _request_in_dialog_received(self, transaction: IServerTransaction) -> None:
        request = transaction.request
        user = self._find(request)
        if user is None and request.method == "NOTIFY":
            # The first of a subscription makes its dialog, and may come before the 2xx (RFC 6665 section 4.4.1).
            user = self.find_dialog((request.call_id, request.to.tag or "", ""))
        if user is None:
            self._respond(transaction, 481)
            return
        supported = self.settings.supported
        if self.settings.takes_referrals and transaction.request.method == "REFER":
            supported |= REFER_EXTENSIONS
        refused = find_unsupported_extension(transaction.request, supported)
        if refused is not None:
            raise refused
        user.request_received(transaction)

    def _find(self, request: Request) -> IDialogUser | None:
        return self.find_dialog((request.call_id, request.to.tag or "", request.from_.tag or ""))

    def _inspect(self, transaction: IServerTransaction) -> None:
        """RFC 3261 section 8.2, in its order."""
        request = transaction.request
        if request.method not in KNOWN_METHODS:
            raise RequestRefusedError("Not Implemented", status=501, headers=(("Allow", self._allow()),))
        if request.method not in _METHODS and request.method not in self.handlers:
            raise RequestRefusedError("Method Not Allowed", status=405, headers=(("Allow", self._allow()),))
        if self.transactions.is_merged(transaction):
            raise RequestRefusedError("Loop Detected", status=482)
        handler = self.handlers.get(request.method)
        supported = self.settings.supported if handler is None else self.settings.supported | handler.extensions
        refused = find_unsupported_scheme(request) or find_unsupported_extension(request, supported)
        if refused is None and request.method == "INVITE":
            refused = find_unsupported_body(request, self.settings.accepted)
        if refused is not None:
            raise refused

    def _dispatch(self, transaction: IServerTransaction) -> None:
        method = transaction.request.method
        handler = self.handlers.get(method)
        if method == "INVITE":
            self._offer(transaction)
        elif handler is not None:
            handler.request_received(transaction)
        elif method == "OPTIONS":
            self.answer_options(transaction)
        else:
            # BYE and the like, outside of a dialog.
            self._respond(transaction, 481)

    def _offer(self, transaction: IServerTransaction) -> None:
        if self.call_handler is None:
            self._respond(transaction, 480)
            return
        call = IncomingCall(self, transaction, new_tag(self.entropy))
        self.add_session(call)
        self.call_handler.call_offered(call)

    def _respond(
        self,
        transaction: IServerTransaction,
        status: int,
        reason: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        request = transaction.request
        transaction.respond(request.response(status, reason, to_tag=new_tag(self.entropy), headers=headers))

    def _allow(self) -> str:
        return _allowed(tuple(self.handlers), self.settings.takes_referrals)

    # --- requests that go out -------------------------------------------------------------------------------

    async def _request(self, request: Request, credentials: Credentials | None) -> Response:
        routes = request.routes
        targets = await self.resolver.locate(routes[0].uri if routes else request.uri)

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            attempt = request.copy()
            if "Contact" not in attempt.headers:
                attempt.headers.add("Contact", self.contact(flow, request.from_.uri, request))
            return await self.ask(attempt, flow, credentials, {}, None, heard)

        response = await ask_in_turn(self, targets_for_size(targets, len(request.to_bytes())), send)
        if response.status == 503:
            raise RemoteError(response.reason, status=503)
        return response

    async def _request_in_dialog(self, user: IDialogUser, dialog: Dialog, request: Request) -> Response:
        flow = user.flow
        assert flow is not None
        credentials, counts = user.credentials, user.nonce_counts
        if stays_on(flow, dialog.next_hop, behind_nat=user.is_natted):
            return await self.ask(request, flow, credentials, counts, dialog, None)

        async def send(flow: IFlow, heard: Callable[[Response], None] | None) -> Response:
            attempt = request.copy()
            if request.cseq.number < dialog.local_sequence:
                # Another target has challenged it, or something was sent while this one was looked for.
                attempt.headers.set("CSeq", f"{dialog.next_number()} {request.method}")
            return await self.ask(attempt, flow, credentials, counts, dialog, heard)

        return await ask_in_turn(self, await self.resolver.locate(dialog.next_hop), send)

    def _left(self, _: object, session: Session) -> None:
        """Take note that a BYE has its outcome."""
        self._leaving[session] -= 1
        if not self._leaving[session]:
            del self._leaving[session]
            self._tell_awaiting(session)

    def _tell_awaiting(self, session: Session) -> None:
        if session not in self._sessions and session not in self._leaving:
            awaited = self._awaited.pop(session, None)
            if awaited is not None:
                awaited.callback(None)

    @staticmethod
    def _tell_forgotten(_: None, waiting: Deferred[None]) -> None:
        if not waiting.called:
            waiting.callback(None)

    async def _say_bye(self, dialog: Dialog, session: Session, headers: Sequence[tuple[str, str]]) -> None:
        bye = dialog.request("BYE", headers)
        number = bye.cseq.number
        response = await self._request_in_dialog(session, dialog, bye)
        if response.status == 500 and dialog.local_sequence > number:
            # Something that was sent after it has overtaken it: its number is too low (section 12.2.2).
            await self._request_in_dialog(session, dialog, dialog.request("BYE", headers))

    def _bye_failed(self, failure: Failure, session: Session) -> None:
        failure.trap(RemoteError, LocalError)
        self.explain(session, f"BYE: {failure.getErrorMessage()}")


@lru_cache(maxsize=16)
def _allowed(handled: tuple[str, ...], takes_referrals: bool) -> str:
    """Give the value of Allow."""
    methods = (*_METHODS, "REFER", "NOTIFY") if takes_referrals else _METHODS
    return ", ".join((*methods, *sorted({*handled} - {*methods})))


@lru_cache(maxsize=64)
def _listed(supported: frozenset[str], takes_referrals: bool) -> str:
    """Give the value of Supported."""
    return ", ".join(sorted(supported | REFER_EXTENSIONS if takes_referrals else supported))
