"""The four transaction machines (RFC 3261 section 17, with RFC 6026 and RFC 4320).

A table is the figure of the RFC. Over a reliable transport nothing is retransmitted, and a timer that would wait for
retransmissions (D, I, J, K) has no length: it fires within the step that starts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from sipd.errors import RemoteError, TransactionTimeoutError
from sipd.sip.effects import (
    Deliver,
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
from sipd.sip.machine import Machine, table
from sipd.sip.message import Request, Response
from sipd.sip.timers import Timer, TimerValues


class State(Enum):
    """The states of figures 5 to 8, and Accepted of RFC 6026."""

    INITIAL = "initial"
    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to a transaction, beside its timers. Responses come from the peer or from the server's user."""

    START = "the request is there"
    REQUEST = "the request came again"
    PROVISIONAL = "1xx"
    SUCCESS = "2xx to INVITE"
    FAILURE = "300-699 to INVITE"
    FINAL = "200-699 to another request"
    REQUEST_TIMEOUT = "408 to another request"
    ACK = "ACK"
    CANCEL = "the user cancels"
    TRANSPORT_ERROR = "the transport failed"

    __hash__ = object.__hash__


class Transaction(Machine[State]):
    """What the four machines have in common.

    Args:
        request: the request that is the transaction; for a client, its Via is on top already.
        reliable: whether the transport retransmits by itself.
        values: how long the timers run.
    """

    __slots__ = ("interval", "reliable", "request", "values")

    def __init__(self, request: Request, values: TimerValues, *, reliable: bool) -> None:
        super().__init__(State.INITIAL)
        self.request = request
        self.reliable = reliable
        self.values = values
        #: Until the next retransmission, in seconds.
        self.interval = values.t1

    @staticmethod
    def event_of(response: Response) -> Event:
        """Give the event that a response is to this machine: from the peer to a client, from the user to a server."""
        raise TypeError("a machine without responses")

    def _wait(self, timer: Timer, duration: float) -> Effects:
        """Wait for retransmissions, which only an unreliable transport brings."""
        if self.reliable:
            return self.feed(timer)
        return (StartTimer(timer, duration),)

    def _fail(self, error: RemoteError) -> Effects:
        return (Fail(error), Terminate())

    def _inform(self, error: RemoteError) -> Effects:
        """RFC 6026 section 8.8: the user is told, the state remains."""
        return (Fail(error),)

    def _terminate(self, _: object) -> Effects:
        return (Terminate(),)


class ClientTransaction(Transaction):
    """RFC 3261 section 17.1: sends a request and delivers what comes back."""

    __slots__ = ()

    @property
    def is_unheard(self) -> bool:
        """Whether the request is out and nothing came back yet."""
        return self.state is State.CALLING or self.state is State.TRYING

    def _deliver(self, response: Response) -> Effects:
        return (Deliver(response),)

    def _time_out(self, _: object) -> Effects:
        return self._fail(TransactionTimeoutError("No final response"))


class InviteClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.1.2, figure 5; RFC 6026 section 8.4; CANCEL by RFC 3261 section 9.1.

    A CANCEL asked for while Calling waits for the first provisional response; timer B bounds the wait. Once it is
    sent, the INVITE has 64*T1 to come to an end.
    """

    __slots__ = ("ack", "cancel_headers")

    def __init__(self, request: Request, values: TimerValues, *, reliable: bool) -> None:
        super().__init__(request, values, reliable=reliable)
        #: The ACK of the final response, once there is one that is no 2xx.
        self.ack: Request | None = None
        #: More header fields of the CANCEL, once it is asked for.
        self.cancel_headers: tuple[tuple[str, str], ...] | None = None

    @staticmethod
    def event_of(response: Response) -> Event:
        """See `Transaction.event_of`."""
        return _event_of_invite_response(response)

    def _send_invite(self, _: object) -> Effects:
        if self.reliable:
            return (Send(self.request), StartTimer(Timer.B, self.values.timeout))
        return (
            Send(self.request),
            StartTimer(Timer.A, self.interval),
            StartTimer(Timer.B, self.values.timeout),
        )

    def _retransmit(self, _: object) -> Effects:
        self.interval *= 2
        return (Send(self.request), StartTimer(Timer.A, self.interval))

    def _proceed(self, response: Response) -> Effects:
        if self.cancel_headers is None:
            return (StopTimers(), Deliver(response))
        return (StopTimers(), Deliver(response), *self._send_cancel())

    def _accept(self, response: Response) -> Effects:
        return (StopTimers(), Deliver(response), StartTimer(Timer.M, self.values.timeout))

    def _complete(self, response: Response) -> Effects:
        self.ack = build_ack(self.request, response)
        return (StopTimers(), Send(self.ack), Deliver(response), *self._wait(Timer.D, self.values.d))

    def _acknowledge(self, _: object) -> Effects:
        return (Send(self.ack),) if self.ack is not None else ()

    def _queue_cancel(self, headers: Iterable[tuple[str, str]]) -> Effects:
        if self.cancel_headers is None:
            self.cancel_headers = tuple(headers)
        return ()

    def _cancel(self, headers: Iterable[tuple[str, str]]) -> Effects:
        if self.cancel_headers is not None:
            return ()
        self.cancel_headers = tuple(headers)
        return self._send_cancel()

    def _send_cancel(self) -> Effects:
        cancel = build_cancel(self.request, self.cancel_headers or ())
        return (StartCancel(cancel), StartTimer(Timer.CANCELLED, self.values.timeout))

    def _give_up(self, _: object) -> Effects:
        return self._fail(TransactionTimeoutError("No final response to a cancelled INVITE"))


InviteClientTransaction.TABLE = table(
    # state              event                   next state         action
    (State.INITIAL,      Event.START,            State.CALLING,     InviteClientTransaction._send_invite),
    (State.CALLING,      Timer.A,                State.CALLING,     InviteClientTransaction._retransmit),
    (State.CALLING,      Timer.B,                State.TERMINATED,  ClientTransaction._time_out),
    (State.CALLING,      Event.TRANSPORT_ERROR,  State.TERMINATED,  Transaction._fail),
    (State.CALLING,      Event.CANCEL,           State.CALLING,     InviteClientTransaction._queue_cancel),
    (State.CALLING,      Event.PROVISIONAL,      State.PROCEEDING,  InviteClientTransaction._proceed),
    (State.CALLING,      Event.SUCCESS,          State.ACCEPTED,    InviteClientTransaction._accept),
    (State.CALLING,      Event.FAILURE,          State.COMPLETED,   InviteClientTransaction._complete),
    (State.PROCEEDING,   Event.PROVISIONAL,      State.PROCEEDING,  ClientTransaction._deliver),
    (State.PROCEEDING,   Event.SUCCESS,          State.ACCEPTED,    InviteClientTransaction._accept),
    (State.PROCEEDING,   Event.FAILURE,          State.COMPLETED,   InviteClientTransaction._complete),
    (State.PROCEEDING,   Event.CANCEL,           State.PROCEEDING,  InviteClientTransaction._cancel),
    (State.PROCEEDING,   Timer.CANCELLED,        State.TERMINATED,  InviteClientTransaction._give_up),
    (State.PROCEEDING,   Event.TRANSPORT_ERROR,  State.TERMINATED,  Transaction._fail),
    (State.ACCEPTED,     Event.SUCCESS,          State.ACCEPTED,    ClientTransaction._deliver),
    (State.ACCEPTED,     Timer.M,                State.TERMINATED,  Transaction._terminate),
    (State.COMPLETED,    Event.FAILURE,          State.COMPLETED,   InviteClientTransaction._acknowledge),
    (State.COMPLETED,    Event.TRANSPORT_ERROR,  State.TERMINATED,  Transaction._terminate),
    (State.COMPLETED,    Timer.D,                State.TERMINATED,  Transaction._terminate),
)  # fmt: skip


class NonInviteClientTransaction(ClientTransaction):
    """RFC 3261 section 17.1.2.2, figure 6."""

    __slots__ = ()

    @staticmethod
    def event_of(response: Response) -> Event:
        """See `Transaction.event_of`."""
        return Event.PROVISIONAL if response.status < 200 else Event.FINAL

    def _send_request(self, _: object) -> Effects:
        if self.reliable:
            return (Send(self.request), StartTimer(Timer.F, self.values.timeout))
        return (
            Send(self.request),
            StartTimer(Timer.E, self.interval),
            StartTimer(Timer.F, self.values.timeout),
        )

    def _retransmit(self, _: object) -> Effects:
        self.interval = min(2 * self.interval, self.values.t2)
        return (Send(self.request), StartTimer(Timer.E, self.interval))

    def _retransmit_slowly(self, _: object) -> Effects:
        self.interval = self.values.t2
        return (Send(self.request), StartTimer(Timer.E, self.interval))

    def _complete(self, response: Response) -> Effects:
        return (StopTimers(), Deliver(response), *self._wait(Timer.K, self.values.t4))


NonInviteClientTransaction.TABLE = table(
    # state              event                   next state         action
    (State.INITIAL,      Event.START,            State.TRYING,      NonInviteClientTransaction._send_request),
    (State.TRYING,       Timer.E,                State.TRYING,      NonInviteClientTransaction._retransmit),
    (State.TRYING,       Timer.F,                State.TERMINATED,  ClientTransaction._time_out),
    (State.TRYING,       Event.TRANSPORT_ERROR,  State.TERMINATED,  Transaction._fail),
    (State.TRYING,       Event.PROVISIONAL,      State.PROCEEDING,  ClientTransaction._deliver),
    (State.TRYING,       Event.FINAL,            State.COMPLETED,   NonInviteClientTransaction._complete),
    (State.PROCEEDING,   Timer.E,                State.PROCEEDING,  NonInviteClientTransaction._retransmit_slowly),
    (State.PROCEEDING,   Timer.F,                State.TERMINATED,  ClientTransaction._time_out),
    (State.PROCEEDING,   Event.TRANSPORT_ERROR,  State.TERMINATED,  Transaction._fail),
    (State.PROCEEDING,   Event.PROVISIONAL,      State.PROCEEDING,  ClientTransaction._deliver),
    (State.PROCEEDING,   Event.FINAL,            State.COMPLETED,   NonInviteClientTransaction._complete),
    (State.COMPLETED,    Timer.K,                State.TERMINATED,  Transaction._terminate),
)  # fmt: skip


class ServerTransaction(Transaction):
    """RFC 3261 section 17.2: offers a request and sends what its user responds."""

    __slots__ = ("_kept_tag", "response")

    def __init__(self, request: Request, values: TimerValues, *, reliable: bool) -> None:
        super().__init__(request, values, reliable=reliable)
        #: The latest response, to be sent again when the request comes again.
        self.response: Response | None = None
        self._kept_tag: str | None = None

    @property
    def to_tag(self) -> str | None:
        """The tag in To of the latest response, or ``None``."""
        return self._kept_tag if self.response is None else self.response.to.tag

    @property
    def is_answered(self) -> bool:
        """Whether a final response was given, or can no longer be given."""
        return self.state not in _UNANSWERED

    def _send(self, response: Response) -> Effects:
        self.response = response
        return (Respond(response),)

    def _send_again(self, _: object) -> Effects:
        return (Respond(self.response),) if self.response is not None else ()

    def _send_trying(self, _: object) -> Effects:
        return self._send(self.request.response(100))


class InviteServerTransaction(ServerTransaction):
    """RFC 3261 section 17.2.1, figure 7; RFC 6026 sections 8.5 to 8.8.

    In Accepted the user repeats the 2xx, since the ACK is its business; the transaction absorbs what is repeated of
    the INVITE, and hands over an ACK that wrongly has the branch of the INVITE. So it does not keep the 2xx.
    """

    __slots__ = ()

    @staticmethod
    def event_of(response: Response) -> Event:
        """See `Transaction.event_of`."""
        return _event_of_invite_response(response)

    def _offer(self, _: object) -> Effects:
        return (StartTimer(Timer.TRYING, self.values.invite_trying), Offer(self.request))

    def _pass_ack(self, ack: Request) -> Effects:
        return (Offer(ack),)

    def _proceed(self, response: Response) -> Effects:
        self.response = response
        return (StopTimers(), Respond(response))

    def _accept(self, response: Response) -> Effects:
        self.response, self._kept_tag = None, response.to.tag
        return (StopTimers(), Respond(response), StartTimer(Timer.L, self.values.timeout))

    def _repeat(self, response: Response) -> Effects:
        return (Respond(response),)

    def _complete(self, response: Response) -> Effects:
        self.response = response
        effects = (StopTimers(), Respond(response), StartTimer(Timer.H, self.values.timeout))
        return effects if self.reliable else (*effects, StartTimer(Timer.G, self.interval))

    def _retransmit(self, _: object) -> Effects:
        self.interval = min(2 * self.interval, self.values.t2)
        return (*self._send_again(None), StartTimer(Timer.G, self.interval))

    def _confirm(self, _: object) -> Effects:
        return (StopTimers(), *self._wait(Timer.I, self.values.t4))

    def _time_out(self, _: object) -> Effects:
        return self._fail(TransactionTimeoutError("No ACK for the final response"))


InviteServerTransaction.TABLE = table(
    # state              event                   next state         action
    (State.INITIAL,      Event.START,            State.PROCEEDING,  InviteServerTransaction._offer),
    (State.PROCEEDING,   Event.REQUEST,          State.PROCEEDING,  ServerTransaction._send_again),
    (State.PROCEEDING,   Timer.TRYING,           State.PROCEEDING,  ServerTransaction._send_trying),
    (State.PROCEEDING,   Event.PROVISIONAL,      State.PROCEEDING,  InviteServerTransaction._proceed),
    (State.PROCEEDING,   Event.SUCCESS,          State.ACCEPTED,    InviteServerTransaction._accept),
    (State.PROCEEDING,   Event.FAILURE,          State.COMPLETED,   InviteServerTransaction._complete),
    (State.PROCEEDING,   Event.TRANSPORT_ERROR,  State.PROCEEDING,  Transaction._inform),
    (State.ACCEPTED,     Event.SUCCESS,          State.ACCEPTED,    InviteServerTransaction._repeat),
    (State.ACCEPTED,     Event.ACK,              State.ACCEPTED,    InviteServerTransaction._pass_ack),
    (State.ACCEPTED,     Event.TRANSPORT_ERROR,  State.ACCEPTED,    Transaction._inform),
    (State.ACCEPTED,     Timer.L,                State.TERMINATED,  Transaction._terminate),
    (State.COMPLETED,    Event.REQUEST,          State.COMPLETED,   ServerTransaction._send_again),
    (State.COMPLETED,    Timer.G,                State.COMPLETED,   InviteServerTransaction._retransmit),
    (State.COMPLETED,    Timer.H,                State.TERMINATED,  InviteServerTransaction._time_out),
    (State.COMPLETED,    Event.TRANSPORT_ERROR,  State.COMPLETED,   Transaction._inform),
    (State.COMPLETED,    Event.ACK,              State.CONFIRMED,   InviteServerTransaction._confirm),
    (State.CONFIRMED,    Timer.I,                State.TERMINATED,  Transaction._terminate),
)  # fmt: skip


class NonInviteServerTransaction(ServerTransaction):
    """RFC 3261 section 17.2.2, figure 8, as RFC 4320 section 4 changes it.

    The only provisional response is a 100, which the transaction sends by itself when it is time: those of the user
    are absorbed. A 408 is not sent, since nobody waits for it any more; and after 64*T1 without an answer, when the
    client has given up, the transaction ends and its user is told.
    """

    __slots__ = ()

    @staticmethod
    def event_of(response: Response) -> Event:
        """See `Transaction.event_of`."""
        status = response.status
        return Event.PROVISIONAL if status < 200 else Event.REQUEST_TIMEOUT if status == 408 else Event.FINAL

    def _offer(self, _: object) -> Effects:
        return (
            StartTimer(Timer.TRYING, self.values.non_invite_trying),
            StartTimer(Timer.EXPIRY, self.values.timeout),
            Offer(self.request),
        )

    def _complete(self, response: Response) -> Effects:
        self.response = response
        return (StopTimers(), Respond(response), *self._wait(Timer.J, self.values.timeout))

    def _complete_silently(self, _: object) -> Effects:
        self.response = None
        return (StopTimers(), *self._wait(Timer.J, self.values.timeout))

    def _expire(self, _: object) -> Effects:
        return self._fail(TransactionTimeoutError("Not answered before the client gave up"))


NonInviteServerTransaction.TABLE = table(
    # state              event                   next state         action
    (State.INITIAL,      Event.START,            State.TRYING,      NonInviteServerTransaction._offer),
    (State.TRYING,       Timer.TRYING,           State.PROCEEDING,  ServerTransaction._send_trying),
    (State.TRYING,       Event.FINAL,            State.COMPLETED,   NonInviteServerTransaction._complete),
    (State.TRYING,       Event.REQUEST_TIMEOUT,  State.COMPLETED,   NonInviteServerTransaction._complete_silently),
    (State.TRYING,       Event.TRANSPORT_ERROR,  State.TRYING,      Transaction._inform),
    (State.TRYING,       Timer.EXPIRY,           State.TERMINATED,  NonInviteServerTransaction._expire),
    (State.PROCEEDING,   Event.REQUEST,          State.PROCEEDING,  ServerTransaction._send_again),
    (State.PROCEEDING,   Event.FINAL,            State.COMPLETED,   NonInviteServerTransaction._complete),
    (State.PROCEEDING,   Event.REQUEST_TIMEOUT,  State.COMPLETED,   NonInviteServerTransaction._complete_silently),
    (State.PROCEEDING,   Event.TRANSPORT_ERROR,  State.PROCEEDING,  Transaction._inform),
    (State.PROCEEDING,   Timer.EXPIRY,           State.TERMINATED,  NonInviteServerTransaction._expire),
    (State.COMPLETED,    Event.REQUEST,          State.COMPLETED,   ServerTransaction._send_again),
    (State.COMPLETED,    Event.TRANSPORT_ERROR,  State.COMPLETED,   Transaction._inform),
    (State.COMPLETED,    Timer.J,                State.TERMINATED,  Transaction._terminate),
)  # fmt: skip


_UNANSWERED = frozenset((State.INITIAL, State.TRYING, State.PROCEEDING))


def _event_of_invite_response(response: Response) -> Event:
    status = response.status
    return Event.PROVISIONAL if status < 200 else Event.SUCCESS if status < 300 else Event.FAILURE
