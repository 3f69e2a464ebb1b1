"""What each live call holds. At its end it must hold nothing."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from twisted.logger import Logger

from sipd.interfaces import CallObserver, CallRecord

#: How many leaks are remembered with their names; all are counted.
_REMEMBERED_LEAKS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """One resource that a call did not give back.

    Args:
        call: whose it was.
        kind: a leg, a port pair, a timer, ...
        name: which.
    """

    call: str
    kind: str
    name: str


class ResourceLedger(CallObserver):
    """Keeps the books of every live call; counts are taken from the books, never kept beside them.

    What a call still holds when it ends, or takes after its end, is a leak: a logged error. So is giving back what it
    does not hold.

    Attributes:
        leaks: how many resources have leaked since the start.
        leaked: the last of them.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.leaks = 0
        self.leaked: deque[Leak] = deque(maxlen=_REMEMBERED_LEAKS)
        self._held: dict[str, dict[tuple[str, str], None]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def calls(self) -> list[str]:
        """Give the identifiers of the live calls, oldest first."""
        return list(self._held)

    def held(self, call: str) -> list[tuple[str, str]]:
        """Give (kind, name) of what a call holds, in the order in which it was taken; nothing if it is over."""
        return list(self._held.get(call, ()))

    def counts(self) -> dict[str, int]:
        """Give how many resources of each kind all calls hold together."""
        return dict(Counter(kind for held in self._held.values() for kind, _ in held))

    def call_started(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        self._held[call] = {}

    def call_resource_taken(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        held = self._held.get(call)
        if held is None:
            self._leak(call, kind, name, "taken by a call that is not live")
        elif (kind, name) in held:
            self._log.error("call {call} took {kind} {name} twice", call=call, kind=kind, name=name)
        else:
            held[kind, name] = None

    def call_resource_released(self, call: str, kind: str, name: str) -> None:
        """See `ICallObserver`."""
        held = self._held.get(call, {})
        if (kind, name) in held:
            del held[kind, name]
        else:
            self._log.error("call {call} gave back {kind} {name} without holding it", call=call, kind=kind, name=name)

    def call_ended(self, call: str, record: CallRecord) -> None:
        """See `ICallObserver`."""
        for kind, name in self._held.pop(call, {}):
            self._leak(call, kind, name, "still held at the end")

    def _leak(self, call: str, kind: str, name: str, how: str) -> None:
        self.leaks += 1
        self.leaked.append(Leak(call=call, kind=kind, name=name))
        self._log.error("call {call} leaked {kind} {name}: {how}", call=call, kind=kind, name=name, how=how)
