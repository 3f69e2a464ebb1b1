"""What another side has of ours for a time, and keeps as long as we ask for it again: see `Lease`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed

from sipd.errors import LocalError, RemoteError
from sipd.sip.machine import StartTimer, StopTimers
from sipd.sip.message import Response
from sipd.sip.registrant import Bound, Effect, Event, Failure, Lost, Over, Register, Registrant, State, Unregister
from sipd.sip.registrant import Failed as InVain
from sipd.timers import Timers
from sipd.ua.effects import EffectQueue

if TYPE_CHECKING:
    from twisted.python import failure

    from sipd.ua.core import UserAgent

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It was asked for in vain: refused, or not answered.

    Args:
        status: of the response, or 0 if there is none.
        text: why, for a person.
        next_try: in so many seconds.
    """

    status: int
    text: str
    next_try: float


class Lease(ABC, Generic[Told]):
    """A registration, a publication or a subscription of ours, kept until it is stopped.

    Performs the effects of a `Registrant`, which knows when to ask; what is asked, and what an answer means, is up to
    the subclass. Every failure is told, and nothing of it has to be handled.

    Args:
        agent: sends the requests.
        machine: says when.
        watch: told of each event; returns soon and does not raise.

    Attributes:
        failure: why the last request failed; ``None`` after one that did not.
    """

    def __init__(self, agent: UserAgent, machine: Registrant, watch: Callable[[Told], None] | None) -> None:
        self.failure: Failure | None = None
        self._agent = agent
        self._machine = machine
        self._watch = watch
        self._effects: EffectQueue[Effect] = EffectQueue(self._perform)
        self._timers = Timers(agent.clock, self._feed)
        self._lasts_until = 0.0
        self._asking: Deferred[Response] | None = None
        self._leaving: Deferred[Any] | None = None
        #: Whether the other side has said that it has nothing of ours any more.
        self._is_confirmed = True
        self._awaiting: list[Deferred[None]] = []
        self._ending: list[Deferred[None]] = []

    # --- for the application --------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it stands; ``REGISTERED`` is had, whatever it is."""
        return self._machine.state

    @property
    def expires(self) -> float:
        """Seconds that it lasts yet if it is not refreshed; 0 where there is nothing."""
        return max(0.0, self._lasts_until - self._agent.clock.seconds()) if self._is_held else 0.0

    def start(self) -> None:
        """Begin to ask. Idempotent; what is over does not begin again."""
        self._feed(Event.START)

    def refresh(self) -> None:
        """Ask now, and not when it is due: the network is another one, or back again."""
        self._feed(Event.HURRY)

    def stop(self) -> Deferred[None]:
        """Take it back; the Deferred fires when that is done, or ``leave_limit`` of the timing is over."""
        if self.state is State.STOPPED:
            return succeed(None)
        ending: Deferred[None] = Deferred()
        self._ending.append(ending)
        self._feed(Event.STOP)
        return ending

    def close(self) -> None:
        """Stop at once, without a word to anybody. Idempotent."""
        self._effects.clear()
        self._feed(Event.CLOSE)
        self._end()

    # --- what the machine wants -----------------------------------------------------------------------------

    @property
    def _is_held(self) -> bool:
        return self._machine.bound is not None

    def _feed(self, event: Enum, argument: object = None) -> None:
        self._effects.add(self._machine.feed(event, argument))

    def _perform(self, effect: Effect) -> None:
        match effect:
            case StartTimer(event, duration):
                self._timers.start(event, duration)
            case StopTimers():
                self._timers.stop()
            case Register():
                self._ask(effect)
            case Unregister():
                self._leave()
            case Bound():
                self._bound(effect)
            case InVain():
                self._refused(effect)
            case Lost():
                self._lost()
            case Over():
                self._over()
                self._end()

    @abstractmethod
    def _ask(self, effect: Register) -> None:
        """Ask for it; `_asking` is the answer, and ``GRANTED`` or ``FAILED`` follows."""

    @abstractmethod
    def _leave(self) -> None:
        """Take it back; `_leaving` is the answer, and ``GONE`` follows."""

    @abstractmethod
    def _bound(self, effect: Bound) -> None:
        """It is had, or goes on."""

    @abstractmethod
    def _refused(self, effect: InVain) -> None:
        """It was asked for in vain."""

    @abstractmethod
    def _lost(self) -> None:
        """Its time is over."""

    @abstractmethod
    def _over(self) -> None:
        """It is over for good, as was wished or not; `_forget` and the rest follow."""

    @abstractmethod
    def _forget(self) -> None:
        """Drop what is known of it."""

    @abstractmethod
    def _end_error(self) -> RemoteError:
        """Why nobody needs to wait for it any more."""

    def _failed(self, reason: failure.Failure) -> None:
        """There was no answer."""
        reason.trap(RemoteError, LocalError, CancelledError)
        self._asking = None
        self._feed(Event.FAILED, Failure(status=0, text=reason.getErrorMessage()))

    def _not_left(self, reason: failure.Failure) -> None:
        """There was no answer when it was taken back."""
        reason.trap(RemoteError, LocalError, CancelledError)
        self._leaving = None
        self._feed(Event.GONE)

    def _end(self) -> None:
        """Nothing more will happen; whoever waits for something hears of that."""
        self._forget()
        under_way = [one for one in (self._asking, self._leaving) if one is not None]
        self._asking = self._leaving = None
        for one in under_way:
            one.cancel()
        self._disappoint(self._end_error())
        ending, self._ending = self._ending, []
        for waiting in ending:
            waiting.callback(None)

    # --- who waits ------------------------------------------------------------------------------------------

    def _await(self) -> Deferred[None]:
        """Give a Deferred that fires at the next `_satisfy`, and fails at the next `_disappoint`, or if it is over."""
        waiting: Deferred[None] = Deferred(self._not_awaited)
        self._awaiting.append(waiting)
        if self.state is State.STOPPED:
            self._disappoint(self._end_error())
        return waiting

    def _satisfy(self) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for waiting in awaiting:
            waiting.callback(None)

    def _disappoint(self, error: RemoteError) -> None:
        awaiting, self._awaiting = self._awaiting, []
        for waiting in awaiting:
            waiting.errback(error)

    def _not_awaited(self, waiting: Deferred[None]) -> None:
        if waiting in self._awaiting:
            self._awaiting.remove(waiting)

    def _tell(self, event: Told) -> None:
        if self._watch is not None:
            self._watch(event)
