"""Plays a call through, from its INVITE to the first one that would leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from sipd.b2bua.service import B2bua
from sipd.daemon import layers
from sipd.daemon.guards import make_guards
from sipd.daemon.parts import make_parts
from sipd.daemon.rehearsal.media import rehearsed_media
from sipd.daemon.rehearsal.question import CALLEE_HOST, Posed, Question, pose
from sipd.daemon.rehearsal.transport import RehearsedFlow, RehearsedTransport, Sent, UnaskedNames
from sipd.daemon.sections import Config
from sipd.daemon.values import shown
from sipd.errors import ConfigurationError, ParseError, RequestRefusedError
from sipd.interfaces import (
    Binding,
    CallObserver,
    Decision,
    IAuthenticator,
    IGate,
    ILocationService,
    IRouter,
    ISourceGuard,
    ListeningPoint,
    Route,
    RoutingRequest,
)
from sipd.routing.http import ServiceFailedError
from sipd.routing.questions import Answer, MalformedAnswerError, read_answer
from sipd.sip.grammar import escape
from sipd.sip.locate import Target
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.uri import SipUri, Uri, parse_uri
from sipd.sip.validation import find_fault
from sipd.transaction.layer import TransactionLayer
from sipd.transport.resolver import Resolver
from sipd.transport.via import stamp_source
from sipd.trunks.settings import TrunkServer, TrunkSettings
from sipd.trunks.trunks import Trunks
from sipd.ua.core import UserAgent
from sipd.watching.packages import user_of


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of it.

    Args:
        posed: the question.
        is_dropped: whether nobody answers: who sends it is not listened to.
        is_asked_who: whether the caller has to prove who it is.
        route: what the router decided, with the bounds that limits set; ``None`` if it was not asked, or gave nothing.
        decisions: everything that was decided.
        invites: those that would have left at once, in order.
        answer: the final response that the caller would have got, or ``None``.
        questions: what the routing service would have been asked.
    """

    posed: Posed
    is_dropped: bool = False
    is_asked_who: bool = False
    route: Route | None = None
    decisions: list[Decision] = field(default_factory=list)
    invites: list[Sent] = field(default_factory=list)
    answer: Response | None = None
    questions: list[dict[str, Any]] = field(default_factory=list)


def rehearse(config: Config, question: Question) -> Outcome:
    """Play a call through.

    What cannot be known without asking is taken for granted: names have an address, users are registered.

    Raises:
        ConfigurationError: the question makes no call; one line for each mistake.
    """
    points = [_named(layers.listening_point(listen)) for listen in config.listen]
    posed = pose(question, config, points)
    location = _Location(question.contacts, {user.name for user in config.users})
    service = _Service(question.answer)
    reactor: Any = Clock()  # nothing here asks for more than time
    clock: Clock = reactor
    clock.advance(question.at)
    entropy = Random(0).randbytes
    transport = RehearsedTransport(points)
    transactions = TransactionLayer(
        clock=clock, transport=transport, entropy=entropy, timers=layers.timer_values(config)
    )
    transport.receiver = transactions
    agent = UserAgent(
        clock=clock,
        transport=transport,
        transactions=transactions,
        resolver=Resolver(reactor, names=UnaskedNames(), points=lambda: points, entropy=entropy),
        entropy=entropy,
        settings=layers.agent_settings(config),
    )
    transactions.core = agent
    trunks = _Trunks(agent, question.trunk)
    parts = make_parts(config, location, service, trunks=trunks)
    trunks.configure(map(_taken_as_up, parts.trunks), parts.write_number)
    if question.trunk is not None and question.trunk not in trunks:
        raise ConfigurationError([f"--trunk: the name of a trunk expected (got {shown(question.trunk)})"])
    guards = make_guards(parts.guards, clock, entropy)
    guards.trusts_also = trunks.has_address
    outcome = Outcome(posed=posed, questions=service.questions)
    decisions: list[Decision] = []
    b2bua = B2bua(
        agent=agent,
        router=_Router(parts.router, outcome),
        authenticator=_Authenticator(posed.user),
        media=rehearsed_media(config, clock, entropy),
        observer=_Notes(decisions.append),
        now=clock.seconds,
        settings=parts.b2bua,
        trunks=trunks,
        gate=_Gate(guards.gate, outcome),
    )
    try:
        _receive(transactions, transport, outcome, guards.door)
        _read(transport.sent, outcome)
        outcome.decisions = list(decisions)
    finally:
        b2bua.stop_calls("the rehearsal is over")
        agent.close()
        transactions.close()
    return outcome


def _named(point: ListeningPoint) -> ListeningPoint:
    """Give a point as it is when it listens."""
    return replace(point, advertised_port=point.advertised_port or point.port)


def _receive(
    transactions: TransactionLayer, transport: RehearsedTransport, outcome: Outcome, door: ISourceGuard
) -> None:
    """Let the INVITE come, as the transport layer does."""
    posed = outcome.posed
    request = parse_datagram(posed.request.to_bytes())
    assert isinstance(request, Request)
    stamp_source(request, posed.source.host, posed.source.port)
    fault = find_fault(request)
    if fault is not None:
        raise ConfigurationError([f"this makes no INVITE that would be taken: {fault.reason}"])
    flow = RehearsedFlow(posed.source, posed.point, transport.sent)
    if door.drops(flow.host) or not door.takes(request, flow):
        outcome.is_dropped = True
    else:
        transactions.message_received(request, flow)


