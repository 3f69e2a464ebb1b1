"""A timer that is finer than the reactor's, whose waits are whole milliseconds: a descriptor of Linux, timerfd(2)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from sipd.media.poller import Cancellable, MediaReactor

_CLOCK_MONOTONIC = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_SPEC = struct.Struct("@qqqq")
_NANOSECONDS = 1_000_000_000


@implementer(IReadDescriptor)
class FineTimer:
    """Calls one function later. For one thing at a time.

    Args:
        reactor: waits for it.

    Raises:
        OSError: this system has no such timers.
    """

    def __init__(self, reactor: MediaReactor) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        create = getattr(self._library, "timerfd_create", None)
        descriptor = -1 if create is None else create(_CLOCK_MONOTONIC, _FLAGS)
        if descriptor < 0:
            raise OSError(ctypes.get_errno(), "no timer descriptors")
        self._reactor = reactor
        self._descriptor = descriptor
        self._function: Callable[[], object] | None = None
        self._is_watched = False

    def __call__(self, delay: float, function: Callable[[], object]) -> Cancellable:
        """Call a function after so many seconds, above 0; what was to be called before is not."""
        self._function = function
        self._set(delay)
        if not self._is_watched:
            self._is_watched = True
            self._reactor.addReader(self)
        return self

    def cancel(self) -> None:
        """Call nothing, and leave the reactor."""
        self._function = None
        self._set(0.0)
        if self._is_watched:
            self._is_watched = False
            self._reactor.removeReader(self)

    def close(self) -> None:
        """Free the descriptor. Idempotent."""
        if self._descriptor >= 0:
            self.cancel()
            os.close(self._descriptor)
            self._descriptor = -1

    def fileno(self) -> int:
        """See ``IFileDescriptor``."""
        return self._descriptor

    def doRead(self) -> None:
        """See ``IReadDescriptor``."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return
        function, self._function = self._function, None
        if function is not None:
            function()

    def logPrefix(self) -> str:
        """See ``ILoggingContext``."""
        return "media"

    def connectionLost(self, reason: Failure) -> None:
        """See ``IFileDescriptor``. A timer does not hang up."""

    def _set(self, delay: float) -> None:
        seconds, nanoseconds = divmod(round(delay * _NANOSECONDS), _NANOSECONDS)
        self._library.timerfd_settime(self._descriptor, 0, _SPEC.pack(0, 0, seconds, nanoseconds), None)


def make_timer(reactor: MediaReactor) -> FineTimer | None:
    """Give such a timer; ``None`` where there is none."""
    try:
        return FineTimer(reactor)
    except OSError:
        return None
