"""Where races are played: two phones that call each other through sipd, and a hand on every message between them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sipd.observe.ladder import ladder
from sipd.routing.rules import StaticRoute
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Address, Link
from sipd.testing.network import Host, Network
from sipd.testing.stack import SimulatedServer, sent_messages
from tests.phones.agreement import disagreements
from tests.phones.line import Line, State
from tests.phones.phone import Phone
from tests.simulation.rules import broken_rules

SIPD, ALICE, BOB, CAROL = "192.0.2.100", "192.0.2.1", "192.0.2.2", "192.0.2.3"
#: Seconds that a message takes on the leg that is played on, and on the others.
FAR, NEAR = 0.1, 0.01
#: Longer than any timer of a call without session timers.
_LONG = 250.0


class RaceError(AssertionError):
    """A race ended as it must not. The text says how, and draws it."""


class Leg(Enum):
    """Which leg a race is played on."""

    CALLER = "caller"
    CALLEE = "callee"

    __hash__ = object.__hash__


@dataclass(slots=True)
class _Meddling:
    """What happens to the next messages of a kind on one leg: they are lost, held back, or come again later."""

    kind: str
    address: str
    times: int
    held: float | None = 0.0
    again: float | None = None
    until: float = float("inf")


class Stage:
    """One call of Alice to Bob, and Carol.

    Args:
        leg: that is played on: its messages take 0.1 s, all others 0.01 s.
        ring_timeout: seconds for which sipd lets a phone ring.

    Attributes:
        caller, callee, third: the phones.
        actor, other: the phone whose leg it is, and the one at the other end.
    """

    def __init__(self, leg: Leg, *, ring_timeout: float = 60.0) -> None:
        self.clock = SimulatedClock()
        self.network = Network(self.clock, 1, link=Link(delay=NEAR))
        addresses = {"alice": ALICE, "bob": BOB, "carol": CAROL}
        self.server = SimulatedServer(
            self.network.host(SIPD),
            {},
            routes=[
                StaticRoute(
                    name=user,
                    user=re.compile(user),
                    to=f"sip:{user}@{address}",
                    authenticate=False,
                    timeout=ring_timeout,
                )
                for user, address in addresses.items()
            ],
        )
        self.caller, self.callee, self.third = (
            Phone(self.network.host(address), user, (SIPD, 5060)) for user, address in addresses.items()
        )
        self.actor, self.other = (self.caller, self.callee) if leg is Leg.CALLER else (self.callee, self.caller)
        self.network.set_links(SIPD, self.actor.host.address, Link(delay=FAR))
        self._meddlings: list[_Meddling] = []
        self.network.meddler = self._meddle

    @property
    def phones(self) -> tuple[Phone, ...]:
        """All of them."""
        return (self.caller, self.callee, self.third)

    @property
    def callers(self) -> list[Line]:
        """The ends of those who called."""
        return [line for phone in self.phones for line in phone.lines if line.is_caller]

    # --- the script

    def at(self, seconds: float, action: Callable[..., object], *args: object, **options: object) -> None:
        """Do something so many seconds from now."""
        self.clock.callLater(seconds, lambda: action(*args, **options))

    def cross(self, delay: float, first: Callable[[], object], second: Callable[[], object]) -> None:
        """Do two things, the second so many seconds after the first, or before it; then let a while pass."""
        self.at(1.0, first)
        self.at(1.0 + delay, second)
        self.run(20.0)

    def when_called(self, *actions: tuple[float, Callable[[Line], object]], phone: Phone | None = None) -> None:
        """Say what the callee, or another phone, does with its next calls: so many seconds after the INVITE, this."""

        def take(line: Line) -> None:
            for seconds, action in actions:
                self.at(seconds, action, line)

        (phone or self.callee).on_call = take

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    def talk(self, *, has_offer: bool = True) -> tuple[Line, Line]:
        """Let Alice call Bob, who answers; give both ends, the caller's first."""
        self.callee.on_call = Line.answer
        self.caller.call("bob", has_offer=has_offer)
        self.run(2.0)
        self.expect(self.caller.line.is_up and self.callee.line.is_up, "the call is not up")
        return self.caller.line, self.callee.line

    def ring(self, *, has_offer: bool = True) -> tuple[Line, Line]:
        """Let Alice call Bob, whose phone rings; give both ends, the caller's first."""
        self.callee.on_call = Line.ring
        self.caller.call("bob", has_offer=has_offer)
        self.run(2.0)
        self.expect(self.caller.line.state is State.EARLY, "the caller does not hear it ring")
        return self.caller.line, self.callee.line

    def until(self, condition: Callable[[], object]) -> None:
        """Let time pass until something is true."""
        self.expect(self.clock.run_until(condition, limit=60.0), "what was waited for did not happen")

    def lose(self, kind: str, phone: Phone, times: int = 1) -> None:
        """Lose the next messages of a kind on the leg of a phone: `ACK`, `200 INVITE`, `1xx INVITE`."""
        self._meddlings.append(_Meddling(kind, phone.host.address, times, held=None))

    def lose_for(self, seconds: float, kind: str, phone: Phone) -> None:
        """Lose all messages of a kind on the leg of a phone for a while; `*` is any."""
        until = self.clock.seconds() + seconds
        self._meddlings.append(_Meddling(kind, phone.host.address, 10_000, held=None, until=until))

    def hold_back(self, kind: str, phone: Phone, seconds: float, times: int = 1) -> None:
        """Hold the next messages of a kind back."""
        self._meddlings.append(_Meddling(kind, phone.host.address, times, held=seconds))

    def repeat(self, kind: str, phone: Phone, seconds: float, times: int = 1) -> None:
        """Let the next messages of a kind come once more, so many seconds later; `*` is any."""
        self._meddlings.append(_Meddling(kind, phone.host.address, times, again=seconds))

    # --- what must hold

    def expect(self, condition: object, text: str) -> None:
        """Fail unless something is true."""
        if not condition:
            raise RaceError(f"{text}\n{self.drawing()}")

    def expect_agreement(self, other: Line | None = None, one: Line | None = None) -> None:
        """Both ends are up, and believe the same about directions, codecs and addresses.

        Args:
            other: the end that talks with the caller; by default the callee.
            one: the end that it talks with instead.
        """
        one, other = one or self.caller.line, other or self.callee.line
        self.expect(one.is_up and other.is_up, f"one end is gone: {one}, {other}")
        texts = list(disagreements(one.understanding, other.understanding, SIPD, self.server.relay.taken))
        self.expect(not texts, "; ".join(texts))

    def hang_up(self) -> None:
        """End the call from the caller's side."""
        self.caller.line.bye()
        self.run(5.0)

    def finish(self) -> None:
        """Let everything run out: nothing may be left, nobody complains, and there is a right record of each call."""
        self.run(_LONG)
        problems = [f"left over: {text}" for text in self.server.leftovers()]
        problems += [f"a timer is left: {call}" for call in self.clock.getDelayedCalls()]
        for phone in self.phones:
            problems += phone.complaints
            problems += [f"{line} is open" for line in phone.lines if line.state is not State.OVER]
            if len(phone.exchanges):
                problems.append(f"{phone.user} waits for something")
        problems += [text for _, text in broken_rules(self.network, SIPD, {})]
        for line in self.callers:
            statuses = [one.status for one in self.server.records.records if one.call_id == line.call_id]
            if statuses != [line.status]:
                problems.append(f"the caller saw {line.status}, the records say {statuses}")
        if len(self.callers) != len(self.server.records.records):
            problems.append("a record of no call")
        self.expect(not problems, "; ".join(problems))

    def drawing(self) -> str:
        """Draw what happened, both legs, as it was on the network, with what sipd says of it."""
        names = {(SIPD, 5060): "sipd"} | {(phone.host.address, 5060): phone.user for phone in self.phones}
        records = self.server.records.records
        lines = [line for record in records for line in self.server.explanations.explain(record.id)]
        return "\n".join([ladder(sent_messages(self.network), names), *lines])

    # --- the hand on the messages

    def _meddle(self, source: Address, destination: Address, data: bytes) -> float | None:
        kinds = _kinds(parse_datagram(data))
        for meddling in self._meddlings:
            is_here = meddling.address in (source[0], destination[0])
            if self.clock.seconds() >= meddling.until:
                continue
            if meddling.times and is_here and meddling.kind in kinds:
                meddling.times -= 1
                if meddling.again is not None:
                    self.clock.callLater(meddling.again, self._send_again, source, destination, data)
                return meddling.held
        return 0.0

    def _send_again(self, source: Address, destination: Address, data: bytes) -> None:
        """Send a copy of what a host sent before; nobody meddles with that."""
        host = next(one for one in self._hosts() if one.address == source[0])
        self.network.meddler = None
        self.network.send_datagram(host, source, destination, bytes(bytearray(data)))
        self.network.meddler = self._meddle

    def _hosts(self) -> list[Host]:
        return [self.server.host, *(phone.host for phone in self.phones)]


def _kinds(message: Request | Response) -> set[str]:
    if isinstance(message, Request):
        return {message.method, "*"}
    method = message.cseq.method
    return {f"{message.status} {method}", f"{message.status // 100}xx {method}", "*"}
