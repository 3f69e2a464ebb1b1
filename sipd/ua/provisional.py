"""Provisional responses that have to arrive, as the callee of one INVITE sends them (RFC 3262 section 3)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from sipd.errors import RemoteError, RequestRefusedError
from sipd.interfaces import IServerTransaction
from sipd.sip import reliable
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Response
from sipd.sip.reliable import Effects, Event, Reliability, ReliableAnswerMachine, State, first_rseq
from sipd.timers import Timers
from sipd.ua.events import ProgressAcknowledged

if TYPE_CHECKING:
    from sipd.ua.answering import Answering
    from sipd.ua.session import Session


def is_reliable(wish: Reliability, *, has_description: bool) -> bool:
    """Say whether a provisional response is sent reliably to a caller with that wish.

    All are if it requires that; if it only supports it, those with a description are, since it gets nothing else
    through that matters.
    """
    return wish is Reliability.REQUIRED or (wish is Reliability.SUPPORTED and has_description)


class ProvisionalResponses:
    """The provisional responses to one INVITE. Performs the effects of a `ReliableAnswerMachine`.

    Args:
        session: whose INVITE it is.
        answering: the INVITE.
        failed: told that a caller never acknowledged one.
    """

    __slots__ = ("_answering", "_failed", "_held", "_machine", "_offer", "_session", "_timers")

    def __init__(self, session: Session, answering: Answering, failed: Callable[[RemoteError], None]) -> None:
        self._session = session
        self._answering = answering
        self._failed = failed
        self._timers = Timers(session.agent.clock, self._fired)
        self._machine: ReliableAnswerMachine | None = None
        #: The one that makes the offer which the INVITE does not make: its PRACK carries the answer (section 5).
        self._offer: Response | None = None
        #: The 2xx, while an offer that came in a PRACK waits for its answer.
        self._held: Response | None = None

    @property
    def is_acknowledged(self) -> bool:
        """Whether one was sent reliably, and none waits for its PRACK."""
        return self._machine is not None and self._machine.state is State.IDLE

    @property
    def has_offer(self) -> bool:
        """Whether one made the offer that the INVITE does not make."""
        return self._offer is not None

    def send(self, response: Response) -> None:
        """Send a provisional response, reliably or not."""
        if not is_reliable(self._answering.wish, has_description=bool(response.body)):
            self._answering.transaction.respond(response)
            return
        if self._machine is None:
            agent = self._session.agent
            self._machine = ReliableAnswerMachine(agent.settings.timers, first_rseq(agent.entropy))
        # The machine numbers it, and the same response may be sent again a minute later.
        numbered = response.copy()
        if response.body and not self._answering.request.body and self._offer is None:
            self._offer = numbered
        self._session.updates.said(response)
        self._perform(self._machine.feed(Event.RELIABLE, numbered))

    def accept(self, response: Response) -> None:
        """Give the 2xx on, as soon as the caller has acknowledged all descriptions before it."""
        if self._machine is None:
            self._answering.accepted(response)
        else:
            self._perform(self._machine.feed(self._machine.event_of_success(), response))

    def prack_received(self, transaction: IServerTransaction) -> None:
        """Take a PRACK: 2xx if it acknowledges something, else 481.

        Raises:
            ParseError: it has no RAck that can be read.
        """
        prack = transaction.request
        effects = () if self._machine is None else self._machine.feed(self._machine.event_of_prack(prack), prack)
        response = next((effect.response for effect in effects if isinstance(effect, reliable.Acknowledged)), None)
        if response is None:
            transaction.respond(prack.response(481))
        elif response is self._offer:
            transaction.respond(prack.response(200))
            self._perform(effects)
            self._session.tell(ProgressAcknowledged(prack))
        elif prack.body:
            self._take_offer(transaction, effects)
        else:
            transaction.respond(prack.response(200))
            self._perform(effects)

    def _take_offer(self, transaction: IServerTransaction, effects: Effects) -> None:
        """Take another offer (section 5). It says yes to the response, whatever comes of it; the 2xx waits for that."""
        accept = next((effect for effect in effects if isinstance(effect, reliable.Accept)), None)
        self._held = None if accept is None else accept.response
        self._perform(tuple([effect for effect in effects if effect is not accept]))
        try:
            self._session.updates.offered(transaction, self._go_on)
        except RequestRefusedError as error:
            transaction.respond(transaction.request.response(error.status, error.reason))
            self._go_on()

    def _go_on(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._session.is_over and not self._answering.is_answered:
            self._answering.accepted(held)

    def stop(self) -> None:
        """Send nothing more: there is a final response."""
        if self._machine is not None:
            self._perform(self._machine.feed(Event.FAILURE))

    def _perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case reliable.Respond(response):
                    self._answering.transaction.respond(response)
                case StartTimer(event, duration):
                    self._timers.start(event, duration)
                case StopTimers():
                    self._timers.stop()
                case reliable.Accept(response):
                    self._answering.accepted(response)
                case reliable.Unacknowledged(error):
                    self._failed(error)

    def _fired(self, event: Enum) -> None:
        assert self._machine is not None
        self._perform(self._machine.feed(event))
