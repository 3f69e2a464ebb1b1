"""What full and lite agents have in common: who they are, and how they answer checks (RFC 8445 section 7.3).

**What is answered.** A check that is rightly signed gets its answer at once, even before the other side's description
is known; what it shows is then kept for later, of at most 16 ways. A request that is not signed gets 400, one that
names somebody else or is wrongly signed 401 (RFC 8489 section 9.1.3), both without a signature, and only where the
answer is not longer than the request, so that nobody gains from false source addresses. A signature is computed only
for a request that names our user name fragment, which a stranger does not know. Nothing else is answered, and nothing
is remembered of a request that was not rightly signed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sipd.errors import InvalidStateError, ParseError
from sipd.ice.candidates import LocalCandidate, as_base, canonical, usable, without_redundant
from sipd.ice.checklist import Pair
from sipd.ice.checks import (
    BAD_REQUEST,
    ROLE_CONFLICT,
    UNAUTHENTICATED,
    UNKNOWN_ATTRIBUTE,
    Request,
    RoleClaim,
    named_fragment,
    write_error,
    write_success,
)
from sipd.ice.effects import (
    Completed,
    Effect,
    Effects,
    IceCredentials,
    IceTiming,
    Learned,
    Role,
    Selected,
    Send,
    Side,
    State,
    Timer,
)
from sipd.rtp.stun import Attribute, Kind, Method, StunMessage
from sipd.sdp.candidates import CANDIDATE_LIMIT, Address, Candidate, CandidateKind, IceDescription
from sipd.sip.machine import StartTimer, StopTimers

#: Ways of which checks are kept that come before the other side's description.
EARLY_LIMIT = 16
#: What the other side is told of.
TOLD = (CandidateKind.HOST, CandidateKind.SERVER_REFLEXIVE, CandidateKind.RELAYED)
#: What is due within so many seconds is done now: a timer may be early by a rounding error.
SLACK = 0.001


@dataclass(slots=True, kw_only=True)
class Arrival:
    """A check that came a way, to be looked at once the other side's description is known."""

    request: Request
    source: Address
    base: Address


