"""What an INVITE asks of the two user agents beyond its transaction (RFC 3261 sections 13 to 15).

`AnswerMachine` is the callee of one INVITE, the first or a later one: provisional responses that are repeated each
minute, a 2xx that is repeated until the ACK comes, and a BYE that must wait for it. `CallMachine` is the caller: early
dialogs, the answer, its ACK, and the 2xx that nobody wants any more (a fork that lost, a CANCEL that came too late).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from sipd.errors import RemoteError, TransactionTimeoutError
from sipd.sip.machine import Machine, StartTimer, StopTimers, table
from sipd.sip.message import Request, Response
from sipd.sip.timers import TimerValues

#: How often a provisional response is sent again, so that no proxy gives up (section 13.3.1.1).
RING_AGAIN = 60.0


class State(Enum):
    """Where an INVITE stands, as caller or as callee."""

    OFFERED = "offered"
    RINGING = "ringing"
    CALLING = "calling"
    CANCELLING = "cancelling"
    WITHDRAWN = "withdrawn"
    ACCEPTED = "accepted"
    LEAVING = "leaving"
    CONFIRMED = "confirmed"
    ENDED = "ended"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to an INVITE; the last three are the timers."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    SUCCESS_AGAIN = "the same 2xx again"
    SUCCESS_OTHER = "a 2xx of another callee"
    FAILURE = "300-699"
    LOST = "the transaction failed"
    CANCEL = "CANCEL"
    WITHDRAW = "a later INVITE is no longer wanted"
    ACK = "ACK"
    HANG_UP = "this side ends it"
    BYE = "the peer ended it"
    RING_AGAIN = "a minute has gone by"
    REPEAT = "no ACK yet"
    NO_ACK = "no ACK at all"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Respond:
    """Send a response through the INVITE's server transaction."""

    response: Response


@dataclass(slots=True)
class Terminate:
    """Answer the INVITE with 487: the caller gave up, or is gone, before there was an answer."""


@dataclass(slots=True)
class SendBye:
    """End the dialog with BYE."""


@dataclass(slots=True)
class SendCancel:
    """Cancel the client transaction."""


@dataclass(slots=True)
class RepeatAck:
    """Send the ACK again that this 2xx was answered with; if it was not yet, do nothing."""

    response: Response


@dataclass(slots=True)
class Refuse:
    """Acknowledge this 2xx, and end the dialog that it made with BYE (section 13.2.2.4)."""

    response: Response


@dataclass(slots=True)
class Acknowledged:
    """Tell the user that the ACK is here; without it if a later request of the peer showed that it was sent."""

    ack: Request | None


@dataclass(slots=True)
class Progress:
    """Give the user a provisional response."""

    response: Response


@dataclass(slots=True)
class Answered:
    """Give the user the final response."""

    response: Response


@dataclass(slots=True)
class Cancelled:
    """Tell the user that the caller gave up; the INVITE is already answered."""


@dataclass(slots=True)
class Failed:
    """Tell the user that there will be no final response, or no ACK."""

    error: RemoteError


Effect = (
    Respond
    | Terminate
    | StartTimer
    | StopTimers
    | SendBye
    | SendCancel
    | RepeatAck
    | Refuse
    | Acknowledged
    | Progress
    | Answered
    | Cancelled
    | Failed
)
Effects = tuple[Effect, ...]


class AnswerMachine(Machine[State]):
    """The callee of one INVITE (RFC 3261 sections 13.3, 14.2 and 15.1.2).

    Args:
        values: T1 and T2 time the repetition of a 2xx, over any transport (section 13.3.1.4).
    """

    __slots__ = ("interval", "response", "values")

    def __init__(self, values: TimerValues) -> None:
        super().__init__(State.OFFERED)
        self.values = values
        self.interval = values.t1
        #: The last response that may have to be sent again.
        self.response: Response | None = None

    def _ring(self, response: Response) -> Effects:
        self.response = response
        return (Respond(response), StartTimer(Event.RING_AGAIN, RING_AGAIN))

    def _ring_again(self, _: object) -> Effects:
        assert self.response is not None
        return (Respond(self.response), StartTimer(Event.RING_AGAIN, RING_AGAIN))

    def _accept(self, response: Response) -> Effects:
        self.response = response
        return (
            StopTimers(),
            Respond(response),
            StartTimer(Event.REPEAT, self.interval),
            StartTimer(Event.NO_ACK, self.values.timeout),
        )

    def _repeat(self, _: object) -> Effects:
        assert self.response is not None
        self.interval = min(2 * self.interval, self.values.t2)
        return (Respond(self.response), StartTimer(Event.REPEAT, self.interval))

    def _reject(self, response: Response) -> Effects:
        return (StopTimers(), Respond(response))

    def _cancel(self, _: object) -> Effects:
        return (StopTimers(), Terminate(), Cancelled())

    def _terminate(self, _: object) -> Effects:
        return (StopTimers(), Terminate())

    def _confirm(self, ack: Request | None) -> Effects:
        self.response = None
        return (StopTimers(), Acknowledged(ack))

    def _leave(self, _: object) -> Effects:
        return (StopTimers(), SendBye())

    def _stop(self, _: object) -> Effects:
        return (StopTimers(),)

    def _wait(self, _: object) -> Effects:
        return ()

    def _no_ack(self, _: object) -> Effects:
        return (StopTimers(), SendBye(), Failed(TransactionTimeoutError("No ACK")))

    def _lose(self, error: RemoteError) -> Effects:
        # The transaction lives until it has a final response (RFC 6026 section 8.8); whoever lost a connection only
        # hears of it on another one.
        return (StopTimers(), Terminate(), Failed(error))


