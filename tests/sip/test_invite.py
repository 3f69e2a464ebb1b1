"""The machines of an INVITE beyond its transaction: each row, and what is absorbed."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sipd.errors import TransactionTimeoutError, TransportError
from sipd.sip import invite
from sipd.sip.invite import AnswerMachine, CallMachine, Event, State
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.timers import TimerValues
from sipd.testing import builders

INVITE = builders.invite()
RINGING = builders.response(INVITE, 180)
OK = builders.response(INVITE, 200)
BUSY = builders.response(INVITE, 486)
TERMINATED = builders.response(INVITE, 487)
ACK = builders.ack(INVITE, OK)
LOST = TransportError("gone")

TIMER_EVENTS = (Event.RING_AGAIN, Event.REPEAT, Event.NO_ACK)


def _answering(state: State = State.OFFERED) -> AnswerMachine:
    machine = AnswerMachine(TimerValues())
    steps = {
        State.OFFERED: (),
        State.RINGING: ((Event.PROVISIONAL, RINGING),),
        State.ACCEPTED: ((Event.SUCCESS, OK),),
        State.LEAVING: ((Event.SUCCESS, OK), (Event.HANG_UP, None)),
        State.CONFIRMED: ((Event.SUCCESS, OK), (Event.ACK, ACK)),
        State.ENDED: ((Event.FAILURE, BUSY),),
    }[state]
    for event, argument in steps:
        machine.feed(event, argument)
    assert machine.state is state
    return machine


def _calling(state: State = State.CALLING) -> CallMachine:
    machine = CallMachine()
    steps = {
        State.CALLING: (),
        State.CANCELLING: ((Event.CANCEL, None),),
        State.WITHDRAWN: ((Event.WITHDRAW, None),),
        State.ACCEPTED: ((Event.SUCCESS, OK),),
        State.CONFIRMED: ((Event.SUCCESS, OK), (Event.ACK, None)),
        State.ENDED: ((Event.FAILURE, BUSY),),
    }[state]
    for event, argument in steps:
        machine.feed(event, argument)
    assert machine.state is state
    return machine


class AnswerMachineTests(SynchronousTestCase):
    """The callee of one INVITE."""

    def assert_step(
        self, state: State, event: Event, argument: object, next_state: State, *effects: invite.Effect
    ) -> None:
        """Feed one event to a machine in a state, and compare what comes of it."""
        machine = _answering(state)
        self.assertEqual(machine.feed(event, argument), effects)
        self.assertIs(machine.state, next_state)

    def test_rings_and_repeats_each_minute(self) -> None:
        """A provisional response goes out at once and again after 60 s, so that no proxy gives up (13.3.1.1)."""
        again = StartTimer(Event.RING_AGAIN, 60.0)
        for state in (State.OFFERED, State.RINGING):
            self.assert_step(state, Event.PROVISIONAL, RINGING, State.RINGING, invite.Respond(RINGING), again)
        self.assert_step(State.RINGING, Event.RING_AGAIN, None, State.RINGING, invite.Respond(RINGING), again)

    def test_accepts(self) -> None:
        """A 2xx goes out, is to be repeated after T1, and has 64*T1 to be acknowledged (13.3.1.4)."""
        for state in (State.OFFERED, State.RINGING):
            self.assert_step(
                state,
                Event.SUCCESS,
                OK,
                State.ACCEPTED,
                StopTimers(),
                invite.Respond(OK),
                StartTimer(Event.REPEAT, 0.5),
                StartTimer(Event.NO_ACK, 32.0),
            )

    def test_repeats_the_2xx_up_to_t2(self) -> None:
        """The interval doubles from T1 to T2, and goes on so while a BYE waits."""
        for state in (State.ACCEPTED, State.LEAVING):
            machine = _answering(state)
            intervals = []
            for _ in range(5):
                sent, timer = machine.feed(Event.REPEAT)
                self.assertEqual(sent, invite.Respond(OK))
                intervals.append(timer.duration)
            self.assertEqual(intervals, [1.0, 2.0, 4.0, 4.0, 4.0])

    def test_refuses(self) -> None:
        """A refusal ends it."""
        for state in (State.OFFERED, State.RINGING):
            self.assert_step(state, Event.FAILURE, BUSY, State.ENDED, StopTimers(), invite.Respond(BUSY))

    def test_cancel_and_bye_before_the_answer_give_487(self) -> None:
        """CANCEL (9.2) and BYE (15.1.2) are followed by 487."""
        for state in (State.OFFERED, State.RINGING):
            stop, answer = StopTimers(), invite.Terminate()
            self.assert_step(state, Event.CANCEL, None, State.ENDED, stop, answer, invite.Cancelled())
            self.assert_step(state, Event.BYE, None, State.ENDED, stop, answer)

    def test_ack_confirms(self) -> None:
        """The ACK stops the repetition and is told."""
        self.assert_step(State.ACCEPTED, Event.ACK, ACK, State.CONFIRMED, StopTimers(), invite.Acknowledged(ACK))

    def test_bye_waits_for_the_ack(self) -> None:
        """A callee that hangs up before the ACK says BYE when it comes, or when it is clear that none will (15)."""
        self.assert_step(State.ACCEPTED, Event.HANG_UP, None, State.LEAVING)
        for event in (Event.ACK, Event.NO_ACK):
            self.assert_step(State.LEAVING, event, ACK, State.ENDED, StopTimers(), invite.SendBye())
        self.assert_step(State.CONFIRMED, Event.HANG_UP, None, State.ENDED, StopTimers(), invite.SendBye())

    def test_no_ack_ends_the_session(self) -> None:
        """Without an ACK in 64*T1 the dialog is ended with BYE (13.3.1.4)."""
        machine = _answering(State.ACCEPTED)
        stop, bye, failed = machine.feed(Event.NO_ACK)
        self.assertEqual((stop, bye), (StopTimers(), invite.SendBye()))
        self.assertIsInstance(failed.error, TransactionTimeoutError)
        self.assertIs(machine.state, State.ENDED)

    def test_bye_of_the_peer_stops_everything(self) -> None:
        """After the answer a BYE needs no 487."""
        for state in (State.ACCEPTED, State.LEAVING, State.CONFIRMED):
            self.assert_step(state, Event.BYE, None, State.ENDED, StopTimers())

    def test_transport_failure_before_the_answer_ends_it(self) -> None:
        """A caller that is gone ends the attempt, and its transaction gets 487, or it would never end."""
        for state in (State.OFFERED, State.RINGING):
            effects = (StopTimers(), invite.Terminate(), invite.Failed(LOST))
            self.assert_step(state, Event.LOST, LOST, State.ENDED, *effects)

    def test_absorbs_all_else(self) -> None:
        """These pairs, and no others, do nothing."""
        absorbed = {
            state.name: sorted(event.name for event in Event if _answering(state).absorbs(event))
            for state in (State.OFFERED, State.RINGING, State.ACCEPTED, State.LEAVING, State.CONFIRMED, State.ENDED)
        }
        never = ["SUCCESS_AGAIN", "SUCCESS_OTHER", "WITHDRAW"]
        self.assertEqual(
            absorbed,
            {
                "OFFERED": sorted(["ACK", "HANG_UP", "NO_ACK", "REPEAT", "RING_AGAIN", *never]),
                "RINGING": sorted(["ACK", "HANG_UP", "NO_ACK", "REPEAT", *never]),
                "ACCEPTED": sorted(["CANCEL", "FAILURE", "LOST", "PROVISIONAL", "RING_AGAIN", "SUCCESS", *never]),
                "LEAVING": sorted(
                    ["CANCEL", "FAILURE", "HANG_UP", "LOST", "PROVISIONAL", "RING_AGAIN", "SUCCESS", *never]
                ),
                "CONFIRMED": sorted(event.name for event in Event if event not in (Event.HANG_UP, Event.BYE)),
                "ENDED": sorted(event.name for event in Event),
            },
        )


class CallMachineTests(SynchronousTestCase):
    """The caller of one INVITE."""

    def assert_step(
        self, state: State, event: Event, argument: object, next_state: State, *effects: invite.Effect
    ) -> None:
        """Feed one event to a machine in a state, and compare what comes of it."""
        machine = _calling(state)
        self.assertEqual(machine.feed(event, argument), effects)
        self.assertIs(machine.state, next_state)

    def test_tells_of_responses(self) -> None:
        """Progress, answer, refusal and failure reach the user."""
        self.assert_step(State.CALLING, Event.PROVISIONAL, RINGING, State.CALLING, invite.Progress(RINGING))
        self.assert_step(State.CALLING, Event.SUCCESS, OK, State.ACCEPTED, invite.Answered(OK))
        self.assert_step(State.CALLING, Event.FAILURE, BUSY, State.ENDED, invite.Answered(BUSY))
        self.assert_step(State.CALLING, Event.LOST, LOST, State.ENDED, invite.Failed(LOST))

    def test_cancels(self) -> None:
        """A cancelled INVITE ends with its refusal, or with its transaction."""
        self.assert_step(State.CALLING, Event.CANCEL, None, State.CANCELLING, invite.SendCancel())
        self.assert_step(State.CANCELLING, Event.FAILURE, TERMINATED, State.ENDED, invite.Answered(TERMINATED))
        self.assert_step(State.CANCELLING, Event.LOST, LOST, State.ENDED, invite.Failed(LOST))

    def test_withdraws_a_later_invite(self) -> None:
        """It is cancelled; a 2xx that comes all the same ends no dialog, but waits for its ACK."""
        self.assert_step(State.CALLING, Event.WITHDRAW, None, State.WITHDRAWN, invite.SendCancel())
        self.assert_step(State.WITHDRAWN, Event.SUCCESS, OK, State.ACCEPTED, invite.Answered(OK))
        self.assert_step(State.WITHDRAWN, Event.FAILURE, TERMINATED, State.ENDED, invite.Answered(TERMINATED))
        self.assert_step(State.WITHDRAWN, Event.LOST, LOST, State.ENDED, invite.Failed(LOST))

    def test_2xx_that_crosses_the_cancel_is_ended(self) -> None:
        """It is acknowledged, and the dialog that it made is ended with BYE (lesson 26)."""
        self.assert_step(State.CANCELLING, Event.SUCCESS, OK, State.ENDED, invite.Refuse(OK), invite.Answered(OK))

    def test_2xx_to_what_was_given_up_is_ended(self) -> None:
        """A first answer after the end gets ACK and BYE."""
        self.assert_step(State.ENDED, Event.SUCCESS, OK, State.ENDED, invite.Refuse(OK))

    def test_2xx_of_other_callees_are_ended(self) -> None:
        """A fork that answers too late gets ACK and BYE, in every state after the first answer (lesson 29)."""
        for state in (State.ACCEPTED, State.CONFIRMED, State.ENDED):
            self.assert_step(state, Event.SUCCESS_OTHER, OK, state, invite.Refuse(OK))

    def test_repeated_2xx_repeats_the_ack(self) -> None:
        """Each repetition of a 2xx gets its ACK again (section 13.2.2.4), also when the call is over."""
        for state in (State.ACCEPTED, State.CONFIRMED, State.ENDED):
            self.assert_step(state, Event.SUCCESS_AGAIN, OK, state, invite.RepeatAck(OK))

    def test_ack_confirms(self) -> None:
        """The ACK confirms it."""
        self.assert_step(State.ACCEPTED, Event.ACK, None, State.CONFIRMED)

    def test_absorbs_all_else(self) -> None:
        """These events do nothing in these states: above all, a CANCEL after the answer is never sent."""
        self.assertEqual(
            {
                state.name: sorted(event.name for event in Event if not _calling(state).absorbs(event))
                for state in State
                if state not in (State.OFFERED, State.RINGING, State.LEAVING)
            },
            {
                "CALLING": ["CANCEL", "FAILURE", "LOST", "PROVISIONAL", "SUCCESS", "WITHDRAW"],
                "CANCELLING": ["FAILURE", "LOST", "SUCCESS"],
                "WITHDRAWN": ["FAILURE", "LOST", "SUCCESS"],
                "ACCEPTED": ["ACK", "SUCCESS_AGAIN", "SUCCESS_OTHER"],
                "CONFIRMED": ["SUCCESS_AGAIN", "SUCCESS_OTHER"],
                "ENDED": ["SUCCESS", "SUCCESS_AGAIN", "SUCCESS_OTHER"],
            },
        )
