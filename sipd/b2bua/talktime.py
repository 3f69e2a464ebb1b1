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
        bridge: the call, which was answered in this moment; another one may take its place.
        route: of it.
        duration: seconds that the route lets it last.

    Attributes:
        bridge: the call.
    """

    def __init__(self, bridge: Bridge, route: Route, duration: float) -> None:
        self.bridge = bridge
        self._sound = route.warning_sound
        call_later = bridge.b2bua.agent.clock.callLater
        self._timers: list[IDelayedCall] = [call_later(duration, self._end, duration)]
        if self._sound and 0 < route.warning < duration:
            self._timers.append(call_later(duration - route.warning, self._warn, route.warning))
        bridge.explain("duration", f"ends after {duration:g} s at the latest")

    def stop(self) -> None:
        """The call is over."""
        timers, self._timers = self._timers, []
        for timer in timers:
            if timer.active():
                timer.cancel()

    def _end(self, duration: float) -> None:
        self.bridge.stop(f"{duration:g} s are the longest that it may last", CUT_OFF)

    def _warn(self, rest: float) -> None:
        bridge = self.bridge
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
            self.bridge.explain("duration", f"the warning was not heard: {failure.getErrorMessage()}")
