"""Programs that are none: a reactor whose processes do what a test says, and leave nothing."""

from __future__ import annotations

import os
from array import array
from typing import Any

from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.rtp.wave import little_endian

#: What the fake programs are called; it has to be there, and is never run.
NAME = "true"


def octets(*samples: int) -> bytes:
    """Give samples as programs write them."""
    return little_endian(array("h", samples)).tobytes()


class FakeProcess:
    """A process that does what the test says, as `Process` of Twisted tells it."""

    def __init__(self, protocol: ProcessProtocol, command: list[str], descriptors: dict[int, Any]) -> None:
        self.protocol = protocol
        self.command = command
        #: What it reads from, as the child's own copy of it.
        self.input = os.dup(descriptors[0])
        self.signals: list[str] = []
        self.is_paused = False
        self.pipes = {1, 2}
        self.has_exited = False
        self.reason = Failure(ProcessDone(0))

    def say(self, data: bytes, descriptor: int = 1) -> None:
        """Write something."""
        self.protocol.childDataReceived(descriptor, data)

    def exit(self, status: int = 0, signal: int | None = None, *, closes: bool = True) -> None:
        """End."""
        self.has_exited = True
        self.reason = Failure(ProcessTerminated(status, signal) if status or signal else ProcessDone(0))
        self.protocol.processExited(self.reason)
        os.close(self.input)
        if closes:
            self.loseConnection()

    def close_output(self) -> None:
        """Close standard output."""
        self.pipes.discard(1)
        self.protocol.childConnectionLost(1)
        self._ended()

    def takes(self) -> bytes:
        """Read what waits."""
        os.set_blocking(self.input, False)
        try:
            return os.read(self.input, 10**6)
        except BlockingIOError:
            return b""

    def signalProcess(self, name: str) -> None:  # noqa: N802
        if self.has_exited:
            raise ProcessExitedAlready
        self.signals.append(name)

    def pauseProducing(self) -> None:
        self.is_paused = True

    def resumeProducing(self) -> None:
        self.is_paused = False

    def loseConnection(self) -> None:
        for descriptor in sorted(self.pipes):
            self.pipes.discard(descriptor)
            self.protocol.childConnectionLost(descriptor)
        self._ended()

    def _ended(self) -> None:
        if not self.pipes and self.has_exited:
            self.protocol.processEnded(self.reason)


@implementer(IReactorProcess)
class Processes(Clock):
    """A reactor that has time, and fake processes.

    Attributes:
        made: those that were started, in order.
        error: raised instead of starting one, if there is any.
    """

    def __init__(self) -> None:
        super().__init__()
        self.made: list[FakeProcess] = []
        self.error: OSError | None = None

    def spawnProcess(
        self,
        processProtocol: Any,  # noqa: N803
        executable: Any,
        args: Any = (),
        env: Any = None,
        path: Any = None,
        uid: Any = None,
        gid: Any = None,
        usePTY: Any = False,  # noqa: N803
        childFDs: Any = None,  # noqa: N803
    ) -> Any:
        if self.error is not None:
            raise self.error
        self.made.append(FakeProcess(processProtocol, args, childFDs))
        return self.made[-1]
