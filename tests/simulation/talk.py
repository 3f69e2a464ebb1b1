"""One seed of calls in which much happens: three phones that hold, resume, change, leave and come back as they like.

The phones negotiate by their own code (`tests.phones`). When nothing has happened for a while, both ends of each call
have to believe the same of it: directions, codecs, and where media go.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from functools import partial

from sipd.observe.ladder import ladder
from sipd.routing.rules import StaticRoute
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Link
from sipd.testing.network import Network
from sipd.testing.stack import SimulatedServer, sent_messages
from tests.phones.agreement import disagreements
from tests.phones.line import Line, State
from tests.phones.phone import Phone
from tests.simulation.rules import broken_rules

SERVER = "192.0.2.100"
PHONES = {"alice": "192.0.2.1", "bob": "192.0.2.2", "carol": "192.0.2.3"}
#: Seconds after which nothing is under way any more: a request that fails, and the BYE that follows from it.
QUIET = 90.0
#: Seconds in which a burst of actions is begun.
BURST = 4.0
BURSTS = 3
#: More steps than any talk needs.
MAX_EVENTS = 200_000

_CODECS = (("PCMU", "PCMA", "telephone-event"), ("PCMA", "PCMU"), ("PCMU",), ("PCMA",), ("G722", "PCMU"))


class Talk:
    """Everything that one seed makes.

    Args:
        seed: of everything.
        standstills: how often everything stops for some seconds, in each burst of actions.

    Attributes:
        problems: what is wrong.
        done: the names of the actions that were taken, in order.
        quiet_calls: how many calls were up, and agreed, in a quiet moment.
    """

    def __init__(self, seed: int, standstills: int = 0) -> None:
        self.seed = seed
        self._standstills = standstills
        self.random = random.Random(f"talk {seed}")
        self.clock = SimulatedClock()
        self.network = Network(self.clock, seed, link=self._link())
        routes = [
            StaticRoute(name=user, user=re.compile(user), to=f"sip:{user}@{address}", authenticate=False, timeout=20.0)
            for user, address in PHONES.items()
        ]
        self.server = SimulatedServer(self.network.host(SERVER), {}, routes=routes)
        self.phones = [self._phone(user, address) for user, address in PHONES.items()]
        self.problems: list[str] = []
        self.done: list[str] = []
        self.quiet_calls = 0
        self._callers: list[Line] = []
        #: Phones that were cut off so long that they may have missed the end of a call.
        self._lost: set[Phone] = set()

    def run(self) -> Talk:
        """Call, act, look, three times; then hang up, and see what is left."""
        for _ in range(self.random.randint(1, 3)):
            self._later(self._call)
        for _ in range(BURSTS):
            for _ in range(self.random.randint(1, 6)):
                self._later(self._act)
            pauses = [self.random.uniform(0.1, 4.0) for _ in range(self._standstills)]
            for pause in pauses:
                self._later(partial(self.clock.stand_still, pause))
            self._run(BURST + QUIET + sum(pauses))
            self._check_agreement()
        for _ in range(2):
            for line in self._lines():
                line.bye()
            self._run(QUIET)
        self._check_rest()
        return self

    def report(self) -> str:
        """Say what is wrong, and draw everything."""
        names = {(SERVER, 5060): "sipd"} | {(address, 5060): user for user, address in PHONES.items()}
        explanations = [
            line for record in self.server.records.records for line in self.server.explanations.explain(record.id)
        ]
        drawing = ladder(sent_messages(self.network), names)
        return "\n".join([f"seed {self.seed}: {self.done}", *self.problems, "", drawing, *explanations])

    # --- what happens

    def _link(self) -> Link:
        draw = self.random.uniform
        return Link(
            delay=draw(0.001, 0.08),
            jitter=draw(0.0, 0.15),
            loss=draw(0.0, 0.1),
            duplication=draw(0.0, 0.1),
            reordering=draw(0.0, 0.1),
            holdback=draw(0.1, 0.5),
        )

    def _phone(self, user: str, address: str) -> Phone:
        phone = Phone(self.network.host(address), user, (SERVER, 5060))
        phone.has_update = self.random.random() < 0.6
        phone.has_reliable = self.random.random() < 0.4
        phone.thinks = self.random.choice((0.0, 0.0, 0.3, 1.5))
        phone.on_call = self._called
        return phone

    def _run(self, seconds: float) -> None:
        self.clock.run(until=self.clock.seconds() + seconds, max_events=MAX_EVENTS)

    def _later(self, action: Callable[[], None]) -> None:
        self.clock.callLater(self.random.uniform(0.0, BURST), action)

    def _call(self) -> None:
        caller = self.random.choice(self.phones)
        callee = self.random.choice([phone for phone in self.phones if phone is not caller])
        line = caller.call(callee.user, has_offer=self.random.random() < 0.8)
        self._callers.append(line)
        if self.random.random() < 0.15:
            self.clock.callLater(self.random.uniform(0.0, 4.0), line.cancel)
        self.done.append(f"{caller.user} calls {callee.user}")

    def _called(self, line: Line) -> None:
        rings = self.random.uniform(0.0, 0.5)
        self.clock.callLater(rings, self._ring, line)
        if self.random.random() < 0.1:
            self.clock.callLater(rings + 0.5, line.refuse)
        else:
            self.clock.callLater(rings + self.random.uniform(0.0, 2.0), line.answer)

    def _ring(self, line: Line) -> None:
        """Ring, or send early media, reliably if the caller can do that; then some change their minds early, too."""
        if self.random.random() < 0.5:
            line.ring()
            return
        line.ring(183, has_media=True, is_reliable=line.phone.has_reliable and line.supports_reliable)
        if self.random.random() < 0.3 and line.phone.has_update:
            line.change("UPDATE", codecs=self.random.choice(_CODECS))

    def _act(self) -> None:
        lines = self._lines()
        if not lines:
            self._call()
            return
        line = self.random.choice(lines)
        name, action = self.random.choice(ACTIONS)
        self.done.append(f"{line.phone.user} {name}")
        action(self, line)

    def _lines(self) -> list[Line]:
        """Give the ends that are up."""
        return [line for phone in self.phones for line in phone.lines if line.is_up]

    def method(self, line: Line) -> str:
        """Draw how a change is asked for."""
        return self.random.choice(("INVITE", "UPDATE")) if line.phone.has_update else "INVITE"

    def withdraw(self, line: Line) -> None:
        """Let a phone ask for a change and think better of it."""
        line.change(is_holding=not line.wish.is_holding)
        self.clock.callLater(self.random.uniform(0.0, 1.5), line.withdraw)

    def refuse_changes(self, phone: Phone) -> None:
        """Let a phone refuse all changes for a while."""
        phone.takes_changes = False
        self.clock.callLater(self.random.uniform(0.5, 5.0), setattr, phone, "takes_changes", True)

    def transfer(self, line: Line) -> None:
        """Let a phone give the other party to somebody: to whom it talks with on another line, or anybody."""
        others = [other for other in line.phone.lines if other.is_up and other is not line]
        if others and self.random.random() < 0.5:
            line.refer("anybody", replaces=self.random.choice(others))
        else:
            line.refer(self.random.choice([phone.user for phone in self.phones if phone is not line.phone]))

    def lose_network(self, phone: Phone) -> None:
        """Cut a phone off, mostly for so short a time that nobody gives up."""
        seconds = self.random.choice((0.3, 1.0, 3.0, 3.0, 60.0))
        if seconds > 10.0:
            self._lost.add(phone)
        self.network.partition([phone.host.address])
        self.clock.callLater(seconds, self.network.heal)

    # --- what must hold

    def _check_agreement(self) -> None:
        """In a quiet moment: whoever is up talks with one other end, and the two believe the same."""
        where = f"at {self.clock.seconds():.0f} s"
        alone = [line for line in self._lines() if line.has_media and not self._lost]
        for one, other in self._pairs():
            if {one.phone, other.phone} & self._lost:
                continue
            texts = disagreements(one.understanding, other.understanding, SERVER, self.server.relay.taken)
            self.problems += [f"{where}: {text}: {one}, {other}" for text in texts]
            self.problems += [f"{where}: {line} waits" for line in (one, other) if line.is_busy]
            self.quiet_calls += 1
            alone = [line for line in alone if line not in (one, other)]
        self.problems += [f"{where}: talks with nobody: {line}" for line in alone]
        for caller in self._callers:
            if caller.state in (State.CALLING, State.EARLY) and caller.phone not in self._lost:
                self.problems.append(f"{where}: neither answered nor refused: {caller}")

    def _pairs(self) -> Iterator[tuple[Line, Line]]:
        """Give the ends that hear each other: those that were told ports between which the relay relays."""
        for session in self.server.relay.sessions:
            ends = {
                leg: line
                for (leg, _), port in session.ports.items()
                for line in self._lines()
                if port in line.remote_ports
            }
            for pair in session.connected:
                if all(leg in ends for leg in pair):
                    yield ends[pair[0]], ends[pair[1]]

    def _check_rest(self) -> None:
        self.problems += [f"left over: {text}" for text in self.server.leftovers()]
        self.problems += [f"a timer is left: {call}" for call in self.clock.getDelayedCalls()]
        self.problems += [text for _, text in broken_rules(self.network, SERVER, {})]
        for phone in self.phones:
            if not self._lost:
                self.problems += phone.complaints
            if phone not in self._lost:
                self.problems += [f"{line} is open" for line in phone.lines if line.state is not State.OVER]
                self.problems += [f"{phone.user} waits for something"] * bool(len(phone.exchanges))
        for caller in self._callers:
            self.problems += [f"{caller}: {text}" for text in self._wrong_records(caller)]

    def _wrong_records(self, caller: Line) -> Iterator[str]:
        if caller.phone in self._lost:
            return
        records = [record for record in self.server.records.records if record.call_id == caller.call_id]
        if len(records) != 1:
            yield f"{len(records)} records"
            return
        if records[0].status != caller.status:
            yield f"the caller saw {caller.status}, the record says {records[0].status}"


def _hold(talk: Talk, line: Line) -> None:
    line.change(talk.method(line), is_holding=True)


def _resume(talk: Talk, line: Line) -> None:
    line.change(talk.method(line), is_holding=False)


def _change_codecs(talk: Talk, line: Line) -> None:
    line.change(talk.method(line), codecs=talk.random.choice(_CODECS))


def _add_video(talk: Talk, line: Line) -> None:
    line.change(talk.method(line), has_video=True, takes_video=True)


def _remove_video(talk: Talk, line: Line) -> None:
    line.change(talk.method(line), has_video=False, takes_video=False)


def _move(talk: Talk, line: Line) -> None:
    line.change(talk.method(line), port=talk.random.randrange(50000, 60000, 2))


#: What can happen to a call that is up: each as likely as the next; some stand here more than once.
ACTIONS: tuple[tuple[str, Callable[[Talk, Line], None]], ...] = (
    ("holds", _hold),
    ("holds", _hold),
    ("resumes", _resume),
    ("resumes", _resume),
    ("changes its codecs", _change_codecs),
    ("changes its codecs", _change_codecs),
    ("adds a picture", _add_video),
    ("removes the picture", _remove_video),
    ("moves its media", _move),
    ("asks for an offer", lambda talk, line: line.ask_for_offer()),
    ("asks for a change and withdraws it", Talk.withdraw),
    ("asks for a change and withdraws it", Talk.withdraw),
    ("sends INFO", lambda talk, line: line.info()),
    ("refuses changes", lambda talk, line: talk.refuse_changes(line.phone)),
    ("loses the network", lambda talk, line: talk.lose_network(line.phone)),
    ("transfers the other party", Talk.transfer),
    ("transfers the other party", Talk.transfer),
    ("calls somebody else", lambda talk, line: talk._call()),
    ("hangs up", lambda talk, line: line.bye()),
)