AnswerMachine.TABLE = table(
    # state            event               next state         action
    (State.OFFERED, Event.PROVISIONAL, State.RINGING, AnswerMachine._ring),
    (State.OFFERED, Event.SUCCESS, State.ACCEPTED, AnswerMachine._accept),
    (State.OFFERED, Event.FAILURE, State.ENDED, AnswerMachine._reject),
    (State.OFFERED, Event.CANCEL, State.ENDED, AnswerMachine._cancel),
    (State.OFFERED, Event.BYE, State.ENDED, AnswerMachine._terminate),
    (State.OFFERED, Event.LOST, State.ENDED, AnswerMachine._lose),
    (State.RINGING, Event.PROVISIONAL, State.RINGING, AnswerMachine._ring),
    (State.RINGING, Event.RING_AGAIN, State.RINGING, AnswerMachine._ring_again),
    (State.RINGING, Event.SUCCESS, State.ACCEPTED, AnswerMachine._accept),
    (State.RINGING, Event.FAILURE, State.ENDED, AnswerMachine._reject),
    (State.RINGING, Event.CANCEL, State.ENDED, AnswerMachine._cancel),
    (State.RINGING, Event.BYE, State.ENDED, AnswerMachine._terminate),
    (State.RINGING, Event.LOST, State.ENDED, AnswerMachine._lose),
    (State.ACCEPTED, Event.REPEAT, State.ACCEPTED, AnswerMachine._repeat),
    (State.ACCEPTED, Event.ACK, State.CONFIRMED, AnswerMachine._confirm),
    (State.ACCEPTED, Event.NO_ACK, State.ENDED, AnswerMachine._no_ack),
    (State.ACCEPTED, Event.HANG_UP, State.LEAVING, AnswerMachine._wait),
    (State.ACCEPTED, Event.BYE, State.ENDED, AnswerMachine._stop),
    # Section 15: no BYE before the ACK, or before it is clear that none will come.
    (State.LEAVING, Event.REPEAT, State.LEAVING, AnswerMachine._repeat),
    (State.LEAVING, Event.ACK, State.ENDED, AnswerMachine._leave),
    (State.LEAVING, Event.NO_ACK, State.ENDED, AnswerMachine._leave),
    (State.LEAVING, Event.BYE, State.ENDED, AnswerMachine._stop),
    (State.CONFIRMED, Event.HANG_UP, State.ENDED, AnswerMachine._leave),
    (State.CONFIRMED, Event.BYE, State.ENDED, AnswerMachine._stop),
)  # fmt: skip


class CallMachine(Machine[State]):
    """The caller of one INVITE (RFC 3261 sections 9.1, 13.2 and 14.1)."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(State.CALLING)

    def _progress(self, response: Response) -> Effects:
        return (Progress(response),)

    def _answer(self, response: Response) -> Effects:
        return (Answered(response),)

    def _lose(self, error: RemoteError) -> Effects:
        return (Failed(error),)

    def _cancel(self, _: object) -> Effects:
        return (SendCancel(),)

    def _refuse(self, response: Response) -> Effects:
        return (Refuse(response),)

    def _refuse_late(self, response: Response) -> Effects:
        return (Refuse(response), Answered(response))

    def _repeat_ack(self, response: Response) -> Effects:
        return (RepeatAck(response),)

    def _wait(self, _: object) -> Effects:
        return ()


CallMachine.TABLE = table(
    # state            event                next state         action
    (State.CALLING, Event.PROVISIONAL, State.CALLING, CallMachine._progress),
    (State.CALLING, Event.SUCCESS, State.ACCEPTED, CallMachine._answer),
    (State.CALLING, Event.FAILURE, State.ENDED, CallMachine._answer),
    (State.CALLING, Event.LOST, State.ENDED, CallMachine._lose),
    (State.CALLING, Event.CANCEL, State.CANCELLING, CallMachine._cancel),
    (State.CALLING, Event.WITHDRAW, State.WITHDRAWN, CallMachine._cancel),
    # The CANCEL and the 2xx have crossed: take it, and end it (section 9.1, lesson 26).
    (State.CANCELLING, Event.SUCCESS, State.ENDED, CallMachine._refuse_late),
    (State.CANCELLING, Event.FAILURE, State.ENDED, CallMachine._answer),
    (State.CANCELLING, Event.LOST, State.ENDED, CallMachine._lose),
    # A later INVITE made no dialog: a 2xx that has crossed the CANCEL changes the one there is.
    (State.WITHDRAWN, Event.SUCCESS, State.ACCEPTED, CallMachine._answer),
    (State.WITHDRAWN, Event.FAILURE, State.ENDED, CallMachine._answer),
    (State.WITHDRAWN, Event.LOST, State.ENDED, CallMachine._lose),
    (State.ACCEPTED, Event.ACK, State.CONFIRMED, CallMachine._wait),
    (State.ACCEPTED, Event.SUCCESS_AGAIN, State.ACCEPTED, CallMachine._repeat_ack),
    (State.ACCEPTED, Event.SUCCESS_OTHER, State.ACCEPTED, CallMachine._refuse),
    (State.CONFIRMED, Event.SUCCESS_AGAIN, State.CONFIRMED, CallMachine._repeat_ack),
    (State.CONFIRMED, Event.SUCCESS_OTHER, State.CONFIRMED, CallMachine._refuse),
    # An answer to what was given up long ago: nobody is there for it.
    (State.ENDED, Event.SUCCESS, State.ENDED, CallMachine._refuse),
    (State.ENDED, Event.SUCCESS_AGAIN, State.ENDED, CallMachine._repeat_ack),
    (State.ENDED, Event.SUCCESS_OTHER, State.ENDED, CallMachine._refuse),
)  # fmt: skip
