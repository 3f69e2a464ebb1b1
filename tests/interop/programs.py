"""Real programs under test: found or skipped, started, watched with time limits, and ended, each by its own process."""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest

DEBIAN_PACKAGES = {
    "sipp": "sip-tester",
    "baresip": "baresip-core",
    "tshark": "tshark",
    "rtpengine": "rtpengine-daemon",
    "kamailio": "kamailio",
    "postgres": "postgresql",
    "initdb": "postgresql",
    "freeradius": "freeradius",
    "fail2ban-regex": "fail2ban",
    "node": "nodejs",
    "setpriv": "util-linux",
    "openssl": "openssl",
    "arecord": "alsa-utils",
    "aplay": "alsa-utils",
    "turnserver": "coturn",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
}
REQUIRED_VARIABLE = "SIPD_REQUIRE_INTEROP"
_GRACE = 20.0
_SHOWN_OCTETS = 3000


class ProgramError(AssertionError):
    """A program did not do what the test waited for."""


class MissingProgramError(Exception):
    """A program is not installed although the environment says that it must be."""


def find_program(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Give the path of a program.

    Raises:
        SkipTest: it is not installed; says which Debian package has it.
        MissingProgramError: it is not installed and the variable `SIPD_REQUIRE_INTEROP` is 1.
    """
    path = shutil.which(name, path=environment.get("PATH"))
    if path is not None:
        return path
    advice = f"{name} is not installed (Debian package {DEBIAN_PACKAGES[name]})"
    if environment.get(REQUIRED_VARIABLE) == "1":
        raise MissingProgramError(f"{advice}, and {REQUIRED_VARIABLE}=1 says that it must be")
    raise SkipTest(advice)


class Program(ProcessProtocol):
    """One process: its output is kept, its end and its words can be waited for.

    Args:
        name: for messages.
        clock: measures the time limits.
    """

    def __init__(self, name: str, clock: IReactorTime) -> None:
        self.name = name
        self.output = b""
        self.exit_status: int | None = None
        self._clock = clock
        self._changed: list[Deferred[None]] = []
        self._ended: list[Deferred[None]] = []

    def start(
        self,
        reactor: IReactorProcess,
        arguments: Sequence[str],
        *,
        directory: Path,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in `directory` with the environment of this process plus `environment`."""
        reactor.spawnProcess(
            self, arguments[0], list(arguments), env={**os.environ, **(environment or {})}, path=str(directory)
        )

    def outReceived(self, data: bytes) -> None:
        """Take what it wrote."""
        self.output += data
        self._wake(self._changed)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        """Take note of its end."""
        ending = reason.value
        assert isinstance(ending, ProcessDone | ProcessTerminated)
        self.exit_status = -ending.signal if ending.exitCode is None else ending.exitCode
        self._wake(self._ended)
        self._wake(self._changed)

    @staticmethod
    def _wake(waiting: list[Deferred[None]]) -> None:
        woken = waiting[:]
        waiting.clear()
        for deferred in woken:
            deferred.callback(None)

    def _wait(self, waiting: list[Deferred[None]], limit: float, what: str) -> Deferred[None]:
        def cancelled(deferred: Deferred[None]) -> None:
            if deferred in waiting:
                waiting.remove(deferred)

        def timed_out(_: object, __: float) -> Failure:
            return Failure(ProgramError(f"{self.name}: no {what} within {limit} s\n{self.explain()}"))

        deferred: Deferred[None] = Deferred(cancelled)
        waiting.append(deferred)
        return deferred.addTimeout(max(limit, 0.0), self._clock, timed_out)

    async def says(self, pattern: str, limit: float = 30.0) -> re.Match[bytes]:
        """Wait until the output matches a regular expression.

        Raises:
            ProgramError: not within `limit`, or the program ended without it.
        """
        deadline = self._clock.seconds() + limit
        while (match := re.search(pattern.encode(), self.output)) is None:
            if self.exit_status is not None:
                raise ProgramError(f"{self.name} ended ({self.exit_status}) without {pattern!r}\n{self.explain()}")
            await self._wait(self._changed, deadline - self._clock.seconds(), f"output like {pattern!r}")
        return match

    async def ends(self, limit: float) -> int:
        """Wait for the end; give the exit status, or minus the signal.

        Raises:
            ProgramError: still running after `limit`.
        """
        if self.exit_status is None:
            await self._wait(self._ended, limit, "end")
        assert self.exit_status is not None
        return self.exit_status

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL if that has no effect within some seconds. Idempotent."""
        for signal in ("TERM", "KILL"):
            if self.exit_status is not None:
                return
            has_ended = signal == "KILL"
            try:
                self.send_signal(signal)
            except ProcessExitedAlready:
                has_ended = True
            if has_ended:
                # Those that it has started may live on, and hold its output open.
                assert self.transport is not None
                self.transport.loseConnection()
            try:
                await self.ends(_GRACE)
            except ProgramError:
                continue

    def send_signal(self, signal: str | int) -> None:
        """Send a signal (`TERM`, `INT`, ... or a number) to this process alone."""
        assert self.transport is not None
        self.transport.signalProcess(signal)

    def explain(self) -> str:
        """Give the end of the output, for the message of a failed test."""
        shown = self.output[-_SHOWN_OCTETS:].decode(errors="replace").rstrip()
        return f"----- {self.name}, exit status {self.exit_status}, end of output:\n{shown}\n-----"
