"""Digits that an endpoint hears: each once, however it came; and collecting several of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sipd.errors import InvalidStateError, ParseError
from sipd.rtp.dtmf import DigitReceiver
from sipd.rtp.packet import RtpPacket

#: Digits that nobody has asked for yet; the oldest are forgotten.
KEPT_LIMIT = 64
#: Seconds after a digit was found in the sound in which the same one as an event is the same press.
_SAME = 0.5


class DigitListener:
    """Tells of digits.

    A peer that sends telephone events is believed in them alone: from its first one on, tones in its sound are not
    taken for digits.

    Args:
        clock: tells the time, and when collecting has to end.

    Attributes:
        callbacks: called with each digit.
        count: how many there were.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._events = DigitReceiver()
        self._has_events = False
        self._inband: tuple[str, float] | None = None
        self._kept: deque[str] = deque(maxlen=KEPT_LIMIT)
        self._collecting: _Collecting | None = None
        self.callbacks: list[Callable[[str], object]] = []
        self.count = 0

    def event(self, packet: RtpPacket) -> None:
        """Take a packet of a telephone event."""
        try:
            digit = self._events.feed(packet)
        except ParseError:
            return
        self._has_events = True
        if digit is None:
            return
        inband, self._inband = self._inband, None
        if inband is None or inband[0] != digit or self._clock.seconds() > inband[1] + _SAME:
            self._take(digit)

    def tone(self, digit: str) -> None:
        """Take a digit that was found in the sound."""
        if not self._has_events:
            self._inband = (digit, self._clock.seconds())
            self._take(digit)

    def digit(self, digit: str) -> None:
        """Take a digit that came in another way than in the stream, as by SIP INFO."""
        self._take(digit)

    def collect(self, count: int, *, timeout: float, until: str, between: float, keep: bool) -> Deferred[str]:
        """See `AudioEndpoint.collect`."""
        if self._collecting is not None:
            raise InvalidStateError("Digits are being collected already")
        if count < 1 or timeout < 0 or between < 0:
            raise InvalidStateError("At least one digit is collected, and no time is below 0")
        collecting = _Collecting(self._clock, count, until=until.upper(), between=between, ended=self._ended)
        self._collecting = collecting
        if not keep:
            self._kept.clear()
        collecting.wait(timeout)
        while self._kept and self._collecting is collecting:
            collecting.take(self._kept.popleft())
        return collecting.result

    def close(self) -> None:
        """End what is being collected, with what is there."""
        if self._collecting is not None:
            self._collecting.end()
        self.callbacks.clear()

    def _take(self, digit: str) -> None:
        self.count += 1
        for callback in tuple(self.callbacks):
            with self._log.failureHandler("a callback for digits failed"):
                callback(digit)
        if self._collecting is None:
            self._kept.append(digit)
        else:
            self._collecting.take(digit)

    def _ended(self) -> None:
        self._collecting = None


class _Collecting:
    """One collection of digits."""

    def __init__(
        self, clock: IReactorTime, count: int, *, until: str, between: float, ended: Callable[[], object]
    ) -> None:
        self._clock = clock
        self._count = count
        self._until = until
        self._between = between
        self._ended: Callable[[], object] | None = ended
        self._digits = ""
        self._timer: IDelayedCall | None = None
        self.result: Deferred[str] = Deferred(lambda _: self._stop())

    def wait(self, seconds: float) -> None:
        """Wait for a digit, no longer than that."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(seconds, self.end)

    def take(self, digit: str) -> None:
        """Take a digit."""
        if digit in self._until:
            self.end()
            return
        self._digits += digit
        if len(self._digits) >= self._count:
            self.end()
        else:
            self.wait(self._between)

    def end(self) -> None:
        """Give what is there."""
        self._stop()
        if not self.result.called:
            self.result.callback(self._digits)

    def _stop(self) -> None:
        ended, self._ended = self._ended, None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        if ended is not None:
            ended()
