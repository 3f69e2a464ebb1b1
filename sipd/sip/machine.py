"""State machines as tables: one row is one line of the RFC's figure.

A row is (state, event, next state, action). An action is a method: it takes the event's argument, returns effects and
touches nothing but the machine. It runs with the next state already entered. What is not in the table is absorbed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Generic, TypeVar

StateT = TypeVar("StateT", bound=Enum)
Action = Callable[[Any, Any], tuple[Any, ...]]
Row = tuple[Enum, Enum, Enum, Action]
#: A row of another machine's states would be found by its tests, not by types.
Table = Mapping[tuple[Enum, Enum], tuple[Any, Action]]


@dataclass(slots=True)
class StartTimer:
    """An effect: feed `event` in `duration` seconds; a timer of the same event starts anew."""

    event: Enum
    duration: float


@dataclass(slots=True)
class StopTimers:
    """An effect: stop all timers of this machine."""


def table(*rows: Row) -> Table:
    """Make a table of its rows.

    Raises:
        ValueError: two rows have the same state and event.
    """
    made: dict[tuple[Enum, Enum], tuple[Any, Action]] = {}
    for state, event, next_state, action in rows:
        if (state, event) in made:
            raise ValueError(f"two rows for {state} and {event}")
        made[state, event] = (next_state, action)
    return made


class Machine(Generic[StateT]):
    """Something that goes from state to state as its `TABLE` says, which stands after the class, since its actions do.

    Args:
        state: where it begins, or where it was when it was written down.

    States and events are members of Enums with ``__hash__ = object.__hash__``: a step is one look-up in a dict.
    """

    __slots__ = ("state",)

    TABLE: ClassVar[Table] = {}

    def __init__(self, state: StateT) -> None:
        self.state = state

    def feed(self, event: Enum, argument: object = None) -> tuple[Any, ...]:
        """Take an event and give the effects, in the order in which they are to be performed."""
        row = self.TABLE.get((self.state, event))
        if row is None:
            return ()
        self.state, action = row
        return action(self, argument)

    def absorbs(self, event: Enum) -> bool:
        """Say whether an event does nothing in the present state."""
        return (self.state, event) not in self.TABLE
