"""Provisional responses that arrive for certain: RFC 3262.

`ReliableAnswerMachine` is the callee of one INVITE: it numbers its reliable responses, repeats the one that is not
acknowledged, keeps later ones waiting, and holds a 2xx back while something that was said has no PRACK.
`ReliableCallMachine` is the caller in one early dialog: it finds out which response is a new one, to be acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sipd.errors import ParseError, RemoteError
from sipd.sip.fields import RAck
from sipd.sip.grammar import parse_number
from sipd.sip.machine import Machine, StartTimer, StopTimers, table
from sipd.sip.message import Request, Response
from sipd.sip.timers import TimerValues

#: The option tag, in lower case.
EXTENSION = "100rel"
#: How many responses without a body may wait for the PRACK of an earlier one; later ones are left out.
QUEUE_LIMIT = 8


class Reliability(Enum):
    """What a caller wants of provisional responses (RFC 3262 section 3)."""

    REQUIRED = "it requires 100rel"
    SUPPORTED = "it supports 100rel"
    NONE = "it does not know 100rel"

    __hash__ = object.__hash__


class State(Enum):
    """Where the reliable responses of an INVITE, or of one of its early dialogs, stand."""

    IDLE = "idle"
    WAITING = "waiting for PRACK"
    HOLDING = "the 2xx waits, too"
    FOLLOWING = "following the numbers"
    ENDED = "ended"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to them; `REPEAT` and `NO_PRACK` are timers."""

    RELIABLE = "a reliable 1xx"
    UNRELIABLE = "another 1xx"
    SUCCESS = "2xx"
    EARLY_SUCCESS = "2xx before the PRACK of something that was said"
    FAILURE = "300-699"
    FINAL = "any final response"
    PRACK = "PRACK, and another response waits"
    LAST_PRACK = "PRACK, and none waits"
    STRAY_PRACK = "PRACK for nothing that waits for it"
    REPEAT = "no PRACK yet"
    NO_PRACK = "no PRACK at all"

    __hash__ = object.__hash__


@dataclass(slots=True)
class Respond:
    """Send a provisional response through the INVITE's server transaction."""

    response: Response


@dataclass(slots=True)
class Acknowledged:
    """This PRACK is the one for that response: answer it with 2xx, and look for an offer or an answer in it."""

    prack: Request
    response: Response


@dataclass(slots=True)
class RefusePrack:
    """Answer this PRACK with 481: it acknowledges nothing."""

    prack: Request


@dataclass(slots=True)
class Accept:
    """Now the 2xx may be given to whoever sends it (`sipd.sip.invite.AnswerMachine`)."""

    response: Response


@dataclass(slots=True)
class Unacknowledged:
    """Reject the INVITE with this status: no PRACK came in 64*T1."""

    error: RemoteError


@dataclass(slots=True)
class Progress:
    """Give the user a provisional response; there is nothing to acknowledge."""

    response: Response


@dataclass(slots=True)
class Acknowledge:
    """Give the user a reliable response, and send one PRACK with this RAck: with an answer if there is an offer."""

    response: Response
    rack: RAck


Effect = (
    Respond | StartTimer | StopTimers | Acknowledged | RefusePrack | Accept | Unacknowledged | Progress | Acknowledge
)
Effects = tuple[Effect, ...]


def reliability(invite: Request, supported: frozenset[str] = frozenset((EXTENSION,))) -> Reliability:
    """Say what the caller wants, by Require and Supported, and can have.

    Args:
        invite: the INVITE.
        supported: what this side supports; without 100rel a caller that does not require it does not get it.

    Raises:
        ParseError: one of them is malformed.
    """
    for name, wanted in (("Require", Reliability.REQUIRED), ("Supported", Reliability.SUPPORTED)):
        if any(tag.lower() == EXTENSION for tag in invite.headers.values(name)):
            return wanted if wanted is Reliability.REQUIRED or EXTENSION in supported else Reliability.NONE
    return Reliability.NONE


def first_rseq(entropy: Callable[[int], bytes]) -> int:
    """Choose the first number of an INVITE: 1 to 2**31-1 (RFC 3262 section 3)."""
    return int.from_bytes(entropy(4), "big") % (2**31 - 1) + 1


