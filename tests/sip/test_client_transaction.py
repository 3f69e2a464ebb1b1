"""Tests of the client transactions of `sipd.sip.transaction`: each row of each figure with its literal effects."""

from __future__ import annotations

from sipd.sip.effects import Deliver, Fail, Send, StartCancel, StartTimer, StopTimers, Terminate
from sipd.sip.hop_by_hop import build_ack, build_cancel
from sipd.sip.timers import Timer
from sipd.sip.transaction import Event, InviteClientTransaction, NonInviteClientTransaction, State
from tests.sip.machines import (
    BUSY,
    ERROR,
    INVITE,
    NO_RESPONSE,
    NO_RESPONSE_AFTER_CANCEL,
    OK,
    OPTIONS,
    OTHER_OK,
    RINGING,
    TERMINATED,
    TRYING,
    VALUES,
    MachineTestCase,
    drive,
    to_options,
)


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
