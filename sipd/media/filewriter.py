"""Files that grow while calls go on: written in one thread of their own, so that no disk ever holds the reactor up.

The reactor hands over pieces and goes on. How many octets wait is bounded by who hands them over, who asks
`Writer.backlog_octets` first. What the file system does is behind `FileSystem`, so that a test can have a full disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger
from twisted.python.failure import Failure

#: What is written at once where a file is to be silent.
_ZEROS = bytes(65536)
#: Names that are tried if one is taken.
_NAME_LIMIT = 1000
_FILE_MODE = 0o640
_DIRECTORY_MODE = 0o750

Job = Callable[[], None]


class SyncPolicy(Enum):
    """When a file is forced to the disk. All files share one thread: while one is forced, the others wait in memory."""

    #: When it is finished, before it gets its name: what has its name survives the end of the machine.
    END = "end"
    #: When the operating system likes.
    NEVER = "never"


class GrowingFile(Protocol):
    """A file open for writing, at its end."""

    def write(self, data: bytes, /) -> int:
        """Write some of it; say how many octets. Raises ``OSError``."""

    def seek(self, place: int, /) -> int:
        """Go to a place. Raises ``OSError``."""

    def fileno(self) -> int:
        """Give the descriptor."""

    def close(self) -> None:
        """Close it. Raises ``OSError``."""


class FileSystem:
    """What is done with files. All methods raise ``OSError``, and may take long."""

    def make_directory(self, path: Path) -> None:
        """Make a directory, and those above it, unless it is there."""
        path.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)

    def create(self, path: Path) -> GrowingFile:
        """Make a file that must not be there yet."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.fdopen(os.open(path, flags, _FILE_MODE), "wb", buffering=0)

    def exists(self, path: Path) -> bool:
        """Say whether there is anything of that name."""
        return os.path.lexists(path)

    def sync(self, file: GrowingFile) -> None:
        """Force what was written to the disk."""
        os.fsync(file.fileno())

    def rename(self, path: Path, target: Path) -> None:
        """Give a file its name, for good."""
        os.rename(path, target)

    def sync_directory(self, path: Path) -> None:
        """Force the names in a directory to the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Writer(Protocol):
    """Does jobs elsewhere, one after another."""

    @property
    def backlog_octets(self) -> int:
        """What was submitted and is not done yet."""

    def submit(self, job: Job, size_octets: int = 0) -> None:
        """Do that job after all others. It raises nothing."""

    def in_reactor(self, function: Callable[..., object], *args: object) -> None:
        """Called by jobs: call that in the thread of the reactor."""

    def stop(self) -> Deferred[None]:
        """End after the jobs that were submitted; no more may be submitted."""


class ImmediateWriter:
    """Does each job at once: where there are no threads, as on a simulated network."""

    backlog_octets = 0

    def submit(self, job: Job, size_octets: int = 0) -> None:
        """See `Writer`."""
        job()

    def in_reactor(self, function: Callable[..., object], *args: object) -> None:
        """See `Writer`."""
        function(*args)

    def stop(self) -> Deferred[None]:
        """See `Writer`."""
        return succeed(None)


class WriterThread:
    """One thread, which is started with the first job.

    Args:
        reactor: takes calls back.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._jobs: SimpleQueue[tuple[Job, int] | None] = SimpleQueue()
        self._thread: Thread | None = None
        #: Each is written by one thread only.
        self._submitted = 0
        self._done = 0

    @property
    def backlog_octets(self) -> int:
        """See `Writer`."""
        return self._submitted - self._done

    def submit(self, job: Job, size_octets: int = 0) -> None:
        """See `Writer`."""
        if self._thread is None:
            # A disk that hangs for ever must not keep the process: it is a daemon; `stop` waits for it.
            self._thread = Thread(target=self._work, name="sipd-recordings", daemon=True)
            self._thread.start()
        self._submitted += size_octets
        self._jobs.put((job, size_octets))

    def in_reactor(self, function: Callable[..., object], *args: object) -> None:
        """See `Writer`."""
        self._reactor.callFromThread(function, *args)

    def stop(self) -> Deferred[None]:
        """See `Writer`."""
        stopped: Deferred[None] = Deferred()
        thread = self._thread
        if thread is None:
            stopped.callback(None)
            return stopped

        def ended() -> None:
            thread.join()
            self._thread = None
            stopped.callback(None)

        self._jobs.put((lambda: self.in_reactor(ended), 0))
        self._jobs.put(None)
        return stopped

    def _work(self) -> None:
        """Do jobs until the end. A job that raises is a bug, and must not end the others."""
        while (entry := self._jobs.get()) is not None:
            job, size_octets = entry
            try:
                job()
            except Exception:
                self.in_reactor(self._log.failure, "a job of the writer failed", Failure())
            self._done += size_octets


