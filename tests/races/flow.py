"""What a race is: a script for two phones, the delays at which it is played, and what may come of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.races.stage import Leg, RaceError, Stage

#: Plays a race once, with one delay in seconds, and says in a few words what came of it.
Script = Callable[[Stage, float], str]

BOTH = (Leg.CALLER, Leg.CALLEE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One race.

    Args:
        source: the RFC and the section that it comes from.
        title: what meets what.
        right: what has to happen.
        delays: the seconds at which it is played.
        outcomes: everything that may come of it; each of them does at some delay.
        script: plays it.
        legs: on which it is played.
    """

    source: str
    title: str
    right: str
    delays: tuple[float, ...]
    outcomes: frozenset[str]
    script: Script
    legs: tuple[Leg, ...] = BOTH

    def run(self) -> Result:
        """Play it on each leg at each delay."""
        failures: dict[Leg, list[str]] = {leg: [] for leg in self.legs}
        seen: set[str] = set()
        for leg in self.legs:
            for delay in self.delays:
                try:
                    seen.add(self._play(leg, delay))
                except RaceError as error:
                    failures[leg].append(f"{self.title}, on the leg of the {leg.value}, at {delay:g} s: {error}")
        missing = self.outcomes - seen
        if missing and not any(failures.values()):
            failures[self.legs[0]].append(f"{self.title}: {sorted(missing)} never happened, only {sorted(seen)}")
        return Result(self, failures)

    def _play(self, leg: Leg, delay: float) -> str:
        stage = Stage(leg)
        outcome = self.script(stage, delay)
        stage.expect(outcome in self.outcomes, f"{outcome!r} is none of {sorted(self.outcomes)}")
        stage.finish()
        return outcome


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a flow: for each leg the timings at which it failed."""

    flow: Flow
    failures: dict[Leg, list[str]]

    @property
    def texts(self) -> list[str]:
        """All failures."""
        return [text for texts in self.failures.values() for text in texts]

    def row(self) -> str:
        """Give the line of the table."""
        flow = self.flow
        first, last = min(flow.delays), max(flow.delays)
        marks = [
            "–" if leg not in self.failures else "fail" if self.failures[leg] else "pass"
            for leg in (Leg.CALLER, Leg.CALLEE)
        ]
        outcomes = "; ".join(sorted(flow.outcomes))
        times = f"{len(flow.delays)}, {first:.2f} to {last:.2f} s"
        return f"| {flow.source} | {flow.title} | {flow.right} | {outcomes} | {times} | {' | '.join(marks)} |"


def race(
    source: str, title: str, *, delays: Sequence[float], outcomes: Sequence[str], legs: tuple[Leg, ...] = BOTH
) -> Callable[[Script], Flow]:
    """Make a flow of a script, whose docstring says what is right."""

    def make(script: Script) -> Flow:
        right = " ".join((inspect.getdoc(script) or "").split()).rstrip(".")
        return Flow(
            source=source,
            title=title,
            right=right,
            delays=tuple(delays),
            outcomes=frozenset(outcomes),
            script=script,
            legs=legs,
        )

    return make


def sweep(first: float, last: float, step: float) -> list[float]:
    """Give the delays from one to another."""
    return [round(first + step * index, 6) for index in range(round((last - first) / step) + 1)]
