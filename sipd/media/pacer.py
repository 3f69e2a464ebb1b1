"""Beats for everything that sends a packet each 20 ms: one timer, however many there are.

The beats of one sender are never moved by what is late: beat n is due at the beginning plus n times 20 ms. The senders
are spread over four slots, 5 ms apart, so that a thousand of them do not send at once.
"""

from __future__ import annotations

import math
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Seconds between two beats: what a packet of telephony holds.
INTERVAL = 0.02
_SLOTS = 4
_STEP = INTERVAL / _SLOTS
#: A beat that is due within so many seconds is due.
_EARLY = 1e-6


class Paced(Protocol):
    """Something that does a little at each beat. It raises nothing."""

    def beat(self) -> None:
        """Do what is to be done each 20 ms."""

    def skip(self, count: int) -> None:
        """Take note that so many beats are left out: the process had no time for them."""


class Pacer:
    """Gives beats.

    Args:
        clock: gives the time, and the timer.
        catch_up: beats that are given at once when the process was held up; of more than that the oldest are left out.
    """

    def __init__(self, clock: IReactorTime, *, catch_up: int = 5) -> None:
        self._clock = clock
        self._catch_up = catch_up
        self._slots: tuple[dict[Paced, None], ...] = tuple({} for _ in range(_SLOTS))
        self._origin = 0.0
        #: The step that comes next, of a slot in which there is somebody; step n belongs to slot n modulo 4.
        self._next = 0
        self._timer: IDelayedCall | None = None
        self._is_running = False

    def __len__(self) -> int:
        """Count those who get beats."""
        return sum(map(len, self._slots))

    def add(self, paced: Paced) -> None:
        """Give beats to it: the first one at once if it is the only one, else within 20 ms."""
        now = self._clock.seconds()
        if not len(self):
            self._origin, self._next = now, 0
        slot = min(range(_SLOTS), key=lambda number: len(self._slots[number]))
        self._slots[slot][paced] = None
        if self._is_running:
            return  # by one who got a beat: the next step is chosen when all have had theirs
        passed = math.ceil((now - _EARLY - self._origin) / _STEP)
        step = passed + (slot - passed) % _SLOTS
        if self._timer is None or step < self._next:
            self._set_timer(step)

    def remove(self, paced: Paced) -> None:
        """Give it no more beats. Idempotent."""
        for slot in self._slots:
            slot.pop(paced, None)
        if not len(self) and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, step: int) -> None:
        """Go on with that step."""
        self._next = step
        delay = max(self._due(step) - self._clock.seconds(), 0.0)
        if self._timer is None:
            self._timer = self._clock.callLater(delay, self._run)
        else:
            self._timer.reset(delay)

    def _run(self) -> None:
        """Give the beats that are due, and wait for the next one."""
        self._timer = None
        self._is_running = True
        try:
            self._give_beats()
        finally:
            self._is_running = False
        if len(self):
            self._set_timer(self._next)

    def _give_beats(self) -> None:
        """Give all beats that are due, but no more than may be caught up with."""
        now = self._clock.seconds() + _EARLY
        behind = int((now - self._due(self._next)) / _STEP)
        excess = -(-(behind - self._catch_up * _SLOTS) // _SLOTS)
        if excess > 0:
            self._next += excess * _SLOTS
            for slot in self._slots:
                for paced in tuple(slot):
                    paced.skip(excess)
        while len(self):
            slot = self._slots[self._next % _SLOTS]
            if slot and self._due(self._next) > now:
                return
            self._next += 1
            for paced in tuple(slot):
                if paced in slot:
                    paced.beat()

    def _due(self, step: int) -> float:
        return self._origin + step * _STEP
