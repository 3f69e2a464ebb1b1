"""The client's side of a registration, without clocks and messages: RFC 3261 section 10.2.

There may be several registrars, known here by their place in a list, the preferred one first. Asking all of them that
do not rest, one after the other until one grants the binding, is a round. After a round in vain the next one waits,
longer each time (as in RFC 5626 section 4.5). While another one than the first has granted the binding the preferred
ones are asked again now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sipd.sip.machine import Machine, StartTimer, StopTimers, table

#: Seconds. A longer Min-Expires is taken for a refusal, a longer Retry-After is shortened.
MAX_EXPIRES = 7 * 86400
MAX_REST = 3600.0
#: A binding is refreshed at half of its time, so much of it earlier or later by chance, but not at once.
_JITTER = 0.05
_SHORTEST_WAIT = 1.0
#: How often the wait after a round in vain is doubled at most.
_MAX_DOUBLINGS = 16
#: Below 500, these refusals may be different soon; all others will not be, unless somebody does something about it.
_PASSING = frozenset((0, 408, 429, 480, 491, 494))


class State(Enum):
    """Where a registration stands."""

    IDLE = "not begun"
    TRYING = "nothing is bound"
    REGISTERED = "bound"
    REFRESHING = "bound, and being refreshed"
    LEAVING = "being unregistered"
    STOPPED = "over"

    __hash__ = object.__hash__


class Event(Enum):
    """What happens to it; `DUE`, `EXPIRY` and `LIMIT` are timers."""

    START = "it is wanted"
    GRANTED = "the registrar that was asked grants it for so many seconds"
    FAILED = "that registrar refuses, or is not there: a `Failure`"
    HURRY = "the way to the registrar is another one, or somebody does not want to wait"
    STOP = "it is not wanted any more"
    GONE = "nothing is bound any more, as far as that can be had"
    CLOSE = "nothing is to be done for it any more"
    DUE = "it is time to ask again"
    EXPIRY = "the binding was not refreshed in time"
    LIMIT = "unregistering takes too long"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationTiming:
    """When a registrar is asked. All in seconds.

    Args:
        expires: for which a binding is asked for.
        retry_base: after the first round in vain, the wait is up to this; each further one doubles it.
        retry_limit: the longest such wait; the one after a refusal that will not pass by itself, too.
        return_after: how long another registrar than the first is used before the preferred ones are asked again.
        leave_limit: that unregistering may take.
    """

    expires: int = 3600
    retry_base: float = 30.0
    retry_limit: float = 600.0
    return_after: float = 300.0
    leave_limit: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a registrar did not grant a binding.

    Args:
        status: of its response, or 0 if there is none.
        text: why, for a person.
        retry_after: seconds for which it wants to be left alone, if it says so.
        min_expires: the shortest expiry that it grants, if it says so (423).
    """

    status: int
    text: str
    retry_after: float | None = None
    min_expires: int | None = None

    @property
    def is_lasting(self) -> bool:
        """Whether asking again soon would be in vain, such as with a wrong password."""
        return self.status not in _PASSING and not 500 <= self.status < 600


@dataclass(slots=True)
class Register:
    """Ask a registrar for a binding of that many seconds; of the last of a round every answer is waited for."""

    registrar: int
    expires: int
    is_last: bool


@dataclass(slots=True)
class Unregister:
    """Have every binding removed that may be there; then `Event.GONE`."""


@dataclass(slots=True)
class Bound:
    """There is a binding; `is_new` if there was none before."""

    registrar: int
    expires: float
    is_new: bool


@dataclass(slots=True)
class Failed:
    """A registrar was asked in vain; the next try is in `wait` seconds, 0 for another registrar at once.

    Args:
        registrar: that was asked.
        failure: why.
        wait: seconds.
        is_refusal: no registrar of this round grants it, and that will not pass by itself.
    """

    registrar: int
    failure: Failure
    wait: float
    is_refusal: bool = False