class Party(ABC):
    """One side of ICE for one data stream; no sockets, no clock and no chance of its own.

    Whatever happens is told by a method, with the time in seconds of some clock that never goes back; it returns
    what is to be done, in order. Octets of any kind raise nothing.

    Args:
        role: `Role.CONTROLLING` for the side whose offer starts ICE. What the other side can do may change it.
        local: candidates, which are sorted and of which 64 are taken; each component from 1 on has at least one.
        entropy: gives octets that nobody can guess.
        credentials: of this side; made from ``entropy`` if they are not given.
        timing: when things are done.

    Raises:
        ValueError: there is no candidate, or two components have the same base.
    """

    IS_LITE = False

    def __init__(
        self,
        *,
        role: Role,
        local: Sequence[LocalCandidate],
        entropy: Callable[[int], bytes],
        credentials: IceCredentials | None = None,
        timing: IceTiming | None = None,
    ) -> None:
        self.role = role
        self.state = State.NEW
        self.credentials = credentials or IceCredentials.make(entropy)
        self.remote: IceDescription | None = None
        self.selected: dict[int, Pair] = {}
        self._timing = timing or IceTiming()
        self._entropy = entropy
        self._tie_breaker = int.from_bytes(entropy(8), "big")
        self._previous: IceCredentials | None = None
        self._effects: list[Effect] = []
        self._armed: float | None = None
        self._take_local(local)
        self._forget()

    def _take_local(self, local: Sequence[LocalCandidate]) -> None:
        self._local = without_redundant(local)[:CANDIDATE_LIMIT]
        self._component_of: dict[Address, int] = {}
        for each in self._local:
            if self._component_of.setdefault(each.base, each.candidate.component) != each.candidate.component:
                raise ValueError("two components with the same base")
        if not self._local:
            raise ValueError("ICE without candidates")

    def _forget(self) -> None:
        """Begin a session: nothing is known of the other side."""
        self._candidates: dict[tuple[int, Address], Candidate] = {}
        self._early: dict[tuple[Address, Address], Arrival] = {}
        self._heard: dict[int, float] = {}
        self._chosen: set[int] = set()
        self._components = set(self._component_of.values())
        self._reflexive_count = 0

    @property
    def description(self) -> IceDescription:
        """What the other side is to be told. The caller adds options such as ``trickle``."""
        return IceDescription(
            ufrag=self.credentials.ufrag,
            pwd=self.credentials.pwd,
            is_lite=self.IS_LITE,
            options=("ice2",),
            candidates=tuple([each.candidate for each in self._local if each.candidate.kind in TOLD]),
        )

    @property
    def components(self) -> frozenset[int]:
        """Which components are used: those of both sides, once both are known."""
        return frozenset(self._components)

    def start(self, remote: IceDescription, *, now: float, components: int | None = None) -> Effects:
        """Take the other side's description, and begin.

        Args:
            remote: what it says. Of its candidates, with those that come later, 64 are taken.
            now: the time.
            components: how many are used, where that is fewer than there are local candidates for: 1 with RTP and
                RTCP on one port. A component for which the other side has no candidate, and cannot have one later,
                is given up in any case (RFC 8445 section 6.1.2.2).

        Raises:
            InvalidStateError: it has begun already, and there was no restart; or it is over.
        """
        if self.state is not State.NEW:
            raise InvalidStateError("ICE has begun already")
        self.remote = remote
        self.state = State.RUNNING
        if components is not None:
            self._components = {each for each in self._components if each <= components}
        theirs = {each.component for each in remote.candidates}
        if theirs and not remote.trickles:
            self._components = self._components & theirs or self._components
        if remote.is_lite is not self.IS_LITE:
            # RFC 8445 section 6.1.1: of a full and a lite side the full one is controlling.
            self.role = Role.CONTROLLED if self.IS_LITE else Role.CONTROLLING
        self._take_remote(remote.candidates)
        self._begin(now)
        early, self._early = self._early, {}
        for arrival in early.values():
            if self._component_of[arrival.base] in self._components:
                self._checked(arrival, now)
        return self._flush(now)

    def add_remote(self, candidates: Sequence[Candidate], *, now: float) -> Effects:
        """Take candidates that the other side has found later (RFC 8838). Those that are known change nothing.

        Raises:
            InvalidStateError: the other side's description is not known.
        """
        if self.state is State.NEW:
            raise InvalidStateError("candidates without a description")
        if self.state in (State.RUNNING, State.COMPLETED):
            self._added(self._take_remote(candidates), now)
        return self._flush(now)

    def restart(
        self,
        *,
        now: float,
        local: Sequence[LocalCandidate] | None = None,
        role: Role | None = None,
        credentials: IceCredentials | None = None,
    ) -> Effects:
        """Begin anew, with other credentials (RFC 8445 section 9); `start` is to follow.

        What was selected stays in use, and checks of the session before are answered, until there is something else.

        Args:
            now: the time.
            local: candidates, if they are others than before.
            role: if it is another one: a restart determines roles anew (RFC 8445 section 6.1.1).
            credentials: of this side; made anew if they are not given.

        Raises:
            InvalidStateError: it is closed.
            ValueError: as for the constructor.
        """
        if self.state is State.CLOSED:
            raise InvalidStateError("ICE that is closed cannot restart")
        if local is not None:
            self._take_local(local)
        else:
            self._local = [each for each in self._local if each.candidate.kind in TOLD]
        self._previous = self.credentials
        self.credentials = credentials or IceCredentials.make(self._entropy)
        self.role = role or self.role
        self.remote = None
        self.state = State.NEW
        self._forget()
        self._stop()
        return self._flush(now)

    def close(self, *, now: float) -> Effects:
        """End it: nothing is sent or answered any more."""
        self.state = State.CLOSED
        self._early.clear()
        self._stop()
        return self._flush(now)

    def timer_fired(self, *, now: float) -> Effects:
        """Take note that the time of `StartTimer` has come. Too early or too often does no harm."""
        self._armed = None
        if self.state not in (State.FAILED, State.CLOSED):
            self._due(now)
        return self._flush(now)

    def datagram_received(self, data: bytes, source: Address, base: Address, *, now: float) -> Effects:
        """Take what came from `source` to `base`; what is not for an agent does nothing.

        Args:
            data: a whole datagram, of STUN or not.
            source: who it is from; through a relay, who the relay says it is from.
            base: that of a local candidate: the address of the socket, or the relayed one.
            now: the time.
        """
        try:
            message = StunMessage.parse(data)
        except ParseError:
            return ()
        source, base = canonical(source), canonical(base)
        if self.state is State.CLOSED or base not in self._component_of:
            return ()
        if message.method == Method.BINDING:
            if message.kind is Kind.REQUEST:
                self._answer(message, source, base, now)
            elif message.kind in (Kind.SUCCESS, Kind.ERROR):
                self._answered(message, source, base, now)
        return self._flush(now)

    def path(self, component: int) -> tuple[Address, Address] | None:
        """Give from where to where media of a component may go now, or ``None`` if nowhere.

        It is the selected pair; before there is one it is the best that works (RFC 8445 section 12.1).
        """
        pair = self.selected.get(component)
        return None if pair is None else pair.path

    def has_candidate(self, component: int, source: Address) -> bool:
        """Say whether the other side may send media from an address: it has named it, or shown it by a check.

        Which of the pairs that work it uses is its own affair (RFC 8445 section 12.2).
        """
        return (component, canonical(source)) in self._candidates

    def _answer(self, message: StunMessage, source: Address, base: Address, now: float) -> None:
        """Answer a request, and look at what it shows."""
        fragment = named_fragment(message)
        if fragment is None or message.get(Attribute.MESSAGE_INTEGRITY) is None:
            self._refuse(message, BAD_REQUEST, source, base)
            return
        both = (self.credentials, self._previous)
        mine = next((each for each in both if each is not None and each.ufrag == fragment), None)
        if mine is None or not message.is_signed_with(mine.key):
            self._refuse(message, UNAUTHENTICATED, source, base)
            return
        request = Request.read(message)
        if message.unknown_required or request is None:
            code = UNKNOWN_ATTRIBUTE if message.unknown_required else BAD_REQUEST
            self._effects.append(Send(base, source, write_error(message, code, mine)))
            return
        is_present = mine is self.credentials
        if is_present and request.claim is not None and self._loses(request.claim):
            self._effects.append(Send(base, source, write_error(message, ROLE_CONFLICT, mine)))
            return
        self._effects.append(Send(base, source, write_success(message, source, mine)))
        if not is_present:
            return
        component = self._component_of[base]
        if component in self._chosen and self.selected[component].path == (base, source):
            self._heard[component] = now
        arrival = Arrival(request=request, source=source, base=base)
        if self.remote is None:
            self._keep(arrival)
        elif self.state is not State.FAILED and component in self._components:
            self._checked(arrival, now)

    def _refuse(self, message: StunMessage, code: int, source: Address, base: Address) -> None:
        """Refuse what is not rightly signed, at no more cost than it was."""
        data = write_error(message, code)
        if len(data) <= len(message.octets):
            self._effects.append(Send(base, source, data))

    def _keep(self, arrival: Arrival) -> None:
        """Keep a check until the other side's description is known: of each way one that nominates, if any does."""
        way = (arrival.base, arrival.source)
        if way in self._early:
            if arrival.request.nominates:
                self._early[way] = arrival
        elif len(self._early) < EARLY_LIMIT:
            self._early[way] = arrival

    def _take_remote(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Take those that are of use and new, as far as there is room; give them."""
        added: list[Candidate] = []
        for candidate in candidates:
            key = (candidate.component, candidate.address)
            if candidate.component not in self._components or not usable(candidate):
                continue
            known = self._candidates.get(key)
            if known is None and len(self._candidates) < CANDIDATE_LIMIT:
                added.append(candidate)
            elif known is not None and known.kind is CandidateKind.PEER_REFLEXIVE:
                self._replaced(known, candidate)
                added.append(candidate)
            else:
                continue
            self._candidates[key] = candidate
        return added

    def _local_of(self, base: Address) -> LocalCandidate:
        """Give what sends from a base: its host or relayed candidate, as one where only reflexive ones are told."""
        found = [each for each in self._local if each.base == base]
        return next((each for each in found if each.candidate.address == base), as_base(found[0]))

    def _remote_candidate(self, arrival: Arrival) -> Candidate | None:
        """Give the candidate that a check came from, a new peer-reflexive one too; ``None`` if there is no room."""
        component = self._component_of[arrival.base]
        key = (component, arrival.source)
        found = self._candidates.get(key)
        if found is None and len(self._candidates) < CANDIDATE_LIMIT:
            found = self._make_reflexive(component, arrival.source, arrival.request.priority, None)
            if not usable(found):
                return None
            self._candidates[key] = found
            self._effects.append(Learned(Side.REMOTE, found))
        return found

    def _make_reflexive(self, component: int, address: Address, priority: int, base: Address | None) -> Candidate:
        """Make a peer-reflexive candidate, whose foundation is like no other (sections 7.2.5.3.1 and 7.3.1.3)."""
        self._reflexive_count += 1
        return Candidate(
            foundation=f"prflx{self._reflexive_count}",
            component=component,
            priority=priority,
            host=address[0],
            port=address[1],
            kind=CandidateKind.PEER_REFLEXIVE,
            related=base,
        )

    def _select(self, pair: Pair, now: float) -> None:
        """Have a component use a pair, unless the one that it uses is better."""
        component = pair.component
        if component in self._chosen:
            present = self.selected[component]
            if present.path == pair.path or not self._gives_way(present, pair.priority, now):
                return
        self._chosen.add(component)
        self.selected[component] = pair
        self._heard[component] = now
        self._effects.append(Selected(component, pair.local, pair.remote))
        if self.state is State.RUNNING and self._chosen >= self._components:
            self.state = State.COMPLETED
            self._previous = None
            self.selected = {each: self.selected[each] for each in sorted(self._components)}
            self._effects.append(Completed())

    def _gives_way(self, present: Pair, priority: int, now: float) -> bool:
        """Say whether the pair that a component uses may be replaced by one of that priority.

        One that is better may replace it, since the other side may nominate several (RFC 5245 section 8.1.1.2), and
        any one once nothing was heard on it for twice as long as consent is asked for: the other side has moved.
        """
        return priority > present.priority or now - self._heard[present.component] > 2 * self._timing.consent_interval

    def _flush(self, now: float) -> Effects:
        """Give what is to be done, and when to come back."""
        due = None if self.state in (State.FAILED, State.CLOSED) else self._next_due()
        if due != self._armed:
            self._effects.append(StopTimers() if due is None else StartTimer(Timer.DUE, max(0.0, due - now)))
            self._armed = due
        effects, self._effects = tuple(self._effects), []
        return effects

    @abstractmethod
    def _begin(self, now: float) -> None:
        """Act on the other side's description."""

    @abstractmethod
    def _added(self, candidates: Sequence[Candidate], now: float) -> None:
        """Act on further candidates."""

    @abstractmethod
    def _replaced(self, known: Candidate, candidate: Candidate) -> None:
        """Take note that a peer-reflexive candidate is one that the other side has told of."""

    @abstractmethod
    def _checked(self, arrival: Arrival, now: float) -> None:
        """Act on a check that was answered with success."""

    @abstractmethod
    def _answered(self, message: StunMessage, source: Address, base: Address, now: float) -> None:
        """Act on a response."""

    @abstractmethod
    def _loses(self, claim: RoleClaim) -> bool:
        """Say whether a check is refused for its role (section 7.3.1.1), or change our own."""

    @abstractmethod
    def _due(self, now: float) -> None:
        """Do what is due."""

    @abstractmethod
    def _next_due(self) -> float | None:
        """Say when something is due next."""

    @abstractmethod
    def _stop(self) -> None:
        """Have no checks under way any more."""