class GrowingRecord:
    """One file, as the writer's thread sees it: it has another name until it is finished.

    All methods are called in the writer's thread. The first ``OSError`` ends it: the header is corrected if that is
    possible, what was written stays under the name that ends with ``.part``, and all that follows does nothing.

    Args:
        files: the file system.
        path: what it is to be called; if that is taken, ``-2`` and so on is put behind the stem.
        header: gives the header for a size of what follows it, ``None`` if that is not known; always of the same
            length.
        sync: see `SyncPolicy`.
        failed: called once, in the writer's thread, with what went wrong.
    """

    def __init__(
        self,
        files: FileSystem,
        path: Path,
        *,
        header: Callable[[int | None], bytes],
        sync: SyncPolicy,
        failed: Callable[[OSError], None],
    ) -> None:
        self._files = files
        self._wanted = path
        self._header = header
        self._sync = sync
        self._failed = failed
        self._file: GrowingFile | None = None
        self._target = path
        self._header_octets = 0
        self._size_octets = 0
        #: Where it is now; nowhere before it is opened.
        self.path: Path | None = None

    @property
    def size_octets(self) -> int:
        """The size of the file."""
        return self._header_octets + self._size_octets

    def open(self) -> None:
        """Make the file."""
        try:
            file = self._create()
            self._file = file
            header = self._header(None)
            self._header_octets = len(header)
            _write_all(file, header)
        except OSError as error:
            self._fail(error)

    def append(self, zeros: int, data: bytes) -> None:
        """Write so many octets of zero, and then data."""
        file = self._file
        if file is None:
            return
        try:
            while zeros > 0:
                piece = _ZEROS[:zeros]
                zeros -= len(piece)
                self._write(file, piece)
            self._write(file, data)
        except OSError as error:
            self._fail(error)

    def finish(self) -> None:
        """Correct the header, and give the file its name."""
        file, part = self._file, self.path
        if file is None or part is None:
            return
        try:
            self._correct(file)
            if self._sync is SyncPolicy.END:
                self._files.sync(file)
            self._file = None
            file.close()
            self._files.rename(part, self._target)
            self.path = self._target
            if self._sync is SyncPolicy.END:
                self._files.sync_directory(self._target.parent)
        except OSError as error:
            self._fail(error)

    def _create(self) -> GrowingFile:
        """Make the file under a name that is free."""
        self._files.make_directory(self._wanted.parent)
        stem, suffix = self._wanted.stem, self._wanted.suffix
        for number in range(1, _NAME_LIMIT + 1):
            name = f"{stem}{suffix}" if number == 1 else f"{stem}-{number}{suffix}"
            target = self._wanted.with_name(name)
            part = target.with_name(f"{name}.part")
            if self._files.exists(target):
                continue
            try:
                file = self._files.create(part)
            except FileExistsError:
                continue
            self._target, self.path = target, part
            return file
        raise FileExistsError(f"{_NAME_LIMIT} files are called like {self._wanted}")

    def _write(self, file: GrowingFile, data: bytes) -> None:
        """Write data behind all others, and count what was written if it is not all."""
        while data:
            count = file.write(data)
            self._size_octets += count
            data = data[count:]

    def _correct(self, file: GrowingFile) -> None:
        """Write the header for the size that the file has."""
        file.seek(0)
        _write_all(file, self._header(self._size_octets))

    def _fail(self, error: OSError) -> None:
        """Leave what there is in the best state there can be. The first error is the one that is reported."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                self._correct(file)
            with suppress(OSError):
                file.close()
        self._failed(error)


def _write_all(file: GrowingFile, data: bytes) -> None:
    """Write all of it; a file may take less at once."""
    while data:
        data = data[file.write(data) :]
