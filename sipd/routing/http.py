"""A router that asks an HTTP service, and does without where that does not answer (docs/routing-http.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sipd.errors import ParseError, RemoteError
from sipd.interfaces import Attempt, IRouter, ITrunks, LegPolicy, Route, RoutingRequest
from sipd.routing.questions import Answer, AnsweredAttempt, question_of
from sipd.sip.grammar import UNRESERVED, escape
from sipd.sip.uri import SipUri, Uri, parse_uri

#: Seconds that a caller is told to wait who is refused because nobody knows where the call goes.
RETRY_AFTER = 10
#: What may stand in the user part of a URI without an escape (RFC 3261 section 25.1).
_USER = UNRESERVED | frozenset("&=+$,;?/")
_NAME = "http"


class Fallback(Enum):
    """What happens to a call for which there is no answer, not even an old one."""

    #: The dial plan decides.
    PLAN = "plan"
    #: It is refused with 503.
    REFUSE = "refuse"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRouterSettings:
    """What the service is asked about.

    Args:
        domain: of the users that it names, as it stands in a URI.
        methods: of the requests that it is asked about; others go by the dial plan.
        headers: names of header fields that it wants to see.
        fallback: what happens without an answer.
        timeout: seconds until an unanswered attempt is given up of which the service does not say it.
    """

    domain: str
    methods: frozenset[str] = frozenset(("INVITE",))
    headers: tuple[str, ...] = ()
    fallback: Fallback = Fallback.PLAN
    timeout: float = 60.0


#: What is counted: answers, and why there was none.
KINDS = ("answered", "late", "unreachable", "status", "malformed", "too-long", "busy", "resting")


class ServiceFailedError(RemoteError):
    """There is no answer.

    Args:
        kind: a short fixed word, one of `KINDS`, as it is counted.
        reason: why, for a person.
    """

    status = 503

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


class Service(Protocol):
    """Who is asked."""

    def ask(self, question: dict[str, Any]) -> Deferred[Answer]:
        """Give the answer; fails with `ServiceFailedError`."""

    def remembered(self, question: dict[str, Any]) -> tuple[Answer, float] | None:
        """Give the last good answer to the same question, and its age in seconds."""


@implementer(IRouter)
class HttpRouter:
    """Asks the service, and the dial plan where the service says so, or nothing.

    Who has to prove who it is is for the dial plan to say: the service is asked afterwards. Emergency calls never
    wait for it.

    Args:
        service: who is asked.
        plan: the dial plan.
        settings: about what.
        is_emergency: says whether a request is for help.
        trunks: the peers that it may name; ``None`` if there are none.
        users: gives the attempts at a registered user, or why there are none.
        policies: those that it may name.
    """

    def __init__(
        self,
        service: Service,
        plan: IRouter,
        settings: HttpRouterSettings,
        *,
        is_emergency: Callable[[RoutingRequest], bool],
        users: Callable[[Uri], Route],
        trunks: ITrunks | None = None,
        policies: Mapping[str, LegPolicy] | None = None,
    ) -> None:
        self._service = service
        self._plan = plan
        self._settings = settings
        self._is_emergency = is_emergency
        self._users = users
        self._trunks = trunks
        self._policies = policies or {}

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        return self._plan.needs_authentication(routing_request)

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        return Deferred.fromCoroutine(self._route(routing_request))

    async def _route(self, asked: RoutingRequest) -> Route:
        if asked.request.method not in self._settings.methods:
            return await self._plan.route(asked)
        if self._is_emergency(asked):
            return await self._by_plan(asked, ["the routing service is not asked about emergency calls"])
        question = question_of(asked, self._settings.headers)
        try:
            answer = await self._service.ask(question)
        except ServiceFailedError as error:
            considered = [f"the routing service failed ({error.kind}): {error.reason}"]
        else:
            return await self._answered(asked, answer, ["the routing service has answered"])
        remembered = self._service.remembered(question)
        if remembered is not None:
            answer, age = remembered
            considered.append(f"its last answer to this question is used, which is {age:.0f} s old")
            return await self._answered(asked, answer, considered)
        if self._settings.fallback is Fallback.PLAN:
            considered.append("it has not answered this question before: the dial plan decides")
            return await self._by_plan(asked, considered)
        considered.append("it has not answered this question before")
        refusal = (503, "Routing Service Unavailable")
        return Route(name=_NAME, rounds=(), considered=tuple(considered), refusal=refusal, retry_after=RETRY_AFTER)

    async def _by_plan(self, asked: RoutingRequest, considered: Sequence[str]) -> Route:
        route = await self._plan.route(asked)
        return replace(route, considered=(*considered, *route.considered))

    async def _answered(self, asked: RoutingRequest, answer: Answer, considered: list[str]) -> Route:
        """Give the route that an answer means."""
        if answer.go_on:
            considered.append("it leaves this call to the dial plan")
            return await self._by_plan(asked, considered)
        name = answer.name or _NAME
        if answer.refuse is not None:
            refused = answer.refuse
            return Route(
                name=name,
                rounds=(),
                considered=(*considered, f"it refuses: {refused.status} {refused.reason}"),
                refusal=(refused.status, refused.reason),
                retry_after=refused.retry_after,
            )
        found = [
            [attempt for one in attempts for attempt in self._attempts(asked, one, name, considered)]
            for attempts in answer.rounds or ()
        ]
        rounds = tuple(tuple(attempts) for attempts in found if attempts)
        if not rounds:
            considered.append("none of its attempts can be made")
            return Route(
                name=name,
                rounds=(),
                considered=tuple(considered),
                refusal=(503, "No Way There Can Be Used"),
                retry_after=RETRY_AFTER,
            )
        return Route(
            name=name,
            rounds=rounds,
            considered=tuple(considered),
            setup_timeout=answer.setup_timeout,
            duration=answer.duration,
            warning=answer.warning or 0.0,
        )

    def _attempts(
        self, asked: RoutingRequest, wanted: AnsweredAttempt, name: str, considered: list[str]
    ) -> Sequence[Attempt]:
        """Give the attempts that one of an answer means: a user may have several contacts, a trunk be down."""
        made: Sequence[Attempt] | str
        if wanted.policy is not None and wanted.policy not in self._policies:
            made = f"there is no policy {wanted.policy}"
        elif wanted.trunk is not None:
            made = self._by_trunk(asked, wanted.trunk, wanted.number or "")
        elif wanted.user is not None:
            made = self._of_user(wanted.user)
        else:
            next_hop = None if wanted.next_hop is None else parse_uri(wanted.next_hop)
            label = f"route {name}"
            made = [Attempt(uri=parse_uri(wanted.uri or ""), label=label, next_hop=next_hop)]
        if isinstance(made, str):
            considered.append(f"{wanted.label or wanted.trunk or wanted.user or wanted.uri}: passed over: {made}")
            return ()
        return [self._treat(attempt, wanted) for attempt in made]

    def _by_trunk(self, asked: RoutingRequest, trunk: str, number: str) -> Sequence[Attempt] | str:
        if self._trunks is None:
            return "there are no trunks"
        try:
            attempt = self._trunks.attempt(trunk, escape(number, _USER), asked)
        except KeyError:
            return "there is no such trunk"
        return attempt if isinstance(attempt, str) else [replace(attempt, called=number)]

    def _of_user(self, user: str) -> Sequence[Attempt] | str:
        try:
            uri = parse_uri(f"sip:{escape(user, _USER)}@{self._settings.domain}")
        except ParseError as error:
            return error.reason
        assert isinstance(uri, SipUri)
        route = self._users(uri)
        if route.refusal is not None:
            return route.refusal[1]
        return [attempt for attempts in route.rounds for attempt in attempts]

    def _treat(self, attempt: Attempt, wanted: AnsweredAttempt) -> Attempt:
        """Give an attempt as the answer wants it; what it says nothing of stays as it is."""
        changes: dict[str, object] = {}
        if wanted.trunk is None and wanted.timeout is None:
            changes["timeout"] = self._settings.timeout
        for field in ("timeout", "response_timeout", "redirects", "label", "caller_name"):
            value = getattr(wanted, field)
            if value is not None:
                changes[field] = value
        if wanted.stops is not None:
            changes["stops"] = frozenset(wanted.stops)
        if wanted.codecs is not None:
            changes["codecs"] = tuple(codec.lower() for codec in wanted.codecs)
        if wanted.policy is not None:
            changes["policy"] = self._policies[wanted.policy]
        if wanted.caller is not None:
            changes["caller"] = escape(wanted.caller, _USER)
        return replace(attempt, **changes)  # type: ignore[arg-type]
