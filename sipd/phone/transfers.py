"""Transfers of one call: asked for by this side, and by the peer (RFC 3515, RFC 5589)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from sipd.errors import InvalidStateError, LocalError, RemoteError, TransferError
from sipd.phone.ended import EndedBy
from sipd.phone.errors import DialError
from sipd.phone.fields import HeaderFields, pairs
from sipd.phone.progress import DialProgress, DialStep
from sipd.sip.refer import ReferredBy, ReferTo, Replaces, refer_to_replacing, referred_by
from sipd.sip.uri import SipUri, TelUri

if TYPE_CHECKING:
    from sipd.phone.call import Call
    from sipd.ua.referring import Referring


_Result = TypeVar("_Result")
#: Transfers of one call that the peer has asked for and that are under way; further ones are refused with 486.
_MOST_FOLLOWED = 8


class ReferState(Enum):
    """How far a transfer is that the peer has asked for."""

    ASKED = "asked"
    ESTABLISHED = "established"
    FAILED = "failed"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class Referred:
    """A transfer that the peer asks for: it is told of when it is asked for, and when it has its outcome.

    Args:
        state: how far it is.
        call: in which it was asked for.
        refer_to: whom to call.
        referred_by: who says so, as it says itself, or ``None``.
        new_call: the call to `refer_to`, once it is established.
        error: why there is none, when it has failed.
    """

    state: ReferState
    call: Call
    refer_to: ReferTo
    referred_by: ReferredBy | None = None
    new_call: Call | None = None
    error: RemoteError | LocalError | None = None


#: Is asked with `ASKED` whether to do it: a true value, or an awaitable of one, lets the phone dial. Later it is told.
ReferHook = Callable[[Referred], "object | Awaitable[object]"]


class Transfers:
    """The transfers of one call.

    Args:
        call: which.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        #: How many of the peer's are under way.
        self._followed = 0

    # --- asked for by this side -----------------------------------------------------------------------------

    async def transfer(
        self, to: str | Call, headers: HeaderFields, on_progress: Callable[[int, str], object] | None
    ) -> None:
        """See `Call.transfer`."""
        call = self._call
        if not call.is_established:
            raise InvalidStateError("The call is not established")
        other = None if isinstance(to, str) else to
        if other is call:
            raise InvalidStateError("A call cannot take its own place")
        refer_to = str(call.phone.address(to)) if isinstance(to, str) else _in_place_of(to)
        fields = pairs(headers)
        if not any(name.lower() == "referred-by" for name, _ in fields):
            fields.append(("Referred-By", referred_by(call.phone.identity.uri)))
        referral = call.session.refer(refer_to, fields)
        if on_progress is not None:
            referral.on_progress = lambda fragment: call.call_hook(
                maybeDeferred(on_progress, fragment.status, fragment.reason), "on_progress"
            )
        response = await _watch(referral.accepted)
        if response is None:
            raise TransferError("The other side has not answered", status=408)
        if not response.is_success:
            raise TransferError(f"{response.status} {response.reason}", status=response.status)
        outcome = await _watch(referral.outcome)
        if outcome is not None and outcome.status >= 300:
            raise TransferError(f"{outcome.status} {outcome.reason}", status=outcome.status)
        if outcome is None and call.end is not None and call.end.by is EndedBy.US:
            raise TransferError("The call was ended here before the other side has told how it went", status=487)
        if not call.is_over:
            await call.hang_up()
        if other is not None and not other.is_over:
            await other.hang_up()

    # --- asked for by the peer ------------------------------------------------------------------------------

    def asked(self, referring: Referring) -> None:
        """Take a REFER: the application decides."""
        call = self._call
        hook = call.on_refer
        if hook is None or referring.refer_to.method != "INVITE":
            referring.answer(603)
            return
        if not isinstance(referring.refer_to.uri, SipUri | TelUri):
            referring.answer(416)
            return
        if self._followed >= _MOST_FOLLOWED:
            referring.answer(486)
            return
        asked = Referred(
            state=ReferState.ASKED, call=call, refer_to=referring.refer_to, referred_by=referring.referred_by
        )
        deciding = maybeDeferred(hook, asked)
        deciding.addCallbacks(
            self._decided, self._undecided, callbackArgs=(hook, asked, referring), errbackArgs=(referring,)
        )
        call.call_hook(deciding, "on_refer")

    def _undecided(self, failure: Failure, referring: Referring) -> Failure:
        referring.answer(500)
        return failure

    def _decided(self, decision: object, hook: ReferHook, asked: Referred, referring: Referring) -> object:
        if not decision:
            referring.answer(603)
            return None
        if referring.is_answered:
            # It was too late: the call is over, or the peer does not wait any more.
            return None
        referring.accept()
        self._followed += 1
        return Deferred.fromCoroutine(self._follow(hook, asked, referring)).addBoth(self._followed_up)

    def _followed_up(self, result: object) -> object:
        self._followed -= 1
        return result

    async def _follow(self, hook: ReferHook, asked: Referred, referring: Referring) -> None:
        """Call whom the peer wants to be called, and tell it how that fares (RFC 3515 section 2.4.4)."""
        refer_to = asked.refer_to
        fields = list(refer_to.headers)
        if refer_to.replaces is not None:
            fields += [("Replaces", str(refer_to.replaces)), ("Require", "replaces")]
        if asked.referred_by is not None:
            fields.append(("Referred-By", str(asked.referred_by)))

        def progress(event: DialProgress) -> None:
            if event.step is DialStep.PROVISIONAL:
                referring.progress(event.status, event.reason)

        call = self._call
        try:
            new = await call.phone.follow(call, refer_to.uri, fields, progress)
        except (RemoteError, LocalError, CancelledError) as error:
            status = error.status if isinstance(error, RemoteError) else 500
            reason = (
                error.response.reason if isinstance(error, DialError) and error.response is not None else str(error)
            )
            referring.finish(status if status >= 300 else 500, reason)
            failure = error if isinstance(error, RemoteError | LocalError) else None
            outcome = Referred(
                state=ReferState.FAILED,
                call=call,
                refer_to=refer_to,
                referred_by=asked.referred_by,
                error=failure,
            )
        else:
            referring.finish(200, "OK")
            outcome = Referred(
                state=ReferState.ESTABLISHED,
                call=call,
                refer_to=refer_to,
                referred_by=asked.referred_by,
                new_call=new,
            )
        call.call_hook(maybeDeferred(hook, outcome), "on_refer")


def replace_call(old: Call, new: Call) -> None:
    """End a call that another one has taken the place of (RFC 3891 section 3)."""
    old.session.hang_up()
    old.finish(EndedBy.US, f"call {new.call_id} has taken its place")


def _in_place_of(call: Call) -> str:
    """Write the Refer-To by which somebody else takes our place in a call (RFC 5589 section 7)."""
    dialog = call.session.dialog
    if not call.is_established or dialog is None:
        raise InvalidStateError("The call to transfer to is not established")
    replaces = Replaces(call_id=dialog.call_id, to_tag=dialog.remote.tag or "0", from_tag=dialog.local.tag or "0")
    return refer_to_replacing(dialog.remote_target, replaces)


def _watch(deferred: Deferred[_Result]) -> Deferred[_Result]:
    """Give a Deferred of one that others have, too: to cancel it changes nothing."""
    watching: Deferred[_Result] = Deferred()

    def pass_on(result: _Result) -> _Result:
        if not watching.called:
            watching.callback(result)
        return result

    deferred.addCallback(pass_on)
    return watching
