"""Properties of the four machines of `sipd.sip.transaction` under random histories."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import TransportError
from sipd.sip.effects import Deliver, Effect, Fail, Offer, Respond, Send, StartTimer, StopTimers, Terminate
from sipd.sip.message import Request, Response
from sipd.sip.timers import Timer, TimerValues
from sipd.sip.transaction import (
    ClientTransaction,
    Event,
    InviteClientTransaction,
    InviteServerTransaction,
    NonInviteClientTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
    State,
)
from tests.sip.machines import make_request

VALUES = TimerValues()
KINDS = (InviteClientTransaction, NonInviteClientTransaction, InviteServerTransaction, NonInviteServerTransaction)
STATUSES = (100, 180, 183, 200, 202, 302, 408, 486, 487, 503, 603)

#: A step is a response, an event, or the place in the queue of the timer that fires.
Step = int | Event
steps = st.lists(
    st.one_of(
        st.sampled_from(STATUSES),
        st.sampled_from((Event.CANCEL, Event.REQUEST, Event.ACK, Event.TRANSPORT_ERROR)),
        st.integers(0, 2),
    ),
    max_size=30,
)


class History:
    """Drives a machine as a layer does, with its timers, and checks each step."""

    def __init__(
        self, test: SynchronousTestCase, kind: type[ClientTransaction | ServerTransaction], reliable: bool
    ) -> None:
        self.test = test
        method = "INVITE" if kind in (InviteClientTransaction, InviteServerTransaction) else "OPTIONS"
        self.request: Request = make_request(method)
        self.machine = kind(self.request, VALUES, reliable=reliable)
        self.now = 0.0
        self.timers: list[tuple[float, Timer]] = []
        self.effects: list[Effect] = []
        self.feed(Event.START, None)

    def step(self, step: Step) -> None:
        """Take one step."""
        if isinstance(step, Event):
            argument = TransportError("lost") if step is Event.TRANSPORT_ERROR else ()
            self.feed(step, make_request("ACK") if step is Event.ACK else argument)
        elif step >= 100:
            response: Response = self.request.response(step, to_tag="b1")
            self.feed(self.machine.event_of(response), response)
        elif step < len(self.timers):
            self.fire(step)

    def fire(self, index: int) -> None:
        """Let a timer that runs fire; time does not go back."""
        due, timer = self.timers.pop(index)
        self.now = max(self.now, due)
        self.feed(timer, None)

    def feed(self, event: Event | Timer, argument: object) -> None:
        """Feed the machine, and keep its timers."""
        before = self.machine.state
        effects = self.machine.feed(event, argument)
        if before is State.TERMINATED:
            self.test.assertEqual(effects, ())
        for effect in effects:
            if isinstance(effect, StartTimer):
                self.test.assertGreater(effect.duration, 0)
                self.test.assertNotIn(effect.timer, [timer for _, timer in self.timers])
                self.timers.append((self.now + effect.duration, effect.timer))
            elif isinstance(effect, (StopTimers, Terminate)):
                self.timers.clear()
        self.timers.sort(key=lambda entry: entry[0])
        self.effects.extend(effects)

    def finish(self) -> None:
        """Let the user do its part, a client's cancels and a server's answers, and then only time pass."""
        self.step(Event.CANCEL if isinstance(self.machine, ClientTransaction) else 500)
        for _ in range(100):
            if not self.timers:
                return
            self.fire(0)
        self.test.fail("its timers never come to rest")


class HistoryTests(SynchronousTestCase):
    """Whatever happens in whatever order."""

    @settings(deadline=None, max_examples=400)
    @given(st.sampled_from(KINDS), st.booleans(), steps)
    def test_comes_to_one_end(
        self, kind: type[ClientTransaction | ServerTransaction], reliable: bool, history: list[Step]
    ) -> None:
        """No history raises; each ends in exactly one Terminate, with nothing after it and no timer left."""
        machine = History(self, kind, reliable)
        for step in history:
            machine.step(step)
        machine.finish()
        self.assertIs(machine.machine.state, State.TERMINATED)
        self.assertEqual([type(effect) for effect in machine.effects].count(Terminate), 1)
        self.assertIsInstance(machine.effects[-1], Terminate)

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(KINDS[:2]), st.booleans(), steps)
    def test_client_tells_one_outcome(self, kind: type[ClientTransaction], reliable: bool, history: list[Step]) -> None:
        """A user gets a final response or one failure, never both, and no provisional response after either."""
        machine = History(self, kind, reliable)
        for step in history:
            machine.step(step)
        machine.finish()
        told = [effect for effect in machine.effects if isinstance(effect, (Deliver, Fail))]
        finals = [effect for effect in told if isinstance(effect, Deliver) and effect.response.status >= 200]
        failures = [effect for effect in told if isinstance(effect, Fail)]
        self.assertEqual(len(failures), 0 if finals else 1)
        first = next(index for index, effect in enumerate(told) if effect in failures or effect in finals)
        self.assertTrue(all(effect in finals for effect in told[first + 1 :]))
        if len(finals) > 1:
            self.assertTrue(all(effect.response.is_success for effect in finals))

    @settings(deadline=None, max_examples=300)
    @given(st.sampled_from(KINDS[2:]), st.booleans(), steps)
    def test_server_sends_one_outcome(self, kind: type[ServerTransaction], reliable: bool, history: list[Step]) -> None:
        """A server offers its request once, and never changes a final response but for another 2xx to INVITE."""
        machine = History(self, kind, reliable)
        for step in history:
            machine.step(step)
        machine.finish()
        offered = [effect.request.method for effect in machine.effects if isinstance(effect, Offer)]
        self.assertEqual([method for method in offered if method != "ACK"], [machine.request.method])
        sent = [effect.response.status for effect in machine.effects if isinstance(effect, Respond)]
        finals = [status for status in sent if status >= 200]
        self.assertEqual(sent, sorted(sent, key=lambda status: status >= 200))
        if finals and not 200 <= finals[0] < 300:
            self.assertEqual(len(set(finals)), 1)
        self.assertFalse(any(isinstance(effect, Send) for effect in machine.effects))
