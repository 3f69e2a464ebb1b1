"""One seed: a network, a server, phones, and calls that do what phones do; and what must hold afterwards."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sipd.interfaces import CallRecord
from sipd.observe.ladder import ladder
from sipd.sip.locate import Transport
from sipd.testing.calls import Outcome, PeerCall
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Address, Link
from sipd.testing.nat import Nat
from sipd.testing.network import Network
from sipd.testing.peer import Peer
from sipd.testing.stack import SimulatedServer, sent_messages
from tests.simulation.rules import broken_rules

SERVER = "192.0.2.100"
USERS = ("alice", "bob", "carol", "dave")
#: Seconds for which the server lets a phone ring.
RING_TIMEOUT = 15.0
#: More steps than any scenario needs: one that does not come to rest ends here.
MAX_EVENTS = 200_000


@dataclass(slots=True, eq=False)
class Plan:
    """One call: who calls whom, and what both do. What the caller does comes first.

    Attributes:
        number: goes along in Subject, so that callees know what to do.
        begins_at: seconds after the registrations.
        script: a name for a person.
        caller_does: takes the caller's end when it has called.
        callee_does: takes each callee's end when it is called.
        call: the caller's end.
        called: the callees' ends.
    """

    number: int
    caller: Peer
    callee: str
    begins_at: float
    script: str
    caller_does: Callable[[PeerCall], None]
    callee_does: Callable[[PeerCall], None]
    has_offer: bool = True
    call: PeerCall | None = None
    called: list[PeerCall] = field(default_factory=list)

    def __str__(self) -> str:
        return f"call {self.number}, {self.caller.user} to {self.callee}, {self.script}"


class Scenario:
    """Everything that one seed makes.

    Args:
        seed: of everything.
        calls: how many.
        standstills: how often everything stops for some seconds, as a virtual machine does whose host is busy.
    """

    def __init__(self, seed: int, calls: int = 6, standstills: int = 0) -> None:
        self.seed = seed
        self._random = random.Random(f"scenario {seed}")
        self.clock = SimulatedClock(1_000_000.0)
        self.network = Network(self.clock, seed, link=self._bad_link())
        users = {name: f"secret of {name}" for name in USERS}
        self.server = SimulatedServer(self.network.host(SERVER), users, ring_timeout=RING_TIMEOUT)
        self.names: dict[Address, str] = {}
        self.private: dict[str, str] = {}
        self.peers = [self._phone(user, number) for number, user in enumerate((*USERS, "bob"))]
        self.problems: list[str] = []
        self._suspects: list[Plan] = []
        self.plans = [self._plan(number) for number in range(calls)]
        for _ in range(standstills):
            pause = self._random.uniform(0.1, 5.0)
            self.clock.callLater(self._random.uniform(0.0, 120.0), self.clock.stand_still, pause)

    def run(self) -> Scenario:
        """Register, call, unregister; then look at what is left. `problems` says what is wrong."""
        for peer in self.peers[: len(USERS) + self._random.randrange(2)]:
            self._expect_success(peer, 3600)
        for plan in self.plans:
            self.clock.callLater(plan.begins_at, self._begin, plan)
        self.clock.run(until=self.clock.seconds() + 200.0, max_events=MAX_EVENTS)
        for plan in self.plans:
            self._check(plan)
        for peer in self.peers:
            self._expect_success(peer, 0)
            peer.close()
        self.clock.run(max_events=MAX_EVENTS)
        self._check_rest()
        return self

    def report(self) -> str:
        """Say what is wrong, and draw the calls in question, all legs, as they were on the network."""
        lines = [f"seed {self.seed}:", *self.problems]
        for plan in dict.fromkeys(self._suspects):
            call_ids = self._call_ids(plan)
            for record in self._records_of(plan):
                lines += ["", *self.server.explanations.explain(record.id)]
            messages = [message for message in sent_messages(self.network) if message.call_id in call_ids]
            lines += ["", str(plan), ladder(messages, self._all_names())]
        return "\n".join(lines)

    # --- what happens

    def _bad_link(self) -> Link:
        draw = self._random.uniform
        return Link(
            delay=draw(0.001, 0.1),
            jitter=draw(0.0, 0.2),
            loss=draw(0.0, 0.15),
            duplication=draw(0.0, 0.1),
            reordering=draw(0.0, 0.1),
            holdback=draw(0.1, 1.0),
        )

    def _phone(self, user: str, number: int) -> Peer:
        """Make a phone: most speak UDP, some TCP, some from behind a NAT."""
        public = f"192.0.2.{number + 1}"
        transport = Transport.TCP if self._random.random() < 0.25 else Transport.UDP
        if self._random.random() < 0.25:
            nat = Nat(public, self.clock.seconds, timeout=600.0)
            host = self.network.host_behind(nat, "10.0.0.2")
            self.private[public] = "10.0.0.2"
        else:
            host = self.network.host(public)
        peer = self.server.peer(host, user, transport=transport)
        peer.on_call = self._called
        for port in (5060, *range(40000, 40010), *range(49152, 49160)):
            self.names[public, port] = user if number < len(USERS) else f"{user} 2"
        return peer

    def _plan(self, number: int) -> Plan:
        pick = self._random
        caller = pick.choice(self.peers[: len(USERS)])
        callee = pick.choice([user for user in USERS if user != caller.user])
        rings = pick.uniform(0.0, 1.0)
        answers = rings + pick.uniform(0.0, 6.0)
        talks = pick.uniform(0.0, 45.0)
        scripts: dict[str, tuple[Callable[[PeerCall], None], Callable[[PeerCall], None]]] = {
            "the caller hangs up": (_hang_up_after(talks), _answer(rings, answers)),
            "the callee hangs up": (_nothing, _both(_answer(rings, answers), _hang_up_after(talks))),
            "both hang up": (_hang_up_after(talks), _both(_answer(rings, answers), _hang_up_after(talks))),
            "hung up at once": (_hang_up_after(0.0), _answer(rings, answers)),
            "the callee is busy": (_nothing, _refuse(rings, pick.choice((486, 600, 603, 404)))),
            "the caller cancels": (_cancel(pick.uniform(0.0, 10.0)), _ring(rings)),
            "the cancel meets the answer": (_cancel(answers + pick.uniform(-0.3, 0.6)), _answer(rings, answers)),
            "nobody answers": (_nothing, _ring(rings)),
            "silent for a while": (_nothing, _refuse(pick.uniform(1.0, 10.0), 486)),
            "the caller changes the session": (
                _both(_reinvite(talks / 2), _hang_up_after(talks + 8.0)),
                _answer(rings, answers),
            ),
            "the callee changes the session": (
                _hang_up_after(talks + 8.0),
                _both(_answer(rings, answers), _reinvite(talks / 2)),
            ),
            "both change the session": (
                _both(_reinvite(talks / 2), _hang_up_after(talks + 12.0)),
                _both(_answer(rings, answers), _reinvite(talks / 2)),
            ),
            "nobody of that name": (_nothing, _nothing),
        }
        script = pick.choice(list(scripts))
        caller_does, callee_does = scripts[script]
        return Plan(
            number=number,
            caller=caller,
            callee="zoe" if script == "nobody of that name" else callee,
            begins_at=pick.uniform(0.0, 60.0),
            script=script,
            caller_does=caller_does,
            callee_does=callee_does,
            has_offer=pick.random() > 0.15,
        )

    def _begin(self, plan: Plan) -> None:
        body = None if plan.has_offer else b""
        plan.call = plan.caller.call(plan.callee, body=body, headers=(("Subject", str(plan.number)),))
        plan.caller_does(plan.call)

    def _called(self, call: PeerCall) -> None:
        plan = self.plans[int(call.invite.headers.get("Subject") or "")]
        plan.called.append(call)
        plan.callee_does(call)

    # --- what must hold

    def _expect_success(self, peer: Peer, expires: int) -> None:
        statuses: list[int] = []
        peer.register(expires).addCallback(lambda response: statuses.append(response.status if response else 0))
        if not self.clock.run_until(lambda: statuses, limit=120.0) or statuses != [200]:
            self.problems.append(f"{peer.user} registering for {expires} s got {statuses}")

    def _check(self, plan: Plan) -> None:
        """Both legs ended the same way, the record says so, and there is one."""
        problems = list(self._problems_of(plan))
        if problems:
            self._suspects.append(plan)
            self.problems += [f"{plan}: {problem}" for problem in problems]

    def _problems_of(self, plan: Plan) -> Iterator[str]:
        call = plan.call
        if call is None:
            yield "was not made"
            return
        outcomes = sorted(called.outcome.value for called in plan.called)
        answered = [called for called in plan.called if called.outcome is Outcome.ANSWERED]
        # A callee may have answered what was being cancelled: it was hung up on.
        late = [called for called in answered if called.ended_by == "them"]
        if call.outcome is Outcome.ANSWERED:
            if len([called for called in answered if called not in late]) > 1 or not answered:
                yield f"the caller saw answered, the callees {outcomes}"
            if not any(b"c=IN IP4 192.0.2.100" in end.remote_body for end in (call, *answered)):
                yield "media do not go through the relay"
        elif len(late) != len(answered) or call.outcome in (Outcome.OPEN, Outcome.LOST):
            yield f"the caller saw {call.outcome.value} {call.status}, the callees {outcomes}"
        if any(called.outcome in (Outcome.OPEN, Outcome.LOST) for called in plan.called):
            yield f"a callee saw {outcomes}"
        records = self._records_of(plan)
        if call.status == 407:  # it gave up when it was asked who it is: that was no call yet
            if records:
                yield f"{len(records)} records of a call that was never let in"
        elif len(records) != 1:
            yield f"{len(records)} records"
        elif records[0].status != call.status:
            yield f"the caller saw {call.status}, the record says {records[0].status} {records[0].reason}"
        elif (records[0].answered_at is not None) is not (call.outcome is Outcome.ANSWERED):
            yield f"the caller saw {call.outcome.value}, the record has it answered at {records[0].answered_at}"

    def _check_rest(self) -> None:
        """Nothing is left anywhere."""
        self.problems += [f"left over: {text}" for text in self.server.leftovers()]
        self.problems += [f"a timer is left: {call}" for call in self.clock.getDelayedCalls()]
        for call_id, problem in broken_rules(self.network, SERVER, self.private):
            self.problems.append(problem)
            self._suspects += [plan for plan in self.plans if call_id in self._call_ids(plan)]
        if len(self.server.location):
            self.problems.append("a contact is still registered")
        if self.server.transport.connection_count:
            self.problems.append(f"{self.server.transport.connection_count} connections are open")

    def _records_of(self, plan: Plan) -> list[CallRecord]:
        call_id = plan.call.call_id if plan.call is not None else ""
        return [record for record in self.server.records.records if record.call_id == call_id]

    def _call_ids(self, plan: Plan) -> set[str]:
        """Give the Call-IDs of all legs of a call."""
        call_ids = {plan.call.call_id} if plan.call is not None else set()
        return call_ids.union(*(self.server.capture.call_ids_of(record.id) for record in self._records_of(plan)))

    def _all_names(self) -> dict[Address, str]:
        return {**self.names, (SERVER, 5060): "sipd"}


def _nothing(call: PeerCall) -> None:
    pass


def _both(*actions: Callable[[PeerCall], None]) -> Callable[[PeerCall], None]:
    def act(call: PeerCall) -> None:
        for action in actions:
            action(call)

    return act


def _ring(after: float) -> Callable[[PeerCall], None]:
    return lambda call: call.later(after, call.ring)


def _answer(rings: float, answers: float) -> Callable[[PeerCall], None]:
    return _both(_ring(rings), lambda call: call.later(answers, call.answer))


def _refuse(after: float, status: int) -> Callable[[PeerCall], None]:
    return lambda call: call.later(after, call.refuse, status)


def _cancel(after: float) -> Callable[[PeerCall], None]:
    """Give up: CANCEL, or BYE if it was answered meanwhile."""
    return lambda call: call.later(after, call.hang_up)


def _hang_up_after(talks: float) -> Callable[[PeerCall], None]:
    """Hang up so long after the answer."""
    return lambda call: _when_answered(call, talks, call.hang_up)


def _reinvite(after: float) -> Callable[[PeerCall], None]:
    return lambda call: _when_answered(call, after, call.reinvite)


def _when_answered(call: PeerCall, after: float, action: Callable[[], object]) -> None:
    call.when_answered().addCallback(lambda _: call.later(after, action) if call.is_answered else None)