def rseq_of(response: Response) -> int | None:
    """Give the RSeq of a response that asks for PRACK, or ``None`` if it does not.

    A 100 never does, and neither does a response that requires 100rel but has no number (RFC 3262 section 4).

    Raises:
        ParseError: RSeq or Require is malformed.
    """
    text = response.headers.get("RSeq")
    if text is None or not 100 < response.status < 200:
        return None
    if not any(tag.lower() == EXTENSION for tag in response.headers.values("Require")):
        return None
    return parse_number(text, "RSeq")


def rack_of(prack: Request) -> RAck:
    """Give the RAck of a PRACK.

    Raises:
        ParseError: it is missing or malformed: 400.
    """
    text = prack.headers.get("RAck")
    if text is None:
        raise ParseError("RAck is missing")
    return RAck.parse(text)


class ReliableAnswerMachine(Machine[State]):
    """The callee of one INVITE (RFC 3262 section 3).

    Feed `RELIABLE` with each response that is to be sent reliably, without Require and RSeq; `event_of_prack` and
    `event_of_success` say as what to feed a PRACK and the 2xx. `FAILURE` only stops it.

    Args:
        values: T1 times the repetition, which doubles without an upper bound, for 64*T1.
        first: the first RSeq, see `first_rseq`.
    """

    __slots__ = ("_interval", "_next", "_queue", "_rseq", "_success", "_unacknowledged", "_values")

    def __init__(self, values: TimerValues, first: int) -> None:
        super().__init__(State.IDLE)
        self._values = values
        self._next = first
        self._rseq = 0
        self._interval = values.t1
        self._unacknowledged: Response | None = None
        self._queue: deque[Response] = deque()
        self._success: Response | None = None

    def event_of_prack(self, prack: Request) -> Event:
        """Say as what to feed a PRACK: whether its RAck names the response that waits for it.

        Raises:
            ParseError: the RAck is missing or malformed.
        """
        rack = rack_of(prack)
        waiting = self._unacknowledged
        if waiting is None or rack.rseq != self._rseq or rack.cseq != waiting.cseq:
            return Event.STRAY_PRACK
        return Event.PRACK if self._queue else Event.LAST_PRACK

    def event_of_success(self) -> Event:
        """Say as what to feed a 2xx: whether it has to wait."""
        if self._unacknowledged is not None and (self._unacknowledged.body or any(each.body for each in self._queue)):
            return Event.EARLY_SUCCESS
        return Event.SUCCESS

    def _send(self, response: Response) -> Effects:
        response.headers.add("Require", EXTENSION)
        response.headers.set("RSeq", str(self._next))
        self._rseq = self._next
        self._next += 1
        self._unacknowledged = response
        self._interval = self._values.t1
        return (
            Respond(response),
            StartTimer(Event.REPEAT, self._interval),
            StartTimer(Event.NO_PRACK, self._values.timeout),
        )

    def _enqueue(self, response: Response) -> Effects:
        if response.body or sum(not each.body for each in self._queue) < QUEUE_LIMIT:
            self._queue.append(response)
        return ()

    def _repeat(self, _: object) -> Effects:
        assert self._unacknowledged is not None
        self._interval *= 2
        return (Respond(self._unacknowledged), StartTimer(Event.REPEAT, self._interval))

    def _acknowledge(self, prack: Request) -> Effects:
        return (StopTimers(), self._acknowledged(prack), *self._send(self._queue.popleft()))

    def _acknowledge_last(self, prack: Request) -> Effects:
        return (StopTimers(), self._acknowledged(prack))

    def _acknowledge_and_accept(self, prack: Request) -> Effects:
        assert self._success is not None
        return (*self._acknowledge_last(prack), Accept(self._success))

    def _acknowledge_late(self, prack: Request) -> Effects:
        return (self._acknowledged(prack),)

    def _acknowledged(self, prack: Request) -> Acknowledged:
        response, self._unacknowledged = self._unacknowledged, None
        assert response is not None
        return Acknowledged(prack, response)

    def _refuse(self, prack: Request) -> Effects:
        return (RefusePrack(prack),)

    def _accept(self, response: Response) -> Effects:
        # No new one after a final response; the PRACK of one that was sent may still come.
        self._queue.clear()
        return (StopTimers(), Accept(response))

    def _hold(self, response: Response) -> Effects:
        self._success = response
        while self._queue and not self._queue[-1].body:
            self._queue.pop()
        return ()

    def _stop(self, _: object) -> Effects:
        self._queue.clear()
        return (StopTimers(),)

    def _give_up(self, _: object) -> Effects:
        self._queue.clear()
        return (StopTimers(), Unacknowledged(RemoteError("No PRACK", status=504)))


