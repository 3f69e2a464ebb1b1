"""Tests of `sipd.sip.transaction`: each row of each figure with its literal effects, and what is absorbed."""

from __future__ import annotations

from enum import Enum

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import RemoteError, TransactionTimeoutError, TransportError
from sipd.sip.effects import (
    Deliver,
    Effect,
    Effects,
    Fail,
    Offer,
    Respond,
    Send,
    StartCancel,
    StartTimer,
    StopTimers,
    Terminate,
)
from sipd.sip.hop_by_hop import build_ack, build_cancel
from sipd.sip.message import Request, Response
from sipd.sip.parser import parse_datagram
from sipd.sip.timers import Timer, TimerValues
from sipd.sip.transaction import (
    Event,
    InviteClientTransaction,
    InviteServerTransaction,
    NonInviteClientTransaction,
    NonInviteServerTransaction,
    State,
    Transaction,
)

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


class InviteClientTests(MachineTestCase):
    """RFC 3261 figure 5 with RFC 6026, over UDP."""

    kind = InviteClientTransaction
    request = INVITE

    def test_initial_start(self) -> None:
        """The INVITE is sent; timers A and B run."""
        self.check(state=State.CALLING, effects=(Send(INVITE), StartTimer(Timer.A, 0.5), StartTimer(Timer.B, 32.0)))

    def test_calling_timer_a(self) -> None:
        """Timer A repeats the INVITE and doubles, without an upper limit."""
        self.check(Timer.A, state=State.CALLING, effects=(Send(INVITE), StartTimer(Timer.A, 1.0)))
        self.check(*[Timer.A] * 5, state=State.CALLING, effects=(Send(INVITE), StartTimer(Timer.A, 16.0)))

    def test_calling_timer_b(self) -> None:
        """Timer B ends it with a timeout."""
        self.check(Timer.B, state=State.TERMINATED, effects=(Fail(NO_RESPONSE), Terminate()))

    def test_calling_transport_error(self) -> None:
        """A transport error ends it."""
        self.check((Event.TRANSPORT_ERROR, ERROR), state=State.TERMINATED, effects=(Fail(ERROR), Terminate()))

    def test_calling_provisional(self) -> None:
        """A 1xx is delivered and stops the timers."""
        self.check(TRYING, state=State.PROCEEDING, effects=(StopTimers(), Deliver(TRYING)))

    def test_calling_success(self) -> None:
        """A 2xx is delivered and timer M runs (RFC 6026)."""
        self.check(OK, state=State.ACCEPTED, effects=(StopTimers(), Deliver(OK), StartTimer(Timer.M, 32.0)))

    def test_calling_failure(self) -> None:
        """A 300-699 is acknowledged and delivered, and timer D runs."""
        self.check(
            BUSY,
            state=State.COMPLETED,
            effects=(StopTimers(), Send(build_ack(INVITE, BUSY)), Deliver(BUSY), StartTimer(Timer.D, 32.0)),
        )

    def test_calling_cancel(self) -> None:
        """Before the first response a CANCEL waits (section 9.1)."""
        self.check((Event.CANCEL, ()), state=State.CALLING, effects=())

    def test_calling_cancel_then_provisional(self) -> None:
        """The first provisional response sends the CANCEL that waits, with its header fields."""
        reason = (("Reason", "SIP;cause=200"),)
        self.check(
            (Event.CANCEL, reason),
            RINGING,
            state=State.PROCEEDING,
            effects=(
                StopTimers(),
                Deliver(RINGING),
                StartCancel(build_cancel(INVITE, reason)),
                StartTimer(Timer.CANCELLED, 32.0),
            ),
        )

    def test_calling_cancel_twice(self) -> None:
        """Of two that wait the first one counts."""
        self.check(
            (Event.CANCEL, (("Reason", "first"),)),
            (Event.CANCEL, (("Reason", "second"),)),
            RINGING,
            state=State.PROCEEDING,
            effects=(
                StopTimers(),
                Deliver(RINGING),
                StartCancel(build_cancel(INVITE, (("Reason", "first"),))),
                StartTimer(Timer.CANCELLED, 32.0),
            ),
        )

    def test_is_unheard(self) -> None:
        """Nothing is heard of it until the first response."""
        machine = InviteClientTransaction(INVITE, VALUES, reliable=False)
        self.assertFalse(machine.is_unheard)
        drive(machine)
        self.assertTrue(machine.is_unheard)
        machine.feed(Event.PROVISIONAL, RINGING)
        self.assertFalse(machine.is_unheard)

    def test_calling_cancel_then_timer_a(self) -> None:
        """While the CANCEL waits the INVITE is still repeated: only a response can tell where to send the CANCEL."""
        self.check((Event.CANCEL, ()), Timer.A, state=State.CALLING, effects=(Send(INVITE), StartTimer(Timer.A, 1.0)))

    def test_calling_cancel_then_timer_b(self) -> None:
        """Timer B bounds the wait of the CANCEL."""
        self.check((Event.CANCEL, ()), Timer.B, state=State.TERMINATED, effects=(Fail(NO_RESPONSE), Terminate()))

    def test_calling_cancel_then_success(self) -> None:
        """A 2xx without a 1xx is delivered, and no CANCEL is sent any more."""
        self.check(
            (Event.CANCEL, ()),
            OK,
            state=State.ACCEPTED,
            effects=(StopTimers(), Deliver(OK), StartTimer(Timer.M, 32.0)),
        )

    def test_proceeding_provisional(self) -> None:
        """Further 1xx are delivered."""
        self.check(TRYING, RINGING, state=State.PROCEEDING, effects=(Deliver(RINGING),))

    def test_proceeding_success(self) -> None:
        """A 2xx is delivered and timer M runs."""
        self.check(RINGING, OK, state=State.ACCEPTED, effects=(StopTimers(), Deliver(OK), StartTimer(Timer.M, 32.0)))

    def test_proceeding_failure(self) -> None:
        """A 300-699 is acknowledged and delivered, and timer D runs."""
        self.check(
            RINGING,
            BUSY,
            state=State.COMPLETED,
            effects=(StopTimers(), Send(build_ack(INVITE, BUSY)), Deliver(BUSY), StartTimer(Timer.D, 32.0)),
        )

    def test_proceeding_cancel(self) -> None:
        """After a 1xx the CANCEL is sent at once, and the INVITE has 64*T1 to end."""
        self.check(
            RINGING,
            (Event.CANCEL, ()),
            state=State.PROCEEDING,
            effects=(StartCancel(build_cancel(INVITE)), StartTimer(Timer.CANCELLED, 32.0)),
        )

    def test_proceeding_cancel_twice(self) -> None:
        """A second CANCEL is not sent, whether the first one waited or not."""
        self.check(RINGING, (Event.CANCEL, ()), (Event.CANCEL, ()), state=State.PROCEEDING, effects=())
        self.check((Event.CANCEL, ()), RINGING, (Event.CANCEL, ()), state=State.PROCEEDING, effects=())
        self.check(
            (Event.CANCEL, ()), (Event.CANCEL, (("X", "y"),)), RINGING, (Event.CANCEL, ()),
            state=State.PROCEEDING, effects=(),
        )  # fmt: skip

    def test_proceeding_cancelled_provisional(self) -> None:
        """A 1xx after the CANCEL is delivered and does not prolong the wait."""
        self.check(RINGING, (Event.CANCEL, ()), RINGING, state=State.PROCEEDING, effects=(Deliver(RINGING),))

    def test_proceeding_timer_cancelled(self) -> None:
        """A cancelled INVITE that gets no final response is given up (section 9.1)."""
        self.check(
            RINGING,
            (Event.CANCEL, ()),
            Timer.CANCELLED,
            state=State.TERMINATED,
            effects=(Fail(NO_RESPONSE_AFTER_CANCEL), Terminate()),
        )

    def test_proceeding_cancelled_success(self) -> None:
        """A 2xx that crosses the CANCEL is delivered (lesson 26)."""
        self.check(
            RINGING,
            (Event.CANCEL, ()),
            OK,
            state=State.ACCEPTED,
            effects=(StopTimers(), Deliver(OK), StartTimer(Timer.M, 32.0)),
        )

    def test_proceeding_cancelled_failure(self) -> None:
        """The 487 that the CANCEL brings is acknowledged."""
        self.check(
            RINGING,
            (Event.CANCEL, ()),
            TERMINATED,
            state=State.COMPLETED,
            effects=(
                StopTimers(),
                Send(build_ack(INVITE, TERMINATED)),
                Deliver(TERMINATED),
                StartTimer(Timer.D, 32.0),
            ),
        )

    def test_proceeding_transport_error(self) -> None:
        """A connection that is lost while the phone rings ends it."""
        self.check(RINGING, (Event.TRANSPORT_ERROR, ERROR), state=State.TERMINATED, effects=(Fail(ERROR), Terminate()))

    def test_accepted_success(self) -> None:
        """A repeated or forked 2xx is delivered (RFC 6026)."""
        self.check(OK, OTHER_OK, state=State.ACCEPTED, effects=(Deliver(OTHER_OK),))

    def test_accepted_timer_m(self) -> None:
        """Timer M ends it."""
        self.check(OK, Timer.M, state=State.TERMINATED, effects=(Terminate(),))

    def test_completed_failure(self) -> None:
        """A repeated 300-699 is acknowledged by the same ACK and not delivered."""
        self.check(BUSY, BUSY, state=State.COMPLETED, effects=(Send(build_ack(INVITE, BUSY)),))

    def test_completed_repeats_the_same_ack(self) -> None:
        """The ACK is built once."""
        machine = self.make()
        first = drive(machine, BUSY)[1]
        second = machine.feed(Event.FAILURE, BUSY)[0]
        assert isinstance(first, Send) and isinstance(second, Send)
        self.assertIs(first.request, second.request)

    def test_completed_transport_error(self) -> None:
        """A transport error ends it without a word: the user has its final response."""
        self.check(BUSY, (Event.TRANSPORT_ERROR, ERROR), state=State.TERMINATED, effects=(Terminate(),))

    def test_completed_timer_d(self) -> None:
        """Timer D ends it."""
        self.check(BUSY, Timer.D, state=State.TERMINATED, effects=(Terminate(),))

    def test_absorbed(self) -> None:
        """These events do nothing in these states."""
        responses = {Event.PROVISIONAL, Event.SUCCESS, Event.FAILURE}
        timers = {Timer.A, Timer.B, Timer.D, Timer.M, Timer.CANCELLED}
        self.check_absorbed(
            {
                State.INITIAL: {Event.CANCEL, Event.TRANSPORT_ERROR} | responses | timers,
                State.CALLING: {Event.START, Timer.D, Timer.M, Timer.CANCELLED},
                State.PROCEEDING: {Event.START, Timer.A, Timer.B, Timer.D, Timer.M},
                State.ACCEPTED: {
                    Event.START, Event.PROVISIONAL, Event.FAILURE, Event.CANCEL, Event.TRANSPORT_ERROR,
                    Timer.A, Timer.B, Timer.D, Timer.CANCELLED,
                },
                State.COMPLETED: {
                    Event.START, Event.PROVISIONAL, Event.SUCCESS, Event.CANCEL,
                    Timer.A, Timer.B, Timer.M, Timer.CANCELLED,
                },
            }
        )  # fmt: skip


