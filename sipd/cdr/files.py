"""Call records in a file: a line for each, written at once, when the call is over.

The file is opened for appending and each line is one write, so that others may read it, and several may write it, at
the same time. Whoever rotates it calls `reopen` afterwards.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Collection
from enum import Enum
from typing import TYPE_CHECKING, cast

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.cdr.interfaces import IRecordTaker
from sipd.cdr.record import CALL, Record, to_json
from sipd.errors import ConfigurationError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

#: Runs a function in another thread, such as ``twisted.internet.threads.deferToThread``.
InThread = Callable[[Callable[[], None]], Deferred[None]]

_MODE = 0o640


class SyncPolicy(Enum):
    """When records are forced to the disk.

    Without it they survive the end of the process, however it ends, but not that of the machine.
    """

    #: After every line, before anything else happens: the reactor waits for the disk, often some milliseconds a call.
    ALWAYS = "always"
    #: In another thread, once in each interval in which something was written.
    INTERVAL = "interval"
    #: When the operating system likes.
    NEVER = "never"

    __hash__ = object.__hash__


def print_json(record: Record) -> bytes:
    """Print a record as a line of JSON."""
    return to_json(record) + b"\n"


@implementer(IRecordTaker)
class RecordFile:
    """Writes each record as a line of its own, JSON if nothing else is said.

    What cannot be written (a full disk, a directory that is gone) waits in memory and is tried again; that is logged
    when it begins and when it is over. Beyond ``max_waiting`` the oldest records are dropped, and their number logged.

    Args:
        path: the file; made with mode 0640 if it is not there.
        print_record: gives the line of a record, with its end.
        header: the line that a new file begins with.
        kinds: of the records to write.
        reactor: for the timers.
        in_thread: runs the forcing to disk of `SyncPolicy.INTERVAL`.
        sync: when records are forced to the disk.
        interval: seconds, for `SyncPolicy.INTERVAL`.
        retry: seconds between attempts to write what waits.
        max_waiting: how many records may wait.

    Raises:
        ConfigurationError: the file cannot be opened now.
    """

    _log = Logger()

    def __init__(
        self,
        path: str,
        *,
        reactor: IReactorTime,
        in_thread: InThread,
        print_record: Callable[[Record], bytes] = print_json,
        header: bytes = b"",
        kinds: Collection[str] = (CALL,),
        sync: SyncPolicy = SyncPolicy.INTERVAL,
        interval: float = 1.0,
        retry: float = 5.0,
        max_waiting: int = 10_000,
    ) -> None:
        self.path = path
        self.kinds = frozenset(kinds)
        self._print = print_record
        self._header = header
        self._reactor = reactor
        self._in_thread = in_thread
        self._sync = sync
        self._interval = interval
        self._retry = retry
        self._max_waiting = max_waiting
        self._waiting: deque[bytes] = deque()
        self._written_octets = 0  # of the first line that waits
        self._dropped = 0
        self._is_failing = False
        self._is_closed = False
        self._retrying: IDelayedCall | None = None
        self._syncing: IDelayedCall | None = None
        try:
            self._file: int | None = _open(path, header)
        except OSError as error:
            raise ConfigurationError([f"{path}: call records cannot be written: {error.strerror}"]) from None

    @property
    def waiting(self) -> int:
        """How many records could not be written yet."""
        return len(self._waiting)

    def reopen(self) -> None:
        """See `IRecordTaker`: open the file that is now at the path. What waits goes there."""
        self._close_file()
        self._written_octets = 0
        self._write()

    def close(self) -> Deferred[None]:
        """Write what waits, force it to the disk unless the policy is `NEVER`, and close the file. Idempotent.

        A record that still cannot be written goes to the log.
        """
        if self._is_closed:
            return succeed(None)
        self._write()
        self._is_closed = True
        for call in (self._retrying, self._syncing):
            if call is not None:
                call.cancel()
        self._retrying = self._syncing = None
        self._log_lost()
        if self._file is not None and self._sync is not SyncPolicy.NEVER:
            self._force(self._file)
        self._close_file()
        return succeed(None)

    def take(self, record: Record) -> None:
        """See `IRecordTaker`. Writes it."""
        self._waiting.append(self._print(record))
        if self._is_closed:
            self._log_lost()
            return
        if len(self._waiting) > self._max_waiting:
            self._drop_oldest()
        if not self._is_failing:
            self._write()

    def _write(self) -> None:
        """Write what waits; on failure try again later."""
        try:
            if self._file is None:
                self._file = _open(self.path, self._header)
            while self._waiting:
                rest = self._waiting[0][self._written_octets :]
                written = os.write(self._file, rest)
                self._written_octets += written
                if written == len(rest):
                    self._waiting.popleft()
                    self._written_octets = 0
                    self._written()
        except OSError as error:
            self._failed(error)
            return
        if self._is_failing:
            self._is_failing = False
            self._log.info("call records go to {path} again; {lost} were lost", path=self.path, lost=self._dropped)
            self._dropped = 0

    def _written(self) -> None:
        """Force a written line to the disk, as the policy has it."""
        if self._file is None or self._sync is SyncPolicy.NEVER:
            return
        if self._sync is SyncPolicy.ALWAYS:
            self._force(self._file)
        elif self._syncing is None and not self._is_closed:
            self._syncing = self._reactor.callLater(self._interval, self._sync_in_thread)

    def _sync_in_thread(self) -> None:
        self._syncing = None
        if self._file is None:
            return
        try:
            # The thread has a descriptor of its own, which no rotation closes under it.
            descriptor = os.dup(self._file)
        except OSError as error:
            self._sync_failed(error)
            return

        def force() -> None:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

        self._in_thread(force).addErrback(self._sync_failed_in_thread)

    def _force(self, descriptor: int) -> None:
        try:
            os.fsync(descriptor)
        except OSError as error:
            self._sync_failed(error)

    def _sync_failed_in_thread(self, failure: Failure) -> None:
        failure.trap(OSError)
        self._sync_failed(cast(OSError, failure.value))

    def _sync_failed(self, error: OSError) -> None:
        if error.errno != errno.EINVAL:  # which a pipe or a device says: there is nothing to force
            self._log.error("call records in {path} are not safe on the disk: {error}", path=self.path, error=error)

    def _failed(self, error: OSError) -> None:
        if not self._is_failing:
            self._is_failing = True
            self._log.error("call records cannot be written to {path}: {error}; they wait", path=self.path, error=error)
        if not self._is_closed and (self._retrying is None or not self._retrying.active()):
            self._retrying = self._reactor.callLater(self._retry, self._try_again)

    def _try_again(self) -> None:
        self._retrying = None
        self._write()

    def _drop_oldest(self) -> None:
        """Make room, but not by what is half written."""
        if self._written_octets:
            first = self._waiting.popleft()
            self._waiting.popleft()
            self._waiting.appendleft(first)
        else:
            self._waiting.popleft()
        self._dropped += 1

    def _log_lost(self) -> None:
        while self._waiting:
            line = self._waiting.popleft().decode().rstrip("\n")
            self._log.error("call record not written to {path}: {record}", path=self.path, record=line)

    def _close_file(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: str, header: bytes) -> int:
    """Open for appending; a last line that a crash cut short is ended, so that the next one stands by itself."""
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            os.write(descriptor, b"\n")
        elif not size and header:
            os.write(descriptor, header)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