@dataclass(slots=True)
class Lost:
    """The binding has expired; there is none any more."""


@dataclass(slots=True)
class Over:
    """It has been stopped, and nothing more will happen."""


Effect = Register | Unregister | Bound | Failed | Lost | Over | StartTimer | StopTimers
Effects = tuple[Effect, ...]


class Registrant(Machine[State]):
    """One registration of our own.

    One request is under way at a time (section 10.2).

    Args:
        registrars: how many there are; at least one.
        timing: when they are asked.
        entropy: for jitter.

    Attributes:
        asking: which registrar is being asked, or ``None``.
        bound: which one has granted the binding that is in force, or ``None``.
    """

    __slots__ = (
        "_candidates",
        "_entropy",
        "_expires",
        "_has_grown",
        "_is_refusal",
        "_rests",
        "_rounds",
        "_timing",
        "_waited",
        "asking",
        "bound",
    )

    def __init__(self, registrars: int, timing: RegistrationTiming, entropy: Callable[[int], bytes]) -> None:
        super().__init__(State.IDLE)
        self.asking: int | None = None
        self.bound: int | None = None
        self._timing = timing
        self._entropy = entropy
        #: What each is asked for: longer than was wished for where it has said so.
        self._expires = [timing.expires] * registrars
        #: Seconds for which each wants to be left alone; they count from its answer, or from the last wait.
        self._rests = [0.0] * registrars
        self._candidates: list[int] = []
        self._rounds = 0
        self._waited = 0.0
        self._has_grown = False
        self._is_refusal = False

    # --- asking ---------------------------------------------------------------------------------------------

    def _begin(self, _: object) -> Effects:
        """Begin a round; those that rest are left out, unless all do."""
        if self.asking is not None:
            return ()
        rests = self._rests
        ready = [registrar for registrar, rest in enumerate(rests) if rest <= 0]
        self._candidates = ready or [min(range(len(rests)), key=rests.__getitem__)]
        self._is_refusal = True
        return self._ask_next()

    def _begin_after_wait(self, _: object) -> Effects:
        if self.asking is None:
            self._rests = [max(0.0, rest - self._waited) for rest in self._rests]
        return self._begin(None)

    def _ask_next(self) -> Effects:
        self.asking = self._candidates.pop(0)
        self._has_grown = False
        return (self._register(self.asking),)

    def _register(self, registrar: int) -> Register:
        return Register(registrar, self._expires[registrar], not self._candidates)

    def _go_on(self, failure: Failure) -> Effects:
        """Ask for longer, or the next registrar, or wait."""
        registrar = self._asked()
        if self._can_grow(registrar, failure):
            self._expires[registrar] = failure.min_expires or 0
            self._has_grown = True
            return (self._register(registrar),)
        self._rests[registrar] = min(failure.retry_after or 0.0, MAX_REST)
        self._is_refusal = self._is_refusal and failure.is_lasting
        if self._candidates:
            return (Failed(registrar, failure, 0.0), *self._ask_next())
        self.asking = None
        wait = self._waited = self._next_wait()
        return (Failed(registrar, failure, wait, self._is_refusal), StartTimer(Event.DUE, wait))

    def _can_grow(self, registrar: int, failure: Failure) -> bool:
        """Say whether it is asked again, for longer: once, however it answers then (section 10.2.8)."""
        wanted = failure.min_expires
        if failure.status != 423 or wanted is None or self._has_grown:
            return False
        return self._expires[registrar] < wanted <= MAX_EXPIRES

    def _next_wait(self) -> float:
        """Choose the wait after a round in vain: half of the longest at least, and what the registrars wish for."""
        timing = self._timing
        longest = timing.retry_limit
        if not self._is_refusal:
            longest = min(longest, timing.retry_base * 2 ** min(self._rounds, _MAX_DOUBLINGS))
        self._rounds += 1
        return max(longest * (1 + self._chance()) / 2, min(self._rests) * (1 + 2 * _JITTER * self._chance()))

    # --- bound ----------------------------------------------------------------------------------------------

    def _bind(self, granted: float) -> Effects:
        registrar, was_bound = self._asked(), self.bound is not None
        self.asking, self.bound = None, registrar
        self._candidates = []
        self._rests[registrar] = 0.0
        self._rounds = 0
        wait = granted * (0.5 + _JITTER * (2 * self._chance() - 1))
        if registrar:
            wait = min(wait, self._timing.return_after * (1 - _JITTER * self._chance()))
        wait = self._waited = max(_SHORTEST_WAIT, wait)
        return (
            StopTimers(),
            StartTimer(Event.EXPIRY, granted),
            StartTimer(Event.DUE, wait),
            Bound(registrar, granted, not was_bound),
        )

    def _lose(self, _: object) -> Effects:
        self.bound = None
        return (Lost(),)

    # --- leaving --------------------------------------------------------------------------------------------

    def _leave(self, _: object) -> Effects:
        """Unregister; what is under way has to have its answer before (section 10.2)."""
        unregister = (Unregister(),) if self.asking is None else ()
        return (StopTimers(), StartTimer(Event.LIMIT, self._timing.leave_limit), *unregister)

    def _leave_now(self, _: object) -> Effects:
        self.asking = None
        return (Unregister(),)

    def _finish(self, _: object) -> Effects:
        self.bound = None
        return (StopTimers(), Over())

    def _close(self, _: object) -> Effects:
        self.asking = self.bound = None
        return (StopTimers(),)

    def _asked(self) -> int:
        assert self.asking is not None
        return self.asking

    def _chance(self) -> float:
        return int.from_bytes(self._entropy(4), "big") / 2**32


