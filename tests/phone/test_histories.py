"""Whatever three phones do on a bad network, every call ends on both sides, and nothing is left."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import LocalError, RemoteError
from sipd.media.endpoint.settings import EndpointSettings
from sipd.phone.account import Account
from sipd.phone.call import Call
from sipd.phone.dialing import OutgoingCall
from sipd.phone.incoming import IncomingCall
from sipd.phone.phone import Phone
from sipd.testing.clock import SimulatedClock
from sipd.testing.links import Link
from sipd.testing.network import Network
from tests.phone.support import ALICE, BOB, CAROL

#: Seconds in which things are begun, and after which everything is over that was ended.
BUSY = 12.0
QUIET = 100.0
ACTIONS = 14


class History:
    """Everything that one seed makes.

    Args:
        seed: of everything.

    Attributes:
        problems: what is wrong.
        done: what was done, in order.
        calls: every call there was, of each side.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(f"phones {seed}")
        self.clock = SimulatedClock()
        draw = self.random.uniform
        link = Link(
            delay=draw(0.001, 0.08),
            jitter=draw(0.0, 0.1),
            loss=draw(0.0, 0.1),
            duplication=draw(0.0, 0.1),
            reordering=draw(0.0, 0.1),
            holdback=draw(0.1, 0.5),
        )
        self.network = Network(self.clock, seed, link=link)
        self.problems: list[str] = []
        self.done: list[str] = []
        self.calls: list[Call] = []
        self.phones = [self._phone(address) for address in (ALICE, BOB, CAROL)]
        self._pending: list[Deferred[Any]] = []
        self._dropped: set[str] = set()

    def run(self) -> History:
        """Let them do things, then end what is left, then look."""
        for phone in self.phones:
            phone.startService()
        for _ in range(ACTIONS):
            self.clock.callLater(self.random.uniform(0.0, BUSY), self._act)
        self.clock.advance(BUSY)
        # The second time, those that a transfer has made meanwhile.
        for _ in range(2):
            for call in self._left():
                if isinstance(call, OutgoingCall):
                    call.hang_up()
            self.clock.advance(QUIET)
        self._check_calls()
        # A call that the other side has dropped is told so when it says something.
        for call in self._left():
            call.hang_up()
        self.clock.advance(QUIET)
        self._check_rest()
        return self

    def report(self) -> str:
        """Say what is wrong."""
        return "\n".join([f"seed {self.seed}: {self.done}", *self.problems])

    # --- what happens

    def _phone(self, address: str) -> Phone:
        phone = Phone(
            self.network.host(address),
            listen=f"udp:{address}:5060",
            account=Account(f"sip:phone@{address}"),
            audio=EndpointSettings(rtcp_interval=0.0),
            entropy=self.network.entropy,
            ring_timeout=20.0,
        )
        phone.on_call = self._called
        phone.on_refer = lambda referred: self.random.random() < 0.8
        return phone

    async def _called(self, call: IncomingCall) -> None:
        self.calls.append(call)
        chance = self.random.random()
        if chance < 0.1:
            call.reject(self.random.choice((302, 486, 603)))
            return
        if chance < 0.5:
            call.ring()
        elif call.invite.body:
            call.send_early_media()
        await deferLater(self.clock, self.random.uniform(0.0, 2.0))
        if not call.is_answered:
            await call.answer()

    def _wait(self, what: str, asking: Deferred[Any]) -> None:
        """Let something have its outcome, which may be an error that is documented."""
        self.done.append(what)
        self._pending.append(asking)

        def failed(failure: Any) -> None:
            if not failure.check(RemoteError, LocalError, CancelledError):
                self.problems.append(f"{what}: {failure.getTraceback()}")

        asking.addErrback(failed)
        if self.random.random() < 0.2:
            self.clock.callLater(self.random.uniform(0.0, 1.0), asking.cancel)

    def _left(self) -> list[Call]:
        return [call for phone in self.phones for call in phone.calls]

    def _act(self) -> None:
        calls = [call for call in self._left() if call.is_established]
        if not calls or self.random.random() < 0.3:
            self._dial()
            return
        call = self.random.choice(calls)
        names = sorted(_ACTIONS)
        name = self.random.choice(names)
        _ACTIONS[name](self, call)

    def _dial(self) -> None:
        caller, callee = self.random.sample(self.phones, 2)
        dialling = caller.dial(
            f"phone@{callee.points[0].host}",
            late_offer=self.random.random() < 0.2,
            max_redirects=self.random.choice((0, 1)),
        )
        dialling.addCallback(self._established)
        self._wait("dial", dialling)

    def _established(self, call: Call) -> None:
        self.calls.append(call)

    def hold(self, call: Call) -> None:
        """Put the peer on hold."""
        self._wait("hold", call.hold())

    def resume(self, call: Call) -> None:
        """End that."""
        self._wait("resume", call.resume())

    def update(self, call: Call) -> None:
        """Ask for the same by UPDATE."""
        self._wait("update", call.renegotiate(by_update=True))

    def digits(self, call: Call) -> None:
        """Say digits, in both ways."""
        self._wait("digits", call.send_digits("12"))
        self._wait("digits by INFO", call.send_digits_by_info("3"))

    def hang_up(self, call: Call) -> None:
        """End it."""
        self._wait("hang up", call.hang_up())

    def drop(self, call: Call) -> None:
        """Forget it."""
        self.done.append("drop")
        self._dropped.add(call.call_id)
        call.drop()

    def blind(self, call: Call) -> None:
        """Send the peer to one of the phones."""
        place = self.random.choice(self.phones).points[0].host
        self._wait("transfer", call.transfer(f"phone@{place}"))

    def attended(self, call: Call) -> None:
        """Join the peer with that of another call."""
        others = [one for one in call.phone.calls if one.is_established and one is not call]
        if others:
            self._wait("join", call.transfer(min(others, key=lambda one: one.call_id)))

    # --- what must hold

    def _check_calls(self) -> None:
        """What the caller has ended, or has never had, is over on both sides, unless one of them has forgotten it."""
        self.problems += [
            f"call {call.call_id} is {call.state.value} still"
            for call in self._left()
            if call.call_id not in self._dropped
        ]

    def _check_rest(self) -> None:
        self.problems += [f"a call is {call.state.value}" for call in self.calls if not call.is_over]
        self.problems += ["somebody waits still" for asking in self._pending if not asking.called]
        layers = [phone.layers for phone in self.phones]
        stopping = [phone.stopService() for phone in self.phones]
        self.clock.advance(QUIET)
        self.problems += ["a phone does not stop" for stopped in stopping if not stopped.called]
        self.problems += ["a socket is open still" for phone in self.phones if phone.reactor.ports]
        left = sum(len(one.transactions) + (0 if one.agent is None else len(one.agent)) for one in layers)
        if left or self._left() or self.clock.getDelayedCalls():
            timers = [str(timer) for timer in self.clock.getDelayedCalls()]
            self.problems.append(f"{left} transactions and sessions, {len(self._left())} calls, timers {timers}")


