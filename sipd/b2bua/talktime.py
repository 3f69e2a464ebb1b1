"""How long a call may last after its answer: a bound that its route sets, such as what is left of a credit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError

from sipd.errors import LocalError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall
    from twisted.python.failure import Failure

    from sipd.b2bua.bridge import Bridge
    from sipd.interfaces import Route

#: The cause of the end in the record of a call that was cut off.
CUT_OFF = "duration"


class TalkTime:
    """Warns the caller, and ends the call when its time is up.

    Args:
        bridge: the call, which was answered in this moment.
        route: says how long it may last.
    """

    def __init__(self, bridge: Bridge, route: Route) -> None:
        self._bridge = bridge
        self._sound = route.warning_sound
        self._timers: list[IDelayedCall] = []
        if route.duration is None:
            return
        call_later = bridge.b2bua.agent.clock.callLater
        self._timers.append(call_later(route.duration, self._end, route.duration))
        if self._sound and 0 < route.warning < route.duration:
            self._timers.append(call_later(route.duration - route.warning, self._warn, route.warning))
        bridge.b2bua.observer.call_resource_taken(bridge.id, "timer", CUT_OFF)
        bridge.explain("duration", f"ends after {route.duration:g} s at the latest")

    def stop(self) -> None:
        """The call is over."""
        timers, self._timers = self._timers, []
        for timer in timers:
            if timer.active():
                timer.cancel()
        if timers:
            self._bridge.b2bua.observer.call_resource_released(self._bridge.id, "timer", CUT_OFF)

    def _end(self, duration: float) -> None:
        self._bridge.stop(f"{duration:g} s are the longest that it may last", CUT_OFF)

    def _warn(self, rest: float) -> None:
        bridge = self._bridge
        studio = bridge.media.studio
        caller = bridge.caller
        if studio is None or not caller.is_live:
            bridge.explain("duration", f"{rest:g} s are left; nothing can be played to the caller")
            return
        bridge.explain("duration", f"{rest:g} s are left: the caller hears {self._sound}", caller.name)
        studio.play(caller.name, self._sound, duration=rest).addErrback(self._unheard)

    def _unheard(self, failure: Failure) -> None:
        failure.trap(LocalError, CancelledError)
        if failure.check(LocalError):
            self._bridge.explain("duration", f"the warning was not heard: {failure.getErrorMessage()}")
