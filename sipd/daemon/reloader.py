"""Reads the configuration again while sipd runs, one reading at a time, and says in the log what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sipd.daemon.reloading import Reloaded
from sipd.errors import ConfigurationError, LocalError

if TYPE_CHECKING:
    from sipd.daemon.differences import Difference
    from sipd.daemon.sections import Config
    from sipd.daemon.service import SipService

#: Runs a function in another thread, such as ``twisted.internet.threads.deferToThread``.
InThread = Callable[[Callable[[], "Config"]], "Deferred[Config]"]


class Reloader:
    """Reads and applies.

    The file is read and checked in another thread, since it may name files that are large or far away; what it says is
    applied in one turn of the reactor.

    Args:
        service: what runs.
        load: reads and checks.
        in_thread: runs that.
        applied: called with what holds from now on.

    Attributes:
        pending: what was found different at the last time, and needs a restart.
    """

    _log = Logger()

    def __init__(
        self,
        service: SipService,
        load: Callable[[], Config],
        *,
        in_thread: InThread,
        applied: Callable[[Config], object],
    ) -> None:
        self.pending: tuple[Difference, ...] = ()
        self._service = service
        self._load = load
        self._in_thread = in_thread
        self._applied = applied
        self._is_reading = False
        self._waiting: list[Deferred[Reloaded]] = []

    def reload(self) -> Deferred[Reloaded]:
        """Read again, and apply what can be.

        Who asks while the file is being read gets the outcome of one further reading: it may have changed by now.

        Fails with the `LocalError` because of which everything stayed as it was.
        """
        asked: Deferred[Reloaded] = Deferred()
        self._waiting.append(asked)
        if not self._is_reading:
            self._begin()
        return asked

    def signalled(self) -> None:
        """Do the same for nobody who wants to know more than what is in the log."""
        self.reload().addErrback(lambda _: None)

    def _begin(self) -> None:
        self._is_reading = True
        waiting, self._waiting = self._waiting, []
        Deferred.fromCoroutine(self._reload()).addBoth(self._ended, waiting)

    async def _reload(self) -> Reloaded:
        try:
            outcome = self._service.reload(await self._in_thread(self._load))
        except ConfigurationError as error:
            for problem in error.problems:
                self._log.error("configuration not changed: {problem}", problem=problem)
            raise
        except LocalError as error:
            self._log.error("configuration not changed: {problem}", problem=str(error))
            raise
        self._applied(self._service.config)
        self.pending = outcome.pending
        for line in outcome.lines():
            self._log.info("{line}", line=line)
        return outcome

    def _ended(self, outcome: Reloaded | Failure, waiting: list[Deferred[Reloaded]]) -> None:
        self._is_reading = False
        if isinstance(outcome, Failure) and not outcome.check(LocalError):
            self._log.failure("the configuration could not be read again", outcome)
        for asked in waiting:
            if isinstance(outcome, Failure):
                asked.errback(outcome)
            else:
                asked.callback(outcome)
        if self._waiting:
            self._begin()
