"""Announcements: sounds as RTP packets to one party: music on hold, a ringback tone, "the number is not in use".

The packets go out at the beats of a `Pacer`. When the process is held up, what is missing is sent a little faster up to
the bound of the pacer; beyond that the sound goes on later, where it was, and the timestamps show the pause (RFC 3550
section 5.1: they tell when, the sequence numbers tell what).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sipd.errors import InvalidStateError
from sipd.media.pacer import INTERVAL, Pacer
from sipd.media.sounds import Frames, Sound, SoundLibrary

_HEADER = struct.Struct("!BBHII")
_CLOCK_RATE = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What was played.

    Args:
        packets: given to ``send``.
        duration: seconds of sound in them.
        unsent: of these packets, how many could not be sent (``OSError``).
        is_complete: whether it came to its end; else it was stopped.
    """

    packets: int
    duration: float
    unsent: int
    is_complete: bool


class Announcer:
    """Makes announcements.

    Args:
        library: gives the sounds.
        pacer: gives the beats; all announcements of a process should share one.
        entropy: gives so many random octets, such as ``os.urandom``.
    """

    def __init__(self, library: SoundLibrary, pacer: Pacer, entropy: Callable[[int], bytes]) -> None:
        self._library = library
        self._pacer = pacer
        self._entropy = entropy

    def announce(
        self,
        sound: Sound,
        send: Callable[[bytes], object],
        *,
        payload_type: int,
        encoding: str,
        times: int | None = 1,
        duration: float | None = None,
        gain: float = 0.0,
    ) -> Announcement:
        """Make an announcement; it begins with `Announcement.start`.

        Args:
            sound: what to play.
            send: called with each packet; an ``OSError`` that it raises is counted, anything else ends the
                announcement.
            payload_type: as negotiated, 0 to 127.
            encoding: the same in lower case, such as ``pcmu/8000`` (`sipd.sdp.codecs`).
            times: how often the sound is played; ``None`` for ever. A tone has its cadence once or more in each.
            duration: seconds after which it ends in any case; ``None`` for no such end.
            gain: in decibel; above 0 louder.

        Raises:
            ValueError: the payload type or ``times`` is out of range.
        """
        if not 0 <= payload_type <= 127 or (times is not None and times < 1):
            raise ValueError("payload type not between 0 and 127, or a sound that is played less than once")
        name, _, parameters = encoding.partition("/")
        clock, _, _ = parameters.partition("/")
        numbers = self._entropy(10)
        return Announcement(
            loaded=lambda: self._library.frames(sound, name, gain),
            send=send,
            pacer=self._pacer,
            payload_type=payload_type,
            timestamp_step=round((int(clock) if clock.isdecimal() else _CLOCK_RATE) * INTERVAL),
            times=times,
            beats=None if duration is None else max(round(duration / INTERVAL), 0),
            ssrc=int.from_bytes(numbers[:4], "big"),
            timestamp=int.from_bytes(numbers[4:8], "big"),
            # In the lower half: a receiver of SRTP may miss the first packets and still guess the rollover counter
            # (RFC 3711 section 3.3.1).
            sequence=int.from_bytes(numbers[8:], "big") & 0x7FFF,
        )


class Announcement:
    """One sound for one party; made by `Announcer.announce`."""

    __slots__ = (
        "_beats",
        "_done",
        "_frames",
        "_is_ended",
        "_is_marked",
        "_loaded",
        "_pacer",
        "_packets",
        "_payload_type",
        "_place",
        "_send",
        "_sequence",
        "_ssrc",
        "_times",
        "_timestamp",
        "_timestamp_step",
        "_unsent",
    )

    def __init__(
        self,
        *,
        loaded: Callable[[], Deferred[Frames]],
        send: Callable[[bytes], object],
        pacer: Pacer,
        payload_type: int,
        timestamp_step: int,
        times: int | None,
        beats: int | None,
        ssrc: int,
        timestamp: int,
        sequence: int,
    ) -> None:
        self._loaded = loaded
        self._send = send
        self._pacer = pacer
        self._payload_type = payload_type
        self._timestamp_step = timestamp_step
        self._times = times
        self._beats = beats
        self._ssrc = ssrc
        self._timestamp = timestamp
        self._sequence = sequence
        self._frames: Frames = ()
        self._place = 0
        self._packets = 0
        self._unsent = 0
        self._is_marked = True
        self._is_ended = False
        self._done: Deferred[Played] | None = None

    @property
    def ssrc(self) -> int:
        """The source that its packets name."""
        return self._ssrc

    def start(self) -> Deferred[Played]:
        """Load the sound, and then play it.

        Returns:
            What was played, when the last packet's 20 ms are over or it was stopped. To cancel it is to stop. Fails
            with `SoundError` or `MissingCodecError` if the sound cannot be played.

        Raises:
            InvalidStateError: it was started before.
        """
        if self._done is not None:
            raise InvalidStateError("an announcement is started once")
        done: Deferred[Played] = Deferred(lambda _: self.stop())
        self._done = done
        self._loaded().addCallbacks(self._play, self._fail)
        return done

    def stop(self) -> None:
        """Send nothing any more. Idempotent; before `start` it does nothing."""
        self._end(is_complete=False)

    def beat(self) -> None:
        """See `Paced`: send one packet, or end."""
        frames = self._frames
        if self._place == len(frames):
            if self._times is not None:
                self._times -= 1
                if not self._times:
                    self._end(is_complete=True)
                    return
            self._place = 0
        if self._packets == self._beats:
            self._end(is_complete=True)
            return
        packet = (
            _HEADER.pack(0x80, self._is_marked << 7 | self._payload_type, self._sequence, self._timestamp, self._ssrc)
            + frames[self._place]
        )
        self._place += 1
        self._packets += 1
        self._is_marked = False
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._timestamp = (self._timestamp + self._timestamp_step) & 0xFFFFFFFF
        try:
            self._send(packet)
        except OSError:
            self._unsent += 1
        except Exception:
            self._fail(Failure())  # a bug of who sends; the others that share the timer go on

    def skip(self, count: int) -> None:
        """See `Paced`: the sound pauses."""
        if self._packets:
            self._timestamp = (self._timestamp + count * self._timestamp_step) & 0xFFFFFFFF
            self._is_marked = True

    def _play(self, frames: Frames) -> None:
        if not self._is_ended:
            self._frames = frames
            self._pacer.add(self)

    def _fail(self, failure: Failure) -> None:
        self._pacer.remove(self)
        done = self._done
        if done is not None and not self._is_ended:
            self._is_ended = True
            done.errback(failure)

    def _end(self, *, is_complete: bool) -> None:
        self._pacer.remove(self)
        done = self._done
        if done is None or self._is_ended:
            return
        self._is_ended = True
        self._frames = ()
        played = Played(
            packets=self._packets, duration=self._packets * INTERVAL, unsent=self._unsent, is_complete=is_complete
        )
        done.callback(played)
