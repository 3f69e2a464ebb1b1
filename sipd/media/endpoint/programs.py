"""A program that records or plays, as a child process: how it is started, listened to and ended."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.errors import LocalError
from sipd.sip.grammar import printable

#: Seconds from each means of ending a program to the next one.
_PATIENCE = 2.0
#: Seconds in which what a program wrote before its end can be read; one that it has left behind may keep a pipe open.
_LAST_WORDS = 0.5
#: Octets of standard error that are kept, and the lines of these that are shown, in so many characters.
_KEPT = 2000
_SHOWN_LINES = 3
_SHOWN = 400


class SoundDeviceError(LocalError):
    """A microphone or a loudspeaker that cannot be used: the text says why, with the end of what its program said."""


class ProgramReactor(IReactorProcess, IReactorTime):
    """What a sound device needs of a reactor."""


class SoundProgram(ProcessProtocol):
    """One child process.

    Args:
        reactor: runs it, and tells the time.
        command: the program and its arguments.
        heard: takes what it writes to its standard output; one that closes that is ended. ``None`` if nothing is
            expected there: then it is words, as what is on standard error is.
        ended: called once, when it is gone, with what it ended with. Not if it was never started.

    Raises:
        ValueError: there is no command, or it cannot be one.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: ProgramReactor,
        command: Sequence[str],
        *,
        heard: Callable[[bytes], object] | None,
        ended: Callable[[str], object],
    ) -> None:
        if not command or not command[0] or any("\0" in word for word in command):
            raise ValueError("a sound device needs a command")
        self._reactor = reactor
        self._command = list(command)
        self._heard = heard
        self._ended: Callable[[str], object] | None = ended
        #: Its transport, which is an `IPushProducer` as well.
        self._process: Any = None
        self._said = b""
        self._how = ""
        self._is_paused = False
        self._is_stopping = False
        self._has_exited = False
        self._timer: IDelayedCall | None = None

    def start(self, standard_input: int) -> None:
        """Start it.

        Args:
            standard_input: the descriptor that it reads from; still the caller's.

        Raises:
            SoundDeviceError: there is no such program, or no process can be made.
        """
        name = self._command[0]
        path = shutil.which(name)
        if path is None:
            raise SoundDeviceError(f"there is no program {name}{package_of(name)}")
        descriptors: dict[int, int | str] = {0: standard_input, 1: "r", 2: "r"}
        try:
            self._process = self._reactor.spawnProcess(self, path, self._command, env=None, childFDs=descriptors)
        except OSError as error:
            raise SoundDeviceError(f"{name} cannot be started: {error.strerror}") from error

    def pause(self) -> None:
        """Read no more of what it writes, until `resume`. Idempotent."""
        if self._process is not None and not self._is_paused and not self._has_exited:
            self._is_paused = True
            self._process.pauseProducing()

    def resume(self) -> None:
        """End that. Idempotent."""
        if self._process is not None and self._is_paused:
            self._is_paused = False
            self._process.resumeProducing()

    def stop(self, patience: float) -> None:
        """End it: by SIGTERM after so many seconds, by SIGKILL some after that. Idempotent.

        Args:
            patience: seconds.
        """
        if self._is_stopping or self._process is None or self._has_exited or self._ended is None:
            return
        self._is_stopping = True
        self._stop_timer()
        # Its end is not seen while nobody reads.
        self.resume()
        if patience:
            self._timer = self._reactor.callLater(patience, self._signal, "TERM")
        else:
            self._signal("TERM")

    def outReceived(self, data: bytes) -> None:
        """Take what it writes."""
        (self._heard or self.errReceived)(data)

    def outConnectionLost(self) -> None:
        """End it, if that is what it is there for: as a rule it is about to exit."""
        if self._heard is None or self._is_stopping or self._has_exited:
            return
        self._timer = self._reactor.callLater(_LAST_WORDS, self._has_nothing_to_say)

    def errReceived(self, data: bytes) -> None:
        """Keep the end of what it says."""
        self._said = (self._said + data)[-_KEPT:]

    def processExited(self, reason: Failure) -> None:
        """Wait for its last words."""
        self._has_exited = True
        self._stop_timer()
        self.resume()
        self._timer = self._reactor.callLater(_LAST_WORDS, self._close_pipes)

    def processEnded(self, reason: Failure) -> None:
        """Say how it has ended."""
        self._stop_timer()
        ending = reason.value
        if self._how:
            how = self._how
        elif not isinstance(ending, ProcessTerminated):
            how = "has ended"
        elif ending.signal is None:
            how = f"has ended with status {ending.exitCode}"
        else:
            how = f"was ended by signal {ending.signal}"
        self._tell(how)

    def _has_nothing_to_say(self) -> None:
        self._how = "has closed its output"
        self._signal("TERM")

    def _signal(self, name: str) -> None:
        further = (self._signal, "KILL") if name == "TERM" else (self._give_up,)
        self._timer = self._reactor.callLater(_PATIENCE, *further)
        with suppress(ProcessExitedAlready):
            self._process.signalProcess(name)

    def _give_up(self) -> None:
        """Wait no longer: a driver holds it."""
        self._timer = None
        self._log.warn("{program} does not end, not even by SIGKILL", program=self._command[0])
        self._close_pipes()
        self._tell("does not end")

    def _close_pipes(self) -> None:
        self._timer = None
        self._process.loseConnection()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _tell(self, how: str) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            lines = self._said.decode("utf-8", "replace").split("\n")
            words = "; ".join([line.strip() for line in lines if line.strip()][-_SHOWN_LINES:])
            ended(f"{self._command[0]} {how}" + (f": {printable(words[-_SHOWN:], _SHOWN)}" if words else ""))


def package_of(program: str) -> str:
    """Give the Debian package of a program of ALSA, in brackets, to be put after its name; else nothing."""
    return " (Debian package alsa-utils)" if program in ("arecord", "aplay") else ""
