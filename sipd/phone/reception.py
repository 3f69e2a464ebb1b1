"""Takes the calls that come to a phone: who may call, whom they are for, which call they take the place of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from zope.interface import implementer

from sipd.errors import InvalidStateError, LocalError, ParseError, RemoteError, RequestRefusedError
from sipd.interfaces import Credentials, IAuthenticator
from sipd.phone.ended import EndedBy
from sipd.phone.fields import HeaderFields, final_status, printable
from sipd.phone.incoming import IncomingCall, IncomingCalls
from sipd.phone.transfers import replace_call
from sipd.registrar.authentication import ConfiguredCredentials, DigestAuthenticator
from sipd.sip.refer import replaces_of
from sipd.ua.incoming import IncomingCall as IncomingSession
from sipd.ua.interfaces import ICallHandler

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from sipd.phone.call import Call
    from sipd.phone.phone import Phone

CallHook = Callable[[IncomingCall], object]
#: Gives a status by which a call is refused (300 to 699, or -1 for 480) or answered (200 to 299); 0 or ``None`` to go
#: on.
Decide = Callable[[IncomingCall], "int | Awaitable[int | None] | None"]


@implementer(ICallHandler)
class Reception:
    """The calls that come to one phone.

    Args:
        phone: which.
        authenticator: who may call; ``None`` for everybody.
        realm: in which callers are asked.
    """

    def __init__(self, phone: Phone, authenticator: IAuthenticator | None, realm: str) -> None:
        self._phone = phone
        self._authenticator = authenticator
        self._realm = realm
        self._iterators: list[IncomingCalls] = []
        #: How many callers are being authenticated: as many as there may be calls, further ones are refused with 486.
        self._being_asked = 0
        #: Calls that another one is about to take the place of.
        self._replaced_soon: set[Call] = set()

    def call_offered(self, call: IncomingSession) -> None:
        """See `ICallHandler`."""
        if self._authenticator is None:
            self._offer(call, "")
            return
        if self._being_asked >= self._phone.max_calls:
            call.reject(486)
            return
        self._being_asked += 1
        asking = self._authenticator.authenticate(call.invite, self._realm, proxy=False)
        asking.addBoth(self._asked)
        asking.addCallbacks(lambda username: self._offer(call, username), self._turn_away, errbackArgs=(call,))

    def _asked(self, result: Any) -> Any:
        self._being_asked -= 1
        return result

    def iterate(self, limit: int) -> IncomingCalls:
        """Give the calls that come from now on, unless others iterate already."""
        calls = IncomingCalls(self._iterators.remove, limit)
        self._iterators.append(calls)
        return calls

    def close(self) -> None:
        """Take no more calls."""
        for calls in list(self._iterators):
            calls.close()

    async def answer(
        self,
        ring_time: float,
        status: int,
        reason: str | None,
        headers: HeaderFields,
        codecs: Sequence[str] | None,
        on_call: Decide | None,
    ) -> IncomingCall:
        """See `Phone.answer`."""
        printable(headers, reason)
        final_status(status)
        calls = self.iterate(1)
        call: IncomingCall | None = None
        try:
            while (call := await calls.next()) is not None:
                call.codecs = codecs
                decision: Any = None if on_call is None else await maybeDeferred(on_call, call)
                chosen: int = decision or status
                if not 200 <= chosen < 300:
                    call.reject(480 if chosen < 0 else chosen, None if decision else reason, headers)
                    continue
                call.ring()
                await self._rings(call, ring_time)
                with suppress(RemoteError, LocalError):
                    await call.answer(chosen, None if decision else reason, headers)
                    return call
        finally:
            calls.close()
            if call is not None and not call.is_answered:
                call.reject(480)
        raise InvalidStateError("The phone is stopped")

    def _rings(self, call: IncomingCall, duration: float) -> Deferred[object]:
        """Wait for so long, or until the caller gives up."""
        waiting: Deferred[object] = call.ended.addTimeout(
            duration, self._phone.clock, onTimeoutCancel=lambda _, __: None
        ).addErrback(lambda failure: failure.trap(CancelledError) and failure)
        return waiting

    def _turn_away(self, failure: Failure, call: IncomingSession) -> None:
        error = failure.value
        if isinstance(error, RequestRefusedError):
            call.reject(error.status, error.reason, error.headers)
        else:
            self._phone.log.failure("a caller could not be authenticated", failure)
            call.reject(500)

    def _offer(self, session: IncomingSession, username: str) -> None:
        phone = self._phone
        if session.is_over:
            return
        if not phone.running:
            session.reject(480)
            return
        try:
            replaced = self._replaced(session)
        except RequestRefusedError as error:
            session.reject(error.status, error.reason)
            return
        if replaced is not None:
            self._take_place(replaced, IncomingCall(phone, session, username))
        elif len(phone.calls) >= phone.max_calls:
            session.reject(486)
        elif self._iterators:
            self._iterators[0].offer(self._new(session, username))
        elif phone.on_call is not None:
            call = self._new(session, username)
            maybeDeferred(phone.on_call, call).addErrback(self._hook_failed, call)
        else:
            session.reject(480)

    def _new(self, session: IncomingSession, username: str) -> IncomingCall:
        call = IncomingCall(self._phone, session, username)
        self._phone.calls.add(call)
        return call

    def _hook_failed(self, failure: Failure, call: IncomingCall) -> None:
        """The application has not coped with a call: that ends it."""
        is_usual = failure.check(CancelledError, RemoteError) or (call.is_over and failure.check(LocalError))
        if not is_usual:
            self._phone.log.failure("on_call has failed for {call_id}", failure, call_id=call.call_id)
        if not call.is_answered:
            call.reject(500)
        elif not call.is_over:
            call.hang_up()

    def _replaced(self, session: IncomingSession) -> Call | None:
        """Give the call that another one is to take the place of (RFC 3891 section 3).

        Raises:
            RequestRefusedError: it cannot.
        """
        try:
            replaces = replaces_of(session.invite)
        except ParseError as error:
            raise RequestRefusedError(error.reason, status=400) from error
        if replaces is None:
            return None
        for call in self._phone.calls:
            dialog = call.session.dialog
            if dialog is not None and dialog.key == replaces.key and call.session.is_confirmed:
                if call in self._replaced_soon or not call.is_established or replaces.is_early_only:
                    raise RequestRefusedError("Busy Here", status=486)
                return call
        raise RequestRefusedError("Call/Transaction Does Not Exist", status=481)

    def _take_place(self, old: Call, new: IncomingCall) -> None:
        """Answer a call at once, and end the one that it replaces; the application learns of it by ``on_replaced``."""
        phone = self._phone
        phone.calls.add(new)
        new.correlation, new.scenario, new.script = old.correlation, old.scenario, old.script

        def answered(_: None) -> None:
            if old.end is not None and old.end.by is EndedBy.US:
                # The application has hung up meanwhile: nobody is there any more.
                new.hang_up()
                return
            replace_call(old, new)
            if phone.on_replaced is not None:
                maybeDeferred(phone.on_replaced, old, new).addErrback(self._hook_failed, new)

        self._replaced_soon.add(old)
        answering = new.answer()
        answering.addBoth(self._not_replaced_soon, old)
        answering.addCallbacks(answered, lambda failure: failure.trap(RemoteError, LocalError))

    def _not_replaced_soon(self, result: Any, old: Call) -> Any:
        self._replaced_soon.discard(old)
        return result


def make_authenticator(known: Mapping[str, str] | IAuthenticator | None, phone: Phone) -> IAuthenticator | None:
    """Make what checks callers of names and passwords."""
    if not isinstance(known, Mapping):
        return known
    users = [Credentials(username=name, password=password) for name, password in known.items()]
    return DigestAuthenticator(ConfiguredCredentials(users), clock=phone.clock, entropy=phone.entropy)
