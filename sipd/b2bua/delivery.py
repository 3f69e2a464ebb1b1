"""A request outside of calls on its way out: to the contacts of a round at once, until one takes it.

RFC 3261 section 16.7, RFC 4321.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred

from sipd.b2bua.inbox import Inbox
from sipd.b2bua.policing import hear
from sipd.b2bua.refusals import Refusal, choose
from sipd.errors import RemoteError
from sipd.interfaces import Attempt
from sipd.sip.message import Response

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from sipd.b2bua.errand import Errand
    from sipd.ua.core import UserAgent

#: How long a delivery may take, in T1: its sender waits for 64 (timer F), and must be told before (RFC 4320, 4.2).
PATIENCE = 60


class _Turn(Enum):
    """What happens to a delivery beside what comes of its attempts."""

    NEXT = "the contacts of the next round have waited long enough"
    OVER = "the sender has waited long enough"
    STOPPED = "somebody ends it"

    __hash__ = object.__hash__


class Delivery:
    """One request, and everywhere it goes.

    The contacts of one round get it together. Those of the next round get it when all before have refused it, or after
    `AgentSettings.target_timeout`: a request that is no INVITE leaves no time for more (RFC 4321). What was sent cannot
    be taken back, so several may show a message; the first 2xx is the answer.

    Args:
        agent: sends it.

    Attributes:
        notes: what came of each attempt, for a person.
        taker: the attempt that the 2xx came from, if there was one.
    """

    def __init__(self, agent: UserAgent) -> None:
        self.notes: list[str] = []
        self.taker: Attempt | None = None
        self._agent = agent
        # What came of an attempt is an exception that is no `RemoteError` only if there is a bug.
        self._inbox: Inbox[_Turn | tuple[int, Response | BaseException]] = Inbox()
        self._attempts: list[Attempt] = []
        self._open: dict[int, Deferred[None]] = {}
        self._next: IDelayedCall | None = None
        self._is_over = False

    def stop(self) -> None:
        """End it: the outcome is 503."""
        self._inbox.put(_Turn.STOPPED)

    async def run(self, errand: Errand, rounds: Iterable[Iterable[Attempt]]) -> Response | Refusal:
        """Give the first 2xx, or else the best refusal."""
        settings = self._agent.settings
        end = self._agent.clock.callLater(PATIENCE * settings.timers.t1, self._inbox.put, _Turn.OVER)
        try:
            return await self._run(errand, deque(rounds))
        finally:
            self._is_over = True
            self._stop_waiting()
            if end.active():
                end.cancel()

    async def _run(self, errand: Errand, rounds: deque[Iterable[Attempt]]) -> Response | Refusal:
        refusals: list[Refusal] = []
        is_due = True
        while rounds or self._open:
            if rounds and (is_due or not self._open):
                self._begin(errand, rounds.popleft())
                is_due = False
            event = await self._inbox.get()
            match event:
                case _Turn.NEXT:
                    is_due = True
                case _Turn.OVER:
                    refusals += [Refusal(480, "No Answer", None, "timeout")] * len(self._open)
                    self._give_up("no answer")
                    break
                case _Turn.STOPPED:
                    self._give_up("stopped")
                    return Refusal(503, "Service Unavailable", None, "stopped")
                case (number, Response() as response):
                    self._note(number, f"{response.status} {response.reason}")
                    if response.is_success:
                        self.taker = self._attempts[number]
                        return response
                    policy = self._attempts[number].policy
                    refusal = Refusal.of_response(response)
                    refusals.append(refusal if policy is None else hear(policy, refusal))
                case (number, RemoteError() as error):
                    self._note(number, error.reason)
                    refusals.append(Refusal.of_error(error))
                case (_, BaseException() as error):
                    raise error
            if refusals and refusals[-1].status >= 600:
                # It speaks for all places: no further one is tried, but those that have it may still take it.
                rounds.clear()
        return choose(refusals)

    def _begin(self, errand: Errand, attempts: Iterable[Attempt]) -> None:
        """Send it to the contacts of a round."""
        for attempt in attempts:
            number = len(self._attempts)
            self._attempts.append(attempt)
            sending = Deferred.fromCoroutine(errand.send(attempt))
            self._open[number] = sending.addCallbacks(self._answered, self._failed, (number,), errbackArgs=(number,))
        self._stop_waiting()
        timeout = self._agent.settings.target_timeout
        self._next = self._agent.clock.callLater(timeout, self._inbox.put, _Turn.NEXT)

    def _answered(self, response: Response, number: int) -> None:
        self._inbox.put((number, response))

    def _failed(self, failure: Failure, number: int) -> Failure | None:
        error = failure.value
        if isinstance(error, CancelledError):
            return None
        if self._is_over and not isinstance(error, RemoteError):
            return failure  # a bug of which nobody would hear
        assert error is not None
        self._inbox.put((number, error))
        return None

    def _note(self, number: int, text: str) -> None:
        del self._open[number]
        self.notes.append(f"{self._attempts[number].label}: {text}")

    def _give_up(self, text: str) -> None:
        """Try no further server of any attempt; what was sent goes on by itself."""
        for number, sending in list(self._open.items()):
            self._note(number, text)
            sending.cancel()

    def _stop_waiting(self) -> None:
        timer, self._next = self._next, None
        if timer is not None and timer.active():
            timer.cancel()