Registrant.TABLE = table(
    # state             event           next state        action
    (State.IDLE, Event.START, State.TRYING, Registrant._begin),
    (State.IDLE, Event.STOP, State.STOPPED, Registrant._finish),
    (State.TRYING, Event.GRANTED, State.REGISTERED, Registrant._bind),
    (State.TRYING, Event.FAILED, State.TRYING, Registrant._go_on),
    (State.TRYING, Event.DUE, State.TRYING, Registrant._begin_after_wait),
    (State.TRYING, Event.HURRY, State.TRYING, Registrant._begin),
    (State.TRYING, Event.STOP, State.LEAVING, Registrant._leave),
    (State.REGISTERED, Event.DUE, State.REFRESHING, Registrant._begin_after_wait),
    (State.REGISTERED, Event.HURRY, State.REFRESHING, Registrant._begin),
    # What is granted for a second only is not refreshed in time.
    (State.REGISTERED, Event.EXPIRY, State.TRYING, Registrant._lose),
    (State.REGISTERED, Event.STOP, State.LEAVING, Registrant._leave),
    (State.REFRESHING, Event.GRANTED, State.REGISTERED, Registrant._bind),
    (State.REFRESHING, Event.FAILED, State.REFRESHING, Registrant._go_on),
    (State.REFRESHING, Event.DUE, State.REFRESHING, Registrant._begin_after_wait),
    (State.REFRESHING, Event.HURRY, State.REFRESHING, Registrant._begin),
    # What is under way, or waited for, goes on.
    (State.REFRESHING, Event.EXPIRY, State.TRYING, Registrant._lose),
    (State.REFRESHING, Event.STOP, State.LEAVING, Registrant._leave),
    (State.LEAVING, Event.GRANTED, State.LEAVING, Registrant._leave_now),
    (State.LEAVING, Event.FAILED, State.LEAVING, Registrant._leave_now),
    (State.LEAVING, Event.GONE, State.STOPPED, Registrant._finish),
    (State.LEAVING, Event.LIMIT, State.STOPPED, Registrant._finish),
    *[
        (state, Event.CLOSE, State.STOPPED, Registrant._close)
        for state in (State.IDLE, State.TRYING, State.REGISTERED, State.REFRESHING, State.LEAVING)
    ],
)  # fmt: skip
