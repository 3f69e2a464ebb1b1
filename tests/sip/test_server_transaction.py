"""Tests of the server transactions of `sipd.sip.transaction`: each row of each figure with its literal effects."""

from __future__ import annotations

from sipd.sip.effects import Fail, Offer, Respond, StartTimer, StopTimers, Terminate
from sipd.sip.timers import Timer
from sipd.sip.transaction import Event, InviteServerTransaction, NonInviteServerTransaction, State
from tests.sip.machines import (
    ACK,
    BUSY,
    ERROR,
    INVITE,
    NOT_ACKNOWLEDGED,
    NOT_ANSWERED,
    OK,
    OPTIONS,
    OTHER_OK,
    RINGING,
    TRYING,
    VALUES,
    MachineTestCase,
    drive,
    to_options,
)


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