def _read(sent: Sequence[Sent], outcome: Outcome) -> None:
    for one in sent:
        message = parse_datagram(one.data)
        if isinstance(message, Response):
            if message.status >= 200:
                outcome.answer = message
        elif message.method == "INVITE":
            outcome.invites.append(one)


@implementer(ILocationService)
class _Location:
    """Says of each user that it is registered, wherever the question has it."""

    def __init__(self, contacts: Sequence[str] | None, users: set[str]) -> None:
        self._contacts = None if contacts is None else [_contact(text) for text in contacts]
        self._users = users

    def lookup(self, aor: str) -> Sequence[Binding]:
        """See `ILocationService`."""
        user = user_of(aor)
        if user not in self._users:
            return ()
        made_up = [parse_uri(f"sip:{escape(user)}@{CALLEE_HOST}:5060")]
        return [
            Binding(
                aor=aor,
                contact=f"<{uri}>",
                uri=uri,
                q=1.0,
                expires_at=float("inf"),
                call_id="rehearsal",
                cseq=1,
            )
            for uri in (made_up if self._contacts is None else self._contacts)
        ]


def _contact(text: str) -> Uri:
    try:
        uri = parse_uri(text)
    except ParseError as error:
        raise ConfigurationError([f"--contact: a URI expected: {error.reason}"]) from None
    if not isinstance(uri, SipUri):
        raise ConfigurationError(["--contact: a sip or sips URI expected"])
    return uri


class _Trunks(Trunks):
    """The trunks; what comes is from the one that the question names, if it names one."""

    def __init__(self, agent: UserAgent, name: str | None) -> None:
        super().__init__(agent)
        self._name = name

    def identify(
        self, source: Target, peer_names: Sequence[str], uri: Uri | None = None, user: str | None = None
    ) -> str | None:
        """See `ITrunks`."""
        return super().identify(source, peer_names, uri, user) if self._name is None else self._name


def _taken_as_up(trunk: TrunkSettings) -> TrunkSettings:
    """Give a trunk that can be used although nothing is registered; without servers calls go to its first registrar."""
    servers = trunk.servers
    if not servers and trunk.registration is not None:
        servers = (TrunkServer(trunk.registration.registrars[0]),)
    return replace(trunk, servers=servers, needs_registration=False)


@implementer(IGate)
class _Gate:
    """Notes what another gate says."""

    def __init__(self, gate: IGate, outcome: Outcome) -> None:
        self._outcome = outcome
        self.is_urgent = gate.is_urgent
        self.call_offered = gate.call_offered
        self.attempt = gate.attempt
        self.attempt_ended = gate.attempt_ended
        self.call_ended = gate.call_ended
        self._gate = gate

    def call_routed(self, call: str, asked: RoutingRequest, route: Route) -> Route:
        """See `IGate`."""
        self._outcome.route = route = self._gate.call_routed(call, asked, route)
        return route


class _Service:
    """Answers with what the question has for it; nobody is asked."""

    def __init__(self, answer: bytes | None) -> None:
        self.questions: list[dict[str, Any]] = []
        self._answer = answer

    def ask(self, question: dict[str, Any]) -> Deferred[Answer]:
        """See `Service`."""
        self.questions.append(question)
        if self._answer is None:
            return fail(ServiceFailedError("unasked", "it is not asked in a dry run"))
        try:
            return succeed(read_answer(self._answer))
        except MalformedAnswerError as error:
            return fail(ServiceFailedError("malformed", f"its answer cannot be used: {error}"))

    def remembered(self, question: dict[str, Any]) -> tuple[Answer, float] | None:
        """See `Service`."""
        return None


@implementer(IAuthenticator)
class _Authenticator:
    """Believes what the question says."""

    def __init__(self, user: str | None) -> None:
        self._user = user

    def authenticate(self, request: Request, realm: str, *, proxy: bool) -> Deferred[str]:
        """See `IAuthenticator`."""
        if self._user is None:
            return fail(RequestRefusedError("Proxy Authentication Required", status=407))
        return succeed(self._user)


@implementer(IRouter)
class _Router:
    """Notes what another router says."""

    def __init__(self, router: IRouter, outcome: Outcome) -> None:
        self._router = router
        self._outcome = outcome

    def needs_authentication(self, routing_request: RoutingRequest) -> bool:
        """See `IRouter`."""
        self._outcome.is_asked_who = self._router.needs_authentication(routing_request)
        return self._outcome.is_asked_who

    def route(self, routing_request: RoutingRequest) -> Deferred[Route]:
        """See `IRouter`."""
        return self._router.route(routing_request).addCallback(self._note)

    def _note(self, route: Route) -> Route:
        self._outcome.route = route
        return route


class _Notes(CallObserver):
    """Notes decisions."""

    def __init__(self, decided: Callable[[Decision], None]) -> None:
        self._decided = decided

    def call_decided(self, call: str, decision: Decision) -> None:
        """See `ICallObserver`."""
        self._decided(decision)
