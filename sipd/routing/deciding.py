"""A router that asks the application, in whose process sipd runs, where a call goes, and the dial plan otherwise."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from twisted.internet.defer import CancelledError, Deferred, fail, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.errors import LocalError, ParseError, RequestRefusedError
from sipd.interfaces import Attempt, IRouter, Route, RoutingRequest
from sipd.routing.questions import MAX_AT_ONCE, MAX_ROUNDS
from sipd.routing.registered import RegisteredUsers
from sipd.sip.grammar import UNRESERVED, escape
from sipd.sip.message import Request
from sipd.sip.uri import Uri, parse_uri

#: Seconds that the application has for a decision, if nothing else is said.
PATIENCE = 10.0
#: Seconds that a caller is told to wait who is refused because there is no decision.
RETRY_AFTER = 10
#: What may stand in the user part of a URI without an escape (RFC 3261 section 25.1).
_USER = UNRESERVED | frozenset("&=+$,;?/")
_SCHEMES = ("sip:", "sips:", "tel:")
_NAME = "application"
_LONGEST = 200

#: Somebody to call: what to try, or an address such as ``sip:bob@192.0.2.7``, or the name of a user of ours.
Destination: TypeAlias = Attempt | str
#: Where a call goes: ``None`` leaves it to the dial plan; several destinations are called one after another, those of
#: an inner sequence together.
CallDecision: TypeAlias = Route | Destination | Sequence[Destination | Sequence[Destination]] | None
#: Is asked about each call; usually a coroutine function.
CallOffered: TypeAlias = Callable[[RoutingRequest], Awaitable[CallDecision]]
#: Says whether a caller has to prove who it is; ``None`` leaves that to the dial plan.
NeedsAuthentication: TypeAlias = Callable[[RoutingRequest], bool | None]
#: A decision with one form for each meaning.
_Read: TypeAlias = Route | tuple[Destination | tuple[Destination, ...], ...] | None


class UndecidedError(LocalError):
    """The application gives no decision.

    Args:
        why: in a few words, for the explanation of the call.
        refusal: status and reason that the caller gets.
    """

    def __init__(self, why: str, refusal: tuple[int, str]) -> None:
        super().__init__(why)
        self.why = why
        self.refusal = refusal


class Decider:
    """Asks the application, each time within a bound of time.

    How many questions are open at a time is bounded by the calls that there may be (``limits.calls``).

    Args:
        call_offered: who decides.
        clock: for time.
        patience: seconds for a decision; then the coroutine is cancelled.
        needs_authentication: says who has to prove who it is; without it the dial plan does.

    Raises:
        ValueError: ``patience`` is not above 0.
    """

    _log = Logger()

    def __init__(
        self,
        call_offered: CallOffered,
        clock: IReactorTime,
        *,
        patience: float = PATIENCE,
        needs_authentication: NeedsAuthentication | None = None,
    ) -> None:
        if not patience > 0:
            raise ValueError(f"patience of more than 0 seconds expected (got {patience})")
        self._call_offered = call_offered
        self._needs_authentication = needs_authentication
        self._clock = clock
        self._patience = patience
        #: Each with what the caller waits for, and how long.
        self._open: dict[Deferred[_Read], tuple[Deferred[_Read], IDelayedCall]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """How many questions are not answered yet."""
        return len(self._open)

    def needs_authentication(self, asked: RoutingRequest) -> bool | None:
        """Say whether the caller has to prove who it is; ``None`` for what the dial plan says.

        A hook that fails is logged, and the caller is asked.
        """
        if self._needs_authentication is None:
            return None
        answer: bool | None = True
        with self._log.failureHandler("needs_authentication has failed: the caller is asked who it is"):
            answer = self._needs_authentication(asked)
        return answer

    def decide(self, asked: RoutingRequest) -> Deferred[_Read]:
        """Give the decision about a call.

        Fails with `RequestRefusedError` where the application raises that, and with `UndecidedError` where it raises
        anything else, which is logged, decides something that is no decision, is late, or is asked no more. To cancel
        it cancels the coroutine.
        """
        if self._is_closed:
            return fail(_stopped())
        asking: Deferred[Any] = maybeDeferred(self._call_offered, asked)
        deciding: Deferred[_Read] = asking.addCallback(_read)

        def forget(_: object) -> None:
            self._forget(deciding)

        waiting: Deferred[_Read] = Deferred(forget)
        late = UndecidedError(f"no decision within {self._patience:g} s", (503, "No Routing Decision In Time"))
        self._open[deciding] = (waiting, self._clock.callLater(self._patience, self._give_up, deciding, late))
        deciding.addBoth(self._decided, deciding, asked)
        return waiting

    def _decided(self, outcome: _Read | Failure, deciding: Deferred[_Read], asked: RoutingRequest) -> None:
        waiting, timer = self._open.pop(deciding, (None, None))
        if waiting is None or timer is None:
            # The caller has its answer already. That the coroutine was cancelled is no news; anything else is.
            if isinstance(outcome, Failure) and not outcome.check(CancelledError):
                self._failed(outcome, asked)
            return
        timer.cancel()
        if isinstance(outcome, Failure):
            waiting.errback(self._failed(outcome, asked))
        else:
            waiting.callback(outcome)

    def close(self) -> None:
        """Ask no more: what is being asked is cancelled. Idempotent."""
        self._is_closed = True
        for deciding in list(self._open):
            self._give_up(deciding, _stopped())

    def _give_up(self, deciding: Deferred[_Read], error: UndecidedError) -> None:
        """Wait no longer, whether the coroutine can be cancelled or not."""
        waiting = self._forget(deciding)
        if waiting is not None:
            waiting.errback(error)

    def _forget(self, deciding: Deferred[_Read]) -> Deferred[_Read] | None:
        waiting, timer = self._open.pop(deciding, (None, None))
        if timer is not None and timer.active():
            timer.cancel()
        deciding.cancel()
        return waiting

    def _failed(self, failure: Failure, asked: RoutingRequest) -> Failure:
        """Give what the caller's side is told of a failure."""
        error = failure.value
        if isinstance(error, RequestRefusedError) and 300 <= error.status <= 699:
            return failure
        call_id = asked.request.headers.get("Call-ID") or ""
        self._log.failure("call_offered has failed for call {call_id}", failure, call_id=call_id)
        return Failure(UndecidedError(f"has failed: {type(error).__name__}", (500, "Server Internal Error")))


