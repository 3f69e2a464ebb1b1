"""What the tests of the transaction machines share: messages, a driver, and a test case for their tables."""

from __future__ import annotations

from enum import Enum

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import TransactionTimeoutError, TransportError
from sipd.sip.effects import Effect, Effects, Fail
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.timers import Timer, TimerValues
from sipd.sip.transaction import Event, State, Transaction

#: What a machine is driven with: an event, a response, or an event with its argument.
Step = Event | Timer | Response | tuple[Event, object]


def make_request(method: str) -> Request:
    """Make a request with one Via."""
    message = parse_datagram(
        f"{method} sip:bob@example.com SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n"
        f"Max-Forwards: 70\r\n"
        f"From: <sip:alice@example.com>;tag=a1\r\n"
        f"To: <sip:bob@example.com>\r\n"
        f"Call-ID: c1\r\n"
        f"CSeq: 7 {method}\r\n\r\n".encode()
    )
    assert isinstance(message, Request)
    return message


INVITE = make_request("INVITE")
OPTIONS = make_request("OPTIONS")
ACK = make_request("ACK")
ERROR = TransportError("the connection is lost")
VALUES = TimerValues()


def to_invite(status: int) -> Response:
    """Make a response to the INVITE."""
    return INVITE.response(status, to_tag="b1")


def to_options(status: int) -> Response:
    """Make a response to the OPTIONS."""
    return OPTIONS.response(status, to_tag="b1")


TRYING, RINGING, OK, OTHER_OK, BUSY, TERMINATED = (to_invite(status) for status in (100, 180, 200, 202, 486, 487))
NOT_ACKNOWLEDGED = TransactionTimeoutError("No ACK for the final response")
NO_RESPONSE = TransactionTimeoutError("No final response")
NO_RESPONSE_AFTER_CANCEL = TransactionTimeoutError("No final response to a cancelled INVITE")
NOT_ANSWERED = TransactionTimeoutError("Not answered before the client gave up")


def comparable(effect: Effect) -> object:
    """Make an effect with an error comparable to another one: by type and text."""
    return (Fail, type(effect.error), effect.error.reason) if isinstance(effect, Fail) else effect


def drive(machine: Transaction, *steps: Step) -> Effects:
    """Feed a machine from its beginning, and give the effects of the last step."""
    effects: Effects = machine.feed(Event.START)
    for step in steps:
        if isinstance(step, Response):
            effects = machine.feed(machine.event_of(step), step)
        elif isinstance(step, tuple):
            effects = machine.feed(*step)
        else:
            effects = machine.feed(step)
    return effects


class MachineTestCase(SynchronousTestCase):
    """Drives one kind of machine, with one kind of transport."""

    kind: type[Transaction]
    request: Request
    reliable = False

    def make(self) -> Transaction:
        """Make a machine in its initial state."""
        return self.kind(self.request, VALUES, reliable=self.reliable)

    def check(self, *steps: Step, state: State, effects: Effects) -> None:
        """See that a path leads to a state, and its last step to these effects."""
        machine = self.make()
        got = drive(machine, *steps)
        self.assertEqual(tuple(map(comparable, got)), tuple(map(comparable, effects)))
        self.assertIs(machine.state, state)

    def check_absorbed(self, absorbed: dict[State, set[Enum]]) -> None:
        """See that exactly these pairs, among the machine's own states and events, do nothing."""
        table = self.kind.TABLE
        states = [state for state in State if any(state in (row[0], table[row][0]) for row in table)]
        events = {event for _, event in table}
        computed = {state: {event for event in events if (state, event) not in table} for state in states}
        self.assertEqual(computed, {**absorbed, State.TERMINATED: events})
        for state in states:
            for event in set(Event) | set(Timer):
                if (state, event) not in table:
                    machine = self.make()
                    machine.state = state
                    self.assertEqual(machine.feed(event, None), ())
                    self.assertIs(machine.state, state)
