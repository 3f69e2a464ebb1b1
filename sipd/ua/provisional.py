"""Provisional responses that have to arrive, as the callee of one INVITE sends them (RFC 3262 section 3)."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING

from sipd.errors import RemoteError
from sipd.interfaces import IServerTransaction
from sipd.sip import reliable
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Response
from sipd.sip.reliable import Effects, Event, Reliability, ReliableAnswerMachine, first_rseq, reliability
from sipd.ua.timers import Timers

if TYPE_CHECKING:
    from sipd.ua.answering import Answering
    from sipd.ua.core import UserAgent


class ProvisionalResponses:
    """The provisional responses to one INVITE. Performs the effects of a `ReliableAnswerMachine`.

    All are reliable if the caller requires that; if it only supports it, those with a description are, since it gets
    nothing else through that matters.

    Args:
        agent: for its timers and its entropy.
        answering: the INVITE.
        failed: told that a caller never acknowledged one.
    """

    __slots__ = ("_agent", "_answering", "_failed", "_machine", "_timers", "_wanted")

    def __init__(self, agent: UserAgent, answering: Answering, failed: Callable[[RemoteError], None]) -> None:
        self._agent = agent
        self._answering = answering
        self._failed = failed
        self._wanted = reliability(answering.request)
        self._timers = Timers(agent.clock, self._fired)
        self._machine: ReliableAnswerMachine | None = None

    def send(self, response: Response) -> None:
        """Send a provisional response, reliably or not."""
        if self._wanted is Reliability.NONE or (self._wanted is Reliability.SUPPORTED and not response.body):
            self._answering.transaction.respond(response)
            return
        if self._machine is None:
            self._machine = ReliableAnswerMachine(self._agent.settings.timers, first_rseq(self._agent.entropy))
        # The machine numbers it, and the same response may be sent again a minute later.
        self._perform(self._machine.feed(Event.RELIABLE, response.copy()))

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
        if self._machine is None:
            transaction.respond(prack.response(481))
            return
        effects = self._machine.feed(self._machine.event_of_prack(prack), prack)
        is_known = any(isinstance(effect, reliable.Acknowledged) for effect in effects)
        # What was offered before is agreed on by now, and another offer in a PRACK is not taken up (section 5).
        transaction.respond(prack.response((488 if prack.body else 200) if is_known else 481))
        self._perform(effects)

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