class ReliableInviteClientTests(MachineTestCase):
    """The rows of figure 5 that differ over a reliable transport."""

    kind = InviteClientTransaction
    request = INVITE
    reliable = True

    def test_initial_start(self) -> None:
        """Nothing is retransmitted: there is no timer A."""
        self.check(state=State.CALLING, effects=(Send(INVITE), StartTimer(Timer.B, 32.0)))

    def test_failure(self) -> None:
        """Timer D has no length: the acknowledged failure is the end."""
        self.check(
            BUSY,
            state=State.TERMINATED,
            effects=(StopTimers(), Send(build_ack(INVITE, BUSY)), Deliver(BUSY), Terminate()),
        )

    def test_success(self) -> None:
        """Timer M runs as over UDP: the 2xx of another fork may come."""
        self.check(OK, state=State.ACCEPTED, effects=(StopTimers(), Deliver(OK), StartTimer(Timer.M, 32.0)))


class NonInviteClientTests(MachineTestCase):
    """RFC 3261 figure 6, over UDP."""

    kind = NonInviteClientTransaction
    request = OPTIONS

    def test_initial_start(self) -> None:
        """The request is sent; timers E and F run."""
        self.check(state=State.TRYING, effects=(Send(OPTIONS), StartTimer(Timer.E, 0.5), StartTimer(Timer.F, 32.0)))

    def test_is_unheard(self) -> None:
        """Nothing is heard of it until the first response."""
        machine = NonInviteClientTransaction(OPTIONS, VALUES, reliable=False)
        drive(machine)
        self.assertTrue(machine.is_unheard)
        machine.feed(Event.FINAL, to_options(200))
        self.assertFalse(machine.is_unheard)

    def test_trying_timer_e(self) -> None:
        """Timer E repeats the request and doubles up to T2."""
        for count, interval in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0), (5, 4.0)):
            self.check(*[Timer.E] * count, state=State.TRYING, effects=(Send(OPTIONS), StartTimer(Timer.E, interval)))

    def test_trying_timer_f(self) -> None:
        """Timer F ends it with a timeout."""
        self.check(Timer.F, state=State.TERMINATED, effects=(Fail(NO_RESPONSE), Terminate()))

    def test_trying_transport_error(self) -> None:
        """A transport error ends it."""
        self.check((Event.TRANSPORT_ERROR, ERROR), state=State.TERMINATED, effects=(Fail(ERROR), Terminate()))

    def test_trying_provisional(self) -> None:
        """A 1xx is delivered; both timers run on."""
        response = to_options(100)
        self.check(response, state=State.PROCEEDING, effects=(Deliver(response),))

    def test_trying_final(self) -> None:
        """Any final response is delivered, and timer K runs."""
        for response in (to_options(200), to_options(302), to_options(404), to_options(503), to_options(603)):
            self.check(
                response,
                state=State.COMPLETED,
                effects=(StopTimers(), Deliver(response), StartTimer(Timer.K, 5.0)),
            )

    def test_proceeding_timer_e(self) -> None:
        """After a 1xx the request is repeated every T2."""
        self.check(to_options(100), Timer.E, state=State.PROCEEDING, effects=(Send(OPTIONS), StartTimer(Timer.E, 4.0)))

    def test_proceeding_timer_f(self) -> None:
        """Timer F ends it with a timeout."""
        self.check(to_options(100), Timer.F, state=State.TERMINATED, effects=(Fail(NO_RESPONSE), Terminate()))

    def test_proceeding_transport_error(self) -> None:
        """A transport error ends it."""
        self.check(
            to_options(100), (Event.TRANSPORT_ERROR, ERROR), state=State.TERMINATED, effects=(Fail(ERROR), Terminate())
        )

    def test_proceeding_provisional(self) -> None:
        """Further 1xx are delivered."""
        response = to_options(183)
        self.check(to_options(100), response, state=State.PROCEEDING, effects=(Deliver(response),))

    def test_proceeding_final(self) -> None:
        """A final response is delivered, and timer K runs."""
        response = to_options(200)
        self.check(
            to_options(100),
            response,
            state=State.COMPLETED,
            effects=(StopTimers(), Deliver(response), StartTimer(Timer.K, 5.0)),
        )

    def test_completed_timer_k(self) -> None:
        """Timer K ends it."""
        self.check(to_options(200), Timer.K, state=State.TERMINATED, effects=(Terminate(),))

    def test_absorbed(self) -> None:
        """These events do nothing in these states."""
        self.check_absorbed(
            {
                State.INITIAL: {
                    Event.PROVISIONAL, Event.FINAL, Event.TRANSPORT_ERROR, Timer.E, Timer.F, Timer.K,
                },
                State.TRYING: {Event.START, Timer.K},
                State.PROCEEDING: {Event.START, Timer.K},
                State.COMPLETED: {
                    Event.START, Event.PROVISIONAL, Event.FINAL, Event.TRANSPORT_ERROR, Timer.E, Timer.F,
                },
            }
        )  # fmt: skip

    def test_cancel_is_absorbed(self) -> None:
        """A request that is not INVITE cannot be cancelled."""
        self.check((Event.CANCEL, ()), state=State.TRYING, effects=())