_ACTIONS: dict[str, Callable[[History, Call], None]] = {
    "attended": History.attended,
    "blind": History.blind,
    "digits": History.digits,
    "drop": History.drop,
    "hang up": History.hang_up,
    "hold": History.hold,
    "resume": History.resume,
    "update": History.update,
}


class HistoryTests(SynchronousTestCase):
    """Thirty seeds."""

    def check(self, seeds: Iterable[int]) -> None:
        """Run seeds; the first one that fails says what happened."""
        for seed in seeds:
            history = History(seed).run()
            errors = self.flushLoggedErrors()
            if history.problems or errors:
                self.fail("\n".join([history.report(), *[error.getTraceback() for error in errors]]))

    def test_seeds_0_to_14(self) -> None:
        """Every call ends on both sides, nothing is left, and nothing is logged: seeds 0 to 14."""
        self.check(range(15))

    def test_seeds_15_to_29(self) -> None:
        """Every call ends on both sides, nothing is left, and nothing is logged: seeds 15 to 29."""
        self.check(range(15, 30))

    def test_every_action(self) -> None:
        """A few seeds have done everything there is."""
        done = {text for seed in range(6) for text in History(seed).run().done}
        self.assertEqual(
            {"dial", "hold", "resume", "update", "digits", "hang up", "drop", "transfer", "join"} - done, set()
        )
