"""Overload control: how many new calls are taken, by how late the reactor is and how busy the processor.

The share of new calls that are taken is lowered in proportion to how far a measure is above its limit, and raised again
a little at a time once all are well below (RFC 6357 section 5 describes the kind). What belongs to calls that there are
is never refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: The share of an older measurement in the smoothed one.
_MEMORY = 0.6
#: By how much the share of calls is lowered at most, and raised, by one measurement.
_STEEPEST = 0.5
_RISE = 0.05
#: Below this part of a limit a measure is well below it.
_RELIEF = 0.8
#: Seconds of lag that count of one measurement: a clock that was set forward is no load.
_LONGEST = 10.0
#: The share of calls that goes on to be taken, as long as the last limit is not reached: without any, nobody would know
#: when there is room again.
_LEAST = 0.01


class Weight(Enum):
    """What a request is worth when not all can be served; in dialogs all are."""

    CALL = "call"
    REQUEST = "request"
    REFRESH = "refresh"
    EMERGENCY = "emergency"

    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadSettings:
    """When there is too much to do.

    Args:
        lag: seconds by which the reactor may be late; 0 for no bound.
        cpu: the part of one processor that this process may use, up to 1; 0 for no bound.
        last_lag: seconds of lag from which on nothing new is taken at all, emergency calls included; 0 for never.
        interval: seconds between two measurements.
    """

    lag: float = 1.0
    cpu: float = 0.0
    last_lag: float = 5.0
    interval: float = 0.25


class OverloadControl:
    """Decides what is taken by what was measured last.

    Attributes:
        lag: seconds, smoothed.
        cpu: part of one processor, smoothed.
        share: of new calls that are taken, 0.0 to 1.0.
        is_last: nothing new is taken at all.
    """

    def __init__(self, settings: OverloadSettings | None = None) -> None:
        self.settings = settings or OverloadSettings()
        self.lag = 0.0
        self.cpu = 0.0
        self.share = 1.0
        self.is_last = False

    @property
    def is_overloaded(self) -> bool:
        """Whether anything is refused."""
        return self.share < 1.0 or self.is_last

    def measured(self, lag: float, cpu: float) -> None:
        """Take a measurement.

        Args:
            lag: seconds by which the reactor was late.
            cpu: part of one processor that was used.
        """
        settings = self.settings
        self.lag = _MEMORY * self.lag + (1.0 - _MEMORY) * min(max(0.0, lag), _LONGEST)
        self.cpu = _MEMORY * self.cpu + (1.0 - _MEMORY) * max(0.0, cpu)
        if settings.last_lag:
            self.is_last = self.lag >= settings.last_lag * (_RELIEF if self.is_last else 1.0)
        pressure = max(_part(self.lag, settings.lag), _part(self.cpu, settings.cpu))
        if pressure > 1.0:
            self.share = max(_LEAST, self.share * max(_STEEPEST, 1.0 / pressure))
        elif pressure < _RELIEF:
            self.share = min(1.0, self.share + _RISE)

    def admits(self, weight: Weight, draw: float) -> bool:
        """Say whether something new is taken.

        Args:
            weight: what it is worth: calls are refused first; other requests once half of the calls are; refreshes of
                registrations and emergency calls with `is_last` only.
            draw: its number in the lottery, from 0.0 to below 1.0; the same for what belongs together.
        """
        if self.is_last:
            return False
        if weight is Weight.CALL:
            return draw < self.share
        return weight is not Weight.REQUEST or draw < 2.0 * self.share

    def explain(self) -> str:
        """Say in a few words what is measured, and what may be."""
        settings = self.settings
        parts = [f"lag {self.lag:.2f} s of {settings.lag:g}"] if settings.lag or self.is_last else []
        parts += [f"CPU {self.cpu:.0%} of {settings.cpu:.0%}"] if settings.cpu else []
        return f"{', '.join(parts)}; {0.0 if self.is_last else self.share:.0%} of new calls taken"


class LoadMeter:
    """Measures how late the reactor is, and how much of a processor this process uses.

    Args:
        clock: the reactor.
        processor_time: gives the seconds of processor time that this process has used.
        control: told of each measurement.
    """

    def __init__(self, clock: IReactorTime, processor_time: Callable[[], float], control: OverloadControl) -> None:
        self._clock = clock
        self._processor_time = processor_time
        self._control = control
        self._timer: IDelayedCall | None = None
        self._began_at = self._used = 0.0

    def start(self) -> None:
        """Begin to measure. Idempotent."""
        if self._timer is None:
            self._arm()

    def stop(self) -> None:
        """Measure no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._began_at, self._used = self._clock.seconds(), self._processor_time()
        self._timer = self._clock.callLater(self._control.settings.interval, self._measure)

    def _measure(self) -> None:
        elapsed = self._clock.seconds() - self._began_at
        interval = self._control.settings.interval
        if elapsed > 0:  # else the clock went back
            self._control.measured(elapsed - interval, (self._processor_time() - self._used) / elapsed)
        self._arm()


def _part(value: float, limit: float) -> float:
    return value / limit if limit else 0.0