class ReliableNonInviteClientTests(MachineTestCase):
    """The rows of figure 6 that differ over a reliable transport."""

    kind = NonInviteClientTransaction
    request = OPTIONS
    reliable = True

    def test_initial_start(self) -> None:
        """Nothing is retransmitted: there is no timer E."""
        self.check(state=State.TRYING, effects=(Send(OPTIONS), StartTimer(Timer.F, 32.0)))

    def test_final(self) -> None:
        """Timer K has no length: the final response is the end."""
        response = to_options(200)
        self.check(response, state=State.TERMINATED, effects=(StopTimers(), Deliver(response), Terminate()))


class InviteServerTests(MachineTestCase):
    """RFC 3261 figure 7 with RFC 6026, over UDP."""

    kind = InviteServerTransaction
    request = INVITE

    def test_initial_start(self) -> None:
        """The INVITE is offered, and the user has 200 ms to say something."""
        self.check(state=State.PROCEEDING, effects=(StartTimer(Timer.TRYING, 0.2), Offer(INVITE)))

    def test_proceeding_request_before_any_response(self) -> None:
        """A repeated INVITE is absorbed while there is nothing to repeat."""
        self.check(Event.REQUEST, state=State.PROCEEDING, effects=())

    def test_proceeding_request(self) -> None:
        """A repeated INVITE gets the latest provisional response again."""
        self.check(TRYING, RINGING, Event.REQUEST, state=State.PROCEEDING, effects=(Respond(RINGING),))

    def test_proceeding_timer_trying(self) -> None:
        """The transaction answers 100 for a silent user."""
        self.check(Timer.TRYING, state=State.PROCEEDING, effects=(Respond(INVITE.response(100)),))

    def test_proceeding_request_after_trying(self) -> None:
        """A repeated INVITE gets that 100 again."""
        self.check(Timer.TRYING, Event.REQUEST, state=State.PROCEEDING, effects=(Respond(INVITE.response(100)),))

    def test_proceeding_provisional(self) -> None:
        """A 1xx of the user is sent, and no 100 follows it."""
        self.check(RINGING, state=State.PROCEEDING, effects=(StopTimers(), Respond(RINGING)))

    def test_proceeding_success(self) -> None:
        """A 2xx is sent, and timer L runs."""
        self.check(OK, state=State.ACCEPTED, effects=(StopTimers(), Respond(OK), StartTimer(Timer.L, 32.0)))

    def test_proceeding_failure(self) -> None:
        """A 300-699 is sent, and timers G and H run."""
        self.check(
            BUSY,
            state=State.COMPLETED,
            effects=(StopTimers(), Respond(BUSY), StartTimer(Timer.H, 32.0), StartTimer(Timer.G, 0.5)),
        )

    def test_proceeding_transport_error(self) -> None:
        """The user is told of a transport error; the transaction stays (RFC 6026 section 8.8)."""
        self.check((Event.TRANSPORT_ERROR, ERROR), state=State.PROCEEDING, effects=(Fail(ERROR),))

    def test_accepted_success(self) -> None:
        """A further 2xx of the user is sent, the same one again or another."""
        self.check(OK, OTHER_OK, state=State.ACCEPTED, effects=(Respond(OTHER_OK),))

    def test_accepted_ack(self) -> None:
        """An ACK with the branch of the INVITE is handed over."""
        self.check(OK, (Event.ACK, ACK), state=State.ACCEPTED, effects=(Offer(ACK),))

    def test_accepted_transport_error(self) -> None:
        """The user is told of a transport error."""
        self.check(OK, (Event.TRANSPORT_ERROR, ERROR), state=State.ACCEPTED, effects=(Fail(ERROR),))

    def test_accepted_timer_l(self) -> None:
        """Timer L ends it."""
        self.check(OK, Timer.L, state=State.TERMINATED, effects=(Terminate(),))

    def test_completed_request(self) -> None:
        """A repeated INVITE gets the final response again."""
        self.check(BUSY, Event.REQUEST, state=State.COMPLETED, effects=(Respond(BUSY),))

    def test_completed_timer_g(self) -> None:
        """Timer G repeats the final response and doubles up to T2."""
        for count, interval in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 4.0)):
            self.check(
                BUSY,
                *[Timer.G] * count,
                state=State.COMPLETED,
                effects=(Respond(BUSY), StartTimer(Timer.G, interval)),
            )

    def test_completed_timer_h(self) -> None:
        """Without an ACK timer H ends it, and the user is told."""
        self.check(BUSY, Timer.H, state=State.TERMINATED, effects=(Fail(NOT_ACKNOWLEDGED), Terminate()))

    def test_completed_transport_error(self) -> None:
        """The user is told of a transport error."""
        self.check(BUSY, (Event.TRANSPORT_ERROR, ERROR), state=State.COMPLETED, effects=(Fail(ERROR),))

    def test_completed_ack(self) -> None:
        """The ACK is absorbed, and timer I runs."""
        self.check(BUSY, (Event.ACK, ACK), state=State.CONFIRMED, effects=(StopTimers(), StartTimer(Timer.I, 5.0)))

    def test_confirmed_timer_i(self) -> None:
        """Timer I ends it."""
        self.check(BUSY, (Event.ACK, ACK), Timer.I, state=State.TERMINATED, effects=(Terminate(),))

    def test_is_answered(self) -> None:
        """It is answered from the final response on."""
        machine = InviteServerTransaction(INVITE, VALUES, reliable=False)
        self.assertFalse(machine.is_answered)
        drive(machine, RINGING)
        self.assertFalse(machine.is_answered)
        machine.feed(Event.FAILURE, BUSY)
        self.assertTrue(machine.is_answered)

    def test_absorbed(self) -> None:
        """These events do nothing in these states."""
        responses = {Event.PROVISIONAL, Event.SUCCESS, Event.FAILURE}
        timers = {Timer.TRYING, Timer.G, Timer.H, Timer.I, Timer.L}
        self.check_absorbed(
            {
                State.INITIAL: {Event.REQUEST, Event.ACK, Event.TRANSPORT_ERROR} | responses | timers,
                State.PROCEEDING: {Event.START, Event.ACK, Timer.G, Timer.H, Timer.I, Timer.L},
                State.ACCEPTED: {
                    Event.START, Event.REQUEST, Event.PROVISIONAL, Event.FAILURE,
                    Timer.TRYING, Timer.G, Timer.H, Timer.I,
                },
                State.COMPLETED: {Event.START, Timer.TRYING, Timer.I, Timer.L} | responses,
                State.CONFIRMED: {
                    Event.START, Event.REQUEST, Event.ACK, Event.TRANSPORT_ERROR,
                    Timer.TRYING, Timer.G, Timer.H, Timer.L,
                } | responses,
            }
        )  # fmt: skip


