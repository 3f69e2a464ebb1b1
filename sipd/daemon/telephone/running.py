"""Runs one command of the telephone in a reactor of its own, until it is done or a signal ends it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any

from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)
from twisted.python.failure import Failure

from sipd.daemon.telephone.desk import Desk
from sipd.daemon.telephone.keys import Keyboard
from sipd.errors import LocalError, ParseError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: What a shell adds to the number of the signal that has ended a program.
_BY_SIGNAL = 128


def run(make_desk: Callable[[Any], Desk], act: Callable[[Desk], Coroutine[Any, Any, int]]) -> int:
    """Run a command; give the exit status: what it says, or 128 and the number of the signal that has ended it.

    The first signal cancels the command, which then hangs up and unregisters, within some seconds; the second one ends
    it at once.

    Args:
        make_desk: makes what it stands on, given the reactor.
        act: the command.

    Raises:
        LocalError: it cannot be done.
        ParseError: something that it was given cannot be read.
    """
    running = _Run(make_desk, act)
    _log_warnings()
    try:
        task.react(running.start)
    except SystemExit as ending:
        if running.status is None and running.error is None:
            return int(ending.code or 0)
    if running.error is not None:
        raise running.error
    assert running.status is not None
    return running.status


class _Run:
    """One run."""

    def __init__(self, make_desk: Callable[[Any], Desk], act: Callable[[Desk], Coroutine[Any, Any, int]]) -> None:
        self._make_desk = make_desk
        self._act = act
        self._reactor: Any = None
        self._running: Deferred[int] | None = None
        self._keyboard: Keyboard | None = None
        self._signal = 0
        self.status: int | None = None
        self.error: LocalError | ParseError | None = None

    def start(self, reactor: Any) -> Deferred[None]:
        """Begin once the reactor runs; fires when it is over."""
        self._reactor = reactor
        over: Deferred[None] = Deferred()

        def begin() -> None:
            for number in _SIGNALS:
                signal.signal(number, self._handle)
            desk = self._make_desk(reactor)
            self._keyboard = Keyboard.attach(reactor, desk.keys.typed)
            running: Deferred[int] = Deferred.fromCoroutine(self._act(desk))
            self._running = running
            finished = running.addCallbacks(self._done, self._failed)
            finished.chainDeferred(over)

        reactor.callWhenRunning(begin)
        return over

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._signalled, number)

    def _signalled(self, number: int) -> None:
        if self._signal:
            if self._reactor.running:
                self._reactor.stop()
            return
        self._signal = number
        self.status = _BY_SIGNAL + number
        if self._running is not None:
            self._running.cancel()

    def _done(self, status: int) -> None:
        self._end()
        if not self._signal:
            self.status = status

    def _failed(self, failure: Failure) -> Failure | None:
        self._end()
        error = failure.value
        if isinstance(error, LocalError | ParseError):
            self.error = error
        elif not (isinstance(error, CancelledError) and self._signal):
            return failure
        return None

    def _end(self) -> None:
        if self._keyboard is not None:
            self._keyboard.detach()


def _log_warnings() -> None:
    """Let what is logged as a warning, or worse, be seen on standard error, and nothing else."""
    only = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    observer = FilteringLogObserver(textFileLogObserver(sys.stderr), [only])
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
