"""Digits that an endpoint sends: as telephone events (RFC 4733 section 2.5), or as tones in the sound (ITU-T Q.23)."""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass
from functools import lru_cache

from twisted.internet.defer import Deferred

from sipd.errors import LocalError
from sipd.media.endpoint.sending import RtpSender
from sipd.media.pacer import INTERVAL
from sipd.media.sounds import FRAME_SAMPLES
from sipd.rtp.dtmf import DIGITS, TelephoneEvent
from sipd.rtp.tones import TonePattern, dtmf_pattern

#: What waits for two seconds among digits, and for how long.
PAUSE = ","
_PAUSE = 2.0
#: Digits that may wait for their turn.
QUEUE_LIMIT = 256
#: The bounds of a digit and of what follows it, in seconds.
_SHORTEST, _LONGEST = 0.04, 8.0
#: How often the end of an event is sent (section 2.5.1.4).
_ENDS = 3
_LONGEST_UNITS = 0xFFFF


@dataclass(slots=True, eq=False)
class _Press:
    """One digit that is to be sent; an empty one is a pause."""

    digit: str
    beats: int
    pause: int
    done: Deferred[None] | None = None


class DigitSender:
    """Sends digits, one after the other.

    Whether a digit goes as an event or as a tone is decided when it begins.
    """

    __slots__ = ("_beat", "_event", "_pause", "_press", "_queue", "_timestamp")

    def __init__(self) -> None:
        self._queue: deque[_Press] = deque()
        self._press: _Press | None = None
        #: Beats of the present digit, and those of the pause after it that are left.
        self._beat = 0
        self._pause = 0
        self._event: tuple[int, int] | None = None
        self._timestamp = 0

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to send."""
        return self._press is not None or bool(self._queue)

    def send(self, digits: str, *, duration: float, pause: float) -> Deferred[None]:
        """Send digits when those before them are sent; see `AudioEndpoint.send_digits`.

        Raises:
            LocalError: a character is no digit, a duration is out of its range, or too many wait.
        """
        text = digits.upper()
        if any(character not in DIGITS and character != PAUSE for character in text):
            raise LocalError("characters that are no digits")
        if not _SHORTEST <= duration <= _LONGEST or not _SHORTEST <= pause <= _LONGEST:
            raise LocalError(f"a digit or pause that is not between {_SHORTEST} and {_LONGEST} seconds long")
        if len(self._queue) + len(text) > QUEUE_LIMIT:
            raise LocalError(f"more than {QUEUE_LIMIT} digits wait")
        presses = [
            _Press("", round(_PAUSE / INTERVAL), 0)
            if character == PAUSE
            else _Press(character, round(duration / INTERVAL), round(pause / INTERVAL))
            for character in text
        ]
        done: Deferred[None] = Deferred(lambda _: self._withdraw(presses))
        if presses:
            presses[-1].done = done
            self._queue.extend(presses)
        else:
            done.callback(None)
        return done

    def step(self, sender: RtpSender, event: tuple[int, int] | None) -> array[int] | bool:
        """Do what is to be done in these 20 ms.

        Args:
            sender: sends packets of events.
            event: payload type and clock rate of those that the peer takes; ``None`` for tones.

        Returns:
            ``True`` if a packet was sent, samples if they are to be sent, ``False`` if there is nothing to send.
        """
        if self._pause:
            self._pause -= 1
            if not self._pause:
                self._finish()
            return False
        press = self._press
        if press is None:
            if not self._queue:
                return False
            press = self._press = self._queue.popleft()
            self._beat = 0
            self._event = event
            self._timestamp = sender.timestamp
        self._beat += 1
        if not press.digit:
            if self._beat >= press.beats:
                self._finish()
            return False
        if self._event is None:
            return self._tone(press)
        self._send_event(press, self._event, sender)
        return True

    def close(self) -> None:
        """Send nothing any more; who waits is told that it is over."""
        waiting = [press.done for press in (self._press, *self._queue) if press is not None]
        self._queue.clear()
        self._press = None
        self._pause = 0
        for done in waiting:
            if done is not None and not done.called:
                done.callback(None)

    def _tone(self, press: _Press) -> array[int]:
        samples = _pattern(press.digit, press.beats).samples((self._beat - 1) * FRAME_SAMPLES, FRAME_SAMPLES)
        if self._beat >= press.beats:
            self._rest(press)
        return samples

    def _send_event(self, press: _Press, event: tuple[int, int], sender: RtpSender) -> None:
        """Send one packet: with a growing duration, then three times the end."""
        payload_type, rate = event
        step = rate // 50
        beats = min(press.beats, _LONGEST_UNITS // step)
        payload = TelephoneEvent.of_digit(
            press.digit, duration=min(self._beat, beats) * step, is_end=self._beat >= beats
        ).to_bytes()
        sender.event(payload_type, self._timestamp, payload, is_first=self._beat == 1)
        if self._beat >= beats + _ENDS - 1:
            self._rest(press)

    def _rest(self, press: _Press) -> None:
        """Wait until the next digit may begin; the ends of an event are a part of that."""
        self._pause = max(1, press.pause - (_ENDS - 1 if self._event is not None else 0))

    def _finish(self) -> None:
        press, self._press = self._press, None
        if press is not None and press.done is not None and not press.done.called:
            press.done.callback(None)

    def _withdraw(self, presses: list[_Press]) -> None:
        """Forget those of one call that were not begun. A digit that was begun is sent to its end."""
        for press in presses:
            if press in self._queue:
                self._queue.remove(press)


@lru_cache(maxsize=64)
def _pattern(digit: str, beats: int) -> TonePattern:
    """Give the tones of a digit, and a pause that is not used."""
    return dtmf_pattern(digit, duration=beats * INTERVAL)
