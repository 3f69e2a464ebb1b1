"""Several workers: which one takes a call, and what happens when one of them ends."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger

from sipd.media.engine import DEFAULT_ENGINE_SETTINGS, EngineSettings
from sipd.media.poller import MediaReactor
from sipd.media.worker.__main__ import CONTROL
from sipd.media.worker.engine import WorkerEngine

#: Seconds until a worker that ended is started again; doubled each time that it does not stay for as long.
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0

#: What the system takes as the path of a Unix socket, in octets.
_LONGEST_PATH = 107


class SpawningReactor(MediaReactor, Protocol):
    """What workers need of a reactor, beside that: parts of ``IReactorProcess`` and ``IReactorSocket``."""

    def spawnProcess(self, processProtocol: Any, executable: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N803
        """See ``IReactorProcess``."""

    def adoptStreamConnection(self, fileDescriptor: int, addressFamily: int, factory: Any) -> object:  # noqa: N802, N803
        """See ``IReactorSocket``."""


class WorkerPool:
    """Starts workers, and starts those again that end.

    Args:
        reactor: to spawn, to connect, and for the time.
        count: of workers.
        pause: seconds for which they gather datagrams at most.
        orphan_timeout: seconds for which they go on when this process has ended without closing its calls.
        directory: where the sockets for controllers that come later are; ``None`` for none of them.
        kernel: the addresses of media, if the workers are to let the kernel forward what it can; they go on without it
            where it cannot.
        lost: called with the engine of a worker that has ended: its sessions have to go elsewhere.
        settings: of the engine in each of them.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: SpawningReactor,
        *,
        count: int,
        pause: float,
        orphan_timeout: float,
        directory: Path | None,
        lost: Callable[[WorkerEngine], object],
        kernel: Sequence[str] = (),
        settings: EngineSettings = DEFAULT_ENGINE_SETTINGS,
    ) -> None:
        self._reactor = reactor
        self._count = count
        self._pause = pause
        self._orphan_timeout = orphan_timeout
        self._directory = directory
        self._lost = lost
        self._kernel = tuple(kernel)
        self._settings = settings
        self._engines: dict[int, WorkerEngine] = {}
        self._processes: dict[int, IProcessTransport] = {}
        self._restarts: dict[int, IDelayedCall] = {}
        self._pauses: dict[int, float] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """Count the workers that run."""
        return len(self._engines)

    @property
    def pids(self) -> list[int]:
        """The processes that run."""
        return [pid for place in self._engines if (pid := self._processes[place].pid) is not None]

    def start(self) -> None:
        """Start all workers."""
        for place in range(self._count):
            self._start(place)

    def choose(self) -> WorkerEngine | None:
        """Give the worker with the fewest streams; ``None`` if none runs."""
        return min(self._engines.values(), key=len, default=None)

    def close(self) -> None:
        """Let go of all workers; they end when they have nothing left to do. Idempotent."""
        self._is_closed = True
        for restart in self._restarts.values():
            restart.cancel()
        self._restarts.clear()
        for engine in self._engines.values():
            engine.close()

    def _start(self, place: int) -> None:
        self._restarts.pop(place, None)
        mine, theirs = socket.socketpair(socket.AF_UNIX)
        mine.setblocking(False)
        command = [sys.executable, "-m", "sipd.media.worker", f"--pause={self._pause}"]
        command.append(f"--orphan-timeout={self._orphan_timeout}")
        settings = self._settings
        command += [f"--flood-limit={settings.flood_limit}", f"--rtcp-flood-limit={settings.rtcp_flood_limit}"]
        command.append(f"--keepalive={settings.keepalive}")
        command += [f"--kernel={address}" for address in self._kernel]
        path = None if self._directory is None else self._directory / f"media-worker-{os.getpid()}-{place}.sock"
        if path is not None and len(os.fsencode(path)) <= _LONGEST_PATH:
            command.append(f"--listen={path}")
        elif path is not None:
            self._log.warn(
                "{path} is too long for a socket: nobody can take over from worker {place}", path=path, place=place
            )
        engine = WorkerEngine(self._reactor, lambda engine: self._ended(place, engine))
        try:
            descriptors = {0: "w", 1: "r", 2: "r", CONTROL: theirs.fileno()}
            process = self._reactor.spawnProcess(_Output(place), command[0], command, env=None, childFDs=descriptors)
            self._reactor.adoptStreamConnection(mine.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: engine))
        finally:
            mine.close()
            theirs.close()
        self._engines[place] = engine
        self._processes[place] = process
        self._log.info("media worker {place} runs as process {pid}", place=place, pid=process.pid)

    def _ended(self, place: int, engine: WorkerEngine) -> None:
        """Take note that a worker is gone."""
        if self._engines.get(place) is engine:
            del self._engines[place]
        if engine.is_stuck or not self._is_closed:
            # One that still runs would go on reading from sockets that are another engine's by now.
            with contextlib.suppress(ProcessExitedAlready):
                self._processes[place].signalProcess("KILL")
        self._lost(engine)
        if self._is_closed:
            return
        pause = self._pauses.get(place, _FIRST_PAUSE)
        self._log.error("media worker {place} ended; the next one begins in {pause:g} s", place=place, pause=pause)
        self._pauses[place] = min(2 * pause, _LONGEST_PAUSE)
        self._restarts[place] = self._reactor.callLater(pause, self._start, place)


class _Output(ProcessProtocol):
    """Passes on what a worker says."""

    _log = Logger()

    def __init__(self, place: int) -> None:
        self._place = place

    def errReceived(self, data: bytes) -> None:
        self._say(data)

    def outReceived(self, data: bytes) -> None:
        self._say(data)

    def _say(self, data: bytes) -> None:
        for line in data.decode("utf-8", "replace").splitlines():
            if line.strip():
                self._log.info("media worker {place}: {line}", place=self._place, line=line)