def _stopped() -> UndecidedError:
    return UndecidedError("is asked no more, since sipd is being stopped", (503, "Shutting Down"))


def _read(decision: object) -> _Read:
    """Give a decision its form.

    Raises:
        TypeError: it is none.
        ValueError: it has too many destinations.
    """
    if decision is None or isinstance(decision, Route):
        return decision
    if isinstance(decision, Attempt | str):
        return (decision,)
    if not isinstance(decision, list | tuple):
        raise TypeError(f"None, a Route, an Attempt, a text or a list expected (got {type(decision).__name__})")
    if len(decision) > MAX_ROUNDS:
        raise ValueError(f"at most {MAX_ROUNDS} destinations one after another expected (got {len(decision)})")
    return tuple(_together(one) if isinstance(one, list | tuple) else _destination(one) for one in decision)


def _together(values: Sequence[object]) -> tuple[Destination, ...]:
    if len(values) > MAX_AT_ONCE:
        raise ValueError(f"at most {MAX_AT_ONCE} destinations may ring together (got {len(values)})")
    return tuple(map(_destination, values))


def _destination(value: object) -> Destination:
    if not isinstance(value, Attempt | str):
        raise TypeError(f"an Attempt, an address or a user expected (got {type(value).__name__})")
    return value


@implementer(IRouter)
class ContactRouter:
    """Leads to the contacts of the user that a request URI names, and nowhere else.

    Args:
        users: knows the contacts.
    """

    def __init__(self, users: RegisteredUsers) -> None:
        self._users = users

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`. Always."""
        return True

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        return succeed(self._users.route(routing_request.request.uri))


@implementer(IRouter)
class DecidingRouter:
    """Asks the application about each call, and the dial plan where that leaves it the call.

    Who has to prove who it is is for the dial plan to say, unless the application says it. Requests other than INVITE,
    and emergency calls, go by the dial plan: help does not wait for a program.

    What was decided stands in the explanation of the call. There is no decision: 503 if it takes too long, 500 if the
    application fails. A destination that cannot be used (nobody is registered there, no address) is passed over; where
    none is left the caller gets what the first one would have given.

    Args:
        plan: the dial plan.
        decider: asks the application.
        contacts: leads to the contacts of the user in a request URI, such as a `ContactRouter`.
        has_user: says whether a URI is one of a user of ours, whose contacts are called.
        is_emergency: says whether a request is for help.
        domain: of the users that are named, as it stands in a URI.
        timeout: seconds for which an address rings.
    """

    def __init__(
        self,
        plan: IRouter,
        decider: Decider,
        *,
        contacts: IRouter,
        has_user: Callable[[Uri], bool],
        is_emergency: Callable[[RoutingRequest], bool],
        domain: str,
        timeout: float = 60.0,
    ) -> None:
        self._plan = plan
        self._decider = decider
        self._contacts = contacts
        self._has_user = has_user
        self._is_emergency = is_emergency
        self._domain = domain
        self._timeout = timeout

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        said = self._decider.needs_authentication(routing_request) if self._is_asked(routing_request) else None
        return self._plan.needs_authentication(routing_request) if said is None else said

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`. Fails with a `RequestRefusedError` of the application that has header fields of its own."""
        return Deferred.fromCoroutine(self._route(routing_request))

    def _is_asked(self, asked: RoutingRequest) -> bool:
        return asked.request.method == "INVITE" and not self._is_emergency(asked)

    async def _route(self, asked: RoutingRequest) -> Route:
        if not self._is_asked(asked):
            return await self._plan.route(asked)
        try:
            decision = await self._decider.decide(asked)
        except RequestRefusedError as error:
            return _refused(error)
        except UndecidedError as error:
            return _nowhere(
                error.refusal, _said(error.why), retry_after=RETRY_AFTER if error.refusal[0] == 503 else None
            )
        if decision is None:
            route = await self._plan.route(asked)
            return replace(route, considered=(_said("leaves this call to the dial plan"), *route.considered))
        if isinstance(decision, Route):
            return replace(decision, considered=(_said(f"route {decision.name}"), *decision.considered))
        return await self._to(asked, decision)

    async def _to(self, asked: RoutingRequest, decision: tuple[Destination | tuple[Destination, ...], ...]) -> Route:
        """Give the route to what was decided."""
        if not decision:
            return _nowhere((480, "Nobody To Call"), _said("names nobody"))
        considered = [_said(", then ".join(map(_named, decision)))]
        rounds: list[tuple[Attempt, ...]] = []
        routes: list[Route] = []
        for one in decision:
            found = [await self._find(asked, each) for each in (one if isinstance(one, tuple) else (one,))]
            routes += found
            for each in found:
                considered += each.considered
            if isinstance(one, tuple):
                together = tuple(attempt for each in found for attempts in each.rounds for attempt in attempts)
                rounds += [together] if together else []
            else:
                rounds += found[0].rounds
        aors = {route.aor for route in routes}
        aor = aors.pop() if len(aors) == 1 else None
        if rounds:
            return Route(name=_NAME, rounds=tuple(rounds), considered=tuple(considered), aor=aor)
        refusal = next((route.refusal for route in routes if route.refusal is not None), (480, "Nobody To Call"))
        return _nowhere(refusal, *considered, aor=aor)

    async def _find(self, asked: RoutingRequest, destination: Destination) -> Route:
        """Give the attempts at one destination, or why there are none."""
        if isinstance(destination, Attempt):
            return Route(name=_NAME, rounds=((destination,),))
        is_address = destination.lower().startswith(_SCHEMES)
        try:
            uri = parse_uri(destination if is_address else f"sip:{escape(destination, _USER)}@{self._domain}")
        except ParseError as error:
            return _nowhere((484, "Address Incomplete"), _said(f"{_line(destination)} is no address: {error.reason}"))
        if is_address and not self._has_user(uri):
            return Route(name=_NAME, rounds=((Attempt(uri=uri, label=_NAME, timeout=self._timeout),),))
        request = Request(asked.request.method, uri, asked.request.headers)
        return await self._contacts.route(replace(asked, request=request))


def _refused(error: RequestRefusedError) -> Route:
    """Give the route that refuses as the application wants it.

    Raises:
        RequestRefusedError: the same, where it has header fields that a route cannot say.
    """
    retry_after = None
    for name, value in error.headers:
        if name.lower() != "retry-after" or not (value.isascii() and value.isdigit()):
            raise error
        retry_after = int(value)
    return _nowhere(
        (error.status, _line(error.reason)),
        _said(f"refuses: {error.status} {_line(error.reason)}"),
        retry_after=retry_after,
    )


def _nowhere(
    refusal: tuple[int, str], *considered: str, retry_after: int | None = None, aor: str | None = None
) -> Route:
    return Route(name=_NAME, rounds=(), considered=considered, refusal=refusal, retry_after=retry_after, aor=aor)


def _said(text: str) -> str:
    return f"the application: {text}"


def _named(one: Destination | tuple[Destination, ...]) -> str:
    if isinstance(one, tuple):
        return " and ".join(map(_named, one)) or "nobody"
    return _line(one if isinstance(one, str) else f"{one.label} at {one.uri}")


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text[:_LONGEST])