class ReliableInviteServerTests(MachineTestCase):
    """The rows of figure 7 that differ over a reliable transport."""

    kind = InviteServerTransaction
    request = INVITE
    reliable = True

    def test_failure(self) -> None:
        """Nothing is retransmitted: there is no timer G."""
        self.check(BUSY, state=State.COMPLETED, effects=(StopTimers(), Respond(BUSY), StartTimer(Timer.H, 32.0)))

    def test_ack(self) -> None:
        """Timer I has no length: the ACK is the end."""
        self.check(BUSY, (Event.ACK, ACK), state=State.TERMINATED, effects=(StopTimers(), Terminate()))

    def test_success(self) -> None:
        """Timer L runs as over UDP."""
        self.check(OK, state=State.ACCEPTED, effects=(StopTimers(), Respond(OK), StartTimer(Timer.L, 32.0)))


class NonInviteServerTests(MachineTestCase):
    """RFC 3261 figure 8 with RFC 4320, over UDP."""

    kind = NonInviteServerTransaction
    request = OPTIONS

    def test_initial_start(self) -> None:
        """The request is offered; a 100 is due when the client's timer E reaches T2, the answer before 64*T1."""
        self.check(
            state=State.TRYING,
            effects=(StartTimer(Timer.TRYING, 3.5), StartTimer(Timer.EXPIRY, 32.0), Offer(OPTIONS)),
        )

    def test_trying_timer_trying(self) -> None:
        """The transaction answers 100 for a silent user (RFC 4320 section 4.1)."""
        self.check(Timer.TRYING, state=State.PROCEEDING, effects=(Respond(OPTIONS.response(100)),))

    def test_trying_final(self) -> None:
        """A final response is sent, and timer J runs."""
        for response in (to_options(200), to_options(301), to_options(404), to_options(500), to_options(600)):
            self.check(
                response,
                state=State.COMPLETED,
                effects=(StopTimers(), Respond(response), StartTimer(Timer.J, 32.0)),
            )

    def test_trying_request_timeout(self) -> None:
        """A 408 is not sent (RFC 4320 section 4.2); what is repeated of the request is absorbed."""
        self.check(to_options(408), state=State.COMPLETED, effects=(StopTimers(), StartTimer(Timer.J, 32.0)))
        self.check(to_options(408), Event.REQUEST, state=State.COMPLETED, effects=())

    def test_trying_transport_error(self) -> None:
        """The user is told of a transport error."""
        self.check((Event.TRANSPORT_ERROR, ERROR), state=State.TRYING, effects=(Fail(ERROR),))

    def test_trying_timer_expiry(self) -> None:
        """What nobody answers ends after 64*T1, and the user is told."""
        self.check(Timer.EXPIRY, state=State.TERMINATED, effects=(Fail(NOT_ANSWERED), Terminate()))

    def test_proceeding_request(self) -> None:
        """A repeated request gets the 100 again."""
        self.check(Timer.TRYING, Event.REQUEST, state=State.PROCEEDING, effects=(Respond(OPTIONS.response(100)),))

    def test_proceeding_final(self) -> None:
        """A final response is sent, and timer J runs."""
        response = to_options(200)
        self.check(
            Timer.TRYING,
            response,
            state=State.COMPLETED,
            effects=(StopTimers(), Respond(response), StartTimer(Timer.J, 32.0)),
        )

    def test_proceeding_request_timeout(self) -> None:
        """A 408 is not sent, and the 100 not again."""
        self.check(
            Timer.TRYING,
            to_options(408),
            state=State.COMPLETED,
            effects=(StopTimers(), StartTimer(Timer.J, 32.0)),
        )
        self.check(Timer.TRYING, to_options(408), Event.REQUEST, state=State.COMPLETED, effects=())

    def test_proceeding_transport_error(self) -> None:
        """The user is told of a transport error."""
        self.check(Timer.TRYING, (Event.TRANSPORT_ERROR, ERROR), state=State.PROCEEDING, effects=(Fail(ERROR),))

    def test_proceeding_timer_expiry(self) -> None:
        """What nobody answers ends after 64*T1, and the user is told."""
        self.check(Timer.TRYING, Timer.EXPIRY, state=State.TERMINATED, effects=(Fail(NOT_ANSWERED), Terminate()))

    def test_completed_request(self) -> None:
        """A repeated request gets the final response again."""
        response = to_options(200)
        self.check(response, Event.REQUEST, state=State.COMPLETED, effects=(Respond(response),))

    def test_completed_transport_error(self) -> None:
        """The user is told of a transport error."""
        self.check(to_options(200), (Event.TRANSPORT_ERROR, ERROR), state=State.COMPLETED, effects=(Fail(ERROR),))

    def test_completed_timer_j(self) -> None:
        """Timer J ends it."""
        self.check(to_options(200), Timer.J, state=State.TERMINATED, effects=(Terminate(),))

    def test_provisional_of_the_user(self) -> None:
        """A 1xx of the user is not sent: RFC 4320 allows only a 100, and only in time."""
        for status in (100, 180, 183):
            self.check(to_options(status), state=State.TRYING, effects=())
            self.check(Timer.TRYING, to_options(status), state=State.PROCEEDING, effects=())

    def test_absorbed(self) -> None:
        """These events do nothing in these states."""
        self.check_absorbed(
            {
                State.INITIAL: {
                    Event.REQUEST, Event.FINAL, Event.REQUEST_TIMEOUT, Event.TRANSPORT_ERROR,
                    Timer.TRYING, Timer.EXPIRY, Timer.J,
                },
                State.TRYING: {Event.START, Event.REQUEST, Timer.J},
                State.PROCEEDING: {Event.START, Timer.TRYING, Timer.J},
                State.COMPLETED: {
                    Event.START, Event.FINAL, Event.REQUEST_TIMEOUT, Timer.TRYING, Timer.EXPIRY,
                },
            }
        )  # fmt: skip