ReliableAnswerMachine.TABLE = table(
    # state          event                next state       action
    (State.IDLE, Event.RELIABLE, State.WAITING, ReliableAnswerMachine._send),
    (State.IDLE, Event.SUCCESS, State.ENDED, ReliableAnswerMachine._accept),
    (State.IDLE, Event.FAILURE, State.ENDED, ReliableAnswerMachine._stop),
    (State.IDLE, Event.STRAY_PRACK, State.IDLE, ReliableAnswerMachine._refuse),
    (State.WAITING, Event.RELIABLE, State.WAITING, ReliableAnswerMachine._enqueue),
    (State.WAITING, Event.REPEAT, State.WAITING, ReliableAnswerMachine._repeat),
    (State.WAITING, Event.PRACK, State.WAITING, ReliableAnswerMachine._acknowledge),
    (State.WAITING, Event.LAST_PRACK, State.IDLE, ReliableAnswerMachine._acknowledge_last),
    (State.WAITING, Event.STRAY_PRACK, State.WAITING, ReliableAnswerMachine._refuse),
    (State.WAITING, Event.SUCCESS, State.ENDED, ReliableAnswerMachine._accept),
    (State.WAITING, Event.EARLY_SUCCESS, State.HOLDING, ReliableAnswerMachine._hold),
    (State.WAITING, Event.FAILURE, State.ENDED, ReliableAnswerMachine._stop),
    (State.WAITING, Event.NO_PRACK, State.ENDED, ReliableAnswerMachine._give_up),
    (State.HOLDING, Event.REPEAT, State.HOLDING, ReliableAnswerMachine._repeat),
    (State.HOLDING, Event.PRACK, State.HOLDING, ReliableAnswerMachine._acknowledge),
    (State.HOLDING, Event.LAST_PRACK, State.ENDED, ReliableAnswerMachine._acknowledge_and_accept),
    (State.HOLDING, Event.STRAY_PRACK, State.HOLDING, ReliableAnswerMachine._refuse),
    (State.HOLDING, Event.FAILURE, State.ENDED, ReliableAnswerMachine._stop),
    (State.HOLDING, Event.NO_PRACK, State.ENDED, ReliableAnswerMachine._give_up),
    (State.ENDED, Event.LAST_PRACK, State.ENDED, ReliableAnswerMachine._acknowledge_late),
    (State.ENDED, Event.STRAY_PRACK, State.ENDED, ReliableAnswerMachine._refuse),
)  # fmt: skip


class ReliableCallMachine(Machine[State]):
    """The caller in one early dialog (RFC 3262 section 4). `event_of` says as what to feed a provisional response.

    Retransmissions and responses after a gap are absorbed: the gap closes when what is missing is sent again.
    """

    __slots__ = ("_rseq",)

    def __init__(self) -> None:
        super().__init__(State.IDLE)
        self._rseq = 0

    def event_of(self, response: Response) -> Event | None:
        """Say as what to feed a provisional response; ``None`` for one that is to be ignored.

        Raises:
            ParseError: RSeq or Require is malformed.
        """
        rseq = rseq_of(response)
        if rseq is None:
            return Event.UNRELIABLE
        return Event.RELIABLE if self.state is State.IDLE or rseq == self._rseq + 1 else None

    def _acknowledge(self, response: Response) -> Effects:
        rseq = rseq_of(response)
        assert rseq is not None
        self._rseq = rseq
        return (Acknowledge(response, RAck(rseq, response.cseq)),)

    def _progress(self, response: Response) -> Effects:
        return (Progress(response),)

    def _stop(self, _: object) -> Effects:
        return ()


ReliableCallMachine.TABLE = table(
    # state            event             next state       action
    (State.IDLE, Event.RELIABLE, State.FOLLOWING, ReliableCallMachine._acknowledge),
    (State.IDLE, Event.UNRELIABLE, State.IDLE, ReliableCallMachine._progress),
    (State.IDLE, Event.FINAL, State.ENDED, ReliableCallMachine._stop),
    (State.FOLLOWING, Event.RELIABLE, State.FOLLOWING, ReliableCallMachine._acknowledge),
    (State.FOLLOWING, Event.UNRELIABLE, State.FOLLOWING, ReliableCallMachine._progress),
    (State.FOLLOWING, Event.FINAL, State.ENDED, ReliableCallMachine._stop),
)  # fmt: skip
