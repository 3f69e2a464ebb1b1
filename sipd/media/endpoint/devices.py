"""A microphone and a loudspeaker: programs of the machine's sound system, as sources and sinks.

The sound card itself is left to a program, which runs as a child process and gives, or takes, raw samples: signed
16-bit integers, the lower octet first, 8000 a second of one channel. Where nothing else is said it is one of ALSA's,
``arecord`` and ``aplay`` (Debian package alsa-utils). Others do as well, for instance::

    sox -q -d -t raw -e signed -b 16 -L -r 8000 -c 1 --buffer 320 -
    parec --raw --format=s16le --rate=8000 --channels=1 --latency-msec=20
    pacat --raw --format=s16le --rate=8000 --channels=1 --latency-msec=40

Sound cards have clocks of their own, and programs stand still at times, so what waits is bounded in either direction:
see `Microphone` and `Loudspeaker`.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from sipd.errors import InvalidStateError
from sipd.media.endpoint.interfaces import IEndingSink, ISource
from sipd.media.endpoint.programs import ProgramReactor, SoundDeviceError, SoundProgram
from sipd.rtp.g711 import SAMPLE_RATE
from sipd.rtp.wave import little_endian

#: What ALSA calls the device that the machine's owner has chosen.
DEFAULT_DEVICE = "default"
#: Raw samples as above; 100 ms inside of the program and the sound system, 20 ms at a time.
_ALSA = ("-q", "-t", "raw", "-f", "S16_LE", "-r", str(SAMPLE_RATE), "-c", "1", "-B", "100000", "-F", "20000", "-D")
_SAMPLE_OCTETS = 2
#: Of the limit, what is left where there was more, and what a microphone waits for where there was too little.
_LEFT = 4
_NEEDED = 5
#: Seconds that a loudspeaker has to play what it was given, at the end.
_PLAYS_OUT = 1.0


def alsa_microphone(device: str = DEFAULT_DEVICE) -> tuple[str, ...]:
    """Give the command that records.

    Args:
        device: a name of ALSA. A ``hw:`` one that cannot have 8000 samples a second gives others: ``plughw:`` converts.
    """
    return ("arecord", *_ALSA, device)


def alsa_loudspeaker(device: str = DEFAULT_DEVICE) -> tuple[str, ...]:
    """Give the command that plays; the device as for `alsa_microphone`."""
    return ("aplay", *_ALSA, device)


class SoundDevice(ABC):
    """What a microphone and a loudspeaker have in common: a program, its beginning and its end.

    Args:
        reactor: runs processes, and tells the time.
        command: the program and its arguments. It is looked for in PATH, and has the environment of this process.
        limit: seconds of sound that may wait; at least 0.04.
        on_failure: called, at most once, if the program ends although it was not told to, with the reason.

    Raises:
        ValueError: there is no command, or it cannot be one, or the limit is too low.
    """

    #: Seconds that the program has to end by itself before it gets SIGTERM.
    _patience = 0.0
    _log = Logger()

    def __init__(
        self,
        reactor: ProgramReactor,
        command: Sequence[str],
        *,
        limit: float = 0.2,
        on_failure: Callable[[SoundDeviceError], object] | None = None,
    ) -> None:
        if not limit >= 0.04:
            raise ValueError(f"{limit} s: a sound device needs 0.04 at least")
        self.command = tuple(command)
        self.on_failure = on_failure
        self._limit_octets = round(limit * SAMPLE_RATE) * _SAMPLE_OCTETS
        self._program = SoundProgram(reactor, self.command, heard=self._listener(), ended=self._ended)
        self._is_started = False
        self._is_closing = False
        self._is_over = False
        self._closing: list[Deferred[None]] = []

    @property
    def is_running(self) -> bool:
        """Whether the program runs, and was not told to end."""
        return self._is_started and not (self._is_closing or self._is_over)

    def start(self) -> None:
        """Start the program.

        Raises:
            InvalidStateError: it was started, or closed.
            SoundDeviceError: there is no such program, or no process can be made.
        """
        if self._is_started or self._is_over:
            raise InvalidStateError("A sound device is started once")
        self._is_started = True
        try:
            self._start()
        except SoundDeviceError:
            self._is_over = True
            raise

    def close(self) -> Deferred[None]:
        """End the program: SIGTERM, and SIGKILL two seconds later if that has not ended it. Idempotent.

        Returns:
            When it is gone; at once if it never ran, or had ended by itself. One that not even SIGKILL ends, since its
            driver hangs, is left alone two seconds after that, which is logged. To cancel it changes nothing but that.
        """
        self._is_closing = True
        if not self._is_started:
            self._is_over = True
        if self._is_over:
            return succeed(None)
        self._let_go()
        self._program.stop(self._patience)
        waiting: Deferred[None] = Deferred(self._closing.remove)
        self._closing.append(waiting)
        return waiting

    @abstractmethod
    def _start(self) -> None:
        """Start the program with its standard input."""

    @abstractmethod
    def _let_go(self) -> None:
        """Give the program no more, and forget what waits. Idempotent."""

    def _listener(self) -> Callable[[bytes], object] | None:
        """Give what takes the samples that the program writes, if it writes any."""
        return None

    def _ended(self, reason: str) -> None:
        """Take note that the program is gone."""
        self._is_over = True
        self._let_go()
        if not self._is_closing:
            error = SoundDeviceError(reason)
            self._log.info("a sound device has failed: {error}", error=error)
            if self.on_failure is not None:
                with self._log.failureHandler("who was told of a sound device's end failed"):
                    self.on_failure(error)
        closing, self._closing = self._closing, []
        for waiting in closing:
            waiting.callback(None)


@implementer(ISource)
class Microphone(SoundDevice):
    """Gives what a program records.

    Where it is read too slowly, the oldest sound is dropped as soon as more than ``limit`` waits: a quarter of that is
    left, so that what is said does not stay late. Where there is too little, silence is read until a fifth of ``limit``
    waits again. A program that gives more than twice the limit between two beats, which no sound card does, is not read
    any further until the next one.

    When the program has ended, whyever, the source is over: the call goes on in silence.

    Args:
        reactor: see `SoundDevice`.
        command: see `SoundDevice`; writes samples to its standard output.
        limit: see `SoundDevice`.
        on_failure: see `SoundDevice`.

    Attributes:
        dropped: how many samples were.
        starved: how often there were less samples than wanted, the time before the first ones included.
    """

    def __init__(
        self,
        reactor: ProgramReactor,
        command: Sequence[str] = alsa_microphone(),
        *,
        limit: float = 0.2,
        on_failure: Callable[[SoundDeviceError], object] | None = None,
    ) -> None:
        super().__init__(reactor, command, limit=limit, on_failure=on_failure)
        self._waiting = bytearray()
        self._since_read = 0
        self._is_filling = True
        self.dropped = 0
        self.starved = 0

    @property
    def backlog(self) -> float:
        """Seconds of sound that wait."""
        return len(self._waiting) // _SAMPLE_OCTETS / SAMPLE_RATE

    def read(self, count: int) -> array[int] | None:
        """See `ISource`."""
        waiting = self._waiting
        if self._is_over or self._is_closing:
            return None
        self._since_read = 0
        self._program.resume()
        wanted = count * _SAMPLE_OCTETS
        if self._is_filling and len(waiting) < max(wanted, self._limit_octets // _NEEDED):
            self.starved += self._is_started
            return array("h")
        size = min(wanted, len(waiting) & -_SAMPLE_OCTETS)
        samples = little_endian(array("h", bytes(waiting[:size])))
        del waiting[:size]
        self._is_filling = size < wanted
        self.starved += self._is_filling
        return samples

    def _start(self) -> None:
        with open(os.devnull, "rb") as nothing:
            self._program.start(nothing.fileno())

    def _let_go(self) -> None:
        self._waiting.clear()

    def _listener(self) -> Callable[[bytes], object]:
        return self._heard

    def _heard(self, data: bytes) -> None:
        if self._is_closing:
            return
        waiting = self._waiting
        waiting += data
        if len(waiting) > self._limit_octets:
            # Whole samples, so that the next octet is the lower one of a sample again.
            excess = (len(waiting) - self._limit_octets // _LEFT) & -_SAMPLE_OCTETS
            del waiting[:excess]
            self.dropped += excess // _SAMPLE_OCTETS
        self._since_read += len(data)
        if self._since_read > 2 * self._limit_octets:
            self._program.pause()


@implementer(IEndingSink)
class Loudspeaker(SoundDevice):
    """Lets a program play what is heard.

    It is written straight into the program's pipe, and nothing is kept here. When more than ``limit`` would wait there,
    since the program takes it too slowly or not at all, what comes is dropped until a quarter of that is left.

    The end of what it is a sink of closes it. What it has by then is played, for a second at most.

    Args:
        reactor: see `SoundDevice`.
        command: see `SoundDevice`; reads samples from its standard input.
        limit: see `SoundDevice`; no more than the 4 s that a pipe holds.
        on_failure: see `SoundDevice`.

    Attributes:
        dropped: how many samples were.
    """

    _patience = _PLAYS_OUT

    def __init__(
        self,
        reactor: ProgramReactor,
        command: Sequence[str] = alsa_loudspeaker(),
        *,
        limit: float = 0.2,
        on_failure: Callable[[SoundDeviceError], object] | None = None,
    ) -> None:
        super().__init__(reactor, command, limit=limit, on_failure=on_failure)
        #: The pipe's end for the program, too: it tells how much waits, also where the program has closed its own.
        self._pipe: tuple[int, int] | None = None
        self._is_full = False
        self.dropped = 0

    @property
    def backlog(self) -> float:
        """Seconds of sound that the program has not taken yet."""
        return self._waiting_octets() // _SAMPLE_OCTETS / SAMPLE_RATE

    def write(self, samples: array[int]) -> None:
        """See `ISink`."""
        if self._pipe is None:
            return
        waiting = self._waiting_octets()
        if waiting + len(samples) * _SAMPLE_OCTETS > self._limit_octets:
            self._is_full = True
        elif waiting <= self._limit_octets // _LEFT:
            self._is_full = False
        if self._is_full:
            self.dropped += len(samples)
            return
        data = little_endian(samples[:]).tobytes()
        for start in range(0, len(data), select.PIPE_BUF):
            piece = data[start : start + select.PIPE_BUF]
            try:
                # So much is written as a whole, or not at all.
                os.write(self._pipe[1], piece)
            except BlockingIOError:
                self.dropped += len(piece) // _SAMPLE_OCTETS

    def end(self) -> None:
        """See `IEndingSink`: the same as `close`."""
        self.close()

    def _start(self) -> None:
        try:
            reading, writing = os.pipe()
        except OSError as error:
            raise SoundDeviceError(f"{self.command[0]} cannot be started: {error.strerror}") from error
        os.set_blocking(writing, False)
        self._pipe = reading, writing
        try:
            self._program.start(reading)
        except SoundDeviceError:
            self._let_go()
            raise

    def _let_go(self) -> None:
        pipe, self._pipe = self._pipe, None
        for descriptor in pipe or ():
            os.close(descriptor)

    def _waiting_octets(self) -> int:
        if self._pipe is None:
            return 0
        answer = fcntl.ioctl(self._pipe[0], termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])