class ReliableNonInviteServerTests(MachineTestCase):
    """The rows of figure 8 that differ over a reliable transport."""

    kind = NonInviteServerTransaction
    request = OPTIONS
    reliable = True

    def test_final(self) -> None:
        """Timer J has no length: the final response is the end."""
        response = to_options(200)
        self.check(response, state=State.TERMINATED, effects=(StopTimers(), Respond(response), Terminate()))

    def test_request_timeout(self) -> None:
        """A 408 ends it without a word."""
        self.check(to_options(408), state=State.TERMINATED, effects=(StopTimers(), Terminate()))


class BaseTests(SynchronousTestCase):
    """What no machine does."""

    def test_the_base_takes_no_response(self) -> None:
        """Only the four machines know what a response is to them."""
        self.assertRaises(TypeError, Transaction.event_of, OK)

    def test_machines_are_small(self) -> None:
        """A machine has slots and no dict: there are many of them."""
        for kind in (
            InviteClientTransaction,
            NonInviteClientTransaction,
            InviteServerTransaction,
            NonInviteServerTransaction,
        ):
            self.assertFalse(hasattr(kind(INVITE, VALUES, reliable=True), "__dict__"))

    def test_errors_are_remote(self) -> None:
        """A timeout is the peer's doing, and is 408 to whoever must answer for it."""
        error = drive(InviteClientTransaction(INVITE, VALUES, reliable=True), Timer.B)[0]
        assert isinstance(error, Fail)
        self.assertIsInstance(error.error, RemoteError)
        self.assertEqual(error.error.status, 408)
